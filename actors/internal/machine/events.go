// Events: what the pool tells about its life, in order and numbered.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Events gives the events that have not been taken yet: in order if there are
// fewer than Config.Backlog.
func (m *Machine) Events() []messages.Event { return m.output.events }

// TakeEvents hands the events over to be delivered: a ring of which first is the
// oldest. They are moved, not copied: empty takes their place and will hold the
// next ones.
func (m *Machine) TakeEvents(empty []messages.Event) (events []messages.Event, first int) {
	events, first = m.output.events, m.output.oldestEvent
	m.output.events, m.output.oldestEvent = empty[:0], 0
	return events, first
}

// emit emits an event if anybody listens to its kind, and keeps it among the recent
// ones. One that nobody is told of has no number.
func (m *Machine) emit(e messages.Event) {
	e.Pool, e.Time, e.Generation = m.cfg.Name, m.wall(m.now), m.generation
	if m.cfg.EventLevel.Tells(&e) {
		told := m.newEvent(e.Kind)
		e.Seq = told.Seq
		*told = e
	}
	m.output.recent.keep(&e)
}

// recentEvents is how many events the machine keeps for descriptions.
const recentEvents = 64

// recent is the last events, without those of the hot path. It is a ring once it is full.
//
// Failed check-outs could push out everything else in a moment, and Stats counts them. So
// of those that have the same reason only the first is kept, until another event comes.
type recent struct {
	events []messages.Event
	oldest int
	failed uint64 // the reasons of the failed check-outs since the last other event, as bits
}

// keep adds an event, in the place of the oldest one if there are many.
func (r *recent) keep(e *messages.Event) {
	if e.Kind == messages.CheckOutFailed {
		reason := uint64(1) << e.Reason
		if r.failed&reason != 0 {
			return
		}
		r.failed |= reason
	} else {
		r.failed = 0
	}
	switch {
	case len(r.events) < recentEvents:
		r.events = append(r.events, *e)
	default:
		r.events[r.oldest] = *e
		r.oldest = (r.oldest + 1) % recentEvents
	}
}

// list copies the events, oldest first.
func (r *recent) list() []messages.Event {
	return append(append(make([]messages.Event, 0, len(r.events)), r.events[r.oldest:]...), r.events[:r.oldest]...)
}

// Tells says whether a listener of this level is told of an event.
func (l EventLevel) Tells(e *messages.Event) bool {
	switch l {
	case AllEvents:
		return true
	case ChangeEvents:
		return e.Kind < messages.CheckOutStarted || e.Kind > messages.CheckedIn
	case RareEvents:
		return rare(e)
	}
	return false
}

// rare says whether an event is one of the few that somebody should know of.
func rare(e *messages.Event) bool {
	switch e.Kind {
	case messages.PoolBackoff, messages.LeaseLeaked:
		return true
	case messages.PoolReady:
		return e.Attempt > 0 // the end of a backoff
	}
	return false
}

// newEvent emits an event that the caller fills in: on the hot path an event is
// not copied.
func (m *Machine) newEvent(kind messages.EventKind) *messages.Event {
	m.output.seq++
	var e *messages.Event
	if n := len(m.output.events); n < m.cfg.Backlog || m.cfg.Backlog == 0 {
		m.output.events = append(m.output.events, messages.Event{})
		e = &m.output.events[n]
	} else { // the observer does not keep up: the oldest event is dropped
		e = &m.output.events[m.output.oldestEvent]
		*e = messages.Event{}
		m.output.oldestEvent = (m.output.oldestEvent + 1) % n
		m.counters.DroppedEvents++
	}
	e.Kind, e.Pool, e.Seq, e.Time, e.Generation = kind, m.cfg.Name, m.output.seq, m.wall(m.now), m.generation
	return e
}

// wall turns a time of the machine into a wall time.
func (m *Machine) wall(t time.Duration) time.Time { return m.cfg.Start.Add(t) }

// The events of the hot path. See tellStarted.

func (m *Machine) emitStarted(w *Waiter) { m.newEvent(messages.CheckOutStarted).Label = w.Label }

func (m *Machine) emitCheckedOut(s *Slot, w *Waiter, wait time.Duration) {
	e := m.newEvent(messages.CheckedOut)
	e.ConnID, e.Label, e.Setting, e.Duration = s.ID, w.Label, w.Setting, wait
}

func (m *Machine) emitCheckedIn(s *Slot) {
	e := m.newEvent(messages.CheckedIn)
	e.ConnID, e.Label = s.ID, s.label
}

// emitClosed tells, once for each connection, that it is closed.
func (m *Machine) emitClosed(s *Slot, reason messages.Reason, err error) {
	if !s.closedEmitted {
		s.closedEmitted = true
		m.emit(messages.Event{Kind: messages.ConnectionClosed, ConnID: s.ID, Reason: reason, Err: err})
	}
}
