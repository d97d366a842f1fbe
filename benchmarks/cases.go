package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// benchmark is one case.
type benchmark struct {
	name     string
	what     string
	capacity func() int
	// pools are the names of the pools that are measured; nil: the contestants.
	pools []string
	// first is the number of cycles that are tried first, and the least: 0: 1,000, and 1.
	first int
	// kind says what is measured.
	kind kind
	// run makes cycles of Get and Put. It calls start when everything is prepared.
	run func(p pool, e effort, start func()) (outcome, error)
}

type kind int

const (
	wholes  kind = iota // the time of all cycles, divided by their number
	waits               // the time of each Get
	pausing             // the time of each Get and Put
	shares              // how many cycles each goroutine has had
)

// effort says how much is done: n cycles, or, if the kind is shares, as many as there are in a
// time.
type effort struct {
	n     int
	lasts time.Duration
}

// outcome is what a run has found.
type outcome struct {
	n      int
	times  []time.Duration
	counts []int
}

var cases = slices.Concat([]benchmark{
	{
		name: "serial", what: "one goroutine, a connection is always idle",
		capacity: of(8),
		run:      serial,
	},
	{
		name: "serial-cancellable", what: "the same, with a context that can end",
		capacity: of(8),
		run:      cancellable(cycles),
	},
	{
		name: "parallel", what: "a goroutine for each processor, 64 connections: nobody waits",
		capacity: func() int { return max(64, runtime.GOMAXPROCS(0)) },
		run:      crowded(runtime.GOMAXPROCS(0), nil),
	},
	{
		name: "exhausted", what: "64 goroutines on 4 connections, each holder yields once",
		capacity: of(4),
		run:      crowded(64, runtime.Gosched),
	},
	{
		name: "exhausted-cancellable", what: "the same, with contexts that can end",
		capacity: of(4),
		run: cancellable(func(ctx context.Context, p pool, n int, start func()) error {
			return crowd(64, n, start, func(_, _ int) error { return p.cycle(ctx, runtime.Gosched) })
		}),
	},
	{
		name: "crowd", what: "10,000 goroutines on 100 connections, each holder yields once",
		capacity: of(100), first: 50_000, // five for each goroutine
		run: crowded(10_000, runtime.Gosched),
	},
	{
		name: "onchange", what: "serial, with and without OnChange",
		capacity: of(8), pools: []string{reference, again, withOnChange},
		run: serial,
	},
	{
		name: "go-redis", what: "serial: a command of go-redis to a server in memory, with its pool and over a connection that is held",
		capacity: of(8), pools: []string{redisClient, heldRedis},
		run: serial,
	},
	{
		name: "wait", what: "64 goroutines on 4 connections, each holder works for a few microseconds, then yields once; the time of each Get",
		capacity: of(4),
		kind:     waits, run: waiting,
	},
	{
		name: "fairness", what: "64 goroutines on 4 connections, each holder yields once: how often each goroutine gets one",
		capacity: of(4), pools: append(contestantNames(), redisClient),
		kind: shares, run: sharing,
	},
}, pauseCases())

func pauseCases() []benchmark {
	names := append([]string{nothing}, contestantNames()...)
	var made []benchmark
	for _, p := range pauses {
		made = append(made, benchmark{
			name: p.name, what: p.what, capacity: of(8), pools: names, first: 20, kind: pausing, run: paused(p.make),
		})
	}
	return made
}

// drawn says that there is a plot of the case.
func (c benchmark) drawn() bool { return c.pools == nil }

func contestantNames() []string {
	var names []string
	for _, k := range contestants {
		names = append(names, k.name)
	}
	return names
}

// contestants returns the pools that are measured in the case.
func (c benchmark) contestants() []contestant {
	if c.pools == nil {
		return contestants
	}
	var found []contestant
	for _, name := range c.pools {
		k, err := named(name)
		if err != nil {
			panic(err) // the table of cases is wrong
		}
		found = append(found, k)
	}
	return found
}

func of(n int) func() int { return func() int { return n } }

func serial(p pool, e effort, start func()) (outcome, error) {
	return outcome{n: e.n}, cycles(context.Background(), p, e.n, start)
}

func cycles(ctx context.Context, p pool, n int, start func()) error {
	start()
	for range n {
		if err := p.cycle(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func cancellable(f func(context.Context, pool, int, func()) error) func(pool, effort, func()) (outcome, error) {
	return func(p pool, e effort, start func()) (outcome, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		return outcome{n: e.n}, f(ctx, p, e.n, start)
	}
}

// crowded divides cycles among goroutines. Each does two others before, while all do: what is
// measured is a crowd that stands already. No stack grows any more, and what a pool keeps for a
// waiter is there.
func crowded(goroutines int, hold func()) func(pool, effort, func()) (outcome, error) {
	return func(p pool, e effort, start func()) (outcome, error) {
		times := func(n int) error {
			for range n {
				if err := p.cycle(context.Background(), hold); err != nil {
					return err
				}
			}
			return nil
		}
		return outcome{n: e.n}, together(goroutines, start,
			func(int) error { return times(2) },
			func(g int) error { return times(share(e.n, goroutines, g)) })
	}
}

// crowd divides n calls of f among goroutines that start at the same time. f gets the number of
// its goroutine, and of the call in that goroutine.
func crowd(goroutines, n int, start func(), f func(goroutine, call int) error) error {
	return together(goroutines, start, nothingBefore, func(g int) error {
		for i := range share(n, goroutines, g) {
			if err := f(g, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// together calls f in goroutines that start at the same time, after each of them has returned
// from first, which they start at the same time, too.
func together(goroutines int, start func(), first, f func(goroutine int) error) error {
	var ready, warm, done sync.WaitGroup
	var failed atomic.Pointer[error] // one of them
	try := func(f func(int) error, g int) {
		if err := f(g); err != nil {
			found := err // that err itself stays off the heap: it would count for the pool
			failed.Store(&found)
		}
	}
	begin, open := make(chan struct{}), make(chan struct{})
	ready.Add(goroutines)
	warm.Add(goroutines)
	for g := range goroutines {
		done.Go(func() {
			ready.Done()
			<-begin
			try(first, g)
			warm.Done()
			<-open
			try(f, g)
		})
	}
	ready.Wait()
	close(begin)
	warm.Wait()
	start()
	close(open)
	done.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func nothingBefore(int) error { return nil }

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

// waiting runs the wait case and returns the time of each Get.
func waiting(p pool, e effort, start func()) (outcome, error) {
	all := make([][]time.Duration, waitGoroutines)
	began := make([]time.Time, waitGoroutines)
	hold := make([]func(), waitGoroutines)
	for g := range waitGoroutines {
		all[g] = make([]time.Duration, 0, share(e.n, waitGoroutines, g))
		hold[g] = func() {
			all[g] = append(all[g], time.Since(began[g]))
			work()
		}
	}
	err := crowd(waitGoroutines, e.n, start, func(g, _ int) error {
		began[g] = time.Now()
		return p.cycle(context.Background(), hold[g])
	})
	return outcome{n: e.n, times: slices.Concat(all...)}, err
}

// sharing lets all goroutines get and put until a time is over, at least once, and counts
// for each.
func sharing(p pool, e effort, start func()) (outcome, error) {
	const goroutines, apart = 64, 16 // apart: no two counts in one cache line
	counts := make([]int, goroutines*apart)
	var over atomic.Bool
	err := together(goroutines, func() {
		start()
		time.AfterFunc(e.lasts, func() { over.Store(true) })
	}, nothingBefore, func(g int) error {
		for once := false; !once || !over.Load(); once = true {
			if err := p.cycle(context.Background(), runtime.Gosched); err != nil {
				return err
			}
			counts[g*apart]++
		}
		return nil
	})
	o := outcome{}
	for g := range goroutines {
		o.counts = append(o.counts, counts[g*apart])
		o.n += counts[g*apart]
	}
	return o, err
}
