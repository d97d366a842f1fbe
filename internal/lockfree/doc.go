// Package lockfree is a connection pool without locks and without an owner of its state.
// It is not for users: the actor pool is compared with it in benchmarks. It is written to be
// as fast as possible, and it has none of the race conditions that such pools are known
// for, so that the comparison is fair.
//
// # Design
//
// All shared state is in three kinds of 64-bit words (word.go). Each is changed by
// compare-and-swap (CAS):
//
//   - The state word is the head of the stack of idle connections or the number of
//     waiters, never both, with a tag that changes each time. A Get pops with one CAS of
//     it, a Put pushes with one.
//   - The link word of a slot is the epoch of its lease and its place on the stack. Put
//     ends the lease and writes the link with one CAS.
//   - The size word is capacity, open, closing and closed. It changes only when connections
//     are opened and closed; Put reads it.
//
// So a Get and a Put without contention are three CASes and no allocation. There are no
// counters on that path: Stats computes them from epochs and tickets.
//
// Slots and waiter nodes live in arenas (arena.go). They have an index as their name, and
// are reused but never freed. A Get that finds nothing idle reserves a place and connects
// on its own goroutine; or it counts itself as a waiter and parks in a queue of cells that
// are used once (queue.go), in which grants and waiters meet by ticket number. A grant is
// always a slot: one with a connection, or an empty one, which is a permit to connect. The
// queue is based on the CancellableQueueSynchronizer of Koval, Khalanskiy and Alistarh (PLDI
// 2023).
//
// # Races, and what prevents them
//
//   - ABA on a stack: the tag (40 bits), and items that are reused but never freed.
//   - A Put between a Get's check and its joining the queue: both change the state word. A
//     push that saw no waiter fails its CAS once there is one.
//   - A place that is freed (by a Taint, a failed connect, a raised capacity) between a
//     Get's check and its joining the queue: the freeing side changes size, then looks for
//     waiters; the waiter counts itself, then looks at size (serve). One of them sees the
//     other.
//   - A reservation that is not needed hides a place from a new waiter: serve looks again
//     after it has returned the place.
//   - Put against a lowered capacity or Close: Put reads state, then size; they change size,
//     then state. Either the push saw the new size, or it fails, or it came before, and they
//     find the connection on the stack.
//   - Two Puts both close for one excess place: closing is counted in the same CAS that
//     decides it.
//   - A grant meets a waiter that leaves: in each order one of the two finds the other's
//     mark in the cell, and passes the slot on, to the next waiter or to the idle stack
//     (abandon, depart, offer).
//   - A grant arrives before the waiter it is for: it stays in the cell until the waiter
//     comes.
//   - A second Put, or a Put of an old lease: the epoch in the link word.
//   - A new Get overtakes waiters: while waiters are counted there is nothing to pop, and a
//     Get reserves a place only if nobody waits.
//   - Get against Close: Close takes all waiters, or all idle connections, with one CAS. A
//     Get that counts itself later reads size later, and sees that the pool is closed.
//   - A connect is under way when the pool is closed or shrinks: its place counts as open
//     until the connect has failed or its connection is closed.
//   - A drain misses the last close: it takes the gate before it reads size.
//
// # What it lacks, compared with the actor pool
//
// It has no settings, checks, resets, lifetimes, idle timeout, backoff, generations,
// suspension, events or leak reports. Stats is of one moment only while the pool is not
// used. An error does not describe the pool. A Get that has begun a connect waits for it,
// even if a connection is returned earlier, and cancels it when its context ends. Taint, and
// Put above the capacity, close the connection on the caller's goroutine, and a waiter gets
// its permit only after that. Nothing explains a wait.
//
// Limits: 2^20-1 connections, 2^22 waiters. An epoch or a tag wraps after 2^40 changes. A
// waiter that leaves while its grant is between the cell and the channel waits for that
// send: so leaving alone is not lock-free in the strict sense, and neither is a channel of
// the Go runtime. A cell has 8 bytes, in segments of 64; that is the only allocation of a Get
// that waits. The arenas keep the memory of the largest number of waiters.
package lockfree
