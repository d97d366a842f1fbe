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

// P1
func TestPutServesTheFirstWaiterAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(time.Minute)
		testkit.Put(t, a)
		l := first.Granted(t)
		second.Waits(t)
		assert.Equal(t, time.Minute, first.Waited)
		testkit.Put(t, b, l)
		testkit.Put(t, second.Granted(t))
	})
}

// P1
func TestPutOverCapacityClosesEvenWithWaiters(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		a, b, c := testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		shrink := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		testkit.Put(t, a)
		g.Waits(t)
		assert.EqualValues(t, 1, w.Server.Conn(1).Closes())
		testkit.Put(t, b)
		g.Waits(t)
		assert.NoError(t, shrink.Returned(t))
		testkit.Put(t, c)
		assert.Equal(t, 3, g.Granted(t).Conn().N)
		testkit.Put(t, g.Lease)
	})
}

// P2
func TestTaintReplacesTheConnectionInTheBackground(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		broken := l.Conn()
		w.Server.SetDial(testkit.Delay(time.Second))
		g := testkit.BeginGet(ctx, p)
		assert.Zero(t, testkit.Elapsed(func() { require.NoError(t, l.Taint(io.EOF)) }))
		synctest.Wait()
		assert.EqualValues(t, 1, broken.Closes())
		g.Waits(t)
		time.Sleep(time.Second)
		assert.Equal(t, 2, g.Granted(t).Conn().N)
		testkit.Put(t, g.Lease)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P2
func TestTaintWithNobodyWaitingOpensNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		require.NoError(t, testkit.Get(t, p).Taint(nil))
		testkit.Pass(time.Hour)
		assert.Equal(t, 1, w.Server.Dials())
		assert.Zero(t, p.Stats().Open)
	})
}

// P2
func TestASlowDisconnectKeepsItsPlaceAndDelaysNobodyElse(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.OnClose = func(*testkit.Conn) { time.Sleep(time.Second) }
		p := w.Pool(testkit.Capacity(2))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		assert.Zero(t, testkit.Elapsed(func() {
			require.NoError(t, a.Taint(nil))
			testkit.Put(t, b)
			testkit.Put(t, testkit.Get(t, p))
		}))
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Closing)
		b = testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		g.Waits(t)
		time.Sleep(time.Second)
		testkit.Put(t, g.Granted(t), b)
	})
}

// L12
func TestASlowDisconnectDelaysAGetForDisconnectTimeoutOnly(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: time.Second, 3 * time.Second: 3 * time.Second} {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
				cfg.DisconnectTimeout = timeout
				cfg.Disconnect = func(ctx context.Context, c *testkit.Conn) error {
					<-ctx.Done() // nobody answers its goodbye
					return c.Close()
				}
			})
			require.NoError(t, testkit.Get(t, p).Taint(nil))
			assert.Equal(t, want, testkit.Elapsed(func() { testkit.Put(t, testkit.Get(t, p)) }))
		})
	}
}

// P3, H2
func TestAReplacementThatFailsLeavesNobodyAsleep(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		w.Server.SetDial(func(_ context.Context, n int) error {
			if n < 4 {
				return testkit.ErrRefused
			}
			return nil
		})
		first, second, third := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		require.NoError(t, l.Taint(io.EOF))
		assert.ErrorIs(t, first.Failed(t), testkit.ErrRefused)
		time.Sleep(time.Second)
		assert.ErrorIs(t, second.Failed(t), testkit.ErrRefused)
		time.Sleep(2 * time.Second)
		testkit.Put(t, third.Granted(t))
	})
}

// P3, H1, C1
func TestRaisingTheCapacityServesParkedWaitersAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		a := testkit.Get(t, p)
		first, second, third := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		require.NoError(t, p.SetCapacity(ctx, 3))
		b, c := first.Granted(t), second.Granted(t)
		third.Waits(t)
		testkit.Put(t, a, b, c)
		testkit.Put(t, third.Granted(t))
	})
}

// P3
func TestClearServesParkedWaitersWithNewConnections(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		a := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		assert.Equal(t, 2, g.Granted(t).Conn().N)
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		testkit.Put(t, g.Lease)
	})
}

// P3
func TestAConnectorThatIsLostLeavesNobodyAsleep(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.SetDial(testkit.IgnoreContext(release))
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.ConnectTimeout = 4 * time.Second })
		first, second := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(4 * time.Second)
		w.Server.SetDial(testkit.Accept)
		first.Waits(t) // the function has a quarter more to return its own error
		time.Sleep(time.Second)
		err := first.Failed(t)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		testkit.Put(t, second.Granted(t))
		st := p.Stats()
		assert.Equal(t, 1, st.Open)
		assert.Zero(t, st.Connecting)
		close(release)
		synctest.Wait()
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 1, closed, "the connection that came late is closed")
	})
}

// selfReportingConn can tell whether it is closed, as pgx's connections can.
type selfReportingConn struct{ closed atomic.Bool }

func (c *selfReportingConn) IsClosed() bool { return c.closed.Load() }

// P4, without Do
func TestAConnectionThatSaysItIsClosedIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := client.New(client.Config[*selfReportingConn]{
			Capacity: 1, Connect: func(context.Context) (*selfReportingConn, error) { return &selfReportingConn{}, nil },
			Disconnect: client.NoDisconnect[*selfReportingConn],
		})
		require.NoError(t, err)
		l, err := p.Get(ctx)
		require.NoError(t, err)
		require.NoError(t, l.Put())
		first := l
		l, err = p.Get(ctx)
		require.NoError(t, err)
		l.Conn().closed.Store(true)
		require.ErrorIs(t, first.Put(), messages.ErrLeaseEnded, "a lease that has ended does not ask the connection")
		require.NoError(t, l.Put())
		require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		synctest.Wait()
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
		require.NoError(t, p.Do(ctx, func(_ context.Context, c *selfReportingConn) error {
			assert.False(t, c.IsClosed())
			c.closed.Store(true)
			return nil
		}))
		synctest.Wait()
		assert.EqualValues(t, 2, p.Stats().ClosedBroken, "Do returns it in the same way")
		require.NoError(t, p.Close(ctx))
	})
}
