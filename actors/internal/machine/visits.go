// Visits: walks over the connections that stand, one at a time; and which leases the
// fast paths may return because of them.

package machine

import (
	"math"
	"slices"
)

// Visit is one walk over the connections that stood when it began. Its caller is lent
// one after the other, each before any waiter: the idle ones first, and borrowed ones
// when they come back. What does not stand any more is left out.
type Visit struct {
	// Owner is what the shell keeps for the visit.
	Owner any

	waiter Waiter  // what its leases have in common
	slots  []*Slot // those that are still to be visited have the visit in Slot.visits
	left   int     // how many these are
	waits  bool    // its caller waits for the next connection
}

// leave takes a connection out of the visit.
func (v *Visit) leave(s *Slot) {
	s.visits = slices.DeleteFunc(slices.Clone(s.visits), func(o *Visit) bool { return o == v })
	if len(s.visits) == 0 {
		s.visits = nil
	}
	v.left--
}

// nextIdle finds an idle connection that is still to be visited; nil: there is none.
func (v *Visit) nextIdle() *Slot {
	v.slots = slices.DeleteFunc(v.slots, func(s *Slot) bool { return !slices.Contains(s.visits, v) })
	for _, s := range v.slots {
		if s.state == idle {
			return s
		}
	}
	return nil
}

// nextVisit finds the visit that a connection goes to when it comes free; nil: there is
// none, or its caller is busy with another connection.
func (s *Slot) nextVisit() *Visit {
	for _, v := range s.visits {
		if v.waits {
			return v
		}
	}
	return nil
}

// skipVisits takes a connection that does not stand any more out of all visits.
func (m *Machine) skipVisits(s *Slot) {
	for _, v := range s.visits {
		v.left--
		if v.left == 0 && v.waits {
			m.finishVisit(v, nil)
		}
	}
	s.visits = nil
	m.setQuick(s)
}

// finishVisit ends a visit. Its caller is told, if it waits for the next connection.
func (m *Machine) finishVisit(v *Visit, err error) {
	for _, s := range v.slots {
		if slices.Contains(s.visits, v) {
			v.leave(s)
			m.setQuick(s)
		}
	}
	if i := slices.Index(m.visits, v); i >= 0 {
		m.visits = slices.Delete(m.visits, i, i+1)
	}
	v.slots, v.left = nil, 0
	if v.waits {
		v.waits = false
		m.effect(Effect{Kind: Visited, Visit: v, Err: err})
	}
}

// setQuick works out anew which leases of a connection the fast paths may return. They
// ask for no more than this: neither the last use that MaxUses allows, nor a connection
// that is to be visited or is of an old generation, is theirs.
func (m *Machine) setQuick(s *Slot) {
	switch {
	case s.visits != nil, s.generation != m.generation:
		s.quickUntil = 0
	case m.cfg.MaxUses > 0:
		s.quickUntil = s.unused + uint64(m.cfg.MaxUses)
	default:
		s.quickUntil = math.MaxUint64
	}
}

// notUsed says that the lease of a connection, the present one or the one that has just
// ended, is no use of it.
func (m *Machine) notUsed(s *Slot) {
	s.unused++
	m.setQuick(s)
}
