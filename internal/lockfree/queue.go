package lockfree

import "sync/atomic"

// queue pairs grants with waiters in ticket order. It is an array without end,
// made of linked segments: suspenders and resumers take tickets from two
// counters and meet in the cell that has their number, whoever comes first.
// That every resumer has a suspender is decided before, in the state word.
//
// What a cell goes through:
//
//	empty → waiter      the waiter parks                    (suspend)
//	empty → parcel      the grant was there first           (deliver)
//	waiter → resumed    the grant follows on its channel    (deliver)
//	waiter → leaving    the waiter's context ended          (abandon)
//	leaving → gone      it is off the count: skip the cell  (abandon)
//	leaving → refused   a grant is on its way to this cell: turn it back (abandon)
//	leaving → parcel    a grant came in between: the leaver passes it on (deliver)
//
// A cell is used once, so it has no ABA problem.
type queue[C any] struct {
	enqueued atomic.Uint64
	tail     atomic.Pointer[segment[C]] // no further than the last ticket of enqueued
	_        [48]byte
	dequeued atomic.Uint64
	head     atomic.Pointer[segment[C]] // no further than the last ticket of dequeued, but for cells all gone
	_        [48]byte

	dead     atomic.Int64 // segments that became all gone since the last sweep
	sweepAt  atomic.Int64 // so many make the next sweep worth its walk
	sweeping atomic.Bool  // nobody waits for it: who finds it set goes on

	resumed, leaving, gone, refused waiter[C] // marks; only their addresses matter
}

const segmentSize = 64

type segment[C any] struct {
	id    uint64
	next  atomic.Pointer[segment[C]]
	gone  atomic.Int32
	cells [segmentSize]cell[C]
}

type cell[C any] struct{ atomic.Pointer[waiter[C]] }

// waiter is a parked Get, or (with slot set) a parcel.
type waiter[C any] struct {
	grant chan *slot[C] // one place: a grant is sent at most once per wait, never blocking the sender
	index uint32
	slot  *slot[C]
}

func (q *queue[C]) init() {
	first := new(segment[C])
	q.head.Store(first)
	q.tail.Store(first)
	q.sweepAt.Store(1)
}

// suspend installs w in the next cell. If the grant is there already, it
// returns that instead.
func (q *queue[C]) suspend(w *waiter[C]) (*segment[C], *cell[C], *slot[C]) {
	// The segment before the ticket: tail may pass this ticket's segment as soon as later tickets are out.
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

// deliver gives s to the next waiter that has not left. It reports false when
// that waiter refused it. The caller has taken the waiter off the state word.
func (q *queue[C]) deliver(s *slot[C]) bool {
	for {
		from := q.head.Load()
		ticket := q.dequeued.Add(1) - 1
		seg := from.find(ticket / segmentSize)
		advance(&q.head, seg)
		if seg.id != ticket/segmentSize {
			// The ticket's segment was swept away: all its waiters are gone. Jump over the gap.
			q.dequeued.CompareAndSwap(ticket+1, seg.id*segmentSize)
			continue
		}
		if done, ok := q.offer(&seg.cells[ticket%segmentSize], s); done {
			return ok
		}
	}
}

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

// left counts a cell that is gone and sweeps when that pays.
func (q *queue[C]) left(seg *segment[C]) {
	if seg.gone.Add(1) == segmentSize && q.dead.Add(1) >= q.sweepAt.Load() {
		q.sweep()
	}
}

// sweep unlinks the segments whose waiters are all gone, so that a storm of
// timeouts behind one patient waiter (or before no Put at all) holds no memory.
// The next sweep waits for as many dead segments as this one had to step over:
// the cost of a leave is constant on average.
//
// There is one sweeper at a time, so it is the only writer of inner next
// pointers; appends touch only the last segment's, which is never unlinked. A
// goroutine that stands on an unlinked segment still finds its way forward.
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

// find is the first segment from g on whose id is at least id; it appends what is missing.
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
