// Package lockfree is a connection pool without a lock and without an owner:
// the opponent that the actor pool is measured against. It is not for users. It
// exists so that a comparison with "the lock-free pool" is one with a good one:
// it is written to be as fast as its author could make it, and none of the known
// holes of such pools is left open to make the comparison look better.
//
// # Design
//
// All shared state is in three kinds of 64-bit words (word.go), each changed by
// compare-and-swap:
//
//   - The state word is the head of the idle stack or the number of waiters,
//     never both, with a tag that moves with every change. A Get pops with one
//     CAS of it, a Put pushes with one.
//   - The link word of a slot is its lease's epoch and its place on the stack.
//     Put ends the lease and writes the link with one CAS.
//   - The size word is capacity, open, closing and closed. It changes only when
//     connections open and close; Put reads it.
//
// So an uncontended Get and Put are three CASes and no allocation. There are no
// counters on that path: Stats derives them from epochs and tickets.
//
// Slots and waiter nodes live in arenas (arena.go), named by index and recycled
// but never freed. A Get that finds nothing idle reserves a place and connects
// in its own goroutine, or counts itself as waiting and parks in a queue of
// single-use cells (queue.go), where grants and waiters meet by ticket number.
// A grant is always a slot: one with a connection, or an empty one, which is a
// permit to connect. The queue follows the ideas of the CancellableQueueSynchronizer
// of Koval, Khalanskiy and Alistarh (PLDI 2023).
//
// # Races, and what prevents each
//
//   - ABA on a stack: the tag (40 bits) and recycled, never freed items.
//   - Check, then enqueue; a Put in between: both go through the state word. A
//     push that saw no waiter fails its CAS once there is one.
//   - Check, then enqueue; a freed place in between (Taint, failed connect, raised
//     capacity): the freer changes size, then looks for waiters; the waiter counts
//     itself, then looks at size (serve). One of them sees the other.
//   - A reservation that turns out unneeded hides a place from a new waiter: serve
//     looks again after it gave the place back.
//   - Put against a lowered capacity or Close: Put reads state, then size; they
//     change size, then state. A push either saw the new size or fails, or was
//     there before and is swept.
//   - Two Puts close for one excess place: closing is counted in the same CAS that
//     decides it.
//   - A grant meets a leaving waiter: in each order one of the two finds the
//     other's mark in the cell, and passes the slot to the next waiter or to the
//     idle stack (abandon, depart, offer).
//   - A grant overtakes the waiter it is for: it lies in the cell when he comes.
//   - A second Put, or a Put of an old lease: the epoch in the link word.
//   - A newcomer overtakes waiters: with waiters counted there is nothing to pop,
//     and a place that frees up is reserved by newcomers only when nobody waits.
//   - Get against Close: Close takes all waiters, or all idle connections, with one
//     CAS. Who counts himself later has read size later and saw it closed.
//   - A connect is under way when the pool closes or shrinks: its place counts as
//     open until it failed or its connection is closed again.
//   - A drain misses the last close: it takes the gate before it reads size.
//
// # What it does less than the actor pool
//
// No settings, checks, resets, lifetimes, idle timeout, backoff, generations,
// suspension, events or leak reports; Stats is one moment's only when the pool
// rests; an error does not describe the pool. A Get that started a connect waits
// for it even if a connection comes back earlier, and its leaving cancels the
// connect. Taint, and Put over capacity, close in the caller's goroutine, and a
// waiter's permit comes only after that close. Nothing explains a wait.
//
// Limits: 2^20-1 connections, 2^22 waiters. An epoch or a tag wraps after 2^40
// changes. A waiter that leaves while its grant is between the cell and the
// channel waits for that send, so leaving alone is not lock-free in the strict
// sense; neither is a channel inside the Go runtime. A cell costs 8 bytes, in
// segments of 64, which is the only steady allocation of a waiting Get. Memory
// of the arenas stays at the highest number of waiters there were.
package lockfree
