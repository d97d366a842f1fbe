package messages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Errors for errors.Is, which also finds them inside of the error types of this package.
var (
	// ErrClosed: the pool is closed, or closing.
	ErrClosed = errors.New("actorpool: pool is closed")
	// ErrExhausted: MaxWaiters Gets wait already; or a TryGetWith has found no connection
	// that can be lent at once.
	ErrExhausted = errors.New("actorpool: too many waiters")
	// ErrSuspended: the Get's context ended while the pool was suspended. It comes
	// together with the context's error.
	ErrSuspended = errors.New("actorpool: pool is suspended")
	// ErrCleared: the pool is paused, or was cleared while the Get waited. Only with
	// PauseOnClear.
	ErrCleared = errors.New("actorpool: pool was cleared")
	// ErrSuperseded: a later SetCapacity overtook this one.
	ErrSuperseded = errors.New("actorpool: superseded by a later SetCapacity")
	// ErrRecording: another recording of this pool is being made.
	ErrRecording = errors.New("actorpool: a recording is being made already")
	// ErrNilContext: the context is nil.
	ErrNilContext = errors.New("actorpool: nil context")
	// ErrLeaseEnded: the lease had ended before, by Put, Taint or Hijack, or by the pool;
	// or it is the zero lease.
	ErrLeaseEnded = errors.New("actorpool: lease has ended")
	// ErrConnectFailed: the connect that was begun for this Get failed, or Apply did.
	// The error is a *[ConnectError], which unwraps to that of the function.
	ErrConnectFailed = errors.New("actorpool: connect failed")
	// ErrNilConnection: Connect returned a nil connection and no error.
	ErrNilConnection = errors.New("actorpool: Connect returned a nil connection and no error")
	// ErrShed: the pool is overloaded, and rejected the Get or ended its wait. The
	// error is a *[ShedError].
	ErrShed = errors.New("actorpool: overloaded")
	// ErrDeadlock: every connection of the pool is held by a caller that waits for
	// another one of it. Deadlocks are found within one pool. The error is a
	// *[DeadlockError].
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

// Error implements error. The text has one line.
func (e *ConnectError) Error() string { return prefix + e.what() + text(e.Err) }

// what says what has failed.
func (e *ConnectError) what() string {
	if e.Phase == PhaseApply {
		return "applying the setting failed: "
	}
	return "connect failed: "
}

// Format implements fmt.Formatter: %+v gives Err with everything that it has to say.
func (e *ConnectError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *ConnectError) LogValue() slog.Value { return logValue(e) }

func (e *ConnectError) writeDetails(b *strings.Builder) { writeReason(b, "cause", e.Err) }

// Is says that a ConnectError is ErrConnectFailed.
func (e *ConnectError) Is(target error) bool { return target == ErrConnectFailed }

// Unwrap returns Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// BackoffError says that the pool backs off after failed connects, and that no connect
// was tried for this Get: with BackoffFailFast; or because the Get's deadline comes
// before the next attempt, and then Cause is a *[ConnectError]. It is
// [ErrConnectFailed].
type BackoffError struct {
	// Attempt is the number of failed attempts so far.
	Attempt int
	// Until is the earliest time of the next attempt. It is not before the moment of
	// the error.
	Until time.Time
	// Cause is the error of the last attempt.
	Cause error
}

// Error implements error. The text has one line.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("%s%s (attempt %d, next at %s)", prefix, e.reason(), e.Attempt, stamp(e.Until))
}

// reason is the text without the attempts.
func (e *BackoffError) reason() string {
	cause := text(e.Cause)
	if _, ok := e.Cause.(*ConnectError); !ok {
		cause = "connect failed: " + cause
	}
	return "backing off, " + cause
}

// Format implements fmt.Formatter: %+v gives Cause with everything that it has to say.
func (e *BackoffError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *BackoffError) LogValue() slog.Value { return logValue(e) }

func (e *BackoffError) writeDetails(b *strings.Builder) { writeReason(b, "cause", e.Cause) }

// Is says that a BackoffError is ErrConnectFailed.
func (e *BackoffError) Is(target error) bool { return target == ErrConnectFailed }

// Unwrap returns Cause.
func (e *BackoffError) Unwrap() error { return e.Cause }

// GetError says why a Get ended without a connection, and describes the pool at that
// moment. It unwraps to Err. If the pool was closed before the call, or fails at once
// in a blocking period (BackoffFailFast), only Pool, Time, Err, Attempt and NextAttempt
// are set.
type GetError struct {
	// Pool is the pool's name; if no pool has answered, the address of the actor.
	Pool string
	// Time is the moment, by the pool's clock. Gets that fail at once in a blocking
	// period share the error of the first in each millisecond.
	Time time.Time
	// Waited is how long the Get waited.
	Waited time.Duration
	// Position is the place in the queue that the Get got when it arrived, from 1. 0:
	// it did not join the queue.
	Position int
	// Stats is the pool's snapshot. A Get that waited is still counted in Waiting.
	Stats Stats
	// Attempt is the number of failed attempts while the pool backs off, otherwise 0.
	// NextAttempt is the earliest time of the next one. It is never before Time, and
	// zero if the blocking period is over: the next attempt is under way or begins
	// with the next Get.
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

// Error implements error. The text is one line of about 200 characters at most: the
// reason, the note on the capacity if there is one, what the connections do, and the
// holder that has had one for longest. Long reasons are shortened in the middle. %+v
// gives everything.
func (e *GetError) Error() string {
	head, reason := "actorpool "+quote(e.Pool)+": ", text(e.Err)
	connecting := false
	switch err := e.Err.(type) {
	case *ConnectError:
		connecting = true
	case *BackoffError:
		connecting, reason = true, err.reason()
	default:
		head += "no connection"
		if e.Waited > 0 {
			head += " in " + rounded(e.Waited)
		}
		head += ": "
	}
	var facts []string
	if e.Stats.State != "" && !connecting {
		note := shorten(oneLine(e.Stats.CapacityNote), noteLength)
		if note != "" {
			facts = append(facts, note)
		}
		facts = append(facts, counts(&e.Stats))
		_, deadlock := e.Err.(*DeadlockError)
		who := longest(e.Holders)
		fits := note == "" || len(head)+reasonLength+len(strings.Join(facts, "; "))+len(who) <= textLength
		if who != "" && !deadlock && fits {
			facts = append(facts, who)
		}
	}
	if e.Attempt > 0 {
		facts = append(facts, fmt.Sprintf("attempt %d", e.Attempt)+next(e.NextAttempt, e.Time))
	}
	room := textLength - len(head) - len(strings.Join(facts, "; ")) - len(" ()")
	last := ""
	if e.LastConnectError != nil && !strings.Contains(reason, text(e.LastConnectError)) {
		last = text(e.LastConnectError)
		room -= len("; last connect error: ") + min(causeLength, len(last))
	}
	reason = shorten(reason, max(reasonLength, room))
	if last != "" {
		facts = append(facts, "last connect error: "+shorten(last, causeLength+max(0, room-utf8.RuneCountInString(reason))))
	}
	if len(facts) == 0 {
		return head + reason
	}
	return head + reason + " (" + strings.Join(facts, "; ") + ")"
}

// Format implements fmt.Formatter: %+v gives everything, on several lines.
func (e *GetError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *GetError) LogValue() slog.Value { return logValue(e) }

func (e *GetError) writeDetails(b *strings.Builder) {
	writeReason(b, "reason", e.Err)
	if e.Waited > 0 || e.Position > 0 {
		fmt.Fprintf(b, "\nwaited: %s, at place %d of the queue", e.Waited, e.Position)
	}
	if e.Stats.State != "" {
		b.WriteString("\npool: ")
		writeStats(b, &e.Stats)
		fmt.Fprintf(b, " in transition=%d closing=%d", e.Stats.InTransition, e.Stats.Closing)
	}
	writeAttempt(b, e.Attempt, e.NextAttempt)
	if e.LastConnectError != nil {
		writeReason(b, "last connect error", e.LastConnectError)
	}
	section(b, "held by", e.Holders, e.Stats.Borrowed, func(h Holder) string { return h.Stack })
	section(b, "under way", e.Jobs, len(e.Jobs), func(Job) string { return "" })
}

// Unwrap returns Err.
func (e *GetError) Unwrap() error { return e.Err }

// Holder is the holder of a lease.
type Holder struct {
	// ConnID is the id of the connection.
	ConnID uint64 `json:"connID"`
	// Label is that of the Get; empty if it had none.
	Label string `json:"label,omitzero"`
	// Age is how long the lease has been held. AtLeast says that it may be longer: the
	// lease has no label, its connection was idle before, and the pool needs no clock for
	// its leases. Then Age is the longest time that is certain: since an earlier
	// description, by Explain or in an error, showed the lease; since somebody began to
	// wait while it was out, if the queue has not been empty again; or since the pool
	// stopped lending, as Close and Suspend make it do. With LeakAfter or MaxLease every
	// Age is exact.
	Age     time.Duration `json:"age"`
	AtLeast bool          `json:"atLeast,omitzero"`
	// Borrower is the address of the actor that holds it; empty if it is not an actor.
	Borrower string `json:"borrower,omitzero"`
	// Goroutine is the number of the goroutine that called Get, and Stack its stack.
	// The stack is empty unless the pool captures stacks (Config.LeakAfter), and the
	// number is 0 unless it captures that, too (Config.LeakGoroutines).
	Goroutine uint64 `json:"goroutine,omitzero"`
	Stack     string `json:"stack,omitzero"`
	// Waits says that the holder is known to wait for another connection of the same
	// pool: see client.Lease.Context. In a [DeadlockError], Waited is how long it has
	// waited, and WaitsFor is the label of that Get; elsewhere they are zero.
	Waits    bool          `json:"waits,omitzero"`
	Waited   time.Duration `json:"waited,omitzero"`
	WaitsFor string        `json:"waitsFor,omitzero"`
}

// String describes the holder in one line, without the stack.
func (h Holder) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (connection %d, %s", label(h.Label), h.ConnID, age(h.Age, h.AtLeast))
	if h.Borrower != "" {
		fmt.Fprintf(&b, ", actor %s", oneLine(h.Borrower))
	}
	if h.Goroutine != 0 {
		fmt.Fprintf(&b, ", goroutine %d", h.Goroutine)
	}
	b.WriteString(")")
	if h.Waits {
		b.WriteString(" waits for another")
		if h.Waited > 0 {
			fmt.Fprintf(&b, " since %s", rounded(h.Waited))
		}
		if h.WaitsFor != "" {
			fmt.Fprintf(&b, " (%s)", quote(h.WaitsFor))
		}
	}
	return b.String()
}

// label gives a label as holders and waiters show it.
func label(s string) string {
	if s == "" {
		return "unlabelled"
	}
	return quote(s)
}

// Job is a function that runs on a connection of the pool.
type Job struct {
	// ConnID is the id of the connection.
	ConnID uint64 `json:"connID"`
	// Doing says which function it is: "connecting", "checking", "resetting",
	// "applying", "unapplying" or "closing".
	Doing string `json:"doing"`
	// Age is how long it has been running.
	Age time.Duration `json:"age"`
	// For is the label of the Get for which it runs; empty if there is none.
	For string `json:"for,omitzero"`
}

// String describes the job in one line.
func (j Job) String() string {
	s := fmt.Sprintf("%s connection %d for %s", j.Doing, j.ConnID, rounded(j.Age))
	if j.For != "" {
		s += " (" + quote(j.For) + ")"
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
		return prefix + "overloaded: every recent wait is above " + rounded(e.Target)
	}
	return prefix + "overloaded: the wait would be " + rounded(e.Estimate) + ", longer than the deadline allows"
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

// DeadlockError says that every connection of the pool is held by a caller that waits
// for another one of it, so that none can be returned. The newest of these waits ends
// with this error. It is [ErrDeadlock].
type DeadlockError struct {
	// Cycle are holders that wait, at most 16. The first is the one whose wait ended.
	Cycle []Holder
}

// Error implements error. The text is one line, and names the first of Cycle. %+v names
// all.
func (e *DeadlockError) Error() string {
	s := prefix + "deadlock: every holder of a connection waits for another one"
	if len(e.Cycle) > 0 {
		s += fmt.Sprintf("; the newest: %s (connection %d)", label(e.Cycle[0].Label), e.Cycle[0].ConnID)
	}
	return s
}

// Format implements fmt.Formatter: %+v gives all of Cycle, on several lines.
func (e *DeadlockError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *DeadlockError) LogValue() slog.Value { return logValue(e) }

func (e *DeadlockError) writeDetails(b *strings.Builder) {
	section(b, "held by", e.Cycle, len(e.Cycle), func(h Holder) string { return h.Stack })
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

// Error implements error. The text is one line of about 200 characters at most, and
// names the holder that has had a connection for longest. %+v gives everything.
func (e *DrainError) Error() string {
	head := "actorpool " + quote(e.Stats.Name) + ": " + e.Op + " not finished: "
	facts := " (" + counts(&e.Stats)
	if who := longest(e.Holders); who != "" {
		facts += "; " + who
	}
	facts += ")"
	return head + shorten(text(e.Err), max(reasonLength, textLength-len(head)-len(facts))) + facts
}

// Format implements fmt.Formatter: %+v gives everything, on several lines.
func (e *DrainError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *DrainError) LogValue() slog.Value { return logValue(e) }

func (e *DrainError) writeDetails(b *strings.Builder) {
	writeReason(b, "reason", e.Err)
	b.WriteString("\npool: ")
	writeStats(b, &e.Stats)
	fmt.Fprintf(b, " in transition=%d closing=%d", e.Stats.InTransition, e.Stats.Closing)
	section(b, "held by", e.Holders, e.Stats.Borrowed, func(h Holder) string { return h.Stack })
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

// Error implements error. The text has one line.
func (e *ConfigError) Error() string {
	return prefix + "invalid " + oneLine(e.Field) + ": " + oneLine(e.Reason)
}

// ConfigErrors are all the faults of a Config, at least one. errors.As finds the first
// *[ConfigError] in it.
type ConfigErrors []*ConfigError

// Error implements error: the texts of all the faults, in one line.
func (e ConfigErrors) Error() string {
	texts := make([]string, len(e))
	for i, fault := range e {
		texts[i] = fault.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the faults.
func (e ConfigErrors) Unwrap() []error {
	faults := make([]error, len(e))
	for i, fault := range e {
		faults[i] = fault
	}
	return faults
}

// PanicError is the error of a function of a Config that panicked or ended its
// goroutine.
type PanicError struct {
	// Value is the argument of panic.
	Value any
	// Stack is the stack of the panic, as runtime/debug.Stack returns it.
	Stack []byte
}

// Error implements error. The text is one line, without the stack, which %+v gives.
func (e *PanicError) Error() string {
	return prefix + "panic in user code: " + oneLine(fmt.Sprint(e.Value))
}

// Format implements fmt.Formatter: %+v gives the stack, too.
func (e *PanicError) Format(f fmt.State, verb rune) { formatError(e, f, verb) }

// LogValue implements slog.LogValuer: a log has the text of Error.
func (e *PanicError) LogValue() slog.Value { return logValue(e) }

func (e *PanicError) writeDetails(b *strings.Builder) {
	if len(e.Stack) > 0 {
		b.WriteString("\n" + strings.TrimSpace(string(e.Stack)))
	}
}

// Unwrap returns Value if it is an error, otherwise nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// KeyError says that a Set of package client has no pool for a key, because its New has
// failed. The next Get for the key calls New again.
type KeyError struct {
	// Key is the text of the key, by %v.
	Key string
	// Err is what was wrong: [ConfigErrors] of the Config that New returned, or the
	// *[PanicError] of a New that panicked or ended its goroutine.
	Err error
}

// Error implements error. The text is one line.
func (e *KeyError) Error() string { return prefix + "key " + oneLine(e.Key) + ": " + text(e.Err) }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }
