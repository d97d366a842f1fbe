package lockfree

import "sync/atomic"

// slot is the place of one connection. It has one owner at any time: the idle
// stack, a lease, the goroutine that connects or disconnects it, a hand-off, or
// the arena's free stack. Only the owner touches the plain fields; the atomics
// by which a slot changes owner order those accesses.
type slot[C any] struct {
	link  atomic.Uint64 // epoch:40 | index of the idle slot below:24
	conn  C
	pool  *Pool[C]
	index uint32
	live  bool  // has a connection; without one the slot is a permit to connect
	since int64 // when it became idle, in nanoseconds since the pool's start (with IdleStamps)
	// parcel stands for the slot in a waiter's cell when the grant is there before the waiter.
	parcel waiter[C]
}

// Lease is the right to use one connection. The zero Lease has ended.
type Lease[C any] struct {
	s    *slot[C]
	word uint64 // the slot's link word during this lease
	conn C
}

// Conn is the leased connection.
func (l Lease[C]) Conn() C { return l.conn }

// Put gives the connection back.
func (l Lease[C]) Put() error {
	s := l.s
	if s == nil {
		return ErrLeaseEnded
	}
	p := s.pool
	// State before size: SetCapacity and Close change size, then state. So a push
	// that succeeds has either seen the new size or is seen by their sweep.
	state := p.state.Load()
	n := count(state)
	// The fence: of all Puts and Taints of this lease exactly one gets past.
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

// Taint closes the connection and frees its place; the head waiter, if there
// is one, may connect in it. The cause is not recorded.
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
