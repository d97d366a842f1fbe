// Package otelmetrics shows pools in OpenTelemetry: [Register] makes the metrics of a pool
// available to a MeterProvider, and [Trace] shows the waits of a pool as spans.
//
// The names, units and attributes are those of the semantic conventions for database
// clients (db.client.connection.*, version 1.43.0, in development there), with
// db.client.connection.pool.name on every metric. What the conventions lack is under
// actorpool. The file docs/metrics.md lists all of them.
//
// A metric is read when a Reader collects. Nothing is recorded at a Get or Put, so they
// cost the same with metrics as without. A collection costs two messages to the actor of
// each pool.
//
// The pool counts its histograms itself, and OpenTelemetry has no instrument that takes a
// finished histogram. So they come through a [Producer], which is given to the Reader:
//
//	producer := otelmetrics.NewProducer(metricdata.CumulativeTemporality)
//	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
//	registration, err := otelmetrics.Register(pool, otelmetrics.WithMeterProvider(provider), otelmetrics.WithProducer(producer))
package otelmetrics
