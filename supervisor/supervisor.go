package supervisor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Defaults of the restart limit for connectors: one that panics more than
// Limit times within Window is given up.
const (
	Limit  = 10
	Window = 10 * time.Second
)

// Connectors restarts a failed connector, up to limit times within window.
// Then it calls gaveUp with the connector, on the turn of the supervising actor,
// and stops it.
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
		stats.Reset() // or it would remember every failure for ever
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

// Pool stops a failed pool actor. It is the guardian of a pool that has no
// parent; under a parent, the parent's strategy decides, and a pool that is
// restarted all the same stops itself.
func Pool() actor.SupervisorStrategy { return stopPool }

// The guardian of a system is found by its strategy, so there is one strategy.
var stopPool actor.SupervisorStrategy = &stop{}

type stop struct{ _ byte }

// HandleFailure implements actor.SupervisorStrategy.
func (*stop) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any,
) {
	publish(system, child, reason, actor.StopDirective)
	supervisor.StopChildren(child)
}

func publish(system *actor.ActorSystem, child *actor.PID, reason any, directive actor.Directive) {
	system.EventStream.Publish(&actor.SupervisorEvent{Child: child, Reason: reason, Directive: directive})
}
