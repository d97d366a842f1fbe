// Transitions: the single steps by which the state changes. Each keeps the lists,
// the counts and the links between slots, waiters and borrowers in agreement.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Slots.

// move takes a slot from its state to another, with the lists and counts that go
// with them. Nothing else changes a slot's state, except borrowNewest and becomeNewest,
// which do the same, and stopCounting and closeLate, which deal with slots that are not
// counted any more.
func (m *Machine) move(s *Slot, to state) {
	switch s.state {
	case vacant:
		m.lists.vacant.remove(s)
	case idle:
		if s.group == nil {
			m.lists.idle.remove(s)
		} else {
			m.lists.idleWithSetting.remove(s)
			s.group.remove(s)
		}
	case borrowed:
		if s.annotated {
			m.clearAnnotations(s)
		}
	case connecting:
		m.connectBack(s)
		m.jobs.busy[s.bound].remove(s)
	default:
		m.jobs.busy[s.bound].remove(s)
	}
	m.count[s.state]--
	m.count[to]++
	s.state, s.since = to, m.now
	switch to {
	case vacant:
		s.Conn, s.Want, s.ID, s.closedEmitted, s.expires, s.background, s.label = nil, nil, 0, false, 0, false, ""
		m.setSetting(s, nil)
		m.lists.vacant.pushHead(s)
	case idle:
		l := &m.lists.idle
		if s.group != nil {
			l = &m.lists.idleWithSetting
		}
		if s.background { // a check in the background does not count as a use
			s.since, s.background = s.idleSince, false
			l.insert(s)
		} else {
			l.pushHead(s)
		}
		if s.group != nil {
			s.group.insert(s)
		}
	case borrowed:
		s.background = false
	case closing:
		m.bound(s, boundDisconnect)
	case resetting:
		m.bound(s, boundReset)
	default:
		m.bound(s, boundConnect)
	}
}

// borrowNewest is move, from idle to borrowed, of the newest connection in its list. For
// one without a setting it is written out, for the fast paths.
func (m *Machine) borrowNewest(s *Slot) {
	if s.group != nil {
		m.move(s, borrowed)
		return
	}
	m.lists.idle.popHead()
	m.count[idle]--
	m.count[borrowed]++
	s.state, s.since, s.background = borrowed, m.now, false
}

// becomeNewest is move from borrowed to idle, written out in the same way.
func (m *Machine) becomeNewest(s *Slot) {
	if !s.simple() {
		m.move(s, idle)
		return
	}
	m.count[borrowed]--
	m.count[idle]++
	s.state, s.since = idle, m.now
	m.lists.idle.pushHead(s)
}

// bound puts a slot with a job behind those whose job is bounded by the same.
func (m *Machine) bound(s *Slot, b bound) {
	s.bound, s.due = b, after(m.now, m.cfg.jobTimeout(b))
	m.jobs.busy[b].pushTail(s)
}

// rebound changes what bounds a job, from now on.
func (m *Machine) rebound(s *Slot, b bound) {
	m.jobs.busy[s.bound].remove(s)
	m.bound(s, b)
}

// connectBack notes that a connect is over. It has been unassigned before.
func (m *Machine) connectBack(s *Slot) {
	m.claim(s)
	if s.cancelled {
		s.cancelled = false
		m.jobs.cancelled--
	}
}

// beginConnect begins a connect for a waiter, or for nobody.
func (m *Machine) beginConnect(w *Waiter) {
	s := m.lists.vacant.head
	if s == nil {
		s = &Slot{index: len(m.slots)}
		m.slots = append(m.slots, s)
		m.count[vacant]++
		m.lists.vacant.pushHead(s)
	}
	m.lastID++
	s.ID, s.LeaseEpoch, s.timedEpoch, s.unused, s.seenStay = m.lastID, 1, 0, 0, 0
	s.generation, s.backoffEpoch = m.generation, m.backoff.epoch
	m.setQuick(s)
	m.counters.Connects++
	m.emit(messages.Event{Kind: messages.ConnectionCreated, ConnID: s.ID})
	m.beginJob(s, connecting, Open)
	m.unclaim(s)
	if w != nil {
		m.assign(w, s, true)
	} else if n := len(m.lists.inherited); n > 0 {
		s.Want, m.lists.inherited = m.lists.inherited[n-1], m.lists.inherited[:n-1]
	}
}

// beginJob begins a job in the slot's connector.
func (m *Machine) beginJob(s *Slot, to state, job EffectKind) {
	switch {
	case s.state == idle && m.opts.needsClock:
		s.idled = m.now - s.since
	case s.state == vacant || s.state == borrowed:
		s.idled = 0
	}
	m.move(s, to)
	m.effect(Effect{Kind: job, Slot: s})
}

// beginCheck begins a check of an idle connection for a waiter, or for nobody: then it
// is in the background and does not end the connection's idling.
func (m *Machine) beginCheck(s *Slot, w *Waiter) {
	since := s.since
	m.beginJob(s, checking, Check)
	if w == nil {
		s.background, s.idleSince = true, since
		m.jobs.background++
		return
	}
	m.rebound(s, boundCheck)
	m.assign(w, s, false)
}

// checkBack notes that a check is over, if it was in the background. Another may begin.
func (m *Machine) checkBack(s *Slot) {
	if s.state == checking && s.background {
		m.jobs.background--
		if m.timers.checksWait {
			m.timers.checksWait = false
			m.timers.idleDue = min(m.timers.idleDue, m.now)
		}
	}
}

// prove notes that a connection is alive.
func (m *Machine) prove(s *Slot) {
	m.proofs++
	s.proof, s.aliveAt = m.proofs, m.now
}

// foundDead notes that a connection is dead. Those that were proved alive no later are
// suspects, and the next tick looks at them.
func (m *Machine) foundDead(s *Slot) {
	if !m.cfg.Check || s.proof <= m.aliveBefore {
		return
	}
	m.aliveBefore = s.proof
	if m.count[idle] > 0 {
		m.timers.idleDue = min(m.timers.idleDue, m.now)
	}
}

// closeConn begins to close a connection.
func (m *Machine) closeConn(s *Slot, reason messages.Reason, err error) {
	switch reason {
	case messages.ReasonIdle:
		m.counters.ClosedIdle++
	case messages.ReasonLifetime:
		m.counters.ClosedLifetime++
	case messages.ReasonStale:
		m.counters.ClosedStale++
	case messages.ReasonError, messages.ReasonBroken:
		m.counters.ClosedBroken++
	case messages.ReasonCapacity:
		m.counters.ClosedCapacity++
	case messages.ReasonUses:
		m.counters.ClosedUses++
	}
	m.emitClosed(s, reason, err)
	m.stands(s, false)
	m.beginJob(s, closing, Disconnect)
}

// cancelConnect cancels a connect that is too many since the capacity was lowered. Its
// waiter keeps its place. If the connect succeeds nevertheless, its connection is
// closed.
func (m *Machine) cancelConnect(s *Slot) {
	m.unassign(s)
	m.claim(s) // it is of no use to a waiter
	s.cancelled = true
	m.jobs.cancelled++
	m.rebound(s, boundGrace)
	m.emitClosed(s, messages.ReasonCapacity, nil)
	m.effect(Effect{Kind: Interrupt, Slot: s})
}

// cancelConnects cancels connects that are too many, the newest first, of those that
// which says.
func (m *Machine) cancelConnects(which func(*Slot) bool) {
	for s := m.jobs.busy[boundConnect].tail; s != nil && m.surplus() > 0; {
		older := s.prev
		if s.state == connecting && which(s) {
			m.cancelConnect(s)
		}
		s = older
	}
}

// closeLate closes a connection that has come back after its job was given up.
func (m *Machine) closeLate(s *Slot) {
	s.state, s.bound = closing, boundDisconnect
	m.jobs.givenUpClosing++
	m.effect(Effect{Kind: Disconnect, Slot: s})
}

// makeIdle makes a connection idle.
func (m *Machine) makeIdle(s *Slot) {
	m.move(s, idle)
	m.noteIdle(s)
}

// noteIdle sees to it that a connection which has become idle is looked at in time.
func (m *Machine) noteIdle(s *Slot) {
	if m.count[idle] == 1 {
		m.timers.idleDue = never // it was due for connections that are not idle any more
	}
	if m.opts.needsClock {
		m.timers.idleDue = min(m.timers.idleDue, m.expiryDue(m.oldestIdle()), m.checkDue(s))
		if s.expires > 0 {
			m.timers.idleDue = min(m.timers.idleDue, s.expires)
		}
		if m.timers.idleDue < m.timers.tickAt || m.timers.coarseTick > 0 && !m.coarseTicking() {
			m.schedule()
		}
	}
}

// vacate ends the use of a slot. One that the capacity has no room for is
// dropped.
func (m *Machine) vacate(s *Slot) {
	m.move(s, vacant)
	if len(m.slots)-m.jobs.givenUp > m.capacity {
		m.dropSlot(s)
	}
}

// stopCounting takes a slot whose job is given up out of the lists and counts.
func (m *Machine) stopCounting(s *Slot) {
	if s.state == connecting {
		m.connectBack(s)
	}
	m.stands(s, false)
	m.checkBack(s)
	m.jobs.busy[s.bound].remove(s)
	m.count[s.state]--
	m.jobs.givenUp++
	s.givenUp = true
}

// dropSlot forgets a vacant or given-up slot altogether.
func (m *Machine) dropSlot(s *Slot) {
	if s.givenUp {
		m.jobs.givenUp--
		m.setSetting(s, nil)
	} else {
		m.lists.vacant.remove(s)
		m.count[vacant]--
	}
	last := m.slots[len(m.slots)-1]
	m.describeMoved(last, s.index)
	m.slots[s.index], last.index = last, s.index
	m.slots[len(m.slots)-1] = nil
	m.slots = m.slots[:len(m.slots)-1]
	m.effect(Effect{Kind: Retire, Slot: s})
}

// setSetting notes which setting is on a connection that is not idle; nil: none.
func (m *Machine) setSetting(s *Slot, setting any) {
	if g := s.group; g != nil {
		g.members--
		if g.members == 0 {
			delete(m.lists.groups, g.setting)
		}
		s.group = nil
	}
	if setting == nil {
		return
	}
	g := m.lists.groups[setting]
	if g == nil {
		if m.lists.groups == nil {
			m.lists.groups = make(map[any]*settingGroup)
		}
		g = &settingGroup{setting: setting}
		m.lists.groups[setting] = g
	}
	g.members++
	s.group = g
}

// inheritSetting passes the setting of a connection that has expired on to the one
// that replaces it, if MinIdle or MinOpen asks for one.
func (m *Machine) inheritSetting(s *Slot) {
	if s.group != nil && len(m.lists.inherited) < m.missing() {
		m.lists.inherited = append(m.lists.inherited, s.group.setting)
	}
}

// Jobs and the waiters that they are done for. At most one job is under way for a
// waiter, and a job is done for at most one waiter.

// assign makes the slot's job the one that is under way for a waiter. bearsFailure
// says that the job was begun for this waiter, which fails if the job does.
func (m *Machine) assign(w *Waiter, s *Slot, bearsFailure bool) {
	w.slot, s.waiter, s.bearsFailure = s, w, bearsFailure
	m.queue.unstarted--
	switch s.state {
	case connecting:
		m.claim(s)
	case resetting:
		m.jobs.claims++
	}
}

// unassign separates a slot's job from the waiter that it is done for, if there is
// one. The job goes on for nobody.
func (m *Machine) unassign(s *Slot) {
	w := s.waiter
	if w == nil {
		return
	}
	w.slot, s.waiter, s.bearsFailure = nil, nil, false
	m.queue.unstarted++
	switch s.state {
	case connecting:
		m.unclaim(s)
	case resetting:
		m.jobs.claims--
		if m.jobs.claims == 0 {
			m.jobs.claimsDue = never
		}
	}
}

// unclaim notes that a connect is under way for nobody. A stale one is of no use.
func (m *Machine) unclaim(s *Slot) {
	if s.generation == m.generation {
		m.jobs.unclaimed = append(m.jobs.unclaimed, s)
		s.unclaimed = len(m.jobs.unclaimed)
	}
}

// claim takes a connect out of those that are under way for nobody, if it is there.
func (m *Machine) claim(s *Slot) {
	if s.unclaimed == 0 {
		return
	}
	last := len(m.jobs.unclaimed)
	moved := m.jobs.unclaimed[last-1]
	m.jobs.unclaimed[s.unclaimed-1], moved.unclaimed = moved, s.unclaimed
	m.jobs.unclaimed[last-1] = nil
	m.jobs.unclaimed = m.jobs.unclaimed[:last-1]
	s.unclaimed = 0
}

// stands notes whether a slot holds an established connection of the current
// generation.
func (m *Machine) stands(s *Slot, stands bool) {
	if s.standing == stands {
		return
	}
	if s.standing = stands; stands {
		m.standing++
		return
	}
	m.standing--
	if s.visits != nil {
		m.skipVisits(s)
	}
}

// unassignWaiter separates a waiter from the job that is under way for it, if there
// is one.
func (m *Machine) unassignWaiter(w *Waiter) {
	if w.slot != nil {
		m.unassign(w.slot)
	}
}

// swapJobs frees w and s from each other's jobs when s goes to w. If the job of s
// was for another waiter, that one takes over the job that was under way for w, so
// that no more connects are made than are needed. If a job that was
// taken over fails, it fails no Get (G10).
func (m *Machine) swapJobs(w *Waiter, s *Slot) {
	own, other := w.slot, s.waiter
	m.unassign(s)
	m.unassignWaiter(w)
	if own != nil && own != s && other != nil && other != w && (own.state == connecting || own.state == checking && !other.paid) {
		m.assign(other, own, false)
	}
}

// Waits.

// enqueue puts a waiter in the queue.
func (m *Machine) enqueue(w *Waiter) {
	m.setDeadline(w)
	if m.opts.measuresWaits && m.queue.n == 0 {
		m.queue.pace.began(m.now)
		m.queue.codel.began(m.cfg.CoDel, m.now, m.counters.Grants)
	}
	m.queue.push(w)
	if b := w.Borrower; b != nil {
		if b.nothingAtStake() {
			m.effect(Effect{Kind: Watch, Borrower: b})
		}
		b.addWait(w)
	}
}

// setDeadline gives a Get that has to wait and has no deadline that of GetTimeout
// (G16).
func (m *Machine) setDeadline(w *Waiter) {
	if w.Deadline == 0 && w.Timeout > 0 && w.Timeout < never {
		w.Deadline = after(m.now, w.Timeout)
	}
}

// enqueueFirst puts a waiter at the head of the queue: one that was there before.
func (m *Machine) enqueueFirst(w *Waiter) {
	m.setDeadline(w)
	if m.opts.measuresWaits && m.queue.n == 0 {
		m.queue.pace.began(m.now)
		m.queue.codel.began(m.cfg.CoDel, m.now, m.counters.Grants)
	}
	m.queue.pushFirst(w, m.now)
}

// dequeue takes a waiter out of the queue.
func (m *Machine) dequeue(w *Waiter) {
	m.queue.remove(w)
	if m.opts.measuresWaits && m.queue.n == 0 {
		m.queue.codel.emptied(m.counters.Grants)
	}
	if w.Borrower != nil {
		w.Borrower.removeWait(w)
	}
	if w.held != nil {
		m.clearHeld(w)
	}
}

// clearHeld forgets which leases the caller of a Get holds, when its wait ends.
func (m *Machine) clearHeld(w *Waiter) {
	for _, h := range w.held {
		if !h.out() {
			continue
		}
		h.Slot.waitingHolders--
		if h.Slot.waitingHolders == 0 {
			m.leases.heldByWaiters--
		}
	}
	w.held = nil
}

// observeWait notes how long a waiter that is served has waited.
func (m *Machine) observeWait(wait time.Duration) {
	m.queue.pace.served(m.now)
	m.queue.codel.served(m.cfg.CoDel, m.now, wait)
}

// reject ends a Get, whether it is in the queue or not, with an error that says
// what the pool looked like.
func (m *Machine) reject(w *Waiter, err error, reason messages.Reason) {
	m.recordEnd(w, err, reason)
	m.countFailure(reason)
	if w.queued || m.phase == phaseOpen {
		err = m.getError(w, err)
	} else {
		err = m.Denial(m.now, err)
	}
	if w.queued {
		m.unassignWaiter(w)
		m.dequeue(w)
		m.releaseBorrower(w.Borrower)
	}
	m.emit(messages.Event{
		Kind: messages.CheckOutFailed, Reason: reason, Duration: m.now - w.since, Label: w.Label, Err: err,
	})
	m.effect(Effect{Kind: Reject, Waiter: w, Err: err})
	m.queue.chosen = nil // the effect remembers it
}

// countFailure counts a Get that ends without a connection.
func (m *Machine) countFailure(reason messages.Reason) {
	switch reason {
	case messages.ReasonTimeout:
		m.counters.Timeouts++
	case messages.ReasonCanceled:
		m.counters.Cancels++
	}
}

// rejectAll ends every wait.
func (m *Machine) rejectAll(err error, reason messages.Reason) {
	for m.queue.n > 0 {
		m.reject(m.queue.head, err, reason)
	}
}

// rejectIfPaused ends every wait if the pool is paused.
func (m *Machine) rejectIfPaused() {
	if m.paused {
		m.rejectAll(messages.ErrCleared, messages.ReasonCleared)
		m.answerAll(&m.drain.readies, messages.ErrCleared)
	}
}

// Leases.

// lend makes a connection borrowed. exactSince says that the machine's time is exact.
func (m *Machine) lend(s *Slot, w *Waiter, exactSince bool) {
	m.move(s, borrowed)
	s.label, s.exactSince = w.Label, exactSince
	if m.opts.tracksLeases || w.Borrower != nil {
		m.annotate(s, w)
	}
}

// annotate notes what concerns a lease beyond its connection: its age, where it came
// from, and the actor that holds it. (Holds notes that its holder waits.)
func (m *Machine) annotate(s *Slot, w *Waiter) {
	s.annotated = true
	s.trace = w.Trace
	if m.opts.tracksLeases {
		m.leases.out.pushTail(s)
		if m.leases.unreported == nil {
			m.leases.unreported = s
		}
		if m.leases.out.n == 1 {
			m.leases.lastLook = m.now
		}
	}
	if w.Borrower != nil {
		s.borrower = w.Borrower
		s.borrower.addSlot(s)
	}
}

// clearAnnotations undoes annotate and Holds when the lease ends.
func (m *Machine) clearAnnotations(s *Slot) {
	s.annotated, s.leaked, s.trace = false, false, nil
	if m.opts.tracksLeases {
		if m.leases.unreported == s {
			m.leases.unreported = s.next
		}
		m.leases.out.remove(s)
	}
	if s.waitingHolders > 0 {
		s.waitingHolders = 0
		m.leases.heldByWaiters--
	}
	if b := s.borrower; b != nil {
		s.borrower = nil
		b.removeSlot(s)
		m.releaseBorrower(b)
	}
}

// releaseBorrower ends the watch of a borrower that has nothing at stake any more.
func (m *Machine) releaseBorrower(b *Borrower) {
	if b != nil && b.nothingAtStake() {
		m.effect(Effect{Kind: Unwatch, Borrower: b})
	}
}

// checkIn ends a lease that its holder returns.
func (m *Machine) checkIn(s *Slot) {
	m.useEnds(s)
	s.LeaseEpoch++
	if m.opts.watchesGets {
		m.tellCheckedIn(s)
	}
}

// revoke ends a lease that its holder has not returned.
func (m *Machine) revoke(s *Slot) {
	m.counters.Revoked++
	m.effect(Effect{Kind: Revoke, Slot: s, Epoch: s.LeaseEpoch})
	m.useEnds(s)
	s.LeaseEpoch++
	if m.recording != nil {
		m.recordReturn(s)
	}
}

// takeBack revokes a lease that is lost or too old, reports it as a leak, and closes
// its connection.
func (m *Machine) takeBack(s *Slot, cause error) {
	if !s.leaked {
		m.reportLeak(s, cause)
	}
	m.revoke(s)
	m.closeConn(s, m.brokenReason(), cause)
}

// reportLeak tells, once for each lease, that it is out for too long.
func (m *Machine) reportLeak(s *Slot, cause error) {
	s.leaked, s.annotated = true, true
	if m.leases.unreported == s {
		m.leases.unreported = s.next
	}
	m.counters.Leaks++
	e := messages.Event{Kind: messages.LeaseLeaked, ConnID: s.ID, Duration: m.now - s.since, Label: s.label, Err: cause}
	if s.trace != nil && m.cfg.EventLevel != NoEvents {
		e.Stack = s.trace.Stack()
	}
	m.emit(e)
}

// brokenReason is the reason to close a connection that must not be used again.
func (m *Machine) brokenReason() messages.Reason {
	if m.phase != phaseOpen {
		return messages.ReasonPoolClosed
	}
	return messages.ReasonBroken
}

// The pool as a whole.

// newGeneration makes every connection stale: idle ones close now, borrowed ones
// when they return, and those with a job under way when it is done. With interrupt
// jobs are cancelled, and leases revoked. A backoff ends.
func (m *Machine) newGeneration(err error, interrupt bool) {
	m.generation++
	m.lists.inherited = nil
	m.resetBackoff()
	m.backoff.epoch++
	m.permits = initialPermits
	if !m.paused {
		m.emit(messages.Event{Kind: messages.PoolCleared, Interrupt: interrupt, Err: err})
	}
	if m.cfg.PauseOnClear {
		m.paused = true
	}
	for _, s := range m.slots {
		m.setQuick(s)
		if s.givenUp {
			continue
		}
		m.stands(s, false)
		m.claim(s)
		switch s.state {
		case idle:
			m.closeConn(s, messages.ReasonStale, nil)
		case connecting, checking, resetting, applying, unapplying:
			m.unassign(s)
			if interrupt {
				m.emitClosed(s, messages.ReasonStale, err)
				m.effect(Effect{Kind: Interrupt, Slot: s})
			}
		case borrowed:
			if interrupt {
				m.revoke(s)
				m.closeConn(s, messages.ReasonStale, err)
			}
		}
	}
	m.refreshFastPath()
}

// unpause ends the pause of PauseOnClear.
func (m *Machine) unpause() {
	if m.paused {
		m.paused = false
		m.emit(messages.Event{Kind: messages.PoolReady})
	}
	m.refreshFastPath()
}

// Control requests.

// answer ends a control request.
func (m *Machine) answer(t *Ticket, err error) {
	switch {
	case t == m.drain.resize:
		m.drain.resize, t.pending = nil, false
	case t.pending && t.op == opClose:
		m.drain.closes.remove(t)
	case t.pending && t.op == opReady:
		m.drain.readies.remove(t)
	}
	m.effect(Effect{Kind: Answer, Ticket: t, Err: err})
}

// answerAll ends all control requests of one kind.
func (m *Machine) answerAll(l *ticketList, err error) {
	for l.head != nil {
		m.answer(l.head, err)
	}
}
