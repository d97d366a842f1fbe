package messages

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// LeaseID names one loan of one connection. It is a fence: as soon as the
// loan ends, by Put, by Taint or because the pool revoked it, the LeaseID is
// refused and can never touch the connection's next holder.
type LeaseID struct {
	// Conn is the connection's id, from 1; never reused within a pool.
	Conn uint64
	// Epoch grows with every loan of the connection, from 1.
	Epoch uint64
}

// Get asks for a connection. It is answered by *[Lease] or *[Denied], once. A
// Get without a sender to answer to is refused: nothing happens.
type Get struct {
	// Setting asks for a connection with this setting applied. It is compared
	// with ==. nil: a connection without a setting.
	Setting any
	// Label says what the connection is for; it appears in events, in the
	// errors of others who wait, and in the report of a drain that ran out of
	// time.
	Label string
	// Deadline ends the wait with *[Denied] carrying
	// context.DeadlineExceeded. Zero: wait without a bound. A Get by future
	// should set it no later than the future's timeout, so that the pool knows
	// when nobody listens any more.
	Deadline time.Time
	// Borrower says who borrows when that is not the sender, as with a future:
	// a future's PID names nobody. nil: the sender. A borrower that is an actor is
	// watched: when it stops its lease ends, and the connection goes through Reset
	// or is closed. It must be an actor of the pool's own system.
	Borrower *actor.PID
}

// Lease answers a [Get] that was granted. The holder ends it with one [Put] or
// one [Taint].
type Lease struct {
	// ID goes into Put or Taint.
	ID LeaseID
	// Conn is the connection, of the type that the pool's Connect returns.
	Conn any
	// Setting is the setting on the connection, nil if it is clean.
	Setting any
}

// Denied answers a [Get] that ended without a connection.
type Denied struct {
	// Err says why; see the errors of this package.
	Err error
}

// Put returns a connection. When it was sent as a request it is answered by
// *[Done], whose Err is [ErrLeaseEnded] if the lease had ended before.
type Put struct {
	// Lease is the ID of the lease to end.
	Lease LeaseID
}

// Taint returns a connection that must not be used again: it is closed, and a
// replacement opens if somebody needs it. When it was sent as a request it is
// answered by *[Done], as [Put] is.
type Taint struct {
	// Lease is the ID of the lease to end.
	Lease LeaseID
	// Cause is the reason, for events and logs. It may be nil.
	Cause error
}

// SetCapacity changes how many connections the pool may hold. It is answered
// by *[Done] once open, connecting and closing connections together are within
// the new capacity; with [ErrSuperseded] if a later SetCapacity overtakes it;
// with a *[ConfigError] if Capacity is negative; with [ErrClosed] after Close.
type SetCapacity struct {
	// Capacity is the new bound. 0 is legal: no connection is held, and Gets
	// wait until it is raised.
	Capacity int
}

// Clear starts a new generation: idle connections of older generations are
// closed now, borrowed ones when they return. Answered by *[Done].
type Clear struct {
	// Interrupt also cancels connects under way and revokes leases: borrowed
	// connections are closed under their holders.
	Interrupt bool
}

// Suspend stops grants: Gets wait, returns work. Answered by *[Done].
type Suspend struct{}

// Resume ends Suspend, and the pause of a pool configured with PauseOnClear.
// Answered by *[Done].
type Resume struct{}

// Release ends all leases and waits of a borrower at once, in its stead: the
// connections go through Reset, or are closed where there is none. It is for an
// actor that starts anew; of one that stops the pool learns by itself. It is
// answered by *[Released].
type Release struct {
	// Borrower is whose they are. nil: the sender's.
	Borrower *actor.PID
}

// Released answers [Release]. A [Lease] that comes before it has ended.
type Released struct{}

// ExplainRequest is answered by *[Explanation].
type ExplainRequest struct{}

// StatsRequest is answered by *[Stats].
type StatsRequest struct{}

// Close ends the pool: connects and checks under way are cancelled, waiters
// get [ErrClosed], idle connections are closed, borrowed ones when they come
// back. Answered by *[Done] once no connection is left, or with a
// *[DrainError] when the deadline passes first. The pool is closed either way.
type Close struct {
	// Deadline bounds the wait for borrowed connections. Zero: no bound.
	Deadline time.Time
}

// HealthOK reports, from a monitor outside, that the server answers. It
// resumes a pool that is paused by PauseOnClear and changes nothing else: in
// particular it does not end a backoff. It is not answered.
type HealthOK struct{}

// HealthFailed reports, from a monitor outside, that the server does not
// answer. It clears the pool as [Clear] does. It is not answered.
type HealthFailed struct {
	// Err is the cause, for events and for the errors of later Gets.
	Err error
	// Interrupt is that of [Clear].
	Interrupt bool
}

// Done answers a request that yields nothing but success or an error.
type Done struct {
	// Err is nil on success.
	Err error
}
