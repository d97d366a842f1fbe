package otelmetrics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/metrics/otelmetrics"
)

// The code of docs/metrics.md. A test in internal/architecture keeps the two the same.

func measured(ctx context.Context, exporter sdkmetric.Exporter, pool *client.Pool[*conn], serve func() error) error {
	producer := otelmetrics.NewProducer(metricdata.CumulativeTemporality)
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(
		sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))))
	_, err := otelmetrics.Register(pool, otelmetrics.WithMeterProvider(provider), otelmetrics.WithProducer(producer))
	if err != nil {
		return err
	}
	return errors.Join(serve(), provider.Shutdown(ctx))
}

func traced(ctx context.Context, provider trace.TracerProvider, pool *client.Pool[*conn], query func(context.Context, *conn) error) error {
	db := otelmetrics.Trace(pool, otelmetrics.WithTracerProvider(provider))
	return db.Do(ctx, query)
}

// keeping is an exporter that keeps the names of what it is given.
type keeping struct {
	sdkmetric.Exporter
	names map[string]bool
}

func (k *keeping) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

func (k *keeping) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(kind)
}

func (k *keeping) Export(_ context.Context, all *metricdata.ResourceMetrics) error {
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			k.names[m.Name] = true
		}
	}
	return nil
}

func (k *keeping) ForceFlush(context.Context) error { return nil }

func (k *keeping) Shutdown(context.Context) error { return nil }

func TestTheRecipesOfOpenTelemetry(t *testing.T) {
	pool := newPool(t, "recipe", 1)
	exporter := &keeping{names: map[string]bool{}}
	require.NoError(t, measured(ctx, exporter, pool, func() error {
		l, err := pool.Get(ctx)
		if err != nil {
			return err
		}
		return l.Put()
	}))
	assert.True(t, exporter.names["db.client.connection.wait_time"], exporter.names)
	assert.True(t, exporter.names["db.client.connection.count"], exporter.names)

	r := newTracing()
	caller, _ := r.begin()
	slow, err := client.New(client.Config[*conn]{Connect: func(context.Context) (*conn, error) {
		time.Sleep(2 * time.Millisecond) // longer than any Get that does not wait
		return &conn{}, nil
	}})
	require.NoError(t, err)
	require.NoError(t, traced(caller, r.provider, slow, func(context.Context, *conn) error { return nil }))
	assert.Len(t, r.waits(), 1)
	require.NoError(t, slow.Close(ctx))
	<-slow.Done()
}
