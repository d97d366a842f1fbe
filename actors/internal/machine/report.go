// Report: what the shell may ask a machine.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Effects gives what the inputs since the last Done have decided, in the order in
// which it must be performed. It is valid until Done.
func (m *Machine) Effects() []Effect { return m.output.effects }

// Done says that the effects have been performed.
func (m *Machine) Done() {
	clear(m.output.effects)
	m.output.effects = m.output.effects[:0]
}

// Decided says whether there are effects or events that Done has not seen.
func (m *Machine) Decided() bool { return len(m.output.effects) > 0 || len(m.output.log.notes) > 0 }

// NeedsClock says that the time given to TryGet must be exact. With a coarse clock that
// is so while it does not run, and for a lease whose use is timed.
func (m *Machine) NeedsClock() bool {
	return m.timings.untilTimed == 0 || m.opts.needsClock && !m.coarseTicking()
}

// NeedsClockFor is NeedsClock for the TryPut of a slot.
func (m *Machine) NeedsClockFor(s *Slot) bool {
	return s.timedEpoch == s.LeaseEpoch || m.opts.needsClock && !m.coarseTicking()
}

// JobTimeout gives the timeout of the job that has been begun in a slot.
func (m *Machine) JobTimeout(s *Slot) time.Duration { return m.cfg.timeout(s.bound) }

// JobInfo is what a connector's job is told of its connection.
type JobInfo struct {
	ID, Generation uint64
	Uses           int           // the leases that have ended and were a use
	Idle           time.Duration // how long it was idle before; 0 where the fast paths read no clock
	Setting        any           // on the connection
	Label          string        // of the Get that it is for
}

// JobInfo describes the connection of the job that has been begun in a slot.
func (m *Machine) JobInfo(s *Slot) JobInfo {
	info := JobInfo{ID: s.ID, Generation: s.generation, Uses: s.uses(), Setting: s.Setting()}
	if m.cfg.needsClock() {
		info.Idle = s.idled
	}
	if s.waiter != nil {
		info.Label = s.waiter.Label
	}
	return info
}

// EachSlot calls f for every slot, vacant and given-up ones included.
func (m *Machine) EachSlot(f func(*Slot)) {
	for _, s := range m.slots {
		f(s)
	}
}

// IsLent says whether this lease is the slot's current one.
func (m *Machine) IsLent(s *Slot, id, epoch uint64) bool { return s.hasLease(id, epoch) }

// Waits says whether a Get is still waiting for its answer.
func (m *Machine) Waits(w *Waiter) bool { return w.queued }

// JobFor gives the slot whose job is under way for a Get that waits; nil: there is none.
func (m *Machine) JobFor(w *Waiter) *Slot { return w.slot }

// Answered says that the waiter which TryHandOff has chosen has its answer.
func (m *Machine) Answered() { m.queue.chosen = nil }

// Stats is what the pool looks like.
func (m *Machine) Stats() messages.Stats {
	st := m.counters.stats()
	st.Name = m.cfg.Name
	st.State = m.stateName()
	st.Generation = m.generation
	st.Capacity = m.capacity
	st.Open = m.established()
	st.Idle = m.count[idle]
	st.Borrowed = m.count[borrowed]
	st.InTransition = m.inTransition()
	st.Connecting = m.count[connecting]
	st.Closing = m.count[closing]
	st.Waiting = m.queue.n
	st.GivenUp = m.jobs.givenUp
	st.MinIdle, st.MaxIdle = m.cfg.MinIdle, m.maxIdle()
	st.LastConnectError = m.lastConnectErr
	_, st.NextAttempt = m.NextAttempt()
	if m.returned != nil {
		st.Borrowed--
		st.InTransition++
	}
	return st
}

// Measures says how long Gets wait, leases last and connects take.
func (m *Machine) Measures(now time.Duration) messages.Measures {
	m.advance(now)
	e := messages.Measures{
		Since: m.cfg.Start,
		Stats: m.Stats(), Wait: m.timings.wait.report(), Use: m.timings.use.report(), Connect: m.timings.connect.report(), UseEvery: m.timings.every,
	}
	e.Wait.Count, e.Wait.Sum = e.Stats.Grants, e.Stats.WaitTime // those that were served at once have waited 0
	e.LongestLease = m.longestLease()
	if w := m.queue.head; w != nil {
		e.LongestWait = m.now - w.since
	}
	return e
}

// NextAttempt gives the number of failed attempts while the pool backs off, otherwise
// 0; and the time of the next attempt, zero if no period blocks it.
func (m *Machine) NextAttempt() (attempt int, next time.Time) {
	switch {
	case m.phase != phaseOpen || m.backoff.phase == backoffOff:
		return 0, time.Time{}
	case m.backoff.phase == backoffProbing:
		return m.backoff.attempt, time.Time{}
	}
	return m.backoff.attempt, m.periodEnds()
}

// periodEnds is the time at which the period ends, and with it the next attempt may
// begin. It is not in the past: a timer that comes late makes the attempt late, too.
func (m *Machine) periodEnds() time.Time { return m.wall(max(m.backoff.until, m.now)) }

// LeaseInfo describes a lease. False: it has ended.
func (m *Machine) LeaseInfo(now time.Duration, s *Slot, id, epoch uint64) (messages.LeaseInfo, bool) {
	m.advance(now)
	if !s.hasLease(id, epoch) {
		return messages.LeaseInfo{}, false
	}
	info := messages.LeaseInfo{
		ConnID: id, Wait: s.wait, Path: s.Path, Uses: s.uses(), Age: m.now - s.readyAt, Setting: s.Setting(), Generation: s.generation,
	}
	if m.cfg.needsClock() { // not for a recording: it would be the time since the last input before that
		info.Idle = s.idled
	}
	return info, true
}

// Counts says how many connections the capacity bounds, how many Gets wait, and the
// capacity.
func (m *Machine) Counts() (counted, waiting, capacity int) {
	return m.counted(), m.queue.n, m.capacity
}

// Demand is what a pool does with its part of a capacity that several pools share.
type Demand struct {
	Open     bool // Close has not begun
	Capacity int
	Occupied int // by connections, and by jobs that were given up
	Idle     int // connections
	Useful   int // how many more connections it would begin to open now, if its capacity allowed
	Waiting  int // the Gets that wait and have no job under way for them

	// Oldest is when the first of them came; meaningless if there is none.
	Oldest time.Duration
}

// Demand says what the pool does with its part of a shared capacity, and what more it
// could use.
func (m *Machine) Demand() Demand {
	d := Demand{Open: m.phase == phaseOpen, Capacity: m.capacity, Occupied: m.occupied(), Idle: m.count[idle], Waiting: m.queue.unstarted}
	if w := m.queue.firstUnstarted(); w != nil {
		d.Oldest = w.since
	}
	if !d.Open {
		d.Capacity = 0
		return d
	}
	if m.serving() {
		d.Useful = max(0, min(m.queue.unstarted, m.freePermits()))
		if d.Waiting == 0 && m.freePermits() > 0 && m.mayConnectInBackground() && m.wantsBackground() {
			d.Useful = 1
		}
	}
	return d
}

// AtRest says that the pool is open, that nothing but idle connections is in it and that
// nobody waits for it.
func (m *Machine) AtRest() bool {
	return m.phase == phaseOpen && m.occupied() == m.count[idle] && m.queue.n == 0 && m.drain.readies.head == nil && len(m.visits) == 0
}

// stateName is the first that holds, in the order of the State constants.
func (m *Machine) stateName() string {
	switch {
	case m.phase == phaseClosed:
		return messages.StateClosed
	case m.phase == phaseClosing:
		return messages.StateClosing
	case m.paused:
		return messages.StatePaused
	case m.suspended:
		return messages.StateSuspended
	case m.standing > 0: // a pool that can serve is ready, however its last growth has ended (B16)
	case m.backoff.phase == backoffProbing:
		return messages.StateProbing
	case m.backoff.phase == backoffBlocked:
		return messages.StateBackoff
	}
	return messages.StateReady
}
