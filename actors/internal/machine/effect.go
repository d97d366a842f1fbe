// Effects: what the machine asks the shell to do.

package machine

import "time"

// EffectKind says what the shell has to do.
type EffectKind uint8

const (
	// Open: run Connect in the slot's connector; report Connected or
	// ConnectFailed.
	Open EffectKind = iota + 1
	// Check: run the user's check on the slot's connection; report Checked.
	Check
	// Reset: run the user's reset on the slot's connection; report WasReset.
	Reset
	// Apply: put the slot's Want on its connection; report Applied.
	Apply
	// Unapply: take the setting off the slot's connection; report Unapplied.
	Unapply
	// Disconnect: close the slot's connection; report Disconnected.
	Disconnect
	// Interrupt: cancel the job that runs in the slot's connector.
	Interrupt
	// Revoke: end the lease of the slot's connection, with epoch Epoch, so that its
	// holder's return is refused.
	Revoke
	// Retire: the slot's connector is not needed any more.
	Retire
	// Grant: give the slot's connection, with the slot's LeaseEpoch, to the Waiter.
	Grant
	// Reject: end the Waiter with Err.
	Reject
	// Answer: end the Ticket with Err, nil for success.
	Answer
	// ArmBackoff: send BackoffElapsed{Epoch, Generation, Attempt} at At.
	ArmBackoff
	// DisarmBackoff: that timer is not needed any more.
	DisarmBackoff
	// ArmTick: send Tick{Epoch} at At.
	ArmTick
	// DisarmTick: that timer is not needed any more.
	DisarmTick
	// Watch: from now on report BorrowerGone if the Borrower stops.
	Watch
	// Unwatch: a stop of the Borrower need not be reported any more.
	Unwatch
	// Visited: give the slot's connection, with the slot's LeaseEpoch, to the caller of
	// the Visit; without a slot the visit is over, for the reason Err, nil for success.
	Visited
	// Recorded: the recording is over. Whoever has asked for it may read it.
	Recorded
	// CancelLifetime: cancel the context of every connect, check and reset.
	CancelLifetime
	// Stopped: nothing is left; the pool may end.
	Stopped
)

var effectKinds = [...]string{
	Open: "Open", Check: "Check", Reset: "Reset", Apply: "Apply",
	Unapply: "Unapply", Disconnect: "Disconnect", Interrupt: "Interrupt", Revoke: "Revoke",
	Retire: "Retire", Grant: "Grant", Reject: "Reject", Answer: "Answer", ArmBackoff: "ArmBackoff",
	DisarmBackoff: "DisarmBackoff", ArmTick: "ArmTick", DisarmTick: "DisarmTick",
	Watch: "Watch", Unwatch: "Unwatch", Visited: "Visited", Recorded: "Recorded", CancelLifetime: "CancelLifetime",
	Stopped: "Stopped",
}

func (k EffectKind) String() string { return effectKinds[k] }

// Effect is one thing to do. The kind says which fields have a meaning.
type Effect struct {
	Kind       EffectKind
	Attempt    int
	Slot       *Slot
	Waiter     *Waiter
	Ticket     *Ticket
	Borrower   *Borrower
	Visit      *Visit
	Err        error
	At         time.Duration
	Epoch      uint64
	Generation uint64
}
