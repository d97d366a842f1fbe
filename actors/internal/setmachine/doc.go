// Package setmachine is the state machine of a set of pools, one for each key, that share
// one capacity: every decision of a client.Set, and nothing else. It has no goroutines, no
// clock and no I/O, and knows neither keys nor pools.
//
// The capacity is Total units. A unit is the right to have one connection. Each is at one
// place: free, or with one key. A key's pool is given units by effects, and gives them
// back when what they were for is closed; so there are never more connections than units,
// whatever arrives late or in another order.
//
// A pool asks for units when it would begin connects at once if it had them. If one is
// free, it gets it. If none is free, the machine posts a [Need], which every pool of the
// set can read: the first pool with a unit to give up claims it, closes a connection, and
// the unit goes to the key that the need is for. So a need is met by whichever connection
// comes free first, and a pool that needs nobody's units is never asked.
//
// The shares are max-min fair: no key gets a unit while another that could use one has
// less than its share. Among the keys that are below their share, and where a share is
// less than one more unit, the longest wait decides.
//
// The parts:
//
//	machine.go     every input
//	settle.go      what follows from any input: units, needs, places for pools
//	key.go         a key, and its life
//	need.go        what a pool must know to decide whether it gives up a unit
//	shares.go      the level of the max-min fair shares
//	hungry.go      the keys that could use more units, the longest wait first
//	effect.go      what the shell has to do
//	invariants.go  what must always hold
package setmachine
