// Package examples tests the programs in examples/ that need a server: it builds them, starts
// a real server, and checks what they print and what they leave on the server.
package examples
