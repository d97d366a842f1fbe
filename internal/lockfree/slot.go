package lockfree

import "sync/atomic"

// slot is the place of one connection. It has one owner at any time: the idle stack, a
// lease, the goroutine that connects or disconnects it, a grant on its way, or the arena's
// free stack. Only the owner uses the plain fields; the atomic operations that change the
// owner order these accesses.
type slot[C any] struct {
	link  atomic.Uint64 // epoch:40 | index of the idle slot below:24
	conn  C
	pool  *Pool[C]
	index uint32
	live  bool  // it has a connection; without one the slot is a permit to connect
	since int64 // with IdleStamps: when it became idle, see now
	// parcel represents the slot in a cell if the grant comes before the waiter.
	parcel waiter[C]
}

// Lease is the right to use one connection, until Put or Taint. The zero Lease has ended.
type Lease[C any] struct {
	s    *slot[C]
	word uint64 // the slot's link word during this lease
	conn C
}

// Conn returns the connection.
func (l Lease[C]) Conn() C { return l.conn }

// Put returns the connection, and ends the lease.
func (l Lease[C]) Put() error {
	s := l.s
	if s == nil {
		return ErrLeaseEnded
	}
	p := s.pool
	// State before size: SetCapacity and Close change size, then state. So a push that
	// succeeds either has seen the new size, or they find its connection on the stack.
	state := p.state.Load()
	n := count(state)
	// Of all Puts and Taints of this lease exactly one succeeds here.
	if !s.link.CompareAndSwap(l.word, step(l.word, max(n, 0))) {
		return ErrLeaseEnded
	}
	if n >= 0 && !size(p.size.Load()).over() {
		if p.stamps {
			s.since = p.now()
		}
		if p.state.CompareAndSwap(state, step(state, int64(s.index))) {
			return nil
		}
	}
	p.release(s)
	return nil
}

// Taint closes the connection, frees its place for the first waiter, and ends the lease. The
// cause is not recorded.
func (l Lease[C]) Taint(_ error) error {
	s := l.s
	if s == nil || !s.link.CompareAndSwap(l.word, step(l.word, 0)) {
		return ErrLeaseEnded
	}
	s.pool.doom()
	s.pool.discard(background, s)
	return nil
}

// lease makes a lease of a slot that the caller owns.
func (s *slot[C]) lease() Lease[C] { return Lease[C]{s: s, word: s.link.Load(), conn: s.conn} }
