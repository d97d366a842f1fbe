package otelmetrics_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/metrics/otelmetrics"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// contest measures functions in turn, over and over, and reports the shortest time of
// each as a multiple of that of the first. On a machine that does other work as well the
// shortest times are the ones that can be compared. The second is to be equal to the
// first: what it differs by is the error.
func contest(b *testing.B, names []string, fs ...func()) {
	b.Helper()
	const batch = 20_000
	shortest := make([]time.Duration, len(fs))
	for i := range shortest {
		shortest[i] = math.MaxInt64
	}
	order := make([]int, len(fs))
	for i := range order {
		order[i] = i
	}
	rounds := 0
	for b.Loop() {
		for _, i := range order {
			begun := time.Now()
			for range batch {
				fs[i]()
			}
			shortest[i] = min(shortest[i], time.Since(begun))
		}
		slices.Reverse(order) // whatever comes after another is so in every second round only
		rounds++
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(shortest[0].Nanoseconds())/batch, "ns/"+names[0])
	for i, name := range names[1:] {
		b.ReportMetric(float64(shortest[i+1])/float64(shortest[0]), name)
	}
	b.ReportMetric(float64(rounds), "rounds")
}

func getPut(b *testing.B, get func(context.Context) (client.Lease[*conn], error), ctx context.Context) func() {
	return func() {
		l, err := get(ctx)
		if err == nil {
			err = l.Put()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// What a Get and Put cost in a pool whose metrics are registered, and read ten times a
// second: go test -run xxx -bench Registered -benchtime 300x ./otelmetrics.
func BenchmarkRegistered(b *testing.B) {
	alone, control, opentelemetry, prom := newPool(b, "alone", 1), newPool(b, "control", 1), newPool(b, "otel", 1), newPool(b, "prometheus", 1)
	producer := otelmetrics.NewProducer(metricdata.CumulativeTemporality)
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	r, err := otelmetrics.Register(opentelemetry, otelmetrics.WithMeterProvider(provider), otelmetrics.WithProducer(producer))
	require.NoError(b, err)
	c, err := prommetrics.New(prommetrics.Options{}, prom)
	require.NoError(b, err)
	registry := prometheus.NewRegistry()
	require.NoError(b, registry.Register(c))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				var all metricdata.ResourceMetrics
				_ = reader.Collect(ctx, &all)
				_, _ = registry.Gather()
			}
		}
	}()
	contest(b, []string{"alone", "control", "otel", "prometheus"},
		getPut(b, alone.Get, ctx), getPut(b, control.Get, ctx), getPut(b, opentelemetry.Get, ctx), getPut(b, prom.Get, ctx))
	close(stop)
	<-stopped
	require.NoError(b, r.Unregister())
}

// What a Get and Put cost that do not wait in a pool that is traced, with and without a
// span of the caller that is recorded.
func BenchmarkTraced(b *testing.B) {
	alone, control := newPool(b, "alone", 1), newPool(b, "control", 1)
	provider := sdktrace.NewTracerProvider()
	traced := otelmetrics.Trace(newPool(b, "traced", 1), otelmetrics.WithTracerProvider(provider))
	recorded, span := provider.Tracer("caller").Start(ctx, "request")
	defer span.End()
	unsampled := trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{1}}))
	contest(b, []string{"alone", "control", "nospan", "unsampled", "recorded", "recorded-alone"},
		getPut(b, alone.Get, ctx), getPut(b, control.Get, ctx), getPut(b, traced.Get, ctx), getPut(b, traced.Get, unsampled),
		getPut(b, traced.Get, recorded), getPut(b, alone.Get, recorded))
}

// What a collection costs.
func BenchmarkCollect(b *testing.B) {
	pool := newPool(b, "orders", 4)
	for range 1000 {
		l, err := pool.Get(ctx)
		require.NoError(b, err)
		require.NoError(b, l.Put())
	}
	b.Run("otel", func(b *testing.B) {
		producer := otelmetrics.NewProducer(metricdata.CumulativeTemporality)
		reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer))
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		r, err := otelmetrics.Register(pool, otelmetrics.WithMeterProvider(provider), otelmetrics.WithProducer(producer))
		require.NoError(b, err)
		var all metricdata.ResourceMetrics
		for b.Loop() {
			require.NoError(b, reader.Collect(ctx, &all))
		}
		require.NoError(b, r.Unregister())
	})
	b.Run("prometheus", func(b *testing.B) {
		c, err := prommetrics.New(prommetrics.Options{}, pool)
		require.NoError(b, err)
		registry := prometheus.NewRegistry()
		require.NoError(b, registry.Register(c))
		for b.Loop() {
			_, err := registry.Gather()
			require.NoError(b, err)
		}
	})
	b.Run("Measure", func(b *testing.B) {
		for b.Loop() {
			_, err := pool.Measure(ctx)
			require.NoError(b, err)
		}
	})
}
