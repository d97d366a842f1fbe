package main

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
)

// hire tells the office to employ somebody.
type hire struct {
	name     string
	accident accident
}

// officeProps makes the supervisor of the clerks: it restarts those that crash.
func officeProps(pool *actor.PID, p *page, through chan<- string) *actor.Props {
	restart := actor.NewOneForOneStrategy(3, time.Minute, actor.DefaultDecider)
	return actor.PropsFromFunc(func(ctx actor.Context) {
		hired, ok := ctx.Message().(hire)
		if !ok {
			return
		}
		if _, err := ctx.SpawnNamed(clerkProps(hired, pool, p, through), hired.name); err != nil {
			p.say("office", "cannot hire %s: %v", hired.name, err)
			through <- hired.name
		}
	}, actor.WithSupervisor(restart))
}

// clerkProps makes a clerk. A pool learns by itself that a borrower has stopped;
// nobody is told of a restart, so the middleware tells the pool, and what the
// former incarnation held and waited for is released. Without it the new
// incarnation would own the leases of the former one and have to know of them.
func clerkProps(hired hire, pool *actor.PID, p *page, through chan<- string) *actor.Props {
	life := 0
	return actor.PropsFromProducer(func() actor.Actor {
		life++ // each restart makes a new one
		return &clerk{name: hired.name, accident: hired.accident, life: life, pool: pool, page: p, through: through}
	}, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(pool)))
}
