package actors

import (
	"runtime"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// This file is what a holder may ask about its lease: to keep the connection, and how it
// came by it.

// hijack is the message of a holder that keeps its connection.
type hijack struct {
	lease  Lease
	answer chan bool // of capacity 1: whether it may
}

// infoRequest asks what a lease is. It is answered by what the machine says.
type infoRequest struct {
	lease  Lease
	answer chan messages.LeaseInfo // of capacity 1
}

// IgnoreDeadLetterLogging marks the wish to keep a connection of a pool that has ended as no
// news.
func (*hijack) IgnoreDeadLetterLogging() {}

// IgnoreDeadLetterLogging marks the question to a pool that has ended as no news.
func (*infoRequest) IgnoreDeadLetterLogging() {}

// Hijack takes the connection out of the pool. See client.Lease.
func (l Lease) Hijack() (conn any, err error) {
	if _, ok := l.Conn(); !ok {
		return nil, messages.ErrLeaseEnded
	}
	r := l.lent.ref
	h := &hijack{lease: l, answer: make(chan bool, 1)}
	r.process.SendUserMessage(r.pid, h)
	kept, ok := answerOf(r, h.answer)
	runtime.KeepAlive(l.token) // until here: else the lease may count as forgotten
	if !ok || !kept {
		return nil, messages.ErrLeaseEnded
	}
	return l.lent.conn, nil
}

// Info describes the lease. See client.Lease.
func (l Lease) Info() messages.LeaseInfo {
	if _, ok := l.Conn(); !ok {
		return messages.LeaseInfo{}
	}
	r := l.lent.ref
	q := &infoRequest{lease: l, answer: make(chan messages.LeaseInfo, 1)}
	r.process.SendUserMessage(r.pid, q)
	info, _ := answerOf(r, q.answer)
	runtime.KeepAlive(l.token)
	return info
}

// answerOf waits for the answer of the pool actor. False: the pool has ended, and there
// is none.
func answerOf[T any](r *Ref, answer <-chan T) (a T, ok bool) {
	select {
	case a = <-answer:
		return a, true
	case <-r.ended:
	}
	select {
	case a = <-answer: // it may have come just before the end
		return a, true
	default:
		return a, false
	}
}

// keep lets the holder of a connection have it. Of all that may end the lease or close
// the connection (its holder by Put, the pool, a connector that somebody stops), the
// first one succeeds.
func (p *pool) keep(now time.Duration, l Lease) bool {
	c := l.lent
	if !p.m.IsLent(c.slot, c.id, l.epoch) || !c.revoke(l.epoch) {
		return false
	}
	if !c.closed.CompareAndSwap(false, true) {
		return false // its connector is being stopped: the machine will know
	}
	if k, ok := c.slot.Shell.(*connector); ok {
		k.held.conn.CompareAndSwap(c, nil)
	}
	p.m.Hijack(now, c.slot, c.id, l.epoch)
	p.forget(c)
	return true
}
