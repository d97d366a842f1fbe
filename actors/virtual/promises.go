package virtual

import (
	"fmt"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// guard checks what a pool promises to those who see it from outside. It keeps books of
// its own, and reads no list of the machine.
type guard struct {
	p *Pool

	head, tail *Get // those that wait, in order of arrival
	n          int
	actors     []*Borrower

	nextCheck         int  // the step after which everything is checked
	holders           bool // a caller that waits has said what it holds
	suspended, paused bool
	probing           bool // the period of a backoff is over, and no connect has been made since
	backoffEpoch      uint64
	tickEpoch         uint64
}

// checksAll is how many Gets and connections a check may walk over for each step, so that
// a long queue does not make a run slow.
const checksAll = 32

func newGuard(p *Pool) *guard {
	return &guard{p: p, paused: p.cfg.Policy.PauseOnClear}
}

// The queue.

func (w *guard) push(g *Get) {
	g.prev, g.next = w.tail, nil
	if w.tail != nil {
		w.tail.next = g
	} else {
		w.head = g
	}
	w.tail = g
	w.n++
	w.stake(g, 1)
}

func (w *guard) pushFirst(g *Get) {
	g.prev, g.next = nil, w.head
	if w.head != nil {
		w.head.prev = g
	} else {
		w.tail = g
	}
	w.head = g
	w.n++
	g.refused = true
}

func (w *guard) remove(g *Get) {
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		w.head = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		w.tail = g.prev
	}
	g.prev, g.next = nil, nil
	w.n--
}

// queued says that a Get is in the queue. One that TryGet serves is not.
func (w *guard) queued(g *Get) bool { return g.prev != nil || w.head == g }

// stake notes that an actor has one more at stake, or one less.
func (w *guard) stake(g *Get, by int) {
	b := g.Borrower
	if b == nil {
		return
	}
	if b.stakes == 0 && !b.known {
		b.known = true
		w.actors = append(w.actors, b)
	}
	b.stakes += by
}

// What the pool does.

func (w *guard) cleared() {
	if w.p.cfg.Policy.PauseOnClear {
		w.paused = true
	}
	w.probing = false
}

// serves says that the pool may lend.
func (w *guard) serves() bool { return !w.p.closed && !w.suspended && !w.paused }

// state says why the pool does not lend.
func (w *guard) state() string {
	return fmt.Sprintf("closed %v, suspended %v, paused %v", w.p.closed, w.suspended, w.paused)
}

// grant checks that a Get may be given a connection.
func (w *guard) grant(g *Get, c *connector) {
	p, cfg := w.p, &w.p.cfg.Policy
	switch {
	case g.state != waits:
		p.fail("g%d is granted c%d, and does not wait", g.number, c.id)
	case !c.stands || c.running != 0 || c.id != c.slot.ID:
		p.fail("g%d is granted c%d, which cannot be lent: it is open %v, its job is %v", g.number, c.id, c.stands, c.running)
	case c.holder != nil:
		p.fail("g%d is granted c%d, which g%d holds", g.number, c.id, c.holder.number)
	case c.stale:
		p.fail("g%d is granted c%d, which is older than the last Clear", g.number, c.id)
	case c.setting != g.Setting:
		p.fail("g%d asks for %v and is granted c%d, which has %v", g.number, g.Setting, c.id, c.setting)
	case !w.serves():
		p.fail("g%d is granted c%d: %s", g.number, c.id, w.state())
	case g.waiter.Deadline > 0 && g.waiter.Deadline <= p.now && g.Asked < p.now && !g.refused:
		p.fail("g%d is granted c%d at %v, and its deadline was %v", g.number, c.id, p.now, g.waiter.Deadline)
	case cfg.MaxLifetime > 0 && sooner(c.opened, cfg.MaxLifetime) <= p.now:
		p.fail("g%d is granted c%d, which is open since %v", g.number, c.id, c.opened)
	case cfg.MaxUses > 0 && c.uses >= cfg.MaxUses:
		p.fail("g%d is granted c%d, which has been lent %d times", g.number, c.id, c.uses)
	case p.surplus() > 0:
		p.fail("g%d is granted c%d, and %d connections are too many for a capacity of %d", g.number, c.id, p.surplus(), p.room.n)
	}
	if !w.queued(g) {
		if w.n > 0 {
			p.fail("g%d is granted c%d without a wait, while %d wait", g.number, c.id, w.n)
		}
		return
	}
	// A connection whose setting was changed for a Get is for that one. A Get that has waited
	// for a check in vain takes no other that would be checked.
	if !cfg.Check && !c.changed {
		for o := g.prev; o != nil; o = o.prev {
			if o.Setting == g.Setting && !w.changing(o) && (o.waiter.Deadline == 0 || o.waiter.Deadline > p.now) {
				p.fail("g%d is granted c%d before g%d, which came earlier", g.number, c.id, o.number)
				break
			}
		}
	}
	c.changed = false
	w.remove(g)
}

// changing says that the setting of another connection is being changed for a Get.
func (w *guard) changing(g *Get) bool {
	s := w.p.m.JobFor(&g.waiter)
	if s == nil {
		return false
	}
	running := connectorOf(s).running
	return running == machine.Apply || running == machine.Unapply
}

// reject checks that a Get may end without a connection.
func (w *guard) reject(g *Get, err error) {
	if g.state != waits || !w.queued(g) || err == nil {
		w.p.fail("g%d ends with %v, and does not wait", g.number, err)
		return
	}
	w.remove(g)
	w.stake(g, -1)
}

// connecting is how many connects are under way.
func (w *guard) connecting() int {
	n := 0
	for _, c := range w.p.connectors {
		if c.running == machine.Open && c.counts() {
			n++
		}
	}
	return n
}

// effect checks something that the pool wants done.
func (w *guard) effect(e *machine.Effect) {
	p := w.p
	if p.stopped && e.Kind != machine.Reject && e.Kind != machine.Answer {
		p.fail("%v after the end", e.Kind)
	}
	switch e.Kind {
	case machine.Open:
		c, used := e.Slot.Shell.(*connector)
		limit := p.cfg.Policy.MaxConnecting
		if w.probing {
			limit = 1
		}
		switch {
		case used && (c.stands || c.running != 0):
			p.fail("a connect begins in the place of c%d, which is in use", c.id)
		case !w.serves():
			p.fail("a connect begins: %s", w.state())
		case p.timers.backoff != 0:
			p.fail("a connect begins in a blocking period")
		case p.count() >= p.room.n:
			p.fail("a connect begins, and there are %d connections for a capacity of %d", p.count(), p.room.n)
		case limit > 0 && w.connecting() >= limit:
			p.fail("a connect begins beside %d others, and there may be %d", w.connecting(), limit)
		}
	case machine.Check, machine.Reset, machine.Apply, machine.Unapply, machine.Disconnect:
		c, used := e.Slot.Shell.(*connector)
		switch {
		case !used || !c.stands:
			p.fail("%v of a connection that is not open", e.Kind)
		case c.running != 0:
			p.fail("%v of c%d during its %v", e.Kind, c.id, c.running)
		case c.holder != nil:
			p.fail("%v of c%d, which g%d holds", e.Kind, c.id, c.holder.number)
		case e.Kind != machine.Disconnect && p.closed:
			p.fail("%v of c%d after Close", e.Kind, c.id)
		}
	case machine.ArmBackoff:
		if p.timers.backoff != 0 || e.Epoch <= w.backoffEpoch || e.At < p.now || p.closed {
			p.fail("a period until %v, of epoch %d after %d", e.At, e.Epoch, w.backoffEpoch)
		}
		w.backoffEpoch, w.probing = e.Epoch, false
	case machine.ArmTick:
		if e.Epoch <= w.tickEpoch {
			p.fail("a tick of epoch %d after %d", e.Epoch, w.tickEpoch)
		}
		w.tickEpoch = e.Epoch
	case machine.Watch, machine.Unwatch:
		if b := e.Borrower.Owner.(*Borrower); b.watched == (e.Kind == machine.Watch) {
			p.fail("%v b%d, which is watched: %v", e.Kind, b.number, b.watched)
		}
	case machine.Stopped:
		for _, c := range p.connectors {
			if c.stands || c.running != 0 {
				p.fail("the pool has stopped, and c%d is left", c.id)
			}
		}
		if !p.closed || p.timers.tick != 0 || p.timers.backoff != 0 {
			p.fail("the pool has stopped: closed %v, timers %v", p.closed, p.timers)
		}
	}
}

// answered checks the answer of a control.
func (w *guard) answered(c *Control) {
	if c.close && c.Err == nil && w.n > 0 {
		w.p.fail("Close is answered before the %d that wait", w.n)
	}
}

// stepped checks the state after a step.
func (w *guard) stepped() {
	p := w.p
	if p.steps < w.nextCheck || p.err != nil {
		return
	}
	w.nextCheck = p.steps + max(p.cfg.CheckEvery, (w.n+len(p.connectors))/checksAll)
	if err := p.m.CheckInvariants(); err != nil {
		p.fail("the machine: %v", err)
		return
	}
	idle, busy, resting := 0, 0, true
	for _, c := range p.connectors {
		switch {
		case c.idle():
			idle++
		case c.running != 0:
			resting = false
			if c.counts() && c.due != Never {
				busy++
			}
		}
		if c.stands && c.running == 0 && c.slot.Setting() != c.setting {
			p.fail("c%d has %v, and the pool believes %v", c.id, c.setting, c.slot.Setting())
		}
	}
	st := p.m.Stats()
	attempt, next := p.m.NextAttempt()
	switch {
	case st.Waiting != w.n || st.Waiting != p.waiting:
		p.fail("%d wait, and the pool says %d", w.n, st.Waiting)
	case st.Borrowed != p.out || st.Idle != idle:
		p.fail("%d connections are lent and %d idle, and the pool says %d and %d", p.out, idle, st.Borrowed, st.Idle)
	case p.open != p.count():
		p.fail("%d connections count against the capacity, and %d were counted", p.count(), p.open)
	case st.Capacity != p.room.n:
		p.fail("the capacity is %d, and the pool says %d", p.room.n, st.Capacity)
	case st.Gets != p.gets:
		p.fail("%d Gets have come, and the pool says %d", p.gets, st.Gets)
	case st.Grants != uint64(st.Borrowed)+st.Puts+st.Taints+st.Revoked+st.Hijacks:
		p.fail("a grant is lost, or counted twice: %+v", st)
	case busy > 0 && p.timers.tick == 0:
		p.fail("%d jobs are under way, and nothing will notice if they are overdue", busy)
	case attempt > 0 && !next.IsZero() && p.timers.backoff == 0:
		p.fail("connects are blocked until %v, and nothing will end that", next)
	case w.n > 0 && w.serves() && p.out == 0 && resting && p.timers.backoff == 0 && p.room.n > 0:
		p.fail("%d wait, g%d first, and there is nothing to wait for", w.n, w.head.number)
	}
	if w.n > 0 && w.serves() && w.holders && w.heldByWaiters() == p.out && p.out > 0 && p.count() == p.out && p.out >= p.room.n {
		p.fail("every connection is held by a caller that waits for another")
	}
	for _, b := range w.actors {
		if b.watched != (b.stakes > 0) {
			p.fail("b%d has %d leases and waits, and is watched: %v", b.number, b.stakes, b.watched)
		}
	}
}

// heldByWaiters is how many connections are held by callers of Gets that wait, of those
// that the pool knows of.
func (w *guard) heldByWaiters() int {
	n := 0
	for g := w.head; g != nil; g = g.next {
		for _, h := range g.Holding {
			if g.told && h.state == lends {
				n++
			}
		}
	}
	return n
}

// CheckEnd checks that nothing is left of a pool that is closed and has no events.
func (p *Pool) CheckEnd() error {
	switch {
	case p.err != nil:
	case !p.closed || !p.stopped:
		p.fail("at the end the pool is closed: %v, and has stopped: %v", p.closed, p.stopped)
	case p.waiting > 0 || p.out > 0:
		p.fail("at the end %d wait and %d connections are lent", p.waiting, p.out)
	case p.timers.backoff != 0 || p.timers.tick != 0:
		p.fail("at the end a timer is armed")
	}
	return p.err
}
