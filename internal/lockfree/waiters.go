package lockfree

import "context"

// wait parks a Get that is counted as waiting in the state word, until it is
// granted a slot or its context ends.
func (p *Pool[C]) wait(ctx context.Context) (*slot[C], error) {
	w := p.waiters.get()
	seg, c, s := p.queue.suspend(w)
	if s == nil {
		// Re-check: capacity freed after this Get found none, by someone who did not see it wait yet.
		p.serve()
		if done := ctx.Done(); done == nil {
			s = <-w.grant
		} else {
			select {
			case s = <-w.grant:
			case <-done:
				p.abandon(w, seg, c)
				p.waiters.put(w.index)
				return nil, ctx.Err()
			}
		}
	}
	// Whoever sent the grant has finished with w; whoever comes later finds the cell's mark.
	p.waiters.put(w.index)
	return s, nil
}

// abandon takes w out of the queue. A grant that crosses it is passed on.
func (p *Pool[C]) abandon(w *waiter[C], seg *segment[C], c *cell[C]) {
	q := &p.queue
	if !c.CompareAndSwap(w, &q.leaving) {
		p.release(<-w.grant) // resumed: the grant is in the channel, or an instant away
		return
	}
	p.depart(seg, c)
}

// depart finishes a leave whose cell says so already.
func (p *Pool[C]) depart(seg *segment[C], c *cell[C]) {
	q := &p.queue
	if p.takeWaiter() {
		// Off the count: the resumer that comes here, if any, belongs to a waiter behind.
		s := c.Swap(&q.gone).slot
		q.left(seg)
		if s != nil && !q.deliver(s) {
			p.release(s)
		}
		return
	}
	// Nobody is left on the count, so the grant of this very cell is on its way.
	if s := c.Swap(&q.refused).slot; s != nil {
		p.release(s)
	}
}

// addWaiter counts one more waiter, if the state has not moved and has room.
func (p *Pool[C]) addWaiter(state uint64) bool {
	return p.state.CompareAndSwap(state, step(state, count(state)-1))
}

// takeWaiter takes one waiter off the count; false when nobody waits.
func (p *Pool[C]) takeWaiter() bool {
	for {
		state := p.state.Load()
		n := count(state)
		if n >= 0 {
			return false
		}
		if p.state.CompareAndSwap(state, step(state, n+1)) {
			return true
		}
	}
}

// serve gives permits to connect to waiters while there is room. Everything
// that makes room calls it afterwards, and so does everyone who joined the
// queue: one of the two sees the other, so no wake-up is lost.
func (p *Pool[C]) serve() {
	// Around again also after a place that turned out unneeded: while it looked
	// taken, another Get may have joined and found no room.
	for count(p.state.Load()) < 0 && p.reserve() {
		if p.takeWaiter() {
			p.permit()
		} else {
			p.unreserve()
		}
	}
}

// permit gives a reserved place to the waiter just taken off the count, or back.
func (p *Pool[C]) permit() {
	s := p.slots.get()
	if !p.queue.deliver(s) {
		p.slots.put(s.index)
		p.unreserve()
	}
}

// release passes on a slot that the caller owns and no lease holds: to its
// close, to the head waiter or to the idle stack.
func (p *Pool[C]) release(s *slot[C]) {
	if s == &p.closedMark {
		return
	}
	if !s.live {
		p.slots.put(s.index)
		p.unreserve()
		p.serve()
		return
	}
	for {
		state := p.state.Load() // before size, as in Put
		if p.doomIfOver() {
			p.discard(background, s)
			return
		}
		n := count(state)
		if n < 0 {
			if p.state.CompareAndSwap(state, step(state, n+1)) && p.queue.deliver(s) {
				return
			}
			continue
		}
		if p.stamps {
			s.since = p.now()
		}
		s.link.Store(relink(s.link.Load(), n))
		if p.state.CompareAndSwap(state, step(state, int64(s.index))) {
			return
		}
	}
}
