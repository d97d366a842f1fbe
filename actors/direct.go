package actors

import (
	"context"
	"reflect"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// Direct turns.
//
// A Get that finds an idle connection, and a Put, need no message when nobody runs the
// pool actor: whoever becomes the mailbox's runner may take the turn itself. It is the
// same turn, with the same owner, the same state and the same guard against panics. Only
// the message is not made, and the library's invocation, which would carry it to the
// actor, is not called. Whatever is more than the common case becomes a message, which
// the runner then handles as it would have anyway.
//
// It is done only where nobody can notice: on the pool's own mailbox, without receiver
// middleware, context decorators and metrics of the actor library.

// allowDirectTurns lets the pool's callers take turns, if nobody can notice. It is called
// before anybody has the Ref.
func (p *pool) allowDirectTurns() {
	if p.mailbox != nil && unobserved(p.ctx) {
		p.ref.box, p.ref.pool = p.mailbox, p
		p.ref.getsDirectly = !p.ref.findsLeaks // a stack is captured for the request
	}
}

// unobserved says that nothing of the program stands between the mailbox and the actor.
// The library tells nobody, so its fields are looked at; one that is not as expected
// means no.
func unobserved(ctx actor.Context) bool {
	if c := ctx.ActorSystem().Config; c.MetricsEnabled || c.MetricsProvider != nil {
		return false
	}
	c := reflect.Indirect(reflect.ValueOf(ctx))
	if c.Kind() != reflect.Struct {
		return false
	}
	props := reflect.Indirect(c.FieldByName("props"))
	if props.Kind() != reflect.Struct {
		return false
	}
	for _, name := range []string{"receiverMiddlewareChain", "contextDecoratorChain"} {
		if f := props.FieldByName(name); f.Kind() != reflect.Func || !f.IsNil() {
			return false
		}
	}
	return true
}

// lend is the turn of a Get by the mailbox's runner. nil: it needs more than that, or the
// pool has ended.
func (p *pool) lend(label string, setting any) (conn *poolConn, epoch uint64) {
	if !p.life.runs() {
		return nil, 0
	}
	p.inTurn = true
	defer func() {
		if p.inTurn {
			p.failDirectly(recover())
			conn = nil
		}
	}()
	var now time.Duration
	if p.m.NeedsClock() || label != "" {
		now = p.now()
	}
	w := &p.plain
	if label != "" || setting != nil {
		if p.special == nil {
			p.special = new(machine.Waiter)
		}
		w = p.special
		w.Label, w.Setting = label, setting
	} else if s := p.m.TryLend(now); s != nil { // it has decided nothing else
		conn, epoch = s.Conn.(*poolConn), s.LeaseEpoch
		conn.fromIdle = true
		if p.tellsChanges { // a set counts what is idle
			p.noteChanges()
		}
		p.inTurn = false
		return conn, epoch
	}
	if s := p.m.TryGet(now, w); s != nil {
		conn, epoch = s.Conn.(*poolConn), s.LeaseEpoch
		conn.fromIdle = true
		if p.m.Decided() {
			p.perform()
		}
	}
	if w == p.special {
		w.Label, w.Setting = "", nil
	}
	if p.tellsChanges { // MinIdle may have begun a connect
		p.noteChanges()
	}
	p.inTurn = false
	return conn, epoch
}

// line goes on with the turn of a Get for which lend has found nothing: it joins the queue, or
// is decided otherwise. False: it needs a message.
func (p *pool) line(g *getRequest) (taken bool) {
	if !p.life.runs() {
		return false
	}
	taken, p.inTurn = true, true
	defer func() {
		if p.inTurn {
			p.failDirectly(recover())
			g.node.direct = false
		}
	}()
	g.node.direct = true
	p.get(g)
	g.node.direct = false
	if p.tellsChanges {
		p.noteChanges()
	}
	p.inTurn = false
	return true
}

// restore is the turn of a Put by the mailbox's runner. The waiter that the connection
// goes to is woken after the turn: that takes longer than all the rest.
func (p *pool) restore(c *poolConn) (served *getRequest) {
	if !p.life.runs() {
		return nil
	}
	p.inTurn = true
	defer func() {
		if p.inTurn {
			p.failDirectly(recover())
			served = nil
		}
	}()
	var now time.Duration
	if p.m.NeedsClockFor(c.slot) { // from here on it is stow, written out
		now = p.now()
	}
	switch {
	case c.taint:
		p.giveBack(c)
	case !p.m.TryPut(now, c.slot, c.id, c.epoch):
		p.wakesLater = true
		p.handOver(now, c)
		served, p.served = p.served, nil
		p.wakesLater = false
	case p.m.Decided():
		p.perform()
	}
	if p.tellsChanges {
		p.noteChanges()
	}
	p.inTurn = false
	return served
}

// failDirectly ends the pool whose direct turn has panicked, as guard and the mailbox do
// for a message.
func (p *pool) failDirectly(reason any) {
	p.wakesLater = false
	if g := p.served; g != nil {
		p.served = nil
		g.answer()
	}
	p.fail()
	p.mailbox.escalateAside(reason, nil)
}

// request makes the message of a Get.
func (r *Ref) request(label string, setting any, deadline time.Time, bounded bool, ended *ending, held *holdings) *getRequest {
	g := r.requests.Get().(*getRequest)
	g.waiter.Label, g.waiter.Setting = label, setting
	if bounded {
		r.setDeadline(g, deadline)
	} else {
		g.waiter.Timeout = r.getTimeout
	}
	g.ended, g.held = ended, held
	return g
}

// send gives the request of a Get to the pool actor. entered: this goroutine is the
// mailbox's runner, and is so no longer afterwards.
func (r *Ref) send(g *getRequest, entered bool) {
	if g.asked = entered; entered && r.pool.line(g) {
		r.box.exit()
	} else if entered {
		r.box.handle(&g.node)
	} else {
		r.process.SendUserMessage(r.pid, &g.node)
	}
}

// directly takes the turn of a Get, if the mailbox is free. No connection: it could not, or
// nothing is idle that can be lent at once. entered: this goroutine is still the mailbox's
// runner, and goes on by handle or exit.
func (r *Ref) directly(label string, setting any) (lent *poolConn, epoch uint64, entered bool) {
	if !r.box.enter() {
		return nil, 0, false
	}
	if lent, epoch = r.pool.lend(label, setting); lent == nil {
		return nil, 0, true
	}
	r.box.exit()
	return lent, epoch, false
}

// getOther goes on with a Get whose connection, lent by a direct turn, says that it is
// closed.
func (r *Ref) getOther(ctx context.Context, done <-chan struct{}, g *getRequest, l Lease, why error) (Lease, error) {
	g.lease = l
	g.waiter.ServedAtOnce()
	if err := r.refuseConn(ctx, done, g, why); err != nil {
		return Lease{}, err
	}
	if err := r.skipClosed(ctx, done, g); err != nil {
		return Lease{}, err
	}
	return r.finish(g)
}
