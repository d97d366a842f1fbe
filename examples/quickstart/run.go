package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// demo is one run. Only the goroutine that called run uses its fields, except for the
// counters (conns, watch, tally), which the workers and the pool use, too.
type demo struct {
	opts   options
	server *miniredis.Miniredis // nil with -addr
	up     bool                 // the server is running
	pool   *client.Pool[*redisConn]
	start  time.Time
	screen *screen

	conns connections
	watch watch
	tally tally

	outage    outage
	bound     int64  // connections that are allowed now
	excesses  int    // progress lines at which there were more, or Stats did not add up
	last      sample // of the last progress line
	interrupt bool
}

// outage is what the pool did while the server was stopped.
type outage struct {
	before, after client.Stats
	mostProbes    int64     // most connects at the same time while the pool backed off
	done          int64     // operations that had succeeded by its end
	until         time.Time // zero: there was no outage, or it has not ended
}

// step is something that the demo does at a given time.
type step struct {
	at time.Duration
	do func(context.Context) error
}

// run runs the demo until its time is over or ctx ends. It returns an error if a check
// failed.
func run(ctx context.Context, opts options, out io.Writer) (*result, error) {
	d := &demo{opts: opts, screen: newScreen(out, opts.colour), bound: int64(opts.capacity)}
	addr := opts.addr
	if addr == "" {
		server, err := miniredis.Run()
		if err != nil {
			return nil, err
		}
		defer server.Close()
		d.server, d.up, addr = server, true, server.Addr()
	}
	var err error
	if d.pool, err = newPool(addr, opts.capacity, &d.conns, &d.watch); err != nil {
		return nil, err
	}
	// A pool connects when a Get needs a connection. Ready makes it connect now, so that a
	// wrong address is noticed at once.
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	closePage, err := d.servePage(opts.http)
	if err != nil {
		return nil, errors.Join(err, d.closeNow())
	}
	defer closePage()
	d.start = time.Now()
	d.screen.head(opts, addr)

	// The workers end when the pool is closed. Their context is for operations that take
	// too long.
	working, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits := d.work(working)

	err = d.play(ctx)
	closed := d.close(cancel)
	r := d.result(closed, waits())
	r.print(d.screen)
	if err != nil {
		return r, err
	}
	return r, r.err()
}

// ready waits for the first connection.
func (d *demo) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := d.pool.Ready(ctx); err != nil {
		return errors.Join(err, d.closeNow())
	}
	return nil
}

// work starts the workers. The function that it returns waits for their end.
func (d *demo) work(ctx context.Context) (wait func() *histogram) {
	workers := make([]*worker, d.opts.workers)
	var group sync.WaitGroup
	for i := range workers {
		w := &worker{pool: d.pool, key: fmt.Sprintf("actorpool:quickstart:%d", i), label: fmt.Sprintf("worker %d", i), tally: &d.tally}
		workers[i] = w
		group.Go(func() { w.run(ctx) })
	}
	return func() *histogram {
		group.Wait()
		var all histogram
		for _, w := range workers {
			all.merge(&w.waits) // each worker has its own, without a lock
		}
		return &all
	}
}

// play runs the steps of the script, with a progress line every half second.
func (d *demo) play(ctx context.Context) error {
	progress := time.NewTicker(500 * time.Millisecond)
	defer progress.Stop()
	script := d.script()
	for len(script) > 0 {
		due := time.NewTimer(time.Until(d.start.Add(script[0].at)))
		select {
		case <-ctx.Done():
			due.Stop()
			d.interrupt = true
			return nil
		case <-progress.C:
			due.Stop()
			d.progress()
		case <-due.C:
			if err := script[0].do(ctx); err != nil {
				return err
			}
			script = script[1:]
		}
	}
	return nil
}

// script returns the steps, in order.
func (d *demo) script() []step {
	o := d.opts
	calm := o.duration - o.outage
	var steps []step
	if d.server != nil && o.outage > 0 {
		steps = append(steps,
			step{calm * 3 / 10, d.stopServer},
			step{calm*3/10 + o.outage, d.startServer})
	}
	return append(steps,
		step{calm*6/10 + o.outage, d.capacity(o.capacity, o.fewer())},
		step{calm*8/10 + o.outage, d.capacity(o.fewer(), o.more())},
		step{o.duration, func(context.Context) error { return nil }})
}

// fewer and more are the capacities that the demo changes to: 4 and 12 if it began with 8.
func (o options) fewer() int { return max(1, o.capacity/2) }
func (o options) more() int  { return o.capacity + max(1, o.capacity/2) }

// stopServer closes the server's listener and all of its connections.
func (d *demo) stopServer(context.Context) error {
	d.phase("server down for %v: every connection breaks", d.opts.outage)
	d.outage.before = d.pool.Stats()
	d.up = false
	d.server.Close()
	return nil
}

// startServer starts the server again, at the same address.
func (d *demo) startServer(context.Context) error {
	after, probes, done, now := d.pool.Stats(), d.conns.mostProbes.Load(), d.tally.done.Load(), time.Now()
	if err := d.server.Restart(); err != nil {
		return fmt.Errorf("starting the server again: %w", err)
	}
	d.up = true
	d.outage.after, d.outage.mostProbes, d.outage.done, d.outage.until = after, probes, done, now
	d.phase("server up: the next connect will succeed")
	return nil
}

// capacity changes the capacity under load.
func (d *demo) capacity(from, to int) func(context.Context) error {
	return func(ctx context.Context) error {
		d.phase("capacity %d -> %d", from, to)
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		d.bound = max(d.bound, int64(to))
		// With a lower capacity, SetCapacity waits for borrowed connections. If that takes
		// too long, the new capacity stays all the same, and the demo goes on.
		if err := d.pool.SetCapacity(ctx, to); err != nil {
			d.phase("%v", err)
			return nil
		}
		d.bound = int64(to)
		return nil
	}
}

// close closes the pool. It waits a second until the workers have returned their connections;
// then it cancels what they do.
func (d *demo) close(cancelWork context.CancelFunc) error {
	why := "closing"
	if d.interrupt {
		why = "interrupted: closing"
	}
	s := d.pool.Stats()
	d.phase("%s: %d connections are borrowed, %d workers wait for one", why, s.Borrowed, s.Waiting)
	start := time.Now()
	err := d.closeNow()
	if err != nil {
		d.phase("%v", err)
		cancelWork()
		err = d.closeNow()
	}
	d.phase("closed after %v", round(time.Since(start)))
	return err
}

// closeNow closes the pool, for at most a second.
func (d *demo) closeNow() error {
	// Not the context of run, which has ended after Ctrl-C.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return d.pool.Close(ctx)
}

// sample is what a progress line needs from the one before.
type sample struct {
	at     time.Duration
	grants uint64
	errors int64
}

// progress prints one line, and checks the number of connections.
func (d *demo) progress() {
	s := d.pool.Stats()
	if s.Open != s.Idle+s.Borrowed+s.InTransition || d.conns.inUse.Load() > d.bound {
		d.excesses++
	}
	now := sample{at: time.Since(d.start), grants: s.Grants, errors: d.tally.errors()}
	rate := float64(now.grants-d.last.grants) / (now.at - d.last.at).Seconds()
	d.screen.line(now.at, s, rate, now.errors-d.last.errors, d.state(s))
	d.last = now
}

// state returns the state of the pool, with the next attempt if it backs off.
func (d *demo) state(s client.Stats) string {
	e := d.watch.backoff.Load()
	switch {
	case e == nil:
	case s.State == messages.StateBackoff:
		next := max(0, time.Until(e.Time.Add(e.Duration)))
		return fmt.Sprintf("backoff #%d, next in %v", e.Attempt, next.Round(time.Millisecond))
	case s.State == messages.StateProbing:
		return fmt.Sprintf("probing after backoff #%d", e.Attempt)
	}
	return s.State
}

func (d *demo) phase(format string, args ...any) {
	d.screen.phase(time.Since(d.start), fmt.Sprintf(format, args...))
}
