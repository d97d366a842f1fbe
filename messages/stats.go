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
	Name string `json:"name"`
	// State is one of the State constants.
	State string `json:"state"`
	// Generation is the number of Clears so far.
	Generation uint64 `json:"generation"`

	// Capacity is the largest number of connections.
	Capacity int `json:"capacity"`
	// CapacityNote says why it is what it is, in the words of the [SetCapacity] that has
	// set it; empty if that has said nothing.
	CapacityNote string `json:"capacityNote,omitzero"`
	// Open is the number of open connections: idle, borrowed or in transition.
	Open int `json:"open"`
	// Idle is the number of connections that wait for a Get.
	Idle int `json:"idle"`
	// Borrowed is the number of connections that are lent.
	Borrowed int `json:"borrowed"`
	// InTransition is the number of open connections on which Check, Reset, Apply or
	// Unapply runs.
	InTransition int `json:"inTransition"`
	// Connecting is the number of connections for which Connect runs.
	Connecting int `json:"connecting"`
	// Closing is the number of connections for which Disconnect runs.
	Closing int `json:"closing"`
	// Waiting is the number of Gets that wait.
	Waiting int `json:"waiting"`
	// GivenUp is the number of functions that ignore their context and that the pool
	// does not wait for any more: their connections are in none of the numbers above.
	GivenUp int `json:"givenUp"`
	// MinIdle and MaxIdle are the bounds on the number of idle connections. MaxIdle is
	// the capacity if the Config gives none.
	MinIdle int `json:"minIdle"`
	MaxIdle int `json:"maxIdle"`

	// LastConnectError is the error of the last connect; nil if that succeeded. In JSON
	// it is text.
	LastConnectError error `json:"-"`
	// NextAttempt is the earliest time of the next connect while the pool backs off,
	// otherwise zero.
	NextAttempt time.Time `json:"nextAttempt,omitzero"`

	// The following are counts since the pool was made.

	// Gets counts the Gets, successful or not.
	Gets uint64 `json:"gets"`
	// Grants counts the Gets that got a connection. A Get whose context ends in the
	// instant in which it is granted one is taken out of the count again, and of
	// WaitTime: it is one of Timeouts or Cancels.
	Grants uint64 `json:"grants"`
	// Waits counts the Gets that had to wait, for a return or for a connect.
	Waits uint64 `json:"waits"`
	// GrantedWaits counts those of Waits that got a connection: WaitTime divided by it is
	// the mean wait.
	GrantedWaits uint64 `json:"grantedWaits"`
	// WaitTime is the sum of the waits of the Gets that got a connection.
	WaitTime time.Duration `json:"waitTime"`
	// Timeouts counts the Gets that failed because their deadline passed.
	Timeouts uint64 `json:"timeouts"`
	// Cancels counts the Gets that ended because their context was cancelled or their
	// borrower stopped.
	Cancels uint64 `json:"cancels"`
	// Connects counts the calls of Connect, ConnectErrors those that failed.
	Connects      uint64 `json:"connects"`
	ConnectErrors uint64 `json:"connectErrors"`
	// Puts counts the connections returned by Put, Taints those by Taint.
	Puts   uint64 `json:"puts"`
	Taints uint64 `json:"taints"`
	// ClosedIdle counts the connections closed because of IdleTimeout or MaxIdle.
	ClosedIdle uint64 `json:"closedIdle"`
	// ClosedLifetime counts the connections closed because of MaxLifetime.
	ClosedLifetime uint64 `json:"closedLifetime"`
	// ClosedStale counts the connections closed because of a Clear.
	ClosedStale uint64 `json:"closedStale"`
	// ClosedBroken counts the connections closed because they were tainted, because
	// Check, Reset, Apply or Unapply failed on them, because their setting could not be
	// removed, or because the pool ended their lease for another reason than a Clear.
	ClosedBroken uint64 `json:"closedBroken"`
	// ClosedCapacity counts the connections closed because the capacity was lowered.
	ClosedCapacity uint64 `json:"closedCapacity"`
	// ClosedUses counts the connections closed because of MaxUses.
	ClosedUses uint64 `json:"closedUses"`
	// Hijacks counts the connections that their holders have kept: see Lease.Hijack of
	// package client.
	Hijacks uint64 `json:"hijacks"`
	// Backoffs counts the blocking periods.
	Backoffs uint64 `json:"backoffs"`
	// Leaks counts the leases reported as leaks.
	Leaks uint64 `json:"leaks"`
	// Revoked counts the leases that the pool ended: because the borrower stopped,
	// because of MaxLease, because the lease was garbage, or by a Clear with Interrupt.
	Revoked uint64 `json:"revoked"`
	// Sheds counts the Gets that failed because of ShedHopeless or Shed.
	Sheds uint64 `json:"sheds"`
	// Deadlocks counts the Gets that failed with ErrDeadlock.
	Deadlocks uint64 `json:"deadlocks"`
	// SettingHits counts the Gets that got a connection which had their setting
	// already; SettingSwitches the settings put on a connection that had none;
	// SettingResets the settings removed because a Get needed another one.
	SettingHits     uint64 `json:"settingHits"`
	SettingSwitches uint64 `json:"settingSwitches"`
	SettingResets   uint64 `json:"settingResets"`
	// DroppedEvents counts the events that were dropped because OnEvent was too slow.
	DroppedEvents uint64 `json:"droppedEvents"`
}
