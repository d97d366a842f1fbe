// Package supervisor contains the supervision strategies of a pool's actors: what happens
// when one of them panics.
//
// A connector, the actor that runs the user's functions on one connection, is restarted:
// see [Connectors]. After too many panics in a short time it is given up. The pool starts a
// new connector when it needs one.
//
// The pool actor is never restarted but stopped: see [Pool]. A new incarnation would start
// without the state of the old one, whose leases are still held, and would open connections
// in addition to theirs. When a pool actor stops, all waits fail, and all connections that
// it knows are closed.
//
// What a strategy decides is published to the actor system's event stream, from a
// goroutine of its own.
//
// The package imports the actor library and nothing of the pool.
package supervisor
