package actors

import (
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// tryAll asks for everything that is idle.
type tryAll struct {
	trace  machine.Trace
	answer chan []Lease // of capacity 1
}

// IgnoreDeadLetterLogging marks the question to a pool that has ended as no news.
func (*tryAll) IgnoreDeadLetterLogging() {}

// TryGetAll borrows all connections that are idle. See client.Pool.
func (r *Ref) TryGetAll() []Lease {
	if r.isClosed() {
		return nil
	}
	q := &tryAll{answer: make(chan []Lease, 1)}
	if r.findsLeaks {
		q.trace = r.here(0)
	}
	r.process.SendUserMessage(r.pid, q)
	leases, _ := answerOf(r, q.answer)
	for i := range leases {
		if r.findsLeaks {
			leases[i] = mark(leases[i])
		}
	}
	if r.isClosedConn == nil {
		return leases
	}
	return r.withoutClosed(leases)
}

// withoutClosed taints the connections that say that they are closed. If a question ends
// the caller's goroutine, the others go back.
func (r *Ref) withoutClosed(leases []Lease) (good []Lease) {
	asked := false
	defer func() {
		if !asked {
			for _, l := range leases {
				_ = l.Put() // refused for those that have been tainted
			}
		}
	}()
	for _, l := range leases {
		if closed, why := r.saysClosed(l); closed {
			_ = l.Taint(why)
		} else {
			good = append(good, l)
		}
	}
	asked = true
	return good
}

// lendIdle answers a tryAll.
func (p *pool) lendIdle(now time.Duration, q *tryAll) []Lease {
	w := machine.Waiter{Trace: q.trace}
	slots := p.m.LendIdle(now, &w)
	leases := make([]Lease, len(slots))
	for i, s := range slots {
		leases[i] = Lease{lent: s.Conn.(*poolConn), epoch: s.LeaseEpoch}
	}
	return leases
}
