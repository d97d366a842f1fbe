package messages

import (
	"strconv"
	"time"
)

// EventKind says what happened. The list is closed.
type EventKind uint8

// The kinds follow MongoDB's connection monitoring and pooling specification,
// with the pool's own additions.
const (
	// PoolCreated is the first event. To is the capacity.
	PoolCreated EventKind = iota + 1
	// PoolReady: the pool serves, at start, after a pause, or after a backoff.
	PoolReady
	// PoolSuspended: grants have stopped until Resume.
	PoolSuspended
	// PoolResumed: grants go on after a Suspend.
	PoolResumed
	// PoolCleared: a new Generation has begun; Interrupt and Err say how and why.
	PoolCleared
	// PoolBackoff: a blocking period of Duration has begun after failed
	// Attempt number Attempt with Err.
	PoolBackoff
	// PoolClosed: the pool is closed to Gets and its idle connections are
	// closing. Borrowed ones follow when they come back.
	PoolClosed
	// ConnectionCreated: a connect for ConnID has begun.
	ConnectionCreated
	// ConnectionReady: ConnID is established, after Duration.
	ConnectionReady
	// ConnectionClosed: ConnID is closed for Reason, with Err if there is one.
	ConnectionClosed
	// CheckOutStarted: a Get has begun.
	CheckOutStarted
	// CheckOutFailed: a Get ended without a connection, for Reason, after
	// Duration, with Err.
	CheckOutFailed
	// CheckedOut: a Get was given ConnID after Duration.
	CheckedOut
	// CheckedIn: ConnID has come back.
	CheckedIn
	// LeaseLeaked: the lease of ConnID is out for Duration already; Label and
	// Stack say whose it is.
	LeaseLeaked
	// CapacityChanged: the capacity went From, To.
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

// String gives the kind's name, the same as the constant's.
func (k EventKind) String() string { return name(eventKinds[:], int(k), "EventKind") }

// Reason says why a connection was closed or a Get failed.
type Reason uint8

const (
	// ReasonStale (closed): the connection is of an older generation.
	ReasonStale Reason = iota + 1
	// ReasonIdle (closed): it was idle for too long, or one too many.
	ReasonIdle
	// ReasonLifetime (closed): it reached its maximum age.
	ReasonLifetime
	// ReasonError (closed): the connect, a check, a reset or a setting failed.
	ReasonError
	// ReasonCapacity (closed): the pool holds more than its capacity.
	ReasonCapacity
	// ReasonBroken (closed): its holder tainted it.
	ReasonBroken
	// ReasonPoolClosed (closed, failed): the pool is closed.
	ReasonPoolClosed
	// ReasonTimeout (failed): the caller's deadline passed.
	ReasonTimeout
	// ReasonCanceled (failed): the caller left.
	ReasonCanceled
	// ReasonConnectionError (failed): the connect for this caller failed.
	ReasonConnectionError
	// ReasonExhausted (failed): MaxWaiters Gets wait already.
	ReasonExhausted
	// ReasonCleared (failed): the pool is paused, or was cleared.
	ReasonCleared
	// ReasonBackoff (failed): the pool backs off and fails fast.
	ReasonBackoff
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
}

// String gives the reason as it stands in logs, for example "poolClosed".
func (r Reason) String() string { return name(reasons[:], int(r), "Reason") }

// Event is one thing that happened in a pool. It is flat, so that emitting,
// logging and recording it is cheap; the kind says which fields have a meaning.
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// Pool is the pool's name.
	Pool string
	// Seq numbers the events of one pool from 1 without a gap. A gap that a
	// handler sees means that it was too slow and its buffer overflowed.
	Seq uint64
	// Time is when it happened, by the pool's clock.
	Time time.Time
	// ConnID is the connection's id, from 1.
	ConnID uint64
	// Reason is that of ConnectionClosed and CheckOutFailed.
	Reason Reason
	// Duration is how long the thing took: a connect, a wait, the coming
	// backoff, the age of a leaked lease.
	Duration time.Duration
	// Attempt is the number of the failed attempt, from 1 (PoolBackoff).
	Attempt int
	// Generation is the pool's generation.
	Generation uint64
	// Interrupt is that of the Clear (PoolCleared).
	Interrupt bool
	// Label is that of the Get.
	Label string
	// Setting is the one on the connection (CheckedOut).
	Setting any
	// Err is the cause, where there is one.
	Err error
	// Stack is the borrower's, where it was captured (LeaseLeaked).
	Stack string
	// From and To are capacities (CapacityChanged; PoolCreated has To).
	From, To int
}

// Phase says which of the user's functions failed.
type Phase uint8

// The phases of a connection's life in which an error is classified.
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

// String gives the phase in lower case, for example "connect".
func (p Phase) String() string { return name(phases[:], int(p), "Phase") }

// Class says what an error means for the pool.
type Class uint8

const (
	// ClassOverload: the server cannot be reached or does not keep up. The
	// pool backs off.
	ClassOverload Class = iota + 1
	// ClassFatal: the server refuses: a password, a certificate, a name. The
	// pool backs off too.
	ClassFatal
	// ClassClear: what the pool holds is worthless as well. The pool is cleared.
	ClassClear
	// ClassIgnore: the error says nothing about the server. No backoff starts.
	ClassIgnore
)

var classes = [...]string{
	ClassOverload: "overload",
	ClassFatal:    "fatal",
	ClassClear:    "clear",
	ClassIgnore:   "ignore",
}

// String gives the class in lower case, for example "overload".
func (c Class) String() string { return name(classes[:], int(c), "Class") }

func name(names []string, i int, kind string) string {
	if i > 0 && i < len(names) {
		return names[i]
	}
	return kind + "(" + strconv.Itoa(i) + ")"
}
