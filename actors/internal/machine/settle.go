// Settle: what follows from any input. Whoever can be served is served, connects
// that are wanted and allowed begin, waits that cannot succeed are rejected, timers are set, and
// control requests that are done are answered.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// lookahead bounds how far down the queue serve looks, and maxOvertaken how often a
// waiter is passed over for one whose setting matches (G7).
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
		m.adopt() // the connects of the waits that have just ended
	}
	if m.count[connecting] == 0 {
		m.permits = initialPermits // nothing is known any more of what the server can take
	}
	m.schedule()
	m.answerControls() // after Stopped nothing follows, no timer is left
	if state := m.stateName(); state != m.lastState {
		m.lastState, m.stateSince = state, m.now
	}
}

// Serving: idle connections and those that come free go to the waiters.

// serve matches idle connections with the waiters, in order of arrival. A waiter
// for which a new connection is the better choice has its connect begun when its
// turn comes, so that a later waiter does not take the permit to connect.
func (m *Machine) serve() {
	m.serveInOrder()
	m.serveMatches()
}

// serveInOrder serves the first waiters.
func (m *Machine) serveInOrder() {
	w := m.queue.head
	for range lookahead + min(m.cfg.MaxConnecting, m.queue.n) + m.count[idle] + m.queue.n - m.queue.unstarted {
		if w == nil || m.count[idle] == 0 {
			return
		}
		next := w.next
		if m.expired(w) {
			m.rejectExpired(w)
			w = next
			continue
		}
		s := m.chooseIdle(w)
		switch {
		case s == nil && w.slot == nil:
			m.connectFor(w)
		case s == nil:
		case m.tooOld(s):
			m.closeConn(s, messages.ReasonLifetime, nil)
			continue // with another one for the same waiter
		default:
			m.serveWith(w, s)
		}
		w = next
	}
}

// serveMatches serves waiters that ask for exactly the setting of an idle connection,
// wherever they are in the queue (G14).
func (m *Machine) serveMatches() {
	if m.queue.withSetting == 0 {
		return
	}
	left := lookahead
	for s := m.lists.idleWithSetting.head; s != nil && left > 0; left-- {
		next := s.next
		if w := m.nextMatch(s); w != nil && !m.tooOld(s) && (!w.paid || !m.suspect(s)) {
			m.serveWith(w, s)
		}
		s = next
	}
}

// serveWith serves a waiter with an idle connection, or first begins a check of it.
func (m *Machine) serveWith(w *Waiter, s *Slot) {
	switch {
	case w.paid || !m.needsCheck(s):
		m.give(s, w)
	case w.slot == nil:
		m.beginCheck(s, w)
	}
}

// chooseIdle chooses the idle connection for a waiter (G1): one with the setting
// that it asks for; or else a clean one; or else, if no connect is allowed, the one
// whose setting has been idle for longest. A waiter with a job under way is given
// the first kind only.
func (m *Machine) chooseIdle(w *Waiter) *Slot {
	if w.paid {
		return m.chooseProved(w)
	}
	if s := m.newestIdle(w.Setting); s != nil || w.slot != nil {
		return s
	}
	if m.lists.idle.head != nil {
		return m.lists.idle.head
	}
	if s := m.lists.idleWithSetting.tail; s != nil && !m.mayConnect() && !m.isFixed(s) {
		return s
	}
	return nil
}

// chooseProved chooses the idle connection for a waiter that has waited for a check in
// vain: in the order of chooseIdle, but one that needs no check since it has been proved
// alive more recently than the one that failed (G13). It looks at the newest ones only.
func (m *Machine) chooseProved(w *Waiter) *Slot {
	left := lookahead
	for s := m.newestIdle(w.Setting); s != nil && left > 0; left-- {
		if !m.suspect(s) {
			return s
		}
		if w.Setting == nil {
			s = s.next
		} else {
			s = s.groupNext
		}
	}
	if w.slot != nil {
		return nil
	}
	for s := m.lists.idle.head; s != nil && left > 0; s, left = s.next, left-1 {
		if !m.suspect(s) {
			return s
		}
	}
	if m.mayConnect() {
		return nil
	}
	for s := m.lists.idleWithSetting.tail; s != nil && left > 0; s, left = s.prev, left-1 {
		if !m.suspect(s) && !m.isFixed(s) {
			return s
		}
	}
	return nil
}

// putToUse finds a use for a connection that has come free: it is closed if it is
// not wanted any more, goes to a visit or to a waiter, or becomes idle. A suspect, which
// a caller that has left did not use, becomes idle: from there a waiter has it checked
// first.
func (m *Machine) putToUse(s *Slot) {
	if reason := m.condemned(s); reason != 0 {
		m.unassign(s)
		m.closeConn(s, reason, nil)
		if reason == messages.ReasonLifetime {
			m.inheritSetting(s)
		}
		return
	}
	if v := s.nextVisit(); v != nil {
		m.unassign(s)
		m.visit(s, v)
		return
	}
	if m.queue.n > 0 && !m.suspended && !m.suspect(s) {
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

// putReturnedToUse is putToUse for a connection whose lease has ended in this turn.
// Waits may end before its use is found, and their errors show the pool: it is not
// borrowed any more.
func (m *Machine) putReturnedToUse(s *Slot) {
	m.returned = s
	m.putToUse(s)
	m.returned = nil
}

// nextWaiter finds the waiter that gets a connection which has come free: the first
// that asks for the setting which is on the connection, unless that would overtake an
// earlier waiter too often (G7); otherwise the first that can use it, without those
// for which another connection is being changed already. A waiter whose deadline has
// passed is not served any more: its wait ends (G11). nil: there is no waiter that can
// use the connection.
func (m *Machine) nextWaiter(s *Slot) *Waiter {
	for quota := batch; ; quota-- {
		w := m.nextMatch(s)
		match := w != nil
		if !match {
			w = m.nextUser(s)
		}
		if w == nil {
			return nil
		}
		if quota == 0 { // the others are left to their own timers
			return m.nextInTime(s)
		}
		if !m.expired(w) {
			if match {
				m.overtake(w, s)
			}
			return w
		}
		m.rejectExpired(w)
	}
}

// nextInTime is the first waiter that a connection can be changed for and whose
// deadline has not passed.
func (m *Machine) nextInTime(s *Slot) *Waiter {
	w := m.queue.head
	if m.isFixed(s) {
		w = m.queue.firstWith(s.Setting())
	}
	for w != nil && (m.expired(w) || m.isFixed(s) && w.Setting != s.Setting()) {
		w = w.next
	}
	return w
}

// nextMatch is the first waiter that asks for the setting of a connection, if it may
// overtake those before it.
func (m *Machine) nextMatch(s *Slot) *Waiter {
	w := m.queue.firstWith(s.Setting())
	if w == nil || w.prev != nil && m.queue.overtaken >= maxOvertaken && !m.isFixed(s) {
		return nil
	}
	return w
}

// overtake notes that a waiter is served before those ahead of it. A waiter that
// cannot use a connection is not overtaken by its going to another.
func (m *Machine) overtake(w *Waiter, s *Slot) {
	if !m.isFixed(s) {
		m.queue.overtake(w)
	}
}

// nextUser is the first waiter that a connection can be changed for, or whose deadline
// has passed: it bars the way to no other.
func (m *Machine) nextUser(s *Slot) *Waiter {
	if m.isFixed(s) {
		return nil
	}
	w := m.queue.head
	for w != nil && !m.expired(w) && w.slot != nil && (w.slot.state == applying || w.slot.state == unapplying) {
		w = w.next
	}
	return w
}

// isFixed says that a connection is of use only to waiters that ask for the setting
// which is on it: the setting cannot be taken off, and no other connection can be
// opened in its place.
func (m *Machine) isFixed(s *Slot) bool {
	return s.group != nil && !m.cfg.Unapply && m.backoff.phase == backoffBlocked
}

// expired says that the deadline of a waiter has passed. A Get that has only just
// come is served all the same (G11).
func (m *Machine) expired(w *Waiter) bool {
	return w.Deadline > 0 && w.Deadline <= m.now && w.since < m.now
}

// rejectExpired ends a wait whose deadline has passed.
func (m *Machine) rejectExpired(w *Waiter) {
	m.reject(w, deadlineError(w), messages.ReasonTimeout)
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
		s.Want = w.Setting
		m.beginJob(s, applying, Apply)
	case m.cfg.Unapply:
		m.beginJob(s, unapplying, Unapply)
	default:
		m.reopen(w, s, nil)
		return
	}
	m.assign(w, s, false)
}

// reopen closes a connection whose setting cannot be taken off, so that a clean one
// can be opened for w in its place. Until the place is free, the closing counts as
// the job under way for w: no other connection is changed for it meanwhile.
func (m *Machine) reopen(w *Waiter, s *Slot, err error) {
	m.counters.SettingResets++
	m.closeConn(s, messages.ReasonError, err)
	if w != nil {
		m.assign(w, s, false)
	}
}

// visit lends a connection to the caller of a visit that waits for its next one.
func (m *Machine) visit(s *Slot, v *Visit) {
	v.waits = false
	v.leave(s)
	m.lendOutOfTurn(s, &v.waiter)
	m.effect(Effect{Kind: Visited, Slot: s, Visit: v})
}

// lendOutOfTurn lends a connection to a caller that is not in the queue. That is no use
// of the connection.
func (m *Machine) lendOutOfTurn(s *Slot, w *Waiter) {
	m.notUsed(s)
	w.since = m.now
	m.counters.Gets++
	m.counters.Grants++
	if m.opts.watchesGets {
		m.tellStarted(w)
		m.tellCheckedOut(s, w, 0)
	}
	m.noteOrigin(s, 0)
	m.lend(s, w, true)
}

// noteOrigin notes how the next lease of a connection comes by it, after which wait.
func (m *Machine) noteOrigin(s *Slot, wait time.Duration) {
	s.Path, s.wait = pathFrom[s.state], wait
	switch s.state {
	case idle:
		s.idled = m.now - s.since
	case borrowed:
		s.idled = 0
	}
}

// pathFrom says how a lease comes by a connection, by what was done with it before.
var pathFrom = [...]messages.Path{
	idle: messages.PathIdle, connecting: messages.PathNew, checking: messages.PathChecked,
	applying: messages.PathPrepared, unapplying: messages.PathPrepared,
	resetting: messages.PathQueued, borrowed: messages.PathQueued,
}

// grant ends a wait with a connection.
func (m *Machine) grant(w *Waiter, s *Slot) {
	if w.Setting != nil && (s.state != applying || s.waiter != w) {
		m.counters.SettingHits++
	}
	m.swapJobs(w, s)
	wait := m.now - w.since
	w.waited = wait
	m.observeGrant(wait)
	if w.waits {
		m.counters.GrantedWaits++
	}
	if m.opts.measuresWaits {
		m.observeWait(wait)
	}
	if m.opts.watchesGets {
		m.tellCheckedOut(s, w, wait)
	}
	m.noteOrigin(s, wait)
	m.lend(s, w, true)
	m.useBegins(s)
	m.dequeue(w) // after lend: a borrower that is granted what it has just returned stays watched
	m.effect(Effect{Kind: Grant, Slot: s, Waiter: w})
	m.queue.chosen = nil // the effect remembers it
}

// Connecting.

// dial begins the connects that are wanted and allowed: first for the waiters, in
// their order, then in the background.
func (m *Machine) dial() {
	for w := m.queue.firstUnstarted(); w != nil && m.connectFor(w); {
		w = m.queue.firstUnstarted()
	}
	for m.queue.unstarted == 0 && m.mayConnect() && m.mayConnectInBackground() && m.wantsBackground() {
		m.beginConnect(nil)
	}
}

// adopt gives connects that are under way for nobody to waiters that have none (G12).
func (m *Machine) adopt() {
	for len(m.jobs.unclaimed) > 0 && m.queue.unstarted > 0 {
		m.connectFor(m.queue.firstUnstarted())
	}
}

// connectFor gives a waiter a connect: one that is under way for nobody (G12), or a
// new one. But where a connection is being reset that the waiter can use, it first
// waits for that, for no longer than the last connect took: so one caller alone, which
// returns a connection and asks for the next, needs one connection and not two (P8).
// False: there is neither.
func (m *Machine) connectFor(w *Waiter) bool {
	if n := len(m.jobs.unclaimed); n > 0 {
		m.assign(w, m.jobs.unclaimed[0], false)
		return true
	}
	if !m.mayConnect() {
		return false
	}
	if !w.claimed {
		w.claimed = true
		if s := m.unclaimedReset(w); s != nil {
			m.assign(w, s, false)
			s.claimEnds = after(m.now, max(m.lastConnect, leastClaim))
			m.jobs.claimsDue = min(m.jobs.claimsDue, s.claimEnds)
			return true
		}
	}
	m.beginConnect(w)
	return true
}

// unclaimedReset finds the reset under way that nobody waits for and that will be done
// first, of a connection that the waiter can use as it is then, or with an Apply.
func (m *Machine) unclaimedReset(w *Waiter) *Slot {
	s := m.jobs.busy[boundReset].head
	for range lookahead {
		if s == nil {
			return nil
		}
		clean := s.group == nil || m.cfg.ResetWipes
		if s.waiter == nil && m.condemned(s) == 0 && (clean || s.Setting() == w.Setting) {
			return s
		}
		s = s.next
	}
	return nil
}

// Rejecting: waits that cannot succeed, are too many, or too long.

// surelyAdmits says that there is no reason to reject a Get that is about to be
// queued, and nothing to begin for it. It may say no where admit would say yes.
func (m *Machine) surelyAdmits(w *Waiter) bool {
	return m.queue.n > 0 && !m.queue.codel.bad && (m.cfg.MaxWaiters == 0 || m.queue.unstarted < m.cfg.MaxWaiters) &&
		(w.Deadline == 0 && w.Timeout == 0 || !m.cfg.ShedHopeless)
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
	case m.cfg.ShedHopeless && m.queue.unstarted > 1 && known && w.Deadline > 0 && after(m.now, estimate) > w.Deadline:
		m.counters.Sheds++
		err = &messages.ShedError{Estimate: estimate}
	default:
		return true
	}
	w.position = 0
	m.reject(w, err, messages.ReasonExhausted)
	m.adopt()
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
	err := m.failFastError()
	m.recordEnd(w, err, messages.ReasonBackoff)
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
	return held > 0 && !m.cfg.Shared && held == m.count[borrowed] && held == m.counted() && m.counted() >= m.capacity
}

// answerControls answers the control requests that are done: the pool has shrunk,
// is closed, or is ready.
func (m *Machine) answerControls() {
	if over := m.surplus() > 0; m.overCapacity != over {
		m.overCapacity = over
		m.refreshFastPath()
	}
	if m.drain.resize != nil && m.occupied() <= m.capacity {
		m.answer(m.drain.resize, nil)
	}
	for t := m.drain.readies.head; t != nil; {
		next := t.next
		if m.established() >= m.readyTarget(t) {
			m.answer(t, nil)
		}
		t = next
	}
	if m.phase == phaseOpen || m.counted() > 0 || m.jobs.givenUpClosing > 0 {
		return
	}
	m.phase = phaseClosed
	m.answerAll(&m.drain.closes, nil)
	if m.jobs.givenUp == 0 && !m.stopped {
		m.stopped = true
		m.effect(Effect{Kind: Stopped})
	}
}
