package simulation_test

import "sync/atomic"

// usage knows who uses a connection at the moment, and reports those who use it
// when they must not: two holders at once, two functions of the pool at once, a
// function while the connection is held, anything after it was closed.
type usage struct {
	fail func(format string, args ...any)
	// revocable: the pool may end a lease while its holder is still using the
	// connection, so a disconnect may run then.
	revocable bool

	holders, functions, closes atomic.Int32
}

// take begins the use by a holder.
func (u *usage) take() {
	if n := u.holders.Add(1); n != 1 {
		u.fail("a connection has %d holders", n)
	}
	if !u.revocable && (u.closes.Load() != 0 || u.functions.Load() != 0) {
		u.fail("a connection is lent that is closed, or that a function of the pool works on")
	}
}

// release ends the use by a holder.
func (u *usage) release() { u.holders.Add(-1) }

// call begins a function of the pool, and gives its end.
func (u *usage) call(what string) (end func()) {
	if n := u.functions.Add(1); n != 1 {
		u.fail("%s: %d functions at once", what, n)
	}
	if n := u.holders.Load(); n != 0 && (!u.revocable || what != "disconnect") {
		u.fail("%s while %d hold the connection", what, n)
	}
	if u.isClosed() {
		u.fail("%s of a connection that is closed", what)
	}
	return func() { u.functions.Add(-1) }
}

// close marks the connection as closed.
func (u *usage) close() { u.closes.Add(1) }

// isIdle says that the connection is open and nobody uses it.
func (u *usage) isIdle() bool {
	return u.holders.Load() == 0 && u.functions.Load() == 0 && !u.isClosed()
}

func (u *usage) isClosed() bool { return u.closes.Load() != 0 }
