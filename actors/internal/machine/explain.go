package machine

import (
	"fmt"
	"sort"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// scope bounds a look at the pool: how many slots are looked at, and how many
// are told of.
type scope struct{ reach, most int }

var (
	glance = scope{reach: 64, most: 8}                   // for the error of one Get, of which there may be many
	survey = scope{reach: int(^uint(0) >> 1), most: 100} // on demand
)

// holders tells who holds connections, longest first. In a pool that does not
// watch the age of leases a glance may miss some.
func (m *Machine) holders(sc scope) []messages.Holder {
	if m.n[borrowed] == 0 {
		return nil
	}
	var held []*Slot
	if m.tracked { // the longest first
		for s := m.leases.head; s != nil && len(held) < sc.most; s = s.next {
			held = append(held, s)
		}
	} else {
		for _, s := range m.slots[:min(len(m.slots), sc.reach)] {
			if s.state == borrowed {
				held = append(held, s)
			}
		}
		sort.SliceStable(held, func(i, j int) bool { return held[i].since < held[j].since })
		held = held[:min(len(held), sc.most)]
	}
	holders := make([]messages.Holder, len(held))
	for i, s := range held {
		holders[i] = m.holder(s)
	}
	return holders
}

func (m *Machine) holder(s *Slot) messages.Holder {
	h := messages.Holder{ConnID: s.ID, Label: s.label, Age: m.now - s.since, Waits: s.ties > 0, Borrower: address(s.borrower)}
	if !s.timed && m.phase != open || !s.timed && m.resizer != nil {
		h.Age = min(h.Age, m.now-m.drainSince)
	}
	if s.trace != nil {
		h.Goroutine, h.Stack = s.trace.Goroutine(), s.trace.Stack()
	}
	return h
}

func address(b *Borrower) string {
	if b == nil {
		return ""
	}
	return fmt.Sprint(b.Owner)
}

// jobs tells what the connectors are at, longest first.
func (m *Machine) jobs(sc scope) []messages.Job {
	var jobs []messages.Job
	for s := m.busy.head; s != nil && len(jobs) < sc.most; s = s.next {
		j := messages.Job{ConnID: s.ID, Doing: s.state.String(), Age: m.now - s.since}
		if s.waiter != nil {
			j.For = s.waiter.Label
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// Explain tells who holds, who waits, and what is being done about it.
func (m *Machine) Explain(now time.Duration) messages.Explanation {
	m.at(now)
	e := messages.Explanation{
		Stats: m.Stats(), Time: m.wall(m.now), Holders: m.holders(survey), Jobs: m.jobs(survey), LastConnectError: m.lastErr,
	}
	e.Attempt, e.NextAttempt, _ = m.Outlook()
	for w := m.waiters.head; w != nil && len(e.Waiters) < survey.most; w = w.next {
		told := messages.Waiter{Label: w.Label, Waited: m.now - w.since, Setting: w.Setting, Borrower: address(w.Borrower)}
		if w.slot != nil {
			told.Doing = w.slot.state.String()
		}
		if w.Trace != nil {
			told.Goroutine, told.Stack = w.Trace.Goroutine(), w.Trace.Stack()
		}
		for _, t := range w.ties {
			if t.out() {
				told.Holds = append(told.Holds, t.ID)
			}
		}
		e.Waiters = append(e.Waiters, told)
	}
	e.Suspicions = m.suspicions(&e)
	return e
}

// suspicious is how long nothing must come back to be worth a word.
const suspicious = time.Second

// suspicions says what looks wrong without being proved.
func (m *Machine) suspicions(e *messages.Explanation) []string {
	var list []string
	holding := map[uint64]uint64{} // connection by goroutine
	for _, h := range e.Holders {
		if h.Goroutine != 0 {
			holding[h.Goroutine] = h.ConnID
		}
	}
	for _, w := range e.Waiters {
		if id, ok := holding[w.Goroutine]; ok && w.Goroutine != 0 {
			list = append(list, fmt.Sprintf("goroutine %d got connection %d and waits for another: it may deadlock with itself or with others that do the same",
				w.Goroutine, id))
		}
	}
	if w := m.waiters.head; w != nil && m.n[borrowed] > 0 && m.n[borrowed] == m.counted() && m.counted() >= m.capacity {
		youngest := m.now
		for _, h := range e.Holders {
			youngest = min(youngest, h.Age)
		}
		if len(e.Holders) == m.n[borrowed] && youngest >= m.now-w.since && m.now-w.since >= suspicious {
			list = append(list, fmt.Sprintf("every connection is out, and none has come back in the %v since the first in the queue began to wait: "+
				"the holders may be waiting for each other", m.now-w.since))
		}
	}
	return list
}

// deadlockError tells who holds and waits, of whom w is to give up.
func (m *Machine) deadlockError(w *Waiter) error {
	e := &messages.DeadlockError{}
	told := map[*Slot]bool{}
	for ; w != nil; w = w.prev {
		for _, t := range w.ties {
			if len(told) == 2*glance.most {
				return e
			}
			if told[t.Slot] || !t.out() {
				continue
			}
			told[t.Slot] = true
			h := m.holder(t.Slot)
			h.Waited, h.WaitsFor = m.now-w.since, w.Label
			e.Cycle = append(e.Cycle, h)
		}
	}
	return e
}
