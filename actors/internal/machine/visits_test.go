// The inputs of a world that lend what nobody waits for, or take a connection out of
// the pool: LendIdle, Hijack and visits. And those that change what shall stand.

package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/actorpool/actorpool/messages"
)

// visitor is one visit of a test.
type visitor struct {
	Visit
	name   string
	todo   []*conn // those that stood when it began and have not been visited
	waits  bool
	over   bool
	err    error
	visits []*get // the leases that it was given
}

// lendOutOfTurn notes that a connection is lent to somebody who has not waited for it.
func (w *world) lendOutOfTurn(name, label string, s *Slot) *get {
	w.tb.Helper()
	c := w.current[s]
	g := &get{name: name, outOfTurn: true}
	g.Owner = g
	switch {
	case c == nil || c.id != s.ID || !c.established || c.ended || c.job != 0 || c.givenUp || c.holder != nil:
		w.fail("%s is given a slot without a connection that can be lent", name)
	case w.condemned(c):
		w.fail("%s is given c%d, which must be closed", name, c.id)
	}
	w.notIdle(c)
	w.gets++
	if n := w.asks(g); n != nil {
		n.Label = label
	}
	w.lent(g, c)
	return g
}

// lendIdle asks for everything that is idle.
func (w *world) lendIdle(name string) (lent []*get) {
	w.tb.Helper()
	serves := w.closedAt < 0 && !w.paused && !w.suspended
	all := slices.DeleteFunc(slices.Clone(w.idle), w.tooOld)
	w.refused = true // what is idle goes before what waits
	w.step(func() {
		for _, s := range w.m.LendIdle(w.now, &Waiter{Label: name}) {
			lent = append(lent, w.lendOutOfTurn(fmt.Sprintf("%s%d", name, s.ID), name, s))
		}
	})
	if serves && len(lent) != len(all) || !serves && len(lent) > 0 {
		w.fail("%d connections were idle, serving %v, and %d are lent", len(all), serves, len(lent))
	}
	return lent
}

// hijack takes a connection out of the pool, if the lease is out.
func (w *world) hijack(l *lease) (ok bool) {
	w.tb.Helper()
	out, c := l.out(), l.conn
	if !out {
		w.stepInVain("a Hijack after the end", func() { ok = w.m.Hijack(w.now, l.slot, l.id, l.epoch) })
	} else {
		before := w.m.Stats().Hijacks
		c.holder = nil
		w.hijacks++
		w.connEnded(c)
		w.leaveVisits(c)
		w.step(func() { ok = w.m.Hijack(w.now, l.slot, l.id, l.epoch) })
		if w.m.Stats().Hijacks != before+1 {
			w.fail("a Hijack is not counted")
		}
	}
	if ok != out {
		w.fail("the lease was out: %v, and Hijack says %v", out, ok)
	}
	return ok
}

// Visits.

// beginVisit begins a visit.
func (w *world) beginVisit(v *visitor) {
	w.tb.Helper()
	v.Owner = v
	w.visitors = append(w.visitors, v)
	if w.closedAt < 0 {
		for _, c := range w.conns {
			if c.established && !c.ended && !w.condemned(c) && c.job != Disconnect {
				v.todo = append(v.todo, c)
			}
		}
	}
	w.stepInVain("the beginning of a visit", func() { w.m.BeginVisit(w.now, &v.Visit, v.name) })
}

// nextVisit asks for the next connection of a visit.
func (w *world) nextVisit(v *visitor) {
	w.tb.Helper()
	v.waits = true
	w.step(func() { w.m.NextVisit(w.now, &v.Visit) })
}

// endVisit ends a visit whose caller leaves.
func (w *world) endVisit(v *visitor) {
	w.tb.Helper()
	waited := v.waits
	v.todo = nil
	w.step(func() { w.m.EndVisit(w.now, &v.Visit) })
	if v.over = true; waited && !errors.Is(v.err, context.Canceled) {
		w.fail("%s was ended, and has the error %v", v.name, v.err)
	}
}

// visited gives the caller of a visit its next connection, or the end.
func (w *world) visited(e Effect) {
	w.tb.Helper()
	v := e.Visit.Owner.(*visitor)
	if !v.waits {
		w.fail("%s is given something that it has not asked for", v.name)
	}
	v.waits = false
	if e.Slot == nil {
		v.over, v.err = true, e.Err
		if errors.Is(e.Err, messages.ErrClosed) != (w.closedAt >= 0) {
			w.fail("%s is over with %v, closed at %v", v.name, e.Err, w.closedAt)
		}
		return
	}
	c := w.current[e.Slot]
	i := slices.Index(v.todo, c)
	if i < 0 {
		w.fail("%s is given c%d, which is not for it", v.name, e.Slot.ID)
	}
	v.todo = slices.Delete(v.todo, i, i+1)
	v.visits = append(v.visits, w.lendOutOfTurn(v.name, v.name, e.Slot))
}

// leaveVisits takes a connection that is no more out of all visits.
func (w *world) leaveVisits(c *conn) {
	for _, v := range w.visitors {
		v.todo = slices.DeleteFunc(v.todo, func(o *conn) bool { return o == c })
	}
}

// checkVisits checks that no visit waits for nothing.
func (w *world) checkVisits() {
	w.tb.Helper()
	for _, v := range w.visitors {
		v.todo = slices.DeleteFunc(v.todo, func(c *conn) bool {
			return c.ended || c.stale || c.givenUp || c.job == Disconnect
		})
		switch {
		case v.over && v.err == nil && len(v.todo) > 0:
			w.fail("%s is over before %d connections", v.name, len(v.todo))
		case !v.waits:
		case len(v.todo) == 0:
			w.fail("%s waits, and nothing is left for it", v.name)
		case slices.ContainsFunc(v.todo, func(c *conn) bool { return slices.Contains(w.idle, c) }):
			w.fail("%s waits while a connection for it is idle", v.name)
		}
	}
}

// What shall stand.

// warm asks for connections that stand.
func (w *world) warm(t *ticket, n int) {
	w.tb.Helper()
	w.tickets = append(w.tickets, t)
	t.n = n
	w.step(func() { w.m.Warm(w.now, &t.Ticket, n) })
	var refused *messages.ConfigError
	if bad := n < 0 || n > w.capacity || n > w.maxIdle(); w.closedAt < 0 && bad != (t.answered && errors.As(t.err, &refused)) {
		w.fail("%s for %d of %d is answered %v with %v", t.name, n, w.capacity, t.answered, t.err)
	}
}

// setMinIdle changes MinIdle.
func (w *world) setMinIdle(n int) {
	w.tb.Helper()
	bad := n < 0 || n > w.capacity || n > w.maxIdle()
	if !bad && w.closedAt < 0 {
		w.cfg.MinIdle = n
	}
	var err error
	w.step(func() { err = w.m.SetMinIdle(w.now, n) })
	var refused *messages.ConfigError
	switch {
	case w.closedAt >= 0 && !errors.Is(err, messages.ErrClosed), w.closedAt < 0 && errors.As(err, &refused) != bad:
		w.fail("SetMinIdle(%d) with capacity %d, closed at %v: %v", n, w.capacity, w.closedAt, err)
	}
	w.controlErr = err
}

// maxIdle is how many connections may be idle.
func (w *world) maxIdle() int {
	if w.cfg.MaxIdle > 0 {
		return w.cfg.MaxIdle
	}
	return w.capacity
}
