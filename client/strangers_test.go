package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
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

// badHandler is a log handler that does something bad with each warning.
type badHandler struct {
	slog.Handler
	do func()
}

func (h badHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.do()
	}
	return nil
}

// T3
func TestALogHandlerThatFailsLosesNoReport(t *testing.T) {
	block := make(chan struct{})
	for name, do := range map[string]func(){"panics": func() { panic("log") }, "ends its goroutine": runtime.Goexit, "blocks": func() { <-block }} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				block = make(chan struct{})
				var bad atomic.Bool
				bad.Store(true)
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					cfg.Logger = slog.New(badHandler{slog.NewTextHandler(&bytes.Buffer{}, nil), do})
					cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) {
						if bad.Load() {
							panic("connect")
						}
						return w.Server.Connect(ctx)
					}
					cfg.Reset = func(context.Context, *testkit.Conn) error {
						if bad.Load() {
							panic("reset")
						}
						return nil
					}
				})
				start := time.Now()
				_, err := p.Get(ctx)
				assert.ErrorAs(t, err, new(*messages.PanicError))
				assert.Zero(t, time.Since(start), "the report does not wait for the log")
				bad.Store(false)
				l := testkit.Get(t, p)
				bad.Store(true)
				testkit.Put(t, l)
				testkit.AssertCounts(t, p, 0, 0, 0)
				assert.EqualValues(t, 1, w.Server.Conn(1).Closes())
				bad.Store(false)
				testkit.Put(t, testkit.Get(t, p))
				close(block)
			})
		})
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// take gives what was written since it was last called.
func (s *syncBuffer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.b.Reset()
	return s.b.String()
}

// restlessConn can be closed while it is idle.
type restlessConn struct {
	n               int
	closed, closing atomic.Bool
	asked           atomic.Int32
}

func (c *restlessConn) IsClosed() bool  { c.asked.Add(1); return c.closed.Load() }
func (c *restlessConn) IsClosing() bool { return c.closing.Load() }
func (c *restlessConn) Close() error    { c.closed.Store(true); return nil }

// restlessPool is a pool of such connections, which are numbered.
func restlessPool(t *testing.T, change func(*client.Config[*restlessConn])) *client.Pool[*restlessConn] {
	t.Helper()
	n := 0
	cfg := client.Config[*restlessConn]{Capacity: 3, Connect: func(context.Context) (*restlessConn, error) {
		n++
		return &restlessConn{n: n}, nil
	}}
	change(&cfg)
	p, err := client.New(cfg)
	require.NoError(t, err)
	return p
}

// L16
func TestAnIdleConnectionThatIsClosedIsNotLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var kinds []string
		p := restlessPool(t, func(cfg *client.Config[*restlessConn]) {
			cfg.OnEvent = func(e messages.Event) {
				mu.Lock()
				defer mu.Unlock()
				kinds = append(kinds, e.Kind.String())
			}
		})
		var leases []client.Lease[*restlessConn]
		for range 3 {
			l, err := p.Get(ctx)
			require.NoError(t, err)
			assert.Zero(t, l.Conn().asked.Load(), "a new connection is not asked")
			leases = append(leases, l)
		}
		for i, l := range leases {
			conn := l.Conn()
			require.NoError(t, l.Put())
			conn.closed.Store(i == 0)
			conn.closing.Store(i == 2)
		}
		synctest.Wait()
		mu.Lock()
		kinds = nil
		mu.Unlock()
		l, err := p.Get(ctx)
		require.NoError(t, err)
		assert.Equal(t, 2, l.Conn().n, "number 3 is closing")
		synctest.Wait()
		mu.Lock()
		assert.Equal(t, []string{"CheckOutStarted", "CheckedOut", "CheckedIn", "ConnectionClosed", "CheckedOut"}, kinds)
		mu.Unlock()
		st := p.Stats()
		assert.Equal(t, [4]uint64{4, 4, 3, 0}, [4]uint64{st.Gets, st.Grants, st.Puts, st.Taints}, "it is one Get")
		assert.EqualValues(t, 1, st.ClosedBroken)
		testkit.Consistent(t, st)

		next, ok := p.TryGet() // number 1 is closed, and nothing else is idle
		assert.False(t, ok, next)
		testkit.Consistent(t, p.Stats())
		require.NoError(t, l.Put())
		require.NoError(t, p.Close(ctx))
	})
}

// L16: whoever finds a closed connection keeps its place before those who wait.
func TestAGetThatFindsAClosedConnectionIsServedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dial atomic.Int64
		p := restlessPool(t, func(cfg *client.Config[*restlessConn]) {
			connect := cfg.Connect
			cfg.Capacity = 1
			cfg.Connect = func(ctx context.Context) (*restlessConn, error) {
				time.Sleep(time.Duration(dial.Load()))
				return connect(ctx)
			}
		})
		l, err := p.Get(ctx)
		require.NoError(t, err)
		conn := l.Conn()
		require.NoError(t, l.Put())
		conn.closed.Store(true)
		dial.Store(int64(time.Second))
		order := make(chan string, 2)
		get := func(name string) {
			l, err := p.Get(ctx)
			assert.NoError(t, err)
			order <- name
			assert.NoError(t, l.Put())
		}
		go get("first")
		synctest.Wait()
		go get("second")
		assert.Equal(t, "first", <-order)
		assert.Equal(t, "second", <-order)
		require.NoError(t, p.Close(ctx))
	})
}

// L16, T4
func TestAConnectionWhoseIsClosedPanicsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out syncBuffer
		n := 0
		p, err := client.New(client.Config[*panickyConn]{
			Capacity: 1, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			Connect: func(context.Context) (*panickyConn, error) { n++; return &panickyConn{n: n}, nil },
		})
		require.NoError(t, err)
		require.NoError(t, p.Do(ctx, func(_ context.Context, c *panickyConn) error { c.panics.Store(true); return nil }))
		l, err := p.Get(ctx)
		require.NoError(t, err)
		assert.Equal(t, 2, l.Conn().n)
		conn := l.Conn()
		require.NoError(t, l.Put())
		conn.panics.Store(true)
		l, err = p.Get(ctx)
		require.NoError(t, err)
		assert.Equal(t, 3, l.Conn().n)
		require.NoError(t, l.Put())
		synctest.Wait()
		assert.Contains(t, out.take(), "Panic in IsClosed")
		require.NoError(t, p.Close(ctx))
	})
}

type panickyConn struct {
	n      int
	panics atomic.Bool
}

func (c *panickyConn) Close() error { return nil }
func (c *panickyConn) IsClosed() bool {
	if c.panics.Load() {
		panic("IsClosed of the test")
	}
	return false
}

// L16, P5: the second Put asks nothing of a connection that somebody else may have.
func TestASecondPutDoesNotTouchTheConnection(t *testing.T) {
	p := restlessPool(t, func(*client.Config[*restlessConn]) {})
	l, err := p.Get(ctx)
	require.NoError(t, err)
	conn := l.Conn()
	require.NoError(t, l.Put())
	asked := conn.asked.Load()
	assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	assert.Equal(t, asked, conn.asked.Load())
	require.NoError(t, p.Close(ctx))
}

// E5
func TestAGetThatFindsThePoolClosingIsTold(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Spawn(w.Config(j.Listen, testkit.Capacity(2)))
		l := testkit.Get(t, p)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		closing.Waits(t)
		before := len(j.All())
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err := p.Get(ended)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.Equal(t, []string{"CheckOutStarted", "CheckOutFailed(poolClosed)"}, j.Kinds(before))
		testkit.Put(t, l)
		assert.NoError(t, closing.Returned(t))
		_, err = p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed, "the pool is no more, and nobody is told")
	})
}
