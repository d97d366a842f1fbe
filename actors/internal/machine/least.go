// Least: the first few of many, without a sort of all of them.

package machine

import (
	"cmp"
	"slices"
	"time"
)

// least keeps the first of the items that are added, as many as there is room for, in the
// order of their ranks. It is a heap with the last of them at the top: an item that is
// added costs the logarithm of the room.
type least[T any] struct {
	room  int
	items []ranked[T]
}

// ranked is an item with its place in the order.
type ranked[T any] struct {
	rank
	item T
}

// rank is a place in an order: by time, then by the id of the connection.
type rank struct {
	time time.Duration
	id   uint64
}

func (r rank) compare(o rank) int {
	if r.time != o.time {
		return cmp.Compare(r.time, o.time)
	}
	return cmp.Compare(r.id, o.id)
}

// wants says whether an item of this rank would be kept.
func (l *least[T]) wants(r rank) bool {
	return len(l.items) < l.room || l.room > 0 && r.compare(l.items[0].rank) < 0
}

// add adds an item, and drops the last one if there is no room.
func (l *least[T]) add(r rank, item T) {
	switch {
	case !l.wants(r):
	case len(l.items) == l.room:
		l.items[0] = ranked[T]{r, item}
		l.down()
	default:
		if l.items == nil {
			l.items = make([]ranked[T], 0, min(l.room, slotsAtOnce))
		}
		l.items = append(l.items, ranked[T]{r, item})
		l.up()
	}
}

// up moves the item at the end to its place.
func (l *least[T]) up() {
	for i := len(l.items) - 1; i > 0; {
		above := (i - 1) / 2
		if l.items[above].compare(l.items[i].rank) > 0 {
			return
		}
		l.items[i], l.items[above] = l.items[above], l.items[i]
		i = above
	}
}

// down moves the item at the top to its place.
func (l *least[T]) down() {
	for i := 0; ; {
		below := 2*i + 1
		if below >= len(l.items) {
			return
		}
		if right := below + 1; right < len(l.items) && l.items[right].compare(l.items[below].rank) > 0 {
			below = right
		}
		if l.items[below].compare(l.items[i].rank) < 0 {
			return
		}
		l.items[i], l.items[below] = l.items[below], l.items[i]
		i = below
	}
}

// sorted gives the items in order.
func (l *least[T]) sorted() []ranked[T] {
	sorted := slices.Clone(l.items)
	slices.SortFunc(sorted, func(a, b ranked[T]) int { return a.compare(b.rank) })
	return sorted
}
