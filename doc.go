// Package actorpool is the root of a connection pool in which one actor owns
// all state. It holds no code; the tests of the README's guarantees and the
// benchmarks are here.
//
//   - Package client is the pool for ordinary Go code. Begin there.
//   - Package messages is the protocol, for actors.
//   - Package actors holds the actors; its internal/machine decides everything.
//   - Package supervisor says who restarts whom.
package actorpool
