package main

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
)

// start tells the supervisor to start a worker.
type start struct {
	name    string
	failure failure
}

// supervisorProps makes the supervisor of the workers: it restarts a worker that panics.
func supervisorProps(pool *actor.PID, log *eventLog, finished chan<- string) *actor.Props {
	restart := actor.NewOneForOneStrategy(3, time.Minute, actor.DefaultDecider)
	return actor.PropsFromFunc(func(ctx actor.Context) {
		msg, ok := ctx.Message().(start)
		if !ok {
			return
		}
		if _, err := ctx.SpawnNamed(workerProps(msg, pool, log, finished), msg.name); err != nil {
			log.printf("main", "cannot start %s: %v", msg.name, err)
			finished <- msg.name
		}
	}, actor.WithSupervisor(restart))
}

// workerProps makes a worker. A pool notices when a borrower stops, but not when it is
// restarted. The middleware ReleaseOnRestart tells the pool, which then ends the leases and
// waits of the old incarnation. Without it the new incarnation would have to know them.
func workerProps(msg start, pool *actor.PID, log *eventLog, finished chan<- string) *actor.Props {
	incarnation := 0
	return actor.PropsFromProducer(func() actor.Actor {
		incarnation++ // the producer is called again for each restart
		return &worker{
			name: msg.name, failure: msg.failure, incarnation: incarnation, pool: pool, log: log, finished: finished,
		}
	}, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(pool)))
}
