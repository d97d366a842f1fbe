package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// L5
func TestAGetWhoseConnectBecameStaleKeepsItsPlace(t *testing.T) {
	for _, interrupt := range []bool{false, true} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			w.Server.SetDial(testkit.Delay(time.Second))
			p := w.Pool(testkit.Capacity(1))
			g, next := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: interrupt}))
			g.Waits(t)
			time.Sleep(1500 * time.Millisecond)
			l := g.Granted(t)
			next.Waits(t)
			if interrupt {
				assert.Equal(t, 1500*time.Millisecond, g.Waited, "the connect was cancelled")
			} else {
				assert.Equal(t, 2*time.Second, g.Waited, "the stale connection was closed when its connect ended")
			}
			testkit.Put(t, l)
			testkit.Put(t, next.Granted(t))
		})
	}
}

// L5
func TestClearWithInterruptRevokesLeases(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		used := a.Conn()
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		synctest.Wait()
		assert.EqualValues(t, 1, used.Closes())
		assert.Nil(t, a.Conn())
		testkit.Put(t, g.Granted(t))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Taint(testkit.ErrApp), messages.ErrLeaseEnded)
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.EqualValues(t, 1, st.Puts)
		assert.EqualValues(t, 2, st.ClosedStale)
	})
}

// L5
func TestPauseOnClearStartsPausedAndEvictsWaiters(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.PauseOnClear = true })
		assert.Equal(t, messages.StatePaused, p.Stats().State)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrCleared)
		assert.ErrorAs(t, err, new(*messages.GetError))
		assert.ErrorIs(t, p.Ready(ctx), messages.ErrCleared)
		require.NoError(t, p.Resume(ctx))
		held := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		assert.ErrorIs(t, g.Failed(t), messages.ErrCleared)
		_, ok := p.TryGet()
		assert.False(t, ok)
		testkit.Put(t, held)
		assert.Zero(t, p.Stats().Open)

		w.System.Root.Send(p.PID(), &messages.HealthOK{})
		testkit.Put(t, testkit.Get(t, p))
		w.System.Root.Send(p.PID(), &messages.HealthFailed{Err: testkit.ErrRefused})
		_, err = p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrCleared)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, e.LastConnectError, testkit.ErrRefused)
	})
}

// H7, L5
func TestABorrowedConnectionOfAnOldGenerationNeverRejoins(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		old := testkit.Get(t, p)
		testkit.Fill(t, p, 1)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		synctest.Wait()
		assert.EqualValues(t, 1, w.Server.Conn(2).Closes(), "idle ones close now")
		time.Sleep(time.Hour)
		c := old.Conn()
		assert.NotNil(t, c, "without Interrupt a lease goes on")
		testkit.Put(t, old)
		synctest.Wait()
		assert.EqualValues(t, 1, c.Closes())
		assert.Equal(t, 3, testkit.Get(t, p).Conn().N)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		assert.EqualValues(t, 2, p.Stats().Generation)
	})
}
