// Package actorpool is the root of a connection pool in which one actor owns
// all state. It holds no code; the tests of the README's guarantees and the
// benchmarks are here.
//
//   - Package client is the pool for ordinary Go code. Begin there.
//   - Package messages is the protocol, for actors.
//   - Package actors contains the actors; its internal package machine decides
//     everything.
//   - Package supervisor contains the supervision strategies.
package actorpool
