package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Effects gives what the inputs since the last Done have decided, in the order
// in which it must be performed. It is valid until Done.
func (m *Machine) Effects() []Effect { return m.effects }

// Done says that the effects have been performed.
func (m *Machine) Done() {
	clear(m.effects)
	m.effects = m.effects[:0]
}

// News gives the events that have not been taken yet: in order if there are
// fewer than Config.Backlog.
func (m *Machine) News() []messages.Event { return m.news }

// TakeNews hands the events over, to be delivered: a ring of which first is the
// oldest. They are moved, not copied; empty, which is exchanged for them, will
// hold the next ones.
func (m *Machine) TakeNews(empty []messages.Event) (news []messages.Event, first int) {
	news, first = m.news, m.oldestNews
	m.news, m.oldestNews = empty[:0], 0
	return news, first
}

// Timed says that the time given with Take and Stow must be exact. With a coarse
// clock that is so only while it does not run.
func (m *Machine) Timed() bool { return m.timed && !m.ticking() }

// Closed says that Close has begun.
func (m *Machine) Closed() bool { return m.phase != open }

// Slots calls f for every slot, vacant and abandoned ones included.
func (m *Machine) Slots(f func(*Slot)) {
	for _, s := range m.slots {
		f(s)
	}
}

// Lent says whether this lease is the slot's current one.
func (m *Machine) Lent(s *Slot, id, epoch uint64) bool { return s.lent(id, epoch) }

// Waits says whether a Get is still waiting for its answer.
func (m *Machine) Waits(w *Waiter) bool { return w.queued }

// Decided says whether there are effects or events that Done has not seen.
func (m *Machine) Decided() bool { return len(m.effects) > 0 || len(m.news) > 0 }

// Abandon gives up whoever waits, without deciding anything: the pool is torn
// down, perhaps because the machine itself is in disorder.
func (m *Machine) Abandon(waiter func(*Waiter), ticket func(*Ticket)) {
	m.phase = closed
	m.refresh()
	for w := m.waiters.head; w != nil; {
		next := w.next
		w.queued, w.prev, w.next, w.slot = false, nil, nil, nil
		waiter(w)
		w = next
	}
	m.waiters = waiterList{}
	if t := m.resizer; t != nil {
		m.resizer = nil
		ticket(t)
	}
	for _, l := range []*ticketList{&m.readies, &m.closers} {
		for t := l.head; t != nil; {
			next := t.next
			ticket(t)
			t = next
		}
		*l = ticketList{}
	}
}

// Stats is what the pool looks like.
func (m *Machine) Stats() messages.Stats {
	st := m.stats
	st.Name = m.cfg.Name
	st.State = m.stateName()
	st.Generation = m.generation
	st.Capacity = m.capacity
	st.Open = m.open()
	st.Idle = m.n[idle]
	st.Borrowed = m.n[borrowed]
	st.InTransition = m.transit()
	st.Connecting = m.n[connecting]
	st.Closing = m.n[closing]
	st.Waiting = m.waiters.n
	return st
}

func (m *Machine) stateName() string {
	switch {
	case m.phase == closed:
		return messages.StateClosed
	case m.phase == closingDown:
		return messages.StateClosing
	case m.paused:
		return messages.StatePaused
	case m.suspended:
		return messages.StateSuspended
	case m.backoff.state == probing:
		return messages.StateProbing
	case m.backoff.state == blocked:
		return messages.StateBackoff
	}
	return messages.StateReady
}

// Outlook says what a backing-off pool is waiting for: the number of failed
// attempts and the time of the next one. ok is false outside a backoff.
func (m *Machine) Outlook() (attempt int, next time.Time, ok bool) {
	if m.backoff.state == ready {
		return 0, time.Time{}, false
	}
	return m.backoff.attempt, m.wall(m.backoff.until), true
}

func (m *Machine) wall(t time.Duration) time.Time { return m.cfg.Start.Add(t) }

func (m *Machine) getError(w *Waiter, err error) error {
	e := &messages.GetError{
		Pool: m.cfg.Name, Waited: m.now - w.since, Position: w.position, Stats: m.Stats(),
		LastConnectError: m.lastErr, Err: err,
	}
	e.Attempt, e.NextAttempt, _ = m.Outlook()
	e.Holders, e.Jobs = m.holders(glance), m.jobs(glance)
	return e
}

// notReady explains why a Ready has ended badly, as the error of a Get does.
func (m *Machine) notReady(err error) error { return m.getError(&Waiter{since: m.now}, err) }

func (m *Machine) backoffError() *messages.BackoffError {
	return &messages.BackoffError{Attempt: m.backoff.attempt, Until: m.wall(m.backoff.until), Cause: m.backoff.cause}
}

func (m *Machine) drainError(o op, err error) error {
	e := &messages.DrainError{Op: "close", Stats: m.Stats(), Err: err}
	if o == opSetCapacity {
		e.Op = "set capacity"
	}
	e.Holders = m.holders(survey)
	return e
}

func (m *Machine) tellClosed(s *Slot, reason messages.Reason, err error) {
	if !s.silent {
		s.silent = true
		m.tell(messages.Event{Kind: messages.ConnectionClosed, ConnID: s.ID, Reason: reason, Err: err})
	}
}

// tell emits an event if anybody listens to its kind.
func (m *Machine) tell(e messages.Event) {
	if !m.heard && (m.cfg.Events == NoEvents || e.Kind != messages.PoolBackoff && e.Kind != messages.LeaseLeaked) {
		return
	}
	stamped := m.event(e.Kind)
	e.Pool, e.Seq, e.Time, e.Generation = stamped.Pool, stamped.Seq, stamped.Time, stamped.Generation
	*stamped = e
}

// event emits an event that is filled in afterwards: on the hot path it is not
// copied about.
func (m *Machine) event(kind messages.EventKind) *messages.Event {
	m.seq++
	var e *messages.Event
	if n := len(m.news); n < m.cfg.Backlog || m.cfg.Backlog == 0 {
		m.news = append(m.news, messages.Event{})
		e = &m.news[n]
	} else { // nobody takes them fast enough: the oldest is lost
		e = &m.news[m.oldestNews]
		*e = messages.Event{}
		m.oldestNews = (m.oldestNews + 1) % n
		m.stats.DroppedEvents++
	}
	e.Kind, e.Pool, e.Seq, e.Time, e.Generation = kind, m.cfg.Name, m.seq, m.wall(m.now), m.generation
	return e
}

// The events of the hot path.

func (m *Machine) tellStarted(w *Waiter) { m.event(messages.CheckOutStarted).Label = w.Label }

func (m *Machine) tellCheckedOut(s *Slot, w *Waiter, wait time.Duration) {
	e := m.event(messages.CheckedOut)
	e.ConnID, e.Label, e.Setting, e.Duration = s.ID, w.Label, w.Setting, wait
}

func (m *Machine) tellCheckedIn(s *Slot) {
	e := m.event(messages.CheckedIn)
	e.ConnID, e.Label = s.ID, s.label
}
