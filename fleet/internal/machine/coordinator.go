package machine

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/actorpool/actorpool/fleet/store"
)

// Coordinator deals the budget. What it decides is a function of one snapshot. What it
// remembers only delays it: how long it has seen an incarnation dead, and how long ago
// connections were passed on.
type Coordinator struct {
	// Floor is the share that every living member is given, whatever it wants.
	Floor int
	// Grace is how long an incarnation must be seen without a lease before it is a suspect.
	Grace time.Duration
	// Turn is how long a member holds what others lack, before it is passed on.
	Turn time.Duration
	// Slots is how many slots there are. A member that finds none free waits without a row.
	// 0: as many as there are members.
	Slots int

	dead      map[string]time.Duration // since when
	rotations int64                    // as last seen
	rotatedAt time.Duration            // when that number was first seen
	seen      bool
}

// Suspects are the incarnations that are charged and have, for Grace, had no lease: their
// charge can be had back once they surely hold nothing.
func (c *Coordinator) Suspects(v store.Snapshot, now time.Duration) []string {
	if c.dead == nil {
		c.dead = make(map[string]time.Duration)
	}
	var suspects []string
	for _, inc := range slices.Sorted(maps.Keys(v.Rows)) {
		if _, alive := v.Reports[inc]; alive {
			delete(c.dead, inc)
			continue
		}
		since, known := c.dead[inc]
		if !known {
			since, c.dead[inc] = now, now
		}
		if now-since >= c.Grace && v.Rows[inc].Charge > 0 {
			suspects = append(suspects, inc)
		}
	}
	maps.DeleteFunc(c.dead, func(inc string, _ time.Duration) bool { _, ok := v.Rows[inc]; return !ok })
	return suspects
}

// Decide says what to commit, and the sum to write with it. gone are incarnations without
// a lease that surely hold nothing. There may be more changes than one commit takes: those
// that free come first, and any beginning of the list is safe alone.
func (c *Coordinator) Decide(v store.Snapshot, gone []string, now time.Duration) (store.Sum, []store.Change) {
	d := newDeal(v, c.Floor)
	d.takeBack(gone)
	sum := v.Sum
	d.seat(c.Slots, &sum.NextSlot)
	if rotating := c.turnIsOver(v.Sum.Rotations, now); d.share(rotating) && rotating {
		sum.Rotations++
	}
	d.recall()
	d.deal()
	return sum, d.changes()
}

// turnIsOver says that nothing has been passed on for a turn.
func (c *Coordinator) turnIsOver(rotations int64, now time.Duration) bool {
	if !c.seen || rotations != c.rotations {
		c.seen, c.rotations, c.rotatedAt = true, rotations, now
	}
	return c.Turn > 0 && now-c.rotatedAt >= c.Turn
}

// deal is one decision.
type deal struct {
	before  map[string]store.Row
	deleted []string
	living  []*party // in the order of their incarnations
	budget  int      // for the living
	free    int      // charged to nobody; negative after the budget was lowered
}

// party is a living member.
type party struct {
	incarnation string
	row         store.Row
	hasRow      bool
	want, share int
}

// newDeal begins with what the reports say: rows for those that have none, and lower
// charges for those that have promised to hold less.
func newDeal(v store.Snapshot, floor int) *deal {
	d := &deal{before: v.Rows, budget: v.Sum.Budget}
	for _, inc := range slices.Sorted(maps.Keys(v.Reports)) {
		report := v.Reports[inc]
		row, hasRow := v.Rows[inc]
		if report.AckSeq == row.Seq && row.Seq != 0 && row.Target < row.Charge && report.AckN < row.Charge {
			row.Charge = max(report.AckN, row.Target)
		}
		d.living = append(d.living, &party{incarnation: inc, row: row, hasRow: hasRow, want: max(report.Want, floor)})
	}
	return d
}

// takeBack deletes the rows of incarnations that hold nothing, and finds what is free.
func (d *deal) takeBack(gone []string) {
	alive := make(map[string]bool, len(d.living))
	d.free = d.budget
	for _, p := range d.living {
		alive[p.incarnation] = true
		d.free -= p.row.Charge
	}
	for inc, row := range d.before {
		switch {
		case alive[inc]:
		case slices.Contains(gone, inc), row.Charge == 0: // it holds nothing
			d.deleted = append(d.deleted, inc)
		default: // it may still hold what it is charged for
			d.free -= row.Charge
			d.budget -= row.Charge
		}
	}
}

// seat gives those that have no row a slot: one that no row has, not even a row that is
// being deleted. Where slots are bounded, they are given in turn, so that one that has been
// used is used again as late as possible. Who finds none waits, and has no share.
func (d *deal) seat(slots int, next *int) {
	taken := make(map[int]bool, len(d.before))
	for _, row := range d.before {
		taken[row.Slot] = true
	}
	n := slots
	if slots == 0 { // then the first free one is below this
		n = len(d.before) + len(d.living)
	}
	d.living = slices.DeleteFunc(d.living, func(p *party) bool {
		if p.hasRow {
			return false
		}
		for i := range n {
			slot := i
			if slots > 0 {
				slot = (max(*next, 0) + i) % n
			}
			if taken[slot] {
				continue
			}
			taken[slot], p.row.Slot = true, slot
			if slots > 0 {
				*next = (slot + 1) % n
			}
			return false
		}
		return true
	})
}

// share finds the max-min fair share of each living member: none has more than it wants,
// and none could have more without one that has no more than it having less. What does not
// divide evenly goes to those that have more already, so that nothing moves without a
// need, and among them to those whose row has not changed for longest. When it is passed on,
// those that have less come first. False: everything divides.
func (d *deal) share(rotating bool) (rest bool) {
	order := slices.Clone(d.living)
	slices.SortStableFunc(order, func(a, b *party) int { return cmp.Compare(a.want, b.want) })
	left := max(d.budget, 0)
	for len(order) > 0 && order[0].want <= left/len(order) {
		order[0].share = order[0].want
		left -= order[0].want
		order = order[1:]
	}
	if len(order) == 0 {
		return false
	}
	// The others all want more than an even share of what is left.
	slices.SortStableFunc(order, func(a, b *party) int {
		have := cmp.Compare(b.row.Target, a.row.Target)
		if rotating {
			have = -have
		}
		return cmp.Or(have, cmp.Compare(a.row.Seq, b.row.Seq))
	})
	even, more := left/len(order), left%len(order)
	for i, p := range order {
		p.share = even
		if i < more {
			p.share++
		}
	}
	return more > 0
}

// recall lowers the targets of those that are furthest above their share, by what others
// lack, or the budget does, and is neither free nor on its way back.
func (d *deal) recall() {
	lacking := -d.free
	for _, p := range d.living {
		lacking += max(0, p.share-p.row.Target)
		lacking -= p.row.Charge - p.row.Target
	}
	for ; lacking > 0; lacking-- {
		from := furthest(d.living, func(p *party) int { return p.row.Target - p.share })
		if from == nil {
			return
		}
		from.row.Target--
	}
}

// deal gives what is free to whoever has least of its share. What was asked back, and is
// not needed any more, comes first: to leave it where it is costs nothing.
func (d *deal) deal() {
	for _, p := range d.living {
		p.row.Target = max(p.row.Target, min(p.row.Charge, p.share))
	}
	for d.free > 0 {
		to := furthest(d.living, func(p *party) int {
			if p.row.Target >= p.share || p.row.Target < p.row.Charge {
				return 0
			}
			return 1<<30 - p.row.Target
		})
		if to == nil {
			return
		}
		to.row.Charge++
		to.row.Target++
		d.free--
	}
}

// furthest is the member with the largest number above 0; nil: there is none.
func furthest(parties []*party, number func(*party) int) *party {
	var found *party
	most := 0
	for _, p := range parties {
		if n := number(p); n > most {
			found, most = p, n
		}
	}
	return found
}

// changes are the rows that differ from those of the snapshot, those that free first.
func (d *deal) changes() []store.Change {
	var frees, takes []store.Change
	for _, inc := range slices.Sorted(slices.Values(d.deleted)) {
		frees = append(frees, store.Change{Incarnation: inc, Delete: true})
	}
	for _, p := range d.living {
		old, had := d.before[p.incarnation]
		row := p.row
		row.Seq = 0
		switch {
		case had && old.Charge == row.Charge && old.Target == row.Target:
		case had && row.Charge <= old.Charge:
			frees = append(frees, store.Change{Incarnation: p.incarnation, Row: row})
		default:
			takes = append(takes, store.Change{Incarnation: p.incarnation, Row: row})
		}
	}
	return append(frees, takes...)
}

// Shares are the max-min fair shares of the living members, as a decision on this snapshot
// would have them.
func Shares(v store.Snapshot, floor int) map[string]int {
	d := newDeal(v, floor)
	d.takeBack(nil)
	d.share(false)
	shares := make(map[string]int, len(d.living))
	for _, p := range d.living {
		shares[p.incarnation] = p.share
	}
	return shares
}
