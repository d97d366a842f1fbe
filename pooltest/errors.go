package pooltest

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// ServerError is what the server says when it refuses something, as PostgreSQL does: the
// connection itself is well.
type ServerError struct {
	// Code is the SQLSTATE: "53300" if there are too many connections, "25006" for a Write
	// while the server is read-only.
	Code string
	// Message is for people.
	Message string
}

// Error gives the message and the code.
func (e *ServerError) Error() string { return e.Message + " (SQLSTATE " + e.Code + ")" }

// SQLState gives the code. client.Broken and actors.Classify ask for it, as they ask the
// errors of PostgreSQL's drivers.
func (e *ServerError) SQLState() string { return e.Code }

// ErrBusy is the error of an operation that begins while another one is under way on the
// same connection. Two holders have it, or two goroutines share a lease: see
// [Server.Misuse].
var ErrBusy = errors.New("pooltest: another operation is under way on this connection")

// address is the server's in errors of the network.
type address struct{}

func (address) Network() string { return "tcp" }
func (address) String() string  { return "pooltest" }

// broken is the error of a connection that breaks.
func broken(op string) error {
	return onNetwork(op, os.NewSyscallError(op, syscall.ECONNRESET))
}

// onNetwork is an error as package net gives it. Reading is what a connection does while
// it waits for an answer, whatever it has asked for.
func onNetwork(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: address{}, Err: err}
}
