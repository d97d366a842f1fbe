// Invariants: what must hold after every input.

package machine

import (
	"errors"
	"fmt"
	"math"

	"github.com/actorpool/actorpool/messages"
)

// CheckInvariants verifies what must hold after every input: that the lists, the
// counts and everything else that is kept for speed agree with the slots and the
// waiters, and that the promises to waiters and to control requests are kept. It
// walks everything; it is for tests and for sampling.
func (m *Machine) CheckInvariants() error {
	for _, check := range []func() error{
		m.checkSlots, m.checkLists, m.checkGroups, m.checkQueue, m.checkLeases, m.checkBorrowers, m.checkPromises, m.checkFastPath, m.checkMeasures,
		m.checkRecording,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkSlots verifies the counts, and the links between slots and waiters.
func (m *Machine) checkSlots() error {
	var count [len(m.count)]int
	var givenUp, unclaimed, standing, cancelled, background, claims int
	if m.timers.checksWait && m.jobs.background == 0 {
		return errors.New("checks wait for the end of another, and there is none")
	}
	for i, s := range m.slots {
		if s.index != i {
			return fmt.Errorf("slot %d has index %d", i, s.index)
		}
		if s.givenUp {
			givenUp++
			continue
		}
		count[s.state]++
		if s.state == connecting && s.waiter == nil && s.generation == m.generation && !s.cancelled {
			unclaimed++
			if i := s.unclaimed; i < 1 || i > len(m.jobs.unclaimed) || m.jobs.unclaimed[i-1] != s {
				return fmt.Errorf("connect %d is for nobody and not in the list of those", s.ID)
			}
		} else if s.unclaimed != 0 {
			return fmt.Errorf("slot %d is %v and in the list of connects for nobody", i, s.state)
		}
		stands := s.state != vacant && s.state != connecting && s.state != closing && s.generation == m.generation
		if stands != s.standing && m.phase == phaseOpen {
			return fmt.Errorf("slot %d is %v, and stands: %v", i, s.state, s.standing)
		}
		if s.standing {
			standing++
		}
		if s.cancelled {
			cancelled++
		}
		if s.state == resetting && s.waiter != nil {
			claims++
			if s.claimEnds < m.jobs.claimsDue {
				return fmt.Errorf("a waiter waits for the reset of connection %d until %v, and the first such wait ends at %v",
					s.ID, s.claimEnds, m.jobs.claimsDue)
			}
		}
		if s.state == checking && s.background {
			background++
		}
		if s.cancelled && (s.state != connecting || s.waiter != nil || s.bound != boundGrace) {
			return fmt.Errorf("slot %d is %v and cancelled", i, s.state)
		}
		if (s.state == vacant) != (s.ID == 0) {
			return fmt.Errorf("slot %d is %v and has id %d", i, s.state, s.ID)
		}
		if w := s.waiter; w != nil && (w.slot != s || !w.queued) {
			return fmt.Errorf("slot %d works for a waiter that does not wait for it", i)
		}
		if s.waiter != nil && (s.state == idle || s.state == borrowed) {
			return fmt.Errorf("slot %d is %v and works for a waiter", i, s.state)
		}
	}
	if background != m.jobs.background || claims != m.jobs.claims || claims == 0 && m.jobs.claimsDue != never {
		return fmt.Errorf("%d checks are in the background, %d resets are waited for, until %v, but slots say %d, %d",
			m.jobs.background, m.jobs.claims, m.jobs.claimsDue, background, claims)
	}
	if count != m.count || givenUp != m.jobs.givenUp || unclaimed != len(m.jobs.unclaimed) || standing != m.standing ||
		cancelled != m.jobs.cancelled {
		return fmt.Errorf("counts %v, given up %d, unclaimed %d, standing %d, cancelled %d, but slots say %v, %d, %d, %d, %d",
			m.count, m.jobs.givenUp, len(m.jobs.unclaimed), m.standing, m.jobs.cancelled, count, givenUp, unclaimed, standing, cancelled)
	}
	return nil
}

// checkLists verifies that each slot is in the list of its state, and that the
// lists are in order.
func (m *Machine) checkLists() error {
	listed := map[*Slot]string{}
	type listing struct {
		name   string
		list   *slotList
		holds  func(*Slot) bool
		oldest bool // first, otherwise last
	}
	lists := []listing{
		{"vacant", &m.lists.vacant, func(s *Slot) bool { return s.state == vacant }, false},
		{"idle", &m.lists.idle, func(s *Slot) bool { return s.state == idle && s.group == nil }, false},
		{"idle with a setting", &m.lists.idleWithSetting, func(s *Slot) bool { return s.state == idle && s.group != nil }, false},
		{"leases", &m.leases.out, func(s *Slot) bool { return m.opts.tracksLeases && s.state == borrowed }, true},
	}
	for b := range bounds {
		busy := func(s *Slot) bool { return s.state != vacant && s.state != idle && s.state != borrowed && s.bound == b }
		lists = append(lists, listing{fmt.Sprintf("busy %d", b), &m.jobs.busy[b], busy, true})
		for s := m.jobs.busy[b].head; s != nil; s = s.next {
			if s.prev != nil && s.due < s.prev.due || s.bound != b {
				return fmt.Errorf("slot %d, due at %v, is at the wrong place of the jobs with bound %d", s.index, s.due, b)
			}
		}
	}
	for _, l := range lists {
		n := 0
		var prev *Slot
		for s := l.list.head; s != nil; prev, s = s, s.next {
			n++
			if s.givenUp || !l.holds(s) || listed[s] != "" || s.prev != prev {
				return fmt.Errorf("slot %d is %v and in the list of %s (and of %q)", s.index, s.state, l.name, listed[s])
			}
			listed[s] = l.name
			sorted := l.name != "vacant" && l.list != &m.jobs.busy[boundGrace] // that is in the order of cancelling
			if prev != nil && sorted && (s.since < prev.since) == l.oldest && s.since != prev.since {
				return fmt.Errorf("list of %s: connection %d is out of order", l.name, s.ID)
			}
		}
		if n != l.list.n || l.list.tail != prev {
			return fmt.Errorf("list of %s: %d are in it, it says %d", l.name, n, l.list.n)
		}
		for _, s := range m.slots {
			if !s.givenUp && l.holds(s) && listed[s] != l.name {
				return fmt.Errorf("slot %d is %v and not in the list of %s", s.index, s.state, l.name)
			}
		}
	}
	return nil
}

// checkGroups verifies the settings on connections against the groups.
func (m *Machine) checkGroups() error {
	members, resting := map[*settingGroup]int{}, map[*settingGroup]int{}
	for _, s := range m.slots {
		if s.group == nil {
			continue
		}
		members[s.group]++
		if s.state == idle {
			resting[s.group]++
		}
	}
	if len(members) != len(m.lists.groups) {
		return fmt.Errorf("%d settings are known, connections have %d", len(m.lists.groups), len(members))
	}
	for setting, g := range m.lists.groups {
		n := 0
		for s := g.head; s != nil; s = s.groupNext {
			n++
			if s.group != g || s.groupNext != nil && s.groupNext.since > s.since {
				return fmt.Errorf("connection %d is out of order among those with %v", s.ID, setting)
			}
		}
		if g.setting != setting || g.members != members[g] || n != resting[g] {
			return fmt.Errorf("setting %v: %d members and %d idle, but slots say %d, %d", setting, g.members, n, members[g], resting[g])
		}
	}
	return nil
}

// checkQueue verifies the queue and its counts.
func (m *Machine) checkQueue() error {
	length, unstarted, withSetting, overtaken := 0, 0, 0, 0
	groups := map[any][]*Waiter{}
	var prev *Waiter
	for w := m.queue.head; w != nil; prev, w = w, w.next {
		length++
		overtaken += w.overtakes
		groups[w.Setting] = append(groups[w.Setting], w)
		if !w.queued || w.prev != prev {
			return fmt.Errorf("waiter %d in the queue is not marked as queued", length)
		}
		if w.Setting != nil {
			withSetting++
		}
		if w.slot == nil {
			unstarted++
		} else if w.slot.waiter != w {
			return fmt.Errorf("waiter %d waits for a slot that works for another", length)
		}
	}
	for setting, waiters := range groups {
		w := m.queue.firstWith(setting)
		for _, want := range waiters {
			if w != want {
				return fmt.Errorf("the waiters for %v are not in the order of the queue", setting)
			}
			w = w.groupNext
		}
		if w != nil {
			return fmt.Errorf("a waiter for %v is not in the queue", setting)
		}
	}
	if clean := len(groups[nil]); len(m.queue.groups) != len(groups)-min(clean, 1) || clean == 0 && m.queue.clean.head != nil {
		return fmt.Errorf("the queue knows %d settings, and its waiters ask for %d", len(m.queue.groups), len(groups)-min(clean, 1))
	}
	if overtaken != m.queue.overtaken {
		return fmt.Errorf("the head has been overtaken %d times, and the waiters say %d", m.queue.overtaken, overtaken)
	}
	if length != m.queue.n || unstarted != m.queue.unstarted || withSetting != m.queue.withSetting || m.queue.tail != prev {
		return fmt.Errorf("queue says %d waiters, %d unstarted, %d with a setting; it holds %d, %d, %d",
			m.queue.n, m.queue.unstarted, m.queue.withSetting, length, unstarted, withSetting)
	}
	return nil
}

// checkLeases verifies the annotations of leases, and which of them are held by
// callers that wait.
func (m *Machine) checkLeases() error {
	holders := map[*Slot]int32{}
	for w := m.queue.head; w != nil; w = w.next {
		for _, h := range w.held {
			if h.out() {
				holders[h.Slot]++
			}
		}
	}
	var unreported *Slot
	for s := m.leases.out.tail; s != nil; s = s.prev {
		if !s.leaked {
			unreported = s
		}
	}
	if m.leases.unreported != unreported || m.leases.heldByWaiters != len(holders) {
		return fmt.Errorf("leases: %d are held by waiters, and the slots say %d; the first that is unreported is %v, and the slots say %v",
			m.leases.heldByWaiters, len(holders), name(m.leases.unreported), name(unreported))
	}
	for _, s := range m.slots {
		annotated := s.state == borrowed && (m.opts.tracksLeases || s.borrower != nil || holders[s] > 0)
		switch {
		case s.waitingHolders != holders[s]:
			return fmt.Errorf("connection %d is held by %d waiters, and it says %d", s.ID, holders[s], s.waitingHolders)
		case annotated && !s.annotated:
			return fmt.Errorf("connection %d has annotations and is not marked", s.ID)
		case s.state != borrowed && (s.annotated || s.leaked || s.trace != nil || s.borrower != nil):
			return fmt.Errorf("connection %d is %v and has annotations of a lease", s.ID, s.state)
		}
	}
	return nil
}

func name(s *Slot) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("connection %d", s.ID)
}

// checkBorrowers verifies what the borrowers are said to hold and to wait for.
func (m *Machine) checkBorrowers() error {
	held, waits := map[*Borrower]int{}, map[*Borrower]int{}
	for _, s := range m.slots {
		if b := s.borrower; b != nil {
			held[b]++
			if s.borrowerIndex >= len(b.slots) || b.slots[s.borrowerIndex] != s {
				return fmt.Errorf("connection %d is not among those of its borrower", s.ID)
			}
		}
	}
	for w := m.queue.head; w != nil; w = w.next {
		if b := w.Borrower; b != nil {
			waits[b]++
			if w.borrowerIndex >= len(b.waits) || b.waits[w.borrowerIndex] != w {
				return fmt.Errorf("a waiter is not among those of its borrower %v", b.Owner)
			}
		}
	}
	for _, known := range []map[*Borrower]int{held, waits} {
		for b := range known {
			if len(b.slots) != held[b] || len(b.waits) != waits[b] {
				return fmt.Errorf("borrower %v: %d leases and %d waits, but slots and queue say %d, %d",
					b.Owner, len(b.slots), len(b.waits), held[b], waits[b])
			}
		}
	}
	return nil
}

// checkFastPath verifies what the fast paths trust without a look.
func (m *Machine) checkFastPath() error {
	fastPath := m.phase == phaseOpen && !m.paused && !m.suspended && m.surplus() <= 0 &&
		(m.backoff.phase == backoffOff || !m.cfg.Check)
	if m.fastPath != fastPath {
		return fmt.Errorf("the fast paths are open: %v, and the state says %v", m.fastPath, fastPath)
	}
	shortPath := fastPath && !m.cfg.needsClock() && !m.cfg.Check && m.cfg.MaxIdle == 0 && m.timings.every == useEvery &&
		m.recording == nil
	if m.shortPath != shortPath || shortPath && m.timers.idleDue != never {
		return fmt.Errorf("the short paths are open: %v, the state says %v, and idle connections are due at %v", m.shortPath, shortPath, m.timers.idleDue)
	}
	visits := map[*Visit]int{}
	for _, s := range m.slots {
		until := uint64(math.MaxUint64)
		if m.cfg.MaxUses > 0 {
			until = s.unused + uint64(m.cfg.MaxUses)
		}
		for _, v := range s.visits {
			visits[v]++
			until = 0
		}
		if s.generation != m.generation {
			until = 0
		}
		switch {
		case s.state != vacant && s.quickUntil != until:
			return fmt.Errorf("the fast paths return leases of connection %d before epoch %d, not %d", s.ID, until, s.quickUntil)
		case s.visits != nil && !s.standing:
			return fmt.Errorf("connection %d is to be visited and does not stand", s.ID)
		}
	}
	for _, v := range m.visits {
		if v.left != visits[v] || v.waits && v.left == 0 {
			return fmt.Errorf("%d connections are left for a visit, and it says %d, waiting: %v", visits[v], v.left, v.waits)
		}
	}
	if m.opts.needsClock && m.phase == phaseOpen {
		for _, l := range []*slotList{&m.lists.idle, &m.lists.idleWithSetting} {
			for s := l.head; s != nil; s = s.next {
				due, pause := min(m.expiryDue(s), m.checkDue(s)), max(m.sweepPause(), m.cfg.KeepAlive/100)
				if m.timers.checksWait {
					due = m.expiryDue(s)
				}
				if s.expires > 0 && s.expires <= due {
					pause = 0 // a lifetime is exact
				}
				if due < m.timers.idleDue && m.timers.idleDue > after(m.now, pause) {
					return fmt.Errorf("connection %d is due at %v, and the idle ones are looked at only at %v", s.ID, due, m.timers.idleDue)
				}
			}
		}
	}
	return nil
}

// useful says whether a waiter has no job under way, and an idle connection would do
// for it.
func (m *Machine) useful() bool {
	w := m.queue.head
	for range lookahead {
		if w == nil {
			break
		}
		if w.slot == nil && m.count[idle] > 0 && !m.expired(w) && m.chooseIdle(w) != nil {
			return true
		}
		w = w.next
	}
	for s := m.lists.idleWithSetting.head; s != nil; s = s.next {
		if w := m.nextMatch(s); w != nil && w.slot == nil && !m.expired(w) && (!w.paid || !m.suspect(s)) {
			return true
		}
	}
	return false
}

// checkPromises verifies what the pool owes to waiters and to control requests.
func (m *Machine) checkPromises() error {
	if over := m.surplus() > 0; over != m.overCapacity {
		return fmt.Errorf("%d counted, capacity %d, over capacity %v", m.counted(), m.capacity, m.overCapacity)
	}
	switch {
	case m.serving() && m.useful():
		return fmt.Errorf("%d wait with no job under way while %d connections are idle", m.queue.unstarted, m.count[idle])
	case m.serving() && m.queue.unstarted > 0 && len(m.jobs.unclaimed) > 0:
		return fmt.Errorf("%d wait with no job under way while %d connects are for nobody", m.queue.unstarted, len(m.jobs.unclaimed))
	case m.serving() && m.queue.unstarted > 0 && m.mayConnect():
		return fmt.Errorf("%d wait with no job under way while a connect is allowed", m.queue.unstarted)
	case m.serving() && m.deadlocked():
		return errors.New("every connection is held by a caller that waits for another")
	case m.count[idle]+m.count[connecting]-m.jobs.cancelled > 0 && m.surplus() > 0 && m.phase == phaseOpen:
		return fmt.Errorf("%d connections are idle, and %d connects are under way, while %d are counted above capacity %d",
			m.count[idle], m.count[connecting], m.counted(), m.capacity)
	case m.drain.resize != nil && m.occupied() <= m.capacity:
		return errors.New("a SetCapacity waits for nothing")
	case m.phase == phaseClosed && (m.counted() > m.count[closing] || m.queue.n > 0):
		return fmt.Errorf("closed with %d open or connecting and %d waiting", m.established()+m.count[connecting], m.queue.n)
	case m.phase != phaseOpen && (m.count[idle] > 0 || m.queue.n > 0 || m.drain.resize != nil || m.drain.readies.head != nil):
		return fmt.Errorf("closing with %d idle, %d waiting, or a request to be answered", m.count[idle], m.queue.n)
	case m.phase == phaseClosed && m.drain.closes.head != nil && m.count[closing] == 0 && m.jobs.givenUpClosing == 0:
		return errors.New("closed, and a Close is not answered")
	case m.paused && m.queue.n > 0:
		return fmt.Errorf("paused with %d waiting", m.queue.n)
	}
	if due := m.nextDue(); due != never && m.timers.tickAt > due {
		return fmt.Errorf("something is due at %v and the timer is armed for %v", due, m.timers.tickAt)
	}
	return nil
}

// checkMeasures verifies the histograms, and that no more leases are timed than said.
func (m *Machine) checkMeasures() error {
	t := &m.timings
	switch {
	case t.untilTimed < 0 || t.untilTimed > 2*(t.every-1):
		return fmt.Errorf("the lease after the next %d is timed, and one in %d should be", t.untilTimed, t.every)
	case t.wait.sum != m.counters.WaitTime || t.wait.count > m.counters.Grants:
		return fmt.Errorf("%d waits of %v, and Stats has %d grants after %v", t.wait.count, t.wait.sum, m.counters.Grants, m.counters.WaitTime)
	}
	for name, h := range map[string]*histogram{"wait": &t.wait, "use": &t.use, "connect": &t.connect} {
		filled := uint64(0)
		for _, n := range h.buckets {
			filled += n
		}
		if filled > h.count || h.sum < 0 || filled == 0 && h.sum > 0 {
			return fmt.Errorf("%s: %d durations of %v, %d in buckets", name, h.count, h.sum, filled)
		}
	}
	for _, s := range m.slots {
		if s.timedEpoch > s.LeaseEpoch || s.state == borrowed && t.every == 1 && s.timedEpoch == s.LeaseEpoch && !s.exactSince {
			return fmt.Errorf("lease %d of connection %d is timed, and the present one is %d", s.timedEpoch, s.ID, s.LeaseEpoch)
		}
	}
	return nil
}

// checkRecording verifies that every Get that waits and every lease that is out has its
// record, or came before the recording began.
func (m *Machine) checkRecording() error {
	r := m.recording
	if on := r != nil; m.opts.needsClock != (on || m.cfg.needsClock()) || m.opts.watchesGets != (on || m.cfg.EventLevel == AllEvents) {
		return fmt.Errorf("a recording is made: %v, the fast paths need the time: %v, and tell of Gets: %v", on, m.opts.needsClock, m.opts.watchesGets)
	}
	if r == nil {
		return nil
	}
	waited, held, waits, out := 0, 0, 0, 0
	for w := m.queue.head; w != nil; w = w.next {
		switch n := r.get(w.record); {
		case n == nil:
			waited++
		case n.outcome != messages.RecordedWaiting || n.out:
			return fmt.Errorf("a Get waits, and its record says %v, out: %v", n.outcome, n.out)
		default:
			waits++
		}
	}
	for _, s := range m.slots {
		switch n := r.get(s.record); {
		case s.state != borrowed:
		case n == nil:
			held++
		case !n.out:
			return fmt.Errorf("the lease of connection %d is out, and its record does not say so", s.ID)
		default:
			out++
		}
	}
	n := 0
	for _, chunk := range r.chunks {
		for _, o := range chunk {
			n++
			if o.outcome == messages.RecordedWaiting {
				waits--
			}
			if o.out {
				out--
			}
		}
	}
	if waited != r.waited || held != r.held || waits != 0 || out != 0 || n != r.n || r.arrived > r.Max {
		return fmt.Errorf("%d records of %d, %d too few of waits, %d of leases; %d waits and %d leases are older, not %d and %d",
			n, r.n, waits, out, waited, held, r.waited, r.held)
	}
	return nil
}
