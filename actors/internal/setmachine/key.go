package setmachine

import "time"

// Key is one key of the set. The shell owns it and sets Owner. It is at rest, and may be
// forgotten, while it is absent.
type Key struct {
	// Owner is what the shell keeps for the key.
	Owner any

	state state
	seq   uint64 // of its pool; ties are decided by it

	// Units.
	holds    int           // at its pool, or on their way there
	received int           // how many its pool has been given so far
	wants    int           // how many more it would use
	oldest   time.Duration // since when the longest wait for it goes on
	coming   []*claim      // units of others that will be its own
	leaving  []*claim      // units of its own that it gives up, in the order of the claims

	bucket *bucket // in hungry; nil: it is not there
	index  int     // in bucket.keys
	demand int     // in shares
	holder int     // the place in Machine.holders, from 1; 0: it is not there

	// Its pool.
	callers int           // that wait until the pool can be used
	place   int           // in Machine.pools
	stamp   uint64        // the era of the last use, as far as it is known
	usedAt  time.Duration // when that was found out
}

// state is how far the life of a key has come.
//
//	absent ─ Want ─► making ─ Made ─► placing ─ a place ─► open ─ Retire ─► retiring
//	   ▲                │ Failed         │ nobody waits      ▲ │ it is busy      │
//	   ├────────────────┴────────────────┘                   └─┼─────────────────┤
//	   └────────────────────────── Gone ── closing ◄───────────┴─────────────────┘
type state uint8

const (
	absent   state = iota
	making         // New runs
	placing        // it has a Config, and waits for a place for its pool
	open           // it has a pool
	retiring       // its pool is asked to close if it is at rest
	closing        // its pool closes
)

var stateNames = [...]string{"absent", "making", "placing", "open", "retiring", "closing"}

func (s state) String() string { return stateNames[s] }

// hasPool says that there is a pool, which may hold units.
func (s state) hasPool() bool { return s >= open }

// claim is a unit that one key gives up for another; the other is nil if it has no use for
// it any more.
type claim struct{ to *Key }

// units is how many the key has and will have.
func (k *Key) units() int { return k.holds + len(k.coming) }

// lacks is how many more it could use than it will have.
func (k *Key) lacks() int { return k.wants - len(k.coming) }

// longer says whether the wait of a key is longer than that of another.
func (k *Key) longer(than *Key) bool {
	if k.oldest != than.oldest {
		return k.oldest < than.oldest
	}
	return k.seq < than.seq
}
