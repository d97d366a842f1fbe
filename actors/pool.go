package actors

import (
	"context"
	random "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Props makes the props of a pool actor. The options come after the pool's own, and
// may give another mailbox and dispatcher: the pool does not depend on its own
// mailbox, it is only faster with it.
func Props(spec Spec, opts ...actor.PropsOption) *actor.Props {
	return propsOf(func() *Spec { own := spec; return &own }, opts...) // they may be spawned more than once
}

// propsOf makes the props of pools, each of which owns a Spec.
func propsOf(spec func() *Spec, opts ...actor.PropsOption) *actor.Props {
	own := []actor.PropsOption{
		actor.WithMailbox(NewMailbox),
		actor.WithOnInit(func(ctx actor.Context) {
			if p, ok := ctx.Actor().(*pool); ok {
				p.init(ctx, spec())
			}
		}),
	}
	return actor.PropsFromProducer(func() actor.Actor { return &pool{life: unborn, out: &outbox{}} }, append(own, opts...)...)
}

// pool is the actor that owns all state. Its turn is short: it asks the machine and
// performs what the machine has decided. It is not restarted: only the incarnation
// that was spawned is initialised, and another stops itself.
//
// What a direct Get and Put touch comes first, as in Ref.
type pool struct {
	m            *machine.Machine
	life         life
	inTurn       bool        // a turn is under way
	tellsChanges bool        // somebody has asked for Ref.Changed, or the pool belongs to a set
	wakesLater   bool        // the first waiter that is served is woken after the turn
	served       *getRequest // that waiter
	ref          *Ref

	spec     *Spec
	ctx      actor.Context
	strategy actor.SupervisorStrategy

	restarting bool // this incarnation is being replaced
	isOver     bool // nothing of the pool is left

	stopsItself bool // it was drained, and all events were delivered, or had their time

	// The waiters of direct turns: one that asks for nothing special, and one that does;
	// nil: none has done so yet.
	plain      machine.Waiter
	special    *machine.Waiter
	performing bool        // the machine's effects are being performed
	performed  int         // how many of them have been, on this turn
	replies    []reply     // the answers that follow them
	asking     *getRequest // the Get that this turn decides and has not answered
	mailbox    *mailbox    // its own; nil: it runs on another
	out        *outbox     // what leaves for others

	lifetime context.Context // of all jobs; Close cancels it
	cancel   context.CancelFunc

	connectorProps *actor.Props
	spawned        *held // the hand of the connector that is being spawned

	conns     map[uint64]*poolConn // every connection, by id
	borrowers map[string]*borrower // those that are watched, by the id of their PID
	epochs    *random.ChaCha8      // of LeaseIDs; nil: none has been given out

	backoffTimer, tickTimer *time.Timer
	tickEpoch               atomic.Uint64 // that of the tick that tickTimer sends

	counts counts
	share  *share // of the units of a set; nil: the pool stands alone

	feed    feed
	closing []*control // Closes that are answered once all events are delivered

	explaining []*control // ExplainRequests that take more than one turn
	recording  *recording // that is under way; nil: there is none
}

// Receive implements actor.Actor.
func (p *pool) Receive(ctx actor.Context) {
	if !p.life.runs() {
		p.receiveAfterEnd(ctx)
		return
	}
	p.inTurn = true
	defer p.guard()
	switch msg := ctx.Message().(type) {
	case *getRequest:
		p.get(msg)
	case *poolConn:
		p.giveBack(msg)
	case *actor.Started:
		if p.bySystem() {
			p.started()
		}
	case *actor.Stopping, *actor.Restarting:
		if p.bySystem() {
			p.tearDown(false)
			p.nextIsBorn(ctx)
		}
	default:
		p.receiveRest(msg)
	}
	if p.tellsChanges {
		p.noteChanges()
	}
	p.inTurn = false
}

// guard ends the pool at once if its turn has panicked, whatever its supervisor will
// decide. Asking inTurn first is cheaper than asking recover.
func (p *pool) guard() {
	if !p.inTurn {
		return
	}
	reason := recover()
	p.fail()
	panic(reason)
}

// fail ends the pool whose turn has panicked.
func (p *pool) fail() {
	p.inTurn = false
	if p.mailbox != nil {
		p.mailbox.failed = true // whoever still asks is answered
	}
	p.tearDown(true)
	p.ctx.Stop(p.ctx.Self())
}

// bySystem says that the message in hand is the actor system's, and not one that
// somebody has sent. On a mailbox that is not its own the pool cannot tell.
func (p *pool) bySystem() bool { return p.mailbox == nil || p.mailbox.inSystem }

// get is the hot path of a Get: an idle connection is lent if nothing has to be
// decided.
func (p *pool) get(g *getRequest) {
	p.asking = g
	if g.ended == nil && !g.asked {
		var now time.Duration
		if p.m.NeedsClock() || g.waiter.Label != "" || g.waiter.Reserve > 0 {
			now = p.now()
		}
		if s := p.m.TryGet(now, &g.waiter); s != nil {
			p.grant(g, s)
			if p.m.Decided() {
				p.perform()
			}
			return
		}
		if g.try {
			p.asking = nil
			g.err = errNothingIdle
			g.answer()
			return
		}
	}
	now := p.now()
	p.collect(now) // before a caller waits for a connection that nobody holds any more
	switch {
	case g.ended != nil:
		p.m.RejectGet(now, &g.waiter, g.ended.err, g.ended.reason)
	case p.m.TryQueue(now, &g.waiter):
	default:
		p.m.Get(now, &g.waiter)
	}
	if g.node.direct && p.m.Waits(&g.waiter) {
		g.handover.way = queued
	}
	if p.m.Decided() {
		p.perform()
	}
	p.asking = nil // it is answered, or in the machine's hands
}

// giveBack is the hot path of a Put: the connection becomes idle, or goes to the
// first waiter, if nothing has to be decided.
func (p *pool) giveBack(c *poolConn) {
	if c.taint {
		c.taint = false
		p.m.Taint(p.now(), c.slot, c.id, c.epoch, c.cause, c.dead)
		p.perform()
		return
	}
	if now, stowed := p.stow(c); !stowed {
		p.handOver(now, c)
	}
}

// stow makes a connection that is returned idle, if nothing has to be decided. It gives
// the time if it has read the clock.
func (p *pool) stow(c *poolConn) (now time.Duration, stowed bool) {
	if p.m.NeedsClockFor(c.slot) {
		now = p.now()
	}
	if !p.m.TryPut(now, c.slot, c.id, c.epoch) {
		return now, false
	}
	if p.m.Decided() {
		p.perform()
	}
	return now, true
}

// handOver gives a connection that is returned to the first waiter, or has the machine
// decide. The clock is read once for each return (M4).
func (p *pool) handOver(now time.Duration, c *poolConn) {
	if now == 0 {
		now = p.now()
	}
	if p.share != nil && p.yields(now, c) {
		p.m.Put(now, c.slot, c.id, c.epoch) // closes the connection
	} else if w := p.m.TryHandOff(now, c.slot, c.id, c.epoch); w != nil {
		p.grant(w.Owner.(*getRequest), c.slot)
		p.m.Answered()
	} else {
		p.m.Put(now, c.slot, c.id, c.epoch)
	}
	if p.m.Decided() {
		p.perform()
	}
}

// receiveRest handles everything but the hot path.
func (p *pool) receiveRest(message any) {
	now := p.now()
	p.collect(now)
	switch msg := unwrap(message).(type) {
	case *getRequest:
		p.get(msg)
		return
	case *poolConn:
		p.giveBack(msg)
		return
	case *cancelGet:
		if p.m.Waits(&msg.request.waiter) {
			msg.handled = true // otherwise the caller may be reading it already
		}
		p.m.CancelGet(now, &msg.request.waiter, msg.why.err, msg.why.reason)
	case *decline:
		c, epoch := msg.lease.lent, msg.lease.epoch
		c.revoke(epoch) // false: the pool has ended the lease, and the machine knows
		msg.answer <- p.m.Decline(now, &msg.request.waiter, c.slot, c.id, epoch, msg.why.err, msg.why.reason)
	case *getAnother:
		p.asking = msg.request
		p.m.GetAnother(now, msg.conn.slot, msg.conn.id, msg.epoch, &msg.request.waiter, msg.cause)
	case *job:
		p.report(now, msg)
	case *control:
		p.control(now, msg)
	case *cancelControl:
		p.m.CancelControl(now, &msg.control.ticket, msg.err)
		p.answerEarly(msg.control)
	case *messages.BackoffElapsed:
		if msg != nil { // these two can come from outside
			p.m.BackoffElapsed(now, msg.Epoch)
		}
	case *messages.Tick:
		if msg != nil {
			p.m.Tick(now, msg.Epoch)
		}
	case *batch:
		p.feed.returned(msg)
	case *connectorStopped:
		p.connectorStopped(now, msg.held)
	case *observerStopped:
		p.observerStopped(msg.observer)
	case *deliveryOverdue:
		p.feed.overdue = true
	case *refRequest:
		msg.ref <- p.ref
		return
	case *hijack:
		msg.answer <- p.keep(now, msg.lease)
	case *infoRequest:
		c := msg.lease.lent
		info, _ := p.m.LeaseInfo(now, c.slot, c.id, msg.lease.epoch)
		msg.answer <- info
	case *tryAll:
		msg.answer <- p.lendIdle(now, msg)
	case *visit:
		if !msg.begun {
			msg.begun = true
			p.m.BeginVisit(now, &msg.machine, labelOfVisits)
		}
		p.m.NextVisit(now, &msg.machine)
	case *endVisit:
		p.m.EndVisit(now, &msg.visit.machine)
	case *goOnExplaining:
		p.explain(now, msg.control)
	case *recording:
		p.record(now, msg)
	case *endRecording:
		p.m.EndRecording(now, &msg.recording.machine)
	case *watchChanges:
		p.noteChanges()
	case *units:
		p.unitsCame(now, msg)
	case *lookAround: // the end of the turn does
	case *retirePool:
		p.retire(now, msg)
	case *holdsLeases:
		p.m.Holds(now, &msg.request.waiter, msg.leases)
	case *actor.Terminated:
		if p.bySystem() {
			p.gone(now, msg.GetWho(), true)
		}
	case *undelivered:
		p.takeBack(now, msg)
	default:
		p.receiveRequest(now, message)
	}
	p.perform()
	p.asking = nil
}

// collect ends the leases that were forgotten.
func (p *pool) collect(now time.Duration) {
	for f := p.ref.forgotten.take(); f != nil; f = f.next {
		p.m.LeaseLost(now, f.conn.slot, f.conn.id, f.epoch)
	}
}

// perform carries out what the machine has decided, then passes its events on.
func (p *pool) perform() {
	effects := p.m.Effects()
	p.performing = true
	for p.performed = 0; p.performed < len(effects); p.performed++ {
		p.do(&effects[p.performed])
	}
	p.performed = 0
	if len(p.replies) > 0 {
		p.deliverReplies()
	}
	if p.feed.observer != nil {
		if b := p.feed.next(p.m); b != nil {
			p.feed.send(b)
		}
	}
	p.m.Done()
	if p.life == drained || len(p.closing) > 0 {
		p.end()
	}
	p.performing = false
}

func (p *pool) do(e *machine.Effect) {
	switch e.Kind {
	case machine.Grant:
		p.grant(e.Waiter.Owner.(*getRequest), e.Slot)
	case machine.Reject:
		p.reject(e.Waiter.Owner.(*getRequest), e.Err)
	case machine.Open, machine.Check, machine.Reset, machine.Apply, machine.Unapply, machine.Disconnect:
		p.start(e.Kind, e.Slot)
	case machine.Interrupt:
		if c, ok := e.Slot.Shell.(*connector); ok && c.job != nil && c.job.kind != machine.Disconnect {
			c.job.context.end()
		}
	case machine.Revoke:
		e.Slot.Conn.(*poolConn).revoke(e.Epoch)
	case machine.Watch:
		p.watch(e.Borrower.Owner.(*borrower))
	case machine.Unwatch:
		p.unwatch(e.Borrower.Owner.(*borrower))
	case machine.Retire:
		if c, ok := e.Slot.Shell.(*connector); ok && c.pid != nil {
			c.process.Stop(c.pid)
			c.pid, c.process = nil, nil
		}
	case machine.Answer:
		p.answer(e.Ticket.Owner.(*control), e.Err)
	case machine.ArmBackoff:
		stop(p.backoffTimer)
		p.backoffTimer = p.sendAt(e.At, &messages.BackoffElapsed{Epoch: e.Epoch, Generation: e.Generation, Attempt: e.Attempt})
	case machine.DisarmBackoff:
		stop(p.backoffTimer)
	case machine.ArmTick:
		p.armTick(e)
	case machine.DisarmTick:
		stop(p.tickTimer)
	case machine.Visited:
		p.visited(e)
	case machine.Recorded:
		p.recorded()
	case machine.CancelLifetime:
		p.ref.phase.Store(refClosed)
		p.cancel()
	case machine.Stopped:
		p.life = drained
	}
}

// grant gives a connection to the caller that has asked for it.
func (p *pool) grant(g *getRequest, s *machine.Slot) {
	conn := s.Conn.(*poolConn)
	if p.asking == g {
		p.asking = nil
	}
	if g.sender == nil {
		conn.fromIdle = s.Path == messages.PathIdle
		g.lease = Lease{lent: conn, epoch: s.LeaseEpoch}
		if p.wakesLater && p.served == nil {
			p.served = g
			return
		}
		g.answer()
		return
	}
	stop(g.timer)
	conn.asked = false
	p.lease(g.sender, &messages.Lease{ID: p.newID(conn, s.LeaseEpoch), Conn: conn.conn, Setting: s.Setting()},
		&undelivered{conn: conn, epoch: s.LeaseEpoch})
}

// reject ends a Get with an error.
func (p *pool) reject(g *getRequest, err error) {
	if p.asking == g {
		p.asking = nil
	}
	if g.sender == nil {
		g.err = err
		g.answer()
		return
	}
	stop(g.timer)
	if b := g.waiter.Borrower; b == nil || !b.Owner.(*borrower).wantsNoAnswer(g.sender) {
		p.deny(g.sender, err)
	}
}

// now is the machine's time.
func (p *pool) now() time.Duration { return p.spec.clock.now() }

// sendAt sends this actor a message at a time of the machine. The time may be long
// past, even before the start: the difference must not wrap.
func (p *pool) sendAt(at time.Duration, message any) *time.Timer {
	now := p.now()
	return p.send(max(at, now)-now, message)
}

// send sends this actor a message after a while.
func (p *pool) send(d time.Duration, message any) *time.Timer {
	process, self := p.ref.process, p.ref.pid
	return after(d, func() { process.SendUserMessage(self, message) })
}

// armTick arms the housekeeping timer, which is one for all ticks: it is armed anew with
// most jobs. If the last tick is being sent just now, it has the new epoch, and comes
// early: then nothing is due, and the machine arms it again.
func (p *pool) armTick(e *machine.Effect) {
	p.tickEpoch.Store(e.Epoch)
	now := p.now()
	wait := max(e.At, now) - now
	if p.tickTimer != nil {
		p.tickTimer.Stop()
		p.tickTimer.Reset(wait)
		return
	}
	process, self := p.ref.process, p.ref.pid
	p.tickTimer = after(wait, func() { process.SendUserMessage(self, &messages.Tick{Epoch: p.tickEpoch.Load()}) })
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}
