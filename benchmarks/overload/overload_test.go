// Package overload tests what a pool does with more callers than it can serve, with and without the
// options that shed some of them, in virtual time.
package overload

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

var drawTo = flag.String("draw", "", "write the waits over time to this SVG file")

const (
	capacity = 4
	// use is the average time for which a connection is used. A single use takes from half to
	// one and a half times as long.
	use      = 20 * time.Millisecond
	target   = 50 * time.Millisecond
	interval = time.Second
	lasts    = 30 * time.Second
	patience = 5 * time.Second
)

// capacityRate is the number of callers that the pool can serve in a second.
const capacityRate = float64(capacity) / (float64(use) / float64(time.Second))

// caller is a call of Get.
type caller struct {
	at   time.Duration // when it calls
	uses time.Duration // how long it will use the connection

	waited time.Duration
	err    error
}

// left is when the wait was over.
func (c *caller) left() time.Duration { return c.at + c.waited }

func (c *caller) served() bool { return c.err == nil }

// shed says that the pool rejected the call or ended its wait.
func (c *caller) shed() bool {
	return errors.Is(c.err, messages.ErrShed) || errors.Is(c.err, messages.ErrExhausted)
}

func (c *caller) late() bool { return errors.Is(c.err, context.DeadlineExceeded) }

// crowd makes callers at random times, at rate times the number that the pool can serve. They are
// the same for each test.
func crowd(rate float64, lasts time.Duration) []caller {
	random := rand.New(rand.NewPCG(1, 2))
	var callers []caller
	for at := time.Duration(0); ; {
		at += time.Duration(random.ExpFloat64() / (rate * capacityRate) * float64(time.Second))
		if at >= lasts {
			return callers
		}
		callers = append(callers, caller{at: at, uses: use/2 + time.Duration(random.Int64N(int64(use)))})
	}
}

// stall is a period in which no use ends.
type stall struct{ from, to time.Duration }

// day is the result of a simulation.
type day struct {
	callers []caller
	lasts   time.Duration
	queue   []int // the number of waiters, each moment
	stats   client.Stats
}

const moment = 100 * time.Millisecond

// The options of the pools in the tests.
var (
	off      = func(*client.Config[int]) {}
	codel    = func(c *client.Config[int]) { c.Shed = client.CoDel{Target: target, Interval: interval} }
	hopeless = func(c *client.Config[int]) { c.ShedHopeless = true }
	// bounded allows as many waiters as are served in twice the target.
	bounded = func(c *client.Config[int]) { c.MaxWaiters = int(capacityRate * (2 * target).Seconds()) }
)

// simulate lets callers use a pool whose connections are open. Those that still wait at the end get
// messages.ErrClosed. patience is the timeout of all callers; 0: none.
func simulate(t *testing.T, callers []caller, lasts, patience time.Duration, s stall, policy func(*client.Config[int])) *day {
	d := &day{callers: slices.Clone(callers), lasts: lasts}
	synctest.Test(t, func(t *testing.T) {
		cfg := client.Config[int]{Disconnect: client.NoDisconnect[int], Capacity: capacity, MinIdle: capacity, MaxConnecting: capacity}
		cfg.Connect = func(context.Context) (int, error) { return 1, nil }
		policy(&cfg)
		pool, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Ready(context.Background()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			for time.Since(start) < lasts {
				d.queue = append(d.queue, pool.Stats().Waiting)
				time.Sleep(moment)
			}
		})
		for i := range d.callers {
			c := &d.callers[i]
			time.Sleep(c.at - time.Since(start))
			all.Go(func() {
				ctx := context.Background()
				if patience > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, patience)
					defer cancel()
				}
				lease, err := pool.Get(ctx)
				c.waited, c.err = time.Since(start)-c.at, err
				if err != nil {
					return
				}
				ends := time.Since(start) + c.uses
				if ends > s.from && time.Since(start) < s.to {
					ends = max(ends, s.to)
				}
				time.Sleep(ends - time.Since(start))
				if err := lease.Put(); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(lasts - time.Since(start))
		d.stats = pool.Stats()
		if err := pool.Close(context.Background()); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	for i := range d.callers {
		c := &d.callers[i]
		switch {
		case c.served(), c.shed(), c.late(), errors.Is(c.err, messages.ErrClosed):
		default:
			t.Errorf("the call at %v got %v", c.at, c.err)
		}
	}
	return d
}

// overloaded simulates half a minute with twice as many callers as the pool can serve.
func overloaded(t *testing.T, patience time.Duration, policy func(*client.Config[int])) *day {
	return simulate(t, crowd(2, lasts), lasts, patience, stall{}, policy)
}

// waits returns the waits of the callers that were served from then on, sorted.
func (d *day) waits(from time.Duration) []time.Duration {
	return d.of(from, (*caller).served)
}

// of returns the waits of the callers whose wait ended from then on, sorted.
func (d *day) of(from time.Duration, which func(*caller) bool) []time.Duration {
	var waits []time.Duration
	for i := range d.callers {
		if c := &d.callers[i]; c.left() >= from && c.left() < d.lasts && which(c) {
			waits = append(waits, c.waited)
		}
	}
	slices.Sort(waits)
	return waits
}

func (d *day) sheds() []time.Duration    { return d.of(0, (*caller).shed) }
func (d *day) timeouts() []time.Duration { return d.of(0, (*caller).late) }

// throughput is the number of callers that were served in a second.
func (d *day) throughput() float64 { return float64(len(d.waits(0))) / d.lasts.Seconds() }

// quantile returns a quantile of sorted waits.
func quantile(waits []time.Duration, q float64) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	return waits[int(q*float64(len(waits)-1))]
}

// judged is when CoDel has noticed that the waits have been too long from the beginning.
const judged = interval

// String is a row of the table in docs/overload.md. The waits are those from judged on.
func (d *day) String() string {
	w, s, l := d.waits(judged), d.sheds(), d.timeouts()
	return fmt.Sprintf("served %.0f/s | wait p50 %v p99 %v max %v | shed %d, after p50 %v p99 %v | timed out %d, after p50 %v | waiting at the end %d",
		d.throughput(), round(quantile(w, 0.5)), round(quantile(w, 0.99)), round(quantile(w, 1)),
		len(s), round(quantile(s, 0.5)), round(quantile(s, 0.99)), len(l), round(quantile(l, 0.5)), d.stats.Waiting)
}

// never is later than any other time.
const never = time.Duration(1<<63 - 1)

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond / 10) }

// atMost fails if a time is above its bound.
func atMost(t *testing.T, what string, got, bound time.Duration) {
	t.Helper()
	if got > bound {
		t.Errorf("%s is %v, more than %v", what, got, bound)
	}
}

// Twice as many callers as can be served, for half a minute. With CoDel the callers that are served
// have waited for less than twice the target, and they are as many as without it. Without it the
// queue and the wait grow all the time.
func TestTwiceTheLoad(t *testing.T) {
	plain, shedding, few := overloaded(t, 0, off), overloaded(t, 0, codel), overloaded(t, 0, bounded)
	t.Log("nothing:   ", plain)
	t.Log("CoDel:     ", shedding)
	t.Log("MaxWaiters:", few)
	if p99 := quantile(shedding.waits(judged), 0.99); p99 >= 2*target {
		t.Errorf("with CoDel the 99th percentile of the wait is %v", p99)
	}
	if r := shedding.throughput() / plain.throughput(); r < 0.95 || r > 1.05 {
		t.Errorf("with CoDel %.3f times as many are served", r)
	}
	atMost(t, "with MaxWaiters the longest wait of rejected callers", quantile(few.sheds(), 1), 0)
	if n := len(plain.sheds()); n > 0 {
		t.Errorf("%d are shed without an option for it", n)
	}
	for i := 50; i+50 < len(plain.queue); i += 50 { // every five seconds
		if was, is := plain.queue[i], plain.queue[i+50]; float64(is-was) < 0.8*5*capacityRate {
			t.Errorf("without, %d wait after %v and %d five seconds later", was, time.Duration(i)*moment, is)
		}
	}
	if p99 := quantile(plain.waits(judged), 0.99); p99 < lasts/3 {
		t.Errorf("without, the 99th percentile of the wait is %v", p99)
	}
	// In an overloaded pool, those callers wait that have come within twice the target.
	atTwice := 2 * capacityRate * (2 * target).Seconds()
	for i := int((judged + 2*moment) / moment); i < len(shedding.queue); i++ {
		if n := shedding.queue[i]; float64(n) > 1.6*atTwice {
			t.Errorf("with CoDel %d wait after %v", n, time.Duration(i)*moment)
		}
	}
}

// The same with a deadline for all callers. Without ShedHopeless most of those that get no connection
// wait until their deadline; with it, nearly all of them fail at once, and as many are served.
func TestTwiceTheLoadWithDeadlines(t *testing.T) {
	plain, telling, both := overloaded(t, patience, off), overloaded(t, patience, hopeless),
		overloaded(t, patience, func(c *client.Config[int]) { codel(c); hopeless(c) })
	t.Log("nothing:     ", plain)
	t.Log("ShedHopeless:", telling)
	t.Log("both:        ", both)
	if r := telling.throughput() / plain.throughput(); r < 0.95 || r > 1.05 {
		t.Errorf("with ShedHopeless %.3f times as many are served", r)
	}
	atMost(t, "with ShedHopeless the longest wait of rejected callers", quantile(telling.sheds(), 1), 0)
	if in, late := len(telling.waits(0)), len(telling.timeouts()); 10*late > in {
		t.Errorf("with ShedHopeless %d wait in vain, and %d are served", late, in)
	}
	if in, late := len(plain.waits(0)), len(plain.timeouts()); 2*late < in {
		t.Errorf("without only %d wait in vain, and %d are served", late, in)
	}
	atMost(t, "with both the 99th percentile of the wait", quantile(both.waits(judged), 0.99), 2*target)
}

// A pool with twice the connections that it needs sheds no caller.
func TestHalfTheLoad(t *testing.T) {
	for name, policy := range map[string]func(*client.Config[int]){"CoDel": codel, "ShedHopeless": hopeless} {
		d := simulate(t, crowd(0.5, lasts), lasts, patience, stall{}, policy)
		t.Log(name, d)
		if d.stats.Sheds > 0 || d.stats.Timeouts > 0 {
			t.Errorf("%s: %d are shed, %d time out", name, d.stats.Sheds, d.stats.Timeouts)
		}
	}
}

// Half the load, and for three seconds no connection is returned. The queue was empty before, so the
// pool counts as overloaded after one interval: then all waits of twice the target end. When
// connections are returned again, no more waits are ended.
func TestAStall(t *testing.T) {
	for name, policy := range map[string]func(*client.Config[int]){"nothing": off, "CoDel": codel} {
		s := stall{from: 5 * time.Second, to: 8 * time.Second}
		d := simulate(t, crowd(0.5, 15*time.Second), 15*time.Second, 0, s, policy)
		t.Log(name, d)
		if n := d.queue[s.from/moment]; n != 0 {
			t.Fatalf("%d wait before the stall", n)
		}
		if name == "nothing" {
			if len(d.sheds()) > 0 {
				t.Error("a caller is shed without an option for it")
			}
			continue
		}
		began := never // when the first caller had to wait
		for _, c := range d.callers {
			if c.at >= s.from && c.waited > 0 {
				began = min(began, c.at)
			}
		}
		first, last := never, time.Duration(0)
		for _, c := range d.callers {
			switch {
			case c.shed():
				first, last = min(first, c.left()), max(last, c.left())
				if want := max(2*target, began+interval-c.at); c.waited != want {
					t.Errorf("the call %v after the beginning of the queue was shed after %v, not %v", c.at-began, c.waited, want)
				}
			case c.at > began && c.at < s.to-2*target:
				t.Errorf("the call at %v was not shed, but waited %v", c.at, c.waited)
			case c.left() > s.from && c.served():
				atMost(t, fmt.Sprintf("the wait of the call at %v", c.at), c.waited, 2*target)
			}
		}
		if first != began+interval {
			t.Errorf("the queue began at %v, and the first was shed at %v", began, first)
		}
		atMost(t, "the time at which the last caller was shed", last, s.to)
	}
}

// A burst of fifty callers, with little other load, is served in a quarter of a second. So none is
// shed, although the last ones wait for longer than twice the target.
func TestABurst(t *testing.T) {
	const burst = 50
	callers := crowd(0.1, 10*time.Second)
	i := slices.IndexFunc(callers, func(c caller) bool { return c.at > 5*time.Second })
	for range burst {
		callers = slices.Insert(callers, i, caller{at: 5 * time.Second, uses: use})
	}
	d := simulate(t, callers, 10*time.Second, 0, stall{}, codel)
	t.Log(d)
	if len(d.sheds()) > 0 {
		t.Errorf("%d are shed", len(d.sheds()))
	}
	if w := quantile(d.waits(0), 1); w < 2*target {
		t.Errorf("the longest wait is only %v", w)
	}
}

// TestDraw draws the timeline.
func TestDraw(t *testing.T) {
	if *drawTo == "" {
		t.Skip("there is no -draw")
	}
	err := picture(*drawTo, []line{
		{"nothing", overloaded(t, 0, off)},
		{"ShedHopeless, and deadlines of 5 s", overloaded(t, patience, hopeless)},
		{"CoDel: 50 ms, 1 s", overloaded(t, 0, codel)},
	})
	if err != nil {
		t.Fatal(err)
	}
}
