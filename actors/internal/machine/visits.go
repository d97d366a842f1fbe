// Visits: walks over the connections that stand, one at a time.

package machine

import "slices"

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
