package client

import (
	"context"
	"io"
	"reflect"
)

// This file is what the pool finds out from the methods of a connection's type.

// closerOf gives the default Disconnect of a type: its method Close, in one of three
// forms. nil: it has none. The methods of an interface type are those of the interface,
// whatever its values have beside them.
func closerOf(conn reflect.Type) func(context.Context, any) error {
	switch {
	case conn.Implements(reflect.TypeFor[io.Closer]()):
		return func(_ context.Context, conn any) error { return conn.(io.Closer).Close() }
	case conn.Implements(reflect.TypeFor[closesSilently]()):
		return func(_ context.Context, conn any) error { conn.(closesSilently).Close(); return nil }
	case conn.Implements(reflect.TypeFor[closesInTime]()):
		return func(ctx context.Context, conn any) error { return conn.(closesInTime).Close(ctx) }
	}
	return nil
}

// closesSilently is a connection whose Close cannot fail.
type closesSilently interface{ Close() }

// closesInTime is a connection whose Close may wait, as that of pgx.Conn does.
type closesInTime interface {
	Close(ctx context.Context) error
}

// isClosed says whether a connection reports itself as closed, or as closing. It is
// asked because an error may not show that: f may return an error of its own, and a driver's "conn
// closed" is not an error that Broken knows.
func isClosed(conn any) bool {
	if c, ok := conn.(closer); ok && c.IsClosed() {
		return true
	}
	c, ok := conn.(closing)
	return ok && c.IsClosing()
}

// isClosedOf gives isClosed for a type: without the method that it does not have. nil: it
// has none of them. The values of an interface type may have the other one beside it.
func isClosedOf(conn reflect.Type) func(conn any) bool {
	asClosed, asClosing := conn.Implements(reflect.TypeFor[closer]()), conn.Implements(reflect.TypeFor[closing]())
	switch {
	case !asClosed && !asClosing:
		return nil
	case asClosed && asClosing, conn.Kind() == reflect.Interface:
		return isClosed
	case asClosed:
		return func(conn any) bool { return conn.(closer).IsClosed() }
	}
	return func(conn any) bool { return conn.(closing).IsClosing() }
}

// closer is a connection that knows whether it is closed, as pgx.Conn does.
type closer interface{ IsClosed() bool }

// closing is a connection that knows whether it is closed or about to be, as ldap.Conn
// does.
type closing interface{ IsClosing() bool }
