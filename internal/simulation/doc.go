// Package simulation holds the long tests of a pool, in which much happens at
// once and at random. It has no code of its own.
//
//   - Storms: many goroutines, or two thousand actors, use a pool in real time
//     while everything that can fail fails.
//   - An hour: a pool lives for an hour of virtual time with a server that is
//     away now and then. Each seed is another configuration and another hour.
//   - Operations: a fuzz target that reads its input as a configuration and a
//     sequence of operations.
//
// To run them for longer:
//
//	go test -race ./internal/simulation -storm 1m -hours 100 -hour-seed 1000
//	make fuzz FUZZ=1h
package simulation
