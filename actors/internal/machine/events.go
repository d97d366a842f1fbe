// Events: what the pool tells about its life, in order and numbered.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Log is events in their order. They are compact until somebody reads them: what a Get and
// a Put tell is written on the pool's turn, and most of it can be worked out later.
type Log struct {
	notes  []note
	oldest int       // where the ring begins, if it is one
	last   uint64    // the Seq of the newest event
	pool   string    // the name of the pool
	start  time.Time // the wall time at which the machine's time was zero
}

// note is an event in the log.
type note struct {
	kind       messages.EventKind
	at         time.Duration
	generation uint64
	connID     uint64
	duration   time.Duration
	label      string
	detail     any // the setting of a CheckedOut; of other kinds than a Get's and a Put's the *messages.Event
}

// Len is the number of the events.
func (l *Log) Len() int { return len(l.notes) }

// At gives an event; the oldest one is that of 0.
func (l *Log) At(i int) messages.Event {
	n := &l.notes[(l.oldest+i)%len(l.notes)]
	whole, ok := n.detail.(*messages.Event)
	seq := l.last - uint64(len(l.notes)-1-i)
	if ok && n.kind != messages.CheckedOut { // a setting may be anything
		e := *whole
		e.Seq = seq
		return e
	}
	return messages.Event{
		Kind: n.kind, Pool: l.pool, Seq: seq, Time: l.start.Add(n.at), Generation: n.generation,
		ConnID: n.connID, Duration: n.duration, Label: n.label, Setting: n.detail,
	}
}

// add gives the place of the next event, which the caller overwrites. If nobody takes
// the events and there are as many as the bound says, it is that of the oldest one, which
// is lost.
func (l *Log) add(bound int) (place *note, lost bool) {
	l.last++
	n := len(l.notes)
	switch {
	case n >= bound && bound > 0:
		place, lost = &l.notes[l.oldest], true
		l.oldest = (l.oldest + 1) % n
	case n < cap(l.notes):
		l.notes = l.notes[:n+1]
		place = &l.notes[n]
	default:
		l.notes = append(l.notes, note{})
		place = &l.notes[n]
	}
	return place, lost
}

// Told is how many events wait to be taken.
func (m *Machine) Told() int { return m.output.log.Len() }

// Events lists the events that have not been taken yet, in their order.
func (m *Machine) Events() []messages.Event {
	l := &m.output.log
	events := make([]messages.Event, l.Len())
	for i := range events {
		events[i] = l.At(i)
	}
	return events
}

// TakeEvents hands the events over to be delivered. They are moved, not copied: what into
// has held is lost, and its place will hold the next ones. nil: nobody wants the events.
func (m *Machine) TakeEvents(into *Log) {
	l := &m.output.log
	if into == nil {
		l.notes, l.oldest = l.notes[:0], 0
		return
	}
	place := into.notes[:0]
	*into = *l
	l.notes, l.oldest = place, 0
}

// emit emits an event if anybody listens to its kind, and keeps it among the recent
// ones. One that nobody is told of has no number.
func (m *Machine) emit(e messages.Event) {
	e.Pool, e.Time, e.Generation = m.cfg.Name, m.wall(m.now), m.generation
	if m.cfg.EventLevel.Tells(&e) {
		told := e
		n := m.newNote(e.Kind)
		n.connID, n.duration, n.label, n.detail = 0, 0, "", &told
		e.Seq = m.output.log.last
	}
	m.output.recent.keep(m.now, e)
}

// recentEvents is how many events the machine keeps for descriptions.
const recentEvents = 64

// recent is the last events, without those of the hot path. It is a ring once it is full.
//
// Failed check-outs could push out everything else in a moment, and Stats counts them. So
// of those that have the same reason only the first is kept, until another event comes.
type recent struct {
	events []past
	oldest int
	failed uint64 // the reasons of the failed check-outs since the last other event, as bits
}

// past is an event that is kept. Of many pools most have few, which say little.
type past struct {
	at, duration            time.Duration
	seq, generation, connID uint64
	whole                   *messages.Event // if it says more than that
	kind                    messages.EventKind
	reason                  messages.Reason
}

// keep adds an event, in the place of the oldest one if there are many.
func (r *recent) keep(at time.Duration, e messages.Event) {
	if e.Kind == messages.CheckOutFailed {
		reason := uint64(1) << e.Reason
		if r.failed&reason != 0 {
			return
		}
		r.failed |= reason
	} else {
		r.failed = 0
	}
	kept := past{at: at, duration: e.Duration, seq: e.Seq, generation: e.Generation, connID: e.ConnID, kind: e.Kind, reason: e.Reason}
	more := e
	more.Kind, more.Reason, more.Pool, more.Seq, more.Time, more.Generation, more.ConnID, more.Duration = 0, 0, "", 0, time.Time{}, 0, 0, 0
	if more != (messages.Event{}) {
		whole := e
		kept.whole = &whole
	}
	switch {
	case len(r.events) < recentEvents:
		if n := len(r.events); n == cap(r.events) { // append would double it
			r.events = append(make([]past, 0, min(n+max(1, n-recentEvents/8), recentEvents)), r.events...)
		}
		r.events = append(r.events, kept)
	default:
		r.events[r.oldest] = kept
		r.oldest = (r.oldest + 1) % recentEvents
	}
}

// list gives the events of a pool, oldest first. The time of the machine began at start.
func (r *recent) list(pool string, start time.Time) []messages.Event {
	list := make([]messages.Event, len(r.events))
	for i := range list {
		p := &r.events[(r.oldest+i)%len(list)]
		if list[i] = (messages.Event{
			Kind: p.kind, Reason: p.reason, Pool: pool, Seq: p.seq, Time: start.Add(p.at), Generation: p.generation,
			ConnID: p.connID, Duration: p.duration,
		}); p.whole != nil {
			list[i] = *p.whole
		}
	}
	return list
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

// newNote emits an event, of which the caller writes the rest: on the hot path nothing is
// written twice.
func (m *Machine) newNote(kind messages.EventKind) *note {
	n, lost := m.output.log.add(m.cfg.Backlog)
	if lost { // the observer does not keep up
		m.counters.DroppedEvents++
	}
	n.kind, n.at, n.generation = kind, m.now, m.generation
	return n
}

// wall turns a time of the machine into a wall time.
func (m *Machine) wall(t time.Duration) time.Time { return m.cfg.Start.Add(t) }

// The events of the hot path. See tellStarted.

func (m *Machine) emitStarted(w *Waiter) {
	n := m.newNote(messages.CheckOutStarted)
	n.connID, n.duration, n.label, n.detail = 0, 0, w.Label, nil
}

func (m *Machine) emitCheckedOut(s *Slot, w *Waiter, wait time.Duration) {
	n := m.newNote(messages.CheckedOut)
	n.connID, n.duration, n.label, n.detail = s.ID, wait, w.Label, w.Setting
}

func (m *Machine) emitCheckedIn(s *Slot) {
	n := m.newNote(messages.CheckedIn)
	n.connID, n.duration, n.label, n.detail = s.ID, 0, s.label, nil
}

// emitClosed tells, once for each connection, that it is closed.
func (m *Machine) emitClosed(s *Slot, reason messages.Reason, err error) {
	if !s.closedEmitted {
		s.closedEmitted = true
		m.emit(messages.Event{Kind: messages.ConnectionClosed, ConnID: s.ID, Reason: reason, Err: err})
	}
}
