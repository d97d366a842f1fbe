// Package actors is the shell of the pool: the actors that perform what the
// machine decides.
//
//	          Get Put Taint SetCapacity Close ...            (package messages)
//	                         │
//	                    ┌────▼─────┐
//	timers: Tick, ─────►│   pool   │  one at a time: Receive → machine → perform
//	BackoffElapsed      └┬───┬────┬┘
//	         jobs, and   │   │    │ events
//	         reports  ┌──▼┐ ┌▼──┐ ▼────────┐
//	                  │ c │ │ c │ │observer│
//	                  └───┘ └───┘ └────────┘
//
// The actors:
//
//   - The pool actor owns all state. On its turn it asks the machine
//     (internal/machine), which decides, and performs the effects. No user code,
//     no I/O and no waiting happens on its turn, because with the combining
//     mailbox (mailbox.go) its turn may be on the goroutine of whoever sent it a
//     message.
//   - A connector (connector.go), one for each slot (c), runs the user's connect,
//     check, reset, apply, unapply and disconnect. It is restarted when they
//     panic; see package supervisor.
//   - The observer (observer.go) runs the user's event handler and writes the
//     log. A slow handler delays only itself.
//
// The pool actor stands in several files:
//
//	pool.go      its turn: the hot path of Get and Put, and performing effects
//	direct.go    turns that callers take themselves
//	life.go      how it begins and ends
//	requests.go  requests from actors
//	control.go   requests about the pool as a whole: one form, whoever asks
//	jobs.go      sending jobs to connectors and taking their reports
//	borrower.go  actors that borrow, which are watched
//	leaving.go   what it sends to others, by way of the outbox (outbox.go)
//
// Ordinary Go holds a [Ref] (ref.go), which sends messages to the pool actor and
// waits for the answers. A Get is a getRequest (get.go), whose answer reaches the
// caller by a handover (handover.go); why its context has ended is read in ending.go. A
// connection is a poolConn (conn.go), whose fence ends each [Lease] once. Both carry their
// own mailbox node, so that a Get and a Put allocate nothing. A holder can keep its
// connection (keep.go), and a caller can have all that are idle (tryall.go) or visit all
// that stand (visit.go). Package client makes all this generic.
//
// With LeakAfter the origin of a lease is known (trace.go), and a lease that was
// forgotten is noticed (forgotten.go). A context can carry a lease, so that the pool
// knows what its owner holds while it waits for more (held.go).
//
// Time is read in clock.go and nowhere else. Timers are messages.
package actors
