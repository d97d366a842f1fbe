package pooltest

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Conn is a connection to a [Server]. It behaves as the connections of most drivers do:
// one operation at a time; after an error of the network, and after an operation whose
// context has ended, it is of no use any more, and IsClosed says so.
type Conn struct {
	server *Server
	pool   string // the name of the pool that opened it; empty: none did
	id     uint64
	order  uint64        // see window.order
	delay  time.Duration // how much later than others it notices what concerns all

	// Written by Dial only.
	began, begun, opened time.Duration // when Dial was called; when the server heard of it; when it was open

	random  *rand.Rand // of the one operation that is under way
	busy    atomic.Pointer[string]
	broken  atomic.Bool
	closed  chan struct{} // closed by Close
	closing atomic.Bool
	entries atomic.Uint64
}

// ID is the id that the pool has given to the connection, as in its events and in
// Explain. For a connection that no pool has opened it is the number of the Dial, from 1.
func (c *Conn) ID() uint64 { return c.id }

// Read is an operation that changes nothing. It takes Server.Op, and ends earlier with
// ctx.
func (c *Conn) Read(ctx context.Context) error { return c.operate(ctx, "read", c.server.Op) }

// Write is an operation that changes something: see [ReadOnly]. It takes Server.Op.
func (c *Conn) Write(ctx context.Context) error { return c.operate(ctx, "write", c.server.Op) }

// ReadFor is a Read that takes as long as latency says, such as a report.
func (c *Conn) ReadFor(ctx context.Context, latency Latency) error {
	return c.operate(ctx, "read", latency)
}

// WriteFor is a Write that takes as long as latency says.
func (c *Conn) WriteFor(ctx context.Context, latency Latency) error {
	return c.operate(ctx, "write", latency)
}

// Ping asks whether the server is there: for Config.Check. It takes Server.Op.
func (c *Conn) Ping(ctx context.Context) error { return c.operate(ctx, "ping", c.server.Op) }

// Reset removes what the last holder has left: for Config.Reset. It takes Server.Op.
func (c *Conn) Reset(ctx context.Context) error { return c.operate(ctx, "reset", c.server.Op) }

// IsClosed says whether the connection is closed, or is known to be broken: an operation
// on it has failed for that reason. A connection that has broken since does not know.
func (c *Conn) IsClosed() bool { return c.closing.Load() || c.broken.Load() }

// Close closes the connection, at once. An operation that is under way fails with
// net.ErrClosed. A second Close has no effect. It returns nil.
func (c *Conn) Close() error {
	if c.closing.Swap(true) {
		return nil
	}
	close(c.closed)
	c.server.forget(c)
	c.server.note(c, "close", c.server.Now(), nil)
	return nil
}

// connect is a handshake.
func (c *Conn) connect(ctx context.Context) error {
	s := c.server
	work, flaky := c.draw("Handshake", s.Handshake)
	if err := ctx.Err(); err != nil {
		return onNetwork("dial", err)
	}
	err := c.await(ctx, "dial", func(sc *scenario) (time.Duration, error) {
		c.begun = sc.finish(c.began, 0, s.SlowFactor)
		if sc.has(Refuse, c.begun) {
			return sc.finish(c.begun, c.delay, s.SlowFactor), refusal()
		}
		return c.answer(sc, c.begun, flaky.of(work, sc.has(Flaky, c.began)))
	})
	if err == nil {
		err = s.admit(c)
	}
	c.opened = s.Now()
	return err
}

// operate is an operation on an open connection.
func (c *Conn) operate(ctx context.Context, what string, latency Latency) error {
	s := c.server
	s.opCount.Add(1)
	if !c.busy.CompareAndSwap(nil, &what) {
		other := what
		if name := c.busy.Load(); name != nil {
			other = *name
		}
		s.report(c, what+" began while "+other+" was under way: two goroutines use this connection")
		return ErrBusy
	}
	defer c.busy.Store(nil)
	if c.closing.Load() {
		s.report(c, what+afterClose)
		return closedError()
	}
	if c.broken.Load() {
		return closedError()
	}
	if err := ctx.Err(); err != nil {
		return onNetwork("read", err)
	}
	at := s.Now()
	work, flaky := c.draw("Op", latency)
	sc := s.scenario.Load()
	fails, refuses := sc.has(Flaky, at), what == "write" && sc.has(ReadOnly, at)
	err := c.await(ctx, "read", func(sc *scenario) (time.Duration, error) {
		return c.answer(sc, at, flaky.of(work, fails))
	})
	switch {
	case err != nil:
		c.broken.Store(true)
	case refuses:
		err = &ServerError{"25006", "the server is read-only and cannot write"}
	}
	s.note(c, what, at, err)
	return err
}

// task is what the server has to do, and whether the line breaks before it is done.
type task struct {
	work   time.Duration
	breaks bool
}

// luck is what a bad line would do to a task.
type luck struct {
	breaks bool
	part   float64 // of the task, after which it breaks
}

// of is the task that a bad line makes of the work.
func (l luck) of(work time.Duration, badLine bool) task {
	if badLine && l.breaks {
		return task{saturated(float64(work) * l.part), true}
	}
	return task{work, false}
}

// draw draws how long something takes, and what a bad line would do to it. It draws the
// same numbers on a good line, so that a fault does not change what follows.
func (c *Conn) draw(field string, latency Latency) (time.Duration, luck) {
	require(latency != nil, "the latency for %s is nil", field)
	work := latency(c.random)
	require(work >= 0, "the latency for %s is %v: it is negative", field, work)
	return work, luck{c.random.IntN(c.server.FlakyOneIn) == 0, c.random.Float64()}
}

// answer says when a task that begins at a moment has its answer, and which.
func (c *Conn) answer(sc *scenario, at time.Duration, t task) (time.Duration, error) {
	slow := c.server.SlowFactor
	done := sc.finish(at, t.work, slow)
	if end, ok := sc.end(c.begun, c.order); ok && done >= plus(end.from, c.delay) {
		told := end.from
		if end.fault == HalfOpen {
			told = end.to
		}
		return sc.finish(max(at, plus(told, c.delay)), 0, slow), broken("read")
	}
	if t.breaks {
		return done, broken("read")
	}
	return done, nil
}

// cutOff says whether a fault has ended the connection, noticed or not.
func (c *Conn) cutOff(sc *scenario, now time.Duration) bool {
	end, ok := sc.end(c.begun, c.order)
	return ok && now >= plus(end.from, c.delay)
}

// await waits for the answer that the scenario gives, which may change meanwhile.
func (c *Conn) await(ctx context.Context, op string, plan func(*scenario) (time.Duration, error)) error {
	for {
		sc := c.server.scenario.Load()
		at, err := plan(sc)
		timer := time.NewTimer(at - c.server.Now())
		select {
		case <-timer.C:
			return err
		case <-ctx.Done():
			err = onNetwork(op, ctx.Err())
		case <-c.closed:
			err = closedError()
		case <-sc.changed:
			timer.Stop()
			continue
		}
		timer.Stop()
		return err
	}
}
