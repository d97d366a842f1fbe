package actors

import (
	"context"
	"runtime/trace"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// getRequest is one Get on its way through the pool actor: its mailbox node, its
// place in the queue, and its answer. Those of ordinary Go are recycled; one is used
// again only after the pool actor has let go of it, which it does by answering.
//
// The order of the fields: what the end of a wait touches lies on few lines of the
// processor's cache, since thousands may wait.
type getRequest struct {
	waiter   machine.Waiter // its Owner is the last of it
	handover handover

	// The answer.
	lease Lease
	err   error

	ended *ending   // the caller's context had ended before it came
	held  *holdings // what the caller holds already; nil: nothing is known
	try   bool      // TryGet: only what is idle, never wait
	asked bool      // a direct turn has found nothing to lend at once

	node   node
	ref    *Ref // of the pool that is asked
	cancel cancelGet
	other  getAnother

	// A Get by message has these, and is not handed over.
	sender *actor.PID
	timer  *time.Timer
}

// cancelGet is the message of a caller that has left.
type cancelGet struct {
	request *getRequest
	why     *ending
	handled bool // it was this message that ended the wait
}

// getAnother is the message of a caller that refuses the connection it was granted.
// It has claimed the lease.
type getAnother struct {
	request *getRequest
	conn    *poolConn
	epoch   uint64
	cause   error
}

func newGetRequest(r *Ref) *getRequest {
	g := &getRequest{ref: r, handover: newHandover()}
	g.node.message = g
	g.waiter.Owner = g
	g.cancel.request, g.other.request = g, g
	return g
}

// answer hands the request back to its caller.
func (g *getRequest) answer() { g.handover.answer(g.node.direct) }

// deny answers the request of a caller of ordinary Go that comes after the pool's end.
func (g *getRequest) deny() {
	g.err = g.ref.denial()
	g.answer()
}

// Get borrows a connection. See client.Pool for what it promises.
func (r *Ref) Get(ctx context.Context, label string, setting any) (Lease, error) {
	if ctx == nil {
		return Lease{}, messages.ErrNilContext
	}
	if r.phase.Load() != refOpen {
		if r.isClosed() {
			return Lease{}, r.refuse(label)
		}
		return r.getRecorded(ctx, label, setting)
	}
	if setting != nil {
		if err := r.checkSetting(setting); err != nil {
			return Lease{}, err
		}
	}
	if trace.IsEnabled() {
		if _, again := ctx.(traced); !again {
			return r.getTraced(ctx, label, setting)
		}
	}
	// All of the context is read here: it is code of the user, and when it panics or
	// blocks later, the Get may be granted a connection that nobody takes (T4).
	done := ctx.Done()
	deadline, bounded := ctx.Deadline()
	var ended *ending
	if done != nil && ctx.Err() != nil { // without Done it cannot end
		ended = endOf(ctx)
	}
	var held *holdings
	if h, ok := ctx.Value(r).(*leaseContext); ok || r.member != nil {
		held = r.holdingsOf(ctx, h)
	}
	entered := false
	if r.getsDirectly && ended == nil && (!bounded || r.reserve == 0) {
		var l Lease
		if l.lent, l.epoch, entered = r.directly(label, setting); l.lent != nil {
			if r.isClosedConn == nil {
				return l, nil
			}
			closed, why := r.saysClosed(l)
			if !closed {
				return l, nil
			}
			return r.getOther(ctx, done, r.request(label, setting, deadline, bounded, nil, held), l, why)
		}
	}
	g := r.request(label, setting, deadline, bounded, ended, held)
	if r.findsLeaks {
		g.waiter.Trace = r.here(0)
	}
	r.send(g, entered)
	if !g.handover.wasDirect() {
		if err := r.wait(ctx, done, g); err != nil {
			return Lease{}, err
		}
	}
	if r.isClosedConn != nil {
		if err := r.skipClosed(ctx, done, g); err != nil {
			return Lease{}, err
		}
	}
	return r.finish(g)
}

// traced is the context of a Get that is shown in an execution trace.
type traced struct{ context.Context }

// getTraced is Get while an execution trace is recorded. The region begins before the
// Get is sent, because it asks the context; so a Get that does not wait shows a wait of
// no length.
func (r *Ref) getTraced(ctx context.Context, label string, setting any) (Lease, error) {
	defer trace.StartRegion(ctx, r.regions.wait).End()
	return r.Get(traced{ctx}, label, setting)
}

// errNothingIdle is the error of a TryGet.
var errNothingIdle error = nothingIdle{}

type nothingIdle struct{}

// Error says what ErrExhausted means here.
func (nothingIdle) Error() string { return "actorpool: no connection can be lent at once" }

// Is says that it is an ErrExhausted.
func (nothingIdle) Is(target error) bool { return target == messages.ErrExhausted }

// TryGet borrows an idle connection that needs no check and has this setting, or fails
// with ErrExhausted.
func (r *Ref) TryGet(label string, setting any) (Lease, error) {
	if setting != nil {
		if err := r.checkSetting(setting); err != nil {
			return Lease{}, err
		}
	}
	for !r.isClosed() {
		recorded := r.phase.Load() == refRecording
		if r.getsDirectly && !recorded {
			lent, epoch, entered := r.directly(label, setting)
			l := Lease{lent: lent, epoch: epoch}
			switch {
			case entered: // nothing can be lent at once
				r.box.exit()
				if r.isClosed() {
					return Lease{}, r.endError()
				}
				return Lease{}, errNothingIdle
			case l.lent == nil: // somebody else runs the pool actor
			case r.isClosedConn == nil:
				return l, nil
			default:
				closed, why := r.saysClosed(l)
				if !closed {
					return l, nil
				}
				_ = l.Taint(why)
				continue
			}
		}
		g := r.requests.Get().(*getRequest)
		g.try, g.asked = true, false
		g.waiter.Label, g.waiter.Setting = label, setting
		if recorded {
			g.waiter.Session = r.session()
		}
		if r.findsLeaks {
			g.waiter.Trace = r.here(0)
		}
		r.process.SendUserMessage(r.pid, &g.node)
		if !g.handover.wasDirect() && r.wait(context.Background(), nil, g) != nil {
			break
		}
		g.waiter.Session = 0
		lease, err := r.finish(g)
		switch {
		case r.isClosed() && err != nil:
			return Lease{}, r.endError()
		case err != nil:
			return Lease{}, err
		case r.isClosedConn == nil || !lease.lent.fromIdle:
			return lease, nil
		}
		closed, why := r.saysClosed(lease)
		if !closed {
			return lease, nil
		}
		_ = lease.Taint(why)
	}
	return Lease{}, r.endError()
}

// refuse ends a Get that comes after Close has begun. The pool actor is asked only if
// somebody listens to events, to which the Get is told (E5).
func (r *Ref) refuse(label string) error {
	if !r.tellsGets {
		return r.denial()
	}
	select {
	case <-r.ended:
		return r.denial()
	default:
	}
	g := r.requests.Get().(*getRequest)
	g.waiter.Label = label
	r.process.SendUserMessage(r.pid, &g.node)
	if !g.handover.wasDirect() {
		if err := r.wait(context.Background(), nil, g); err != nil {
			return err
		}
	}
	_, err := r.finish(g)
	return err
}

// saysClosed asks an idle connection that has just been lent whether it is closed, on
// the goroutine of its caller (L16).
func (r *Ref) saysClosed(l Lease) (closed bool, why error) {
	conn, ok := l.Conn()
	if !ok {
		return true, messages.ErrLeaseEnded
	}
	why = r.condemned(conn, false, func(why error) { _ = l.Taint(why) })
	return why != nil, why
}

// skipClosed refuses the connection that a request was granted, as long as that was
// idle and says that it is closed, and waits for another one. An error means that the
// request must not be used again.
func (r *Ref) skipClosed(ctx context.Context, done <-chan struct{}, g *getRequest) error {
	for g.err == nil && g.lease.lent.fromIdle {
		closed, why := r.saysClosed(g.lease)
		if !closed {
			return nil
		}
		if err := r.refuseConn(ctx, done, g, why); err != nil {
			return err
		}
	}
	return nil
}

// refuseConn refuses the connection that a request was granted, and waits for another
// one. The error is as that of skipClosed.
func (r *Ref) refuseConn(ctx context.Context, done <-chan struct{}, g *getRequest, why error) error {
	conn, epoch := g.lease.lent, g.lease.epoch
	g.other.conn, g.other.epoch, g.other.cause = conn, epoch, why
	g.lease = Lease{}
	conn.revoke(epoch) // if the pool was first, the Get is a new one
	r.process.SendUserMessage(r.pid, &g.other)
	return r.wait(ctx, done, g)
}

// finish reads the answer and recycles the request.
func (r *Ref) finish(g *getRequest) (Lease, error) {
	lease, err := g.lease, g.err
	g.lease, g.err, g.ended, g.try = Lease{}, nil, nil, false
	g.waiter.Label, g.waiter.Setting = "", nil
	g.waiter.Deadline, g.waiter.Reserve, g.waiter.Timeout = 0, 0, 0
	if g.held != nil {
		g.held = nil
	}
	if r.findsLeaks {
		g.waiter.Trace = nil
		if err == nil {
			lease = mark(lease)
		}
	}
	r.requests.Put(g)
	return lease, err
}

// wait lets the caller sleep until its answer stands in the request, its context ends,
// or the pool does. An error ends the Get, and the request must not be used again. done
// is that of the context; it is nil for a caller that waits for the answer in any case.
func (r *Ref) wait(ctx context.Context, done <-chan struct{}, g *getRequest) error {
	if !g.handover.sleeps() {
		return r.collect(ctx, done, g)
	}
	ended := r.ended
	if g.handover.way == queued || r.box != nil {
		ended = nil // it is answered at the pool's end, too: see receiveStopped
	}
	var inSet []Lease
	if g.held != nil {
		inSet = g.held.inSet
		if g.held.leases != nil { // it is told before its wait can end, and so before the request is used again
			r.process.SendUserMessage(r.pid, &holdsLeases{request: g, leases: g.held.leases})
		}
	}
	var deadlock <-chan struct{}
	if inSet != nil {
		w := r.member.set.hold(inSet)
		defer r.member.set.unhold(w)
		deadlock = w.deadlock
	}
	var bound <-chan time.Time
	switch {
	case g.waiter.Timeout > 0:
		t := time.NewTimer(g.waiter.Timeout)
		defer t.Stop()
		bound = t.C
	case g.waiter.Reserve > 0:
		t := time.NewTimer(g.waiter.Deadline - r.clock.now())
		defer t.Stop()
		bound = t.C
	}
	switch {
	case done == nil && bound == nil && ended == nil && deadlock == nil:
		<-g.handover.wakes // a select costs as much as all the rest of a Get
		return r.collect(ctx, done, g)
	case bound == nil && ended == nil && deadlock == nil:
		select {
		case <-g.handover.wakes:
			return r.collect(ctx, done, g)
		case <-done:
		}
	default:
		select {
		case <-g.handover.wakes:
			return r.collect(ctx, done, g)
		case <-done:
		case <-bound:
			return r.leave(g, boundEnd(g))
		case <-deadlock:
			return r.leave(g, deadlockEnd(g))
		case <-ended:
			return r.orphan(g)
		}
	}
	return r.leaveWith(ctx, g)
}

// leaveWith ends a wait whose caller's context has ended. To read why is code of the
// user, which may block: the answer may come meanwhile, and is not left with a caller
// that does not take it.
func (r *Ref) leaveWith(ctx context.Context, g *getRequest) error {
	if why, plain := plainEndOf(ctx); plain {
		return r.leave(g, why)
	}
	read := make(chan *ending, 1)
	go readEnd(ctx, read)
	select {
	case why := <-read:
		return r.leave(g, why)
	case <-r.ended:
		return r.orphan(g)
	case <-g.handover.wakes:
	}
	g.handover.reset()
	if g.err != nil {
		return nil
	}
	return r.giveBackWhenRead(g, read)
}

// setDeadline sets when a Get must end whose caller has a deadline.
func (r *Ref) setDeadline(g *getRequest, deadline time.Time) {
	g.waiter.Deadline = r.clock.at(deadline)
	if r.reserve > 0 {
		g.waiter.Reserve = r.reserve
		if g.waiter.Deadline <= r.reserve {
			g.waiter.Deadline = -1 // it has passed; 0 would mean that there is none
		} else {
			g.waiter.Deadline -= r.reserve
		}
	}
}

// boundEnd is the end of a Get whose own bound has ended it: GetTimeout, a deadline,
// or the Reserve before one.
func boundEnd(g *getRequest) *ending {
	if g.waiter.Reserve > 0 {
		return &ending{err: &messages.ReserveError{Reserve: g.waiter.Reserve}, reason: messages.ReasonTimeout}
	}
	return &timedOut
}

// leave ends a wait whose caller has left. The pool actor decides whether the caller
// left before it was answered. It is never long in saying so, and says what the pool
// looked like.
func (r *Ref) leave(g *getRequest, why *ending) error {
	g.cancel.why = why
	r.process.SendUserMessage(r.pid, &g.cancel)
	select {
	case <-g.handover.wakes:
	case <-r.ended:
		return r.orphan(g)
	}
	switch {
	case g.cancel.handled:
		g.cancel.handled, g.cancel.why = false, nil
		g.handover.reset()
		return nil
	case g.err != nil:
		// It was rejected meanwhile. The cancelGet may still be on its way, so the
		// request is not used again; nor is it below.
		return g.err
	}
	return r.giveBack(g, why)
}

// collect takes an answer that came on another goroutine. A caller whose context
// ended meanwhile does not get a connection.
func (r *Ref) collect(ctx context.Context, done <-chan struct{}, g *getRequest) error {
	g.handover.reset()
	if g.err != nil || done == nil {
		return nil
	}
	select {
	case <-done:
		if why, plain := plainEndOf(ctx); plain {
			return r.giveBack(g, why)
		}
		read := make(chan *ending, 1)
		go readEnd(ctx, read)
		return r.giveBackWhenRead(g, read)
	default:
		return nil
	}
}

// decline is the message of a caller whose context ended in the instant in which it
// was granted a connection. The pool actor takes the connection back, and says what
// the pool looks like.
type decline struct {
	request *getRequest
	lease   Lease
	why     *ending
	answer  chan error
}

// IgnoreDeadLetterLogging marks a connection that comes back to a pool that has ended
// as no news.
func (*decline) IgnoreDeadLetterLogging() {}

// giveBack returns a connection that was granted to a caller that has left.
func (r *Ref) giveBack(g *getRequest, why *ending) error {
	d := &decline{request: g, lease: g.lease, why: why, answer: make(chan error, 1)}
	r.process.SendUserMessage(r.pid, d)
	select {
	case err := <-d.answer:
		return err
	case <-r.ended:
		return r.denial()
	}
}

// readGrace is how long a connection that was granted to a caller that has left is
// kept back until the caller's context has said why it has ended.
const readGrace = 20 * time.Millisecond

// giveBackWhenRead is giveBack for a caller whose context is being asked. A context
// that blocks does not keep the connection: the grant then counts like any other.
func (r *Ref) giveBackWhenRead(g *getRequest, read <-chan *ending) error {
	t := time.NewTimer(readGrace)
	defer t.Stop()
	select {
	case why := <-read:
		return r.giveBack(g, why)
	case <-t.C:
	}
	_ = g.lease.Put()
	return &messages.GetError{Pool: r.poolName, Time: r.clock.wall(), Stats: r.Stats(), Err: (<-read).err}
}

// orphan ends a wait because the pool has ended. The request may lie in the mailbox
// of an actor that is no more, and is left to the garbage collector; but an answer
// that came first counts.
func (r *Ref) orphan(g *getRequest) error {
	if g.handover.abandon() && g.err != nil {
		return g.err
	}
	return r.denial()
}
