package messages

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// LeaseID identifies a lease. When the lease has ended, by Put, by Taint or by the
// pool, its LeaseID is invalid for ever: a late Put with it cannot affect the
// connection's next holder. Only leases that were granted by message have one.
type LeaseID struct {
	// Conn is the id of the connection, from 1. A pool never uses an id again.
	Conn uint64
	// Epoch is random and different for each lease. Whoever knows it may end the lease.
	Epoch uint64
}

// Get asks for a connection. It is answered once, by *[Lease] or *[Denied]. A Get
// without a sender cannot be answered, and is ignored.
type Get struct {
	// Setting asks for a connection with this setting. Settings are compared with ==.
	// If they cannot be, or if the pool has no Apply, the Get is denied with a
	// *[ConfigError]. nil: a connection without a setting.
	Setting any
	// Label says what the connection is for. It appears in events, in explanations,
	// and in the errors of other Gets that wait for the connection.
	Label string
	// Deadline ends the wait: the Get is then denied with context.DeadlineExceeded.
	// Zero: no deadline; Config.GetTimeout does not apply. For a Get by future it
	// should not be later than the future's timeout, so that the pool does not lend a
	// connection to a future that nobody waits for.
	Deadline time.Time
	// Borrower is the actor that borrows, if it is not the sender: the sender of a Get
	// by future is the future. It must be in the pool's own actor system. The pool
	// watches it: when it stops, its lease ends, and the connection goes through
	// Reset, or is closed if there is none. nil: the sender.
	Borrower *actor.PID
}

// Lease answers a [Get] with a connection. The holder ends the lease with one [Put]
// or one [Taint].
type Lease struct {
	// ID identifies the lease in Put and Taint.
	ID LeaseID
	// Conn is the connection, of the type that the pool's Connect returns. Do not use
	// it after the lease has ended.
	Conn any
	// Setting is the setting of the connection; nil if it has none.
	Setting any
}

// Denied answers a [Get] that ended without a connection.
type Denied struct {
	// Err is the reason: usually a *[GetError]; see the errors of this package.
	Err error
}

// Put returns a connection and ends its lease. If it was sent as a request, it is
// answered by *[Done]. If the lease had ended before, or never existed, the answer's
// Err is [ErrLeaseEnded], and nothing changes.
type Put struct {
	// Lease is the ID of the lease to end.
	Lease LeaseID
}

// Taint returns a connection that must not be used again, and ends its lease. The
// connection is closed, and a new one is opened if it is needed. It is answered as
// [Put] is.
type Taint struct {
	// Lease is the ID of the lease to end.
	Lease LeaseID
	// Cause appears in events and logs. It may be nil.
	Cause error
}

// SetCapacity changes the largest number of connections. It is answered by *[Done]
// when no more than Capacity connections are open, being opened or being closed. The
// answer's Err is [ErrSuperseded] if a later SetCapacity overtakes this one, a
// *[ConfigError] if Capacity is negative, and [ErrClosed] after Close.
type SetCapacity struct {
	// Capacity is the new number. With 0, Gets wait until it is raised.
	Capacity int
	// Note says in a few words why the capacity is what it is, for example "fleet: no
	// quota". It appears in Stats, and with that in explanations and errors, and in
	// Health, until the next SetCapacity gives another one or none. Of a longer text the
	// pool keeps the first 200 characters.
	Note string
}

// SetMinIdle changes the number of idle connections that the pool keeps ready, see
// MinIdle in client.Config. It is answered by *[Done], at once: connections that are
// missing are opened in the background. The answer's Err is a *[ConfigError] if MinIdle
// is negative, above the capacity or above MaxIdle, and [ErrClosed] after Close.
type SetMinIdle struct {
	// MinIdle is the new number.
	MinIdle int
}

// Warm makes the pool open connections until Connections are open, borrowed ones
// included. It is answered by *[Done] when they are, or with a *[GetError] when a
// connect fails before. The answer's Err is a *[ConfigError] if Connections is negative,
// above the capacity or above MaxIdle, [ErrCleared] while the pool is paused, and
// [ErrClosed] after Close.
type Warm struct {
	// Connections is the number of connections that shall be open.
	Connections int
}

// Clear starts a new generation of connections: those of the old one are closed, idle
// ones at once and borrowed ones when they are returned. A backoff ends. With
// PauseOnClear the pool is paused. It is answered by *[Done], at once; its Err is
// [ErrClosed] after Close.
type Clear struct {
	// Interrupt also cancels the functions that run on connections, and ends all
	// leases: borrowed connections are closed even while their holders use them.
	Interrupt bool
}

// Suspend stops lending: every Get waits until [Resume]. Connections can be returned.
// It is answered by *[Done]; its Err is [ErrClosed] after Close.
type Suspend struct{}

// Resume ends a [Suspend] and the pause of a pool with PauseOnClear. It is answered by
// *[Done]; its Err is [ErrClosed] after Close.
type Resume struct{}

// Release ends all leases and waits of a borrower. Its connections go through Reset,
// or are closed if there is none. Send it for an actor that is restarted: the pool
// notices by itself when a borrower stops, but not when it is restarted. The
// middleware actors.ReleaseOnRestart sends it. It is answered by *[Released], also
// after Close.
type Release struct {
	// Borrower is the actor whose leases and waits end. nil: the sender.
	Borrower *actor.PID
}

// Released answers [Release]. A [Lease] that arrives before it has ended.
type Released struct{}

// ExplainRequest asks for a detailed description of the pool, which a large pool makes
// over several turns. It is answered by
// *[Explanation]; when the last connection has been closed after Close, by *[Done]
// with [ErrClosed].
type ExplainRequest struct{}

// StatsRequest asks for the pool's numbers. It is answered by *[Stats], also after
// Close.
type StatsRequest struct{}

// Close closes the pool. It cancels the functions that run on connections, except
// Disconnect; denies Gets that wait, with [ErrClosed]; and closes idle connections at
// once, borrowed ones when they are returned. It is answered by *[Done] when no
// connection is left, or with a *[DrainError] when Deadline passes first. The pool is
// closed in both cases. Close may be sent again.
type Close struct {
	// Deadline bounds the wait for borrowed connections. Zero: no bound.
	Deadline time.Time
}

// HealthOK reports, from a health check of the server outside of the pool, that the
// server answers. It ends a pause of PauseOnClear, as [Resume] does, and has no other
// effect: it does not end a Suspend or a backoff. It is not answered.
type HealthOK struct{}

// HealthFailed reports, from a health check of the server outside of the pool, that
// the server does not answer. It clears the pool, as [Clear] does. It is not answered.
type HealthFailed struct {
	// Err is the cause. It appears in events and in the errors of later Gets.
	Err error
	// Interrupt is that of Clear.
	Interrupt bool
}

// Done answers a request that returns only success or an error.
type Done struct {
	// Err is nil on success.
	Err error
}
