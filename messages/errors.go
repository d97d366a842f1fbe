package messages

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Errors for errors.Is, which also finds them inside of the error types of this package.
var (
	// ErrClosed: the pool is closed, or closing.
	ErrClosed = errors.New("actorpool: pool is closed")
	// ErrExhausted: MaxWaiters Gets wait already.
	ErrExhausted = errors.New("actorpool: too many waiters")
	// ErrSuspended: the Get's context ended while the pool was suspended. It comes
	// together with the context's error.
	ErrSuspended = errors.New("actorpool: pool is suspended")
	// ErrCleared: the pool is paused, or was cleared while the Get waited. Only with
	// PauseOnClear.
	ErrCleared = errors.New("actorpool: pool was cleared")
	// ErrSuperseded: a later SetCapacity overtook this one.
	ErrSuperseded = errors.New("actorpool: superseded by a later SetCapacity")
	// ErrNilContext: the context is nil.
	ErrNilContext = errors.New("actorpool: nil context")
	// ErrLeaseEnded: the lease had ended before, by Put, by Taint or by the pool; or
	// it is the zero lease.
	ErrLeaseEnded = errors.New("actorpool: lease has ended")
	// ErrConnectFailed: the connect that was begun for this Get failed, or Apply did.
	// The error is a *[ConnectError], which unwraps to that of the function.
	ErrConnectFailed = errors.New("actorpool: connect failed")
	// ErrNilConnection: Connect returned a nil connection and no error.
	ErrNilConnection = errors.New("actorpool: Connect returned a nil connection and no error")
	// ErrShed: the pool is overloaded, and rejected the Get or ended its wait. The
	// error is a *[ShedError].
	ErrShed = errors.New("actorpool: overloaded")
	// ErrDeadlock: every connection is held by a caller that waits for another one.
	// The error is a *[DeadlockError].
	ErrDeadlock = errors.New("actorpool: deadlock")
	// ErrBorrowerGone: the actor that borrowed has stopped, or its leases were released
	// (see [Release]).
	ErrBorrowerGone = errors.New("actorpool: the borrower is gone")
	// ErrLeaseExpired is the cause in events if MaxLease ended the lease.
	ErrLeaseExpired = errors.New("actorpool: the lease was held for longer than MaxLease")
	// ErrLeaseLost is the cause in events if the lease was garbage, so that nobody
	// could return its connection (see Config.LeakAfter).
	ErrLeaseLost = errors.New("actorpool: the lease was forgotten, nobody could return it any more")
	// ErrPoolFailed: the pool actor stopped because of a panic in it, which is a bug.
	// It comes together with [ErrClosed].
	ErrPoolFailed = errors.New("actorpool: pool stopped after an internal failure")
)

// ConnectError says that the connect which was begun for this Get failed, or that Apply
// did. It is [ErrConnectFailed], and unwraps to the error of the function.
type ConnectError struct {
	// Phase is the function that failed: PhaseConnect or PhaseApply.
	Phase Phase
	// Err is the error of the function, or a *[PanicError].
	Err error
}

// Error implements error.
func (e *ConnectError) Error() string {
	if e.Phase == PhaseApply {
		return "actorpool: applying the setting failed: " + text(e.Err)
	}
	return "actorpool: connect failed: " + text(e.Err)
}

// Is says that a ConnectError is ErrConnectFailed.
func (e *ConnectError) Is(target error) bool { return target == ErrConnectFailed }

// Unwrap returns Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// BackoffError says that the pool backs off after failed connects, and that no connect
// was tried for this Get: with BackoffFailFast; or because the Get's deadline comes
// before the next attempt, and then Cause is a *[ConnectError].
type BackoffError struct {
	// Attempt is the number of failed attempts so far.
	Attempt int
	// Until is the earliest time of the next attempt.
	Until time.Time
	// Cause is the error of the last attempt.
	Cause error
}

// Error implements error.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("actorpool: backing off after failed attempt %d, next attempt at %s: %s",
		e.Attempt, e.Until.Format(time.RFC3339Nano), strings.TrimPrefix(text(e.Cause), "actorpool: "))
}

// Unwrap returns Cause.
func (e *BackoffError) Unwrap() error { return e.Cause }

// GetError says why a Get ended without a connection, and describes the pool at that
// moment. It unwraps to Err.
type GetError struct {
	// Pool is the pool's name.
	Pool string
	// Waited is how long the Get waited.
	Waited time.Duration
	// Position is the place in the queue that the Get got when it arrived, from 1. 0:
	// it did not join the queue.
	Position int
	// Stats is the pool's snapshot. A Get that waited is still counted in Waiting.
	Stats Stats
	// Attempt is the number of failed attempts, and NextAttempt the time of the next
	// one, while the pool backs off. Otherwise they are zero.
	Attempt     int
	NextAttempt time.Time
	// Holders are some holders of connections, at most 8; longest first if the pool
	// watches the age of leases (LeakAfter, MaxLease). Stats.Borrowed is their number.
	Holders []Holder
	// Jobs are some of the functions that run on connections, at most 8.
	Jobs []Job
	// LastConnectError is the error of the last connect; nil if that succeeded.
	LastConnectError error
	// Err is the reason: the context's error, together with its cause if there is one;
	// a *[ConnectError], *[BackoffError], *[ShedError] or *[DeadlockError]; or one of
	// the errors above.
	Err error
}

// Error implements error.
func (e *GetError) Error() string {
	var b strings.Builder
	b.WriteString("actorpool: ")
	b.WriteString(strconv.Quote(e.Pool))
	b.WriteString(": no connection")
	if e.Waited > 0 {
		b.WriteString(" after ")
		b.WriteString(e.Waited.String())
	}
	b.WriteString(": ")
	b.WriteString(strings.TrimPrefix(text(e.Err), "actorpool: "))
	b.WriteString(" (")
	if e.Position > 0 {
		fmt.Fprintf(&b, "position=%d ", e.Position)
	}
	writeStats(&b, &e.Stats)
	if e.Attempt > 0 {
		fmt.Fprintf(&b, " attempt=%d next=%s", e.Attempt, e.NextAttempt.Format(time.RFC3339Nano))
	}
	if e.LastConnectError != nil && !errors.Is(e.Err, e.LastConnectError) {
		fmt.Fprintf(&b, " last connect error: %v", e.LastConnectError)
	}
	b.WriteString(")")
	if !errors.Is(e.Err, ErrDeadlock) { // a DeadlockError names the holders itself
		writeHolders(&b, e.Holders)
	}
	for i, j := range e.Jobs {
		if i == 0 {
			b.WriteString("; under way: ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(j.String())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *GetError) Unwrap() error { return e.Err }

// Holder is the holder of a lease.
type Holder struct {
	// ConnID is the id of the connection.
	ConnID uint64
	// Label is that of the Get; empty if it had none.
	Label string
	// Age is how long the lease has been held. It is an estimate if the lease has no
	// label, the connection was idle before, and the pool needs no clock for its
	// leases. Then it is the time since the pool last read its clock before the lease,
	// which is too long; or, while SetCapacity or Close waits for returns, at most the
	// time since that began, which is too short.
	Age time.Duration
	// Borrower is the address of the actor that holds it; empty if it is not an actor.
	Borrower string
	// Goroutine is the number of the goroutine that called Get, and Stack its stack.
	// They are zero unless the pool captures stacks: see Config.LeakAfter.
	Goroutine uint64
	Stack     string
	// Waits says that the holder is known to wait for another connection of the same
	// pool: see client.Lease.Context. In a [DeadlockError], Waited is how long it has
	// waited, and WaitsFor is the label of that Get; elsewhere they are zero.
	Waits    bool
	Waited   time.Duration
	WaitsFor string
}

// String describes the holder in one line, without the stack.
func (h Holder) String() string {
	label := h.Label
	if label == "" {
		label = "unlabelled"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (connection %d, %s", label, h.ConnID, h.Age)
	if h.Borrower != "" {
		fmt.Fprintf(&b, ", actor %s", h.Borrower)
	}
	if h.Goroutine != 0 {
		fmt.Fprintf(&b, ", goroutine %d", h.Goroutine)
	}
	b.WriteString(")")
	if h.Waits {
		b.WriteString(" waits for another")
		if h.Waited > 0 {
			fmt.Fprintf(&b, " since %s", h.Waited)
		}
		if h.WaitsFor != "" {
			fmt.Fprintf(&b, " (%s)", h.WaitsFor)
		}
	}
	return b.String()
}

// Job is a function that runs on a connection of the pool.
type Job struct {
	// ConnID is the id of the connection.
	ConnID uint64
	// Doing says which function it is: "connecting", "checking", "resetting",
	// "applying", "unapplying" or "closing".
	Doing string
	// Age is how long it has been running.
	Age time.Duration
	// For is the label of the Get for which it runs; empty if there is none.
	For string
}

// String describes the job in one line.
func (j Job) String() string {
	s := fmt.Sprintf("%s connection %d for %s", j.Doing, j.ConnID, j.Age)
	if j.For != "" {
		s += " (" + j.For + ")"
	}
	return s
}

// ShedError says that the pool is overloaded, and that it rejected the Get or ended its
// wait for that reason. It is [ErrShed]. One of its fields is set.
type ShedError struct {
	// Estimate is how long the Get would have waited, at the rate at which the last
	// waiters were served: longer than its deadline allows. Set by ShedHopeless.
	Estimate time.Duration
	// Target is that of Config.Shed: no Get was served within it for an Interval, and
	// this one waited for twice as long. Set by Shed.
	Target time.Duration
}

// Error implements error.
func (e *ShedError) Error() string {
	if e.Target > 0 {
		return fmt.Sprintf("actorpool: overloaded: every wait of late is above %s", e.Target)
	}
	return fmt.Sprintf("actorpool: overloaded: the wait would be %s, longer than the deadline allows", e.Estimate)
}

// Is says that a ShedError is ErrShed.
func (e *ShedError) Is(target error) bool { return target == ErrShed }

// ReserveError says that less than Config.Reserve was left until the caller's
// deadline: a connection would have come too late to be used. It unwraps to
// context.DeadlineExceeded.
type ReserveError struct {
	// Reserve is that of the pool's configuration.
	Reserve time.Duration
}

// Error implements error.
func (e *ReserveError) Error() string {
	return fmt.Sprintf("actorpool: less than Reserve, %s, is left until the deadline", e.Reserve)
}

// Unwrap gives context.DeadlineExceeded.
func (e *ReserveError) Unwrap() error { return context.DeadlineExceeded }

// DeadlockError says that every connection is held by a caller that waits for another
// one, so that none can be returned. The newest of these waits ends with this error. It
// is [ErrDeadlock].
type DeadlockError struct {
	// Cycle are holders that wait, at most 16. The first is the one whose wait ended.
	Cycle []Holder
}

// Error implements error.
func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("actorpool: deadlock: every connection is held by somebody who waits for another")
	writeHolders(&b, e.Cycle)
	return b.String()
}

// Is says that a DeadlockError is ErrDeadlock.
func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }

// DrainError says that the context of SetCapacity or Close ended before enough
// connections were closed. It unwraps to the context's error. The new capacity stays,
// or the pool stays closed, all the same.
type DrainError struct {
	// Op is "set capacity" or "close".
	Op string
	// Stats is the pool's snapshot.
	Stats Stats
	// Holders are the holders of connections, at most 100, longest first.
	Holders []Holder
	// Err is the context's error, or context.DeadlineExceeded for a [Close] message.
	Err error
}

// Error implements error.
func (e *DrainError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "actorpool: %q: %s not finished: %s (", e.Stats.Name, e.Op, text(e.Err))
	writeStats(&b, &e.Stats)
	b.WriteString(")")
	writeHolders(&b, e.Holders)
	return b.String()
}

// Unwrap returns Err.
func (e *DrainError) Unwrap() error { return e.Err }

// ConfigError says that a value is invalid: a field of a Config, or an argument.
// Nothing was started or changed.
type ConfigError struct {
	// Field is its name, for example "MinIdle" or "Backoff.Jitter".
	Field string
	// Reason says what the value is and which rule it breaks.
	Reason string
}

// Error implements error.
func (e *ConfigError) Error() string {
	return "actorpool: invalid " + e.Field + ": " + e.Reason
}

// PanicError is the error of a function of a Config that panicked or ended its
// goroutine.
type PanicError struct {
	// Value is the argument of panic.
	Value any
	// Stack is the stack of the panic, as runtime/debug.Stack returns it.
	Stack []byte
}

// Error implements error. The text does not contain the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("actorpool: panic in user code: %v", e.Value) }

// Unwrap returns Value if it is an error, otherwise nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// writeStats writes the numbers that all errors and explanations show.
func writeStats(b *strings.Builder, s *Stats) {
	fmt.Fprintf(b, "state=%s capacity=%d open=%d borrowed=%d idle=%d connecting=%d waiting=%d",
		s.State, s.Capacity, s.Open, s.Borrowed, s.Idle, s.Connecting, s.Waiting)
}

// writeHolders writes the list of holders, nothing if it is empty.
func writeHolders(b *strings.Builder, holders []Holder) {
	for i, h := range holders {
		if i == 0 {
			b.WriteString("; held by ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(h.String())
	}
}

// text returns the text of an error that may be nil.
func text(err error) string {
	if err == nil {
		return "no cause given"
	}
	return err.Error()
}
