package virtual

import (
	"context"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Get is one Get, from its arrival to the end of its lease. It may be used again after
// that, with [Get.Reset].
type Get struct {
	// What its caller asks for, set before Pool.Get.

	Label   string
	Setting any // nil: a clean connection
	// Deadline is when the caller leaves, in the pool's time; 0: it has no deadline, and
	// Config.GetTimeout is in force.
	Deadline time.Duration
	// Leaves is when the caller's context is cancelled; 0: it is not.
	Leaves time.Duration
	// Borrower is the actor that asks; nil: it is no actor. An actor asks by message.
	Borrower *Borrower
	// Holding are the leases that the caller holds while it waits, for the pool to find
	// deadlocks.
	Holding []*Get
	// Owner is whatever the caller of this package keeps for it.
	Owner any

	// What becomes of it.

	// Err is why it has ended without a connection, a *messages.GetError, for example.
	Err error
	// Asked and Granted are when it came and when it was given its connection.
	Asked, Granted time.Duration
	// Conn is the number of the connection that it was given, from 1; 0: it has none.
	Conn uint64
	// Opened is when the connect of that connection had succeeded.
	Opened time.Duration
	// FromIdle says that the connection was idle. The server may have closed it meanwhile.
	FromIdle bool

	waiter  machine.Waiter
	slot    *machine.Slot
	epoch   uint64
	use     Use
	state   progress
	turn    uint64 // grows whenever an event for it may have lost its meaning
	number  uint64
	told    bool // Holding is known to the pool
	refused bool // it has refused a connection
	prev    *Get // in the guard's queue
	next    *Get
}

// progress is how far a Get has come.
type progress uint8

const (
	fresh progress = iota
	waits
	lends
	over
)

// Wait is how long it has waited for its connection.
func (g *Get) Wait() time.Duration { return g.Granted - g.Asked }

// Waits says that it has come and is not answered.
func (g *Get) Waits() bool { return g.state == waits }

// Lends says that its connection has not been returned.
func (g *Get) Lends() bool { return g.state == lends }

// Reset makes a Get that is over a new one, which asks for nothing. Owner stays.
func (g *Get) Reset() {
	*g = Get{Owner: g.Owner, turn: g.turn + 1}
}

// Use is what the caller of a Get does with its connection.
type Use struct {
	// For is how long it holds the connection; Never: until Pool.End.
	For time.Duration
	// Way is how the lease ends then.
	Way Way
}

// Way is how a lease ends.
type Way uint8

// The ways. A lease of an actor ends by ByMessage or Taint, or with the actor.
const (
	Put       Way = iota // the connection is returned
	Twice                // the same, and once more after as long again, which must change nothing
	ByMessage            // the same by message
	Taint                // it is returned, and must not be used again
	TaintDead            // the same because the network has failed
	Hijack               // its holder keeps it
	Forget               // nobody returns it; at that time the pool notices
	Decline              // the caller had left when it was granted; at once, that is with For 0
	Refuse               // the connection is closed already; the Get waits for another, also with For 0
)

// Borrower is an actor that asks for connections, and that may stop.
type Borrower struct {
	machine machine.Borrower
	number  int
	watched bool
	known   bool // to the guard
	stakes  int  // its leases and waits, as the guard counts them
}

// NewBorrower makes an actor.
func (p *Pool) NewBorrower() *Borrower {
	p.borrowers++
	b := &Borrower{number: p.borrowers}
	b.machine.Owner = b
	return b
}

// Get asks for a connection. It ends with Hooks.Granted or Hooks.Failed, now or later,
// unless Cancel ends it before.
func (p *Pool) Get(g *Get) {
	if p.inTurn {
		p.events.push(event{at: p.now, what: arrive, of: g})
		return
	}
	p.ask(g)
}

// ask asks by the ways that the shell tries, in its order.
func (p *Pool) ask(g *Get) {
	p.beginStep()
	p.gets++
	w := &g.waiter
	w.Owner, w.Label, w.Setting, w.Deadline, w.Timeout, w.Reserve = g, g.Label, g.Setting, g.Deadline, 0, 0
	g.Asked, g.number, g.state, g.told, g.refused, g.Err, g.Conn = p.now, p.gets, waits, false, false, nil, 0
	g.turn++
	p.waiting++
	ended := g.Deadline > 0 && g.Deadline <= p.now
	switch reserve := p.cfg.Policy.Reserve; {
	case ended:
	case g.Deadline > 0 && reserve > 0:
		if w.Reserve, w.Deadline = reserve, g.Deadline-reserve; w.Deadline <= 0 {
			w.Deadline = -1
		}
	case g.Deadline == 0:
		w.Timeout = p.cfg.GetTimeout
	}
	if p.trace != nil {
		p.trace.get(g, ended)
	}
	switch {
	case ended:
		p.enqueue(g)
		p.m.RejectGet(p.now, w, context.DeadlineExceeded, messages.ReasonTimeout)
	case g.Borrower != nil:
		w.Borrower = &g.Borrower.machine
		p.enqueue(g)
		p.m.Get(p.now, w)
	default:
		var now time.Duration
		if p.m.NeedsClock() || w.Label != "" || w.Reserve > 0 {
			now = p.now
		}
		var s *machine.Slot
		if w.Label == "" && w.Setting == nil && w.Reserve == 0 {
			s = p.m.TryLend(now)
			w.ServedAtOnce()
		}
		if s == nil {
			s = p.m.TryGet(now, w)
		}
		if s != nil {
			if p.trace != nil {
				p.trace.granted("TryGet", g, s)
			}
			p.grant(g, s)
			break
		}
		p.enqueue(g)
		if !p.m.TryQueue(p.now, w) {
			p.m.Get(p.now, w)
		}
	}
	if p.trace != nil {
		p.trace.waiting = g
	}
	p.endStep()
	p.wait(g)
}

// enqueue tells the guard that a Get may have to wait.
func (p *Pool) enqueue(g *Get) {
	p.seen.PeakWaiting = max(p.seen.PeakWaiting, p.waiting)
	if p.guard != nil {
		p.guard.push(g)
	}
}

// wait arms what may end the wait of a Get.
func (p *Pool) wait(g *Get) {
	if g.state != waits {
		return
	}
	if len(g.Holding) > 0 && !g.told {
		p.events.push(event{at: p.now, what: holds, n: g.turn, of: g})
	}
	if g.Leaves > 0 {
		p.events.push(event{at: max(g.Leaves, p.now), what: cancel, n: g.turn, of: g})
	}
	if d := g.waiter.Deadline; d > 0 {
		p.events.push(event{at: d, what: deadline, n: g.turn, of: g})
	}
}

// tellHolds tells the pool what the caller of a Get holds.
func (p *Pool) tellHolds(g *Get) {
	g.told = true
	var leases []machine.HeldLease
	for _, h := range g.Holding {
		if h.state == lends {
			leases = append(leases, machine.HeldLease{Slot: h.slot, ID: h.Conn, Epoch: h.epoch})
		}
	}
	if len(leases) == 0 {
		return
	}
	p.beginStep()
	if p.guard != nil {
		p.guard.holders = true
	}
	if p.trace != nil {
		p.trace.holds(g)
	}
	p.m.Holds(p.now, &g.waiter, leases)
	p.endStep()
}

// Cancel ends a Get whose caller leaves. One that does not wait is left alone.
func (p *Pool) Cancel(g *Get) {
	turn := g.turn
	p.do(func() {
		if g.turn == turn && g.state == waits {
			p.leave(g, false)
		}
	})
}

func (p *Pool) leave(g *Get, timeout bool) {
	p.beginStep()
	err, reason, word := context.Canceled, messages.ReasonCanceled, "cancel"
	if timeout {
		err, reason, word = context.DeadlineExceeded, messages.ReasonTimeout, "timeout"
	}
	if p.trace != nil {
		p.trace.say("cancel-get g%d %s", g.number, word)
	}
	p.m.CancelGet(p.now, &g.waiter, err, reason)
	p.endStep()
}

// grant gives a Get a connection.
func (p *Pool) grant(g *Get, s *machine.Slot) {
	c := connectorOf(s)
	if p.guard != nil {
		p.guard.grant(g, c)
	}
	p.waiting--
	p.out++
	p.lent.change(p.now, 1)
	p.seen.PeakLent = max(p.seen.PeakLent, p.out)
	c.holder, c.uses = g, c.uses+1
	g.slot, g.Conn, g.epoch, g.Granted, g.state = s, s.ID, s.LeaseEpoch, p.now, lends
	g.turn++
	g.use, g.Opened, g.FromIdle = Use{}, c.opened, s.Path == messages.PathIdle
	if p.cfg.Hooks.Granted != nil {
		g.use = p.cfg.Hooks.Granted(g)
	}
	if g.use.For != Never {
		p.events.push(event{at: sooner(p.now, g.use.For), what: giveBack, n: g.turn, of: g})
	}
}

// reject ends a Get without a connection.
func (p *Pool) reject(g *Get, err error) {
	if p.guard != nil {
		p.guard.reject(g, err)
	}
	p.waiting--
	p.failed(g, err)
}

func (p *Pool) failed(g *Get, err error) {
	g.Err, g.state = err, over
	g.turn++
	if p.cfg.Hooks.Failed != nil {
		p.cfg.Hooks.Failed(g)
	}
}

// End ends a lease in a way. One that is over is left alone.
func (p *Pool) End(g *Get, way Way) {
	turn := g.turn
	p.do(func() {
		if g.turn == turn && g.state == lends {
			g.use.Way = way
			p.endLease(g)
		}
	})
}

var errClosed = &fault{"connection closed"}

// fault is an error with a text and nothing else.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

// endLease ends a lease in the way that its holder has chosen.
func (p *Pool) endLease(g *Get) {
	p.beginStep()
	s, id, epoch := g.slot, g.Conn, g.epoch
	c := connectorOf(s)
	if p.trace != nil {
		p.trace.giveBack(g)
	}
	ok := true
	switch g.use.Way {
	case Put:
		p.closeLease(g)
		ok = p.put(s, id, epoch)
	case Twice:
		p.closeLease(g)
		p.events.push(event{at: sooner(p.now, g.use.For), what: again, of: &second{s, id, epoch, g.number}})
		ok = p.put(s, id, epoch)
	case ByMessage:
		p.closeLease(g)
		ok = p.m.PutUnasked(p.now, s, id, epoch)
	case Taint, TaintDead:
		p.closeLease(g)
		ok = p.m.Taint(p.now, s, id, epoch, errBroken, g.use.Way == TaintDead)
	case Hijack:
		p.closeLease(g)
		if ok = p.m.Hijack(p.now, s, id, epoch); ok {
			before := c.counts()
			c.gone()
			p.recount(c, before)
		}
	case Forget: // it is revoked
		ok = p.m.LeaseLost(p.now, s, id, epoch)
	case Decline:
		c.uses--
		p.closeLease(g)
		g.Err = p.m.Decline(p.now, &g.waiter, s, id, epoch, context.Canceled, messages.ReasonCanceled)
		if p.trace != nil {
			p.trace.first = "g" + number(g.number) + ": " + inShort(g.Err)
		}
	case Refuse:
		p.refuse(g)
		p.endStep()
		p.wait(g)
		return
	}
	if !ok {
		p.fail("the lease of g%d is out, and cannot be ended", g.number)
	}
	if p.trace != nil {
		p.trace.conn = c
	}
	p.endStep()
	if g.use.Way != Forget {
		p.returned(g, false)
	}
}

// second is a second return of a lease.
type second struct {
	slot              *machine.Slot
	id, epoch, number uint64
}

// returnAgain returns a lease that has ended.
func (p *Pool) returnAgain(s *second) {
	p.beginStep()
	if p.trace != nil {
		p.trace.say("put g%d", s.number)
		p.trace.first = "the lease has ended"
	}
	if p.put(s.slot, s.id, s.epoch) || p.m.Decided() {
		p.fail("the lease %d of c%d has ended, and is returned once more", s.epoch, s.id)
	}
	p.endStep()
}

var errBroken = &fault{"broken"}

// put returns a connection by the ways that the shell tries, in its order.
func (p *Pool) put(s *machine.Slot, id, epoch uint64) bool {
	var now time.Duration
	if p.m.NeedsClockFor(s) {
		now = p.now
	}
	if p.m.TryPut(now, s, id, epoch) {
		if p.trace != nil {
			p.trace.first = "TryPut c" + number(id)
		}
		return true
	}
	if w := p.m.TryHandOff(p.now, s, id, epoch); w != nil {
		g := w.Owner.(*Get)
		if p.trace != nil {
			p.trace.granted("Grant", g, s)
		}
		p.grant(g, s)
		p.m.Answered()
		return true
	}
	return p.m.Put(p.now, s, id, epoch)
}

// closeLease notes that a lease is over, before the machine is told.
func (p *Pool) closeLease(g *Get) {
	c := connectorOf(g.slot)
	c.holder = nil
	p.out--
	p.lent.change(p.now, -1)
	g.state = over
	g.turn++
	if p.guard != nil {
		p.guard.stake(g, -1)
	}
}

func (p *Pool) returned(g *Get, revoked bool) {
	if p.cfg.Hooks.Returned == nil {
		return
	}
	p.cfg.Hooks.Returned(g, revoked)
}

// refuse refuses the connection of a Get, which goes on.
func (p *Pool) refuse(g *Get) {
	s, id, epoch := g.slot, g.Conn, g.epoch
	p.closeLease(g)
	p.waiting++
	g.state, g.Conn, g.told = waits, 0, false
	if p.guard != nil {
		p.guard.pushFirst(g)
		p.guard.stake(g, 1)
	}
	p.m.GetAnother(p.now, s, id, epoch, &g.waiter, errClosed)
}

// revoke ends a lease that the pool takes back.
func (p *Pool) revoke(c *connector, epoch uint64) {
	g := c.holder
	if g == nil || g.epoch != epoch || g.Conn != c.id {
		p.fail("the lease %d of c%d is revoked, and is not out", epoch, c.id)
		return
	}
	p.closeLease(g)
	p.returned(g, true)
}

// Gone stops an actor: its leases end, and its waits.
func (p *Pool) Gone(b *Borrower) {
	p.do(func() {
		if !b.watched {
			return // the pool is not told
		}
		p.beginStep()
		if p.trace != nil {
			p.trace.say("borrower-gone b%d", b.number)
		}
		p.m.BorrowerGone(p.now, &b.machine, messages.ErrBorrowerGone)
		p.endStep()
		if p.guard != nil && b.stakes > 0 {
			p.fail("b%d is gone, and has %d leases and waits left", b.number, b.stakes)
		}
	})
}
