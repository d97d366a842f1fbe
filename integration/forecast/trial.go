//go:build unix

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// load is how much comes to a pool.
type load struct {
	*workload
	timeout time.Duration // GetTimeout; 0: none
	rate    float64       // Gets per second, of all sessions together
	hold    time.Duration
	length  time.Duration
	jobs    func(*rand.Rand, time.Duration) []job // nil: they come at random, at the rate
}

// record runs the load on a pool with a capacity and records it. All connections are open before.
func (l *load) record(ctx context.Context, dsn string, capacity int, seed uint64) (_ *messages.Recording, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(l.length+time.Minute, cancel).Stop() // no deadline: it would be recorded
	pool, err := client.New(client.Config[*pgx.Conn]{
		Name: l.name, Capacity: capacity, MinIdle: capacity, GetTimeout: l.timeout,
		Connect:    func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) },
		Disconnect: func(ctx context.Context, c *pgx.Conn) error { return c.Close(ctx) },
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pool.Close(ctx)) }()
	for pool.Stats().Idle < capacity {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	recorded := make(chan error, 1)
	var recording *messages.Recording
	during, end := context.WithCancel(ctx)
	defer end()
	go func() {
		var err error
		recording, err = pool.Record(during, client.RecordOptions{})
		recorded <- err
	}()
	rnd := rand.New(rand.NewPCG(seed, uint64(capacity)))
	if l.sessions > 0 {
		err = l.runSessions(ctx, pool, rnd)
	} else {
		err = l.runOpen(ctx, pool, rnd)
	}
	end()
	return recording, errors.Join(err, <-recorded)
}

// runOpen lets jobs come when they come, each on a goroutine of its own.
func (l *load) runOpen(ctx context.Context, pool *client.Pool[*pgx.Conn], rnd *rand.Rand) error {
	jobs := l.open(rnd, l.rate, l.length)
	if l.jobs != nil {
		jobs = l.jobs(rnd, l.length)
	}
	results := make([]error, len(jobs))
	var running sync.WaitGroup
	start := time.Now()
	for i := range jobs {
		time.Sleep(time.Until(start.Add(jobs[i].at)))
		running.Go(func() {
			if err := pool.Do(ctx, jobs[i].do); !errors.Is(err, context.DeadlineExceeded) { // that one is recorded
				results[i] = err
			}
		})
	}
	running.Wait()
	return errors.Join(results...)
}

// runSessions lets each session think, do a job, and think again.
func (l *load) runSessions(ctx context.Context, pool *client.Pool[*pgx.Conn], rnd *rand.Rand) error {
	think := float64(l.sessions)/l.rate*float64(time.Second) - float64(l.hold)
	results := make([]error, l.sessions)
	var running sync.WaitGroup
	start := time.Now()
	for i := range l.sessions {
		own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		running.Go(func() {
			for results[i] == nil {
				time.Sleep(time.Duration(own.ExpFloat64() * think))
				if time.Since(start) > l.length {
					return
				}
				j := l.job(own, 0)
				results[i] = pool.Do(ctx, j.do)
			}
		})
	}
	running.Wait()
	return errors.Join(results...)
}

// measured is what a recording says of itself.
type measured struct {
	gets      int
	mean, p99 time.Duration // waits of those that were granted
	hold      time.Duration // mean
}

func measure(r *messages.Recording) measured {
	var m measured
	var waits []time.Duration
	for _, g := range r.Gets {
		if g.Outcome == messages.RecordedGranted {
			waits = append(waits, g.Wait)
			m.mean += g.Wait
			m.hold += g.Hold
		}
	}
	if m.gets = len(waits); m.gets == 0 {
		return m
	}
	slices.Sort(waits)
	m.mean /= time.Duration(m.gets)
	m.hold /= time.Duration(m.gets)
	m.p99 = waits[(m.gets*99+99)/100-1]
	return m
}
