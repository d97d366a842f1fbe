package actors

import (
	"crypto/rand"
	"errors"
	"fmt"
	random "math/rand/v2"
	"reflect"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/messages"
)

// receiveRequest handles the protocol of package messages, for actors.
func (p *pool) receiveRequest(now time.Duration, message any) {
	if v := reflect.ValueOf(message); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		p.respond(&messages.Done{Err: &messages.ConfigError{Field: fmt.Sprintf("message %T", message), Reason: "it is nil"}})
		return
	}
	if c := controlOf(message, p.ctx.Sender()); c != nil {
		p.control(now, c)
		return
	}
	switch msg := message.(type) {
	case *messages.Get:
		p.getFor(now, msg)
	case *messages.Put:
		p.done(p.endLease(now, msg.Lease, false, nil))
	case *messages.Taint:
		p.done(p.endLease(now, msg.Lease, true, msg.Cause))
	case *messages.Release:
		p.release(now, msg)
	case *messages.HealthOK:
		p.m.HealthOK(now)
	case *messages.HealthFailed:
		_ = p.m.Clear(now, msg.Err, msg.Interrupt) // it is not answered
	}
}

// done answers a return, if it was a request.
func (p *pool) done(err error) { p.respond(&messages.Done{Err: err}) }

// errRemote refuses a borrower on another machine.
var errRemote = errors.New("actorpool: a connection cannot travel: the borrower is in another process")

// getFor handles a Get by message. Without a sender there is nobody to answer.
func (p *pool) getFor(now time.Duration, msg *messages.Get) {
	sender := p.ctx.Sender()
	if sender == nil {
		return
	}
	holder := msg.Borrower
	if holder == nil {
		holder = sender
	}
	if !p.local(sender) || !p.local(holder) {
		p.deny(sender, p.m.Denial(now, errRemote))
		return
	}
	if msg.Setting != nil {
		if err := p.ref.checkSetting(msg.Setting); err != nil {
			p.deny(sender, err)
			return
		}
	}
	b, alive := p.borrowerOf(now, holder)
	if !alive {
		if !holder.Equal(sender) {
			p.deny(sender, p.m.Denial(now, messages.ErrBorrowerGone))
		}
		return
	}
	g := newGetRequest(p.ref)
	g.sender = sender
	g.waiter.Label, g.waiter.Setting, g.waiter.Session = msg.Label, msg.Setting, p.sessionOf(holder)
	if !msg.Deadline.IsZero() {
		p.ref.setDeadline(g, msg.Deadline)
		if g.waiter.Deadline <= now {
			why := boundEnd(g)
			p.m.RejectGet(now, &g.waiter, why.err, why.reason)
			return
		}
	}
	if b != nil {
		g.waiter.Borrower = &b.Borrower
	}
	p.asking = g
	p.m.Get(now, &g.waiter)
	p.asking = nil
	if p.m.Waits(&g.waiter) && g.waiter.Deadline != 0 {
		g.cancel.why = boundEnd(g)
		g.timer = p.sendAt(g.waiter.Deadline, &g.cancel)
	}
}

// local says whether a process is one of this actor system.
func (p *pool) local(pid *actor.PID) bool {
	return pid.Address == p.ref.system.Address() || pid.Address == p.ref.pid.Address
}

// endLease ends a lease that its holder names by id.
func (p *pool) endLease(now time.Duration, id messages.LeaseID, taint bool, cause error) error {
	conn := p.conns[id.Conn]
	if conn == nil || id.Epoch == 0 || conn.idEpoch != id.Epoch {
		return messages.ErrLeaseEnded
	}
	epoch := conn.idFence
	if !p.m.IsLent(conn.slot, id.Conn, epoch) || !conn.revoke(epoch) {
		return messages.ErrLeaseEnded
	}
	if taint {
		p.m.Taint(now, conn.slot, id.Conn, epoch, cause, false)
	} else {
		p.m.PutUnasked(now, conn.slot, id.Conn, epoch)
	}
	return nil
}

// newID gives a lease that is granted by message its ID, which nobody can guess: who
// has it may end the lease, and nobody else. A lease of ordinary Go has none (S1).
func (p *pool) newID(conn *poolConn, epoch uint64) messages.LeaseID {
	if p.epochs == nil {
		var seed [32]byte
		_, _ = rand.Read(seed[:]) // it never fails
		p.epochs = random.NewChaCha8(seed)
	}
	for conn.idEpoch, conn.idFence = 0, epoch; conn.idEpoch == 0; {
		conn.idEpoch = p.epochs.Uint64()
	}
	return messages.LeaseID{Conn: conn.id, Epoch: conn.idEpoch}
}

// deny answers a Get by message. The answer has the pool as its sender, as a grant has.
func (p *pool) deny(sender *actor.PID, err error) {
	p.request(sender, &messages.Denied{Err: err})
}
