package otelmetrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/catalogue"
)

// Producer gives the histograms of pools to a Reader: create_time, wait_time and use_time,
// as exponential histograms. Give it to one Reader, by sdkmetric.WithProducer or the
// option of the same name of an exporter, and to [Register] of each pool. Views do not
// apply to it.
type Producer struct {
	temporality metricdata.Temporality
	streams     atomic.Pointer[[]*stream] // never changed: see registered
}

var _ sdkmetric.Producer = (*Producer)(nil)

// stream is what a producer shows of a pool.
type stream struct {
	producer *Producer
	reader   *catalogue.Reader
	set      attribute.Set
}

// NewProducer makes a producer whose histograms count since the pool was made
// (metricdata.CumulativeTemporality) or since the last collection
// (metricdata.DeltaTemporality). Take what the exporter wants of histograms: Prometheus
// wants the first. A third value is an error of [Register] and of every collection.
func NewProducer(temporality metricdata.Temporality) *Producer {
	return &Producer{temporality: temporality}
}

func (p *Producer) check() error {
	if p.temporality == metricdata.CumulativeTemporality || p.temporality == metricdata.DeltaTemporality {
		return nil
	}
	return fmt.Errorf("the temporality of the producer is %v: it must be CumulativeTemporality or DeltaTemporality", p.temporality)
}

// add begins to show a pool. Each producer reads the pool on its own: a delta is the
// difference to what its own Reader has seen.
func (p *Producer) add(pool Pool, name string) (*stream, error) {
	if p == nil {
		return nil, errors.New("the producer is nil")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	reader, err := catalogue.NewReader(pool, name)
	if err != nil {
		return nil, err
	}
	s := &stream{producer: p, reader: reader, set: attribute.NewSet(attribute.String(catalogue.PoolName, reader.Name))}
	for {
		old := p.streams.Load()
		list := []*stream{s}
		if old != nil {
			for _, other := range *old {
				switch {
				case other.reader.Closed():
				case other.reader.Name == reader.Name:
					return nil, errDuplicate
				default:
					list = append(list, other)
				}
			}
		}
		if p.streams.CompareAndSwap(old, &list) {
			return s, nil
		}
	}
}

// remove ends a stream. It may have ended before.
func (p *Producer) remove(s *stream) {
	for {
		old := p.streams.Load()
		list := slices.DeleteFunc(slices.Clone(*old), func(other *stream) bool { return other == s })
		if p.streams.CompareAndSwap(old, &list) {
			return
		}
	}
}

// Produce implements sdkmetric.Producer. A pool that cannot be read is an error, and the
// others are shown.
func (p *Producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	streams := p.streams.Load()
	if streams == nil {
		return nil, nil
	}
	var points [len(catalogue.Histograms)][]metricdata.ExponentialHistogramDataPoint[float64]
	var errs []error
	for _, s := range *streams {
		last, now, err := s.reader.Read(ctx)
		switch {
		case errors.Is(err, messages.ErrClosed):
			p.remove(s)
		case err != nil:
			errs = append(errs, fmt.Errorf("otelmetrics: %w", err))
		default:
			for i := range points {
				if point, ok := p.point(s, i, last, now); ok {
					points[i] = append(points[i], point)
				}
			}
		}
	}
	var all []metricdata.Metrics
	for i := range points {
		if len(points[i]) > 0 {
			h := &catalogue.Histograms[i]
			all = append(all, metricdata.Metrics{
				Name: h.Name, Description: h.Description, Unit: "s",
				Data: metricdata.ExponentialHistogram[float64]{Temporality: p.temporality, DataPoints: points[i]},
			})
		}
	}
	if len(all) == 0 {
		return nil, errors.Join(errs...)
	}
	scope := instrumentation.Scope{Name: scopeName, SchemaURL: catalogue.SchemaURL}
	return []metricdata.ScopeMetrics{{Scope: scope, Metrics: all}}, errors.Join(errs...)
}

// point is one histogram of a pool. False: it is a delta of nothing.
func (p *Producer) point(s *stream, i int, last, now *catalogue.Snapshot) (point metricdata.ExponentialHistogramDataPoint[float64], ok bool) {
	h, start := now.Histograms[i], now.Since
	if p.temporality == metricdata.DeltaTemporality {
		if last != nil {
			h, start = catalogue.Since(h, last.Histograms[i]), last.Time
		}
		if h.Count == 0 {
			return point, false
		}
	}
	point = metricdata.ExponentialHistogramDataPoint[float64]{
		Attributes: s.set, StartTime: start, Time: now.Time,
		Count: h.Count, Sum: h.Sum.Seconds(), Scale: int32(h.Scale), ZeroCount: h.Zeros(),
		PositiveBucket: metricdata.ExponentialBucket{Offset: int32(h.Offset), Counts: slices.Clone(h.Buckets)},
	}
	return point, true
}
