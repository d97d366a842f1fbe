// Package prommetrics shows pools in Prometheus, without OpenTelemetry: a [Collector]
// reads its pools when it is scraped.
//
//	collector, err := prommetrics.New(prommetrics.Options{}, orders, sessions)
//	...
//	prometheus.MustRegister(collector)
//
// The names and labels are those that OpenTelemetry's exporter for Prometheus gives the
// metrics of package otelmetrics. The file docs/metrics.md lists all of them. Nothing is
// recorded at a Get or Put, so they cost the same with metrics as without. A scrape costs
// one message to the actor of each pool.
package prommetrics
