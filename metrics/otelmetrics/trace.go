package otelmetrics

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/catalogue"
)

// The attributes of a span.
const (
	// waitKey is how long the Get has waited, in seconds, by the pool's clock.
	waitKey = attribute.Key("actorpool.wait")
	// pathKey is how it came by its connection: see messages.Path.
	pathKey = attribute.Key("actorpool.path")
	// labelKey is the label of GetOptions, if WithLabels says so.
	labelKey = attribute.Key("actorpool.label")
)

// spanName is the name of every span.
const spanName = "actorpool wait"

// Traced is a pool whose waits are spans: see [Trace]. The methods that it does not have
// itself are those of the pool.
type Traced[C any] struct {
	*client.Pool[C]

	tracer trace.Tracer
	name   attribute.KeyValue
	labels bool
}

// Trace wraps a pool so that a Get that waits is shown as a span "actorpool wait", from
// the call to its end, as a child of the span in the Get's context. It has the attributes
// db.client.connection.pool.name, actorpool.wait (seconds, by the pool's clock) and, with
// a connection, actorpool.path (new, queued, checked, prepared or idle; see
// messages.Path). When the Get fails, the span records the reason and has the status Error.
//
// There is no span for a Get that has not waited, nor for one whose context has no span
// that is recorded: a wait alone, without what it delays, says little. Use the
// Traced where you would use the pool; the pool itself stays as it is.
//
// A Get that does not wait costs two readings of the clock more if its context has a span
// that is recorded, and otherwise one look into the context.
func Trace[C any](pool *client.Pool[C], opts ...Option) *Traced[C] {
	o := optionsOf(opts)
	t := &Traced[C]{Pool: pool, tracer: o.tracers.Tracer(scopeName, trace.WithSchemaURL(catalogue.SchemaURL)), labels: o.labels}
	name := o.name
	if name == "" && pool != nil {
		name = pool.Stats().Name
	}
	t.name = attribute.String(catalogue.PoolName, catalogue.Clean(name))
	return t
}

// Get is Get of the pool.
func (t *Traced[C]) Get(ctx context.Context) (client.Lease[C], error) {
	return t.GetWith(ctx, client.GetOptions{})
}

// GetWith is GetWith of the pool.
func (t *Traced[C]) GetWith(ctx context.Context, o client.GetOptions) (client.Lease[C], error) {
	if !recorded(ctx) {
		return t.Pool.GetWith(ctx, o)
	}
	begun := clock()
	lease, err := t.Pool.GetWith(ctx, o)
	took := clock() - begun
	switch {
	case err != nil:
		t.failed(ctx, o, took, err)
	case took >= shortestWait:
		t.served(ctx, o, took, lease.Info())
	}
	return lease, err
}

// Do is Do of the pool. The span ends when the function begins.
func (t *Traced[C]) Do(ctx context.Context, f func(ctx context.Context, conn C) error) error {
	return t.DoWith(ctx, client.GetOptions{}, f)
}

// DoWith is DoWith of the pool. The span ends when the function begins.
func (t *Traced[C]) DoWith(ctx context.Context, o client.GetOptions, f func(ctx context.Context, conn C) error) error {
	if !recorded(ctx) {
		return t.Pool.DoWith(ctx, o, f)
	}
	begun, called := clock(), false
	err := t.Pool.DoWith(ctx, o, func(inner context.Context, conn C) error {
		called = true
		if took := clock() - begun; took >= shortestWait {
			if lease, ok := inner.(interface{ Info() messages.LeaseInfo }); ok {
				t.served(ctx, o, took, lease.Info())
			}
		}
		return f(inner, conn)
	})
	if err != nil && !called {
		t.failed(ctx, o, clock()-begun, err)
	}
	return err
}

// shortestWait is shorter than any Get that waits takes: it wakes another goroutine. One
// that takes longer is asked whether it has waited.
const shortestWait = time.Microsecond

// origin is any moment. Reading the clock since then reads the monotonic clock only.
var origin = time.Now()

func clock() time.Duration { return time.Since(origin) }

// recorded says whether the context has a span that is recorded.
func recorded(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

// served shows the wait of a Get that has got a connection, if it has waited.
func (t *Traced[C]) served(ctx context.Context, o client.GetOptions, took time.Duration, info messages.LeaseInfo) {
	if info.Wait > 0 {
		t.show(ctx, o, took, info.Wait, nil, pathKey.String(info.Path.String()))
	}
}

// failed shows the wait of a Get that has failed, if it has waited.
func (t *Traced[C]) failed(ctx context.Context, o client.GetOptions, took time.Duration, err error) {
	var e *messages.GetError
	if !errors.As(err, &e) || e.Waited <= 0 {
		return
	}
	if !t.labels {
		err = e.Err // the whole text names the holders by their labels
	}
	t.show(ctx, o, took, e.Waited, err)
}

// show makes the span of a wait that has just ended.
func (t *Traced[C]) show(ctx context.Context, o client.GetOptions, took, wait time.Duration, err error, more ...attribute.KeyValue) {
	now := time.Now()
	attributes := append([]attribute.KeyValue{t.name, waitKey.Float64(wait.Seconds())}, more...)
	if t.labels && o.Label != "" {
		attributes = append(attributes, labelKey.String(catalogue.Clean(o.Label)))
	}
	_, span := t.tracer.Start(ctx, spanName, trace.WithTimestamp(now.Add(-took)), trace.WithAttributes(attributes...))
	if err != nil {
		span.RecordError(err, trace.WithTimestamp(now))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(trace.WithTimestamp(now))
}
