package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// benchmark is one case.
type benchmark struct {
	name     string
	what     string
	capacity func() int
	// run makes n cycles of Get and Put. It calls start when everything is prepared.
	run func(p pool, n int, start func()) error
	// waits says that the time of each Get is measured, and not only that of all cycles.
	waits bool
}

var cases = []benchmark{
	{
		name: "serial", what: "one goroutine, a connection is always idle",
		capacity: of(8),
		run:      serial(context.Background()),
	},
	{
		name: "serial-cancellable", what: "the same, with a context that can end",
		capacity: of(8),
		run: func(p pool, n int, start func()) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			return serial(ctx)(p, n, start)
		},
	},
	{
		name: "parallel", what: "a goroutine for each processor, 64 connections: nobody waits",
		capacity: func() int { return max(64, runtime.GOMAXPROCS(0)) },
		run: func(p pool, n int, start func()) error {
			return crowd(runtime.GOMAXPROCS(0), n, start, func(_, _ int) error { return p.cycle(context.Background(), nil) })
		},
	},
	{
		name: "exhausted", what: "64 goroutines on 4 connections, each holder yields once",
		capacity: of(4),
		run: func(p pool, n int, start func()) error {
			return crowd(64, n, start, func(_, _ int) error { return p.cycle(context.Background(), runtime.Gosched) })
		},
	},
	{
		name: "exhausted-cancellable", what: "the same, with contexts that can end",
		capacity: of(4),
		run: func(p pool, n int, start func()) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			return crowd(64, n, start, func(_, _ int) error { return p.cycle(ctx, runtime.Gosched) })
		},
	},
	{
		name: "wait", what: "64 goroutines on 4 connections, each holder works for a few microseconds, then yields once; the time of each Get",
		capacity: of(4),
		waits:    true,
	},
}

func of(n int) func() int { return func() int { return n } }

func serial(ctx context.Context) func(pool, int, func()) error {
	return func(p pool, n int, start func()) error {
		start()
		for range n {
			if err := p.cycle(ctx, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

// crowd divides n calls of f among goroutines that start at the same time. f gets the number of
// its goroutine, and of the call in that goroutine.
func crowd(goroutines, n int, start func(), f func(goroutine, call int) error) error {
	var ready, done sync.WaitGroup
	var once sync.Once
	var failed error
	open := make(chan struct{})
	for g := range goroutines {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-open
			for i := range share(n, goroutines, g) {
				if err := f(g, i); err != nil {
					once.Do(func() { failed = err })
					return
				}
			}
		})
	}
	ready.Wait()
	start()
	close(open)
	done.Wait()
	return failed
}

// share is the number of calls of goroutine g, if several share n.
func share(n, goroutines, g int) int {
	if g < n%goroutines {
		return n/goroutines + 1
	}
	return n / goroutines
}

const (
	waitGoroutines = 64
	workSteps      = 2000
)

// work is what a holder does in the wait case, the same for every pool.
func work() {
	x := uint32(1)
	for range workSteps {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
	}
	if x == 0 {
		panic("unreachable")
	}
	runtime.Gosched()
}

// waiting runs the wait case and returns the time of each Get, sorted.
func waiting(p pool, n int, start func()) ([]time.Duration, error) {
	all := make([][]time.Duration, waitGoroutines)
	began := make([]time.Time, waitGoroutines)
	hold := make([]func(), waitGoroutines)
	for g := range waitGoroutines {
		all[g] = make([]time.Duration, 0, share(n, waitGoroutines, g))
		hold[g] = func() {
			all[g] = append(all[g], time.Since(began[g]))
			work()
		}
	}
	err := crowd(waitGoroutines, n, start, func(g, _ int) error {
		began[g] = time.Now()
		return p.cycle(context.Background(), hold[g])
	})
	times := slices.Concat(all...)
	slices.Sort(times)
	return times, err
}
