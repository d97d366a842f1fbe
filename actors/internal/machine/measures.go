// Measures: how long Gets wait, leases last and connects take.

package machine

import "time"

// timings are the histograms of a pool, and the sample of leases whose use is timed.
//
// The fast paths read no clock where nothing depends on the time. So the use of one
// lease in useEvery is timed, on average. Which one is drawn at random when the lease
// begins: a lease that lasts for long is as likely to be in the sample as a short one,
// and no pattern in the load can meet the same lease again and again. Where the fast
// paths need the exact time anyway, all leases are timed.
type timings struct {
	every      int    // useEvery, or 1: all leases are timed, because the time is known anyway
	untilTimed int    // how many leases begin before the next one that is timed; 0: the next one is
	random     uint64 // the state of the draw

	wait    histogram // of the Gets that waited and were granted a connection
	use     histogram // of the leases in the sample
	connect histogram // of the connects that succeeded
}

// useEvery is how many leases there are to each one that is timed, on average.
const useEvery = 16

// firstRandom is any number but 0: the draw is the same in every run.
const firstRandom = 0x9E3779B97F4A7C15

// useBegins decides whether the use of a lease that begins is timed. The lease that is
// to be timed has an exact time. The mark is the lease's epoch: whatever ends the lease
// ends the mark.
func (m *Machine) useBegins(s *Slot) {
	if m.timings.untilTimed > 0 {
		m.timings.untilTimed--
		return
	}
	s.timedEpoch = s.LeaseEpoch
	if m.timings.every > 1 {
		m.timings.untilTimed = m.drawGap()
	}
}

// drawGap draws how many leases are not timed before the next one that is: 0 to
// 2*(useEvery-1), each as likely as another. The generator is Marsaglia's xorshift
// (Journal of Statistical Software 8, 2003).
func (m *Machine) drawGap() int {
	r := m.timings.random
	r ^= r << 13
	r ^= r >> 7
	r ^= r << 17
	m.timings.random = r
	return int(r % (2*useEvery - 1))
}

// useEnds counts the use of a lease that ends, if it is timed.
func (m *Machine) useEnds(s *Slot) {
	if s.timedEpoch == s.LeaseEpoch {
		m.timings.use.add(m.now - s.since)
	}
}

// observeGrant counts the wait of a Get that is granted a connection.
func (m *Machine) observeGrant(wait time.Duration) {
	m.counters.Grants++
	m.counters.WaitTime = after(m.counters.WaitTime, wait)
	if wait > 0 {
		m.timings.wait.add(wait)
	}
}

// forgetGrant takes back what observeGrant and useBegins have counted of a Get that
// refuses its connection.
func (m *Machine) forgetGrant(w *Waiter, s *Slot) {
	s.timedEpoch = 0
	m.counters.Grants--
	if w.position == 0 {
		return
	}
	m.counters.WaitTime = max(0, m.counters.WaitTime-w.waited)
	if w.waited > 0 {
		m.timings.wait.remove(w.waited)
	}
	if w.waits {
		m.counters.GrantedWaits--
	}
}
