// Package servers runs real servers for tests: on a free port of the loopback interface, in a
// temporary folder, until they are closed. They do not touch other servers of the machine. A
// server that needs a driver is in the module whose tests use it.
package servers
