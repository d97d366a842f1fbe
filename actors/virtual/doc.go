// Package virtual runs the machine of a pool in virtual time. It is the engine of the
// packages sim and forecast, which most programs use instead. It lies here because the
// machine is internal to package actors.
//
// A [Pool] is the machine that a real pool has, and a queue of events in the order of
// their time, and of their making where that is the same. There is no goroutine, no
// clock and no connection. What a real pool waits for is an event here: a connect, a
// check, the end of a lease, a deadline, a timer. So an hour of a pool takes no longer
// than the machine needs to decide, and the same inputs give the same run.
//
// The world around the pool is the caller's: [Hooks] say how long a connect takes and
// whether it fails, and for how long a connection is held; [Pool.At] and [Pool.Get]
// bring the callers.
//
//	var pool *virtual.Pool
//	pool = virtual.New(virtual.Config{
//		Policy: virtual.Policy{Capacity: 8, ConnectTimeout: time.Second},
//		Hooks: virtual.Hooks{
//			Job:     func(virtual.Job) virtual.Outcome { return virtual.Outcome{After: 5 * time.Millisecond} },
//			Granted: func(g *virtual.Get) virtual.Use { return virtual.Use{For: 20 * time.Millisecond} },
//		},
//	})
//	pool.At(time.Second, func() { pool.Get(&virtual.Get{Deadline: 2 * time.Second}) })
//	err := pool.Run(time.Minute)
//
// Nothing here may be used by two goroutines at once.
//
// # Steps, checks and traces
//
// Each input to the machine is a step. After every Config.CheckEvery steps the pool
// checks what must hold: the machine's own invariants, and what a pool promises to those
// who look at it from outside. With a Config.Trace each step is written in the format of
// the traces in actors/internal/machine/testdata, so that the machine's tests can run
// it again.
package virtual
