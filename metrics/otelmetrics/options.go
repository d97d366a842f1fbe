package otelmetrics

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Option is an option of [Register] or of [Trace].
type Option interface{ apply(*options) }

type options struct {
	name              string
	meters            metric.MeterProvider
	producers         []*Producer
	withoutHistograms bool
	tracers           trace.TracerProvider
	labels            bool
}

type setting func(*options)

func (f setting) apply(o *options) { f(o) }

func optionsOf(opts []Option) options {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt.apply(&o)
		}
	}
	if o.meters == nil {
		o.meters = otel.GetMeterProvider()
	}
	if o.tracers == nil {
		o.tracers = otel.GetTracerProvider()
	}
	return o
}

// WithName gives the pool another name than its own in metrics and spans: two pools of a
// program that have the same name need that.
func WithName(name string) Option { return setting(func(o *options) { o.name = name }) }

// WithMeterProvider says where [Register] makes the instruments. Default: the global
// MeterProvider of package otel.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return setting(func(o *options) { o.meters = provider })
}

// WithProducer says which producers give the pool's histograms to their Readers. There is
// one for each Reader of the MeterProvider; [Register] needs at least one, or
// [WithoutHistograms].
func WithProducer(producers ...*Producer) Option {
	return setting(func(o *options) { o.producers = append(o.producers, producers...) })
}

// WithoutHistograms says that [Register] is to do without the histograms, and so without a
// [Producer]. There are no create_time, wait_time and use_time then.
func WithoutHistograms() Option { return setting(func(o *options) { o.withoutHistograms = true }) }

// WithTracerProvider says where the spans of [Trace] go. Default: the global
// TracerProvider of package otel.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return setting(func(o *options) { o.tracers = provider })
}

// WithLabels says that the spans of [Trace] tell the labels of GetOptions: as the
// attribute actorpool.label, and in the text of an error, which names the holders of the
// connections. Without it no label leaves the program: labels may tell more than
// whoever reads traces is to know.
func WithLabels() Option { return setting(func(o *options) { o.labels = true }) }
