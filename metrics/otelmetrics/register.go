package otelmetrics

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/catalogue"
)

// scopeName is the name of the instrumentation scope.
const scopeName = "github.com/actorpool/actorpool/metrics/otelmetrics"

// Pool is what metrics are read from: a *client.Pool[C] for any C, or anything else that
// measures as a pool does. If it has a method Status() messages.FleetStatus, as a
// *fleet.Member has, it also has the metrics of a member of a fleet. If it has a method Done() <-chan struct{}, its metrics end when
// that channel is closed; otherwise when Measure returns messages.ErrClosed. Counts must
// not go down; one that is lower than before is shown as it was before.
type Pool interface {
	Stats() messages.Stats
	Measure(ctx context.Context) (messages.Measures, error)
}

// ErrNoProducer is the error of a [Register] that would give no histograms.
var ErrNoProducer = errors.New("no histograms (create_time, wait_time, use_time) without a producer: " +
	"give WithProducer one whose Reader has it by sdkmetric.WithProducer, or say WithoutHistograms")

// Registration is a pool whose metrics are shown.
type Registration struct {
	reader   *catalogue.Reader
	meters   metric.MeterProvider
	made     chan struct{} // closed at the end of Register: the following are set
	streams  []*stream     // one in each producer
	callback metric.Registration
	ended    atomic.Bool
}

// registered are all registrations, so that two pools of the same name are noticed. The
// slice is never changed: a registration or its end puts another one in its place.
var registered atomic.Pointer[[]*Registration]

// Register shows the metrics of a pool until Unregister is called or the pool is closed
// (its Done is closed): then they end by themselves, with the next collection. What has
// been counted since the last collection before is not shown any more.
//
// The counts are those since the pool was made. That is the start time of the histograms;
// the one that OpenTelemetry gives the other counts is that of the instruments.
//
// The error names the pool and says what is wrong: the pool is nil or closed; there is a
// pool of this name under the MeterProvider or the producer already (see [WithName]);
// [ErrNoProducer]; or it is the error of the MeterProvider.
func Register(pool Pool, opts ...Option) (*Registration, error) {
	o := optionsOf(opts)
	reader, err := catalogue.NewReader(pool, o.name)
	if err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	r := &Registration{reader: reader, meters: o.meters, made: make(chan struct{})}
	err = r.begin(pool, &o)
	close(r.made)
	if err != nil {
		return nil, fmt.Errorf("otelmetrics: pool %q: %w", reader.Name, err)
	}
	return r, nil
}

func (r *Registration) begin(pool Pool, o *options) error {
	if len(o.producers) == 0 && !o.withoutHistograms {
		return ErrNoProducer
	}
	if err := r.enter(); err != nil {
		return err
	}
	err := r.observe()
	for i := 0; err == nil && i < len(o.producers); i++ {
		var s *stream
		if s, err = o.producers[i].add(pool, r.reader.Name); err == nil {
			r.streams = append(r.streams, s)
		}
	}
	if err != nil {
		return errors.Join(err, r.Unregister())
	}
	return nil
}

// enter puts the registration into the list, if it has no other one of its name.
func (r *Registration) enter() error {
	for {
		old := registered.Load()
		list := []*Registration{r}
		if old != nil {
			for _, other := range *old {
				switch {
				case other.reader.Closed():
				case other.reader.Name == r.reader.Name && same(other.meters, r.meters):
					return errDuplicate
				default:
					list = append(list, other)
				}
			}
		}
		if registered.CompareAndSwap(old, &list) {
			return nil
		}
	}
}

var errDuplicate = errors.New("there is a pool of this name already: give this one another name by WithName")

// same compares two providers. A type that cannot be compared is never the same.
func same(a, b metric.MeterProvider) bool {
	return reflect.TypeOf(a).Comparable() && a == b
}

// observe makes the instruments, and has them observed.
func (r *Registration) observe() error {
	meter := r.meters.Meter(scopeName, metric.WithSchemaURL(catalogue.SchemaURL))
	instruments := make([]metric.Observable, len(catalogue.Metrics))
	sets := make([][]metric.ObserveOption, len(catalogue.Metrics))
	for i := range catalogue.Metrics {
		m := &catalogue.Metrics[i]
		var err error
		if instruments[i], err = instrument(meter, m); err != nil {
			return err
		}
		for _, p := range m.Parts {
			attributes := []attribute.KeyValue{attribute.String(catalogue.PoolName, r.reader.Name)}
			if m.Attribute != "" {
				attributes = append(attributes, attribute.String(m.Attribute, p.Value))
			}
			sets[i] = append(sets[i], metric.WithAttributeSet(attribute.NewSet(attributes...)))
		}
	}
	var err error
	r.callback, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		_, now, err := r.reader.Read(ctx)
		if errors.Is(err, messages.ErrClosed) {
			// Not here: the provider holds a lock while it calls this function.
			go func() {
				<-r.made
				_ = r.Unregister()
			}()
			return nil
		}
		if err != nil {
			return fmt.Errorf("otelmetrics: %w", err)
		}
		now.Each(func(i, part int, value int64) {
			switch instrument := instruments[i].(type) {
			case metric.Int64Observable:
				o.ObserveInt64(instrument, value, sets[i][part])
			case metric.Float64Observable:
				o.ObserveFloat64(instrument, catalogue.Seconds(value), sets[i][part])
			}
		})
		return nil
	}, instruments...)
	return err
}

func instrument(meter metric.Meter, m *catalogue.Metric) (metric.Observable, error) {
	unit, description := metric.WithUnit(m.Unit), metric.WithDescription(m.Description)
	switch {
	case m.Kind == catalogue.Counter:
		return meter.Int64ObservableCounter(m.Name, unit, description)
	case m.Kind == catalogue.UpDownCounter:
		return meter.Int64ObservableUpDownCounter(m.Name, unit, description)
	case m.Seconds():
		return meter.Float64ObservableGauge(m.Name, unit, description)
	default:
		return meter.Int64ObservableGauge(m.Name, unit, description)
	}
}

// Unregister ends the metrics of the pool. It may be called again, also after the pool is
// closed. The error is that of the MeterProvider.
func (r *Registration) Unregister() error {
	if r.ended.Swap(true) {
		return nil
	}
	for {
		old := registered.Load()
		list := slices.DeleteFunc(slices.Clone(*old), func(other *Registration) bool { return other == r })
		if registered.CompareAndSwap(old, &list) {
			break
		}
	}
	for _, s := range r.streams {
		s.producer.remove(s)
	}
	if r.callback == nil {
		return nil
	}
	return r.callback.Unregister()
}
