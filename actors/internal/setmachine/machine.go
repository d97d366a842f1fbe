// Machine: every input.

package setmachine

import (
	"slices"
	"time"
)

// Config is what the machine must know. It is validated where it comes from.
type Config struct {
	Total    int           // units
	MaxPools int           // 0: no bound
	Idle     time.Duration // after which a pool is closed that is not used; 0: never
	// Look says in which era a key's pool was last used, and whether it is at rest, as far
	// as can be seen from outside.
	Look func(*Key) (era uint64, resting bool)
}

// Machine is the state of one set.
type Machine struct {
	cfg Config
	now time.Duration

	free    int // units
	shares  shares
	hungry  hungry
	claims  []*claim // units that are on their way from one key to another, the first claimed first
	posted  *Need    // nil: there is none
	waits   []*Wait  // of callers that hold leases meanwhile, in the order in which they began
	pools   []*Key   // that have one
	holders []*Key   // that hold units
	placing []*Key   // that wait for a place, in order
	leaving int      // pools that are retiring or closing
	resting bool     // Rest is in force

	seq       uint64
	tickEpoch uint64
	ticking   bool
	closing   bool
	stopped   bool
	effects   []Effect
}

// Wait is a wait of a caller that holds leases of this set. The shell owns it.
type Wait struct {
	Owner any
	// Leases are the leases that its caller holds. Each is a value that is equal to itself
	// only.
	Leases []any
}

// New makes a machine.
func New(cfg Config) *Machine { return &Machine{cfg: cfg, free: cfg.Total} }

// Effects gives what the inputs since the last Done have decided, in its order.
func (m *Machine) Effects() []Effect { return m.effects }

// Done says that the effects have been performed.
func (m *Machine) Done() {
	clear(m.effects)
	m.effects = m.effects[:0]
}

// Free is the number of units that no key holds.
func (m *Machine) Free() int { return m.free }

// Posted is the need that is shown to the pools; nil: there is none.
func (m *Machine) Posted() *Need { return m.posted }

// Waiting says whether anybody waits for the pool of a key.
func (m *Machine) Waiting(k *Key) bool { return k.callers > 0 }

// EachHolder calls f for each key that holds units.
func (m *Machine) EachHolder(f func(*Key)) {
	for _, k := range m.holders {
		f(k)
	}
}

// Closing says that Close has begun.
func (m *Machine) Closing() bool { return m.closing }

// Want is a caller that asks for the pool of a key. It waits for Ready or Refuse.
func (m *Machine) Want(now time.Duration, k *Key) {
	m.advance(now)
	k.callers++
	switch {
	case m.closing:
		m.tell(Refuse, k)
		if k.state == absent {
			m.forget(k)
		}
	case k.state == absent:
		m.make(k)
	case k.state == open:
		m.tell(Ready, k)
	}
	m.settle()
}

// Left is a caller that waits for a pool no longer.
func (m *Machine) Left(now time.Duration, k *Key) {
	m.advance(now)
	if k.callers > 0 {
		k.callers--
	}
	if k.callers == 0 && k.state == placing {
		m.placing = slices.DeleteFunc(m.placing, func(other *Key) bool { return other == k })
		m.forget(k)
	}
	m.settle()
}

// Made says that the key has a Config.
func (m *Machine) Made(now time.Duration, k *Key) {
	m.advance(now)
	if k.state != making {
		return // the set was closed meanwhile
	}
	if k.callers == 0 {
		m.forget(k)
	} else {
		k.state = placing
		m.placing = append(m.placing, k)
	}
	m.settle()
}

// Failed says that the key has no Config. Whoever asks next tries anew.
func (m *Machine) Failed(now time.Duration, k *Key) {
	m.advance(now)
	if k.state != making {
		return
	}
	m.tell(Refuse, k)
	m.forget(k)
	m.settle()
}

// Report is what a pool says of its units.
type Report struct {
	Received int           // how many units it had been given so far
	Returned int           // how many it gives back now
	Wants    int           // how many more it would use
	Oldest   time.Duration // since when the longest wait for them goes on
	Claimed  *Need         // it will give back one more for this need
	Ending   bool          // it closes
}

// Report takes the report of a key's pool.
func (m *Machine) Report(now time.Duration, k *Key, r Report) {
	m.advance(now)
	if !k.state.hasPool() {
		return
	}
	if r.Claimed != nil {
		m.claimed(k, r.Claimed)
	}
	for range r.Returned {
		m.returned(k)
	}
	if r.Ending && k.state != closing {
		if k.state == open {
			m.leaving++
		}
		k.state = closing
	}
	wants := 0
	if k.state == open || k.state == retiring {
		wants = max(0, r.Wants-(k.received-r.Received))
	}
	m.setWants(k, wants, r.Oldest)
	m.settle()
}

// Retired is the answer to Retire: the pool closes, or it is not at rest. Of the first
// there is a Report, too.
func (m *Machine) Retired(now time.Duration, k *Key, closes bool) {
	m.advance(now)
	if k.state != retiring {
		return
	}
	if closes {
		k.state = closing
		m.setWants(k, 0, 0)
	} else {
		k.state = open
		m.leaving--
		k.usedAt = m.now
		m.tell(Ready, k)
	}
	m.settle()
}

// Gone says that nothing of a key's pool is left. If somebody waits for the key, another
// pool is made.
func (m *Machine) Gone(now time.Duration, k *Key) {
	m.advance(now)
	if !k.state.hasPool() {
		return
	}
	for k.holds > 0 {
		m.returned(k)
	}
	m.setWants(k, 0, 0)
	for _, c := range k.coming {
		c.to = nil
	}
	for _, c := range k.leaving { // it had claimed more than it held
		m.unclaim(c)
	}
	k.coming, k.leaving, k.received = nil, nil, 0
	m.index(k)
	last := len(m.pools) - 1
	m.pools[k.place] = m.pools[last]
	m.pools[k.place].place = k.place
	m.pools[last] = nil
	m.pools = m.pools[:last]
	if k.state != open {
		m.leaving--
	}
	k.state = absent
	m.posted = nil // it may have claimed the need and not said so any more
	m.effect(Effect{Kind: Post})
	if k.callers > 0 && !m.closing {
		m.make(k)
	} else {
		m.forget(k)
	}
	m.settle()
}

// Rested says that a pool may be at rest, while Rest is in force.
func (m *Machine) Rested(now time.Duration) {
	m.advance(now)
	m.settle()
}

// Tick closes the pools that have not been used for long.
func (m *Machine) Tick(now time.Duration, epoch uint64) {
	m.advance(now)
	if epoch != m.tickEpoch || !m.ticking {
		return
	}
	m.ticking = false
	for _, k := range slices.Clone(m.pools) {
		if k.state != open {
			continue
		}
		era, resting := m.cfg.Look(k)
		switch {
		case era != k.stamp || !resting:
			k.stamp, k.usedAt = era, m.now
		case m.now-k.usedAt >= m.cfg.Idle:
			m.retire(k)
		}
	}
	m.effect(Effect{Kind: Era})
	m.settle()
}

// Hold says that a caller waits in one of the pools while it holds leases of this set. out
// says which leases have not ended. If all units are held by such callers, no unit comes
// free any more: then this wait, the newest, ends.
func (m *Machine) Hold(now time.Duration, w *Wait, out func(lease any) bool) {
	m.advance(now)
	m.waits = append(m.waits, w)
	held := make(map[any]bool)
	for _, w := range m.waits {
		for _, lease := range w.Leases {
			if !held[lease] && out(lease) {
				held[lease] = true
			}
		}
	}
	if len(held) >= m.cfg.Total {
		m.effect(Effect{Kind: Deadlock, Wait: w})
	}
}

// Unhold says that the wait is over.
func (m *Machine) Unhold(now time.Duration, w *Wait) {
	m.advance(now)
	m.waits = slices.DeleteFunc(m.waits, func(other *Wait) bool { return other == w })
}

// Close closes all pools. Nobody gets another one.
func (m *Machine) Close(now time.Duration, keys []*Key) {
	m.advance(now)
	if m.closing {
		return
	}
	m.closing = true
	m.placing = nil
	for _, k := range keys {
		m.tell(Refuse, k)
		if k.state.hasPool() {
			m.effect(Effect{Kind: ClosePool, Key: k})
		} else {
			m.forget(k)
		}
	}
	m.settle()
}
