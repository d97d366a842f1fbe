package actors

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// poolConn is one connection, from its connect to its end. It is never used for
// another connection, so that a lease that is kept too long can do no harm.
//
// Its fence is the epoch of the connection's current lease if it is borrowed, and
// otherwise of its next one. A lease is valid while the fence still shows its
// epoch. Moving the fence on ends the lease: the holder does it by Put or Taint, the
// pool by revoking the lease. Only one of them can succeed.
//
// A poolConn whose fence has been moved by its holder is itself the message of the
// return. It carries its own mailbox node. A lease ends only once, and the next one
// begins only after the return has been handled, so the node is never in a mailbox
// twice.
type poolConn struct {
	node  node
	fence atomic.Uint64

	// The first two are written by the pool actor when it makes the connection, epoch by
	// the holder that ended the lease.
	slot  *machine.Slot
	ref   *Ref
	epoch uint64

	id   uint64
	conn any // what Connect gave

	// Written by the holder that ended the lease, read by the pool actor.
	taint bool
	dead  bool // the cause is an error of the network
	asked bool // whether it can be used again

	fromIdle bool        // it was idle before it was granted, see Ref.saysClosed; written by the pool actor
	closed   atomic.Bool // Disconnect has begun, or a holder keeps the connection

	cause error // written by the holder, too

	// Written by the pool actor when it grants the connection by message.
	idEpoch uint64 // the Epoch in the LeaseID of the last such lease; 0: there was none
	idFence uint64 // the epoch of that lease

	opened     time.Duration // when Connect had returned
	generation uint64
}

func newPoolConn(conn any) *poolConn {
	c := &poolConn{conn: conn}
	c.node.message = c
	c.fence.Store(1)
	return c
}

// revoke ends the lease epoch for the pool. It fails if the holder was first.
func (c *poolConn) revoke(epoch uint64) bool { return c.fence.CompareAndSwap(epoch, epoch+1) }

// disconnect runs f on the connection, once: for the job that the machine asked for,
// or for a connector that is stopped with the connection in hand, whichever is first.
func (c *poolConn) disconnect(ctx context.Context, f func(context.Context, any) error) error {
	if f == nil || !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	return f(ctx, c.conn)
}

// Lease is one lease of one connection, as a value. The zero Lease has ended.
type Lease struct {
	lent  *poolConn
	epoch uint64
	token *token // with LeakAfter: garbage when nobody has the lease any more
}

// Conn gives the connection. ok is false if the lease has ended.
func (l Lease) Conn() (conn any, ok bool) {
	if l.lent == nil || l.lent.fence.Load() != l.epoch {
		return nil, false
	}
	runtime.KeepAlive(l.token)
	return l.lent.conn, true
}

// The causes when a connection is closed because of its own answer.
var (
	errClosed      = errors.New("actorpool: the connection says that it is closed")
	errNotReusable = errors.New("actorpool: Reusable says that the connection must not be used again")
)

// Put returns the connection; ErrLeaseEnded if the lease has ended. A connection that
// says that it is closed, or that is not reusable, is not used again. It is asked after
// the lease is claimed: a Put that comes too late must not touch the connection of
// another holder.
func (l Lease) Put() error {
	c := l.lent
	if c == nil || !c.fence.CompareAndSwap(l.epoch, l.epoch+1) {
		return messages.ErrLeaseEnded
	}
	l.token.leaseEnds() // until here: else it may be garbage while the connection is used
	c.epoch = l.epoch
	if c.ref.asksOnPut {
		c.ask()
	}
	c.giveBack()
	return nil
}

// giveBack returns a connection whose lease has been claimed, on a direct turn if that
// is possible.
func (c *poolConn) giveBack() {
	r := c.ref
	if r.box == nil || !r.box.enter() {
		r.process.SendUserMessage(r.pid, &c.node)
		return
	}
	served := r.pool.restore(c)
	r.box.exit()
	if served != nil {
		served.answer()
	}
}

// ask asks of a connection that is being returned whether it is closed, and whether it
// can be used again.
func (c *poolConn) ask() {
	c.asked = true
	if why := c.ref.condemned(c.conn, true, c.taintWith); why != nil {
		c.taint, c.cause = true, why
	}
}

// Taint returns the connection to be closed; ErrLeaseEnded if the lease has ended.
func (l Lease) Taint(cause error) error { return l.condemn(cause, false) }

// TaintDead is Taint with an error of the network as the cause, which may concern other
// connections, too.
func (l Lease) TaintDead(cause error) error { return l.condemn(cause, true) }

func (l Lease) condemn(cause error, dead bool) error {
	c := l.lent
	if c == nil || !c.fence.CompareAndSwap(l.epoch, l.epoch+1) {
		return messages.ErrLeaseEnded
	}
	runtime.KeepAlive(l.token)
	c.epoch, c.dead = l.epoch, dead
	c.taintWith(cause)
	return nil
}

// taintWith returns a connection whose lease has been claimed, to be closed.
func (c *poolConn) taintWith(cause error) {
	c.taint, c.cause = true, cause
	c.ref.process.SendUserMessage(c.ref.pid, &c.node)
}

// condemned asks a connection whether it is closed; and, if it is being returned, whether it
// can be used again. It says why the connection must not be used; nil: it may. The answers
// are code of the user. One that panics condemns the connection, too; the panic is logged. If
// it ends the goroutine, abandoned is called first, so that the connection is not lost.
func (r *Ref) condemned(conn any, returned bool, abandoned func(why error)) (why error) {
	asked, name := false, "IsClosed"
	defer func() {
		if asked {
			return
		}
		failure := &messages.PanicError{Value: recover(), Stack: debug.Stack()}
		if failure.Value == nil {
			failure.Value = errGoexit
			abandoned(failure)
		}
		why = failure
		r.spec.logPanic("Panic in "+name, failure)
	}()
	if r.isClosedConn != nil && r.isClosedConn(conn) {
		why = errClosed
	} else if name = "Reusable"; returned && r.reusable != nil && !r.reusable(conn) {
		why = errNotReusable
	}
	asked = true
	return why
}
