package actors

import (
	"context"
	"errors"
	"runtime/trace"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Call is one Get on its way through the pool actor: its mailbox node, its
// place in the queue, and its answer. Calls of ordinary Go are recycled; a Call
// is used again only after the pool actor has let go of it, which it does by
// answering.
type Call struct {
	node   node
	waiter machine.Waiter
	try    bool  // only what is idle, never wait
	ended  error // the caller's context had ended before it came

	// own says that the pool actor runs on the caller's goroutine right now, so
	// that the answer is a plain write: answered.
	own, answered bool
	// queued was written on the caller's goroutine too: the machine has the call
	// in its queue, so it will be answered later, and be it at the pool's end; the
	// caller sleeps until then, and there is nothing to settle.
	queued bool
	// state settles who is first when they are on different goroutines: the
	// answer, or the caller who wants to sleep until it comes.
	state atomic.Uint32
	wake  chan struct{}

	// The answer.
	loan Loan
	err  error

	left leave

	// A Get by message has these instead.
	sender *actor.PID
	timer  *time.Timer
}

const (
	pending uint32 = iota
	parked
	answered
)

// leave is the message of a caller that gives up.
type leave struct {
	call    *Call
	err     error
	handled bool // it was the leave that ended the wait
}

func newCall() *Call {
	c := &Call{wake: make(chan struct{}, 1)}
	c.node.message = c
	c.waiter.Owner = c
	c.left.call = c
	return c
}

// answer hands the call back to its caller. The pool actor does not touch it
// afterwards.
func (c *Call) answer() {
	switch {
	case c.own:
		c.answered = true
	case c.queued:
		c.wake <- struct{}{}
	case c.state.Swap(answered) == parked:
		c.wake <- struct{}{}
	}
}

// reset makes the call ready to be answered again, after an answer that came on
// another goroutine.
func (c *Call) reset() {
	if c.queued {
		c.queued = false
	} else {
		c.state.Store(pending)
	}
}

// Get borrows a connection. See client.Pool for what it promises.
func (r *Ref) Get(ctx context.Context, label string, setting any) (Loan, error) {
	if ctx == nil {
		return Loan{}, messages.ErrNilContext
	}
	if r.closed.Load() {
		return Loan{}, messages.ErrClosed
	}
	if setting != nil {
		if err := r.settings(setting); err != nil {
			return Loan{}, err
		}
	}
	c := r.calls.Get().(*Call)
	c.waiter.Label, c.waiter.Setting = label, setting
	if deadline, ok := ctx.Deadline(); ok {
		c.waiter.Deadline = r.clock.at(deadline)
	}
	if ctx.Err() != nil {
		c.ended = contextError(ctx)
	}
	if r.watchful {
		c.waiter.Trace = here()
	}
	r.process.SendUserMessage(r.pid, c)
	if !c.answered {
		return r.wait(ctx, c)
	}
	c.answered = false
	return r.finish(c)
}

// TryGet borrows an idle connection that needs no check, or nothing.
func (r *Ref) TryGet() (Loan, bool) {
	if r.closed.Load() {
		return Loan{}, false
	}
	c := r.calls.Get().(*Call)
	c.try = true
	if r.watchful {
		c.waiter.Trace = here()
	}
	r.process.SendUserMessage(r.pid, c)
	if !c.answered {
		loan, err := r.wait(context.Background(), c)
		return loan, err == nil
	}
	c.answered = false
	loan, err := r.finish(c)
	return loan, err == nil
}

// finish reads the answer and recycles the call.
func (r *Ref) finish(c *Call) (Loan, error) {
	loan, err := c.loan, c.err
	c.loan, c.err, c.ended, c.try = Loan{}, nil, nil, false
	c.waiter.Label, c.waiter.Setting, c.waiter.Deadline = "", nil, 0
	if r.watchful {
		c.waiter.Trace = nil
		if err == nil {
			loan = r.forgotten.mark(loan)
		}
	}
	r.calls.Put(c)
	return loan, err
}

// wait parks the caller until its answer comes, its context ends, or the pool
// does.
func (r *Ref) wait(ctx context.Context, c *Call) (Loan, error) {
	done, ended := ctx.Done(), r.ended
	if c.queued {
		ended = nil
	} else if !c.state.CompareAndSwap(pending, parked) {
		return r.collect(ctx, c) // answered in between
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(ctx, r.regions.wait).End()
	}
	r.tell(ctx, c)
	var bound <-chan time.Time
	if r.getTimeout > 0 && c.waiter.Deadline == 0 && !c.try {
		t := time.NewTimer(r.getTimeout)
		defer t.Stop()
		bound = t.C
	}
	switch {
	case done == nil && bound == nil && ended == nil:
		<-c.wake // a select costs as much as all the rest of a Get
		return r.collect(ctx, c)
	case bound == nil && ended == nil:
		select {
		case <-c.wake:
			return r.collect(ctx, c)
		case <-done:
			c.left.err = contextError(ctx)
		}
	default:
		select {
		case <-c.wake:
			return r.collect(ctx, c)
		case <-done:
			c.left.err = contextError(ctx)
		case <-bound:
			c.left.err = context.DeadlineExceeded
		case <-ended:
			return r.orphan(c)
		}
	}
	// The pool actor decides whether the caller left before it was answered. It
	// is never long in saying so, and says what the pool looked like.
	r.process.SendUserMessage(r.pid, &c.left)
	select {
	case <-c.wake:
	case <-r.ended:
		return r.orphan(c)
	}
	switch {
	case c.left.handled:
		c.left.handled = false
		c.reset()
		return r.finish(c)
	case c.err != nil:
		// Refused meanwhile. The leave may still be on its way, so the call is
		// not used again; nor is it below.
		return Loan{}, c.err
	}
	return r.giveBack(c, c.left.err)
}

// collect takes an answer that came on another goroutine. A caller whose
// context ended meanwhile does not get a connection.
func (r *Ref) collect(ctx context.Context, c *Call) (Loan, error) {
	c.reset()
	if c.err == nil && ctx.Err() != nil {
		return r.giveBack(c, contextError(ctx))
	}
	return r.finish(c)
}

// giveBack returns a connection that was granted to a caller who has left.
func (r *Ref) giveBack(c *Call, err error) (Loan, error) {
	_ = c.loan.Put()
	return Loan{}, &messages.GetError{Pool: r.name, Stats: r.Stats(), Err: err}
}

// orphan ends a wait because the pool has ended. The call may lie in the
// mailbox of an actor that is no more, and is left to the garbage collector;
// but an answer that came first counts.
func (r *Ref) orphan(c *Call) (Loan, error) {
	if c.state.Swap(answered) == answered && c.err != nil {
		return Loan{}, c.err
	}
	return Loan{}, r.endError()
}

// contextError is why a context has ended: its error, with its cause if that
// says more.
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
