package actors

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Handle is one connection, from its connect to its end. It is never used for
// another connection, so that whoever keeps an old one can do no harm.
//
// Its fence is the epoch: the connection's current lease if it is borrowed,
// otherwise its next one. A lease is valid while the fence still shows its
// epoch, and whoever moves the fence on ends it: the holder by Put or Taint, or
// the pool by revoking it. Both cannot succeed.
//
// A Handle that has been claimed so is itself the message of the return. It
// carries its own mailbox node, and since a lease ends only once and the next
// one begins only after the return has been handled, the node is never in a
// mailbox twice.
type Handle struct {
	node  node
	fence atomic.Uint64

	// Written by the holder that ended the lease, read by the pool actor.
	epoch uint64
	taint bool
	cause error

	conn   any
	id     uint64
	slot   *machine.Slot
	ref    *Ref
	closed atomic.Bool // Disconnect has begun
}

func newHandle(conn any) *Handle {
	h := &Handle{conn: conn}
	h.node.message = h
	h.fence.Store(1)
	return h
}

// revoke ends the lease epoch for the pool. It fails if the holder was first.
func (h *Handle) revoke(epoch uint64) bool { return h.fence.CompareAndSwap(epoch, epoch+1) }

// Loan is one lease of one connection, as a value. The zero Loan has ended.
type Loan struct {
	handle *Handle
	epoch  uint64
	token  *token // kept alive by whoever has the lease; nil: nobody minds
}

// Conn gives the connection. ok is false if the lease has ended.
func (l Loan) Conn() (conn any, ok bool) {
	if l.handle == nil || l.handle.fence.Load() != l.epoch {
		return nil, false
	}
	runtime.KeepAlive(l.token)
	return l.handle.conn, true
}

// ID names the lease.
func (l Loan) ID() messages.LeaseID {
	if l.handle == nil {
		return messages.LeaseID{}
	}
	return messages.LeaseID{Conn: l.handle.id, Epoch: l.epoch}
}

// errClosed is the cause when a connection is returned that is closed.
var errClosed = errors.New("actorpool: the connection says that it is closed")

// Put returns the connection; ErrLeaseEnded if the lease has ended. One that can
// tell, and says that it is closed, is of no use to others.
func (l Loan) Put() error {
	h := l.handle
	if h == nil {
		return messages.ErrLeaseEnded
	}
	if h.ref.isClosed != nil && h.fence.Load() == l.epoch && h.ref.isClosed(h.conn) {
		return l.Taint(errClosed)
	}
	if !h.fence.CompareAndSwap(l.epoch, l.epoch+1) {
		return messages.ErrLeaseEnded
	}
	runtime.KeepAlive(l.token) // until here: else it may be garbage while the connection is used
	h.epoch = l.epoch
	h.ref.process.SendUserMessage(h.ref.pid, h)
	return nil
}

// Taint returns the connection to be closed; ErrLeaseEnded if the lease has
// ended.
func (l Loan) Taint(cause error) error {
	h := l.handle
	if h == nil || !h.fence.CompareAndSwap(l.epoch, l.epoch+1) {
		return messages.ErrLeaseEnded
	}
	runtime.KeepAlive(l.token)
	h.epoch, h.taint, h.cause = l.epoch, true, cause
	h.ref.process.SendUserMessage(h.ref.pid, h)
	return nil
}

// disconnect runs f on the connection, once, whoever comes first: the job that
// the machine asked for, or a connector that is stopped with the connection in
// hand.
func (h *Handle) disconnect(ctx context.Context, f func(context.Context, any) error) error {
	if f == nil || !h.closed.CompareAndSwap(false, true) {
		return nil
	}
	return f(ctx, h.conn)
}
