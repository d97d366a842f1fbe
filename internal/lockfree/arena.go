package lockfree

import "sync/atomic"

// arena holds items by index, from 1, and a stack of the free ones. Items are never freed:
// an index that a slow goroutine has read still names a valid item, and its CAS then fails.
type arena[T any] struct {
	free  atomic.Uint64 // tag:40 | index of the first free item:24
	_     [56]byte
	table atomic.Pointer[[]*item[T]]
	setup func(index uint32, v *T)
}

type item[T any] struct {
	v    T
	next atomic.Uint32 // the free item below
	_    [64]byte      // so that two items never share a cache line
}

func (a *arena[T]) init(n int, setup func(index uint32, v *T)) {
	a.setup = setup
	a.table.Store(new([]*item[T]))
	if n > 0 {
		a.put(a.grow(n))
	}
}

func (a *arena[T]) at(index int64) *T { return &(*a.table.Load())[index-1].v }

// get takes a free item. If there is none, it grows the arena.
func (a *arena[T]) get() *T {
	for {
		head := a.free.Load()
		i := count(head)
		if i == 0 {
			if n := a.grow(len(*a.table.Load())); n != 0 {
				return a.at(int64(n))
			}
			continue
		}
		// The link is stale if another goroutine has taken the item. Then the tag has
		// changed, and the CAS fails.
		next := (*a.table.Load())[i-1].next.Load()
		if a.free.CompareAndSwap(head, step(head, int64(next))) {
			return a.at(i)
		}
	}
}

func (a *arena[T]) put(index uint32) {
	if index == 0 {
		return
	}
	it := (*a.table.Load())[index-1]
	for {
		head := a.free.Load()
		it.next.Store(uint32(count(head)))
		if a.free.CompareAndSwap(head, step(head, int64(index))) {
			return
		}
	}
}

// grow appends n items, but at least 4 and at most 65,536; keeps one for the caller; and
// frees the others. It returns 0 if another goroutine has grown the arena first: then there
// are free items.
func (a *arena[T]) grow(n int) uint32 {
	old := a.table.Load()
	n = min(max(n, 4), 1<<16)
	items := make([]*item[T], len(*old), len(*old)+n)
	copy(items, *old)
	for range n {
		it := new(item[T])
		items = append(items, it)
		a.setup(uint32(len(items)), &it.v)
	}
	if !a.table.CompareAndSwap(old, &items) {
		return 0
	}
	first := uint32(len(*old)) + 1
	for i := first + uint32(n) - 1; i > first; i-- {
		a.put(i)
	}
	return first
}
