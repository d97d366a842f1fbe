package lockfree

import (
	"context"
	"fmt"
)

// reserve takes a place for one more connection, if there is room.
func (p *Pool[C]) reserve() bool {
	for {
		z := p.size.Load()
		if !size(z).room() {
			return false
		}
		if p.size.CompareAndSwap(z, z+uint64(openOne)) {
			return true
		}
	}
}

// unreserve returns a place. The caller must call serve afterwards.
func (p *Pool[C]) unreserve() {
	p.size.Add(^uint64(openOne - 1))
	p.notify()
}

// doom counts a connection as closing.
func (p *Pool[C]) doom() { p.size.Add(uint64(closingOne)) }

// doomIfOver counts a connection as closing if the pool is over its capacity.
func (p *Pool[C]) doomIfOver() bool {
	for {
		z := p.size.Load()
		if !size(z).over() {
			return false
		}
		if p.size.CompareAndSwap(z, z+uint64(closingOne)) {
			return true
		}
	}
}

// discard closes the connection of a slot that doom has counted, and frees its place.
func (p *Pool[C]) discard(ctx context.Context, s *slot[C]) {
	var none C
	conn := s.conn
	s.conn, s.live = none, false
	defer func() { // also when Disconnect panics
		p.slots.put(s.index) // before the place, so that a Get that reserves it finds a slot
		p.size.Add(^uint64(doomedAndOpen - 1))
		p.notify()
		p.serve()
	}()
	p.disconnects.Add(1)
	_ = p.disconnect(ctx, conn)
}

// SetCapacity changes the largest number of connections; with 0, every Get waits. If it is
// raised, waiters are served at once. If it is lowered, idle connections are closed at once
// and borrowed ones when they are returned, and the call waits until no more than n are open
// or its context ends. The new capacity stays in both cases.
func (p *Pool[C]) SetCapacity(ctx context.Context, n int) error {
	if n < 0 || n > maxCapacity {
		return fmt.Errorf("lockfree: capacity %d is not in 0..%d", n, maxCapacity)
	}
	for {
		z := p.size.Load()
		if size(z).closed() {
			return ErrClosed
		}
		if p.size.CompareAndSwap(z, uint64(size(z).withCapacity(n))) {
			break
		}
	}
	p.notify() // so that an earlier SetCapacity notices that it is superseded
	p.touch()
	for size(p.size.Load()).over() {
		s, ok := p.pop()
		if !ok {
			break
		}
		if !p.doomIfOver() {
			p.release(s)
			break
		}
		go p.discard(ctx, s)
	}
	p.serve()
	return p.drained(ctx, n, false)
}

// touch changes the state's tag. It prevents that a Put which has read the old size pushes
// its connection: the push fails, and the Put reads the new size.
func (p *Pool[C]) touch() {
	for {
		state := p.state.Load()
		if p.state.CompareAndSwap(state, step(state, count(state))) {
			return
		}
	}
}

// Close makes every waiting and later call fail with ErrClosed, cancels connects, closes
// idle connections, and waits until the borrowed ones are returned and closed, or until ctx
// ends. They are closed in both cases. It may be called again.
func (p *Pool[C]) Close(ctx context.Context) error {
	for {
		z := p.size.Load()
		if size(z).closed() || p.size.CompareAndSwap(z, uint64(size(z).withCapacity(0)|closedFlag)) {
			break
		}
	}
	p.endLife()
	p.notify()
	// One step takes all idle connections, or all waiters. A later Get reads size after
	// this, and sees that the pool is closed.
	var state uint64
	for {
		state = p.state.Load()
		if p.state.CompareAndSwap(state, step(state, 0)) {
			break
		}
	}
	n := count(state)
	for ; n < 0; n++ {
		p.queue.deliver(&p.closedMark)
	}
	for n > 0 {
		s := p.slots.at(n)
		n = count(s.link.Load())
		p.doom()
		go p.discard(ctx, s)
	}
	return p.drained(ctx, 0, true)
}

// gate has a channel that is closed when the size word changes. Those who wait for a
// change share one.
type gate struct{ changed chan struct{} }

// notify wakes all calls of drained.
func (p *Pool[C]) notify() {
	if g := p.gate.Load(); g != nil && p.gate.CompareAndSwap(g, nil) {
		close(g.changed)
	}
}

// drained waits until at most n connections are open, for Close or for a SetCapacity.
func (p *Pool[C]) drained(ctx context.Context, n int, closing bool) error {
	for {
		// The gate before the size, so that a change after the size is read closes this
		// gate.
		g := p.gate.Load()
		if g == nil {
			g = &gate{changed: make(chan struct{})}
			if !p.gate.CompareAndSwap(nil, g) {
				continue
			}
		}
		z := size(p.size.Load())
		switch {
		case !closing && z.closed():
			return ErrClosed
		case z.capacity() != n:
			return ErrSuperseded
		case z.open() <= n:
			return nil
		}
		select {
		case <-g.changed:
		case <-ctx.Done():
			return fmt.Errorf("lockfree: %d connections still open, want %d: %w", z.open(), n, ctx.Err())
		}
	}
}
