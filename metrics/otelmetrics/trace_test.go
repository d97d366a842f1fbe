package otelmetrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/otelmetrics"
)

// tracing is a TracerProvider that keeps what it is given.
type tracing struct {
	provider *sdktrace.TracerProvider
	spans    *tracetest.SpanRecorder
}

func newTracing() *tracing {
	spans := tracetest.NewSpanRecorder()
	return &tracing{provider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), spans: spans}
}

// begin starts a span of a caller.
func (r *tracing) begin() (context.Context, trace.Span) {
	return r.provider.Tracer("caller").Start(ctx, "request")
}

// waits are the spans of the pool that have ended.
func (r *tracing) waits() []sdktrace.ReadOnlySpan {
	var found []sdktrace.ReadOnlySpan
	for _, s := range r.spans.Ended() {
		if s.InstrumentationScope().Name != "caller" {
			found = append(found, s)
		}
	}
	return found
}

func TestAGetThatWaitsIsASpan(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		r := newTracing()
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		pool := otelmetrics.Trace(w.Pool(testkit.Capacity(1)), otelmetrics.WithTracerProvider(r.provider))
		caller, span := r.begin()
		begun := time.Now()
		l, err := pool.Get(caller)
		require.NoError(t, err)
		require.NoError(t, l.Put())
		waits := r.waits()
		require.Len(t, waits, 1)
		wait := waits[0]
		assert.Equal(t, "actorpool wait", wait.Name())
		assert.Equal(t, span.SpanContext().SpanID(), wait.Parent().SpanID())
		assert.Equal(t, span.SpanContext().TraceID(), wait.SpanContext().TraceID())
		assert.Equal(t, begun, wait.StartTime())
		assert.Equal(t, begun.Add(100*time.Millisecond), wait.EndTime())
		assert.Equal(t, codes.Unset, wait.Status().Code)
		assert.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("db.client.connection.pool.name", "db"), attribute.Float64("actorpool.wait", 0.1), attribute.String("actorpool.path", "new"),
		}, wait.Attributes())

		l, err = pool.Get(caller)
		require.NoError(t, err)
		assert.Len(t, r.waits(), 1, "it has not waited")
		second := testkit.Async(func() error {
			other, err := pool.GetWith(caller, client.GetOptions{Label: "secret"})
			if err != nil {
				return err
			}
			return other.Put()
		})
		testkit.Pass(time.Second)
		require.NoError(t, l.Put())
		require.NoError(t, second.Returned(t))
		require.Len(t, r.waits(), 2)
		assert.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("db.client.connection.pool.name", "db"), attribute.Float64("actorpool.wait", 1), attribute.String("actorpool.path", "queued"),
		}, r.waits()[1].Attributes(), "no label")
	})
}

func TestADoThatWaitsIsASpan(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		r := newTracing()
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		pool := otelmetrics.Trace(w.Pool(testkit.Capacity(1)), otelmetrics.WithTracerProvider(r.provider), otelmetrics.WithName("orders"))
		caller, _ := r.begin()
		begun := time.Now()
		err := pool.Do(caller, func(_ context.Context, c *testkit.Conn) error {
			assert.NotNil(t, c)
			testkit.Pass(time.Second)
			return testkit.ErrApp
		})
		require.ErrorIs(t, err, testkit.ErrApp)
		require.Len(t, r.waits(), 1)
		wait := r.waits()[0]
		assert.Equal(t, begun.Add(100*time.Millisecond), wait.EndTime(), "the use is not in it")
		assert.Equal(t, codes.Unset, wait.Status().Code, "and its error neither")
		assert.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("db.client.connection.pool.name", "orders"), attribute.Float64("actorpool.wait", 0.1), attribute.String("actorpool.path", "new"),
		}, wait.Attributes())

		require.NoError(t, pool.Do(caller, func(inner context.Context, _ *testkit.Conn) error {
			short, cancel := context.WithTimeout(inner, time.Second)
			defer cancel()
			err := pool.DoWith(short, client.GetOptions{Label: "import"}, func(context.Context, *testkit.Conn) error { return nil })
			var deadlock *messages.DeadlockError
			require.ErrorAs(t, err, &deadlock, "the context of Do carries the lease")
			return nil
		}))
		assert.LessOrEqual(t, len(r.waits()), 2, "a deadlock is found at once")

		l := testkit.Get(t, pool.Pool)
		short, cancel := context.WithTimeout(caller, time.Second)
		defer cancel()
		before := len(r.waits())
		require.ErrorIs(t, pool.Do(short, func(context.Context, *testkit.Conn) error { return nil }), context.DeadlineExceeded)
		require.Len(t, r.waits(), before+1)
		assert.Equal(t, codes.Error, r.waits()[before].Status().Code)
		// An error of a Get within is not one of this Do.
		require.NoError(t, l.Put())
		before = len(r.waits())
		require.Error(t, pool.Do(caller, func(context.Context, *testkit.Conn) error { return &messages.GetError{Waited: time.Second} }))
		assert.Len(t, r.waits(), before)
	})
}

func TestAWaitThatFailsRecordsWhy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		r := newTracing()
		base := w.Pool(testkit.Capacity(1))
		pool := otelmetrics.Trace(base, otelmetrics.WithTracerProvider(r.provider))
		caller, _ := r.begin()
		l, err := pool.GetWith(caller, client.GetOptions{Label: "nightly import"})
		require.NoError(t, err)
		fail := func(pool *otelmetrics.Traced[*testkit.Conn]) sdktrace.ReadOnlySpan {
			short, cancel := context.WithTimeout(caller, time.Second)
			defer cancel()
			before := len(r.waits())
			_, err := pool.GetWith(short, client.GetOptions{Label: "re\nport"})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			waits := r.waits()
			require.Len(t, waits, before+1)
			return waits[before]
		}
		wait := fail(pool)
		assert.Equal(t, codes.Error, wait.Status().Code)
		assert.Equal(t, time.Second, wait.EndTime().Sub(wait.StartTime()))
		require.Len(t, wait.Events(), 1)
		assert.Equal(t, "exception", wait.Events()[0].Name)
		text := words(wait)
		assert.Contains(t, text, "context deadline exceeded")
		assert.NotContains(t, text, "import")
		assert.NotContains(t, text, "port")

		text = words(fail(otelmetrics.Trace(base, otelmetrics.WithTracerProvider(r.provider), otelmetrics.WithLabels())))
		assert.Contains(t, text, "nightly import")
		assert.Contains(t, text, `re\nport`)

		before := len(r.waits())
		ended, cancel := context.WithCancel(caller)
		cancel()
		_, err = pool.Get(ended)
		require.ErrorIs(t, err, context.Canceled)
		assert.Len(t, r.waits(), before, "it has not waited")
		require.NoError(t, l.Put())
	})
}

// words are all texts of a span.
func words(s sdktrace.ReadOnlySpan) string {
	all := []string{s.Name(), s.Status().Description}
	for _, kv := range s.Attributes() {
		all = append(all, kv.Value.String())
	}
	for _, e := range s.Events() {
		for _, kv := range e.Attributes {
			all = append(all, kv.Value.String())
		}
	}
	return strings.Join(all, "\n")
}

func TestWithoutARecordedSpanOfTheCallerThereIsNone(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		r := newTracing()
		w.Server.SetDial(testkit.Delay(time.Second))
		pool := otelmetrics.Trace(w.Pool(), otelmetrics.WithTracerProvider(r.provider))
		l, err := pool.Get(ctx)
		require.NoError(t, err)
		unsampled := trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{1}}))
		require.NoError(t, pool.Do(unsampled, func(context.Context, *testkit.Conn) error { return nil }))
		require.NoError(t, l.Put())
		assert.Empty(t, r.spans.Ended())
		//nolint:staticcheck // on purpose
		_, err = pool.Get(nil)
		require.ErrorIs(t, err, messages.ErrNilContext)
		//nolint:staticcheck // on purpose
		require.ErrorIs(t, pool.Do(nil, func(context.Context, *testkit.Conn) error { return nil }), messages.ErrNilContext)
	})
}

func TestATracedPoolIsThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		r := newTracing()
		base := w.Spawn(w.Config())
		pool := otelmetrics.Trace(base, otelmetrics.WithTracerProvider(r.provider))
		assert.Equal(t, base.Stats(), pool.Stats())
		caller, _ := r.begin()
		l, err := pool.Get(caller)
		require.NoError(t, err)
		require.NoError(t, l.Put())
		require.NoError(t, pool.Close(ctx))
		_, err = pool.Get(caller)
		require.ErrorIs(t, err, messages.ErrClosed)
		require.ErrorIs(t, pool.Do(caller, func(context.Context, *testkit.Conn) error { return errors.New("called") }), messages.ErrClosed)
	})
}
