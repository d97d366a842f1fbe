// Settle: what follows from any input. Whoever can be served is served, connects
// that are wanted and allowed begin, waits that cannot succeed are rejected, timers are set, and
// control requests that are done are answered.

package machine

import "github.com/actorpool/actorpool/messages"

// lookahead bounds how far down the queue a match of settings is looked for, and
// maxOvertaken how often a waiter is passed over for one (G7).
const (
	lookahead    = 64
	maxOvertaken = 8
)

// batch bounds how many of one kind a single turn handles, where there may be
// thousands.
const batch = 64

// settle brings the pool to rest after a change.
func (m *Machine) settle() {
	if m.serving() {
		m.shed(0)
		m.serve()
		m.dial()
		if m.backoff.phase == backoffBlocked {
			m.rejectHopeless()
		}
		m.breakDeadlocks()
	}
	m.schedule()
	m.answerControls() // last: after Stopped nothing follows, no timer is left
}

// Serving: idle connections and those that come free go to the waiters.

// serve matches idle connections with the waiters, in order of arrival. A waiter
// for which a new connection is the better choice has its connect begun when its
// turn comes, so that a later waiter does not take the permit to connect.
func (m *Machine) serve() {
	w := m.queue.head
	for range lookahead + m.cfg.MaxConnecting + m.count[idle] + m.queue.n - m.queue.unstarted {
		if w == nil || m.count[idle] == 0 {
			return
		}
		s := m.chooseIdle(w)
		switch {
		case s == nil && w.slot == nil && m.mayConnect():
			m.beginConnect(w)
			w = w.next
		case s == nil, w.slot != nil && m.needsCheck(s):
			w = w.next
		case m.tooOld(s):
			m.closeConn(s, messages.ReasonLifetime, nil)
		case m.needsCheck(s):
			m.beginJob(s, checking, Check)
			m.assign(w, s, false)
			w = w.next
		default:
			next := w.next
			m.give(s, w)
			w = next
		}
	}
}

// chooseIdle chooses the idle connection for a waiter (G1): one with the setting
// that it asks for; or else a clean one; or else, if no connect is allowed, the one
// whose setting has been idle for longest. A waiter with a job under way is given
// the first kind only.
func (m *Machine) chooseIdle(w *Waiter) *Slot {
	if s := m.newestIdle(w.Setting); s != nil || w.slot != nil {
		return s
	}
	if m.lists.idle.head != nil {
		return m.lists.idle.head
	}
	if s := m.lists.idleWithSetting.tail; s != nil && !m.mayConnect() && m.canBecome(s, w) {
		return s
	}
	return nil
}

// putToUse finds a use for a connection that has come free: it is closed if it is
// not wanted any more, goes to a waiter, or becomes idle.
func (m *Machine) putToUse(s *Slot) {
	if reason := m.condemned(s); reason != 0 {
		m.unassign(s)
		m.closeConn(s, reason, nil)
		if reason == messages.ReasonLifetime {
			m.inheritSetting(s)
		}
		return
	}
	if m.queue.n > 0 && !m.suspended {
		m.shed(1)
		if w := m.nextWaiter(s); w != nil {
			m.give(s, w)
			return
		}
	}
	m.unassign(s)
	if m.count[idle] >= m.maxIdle() {
		m.closeConn(s, messages.ReasonIdle, nil)
		return
	}
	m.makeIdle(s)
}

// nextWaiter finds the waiter that gets a connection which has come free: the
// first in the queue, or a later one that asks for the setting which is on the
// connection, unless that would overtake an earlier one too often. A waiter for
// which another connection is being changed already is passed over. nil: there is
// no waiter that can use the connection.
func (m *Machine) nextWaiter(s *Slot) *Waiter {
	setting := s.Setting()
	w := m.queue.head
	for range lookahead {
		if w == nil || w.overtaken >= maxOvertaken {
			break
		}
		if w.Setting == setting {
			for o := m.queue.head; o != w; o = o.next {
				o.overtaken++
			}
			return w
		}
		w = w.next
	}
	w = m.queue.head
	for w != nil && (!m.canBecome(s, w) || w.slot != nil && (w.slot.state == applying || w.slot.state == unapplying)) {
		w = w.next
	}
	return w
}

// canBecome says whether a connection can be turned into what a waiter asks for.
// It cannot if its setting cannot be taken off and no other connection can be
// opened in its place.
func (m *Machine) canBecome(s *Slot, w *Waiter) bool {
	return s.group == nil || m.cfg.Unapply || m.backoff.phase != backoffBlocked || s.group.setting == w.Setting
}

// give lends a connection to a waiter, or first begins to make it what the waiter
// asks for.
func (m *Machine) give(s *Slot, w *Waiter) {
	setting := s.Setting()
	if w.Setting == setting {
		m.grant(w, s)
		return
	}
	m.swapJobs(w, s)
	s.background = false
	switch {
	case setting == nil:
		m.counters.SettingSwitches++
		s.Want = w.Setting
		m.beginJob(s, applying, Apply)
	case m.cfg.Unapply:
		m.counters.SettingResets++
		m.beginJob(s, unapplying, Unapply)
	default:
		m.counters.SettingResets++
		m.reopen(w, s, nil)
		return
	}
	m.assign(w, s, false)
}

// reopen closes a connection whose setting cannot be taken off, so that a clean one
// can be opened for w in its place. Until the place is free, the closing counts as
// the job under way for w: no other connection is changed for it meanwhile.
func (m *Machine) reopen(w *Waiter, s *Slot, err error) {
	m.closeConn(s, messages.ReasonError, err)
	if w != nil {
		m.assign(w, s, false)
	}
}

// grant ends a wait with a connection.
func (m *Machine) grant(w *Waiter, s *Slot) {
	if w.Setting != nil && s.state != applying {
		m.counters.SettingHits++
	}
	m.swapJobs(w, s)
	wait := m.now - w.since
	m.counters.Grants++
	m.counters.WaitTime += wait
	if m.opts.measuresWaits {
		m.observeWait(wait)
	}
	if m.opts.allEvents {
		m.emitCheckedOut(s, w, wait)
	}
	m.lend(s, w, true)
	m.dequeue(w) // after lend: a borrower that is granted what it has just returned stays watched
	m.effect(Effect{Kind: Grant, Slot: s, Waiter: w})
}

// Connecting.

// dial begins the connects that are wanted and allowed: first for the waiters, in
// their order, then in the background.
func (m *Machine) dial() {
	for m.mayConnect() {
		w := m.queue.firstUnstarted()
		if w == nil && !m.wantsBackground() {
			return
		}
		m.beginConnect(w)
	}
}

// wantsBackground says whether one more connect is wanted that no waiter needs: for
// a Ready, or for MinIdle.
func (m *Machine) wantsBackground() bool {
	if m.drain.readies.head != nil && m.established()+m.count[connecting] < m.readyTarget() {
		return true
	}
	return m.missingIdle() > 0 && m.now >= m.backgroundAfter
}

// Rejecting: waits that cannot succeed, are too many, or too long.

// surelyAdmits says that there is no reason to reject a Get that is about to be
// queued, and nothing to begin for it. It may say no where admit would say yes.
func (m *Machine) surelyAdmits(w *Waiter) bool {
	return m.queue.n > 0 && !m.queue.codel.bad && (m.cfg.MaxWaiters == 0 || m.queue.unstarted < m.cfg.MaxWaiters) &&
		(w.Deadline == 0 || !m.cfg.ShedHopeless)
}

// admit says whether a Get that has just been queued may stay. It rejects the Get
// if it is one too many, or if it cannot be served before its deadline at the
// present pace. The first in line is never rejected for the latter: the pace is
// known only from those that are served.
func (m *Machine) admit(w *Waiter) bool {
	var err error
	estimate, known := m.queue.pace.estimate(m.queue.unstarted)
	switch limit := m.cfg.MaxWaiters; {
	case limit > 0 && m.queue.unstarted > limit:
		err = messages.ErrExhausted
	case m.cfg.ShedHopeless && m.queue.unstarted > 1 && known && w.Deadline > 0 && m.now+estimate > w.Deadline:
		m.counters.Sheds++
		err = &messages.ShedError{Estimate: estimate}
	default:
		return true
	}
	w.position = 0
	m.reject(w, err, messages.ReasonExhausted)
	m.schedule()
	return false
}

// shed ends the waits that are too long for a queue that CoDel has judged bad, a
// batch at once. It spares the waiters with a job under way, and the last keep
// waiters, which can be served now.
func (m *Machine) shed(keep int) {
	c := m.cfg.CoDel
	if !c.on() || m.queue.n == 0 {
		return
	}
	m.queue.codel.judge(m.now)
	for quota := batch; m.queue.codel.bad && quota > 0; quota-- {
		w := m.queue.firstUnstarted()
		if m.queue.unstarted <= keep || m.now-w.since < c.limit() {
			return
		}
		m.counters.Sheds++
		m.reject(w, &messages.ShedError{Target: c.Target}, messages.ReasonExhausted)
	}
}

// rejectHopeless ends, in a blocking period, the waits that cannot succeed. With
// fail-fast these are all that wait for a connect to begin (B8). Otherwise, when
// no connection can come back before the next attempt, they are those whose
// deadline comes before it (G9).
func (m *Machine) rejectHopeless() {
	if m.cfg.Backoff.Mode == BackoffFailFast {
		for w := m.queue.firstUnstarted(); w != nil; w = m.queue.firstUnstarted() {
			m.reject(w, m.backoffError(), messages.ReasonBackoff)
		}
		return
	}
	nothingOut := m.established() == 0 && m.count[connecting] == 0
	if nothingOut && !m.backoff.nothingOut {
		for w := m.queue.head; w != nil; {
			next := w.next
			if m.isHopeless(w) {
				m.rejectInBackoff(w)
			}
			w = next
		}
	}
	m.backoff.nothingOut = nothingOut
}

// isHopeless says whether a deadline comes before the next attempt.
func (m *Machine) isHopeless(w *Waiter) bool { return w.Deadline > 0 && w.Deadline < m.backoff.until }

// rejectInBackoff ends a wait because there is nothing to wait for.
func (m *Machine) rejectInBackoff(w *Waiter) {
	err := m.backoffError()
	err.Cause = &messages.ConnectError{Phase: messages.PhaseConnect, Err: err.Cause}
	m.reject(w, err, messages.ReasonBackoff)
}

// failFast ends a Get in a blocking period that fails fast. Its error has no
// picture of the pool: it must cost no more than a Get that succeeds (B8).
func (m *Machine) failFast(w *Waiter) {
	err := m.backoffError()
	m.emit(messages.Event{Kind: messages.CheckOutFailed, Reason: messages.ReasonBackoff, Label: w.Label, Err: err})
	m.effect(Effect{Kind: Reject, Waiter: w, Err: err})
}

// breakDeadlocks ends a deadlock: every connection is held by a caller that waits
// for another. The newest of these waits fails.
func (m *Machine) breakDeadlocks() {
	for m.deadlocked() {
		w := m.queue.tail
		for !w.holdsLease() {
			w = w.prev
		}
		m.counters.Deadlocks++
		m.reject(w, m.deadlockError(w), messages.ReasonExhausted)
	}
}

// deadlocked says that every connection is held by a caller that waits for
// another, and that no connection can be opened.
func (m *Machine) deadlocked() bool {
	held := m.leases.heldByWaiters
	return held > 0 && held == m.count[borrowed] && held == m.counted() && m.counted() >= m.capacity
}

// answerControls answers the control requests that are done: the pool has shrunk,
// is closed, or is ready.
func (m *Machine) answerControls() {
	fits := m.counted() <= m.capacity
	if m.overCapacity == fits {
		m.overCapacity = !fits
		m.refreshFastPath()
	}
	if m.drain.resize != nil && fits {
		m.answer(m.drain.resize, nil)
	}
	if m.drain.readies.head != nil && m.established() >= m.readyTarget() {
		m.answerAll(&m.drain.readies, nil)
	}
	if m.phase == phaseOpen || m.established() > 0 || m.count[closing] > 0 || m.jobs.givenUpClosing > 0 {
		return
	}
	m.phase = phaseClosed
	m.answerAll(&m.drain.closes, nil)
	if m.count[connecting] == 0 && m.jobs.givenUp == 0 && !m.stopped {
		m.stopped = true
		m.effect(Effect{Kind: Stopped})
	}
}
