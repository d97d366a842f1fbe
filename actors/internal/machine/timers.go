// Timers: when something is due next, and the one timer that is armed for it.

package machine

import "time"

// lookEvery is how often, at least, the shell gets to look for leases that were
// forgotten, while any are out.
const lookEvery = time.Second

// closeGrace is how long the pool waits for a job that it has cancelled to come back,
// so that its connection is closed properly: for all of them when it closes, and for a
// connect that is too many. One that ignores its context is given up after it.
const closeGrace = 20 * time.Millisecond

// schedule arms the timer for whatever is due next, and disarms it when nothing
// is. A timer that would come too early stays armed: its tick finds nothing to
// do and arms it again.
func (m *Machine) schedule() {
	due := m.nextDue()
	if due < never {
		m.arm(due)
	} else if m.timers.tickAt != never && (m.phase != phaseOpen || !m.coarseTicking()) { // the coarse clock stops by itself
		m.timers.tickAt = never
		m.effect(Effect{Kind: DisarmTick})
	}
}

// arm arms the timer for a time, if it would come later.
func (m *Machine) arm(due time.Duration) {
	if due < m.timers.tickAt {
		m.timers.tickAt = due
		m.timers.tickEpoch++
		m.effect(Effect{Kind: ArmTick, At: due, Epoch: m.timers.tickEpoch})
	}
}

// leastClaim is how long, at least, a Get waits for a reset.
const leastClaim = time.Millisecond

// nextDue is when the machine has to look again by itself.
func (m *Machine) nextDue() time.Duration {
	due := min(m.jobsDue(), m.leasesDue())
	if m.phase != phaseOpen {
		return due
	}
	due = min(due, m.jobs.claimsDue)
	if m.count[idle] > 0 {
		due = min(due, m.timers.idleDue, m.coarseDue())
	}
	if m.backgroundAfter > m.now && m.missing() > 0 {
		due = min(due, m.backgroundAfter)
	}
	return min(due, m.shedDue())
}

// coarseDue is when the coarse clock ticks next.
func (m *Machine) coarseDue() time.Duration {
	if m.count[idle] > 0 && m.timers.coarseTick > 0 && m.now-m.newestIdleSince() < m.timers.coarseWhile {
		return after(m.now, m.timers.coarseTick)
	}
	return never
}

// jobsDue is when the first of the jobs under way is overdue.
func (m *Machine) jobsDue() time.Duration {
	due := never
	for i := range m.jobs.busy {
		if s := m.jobs.busy[i].head; s != nil {
			due = min(due, s.due)
		}
	}
	return due
}

// leasesDue is when a lease is to be ended, to be reported, or to be looked for.
func (m *Machine) leasesDue() time.Duration {
	due := never
	oldest := m.leases.out.head
	if oldest == nil {
		return due
	}
	if m.cfg.MaxLease > 0 {
		due = min(due, after(oldest.since, m.cfg.MaxLease))
	}
	if m.cfg.LeakAfter > 0 {
		due = min(due, after(m.leases.lastLook, min(m.cfg.LeakAfter, lookEvery)))
		if s := m.leases.unreported; s != nil && m.phase == phaseOpen {
			due = min(due, after(s.since, m.cfg.LeakAfter))
		}
	}
	return due
}

// shedDue is when CoDel next judges the queue, or ends a wait.
func (m *Machine) shedDue() time.Duration {
	if m.queue.n == 0 || !m.cfg.CoDel.on() || m.suspended {
		return never
	}
	if !m.queue.codel.bad {
		return m.queue.codel.ends
	}
	if w := m.queue.firstUnstarted(); w != nil {
		return after(w.since, m.cfg.CoDel.limit())
	}
	return never
}

// expiryDue is when an idle connection expires.
func (m *Machine) expiryDue(s *Slot) time.Duration {
	due := never
	if m.cfg.IdleTimeout > 0 && m.count[idle] > m.cfg.MinIdle && m.established() > m.cfg.MinOpen {
		due = after(s.since, m.cfg.IdleTimeout)
	}
	if s.expires > 0 {
		due = min(due, s.expires)
	}
	return due
}

// checkDue is when an idle connection is to be checked in the background: a suspect at
// once, and others to keep them alive. In a blocking period only suspects are checked: a
// Get has the others checked then.
func (m *Machine) checkDue(s *Slot) time.Duration {
	if m.suspect(s) {
		return s.since
	}
	if m.cfg.KeepAlive == 0 || !m.cfg.Check || m.backoff.phase == backoffBlocked {
		return never
	}
	return after(max(s.aliveAt, s.since), m.cfg.KeepAlive)
}

// sweepPause is the time between two sweeps, if the first has left connections
// that have expired.
func (m *Machine) sweepPause() time.Duration { return max(m.cfg.IdleTimeout/10, time.Millisecond) }
