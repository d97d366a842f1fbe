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
//   - The pool actor (pool.go) owns all state. On its turn it asks the machine
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
// A Get from ordinary Go is a [Call] and a connection is a [Handle]; both carry
// their own mailbox node, so that a Get and a Put allocate nothing. A [Ref] is
// what ordinary Go holds of a pool: it sends Calls to the pool actor and waits
// for the answers. Package client makes it generic.
//
// A lease can be more than a loan. An actor that borrows is watched, and loses
// what it holds when it stops (borrower.go). With LeakAfter the origin of a lease
// is known (trace.go), and one that was forgotten is noticed (forgotten.go). A
// context says what its owner holds while he waits for more (holding.go).
//
// Time is read in clock.go and nowhere else. Timers are messages.
package actors
