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
	observer *actor.PID    // nil: nobody listens
	process  actor.Process // of the observer
	spare    *batch        // nil: it is with the observer
	sent     *batch        // the one that is with the observer
	timer    *time.Timer   // bounds how long the end of the pool waits for the observer
	overdue  bool          // that time is over
}

// maxWaiting bounds the events that wait for a slow handler.
const maxWaiting = 4096

// batch is events on their way to the observer, which sends it back to be used again.
type batch struct{ log machine.Log }

// IgnoreDeadLetterLogging marks a batch on its way back to a pool that has
// ended as no news.
func (*batch) IgnoreDeadLetterLogging() {}

// next gives the batch to send now, nil if there is none or the observer is
// busy.
func (f *feed) next(m *machine.Machine) *batch {
	b := f.spare
	if b == nil || m.Told() == 0 {
		return nil
	}
	f.spare, f.sent = nil, b
	m.TakeEvents(&b.log)
	return b
}

// send gives the observer a batch.
func (f *feed) send(b *batch) { f.process.SendUserMessage(f.observer, b) }

// returned takes a batch back.
func (f *feed) returned(b *batch) { f.spare, f.sent = b, nil }

// observerStopped is the message of an observer that stops. While the pool lives,
// somebody else has stopped it.
type observerStopped struct{ observer *actor.PID }

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*observerStopped) IgnoreDeadLetterLogging() {}

// delivered says that the end of the pool need not wait for events any more.
func (f *feed) delivered(m *machine.Machine) bool {
	return f.overdue || f.observer == nil || f.spare != nil && m.Told() == 0
}

// observerActor passes events on to the user, in order. Panics in the user's handler
// and in the log handler are contained.
type observerActor struct{ spec *Spec }

// Receive implements actor.Actor.
func (o *observerActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *batch:
		o.deliver(msg)
		ctx.Send(ctx.Parent(), msg)
	case *actor.Stopping:
		ctx.Send(ctx.Parent(), &observerStopped{observer: ctx.Self()})
	}
}

// deliver logs and hands over each event of a batch. A handler that panics or ends its
// goroutine misses no other event, and no handler misses one because of another.
func (o *observerActor) deliver(b *batch) {
	steps := [...]func(*messages.Event){
		o.write,
		func(e *messages.Event) { o.hand("OnEvent", o.spec.OnEvent, e) },
		func(e *messages.Event) {
			if machine.ChangeEvents.Tells(e) {
				o.hand("OnChange", o.spec.OnChange, e)
			}
		},
	}
	var event messages.Event
	done, all := 0, b.log.Len()*len(steps)
	for done < all { // once, unless a handler ends its goroutine
		failure := contain(func() {
			for done < all {
				step := done % len(steps)
				if step == 0 {
					event = b.log.At(done / len(steps))
				}
				done++
				steps[step](&event)
			}
		})
		if failure != nil {
			o.spec.logPanic("An event handler ended its goroutine", failure)
		}
	}
}

// hand gives an event to a handler of the user.
func (o *observerActor) hand(name string, handler func(messages.Event), e *messages.Event) {
	if handler == nil {
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			failure := &messages.PanicError{Value: reason, Stack: debug.Stack()}
			o.spec.logPanic("Panic in "+name, failure, "event", e.Kind.String(), "panic", reason)
		}
	}()
	handler(*e)
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
	defer func() { _ = recover() }() // the log handler's own; there is no other log to write it to
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
