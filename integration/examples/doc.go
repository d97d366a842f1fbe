// Package examples runs the programs in examples/ that need a server as their
// readers do: it builds them, starts a real server, and looks at what they print
// and at what they leave behind.
package examples
