// Controls: the inputs that concern the pool as a whole.
//
//	SetCapacity Resize SetMinIdle            its size
//	Clear Suspend Resume HealthOK            whether it lends
//	Warm                                     connections that shall stand
//	BeginVisit NextVisit EndVisit            a walk over the connections
//	Record EndRecording                      what is asked of it, for a while
//	Close CancelControl TearDown             the end

package machine

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/actorpool/actorpool/messages"
)

// SetCapacity changes the capacity; t is answered once what counts fits. The note says
// why, until the next SetCapacity.
func (m *Machine) SetCapacity(now time.Duration, n int, note string, t *Ticket) {
	m.advance(now)
	if m.phase != phaseOpen {
		m.answer(t, messages.ErrClosed)
		return
	}
	if m.drain.resize != nil {
		m.answer(m.drain.resize, messages.ErrSuperseded)
	}
	t.op, t.pending = opSetCapacity, true
	m.drain.resize = t
	m.counters.CapacityNote = bounded(note)
	m.changeCapacity(n)
	m.settle()
}

// noteLength is how many characters of a note are kept.
const noteLength = 200

func bounded(note string) string {
	note = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' ' // it is shown as it is, on terminals, too
	}, note)
	n := 0
	for i := range note {
		if n++; n > noteLength {
			return note[:i]
		}
	}
	return note
}

// Resize is SetCapacity for an owner that waits for no answer: see Demand.
func (m *Machine) Resize(now time.Duration, n int) {
	m.advance(now)
	if m.phase == phaseOpen {
		m.changeCapacity(n)
		m.settle()
	}
}

func (m *Machine) changeCapacity(n int) {
	if n != m.capacity {
		m.emit(messages.Event{Kind: messages.CapacityChanged, From: m.capacity, To: n})
		m.capacity = n
	}
	for m.count[idle] > 0 && m.surplus() > 0 {
		m.closeConn(m.oldestIdle(), messages.ReasonCapacity, nil)
	}
	m.cancelConnects(func(s *Slot) bool { return s.waiter == nil })
	m.cancelConnects(func(*Slot) bool { return true })
	for m.lists.vacant.n > 0 && len(m.slots)-m.jobs.givenUp > m.capacity {
		m.dropSlot(m.lists.vacant.head)
	}
}

// Clear starts a new generation: what is idle is closed now, what is borrowed when
// it returns. With interrupt, jobs under way are cancelled and leases are revoked.
// err, if any, is why.
func (m *Machine) Clear(now time.Duration, err error, interrupt bool) error {
	m.advance(now)
	if m.phase != phaseOpen {
		return messages.ErrClosed
	}
	if err != nil {
		m.lastConnectErr = err
	}
	m.newGeneration(err, interrupt)
	m.rejectIfPaused()
	m.settle()
	return nil
}

// Suspend stops grants until Resume. Returns go on.
func (m *Machine) Suspend(now time.Duration) error {
	m.advance(now)
	if m.phase != phaseOpen {
		return messages.ErrClosed
	}
	if !m.suspended {
		m.suspended = true
		m.refreshFastPath()
		m.emit(messages.Event{Kind: messages.PoolSuspended})
	}
	m.settle()
	return nil
}

// Resume ends a Suspend, and the pause of PauseOnClear. A backoff goes on.
func (m *Machine) Resume(now time.Duration) error {
	m.advance(now)
	if m.phase != phaseOpen {
		return messages.ErrClosed
	}
	if m.suspended {
		m.suspended = false
		if m.opts.measuresWaits { // waits during the suspension do not count
			m.queue.pace.began(m.now)
			m.queue.codel.restart(m.cfg.CoDel, m.now)
		}
		m.emit(messages.Event{Kind: messages.PoolResumed})
	}
	m.unpause()
	m.settle()
	return nil
}

// HealthOK resumes a pool that is paused by PauseOnClear, and does nothing else: in
// particular it does not end a backoff (B11).
func (m *Machine) HealthOK(now time.Duration) {
	m.advance(now)
	if m.phase == phaseOpen && m.paused {
		m.unpause()
		m.settle()
	}
}

// SetMinIdle changes MinIdle. Connections that are missing are opened in the
// background.
func (m *Machine) SetMinIdle(now time.Duration, n int) error {
	m.advance(now)
	if m.phase != phaseOpen {
		return messages.ErrClosed
	}
	if err := m.checkSize("MinIdle", n); err != nil {
		return err
	}
	changed := *m.cfg
	changed.MinIdle = n
	m.cfg = &changed
	m.refreshClock()
	if m.count[idle] > 0 {
		m.timers.idleDue = min(m.timers.idleDue, m.expiryDue(m.oldestIdle()))
	}
	m.settle()
	return nil
}

// checkSize says what is wrong with a number of connections that shall stand.
func (m *Machine) checkSize(field string, n int) error {
	reason := ""
	switch {
	case n < 0:
		reason = fmt.Sprintf("%d is negative", n)
	case n > m.capacity:
		reason = fmt.Sprintf("%d is above Capacity, %d", n, m.capacity)
	case n > m.maxIdle():
		reason = fmt.Sprintf("%d is above MaxIdle, %d", n, m.maxIdle())
	default:
		return nil
	}
	return &messages.ConfigError{Field: field, Reason: reason}
}

// Warm answers t once n connections stand, or with the first error. It makes the pool
// open them.
func (m *Machine) Warm(now time.Duration, t *Ticket, n int) {
	m.advance(now)
	if m.phase != phaseOpen {
		m.answer(t, messages.ErrClosed)
		return
	}
	if err := m.checkSize("n", n); err != nil {
		m.answer(t, err)
		return
	}
	if n == 0 && !m.paused {
		m.answer(t, nil)
		return
	}
	m.warmUp(t, n)
}

// Ready is Warm for as many connections as MinIdle asks for, also if that changes, and at
// least one.
func (m *Machine) Ready(now time.Duration, t *Ticket) {
	m.advance(now)
	if m.phase != phaseOpen {
		m.answer(t, messages.ErrClosed)
		return
	}
	m.warmUp(t, 0)
}

func (m *Machine) warmUp(t *Ticket, n int) {
	t.target = n
	switch {
	case m.paused:
		m.answer(t, messages.ErrCleared)
	case m.backoff.phase == backoffBlocked && m.cfg.Backoff.Mode == BackoffFailFast && m.established() < m.readyTarget(t):
		m.answer(t, m.notReady(m.backoffError()))
	default:
		m.drain.readies.push(t, opReady)
		m.settle()
	}
}

// BeginVisit begins a visit of the connections that stand now. They are called for with
// NextVisit.
func (m *Machine) BeginVisit(now time.Duration, v *Visit, label string) {
	m.advance(now)
	if m.phase != phaseOpen {
		return
	}
	v.waiter.Label = label
	m.visits = append(m.visits, v)
	for _, s := range m.slots {
		if s.standing && m.condemned(s) == 0 {
			s.visits = append(s.visits, v)
			m.setQuick(s)
			v.slots = append(v.slots, s)
			v.left++
		}
	}
}

// NextVisit lends the next connection to the caller of a visit: it ends with an effect
// Visited, now or later. One without a slot is the visit's end.
func (m *Machine) NextVisit(now time.Duration, v *Visit) {
	m.advance(now)
	v.waits = true
	if m.phase != phaseOpen {
		m.finishVisit(v, messages.ErrClosed)
		return
	}
	for v.waits {
		s := v.nextIdle()
		switch {
		case v.left == 0:
			m.finishVisit(v, nil)
		case s == nil: // it gets the next one that comes back
			return
		case m.condemned(s) != 0:
			m.closeConn(s, m.condemned(s), nil)
		default:
			m.visit(s, v)
		}
	}
	m.settle()
}

// EndVisit ends a visit whose caller has left.
func (m *Machine) EndVisit(now time.Duration, v *Visit) {
	m.advance(now)
	m.finishVisit(v, context.Canceled)
}

// Record begins a recording. It is over when the effect Recorded says so: when it has as
// many Gets as it may have, when EndRecording ends it, or when the pool is closed. There
// is one at a time.
func (m *Machine) Record(now time.Duration, r *Recording) error {
	m.advance(now)
	switch {
	case m.phase != phaseOpen:
		return messages.ErrClosed
	case m.recording != nil:
		return messages.ErrRecording
	}
	m.beginRecording(r)
	m.settle()
	return nil
}

// EndRecording ends a recording, if it is not over.
func (m *Machine) EndRecording(now time.Duration, r *Recording) {
	m.advance(now)
	if m.recording != r {
		return
	}
	m.settle() // what is due belongs to the recording, and may end it
	if m.recording == r {
		m.finishRecording()
		m.schedule()
	}
}

// Close ends the pool: first of all jobs under way are cancelled, then all waits
// end, and what is idle is closed. t is answered once no connection is left.
func (m *Machine) Close(now time.Duration, t *Ticket) {
	m.advance(now)
	m.drain.closes.push(t, opClose)
	if m.phase == phaseOpen {
		m.phase = phaseClosing
		m.refreshFastPath()
		m.effect(Effect{Kind: CancelLifetime})
		if m.backoff.phase == backoffBlocked {
			m.effect(Effect{Kind: DisarmBackoff})
		}
		m.rejectAll(messages.ErrClosed, messages.ReasonPoolClosed)
		if m.recording != nil {
			m.recording.closed = true
			m.finishRecording()
		}
		m.answerAll(&m.drain.readies, messages.ErrClosed)
		for len(m.visits) > 0 {
			m.finishVisit(m.visits[0], messages.ErrClosed)
		}
		if m.drain.resize != nil {
			m.answer(m.drain.resize, messages.ErrClosed)
		}
		for _, s := range m.slots {
			if s.givenUp {
				continue
			}
			switch s.state {
			case idle:
				m.closeConn(s, messages.ReasonPoolClosed, nil)
			case connecting, checking, resetting, applying, unapplying:
				m.emitClosed(s, messages.ReasonPoolClosed, nil)
				m.rebound(s, boundGrace)
			}
		}
		m.emit(messages.Event{Kind: messages.PoolClosed})
	}
	m.settle()
}

// CancelControl ends a SetCapacity, Close or Ready whose caller has left, for the
// reason err. What it asked for stays in force.
func (m *Machine) CancelControl(now time.Duration, t *Ticket, err error) {
	m.advance(now)
	if !t.pending {
		return
	}
	if t.op == opReady {
		if m.suspended {
			err = &joinedError{"%v: %v", messages.ErrSuspended, err}
		}
		if m.lastConnectErr != nil {
			err = &joinedError{"%v (last connect error: %v)", err, m.lastConnectErr}
		}
		m.answer(t, m.notReady(err))
		return
	}
	m.answer(t, m.drainError(t.op, err))
}

// TearDown gives up whatever waits, without deciding anything: the pool ends at
// once, perhaps because the machine's own state may be wrong.
func (m *Machine) TearDown(waiter func(*Waiter), ticket func(*Ticket)) {
	m.phase = phaseClosed
	m.refreshFastPath()
	for w := m.queue.head; w != nil; {
		next := w.next
		w.queued, w.prev, w.next, w.slot = false, nil, nil, nil
		waiter(w)
		w = next
	}
	if w := m.queue.chosen; w != nil { // it was taken out, and the turn failed before its answer
		w.slot = nil
		waiter(w)
	}
	m.queue.waiterList = waiterList{}
	if t := m.drain.resize; t != nil {
		m.drain.resize = nil
		ticket(t)
	}
	for _, l := range []*ticketList{&m.drain.readies, &m.drain.closes} {
		for t := l.head; t != nil; {
			next := t.next
			ticket(t)
			t = next
		}
		*l = ticketList{}
	}
}
