// Package machine decides. It is the state machine of a pool: who gets which
// connection, when one is opened, checked, reset or closed, how long the pool
// backs off, when it is drained.
//
// It is pure. Inputs are method calls that carry the time; outputs are
// [Effect] values and events, which the caller takes and performs. There is no
// goroutine, no clock, no I/O, no user code and no source of randomness in it
// but the one that is given. The same inputs in the same order give the same
// effects, so that an incident can be replayed from a text file: see testdata.
//
// A connection is a [Slot] here, and what the outside keeps for it is an
// opaque value in the slot. A Get that waits is a [Waiter], a control request
// that waits is a [Ticket]; both are owned by the outside and linked into the
// machine's lists while they wait, so that leaving costs O(1).
//
// # Where to read
//
// Every transition is in machine.go, as a verb: Get, Leave, Put, Taint,
// Connected, ConnectFailed, Checked, WasReset, Applied, Unapplied, Disconnected,
// SetCapacity, Clear, Suspend, Resume, Close, BackoffElapsed, Tick. Get and Put
// have hot halves that come first: Take and Queue, Stow and Hand; each does the
// common case if nothing has to be decided, and otherwise nothing. The other
// files hold the nouns: slot.go, waiter.go, effect.go, config.go; what the pool
// says about itself is in report.go, and what must always hold is in
// invariants.go.
package machine
