// Package servers runs real servers for tests: on the loopback interface, on a
// free port, in a temporary folder, and only until they are closed. None of them
// touches what the machine runs otherwise.
package servers
