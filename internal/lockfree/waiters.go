package lockfree

import "context"

// wait parks a Get that is counted as a waiter in the state word, until it gets a slot or its
// context ends.
func (p *Pool[C]) wait(ctx context.Context) (*slot[C], error) {
	w := p.waiters.get()
	seg, c, s := p.queue.suspend(w)
	if s == nil {
		// Look again: a place may have been freed after this Get found none, by a call
		// that did not see it as a waiter yet.
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
	// The sender of the grant does not use w any more, and a later one finds the mark in the
	// cell: so w can be reused.
	p.waiters.put(w.index)
	return s, nil
}

// abandon takes w out of the queue. A grant that comes at the same moment is passed on.
func (p *Pool[C]) abandon(w *waiter[C], seg *segment[C], c *cell[C]) {
	q := &p.queue
	if !c.CompareAndSwap(w, &q.leaving) {
		p.release(<-w.grant) // resumed: the grant is in the channel, or about to be sent
		return
	}
	p.depart(seg, c)
}

// depart is the rest of abandon, when the cell is marked as leaving.
func (p *Pool[C]) depart(seg *segment[C], c *cell[C]) {
	q := &p.queue
	if p.takeWaiter() {
		// w is not counted any more: a grant that comes to this cell is for a later waiter.
		s := c.Swap(&q.gone).slot
		q.left(seg)
		if s != nil && !q.deliver(s) {
			p.release(s)
		}
		return
	}
	// Nobody is counted any more, so a grant for this cell is on its way.
	if s := c.Swap(&q.refused).slot; s != nil {
		p.release(s)
	}
}

// addWaiter counts one more waiter. It fails if the state word has changed.
func (p *Pool[C]) addWaiter(state uint64) bool {
	return p.state.CompareAndSwap(state, step(state, count(state)-1))
}

// takeWaiter takes one waiter off the count. It returns false if nobody waits.
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

// serve gives permits to connect to waiters, as long as there is room. Every call that makes
// room calls it afterwards, and so does every waiter that joined the queue: one of the two
// sees the other, so no wake-up is lost.
func (p *Pool[C]) serve() {
	// Look again also after returning a place that was not needed: while it was reserved,
	// another Get may have found no room and joined the queue.
	for count(p.state.Load()) < 0 && p.reserve() {
		if p.takeWaiter() {
			p.permit()
		} else {
			p.unreserve()
		}
	}
}

// permit gives a reserved place to the waiter that was just taken off the count. If that
// waiter refuses it, the place is returned.
func (p *Pool[C]) permit() {
	s := p.slots.get()
	if !p.queue.deliver(s) {
		p.slots.put(s.index)
		p.unreserve()
	}
}

// release gives up a slot that the caller owns without a lease: its connection is closed,
// granted to the first waiter, or becomes idle.
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
