// Random histories: random inputs to a pool with a random configuration.

package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/messages"
)

var errDown = errors.New("server down")

// TestEveryRandomHistoryKeepsThePromises gives random inputs, also late, repeated and
// stale ones, to a machine with a random configuration, in a world that checks every
// step. In the end every lease is returned, and then every waiter must be served. At
// last the pool is closed, and then nothing may be left of it.
func TestEveryRandomHistoryKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, world: newWorld(t, drawConfig(t))}
		h.settings = rapid.SampledFrom([][]any{{nil}, {nil, "red"}, {nil, nil, "red", "blue"}, {nil, "red", "blue", "green"}}).Draw(t, "settings")
		h.world.fastPaths = rapid.Bool().Draw(t, "fast paths")
		for range rapid.SampledFrom([]int{10, 40, 150}).Draw(t, "steps") {
			h.next()
		}
		if h.world.closedAt < 0 {
			h.comeToRest()
		}
		h.closePool()
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
		MaxConnecting:  rapid.IntRange(0, 3).Draw(t, "max connecting"),
		MinIdle:        max(0, rapid.IntRange(-2, 2).Draw(t, "min idle")),
		MaxUses:        max(0, rapid.IntRange(-6, 3).Draw(t, "max uses")),
		MinOpen:        max(0, rapid.IntRange(-4, 3).Draw(t, "min open")),
		MaxWaiters:     max(0, rapid.IntRange(-4, 3).Draw(t, "max waiters")),
		PauseOnClear:   seldom("pause on clear"),
		Check:          yes("check"),
		CheckAfterIdle: oneOf("check after idle", time.Second, 0, -1),
		Reset:          seldom("reset"),
		Reusable:       yes("reusable"),
		ResetWipes:     yes("reset wipes"),
		Unapply:        !seldom("no unapply"),
		IdleTimeout:    oneOf("idle timeout", 0, 2*time.Second),
		MaxLifetime:    oneOf("max lifetime", 0, 5*time.Second),
		LifetimeJitter: oneOf("lifetime jitter", 0, time.Second),
		ConnectTimeout: oneOf("connect timeout", 2*time.Second, 20*time.Second),

		CheckTimeout:      oneOf("check timeout", time.Second, 20*time.Second),
		DisconnectTimeout: oneOf("disconnect timeout", time.Second, 20*time.Second),

		LeakAfter:    oneOf("leak after", 0, 3*time.Second),
		MaxLease:     oneOf("max lease", 0, 0, 4*time.Second),
		ShedHopeless: seldom("shed hopeless"),
		Coarse:       yes("coarse"),
		Backoff: Backoff{
			Mode:   rapid.SampledFrom([]BackoffMode{BackoffWait, BackoffFailFast, BackoffNever}).Draw(t, "backoff"),
			Base:   time.Second,
			Cap:    4 * time.Second,
			Jitter: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "jitter"),
		},
		Random:     func() float64 { return float64(rapid.IntRange(0, 9).Draw(t, "random")) / 10 },
		EventLevel: rapid.SampledFrom([]EventLevel{AllEvents, NoEvents, RareEvents, ChangeEvents}).Draw(t, "events"),
	}
	if cfg.Check {
		cfg.KeepAlive = oneOf("keep alive", 0, time.Second, 3*time.Second)
	}
	if seldom("codel") {
		cfg.CoDel = CoDel{Target: 500 * time.Millisecond, Interval: 2 * time.Second}
	}
	if seldom("max idle") {
		cfg.MaxIdle = max(1, cfg.MinIdle, cfg.MinOpen) + rapid.IntRange(0, 1).Draw(t, "max idle above min idle")
	}
	return cfg
}

// history draws the inputs, each out of those that are possible.
type history struct {
	t        *rapid.T
	world    *world
	gets     []*get
	settings []any
	tickets  int

	recorded  *recorded  // the last recording; nil: there was none
	described *described // the description under way; nil: there is none
}

// choice is an input that is possible.
type choice struct {
	name string
	do   func()
}

// next draws and runs the next input.
func (h *history) next() {
	w := h.world
	var choices []choice
	add := func(weight int, name string, do func()) {
		for range weight {
			choices = append(choices, choice{name, do})
		}
	}
	add(6, "get", h.get)
	add(2, "wait", h.wait)
	if w.backoff.armed && w.now >= w.backoff.at {
		add(3, "backoff elapsed", func() { w.backoffElapsed(w.backoff.epoch) })
	}
	if w.tick.armed && w.now >= w.tick.at {
		add(3, "tick", func() { w.tickElapsed(w.tick.epoch) })
	}
	if len(w.backoff.stale) > 0 {
		add(1, "stale backoff", func() { w.backoffElapsed(pick(h.t, w.backoff.stale)) })
	}
	if len(w.tick.stale) > 0 {
		add(1, "stale tick", func() { w.tickElapsed(pick(h.t, w.tick.stale)) })
	}
	if len(w.queue) > 0 {
		add(2, "cancel get", func() { w.cancelGet(pick(h.t, w.queue), h.reason()) })
	}
	if granted := h.granted(func(*get) bool { return true }); len(granted) > 0 {
		held := h.granted(func(g *get) bool { return g.lease.out() })
		if len(held) > 0 {
			add(6, "put", func() { w.put(pick(h.t, held).lease) })
			add(1, "put unasked", func() { w.putUnasked(pick(h.t, held).lease) })
			add(2, "taint", func() { w.taint(pick(h.t, held).lease, errDown, rapid.Bool().Draw(h.t, "dead")) })
		}
		add(1, "return again", func() {
			g := pick(h.t, granted)
			switch rapid.IntRange(0, 2).Draw(h.t, "how") {
			case 0:
				w.put(g.lease)
			case 1:
				w.putUnasked(g.lease)
			case 2:
				w.taint(g.lease, nil, true)
			}
		})
		if callers := h.granted(func(g *get) bool { return g.actor == nil && g.err == nil && !g.outOfTurn }); len(callers) > 0 {
			add(2, "decline", func() { w.decline(pick(h.t, callers), h.reason()) })
			add(1, "get another", func() { w.getAnother(pick(h.t, callers)) })
		}
		add(1, "cancel get too late", func() { w.cancelGet(pick(h.t, granted), h.reason()) })
	}
	for _, b := range w.actors {
		if b.watched {
			add(1, "borrower gone", func() { w.borrowerGone(b, messages.ErrBorrowerGone) })
		}
	}
	if held := h.granted(func(g *get) bool { return g.actor == nil && g.lease.out() }); len(held) > 0 {
		add(1, "lease lost", func() { w.leaseLost(pick(h.t, held).lease) })
		if len(w.queue) > 0 {
			add(4, "holds", func() {
				if g := pick(h.t, w.queue); g.holds == nil {
					w.holds(g, []*lease{pick(h.t, held).lease, pick(h.t, h.granted(func(*get) bool { return true })).lease})
				}
			})
		}
	}
	if running := h.running(); len(running) > 0 {
		add(8, "job", func() { h.finish(pick(h.t, running)) })
	}
	if len(w.current) > 0 {
		add(1, "connector lost", func() {
			var with []*conn
			for _, c := range w.conns {
				if w.current[c.slot] == c {
					with = append(with, c)
				}
			}
			w.connectorLost(pick(h.t, with))
		})
	}
	add(1, "set capacity", func() {
		notes := []string{"", "why", strings.Repeat("x", noteLength+1)}
		w.setCapacity(h.ticket("resize"), rapid.IntRange(0, 4).Draw(h.t, "n"), rapid.SampledFrom(notes).Draw(h.t, "note"))
	})
	add(1, "clear", func() { w.clear(h.maybe("cause"), rapid.Bool().Draw(h.t, "interrupt")) })
	add(1, "suspend", w.suspend)
	add(2, "resume", w.resume)
	add(1, "health ok", w.healthOK)
	add(1, "ready", func() { w.ready(h.ticket("ready")) })
	add(1, "warm", func() { w.warm(h.ticket("warm"), rapid.IntRange(-1, 5).Draw(h.t, "n")) })
	if rapid.IntRange(0, 3).Draw(h.t, "seldom") == 3 {
		add(1, "lend idle", func() { h.gets = append(h.gets, w.lendIdle("all")...) })
		add(1, "set min idle", func() { w.setMinIdle(rapid.IntRange(-1, 4).Draw(h.t, "n")) })
		if granted := h.granted(func(g *get) bool { return g.actor == nil }); len(granted) > 0 {
			add(2, "hijack", func() { w.hijack(pick(h.t, granted).lease) })
		}
		if len(w.visitors) < 3 {
			add(2, "visit", func() { w.beginVisit(&visitor{name: fmt.Sprintf("v%d", len(w.visitors)+1)}) })
		}
	}
	if left := h.visitors(func(v *visitor) bool { return !v.over }); len(left) > 0 {
		add(1, "end of a visit", func() { w.endVisit(pick(h.t, left)) })
		if next := h.visitors(func(v *visitor) bool { return !v.over && !v.waits }); len(next) > 0 {
			add(4, "next of a visit", func() { w.nextVisit(pick(h.t, next)) })
		}
	}
	switch r := h.recorded; {
	case r == nil || r.over:
		add(2, "record", func() {
			r := &recorded{Recording: Recording{Max: rapid.SampledFrom([]int{1, 5, 1000}).Draw(h.t, "max")}}
			if w.record(r); w.recording == r {
				h.recorded = r
			}
		})
	case rapid.IntRange(0, 3).Draw(h.t, "seldom") == 3:
		add(1, "second record", func() { w.record(&recorded{}) })
		add(1, "end of a recording", func() { w.endRecording(r) })
	}
	if h.recorded != nil && h.recorded.over {
		add(1, "end of a recording too late", func() { w.endRecording(h.recorded) })
	}
	add(1, "explain", func() { w.explain() })
	add(1, "longest lease", w.checkLongestLease)
	if h.described == nil {
		add(1, "describe", func() {
			h.goOn(&described{Description: Description{atOnce: rapid.IntRange(1, 2).Draw(h.t, "at once")}})
		})
	} else {
		add(3, "go on describing", func() { h.goOn(h.described) })
	}
	if len(w.tickets) > 0 {
		add(1, "cancel control", func() { w.cancelControl(pick(h.t, w.tickets), context.DeadlineExceeded) })
	}
	if len(w.conns) > 3 || w.closedAt >= 0 {
		if w.closedAt >= 0 || rapid.IntRange(0, 9).Draw(h.t, "close now") == 9 {
			add(1, "close", func() { w.close(h.ticket("close")) })
		}
	}
	h.run(choices)
}

// goOn goes on with a description.
func (h *history) goOn(d *described) {
	h.described = d
	if h.world.describeOn(d) {
		h.described = nil
	}
}

// run draws one of the choices and runs it. rapid shows the names in a failing history.
func (h *history) run(choices []choice) {
	c := pick(h.t, choices)
	h.t.Log(c.name)
	c.do()
}

// pick draws one of several values.
func pick[T any](t *rapid.T, of []T) T { return of[rapid.IntRange(0, len(of)-1).Draw(t, "which")] }

// get begins a random Get.
func (h *history) get() {
	w := h.world
	g := &get{name: fmt.Sprintf("g%d", len(h.gets)+1)}
	h.gets = append(h.gets, g)
	if rapid.IntRange(0, 3).Draw(h.t, "deadline") == 3 {
		g.Deadline = w.now + rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second}).Draw(h.t, "in")
	}
	switch rapid.IntRange(0, 4).Draw(h.t, "bound") {
	case 3:
		g.Timeout = time.Second
	case 4:
		if g.Deadline > 0 {
			g.Reserve = 300 * time.Millisecond
			g.Deadline -= g.Reserve
		}
	}
	g.Setting = pick(h.t, h.settings)
	if rapid.Bool().Draw(h.t, "labelled") {
		g.Label = g.name
	}
	if rapid.IntRange(0, 2).Draw(h.t, "actor") == 2 {
		if len(w.actors) < 3 {
			b := &borrower{name: fmt.Sprintf("b%d", len(w.actors)+1)}
			b.Owner = b
			w.actors = append(w.actors, b)
		}
		g.actor = pick(h.t, w.actors)
		g.Borrower = &g.actor.Borrower
	}
	if rapid.IntRange(0, 9).Draw(h.t, "ended") == 9 {
		w.rejectGet(g, h.reason())
		return
	}
	w.get(g)
	switch {
	case g.Reserve > 0 && g.Deadline <= w.now && w.closedAt < 0 && !w.paused:
		if !errors.Is(g.err, context.DeadlineExceeded) {
			w.fail("less than Reserve is left, and a Get ends with %v", g.err)
		}
	case w.closedAt >= 0 && !errors.Is(g.err, messages.ErrClosed), w.closedAt < 0 && w.paused && !errors.Is(g.err, messages.ErrCleared):
		w.fail("the pool is closed at %v, paused %v, and a Get ends with %v", w.closedAt, w.paused, g.err)
	}
}

// wait lets time pass, often exactly until a timer is due.
func (h *history) wait() {
	w := h.world
	steps := []time.Duration{time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}
	for _, timer := range []timer{w.backoff, w.tick} {
		if timer.armed && timer.at > w.now {
			steps = append(steps, timer.at-w.now, timer.at-w.now)
		}
	}
	w.now += pick(h.t, steps)
}

// granted gives the Gets that were granted a connection and are as which says.
func (h *history) granted(which func(*get) bool) (out []*get) {
	gets := h.gets
	for _, v := range h.world.visitors {
		gets = slices.Concat(gets, v.visits)
	}
	for _, g := range gets {
		if g.lease != nil && which(g) {
			out = append(out, g)
		}
	}
	return out
}

// running gives the connections that have a job.
func (h *history) running() (out []*conn) {
	for _, c := range h.world.conns {
		if c.job != 0 {
			out = append(out, c)
		}
	}
	return out
}

// finish ends a job, with success or not.
func (h *history) finish(c *conn) {
	w := h.world
	fails := rapid.IntRange(0, 2).Draw(h.t, "fails") == 2
	var err error
	if fails {
		err = errDown
	}
	switch c.job {
	case Open:
		if !fails {
			w.connected(c)
			return
		}
		classes := []messages.Class{messages.ClassOverload, messages.ClassOverload, messages.ClassFatal, messages.ClassIgnore, messages.ClassClear}
		w.connectFailed(c, err, pick(h.t, classes))
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

// succeed ends a job with success.
func (h *history) succeed(c *conn) {
	switch c.job {
	case Open:
		h.world.connected(c)
	case Check:
		h.world.checked(c, nil)
	case Reset:
		h.world.wasReset(c, nil)
	case Apply:
		h.world.applied(c, nil)
	case Unapply:
		h.world.unapplied(c, nil)
	case Disconnect:
		h.world.disconnected(c)
	}
}

// ticket makes a control request.
func (h *history) ticket(name string) *ticket {
	h.tickets++
	t := &ticket{name: fmt.Sprintf("%s%d", name, h.tickets)}
	t.Owner = t
	return t
}

// visitors are the visits that are so.
func (h *history) visitors(which func(*visitor) bool) (found []*visitor) {
	for _, v := range h.world.visitors {
		if which(v) {
			found = append(found, v)
		}
	}
	return found
}

// reason draws how a context has ended.
func (h *history) reason() error {
	return rapid.SampledFrom([]error{context.Canceled, context.DeadlineExceeded}).Draw(h.t, "reason")
}

// maybe draws an error, or none.
func (h *history) maybe(name string) error {
	if rapid.Bool().Draw(h.t, name) {
		return errDown
	}
	return nil
}

// comeToRest returns every lease and lets every job succeed. Then no wait may be left,
// whatever has happened before.
func (h *history) comeToRest() {
	w := h.world
	for _, v := range h.visitors(func(v *visitor) bool { return !v.over }) {
		w.endVisit(v)
	}
	w.resume()
	if w.capacity == 0 {
		w.setCapacity(h.ticket("resize"), 1, "")
	}
	for round := 0; ; round++ {
		held := h.granted(func(g *get) bool { return g.lease.out() })
		running := h.running()
		switch {
		case len(held) > 0:
			w.put(held[0].lease)
		case len(running) > 0:
			h.succeed(running[0])
		case w.backoff.armed && w.backoff.at == never && w.cfg.MaxLifetime > 0:
			return // no connection lives at the end of time
		case w.backoff.armed && (len(w.queue) > 0 || slices.ContainsFunc(w.tickets, func(t *ticket) bool { return !t.answered })):
			w.now = max(w.now, w.backoff.at)
			w.backoffElapsed(w.backoff.epoch)
		case len(w.queue) > 0:
			w.fail("%d wait forever", len(w.queue))
		default:
			for _, t := range w.tickets {
				if !t.answered {
					w.fail("%s is never answered", t.name)
				}
			}
			return
		}
		if round > 10_000 {
			w.fail("the pool does not come to rest")
		}
	}
}

// closePool closes the pool, and ends every job and every lease, in any order. Then
// nothing may be left of the pool.
func (h *history) closePool() {
	w := h.world
	w.close(h.ticket("close"))
	for {
		var choices []choice
		for _, c := range h.running() {
			choices = append(choices, choice{"job", func() { h.finish(c) }})
		}
		for _, g := range h.granted(func(g *get) bool { return g.lease.out() }) {
			choices = append(choices, choice{"put", func() { w.put(g.lease) }})
		}
		if len(choices) == 0 {
			break
		}
		if w.tick.armed {
			choices = append(choices, choice{"tick", func() {
				w.now = max(w.now, w.tick.at)
				w.tickElapsed(w.tick.epoch)
			}})
		}
		h.run(choices)
	}
	last := h.ticket("close")
	w.close(last)
	switch {
	case w.stopped != 1:
		w.fail("the pool is empty, and Stopped was emitted %d times", w.stopped)
	case w.tick.armed || w.backoff.armed:
		w.fail("a timer is left")
	case !last.answered || last.err != nil:
		w.fail("the last Close: answered %v, with %v", last.answered, last.err)
	}
	for _, g := range h.gets {
		if !g.ended() {
			w.fail("%s has not ended", g.name)
		}
	}
	for _, t := range w.tickets {
		if !t.answered {
			w.fail("%s was not answered", t.name)
		}
	}
	for _, c := range w.conns {
		if w.cfg.EventLevel == AllEvents && !c.closedEvent || slices.Contains(w.idle, c) {
			w.fail("c%d was not closed", c.id)
		}
	}
}
