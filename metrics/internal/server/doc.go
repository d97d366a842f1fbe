// Package server runs a Prometheus server for tests: on a free port of the loopback
// interface, in a temporary folder, until it is closed.
package server
