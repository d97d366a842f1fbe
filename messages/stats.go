package messages

import "time"

// States of a pool, as in [Stats].State. The first that holds is shown, in the
// order closed, closing, paused, suspended, probing, backoff, ready.
const (
	StateReady     = "ready"     // serves, and connects when it needs to
	StatePaused    = "paused"    // PauseOnClear: Gets fail with ErrCleared until Resume
	StateSuspended = "suspended" // Gets wait until Resume
	StateBackoff   = "backoff"   // blocked: no connect until the period is over
	StateProbing   = "probing"   // the period is over: one connect at a time
	StateClosing   = "closing"   // closed to Gets, connections still come back
	StateClosed    = "closed"    // nothing is left
)

// Stats is what a pool looked like at one moment. All fields are of the same
// moment: Open = Idle + Borrowed + InTransition holds in every snapshot, and
// Open + Connecting + Closing <= Capacity unless a reduction is still draining.
type Stats struct {
	// Name is the pool's name.
	Name string
	// State is one of the State constants.
	State string
	// Generation counts the Clears, from 0.
	Generation uint64

	// Capacity is the bound on connections.
	Capacity int
	// Open counts established connections: idle, borrowed, or in transition.
	Open int
	// Idle counts those that can be handed out.
	Idle int
	// Borrowed counts those that are out on a lease.
	Borrowed int
	// InTransition counts those that a connector checks, resets or prepares.
	InTransition int
	// Connecting counts connects under way.
	Connecting int
	// Closing counts connections whose Disconnect runs.
	Closing int
	// Waiting counts Gets that wait.
	Waiting int

	// Gets counts the Gets since start, however they ended.
	Gets uint64
	// Grants counts the Gets that got a connection.
	Grants uint64
	// Waits counts the Gets that had to wait, for a return or for a connect.
	Waits uint64
	// WaitTime is the time that granted Gets have waited, added up.
	WaitTime time.Duration
	// Timeouts counts the Gets that ended with their deadline.
	Timeouts uint64
	// Cancels counts the Gets whose caller left for another reason.
	Cancels uint64
	// Connects counts the connects begun, ConnectErrors those that failed.
	Connects, ConnectErrors uint64
	// Puts counts returns, Taints returns of connections not to be used again.
	Puts, Taints uint64
	// ClosedIdle counts connections closed after IdleTimeout or above MaxIdle.
	ClosedIdle uint64
	// ClosedLifetime counts connections closed after MaxLifetime.
	ClosedLifetime uint64
	// ClosedStale counts connections of an older generation.
	ClosedStale uint64
	// ClosedBroken counts tainted connections and those that failed a check,
	// a reset or a setting.
	ClosedBroken uint64
	// ClosedCapacity counts connections closed because the capacity fell.
	ClosedCapacity uint64
	// Backoffs counts blocking periods begun.
	Backoffs uint64
	// Leaks counts leases reported as leaked.
	Leaks uint64
	// Revoked counts leases that the pool has ended in its holder's stead: the
	// borrower was gone, MaxLease was over, nobody had the lease any more, or
	// the pool was cleared with Interrupt.
	Revoked uint64
	// Sheds counts Gets refused, or ended while they waited, because the pool
	// was overloaded: ShedHopeless, CoDel.
	Sheds uint64
	// Deadlocks counts Gets that failed with ErrDeadlock.
	Deadlocks uint64
	// SettingHits counts Gets whose setting was already on the connection,
	// SettingSwitches those for which it was applied, SettingResets those for
	// which another one had to be taken off first.
	SettingHits, SettingSwitches, SettingResets uint64
	// DroppedEvents counts events that a slow handler did not get because its
	// buffer was full.
	DroppedEvents uint64
}
