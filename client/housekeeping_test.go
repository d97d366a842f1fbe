package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// L1
func TestMinIdleIsKeptInTheBackground(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) { cfg.MinIdle = 2 })
		assert.Equal(t, 2, p.Stats().Idle)
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		synctest.Wait()
		st := p.Stats()
		assert.Equal(t, 2, st.Idle)
		assert.Equal(t, 4, st.Open)
		c := testkit.Get(t, p)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle, "the capacity allows no more")
		require.NoError(t, c.Taint(nil))
		synctest.Wait()
		assert.Equal(t, 2, p.Stats().Idle)
		testkit.Put(t, a, b)
	})
}

// L1
func TestMinIdleIsRetriedUnderTheBackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.MinIdle, cfg.MaxConnecting = 1, 1 })
		assert.Equal(t, 1, w.Server.Dials())
		testkit.Pass(time.Second)
		assert.Equal(t, 2, w.Server.Dials())
		w.Server.SetDial(testkit.Accept)
		testkit.Pass(2 * time.Second)
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, messages.StateReady, st.State)
	})
}

func TestAboveMaxIdleAReturnedConnectionIsClosed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) { cfg.MaxIdle = 1 })
		testkit.Fill(t, p, 3)
		st := p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, 1, st.Open)
		assert.EqualValues(t, 2, st.ClosedIdle)
	})
}

// L2
func TestIdleConnectionsAboveMinIdleCloseAfterTheirTimeOldestFirst(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) { cfg.IdleTimeout, cfg.MinIdle = time.Minute, 1 })
		leases := []testkit.Lease{testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p)}
		newest := leases[3].Conn()
		testkit.Put(t, leases...)
		testkit.Pass(time.Minute - time.Millisecond)
		assert.Equal(t, 4, p.Stats().Idle)
		testkit.Pass(time.Millisecond)
		assert.Equal(t, 2, p.Stats().Idle, "at most half at once")
		testkit.Pass(time.Minute)
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Zero(t, newest.Closes(), "the newest stays open")
		testkit.Pass(time.Hour)
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Equal(t, 4, w.Server.Dials(), "nothing was replaced")
	})
}

// L2
func TestAConnectionInUseIsNotIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.IdleTimeout = time.Minute })
		for range 10 {
			testkit.Put(t, testkit.Get(t, p))
			time.Sleep(59 * time.Second)
		}
		synctest.Wait()
		assert.Equal(t, 1, w.Server.Dials())
		testkit.Pass(time.Second)
		assert.Zero(t, p.Stats().Open)
	})
}

// L2
func TestMaxLifetimeBoundsTheAgeOfIdleAndBorrowedConnections(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.MaxLifetime = time.Minute })
		held := testkit.Get(t, p)
		testkit.Fill(t, p, 1)
		testkit.Pass(54*time.Second - time.Millisecond)
		assert.Equal(t, 1, p.Stats().Idle, "jitter shortens a lifetime by a tenth at most")
		testkit.Pass(6*time.Second + time.Millisecond)
		assert.Zero(t, p.Stats().Idle)
		assert.Zero(t, held.Conn().Closes(), "a lease is never cut short")
		testkit.Put(t, held)
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.EqualValues(t, 2, st.ClosedLifetime)
	})
}

// L2, L1
func TestAnOldConnectionOfMinIdleIsReplaced(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.MaxLifetime, cfg.MinIdle = time.Minute, 2 })
		testkit.Pass(61 * time.Second)
		assert.Equal(t, 2, p.Stats().Idle)
		assert.EqualValues(t, 2, p.Stats().ClosedLifetime)
	})
}

// L3
func TestABackgroundConnectThatIsSlowTakesNoPlaceFromAGet(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.MaxLifetime, cfg.MinIdle = time.Minute, 1 })
		w.Server.SetDial(testkit.Delay(5 * time.Second))
		time.Sleep(61 * time.Second)
		g := testkit.BeginGet(testkit.Within(t, 6*time.Second), p)
		time.Sleep(5 * time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

// messageCounter counts the messages to an actor.
type messageCounter struct{ messages int }

func (c *messageCounter) middleware(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		c.messages++
		next(ctx, envelope)
	}
}

// L4
func TestAPoolWithNothingToDoHasNoTimer(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var told messageCounter
		p := w.Spawn(w.Config(func(cfg *testkit.Config) { cfg.MinIdle, cfg.IdleTimeout, cfg.LeakAfter = 1, time.Minute, time.Minute }),
			actor.WithReceiverMiddleware(told.middleware))
		t.Cleanup(func() { w.CloseAndCheck(p) })
		testkit.Fill(t, p, 3)
		testkit.Pass(5 * time.Minute)
		assert.Equal(t, 1, p.Stats().Idle)
		before := told.messages
		testkit.Pass(100 * time.Hour)
		assert.Equal(t, before, told.messages)
	})
}

// H10, L2
func TestAnOverAgeIdleConnectionIsNeverHandedOut(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(5), func(cfg *testkit.Config) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, 1 })
		testkit.Fill(t, p, 4)
		time.Sleep(time.Minute) // the timer is due at the same time, and may come before the Get or after it
		l := testkit.Get(t, p)
		assert.Equal(t, 5, l.Conn().N)
		testkit.Put(t, l)
		assert.EqualValues(t, 4, p.Stats().ClosedLifetime)
	})
}

// L15
func TestALifetimeHoldsForEveryIdleConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(100), func(cfg *testkit.Config) {
			cfg.MaxConnecting, cfg.MaxLifetime, cfg.MaxLifetimeJitter = 100, time.Minute, 1
		})
		testkit.Fill(t, p, 100)
		testkit.Pass(time.Minute - time.Millisecond)
		assert.Equal(t, 100, p.Stats().Idle)
		testkit.Pass(time.Millisecond)
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.EqualValues(t, 100, st.ClosedLifetime)
	})
}
