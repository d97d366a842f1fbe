package messages

import (
	"strconv"
	"time"
)

// EventKind says what happened.
type EventKind uint8

// The kinds are those of MongoDB's specification "Connection Monitoring and Pooling",
// and some of this pool's own. The comments name the fields of Event that are set.
const (
	// PoolCreated is the first event. To is the capacity.
	PoolCreated EventKind = iota + 1
	// PoolReady: the pool lends connections: from the start, after a pause, or after a
	// backoff. In the last case Attempt is the number of attempts that had failed, and
	// Duration the time since the first of them.
	PoolReady
	// PoolSuspended: a Suspend stopped lending.
	PoolSuspended
	// PoolResumed: a Resume ended the Suspend.
	PoolResumed
	// PoolCleared: a new Generation of connections began. Interrupt is that of the
	// Clear, Err the cause, if there is one.
	PoolCleared
	// PoolBackoff: a blocking period of Duration began, because attempt number Attempt
	// failed with Err, which Config.Classify has put in Class.
	PoolBackoff
	// PoolClosed: Close began. Connections that are borrowed are closed later, when
	// they are returned.
	PoolClosed
	// ConnectionCreated: a connect for ConnID began.
	ConnectionCreated
	// ConnectionReady: ConnID is open. The connect took Duration.
	ConnectionReady
	// ConnectionClosed: ConnID is being closed for Reason, with Err if there is one;
	// or its connect failed with Err.
	ConnectionClosed
	// CheckOutStarted: a Get with Label began.
	CheckOutStarted
	// CheckOutFailed: a Get with Label ended without a connection, for Reason, after
	// Duration, with Err. ConnID is set if the Get's context ended in the instant in
	// which it was granted that connection: a CheckedOut and a CheckedIn of it came
	// before, which Stats does not count.
	CheckOutFailed
	// CheckedOut: a Get with Label got ConnID with Setting, after Duration.
	CheckedOut
	// CheckedIn: ConnID, lent to a Get with Label, was returned.
	CheckedIn
	// LeaseLeaked: the lease of ConnID has been held for Duration. Label and Stack are
	// those of its Get; Err is set if the pool ends the lease.
	LeaseLeaked
	// CapacityChanged: the capacity changed from From to To.
	CapacityChanged
)

var eventKinds = [...]string{
	PoolCreated:       "PoolCreated",
	PoolReady:         "PoolReady",
	PoolSuspended:     "PoolSuspended",
	PoolResumed:       "PoolResumed",
	PoolCleared:       "PoolCleared",
	PoolBackoff:       "PoolBackoff",
	PoolClosed:        "PoolClosed",
	ConnectionCreated: "ConnectionCreated",
	ConnectionReady:   "ConnectionReady",
	ConnectionClosed:  "ConnectionClosed",
	CheckOutStarted:   "CheckOutStarted",
	CheckOutFailed:    "CheckOutFailed",
	CheckedOut:        "CheckedOut",
	CheckedIn:         "CheckedIn",
	LeaseLeaked:       "LeaseLeaked",
	CapacityChanged:   "CapacityChanged",
}

// String returns the name of the constant, for example "PoolReady".
func (k EventKind) String() string { return name(eventKinds[:], int(k), "EventKind") }

// Reason says why a connection was closed (ConnectionClosed) or why a Get failed
// (CheckOutFailed).
type Reason uint8

const (
	// ReasonStale (closed): a Clear made it a connection of an old generation.
	ReasonStale Reason = iota + 1
	// ReasonIdle (closed): IdleTimeout or MaxIdle.
	ReasonIdle
	// ReasonLifetime (closed): MaxLifetime.
	ReasonLifetime
	// ReasonError (closed): Connect, Check, Reset, Apply or Unapply failed, or the
	// setting could not be removed.
	ReasonError
	// ReasonCapacity (closed): the capacity was lowered.
	ReasonCapacity
	// ReasonBroken (closed): it was tainted, or the pool ended its lease.
	ReasonBroken
	// ReasonPoolClosed (closed, failed): the pool is closed.
	ReasonPoolClosed
	// ReasonTimeout (failed): the deadline passed.
	ReasonTimeout
	// ReasonCanceled (failed): the context was cancelled, or the borrower stopped.
	ReasonCanceled
	// ReasonConnectionError (failed): the connect for this Get failed, or Apply did.
	ReasonConnectionError
	// ReasonExhausted (failed): no connection was free, and waiting for one was not
	// possible: because of MaxWaiters, ShedHopeless, Shed or a deadlock. Err says which.
	ReasonExhausted
	// ReasonCleared (failed): PauseOnClear: the pool is paused, or was cleared.
	ReasonCleared
	// ReasonBackoff (failed): the pool backs off: see BackoffError.
	ReasonBackoff
	// ReasonUses (closed): MaxUses.
	ReasonUses
	// ReasonHijacked (closed): its holder keeps it, see Lease.Hijack of package client. It
	// is not closed, but the pool has forgotten it.
	ReasonHijacked
)

var reasons = [...]string{
	ReasonStale:           "stale",
	ReasonIdle:            "idle",
	ReasonLifetime:        "lifetime",
	ReasonError:           "error",
	ReasonCapacity:        "capacity",
	ReasonBroken:          "broken",
	ReasonPoolClosed:      "poolClosed",
	ReasonTimeout:         "timeout",
	ReasonCanceled:        "canceled",
	ReasonConnectionError: "connectionError",
	ReasonExhausted:       "exhausted",
	ReasonCleared:         "cleared",
	ReasonBackoff:         "backoff",
	ReasonUses:            "uses",
	ReasonHijacked:        "hijacked",
}

// String returns the reason as it appears in logs, for example "poolClosed".
func (r Reason) String() string { return name(reasons[:], int(r), "Reason") }

// Event is something that happened in a pool. All kinds share this type, so that events
// are cheap to emit and to record. Kind says which of the fields from ConnID on are set.
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// Pool is the pool's name.
	Pool string
	// Seq numbers the events of a pool from 1. If a handler sees a gap, events were
	// dropped because it was too slow.
	Seq uint64
	// Time is when it happened, by the pool's clock.
	Time time.Time
	// ConnID is the id of the connection, from 1.
	ConnID uint64
	// Reason is that of ConnectionClosed and CheckOutFailed.
	Reason Reason
	// Duration is the length of a connect, of a wait, of the coming blocking period or
	// of a backoff that is over, or the age of a leaked lease.
	Duration time.Duration
	// Attempt is the number of the failed attempt, from 1.
	Attempt int
	// Generation is the number of Clears so far. It is always set.
	Generation uint64
	// Interrupt is that of the Clear.
	Interrupt bool
	// Class is that of the failed connect.
	Class Class
	// Label is that of the Get.
	Label string
	// Setting is the setting of the connection; nil if it has none.
	Setting any
	// Err is the cause; nil if there is none.
	Err error
	// Stack is that of the Get, if it was captured: see Config.LeakAfter.
	Stack string
	// From and To are capacities.
	From, To int
}

// Phase says which function of a Config failed.
type Phase uint8

// The phases. Config.Classify gets PhaseConnect only; a [ConnectError] has PhaseConnect
// or PhaseApply.
const (
	PhaseConnect Phase = iota + 1
	PhaseApply
	PhaseUnapply
	PhaseCheck
	PhaseReset
)

var phases = [...]string{
	PhaseConnect: "connect",
	PhaseApply:   "apply",
	PhaseUnapply: "unapply",
	PhaseCheck:   "check",
	PhaseReset:   "reset",
}

// String returns the phase in lower case, for example "connect".
func (p Phase) String() string { return name(phases[:], int(p), "Phase") }

// Class says what a failed connect means for the pool. Any other value has the effect
// of ClassIgnore.
type Class uint8

const (
	// ClassOverload: the server cannot be reached, or is overloaded. The pool backs
	// off.
	ClassOverload Class = iota + 1
	// ClassFatal: the server refuses for a reason that does not pass by itself: a
	// password, a certificate, a name. The pool backs off, as for ClassOverload.
	ClassFatal
	// ClassClear: the open connections are useless, too. The pool is cleared, as by a
	// Clear without Interrupt, and does not back off.
	ClassClear
	// ClassIgnore: the error says nothing about the server. The pool does not back off.
	ClassIgnore
)

var classes = [...]string{
	ClassOverload: "overload",
	ClassFatal:    "fatal",
	ClassClear:    "clear",
	ClassIgnore:   "ignore",
}

// String returns the class in lower case, for example "overload".
func (c Class) String() string { return name(classes[:], int(c), "Class") }

// name returns the i-th name, or a text with the number if there is none.
func name(names []string, i int, kind string) string {
	if i > 0 && i < len(names) {
		return names[i]
	}
	return kind + "(" + strconv.Itoa(i) + ")"
}
