package client_test

import (
	"context"
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

// X4, X5
func TestAPoolWhoseHandlerHangsIsClosedAllTheSame(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Pool(func(cfg *testkit.Config) { cfg.OnEvent = func(messages.Event) { <-release } })
		testkit.Fill(t, p, 1)
		require.NoError(t, p.Close(ctx))
		stats := testkit.Async(func() error { p.Stats(); return nil })
		again := testkit.Async(func() error { return p.Close(testkit.Within(t, time.Second)) })
		other := testkit.Async(func() error { return p.Suspend(testkit.Within(t, time.Second)) })
		time.Sleep(time.Minute)
		assert.True(t, stats.Ended(), "stats")
		assert.True(t, again.Ended(), "close")
		assert.True(t, other.Ended(), "suspend")
		close(release)
		synctest.Wait()
		assert.NoError(t, again.Returned(t))
	})
}

// X1, H5
func TestCloseTellsWaitersAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		var all []*testkit.Getting
		for range 10 {
			all = append(all, testkit.BeginGet(ctx, p))
		}
		ending := testkit.Async(func() error { return p.Close(ctx) })
		for _, g := range all {
			err := g.Failed(t)
			assert.ErrorIs(t, err, messages.ErrClosed)
			assert.ErrorAs(t, err, new(*messages.GetError))
			assert.Zero(t, g.Waited)
		}
		ending.Waits(t)
		assert.Equal(t, messages.StateClosing, p.Stats().State)
		testkit.Put(t, held)
		assert.NoError(t, ending.Returned(t))
	})
}

// X1
func TestCloseClosesIdleConnectionsInParallel(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.OnClose = func(*testkit.Conn) { time.Sleep(time.Second) }
		p := w.Pool(testkit.Capacity(20))
		testkit.Fill(t, p, 20)
		assert.Equal(t, time.Second, testkit.Elapsed(func() { require.NoError(t, p.Close(ctx)) }))
	})
}

// X1
func TestCloseCancelsWhatConnectorsDo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var ended [3]error
		until := func(ctx context.Context, i int) error {
			<-ctx.Done()
			ended[i] = ctx.Err()
			return ctx.Err()
		}
		p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) {
			cfg.ConnectTimeout = time.Hour
			cfg.Check = func(ctx context.Context, _ *testkit.Conn) error { return until(ctx, 1) }
			cfg.Reset = func(ctx context.Context, _ *testkit.Conn) error { return until(ctx, 2) }
		})
		a := testkit.Get(t, p)
		testkit.Put(t, a) // is being reset
		w.Server.SetDial(func(ctx context.Context, _ int) error { return until(ctx, 0) })
		g := testkit.BeginGet(ctx, p)
		testkit.Pass(time.Millisecond) // for so long it waits for the reset alone
		assert.Equal(t, 1, p.Stats().Connecting)
		assert.Equal(t, 1, p.Stats().InTransition)
		assert.Zero(t, testkit.Elapsed(func() { require.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
		assert.Equal(t, [3]error{context.Canceled, nil, context.Canceled}, ended)
	})
}

// X1
func TestCloseCancelsACheck(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Check = func(ctx context.Context, _ *testkit.Conn) error { <-ctx.Done(); return ctx.Err() }
		})
		testkit.Fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := testkit.BeginGet(ctx, p)
		g.Waits(t)
		assert.Equal(t, 1, p.Stats().InTransition)
		assert.Zero(t, testkit.Elapsed(func() { require.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
	})
}

// X2
func TestCloseWaitsForBorrowedConnectionsAndNamesTheirHolders(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		took := testkit.Elapsed(func() { err = p.Close(testkit.Within(t, time.Minute)) })
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
		testkit.Put(t, l)
		synctest.Wait()
		assert.EqualValues(t, 1, c.Closes())
		assert.NoError(t, p.Close(ctx))
		assert.Equal(t, messages.StateClosed, p.Stats().State)
	})
}

// X2
func TestATaintAfterCloseClosesToo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Get(t, p)
		ending := testkit.Async(func() error { return p.Close(ctx) })
		require.NoError(t, l.Taint(testkit.ErrApp))
		assert.NoError(t, ending.Returned(t))
	})
}

// X3
func TestAConnectThatIgnoresItsContextDoesNotHoldCloseBack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.SetDial(testkit.IgnoreContext(release))
		p := w.Pool()
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		took := testkit.Elapsed(func() { require.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, 50*time.Millisecond)
		assert.ErrorIs(t, first.Failed(t), messages.ErrClosed)
		assert.ErrorIs(t, second.Failed(t), messages.ErrClosed)
		time.Sleep(time.Hour)
		close(release)
		synctest.Wait()
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 2, closed)
	})
}

// X6
func TestWhenCloseHasReturnedNoConnectRunsAndNothingIsOpen(t *testing.T) {
	for name, refuses := range map[string]bool{"a connect that cleans up": true, "a connect that succeeds at that moment": false} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var running, gone atomic.Int32
				w.Server.OnClose = func(*testkit.Conn) {
					time.Sleep(time.Millisecond)
					gone.Add(1)
				}
				w.Server.SetDial(func(ctx context.Context, n int) error {
					running.Add(1)
					defer running.Add(-1)
					err := cleansUp(ctx, n)
					if refuses {
						return err
					}
					return nil
				})
				p := w.Pool()
				g := testkit.BeginGet(ctx, p)
				require.NoError(t, p.Close(ctx))
				assert.Zero(t, running.Load())
				_, opened, _ := w.Server.Counts()
				assert.EqualValues(t, opened, gone.Load())
				assert.Equal(t, refuses, opened == 0)
				assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
			})
		})
	}
}

// X3
func TestACheckThatIgnoresItsContextDoesNotHoldCloseBack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Check = func(context.Context, *testkit.Conn) error { <-release; return nil }
		})
		testkit.Fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := testkit.BeginGet(ctx, p)
		g.Waits(t)
		took := testkit.Elapsed(func() { require.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, 50*time.Millisecond)
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
		close(release)
		synctest.Wait()
	})
}

// X3
func TestNothingIsOpenedAfterCloseBegan(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		for range 200 {
			var closed atomic.Bool
			w.Server.SetDial(func(ctx context.Context, _ int) error {
				if closed.Load() && ctx.Err() == nil {
					t.Error("a connect begins after Close, and with a live context")
				}
				return nil
			})
			p := w.Spawn(w.Config(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.MinIdle = 1 }))
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
			_, opened, ended := w.Server.Counts()
			require.Equal(t, opened, ended)
		}
	})
}

// X4
func TestCloseCanBeCalledByMany(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Get(t, p)
		short := testkit.Async(func() error { return p.Close(testkit.Within(t, time.Second)) })
		var all []*testkit.Call
		for range 20 {
			all = append(all, testkit.Async(func() error { return p.Close(ctx) }))
		}
		time.Sleep(time.Second)
		assert.ErrorAs(t, short.Returned(t), new(*messages.DrainError))
		for _, c := range all {
			c.Waits(t)
		}
		testkit.Put(t, l)
		for _, c := range all {
			assert.NoError(t, c.Returned(t))
		}
		assert.NoError(t, p.Close(ctx))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		assert.NoError(t, p.Close(cancelled))
	})
}

// X4
func TestCloseWaitsForASlowDisconnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.OnClose = func(*testkit.Conn) { time.Sleep(5 * time.Second) }
		p := w.Pool()
		testkit.Fill(t, p, 1)
		var err error
		assert.Equal(t, time.Second, testkit.Elapsed(func() { err = p.Close(testkit.Within(t, time.Second)) }))
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 1, e.Stats.Closing)
		assert.Empty(t, e.Holders)
		assert.Equal(t, 4*time.Second, testkit.Elapsed(func() { assert.NoError(t, p.Close(ctx)) }))
	})
}

// X4
func TestALeaseTakenBeforeCloseCanBePutAfterwards(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Get(t, p)
		c := l.Conn()
		ending := testkit.Async(func() error { return p.Close(ctx) })
		ending.Waits(t)
		assert.Equal(t, c, l.Conn(), "the holder may finish")
		assert.NoError(t, l.Put())
		synctest.Wait()
		assert.EqualValues(t, 1, c.Closes())
		assert.NoError(t, ending.Returned(t))
		assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	})
}

// X5
func TestAfterCloseEveryMethodSaysSoWithoutADeadLetter(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		for _, used := range []bool{true, false} {
			p := w.Spawn(w.Config(func(cfg *testkit.Config) { cfg.MinIdle, cfg.IdleTimeout = 1, time.Minute }))
			if used {
				testkit.Fill(t, p, 3)
			}
			require.NoError(t, p.Close(ctx))
			synctest.Wait()
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, err = p.GetWith(ctx, client.GetOptions{Label: "x"})
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, ok := p.TryGet()
			assert.False(t, ok)
			assert.ErrorIs(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { return nil }), messages.ErrClosed)
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
			time.Sleep(time.Hour) // a timer that is left would send a dead letter
			synctest.Wait()
			assert.Zero(t, w.DeadLetters(), "dead letters")
			_, there := w.System.ProcessRegistry.Get(p.PID())
			assert.False(t, there, "the actor has stopped")
		}
	})
}

// H11
func TestTheGetThatIsDiallingHasItsAnswerBeforeCloseReturns(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool()
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
		assert.Equal(t, 1, w.Server.Dials())
	})
}
