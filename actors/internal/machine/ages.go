// Ages: since when connections have been idle or lent, where the fast paths read no
// clock.

package machine

import "time"

// A lease that TryGet grants without an exact time has a since that is the machine's time
// before: it did not begin earlier. Descriptions must not say that it is older than it
// is, so they need the latest moment at which it can have begun. There are three such
// moments, and the earliest counts:
//
//   - A description that has seen the lease before.
//   - While somebody waits, TryGet lends nothing, and every other way to lend knows the
//     exact time. So a lease without one began before the queue last ceased to be empty.
//     The time of the first waiter would be wrong: one that has refused a connection is
//     back in the queue, which may have been empty meanwhile.
//   - For the same reason it began before the fast paths were last barred: by Close, by
//     Suspend, by too many connections.
//
// An idle connection is the same with TryPut in the place of TryGet.

// refreshClock works out anew whether the fast paths need the time, and whether they tell
// of each Get. A recording needs the exact time of everything.
func (m *Machine) refreshClock() {
	m.opts.needsClock = m.cfg.needsClock() || m.recording != nil
	m.opts.watchesGets = m.cfg.EventLevel == AllEvents || m.recording != nil
	m.timers.coarseTick, m.timers.coarseWhile = 0, 0
	if m.recording == nil {
		m.timers.coarseTick, m.timers.coarseWhile = m.cfg.coarseClock()
	}
	m.noteClock()
	m.refreshFastPath()
}

// noteClock notes whether the fast paths do without the exact time. What has begun
// meanwhile stays inexact when they do so no longer.
func (m *Machine) noteClock() { m.savesClock = m.savesClock || !m.exactClock() }

// stay numbers the times for which the connection in a slot is idle or lent.
func (s *Slot) stay() uint64 {
	n := 2 * s.LeaseEpoch
	if s.state == borrowed {
		n++
	}
	return n
}

// begun says when a slot came into its state. If that is not exact, it was then or
// earlier. It is remembered, so that the next description knows as much.
func (m *Machine) begun(s *Slot) (at time.Duration, exact bool) {
	switch s.state {
	case borrowed:
		exact = s.exactSince
	case idle:
		exact = !m.savesClock
	default:
		exact = true
	}
	if exact {
		return s.since, true
	}
	at = m.now
	if s.seenStay == s.stay() {
		at = min(at, s.seenAt)
	}
	if m.queue.n > 0 {
		at = min(at, m.queue.busySince)
	}
	if !m.fastPath {
		at = min(at, m.barredSince)
	}
	at = max(at, s.since) // a check may have been between two times of idling
	s.seenStay, s.seenAt = s.stay(), at
	return at, at == s.since
}

// leasesAtOnce is how many slots longestLease looks at.
const leasesAtOnce = 1024

// longestLease is how long the oldest of the leases that are out has lasted, at least. In
// a pool with more than leasesAtOnce places that does not watch the age of leases, it may
// take several calls to find it.
func (m *Machine) longestLease() time.Duration {
	if m.opts.tracksLeases {
		if s := m.leases.out.head; s != nil {
			return m.now - s.since
		}
		return 0
	}
	var found *Slot
	since := never
	look := func(s *Slot) {
		if s.state != borrowed {
			return
		}
		if at, _ := m.begun(s); at < since {
			found, since = s, at
		}
	}
	if l := m.leases.longest; l.Slot != nil && l.out() {
		look(l.Slot)
	}
	for range min(len(m.slots), leasesAtOnce) {
		if m.leases.nextLook >= len(m.slots) {
			m.leases.nextLook = 0
		}
		look(m.slots[m.leases.nextLook])
		m.leases.nextLook++
	}
	if found == nil {
		m.leases.longest = HeldLease{}
		return 0
	}
	m.leases.longest = HeldLease{Slot: found, ID: found.ID, Epoch: found.LeaseEpoch}
	return m.now - since
}
