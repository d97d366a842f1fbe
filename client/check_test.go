package client_test

import (
	"context"
	"io"
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

// G6
func TestADeadIdleConnectionIsReplacedUnseen(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		dead := map[int]bool{}
		checks := 0
		p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) {
			cfg.Check = func(_ context.Context, c *testkit.Conn) error {
				if checks++; dead[c.N] {
					return io.EOF
				}
				return nil
			}
		})
		testkit.Fill(t, p, 3)
		testkit.Put(t, testkit.Get(t, p))
		assert.Zero(t, checks, "it was idle for less than CheckAfterIdle")
		time.Sleep(time.Second)
		testkit.Put(t, testkit.Get(t, p))
		assert.Zero(t, checks, "it was not idle for longer than CheckAfterIdle")
		time.Sleep(time.Second + 1)
		dead[3], dead[2] = true, true
		_, ok := p.TryGet()
		assert.False(t, ok, "TryGet checks nothing")
		l := testkit.Get(t, p)
		assert.Contains(t, []int{1, 4}, l.Conn().N, "whichever came first, the check of 1 or a connect")
		synctest.Wait()
		assert.Equal(t, 3, checks, "2 and 1 are suspects")
		assert.EqualValues(t, 2, p.Stats().ClosedBroken)
		testkit.Put(t, l)
		time.Sleep(2 * time.Second)
		for n := 1; n <= w.Server.Dials(); n++ {
			dead[n] = true
		}
		dials := w.Server.Dials()
		l = testkit.Get(t, p)
		assert.Equal(t, dials+1, l.Conn().N, "all are dead, so there is a connect")
		testkit.Put(t, l)
	})
}

// G6
func TestACheckDelaysNobodyElse(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) {
			cfg.Check = func(context.Context, *testkit.Conn) error { time.Sleep(time.Second); return nil }
		})
		testkit.Fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := testkit.BeginGet(ctx, p)
		g.Waits(t)
		next := testkit.BeginGet(ctx, p) // connects, which is faster than the check
		l := g.Granted(t)
		assert.Equal(t, 2, l.Conn().N)
		testkit.Put(t, l)
		testkit.Put(t, next.Granted(t))
		assert.Zero(t, g.Waited+next.Waited)
		testkit.Pass(time.Second)
		assert.Equal(t, 2, p.Stats().Idle)
	})
}

// G6
func TestACheckCanBeTurnedOff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.CheckAfterIdle = -1
			cfg.Check = func(context.Context, *testkit.Conn) error { t.Error("checked"); return nil }
		})
		testkit.Fill(t, p, 1)
		time.Sleep(time.Hour)
		testkit.Put(t, testkit.Get(t, p))
	})
}

// hangs is a check of a connection whose server does not answer.
func hangs(ctx context.Context, _ *testkit.Conn) error { <-ctx.Done(); return ctx.Err() }

// G6, L13
func TestACheckThatAGetWaitsForIsBoundedByCheckTimeout(t *testing.T) {
	for _, tt := range []struct{ connect, check, want time.Duration }{
		{0, 0, time.Second}, {300 * time.Millisecond, 0, 300 * time.Millisecond}, {0, 3 * time.Second, 3 * time.Second},
	} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			p := w.Pool(func(cfg *testkit.Config) {
				cfg.Check, cfg.ConnectTimeout, cfg.CheckTimeout = hangs, tt.connect, tt.check
			})
			testkit.Fill(t, p, 1)
			time.Sleep(2 * time.Second)
			var l testkit.Lease
			assert.Equal(t, tt.want, testkit.Elapsed(func() { l = testkit.Get(t, p) }))
			assert.Equal(t, 2, l.Conn().N)
			testkit.Put(t, l)
		})
	}
}

// L13
func TestACheckInTheBackgroundHasConnectTimeout(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.Check, cfg.CheckAfterIdle, cfg.KeepAlive = hangs, -1, time.Minute })
		testkit.Fill(t, p, 1)
		testkit.Pass(time.Minute + 10*time.Second - time.Millisecond)
		assert.Equal(t, 1, p.Stats().InTransition)
		testkit.Pass(time.Millisecond)
		assert.Zero(t, p.Stats().Open)
	})
}

// P6
func TestResetRunsBeforeTheNextHolderAndItsFailureReplaces(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		fails := false
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.Reset = func(context.Context, *testkit.Conn) error {
				time.Sleep(time.Second)
				if fails {
					return io.EOF
				}
				return nil
			}
		})
		assert.Zero(t, testkit.Elapsed(func() { testkit.Put(t, testkit.Get(t, p)) }))
		_, ok := p.TryGet()
		assert.False(t, ok)
		assert.Equal(t, 1, p.Stats().InTransition)
		var l testkit.Lease
		assert.Equal(t, time.Second, testkit.Elapsed(func() { l = testkit.Get(t, p) }))
		assert.Equal(t, 1, l.Conn().N)
		fails = true
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, l)
		time.Sleep(time.Second)
		l = g.Granted(t)
		assert.Equal(t, 2, l.Conn().N)
		fails = false
		testkit.Put(t, l)
		time.Sleep(2 * time.Second)
	})
}

// P6, P8
func TestAResetThatFailsCostsNoCaller(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.Backoff.Mode = client.BackoffFailFast // a backoff would fail the Get that waits
			cfg.Reset = func(context.Context, *testkit.Conn) error {
				time.Sleep(100 * time.Millisecond)
				return io.EOF
			}
		})
		testkit.Put(t, testkit.Get(t, p))
		for range 10 { // the Get comes while the Reset runs, and has to connect
			assert.Equal(t, 1100*time.Millisecond, testkit.Elapsed(func() { testkit.Put(t, testkit.Get(t, p)) }))
		}
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		testkit.Pass(1100 * time.Millisecond)
		testkit.Put(t, first.Granted(t))
		testkit.Pass(1100 * time.Millisecond)
		testkit.Put(t, second.Granted(t))
		testkit.Pass(time.Second)
		s := p.Stats()
		assert.Equal(t, 13, w.Server.Dials())
		assert.Zero(t, s.Open)
		assert.Equal(t, s.Gets, s.Grants)
		assert.Zero(t, s.Backoffs)
	})
}

// P6
func TestAWaiterIsServedByWhicheverComesFirst(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) {
			cfg.Reset = func(context.Context, *testkit.Conn) error { time.Sleep(3 * time.Second); return nil }
		})
		a := testkit.Get(t, p)
		testkit.Put(t, a)
		w.Server.SetDial(testkit.Delay(time.Second))
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second + time.Millisecond) // for a moment it waits for the reset alone (P8)
		assert.Equal(t, 2, g.Granted(t).Conn().N)
		time.Sleep(10 * time.Second)
		testkit.Put(t, g.Lease)
		time.Sleep(10 * time.Second)
	})
}

// KeepAlive checks an idle connection again and again. One that is dead is closed,
// and replaced if MinIdle asks for it.
func TestIdleConnectionsAreKeptAlive(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var checks atomic.Int32
		var dead atomic.Bool
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) {
			cfg.MinIdle, cfg.KeepAlive, cfg.CheckAfterIdle = 1, 10*time.Second, -1
			cfg.Check = func(context.Context, *testkit.Conn) error {
				checks.Add(1)
				if dead.CompareAndSwap(true, false) {
					return testkit.ErrRefused
				}
				return nil
			}
		})
		require.NoError(t, p.Ready(ctx))
		testkit.Pass(time.Minute + time.Second)
		assert.EqualValues(t, 6, checks.Load())
		dead.Store(true)
		testkit.Pass(10 * time.Second)
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, []int{2, 1}, []int{opened, closed})
		assert.Equal(t, 1, p.Stats().Idle)
	})
}

// L14
func TestKeepAliveLeavesSomethingToLend(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(30), func(cfg *testkit.Config) {
			cfg.MaxConnecting, cfg.CheckAfterIdle, cfg.KeepAlive = 30, -1, 30*time.Second
			cfg.Check = func(ctx context.Context, _ *testkit.Conn) error { return testkit.Sleep(ctx, 5*time.Second) }
		})
		for _, n := range []int{30, 2} {
			testkit.Fill(t, p, n)
			most := 0
			for range 1200 {
				testkit.Pass(100 * time.Millisecond)
				st := p.Stats()
				most = max(most, st.InTransition)
				require.Positive(t, st.Idle)
			}
			assert.Equal(t, max(1, n/10), most)
			require.NoError(t, p.SetCapacity(ctx, 2))
		}
	})
}

// forgotten makes a pool of n idle connections, for which a firewall has forgotten all
// that lead anywhere: a check of them hangs. New ones are well.
func forgotten(t *testing.T, w *testkit.World, n int, change ...func(*testkit.Config)) *testkit.Pool {
	t.Helper()
	p := w.Pool(append([]func(*testkit.Config){testkit.Capacity(n), func(cfg *testkit.Config) {
		cfg.MaxConnecting = n
		cfg.Check = func(ctx context.Context, c *testkit.Conn) error {
			if c.N <= n {
				return hangs(ctx, c)
			}
			return nil
		}
	}}, change...)...)
	testkit.Fill(t, p, n)
	time.Sleep(time.Minute)
	return p
}

// G13
func TestAGetWaitsForOneCheckAtMost(t *testing.T) {
	for _, n := range []int{1, 2, 8} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			p := forgotten(t, w, n)
			first := testkit.BeginGet(ctx, p)
			second := testkit.BeginGet(ctx, p)
			time.Sleep(time.Second)
			l := first.Granted(t)
			assert.Greater(t, l.Conn().N, n, "it is a new one")
			testkit.Put(t, l)
			testkit.Put(t, second.Granted(t))
			testkit.Pass(time.Duration(n) * 10 * time.Second) // one check after the other, in the background
			assert.EqualValues(t, n, p.Stats().ClosedBroken)
		})
	}
}

// G13
func TestAnErrorOfTheNetworkInUseMakesSuspects(t *testing.T) {
	neverChecked := func(cfg *testkit.Config) { cfg.CheckAfterIdle = time.Hour }
	for name, tt := range map[string]struct {
		err  error
		dead bool
	}{
		"end of file": {io.EOF, true}, "of the application": {testkit.ErrApp, false}, "end of a context": {context.DeadlineExceeded, false},
		"bad method": {badError{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := forgotten(t, w, 3, neverChecked)
				require.NoError(t, testkit.Get(t, p).Taint(tt.err))
				testkit.Pass(20 * time.Second)
				assert.Equal(t, tt.dead, p.Stats().Idle == 0)
			})
		})
	}
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := forgotten(t, w, 3, neverChecked)
		assert.ErrorIs(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { return io.EOF }), io.EOF)
		testkit.Pass(20 * time.Second)
		assert.Zero(t, p.Stats().Idle)
	})
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := forgotten(t, w, 3, neverChecked)
		l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: l.ID, Cause: io.EOF}).Err)
		testkit.Pass(20 * time.Second)
		assert.Equal(t, 2, p.Stats().Idle, "an actor's word is not enough")
	})
}

// badError is an error whose methods panic.
type badError struct{}

func (badError) Error() string { return "bad" }
func (badError) Is(error) bool { panic("Is") }

// P8
func TestOneCallerAloneNeedsOneConnection(t *testing.T) {
	for name, times := range map[string]struct{ connect, reset time.Duration }{
		"a reset that does nothing": {}, "a reset that is faster than a connect": {time.Second, 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				w.Server.SetDial(testkit.Delay(times.connect))
				p := w.Pool(testkit.Capacity(8), (&testkit.CountedReset{Duration: times.reset}).Configure)
				for range 100 {
					testkit.Put(t, testkit.Get(t, p))
				}
				assert.Equal(t, 1, w.Server.Dials())
			})
		})
	}
}

// P8
func TestAGetWaitsForAResetForAsLongAsTheLastConnectTook(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		p := w.Pool(testkit.Capacity(8), (&testkit.CountedReset{Duration: time.Minute}).Configure)
		testkit.Put(t, testkit.Get(t, p))
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(100 * time.Millisecond)
		l := first.Granted(t) // by the connect of the second: for one reset there is one waiter
		second.Waits(t)
		time.Sleep(100 * time.Millisecond)
		testkit.Put(t, l, second.Granted(t))
		assert.Equal(t, 3, w.Server.Dials())
		first = testkit.BeginGet(ctx, p)
		time.Sleep(199 * time.Millisecond)
		first.Waits(t)
		time.Sleep(time.Millisecond)
		testkit.Put(t, first.Granted(t))
	})
}
