package messages

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Sentinel errors. They are found with errors.Is, also inside a [GetError].
var (
	// ErrClosed: the pool is closed, or closing.
	ErrClosed = errors.New("actorpool: pool is closed")
	// ErrExhausted: MaxWaiters Gets wait already.
	ErrExhausted = errors.New("actorpool: too many waiters")
	// ErrSuspended: the caller's context ended while the pool was suspended.
	ErrSuspended = errors.New("actorpool: pool is suspended")
	// ErrCleared: the pool is paused, or was cleared while the caller waited
	// (only with PauseOnClear).
	ErrCleared = errors.New("actorpool: pool was cleared")
	// ErrSuperseded: a SetCapacity was overtaken by a later one.
	ErrSuperseded = errors.New("actorpool: superseded by a later SetCapacity")
	// ErrNilContext: the context is nil.
	ErrNilContext = errors.New("actorpool: nil context")
	// ErrLeaseEnded: the lease was put back, tainted or revoked before, or is
	// the zero lease.
	ErrLeaseEnded = errors.New("actorpool: lease has ended")
	// ErrConnectFailed: the connect that this caller waited for failed. The
	// error is a *[ConnectError], which unwraps to the connector's.
	ErrConnectFailed = errors.New("actorpool: connect failed")
	// ErrNilConnection is the connector's error when Connect returned a nil
	// connection and no error.
	ErrNilConnection = errors.New("actorpool: Connect returned a nil connection and no error")
	// ErrShed: the pool refused the Get, or ended its wait, because it is
	// overloaded. The error is a *[ShedError].
	ErrShed = errors.New("actorpool: overloaded")
	// ErrDeadlock: every connection is held by somebody who waits for another
	// one. The error is a *[DeadlockError].
	ErrDeadlock = errors.New("actorpool: deadlock")
	// ErrBorrowerGone: the actor that borrowed has stopped, or has started anew
	// without its leases.
	ErrBorrowerGone = errors.New("actorpool: the borrower is gone")
	// ErrLeaseExpired is the cause when a lease was ended because it was out for
	// longer than MaxLease.
	ErrLeaseExpired = errors.New("actorpool: the lease was held for longer than MaxLease")
	// ErrLeaseLost is the cause when a lease was ended because nobody could
	// return it any more: it was garbage.
	ErrLeaseLost = errors.New("actorpool: the lease was forgotten, nobody could return it any more")
	// ErrPoolFailed is the cause when the pool itself stopped because of a bug
	// in it. It comes together with [ErrClosed].
	ErrPoolFailed = errors.New("actorpool: pool stopped after an internal failure")
)

// ConnectError says that the connect which this caller waited for failed. It
// is [ErrConnectFailed], and unwraps to the error of the user's function.
type ConnectError struct {
	// Phase is PhaseConnect, or PhaseApply when the connection stood and the
	// setting could not be applied.
	Phase Phase
	// Err is the error of the user's function, or a *[PanicError].
	Err error
}

// Error implements error.
func (e *ConnectError) Error() string {
	if e.Phase == PhaseApply {
		return "actorpool: applying the setting failed: " + text(e.Err)
	}
	return "actorpool: connect failed: " + text(e.Err)
}

// Is makes a ConnectError an ErrConnectFailed.
func (e *ConnectError) Is(target error) bool { return target == ErrConnectFailed }

// Unwrap gives the error of the user's function.
func (e *ConnectError) Unwrap() error { return e.Err }

// BackoffError says that the pool backs off after failed connects and that
// nothing was tried for this caller: the pool is configured to fail fast, or the
// caller's deadline comes before the next attempt.
type BackoffError struct {
	// Attempt is the number of failed attempts so far.
	Attempt int
	// Until is when the next attempt may start.
	Until time.Time
	// Cause is the error of the last attempt.
	Cause error
}

// Error implements error.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("actorpool: backing off after failed attempt %d, next attempt at %s: %s",
		e.Attempt, e.Until.Format(time.RFC3339Nano), strings.TrimPrefix(text(e.Cause), "actorpool: "))
}

// Unwrap gives the cause.
func (e *BackoffError) Unwrap() error { return e.Cause }

// GetError says why a Get ended without a connection, and what the pool looked
// like at that moment. It unwraps to Err.
type GetError struct {
	// Pool is the pool's name.
	Pool string
	// Waited is how long the Get waited.
	Waited time.Duration
	// Position is the place in the queue that the Get was given, from 1. 0: it
	// was not queued.
	Position int
	// Stats is the pool at the moment the Get ended; a Get that waited is still
	// counted among the waiting.
	Stats Stats
	// Attempt is the number of failed attempts and NextAttempt the time of the
	// next one, when the pool was backing off; otherwise zero.
	Attempt     int
	NextAttempt time.Time
	// Holders are some of those who hold the connections, longest first where the
	// pool watches the age of leases; Stats.Borrowed is their number.
	Holders []Holder
	// Jobs are some of those that the pool's connectors are at.
	Jobs []Job
	// LastConnectError is the error of the last connect, nil once one succeeded.
	LastConnectError error
	// Err is the reason: the context's error (and its cause, when it has one),
	// a *[ConnectError], a *[BackoffError] or one of the sentinels.
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
	if !errors.Is(e.Err, ErrDeadlock) { // which tells of them
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

// Unwrap gives the reason.
func (e *GetError) Unwrap() error { return e.Err }

// Holder is somebody who holds a connection.
type Holder struct {
	// ConnID is the connection's id.
	ConnID uint64
	// Label is that of the Get; empty if it had none.
	Label string
	// Age says how long the lease is out. For a lease without a label that was
	// served from an idle connection, in a pool that needs no clock, it is a bound:
	// of a pool that drains a lower one, the time since that began; otherwise an
	// upper one, the time since the pool last looked at its clock before the lease.
	Age time.Duration
	// Borrower is the address of the actor that holds it; empty if it is none.
	Borrower string
	// Goroutine is the number of the goroutine that got it, and Stack where in the
	// program that was; zero where they were not captured, see LeakAfter.
	Goroutine uint64
	Stack     string
	// Waits says that the holder waits for another connection of the same pool,
	// since Waited, with a Get labelled WaitsFor. It is known of those who wait
	// with the context of their lease.
	Waits    bool
	Waited   time.Duration
	WaitsFor string
}

// String says who it is, in a few words: without the stack.
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

// Job is something that a connector of the pool is at.
type Job struct {
	// ConnID is the connection's id.
	ConnID uint64
	// Doing is connecting, checking, resetting, applying, unapplying or closing.
	Doing string
	// Age is how long it has been at it.
	Age time.Duration
	// For is the label of the Get that it is done for, if there is one.
	For string
}

// String says what it is in a few words.
func (j Job) String() string {
	s := fmt.Sprintf("%s connection %d for %s", j.Doing, j.ConnID, j.Age)
	if j.For != "" {
		s += " (" + j.For + ")"
	}
	return s
}

// ShedError says that a Get was refused, or its wait ended, because the pool is
// overloaded. It is [ErrShed].
type ShedError struct {
	// Estimate is how long the Get would have waited, at the rate at which
	// connections come back of late: longer than its deadline allows
	// (ShedHopeless).
	Estimate time.Duration
	// Target is that of CoDel, if that was the reason: nobody has been served within
	// it of late, and this wait was twice as long.
	Target time.Duration
}

// Error implements error.
func (e *ShedError) Error() string {
	if e.Target > 0 {
		return fmt.Sprintf("actorpool: overloaded: every wait of late is above %s", e.Target)
	}
	return fmt.Sprintf("actorpool: overloaded: the wait would be %s, longer than the deadline allows", e.Estimate)
}

// Is makes a ShedError an ErrShed.
func (e *ShedError) Is(target error) bool { return target == ErrShed }

// DeadlockError says that every connection is held by somebody who waits for
// another one, so that none comes back. The newest of these waits ends with it.
// It is [ErrDeadlock].
type DeadlockError struct {
	// Cycle are those who hold and wait, at most 16. The first is whose wait
	// has ended.
	Cycle []Holder
}

// Error implements error.
func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("actorpool: deadlock: every connection is held by somebody who waits for another")
	writeHolders(&b, e.Cycle)
	return b.String()
}

// Is makes a DeadlockError an ErrDeadlock.
func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }

// DrainError says that SetCapacity or Close ran out of time: what is still
// open, and who holds it. It unwraps to the context's error. The lower
// capacity, or the closing, stays in force.
type DrainError struct {
	// Op is "set capacity" or "close".
	Op string
	// Stats is the pool at that moment.
	Stats Stats
	// Holders are those who hold connections, longest first; at most 100.
	Holders []Holder
	// Err is the context's error.
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

// Unwrap gives the context's error.
func (e *DrainError) Unwrap() error { return e.Err }

// ConfigError says which field is wrong, and why. Nothing was started or
// changed.
type ConfigError struct {
	// Field is the field's name, for example "MinIdle" or "Backoff.Jitter".
	Field string
	// Reason names the value and the rule that it breaks.
	Reason string
}

// Error implements error.
func (e *ConfigError) Error() string {
	return "actorpool: invalid " + e.Field + ": " + e.Reason
}

// PanicError is the error of a user's function that panicked.
type PanicError struct {
	// Value is what it panicked with.
	Value any
	// Stack is the stack of the panic.
	Stack []byte
}

// Error implements error. The stack is left to whoever wants it.
func (e *PanicError) Error() string { return fmt.Sprintf("actorpool: panic in user code: %v", e.Value) }

// Unwrap gives the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func writeStats(b *strings.Builder, s *Stats) {
	fmt.Fprintf(b, "state=%s capacity=%d open=%d borrowed=%d idle=%d connecting=%d waiting=%d",
		s.State, s.Capacity, s.Open, s.Borrowed, s.Idle, s.Connecting, s.Waiting)
}

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

func text(err error) string {
	if err == nil {
		return "no cause given"
	}
	return err.Error()
}
