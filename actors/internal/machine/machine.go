// Inputs: everything that can happen to a pool's connections and to those who ask for
// them, one method each. An input moves the
// time on, changes the state by transitions (transitions.go), and settles: it does
// whatever else has become possible (settle.go).
//
//	Start                                    the pool begins
//	Get TryGet TryQueue LendIdle             a caller asks
//	CancelGet Decline RejectGet GetAnother   a caller leaves, or refuses what it was given
//	Put PutUnasked TryPut TryHandOff Taint   a connection comes back
//	Hijack                                   or does not: its holder keeps it
//	BorrowerGone LeaseLost Holds             what becomes known of leases
//	Connected ConnectFailed Checked WasReset
//	Applied Unapplied Disconnected           a connector has done a job
//	ConnectorLost                            a connector is no more
//	BackoffElapsed Tick                      a timer has come
//
// The inputs that control the pool as a whole are in controls.go.
//
// TryGet, TryQueue, TryPut and TryHandOff are fast paths: each does the common
// case alone if nothing has to be decided, and otherwise changes nothing, so that
// the caller goes on with the full input.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Start begins the pool's life: from here on the background connects for MinIdle.
func (m *Machine) Start(now time.Duration) {
	m.advance(now)
	m.emit(messages.Event{Kind: messages.PoolCreated, To: m.capacity})
	if !m.paused {
		m.emit(messages.Event{Kind: messages.PoolReady})
	}
	m.settle()
}

// Get, and how it ends.

// Get asks for a connection. It ends with one Grant or one Reject, now or later,
// unless CancelGet ends it before.
func (m *Machine) Get(now time.Duration, w *Waiter) {
	m.advance(now)
	m.counters.Gets++
	w.since, w.position, w.waits = m.now, 0, false
	if m.opts.watchesGets {
		m.tellStarted(w)
	}
	switch {
	case m.phase != phaseOpen:
		m.reject(w, messages.ErrClosed, messages.ReasonPoolClosed)
		return
	case m.paused:
		m.reject(w, messages.ErrCleared, messages.ReasonCleared)
		return
	}
	if w.Reserve > 0 && w.Deadline <= m.now {
		m.reject(w, deadlineError(w), messages.ReasonTimeout)
		return
	}
	if m.backoff.phase == backoffBlocked && m.cfg.Backoff.Mode == BackoffFailFast && m.count[idle] == 0 && !m.suspended {
		m.failFast(w)
		return
	}
	m.enqueue(w)
	m.settle()
	if !w.queued {
		return
	}
	if m.opts.limitsQueue && w.slot == nil && !m.admit(w) {
		return
	}
	if m.backoff.nothingOut && w.slot == nil && m.isHopeless(w) {
		w.position = 0
		m.rejectInBackoff(w)
		return
	}
	m.counters.Waits++
	w.waits = true
}

// TryGet is the fast path of Get: it lends the newest idle connection if nothing
// has to be decided. Otherwise it returns nil and has changed nothing. The time
// need be exact only if NeedsClock says so, or the waiter has a label or a Reserve.
func (m *Machine) TryGet(now time.Duration, w *Waiter) *Slot {
	s := m.lists.idle.head
	if w.Setting != nil {
		if s = m.lists.idleWithSetting.head; s == nil || s.group.setting != w.Setting { // the newest of all is the newest of its group
			s = m.newestIdle(w.Setting)
		}
	}
	if s == nil || !m.fastPath || m.queue.n > 0 || w.Reserve > 0 && w.Deadline <= now {
		return nil
	}
	if m.opts.needsClock {
		m.advance(now)
		if m.tooOld(s) || m.mayNeedCheck(s) {
			return nil
		}
		s.idled = m.now - s.since
	} else if w.Label != "" || w.Reserve > 0 || m.timings.untilTimed == 0 {
		m.advance(now)
	}
	m.counters.Gets++
	m.counters.Grants++
	if w.Setting != nil {
		m.counters.SettingHits++
	}
	if m.opts.watchesGets {
		m.tellStarted(w)
		m.tellCheckedOut(s, w, 0)
	}
	w.position, s.Path, s.wait = 0, messages.PathIdle, 0
	m.borrowNewest(s)
	m.useBegins(s)
	s.exactSince = m.exactClock() || s.timedEpoch == s.LeaseEpoch
	if w.Label != "" || s.label != "" {
		s.label, s.exactSince = w.Label, s.exactSince || w.Label != ""
	}
	if m.opts.tracksLeases || w.Borrower != nil {
		m.annotate(s, w)
	}
	switch {
	case m.cfg.MinIdle > 0:
		m.settle()
	case m.opts.tracksLeases:
		m.schedule()
	}
	return s
}

// TryLend is TryGet for a Get that asks for nothing: it has no label, setting or deadline.
// It is written out for pools that need no clock for their connections, and otherwise
// declines: then TryGet decides.
func (m *Machine) TryLend(now time.Duration) *Slot {
	s := m.lists.idle.head
	if s == nil || !m.shortPath || m.queue.n > 0 || s.label != "" {
		return nil
	}
	m.counters.Gets++
	m.counters.Grants++
	s.Path, s.wait, s.exactSince = messages.PathIdle, 0, false
	m.lists.idle.popHead()
	m.count[idle]--
	m.count[borrowed]++
	if m.timings.untilTimed--; m.timings.untilTimed < 0 {
		m.timings.untilTimed = 0
		m.advance(now)
		m.useBegins(s)
		s.exactSince = true
	}
	s.state, s.since = borrowed, m.now
	return s
}

// LendIdle lends all connections that are idle, in one turn, whatever is on them and
// whether or not they would be checked first. These leases are no use of them. There
// are none while the pool does not serve.
func (m *Machine) LendIdle(now time.Duration, w *Waiter) []*Slot {
	m.advance(now)
	if !m.serving() {
		return nil
	}
	var lent []*Slot
	for s := m.oldestIdle(); s != nil; s = m.oldestIdle() {
		if reason := m.condemned(s); reason != 0 {
			m.closeConn(s, reason, nil)
			continue
		}
		m.lendOutOfTurn(s, w)
		lent = append(lent, s)
	}
	m.settle()
	return lent
}

// TryQueue is the fast path of a Get that has to wait: it puts the waiter in the
// queue if nothing else has to be done. Otherwise it returns false and has
// changed nothing.
func (m *Machine) TryQueue(now time.Duration, w *Waiter) bool {
	if !m.fastPath || m.backoff.phase != backoffOff || m.count[idle] > 0 || m.counted() < m.capacity ||
		len(m.jobs.unclaimed) > 0 || w.Reserve > 0 && w.Deadline <= now || m.opts.limitsQueue && !m.surelyAdmits(w) {
		return false
	}
	m.advance(now)
	m.counters.Gets++
	m.counters.Waits++
	if m.opts.watchesGets {
		m.tellStarted(w)
	}
	w.since, w.waits = m.now, true
	m.setDeadline(w)
	m.queue.push(w)
	return true
}

// CancelGet ends a Get whose caller has left, with the error err. The reason says
// whether that is a timeout: the machine asks nothing of err, which may be the
// caller's own type (T1). The connect that the Get caused goes on for others (G4). A
// Get that has been answered is left alone: the shell returns what it was granted.
func (m *Machine) CancelGet(now time.Duration, w *Waiter, err error, reason messages.Reason) {
	m.advance(now)
	if !w.queued {
		return
	}
	if m.suspended {
		err = &joinedError{"%v: %v", messages.ErrSuspended, err}
	}
	if reason == messages.ReasonExhausted { // pools that share a capacity have found a deadlock among them
		m.counters.Deadlocks++
	}
	m.reject(w, err, reason)
	if m.serving() {
		m.adopt() // its connect
	}
	m.schedule()
}

// Decline takes back a connection that was granted in the instant in which the
// caller's context ended, for the reason err. The Get counts as one that has failed,
// and the answer explains it like any other; its caller has used nothing, so the
// connection is not reset. If the lease has ended meanwhile, the Get stays one that was
// granted a connection and lost it.
func (m *Machine) Decline(now time.Duration, w *Waiter, s *Slot, id, epoch uint64, err error, reason messages.Reason) error {
	m.advance(now)
	if w.position == 0 {
		w.since, w.waited = m.now, 0 // it was served at once
	}
	if !s.hasLease(id, epoch) {
		return m.getError(w, err)
	}
	m.forgetGrant(w, s)
	m.recordRefusal(s, w)
	m.recordEnd(w, err, reason)
	m.countFailure(reason)
	m.checkIn(s)
	m.notUsed(s)
	m.putReturnedToUse(s)
	err = m.getError(w, err)
	m.emit(messages.Event{
		Kind: messages.CheckOutFailed, ConnID: id, Reason: reason, Duration: m.now - w.since, Label: w.Label, Err: err,
	})
	m.settle()
	return err
}

// RejectGet ends a Get that came with a context that had ended already (G2). The
// reason is as in CancelGet.
func (m *Machine) RejectGet(now time.Duration, w *Waiter, err error, reason messages.Reason) {
	m.advance(now)
	m.counters.Gets++
	w.since, w.position = m.now, 0
	if m.opts.watchesGets {
		m.tellStarted(w)
	}
	m.reject(w, err, reason)
}

// GetAnother gives an idle connection that a Get was granted back, because it says
// that it is closed, and goes on with that Get: it is the same check-out, at the head
// of the queue, as if the connection had never been chosen (L16). If the lease has
// ended meanwhile, the Get is a new one.
func (m *Machine) GetAnother(now time.Duration, s *Slot, id, epoch uint64, w *Waiter, err error) {
	m.advance(now)
	waited := w.position > 0
	if !waited {
		w.since, w.waits = m.now, false
	}
	if s.hasLease(id, epoch) {
		m.forgetGrant(w, s)
		m.recordRefusal(s, w)
		m.checkIn(s)
		m.closeConn(s, m.brokenReason(), err)
	} else {
		m.counters.Gets++
		w.since, w.waits = m.now, false
		if m.opts.watchesGets {
			m.tellStarted(w)
		}
	}
	switch {
	case m.phase != phaseOpen:
		m.reject(w, messages.ErrClosed, messages.ReasonPoolClosed)
	case m.paused:
		m.reject(w, messages.ErrCleared, messages.ReasonCleared)
	default:
		m.enqueueFirst(w)
	}
	m.settle()
	if w.queued && (!waited || !w.waits) {
		m.counters.Waits++
		w.waits = true
	}
	if w.queued && w.slot == nil && m.backoff.nothingOut && m.isHopeless(w) {
		m.rejectInBackoff(w)
		m.schedule() // it was the first, and the next one may be shed earlier
	}
}

// Put and Taint.

// Put ends a lease. False: the lease had ended before, and nothing changed.
func (m *Machine) Put(now time.Duration, s *Slot, id, epoch uint64) bool {
	return m.putBack(now, s, id, epoch, m.cfg.Reset)
}

// PutUnasked is Put for a connection that has not been asked whether it can be used
// again: its connector asks it, before a Reset or instead of one (P9).
func (m *Machine) PutUnasked(now time.Duration, s *Slot, id, epoch uint64) bool {
	return m.putBack(now, s, id, epoch, m.cfg.Reset || m.cfg.Reusable)
}

func (m *Machine) putBack(now time.Duration, s *Slot, id, epoch uint64, resets bool) bool {
	m.advance(now)
	if !s.hasLease(id, epoch) {
		return false
	}
	m.counters.Puts++
	m.checkIn(s)
	m.prove(s)
	if resets && m.condemned(s) == 0 {
		m.beginJob(s, resetting, Reset)
	} else {
		m.putReturnedToUse(s)
	}
	m.settle()
	return true
}

// TryPut is the fast path of Put: it makes the connection idle if nothing has to be
// decided. Otherwise it returns false and has changed nothing. The time need be
// exact only if NeedsClockFor says so.
func (m *Machine) TryPut(now time.Duration, s *Slot, id, epoch uint64) bool {
	if !m.fastPath || m.queue.n > 0 || m.cfg.Reset || !s.hasLease(id, epoch) || epoch >= s.quickUntil {
		return false
	}
	if m.shortPath && s.simple() {
		m.counters.Puts++
		if s.timedEpoch == epoch {
			m.advance(now)
			m.useEnds(s)
		}
		s.LeaseEpoch = epoch + 1
		s.state, s.since = idle, m.now
		m.count[borrowed]--
		m.count[idle]++
		m.lists.idle.pushHead(s)
		return true
	}
	if m.count[idle] >= m.maxIdle() {
		return false
	}
	if m.opts.needsClock {
		m.advance(now)
		if m.tooOld(s) {
			return false
		}
	}
	m.counters.Puts++
	if m.opts.watchesGets {
		m.tellCheckedIn(s)
	}
	if s.timedEpoch == epoch {
		m.advance(now)
		m.useEnds(s)
	}
	s.LeaseEpoch++
	m.prove(s)
	m.becomeNewest(s)
	m.noteIdle(s)
	return true
}

// TryHandOff is the fast path of Put while others wait: it lends the connection to
// the first in the queue if nothing has to be decided. Otherwise it returns nil and
// has changed nothing. The shell calls Answered when it has answered the waiter.
func (m *Machine) TryHandOff(now time.Duration, s *Slot, id, epoch uint64) *Waiter {
	w := m.queue.head
	if w == nil || !m.fastPath || m.cfg.Reset || m.queue.withSetting > 0 || m.queue.codel.bad ||
		!w.simple() || !s.simple() || w.Deadline > 0 && w.Deadline <= now || !s.hasLease(id, epoch) || epoch >= s.quickUntil {
		return nil
	}
	m.advance(now)
	if m.tooOld(s) || m.cfg.CoDel.on() && m.now >= m.queue.codel.ends {
		return nil
	}
	m.queue.remove(w)
	wait := m.now - w.since
	w.waited = wait
	m.counters.Puts++
	m.observeGrant(wait)
	m.counters.GrantedWaits++
	if m.opts.measuresWaits {
		m.observeWait(wait)
		if m.queue.n == 0 {
			m.queue.codel.emptied(m.counters.Grants)
		}
	}
	if m.opts.watchesGets {
		m.tellCheckedIn(s)
		m.tellCheckedOut(s, w, wait)
	}
	m.useEnds(s)
	s.LeaseEpoch++
	m.prove(s)
	s.label, s.exactSince, s.since = w.Label, true, m.now
	s.Path, s.wait, s.idled = messages.PathQueued, wait, 0
	m.useBegins(s)
	return w
}

// Taint ends a lease and closes its connection, for the given cause. dead says that the
// cause is an error of the network, which may concern other connections, too. False: the
// lease had ended before, and nothing changed.
func (m *Machine) Taint(now time.Duration, s *Slot, id, epoch uint64, cause error, dead bool) bool {
	m.advance(now)
	if !s.hasLease(id, epoch) {
		return false
	}
	m.counters.Taints++
	m.checkIn(s)
	if dead {
		m.foundDead(s)
	}
	m.closeConn(s, m.brokenReason(), cause)
	m.settle()
	return true
}

// Hijack ends a lease whose holder keeps the connection. The pool forgets the
// connection, and its place is free. The shell has made sure that nobody closes it.
// False: the lease had ended before, and nothing changed.
func (m *Machine) Hijack(now time.Duration, s *Slot, id, epoch uint64) bool {
	m.advance(now)
	if !s.hasLease(id, epoch) {
		return false
	}
	m.counters.Hijacks++
	m.checkIn(s)
	m.emitClosed(s, messages.ReasonHijacked, nil)
	m.stands(s, false)
	m.vacate(s)
	m.settle()
	return true
}

// Leases that end without a Put or Taint, and leases whose holders wait.

// BorrowerGone reports that a borrower has stopped, or has been restarted without
// its leases: they end, and their connections go through Reset, or are closed where
// there is none. Its waits end with err, and nothing is granted to it.
//
// Only messages of the borrower may return its leases. A return by another way could
// come after this input, when the connection has its next holder.
func (m *Machine) BorrowerGone(now time.Duration, b *Borrower, err error) {
	m.advance(now)
	for len(b.waits) > 0 {
		m.reject(b.waits[0], err, messages.ReasonCanceled)
	}
	for len(b.slots) > 0 {
		s := b.slots[0]
		m.revoke(s)
		if m.opts.watchesGets {
			m.tellCheckedIn(s)
		}
		switch reason := m.condemned(s); {
		case reason != 0:
			m.closeConn(s, reason, err)
		case m.cfg.Reset:
			m.beginJob(s, resetting, Reset)
		default:
			m.closeConn(s, messages.ReasonBroken, err)
		}
	}
	m.settle()
}

// LeaseLost reports that nobody can return this lease any more: its holder has
// dropped it. It is a leak, and the connection is closed. False: the lease had
// ended before.
func (m *Machine) LeaseLost(now time.Duration, s *Slot, id, epoch uint64) bool {
	m.advance(now)
	if !s.hasLease(id, epoch) {
		return false
	}
	m.takeBack(s, messages.ErrLeaseLost)
	m.settle()
	return true
}

// Holds notes that the caller of a Get that waits holds these leases meanwhile. When
// every connection is held so, the pool is deadlocked.
func (m *Machine) Holds(now time.Duration, w *Waiter, leases []HeldLease) {
	m.advance(now)
	if !w.queued || w.held != nil {
		return
	}
	for _, h := range leases {
		if !h.out() {
			continue
		}
		w.held = append(w.held, h)
		if h.Slot.waitingHolders == 0 {
			m.leases.heldByWaiters++
			h.Slot.annotated = true
		}
		h.Slot.waitingHolders++
	}
	m.settle()
}

// What the connectors report. Each report is the end of one job.

// Connected reports that Open has succeeded; conn is what the shell keeps for the
// connection.
func (m *Machine) Connected(now time.Duration, s *Slot, conn any) {
	m.advance(now)
	s.Conn, s.readyAt = conn, m.now
	switch {
	case s.givenUp:
		m.closeLate(s)
	case m.phase != phaseOpen:
		m.closeConn(s, messages.ReasonPoolClosed, nil)
	case s.cancelled:
		m.closeConn(s, messages.ReasonCapacity, nil)
	case s.generation != m.generation:
		m.unassign(s)
		m.closeConn(s, messages.ReasonStale, nil)
	default:
		m.lastConnectErr = nil
		m.stands(s, true)
		m.permits++ // mayConnect is bounded by the capacity, too
		if m.cfg.MaxLifetime > 0 && m.cfg.MaxLifetime < never {
			s.expires = after(m.now, m.cfg.MaxLifetime-part(m.cfg.LifetimeJitter, m.cfg.Random()))
		}
		m.emit(messages.Event{Kind: messages.ConnectionReady, ConnID: s.ID, Duration: m.now - s.since})
		m.endBackoff()
		m.lastConnect = m.now - s.since
		m.timings.connect.add(m.lastConnect)
		m.recordConnect(m.lastConnect)
		m.prove(s)
		if s.Want != nil && m.queue.n == 0 && m.condemned(s) == 0 {
			m.beginJob(s, applying, Apply) // it replaces one that had this setting
		} else {
			m.putToUse(s)
		}
		if m.cfg.MinOpen > 0 && m.count[idle] > 0 { // it does not need all of them any more
			m.timers.idleDue = min(m.timers.idleDue, m.expiryDue(m.oldestIdle()))
		}
	}
	m.settle()
}

// ConnectFailed reports that Open has failed, and what the failure means.
func (m *Machine) ConnectFailed(now time.Duration, s *Slot, err error, class messages.Class) {
	m.advance(now)
	switch {
	case s.givenUp:
		m.dropSlot(s)
	case s.cancelled:
		m.counters.ConnectErrors++
		m.vacate(s)
	default:
		m.failConnect(s, err, class, m.vacate)
	}
	m.settle()
}

// Checked reports the outcome of Check. A dead connection is replaced by another
// idle one, or by a connect; the caller does not see it (G6).
func (m *Machine) Checked(now time.Duration, s *Slot, err error) {
	m.advance(now)
	if !s.givenUp {
		m.checkBack(s)
		if err != nil {
			m.checkFailed(s)
		}
	}
	m.jobDone(s, err)
}

// WasReset reports the outcome of Reset.
func (m *Machine) WasReset(now time.Duration, s *Slot, err error) {
	m.advance(now)
	if err == nil && m.cfg.ResetWipes && !s.givenUp {
		m.setSetting(s, nil)
	}
	m.jobDone(s, err)
}

// Applied reports the outcome of Apply. If it failed, the Get that it was done for
// fails, and its place is free for others (H9).
func (m *Machine) Applied(now time.Duration, s *Slot, err error) {
	m.advance(now)
	w := s.waiter
	if m.closeIfUnusable(s, err) {
		if err != nil {
			m.failApply(w, err)
			m.delayBackground()
		}
		m.settle()
		return
	}
	if err != nil { // the connection is to be closed anyway
		m.unassign(s)
		m.failApply(w, err)
		m.putToUse(s)
		m.settle()
		return
	}
	m.counters.SettingSwitches++
	m.setSetting(s, s.Want)
	s.Want = nil
	m.prove(s)
	m.afterSettingChange(s, w)
}

// Unapplied reports the outcome of Unapply. If it failed, the connection is closed,
// and a clean one is opened in its place.
func (m *Machine) Unapplied(now time.Duration, s *Slot, err error) {
	m.advance(now)
	w := s.waiter
	switch {
	case !s.givenUp && err != nil && m.condemned(s) == 0:
		m.unassign(s)
		m.reopen(w, s, err)
		m.settle()
		return
	case m.closeIfUnusable(s, err):
		m.settle()
		return
	}
	m.counters.SettingResets++
	m.setSetting(s, nil)
	m.prove(s)
	m.afterSettingChange(s, w)
}

// Disconnected reports that Disconnect is done, with or without an error.
func (m *Machine) Disconnected(now time.Duration, s *Slot) {
	m.advance(now)
	if s.givenUp {
		m.jobs.givenUpClosing--
		m.dropSlot(s)
	} else {
		m.unassign(s)
		m.vacate(s)
	}
	m.settle()
}

// ConnectorLost reports that the connector of a slot is no more, for the reason err,
// and has closed the connection that it held. A lease of that connection ends, and
// nobody is granted it any more. The shell runs a connect or Disconnect that the
// connector had not begun in another one; any other job of it is lost (T5).
func (m *Machine) ConnectorLost(now time.Duration, s *Slot, err error) {
	m.advance(now)
	switch s.state {
	case vacant, connecting, closing:
		return
	case borrowed:
		m.revoke(s)
		if m.opts.watchesGets {
			m.tellCheckedIn(s)
		}
		m.closeConn(s, m.brokenReason(), err)
	default:
		if s.givenUp {
			m.closeLate(s)
			break
		}
		m.checkBack(s)
		m.unassign(s) // the waiter that the job was done for keeps its place
		m.closeConn(s, m.brokenReason(), err)
	}
	m.settle()
}

// Timers.

// BackoffElapsed reports the timer of a blocking period. A timer of another epoch
// is stale and changes nothing (B9).
func (m *Machine) BackoffElapsed(now time.Duration, epoch uint64) {
	m.advance(now)
	if m.backoff.phase != backoffBlocked || m.backoff.epoch != epoch || m.phase != phaseOpen {
		return
	}
	m.backoff.phase = backoffProbing
	m.backoff.nothingOut = false
	m.resumeKeepAlive()
	m.settle()
}

// Tick reports the housekeeping timer. A timer of another epoch is stale and
// changes nothing.
func (m *Machine) Tick(now time.Duration, epoch uint64) {
	m.advance(now)
	if m.timers.tickAt == never || epoch != m.timers.tickEpoch {
		return
	}
	m.timers.tickAt = never
	m.giveUpOverdue()
	m.endClaims()
	if m.timers.idleDue <= m.now {
		m.sweep()
	}
	if m.opts.tracksLeases {
		m.leases.lastLook = m.now
		m.endOldLeases()
	}
	m.settle()
}
