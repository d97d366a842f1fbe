package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

func TestTwentyViewersCostOneSnapshotASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looked, other := newFake("orders"), newFake("cache")
		h := served(t, Options{}, looked, other)
		time.Sleep(10*time.Second + time.Millisecond)
		assert.Zero(t, looked.explains.Load()+looked.measures.Load(), "without viewers only Stats is read")
		assert.Equal(t, int64(11), looked.stats.Load(), "once at Add, then once a second")

		var viewers sync.WaitGroup
		for i := range 20 {
			viewers.Go(func() {
				time.Sleep(time.Duration(i) * 47 * time.Millisecond)
				for range 60 {
					assert.Equal(t, http.StatusOK, get(h, "/data?pool=orders").Code)
					time.Sleep(time.Second + time.Duration(i)*time.Millisecond)
				}
			})
		}
		viewers.Wait()
		assert.LessOrEqual(t, looked.explains.Load(), int64(62))
		assert.GreaterOrEqual(t, looked.explains.Load(), int64(30))
		assert.Equal(t, looked.explains.Load(), looked.measures.Load())
		assert.Zero(t, other.explains.Load(), "nobody looks at it")
		at := looked.explains.Load()
		time.Sleep(time.Minute)
		assert.Equal(t, at, looked.explains.Load(), "nobody looks any more")
	})
}

func TestViewersOfOneMomentGetOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("orders")
		f.onExplain = func(context.Context) error { time.Sleep(300 * time.Millisecond); return nil }
		h := served(t, Options{}, f)
		var viewers sync.WaitGroup
		for range 20 {
			viewers.Go(func() { ask(t, h, "/data") })
		}
		viewers.Wait()
		assert.Equal(t, int64(1), f.explains.Load())
	})
}

// A Handler that nobody closes and whose pools have ended has no goroutine: the end of the
// test would notice it.
func TestAPoolThatIsClosedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFake("orders"), newFake("cache")
		h := New(Options{}, first, second)
		ask(t, h, "/data")
		close(first.done)
		time.Sleep(period)
		synctest.Wait()
		d := ask(t, h, "/data?pool=orders")
		assert.Equal(t, "Closed: no connection is left.", d.Pool.Verdict.Sentence)
		assert.Equal(t, messages.StateClosed, d.Pool.Explain["stats"].(map[string]any)["state"])
		assert.Equal(t, []string{"orders", "cache"}, d.keys())
		reads := first.stats.Load()

		time.Sleep(farewell + period)
		synctest.Wait()
		assert.Equal(t, []string{"cache"}, ask(t, h, "/data").keys())
		assert.Nil(t, ask(t, h, "/data?pool=orders").Pool)
		assert.Equal(t, http.StatusNotFound, get(h, "/text?pool=orders").Code)
		assert.Equal(t, reads, first.stats.Load(), "it is left alone")

		close(second.done)
		time.Sleep(farewell + 2*period)
		synctest.Wait()
		assert.Nil(t, h.owner.Load(), "nothing runs")
		assert.Empty(t, ask(t, h, "/data").Pools)

		third := newFake("orders")
		h.Add(third)
		assert.Equal(t, []string{"orders"}, ask(t, h, "/data").keys())
		close(third.done)
		time.Sleep(farewell + 2*period)
	})
}

// What a pool holds can be freed as soon as it has ended, though its sentence stays.
func TestAPoolThatIsClosedIsNotHeld(t *testing.T) {
	freed := make(chan struct{})
	f := newFake("orders")
	runtime.AddCleanup(f, func(c chan struct{}) { close(c) }, freed)
	close(f.done)
	h := served(t, Options{}, f)
	f = nil
	deadline := time.Now().Add(20 * time.Second)
	for {
		runtime.GC()
		select {
		case <-freed:
			assert.Equal(t, []string{"orders"}, ask(t, h, "/data").keys())
			return
		case <-time.After(10 * time.Millisecond):
			require.True(t, time.Now().Before(deadline), "it is still held")
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("orders")
		f.onExplain = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		h := New(Options{}, f)
		var viewers sync.WaitGroup
		for range 3 {
			viewers.Go(func() { assert.Nil(t, ask(t, h, "/data").Pool) })
		}
		synctest.Wait()
		h.Close()
		h.Close()
		viewers.Wait()
		h.Add(f, newFake("cache"))
		assert.Empty(t, ask(t, h, "/data").Pools)
		assert.Equal(t, http.StatusOK, get(h, "/").Code)
		assert.Equal(t, "", get(h, "/text").Body.String())
		assert.JSONEq(t, `{"pools":[]}`, get(h, "/json").Body.String())

		h = New(Options{})
		h.Close()
		h.Close()
	})
}

func TestNamesAreOneOfAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("orders")
		h := served(t, Options{}, f, newFake("orders"), f, newFake(""), newFake("orders"))
		h.Add(f)
		assert.Equal(t, []string{"orders", "orders (2)", "pool", "orders (3)"}, ask(t, h, "/data").keys())
		assert.Equal(t, "orders (2)", ask(t, h, "/data?pool=orders+(2)").Pool.Key)
		assert.Nil(t, ask(t, h, "/data?pool=nobody").Pool)
		assert.PanicsWithValue(t, "actorpool: page: source 1 is nil", func() { h.Add(f, nil) })
	})
}

func TestAPoolThatDoesNotAnswerHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, failing, panicking, gone := newFake("stuck"), newFake("failing"), newFake("panicking"), newFake("gone")
		release := make(chan struct{})
		stuck.onExplain = func(context.Context) error { <-release; return nil } // ignores its context
		failing.onExplain = func(context.Context) error { return errors.New("<no way>") }
		panicking.onExplain = func(context.Context) error { panic("at the <disco>") }
		gone.onExplain = func(context.Context) error { runtime.Goexit(); return nil }
		slow := newFake("slow")
		slow.onExplain = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		h := served(t, Options{}, newFake("fine"), stuck, failing, panicking, gone, slow)
		for name, want := range map[string]string{
			"failing": "<no way>", "panicking": "explaining it panics: at the <disco>", "gone": "explaining it ended the goroutine",
			"slow": "no answer within 2s", "stuck": "no answer within 2s",
		} {
			d := ask(t, h, "/data?pool="+name)
			assert.Equal(t, want, d.Pool.Failed)
			assert.Equal(t, "The pool does not explain itself: "+want+".", d.Pool.Verdict.Sentence)
			assert.Equal(t, 2.0, d.Pool.Explain["stats"].(map[string]any)["capacity"], "Stats is there all the same")
			assert.Equal(t, fmt.Sprintf("pool %q: %s\n", name, want), get(h, "/text?pool="+name).Body.String())
		}
		before := time.Now()
		ask(t, h, "/data?pool=stuck")
		assert.Zero(t, time.Since(before), "nobody waits for it again")
		assert.Equal(t, int64(1), stuck.explains.Load(), "one goroutine is stuck, not one for each viewer")
		assert.Empty(t, ask(t, h, "/data?pool=fine").Pool.Failed)
		close(release)
		time.Sleep(2 * period)
		assert.Empty(t, ask(t, h, "/data?pool=stuck").Pool.Failed, "it is back")
	})
}

func TestStatsThatDoNotAnswerHarmNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, panicking := newFake("stuck"), newFake("panicking")
		release := make(chan struct{})
		var bad atomic.Bool
		stuck.onStats = func(context.Context) error {
			if bad.Load() {
				<-release
			}
			return nil
		}
		panicking.onStats = func(context.Context) error {
			if bad.Load() {
				panic("no numbers")
			}
			return nil
		}
		h := served(t, Options{}, newFake("fine"), stuck, panicking)
		bad.Store(true)
		time.Sleep(10 * period)
		synctest.Wait()
		d := ask(t, h, "/data?pool=fine")
		assert.Equal(t, []string{"fine", "stuck", "panicking"}, d.keys())
		assert.Len(t, d.Pool.Chart.Ago, 11)
		assert.Len(t, ask(t, h, "/data?pool=stuck").Pool.Chart.Ago, 1)
		assert.Equal(t, "The pool does not explain itself: reading it panics: no numbers.", d.Pools[2].Verdict.Sentence)
		close(release)
		time.Sleep(2 * period)

		born := newFake("born bad")
		born.onStats = panicking.onStats
		h.Add(born)
		assert.Equal(t, "pool", ask(t, h, "/data").keys()[3], "its name is not known")

		slow := newFake("slow")
		slow.onStats = func(context.Context) error { time.Sleep(time.Minute); return nil }
		h.Add(slow)
		assert.Equal(t, "The pool does not explain itself: no numbers within 2s.", ask(t, h, "/data").Pools[4].Verdict.Sentence)
		h.Close()
		time.Sleep(time.Minute) // until the method has returned
	})
}

func TestAViewerThatLeavesIsNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("orders")
		f.onExplain = func(context.Context) error { time.Sleep(time.Second); return nil }
		h := served(t, Options{}, f)
		for _, target := range []string{"/data", "/text", "/json"} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			r := request(http.MethodGet, target).WithContext(ctx)
			h.ServeHTTP(discard{}, r)
			cancel()
		}
		assert.Equal(t, "orders", ask(t, h, "/data").Pool.Key)
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return 0, errors.New("the viewer has gone") }
func (discard) WriteHeader(int)             {}

func TestTheChartsShowFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("orders")
		h := served(t, Options{}, f)
		time.Sleep(period / 2) // so that the numbers change between two readings
		for i := range 400 {
			f.what.Store(&messages.Explanation{Stats: messages.Stats{
				Name: "orders", State: messages.StateReady, Capacity: 5, Open: 5, Idle: 1, Borrowed: 2, InTransition: 2, Connecting: 1, Closing: 3,
				Waiting: i, Gets: uint64(10 * (i + 1)), Timeouts: uint64(i),
			}})
			time.Sleep(period)
		}
		synctest.Wait()
		d := ask(t, h, "/data")
		c := d.Pool.Chart
		require.Len(t, c.Ago, 300)
		assert.InDelta(t, 299, c.Ago[0], 1.1)
		assert.InDelta(t, 0, c.Ago[299], 1.1)
		assert.InDelta(t, 10, c.Gets[299], 0.01)
		assert.Equal(t, []int{399, 398}, []int{c.Waiting[299], c.Waiting[298]})
		assert.Equal(t, []int{1, 2, 2, 1, 3, 5}, []int{c.Idle[9], c.Borrowed[9], c.Transition[9], c.Connecting[9], c.Closing[9], c.Capacity[9]})
		assert.Contains(t, strings.Join(d.Pool.Verdict.Notes, " "), "In the last minute 59 Gets failed because the deadline had passed.")

		f.what.Store(&messages.Explanation{}) // numbers that go back are a rate of 0
		time.Sleep(period)
		synctest.Wait()
		c = ask(t, h, "/data").Pool.Chart
		assert.Zero(t, c.Gets[299])
	})
}

func TestItSaysSinceWhenAPoolIsInItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(state string) *messages.Explanation {
			return &messages.Explanation{Stats: messages.Stats{Name: "orders", State: state, Capacity: 2}}
		}
		f := newFake("orders")
		f.what.Store(in(messages.StateSuspended))
		h := served(t, Options{}, f)
		time.Sleep(period / 2) // so that the state changes between two readings
		time.Sleep(30 * time.Second)
		assert.Contains(t, ask(t, h, "/data").Pool.Verdict.Sentence, "Suspended for at least 30s:")
		f.what.Store(in(messages.StateBackoff))
		time.Sleep(10 * time.Second)
		f.what.Store(in(messages.StateProbing)) // of the same outage
		time.Sleep(10 * time.Second)
		assert.Contains(t, ask(t, h, "/data").Pool.Verdict.Sentence, "Probing for 19s:")
		f.what.Store(in(messages.StateSuspended))
		time.Sleep(period / 2)
		assert.Contains(t, ask(t, h, "/data").Pool.Verdict.Sentence, "Probing", "the snapshot is younger than a second")
		time.Sleep(period)
		f.what.Store(in(messages.StatePaused))
		time.Sleep(period * 3 / 4)
		d := ask(t, h, "/data")
		assert.Equal(t, "Paused by a Clear: every Get fails until somebody calls Resume. No connection is out.", d.Pool.Verdict.Sentence)
	})
}

func TestTextAndJSONAreOfAllPoolsOrOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newFake("orders"), newFake("cache")
		h := served(t, Options{}, one, two, &bare{name: "bare", done: make(chan struct{})})
		first, second := one.what.Load().String(), two.what.Load().String()
		assert.Equal(t, first, get(h, "/text?pool=orders").Body.String())
		assert.True(t, strings.HasPrefix(get(h, "/text").Body.String(), first+"\n"+second+"\n"), get(h, "/text").Body.String())
		body := get(h, "/json").Body.String()
		for _, want := range []string{`"name": "orders"`, `"name": "cache"`, `"name": "bare"`, `"explanation": {`, `"useEvery": 16`, `"sentence": `} {
			assert.Contains(t, body, want)
		}
		assert.NotContains(t, get(h, "/json?pool=cache").Body.String(), "orders")
		assert.Equal(t, http.StatusNotFound, get(h, "/json?pool=nobody").Code)
	})
}

func TestAGroupListsItsPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, blue := newFake("acme"), newFake("blue", func(e *messages.Explanation) {
			e.Stats.Borrowed, e.Stats.Idle, e.Stats.Waiting = 2, 0, 7
		})
		g := &fakeGroup{bare: &bare{name: "tenants", done: make(chan struct{})}}
		g.pools.Store(&[]*fake{acme, blue})
		h := served(t, Options{}, g, newFake("orders"))
		synctest.Wait()
		d := ask(t, h, "/data?pool=tenants")
		assert.Equal(t, []string{"tenants", "tenants/acme", "tenants/blue", "orders"}, d.keys())
		assert.True(t, d.Pool.IsGroup)
		assert.Equal(t, []string{"", "tenants", "tenants", ""}, []string{d.Pools[0].Group, d.Pools[1].Group, d.Pools[2].Group, d.Pools[3].Group})
		assert.Equal(t, "Exhausted: all 4 connections are out and 3 callers wait.", d.Pool.Verdict.Sentence, "the sums")
		assert.Equal(t, problem, d.Pools[2].Verdict.Level)
		assert.Equal(t, "tenants/acme", ask(t, h, "/data?pool=tenants/acme").Pool.Key)
		assert.Equal(t, int64(1), acme.explains.Load())
		assert.Zero(t, blue.explains.Load())

		many := []*fake{blue} // acme has gone
		for i := range 300 {
			many = append(many, newFake(fmt.Sprint(i)))
		}
		g.pools.Store(&many)
		time.Sleep(2 * period)
		synctest.Wait()
		d = ask(t, h, "/data?pool=tenants")
		assert.NotContains(t, d.keys(), "tenants/acme")
		assert.Contains(t, d.keys(), "tenants/blue")
		assert.Len(t, d.Pools, 2+maxRows)
		assert.Equal(t, 101, d.Pool.More)

		close(g.done)
		time.Sleep(farewell + 3*period)
		synctest.Wait()
		assert.Equal(t, []string{"orders"}, ask(t, h, "/data").keys(), "the pools leave with their group")
	})
}

func TestPoolsComeAndGoWhileManyLook(t *testing.T) {
	h := New(Options{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 50 {
				f := newFake(fmt.Sprint(i, j))
				if j%2 == 0 {
					close(f.done)
				}
				h.Add(f)
			}
		})
		all.Go(func() {
			for range 50 {
				for _, target := range []string{"/data", "/text?pool=0+1", "/json?pool=1+2"} {
					if code := get(h, target).Code; code != http.StatusOK && code != http.StatusNotFound {
						t.Errorf("%s: %d", target, code)
					}
				}
			}
		})
	}
	all.Go(func() { time.Sleep(5 * time.Millisecond); h.Close() })
	all.Wait()
	assert.Empty(t, ask(t, h, "/data").Pools)
}
