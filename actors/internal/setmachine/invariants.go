package setmachine

import (
	"errors"
	"fmt"
)

// CheckInvariants says what is wrong with the state; nil: nothing.
func (m *Machine) CheckInvariants() error {
	held, hungry, coming, leaving, ways := 0, 0, 0, 0, 0
	var demands shares
	for i, k := range m.pools {
		switch {
		case k.place != i || !k.state.hasPool():
			return fmt.Errorf("pool %d is at place %d and %v", i, k.place, k.state)
		case k.holds < 0 || k.wants < 0 || k.lacks() < 0:
			return fmt.Errorf("pool %d holds %d, wants %d, %d are coming", i, k.holds, k.wants, len(k.coming))
		case (k.bucket != nil) != (k.lacks() > 0):
			return fmt.Errorf("pool %d lacks %d, and is hungry: %v", i, k.lacks(), k.bucket != nil)
		case k.bucket != nil && (k.bucket.units != k.units() || k.bucket.keys[k.index] != k):
			return fmt.Errorf("pool %d has %d units and is among those with %d", i, k.units(), k.bucket.units)
		case k.demand != k.holds+k.wants:
			return fmt.Errorf("pool %d counts with demand %d, and has %d and wants %d", i, k.demand, k.holds, k.wants)
		case (k.holds > 0) != (k.holder > 0) || k.holder > 0 && m.holders[k.holder-1] != k:
			return fmt.Errorf("pool %d holds %d units, and is holder %d", i, k.holds, k.holder)
		case k.state == closing && k.wants > 0:
			return fmt.Errorf("pool %d closes and wants %d", i, k.wants)
		}
		for _, c := range k.coming {
			if c.to != k {
				return fmt.Errorf("pool %d waits for a unit that is for another", i)
			}
		}
		if k.bucket != nil {
			hungry++
		}
		if k.state != open {
			leaving++
		}
		held += k.holds
		coming += len(k.coming)
		ways += len(k.coming)
		demands.change(0, k.demand)
	}
	for _, c := range m.claims {
		if c.to != nil {
			coming--
		}
	}
	switch {
	case m.free < 0 || held+m.free != m.cfg.Total:
		return fmt.Errorf("%d units are held and %d free, of %d", held, m.free, m.cfg.Total)
	case hungry != m.hungry.n || coming != 0 || leaving != m.leaving:
		return fmt.Errorf("%d hungry, not %d; %d claims too few; %d leaving, not %d", hungry, m.hungry.n, coming, leaving, m.leaving)
	case m.free > 0 && hungry > 0:
		return fmt.Errorf("%d units are free, and %d keys are hungry", m.free, hungry)
	case m.free > 0 && ways > 0:
		return fmt.Errorf("%d units are free, and keys wait for %d that are on their way", m.free, ways)
	case hungry > 0 && m.posted == nil:
		return fmt.Errorf("%d keys are hungry, and no need is posted", hungry)
	case hungry == 0 && m.posted != nil:
		return errors.New("a need is posted, and nobody is hungry")
	case m.posted != nil && m.posted.Key.bucket == nil:
		return errors.New("the need is that of a key that is not hungry")
	case demands.level(m.cfg.Total) != m.shares.level(m.cfg.Total):
		return fmt.Errorf("the level is %v, not %v", m.shares.level(m.cfg.Total), demands.level(m.cfg.Total))
	case m.cfg.MaxPools > 0 && len(m.pools) > m.cfg.MaxPools:
		return fmt.Errorf("%d pools, of %d", len(m.pools), m.cfg.MaxPools)
	case m.cfg.MaxPools == 0 && len(m.placing) > 0:
		return fmt.Errorf("%d pools wait for a place", len(m.placing))
	case m.resting != (m.leaving < len(m.placing)):
		return fmt.Errorf("%d wait for a place, %d leave, and Rest is %v", len(m.placing), m.leaving, m.resting)
	}
	return nil
}
