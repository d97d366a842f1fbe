package actors

import (
	"context"
	"errors"
	"runtime/trace"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// getRequest is one Get on its way through the pool actor: its mailbox node, its
// place in the queue, and its answer. Those of ordinary Go are recycled; one is used
// again only after the pool actor has let go of it, which it does by answering.
type getRequest struct {
	node   node
	waiter machine.Waiter
	try    bool  // TryGet: only what is idle, never wait
	ended  error // the caller's context had ended before it came

	handover handover

	// The answer.
	lease Lease
	err   error

	cancel cancelGet

	// A Get by message has these, and is not handed over.
	sender *actor.PID
	timer  *time.Timer
}

// cancelGet is the message of a caller that has left.
type cancelGet struct {
	request *getRequest
	err     error
	handled bool // it was this message that ended the wait
}

func newGetRequest() *getRequest {
	g := &getRequest{handover: newHandover()}
	g.node.message = g
	g.waiter.Owner = g
	g.cancel.request = g
	return g
}

// answer hands the request back to its caller.
func (g *getRequest) answer() { g.handover.answer(g.node.direct) }

// Get borrows a connection. See client.Pool for what it promises.
func (r *Ref) Get(ctx context.Context, label string, setting any) (Lease, error) {
	if ctx == nil {
		return Lease{}, messages.ErrNilContext
	}
	if r.isClosed() {
		return Lease{}, r.denial()
	}
	if setting != nil {
		if err := r.checkSetting(setting); err != nil {
			return Lease{}, err
		}
	}
	g := r.requests.Get().(*getRequest)
	g.waiter.Label, g.waiter.Setting = label, setting
	if deadline, ok := ctx.Deadline(); ok {
		r.setDeadline(g, deadline)
	} else {
		g.waiter.Timeout = r.getTimeout
	}
	if ctx.Err() != nil {
		g.ended = contextError(ctx)
	}
	if r.findsLeaks {
		g.waiter.Trace = here()
	}
	r.process.SendUserMessage(r.pid, &g.node)
	if !g.handover.wasDirect() {
		return r.wait(ctx, g)
	}
	return r.finish(g)
}

// TryGet borrows an idle connection that needs no check, or nothing.
func (r *Ref) TryGet() (Lease, bool) {
	if r.isClosed() {
		return Lease{}, false
	}
	g := r.requests.Get().(*getRequest)
	g.try = true
	if r.findsLeaks {
		g.waiter.Trace = here()
	}
	r.process.SendUserMessage(r.pid, &g.node)
	if !g.handover.wasDirect() {
		lease, err := r.wait(context.Background(), g)
		return lease, err == nil
	}
	lease, err := r.finish(g)
	return lease, err == nil
}

// finish reads the answer and recycles the request.
func (r *Ref) finish(g *getRequest) (Lease, error) {
	lease, err := g.lease, g.err
	g.lease, g.err, g.ended, g.try = Lease{}, nil, nil, false
	g.waiter.Label, g.waiter.Setting = "", nil
	g.waiter.Deadline, g.waiter.Reserve, g.waiter.Timeout = 0, 0, 0
	if r.findsLeaks {
		g.waiter.Trace = nil
		if err == nil {
			lease = r.forgotten.mark(lease)
		}
	}
	r.requests.Put(g)
	return lease, err
}

// wait lets the caller sleep until its answer comes, its context ends, or the pool
// does.
func (r *Ref) wait(ctx context.Context, g *getRequest) (Lease, error) {
	if !g.handover.sleeps() {
		return r.collect(ctx, g)
	}
	done, ended := ctx.Done(), r.ended
	if g.handover.way == queued {
		ended = nil // it is answered at the pool's end, too
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(ctx, r.regions.wait).End()
	}
	r.tellHeldLeases(ctx, g)
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
	case done == nil && bound == nil && ended == nil:
		<-g.handover.wakes // a select costs as much as all the rest of a Get
		return r.collect(ctx, g)
	case bound == nil && ended == nil:
		select {
		case <-g.handover.wakes:
			return r.collect(ctx, g)
		case <-done:
			g.cancel.err = contextError(ctx)
		}
	default:
		select {
		case <-g.handover.wakes:
			return r.collect(ctx, g)
		case <-done:
			g.cancel.err = contextError(ctx)
		case <-bound:
			g.cancel.err = boundError(g)
		case <-ended:
			return r.orphan(g)
		}
	}
	return r.leave(g)
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

// boundError is the error of a Get whose own bound has ended it: GetTimeout, a
// deadline, or the Reserve before one.
func boundError(g *getRequest) error {
	if g.waiter.Reserve > 0 {
		return &messages.ReserveError{Reserve: g.waiter.Reserve}
	}
	return context.DeadlineExceeded
}

// leave ends a wait whose caller has left. The pool actor decides whether the caller
// left before it was answered. It is never long in saying so, and says what the pool
// looked like.
func (r *Ref) leave(g *getRequest) (Lease, error) {
	r.process.SendUserMessage(r.pid, &g.cancel)
	select {
	case <-g.handover.wakes:
	case <-r.ended:
		return r.orphan(g)
	}
	switch {
	case g.cancel.handled:
		g.cancel.handled = false
		g.handover.reset()
		return r.finish(g)
	case g.err != nil:
		// It was rejected meanwhile. The cancelGet may still be on its way, so the
		// request is not used again; nor is it below.
		return Lease{}, g.err
	}
	return r.giveBack(g, g.cancel.err)
}

// collect takes an answer that came on another goroutine. A caller whose context
// ended meanwhile does not get a connection.
func (r *Ref) collect(ctx context.Context, g *getRequest) (Lease, error) {
	g.handover.reset()
	if g.err == nil && ctx.Err() != nil {
		return r.giveBack(g, contextError(ctx))
	}
	return r.finish(g)
}

// decline is the message of a caller whose context ended in the instant in which it
// was granted a connection. The pool actor takes the connection back, and says what
// the pool looks like.
type decline struct {
	request *getRequest
	lease   Lease
	err     error
	reason  messages.Reason
	answer  chan error
}

// IgnoreDeadLetterLogging marks a connection that comes back to a pool that has ended
// as no news.
func (*decline) IgnoreDeadLetterLogging() {}

// giveBack returns a connection that was granted to a caller that has left.
func (r *Ref) giveBack(g *getRequest, err error) (Lease, error) {
	d := &decline{request: g, lease: g.lease, err: err, reason: messages.ReasonCanceled, answer: make(chan error, 1)}
	if c, ok := err.(*causedError); ok { //nolint:errorlint // a cause is the user's, and may panic when it is asked
		err = c.err
	}
	if err == context.DeadlineExceeded { //nolint:errorlint // as above
		d.reason = messages.ReasonTimeout
	}
	r.process.SendUserMessage(r.pid, d)
	select {
	case err = <-d.answer:
		return Lease{}, err
	case <-r.ended:
		return Lease{}, r.denial()
	}
}

// orphan ends a wait because the pool has ended. The request may lie in the mailbox
// of an actor that is no more, and is left to the garbage collector; but an answer
// that came first counts.
func (r *Ref) orphan(g *getRequest) (Lease, error) {
	if g.handover.abandon() && g.err != nil {
		return Lease{}, g.err
	}
	return Lease{}, r.denial()
}

// contextError is why a context has ended: its error, with its cause if that says
// more.
func contextError(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return &causedError{err: err, cause: cause}
	}
	return err
}

// causedError is a context's error with its cause. It is both.
type causedError struct{ err, cause error }

func (e *causedError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *causedError) Unwrap() []error { return []error{e.err, e.cause} }
