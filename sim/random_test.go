package sim_test

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/sim"
)

// drawn is a run whose arguments are all drawn from its seed.
type drawn struct {
	cfg      client.Config[*conn]
	workload sim.Workload
	server   sim.Server
	seed     uint64
}

func (d drawn) run(opts ...sim.Option) sim.Result {
	return sim.Run(d.cfg, d.workload, d.server, d.seed, opts...)
}

// called is a function that a simulation does not call.
func called[T any](context.Context, T) error { panic("a simulation calls no function") }

// draw draws all the options of a pool, callers that use everything, and a server with
// all its faults.
func draw(seed uint64) drawn {
	r := rand.New(rand.NewPCG(seed, 77))
	yes := func() bool { return r.IntN(2) == 0 }
	seldom := func() bool { return r.IntN(5) == 0 }
	oneOf := func(of ...time.Duration) time.Duration { return of[r.IntN(len(of))] }
	cfg := service()
	cfg.Capacity = []int{client.NoCapacity, 1, 2, 3, 4, 8, 30}[r.IntN(7)]
	most := max(cfg.Capacity, 0)
	if seldom() {
		cfg.MaxIdle = 1 + r.IntN(4)
		most = min(most, cfg.MaxIdle)
	}
	if yes() {
		cfg.MinIdle = r.IntN(most + 1)
	}
	if seldom() {
		cfg.MinOpen = r.IntN(most + 1)
	}
	if seldom() {
		cfg.MaxUses = 1 + r.IntN(20)
	}
	cfg.MaxConnecting = r.IntN(4)
	if seldom() {
		cfg.MaxWaiters = 1 + r.IntN(10)
	}
	cfg.PauseOnClear = seldom()
	if yes() {
		cfg.Check = called
		cfg.CheckAfterIdle = oneOf(0, -1, time.Millisecond, 20*time.Millisecond)
		cfg.CheckTimeout = oneOf(0, 50*time.Millisecond)
		cfg.KeepAlive = oneOf(0, 30*time.Millisecond, time.Second)
	}
	if seldom() {
		cfg.Reset, cfg.ResetWipesSetting = called, yes()
	}
	if seldom() {
		cfg.Reusable = func(*conn) bool { panic("a simulation calls no function") }
	}
	cfg.IdleTimeout = oneOf(0, 0, 50*time.Millisecond, time.Second)
	cfg.MaxLifetime = oneOf(0, 0, 100*time.Millisecond, 2*time.Second)
	if cfg.MaxLifetime > 0 {
		cfg.MaxLifetimeJitter = oneOf(0, client.NoJitter, cfg.MaxLifetime)
	}
	cfg.ConnectTimeout = oneOf(20*time.Millisecond, 200*time.Millisecond, 0)
	cfg.DisconnectTimeout = oneOf(0, 10*time.Millisecond)
	cfg.GetTimeout = oneOf(0, 0, 20*time.Millisecond, time.Second)
	if seldom() {
		cfg.Reserve = 5 * time.Millisecond
	}
	if seldom() {
		cfg.LeakAfter = oneOf(10*time.Millisecond, time.Second)
	}
	if seldom() {
		cfg.MaxLease = oneOf(20*time.Millisecond, time.Second)
	}
	cfg.Backoff = client.Backoff{
		Mode: []client.BackoffMode{client.BackoffWait, client.BackoffWait, client.BackoffFailFast, client.BackoffNever}[r.IntN(4)],
		Base: oneOf(10*time.Millisecond, 200*time.Millisecond), Cap: oneOf(0, time.Second),
		Jitter: []float64{0, .3, client.NoJitter}[r.IntN(3)],
	}
	cfg.ShedHopeless = seldom()
	if seldom() {
		cfg.Shed = client.CoDel{Target: 5 * time.Millisecond, Interval: 50 * time.Millisecond}
	}
	switch r.IntN(4) {
	case 0:
		cfg.OnEvent = func(messages.Event) { panic("a simulation calls no function") }
	case 1:
		cfg.OnChange = func(messages.Event) { panic("a simulation calls no function") }
	}

	dist := func(d time.Duration) sim.Dist {
		switch r.IntN(6) {
		case 0:
			return sim.Exactly(d)
		case 1:
			return sim.LogNormal(d, 1)
		case 2:
			return sim.Uniform(0, 2*d)
		case 3:
			return sim.Samples(0, d/2, d, 3*d)
		case 4:
			return sim.Exactly(0)
		default:
			return sim.Exponential(d)
		}
	}
	w := sim.Workload{
		Gets: []int{30, 100, 300, 1000}[r.IntN(4)],
		Hold: sim.Exponential(oneOf(time.Millisecond, 5*time.Millisecond)),
	}
	if !seldom() {
		w.Rate = []float64{50, 500, 1000, 3000}[r.IntN(4)]
	}
	if w.Rate == 0 || yes() {
		w.Sessions, w.Think = 1+r.IntN(20), dist(5*time.Millisecond)
	}
	if yes() {
		w.Patience = dist(oneOf(10*time.Millisecond, 100*time.Millisecond))
	}
	if seldom() {
		w.Cancels = .1
	}
	if seldom() {
		cfg.Apply = func(context.Context, *conn, any) error { panic("a simulation calls no function") }
		if yes() {
			cfg.Unapply = called
		}
		w.Settings = [][]string{{"", "red"}, {"", "", "red", "blue"}, {"red", "blue", "green"}}[r.IntN(3)]
	}
	w.Broken = []float64{0, .01, .1}[r.IntN(3)]
	if seldom() {
		w.Nested = .2
	}
	if seldom() {
		w.Actors = .5
	}
	if yes() {
		w.Chaos = []float64{1, 20, 200}[r.IntN(3)]
	}
	if cfg.Capacity == client.NoCapacity {
		w.Script = []sim.Action{sim.SetCapacity(50*time.Millisecond, 3)}
	}
	s := sim.Server{
		Connect: dist(5 * time.Millisecond), Check: dist(time.Millisecond), Reset: dist(time.Millisecond),
		Apply: dist(time.Millisecond), Unapply: dist(time.Millisecond), Disconnect: dist(time.Millisecond),
	}
	if seldom() {
		s.Limit = 1 + r.IntN(4)
	}
	if yes() {
		s.FaultEvery, s.FaultFor = oneOf(300*time.Millisecond, 3*time.Second), dist(100*time.Millisecond)
	}
	s.Fails = []float64{0, .02, .2}[r.IntN(3)]
	s.Deaf = []float64{0, 0, .05}[r.IntN(3)]
	return drawn{cfg: cfg, workload: w, server: s, seed: seed}
}
