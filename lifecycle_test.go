package actorpool_test

import (
	"context"
	"io"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// L1
func TestMinIdleIsKeptInTheBackground(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(4), func(cfg *config) { cfg.MinIdle = 2 })
		assert.Equal(t, 2, p.Stats().Idle)
		a, b := get(t, p), get(t, p)
		synctest.Wait()
		st := p.Stats()
		assert.Equal(t, 2, st.Idle)
		assert.Equal(t, 4, st.Open)
		c := get(t, p)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle, "the capacity allows no more")
		require.NoError(t, c.Taint(nil))
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle)
		put(t, a, b)
	})
}

// L1
func TestMinIdleIsRetriedUnderTheBackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(func(cfg *config) { cfg.MinIdle, cfg.MaxConnecting = 1, 1 })
		assert.Equal(t, 1, w.server.dialled())
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 2, w.server.dialled())
		w.server.becomes(accept)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, messages.StateReady, st.State)
	})
}

func TestAboveMaxIdleAReturnedConnectionIsClosed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3), func(cfg *config) { cfg.MaxIdle = 1 })
		fill(t, p, 3)
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, 1, st.Open)
		assert.EqualValues(t, 2, st.ClosedIdle)
	})
}

// L2
func TestIdleConnectionsAboveMinIdleCloseAfterTheirTimeOldestFirst(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(4), func(cfg *config) { cfg.IdleTimeout, cfg.MinIdle = time.Minute, 1 })
		leases := []lease{get(t, p), get(t, p), get(t, p), get(t, p)}
		newest := leases[3].Conn()
		put(t, leases...)
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 4, p.Stats().Idle)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle, "at most half at once")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Zero(t, newest.closed.Load(), "the newest is left")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Equal(t, 4, w.server.dialled(), "nothing was replaced")
	})
}

// L2
func TestAConnectionInUseIsNotIdle(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.IdleTimeout = time.Minute })
		for range 10 {
			put(t, get(t, p))
			time.Sleep(59 * time.Second)
		}
		synctest.Wait()
		assert.Equal(t, 1, w.server.dialled())
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Zero(t, p.Stats().Open)
	})
}

// L2
func TestMaxLifetimeBoundsTheAgeOfIdleAndBorrowedConnections(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.MaxLifetime = time.Minute })
		held := get(t, p)
		fill(t, p, 1)
		time.Sleep(54*time.Second - time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle, "jitter takes a tenth at most")
		time.Sleep(6*time.Second + time.Millisecond)
		synctest.Wait()
		assert.Zero(t, p.Stats().Idle)
		assert.Zero(t, held.Conn().closed.Load(), "a lease is never cut short")
		put(t, held)
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.EqualValues(t, 2, st.ClosedLifetime)
	})
}

// L2, L1
func TestAnOldConnectionOfMinIdleIsReplaced(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.MaxLifetime, cfg.MinIdle = time.Minute, 2 })
		time.Sleep(61 * time.Second)
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle)
		assert.EqualValues(t, 2, p.Stats().ClosedLifetime)
	})
}

// L3
func TestABackgroundConnectThatIsSlowTakesNoPlaceFromAGet(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), func(cfg *config) { cfg.MaxLifetime, cfg.MinIdle = time.Minute, 1 })
		w.server.becomes(takes(5 * time.Second))
		time.Sleep(61 * time.Second)
		g := begin(within(t, 6*time.Second), p)
		time.Sleep(5 * time.Second)
		put(t, g.granted(t))
	})
}

// counting counts what an actor is told.
type counting struct{ messages int }

func (c *counting) middleware(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		c.messages++
		next(ctx, envelope)
	}
}

// L4
func TestAPoolWithNothingToDoHasNoTimer(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var told counting
		p := w.spawn(w.config(func(cfg *config) { cfg.MinIdle, cfg.IdleTimeout, cfg.LeakAfter = 1, time.Minute, time.Minute }),
			actor.WithReceiverMiddleware(told.middleware))
		t.Cleanup(func() { w.end(p) })
		fill(t, p, 3)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		before := told.messages
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		assert.Equal(t, before, told.messages)
	})
}

// L5
func TestAGetWhoseConnectBecameStaleKeepsItsPlace(t *testing.T) {
	for _, interrupt := range []bool{false, true} {
		rule(t, func(t *testing.T, w *world) {
			w.server.becomes(takes(time.Second))
			p := w.pool(capacity(1))
			g, next := begin(ctx, p), begin(ctx, p)
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: interrupt}))
			g.waits(t)
			time.Sleep(1500 * time.Millisecond)
			l := g.granted(t)
			next.waits(t)
			if interrupt {
				assert.Equal(t, 1500*time.Millisecond, g.waited, "the connect was cancelled")
			} else {
				assert.Equal(t, 2*time.Second, g.waited, "the stale connection was closed when it came")
			}
			put(t, l)
			put(t, next.granted(t))
		})
	}
}

// L5
func TestClearWithInterruptRevokesLeases(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		a, b := get(t, p), get(t, p)
		used := a.Conn()
		g := begin(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		synctest.Wait()
		assert.EqualValues(t, 1, used.closed.Load())
		assert.Nil(t, a.Conn())
		put(t, g.granted(t))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Taint(errApp), messages.ErrLeaseEnded)
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.EqualValues(t, 1, st.Puts)
		assert.EqualValues(t, 2, st.ClosedStale)
	})
}

// L5
func TestPauseOnClearStartsPausedAndEvictsWaiters(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), func(cfg *config) { cfg.PauseOnClear = true })
		assert.Equal(t, messages.StatePaused, p.Stats().State)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrCleared)
		assert.ErrorAs(t, err, new(*messages.GetError))
		assert.ErrorIs(t, p.Ready(ctx), messages.ErrCleared)
		require.NoError(t, p.Resume(ctx))
		held := get(t, p)
		g := begin(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		assert.ErrorIs(t, g.failed(t), messages.ErrCleared)
		_, ok := p.TryGet()
		assert.False(t, ok)
		put(t, held)
		assert.Zero(t, p.Stats().Open)

		w.system.Root.Send(p.PID(), &messages.HealthOK{})
		put(t, get(t, p))
		w.system.Root.Send(p.PID(), &messages.HealthFailed{Err: errRefused})
		_, err = p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrCleared)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, e.LastConnectError, errRefused)
	})
}

// L6
func TestWhileSuspendedGetsWaitAndReturnsWork(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		held := get(t, p)
		fill(t, p, 1)
		require.NoError(t, p.Suspend(ctx))
		require.NoError(t, p.Suspend(ctx))
		assert.Equal(t, messages.StateSuspended, p.Stats().State)
		first, second, third := begin(ctx, p), begin(ctx, p), begin(ctx, p)
		short := begin(within(t, time.Second), p)
		_, ok := p.TryGet()
		assert.False(t, ok)
		put(t, held)
		assert.Equal(t, 2, p.Stats().Idle)
		time.Sleep(time.Second)
		err := short.failed(t)
		assert.ErrorIs(t, err, messages.ErrSuspended)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		first.waits(t)
		require.NoError(t, p.Resume(ctx))
		put(t, first.granted(t), second.granted(t))
		put(t, third.granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
	})
}

// L6
func TestAConnectThatEndsWhileSuspendedBecomesIdle(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(capacity(1))
		g := begin(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		time.Sleep(time.Second)
		g.waits(t)
		assert.Equal(t, 1, p.Stats().Idle)
		require.NoError(t, p.Resume(ctx))
		put(t, g.granted(t))
	})
}

// L6
func TestASuspendedPoolCanBeClosed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		fill(t, p, 1)
		require.NoError(t, p.Suspend(ctx))
		g := begin(ctx, p)
		require.NoError(t, p.Close(ctx))
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
	})
}

// G6
func TestADeadIdleConnectionIsReplacedUnseen(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		dead := map[int]bool{}
		checks := 0
		p := w.pool(capacity(3), func(cfg *config) {
			cfg.Check = func(_ context.Context, c *conn) error {
				if checks++; dead[c.n] {
					return io.EOF
				}
				return nil
			}
		})
		fill(t, p, 3)
		put(t, get(t, p))
		assert.Zero(t, checks, "it was idle for a moment only")
		time.Sleep(time.Second)
		put(t, get(t, p))
		assert.Zero(t, checks, "a second is not longer than a second")
		time.Sleep(time.Second + 1)
		dead[3], dead[2] = true, true
		_, ok := p.TryGet()
		assert.False(t, ok, "TryGet checks nothing")
		l := get(t, p)
		assert.Equal(t, 1, l.Conn().n)
		assert.Equal(t, 3, checks)
		put(t, l)
		time.Sleep(2 * time.Second)
		dead[1] = true
		l = get(t, p)
		assert.Equal(t, 4, l.Conn().n, "all are dead: a connect follows")
		put(t, l)
		assert.EqualValues(t, 3, p.Stats().ClosedBroken)
	})
}

// G6
func TestACheckDelaysNobodyElse(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), func(cfg *config) {
			cfg.Check = func(context.Context, *conn) error { time.Sleep(time.Second); return nil }
		})
		fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := begin(ctx, p)
		g.waits(t)
		next := begin(ctx, p) // connects, which is faster than the check
		l := g.granted(t)
		assert.Equal(t, 2, l.Conn().n)
		put(t, l)
		put(t, next.granted(t))
		assert.Zero(t, g.waited+next.waited)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle)
	})
}

// G6
func TestACheckCanBeTurnedOff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) {
			cfg.CheckAfterIdle = -1
			cfg.Check = func(context.Context, *conn) error { t.Error("checked"); return nil }
		})
		fill(t, p, 1)
		time.Sleep(time.Hour)
		put(t, get(t, p))
	})
}

// G6
func TestACheckIsBoundedByConnectTimeout(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) {
			cfg.ConnectTimeout = 3 * time.Second
			cfg.Check = func(ctx context.Context, _ *conn) error { <-ctx.Done(); return ctx.Err() }
		})
		fill(t, p, 1)
		time.Sleep(2 * time.Second)
		var l lease
		assert.Equal(t, 3*time.Second, elapsed(func() { l = get(t, p) }))
		assert.Equal(t, 2, l.Conn().n)
		put(t, l)
	})
}

// P6
func TestResetRunsBeforeTheNextHolderAndItsFailureReplaces(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		fails := false
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.Reset = func(context.Context, *conn) error {
				time.Sleep(time.Second)
				if fails {
					return io.EOF
				}
				return nil
			}
		})
		assert.Zero(t, elapsed(func() { put(t, get(t, p)) }))
		_, ok := p.TryGet()
		assert.False(t, ok)
		assert.Equal(t, 1, p.Stats().InTransition)
		var l lease
		assert.Equal(t, time.Second, elapsed(func() { l = get(t, p) }))
		assert.Equal(t, 1, l.Conn().n)
		fails = true
		g := begin(ctx, p)
		put(t, l)
		time.Sleep(time.Second)
		l = g.granted(t)
		assert.Equal(t, 2, l.Conn().n)
		fails = false
		put(t, l)
		time.Sleep(2 * time.Second)
	})
}

// P6
func TestAWaiterIsServedByWhicheverComesFirst(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), func(cfg *config) {
			cfg.Reset = func(context.Context, *conn) error { time.Sleep(3 * time.Second); return nil }
		})
		a := get(t, p)
		put(t, a)
		w.server.becomes(takes(time.Second))
		g := begin(ctx, p)
		time.Sleep(time.Second)
		assert.Equal(t, 2, g.granted(t).Conn().n)
		time.Sleep(10 * time.Second)
		put(t, g.lease)
		time.Sleep(10 * time.Second)
	})
}

func TestTryGetTakesOnlyWhatIsIdle(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		_, ok := p.TryGet()
		assert.False(t, ok)
		synctest.Wait()
		assert.Zero(t, w.server.dialled(), "it never connects")
		fill(t, p, 1)
		l, ok := p.TryGet()
		require.True(t, ok)
		_, ok = p.TryGet()
		assert.False(t, ok)
		g := begin(ctx, p)
		put(t, l)
		l = g.granted(t)
		put(t, l)
	})
}

func TestReadyWaitsUntilMinIdleConnectionsStand(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(func(cfg *config) { cfg.MinIdle, cfg.MaxConnecting = 3, 1 })
		assert.Equal(t, 3*time.Second, elapsed(func() { require.NoError(t, p.Ready(ctx)) }))
		assert.Equal(t, 3, p.Stats().Idle)
		assert.Zero(t, elapsed(func() { require.NoError(t, p.Ready(ctx)) }))
	})
}

func TestReadyOpensOneConnectionWhereMinIdleAsksForNone(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool()
		require.NoError(t, p.Ready(ctx))
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Equal(t, 1, w.server.dialled())
	})
}

func TestReadyEndsWithTheFirstError(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool()
		err := p.Ready(ctx)
		assert.ErrorIs(t, err, errRefused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		err = p.Ready(within(t, 100*time.Millisecond))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, errRefused)
		w.server.becomes(accept)
		require.NoError(t, p.Ready(ctx))
	})
}

func TestReadyEndsWithItsContextAndWithThePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Hour))
		p := w.pool(func(cfg *config) { cfg.ConnectTimeout = 2 * time.Hour })
		assert.ErrorIs(t, p.Ready(within(t, time.Second)), context.DeadlineExceeded)
		ready := async(func() error { return p.Ready(ctx) })
		ready.waits(t)
		require.NoError(t, p.Close(ctx))
		assert.ErrorIs(t, ready.returned(t), messages.ErrClosed)
	})
}

func TestMaxWaitersBoundsThoseWhoWaitWithoutAConnect(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(capacity(1), func(cfg *config) { cfg.MaxWaiters = 2 })
		connecting := begin(ctx, p)
		first, second := begin(ctx, p), begin(ctx, p)
		var err error
		assert.Zero(t, elapsed(func() { _, err = p.Get(ctx) }))
		assert.ErrorIs(t, err, messages.ErrExhausted)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.Zero(t, e.Position)
		time.Sleep(time.Second)
		l := connecting.granted(t)
		put(t, l)
		put(t, first.granted(t))
		put(t, second.granted(t))
		put(t, get(t, p))
	})
}

func TestGetTimeoutBoundsAGetWithoutADeadline(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), func(cfg *config) { cfg.GetTimeout = time.Second })
		held := get(t, p)
		plain, longer := begin(ctx, p), begin(within(t, time.Minute), p)
		time.Sleep(time.Second)
		assert.ErrorIs(t, plain.failed(t), context.DeadlineExceeded)
		longer.waits(t)
		put(t, held)
		put(t, longer.granted(t))
	})
}

func TestALeakIsReportedOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(j.listen, func(cfg *config) { cfg.LeakAfter = time.Minute })
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		put(t, get(t, p))
		time.Sleep(time.Hour)
		var leaks []messages.Event
		for _, e := range j.all() {
			if e.Kind == messages.LeaseLeaked {
				leaks = append(leaks, e)
			}
		}
		require.Len(t, leaks, 1)
		assert.Equal(t, "report", leaks[0].Label)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		assert.EqualValues(t, 1, p.Stats().Leaks)
		put(t, l)
	})
}

// Backoff.

// B1, B4, B15
func TestAfterAFailureNothingConnectsUntilThePeriodIsOver(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool()
		first, second := begin(ctx, p), begin(ctx, p)
		assert.ErrorIs(t, first.failed(t), errRefused)
		for i, period := range []time.Duration{1, 2, 4, 8, 8, 8} {
			period *= time.Second
			if i > 0 {
				second = begin(ctx, p)
			} else if second.ended() { // it may have been early enough to connect
				second = begin(ctx, p)
			}
			assert.Equal(t, messages.StateBackoff, p.Stats().State)
			dials := w.server.dialled()
			time.Sleep(period - time.Millisecond)
			second.waits(t)
			assert.Equal(t, dials, w.server.dialled(), "closed at until - 1ms")
			time.Sleep(time.Millisecond)
			assert.ErrorIs(t, second.failed(t), errRefused)
			assert.Equal(t, dials+1, w.server.dialled(), "open at until")
		}
		w.server.becomes(accept)
		put(t, get(t, p))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		w.server.becomes(refuse)
		require.NoError(t, get(t, p).Taint(nil))
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, errRefused)
		g := begin(ctx, p)
		time.Sleep(time.Second)
		g.failed(t)
	})
}

// B4
func TestFailuresOfOneMomentCountOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		w.server.becomes(func(context.Context, int) error { time.Sleep(time.Second); return errRefused })
		p := w.pool(j.listen, func(cfg *config) { cfg.MaxConnecting = 4 })
		for range 4 {
			begin(ctx, p)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 4, p.Stats().ConnectErrors)
		assert.EqualValues(t, 1, p.Stats().Backoffs)
		for _, e := range j.all() {
			if e.Kind == messages.PoolBackoff {
				assert.Equal(t, 1, e.Attempt)
				assert.Equal(t, time.Second, e.Duration)
				assert.ErrorIs(t, e.Err, errRefused)
			}
		}
	})
}

// B1
func TestThePresetOfBlockingPeriods(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(func(cfg *config) { cfg.Backoff = client.BackoffBlocking() })
		for _, period := range []time.Duration{5, 10, 20, 40, 60, 60} {
			_, err := p.Get(ctx)
			assert.NotErrorAs(t, err, new(*messages.BackoffError))
			assert.ErrorIs(t, err, errRefused)
			_, err = p.Get(ctx)
			var e *messages.BackoffError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, period*time.Second, time.Until(e.Until))
			time.Sleep(period * time.Second)
			synctest.Wait()
		}
	})
}

// B8, B15
func TestFailFastFailsAtOnceWithTheCachedError(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { time.Sleep(100 * time.Millisecond); return errRefused })
		p := w.pool(capacity(2), func(cfg *config) { cfg.Backoff.Mode, cfg.MaxConnecting = client.BackoffFailFast, 1 })
		first, queued := begin(ctx, p), begin(ctx, p)
		time.Sleep(100 * time.Millisecond)
		err := first.failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.NotErrorAs(t, err, new(*messages.BackoffError), "whose connect it was gets the raw error")
		err = queued.failed(t)
		var e *messages.BackoffError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, errRefused)
		assert.Equal(t, 1, e.Attempt)

		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		dials := w.server.dialled()
		_, err = p.Get(ctx)
		assert.ErrorAs(t, err, &e)
		assert.Equal(t, dials, w.server.dialled())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		w.server.becomes(takes(time.Second))
		probe, sharer := begin(ctx, p), begin(ctx, p)
		assert.Equal(t, messages.StateProbing, p.Stats().State)
		assert.Equal(t, dials+1, w.server.dialled(), "one at a time")
		sharer.waits(t)
		time.Sleep(time.Second)
		l := probe.granted(t)
		put(t, l)
		put(t, sharer.granted(t))
	})
}

// B8
func TestWhoWaitsForAProbeSharesItsFailure(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(func(cfg *config) { cfg.Backoff.Mode = client.BackoffFailFast })
		_, err := p.Get(ctx)
		require.Error(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		w.server.becomes(func(context.Context, int) error { time.Sleep(time.Second); return errRefused })
		probe, sharer := begin(ctx, p), begin(ctx, p)
		time.Sleep(time.Second)
		assert.NotErrorAs(t, probe.failed(t), new(*messages.BackoffError))
		var e *messages.BackoffError
		require.ErrorAs(t, sharer.failed(t), &e)
		assert.Equal(t, 2, e.Attempt)
	})
}

// B7, P1
func TestAConnectionThatComesBackDuringABackoffServesAWaiter(t *testing.T) {
	for _, mode := range []client.BackoffMode{client.BackoffWait, client.BackoffFailFast} {
		rule(t, func(t *testing.T, w *world) {
			p := w.pool(capacity(2), func(cfg *config) { cfg.Backoff.Mode = mode })
			held := get(t, p)
			w.server.becomes(refuse)
			_, err := p.Get(ctx)
			require.ErrorIs(t, err, errRefused)
			if mode == client.BackoffWait {
				g := begin(ctx, p)
				g.waits(t)
				put(t, held)
				held = g.granted(t)
			}
			put(t, held)
			put(t, get(t, p))
			assert.Equal(t, messages.StateBackoff, p.Stats().State)
			assert.Equal(t, 2, w.server.dialled())
		})
	}
}

// B10
func TestAStragglersSuccessEndsTheBackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(ctx context.Context, n int) error {
			if n == 1 {
				return takes(500*time.Millisecond)(ctx, n)
			}
			return errRefused
		})
		p := w.pool(capacity(4))
		slow := begin(ctx, p)
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, errRefused)
		waiting := begin(ctx, p)
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		w.server.becomes(accept)
		time.Sleep(500 * time.Millisecond)
		put(t, slow.granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
		put(t, waiting.granted(t))
		assert.Equal(t, 500*time.Millisecond, waiting.waited)
	})
}

// B12
func TestClearEndsABackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(func(cfg *config) { cfg.Backoff.Base = 4 * time.Second })
		_, err := p.Get(ctx)
		require.Error(t, err)
		g := begin(ctx, p)
		require.NoError(t, p.SetCapacity(ctx, 5))
		g.waits(t)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		assert.ErrorIs(t, g.failed(t), errRefused)
		// It was attempt 1 of a new backoff, and the old timer does not end it.
		time.Sleep(time.Second)
		w.server.becomes(accept)
		g = begin(ctx, p)
		time.Sleep(3*time.Second - time.Millisecond)
		g.waits(t)
		time.Sleep(time.Millisecond)
		put(t, g.granted(t))
	})
}

// B9
func TestALateTimerEndsNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool()
		for range 2 {
			_, err := p.Get(ctx)
			require.ErrorIs(t, err, errRefused)
		}
		g := begin(ctx, p)
		dials := w.server.dialled()
		for epoch := range uint64(2) {
			w.system.Root.Send(p.PID(), &messages.BackoffElapsed{Epoch: epoch, Attempt: 2})
			w.system.Root.Send(p.PID(), &messages.Tick{Epoch: epoch})
		}
		synctest.Wait()
		g.waits(t)
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		assert.Equal(t, dials, w.server.dialled())
		w.server.becomes(accept)
		time.Sleep(2 * time.Second)
		put(t, g.granted(t))
	})
}

// B11
func TestHealthReportsFromOutside(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		held := get(t, p)
		w.server.becomes(refuse)
		_, err := p.Get(ctx)
		require.Error(t, err)
		w.system.Root.Send(p.PID(), &messages.HealthOK{})
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		w.system.Root.Send(p.PID(), &messages.HealthFailed{Err: errApp})
		st := p.Stats()
		assert.Equal(t, messages.StateReady, st.State)
		assert.EqualValues(t, 1, st.Generation)
		put(t, held)
		assert.Zero(t, p.Stats().Idle)
	})
}

// B13
func TestWithoutBackoffEveryGetConnects(t *testing.T) {
	for _, off := range []func(*config){
		func(cfg *config) { cfg.Backoff.Mode = client.BackoffNever },
		func(cfg *config) { cfg.Backoff.Decide = func() bool { return false } },
	} {
		rule(t, func(t *testing.T, w *world) {
			w.server.becomes(refuse)
			p := w.pool(off)
			assert.Zero(t, elapsed(func() {
				for range 10 {
					_, err := p.Get(ctx)
					assert.ErrorIs(t, err, errRefused)
				}
			}))
			assert.Equal(t, 10, w.server.dialled())
			assert.Zero(t, p.Stats().Backoffs)
		})
	}
}

// B5
func TestDuringABackoffIdleConnectionsAreChecked(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		checks := 0
		p := w.pool(capacity(3), func(cfg *config) {
			cfg.Check = func(context.Context, *conn) error { checks++; return nil }
		})
		a, b := get(t, p), get(t, p)
		w.server.becomes(refuse)
		_, err := p.Get(ctx)
		require.Error(t, err)
		put(t, a, b)
		_, ok := p.TryGet()
		assert.False(t, ok)
		put(t, get(t, p))
		assert.Equal(t, 1, checks)
	})
}

// B2
func TestAnErrorThatSaysNothingAboutTheServerStartsNoBackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { return context.Canceled })
		p := w.pool()
		for range 3 {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
		}
		assert.Zero(t, p.Stats().Backoffs)
	})
}

// B2
func TestClassifyCanClearThePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) {
			cfg.Classify = func(phase messages.Phase, err error) messages.Class {
				assert.Equal(t, messages.PhaseConnect, phase)
				assert.ErrorIs(t, err, errRefused)
				return messages.ClassClear
			}
		})
		held, idle := get(t, p), get(t, p)
		put(t, idle)
		idle = get(t, p)
		w.server.becomes(refuse)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, errRefused)
		put(t, held, idle)
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.EqualValues(t, 1, st.Generation)
		assert.Zero(t, st.Backoffs)
	})
}

func TestAThousandWaitersInAnOutageOfAMinute(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		const waiters, connecting = 1000, 3
		base, limit, outage := 200*time.Millisecond, 10*time.Second, time.Minute
		var j journal
		p := w.pool(j.listen, capacity(10), func(cfg *config) {
			cfg.MaxConnecting = connecting
			cfg.Backoff = client.Backoff{Base: base, Cap: limit, Jitter: client.NoJitter}
		})
		began := time.Now()
		w.server.becomes(func(context.Context, int) error {
			if time.Since(began) < outage {
				return errRefused
			}
			return nil
		})
		var failed int
		var all []*getting
		require.NoError(t, p.Suspend(ctx)) // until all are there
		for i := range waiters {
			all = append(all, beginWith(ctx, p, client.GetOptions{Label: string(rune('A' + i))}))
		}
		require.NoError(t, p.Resume(ctx))
		for _, g := range all {
			go func() {
				<-g.done
				if g.err == nil {
					_ = g.lease.Put()
				}
			}()
		}
		synctest.Wait()
		assert.Equal(t, connecting, w.server.dialled())

		// What the formula gives.
		at, probes, period := time.Duration(0), 0, base
		for at < outage {
			at += period
			period = min(2*period, limit)
			probes++
		}
		time.Sleep(at - time.Millisecond)
		synctest.Wait()
		assert.Equal(t, connecting+probes-1, w.server.dialled())
		assert.Equal(t, probes, int(p.Stats().Backoffs))
		time.Sleep(time.Millisecond)
		for i, g := range all {
			if err := g.returned(t); err != nil {
				assert.ErrorIs(t, err, errRefused)
				assert.Equal(t, failed, i, "the first in line fail")
				failed++
			}
		}
		assert.Equal(t, connecting+probes-1, failed)
		assert.LessOrEqual(t, w.server.most, connecting)
		next := failed
		for _, e := range j.all() {
			if e.Kind == messages.CheckedOut {
				require.Equal(t, string(rune('A'+next)), e.Label, "in order")
				next++
			}
		}
		assert.Equal(t, waiters, next)
	})
}

// Events.

func TestEventsTellALifeInOrder(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(j.listen, capacity(1))
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		g := begin(ctx, p)
		put(t, l)
		require.NoError(t, g.granted(t).Taint(errApp))
		require.NoError(t, p.SetCapacity(ctx, 2))
		require.NoError(t, p.Suspend(ctx))
		require.NoError(t, p.Resume(ctx))
		l = get(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		put(t, l)
		fill(t, p, 1)
		require.NoError(t, p.Close(ctx))
		assert.Equal(t, []string{
			"PoolCreated", "PoolReady",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut",
			"CheckOutStarted", "CheckedIn", "CheckedOut",
			"CheckedIn", "ConnectionClosed(broken)",
			"CapacityChanged", "PoolSuspended", "PoolResumed",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut",
			"PoolCleared", "CheckedIn", "ConnectionClosed(stale)",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut", "CheckedIn",
			"ConnectionClosed(poolClosed)", "PoolClosed",
		}, j.kinds(0))
		all := j.all()
		for i, e := range all {
			assert.EqualValues(t, i+1, e.Seq)
			assert.Equal(t, "db", e.Pool)
			assert.False(t, e.Time.IsZero())
		}
		assert.Equal(t, 1, all[0].To)
		assert.Equal(t, "report", all[5].Label)
		assert.EqualValues(t, 1, all[5].ConnID)
		assert.ErrorIs(t, all[10].Err, errApp)
		assert.Equal(t, [2]int{1, 2}, [2]int{all[11].From, all[11].To})
		assert.EqualValues(t, 1, all[18].Generation)
	})
}

// B3, B10
func TestEventsOfABackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		w.server.becomes(refuse)
		p := w.pool(j.listen)
		_, err := p.Get(ctx)
		require.Error(t, err)
		w.server.becomes(accept)
		put(t, get(t, p))
		assert.Equal(t, []string{
			"CheckOutStarted", "ConnectionCreated", "ConnectionClosed(error)", "PoolBackoff", "CheckOutFailed(connectionError)",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "PoolReady", "CheckedOut", "CheckedIn",
		}, j.kinds(2))
	})
}

func TestEventsOfGetsThatFail(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(j.listen, capacity(1), func(cfg *config) { cfg.MaxWaiters = 1 })
		held := get(t, p)
		_, err := p.Get(within(t, time.Second))
		require.Error(t, err)
		leaving, cancel := context.WithCancel(ctx)
		g := begin(leaving, p)
		_, err = p.Get(ctx)
		require.Error(t, err)
		cancel()
		g.failed(t)
		g = begin(ctx, p)
		ending := async(func() error { return p.Close(ctx) })
		g.failed(t)
		put(t, held)
		require.NoError(t, ending.returned(t))
		var reasons []string
		for _, e := range j.all() {
			if e.Kind == messages.CheckOutFailed {
				reasons = append(reasons, e.Reason.String())
				assert.Error(t, e.Err)
			}
		}
		assert.Equal(t, []string{"timeout", "exhausted", "canceled", "poolClosed"}, reasons)
		kinds := j.kinds(0)
		assert.Equal(t, []string{"PoolClosed", "CheckedIn", "ConnectionClosed(poolClosed)"}, kinds[len(kinds)-3:])
	})
}

// B14
func TestASlowOrBrokenHandlerChangesNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		handled := 0
		p := w.pool(func(cfg *config) {
			cfg.OnEvent = func(messages.Event) {
				if handled++; handled%2 == 0 {
					panic("handler")
				}
				time.Sleep(time.Second)
			}
		})
		assert.Zero(t, elapsed(func() {
			for range 100 {
				put(t, get(t, p))
			}
		}))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 2+5+99*3, handled)
	})
}

// X4
func TestAHandlerThatHangsDelaysCloseForAMomentOnly(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(func(cfg *config) { cfg.OnEvent = func(messages.Event) { <-release } })
		fill(t, p, 1)
		took := elapsed(func() { assert.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, time.Second)
		close(release)
		synctest.Wait()
	})
}

// Panics.

// B14
func TestAPanicInConnectIsItsCallersErrorAndThePoolLivesOn(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { panic(errApp) })
		p := w.pool()
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, errApp)
		var e *messages.PanicError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, errApp, e.Value)
		assert.Contains(t, string(e.Stack), "lifecycle_test.go")
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		w.server.becomes(accept)
		put(t, get(t, p))
	})
}

func TestMorePanicsThanTheSupervisorTakes(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { panic("no good") })
		p := w.pool(capacity(1), func(cfg *config) { cfg.Backoff.Mode = client.BackoffNever })
		for range 50 {
			_, err := p.Get(ctx)
			require.ErrorAs(t, err, new(*messages.PanicError))
		}
		w.server.becomes(accept)
		put(t, get(t, p))
		assert.Equal(t, 51, w.server.dialled())
	})
}

func TestMorePanicsThanTheSupervisorTakesWithWaiters(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { panic("no good") })
		p := w.pool(capacity(2), func(cfg *config) { cfg.Backoff.Mode = client.BackoffNever })
		require.NoError(t, p.Suspend(ctx))
		var all []*getting
		for range 60 {
			all = append(all, begin(ctx, p))
		}
		require.NoError(t, p.Resume(ctx))
		for _, g := range all {
			require.ErrorAs(t, g.failed(t), new(*messages.PanicError))
		}
	})
}

func TestAPanicInAnyFunctionIsContained(t *testing.T) {
	panics := func(context.Context, *conn) error { panic("no good") }
	for name, change := range map[string]func(*config){
		"Check": func(cfg *config) { cfg.Check = panics },
		"Reset": func(cfg *config) { cfg.Reset = panics },
		"Disconnect": func(cfg *config) {
			cfg.Disconnect = func(_ context.Context, c *conn) error { _ = c.Close(); panic("no good") }
		},
		"OnEvent":  func(cfg *config) { cfg.OnEvent = func(messages.Event) { panic("no good") } },
		"Classify": func(cfg *config) { cfg.Classify = func(messages.Phase, error) messages.Class { panic("no good") } },
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(2), change)
				for range 30 {
					l := get(t, p)
					g := begin(within(t, time.Minute), p)
					put(t, l, g.granted(t))
					time.Sleep(2 * time.Second)
					require.NoError(t, get(t, p).Taint(nil))
					w.server.becomes(refuse)
					_, err := p.Get(ctx)
					if err == nil { // there was an idle one
						require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
					}
					w.server.becomes(accept)
					time.Sleep(time.Minute)
				}
				assert.Zero(t, p.Stats().Borrowed)
			})
		})
	}
}

// X4, X5
func TestAPoolWhoseHandlerHangsIsClosedAllTheSame(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(func(cfg *config) { cfg.OnEvent = func(messages.Event) { <-release } })
		fill(t, p, 1)
		require.NoError(t, p.Close(ctx))
		stats := async(func() error { p.Stats(); return nil })
		again := async(func() error { return p.Close(within(t, time.Second)) })
		other := async(func() error { return p.Suspend(within(t, time.Second)) })
		time.Sleep(time.Minute)
		assert.True(t, stats.ended(), "stats")
		assert.True(t, again.ended(), "close")
		assert.True(t, other.ended(), "suspend")
		close(release)
		synctest.Wait()
		assert.NoError(t, again.returned(t))
	})
}

func TestAConnectThatEndsItsGoroutineHasFailed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { runtime.Goexit(); return nil })
		p := w.pool(capacity(1))
		for range 3 {
			g := begin(within(t, time.Hour), p)
			time.Sleep(30 * time.Minute)
			assert.ErrorIs(t, g.failed(t), messages.ErrConnectFailed)
		}
		w.server.becomes(accept)
		put(t, get(t, p))
	})
}

func TestAnyFunctionThatEndsItsGoroutineIsContained(t *testing.T) {
	exits := func(context.Context, *conn) error { runtime.Goexit(); return nil }
	for name, change := range map[string]func(*config){
		"Check": func(cfg *config) { cfg.Check = exits },
		"Reset": func(cfg *config) { cfg.Reset = exits },
		"Disconnect": func(cfg *config) {
			cfg.Disconnect = func(_ context.Context, c *conn) error { _ = c.Close(); runtime.Goexit(); return nil }
		},
		"OnEvent": func(cfg *config) { cfg.OnEvent = func(messages.Event) { runtime.Goexit() } },
		"Classify": func(cfg *config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { runtime.Goexit(); return 0 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(2), change)
				for range 5 {
					put(t, get(t, p))
					time.Sleep(2 * time.Second)
					require.NoError(t, get(t, p).Taint(nil))
					synctest.Wait()
					w.server.becomes(refuse)
					_, err := p.Get(within(t, time.Second))
					assert.Error(t, err)
					w.server.becomes(accept)
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// Functions that do not come back.

// G3, P3
func TestACheckThatHangsIsGivenUp(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.ConnectTimeout = 4 * time.Second
			cfg.Check = func(context.Context, *conn) error { <-release; return nil }
		})
		fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := begin(ctx, p)
		time.Sleep(5 * time.Second)
		assert.Equal(t, 2, g.granted(t).Conn().n)
		put(t, g.lease)
		close(release)
		synctest.Wait()
		assert.EqualValues(t, 1, w.server.conns[0].closed.Load())
		assert.Equal(t, 1, p.Stats().Open)
	})
}

// P3
func TestAResetThatHangsIsGivenUp(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.ConnectTimeout = 4 * time.Second
			cfg.Reset = func(_ context.Context, c *conn) error {
				if c.n == 1 {
					<-release
				}
				return nil
			}
		})
		put(t, get(t, p))
		g := begin(ctx, p)
		time.Sleep(5 * time.Second)
		put(t, g.granted(t))
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Open)
		assert.EqualValues(t, 1, w.server.conns[0].closed.Load())
	})
}

// P3, X4
func TestADisconnectThatHangsCostsNoPlaceButIsWaitedForByClose(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.server.hook = func(c *conn) {
			if c.n == 1 {
				<-release
			}
		}
		p := w.pool(capacity(1), func(cfg *config) { cfg.ConnectTimeout = 4 * time.Second })
		require.NoError(t, get(t, p).Taint(nil))
		g := begin(ctx, p)
		time.Sleep(5 * time.Second)
		put(t, g.granted(t))
		assert.ErrorIs(t, p.Close(within(t, time.Second)), context.DeadlineExceeded)
		close(release)
		synctest.Wait()
		assert.NoError(t, p.Close(ctx))
	})
}

// G10
func TestManyConnectsThatHangDoNotUseUpThePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.server.becomes(ignoring(release))
		p := w.pool(capacity(2), func(cfg *config) { cfg.ConnectTimeout = 4 * time.Second })
		for range 5 {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
		}
		w.server.becomes(accept)
		put(t, get(t, p))
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Open)
	})
}

func TestTheCountersCount(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := get(t, p)
		g := begin(ctx, p)
		_, err := p.Get(within(t, time.Second))
		require.Error(t, err)
		leaving, cancel := context.WithCancel(ctx)
		left := begin(leaving, p)
		cancel()
		left.failed(t)
		put(t, l)
		require.NoError(t, g.granted(t).Taint(nil))
		synctest.Wait()
		w.server.becomes(refuse)
		_, err = p.Get(ctx)
		require.Error(t, err)
		assert.Equal(t, client.Stats{
			Name: "db", State: messages.StateBackoff, Capacity: 1,
			Gets: 5, Grants: 2, Waits: 5, WaitTime: time.Second, Timeouts: 1, Cancels: 1,
			Connects: 2, ConnectErrors: 1, Puts: 1, Taints: 1, ClosedBroken: 1, Backoffs: 1,
		}, p.Stats())
	})
}

// X5
func TestAPoolActorThatFailsEndsAndNobodyHangs(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.spawn(w.config(capacity(2)), actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
			return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
				if envelope.Message == "die" {
					panic("a bug in the middleware")
				}
				next(ctx, envelope)
			}
		}))
		t.Cleanup(func() { w.end(p) })
		held, idle := get(t, p), get(t, p)
		g := begin(ctx, p)
		shrink := async(func() error { return p.SetCapacity(ctx, 1) })
		w.system.Root.Send(p.PID(), "die")
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
		assert.ErrorIs(t, shrink.returned(t), messages.ErrClosed)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
		assert.Nil(t, idle.Conn())
		assert.Equal(t, messages.StateClosed, p.Stats().State)
		_, opened, closed := w.server.count()
		assert.Equal(t, opened, closed)
	})
}

// Input that is wrong.

func TestABadConfigIsRefusedByField(t *testing.T) {
	for _, c := range []struct {
		field  string
		change func(*config)
	}{
		{"Connect", func(cfg *config) { cfg.Connect = nil }},
		{"Capacity", func(cfg *config) { cfg.Capacity = -1 }},
		{"MinIdle", func(cfg *config) { cfg.MinIdle = -1 }},
		{"MinIdle", func(cfg *config) { cfg.Capacity, cfg.MinIdle = 2, 3 }},
		{"MinIdle", func(cfg *config) { cfg.Capacity, cfg.MinIdle, cfg.MaxIdle = 4, 3, 2 }},
		{"MaxIdle", func(cfg *config) { cfg.MaxIdle = -1 }},
		{"MaxConnecting", func(cfg *config) { cfg.MaxConnecting = -1 }},
		{"MaxWaiters", func(cfg *config) { cfg.MaxWaiters = -1 }},
		{"IdleTimeout", func(cfg *config) { cfg.IdleTimeout = -1 }},
		{"MaxLifetime", func(cfg *config) { cfg.MaxLifetime = -1 }},
		{"MaxLifetimeJitter", func(cfg *config) { cfg.MaxLifetimeJitter = -1 }},
		{"MaxLifetimeJitter", func(cfg *config) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, time.Hour }},
		{"ConnectTimeout", func(cfg *config) { cfg.ConnectTimeout = -1 }},
		{"GetTimeout", func(cfg *config) { cfg.GetTimeout = -1 }},
		{"LeakAfter", func(cfg *config) { cfg.LeakAfter = -1 }},
		{"Backoff.Mode", func(cfg *config) { cfg.Backoff.Mode = 77 }},
		{"Backoff.Base", func(cfg *config) { cfg.Backoff.Base = -1 }},
		{"Backoff.Cap", func(cfg *config) { cfg.Backoff.Cap = -1 }},
		{"Backoff.Cap", func(cfg *config) { cfg.Backoff.Base, cfg.Backoff.Cap = time.Minute, time.Second }},
		{"Backoff.Jitter", func(cfg *config) { cfg.Backoff.Jitter = 1.1 }},
		{"Backoff.Jitter", func(cfg *config) { cfg.Backoff.Jitter = -0.1 }},
		{"Backoff.Jitter", func(cfg *config) { cfg.Backoff.Jitter = math.NaN() }},
		{"Backoff.Jitter", func(cfg *config) { cfg.Backoff.Jitter = math.Inf(1) }},
	} {
		t.Run(c.field, func(t *testing.T) {
			cfg := config{Connect: func(context.Context) (*conn, error) { t.Error("connects"); return nil, nil }}
			c.change(&cfg)
			system := quietSystem()
			_, err := client.New(cfg)
			_, err2 := client.Props(cfg)
			_, err3 := client.Spawn(system.Root, cfg)
			for _, err := range []error{err, err2, err3} {
				var e *messages.ConfigError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, c.field, e.Field)
				assert.NotEmpty(t, e.Reason)
				assert.Contains(t, err.Error(), c.field)
			}
		})
	}
	_, err := client.Spawn[*conn](nil, config{Connect: func(context.Context) (*conn, error) { return nil, nil }})
	assert.ErrorAs(t, err, new(*messages.ConfigError))
}

func TestTheLegalNegativeValuesAreLegal(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.CheckAfterIdle, cfg.Backoff.Jitter = -1, client.NoJitter })
		put(t, get(t, p))
	})
}

func TestANilContextIsRefused(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		fill(t, p, 1)
		var none context.Context
		_, err := p.Get(none)
		assert.ErrorIs(t, err, messages.ErrNilContext)
		_, err = p.GetWith(none, client.GetOptions{})
		assert.ErrorIs(t, err, messages.ErrNilContext)
		for _, err := range []error{
			p.Do(none, func(context.Context, *conn) error { t.Error("called"); return nil }),
			p.SetCapacity(none, 3), p.Clear(none, client.ClearOptions{}), p.Suspend(none), p.Resume(none), p.Ready(none), p.Close(none),
		} {
			assert.ErrorIs(t, err, messages.ErrNilContext)
		}
		st := p.Stats()
		assert.Equal(t, messages.StateReady, st.State)
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Generation)

		fresh := client.Attach[*conn](w.system, p.PID())
		_, err = fresh.Get(none)
		assert.ErrorIs(t, err, messages.ErrNilContext)
		assert.ErrorIs(t, fresh.Close(none), messages.ErrNilContext)
	})
}

// nothing is a nil connection of some kind.
func nothing[C any](t *testing.T, kind string, none C) {
	t.Run(kind, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, err := client.New(client.Config[C]{Connect: func(context.Context) (C, error) { return none, nil }})
			require.NoError(t, err)
			_, err = p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
			assert.ErrorIs(t, err, messages.ErrNilConnection)
			assert.Zero(t, p.Stats().Open)
			require.NoError(t, p.Close(ctx))
		})
	})
}

func TestANilConnectionIsAFailedConnect(t *testing.T) {
	nothing[*conn](t, "pointer", nil)
	nothing[io.Closer](t, "interface", nil)
	nothing[io.Closer](t, "pointer in an interface", (*conn)(nil))
	nothing[any](t, "anything", nil)
	nothing[map[string]int](t, "map", nil)
	nothing[[]byte](t, "slice", nil)
	nothing[chan int](t, "channel", nil)
	nothing[func()](t, "function", nil)
}

func TestAConnectionCanBeAPlainValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := client.New(client.Config[int]{Connect: func(context.Context) (int, error) { return 0, nil }})
		require.NoError(t, err)
		l, err := p.Get(ctx)
		require.NoError(t, err)
		assert.Zero(t, l.Conn())
		require.NoError(t, l.Put())
		require.NoError(t, p.Close(ctx))
	})
}

func TestTheConfigIsCopied(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		cfg := w.config(capacity(3))
		p := w.spawn(cfg)
		cfg.Connect, cfg.Capacity = nil, 1
		fill(t, p, 3)
		closeNow(t, p)
	})
}

func TestASettingNeedsAnApply(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		_, err := p.GetWith(ctx, client.GetOptions{Setting: "utc"})
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "Apply", e.Field)
	})
}

// tellingConn knows whether it is closed, as pgx's connections do.
type tellingConn struct{ closed atomic.Bool }

func (c *tellingConn) IsClosed() bool { return c.closed.Load() }

// P4, for those who do not use Do
func TestAConnectionThatSaysItIsClosedIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := client.New(client.Config[*tellingConn]{
			Capacity: 1, Connect: func(context.Context) (*tellingConn, error) { return &tellingConn{}, nil },
		})
		require.NoError(t, err)
		l, err := p.Get(ctx)
		require.NoError(t, err)
		require.NoError(t, l.Put())
		first := l
		l, err = p.Get(ctx)
		require.NoError(t, err)
		l.Conn().closed.Store(true)
		require.ErrorIs(t, first.Put(), messages.ErrLeaseEnded, "a lease that has ended asks nobody")
		require.NoError(t, l.Put())
		require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		synctest.Wait()
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
		require.NoError(t, p.Do(ctx, func(_ context.Context, c *tellingConn) error {
			assert.False(t, c.IsClosed())
			c.closed.Store(true)
			return nil
		}))
		synctest.Wait()
		assert.EqualValues(t, 2, p.Stats().ClosedBroken, "Do returns it in the same way")
		require.NoError(t, p.Close(ctx))
	})
}
