package actors

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

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

	failures *actor.RestartStatistics // of this connector actor
}

// held is the connection in a connector's hand. It survives the connector's
// restarts. The pool takes it when the connector is given up.
type held struct{ conn atomic.Pointer[poolConn] }

func newHeld() *held { return &held{} }

// job is one call of user code, and its report. The pool actor sends it to a
// connector, the connector sends it back.
type job struct {
	kind    machine.EffectKind // Open, Check, Reset, Apply, Unapply or Disconnect
	slot    *machine.Slot
	conn    *poolConn // the connection; for Open, the result
	setting any       // for Apply
	asks    bool      // for Reset: Reusable is asked first
	info    machine.JobInfo
	timeout time.Duration
	ctx     context.Context
	cancel  context.CancelFunc
	started atomic.Bool // user code may have run

	err     error
	class   messages.Class
	failure *messages.PanicError // user code has panicked
	by      *held                // of the connector that ran it
}

// IgnoreDeadLetterLogging marks a report to a pool that has ended as no news:
// the connector closes the connection itself.
func (*job) IgnoreDeadLetterLogging() {}

// connectorActor runs jobs, one at a time. It has no state of its own, so that it can
// be restarted at any time.
type connectorActor struct {
	spec *Spec
	held *held
}

// Receive implements actor.Actor.
func (a *connectorActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *job:
		a.run(ctx, msg)
	case *actor.Stopping:
		// The pool was stopped from outside, this connector was given up, or somebody
		// else stops it. The pool must know before the connection is closed, and after
		// the reports that are on their way.
		ctx.Send(ctx.Parent(), &connectorStopped{held: a.held})
		if c := a.held.conn.Swap(nil); c != nil {
			if failure := contain(func() { a.disconnect(c, machine.JobInfo{ID: c.id, Generation: c.generation}) }); failure != nil {
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
	failure := contain(func() { a.perform(j) })
	if failure != nil {
		j.err, j.class, j.failure = failure, messages.ClassOverload, failure
	}
	j.by = a.held
	if j.cancel != nil {
		j.cancel()
	}
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
	if j.ctx != nil && j.ctx.Err() != nil {
		// The pool was closed, or cleared, before this began: nothing is opened.
		j.err, j.class = j.ctx.Err(), messages.ClassIgnore
		return
	}
	// This goroutine is the job's own, and ends with it.
	pprof.SetGoroutineLabels(a.spec.labels[j.kind])
	if trace.IsEnabled() {
		defer trace.StartRegion(a.spec.labels[j.kind], a.spec.regions.job+phases[j.kind]).End()
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
		a.disconnect(j.conn, j.info)
	}
}

// errGoexit is the value of a PanicError when user code did not return.
var errGoexit = errors.New("actorpool: the function ended its goroutine")

// contain runs user code. It has a goroutine of its own, because code that ends
// its goroutine, as FailNow in a test does, must not take the actor's with it.
func contain(f func()) *messages.PanicError {
	failure := make(chan *messages.PanicError, 1)
	go func() {
		returned := false
		defer func() {
			reason := recover()
			if reason == nil && !returned {
				reason = errGoexit
			}
			if reason != nil {
				failure <- &messages.PanicError{Value: reason, Stack: debug.Stack()}
			}
			close(failure)
		}()
		f()
		returned = true
	}()
	return <-failure
}

func (a *connectorActor) connect(j *job) {
	ctx, cancel := context.WithTimeout(j.ctx, j.timeout)
	defer cancel()
	conn, err := a.spec.Connect(&hookContext{ctx, a.spec, nil, &j.info})
	if err != nil {
		j.err, j.class = err, a.spec.classifyFailure(messages.PhaseConnect, err)
		return
	}
	j.conn = newPoolConn(conn)
	j.conn.id, j.conn.generation, j.conn.opened = j.info.ID, j.info.Generation, a.spec.clock.now()
	a.held.conn.Store(j.conn)
}

func (a *connectorActor) call(j *job, f func(context.Context, any) error) error {
	ctx, cancel := context.WithTimeout(j.ctx, j.timeout)
	defer cancel()
	return f(&hookContext{ctx, a.spec, j.conn, &j.info}, j.conn.conn)
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
func (a *connectorActor) disconnect(c *poolConn, info machine.JobInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), a.spec.Policy.DisconnectTimeout)
	defer cancel()
	start := a.spec.clock.now()
	if err := c.disconnect(&hookContext{ctx, a.spec, c, &info}, a.spec.Disconnect); err != nil {
		a.spec.log(slog.LevelDebug, "Disconnect failed", "driverConnectionId", c.id,
			"durationMS", milliseconds(a.spec.clock.now()-start), "error", err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
