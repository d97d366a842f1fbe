package machine

import (
	"errors"
	"fmt"
)

// Check verifies what must hold after every input, once its effects are known:
// the counts against the slots, the queue against the jobs, and the promises to
// whoever waits. It walks everything, and is for tests and for sampling.
func (m *Machine) Check() error {
	var n [len(m.n)]int
	var strays, spare, busy int
	for i, s := range m.slots {
		if s.index != i {
			return fmt.Errorf("slot %d has index %d", i, s.index)
		}
		if s.abandoned {
			strays++
			continue
		}
		n[s.state]++
		switch s.state {
		case connecting, checking, resetting, applying, unapplying, closing:
			busy++
		}
		if s.state == connecting && s.waiter == nil {
			spare++
		}
		if (s.state == vacant) != (s.ID == 0) {
			return fmt.Errorf("slot %d is %v and has id %d", i, s.state, s.ID)
		}
		if w := s.waiter; w != nil && (w.slot != s || !w.queued) {
			return fmt.Errorf("slot %d works for a waiter that does not wait for it", i)
		}
		if s.waiter != nil && (s.state == resetting || s.state == idle || s.state == borrowed) {
			return fmt.Errorf("slot %d is %v and works for a waiter", i, s.state)
		}
	}
	if n != m.n || strays != m.strays || spare != m.spare {
		return fmt.Errorf("counts %v strays %d spare %d, but slots say %v, %d, %d", m.n, m.strays, m.spare, n, strays, spare)
	}
	if m.idle.n+m.worn.n != n[idle] || m.vacant.n != n[vacant] || m.busy.n != busy {
		return fmt.Errorf("lists hold %d idle %d vacant %d busy, but slots say %d, %d, %d",
			m.idle.n+m.worn.n, m.vacant.n, m.busy.n, n[idle], n[vacant], busy)
	}
	if err := m.checkKins(); err != nil {
		return err
	}
	length, unstarted, fussy := 0, 0, 0
	for w := m.waiters.head; w != nil; w = w.next {
		length++
		if !w.queued {
			return fmt.Errorf("waiter %d in the queue is not marked as queued", length)
		}
		if w.Setting != nil {
			fussy++
		}
		if w.slot == nil {
			unstarted++
		} else if w.slot.waiter != w {
			return fmt.Errorf("waiter %d waits for a slot that works for another", length)
		}
	}
	if length != m.waiters.n || unstarted != m.waiters.unstarted || fussy != m.waiters.fussy {
		return fmt.Errorf("queue says %d waiters, %d unstarted; it holds %d, %d", m.waiters.n, m.waiters.unstarted, length, unstarted)
	}
	return m.checkPromises()
}

// checkKins verifies the settings on connections against the lists by setting.
func (m *Machine) checkKins() error {
	members, resting := map[*kin]int{}, map[*kin]int{}
	for _, s := range m.slots {
		if s.kin == nil {
			continue
		}
		members[s.kin]++
		if s.state == idle {
			resting[s.kin]++
		}
	}
	if len(members) != len(m.kins) {
		return fmt.Errorf("%d settings are known, connections have %d", len(m.kins), len(members))
	}
	for setting, k := range m.kins {
		n := 0
		for s := k.head; s != nil; s = s.knext {
			n++
			if s.knext != nil && s.knext.since > s.since {
				return fmt.Errorf("connection %d with %v is idle for longer than the older %d", s.ID, setting, s.knext.ID)
			}
		}
		if k.setting != setting || k.members != members[k] || n != resting[k] {
			return fmt.Errorf("setting %v: %d members and %d idle, but slots say %d, %d", setting, k.members, n, members[k], resting[k])
		}
	}
	for _, l := range []*slotList{&m.idle, &m.worn} {
		for s := l.head; s != nil; s = s.next {
			if (s.kin == nil) != (l == &m.idle) {
				return fmt.Errorf("connection %d is in the wrong list of idle ones", s.ID)
			}
			if s.next != nil && s.next.since > s.since {
				return fmt.Errorf("connection %d is idle for longer than the older %d", s.ID, s.next.ID)
			}
		}
	}
	return nil
}

// useful says whether somebody waits with no job under way, and an idle
// connection would do for him.
func (m *Machine) useful() bool {
	w := m.waiters.head
	for range lookahead {
		if w == nil {
			break
		}
		if w.slot == nil && m.n[idle] > 0 && m.pick(w) != nil {
			return true
		}
		w = w.next
	}
	return false
}

// checkPromises verifies what the pool owes to whoever waits and to whoever
// drains it.
func (m *Machine) checkPromises() error {
	over := m.counted() > m.capacity
	if over != m.reducing {
		return fmt.Errorf("%d counted, capacity %d, reducing %v", m.counted(), m.capacity, m.reducing)
	}
	serving := m.phase == open && !m.paused && !m.suspended
	switch {
	case serving && m.useful():
		return fmt.Errorf("%d wait with no job under way while %d connections are idle", m.waiters.unstarted, m.n[idle])
	case serving && m.waiters.unstarted > 0 && m.mayConnect():
		return fmt.Errorf("%d wait with no job under way while a connect is allowed", m.waiters.unstarted)
	case serving && m.n[idle] > 0 && m.counted()-m.n[closing] > m.capacity:
		return fmt.Errorf("%d connections are idle and not closing while %d are counted above capacity %d", m.n[idle], m.counted(), m.capacity)
	case m.resizer != nil && !over:
		return errors.New("a SetCapacity waits for nothing")
	case m.phase == closed && (m.open() > 0 || m.waiters.n > 0):
		return fmt.Errorf("closed with %d open and %d waiting", m.open(), m.waiters.n)
	case m.phase != open && (m.n[idle] > 0 || m.waiters.n > 0 || m.resizer != nil || m.readies.head != nil):
		return fmt.Errorf("closing with %d idle, %d waiting, or a request to be answered", m.n[idle], m.waiters.n)
	case m.phase == closed && m.closers.head != nil && m.n[closing] == 0 && m.lingering == 0:
		return errors.New("closed, and a Close is not answered")
	case m.paused && m.waiters.n > 0:
		return fmt.Errorf("paused with %d waiting", m.waiters.n)
	}
	if due := m.nextDue(); due != never && (!m.tickArmed || m.tickAt > due) {
		return fmt.Errorf("something is due at %v and the timer is armed %v for %v", due, m.tickArmed, m.tickAt)
	}
	return nil
}
