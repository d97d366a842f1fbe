package supervisor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A pool gives up a connector that panics more than Limit times within Window.
const (
	Limit  = 10
	Window = 10 * time.Second
)

// Connectors returns a strategy that restarts a connector that panicked, at most limit
// times within window. After one panic more it calls gaveUp with the connector's PID, on
// the turn of the supervising actor, and stops the connector.
func Connectors(limit int, window time.Duration, gaveUp func(child *actor.PID)) actor.SupervisorStrategy {
	return &connectorStrategy{limit: limit, window: window, gaveUp: gaveUp}
}

type connectorStrategy struct {
	limit  int
	window time.Duration
	gaveUp func(*actor.PID)
}

// HandleFailure implements actor.SupervisorStrategy.
func (c *connectorStrategy) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID,
	stats *actor.RestartStatistics, reason, _ any,
) {
	if stats.NumberOfFailures(c.window) == 0 {
		stats.Reset() // the library never forgets failures by itself
	}
	stats.Fail()
	if stats.NumberOfFailures(c.window) > c.limit {
		stats.Reset()
		publish(system, child, reason, actor.StopDirective)
		c.gaveUp(child)
		supervisor.StopChildren(child)
		return
	}
	publish(system, child, reason, actor.RestartDirective)
	supervisor.RestartChildren(child)
}

// Pool returns the strategy that stops a pool actor that panicked. It is for pools that
// are not children of another actor. For a child, the parent's strategy decides; if that
// restarts the pool, the pool stops itself.
func Pool() actor.SupervisorStrategy { return stopPool }

// The library has one guardian actor for each strategy, and finds it by comparing
// strategies: so all pools share this one.
var stopPool actor.SupervisorStrategy = &stop{}

// stop is not empty, because pointers to different variables of size zero may be equal.
type stop struct{ _ byte }

// HandleFailure implements actor.SupervisorStrategy.
func (*stop) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any,
) {
	publish(system, child, reason, actor.StopDirective)
	supervisor.StopChildren(child)
}

// publish reports what was decided to the system's event stream, as the library's own
// strategies do, but from a goroutine of its own: subscribers, the log of the actor
// system among them, must not run on the turn of the actor that supervises. A
// subscriber that panics ends that goroutine and nothing else.
func publish(system *actor.ActorSystem, child *actor.PID, reason any, directive actor.Directive) {
	go func() {
		defer func() { _ = recover() }()
		system.EventStream.Publish(&actor.SupervisorEvent{Child: child, Reason: reason, Directive: directive})
	}()
}
