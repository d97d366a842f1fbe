package client_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestASettingNeedsAnApply(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		_, err := p.GetWith(ctx, client.GetOptions{Setting: "utc"})
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "Apply", e.Field)
	})
}

// settingsServer keeps the setting of each connection, as a server does, and counts
// the calls.
type settingsServer struct {
	mu         sync.Mutex
	settings   map[*testkit.Conn]any
	applied    int
	unapplied  int
	applyErr   error // what Apply answers
	unapplyErr error // what Unapply answers
	applyTakes time.Duration
}

func (w *settingsServer) apply(ctx context.Context, c *testkit.Conn, setting any) error {
	w.mu.Lock()
	refuse, d := w.applyErr, w.applyTakes
	w.applied++
	if w.settings[c] != nil {
		refuse = errors.New("the connection is not clean")
	}
	w.mu.Unlock()
	if d > 0 {
		if err := testkit.Sleep(ctx, d); err != nil {
			return err
		}
	}
	if refuse != nil {
		return refuse
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settings[c] = setting
	return nil
}

func (w *settingsServer) unapply(_ context.Context, c *testkit.Conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unapplied++
	if w.unapplyErr != nil {
		return w.unapplyErr
	}
	delete(w.settings, c)
	return nil
}

func (w *settingsServer) settingOf(l testkit.Lease) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings[l.Conn()]
}

func (w *settingsServer) calls() [2]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return [2]int{w.applied, w.unapplied}
}

func (w *settingsServer) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// withSettings configures a pool whose connections have settings.
func withSettings(w *settingsServer) func(*testkit.Config) {
	w.settings = make(map[*testkit.Conn]any)
	return func(cfg *testkit.Config) { cfg.Apply, cfg.Unapply = w.apply, w.unapply }
}

func getWith(t *testing.T, p *testkit.Pool, setting any) testkit.Lease {
	t.Helper()
	l, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
	require.NoError(t, err)
	return l
}

// G1: first a connection with an equal setting, then a clean one, then a new one,
// then one with another setting.
func TestAGetWithASettingTakesTheConnectionThatIsLeastWork(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(2), withSettings(d))
		a := getWith(t, p, "a")
		assert.Equal(t, "a", d.settingOf(a))
		assert.Equal(t, 1, w.Server.Dials())
		testkit.Put(t, a)

		again := getWith(t, p, "a") // equal
		assert.Equal(t, [2]int{1, 0}, d.calls())
		testkit.Put(t, again)

		b := getWith(t, p, "b") // a new connection, not the idle one with setting a
		assert.Equal(t, "b", d.settingOf(b))
		assert.Equal(t, 2, w.Server.Dials())
		assert.Equal(t, [2]int{2, 0}, d.calls())

		c := getWith(t, p, "c") // the capacity is reached, so setting a is taken off
		assert.Equal(t, "c", d.settingOf(c))
		assert.Equal(t, [2]int{3, 1}, d.calls())
		testkit.Put(t, b, c)

		st := p.Stats()
		assert.Equal(t, []uint64{1, 3, 1}, []uint64{st.SettingHits, st.SettingSwitches, st.SettingResets})
	})
}

// G1: first a clean idle connection, then a new one, then one whose setting is
// taken off.
func TestAGetWithoutASettingNeverGetsOne(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(2), withSettings(d))
		testkit.Put(t, getWith(t, p, "a"))
		l := testkit.Get(t, p) // a new connection, not the one with setting a
		assert.Nil(t, d.settingOf(l))
		assert.Equal(t, 2, w.Server.Dials())
		other := testkit.Get(t, p) // now setting a is taken off
		assert.Nil(t, d.settingOf(other))
		assert.Equal(t, [2]int{1, 1}, d.calls())
		testkit.Put(t, l, other)
	})
}

// G7.
func TestAConnectionGoesToTheWaiterWithItsSettingButNotForEver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(1), withSettings(d))
		l := getWith(t, p, "a")
		first := testkit.BeginGetWith(ctx, p, client.GetOptions{Setting: "b"})
		later := make([]*testkit.Getting, 10)
		for i := range later {
			later[i] = testkit.BeginGetWith(ctx, p, client.GetOptions{Setting: "a"})
		}
		for i := range 8 {
			testkit.Put(t, l)
			l = later[i].Granted(t)
			first.Waits(t)
		}
		testkit.Put(t, l) // the ninth goes to the first in the queue
		l = first.Granted(t)
		assert.Equal(t, "b", d.settingOf(l))
		testkit.Put(t, l)
		l = later[8].Granted(t)
		testkit.Put(t, l)
		testkit.Put(t, later[9].Granted(t))
	})
}

// H9, P3.
func TestAFailedApplyFailsOneGetAndWakesTheNext(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(1), withSettings(d))
		refused := errors.New("no such role")
		d.change(func() { d.applyErr, d.applyTakes = refused, time.Second })
		dressed := testkit.BeginGetWith(ctx, p, client.GetOptions{Setting: "a"})
		plain := testkit.BeginGet(ctx, p)
		dressed.Waits(t)
		time.Sleep(time.Second)
		err := dressed.Failed(t)
		assert.ErrorIs(t, err, refused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		var c *messages.ConnectError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, messages.PhaseApply, c.Phase)
		testkit.Put(t, plain.Granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, []int{2, 1}, []int{opened, closed})
	})
}

func TestAfterAFailedUnapplyABareConnectionIsOpened(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		for _, without := range []bool{false, true} {
			d := &settingsServer{}
			p := w.Pool(testkit.Capacity(1), withSettings(d), func(cfg *testkit.Config) {
				if without {
					cfg.Unapply = nil
				}
			})
			d.change(func() { d.unapplyErr = errors.New("stuck") })
			testkit.Put(t, getWith(t, p, "a"))
			dials := w.Server.Dials()
			l := getWith(t, p, "b")
			assert.Equal(t, "b", d.settingOf(l))
			assert.Equal(t, dials+1, w.Server.Dials())
			testkit.Put(t, l)
			testkit.Close(t, p)
		}
	})
}

// P6.
func TestResetKeepsTheSettingUnlessItSaysOtherwise(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		for _, wipes := range []bool{false, true} {
			d := &settingsServer{}
			p := w.Pool(testkit.Capacity(1), withSettings(d), func(cfg *testkit.Config) {
				cfg.ResetWipesSetting = wipes
				cfg.Reset = func(_ context.Context, c *testkit.Conn) error {
					if wipes {
						d.change(func() { delete(d.settings, c) })
					}
					return nil
				}
			})
			testkit.Put(t, getWith(t, p, "a"))
			synctest.Wait()
			testkit.Put(t, getWith(t, p, "a"))
			want := [2]int{1, 0}
			if wipes {
				want = [2]int{2, 0}
			}
			assert.Equal(t, want, d.calls())
			testkit.Close(t, p)
		}
	})
}

func TestACallerWhoLeavesWhileItsSettingIsAppliedLeavesTheConnectionToOthers(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(1), withSettings(d))
		d.change(func() { d.applyTakes = time.Second })
		g := testkit.BeginGetWith(testkit.Within(t, 100*time.Millisecond), p, client.GetOptions{Setting: "a"})
		time.Sleep(100 * time.Millisecond)
		assert.ErrorIs(t, g.Failed(t), context.DeadlineExceeded)
		l := getWith(t, p, "a") // it waits until the Apply under way ends
		assert.Equal(t, [2]int{1, 0}, d.calls())
		testkit.Put(t, l)
	})
}

// L2: the replacement of a connection that is closed for its age gets its setting.
func TestAReplacementKeepsTheSetting(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(2), withSettings(d), func(cfg *testkit.Config) {
			cfg.MinIdle, cfg.MaxLifetime, cfg.MaxLifetimeJitter = 1, time.Minute, time.Nanosecond
		})
		testkit.Put(t, getWith(t, p, "a"))
		synctest.Wait()
		before := w.Server.Dials()
		testkit.Pass(2*time.Minute - time.Second)
		require.Greater(t, w.Server.Dials(), before)
		applied := d.calls()
		l := getWith(t, p, "a")
		assert.Equal(t, applied, d.calls(), "the connection had the setting already")
		assert.Equal(t, "a", d.settingOf(l))
		testkit.Put(t, l)
	})
}

func TestASettingThatCannotBeComparedIsRefused(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(withSettings(d))
		nan := 0.0
		nan /= nan
		for _, setting := range []any{[]string{"a"}, map[string]int{}, struct{ any }{[]int{1}}, [0]func(){}, struct{ any }{[0]func(){}}, nan} {
			_, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
			var c *messages.ConfigError
			require.ErrorAs(t, err, &c)
			assert.Equal(t, "Setting", c.Field)
			denied := testkit.Ask[*messages.Denied](t, w, p, &messages.Get{Setting: setting})
			require.ErrorAs(t, denied.Err, &c)
		}
		_, err := w.Pool().GetWith(ctx, client.GetOptions{Setting: "a"})
		var c *messages.ConfigError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, "Apply", c.Field)
		assert.Zero(t, w.Server.Dials())
	})
}

// With many settings on few connections, no caller gets a connection with another
// setting.
func TestUnderLoadEveryGetHasItsOwnSetting(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		d := &settingsServer{}
		p := w.Pool(testkit.Capacity(4), withSettings(d))
		var wg sync.WaitGroup
		var wrong atomic.Int32
		for i := range 32 {
			settings := []any{nil, "a", "b", "c", 1, struct{ n int }{1}}
			wg.Go(func() {
				for j := range 50 {
					setting := settings[(i+j)%len(settings)]
					l, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
					if !assert.NoError(t, err) {
						return
					}
					if d.settingOf(l) != setting {
						wrong.Add(1)
					}
					time.Sleep(time.Millisecond)
					if j%17 == 0 {
						_ = l.Taint(nil)
					} else {
						_ = l.Put()
					}
				}
			})
		}
		wg.Wait()
		assert.Zero(t, wrong.Load())
		st := p.Stats()
		assert.Equal(t, st.Grants, uint64(32*50))
	})
}
