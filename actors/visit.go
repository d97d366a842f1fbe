package actors

import (
	"context"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// visit is a walk over the connections, on behalf of a caller of Each. The caller sends
// it for each next connection, and reads the answer before it sends it again.
type visit struct {
	machine machine.Visit
	begun   bool
	answer  chan visited // of capacity 1
}

// visited is the next connection of a visit, or its end.
type visited struct {
	lease Lease
	err   error
}

// IgnoreDeadLetterLogging marks the question to a pool that has ended as no news.
func (*visit) IgnoreDeadLetterLogging() {}

// endVisit is the message of a caller that has left its visit.
type endVisit struct{ visit *visit }

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*endVisit) IgnoreDeadLetterLogging() {}

// labelOfVisits is the label of the leases of a visit.
const labelOfVisits = "Each"

// Each visits the connections that stand. f is called with the lease of each, which it
// must end. The caller's goroutine runs f. See client.Pool.
func (r *Ref) Each(ctx context.Context, f func(Lease)) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	done := ctx.Done() // before anything is sent: a context may panic
	v := &visit{answer: make(chan visited, 1)}
	v.machine.Owner = v
	begun := false
	defer func() { // also if f panics
		if begun {
			r.process.SendUserMessage(r.pid, &endVisit{visit: v})
		}
	}()
	for {
		if r.isClosed() {
			begun = false // the pool has ended it
			return r.endError()
		}
		if isDone(done) {
			return contextError(ctx)
		}
		begun = true
		r.process.SendUserMessage(r.pid, v)
		next, left := r.nextOf(done, v)
		switch {
		case left:
			begun = false
			return contextError(ctx) // code of the user, and so after all that is the pool's
		case next.lease.lent == nil:
			begun = false
			return next.err
		case isDone(done):
			_ = next.lease.Put()
			return contextError(ctx)
		}
		if r.isClosedConn != nil {
			if closed, why := r.saysClosed(next.lease); closed {
				_ = next.lease.Taint(why)
				continue
			}
		}
		f(next.lease)
	}
}

// isDone says that a context has ended, by its Done.
func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// nextOf waits for the answer to a visit. left: the caller's context has ended meanwhile,
// and with it the visit.
func (r *Ref) nextOf(done <-chan struct{}, v *visit) (next visited, left bool) {
	select {
	case next = <-v.answer:
		return next, false
	case <-r.ended:
		return visited{err: r.endError()}, false
	case <-done:
	}
	r.process.SendUserMessage(r.pid, &endVisit{visit: v})
	if next, ok := answerOf(r, v.answer); ok && next.lease.lent != nil { // it came just before
		_ = next.lease.Put()
	}
	return visited{}, true
}

// visited gives the caller of a visit its answer.
func (p *pool) visited(e *machine.Effect) {
	v := e.Visit.Owner.(*visit)
	if e.Slot == nil {
		v.answer <- visited{err: e.Err}
		return
	}
	v.answer <- visited{lease: Lease{lent: e.Slot.Conn.(*poolConn), epoch: e.Slot.LeaseEpoch}}
}
