package actorpool_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// G1
func TestGetGivesTheNewestIdleConnection(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3))
		a, b, c := get(t, p), get(t, p), get(t, p)
		put(t, b, c, a)
		for _, want := range []int{1, 3, 2} {
			assert.Equal(t, want, get(t, p).Conn().n)
		}
		assert.Equal(t, 3, w.server.dialled())
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
	})
}

// G1
func TestGetConnectsBelowTheCapacityAndThenWaits(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		a, b := get(t, p), get(t, p)
		g := begin(ctx, p)
		g.waits(t)
		st := p.Stats()
		assert.Equal(t, 1, st.Waiting)
		assert.Equal(t, 2, st.Borrowed)
		time.Sleep(time.Hour)
		g.waits(t)
		put(t, b)
		assert.Equal(t, 2, g.granted(t).Conn().n)
		put(t, a, g.lease)
		assert.Equal(t, 2, w.server.dialled())
	})
}

// G2
func TestAnEndedContextGetsItsErrorThoughAConnectionIsIdle(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		fill(t, p, 1)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		why, cancelWhy := context.WithCancelCause(ctx)
		cancelWhy(errApp)
		for _, c := range []struct {
			ctx  context.Context
			want error
		}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}, {why, context.Canceled}, {why, errApp}} {
			var err error
			assert.Zero(t, elapsed(func() { _, err = p.Get(c.ctx) }))
			assert.ErrorIs(t, err, c.want)
			assert.ErrorAs(t, err, new(*messages.GetError))
			assert.ErrorIs(t, p.Do(c.ctx, func(context.Context, *conn) error { t.Error("called"); return nil }), c.want)
		}
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Borrowed)
	})
}

// G2
func TestAnEndedContextStartsNoConnect(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err := p.Get(cancelled)
		assert.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Zero(t, w.server.dialled())
	})
}

// G2
func TestAClosedPoolSaysSoEvenToAnEndedContext(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		held := get(t, p)
		ending := async(func() error { return p.Close(ctx) })
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err := p.Get(cancelled)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NotErrorIs(t, err, context.Canceled)
		put(t, held)
		assert.NoError(t, ending.returned(t))
		_, err = p.Get(cancelled)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}

// G3
func TestThePoolGrowsOnlyAsNeeded(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(10))
		assert.Zero(t, w.server.dialled())
		for range 50 {
			put(t, get(t, p))
		}
		assert.Equal(t, 1, w.server.dialled())
	})
}

// G3
func TestAConnectDelaysNobodyElse(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(4))
		fill(t, p, 2)
		a, b := get(t, p), get(t, p)
		w.server.becomes(takes(time.Second))
		slow := begin(ctx, p)
		slow.waits(t)
		assert.Zero(t, elapsed(func() {
			put(t, a) // serves the slow one
			l := slow.granted(t)
			put(t, l)
			for range 10 {
				put(t, get(t, p))
			}
			put(t, b)
			x, y := get(t, p), get(t, p)
			put(t, x, y)
		}))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 3, p.Stats().Idle)
	})
}

// G3
func TestConnectsRunSideBySideUpToTheirBound(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(capacity(10), func(cfg *config) { cfg.MaxConnecting = 3 })
		var all []*getting
		for range 6 {
			all = append(all, begin(ctx, p))
		}
		time.Sleep(time.Second)
		for i, g := range all {
			if i < 3 {
				put(t, g.granted(t))
			}
		}
		synctest.Wait()
		assert.Equal(t, 3, w.server.most)
		time.Sleep(time.Second)
		for _, g := range all[3:] {
			put(t, g.granted(t))
		}
	})
}

// G4
func TestTheConnectOfACallerWhoLeftServesTheNext(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(capacity(1))
		first := begin(within(t, 300*time.Millisecond), p)
		time.Sleep(300 * time.Millisecond)
		assert.ErrorIs(t, first.failed(t), context.DeadlineExceeded)
		second := begin(ctx, p)
		time.Sleep(700 * time.Millisecond)
		put(t, second.granted(t))
		assert.Equal(t, 700*time.Millisecond, second.waited)
		assert.Equal(t, 1, w.server.dialled())
	})
}

// G4
func TestTheConnectOfACallerWhoLeftBecomesIdle(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool()
		leaving, cancel := context.WithCancel(ctx)
		g := begin(leaving, p)
		cancel()
		assert.ErrorIs(t, g.failed(t), context.Canceled)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		l, ok := p.TryGet()
		require.True(t, ok)
		put(t, l)
	})
}

// G4
func TestAConnectionThatComesBackServesACallerBeforeItsConnect(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		a := get(t, p)
		w.server.becomes(takes(time.Second))
		g := begin(ctx, p)
		time.Sleep(100 * time.Millisecond)
		put(t, a)
		assert.Equal(t, 1, g.granted(t).Conn().n)
		assert.Equal(t, 100*time.Millisecond, g.waited)
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		put(t, g.lease)
	})
}

// G5
func TestWaitersAreServedInOrderAndThoseWhoLeftAreSkipped(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		var all []*getting
		for i := range 20 {
			c := ctx
			if i%3 == 0 {
				c = within(t, time.Second)
			}
			all = append(all, begin(c, p))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 13, p.Stats().Waiting)
		for i, g := range all {
			if i%3 == 0 {
				assert.ErrorIs(t, g.failed(t), context.DeadlineExceeded)
				continue
			}
			g.waits(t)
			put(t, held)
			held = g.granted(t)
		}
		put(t, held)
	})
}

// G5
func TestAGrantThatCrossesACancelIsNeverLost(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		var granted, left int
		for range 2000 {
			leaving, cancel := context.WithCancel(ctx)
			g := begin(leaving, p)
			g.waits(t)
			var both sync.WaitGroup
			both.Go(cancel)
			both.Go(func() { put(t, held) })
			both.Wait()
			require.True(t, g.ended())
			if g.err == nil {
				granted++
				held = g.lease
				continue
			}
			left++
			require.ErrorIs(t, g.err, context.Canceled)
			var ok bool
			held, ok = p.TryGet()
			require.True(t, ok, "the connection is idle")
		}
		t.Log("granted", granted, "left", left)
		put(t, held)
		assert.Equal(t, 1, w.server.dialled())
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Waiting)
	})
}

// G5
func TestAGrantThatCrossesADeadlineIsNeverLost(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		for range 500 {
			g := begin(within(t, time.Millisecond), p)
			time.AfterFunc(time.Millisecond, func() { put(t, held) })
			time.Sleep(2 * time.Millisecond)
			require.True(t, g.ended())
			if held = g.lease; g.err != nil {
				require.ErrorIs(t, g.err, context.DeadlineExceeded)
				held = get(t, p)
			}
		}
		put(t, held)
		assert.Equal(t, 1, w.server.dialled())
	})
}

// G8
func TestTheErrorOfAWaitSaysWhatThePoolLookedLike(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		begin(within(t, time.Minute), p)
		g := begin(within(t, time.Second), p)
		time.Sleep(time.Second)
		err := g.failed(t)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "db", e.Pool)
		assert.Equal(t, time.Second, e.Waited)
		assert.Equal(t, 2, e.Position)
		assert.Equal(t, 1, e.Stats.Capacity)
		assert.Equal(t, 1, e.Stats.Borrowed)
		for _, part := range []string{`"db"`, "1s", "position=2", "capacity=1", "borrowed=1", "deadline exceeded"} {
			assert.Contains(t, err.Error(), part)
		}
		time.Sleep(time.Minute)
		put(t, held)
	})
}

// G9
func TestABareOutageIsToldEarlyToThoseWhoCannotOutlastIt(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(func(cfg *config) { cfg.Backoff.Base = 5 * time.Second })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)

		var e *messages.GetError
		assert.Zero(t, elapsed(func() { _, err = p.Get(within(t, 4*time.Second)) }))
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, errRefused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, e.LastConnectError, errRefused)
		assert.Equal(t, 1, e.Attempt)
		assert.Equal(t, 5*time.Second, time.Until(e.NextAttempt))

		patient, endless := begin(within(t, 6*time.Second), p), begin(ctx, p)
		patient.waits(t)
		endless.waits(t)
		assert.Equal(t, 1, w.server.dialled())
		w.server.becomes(accept)
		time.Sleep(5 * time.Second)
		put(t, patient.granted(t), endless.granted(t))
	})
}

// G9, B6
func TestAWaiterWithHopeGetsItsDeadlineAndTheCachedError(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.Backoff.Base = 5 * time.Second })
		held := get(t, p)
		w.server.becomes(refuse)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, errRefused)
		g := begin(within(t, time.Second), p)
		g.waits(t)
		time.Sleep(time.Second)
		err = g.failed(t)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, e.LastConnectError, errRefused)
		assert.Equal(t, 1, e.Attempt)
		put(t, held)
	})
}

// G10
func TestAFailedConnectFailsOnlyTheGetItWasStartedFor(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { time.Sleep(time.Second); return errRefused })
		p := w.pool(func(cfg *config) { cfg.MaxConnecting = 1 })
		first, second, third := begin(ctx, p), begin(ctx, p), begin(ctx, p)
		time.Sleep(time.Second)
		err := first.failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, errRefused)
		var e *messages.ConnectError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, messages.PhaseConnect, e.Phase)
		second.waits(t)
		third.waits(t)
		time.Sleep(2 * time.Second) // the blocking period, then the probe
		assert.ErrorIs(t, second.failed(t), errRefused)
		third.waits(t)
		w.server.becomes(accept)
		time.Sleep(2 * time.Second)
		put(t, third.granted(t))
	})
}

// G10
func TestALoneCallerWithoutDeadlineDoesNotHangInAnOutage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool()
		for i := range 6 {
			var err error
			took := elapsed(func() { _, err = p.Get(ctx) })
			assert.ErrorIs(t, err, errRefused)
			assert.LessOrEqual(t, took, min(time.Second<<i, 8*time.Second))
		}
	})
}

// G10
func TestABackgroundConnectThatFailsFailsNobody(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(_ context.Context, n int) error {
			time.Sleep(time.Second)
			if n == 1 {
				return errRefused
			}
			return nil
		})
		p := w.pool(capacity(1), func(cfg *config) { cfg.MinIdle = 1 })
		g := begin(ctx, p) // finds the background's connect under way
		time.Sleep(time.Second)
		g.waits(t)
		time.Sleep(2 * time.Second)
		put(t, g.granted(t))
	})
}

// P1
func TestPutServesTheFirstWaiterAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		a, b := get(t, p), get(t, p)
		first, second := begin(ctx, p), begin(ctx, p)
		time.Sleep(time.Minute)
		put(t, a)
		l := first.granted(t)
		second.waits(t)
		assert.Equal(t, time.Minute, first.waited)
		put(t, b, l)
		put(t, second.granted(t))
	})
}

// P1
func TestPutOverCapacityClosesEvenWithWaiters(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3))
		a, b, c := get(t, p), get(t, p), get(t, p)
		g := begin(ctx, p)
		shrink := async(func() error { return p.SetCapacity(ctx, 1) })
		put(t, a)
		g.waits(t)
		assert.EqualValues(t, 1, w.server.conns[0].closed.Load())
		put(t, b)
		g.waits(t)
		assert.NoError(t, shrink.returned(t))
		put(t, c)
		assert.Equal(t, 3, g.granted(t).Conn().n)
		put(t, g.lease)
	})
}

// P2
func TestTaintReplacesTheConnectionInTheBackground(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := get(t, p)
		broken := l.Conn()
		w.server.becomes(takes(time.Second))
		g := begin(ctx, p)
		assert.Zero(t, elapsed(func() { require.NoError(t, l.Taint(io.EOF)) }))
		synctest.Wait()
		assert.EqualValues(t, 1, broken.closed.Load())
		g.waits(t)
		time.Sleep(time.Second)
		assert.Equal(t, 2, g.granted(t).Conn().n)
		put(t, g.lease)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P2
func TestTaintWithNobodyWaitingOpensNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		require.NoError(t, get(t, p).Taint(nil))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, w.server.dialled())
		assert.Zero(t, p.Stats().Open)
	})
}

// P2
func TestASlowDisconnectKeepsItsPlaceAndDelaysNobodyElse(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.hook = func(*conn) { time.Sleep(time.Second) }
		p := w.pool(capacity(2))
		a, b := get(t, p), get(t, p)
		assert.Zero(t, elapsed(func() {
			require.NoError(t, a.Taint(nil))
			put(t, b)
			put(t, get(t, p))
		}))
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Closing)
		b = get(t, p)
		g := begin(ctx, p)
		g.waits(t)
		time.Sleep(time.Second)
		put(t, g.granted(t), b)
	})
}

// P3, H2
func TestAReplacementThatFailsLeavesNobodyAsleep(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := get(t, p)
		w.server.becomes(func(_ context.Context, n int) error {
			if n < 4 {
				return errRefused
			}
			return nil
		})
		first, second, third := begin(ctx, p), begin(ctx, p), begin(ctx, p)
		require.NoError(t, l.Taint(io.EOF))
		assert.ErrorIs(t, first.failed(t), errRefused)
		time.Sleep(time.Second)
		assert.ErrorIs(t, second.failed(t), errRefused)
		time.Sleep(2 * time.Second)
		put(t, third.granted(t))
	})
}

// P3, H1, C1
func TestRaisingTheCapacityServesParkedWaitersAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		a := get(t, p)
		first, second, third := begin(ctx, p), begin(ctx, p), begin(ctx, p)
		require.NoError(t, p.SetCapacity(ctx, 3))
		b, c := first.granted(t), second.granted(t)
		third.waits(t)
		put(t, a, b, c)
		put(t, third.granted(t))
	})
}

// P3
func TestClearServesParkedWaitersWithNewConnections(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		a := get(t, p)
		g := begin(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		assert.Equal(t, 2, g.granted(t).Conn().n)
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		put(t, g.lease)
	})
}

// P3
func TestAConnectorThatIsLostLeavesNobodyAsleep(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.server.becomes(ignoring(release))
		p := w.pool(capacity(1), func(cfg *config) { cfg.ConnectTimeout = 4 * time.Second })
		first, second := begin(ctx, p), begin(ctx, p)
		time.Sleep(4 * time.Second)
		w.server.becomes(accept)
		first.waits(t) // the function has a little longer to bring its own error
		time.Sleep(time.Second)
		err := first.failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		put(t, second.granted(t))
		st := p.Stats()
		assert.Equal(t, 1, st.Open)
		assert.Zero(t, st.Connecting)
		close(release)
		synctest.Wait()
		_, opened, closed := w.server.count()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 1, closed, "what came late is closed")
	})
}

// P4
func TestDoKeepsTheConnectionUnlessItIsBroken(t *testing.T) {
	network := &net.OpError{Op: "read", Err: errors.New("reset")}
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		for _, c := range []struct {
			err    error
			broken bool
		}{
			{nil, false},
			{errApp, false},
			{fmt.Errorf("query: %w", errApp), false},
			{network, true},
			{fmt.Errorf("query: %w", network), true},
			{io.EOF, true},
			{io.ErrUnexpectedEOF, true},
			{io.ErrClosedPipe, true},
			{net.ErrClosed, true},
			{syscall.ECONNRESET, true},
			{syscall.EPIPE, true},
			{driver.ErrBadConn, true},
			{context.Canceled, true},
			{context.DeadlineExceeded, true},
		} {
			var used *conn
			err := p.Do(ctx, func(_ context.Context, conn *conn) error { used = conn; return c.err })
			assert.Equal(t, c.err, err)
			synctest.Wait()
			assert.Equal(t, c.broken, used.closed.Load() == 1, "%v", c.err)
		}
	})
}

// P4
func TestDoTaintsTheConnectionWhenTheFunctionPanics(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		var used *conn
		assert.PanicsWithValue(t, "no good", func() {
			_ = p.Do(ctx, func(_ context.Context, c *conn) error { used = c; panic("no good") })
		})
		synctest.Wait()
		assert.EqualValues(t, 1, used.closed.Load())
		put(t, get(t, p))
	})
}

// P4
func TestDoTaintsTheConnectionWhenTheFunctionEndsItsGoroutine(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		var used *conn
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = p.Do(ctx, func(_ context.Context, c *conn) error { used = c; runtime.Goexit(); return nil })
		}()
		<-done
		synctest.Wait()
		assert.EqualValues(t, 1, used.closed.Load())
		put(t, get(t, p))
	})
}

// P4
func TestDoAsksTheConfiguredBroken(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) { cfg.Broken = func(err error) bool { return errors.Is(err, errApp) } })
		require.ErrorIs(t, p.Do(ctx, func(context.Context, *conn) error { return io.EOF }), io.EOF)
		assert.Zero(t, p.Stats().ClosedBroken)
		require.ErrorIs(t, p.Do(ctx, func(context.Context, *conn) error { return errApp }), errApp)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P4
func TestDoDoesNotLoseTheConnectionWhenBrokenPanics(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), func(cfg *config) { cfg.Broken = func(error) bool { panic("no good") } })
		assert.PanicsWithValue(t, "no good", func() {
			_ = p.Do(ctx, func(context.Context, *conn) error { return errApp })
		})
		synctest.Wait()
		assert.Zero(t, p.Stats().Borrowed)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true})) // or the test's end would wait for it
	})
}

// P5, H3
func TestTheSecondEndOfALeaseIsRefusedAndChangesNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		old := get(t, p)
		copied := old
		put(t, old)
		assert.ErrorIs(t, old.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, copied.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, old.Taint(errApp), messages.ErrLeaseEnded)
		assert.Nil(t, old.Conn())
		current := get(t, p)
		assert.ErrorIs(t, old.Taint(errApp), messages.ErrLeaseEnded)
		assert.ErrorIs(t, old.Put(), messages.ErrLeaseEnded)
		assert.Nil(t, old.Conn())
		st := p.Stats()
		assert.Equal(t, 1, st.Borrowed)
		assert.Zero(t, st.Idle)
		assert.EqualValues(t, 1, st.Puts)
		assert.Zero(t, current.Conn().closed.Load())
		require.NoError(t, current.Taint(nil))
		assert.ErrorIs(t, current.Put(), messages.ErrLeaseEnded)
		assert.EqualValues(t, 1, p.Stats().Taints)
	})
}

// P5
func TestTheZeroLeaseHasEnded(t *testing.T) {
	var l lease
	assert.Nil(t, l.Conn())
	assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	assert.ErrorIs(t, l.Taint(errApp), messages.ErrLeaseEnded)
	var s client.Lease[string]
	assert.Empty(t, s.Conn())
}

// P5
func TestOfTwoConcurrentEndsOfALeaseOneWins(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		for i := range 1000 {
			l := get(t, p)
			errs := make([]error, 2)
			var both sync.WaitGroup
			both.Go(func() { errs[0] = l.Put() })
			both.Go(func() {
				if i%2 == 0 {
					errs[1] = l.Put()
				} else {
					errs[1] = l.Taint(nil)
				}
			})
			both.Wait()
			require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v", errs)
			require.ErrorIs(t, errors.Join(errs...), messages.ErrLeaseEnded)
		}
		synctest.Wait()
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.EqualValues(t, 1000, st.Puts+st.Taints)
	})
}

// C1
func TestLoweringTheCapacityClosesIdleConnectionsFirst(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(4))
		a, b, c, d := get(t, p), get(t, p), get(t, p), get(t, p)
		put(t, c, d)
		shrink := async(func() error { return p.SetCapacity(ctx, 1) })
		shrink.waits(t)
		st := p.Stats()
		assert.Equal(t, 2, st.Open)
		assert.Equal(t, 2, st.Borrowed)
		assert.Equal(t, 1, st.Capacity)
		put(t, b)
		assert.NoError(t, shrink.returned(t))
		put(t, a)
		st = p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.EqualValues(t, 3, st.ClosedCapacity)
	})
}

// C2
func TestSetCapacityWaitsForConnectionsThatAreStillClosing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.hook = func(*conn) { time.Sleep(time.Second) }
		p := w.pool(capacity(2))
		fill(t, p, 2)
		assert.Equal(t, time.Second, elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 1)) }))
	})
}

// C2, H6
func TestAReductionThatRunsOutOfTimeNamesTheHoldersAndStaysInForce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3))
		a, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		b, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		err = p.SetCapacity(within(t, time.Minute), 1)
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "set capacity", e.Op)
		assert.Equal(t, 1, e.Stats.Capacity)
		assert.Equal(t, 2, e.Stats.Borrowed)
		assert.Equal(t, []messages.Holder{
			{ConnID: 1, Label: "report", Age: 61 * time.Second}, {ConnID: 2, Label: "import", Age: time.Minute},
		}, e.Holders)
		assert.Contains(t, err.Error(), "report")

		st := p.Stats()
		assert.Equal(t, 1, st.Capacity)
		assert.Zero(t, st.Idle)
		g := begin(ctx, p)
		put(t, a)
		g.waits(t)
		put(t, b)
		put(t, g.granted(t))
		assert.Equal(t, 1, p.Stats().Open)
		require.NoError(t, p.SetCapacity(ctx, 2))
	})
}

// C2
func TestALaterSetCapacitySupersedesAnEarlierOne(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3))
		a, b := get(t, p), get(t, p)
		first := async(func() error { return p.SetCapacity(ctx, 0) })
		first.waits(t)
		second := async(func() error { return p.SetCapacity(ctx, 1) })
		assert.ErrorIs(t, first.returned(t), messages.ErrSuperseded)
		second.waits(t)
		put(t, a)
		assert.NoError(t, second.returned(t))
		put(t, b)
		assert.Equal(t, 1, p.Stats().Capacity)
	})
}

// C3, H4
func TestAtCapacityZeroGetsWait(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		fill(t, p, 2)
		require.NoError(t, p.SetCapacity(ctx, 0))
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.Equal(t, messages.StateReady, st.State)
		short := begin(within(t, time.Second), p)
		g := begin(ctx, p)
		time.Sleep(time.Second)
		assert.ErrorIs(t, short.failed(t), context.DeadlineExceeded)
		assert.NotErrorIs(t, short.err, messages.ErrClosed)
		g.waits(t)
		require.NoError(t, p.SetCapacity(ctx, 1))
		put(t, g.granted(t))
	})
}

// C3
func TestANegativeCapacityIsRefused(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		var e *messages.ConfigError
		require.ErrorAs(t, p.SetCapacity(ctx, -1), &e)
		assert.Equal(t, "Capacity", e.Field)
		assert.Equal(t, 2, p.Stats().Capacity)
	})
}

// X1, H5
func TestCloseTellsWaitersAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		var all []*getting
		for range 10 {
			all = append(all, begin(ctx, p))
		}
		ending := async(func() error { return p.Close(ctx) })
		for _, g := range all {
			err := g.failed(t)
			assert.ErrorIs(t, err, messages.ErrClosed)
			assert.ErrorAs(t, err, new(*messages.GetError))
			assert.Zero(t, g.waited)
		}
		ending.waits(t)
		assert.Equal(t, messages.StateClosing, p.Stats().State)
		put(t, held)
		assert.NoError(t, ending.returned(t))
	})
}

// X1
func TestCloseClosesIdleConnectionsInParallel(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.hook = func(*conn) { time.Sleep(time.Second) }
		p := w.pool(capacity(20))
		fill(t, p, 20)
		assert.Equal(t, time.Second, elapsed(func() { require.NoError(t, p.Close(ctx)) }))
	})
}

// X1
func TestCloseCancelsWhatConnectorsDo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var ended [3]error
		until := func(ctx context.Context, i int) error {
			<-ctx.Done()
			ended[i] = ctx.Err()
			return ctx.Err()
		}
		p := w.pool(capacity(3), func(cfg *config) {
			cfg.ConnectTimeout = time.Hour
			cfg.Check = func(ctx context.Context, _ *conn) error { return until(ctx, 1) }
			cfg.Reset = func(ctx context.Context, _ *conn) error { return until(ctx, 2) }
		})
		a := get(t, p)
		put(t, a) // is being reset
		w.server.becomes(func(ctx context.Context, _ int) error { return until(ctx, 0) })
		g := begin(ctx, p)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Connecting)
		assert.Equal(t, 1, p.Stats().InTransition)
		assert.Zero(t, elapsed(func() { require.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
		assert.Equal(t, [3]error{context.Canceled, nil, context.Canceled}, ended)
	})
}

// X1
func TestCloseCancelsACheck(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(func(cfg *config) {
			cfg.Check = func(ctx context.Context, _ *conn) error { <-ctx.Done(); return ctx.Err() }
		})
		fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := begin(ctx, p)
		g.waits(t)
		assert.Equal(t, 1, p.Stats().InTransition)
		assert.Zero(t, elapsed(func() { require.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
	})
}

// X2
func TestCloseWaitsForBorrowedConnectionsAndNamesTheirHolders(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		took := elapsed(func() { err = p.Close(within(t, time.Minute)) })
		assert.Equal(t, time.Minute, took)
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "close", e.Op)
		assert.Equal(t, []messages.Holder{{ConnID: 1, Label: "report", Age: 61 * time.Second}}, e.Holders)
		assert.Contains(t, err.Error(), "report")

		_, err = p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		c := l.Conn()
		put(t, l)
		synctest.Wait()
		assert.EqualValues(t, 1, c.closed.Load())
		assert.NoError(t, p.Close(ctx))
		assert.Equal(t, messages.StateClosed, p.Stats().State)
	})
}

// X2
func TestATaintAfterCloseClosesToo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l := get(t, p)
		ending := async(func() error { return p.Close(ctx) })
		require.NoError(t, l.Taint(errApp))
		assert.NoError(t, ending.returned(t))
	})
}

// X3
func TestAConnectThatIgnoresItsContextDoesNotHoldCloseBack(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.server.becomes(ignoring(release))
		p := w.pool()
		first, second := begin(ctx, p), begin(ctx, p)
		took := elapsed(func() { require.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, 50*time.Millisecond)
		assert.ErrorIs(t, first.failed(t), messages.ErrClosed)
		assert.ErrorIs(t, second.failed(t), messages.ErrClosed)
		time.Sleep(time.Hour)
		close(release)
		synctest.Wait()
		_, opened, closed := w.server.count()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 2, closed)
	})
}

// X3
func TestACheckThatIgnoresItsContextDoesNotHoldCloseBack(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(func(cfg *config) {
			cfg.Check = func(context.Context, *conn) error { <-release; return nil }
		})
		fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := begin(ctx, p)
		g.waits(t)
		took := elapsed(func() { require.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, 50*time.Millisecond)
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
		close(release)
		synctest.Wait()
	})
}

// X3
func TestNothingIsOpenedAfterCloseBegan(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		for range 200 {
			var closed atomic.Bool
			w.server.becomes(func(ctx context.Context, _ int) error {
				if closed.Load() && ctx.Err() == nil {
					t.Error("a connect begins after Close, and with a live context")
				}
				return nil
			})
			p := w.spawn(w.config(capacity(2), func(cfg *config) { cfg.MinIdle = 1 }))
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if l, err := p.Get(ctx); err == nil {
						_ = l.Taint(nil)
					}
				})
			}
			all.Go(func() { assert.NoError(t, p.Close(ctx)); closed.Store(true) })
			all.Wait()
			synctest.Wait()
			_, opened, ended := w.server.count()
			require.Equal(t, opened, ended)
		}
	})
}

// X4
func TestCloseCanBeCalledByMany(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l := get(t, p)
		short := async(func() error { return p.Close(within(t, time.Second)) })
		var all []*call
		for range 20 {
			all = append(all, async(func() error { return p.Close(ctx) }))
		}
		time.Sleep(time.Second)
		assert.ErrorAs(t, short.returned(t), new(*messages.DrainError))
		for _, c := range all {
			c.waits(t)
		}
		put(t, l)
		for _, c := range all {
			assert.NoError(t, c.returned(t))
		}
		assert.NoError(t, p.Close(ctx))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		assert.NoError(t, p.Close(cancelled))
	})
}

// X4
func TestCloseWaitsForASlowDisconnect(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.hook = func(*conn) { time.Sleep(5 * time.Second) }
		p := w.pool()
		fill(t, p, 1)
		var err error
		assert.Equal(t, time.Second, elapsed(func() { err = p.Close(within(t, time.Second)) }))
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 1, e.Stats.Closing)
		assert.Empty(t, e.Holders)
		assert.Equal(t, 4*time.Second, elapsed(func() { assert.NoError(t, p.Close(ctx)) }))
	})
}

// X4
func TestALeaseTakenBeforeCloseCanBePutAfterwards(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l := get(t, p)
		c := l.Conn()
		ending := async(func() error { return p.Close(ctx) })
		ending.waits(t)
		assert.Equal(t, c, l.Conn(), "the holder may finish")
		assert.NoError(t, l.Put())
		synctest.Wait()
		assert.EqualValues(t, 1, c.closed.Load())
		assert.NoError(t, ending.returned(t))
		assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	})
}

// X5
func TestAfterCloseEveryMethodSaysSoWithoutADeadLetter(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		for _, used := range []bool{true, false} {
			p := w.spawn(w.config(func(cfg *config) { cfg.MinIdle, cfg.IdleTimeout = 1, time.Minute }))
			if used {
				fill(t, p, 3)
			}
			require.NoError(t, p.Close(ctx))
			synctest.Wait()
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, err = p.GetWith(ctx, client.GetOptions{Label: "x"})
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, ok := p.TryGet()
			assert.False(t, ok)
			assert.ErrorIs(t, p.Do(ctx, func(context.Context, *conn) error { return nil }), messages.ErrClosed)
			assert.ErrorIs(t, p.SetCapacity(ctx, 3), messages.ErrClosed)
			assert.ErrorIs(t, p.Clear(ctx, client.ClearOptions{}), messages.ErrClosed)
			assert.ErrorIs(t, p.Suspend(ctx), messages.ErrClosed)
			assert.ErrorIs(t, p.Resume(ctx), messages.ErrClosed)
			assert.ErrorIs(t, p.Ready(ctx), messages.ErrClosed)
			assert.NoError(t, p.Close(ctx))
			st := p.Stats()
			assert.Equal(t, messages.StateClosed, st.State)
			assert.Zero(t, st.Open)
			assert.NotNil(t, p.PID())
			time.Sleep(time.Hour) // a timer that is left would say something
			synctest.Wait()
			assert.Zero(t, w.deadLetters.Load(), "dead letters")
			_, there := w.system.ProcessRegistry.Get(p.PID())
			assert.False(t, there, "the actor has stopped")
		}
	})
}

// H7, L5
func TestABorrowedConnectionOfAnOldGenerationNeverRejoins(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		old := get(t, p)
		fill(t, p, 1)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		synctest.Wait()
		assert.EqualValues(t, 1, w.server.conns[1].closed.Load(), "idle ones close now")
		time.Sleep(time.Hour)
		c := old.Conn()
		assert.NotNil(t, c, "without interrupt a lease goes on")
		put(t, old)
		synctest.Wait()
		assert.EqualValues(t, 1, c.closed.Load())
		assert.Equal(t, 3, get(t, p).Conn().n)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		assert.EqualValues(t, 2, p.Stats().Generation)
	})
}

// H10, L2
func TestAnOverAgeIdleConnectionIsNeverHandedOut(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(5), func(cfg *config) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, 1 })
		fill(t, p, 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle, "at most half are closed at once")
		l := get(t, p)
		assert.Equal(t, 5, l.Conn().n)
		put(t, l)
		_, ok := p.TryGet()
		assert.True(t, ok)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
	})
}

// H11
func TestSetCapacityWaitsForAConnectUnderWay(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool(capacity(1))
		g := begin(ctx, p)
		took := elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 0)) })
		assert.Equal(t, time.Second, took)
		g.waits(t)
		st := p.Stats()
		assert.Zero(t, st.Open+st.Connecting+st.Closing)
		require.NoError(t, p.SetCapacity(ctx, 1))
		time.Sleep(time.Second)
		put(t, g.granted(t))
	})
}

// H11
func TestTheGetThatIsDiallingHasItsAnswerBeforeCloseReturns(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(time.Second))
		p := w.pool()
		var err error
		answered := make(chan struct{})
		go func() { _, err = p.Get(ctx); close(answered) }()
		synctest.Wait()
		require.NoError(t, p.Close(ctx))
		synctest.Wait()
		select {
		case <-answered:
			assert.ErrorIs(t, err, messages.ErrClosed)
		default:
			t.Error("the Get still waits")
		}
		assert.Equal(t, 1, w.server.dialled())
	})
}
