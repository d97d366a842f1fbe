package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// B1, B4, B15
func TestAfterAFailureNothingConnectsUntilThePeriodIsOver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		assert.ErrorIs(t, first.Failed(t), testkit.ErrRefused)
		for i, period := range []time.Duration{1, 2, 4, 8, 8, 8} {
			period *= time.Second
			if i > 0 {
				second = testkit.BeginGet(ctx, p)
			} else if second.Ended() { // its own connect may have begun before the failure
				second = testkit.BeginGet(ctx, p)
			}
			assert.Equal(t, messages.StateBackoff, p.Stats().State)
			dials := w.Server.Dials()
			time.Sleep(period - time.Millisecond)
			second.Waits(t)
			assert.Equal(t, dials, w.Server.Dials(), "no connect 1ms before the end of the period")
			time.Sleep(time.Millisecond)
			assert.ErrorIs(t, second.Failed(t), testkit.ErrRefused)
			assert.Equal(t, dials+1, w.Server.Dials(), "a connect at the end of the period")
		}
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		w.Server.SetDial(testkit.Refuse)
		require.NoError(t, testkit.Get(t, p).Taint(nil))
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		g.Failed(t)
	})
}

// B4
func TestFailuresOfOneMomentCountOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		w.Server.SetDial(func(context.Context, int) error { time.Sleep(time.Second); return testkit.ErrRefused })
		p := w.Pool(j.Listen, func(cfg *testkit.Config) { cfg.MaxConnecting = 4 })
		for range 4 {
			testkit.BeginGet(ctx, p)
		}
		testkit.Pass(time.Second)
		assert.EqualValues(t, 4, p.Stats().ConnectErrors)
		assert.EqualValues(t, 1, p.Stats().Backoffs)
		for _, e := range j.All() {
			if e.Kind == messages.PoolBackoff {
				assert.Equal(t, 1, e.Attempt)
				assert.Equal(t, time.Second, e.Duration)
				assert.ErrorIs(t, e.Err, testkit.ErrRefused)
			}
		}
	})
}

// B1
func TestThePresetOfBlockingPeriods(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff = client.BackoffBlocking() })
		for _, period := range []time.Duration{5, 10, 20, 40, 60, 60} {
			_, err := p.Get(ctx)
			assert.NotErrorAs(t, err, new(*messages.BackoffError))
			assert.ErrorIs(t, err, testkit.ErrRefused)
			_, err = p.Get(ctx)
			var e *messages.BackoffError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, period*time.Second, time.Until(e.Until))
			testkit.Pass(period * time.Second)
		}
	})
}

// B8, B15
func TestFailFastFailsAtOnceWithTheCachedError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { time.Sleep(100 * time.Millisecond); return testkit.ErrRefused })
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.Backoff.Mode, cfg.MaxConnecting = client.BackoffFailFast, 1 })
		first, queued := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(100 * time.Millisecond)
		err := first.Failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.NotErrorAs(t, err, new(*messages.BackoffError), "the Get whose connect failed gets the connector's error")
		err = queued.Failed(t)
		var e *messages.BackoffError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		assert.Equal(t, 1, e.Attempt)

		testkit.Pass(time.Second - time.Millisecond)
		dials := w.Server.Dials()
		_, err = p.Get(ctx)
		assert.ErrorAs(t, err, &e)
		assert.Equal(t, dials, w.Server.Dials())
		testkit.Pass(time.Millisecond)
		w.Server.SetDial(testkit.Delay(time.Second))
		probe, sharer := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		assert.Equal(t, messages.StateProbing, p.Stats().State)
		assert.Equal(t, dials+1, w.Server.Dials(), "one probe at a time")
		sharer.Waits(t)
		time.Sleep(time.Second)
		l := probe.Granted(t)
		testkit.Put(t, l)
		testkit.Put(t, sharer.Granted(t))
	})
}

// B8
func TestWhoWaitsForAProbeSharesItsFailure(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffFailFast })
		_, err := p.Get(ctx)
		require.Error(t, err)
		testkit.Pass(time.Second)
		w.Server.SetDial(func(context.Context, int) error { time.Sleep(time.Second); return testkit.ErrRefused })
		probe, sharer := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		assert.NotErrorAs(t, probe.Failed(t), new(*messages.BackoffError))
		var e *messages.BackoffError
		require.ErrorAs(t, sharer.Failed(t), &e)
		assert.Equal(t, 2, e.Attempt)
	})
}

// B7, P1
func TestAConnectionThatComesBackDuringABackoffServesAWaiter(t *testing.T) {
	for _, mode := range []client.BackoffMode{client.BackoffWait, client.BackoffFailFast} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.Backoff.Mode = mode })
			held := testkit.Get(t, p)
			w.Server.SetDial(testkit.Refuse)
			_, err := p.Get(ctx)
			require.ErrorIs(t, err, testkit.ErrRefused)
			if mode == client.BackoffWait {
				g := testkit.BeginGet(ctx, p)
				g.Waits(t)
				testkit.Put(t, held)
				held = g.Granted(t)
			}
			testkit.Put(t, held)
			testkit.Put(t, testkit.Get(t, p))
			assert.Equal(t, messages.StateReady, p.Stats().State, "B16: it serves")
			assert.Equal(t, 1, attempt(t, p), "the backoff is unchanged")
			assert.Equal(t, 2, w.Server.Dials())
		})
	}
}

// B10
func TestAStragglersSuccessEndsTheBackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(ctx context.Context, n int) error {
			if n == 1 {
				return testkit.Delay(500*time.Millisecond)(ctx, n)
			}
			return testkit.ErrRefused
		})
		p := w.Pool(testkit.Capacity(4))
		slow := testkit.BeginGet(ctx, p)
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		waiting := testkit.BeginGet(ctx, p)
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		w.Server.SetDial(testkit.Accept)
		time.Sleep(500 * time.Millisecond)
		testkit.Put(t, slow.Granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		testkit.Put(t, waiting.Granted(t))
		assert.Equal(t, 500*time.Millisecond, waiting.Waited)
	})
}

// B12
func TestClearEndsABackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Base = 4 * time.Second })
		_, err := p.Get(ctx)
		require.Error(t, err)
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.SetCapacity(ctx, 5))
		g.Waits(t)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		assert.ErrorIs(t, g.Failed(t), testkit.ErrRefused)
		// That was attempt 1 of a new backoff, which the timer of the old one does not end.
		time.Sleep(time.Second)
		w.Server.SetDial(testkit.Accept)
		g = testkit.BeginGet(ctx, p)
		time.Sleep(3*time.Second - time.Millisecond)
		g.Waits(t)
		time.Sleep(time.Millisecond)
		testkit.Put(t, g.Granted(t))
	})
}

// B9
func TestALateTimerEndsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		for range 2 {
			_, err := p.Get(ctx)
			require.ErrorIs(t, err, testkit.ErrRefused)
		}
		g := testkit.BeginGet(ctx, p)
		dials := w.Server.Dials()
		for epoch := range uint64(2) {
			w.System.Root.Send(p.PID(), &messages.BackoffElapsed{Epoch: epoch, Attempt: 2})
			w.System.Root.Send(p.PID(), &messages.Tick{Epoch: epoch})
		}
		synctest.Wait()
		g.Waits(t)
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		assert.Equal(t, dials, w.Server.Dials())
		w.Server.SetDial(testkit.Accept)
		time.Sleep(2 * time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

// B11
func TestHealthReportsFromOutside(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		held := testkit.Get(t, p)
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		require.Error(t, err)
		w.System.Root.Send(p.PID(), &messages.HealthOK{})
		assert.Equal(t, 1, attempt(t, p))
		w.System.Root.Send(p.PID(), &messages.HealthFailed{Err: testkit.ErrApp})
		assert.Zero(t, attempt(t, p))
		st := p.Stats()
		assert.Equal(t, messages.StateReady, st.State)
		assert.EqualValues(t, 1, st.Generation)
		testkit.Put(t, held)
		assert.Zero(t, p.Stats().Idle)
	})
}

// B13
func TestWithoutBackoffEveryGetConnects(t *testing.T) {
	for _, off := range []func(*testkit.Config){
		func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffNever },
		func(cfg *testkit.Config) { cfg.Backoff.Decide = func() bool { return false } },
	} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			w.Server.SetDial(testkit.Refuse)
			p := w.Pool(off)
			assert.Zero(t, testkit.Elapsed(func() {
				for range 10 {
					_, err := p.Get(ctx)
					assert.ErrorIs(t, err, testkit.ErrRefused)
				}
			}))
			assert.Equal(t, 10, w.Server.Dials())
			assert.Zero(t, p.Stats().Backoffs)
		})
	}
}

// B5
func TestDuringABackoffIdleConnectionsAreChecked(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		checks := 0
		p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) {
			cfg.Check = func(context.Context, *testkit.Conn) error { checks++; return nil }
		})
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		require.Error(t, err)
		testkit.Put(t, a, b)
		_, ok := p.TryGet()
		assert.False(t, ok)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, 1, checks)
	})
}

// B2
func TestAnErrorThatSaysNothingAboutTheServerStartsNoBackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { return context.Canceled })
		p := w.Pool()
		for range 3 {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
		}
		assert.Zero(t, p.Stats().Backoffs)
	})
}

// B2
func TestClassifyCanClearThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Classify = func(phase messages.Phase, err error) messages.Class {
				assert.Equal(t, messages.PhaseConnect, phase)
				assert.ErrorIs(t, err, testkit.ErrRefused)
				return messages.ClassClear
			}
		})
		held, idle := testkit.Get(t, p), testkit.Get(t, p)
		testkit.Put(t, idle)
		idle = testkit.Get(t, p)
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		testkit.Put(t, held, idle)
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.EqualValues(t, 1, st.Generation)
		assert.Zero(t, st.Backoffs)
	})
}

func TestAThousandWaitersInAnOutageOfAMinute(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		const waiters, connecting = 1000, 3
		base, limit, outage := 200*time.Millisecond, 10*time.Second, time.Minute
		var j testkit.Journal
		p := w.Pool(j.Listen, testkit.Capacity(10), func(cfg *testkit.Config) {
			cfg.MaxConnecting = connecting
			cfg.Backoff = client.Backoff{Base: base, Cap: limit, Jitter: client.NoJitter}
		})
		began := time.Now()
		w.Server.SetDial(func(context.Context, int) error {
			if time.Since(began) < outage {
				return testkit.ErrRefused
			}
			return nil
		})
		var failed int
		var all []*testkit.Getting
		require.NoError(t, p.Suspend(ctx)) // until all Gets wait
		for i := range waiters {
			all = append(all, testkit.BeginGetWith(ctx, p, client.GetOptions{Label: string(rune('A' + i))}))
		}
		require.NoError(t, p.Resume(ctx))
		for _, g := range all {
			go func() {
				<-g.Done
				if g.Err == nil {
					_ = g.Lease.Put()
				}
			}()
		}
		synctest.Wait()
		assert.Equal(t, connecting, w.Server.Dials())

		// The number of probes by the formula of Backoff.
		at, probes, period := time.Duration(0), 0, base
		for at < outage {
			at += period
			period = min(2*period, limit)
			probes++
		}
		testkit.Pass(at - time.Millisecond)
		assert.Equal(t, connecting+probes-1, w.Server.Dials())
		assert.Equal(t, probes, int(p.Stats().Backoffs))
		time.Sleep(time.Millisecond)
		for i, g := range all {
			if err := g.Returned(t); err != nil {
				assert.ErrorIs(t, err, testkit.ErrRefused)
				assert.Equal(t, failed, i, "the first in the queue fail")
				failed++
			}
		}
		assert.Equal(t, connecting+probes-1, failed)
		assert.LessOrEqual(t, w.Server.MaxDialing(), connecting)
		next := failed
		for _, e := range j.All() {
			if e.Kind == messages.CheckedOut {
				require.Equal(t, string(rune('A'+next)), e.Label, "in order")
				next++
			}
		}
		assert.Equal(t, waiters, next)
	})
}

// attempt is the number of failed attempts of the pool's backoff; 0: there is none.
func attempt(t *testing.T, p *testkit.Pool) int {
	t.Helper()
	e, err := p.Explain(ctx)
	require.NoError(t, err)
	return e.Attempt
}
