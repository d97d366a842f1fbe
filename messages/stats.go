package messages

import "time"

// States of a pool, for [Stats].State. If several apply, State is the first of them in
// the order closed, closing, paused, suspended, probing, backoff, ready.
const (
	StateReady     = "ready"     // lends, and connects when it needs to
	StatePaused    = "paused"    // PauseOnClear: Gets fail with ErrCleared until Resume
	StateSuspended = "suspended" // Gets wait until Resume
	StateBackoff   = "backoff"   // nothing stands, and no connect begins until the period is over
	StateProbing   = "probing"   // nothing stands, and one connect at a time is tried
	StateClosing   = "closing"   // Close has begun, some connections are not closed yet
	StateClosed    = "closed"    // no connection is left
)

// Stats is a snapshot of a pool. All its numbers are of the same moment:
//
//	Open = Idle + Borrowed + InTransition
//	Open + Connecting + Closing <= Capacity
//
// The second holds except while the pool shrinks to a lower capacity. A connection on
// which a function ignores its context is not counted any more when that function has
// been given up.
type Stats struct {
	// Name is the pool's name.
	Name string
	// State is one of the State constants.
	State string
	// Generation is the number of Clears so far.
	Generation uint64

	// Capacity is the largest number of connections.
	Capacity int
	// Open is the number of open connections: idle, borrowed or in transition.
	Open int
	// Idle is the number of connections that wait for a Get.
	Idle int
	// Borrowed is the number of connections that are lent.
	Borrowed int
	// InTransition is the number of open connections on which Check, Reset, Apply or
	// Unapply runs.
	InTransition int
	// Connecting is the number of connections for which Connect runs.
	Connecting int
	// Closing is the number of connections for which Disconnect runs.
	Closing int
	// Waiting is the number of Gets that wait.
	Waiting int

	// The following are counts since the pool was made.

	// Gets counts the Gets, successful or not.
	Gets uint64
	// Grants counts the Gets that got a connection.
	Grants uint64
	// Waits counts the Gets that had to wait, for a return or for a connect.
	Waits uint64
	// WaitTime is the sum of the waits of the Gets that got a connection.
	WaitTime time.Duration
	// Timeouts counts the Gets that failed because their deadline passed.
	Timeouts uint64
	// Cancels counts the Gets that ended because their context was cancelled or their
	// borrower stopped.
	Cancels uint64
	// Connects counts the calls of Connect, ConnectErrors those that failed.
	Connects, ConnectErrors uint64
	// Puts counts the connections returned by Put, Taints those by Taint.
	Puts, Taints uint64
	// ClosedIdle counts the connections closed because of IdleTimeout or MaxIdle.
	ClosedIdle uint64
	// ClosedLifetime counts the connections closed because of MaxLifetime.
	ClosedLifetime uint64
	// ClosedStale counts the connections closed because of a Clear.
	ClosedStale uint64
	// ClosedBroken counts the connections closed because they were tainted, because
	// Check, Reset, Apply or Unapply failed on them, because their setting could not be
	// removed, or because the pool ended their lease for another reason than a Clear.
	ClosedBroken uint64
	// ClosedCapacity counts the connections closed because the capacity was lowered.
	ClosedCapacity uint64
	// Backoffs counts the blocking periods.
	Backoffs uint64
	// Leaks counts the leases reported as leaks.
	Leaks uint64
	// Revoked counts the leases that the pool ended: because the borrower stopped,
	// because of MaxLease, because the lease was garbage, or by a Clear with Interrupt.
	Revoked uint64
	// Sheds counts the Gets that failed because of ShedHopeless or Shed.
	Sheds uint64
	// Deadlocks counts the Gets that failed with ErrDeadlock.
	Deadlocks uint64
	// SettingHits counts the Gets that got a connection which had their setting
	// already; SettingSwitches the settings put on a connection that had none;
	// SettingResets the settings removed because a Get needed another one.
	SettingHits, SettingSwitches, SettingResets uint64
	// DroppedEvents counts the events that were dropped because OnEvent was too slow.
	DroppedEvents uint64
}
