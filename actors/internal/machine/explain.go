// Explain: what the pool says about itself in errors and on demand. How Explain itself goes
// about it is in description.go.

package machine

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// scope bounds a description of the pool: how many slots are looked at, and how many
// are described.
type scope struct{ lookAt, describe int }

var (
	forError   = scope{lookAt: 64, describe: 8}            // for the error of one Get, of which there may be many
	forExplain = scope{lookAt: math.MaxInt, describe: 100} // on demand
)

// describeHolders says who holds connections, longest first. In a pool that does not
// watch the age of leases the error of a Get may miss some.
func (m *Machine) describeHolders(sc scope) []messages.Holder {
	if m.count[borrowed] == 0 {
		return nil
	}
	first := least[*holder]{room: sc.describe}
	if m.opts.tracksLeases { // the longest first
		for s := m.leases.out.head; s != nil && len(first.items) < sc.describe; s = s.next {
			if s != m.returned {
				m.addHolder(&first, s, m.now)
			}
		}
	} else {
		for _, s := range m.slots[:min(len(m.slots), sc.lookAt)] {
			if s.state == borrowed && s != m.returned {
				m.addHolder(&first, s, m.now)
			}
		}
	}
	var holders []messages.Holder
	for _, h := range first.sorted() {
		holders = append(holders, h.item.withStack())
	}
	return holders
}

// addHolder adds the holder of a connection to the longest ones, if it is one of them. Its
// age is that at the given time.
func (m *Machine) addHolder(to *least[*holder], s *Slot, at time.Duration) {
	since, _ := m.begun(s)
	if r := (rank{since, s.ID}); to.wants(r) {
		to.add(r, m.describeHolder(s, at))
	}
}

// holder is the holder of a connection, without its stack: that takes long to put into
// words.
type holder struct {
	messages.Holder
	trace Trace
}

func (h *holder) withStack() messages.Holder {
	if h.trace != nil {
		h.Stack = h.trace.Stack()
	}
	return h.Holder
}

// describeHolder says who holds a connection, and how long it has at the given time.
func (m *Machine) describeHolder(s *Slot, at time.Duration) *holder {
	since, exact := m.begun(s)
	h := &holder{trace: s.trace, Holder: messages.Holder{
		ConnID: s.ID, Label: s.label, Age: max(0, at-since), AtLeast: !exact, Waits: s.waitingHolders > 0, Borrower: address(s.borrower),
	}}
	if s.trace != nil {
		h.Goroutine = s.trace.Goroutine()
	}
	return h
}

func address(b *Borrower) string {
	if b == nil {
		return ""
	}
	return fmt.Sprint(b.Owner)
}

// describeJobs says which jobs are under way, longest first.
func (m *Machine) describeJobs(sc scope) []messages.Job {
	var jobs []messages.Job
	var next [bounds]*Slot
	for i := range next {
		next[i] = m.jobs.busy[i].head
	}
	for len(jobs) < sc.describe {
		longest := -1
		for i, s := range next {
			if s != nil && (longest < 0 || s.since < next[longest].since) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		s := next[longest]
		next[longest] = s.next
		j := messages.Job{ConnID: s.ID, Doing: s.state.String(), Age: m.now - s.since}
		if s.waiter != nil {
			j.For = s.waiter.Label
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// Health says whether a Get that comes now can be served, and what the last connect said.
//
// It knows what connects have told it. So it is wrongly OK while the server is gone and
// no connect has failed, and from the end of a period until the next attempt is back.
func (m *Machine) Health() messages.Health {
	h := messages.Health{State: m.stateName(), LastError: m.lastConnectErr, CapacityNote: m.counters.CapacityNote, Since: m.wall(m.stateSince)}
	h.Attempt, h.NextAttempt = m.NextAttempt()
	switch {
	case !m.serving(), m.capacity == 0:
	case m.backoff.phase != backoffBlocked:
		h.OK = true
	case m.cfg.Backoff.Mode == BackoffFailFast:
		h.OK = m.count[idle] > 0
	default:
		h.OK = m.standing > 0
	}
	return h
}

// suspicious is how long no connection has come back before Explain mentions it.
const suspicious = time.Second

// suspicions says what looks wrong, though it is not proved.
//
// It goes by the least ages of leases, so it suspects too little rather than too much.
func (m *Machine) suspicions(d *Description) []string {
	var list []string
	holding := map[uint64]uint64{} // connection by goroutine
	for _, h := range d.holders.sorted() {
		if g := h.item.Goroutine; g != 0 {
			holding[g] = h.item.ConnID
		}
	}
	for _, w := range d.said.Waiters {
		if id, ok := holding[w.Goroutine]; ok && w.Goroutine != 0 {
			list = append(list, fmt.Sprintf("goroutine %d got connection %d and waits for another: it may deadlock with itself or with others that do the same",
				w.Goroutine, id))
		}
	}
	if w := m.queue.head; w != nil && m.count[borrowed] > 0 && m.count[borrowed] == m.counted() && m.counted() >= m.capacity {
		youngest := m.now
		for _, h := range d.holders.items {
			youngest = min(youngest, h.item.Age)
		}
		if len(d.holders.items) == m.count[borrowed] && youngest >= m.now-w.since && m.now-w.since >= suspicious {
			list = append(list, fmt.Sprintf("every connection is out, and none has come back in the %v since the first in the queue began to wait: "+
				"the holders may be waiting for each other", m.now-w.since))
		}
	}
	return list
}

// deadlockError says which callers hold a connection and wait for another. The wait
// of w, the first of them, fails.
func (m *Machine) deadlockError(w *Waiter) error {
	e := &messages.DeadlockError{}
	described := map[*Slot]bool{}
	for ; w != nil; w = w.prev {
		for _, h := range w.held {
			if len(described) == 2*forError.describe {
				return e
			}
			if described[h.Slot] || !h.out() {
				continue
			}
			described[h.Slot] = true
			holder := m.describeHolder(h.Slot, m.now)
			holder.Waited, holder.WaitsFor = m.now-w.since, w.Label
			e.Cycle = append(e.Cycle, holder.withStack())
		}
	}
	return e
}

// getError is the error of a Get: the reason, and what the pool looked like.
func (m *Machine) getError(w *Waiter, err error) error {
	e := &messages.GetError{
		Pool: m.cfg.Name, Time: m.wall(m.now), Waited: m.now - w.since, Position: int(w.position), Stats: m.Stats(),
		LastConnectError: m.lastConnectErr, Err: err,
	}
	e.Attempt, e.NextAttempt = m.NextAttempt()
	e.Holders, e.Jobs = m.describeHolders(forError), m.describeJobs(forError)
	return e
}

// deadlineError is the reason of a wait that ends with its deadline.
func deadlineError(w *Waiter) error {
	if w.Reserve > 0 {
		return &messages.ReserveError{Reserve: w.Reserve}
	}
	return context.DeadlineExceeded
}

// Denial is the error of a Get that fails at once: the reason, without a picture of
// the pool, which would cost more than a Get that succeeds.
func (m *Machine) Denial(now time.Duration, err error) error {
	m.advance(now)
	e := &messages.GetError{Pool: m.cfg.Name, Time: m.wall(m.now), Err: err}
	e.Attempt, e.NextAttempt = m.NextAttempt()
	return e
}

// failFastError is the error of a Get that fails fast. Those of one millisecond have
// the same: callers that try again and again must not cost an allocation each.
func (m *Machine) failFastError() error {
	b := &m.backoff
	if b.denial == nil || m.now >= after(b.deniedAt, time.Millisecond) || m.now >= b.until {
		b.denial, b.deniedAt = m.Denial(m.now, m.backoffError()), m.now
	}
	return b.denial
}

// notReady explains why a Ready has ended badly, as the error of a Get does.
func (m *Machine) notReady(err error) error { return m.getError(&Waiter{since: m.now}, err) }

// drainError is the error of a SetCapacity or Close whose caller has left.
func (m *Machine) drainError(o op, err error) error {
	e := &messages.DrainError{Op: "close", Stats: m.Stats(), Err: err}
	if o == opSetCapacity {
		e.Op = "set capacity"
	}
	e.Holders = m.describeHolders(forExplain)
	return e
}

// joinedError is two errors in one line. Its text is made when somebody asks for
// it, not on the pool's turn.
type joinedError struct {
	format        string // of their texts
	first, second error
}

func (e *joinedError) Error() string   { return fmt.Sprintf(e.format, e.first, e.second) }
func (e *joinedError) Unwrap() []error { return []error{e.first, e.second} }
