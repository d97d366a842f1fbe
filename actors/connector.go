package actors

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/ctxext"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// connector is what the pool actor keeps for one slot: the address of the
// connector actor that serves it, and the job under way in it.
type connector struct {
	pid     *actor.PID
	process actor.Process // of pid: what is sent to a connector that is no more is no dead letter
	held    *held
	job     *job

	failures *actor.RestartStatistics // of this connector actor; nil: there was none
}

// held is the connection in a connector's hand. It survives the connector's
// restarts. The pool takes it when the connector is given up.
type held struct{ conn atomic.Pointer[poolConn] }

func newHeld() *held { return &held{} }

var heldID = ctxext.NextContextExtensionID()

// ExtensionID implements ctxext.ContextExtension.
func (*held) ExtensionID() ctxext.ContextExtensionID { return heldID }

// job is one call of user code, and its report. The pool actor sends it to a
// connector, the connector sends it back.
type job struct {
	node    node
	kind    machine.EffectKind // Open, Check, Reset, Apply, Unapply or Disconnect
	slot    *machine.Slot
	conn    *poolConn // the connection; for Open, the result
	setting any       // for Apply
	asks    bool      // for Reset: Reusable is asked first
	info    machine.JobInfo
	timeout time.Duration
	context jobContext
	started atomic.Bool // user code may have run

	err     error
	class   messages.Class
	failure *messages.PanicError // user code has panicked
	code    contained
	by      *held // of the connector that ran it
}

// IgnoreDeadLetterLogging marks a report to a pool that has ended as no news:
// the connector closes the connection itself.
func (*job) IgnoreDeadLetterLogging() {}

// connectorActor runs jobs, one at a time. It has no state of its own but its hand, which
// it passes on when it is restarted. So it can be restarted at any time.
type connectorActor struct {
	spec *Spec
	held *held
}

// Receive implements actor.Actor.
func (a *connectorActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *job:
		a.run(ctx, msg)
	case *actor.Restarting:
		ctx.Set(a.held)
	case *actor.Started:
		if a.held == nil { // the one before has set it
			a.held, _ = ctx.Get(heldID).(*held)
		}
	case *actor.Stopping:
		// The pool was stopped from outside, this connector was given up, or somebody
		// else stops it. The pool must know before the connection is closed, and after
		// the reports that are on their way.
		ctx.Send(ctx.Parent(), &connectorStopped{held: a.held})
		if c := a.held.conn.Swap(nil); c != nil {
			ended := &jobContext{
				spec: a.spec, conn: c, parent: context.Background(), info: &machine.JobInfo{ID: c.id, Generation: c.generation},
			}
			ended.begin(a.spec.Policy.DisconnectTimeout)
			failure := contain(func() { a.disconnect(c, ended) })
			ended.end()
			if failure != nil {
				a.logPanic(phases[machine.Disconnect], failure)
			}
		}
	}
}

// connectorStopped is the message of a connector that stops. Usually the pool knows;
// if it does not, somebody else has stopped it.
type connectorStopped struct{ held *held }

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*connectorStopped) IgnoreDeadLetterLogging() {}

// run runs a job and reports it, also when user code panics. The pool, which
// supervises, sees that in the report: the panic itself does not go on to the actor
// library, which would log it from here, and the log handler of the actor system is
// code of the user, too. The report is sent before anything is logged.
func (a *connectorActor) run(ctx actor.Context, j *job) {
	j.started.Store(true)
	j.context.begin(j.timeout)
	failure := a.containJob(j)
	if failure != nil {
		j.err, j.class, j.failure = failure, messages.ClassOverload, failure
	}
	j.by = a.held
	j.context.end()
	phase := phases[j.kind]
	ctx.Send(ctx.Parent(), j)
	if failure != nil {
		a.logPanic(phase, failure)
	}
}

// logPanic logs a panic in user code. That of a Disconnect is told nobody else.
func (a *connectorActor) logPanic(phase string, failure *messages.PanicError) {
	if a.spec.Logger != nil || phase == phases[machine.Disconnect] {
		a.spec.logPanic("Panic in user code", failure, "phase", phase)
	}
}

func (a *connectorActor) perform(j *job) {
	if j.kind != machine.Disconnect && j.context.Err() != nil {
		// The pool was closed, or cleared, before this began: nothing is opened.
		j.err, j.class = j.context.Err(), messages.ClassIgnore
		return
	}
	// This goroutine is the job's own, and ends with it.
	labels := a.spec.labelsOf(j.kind)
	pprof.SetGoroutineLabels(labels)
	if trace.IsEnabled() {
		defer trace.StartRegion(labels, a.spec.regions.job+phases[j.kind]).End()
	}
	switch j.kind {
	case machine.Open:
		a.connect(j)
	case machine.Check:
		j.err = a.call(j, a.spec.Check)
	case machine.Reset:
		j.err = a.reset(j)
	case machine.Apply:
		j.err = a.call(j, func(ctx context.Context, conn any) error { return a.spec.Apply(ctx, conn, j.setting) })
	case machine.Unapply:
		j.err = a.call(j, a.spec.Unapply)
	case machine.Disconnect:
		a.held.conn.Store(nil)
		a.disconnect(j.conn, &j.context)
	}
}

// errGoexit is the value of a PanicError when user code did not return.
var errGoexit = errors.New("actorpool: the function ended its goroutine")

// contained is user code that runs on a goroutine of its own, because code that ends its
// goroutine, as FailNow in a test does, must not take the actor's with it.
type contained struct {
	failure  *messages.PanicError
	returned bool
	over     sync.WaitGroup
}

// contain runs user code, and gives its panic.
func contain(f func()) *messages.PanicError {
	c := &contained{}
	c.over.Add(1)
	go func() {
		defer c.end()
		f()
		c.returned = true
	}()
	c.over.Wait()
	return c.failure
}

// containJob is contain for a job, which has room for all that it needs.
func (a *connectorActor) containJob(j *job) *messages.PanicError {
	j.code.over.Add(1)
	go a.runCode(j)
	j.code.over.Wait()
	return j.code.failure
}

func (a *connectorActor) runCode(j *job) {
	defer j.code.end()
	a.perform(j)
	j.code.returned = true
}

// end is deferred by the goroutine of the code.
func (c *contained) end() {
	reason := recover()
	if reason == nil && !c.returned {
		reason = errGoexit
	}
	if reason != nil {
		c.failure = &messages.PanicError{Value: reason, Stack: debug.Stack()}
	}
	c.over.Done()
}

func (a *connectorActor) connect(j *job) {
	conn, err := a.spec.Connect(&j.context)
	if err != nil {
		j.err, j.class = err, a.spec.classifyFailure(messages.PhaseConnect, err)
		return
	}
	j.conn = newPoolConn(conn)
	j.conn.id, j.conn.generation, j.conn.opened = j.info.ID, j.info.Generation, a.spec.clock.now()
	a.held.conn.Store(j.conn)
}

func (a *connectorActor) call(j *job, f func(context.Context, any) error) error {
	return f(&j.context, j.conn.conn)
}

// reset prepares a connection for its next holder. One that was returned by message has
// not been asked yet whether there may be one.
func (a *connectorActor) reset(j *job) error {
	switch {
	case j.asks && !a.spec.Reusable(j.conn.conn):
		return errNotReusable
	case a.spec.Reset == nil:
		return nil
	}
	return a.call(j, a.spec.Reset)
}

// disconnect closes a connection under a bound of its own: not under the
// lifetime, which Close cancels first, or no disconnect would ever be graceful.
func (a *connectorActor) disconnect(c *poolConn, ctx *jobContext) {
	start := a.spec.clock.now()
	if err := c.disconnect(ctx, a.spec.Disconnect); err != nil {
		a.spec.log(slog.LevelDebug, "Disconnect failed", "driverConnectionId", c.id,
			"durationMS", milliseconds(a.spec.clock.now()-start), "error", err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
