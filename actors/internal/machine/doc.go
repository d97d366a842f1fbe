// Package machine decides. It is the state machine of a pool: which Get is given
// which connection, when a connection is opened, checked, reset or closed, how long
// the pool backs off, when it is drained.
//
// It is pure. Inputs are method calls that carry the time; outputs are [Effect]
// values and events, which the shell (package actors) takes and performs. There is
// no goroutine, no clock, no I/O, no user code, and no randomness but the source
// that is given. The same inputs in the same order give the same effects, so that
// an incident can be replayed from a text file: see testdata.
//
// A connection is a [Slot] here; what the shell keeps for it is an opaque value in
// the slot. A Get that waits is a [Waiter], a control request that waits is a
// [Ticket]. The shell owns both. They are linked into the machine's lists while
// they wait, so that leaving costs O(1).
//
// # Where to read
//
// The files are layers. A method may call methods of its own file and of files
// further down, never of one further up; a test keeps it so.
//
//	machine.go       inputs: everything that can happen, one method each.
//	                 Start here: it is the table of contents.
//	controls.go      the inputs that concern the pool as a whole
//	housekeeping.go  what a tick of the timer does by itself
//	outcomes.go      what follows from a job that failed, is done, or is overdue
//	settle.go        what follows from any input: who is served, what is begun,
//	                 which waits end
//	transitions.go   the single steps by which the state changes
//	visits.go        walks over the connections, and what leaves them
//	description.go   Explain, in slices
//	explain.go       what errors and Explain say of the pool
//	backoff.go       the backoff after failed connects
//	recording.go     what Record records
//	timers.go        when something is due next
//	report.go        what the shell may ask
//	ages.go          since when a connection is idle or lent, where no clock is read
//	events.go        what the pool tells about its life
//	state.go         the state, explained field by field, and questions about it
//
// Beside them: slot.go, waiter.go, borrower.go, effect.go and config.go hold the
// types; admission.go measures the queue; least.go keeps the first of many;
// invariants.go says what must always hold.
package machine
