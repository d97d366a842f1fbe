package actors

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// jobContext is the context of a function of a Config. It ends with the job, with its
// parent, and when the timeout is over. It carries what HookInfo tells, which is put
// together when somebody asks.
//
// Most functions that take no time never ask for Done, which needs a channel and a timer.
// So the context that does the work, one of the standard library, is made when somebody
// asks for more than Deadline and Err. It is in the job, and new for each job: a function
// that keeps its context has one that has ended for ever.
type jobContext struct {
	spec   *Spec
	conn   *poolConn // nil: it is being connected
	info   *machine.JobInfo
	parent context.Context
	until  time.Time
	made   atomic.Pointer[madeContext] // nil: nobody has asked, and it has not ended
}

// madeContext is the context that does the work of a jobContext.
type madeContext struct {
	context.Context
	cancel context.CancelFunc
}

// endedContext is that of each jobContext that ended before one was made.
var endedContext = func() *madeContext {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &madeContext{ctx, cancel}
}()

// begin starts the time that the function has.
func (c *jobContext) begin(timeout time.Duration) { c.until = c.spec.clock.wall().Add(timeout) }

// end ends the context. The pool actor and the connector may both do so.
func (c *jobContext) end() {
	if !c.made.CompareAndSwap(nil, endedContext) {
		c.made.Load().cancel()
	}
}

// make gives the context that does the work. Of two callers that make one at once, and of
// one that comes after the end, the other's counts.
func (c *jobContext) make() *madeContext {
	if m := c.made.Load(); m != nil {
		return m
	}
	ctx, cancel := context.WithDeadline(c.parent, c.until)
	m := &madeContext{ctx, cancel}
	if !c.made.CompareAndSwap(nil, m) {
		cancel()
	}
	return c.made.Load()
}

// Deadline implements context.Context.
func (c *jobContext) Deadline() (time.Time, bool) { return c.until, true }

// Done implements context.Context.
func (c *jobContext) Done() <-chan struct{} { return c.make().Done() }

// Err implements context.Context.
func (c *jobContext) Err() error {
	m := c.made.Load()
	if m == nil {
		if c.parent.Err() == nil && c.spec.clock.wall().Before(c.until) {
			return nil
		}
		m = c.make() // it says why, also to those who ask for Done later
	}
	return m.Err()
}

// Value implements context.Context. The standard library finds the context that does the
// work by it, and so needs no goroutine to end a child with it.
func (c *jobContext) Value(key any) any {
	if key == (hookKey{}) {
		return c
	}
	return c.make().Value(key)
}
