package actorpool_test

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
	"github.com/actorpool/actorpool/messages"
)

// wardrobe keeps, like a server, the setting of each connection, and counts
// what it is asked to do.
type wardrobe struct {
	mu       sync.Mutex
	worn     map[*conn]any
	applied  int
	taken    int
	refuse   error // what Apply answers
	stuck    error // what Unapply answers
	applying time.Duration
}

func (w *wardrobe) apply(ctx context.Context, c *conn, setting any) error {
	w.mu.Lock()
	refuse, d := w.refuse, w.applying
	w.applied++
	if w.worn[c] != nil {
		refuse = errors.New("the connection is not clean")
	}
	w.mu.Unlock()
	if d > 0 {
		if err := takes(d)(ctx, 0); err != nil {
			return err
		}
	}
	if refuse != nil {
		return refuse
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worn[c] = setting
	return nil
}

func (w *wardrobe) unapply(_ context.Context, c *conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken++
	if w.stuck != nil {
		return w.stuck
	}
	delete(w.worn, c)
	return nil
}

func (w *wardrobe) of(l lease) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.worn[l.Conn()]
}

func (w *wardrobe) counts() [2]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return [2]int{w.applied, w.taken}
}

func (w *wardrobe) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// dressing makes a pool whose connections have settings.
func dressing(w *wardrobe) func(*config) {
	w.worn = make(map[*conn]any)
	return func(cfg *config) { cfg.Apply, cfg.Unapply = w.apply, w.unapply }
}

func with(t *testing.T, p *pool, setting any) lease {
	t.Helper()
	l, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
	require.NoError(t, err)
	return l
}

// G1: an equal setting, then a clean connection, then a new one, then another's.
func TestAGetWithASettingTakesTheConnectionThatIsLeastWork(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(2), dressing(d))
		a := with(t, p, "a")
		assert.Equal(t, "a", d.of(a))
		assert.Equal(t, 1, w.server.dialled())
		put(t, a)

		again := with(t, p, "a") // equal
		assert.Equal(t, [2]int{1, 0}, d.counts())
		put(t, again)

		b := with(t, p, "b") // not the idle one with a: a new one
		assert.Equal(t, "b", d.of(b))
		assert.Equal(t, 2, w.server.dialled())
		assert.Equal(t, [2]int{2, 0}, d.counts())

		c := with(t, p, "c") // no more may connect: a is taken off
		assert.Equal(t, "c", d.of(c))
		assert.Equal(t, [2]int{3, 1}, d.counts())
		put(t, b, c)

		st := p.Stats()
		assert.Equal(t, []uint64{1, 3, 1}, []uint64{st.SettingHits, st.SettingSwitches, st.SettingResets})
	})
}

// G1: a clean idle one, then a new one, then one whose setting is taken off.
func TestAGetWithoutASettingNeverGetsOne(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(2), dressing(d))
		put(t, with(t, p, "a"))
		l := get(t, p) // a new one, not the one with a
		assert.Nil(t, d.of(l))
		assert.Equal(t, 2, w.server.dialled())
		other := get(t, p) // now a is taken off
		assert.Nil(t, d.of(other))
		assert.Equal(t, [2]int{1, 1}, d.counts())
		put(t, l, other)
	})
}

// G7.
func TestAConnectionGoesToTheWaiterWithItsSettingButNotForEver(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(1), dressing(d))
		l := with(t, p, "a")
		first := beginWith(ctx, p, client.GetOptions{Setting: "b"})
		later := make([]*getting, 10)
		for i := range later {
			later[i] = beginWith(ctx, p, client.GetOptions{Setting: "a"})
		}
		for i := range 8 {
			put(t, l)
			l = later[i].granted(t)
			first.waits(t)
		}
		put(t, l) // the ninth goes in order
		l = first.granted(t)
		assert.Equal(t, "b", d.of(l))
		put(t, l)
		l = later[8].granted(t)
		put(t, l)
		put(t, later[9].granted(t))
	})
}

// H9, P3.
func TestAFailedApplyFailsOneGetAndWakesTheNext(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(1), dressing(d))
		refused := errors.New("no such role")
		d.set(func() { d.refuse, d.applying = refused, time.Second })
		dressed := beginWith(ctx, p, client.GetOptions{Setting: "a"})
		plain := begin(ctx, p)
		dressed.waits(t)
		time.Sleep(time.Second)
		err := dressed.failed(t)
		assert.ErrorIs(t, err, refused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		var c *messages.ConnectError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, messages.PhaseApply, c.Phase)
		put(t, plain.granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		_, opened, closed := w.server.count()
		assert.Equal(t, []int{2, 1}, []int{opened, closed})
	})
}

func TestAfterAFailedUnapplyABareConnectionIsOpened(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		for _, without := range []bool{false, true} {
			d := &wardrobe{}
			p := w.pool(capacity(1), dressing(d), func(cfg *config) {
				if without {
					cfg.Unapply = nil
				}
			})
			d.set(func() { d.stuck = errors.New("stuck") })
			put(t, with(t, p, "a"))
			dials := w.server.dialled()
			l := with(t, p, "b")
			assert.Equal(t, "b", d.of(l))
			assert.Equal(t, dials+1, w.server.dialled())
			put(t, l)
			closeNow(t, p)
		}
	})
}

// P6.
func TestResetKeepsTheSettingUnlessItSaysOtherwise(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		for _, wipes := range []bool{false, true} {
			d := &wardrobe{}
			p := w.pool(capacity(1), dressing(d), func(cfg *config) {
				cfg.ResetWipesSetting = wipes
				cfg.Reset = func(_ context.Context, c *conn) error {
					if wipes {
						d.set(func() { delete(d.worn, c) })
					}
					return nil
				}
			})
			put(t, with(t, p, "a"))
			synctest.Wait()
			put(t, with(t, p, "a"))
			want := [2]int{1, 0}
			if wipes {
				want = [2]int{2, 0}
			}
			assert.Equal(t, want, d.counts())
			closeNow(t, p)
		}
	})
}

func TestACallerWhoLeavesWhileItsSettingIsAppliedLeavesTheConnectionToOthers(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(1), dressing(d))
		d.set(func() { d.applying = time.Second })
		g := beginWith(within(t, 100*time.Millisecond), p, client.GetOptions{Setting: "a"})
		time.Sleep(100 * time.Millisecond)
		assert.ErrorIs(t, g.failed(t), context.DeadlineExceeded)
		l := with(t, p, "a") // which waits for what is under way
		assert.Equal(t, [2]int{1, 0}, d.counts())
		put(t, l)
	})
}

// L2: what is closed for its age is replaced with its setting on.
func TestAReplacementKeepsTheSetting(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(2), dressing(d), func(cfg *config) {
			cfg.MinIdle, cfg.MaxLifetime, cfg.MaxLifetimeJitter = 1, time.Minute, time.Nanosecond
		})
		put(t, with(t, p, "a"))
		synctest.Wait()
		before := w.server.dialled()
		time.Sleep(2*time.Minute - time.Second)
		synctest.Wait()
		require.Greater(t, w.server.dialled(), before)
		applied := d.counts()
		l := with(t, p, "a")
		assert.Equal(t, applied, d.counts(), "the setting was on it already")
		assert.Equal(t, "a", d.of(l))
		put(t, l)
	})
}

func TestASettingThatCannotBeComparedIsRefused(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(dressing(d))
		nan := 0.0
		nan /= nan
		for _, setting := range []any{[]string{"a"}, map[string]int{}, struct{ any }{[]int{1}}, nan} {
			_, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
			var c *messages.ConfigError
			require.ErrorAs(t, err, &c)
			assert.Equal(t, "Setting", c.Field)
		}
		_, err := w.pool().GetWith(ctx, client.GetOptions{Setting: "a"})
		var c *messages.ConfigError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, "Apply", c.Field)
		assert.Zero(t, w.server.dialled())
	})
}

// Many settings over few connections: nobody ever sees another's, or a dirty
// connection.
func TestUnderLoadEveryGetHasItsOwnSetting(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		d := &wardrobe{}
		p := w.pool(capacity(4), dressing(d))
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
					if d.of(l) != setting {
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

// KeepAlive: an idle connection is checked again and again, and one that has
// died is replaced if MinIdle asks for it. It does not look younger for that.
func TestIdleConnectionsAreKeptAlive(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var checks atomic.Int32
		var dead atomic.Bool
		p := w.pool(capacity(2), func(cfg *config) {
			cfg.MinIdle, cfg.KeepAlive, cfg.CheckAfterIdle = 1, 10*time.Second, -1
			cfg.Check = func(context.Context, *conn) error {
				checks.Add(1)
				if dead.CompareAndSwap(true, false) {
					return errRefused
				}
				return nil
			}
		})
		require.NoError(t, p.Ready(ctx))
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		assert.EqualValues(t, 6, checks.Load())
		dead.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, opened, closed := w.server.count()
		assert.Equal(t, []int{2, 1}, []int{opened, closed})
		assert.Equal(t, 1, p.Stats().Idle)
	})
}
