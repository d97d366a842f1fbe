package actors

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// feed is the pool actor's end of the way to the observer. While the observer is
// busy with a batch, events wait with the machine. That is bounded: when a
// handler is so slow that it overflows, the oldest events are dropped; the
// handler sees a gap in Seq, and Stats a count.
type feed struct {
	observer *actor.PID  // nil: nobody listens
	spare    *batch      // nil: it is with the observer
	timer    *time.Timer // bounds how long the end of the pool waits for the observer
	overdue  bool        // that time is over
}

// maxWaiting bounds the events that wait for a slow handler.
const maxWaiting = 4096

// batch is a ring of events on their way to the observer, which sends it back to
// be used again.
type batch struct {
	events []messages.Event
	first  int
}

// IgnoreDeadLetterLogging marks a batch on its way back to a pool that has
// ended as no news.
func (*batch) IgnoreDeadLetterLogging() {}

// next gives the batch to send now, nil if there is none or the observer is
// busy.
func (f *feed) next(m *machine.Machine) *batch {
	b := f.spare
	if b == nil || len(m.Events()) == 0 {
		return nil
	}
	f.spare = nil
	b.events, b.first = m.TakeEvents(b.events)
	return b
}

// delivered says that the end of the pool need not wait for events any more.
func (f *feed) delivered(m *machine.Machine) bool {
	return f.overdue || f.observer == nil || f.spare != nil && len(m.Events()) == 0
}

// observerActor passes events on to the user, in order. A panic in the user's
// handler is contained.
type observerActor struct{ spec *Spec }

// Receive implements actor.Actor.
func (o *observerActor) Receive(ctx actor.Context) {
	if b, ok := ctx.Message().(*batch); ok {
		for i := 0; i < len(b.events); i++ { // once, unless a handler ends its goroutine
			_ = contain(func() {
				for ; i < len(b.events); i++ {
					o.deliver(&b.events[(b.first+i)%len(b.events)])
				}
			})
		}
		ctx.Send(ctx.Parent(), b)
	}
}

func (o *observerActor) deliver(e *messages.Event) {
	defer func() {
		if reason := recover(); reason != nil {
			logger := o.spec.Logger
			if logger == nil { // without a log this would be all that is heard of it
				logger = slog.Default()
			}
			logger.Warn("Panic in OnEvent", "event", e.Kind.String(), "panic", reason, "stack", string(debug.Stack()), "pool", e.Pool)
		}
	}()
	o.write(e)
	if o.spec.OnEvent != nil {
		o.spec.OnEvent(*e)
	}
}

// The messages are those of MongoDB's connection monitoring and pooling
// specification, with the pool's own additions in the same form.
var logMessages = map[messages.EventKind]string{
	messages.PoolCreated:       "Connection pool created",
	messages.PoolReady:         "Connection pool ready",
	messages.PoolSuspended:     "Connection pool suspended",
	messages.PoolResumed:       "Connection pool resumed",
	messages.PoolCleared:       "Connection pool cleared",
	messages.PoolBackoff:       "Connection pool backoff",
	messages.PoolClosed:        "Connection pool closed",
	messages.ConnectionCreated: "Connection created",
	messages.ConnectionReady:   "Connection ready",
	messages.ConnectionClosed:  "Connection closed",
	messages.CheckOutStarted:   "Connection checkout started",
	messages.CheckOutFailed:    "Connection checkout failed",
	messages.CheckedOut:        "Connection checked out",
	messages.CheckedIn:         "Connection checked in",
	messages.LeaseLeaked:       "Connection lease leaked",
	messages.CapacityChanged:   "Connection pool capacity changed",
}

// write logs an event: backoffs and leaks as warnings, the end of a backoff as
// information, the rest for debugging.
func (o *observerActor) write(e *messages.Event) {
	level, message := slog.LevelDebug, logMessages[e.Kind]
	switch {
	case e.Kind == messages.PoolBackoff, e.Kind == messages.LeaseLeaked:
		level = slog.LevelWarn
	case e.Kind == messages.PoolReady && e.Attempt > 0:
		level, message = slog.LevelInfo, message+readyAgain(e)
	}
	logger := o.spec.Logger
	if logger == nil || !logger.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("pool", e.Pool), slog.Uint64("seq", e.Seq))
	if e.ConnID > 0 {
		attrs = append(attrs, slog.Uint64("driverConnectionId", e.ConnID))
	}
	if e.Reason > 0 {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if level == slog.LevelInfo {
		attrs = append(attrs, slog.Float64("durationMS", milliseconds(e.Duration)))
	}
	switch e.Kind {
	case messages.ConnectionReady, messages.CheckedOut, messages.CheckOutFailed, messages.PoolBackoff, messages.LeaseLeaked:
		attrs = append(attrs, slog.Float64("durationMS", milliseconds(e.Duration)))
	case messages.CapacityChanged:
		attrs = append(attrs, slog.Int("from", e.From), slog.Int("to", e.To))
	case messages.PoolCreated:
		attrs = append(attrs, slog.Int("capacity", e.To))
	case messages.PoolCleared:
		attrs = append(attrs, slog.Uint64("generation", e.Generation), slog.Bool("interruptInUseConnections", e.Interrupt))
	}
	if e.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt))
	}
	if e.Class > 0 {
		attrs = append(attrs, slog.String("class", e.Class.String()))
	}
	if e.Label != "" {
		attrs = append(attrs, slog.String("label", e.Label))
	}
	if e.Stack != "" {
		attrs = append(attrs, slog.String("stack", e.Stack))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	logger.LogAttrs(context.Background(), level, message, attrs...)
}

// readyAgain says how long a backoff has lasted: " again after 4.1s, 5 attempts".
func readyAgain(e *messages.Event) string {
	attempts := "1 attempt"
	if e.Attempt > 1 {
		attempts = fmt.Sprintf("%d attempts", e.Attempt)
	}
	return fmt.Sprintf(" again after %v, %s", e.Duration.Round(time.Millisecond), attempts)
}
