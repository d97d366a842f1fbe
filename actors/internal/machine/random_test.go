package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/messages"
)

var errDown = errors.New("server down")

// TestEveryRandomHistoryKeepsThePromises runs random inputs, also late, double
// and stale ones, through a machine with a random configuration, in a world
// that checks every step; in the end everything is given back, and whoever
// waits must be served, and the pool must drain to nothing.
func TestEveryRandomHistoryKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &player{t: t, world: newWorld(t, drawConfig(t))}
		p.settings = rapid.SampledFrom([][]any{{nil}, {nil, "red"}, {nil, nil, "red", "blue"}, {nil, "red", "blue", "green"}}).Draw(t, "settings")
		p.world.halves = rapid.Bool().Draw(t, "hot halves")
		for range rapid.SampledFrom([]int{10, 40, 150}).Draw(t, "steps") {
			p.play()
		}
		if p.world.closedAt < 0 {
			p.settleDown()
		}
		p.shutDown()
	})
}

func drawConfig(t *rapid.T) Config {
	oneOf := func(name string, values ...time.Duration) time.Duration {
		return rapid.SampledFrom(values).Draw(t, name)
	}
	yes := func(name string) bool { return rapid.Bool().Draw(t, name) }
	seldom := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) == 4 }
	cfg := Config{
		Name:           "pool",
		Start:          time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Capacity:       rapid.IntRange(0, 4).Draw(t, "capacity"),
		MaxConnecting:  rapid.IntRange(1, 3).Draw(t, "max connecting"),
		MinIdle:        max(0, rapid.IntRange(-2, 2).Draw(t, "min idle")),
		MaxWaiters:     max(0, rapid.IntRange(-4, 3).Draw(t, "max waiters")),
		PauseOnClear:   seldom("pause on clear"),
		Check:          yes("check"),
		CheckAfterIdle: oneOf("check after idle", time.Second, 0, -1),
		Reset:          seldom("reset"),
		ResetWipes:     yes("reset wipes"),
		Unapply:        !seldom("no unapply"),
		IdleTimeout:    oneOf("idle timeout", 0, 2*time.Second),
		MaxLifetime:    oneOf("max lifetime", 0, 5*time.Second),
		LifetimeJitter: oneOf("lifetime jitter", 0, time.Second),
		ConnectTimeout: oneOf("connect timeout", 2*time.Second, 20*time.Second),
		LeakAfter:      oneOf("leak after", 0, 3*time.Second),
		MaxLease:       oneOf("max lease", 0, 0, 4*time.Second),
		ShedHopeless:   seldom("shed hopeless"),
		Coarse:         yes("coarse"),
		Backoff: Backoff{
			Mode:   rapid.SampledFrom([]BackoffMode{BackoffWait, BackoffFailFast, BackoffNever}).Draw(t, "backoff"),
			Base:   time.Second,
			Cap:    4 * time.Second,
			Jitter: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "jitter"),
		},
		Random:     func() float64 { return float64(rapid.IntRange(0, 9).Draw(t, "random")) / 10 },
		EventLevel: rapid.SampledFrom([]EventLevel{AllEvents, NoEvents, RareEvents}).Draw(t, "events"),
	}
	if cfg.Check {
		cfg.KeepAlive = oneOf("keep alive", 0, time.Second, 3*time.Second)
	}
	if seldom("codel") {
		cfg.CoDel = CoDel{Target: 500 * time.Millisecond, Interval: 2 * time.Second}
	}
	if seldom("max idle") {
		cfg.MaxIdle = max(1, cfg.MinIdle) + rapid.IntRange(0, 1).Draw(t, "max idle above min idle")
	}
	return cfg
}

// player draws the next input out of those that make sense.
type player struct {
	t        *rapid.T
	world    *world
	gets     []*get
	settings []any
	tickets  int
}

type move struct {
	name string
	do   func()
}

func (p *player) play() {
	w := p.world
	var moves []move
	add := func(weight int, name string, do func()) {
		for range weight {
			moves = append(moves, move{name, do})
		}
	}
	add(6, "get", p.get)
	add(2, "wait", p.wait)
	if w.backoff.armed && w.now >= w.backoff.at {
		add(3, "backoff elapsed", func() { w.backoffElapsed(w.backoff.epoch) })
	}
	if w.tick.armed && w.now >= w.tick.at {
		add(3, "tick", func() { w.ticks(w.tick.epoch) })
	}
	if len(w.backoff.stale) > 0 {
		add(1, "stale backoff", func() { w.backoffElapsed(pick(p.t, w.backoff.stale)) })
	}
	if len(w.tick.stale) > 0 {
		add(1, "stale tick", func() { w.ticks(pick(p.t, w.tick.stale)) })
	}
	if len(w.queue) > 0 {
		add(2, "leave", func() { w.leave(pick(p.t, w.queue), p.reason()) })
	}
	if granted := p.granted(func(*get) bool { return true }); len(granted) > 0 {
		held := p.granted(func(g *get) bool { return g.lease.conn.lent(g.lease) })
		if len(held) > 0 {
			add(6, "put", func() { w.put(pick(p.t, held).lease) })
			add(2, "taint", func() { w.taint(pick(p.t, held).lease, errDown) })
		}
		add(1, "return again", func() {
			if g := pick(p.t, granted); rapid.Bool().Draw(p.t, "put") {
				w.put(g.lease)
			} else {
				w.taint(g.lease, nil)
			}
		})
		add(1, "leave too late", func() { w.leave(pick(p.t, granted), p.reason()) })
	}
	for _, b := range w.actors {
		if b.watched {
			add(1, "gone", func() { w.gone(b, messages.ErrBorrowerGone) })
		}
	}
	if held := p.granted(func(g *get) bool { return g.actor == nil && g.lease.conn.lent(g.lease) }); len(held) > 0 {
		add(1, "lost", func() { w.lost(pick(p.t, held).lease) })
		if len(w.queue) > 0 {
			add(4, "tie", func() {
				if g := pick(p.t, w.queue); g.holds == nil {
					w.tie(g, []*lease{pick(p.t, held).lease, pick(p.t, p.granted(func(*get) bool { return true })).lease})
				}
			})
		}
	}
	if running := p.running(); len(running) > 0 {
		add(8, "job", func() { p.finish(pick(p.t, running)) })
	}
	add(1, "set capacity", func() { w.setCapacity(p.ticket("resize"), rapid.IntRange(0, 4).Draw(p.t, "n")) })
	add(1, "clear", func() { w.clear(p.maybe("cause"), rapid.Bool().Draw(p.t, "interrupt")) })
	add(1, "suspend", w.suspend)
	add(2, "resume", w.resume)
	add(1, "health ok", w.healthOK)
	add(1, "ready", func() { w.ready(p.ticket("ready")) })
	if len(w.tickets) > 0 {
		add(1, "give up", func() { w.giveUp(pick(p.t, w.tickets), context.DeadlineExceeded) })
	}
	if len(w.conns) > 3 || w.closedAt >= 0 {
		if w.closedAt >= 0 || rapid.IntRange(0, 9).Draw(p.t, "close now") == 9 {
			add(1, "close", func() { w.close(p.ticket("close")) })
		}
	}
	pick(p.t, moves).do()
}

func pick[T any](t *rapid.T, of []T) T { return of[rapid.IntRange(0, len(of)-1).Draw(t, "which")] }

func (p *player) get() {
	w := p.world
	g := &get{name: fmt.Sprintf("g%d", len(p.gets)+1)}
	p.gets = append(p.gets, g)
	if rapid.IntRange(0, 3).Draw(p.t, "deadline") == 3 {
		g.Deadline = w.now + rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second}).Draw(p.t, "in")
	}
	g.Setting = pick(p.t, p.settings)
	if rapid.Bool().Draw(p.t, "labelled") {
		g.Label = g.name
	}
	if rapid.IntRange(0, 2).Draw(p.t, "actor") == 2 {
		if len(w.actors) < 3 {
			b := &borrower{name: fmt.Sprintf("b%d", len(w.actors)+1)}
			b.Owner = b
			w.actors = append(w.actors, b)
		}
		g.actor = pick(p.t, w.actors)
		g.Borrower = &g.actor.Borrower
	}
	if rapid.IntRange(0, 9).Draw(p.t, "ended") == 9 {
		w.refuse(g, p.reason())
		return
	}
	w.get(g)
	switch {
	case w.closedAt >= 0 && !errors.Is(g.err, messages.ErrClosed), w.closedAt < 0 && w.paused && !errors.Is(g.err, messages.ErrCleared):
		w.fail("closed at %v, paused %v, and a Get ends with %v", w.closedAt, w.paused, g.err)
	}
}

// wait lets time pass, often exactly until a timer.
func (p *player) wait() {
	w := p.world
	steps := []time.Duration{time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}
	for _, timer := range []timer{w.backoff, w.tick} {
		if timer.armed && timer.at > w.now {
			steps = append(steps, timer.at-w.now, timer.at-w.now)
		}
	}
	w.now += pick(p.t, steps)
}

func (p *player) granted(which func(*get) bool) (out []*get) {
	for _, g := range p.gets {
		if g.lease != nil && which(g) {
			out = append(out, g)
		}
	}
	return out
}

func (p *player) running() (out []*conn) {
	for _, c := range p.world.conns {
		if c.job != 0 {
			out = append(out, c)
		}
	}
	return out
}

// finish ends a job, well or badly.
func (p *player) finish(c *conn) {
	w := p.world
	bad := rapid.IntRange(0, 2).Draw(p.t, "fails") == 2
	var err error
	if bad {
		err = errDown
	}
	switch c.job {
	case Open:
		if !bad {
			w.connected(c)
			return
		}
		classes := []messages.Class{messages.ClassOverload, messages.ClassOverload, messages.ClassFatal, messages.ClassIgnore, messages.ClassClear}
		w.connectFailed(c, err, pick(p.t, classes))
	case Check:
		w.checked(c, err)
	case Reset:
		w.wasReset(c, err)
	case Apply:
		w.applied(c, err)
	case Unapply:
		w.unapplied(c, err)
	case Disconnect:
		w.disconnected(c)
	}
}

func (p *player) succeed(c *conn) {
	switch c.job {
	case Open:
		p.world.connected(c)
	case Check:
		p.world.checked(c, nil)
	case Reset:
		p.world.wasReset(c, nil)
	case Apply:
		p.world.applied(c, nil)
	case Unapply:
		p.world.unapplied(c, nil)
	case Disconnect:
		p.world.disconnected(c)
	}
}

func (p *player) ticket(name string) *ticket {
	p.tickets++
	t := &ticket{name: fmt.Sprintf("%s%d", name, p.tickets)}
	t.Owner = t
	return t
}

func (p *player) reason() error {
	return rapid.SampledFrom([]error{context.Canceled, context.DeadlineExceeded}).Draw(p.t, "reason")
}

func (p *player) maybe(name string) error {
	if rapid.Bool().Draw(p.t, name) {
		return errDown
	}
	return nil
}

// settleDown gives everything back and lets every job succeed: then nobody may
// go on waiting, whatever has happened before.
func (p *player) settleDown() {
	w := p.world
	w.resume()
	if w.capacity == 0 {
		w.setCapacity(p.ticket("resize"), 1)
	}
	for round := 0; ; round++ {
		held := p.granted(func(g *get) bool { return g.lease.conn.lent(g.lease) })
		running := p.running()
		switch {
		case len(held) > 0:
			w.put(held[0].lease)
		case len(running) > 0:
			p.succeed(running[0])
		case w.backoff.armed && (len(w.queue) > 0 || slices.ContainsFunc(w.tickets, func(t *ticket) bool { return !t.answered })):
			w.now = max(w.now, w.backoff.at)
			w.backoffElapsed(w.backoff.epoch)
		case len(w.queue) > 0:
			w.fail("%d wait for ever", len(w.queue))
		default:
			for _, t := range w.tickets {
				if !t.answered {
					w.fail("%s waits for ever", t.name)
				}
			}
			return
		}
		if round > 10_000 {
			w.fail("the pool does not come to rest")
		}
	}
}

// shutDown closes the pool and lets everything end, in any order: then nothing
// may be left of it.
func (p *player) shutDown() {
	w := p.world
	w.close(p.ticket("close"))
	for {
		var moves []move
		for _, c := range p.running() {
			moves = append(moves, move{"job", func() { p.finish(c) }})
		}
		for _, g := range p.granted(func(g *get) bool { return g.lease.conn.lent(g.lease) }) {
			moves = append(moves, move{"put", func() { w.put(g.lease) }})
		}
		if len(moves) == 0 {
			break
		}
		if w.tick.armed {
			moves = append(moves, move{"tick", func() {
				w.now = max(w.now, w.tick.at)
				w.ticks(w.tick.epoch)
			}})
		}
		pick(p.t, moves).do()
	}
	last := p.ticket("close")
	w.close(last)
	switch {
	case w.stopped != 1:
		w.fail("the pool is empty, and Stopped was said %d times", w.stopped)
	case w.tick.armed || w.backoff.armed:
		w.fail("a timer is left")
	case !last.answered || last.err != nil:
		w.fail("the last Close: %v", last.err)
	}
	for _, g := range p.gets {
		if !g.over() {
			w.fail("%s has not ended", g.name)
		}
	}
	for _, t := range w.tickets {
		if !t.answered {
			w.fail("%s was not answered", t.name)
		}
	}
	for _, c := range w.conns {
		if w.cfg.EventLevel == AllEvents && !c.closed || slices.Contains(w.rested, c) {
			w.fail("c%d was not closed", c.id)
		}
	}
}
