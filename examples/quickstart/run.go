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

// demo is one run. Its own fields belong to the goroutine that called run, which
// stages and reports; workers and pool share the counters.
type demo struct {
	opts   options
	server *miniredis.Miniredis // nil with -addr
	up     bool                 // the server is there
	pool   *client.Pool[*redisConn]
	start  time.Time
	screen *screen

	conns connections
	watch watch
	tally tally

	outage    outage
	bound     int64  // connections that may be in use now
	excesses  int    // progress lines at which there were more, or Stats did not add up
	last      sample // of the last progress line
	interrupt bool
}

// outage is what the pool did while the server was away.
type outage struct {
	before, after client.Stats
	mostProbes    int64     // connects at once, while the pool backed off
	done          int64     // operations that had succeeded by its end
	until         time.Time // zero: it never came back, or never went
}

// step is one thing that is staged.
type step struct {
	at time.Duration
	do func(context.Context) error
}

// run runs the demo until its time is over or ctx ends. The error says what
// went wrong, in particular if something has leaked.
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
	// A pool connects when somebody asks for a connection. Ready asks now, so that
	// a wrong address is found out at once.
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	d.start = time.Now()
	d.screen.head(opts, addr)

	// What the workers do ends when the pool closes. Their context is for those
	// that would not end by themselves in time.
	working, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits := d.work(working)

	err = d.stage(ctx)
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
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.pool.Ready(ctx); err != nil {
		return errors.Join(err, d.closeWithin(time.Second))
	}
	return nil
}

// work starts the workers. The function it returns waits for their end.
func (d *demo) work(ctx context.Context) (wait func() *histogram) {
	workers := make([]*worker, d.opts.workers)
	var group sync.WaitGroup
	for i := range workers {
		w := &worker{pool: d.pool, key: fmt.Sprintf("actorpool:quickstart:%d", i), tally: &d.tally}
		workers[i] = w
		group.Go(func() { w.run(ctx) })
	}
	return func() *histogram {
		group.Wait()
		var all histogram
		for _, w := range workers {
			all.merge(&w.waits) // each had its own, so that they need not share
		}
		return &all
	}
}

// stage plays the script, with a progress line every half second.
func (d *demo) stage(ctx context.Context) error {
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

// script says what happens when. The steps share what the outage leaves of the
// time.
func (d *demo) script() []step {
	o := d.opts
	calm := o.duration - o.outage
	var steps []step
	if d.server != nil && o.outage > 0 {
		steps = append(steps,
			step{calm * 3 / 10, d.takeServerAway},
			step{calm*3/10 + o.outage, d.bringServerBack})
	}
	return append(steps,
		step{calm*6/10 + o.outage, d.capacity(o.capacity, o.fewer())},
		step{calm*8/10 + o.outage, d.capacity(o.fewer(), o.more())},
		step{o.duration, func(context.Context) error { return nil }})
}

// fewer and more are the capacities that the demo changes to, 4 and 12 from 8.
func (o options) fewer() int { return max(1, o.capacity/2) }
func (o options) more() int  { return o.capacity + max(1, o.capacity/2) }

// takeServerAway closes the server's listener and every connection.
func (d *demo) takeServerAway(context.Context) error {
	d.phase("server down for %v: every connection breaks", d.opts.outage)
	d.outage.before = d.pool.Stats()
	d.up = false
	d.server.Close()
	return nil
}

// bringServerBack starts the server again, at the same address.
func (d *demo) bringServerBack(context.Context) error {
	after, probes, done, now := d.pool.Stats(), d.conns.mostProbes.Load(), d.tally.done.Load(), time.Now()
	if err := d.server.Restart(); err != nil {
		return fmt.Errorf("the server does not come back: %w", err)
	}
	d.up = true
	d.outage.after, d.outage.mostProbes, d.outage.done, d.outage.until = after, probes, done, now
	d.phase("server up: the next probe will find it")
	return nil
}

// capacity changes the capacity under load.
func (d *demo) capacity(from, to int) func(context.Context) error {
	return func(ctx context.Context) error {
		d.phase("capacity %d -> %d", from, to)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		d.bound = max(d.bound, int64(to))
		// A lower capacity waits for borrowed connections to come back. If that
		// takes too long, it stays in force all the same: no reason to stop.
		if err := d.pool.SetCapacity(ctx, to); err != nil {
			d.phase("%v", err)
			return nil
		}
		d.bound = int64(to)
		return nil
	}
}

// close closes the pool: gracefully, if those who hold connections give them
// back within a second; otherwise what they do is cancelled.
func (d *demo) close(cancelWork context.CancelFunc) error {
	why := "closing"
	if d.interrupt {
		why = "interrupted: closing"
	}
	s := d.pool.Stats()
	d.phase("%s: %d connections are borrowed, %d workers wait for one", why, s.Borrowed, s.Waiting)
	start := time.Now()
	err := d.closeWithin(time.Second)
	if err != nil {
		d.phase("%v", err)
		cancelWork()
		err = d.closeWithin(time.Second)
	}
	d.phase("closed after %v", round(time.Since(start)))
	return err
}

func (d *demo) closeWithin(bound time.Duration) error {
	// Not the context of run: after Ctrl-C that one has ended already.
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	return d.pool.Close(ctx)
}

// sample is what a progress line needs to know of the one before.
type sample struct {
	at     time.Duration
	grants uint64
	errors int64
}

// progress prints one line, and looks whether the pool keeps its promises.
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

// state says how the pool is: in a backoff, what it waits for.
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
