// Housekeeping: what a tick of the timer does by itself.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// sweep closes idle connections that have expired, oldest first: those that are too
// old (L15), and those past the IdleTimeout, of which it closes at most half at
// once, so that a quiet pool shrinks by degrees (L2). It begins the checks
// that keep others alive: a tenth of the connections at once, a hundredth of
// KeepAlive apart, and no more than mayCheck allows. If they are many, it takes several
// turns.
func (m *Machine) sweep() {
	if !m.timers.sweeping {
		m.timers.expiriesLeft, m.timers.checksLeft = max(1, m.count[idle]/2), max(1, m.count[idle]/10)
	}
	m.timers.sweeping = true
	m.timers.idleDue = never
	left := batch
	clean, withSetting := m.lists.idle.tail, m.lists.idleWithSetting.tail
	for clean != nil || withSetting != nil {
		if left == 0 {
			m.timers.idleDue = m.now
			return // to be continued
		}
		s := clean
		if s == nil || withSetting != nil && withSetting.since < s.since {
			s, withSetting = withSetting, withSetting.prev
		} else {
			clean = clean.prev
		}
		expiry, check := m.expiryDue(s), m.checkDue(s)
		switch {
		case m.tooOld(s):
			left--
			m.closeConn(s, messages.ReasonLifetime, nil)
			m.inheritSetting(s)
		case expiry <= m.now && m.timers.expiriesLeft > 0:
			m.timers.expiriesLeft--
			left--
			m.closeConn(s, messages.ReasonIdle, nil)
			m.inheritSetting(s)
		case check <= m.now && expiry > m.now && m.timers.checksLeft > 0 && m.mayCheck():
			m.timers.checksLeft--
			left--
			m.beginCheck(s, nil)
		default:
			if expiry <= m.now { // half of them have been closed
				expiry = after(m.now, m.sweepPause())
				if s.expires > 0 {
					expiry = min(expiry, s.expires)
				}
			}
			switch {
			case check > m.now:
			case !m.mayCheck(): // as soon as a check is done
				m.timers.checksWait, check = true, never
			default: // a tenth of them has been begun
				check = after(m.now, max(m.cfg.KeepAlive/100, time.Millisecond))
			}
			m.timers.idleDue = min(m.timers.idleDue, expiry, check)
		}
	}
	m.timers.sweeping = false
}

// giveUpOverdue gives up the jobs that are overdue.
func (m *Machine) giveUpOverdue() {
	for i := range m.jobs.busy {
		for s := m.jobs.busy[i].head; s != nil && s.due <= m.now; s = m.jobs.busy[i].head {
			m.giveUpJob(s)
		}
	}
}

// endClaims ends the waits for resets that take longer than the last connect did. The
// waiters have connects then.
func (m *Machine) endClaims() {
	if m.jobs.claimsDue > m.now {
		return
	}
	due := never
	for s := m.jobs.busy[boundReset].head; s != nil; s = s.next {
		switch {
		case s.waiter == nil:
		case s.claimEnds <= m.now:
			m.unassign(s)
		default:
			due = min(due, s.claimEnds)
		}
	}
	m.jobs.claimsDue = due
}

// endOldLeases reports the leases that are out for longer than LeakAfter, and ends
// those that are out for longer than MaxLease, a batch at once.
func (m *Machine) endOldLeases() {
	for quota := batch; m.leases.out.n > 0 && quota > 0; quota-- {
		oldest, unreported := m.leases.out.head, m.leases.unreported
		switch {
		case m.cfg.MaxLease > 0 && after(oldest.since, m.cfg.MaxLease) <= m.now:
			m.takeBack(oldest, messages.ErrLeaseExpired)
		case unreported != nil && m.cfg.LeakAfter > 0 && m.phase == phaseOpen && after(unreported.since, m.cfg.LeakAfter) <= m.now:
			m.reportLeak(unreported, nil)
		default:
			return
		}
	}
}
