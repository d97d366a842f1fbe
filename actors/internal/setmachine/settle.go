// Settle: what follows from any input.

package setmachine

import (
	"math"
	"slices"
	"time"
)

// sweeps is how many times within Idle the machine looks for pools that are not used, so
// that one is closed at most an eighth of Idle too late.
const sweeps = 8

func (m *Machine) advance(now time.Duration) {
	if now > m.now {
		m.now = now
	}
}

func (m *Machine) effect(e Effect) { m.effects = append(m.effects, e) }

// tell answers all callers that wait for a key's pool.
func (m *Machine) tell(kind EffectKind, k *Key) {
	if k.callers > 0 {
		k.callers = 0
		m.effect(Effect{Kind: kind, Key: k})
	}
}

func (m *Machine) make(k *Key) {
	k.state = making
	m.effect(Effect{Kind: Make, Key: k})
}

func (m *Machine) forget(k *Key) {
	k.state = absent
	m.effect(Effect{Kind: Forget, Key: k})
}

func (m *Machine) retire(k *Key) {
	k.state = retiring
	m.leaving++
	m.effect(Effect{Kind: Retire, Key: k})
}

func (m *Machine) settle() {
	m.grant()
	m.post()
	m.places()
	m.schedule()
	if m.closing && len(m.pools) == 0 && !m.stopped {
		m.stopped = true
		m.effect(Effect{Kind: Stopped})
	}
}

// Units.

// setWants notes how many more units a key would use.
func (m *Machine) setWants(k *Key, wants int, oldest time.Duration) {
	k.wants, k.oldest = wants, oldest
	for k.lacks() < 0 { // a unit that is on its way for it goes to somebody else
		m.abandon(k.coming[len(k.coming)-1])
	}
	m.index(k)
}

// index brings hungry and shares up to date with a key.
func (m *Machine) index(k *Key) {
	if k.bucket != nil {
		m.hungry.remove(k)
	}
	if k.lacks() > 0 {
		m.hungry.insert(k)
	}
	switch {
	case k.holds > 0 && k.holder == 0:
		m.holders = append(m.holders, k)
		k.holder = len(m.holders)
	case k.holds == 0 && k.holder > 0:
		last := m.holders[len(m.holders)-1]
		m.holders[k.holder-1], last.holder = last, k.holder
		m.holders = slices.Delete(m.holders, len(m.holders)-1, len(m.holders))
		k.holder = 0
	}
	demand := k.holds + k.wants
	m.shares.change(k.demand, demand)
	k.demand = demand
}

// claimed notes that a key gives up a unit for a need.
func (m *Machine) claimed(k *Key, n *Need) {
	if m.posted == n {
		m.posted = nil
	}
	c := &claim{to: n.Key}
	k.leaving = append(k.leaving, c)
	m.claims = append(m.claims, c)
	if n.Key.lacks() > 0 {
		n.Key.coming = append(n.Key.coming, c)
		m.index(n.Key)
	} else {
		c.to = nil
	}
}

// abandon lets the key that a unit is on its way for be without it.
func (m *Machine) abandon(c *claim) {
	k := c.to
	c.to = nil
	k.coming = slices.DeleteFunc(k.coming, func(other *claim) bool { return other == c })
}

// unclaim ends a claim. It gives the key that the unit is for, if there is one.
func (m *Machine) unclaim(c *claim) *Key {
	m.claims = slices.DeleteFunc(m.claims, func(other *claim) bool { return other == c })
	k := c.to
	if k != nil {
		m.abandon(c)
		m.index(k)
	}
	return k
}

// returned takes one unit back from a key. If the key has given it up for another that can
// still use it, that one gets it. Otherwise it is free.
func (m *Machine) returned(k *Key) {
	k.holds--
	m.free++
	m.index(k)
	if len(k.leaving) == 0 {
		return
	}
	c := k.leaving[0]
	k.leaving = k.leaving[1:]
	if to := m.unclaim(c); to != nil && to.wants > 0 {
		m.give(to)
	}
}

func (m *Machine) give(k *Key) {
	m.free--
	k.holds++
	k.received++
	k.wants--
	m.index(k)
	for i := len(m.effects) - 1; i >= 0 && m.effects[i].Kind == Grant; i-- {
		if m.effects[i].Key == k {
			m.effects[i].Units++
			return
		}
	}
	m.effect(Effect{Kind: Grant, Key: k, Units: 1})
}

// grant gives the free units to those that can use them.
func (m *Machine) grant() {
	for m.free > 0 {
		k, _ := m.hungry.neediest(m.shares.level(m.cfg.Total))
		switch {
		case k != nil:
			m.give(k)
		case !m.hasten():
			return
		}
	}
}

// hasten makes a key hungry for which a unit is only on its way: a free one is there at
// once. False: there is none.
func (m *Machine) hasten() bool {
	for _, c := range m.claims {
		if k := c.to; k != nil {
			m.abandon(c)
			m.index(k)
			return true
		}
	}
	return false
}

// post shows the need of the key that comes next.
func (m *Machine) post() {
	level := m.shares.level(m.cfg.Total)
	k, below := m.hungry.neediest(level)
	if k == nil {
		if m.posted != nil {
			m.posted = nil
			m.effect(Effect{Kind: Post})
		}
		return
	}
	next := Need{Key: k, Oldest: k.oldest, Busy: below, Level: level}
	if m.posted == nil || *m.posted != next {
		m.posted = &next
		m.effect(Effect{Kind: Post, Need: m.posted})
	}
}

// Places.

// places gives places to the pools that wait for one. If there is none, as many pools are
// asked to close as are needed, the least recently used first.
func (m *Machine) places() {
	for len(m.placing) > 0 && (m.cfg.MaxPools == 0 || len(m.pools) < m.cfg.MaxPools) {
		k := m.placing[0]
		m.placing = m.placing[1:]
		m.open(k)
	}
	for m.leaving < len(m.placing) {
		k := m.leastRecentlyUsed()
		if k == nil {
			break
		}
		m.retire(k)
	}
	if waits := m.leaving < len(m.placing); waits != m.resting {
		m.resting = waits
		kind := Unrest
		if waits {
			kind = Rest
		}
		m.effect(Effect{Kind: kind})
	}
}

func (m *Machine) open(k *Key) {
	m.seq++
	k.state, k.seq, k.stamp, k.usedAt = open, m.seq, 0, m.now
	k.place = len(m.pools)
	m.pools = append(m.pools, k)
	m.effect(Effect{Kind: Spawn, Key: k})
	m.tell(Ready, k)
	m.effect(Effect{Kind: Era}) // whatever is used from now on is used later
}

// leastRecentlyUsed is the pool that is at rest and was last used before the others; nil:
// none is at rest.
func (m *Machine) leastRecentlyUsed() (least *Key) {
	var oldest uint64
	for _, k := range m.pools {
		if k.state != open {
			continue
		}
		if era, resting := m.cfg.Look(k); resting && (least == nil || era < oldest || era == oldest && k.seq < least.seq) {
			least, oldest = k, era
		}
	}
	return least
}

// schedule sees to it that there is a tick while there are pools that can become idle.
func (m *Machine) schedule() {
	wanted := m.cfg.Idle > 0 && len(m.pools) > 0 && !m.closing
	switch {
	case wanted && !m.ticking:
		m.ticking = true
		m.tickEpoch++
		at := m.now + max(1, m.cfg.Idle/sweeps)
		if at < m.now {
			at = math.MaxInt64
		}
		m.effect(Effect{Kind: ArmTick, At: at, Epoch: m.tickEpoch})
	case !wanted && m.ticking:
		m.ticking = false
		m.effect(Effect{Kind: DisarmTick})
	}
}
