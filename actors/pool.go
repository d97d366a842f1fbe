package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// Props makes a pool actor. Whoever spawns it himself can give further options,
// among them another mailbox and dispatcher: the pool does not depend on its
// own, it is only faster with it.
func Props(spec Spec, opts ...actor.PropsOption) *actor.Props {
	own := []actor.PropsOption{
		actor.WithMailbox(NewMailbox),
		actor.WithOnInit(func(ctx actor.Context) {
			if p, ok := ctx.Actor().(*pool); ok {
				p.init(ctx, spec)
			}
		}),
	}
	return actor.PropsFromProducer(func() actor.Actor { return &pool{over: true} }, append(own, opts...)...)
}

// pool is the actor that owns all state. Its turn is short: it asks the machine
// and performs what the machine has decided. It is not restarted: only the
// incarnation that was spawned is initialised, and another stops itself.
type pool struct {
	spec      *Spec
	m         *machine.Machine
	ref       *Ref
	ctx       actor.Context
	stepping  bool // a turn is under way
	performed int  // how many of the machine's effects have been
	over      bool // aborted, or not the incarnation that was spawned
	strategy  actor.SupervisorStrategy

	lifetime context.Context
	cancel   context.CancelFunc

	handles   map[uint64]*Handle   // every connection, by id
	borrowers map[string]*borrower // those that are watched, by the id of their PID

	backoffTimer, tickTimer *time.Timer

	feed       feed
	closing    []*control // Closes that are answered once all events are out
	flushTimer *time.Timer
	flushed    bool // no more waiting for events
	finished   bool // the machine has nothing left
}

// flushBound is how long a Close waits for a slow event handler.
const flushBound = time.Second

// flushElapsed is the message of the timer for flushBound.
type flushElapsed struct{}

// init makes a new pool's state. It runs once for each spawn, and not for a
// restart.
func (p *pool) init(ctx actor.Context, spec Spec) {
	spec.start()
	if spec.Policy.Random == nil {
		spec.Policy.Random = rand.Float64
	}
	p.spec = &spec
	p.ctx = ctx
	p.over = false
	p.m = machine.New(spec.Policy)
	p.lifetime, p.cancel = context.WithCancel(context.Background())
	p.handles = make(map[uint64]*Handle)
	p.borrowers = make(map[string]*borrower)
	p.strategy = supervisor.Connectors(supervisor.Limit, supervisor.Window, p.connectorGivenUp)
	p.ref = &Ref{
		system:     ctx.ActorSystem(),
		pid:        ctx.Self(),
		name:       spec.Policy.Name,
		connType:   spec.ConnType,
		broken:     spec.Broken,
		applies:    spec.Apply != nil,
		isClosed:   spec.IsClosed,
		clock:      spec.clock,
		getTimeout: spec.GetTimeout,
		watchful:   spec.Policy.LeakAfter > 0,
		regions:    spec.regions,
		ended:      make(chan struct{}),
	}
	p.ref.process, _ = p.ref.system.ProcessRegistry.Get(p.ref.pid)
	p.ref.calls.New = func() any { return newCall() }
}

// Receive implements actor.Actor.
func (p *pool) Receive(ctx actor.Context) {
	if p.over {
		p.refuse(ctx)
		return
	}
	p.stepping = true
	defer p.guard()
	switch msg := ctx.Message().(type) {
	case *Call:
		p.get(msg)
	case *Handle:
		p.giveBack(msg)
	case *actor.Started:
		p.started()
	case *actor.Stopping, *actor.Restarting:
		p.abort(false)
	default:
		p.receive(msg)
	}
	p.stepping = false
}

// guard ends the pool at once if its turn has panicked, whatever the supervisor
// will think of it. Asking stepping first is cheaper than asking recover.
func (p *pool) guard() {
	if !p.stepping {
		return
	}
	reason := recover()
	p.stepping = false
	p.abort(true)
	p.ctx.Stop(p.ctx.Self())
	panic(reason)
}

// refuse is all that is left to do for a pool that is over, and for an
// incarnation that was not spawned but restarted.
func (p *pool) refuse(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		ctx.Stop(ctx.Self())
	case *actor.Stopped:
		p.stopped()
	case *hello:
		msg.ref <- p.ref
	case *Call:
		if p.ref != nil {
			p.reject(msg, p.ref.endError())
		}
	case *control:
		p.refuseControl(msg)
	case *giveUp:
		p.drained(msg.control)
	case *messages.Get:
		respond(ctx, &messages.Denied{Err: messages.ErrClosed})
	case *messages.Put, *messages.Taint:
		respond(ctx, &messages.Done{Err: messages.ErrLeaseEnded})
	case *messages.SetCapacity, *messages.Clear, *messages.Suspend, *messages.Resume, *messages.ExplainRequest:
		respond(ctx, &messages.Done{Err: messages.ErrClosed})
	case *messages.Close:
		respond(ctx, &messages.Done{})
	case *messages.Release:
		if ctx.Sender() != nil {
			ctx.Request(ctx.Sender(), &messages.Released{})
		}
	case *messages.StatsRequest:
		if p.ref != nil {
			respond(ctx, p.ref.final.Load())
		}
	}
}

// refuseControl answers a control that comes while the actor stops, which can
// take long: an event handler that hangs keeps it from ending.
func (p *pool) refuseControl(c *control) {
	switch {
	case p.ref == nil:
	case c.kind == closePool && !p.flushed:
		p.closing = append(p.closing, c) // answered when it has stopped
	case c.kind == closePool:
		p.reply(c, nil)
	case c.kind == statistics:
		c.stats = *p.ref.final.Load()
		p.reply(c, nil)
	default:
		p.reply(c, p.ref.endError())
	}
}

func respond(ctx actor.Context, message any) {
	if ctx.Sender() != nil {
		ctx.Respond(message)
	}
}

func (p *pool) started() {
	if p.spec.Policy.EventLevel != machine.NoEvents {
		p.feed = feed{spare: &batch{}}
		p.feed.observer = p.ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return &observerActor{spec: p.spec} }))
	}
	p.m.Start(p.now())
	p.perform()
}

// receive handles everything but the hot path.
func (p *pool) receive(message any) {
	now := p.now()
	p.collect(now)
	switch msg := message.(type) {
	case *leave:
		if p.m.Waits(&msg.call.waiter) {
			msg.handled = true // else the caller may be looking at it already
		}
		p.m.CancelGet(now, &msg.call.waiter, msg.err)
	case *job:
		p.report(now, msg)
	case *control:
		p.control(now, msg)
	case *giveUp:
		p.m.CancelControl(now, &msg.control.ticket, msg.err)
		p.drained(msg.control)
	case *messages.BackoffElapsed:
		if msg != nil { // these two can come from outside
			p.m.BackoffElapsed(now, msg.Epoch)
		}
	case *messages.Tick:
		if msg != nil {
			p.m.Tick(now, msg.Epoch)
		}
	case *batch:
		p.feed.spare = msg
	case *flushElapsed:
		p.flushed = true
	case *hello:
		msg.ref <- p.ref
		return
	case *tied:
		p.m.Holds(now, &msg.call.waiter, msg.ties)
	case *actor.Terminated:
		p.gone(now, msg.GetWho(), true)
	case *untaken:
		p.takeBack(now, msg)
	default:
		p.request(now, message)
	}
	p.perform()
}

func (p *pool) now() time.Duration { return p.spec.clock.now() }

// get is the hot path of a Get: an idle connection is lent without more ado.
func (p *pool) get(c *Call) {
	if c.ended == nil {
		var now time.Duration
		if p.m.NeedsClock() || c.waiter.Label != "" {
			now = p.now()
		}
		if s := p.m.TryGet(now, &c.waiter); s != nil {
			p.grant(c, s)
			if p.m.Decided() {
				p.perform()
			}
			return
		}
		if c.try {
			c.err = messages.ErrExhausted
			c.answer()
			return
		}
	}
	now := p.now()
	p.collect(now) // before anybody waits for what nobody has any more
	switch {
	case c.ended != nil:
		p.m.RejectGet(now, &c.waiter, c.ended)
	case p.m.TryQueue(now, &c.waiter):
	default:
		p.m.Get(now, &c.waiter)
	}
	if c.own && p.m.Waits(&c.waiter) {
		c.queued = true
	}
	if p.m.Decided() {
		p.perform()
	}
}

// giveBack is the hot path of a Put: the connection is idle, or goes to the first
// who waits, without more ado.
func (p *pool) giveBack(h *Handle) {
	if h.taint {
		h.taint = false
		p.m.Taint(p.now(), h.slot, h.id, h.epoch, h.cause)
		p.perform()
		return
	}
	var now time.Duration
	if p.m.NeedsClock() {
		now = p.now()
	}
	if !p.m.TryPut(now, h.slot, h.id, h.epoch) {
		now = p.now()
		if w := p.m.TryHandOff(now, h.slot, h.id, h.epoch); w != nil {
			p.grant(w.Owner.(*Call), h.slot)
		} else {
			p.m.Put(now, h.slot, h.id, h.epoch)
		}
	}
	if p.m.Decided() {
		p.perform()
	}
}

// grant gives a connection to whoever asked for it.
func (p *pool) grant(c *Call, s *machine.Slot) {
	h := s.Conn.(*Handle)
	if c.sender == nil {
		c.loan = Loan{handle: h, epoch: s.LeaseEpoch}
		c.answer()
		return
	}
	stop(c.timer)
	// The process is looked up here, and not by the PID, which remembers a future
	// that is over.
	process, ok := p.ref.system.ProcessRegistry.Get(c.sender)
	if !ok {
		p.ref.process.SendUserMessage(p.ref.pid, &untaken{handle: h, epoch: s.LeaseEpoch})
		return
	}
	process.SendUserMessage(c.sender, &actor.MessageEnvelope{
		Message: &messages.Lease{ID: messages.LeaseID{Conn: s.ID, Epoch: s.LeaseEpoch}, Conn: h.conn, Setting: s.Setting()}, Sender: p.ref.pid,
	})
}

// collect ends the leases that were forgotten.
func (p *pool) collect(now time.Duration) {
	for f := p.ref.forgotten.take(); f != nil; f = f.next {
		p.m.LeaseLost(now, f.handle.slot, f.handle.id, f.epoch)
	}
}

// perform carries out what the machine has decided, then passes its events on.
func (p *pool) perform() {
	effects := p.m.Effects()
	for p.performed = 0; p.performed < len(effects); p.performed++ {
		p.do(&effects[p.performed])
	}
	p.performed = 0
	if p.feed.observer != nil {
		if b := p.feed.next(p.m); b != nil {
			p.ctx.Send(p.feed.observer, b)
		}
	}
	p.m.Done()
	if p.finished || len(p.closing) > 0 {
		p.end()
	}
}

func (p *pool) do(e *machine.Effect) {
	switch e.Kind {
	case machine.Grant:
		p.grant(e.Waiter.Owner.(*Call), e.Slot)
	case machine.Reject:
		p.reject(e.Waiter.Owner.(*Call), e.Err)
	case machine.Open, machine.Check, machine.Reset, machine.Apply, machine.Unapply, machine.Disconnect:
		p.start(e.Kind, e.Slot)
	case machine.Interrupt:
		if c, ok := e.Slot.Shell.(*connector); ok && c.job != nil && c.job.cancel != nil {
			c.job.cancel()
		}
	case machine.Revoke:
		e.Slot.Conn.(*Handle).revoke(e.Epoch)
	case machine.Watch:
		p.watch(e.Borrower.Owner.(*borrower))
	case machine.Unwatch:
		p.unwatch(e.Borrower.Owner.(*borrower))
	case machine.Retire:
		if c, ok := e.Slot.Shell.(*connector); ok && c.pid != nil {
			p.ctx.Stop(c.pid)
			c.pid = nil
		}
	case machine.Answer:
		p.answer(e.Ticket.Owner.(*control), e.Err)
	case machine.ArmBackoff:
		stop(p.backoffTimer)
		p.backoffTimer = p.sendAt(e.At, &messages.BackoffElapsed{Epoch: e.Epoch, Generation: e.Generation, Attempt: e.Attempt})
	case machine.DisarmBackoff:
		stop(p.backoffTimer)
	case machine.ArmTick:
		stop(p.tickTimer)
		p.tickTimer = p.sendAt(e.At, &messages.Tick{Epoch: e.Epoch})
	case machine.DisarmTick:
		stop(p.tickTimer)
	case machine.CancelLifetime:
		p.ref.closed.Store(true)
		p.cancel()
	case machine.Stopped:
		p.finished = true
	}
}

func (p *pool) reject(c *Call, err error) {
	if c.sender == nil {
		c.err = err
		c.answer()
		return
	}
	stop(c.timer)
	if b := c.waiter.Borrower; b != nil && b.Owner.(*borrower).deaf && b.Owner.(*borrower).pid.Equal(c.sender) {
		return
	}
	p.deny(c.sender, err)
}

// deny answers a Get by message. It says who answers, as a grant does.
func (p *pool) deny(sender *actor.PID, err error) {
	p.ctx.Request(sender, &messages.Denied{Err: err})
}

// start sends a job to the slot's connector, and spawns that first if there is
// none.
func (p *pool) start(kind machine.EffectKind, s *machine.Slot) {
	c, ok := s.Shell.(*connector)
	if !ok {
		c = &connector{held: &held{}}
		s.Shell = c
	}
	j := &job{kind: kind, slot: s, setting: s.Want}
	if s.Conn != nil {
		j.handle = s.Conn.(*Handle)
	}
	if kind != machine.Disconnect {
		j.ctx, j.cancel = context.WithCancel(p.lifetime)
	}
	c.job = j
	p.dispatch(c)
}

func (p *pool) dispatch(c *connector) {
	if c.pid == nil {
		held := c.held
		c.pid = p.ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return &connectorActor{spec: p.spec, held: held} }))
	}
	p.ctx.Send(c.pid, c.job)
}

// report takes a job back from a connector.
func (p *pool) report(now time.Duration, j *job) {
	c := j.slot.Shell.(*connector)
	if c.job == j {
		c.job = nil
	}
	switch j.kind {
	case machine.Open:
		if j.err != nil {
			p.m.ConnectFailed(now, j.slot, j.err, j.class)
			return
		}
		h := j.handle
		h.id, h.slot, h.ref = j.slot.ID, j.slot, p.ref
		p.handles[h.id] = h
		p.m.Connected(now, j.slot, h)
	case machine.Check:
		p.m.Checked(now, j.slot, j.err)
	case machine.Reset:
		p.m.WasReset(now, j.slot, j.err)
	case machine.Apply:
		p.m.Applied(now, j.slot, j.err)
	case machine.Unapply:
		p.m.Unapplied(now, j.slot, j.err)
	case machine.Disconnect:
		delete(p.handles, j.handle.id)
		p.m.Disconnected(now, j.slot)
	}
}

// HandleFailure implements actor.SupervisorStrategy: the pool supervises its
// connectors.
func (p *pool) HandleFailure(system *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	stats *actor.RestartStatistics, reason, message any,
) {
	if p.strategy == nil { // an incarnation that is about to stop
		sup.StopChildren(child)
		return
	}
	p.strategy.HandleFailure(system, sup, child, stats, reason, message)
}

// connectorGivenUp takes note that a connector has panicked too often and is
// stopped. A job that it had not begun goes to a fresh one; the one that
// panicked has been reported. The slot opens again when the machine wants it.
func (p *pool) connectorGivenUp(child *actor.PID) {
	if p.over {
		return // it closes what it holds
	}
	p.m.EachSlot(func(s *machine.Slot) {
		c, ok := s.Shell.(*connector)
		if !ok || c.pid == nil || !c.pid.Equal(child) {
			return
		}
		// The connection is no business of the old one any more, which is still
		// to be stopped: it would close it behind the back of the machine.
		c.pid, c.held.handle, c.held = nil, nil, &held{handle: c.held.handle}
		if c.job != nil && !c.job.started.Load() {
			p.dispatch(c)
		}
	})
}

// sendAt sends this actor a message at a time of the machine.
func (p *pool) sendAt(at time.Duration, message any) *time.Timer {
	return p.send(at-p.now(), message)
}

func (p *pool) send(d time.Duration, message any) *time.Timer {
	process, self := p.ref.process, p.ref.pid
	return after(d, func() { process.SendUserMessage(self, message) })
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// control handles a request about the pool as a whole.
func (p *pool) control(now time.Duration, c *control) {
	switch c.kind {
	case setCapacity:
		p.m.SetCapacity(now, c.n, &c.ticket)
	case readyPool:
		p.m.Ready(now, &c.ticket)
	case closePool:
		p.m.Close(now, &c.ticket)
	case clearPool:
		p.answer(c, p.m.Clear(now, nil, c.interrupt))
	case suspend:
		p.answer(c, p.m.Suspend(now))
	case resume:
		p.answer(c, p.m.Resume(now))
	case statistics:
		c.stats = p.m.Stats()
		p.answer(c, nil)
	case explanation:
		c.explained = p.m.Explain(now)
		p.answer(c, nil)
	}
}

// answer ends a control. A Close that succeeded is answered a little later,
// once the events are out: see end.
func (p *pool) answer(c *control, err error) {
	if c.kind == closePool && err == nil {
		p.closing = append(p.closing, c)
		return
	}
	p.reply(c, err)
}

func (p *pool) reply(c *control, err error) {
	stop(c.timer)
	switch {
	case c.sender == nil:
		c.reply <- err
	case c.kind == statistics:
		p.ctx.Send(c.sender, &c.stats)
	case c.kind == explanation:
		p.ctx.Send(c.sender, &c.explained)
	default:
		p.ctx.Send(c.sender, &messages.Done{Err: err})
	}
}

// drained answers a Close whose caller has left while only events were waited
// for: the pool is closed and drained.
func (p *pool) drained(c *control) {
	for i, other := range p.closing {
		if other == c {
			p.closing = append(p.closing[:i], p.closing[i+1:]...)
			p.reply(c, nil)
			return
		}
	}
}

// end goes the last steps of a drained pool: when every event is out, or a slow
// handler has had its time, the actor stops, and Closes are answered. A pool
// that is drained but has a connect under way that ignores its context cannot
// stop yet; its Closes are answered all the same.
func (p *pool) end() {
	if !p.flushed && !p.feed.flushed(p.m) {
		if p.flushTimer == nil {
			p.flushTimer = p.send(flushBound, &flushElapsed{})
		}
		return
	}
	if p.finished {
		p.ctx.Stop(p.ctx.Self())
		if !p.flushed {
			return // answered when it has stopped
		}
	}
	for _, c := range p.closing {
		p.reply(c, nil)
	}
	p.closing = nil
}

// abort is the end of the pool actor: it has nothing left, or is stopped from
// outside, or has panicked. Whoever still waits is told, leases are revoked, and
// the connectors, which are stopped next, close the connections that are left.
func (p *pool) abort(panicked bool) {
	p.over = true
	p.ref.closed.Store(true)
	p.ref.failed.Store(panicked)
	p.cancel()
	stop(p.backoffTimer)
	stop(p.tickTimer)
	stop(p.flushTimer)
	for _, h := range p.handles {
		h.revoke(h.fence.Load())
	}
	for _, b := range p.borrowers {
		p.unwatch(b)
	}
	p.rejectAll()
	final := p.m.Stats()
	final.State = messages.StateClosed
	p.ref.final.Store(&final)
	if !p.finished {
		// A connector that ignores its context may keep the actor from ever
		// being stopped: nobody shall wait for that.
		close(p.ref.ended)
	}
}

// rejectAll ends every wait: of those in the machine's queue, and, when a turn
// has panicked, of those whose answer was decided on it and not given any more.
// After a panic the machine may be in disorder, so a second one is contained.
func (p *pool) rejectAll() {
	defer func() { _ = recover() }()
	err := p.ref.endError()
	for _, e := range p.m.Effects()[p.performed:] {
		if e.Kind == machine.Grant || e.Kind == machine.Reject {
			p.reject(e.Waiter.Owner.(*Call), err)
		}
	}
	p.m.TearDown(func(w *machine.Waiter) { p.reject(w.Owner.(*Call), err) }, func(t *machine.Ticket) {
		c := t.Owner.(*control)
		if c.kind == closePool {
			p.closing = append(p.closing, c)
			return
		}
		p.reply(c, err)
	})
}

// stopped follows when no child is left.
func (p *pool) stopped() {
	if p.finished {
		close(p.ref.ended)
	}
	for _, c := range p.closing {
		p.reply(c, nil)
	}
	p.closing = nil
}

// request handles the protocol of package messages, for actors.
func (p *pool) request(now time.Duration, message any) {
	if v := reflect.ValueOf(message); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		respond(p.ctx, &messages.Done{Err: &messages.ConfigError{Field: fmt.Sprintf("message %T", message), Reason: "it is nil"}})
		return
	}
	switch msg := message.(type) {
	case *messages.Get:
		p.getFor(now, msg)
	case *messages.Put:
		p.done(p.endLease(now, msg.Lease, false, nil))
	case *messages.Taint:
		p.done(p.endLease(now, msg.Lease, true, msg.Cause))
	case *messages.SetCapacity:
		if msg.Capacity < 0 {
			p.done(negativeCapacity(msg.Capacity))
			return
		}
		c := p.controlFor(setCapacity)
		c.n = msg.Capacity
		p.control(now, c)
	case *messages.Close:
		c := p.controlFor(closePool)
		if !msg.Deadline.IsZero() {
			c.timer = p.sendAt(p.spec.clock.at(msg.Deadline), &giveUp{control: c, err: context.DeadlineExceeded})
		}
		p.control(now, c)
	case *messages.Clear:
		c := p.controlFor(clearPool)
		c.interrupt = msg.Interrupt
		p.control(now, c)
	case *messages.Suspend:
		p.control(now, p.controlFor(suspend))
	case *messages.Resume:
		p.control(now, p.controlFor(resume))
	case *messages.StatsRequest:
		p.control(now, p.controlFor(statistics))
	case *messages.ExplainRequest:
		p.control(now, p.controlFor(explanation))
	case *messages.Release:
		p.release(now, msg)
	case *messages.HealthOK:
		p.m.HealthOK(now)
	case *messages.HealthFailed:
		_ = p.m.Clear(now, msg.Err, msg.Interrupt)
	}
}

// done answers a return, if it was a request.
func (p *pool) done(err error) { respond(p.ctx, &messages.Done{Err: err}) }

// controlFor makes a control for the sender of the current message, who may be
// nobody.
func (p *pool) controlFor(kind controlKind) *control {
	c := newControl(kind)
	c.sender = p.ctx.Sender()
	return c
}

// errRemote refuses a borrower on another machine.
var errRemote = errors.New("actorpool: a connection cannot travel: the borrower is in another process")

// getFor handles a Get by message. Without a sender there is nobody to answer.
func (p *pool) getFor(now time.Duration, msg *messages.Get) {
	sender := p.ctx.Sender()
	if sender == nil {
		return
	}
	holder := msg.Borrower
	if holder == nil {
		holder = sender
	}
	if !p.local(sender) || !p.local(holder) {
		p.deny(sender, errRemote)
		return
	}
	if msg.Setting != nil {
		if err := p.ref.settings(msg.Setting); err != nil {
			p.deny(sender, err)
			return
		}
	}
	b, alive := p.borrowerOf(now, holder)
	if !alive {
		if !holder.Equal(sender) {
			p.deny(sender, messages.ErrBorrowerGone)
		}
		return
	}
	c := newCall()
	c.sender = sender
	c.waiter.Label, c.waiter.Setting = msg.Label, msg.Setting
	if !msg.Deadline.IsZero() {
		c.waiter.Deadline = p.spec.clock.at(msg.Deadline)
		if c.waiter.Deadline <= now {
			p.m.RejectGet(now, &c.waiter, context.DeadlineExceeded)
			return
		}
	}
	if b != nil {
		c.waiter.Borrower = &b.Borrower
	}
	p.m.Get(now, &c.waiter)
	if p.m.Waits(&c.waiter) && c.waiter.Deadline != 0 {
		c.left.err = context.DeadlineExceeded
		c.timer = p.sendAt(c.waiter.Deadline, &c.left)
	}
}

// local says whether a process is one of this actor system.
func (p *pool) local(pid *actor.PID) bool {
	return pid.Address == p.ref.system.Address() || pid.Address == p.ref.pid.Address
}

// endLease ends a lease that its holder names by id.
func (p *pool) endLease(now time.Duration, id messages.LeaseID, taint bool, cause error) error {
	h := p.handles[id.Conn]
	if h == nil || !p.m.IsLent(h.slot, id.Conn, id.Epoch) || !h.revoke(id.Epoch) {
		return messages.ErrLeaseEnded
	}
	if taint {
		p.m.Taint(now, h.slot, id.Conn, id.Epoch, cause)
	} else {
		p.m.Put(now, h.slot, id.Conn, id.Epoch)
	}
	return nil
}
