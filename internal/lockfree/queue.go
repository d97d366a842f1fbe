package lockfree

import "sync/atomic"

// queue pairs grants with waiters by ticket number. It is an array without end, made of
// linked segments: a waiter and a grant each take a ticket, from two counters, and meet in
// the cell with that number, in any order. The state word has decided before that there is a
// waiter for each grant.
//
// The states of a cell:
//
//	empty → waiter      the waiter parks                                  (suspend)
//	empty → parcel      the grant came first                              (deliver)
//	waiter → resumed    the grant follows on the waiter's channel         (deliver)
//	waiter → leaving    the waiter's context ended                        (abandon)
//	leaving → gone      the waiter is not counted any more: skip the cell (abandon)
//	leaving → refused   a grant for this cell is coming: it must go back  (abandon)
//	leaving → parcel    a grant came: the leaving waiter passes it on     (deliver)
//
// A cell is used once, so it has no ABA problem.
type queue[C any] struct {
	enqueued atomic.Uint64
	tail     atomic.Pointer[segment[C]] // not behind the last ticket of enqueued
	_        [48]byte
	dequeued atomic.Uint64
	head     atomic.Pointer[segment[C]] // not behind the last ticket of dequeued, except for segments all gone
	_        [48]byte

	dead     atomic.Int64 // segments that became all gone since the last sweep
	sweepAt  atomic.Int64 // the number of dead segments that starts the next sweep
	sweeping atomic.Bool  // a sweep is running; a goroutine that finds it set does not wait

	resumed, leaving, gone, refused waiter[C] // marks: only their addresses matter
}

const segmentSize = 64

type segment[C any] struct {
	id    uint64
	next  atomic.Pointer[segment[C]]
	gone  atomic.Int32
	cells [segmentSize]cell[C]
}

type cell[C any] struct{ atomic.Pointer[waiter[C]] }

// waiter is a Get that waits; or a parcel, if slot is set.
type waiter[C any] struct {
	grant chan *slot[C] // of capacity 1: one grant for each wait, so that a send never blocks
	index uint32
	slot  *slot[C]
}

func (q *queue[C]) init() {
	first := new(segment[C])
	q.head.Store(first)
	q.tail.Store(first)
	q.sweepAt.Store(1)
}

// suspend puts w into the next cell. If the grant is there already, it returns that.
func (q *queue[C]) suspend(w *waiter[C]) (*segment[C], *cell[C], *slot[C]) {
	// Tail is read before the ticket is taken: afterwards it may have passed the ticket's
	// segment.
	from := q.tail.Load()
	ticket := q.enqueued.Add(1) - 1
	seg := from.find(ticket / segmentSize)
	advance(&q.tail, seg)
	c := &seg.cells[ticket%segmentSize]
	if c.CompareAndSwap(nil, w) {
		return seg, c, nil
	}
	return seg, c, c.Load().slot
}

// deliver gives s to the next waiter that has not left. It returns false if that waiter
// refused it. The caller has taken the waiter off the count in the state word.
func (q *queue[C]) deliver(s *slot[C]) bool {
	for {
		from := q.head.Load()
		ticket := q.dequeued.Add(1) - 1
		seg := from.find(ticket / segmentSize)
		advance(&q.head, seg)
		if seg.id != ticket/segmentSize {
			// The ticket's segment was removed by a sweep, because all its waiters are gone.
			// Continue with the first ticket behind it.
			q.dequeued.CompareAndSwap(ticket+1, seg.id*segmentSize)
			continue
		}
		if done, ok := q.offer(&seg.cells[ticket%segmentSize], s); done {
			return ok
		}
	}
}

// offer tries to give s to the waiter of a cell. done is false if that waiter is gone; then
// the next one must be tried. ok is false if it refused.
func (q *queue[C]) offer(c *cell[C], s *slot[C]) (done, ok bool) {
	for {
		switch w := c.Load(); w {
		case nil, &q.leaving:
			if c.CompareAndSwap(w, &s.parcel) {
				return true, true
			}
		case &q.gone:
			return false, false
		case &q.refused:
			return true, false
		default:
			if c.CompareAndSwap(w, &q.resumed) {
				w.grant <- s
				return true, true
			}
		}
	}
}

// left counts a cell that is gone, and starts a sweep if there are enough dead segments.
func (q *queue[C]) left(seg *segment[C]) {
	if seg.gone.Add(1) == segmentSize && q.dead.Add(1) >= q.sweepAt.Load() {
		q.sweep()
	}
}

// sweep removes the segments whose waiters are all gone. Without it, many timeouts behind
// one waiter that stays, or while nothing is returned, would keep their memory. The next
// sweep starts after as many dead segments as this one has kept, so that the average cost of
// a leave is constant.
//
// Only one sweep runs at a time, so it is the only writer of the inner next pointers; an
// append writes that of the last segment, which is never removed. A goroutine that is on a
// removed segment still finds the way forward.
func (q *queue[C]) sweep() {
	if !q.sweeping.CompareAndSwap(false, true) {
		return
	}
	q.dead.Store(0)
	for {
		h := q.head.Load()
		next := h.next.Load()
		if next == nil || !h.dead() {
			break
		}
		q.head.CompareAndSwap(h, next)
	}
	kept := int64(1)
	last := q.head.Load()
	for seg := last.next.Load(); seg != nil; {
		next := seg.next.Load()
		if next != nil && seg.dead() {
			last.next.Store(next)
		} else {
			last = seg
			kept++
		}
		seg = next
	}
	q.sweepAt.Store(kept)
	q.sweeping.Store(false)
}

func (g *segment[C]) dead() bool { return g.gone.Load() == segmentSize }

// find returns the first segment, from g on, whose id is at least id. It appends segments as
// needed.
func (g *segment[C]) find(id uint64) *segment[C] {
	for g.id < id {
		next := g.next.Load()
		if next == nil {
			next = &segment[C]{id: g.id + 1}
			if !g.next.CompareAndSwap(nil, next) {
				next = g.next.Load()
			}
		}
		g = next
	}
	return g
}

// advance moves ptr forward to seg, never back.
func advance[C any](ptr *atomic.Pointer[segment[C]], seg *segment[C]) {
	for {
		cur := ptr.Load()
		if cur.id >= seg.id || ptr.CompareAndSwap(cur, seg) {
			return
		}
	}
}
