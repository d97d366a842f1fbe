// Descriptions: what Explain says of the pool. A pool with many connections is described
// in slices, a turn for each.

package machine

import (
	"cmp"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Description is an explanation that is being made. Its Stats, waiters, jobs and events
// are those of the moment at which it begins, and all its times count up to that moment.
// The connections, and their holders where the age of leases is not watched, are those
// of the turn that has looked at them. A connection that is there all the while is
// described once, and one that comes later is not.
type Description struct {
	said   messages.Explanation
	begun  bool
	at     time.Duration // when it has begun
	lastID uint64        // of the newest connection then
	next   int           // the first slot that has not been looked at
	atOnce int           // how many slots a turn looks at; 0: slotsAtOnce

	holders least[*holder]
	conns   least[messages.Conn]
	waiting []Trace // of the waiters
}

// The bounds of a description.
const (
	slotsAtOnce    = 256
	describedConns = 1000
)

// Describe goes on with a description. True: it is complete.
func (m *Machine) Describe(now time.Duration, d *Description) bool {
	m.advance(now)
	first := !d.begun
	if first {
		m.beginDescription(d)
	}
	end := min(len(m.slots), d.next+cmp.Or(d.atOnce, slotsAtOnce))
	for ; d.next < end; d.next++ {
		m.describeSlot(d, m.slots[d.next])
	}
	done := d.next >= len(m.slots)
	if first && (done || m.opts.tracksLeases) { // otherwise the holders are not those of one moment
		d.said.Suspicions = m.suspicions(d)
	}
	switch at := slices.Index(m.descriptions, d); {
	case done && at >= 0:
		m.descriptions = slices.Delete(m.descriptions, at, at+1)
	case !done && at < 0:
		m.descriptions = append(m.descriptions, d)
	}
	return done
}

// beginDescription describes all that is bounded, whatever the size of the pool.
func (m *Machine) beginDescription(d *Description) {
	d.begun, d.at, d.lastID = true, m.now, m.lastID
	d.holders, d.conns = least[*holder]{room: forExplain.describe}, least[messages.Conn]{room: describedConns}
	e := &d.said
	*e = messages.Explanation{
		Stats: m.Stats(), Time: m.wall(m.now), Jobs: m.describeJobs(forExplain), Recent: m.output.recent.list(m.cfg.Name, m.cfg.Start), LastConnectError: m.lastConnectErr,
	}
	e.Attempt, e.NextAttempt = m.NextAttempt()
	if waiting := min(m.queue.n, forExplain.describe); waiting > 0 {
		e.Waiters, d.waiting = make([]messages.Waiter, 0, waiting), make([]Trace, 0, waiting)
	}
	for w := m.queue.head; w != nil && len(e.Waiters) < forExplain.describe; w = w.next {
		e.Waiters = append(e.Waiters, m.describeWaiter(w))
		d.waiting = append(d.waiting, w.Trace)
	}
	if m.opts.tracksLeases { // they are in order
		for s := m.leases.out.head; s != nil && len(d.holders.items) < forExplain.describe; s = s.next {
			m.addHolder(&d.holders, s, d.at)
		}
	}
}

// describeWaiter says who waits, without the stack.
func (m *Machine) describeWaiter(w *Waiter) messages.Waiter {
	described := messages.Waiter{Label: w.Label, Waited: m.now - w.since, Setting: w.Setting, Borrower: address(w.Borrower)}
	if w.Deadline > 0 {
		described.Left = left(w.Deadline, m.now)
	}
	if w.slot != nil {
		described.Doing = w.slot.state.String()
	}
	if w.Trace != nil {
		described.Goroutine = w.Trace.Goroutine()
	}
	for _, h := range w.held {
		if h.out() {
			described.Holds = append(described.Holds, h.ID)
		}
	}
	return described
}

// left is how long it is until a time. 0 would say that there is no such time, so a time
// that has come is over.
func left(until, now time.Duration) time.Duration {
	if until == now {
		return -1
	}
	return until - now
}

// describeSlot describes the connection in a slot, and its holder.
func (m *Machine) describeSlot(d *Description, s *Slot) {
	if s.givenUp || s.state == vacant || s.ID > d.lastID {
		return
	}
	since, exact := m.begun(s)
	if s.state == borrowed && !m.opts.tracksLeases {
		m.addHolder(&d.holders, s, d.at)
	}
	if !d.conns.wants(rank{id: s.ID}) {
		return
	}
	c := messages.Conn{
		ID: s.ID, State: s.state.String(), In: max(0, d.at-since), AtLeast: !exact, Uses: s.uses(), Generation: s.generation, Setting: s.Setting(),
	}
	switch {
	case s.state == borrowed:
		c.Label = s.label
	case s.waiter != nil:
		c.Label = s.waiter.Label
	}
	if s.state != connecting {
		c.Age = max(0, d.at-s.readyAt)
	}
	if s.expires > 0 {
		c.Left = left(s.expires, d.at)
	}
	d.conns.add(rank{id: s.ID}, c)
}

// describeMoved sees to it that a slot which moves to a new place is looked at by every
// description that has passed this place.
func (m *Machine) describeMoved(s *Slot, to int) {
	for _, d := range m.descriptions {
		if to < d.next && s.index >= d.next {
			m.describeSlot(d, s)
		}
	}
}

// Explanation gives a description that is complete. The machine is not asked any more,
// so that the pool's turn need not wait for the texts of stacks.
func (d *Description) Explanation() messages.Explanation {
	e := d.said
	for _, h := range d.holders.sorted() {
		e.Holders = append(e.Holders, h.item.withStack())
	}
	for _, c := range d.conns.sorted() {
		e.Conns = append(e.Conns, c.item)
	}
	for i, trace := range d.waiting {
		if trace != nil {
			e.Waiters[i].Stack = trace.Stack()
		}
	}
	return e
}
