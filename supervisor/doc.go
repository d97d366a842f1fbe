// Package supervisor says who restarts whom.
//
// A connector, the actor that runs the user's connect, check, reset and
// disconnect, is restarted when user code panics in it: [Connectors]. After too
// many panics within a window it is given up; the pool then opens its slot
// again with a fresh connector when it next needs one.
//
// The pool actor is never restarted: [Pool] stops it. A new incarnation would
// begin empty while leases of the old one are out, and would open a second set
// of connections beside theirs. A pool that stops fails everybody who waits and
// closes every connection it knows.
//
// The package imports the actor library and nothing of the pool.
package supervisor
