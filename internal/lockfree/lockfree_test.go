package lockfree

import (
	"context"
	"errors"
	"flag"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var stressFor = flag.Duration("stress", 100*time.Millisecond, "how long each stress test runs")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errConnect = errors.New("no route")

type conn struct {
	id      int64
	holders atomic.Int32
	closed  atomic.Bool
}

// world is the other side of a pool: it opens, closes and counts connections.
type world struct {
	opened, closed, open, most atomic.Int64
	twiceClosed                atomic.Bool
	onConnect                  func(ctx context.Context) error
}

func (w *world) config(capacity int) Config[*conn] {
	return Config[*conn]{
		Capacity: capacity,
		Connect: func(ctx context.Context) (*conn, error) {
			if w.onConnect != nil {
				if err := w.onConnect(ctx); err != nil {
					return nil, err
				}
			}
			now := w.open.Add(1)
			for most := w.most.Load(); now > most && !w.most.CompareAndSwap(most, now); most = w.most.Load() {
			}
			return &conn{id: w.opened.Add(1)}, nil
		},
		Disconnect: func(_ context.Context, c *conn) error {
			if c.closed.Swap(true) {
				w.twiceClosed.Store(true)
			}
			w.closed.Add(1)
			w.open.Add(-1)
			return nil
		},
	}
}

func (w *world) pool(t testing.TB, capacity int) *Pool[*conn] {
	t.Helper()
	p, err := New(w.config(capacity))
	require.NoError(t, err)
	return p
}

// settled closes the pool and checks that nothing is left.
func (w *world) settled(t testing.TB, p *Pool[*conn]) {
	t.Helper()
	require.NoError(t, p.Close(t.Context()))
	require.Equal(t, w.opened.Load(), w.closed.Load(), "opened and closed")
	require.False(t, w.twiceClosed.Load(), "closed twice")
	require.Zero(t, p.size.Load()&^uint64(closedFlag), "size word")
	require.Zero(t, count(p.state.Load()), "state word")
}

func get(t testing.TB, p *Pool[*conn]) Lease[*conn] {
	t.Helper()
	l, err := p.Get(t.Context())
	require.NoError(t, err)
	return l
}

type result struct {
	lease Lease[*conn]
	err   error
}

// goGet starts a Get and returns once it is parked or done. Only inside a synctest bubble.
func goGet(ctx context.Context, p *Pool[*conn]) <-chan result {
	done := make(chan result, 1)
	go func() {
		l, err := p.Get(ctx)
		done <- result{l, err}
	}()
	synctest.Wait()
	return done
}

// got requires that the Get has a lease by now.
func got(t testing.TB, done <-chan result) Lease[*conn] {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		require.NoError(t, r.err)
		return r.lease
	default:
		require.FailNow(t, "the Get still waits")
		panic("unreachable")
	}
}

// failed requires that the Get has failed with err by now.
func failed(t testing.TB, done <-chan result, err error) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		require.ErrorIs(t, r.err, err)
	default:
		require.FailNow(t, "the Get still waits")
	}
}

func parked(t testing.TB, done <-chan result) {
	t.Helper()
	synctest.Wait()
	require.Empty(t, done, "the Get should wait")
}
