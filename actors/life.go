package actors

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// life is how far the life of a pool actor has come.
//
//	unborn ─ init ─► running ─ Stopped effect ─► drained ─ events delivered ─► ended
//	                    └────── stopped from outside, or panicked ───────────► tornDown
//
// An actor that is restarted gets a new pool value, which stays unborn and stops
// itself: it would begin empty while leases of the former one are out.
type life uint8

const (
	running  life = iota // until nothing is left; Close may have begun
	drained              // the machine has nothing left, events are still being delivered
	unborn               // not initialised
	ended                // stopped after it was drained
	tornDown             // stopped before
)

// runs says that the machine takes inputs.
func (l life) runs() bool { return l <= drained }

// init makes a new pool's state. It runs once for each spawn, and not for a restart.
func (p *pool) init(ctx actor.Context, spec *Spec) {
	spec.start(p.out)
	if spec.Policy.Random == nil {
		spec.Policy.Random = rand.Float64
		if spec.Seed != 0 { // each pool has its own source, which one turn at a time uses
			spec.Policy.Random = rand.New(rand.NewPCG(spec.Seed, 0)).Float64
		}
	}
	p.spec = spec
	p.ctx = ctx
	p.life = running
	p.m = machine.NewShared(&spec.Policy)
	p.lifetime, p.cancel = context.WithCancel(context.Background())
	p.connectorProps = p.propsOfConnectors()
	p.strategy = supervisor.Connectors(supervisor.Limit, supervisor.Window, p.connectorGivenUp)
	p.ref = newRef(ctx, spec)
	if m := spec.member; m != nil {
		p.ref.member, m.ref = m, p.ref
		p.share = &share{}
		p.tellsChanges = true
	}
}

// started begins the pool's life.
func (p *pool) started() {
	p.allowDirectTurns()
	p.ctx.Get(0) // the library makes what it asks for then, and not aside: see escalateAside
	if p.spec.Policy.EventLevel != machine.NoEvents {
		p.feed = feed{spare: &batch{}}
		p.spawnObserver()
	}
	p.m.Start(p.now())
	p.perform()
}

func (p *pool) spawnObserver() {
	p.feed.observer, p.feed.process = p.spawn(actor.PropsFromProducer(func() actor.Actor { return &observerActor{spec: p.spec} }))
}

// observerStopped notes that somebody else has stopped the observer. Another one takes
// its place. A batch that did not come back before was not begun.
func (p *pool) observerStopped(observer *actor.PID) {
	if !observer.Equal(p.feed.observer) {
		return
	}
	p.spawnObserver()
	if p.feed.sent != nil {
		p.feed.send(p.feed.sent)
	}
}

// deliveryBound is how long a Close waits for a slow event handler.
const deliveryBound = time.Second

// deliveryOverdue is the message of the timer for deliveryBound.
type deliveryOverdue struct{}

// end takes the last steps of a drained pool: when every event is delivered, or a
// slow handler has had its time, the actor stops, and Closes are answered. A pool
// whose connections are all closed may still have a connect under way that ignores
// its context: the actor cannot stop then, and its Closes are answered all the same.
func (p *pool) end() {
	if !p.feed.delivered(p.m) {
		if p.feed.timer == nil {
			p.feed.timer = p.send(deliveryBound, &deliveryOverdue{})
		}
		return
	}
	if p.life == drained {
		p.stopsItself = true
		p.ctx.Stop(p.ctx.Self())
		if !p.feed.overdue {
			return // answered when it has stopped
		}
	}
	p.answerCloses()
}

// tearDown is the end of the pool actor: it is drained, or is stopped from outside,
// or has panicked. All waits end, leases are revoked, and the connectors, which are
// stopped next, close the connections that are left. One that is stopped from outside while
// events are still being delivered is not waited for: its observer may hang in a handler, and
// if it is restarted, another incarnation is told that it has stopped.
func (p *pool) tearDown(panicked bool) {
	wasDrained := p.life == drained && p.stopsItself
	if wasDrained {
		p.life = ended
	} else {
		p.life = tornDown
	}
	if panicked {
		p.ref.phase.Store(refFailed)
	} else {
		p.ref.phase.Store(refClosed)
	}
	p.cancel()
	stop(p.backoffTimer)
	stop(p.tickTimer)
	stop(p.feed.timer)
	for _, h := range p.conns {
		h.revoke(h.fence.Load())
	}
	for _, b := range p.borrowers {
		p.unwatch(b)
	}
	health := p.m.Health()
	if !wasDrained {
		health.Since = p.spec.clock.wall()
	}
	health.OK, health.State, health.NextAttempt = false, messages.StateClosed, time.Time{}
	p.ref.finalHealth.Store(&health)
	p.performing = true // what is answered from here on waits for nothing
	p.deliverReplies()
	for _, c := range p.explaining {
		p.reply(c, &messages.Done{Err: p.ref.endError()})
	}
	p.explaining = nil
	p.abandonRecording()
	p.rejectAll()
	p.performing = false
	p.ref.changes.tell()
	final := p.m.Stats()
	final.State = messages.StateClosed
	p.ref.final.Store(&final)
	if p.share != nil {
		measures := p.m.Measures(p.now())
		measures.Stats = final
		p.ref.finalMeasures.Store(&measures)
	}
	if !wasDrained {
		// A connector that ignores its context may keep the actor from ever stopping:
		// nobody waits for that.
		close(p.ref.ended)
	}
}

// rejectAll ends every wait: of those in the machine's queue, and, when a turn has
// panicked, of those whose answer was decided on that turn and is not given any
// more. After a panic the machine may be in disorder, so a second one is contained.
func (p *pool) rejectAll() {
	defer func() { _ = recover() }()
	err := p.ref.denial()
	told := map[*getRequest]bool{} // a turn that has failed may have left one in two places
	reject := func(g *getRequest) {
		if !told[g] {
			told[g] = true
			p.reject(g, err)
		}
	}
	for _, e := range p.m.Effects()[p.performed:] {
		if e.Kind == machine.Grant || e.Kind == machine.Reject {
			reject(e.Waiter.Owner.(*getRequest))
		}
	}
	if p.asking != nil {
		reject(p.asking)
	}
	p.m.TearDown(func(w *machine.Waiter) { reject(w.Owner.(*getRequest)) }, func(t *machine.Ticket) {
		c := t.Owner.(*control)
		if c.isClose() {
			p.closing = append(p.closing, c)
			return
		}
		p.reply(c, &messages.Done{Err: p.ref.endError()})
	})
}

// receiveAfterEnd is all that is left to do for a pool that has ended, and for an
// incarnation that was not spawned but restarted.
func (p *pool) receiveAfterEnd(ctx actor.Context) {
	p.ctx = ctx
	message := unwrap(ctx.Message())
	if c := controlOf(message, ctx.Sender()); c != nil {
		p.controlAfterEnd(c)
		return
	}
	switch msg := message.(type) {
	case *actor.Started:
		if p.bySystem() {
			ctx.Stop(ctx.Self())
		}
	case *actor.Restarting, *actor.Terminated:
		p.nextIsBorn(ctx)
	case *actor.Stopped:
		if !p.bySystem() {
			return
		}
		if p.mailbox != nil {
			p.mailbox.stop()
		}
		p.isGone()
	case *refRequest:
		msg.ref <- p.ref
	case *getRequest: // by its own Ref: an incarnation that was not spawned has none
		msg.deny()
	case *decline:
		msg.answer <- msg.request.ref.denial()
	case *hijack:
		msg.answer <- false
	case *infoRequest:
		msg.answer <- messages.LeaseInfo{}
	case *tryAll:
		msg.answer <- nil
	case *visit:
		msg.answer <- visited{err: p.endError()}
	case *recording:
		msg.over <- p.endError()
	case *getAnother:
		msg.request.deny()
	case *control:
		if p.ref != nil {
			p.controlAfterEnd(msg)
		}
	case *cancelControl:
		p.answerEarly(msg.control)
	case *messages.Get:
		denied := error(&messages.GetError{Err: messages.ErrClosed})
		if p.ref != nil {
			denied = p.ref.denial()
		}
		p.respond(&messages.Denied{Err: denied})
	case *messages.Put, *messages.Taint:
		p.respond(&messages.Done{Err: messages.ErrLeaseEnded})
	case *messages.Release:
		if ctx.Sender() != nil {
			p.request(ctx.Sender(), &messages.Released{})
		}
	}
}

// nextIsBorn notes that this incarnation is restarted, which ends it as soon as it has no
// child left: it is the next one that is told of Stopped.
func (p *pool) nextIsBorn(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Restarting); ok && p.bySystem() {
		p.restarting = true
	}
	if p.restarting && len(ctx.Children()) == 0 {
		p.isGone()
	}
}

// isGone says that nothing of the pool is left.
func (p *pool) isGone() {
	if p.ref == nil || p.isOver {
		return
	}
	p.isOver = true
	if p.life == ended {
		close(p.ref.ended)
	}
	p.answerCloses()
	p.ref.gone.close()
}

// endError is the error of whatever is asked of a pool that has ended.
func (p *pool) endError() error {
	if p.ref == nil {
		return messages.ErrClosed
	}
	return p.ref.endError()
}
