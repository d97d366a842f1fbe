package client_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// G1
func TestGetGivesTheNewestIdleConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		a, b, c := testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p)
		testkit.Put(t, b, c, a)
		for _, want := range []int{1, 3, 2} {
			assert.Equal(t, want, testkit.Get(t, p).Conn().N)
		}
		assert.Equal(t, 3, w.Server.Dials())
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
	})
}

// G1
func TestGetConnectsBelowTheCapacityAndThenWaits(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		g.Waits(t)
		st := p.Stats()
		assert.Equal(t, 1, st.Waiting)
		assert.Equal(t, 2, st.Borrowed)
		time.Sleep(time.Hour)
		g.Waits(t)
		testkit.Put(t, b)
		assert.Equal(t, 2, g.Granted(t).Conn().N)
		testkit.Put(t, a, g.Lease)
		assert.Equal(t, 2, w.Server.Dials())
	})
}

// G2
func TestAnEndedContextGetsItsErrorThoughAConnectionIsIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		testkit.Fill(t, p, 1)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		why, cancelWhy := context.WithCancelCause(ctx)
		cancelWhy(testkit.ErrApp)
		for _, c := range []struct {
			ctx  context.Context
			want error
		}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}, {why, context.Canceled}, {why, testkit.ErrApp}} {
			var err error
			assert.Zero(t, testkit.Elapsed(func() { _, err = p.Get(c.ctx) }))
			assert.ErrorIs(t, err, c.want)
			assert.ErrorAs(t, err, new(*messages.GetError))
			assert.ErrorIs(t, p.Do(c.ctx, func(context.Context, *testkit.Conn) error { t.Error("called"); return nil }), c.want)
		}
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Borrowed)
	})
}

// G2
func TestAnEndedContextStartsNoConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err := p.Get(cancelled)
		assert.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Zero(t, w.Server.Dials())
	})
}

// G2
func TestAClosedPoolSaysSoEvenToAnEndedContext(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		held := testkit.Get(t, p)
		ending := testkit.Async(func() error { return p.Close(ctx) })
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err := p.Get(cancelled)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NotErrorIs(t, err, context.Canceled)
		testkit.Put(t, held)
		assert.NoError(t, ending.Returned(t))
		_, err = p.Get(cancelled)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}

// G3
func TestThePoolGrowsOnlyAsNeeded(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(10))
		assert.Zero(t, w.Server.Dials())
		for range 50 {
			testkit.Put(t, testkit.Get(t, p))
		}
		assert.Equal(t, 1, w.Server.Dials())
	})
}

// G3
func TestAConnectDelaysNobodyElse(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4))
		testkit.Fill(t, p, 2)
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		w.Server.SetDial(testkit.Delay(time.Second))
		slow := testkit.BeginGet(ctx, p)
		slow.Waits(t)
		assert.Zero(t, testkit.Elapsed(func() {
			testkit.Put(t, a) // serves the slow one
			l := slow.Granted(t)
			testkit.Put(t, l)
			for range 10 {
				testkit.Put(t, testkit.Get(t, p))
			}
			testkit.Put(t, b)
			x, y := testkit.Get(t, p), testkit.Get(t, p)
			testkit.Put(t, x, y)
		}))
		testkit.Pass(time.Second)
		assert.Equal(t, 3, p.Stats().Idle)
	})
}

// G3
func TestConnectsRunSideBySideUpToTheirBound(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(10), func(cfg *testkit.Config) { cfg.MaxConnecting = 3 })
		var all []*testkit.Getting
		for range 6 {
			all = append(all, testkit.BeginGet(ctx, p))
		}
		time.Sleep(time.Second)
		for i, g := range all {
			if i < 3 {
				testkit.Put(t, g.Granted(t))
			}
		}
		synctest.Wait()
		assert.Equal(t, 3, w.Server.MaxDialing())
		time.Sleep(time.Second)
		for _, g := range all[3:] {
			testkit.Put(t, g.Granted(t))
		}
	})
}

// G4
func TestTheConnectOfACallerWhoLeftServesTheNext(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1))
		first := testkit.BeginGet(testkit.Within(t, 300*time.Millisecond), p)
		time.Sleep(300 * time.Millisecond)
		assert.ErrorIs(t, first.Failed(t), context.DeadlineExceeded)
		second := testkit.BeginGet(ctx, p)
		time.Sleep(700 * time.Millisecond)
		testkit.Put(t, second.Granted(t))
		assert.Equal(t, 700*time.Millisecond, second.Waited)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

// G4
func TestTheConnectOfACallerWhoLeftBecomesIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool()
		leaving, cancel := context.WithCancel(ctx)
		g := testkit.BeginGet(leaving, p)
		cancel()
		assert.ErrorIs(t, g.Failed(t), context.Canceled)
		testkit.Pass(time.Second)
		assert.Equal(t, 1, p.Stats().Idle)
		l, ok := p.TryGet()
		require.True(t, ok)
		testkit.Put(t, l)
	})
}

// G4
func TestAConnectionThatComesBackServesACallerBeforeItsConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		a := testkit.Get(t, p)
		w.Server.SetDial(testkit.Delay(time.Second))
		g := testkit.BeginGet(ctx, p)
		time.Sleep(100 * time.Millisecond)
		testkit.Put(t, a)
		assert.Equal(t, 1, g.Granted(t).Conn().N)
		assert.Equal(t, 100*time.Millisecond, g.Waited)
		testkit.Pass(900 * time.Millisecond)
		assert.Equal(t, 1, p.Stats().Idle)
		testkit.Put(t, g.Lease)
	})
}

// G5
func TestWaitersAreServedInOrderAndThoseWhoLeftAreSkipped(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		var all []*testkit.Getting
		for i := range 20 {
			c := ctx
			if i%3 == 0 {
				c = testkit.Within(t, time.Second)
			}
			all = append(all, testkit.BeginGet(c, p))
		}
		testkit.Pass(time.Second)
		assert.Equal(t, 13, p.Stats().Waiting)
		for i, g := range all {
			if i%3 == 0 {
				assert.ErrorIs(t, g.Failed(t), context.DeadlineExceeded)
				continue
			}
			g.Waits(t)
			testkit.Put(t, held)
			held = g.Granted(t)
		}
		testkit.Put(t, held)
	})
}

// G5
func TestAGrantThatCrossesACancelIsNeverLost(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		var granted, left int
		for range 2000 {
			leaving, cancel := context.WithCancel(ctx)
			g := testkit.BeginGet(leaving, p)
			g.Waits(t)
			var both sync.WaitGroup
			both.Go(cancel)
			both.Go(func() { testkit.Put(t, held) })
			both.Wait()
			require.True(t, g.Ended())
			if g.Err == nil {
				granted++
				held = g.Lease
				continue
			}
			left++
			require.ErrorIs(t, g.Err, context.Canceled)
			var ok bool
			held, ok = p.TryGet()
			require.True(t, ok, "the connection is idle")
		}
		t.Log("granted", granted, "left", left)
		testkit.Put(t, held)
		assert.Equal(t, 1, w.Server.Dials())
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Waiting)
	})
}

// G5
func TestAGrantThatCrossesADeadlineIsNeverLost(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		for range 500 {
			g := testkit.BeginGet(testkit.Within(t, time.Millisecond), p)
			time.AfterFunc(time.Millisecond, func() { testkit.Put(t, held) })
			time.Sleep(2 * time.Millisecond)
			require.True(t, g.Ended())
			if held = g.Lease; g.Err != nil {
				require.ErrorIs(t, g.Err, context.DeadlineExceeded)
				held = testkit.Get(t, p)
			}
		}
		testkit.Put(t, held)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

// G8
func TestTheErrorOfAWaitSaysWhatThePoolLookedLike(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		testkit.BeginGet(testkit.Within(t, time.Minute), p)
		g := testkit.BeginGet(testkit.Within(t, time.Second), p)
		time.Sleep(time.Second)
		err := g.Failed(t)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "db", e.Pool)
		assert.Equal(t, time.Second, e.Waited)
		assert.Equal(t, 2, e.Position)
		assert.Equal(t, 1, e.Stats.Capacity)
		assert.Equal(t, 1, e.Stats.Borrowed)
		assert.EqualError(t, err, `actorpool "db": no connection in 1s: context deadline exceeded `+
			`(capacity 1: 1 borrowed, 2 waiting; longest: connection 1 for 1s)`)
		time.Sleep(time.Minute)
		testkit.Put(t, held)
	})
}

// G9
func TestABareOutageIsToldEarlyToThoseWhoCannotOutlastIt(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Base = 5 * time.Second })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)

		var e *messages.GetError
		assert.Zero(t, testkit.Elapsed(func() { _, err = p.Get(testkit.Within(t, 4*time.Second)) }))
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, e.LastConnectError, testkit.ErrRefused)
		assert.Equal(t, 1, e.Attempt)
		assert.Equal(t, 5*time.Second, time.Until(e.NextAttempt))

		patient, endless := testkit.BeginGet(testkit.Within(t, 6*time.Second), p), testkit.BeginGet(ctx, p)
		patient.Waits(t)
		endless.Waits(t)
		assert.Equal(t, 1, w.Server.Dials())
		w.Server.SetDial(testkit.Accept)
		time.Sleep(5 * time.Second)
		testkit.Put(t, patient.Granted(t), endless.Granted(t))
	})
}

// G9, B6
func TestAWaiterWithHopeGetsItsDeadlineAndTheCachedError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Base = 5 * time.Second })
		held := testkit.Get(t, p)
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		g := testkit.BeginGet(testkit.Within(t, time.Second), p)
		g.Waits(t)
		time.Sleep(time.Second)
		err = g.Failed(t)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, e.LastConnectError, testkit.ErrRefused)
		assert.Equal(t, 1, e.Attempt)
		testkit.Put(t, held)
	})
}

// G10
func TestAFailedConnectFailsOnlyTheGetItWasStartedFor(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { time.Sleep(time.Second); return testkit.ErrRefused })
		p := w.Pool(func(cfg *testkit.Config) { cfg.MaxConnecting = 1 })
		first, second, third := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		err := first.Failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		var e *messages.ConnectError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, messages.PhaseConnect, e.Phase)
		second.Waits(t)
		third.Waits(t)
		time.Sleep(2 * time.Second) // the blocking period, then the probe
		assert.ErrorIs(t, second.Failed(t), testkit.ErrRefused)
		third.Waits(t)
		w.Server.SetDial(testkit.Accept)
		time.Sleep(2 * time.Second)
		testkit.Put(t, third.Granted(t))
	})
}

// G10
func TestALoneCallerWithoutDeadlineDoesNotHangInAnOutage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		for i := range 6 {
			var err error
			took := testkit.Elapsed(func() { _, err = p.Get(ctx) })
			assert.ErrorIs(t, err, testkit.ErrRefused)
			assert.LessOrEqual(t, took, min(time.Second<<i, 8*time.Second))
		}
	})
}

// G10
func TestABackgroundConnectThatFailsFailsNobody(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(_ context.Context, n int) error {
			time.Sleep(time.Second)
			if n == 1 {
				return testkit.ErrRefused
			}
			return nil
		})
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MinIdle = 1 })
		g := testkit.BeginGet(ctx, p) // a background connect is under way
		time.Sleep(time.Second)
		g.Waits(t)
		time.Sleep(2 * time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

func TestTryGetTakesOnlyWhatIsIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		_, ok := p.TryGet()
		assert.False(t, ok)
		synctest.Wait()
		assert.Zero(t, w.Server.Dials(), "it never connects")
		testkit.Fill(t, p, 1)
		l, ok := p.TryGet()
		require.True(t, ok)
		_, ok = p.TryGet()
		assert.False(t, ok)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, l)
		l = g.Granted(t)
		testkit.Put(t, l)
	})
}

func TestMaxWaitersBoundsThoseWhoWaitWithoutAConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxWaiters = 2 })
		connecting := testkit.BeginGet(ctx, p)
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		var err error
		assert.Zero(t, testkit.Elapsed(func() { _, err = p.Get(ctx) }))
		assert.ErrorIs(t, err, messages.ErrExhausted)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.Zero(t, e.Position)
		time.Sleep(time.Second)
		l := connecting.Granted(t)
		testkit.Put(t, l)
		testkit.Put(t, first.Granted(t))
		testkit.Put(t, second.Granted(t))
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestGetTimeoutBoundsAGetWithoutADeadline(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.GetTimeout = time.Second })
		held := testkit.Get(t, p)
		plain, longer := testkit.BeginGet(ctx, p), testkit.BeginGet(testkit.Within(t, time.Minute), p)
		time.Sleep(time.Second)
		assert.ErrorIs(t, plain.Failed(t), context.DeadlineExceeded)
		longer.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, longer.Granted(t))
	})
}
