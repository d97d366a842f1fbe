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

// endVisit is the message of a caller that has left its visit.
type endVisit struct {
	visit *visit
	err   error
}

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
	over := false
	defer func() { // also if f panics
		if !over {
			r.process.SendUserMessage(r.pid, &endVisit{visit: v, err: context.Canceled})
		}
	}()
	for {
		if r.isClosed() {
			return r.endError()
		}
		r.process.SendUserMessage(r.pid, v)
		next, err := r.nextOf(ctx, done, v)
		switch {
		case err != nil:
			return err
		case next.lease.lent == nil:
			over = true
			return next.err
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

// nextOf waits for the answer to a visit.
func (r *Ref) nextOf(ctx context.Context, done <-chan struct{}, v *visit) (next visited, err error) {
	select {
	case next = <-v.answer:
	case <-r.ended:
		return next, r.endError()
	case <-done:
		why := contextError(ctx)
		r.process.SendUserMessage(r.pid, &endVisit{visit: v, err: why})
		next, ok := answerOf(r, v.answer)
		if ok && next.lease.lent != nil { // it came just before
			_ = next.lease.Put()
		}
		return visited{}, why
	}
	if done != nil && next.lease.lent != nil && ctx.Err() != nil {
		_ = next.lease.Put()
		return visited{}, contextError(ctx)
	}
	return next, nil
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
