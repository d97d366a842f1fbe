package client_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// verdict is a Reusable that counts its calls.
type verdict struct {
	calls atomic.Int32
	says  func(n int32) bool
}

func (v *verdict) configure(cfg *testkit.Config) {
	cfg.Capacity = 1
	cfg.Reusable = func(*testkit.Conn) bool { return v.says(v.calls.Add(1)) }
}

// closedBecause gives the errors of the connections that were closed.
func closedBecause(j *testkit.Journal) (errs []string) {
	for _, e := range j.All() {
		if e.Kind == messages.ConnectionClosed && e.Err != nil {
			errs = append(errs, e.Reason.String()+": "+e.Err.Error())
		}
	}
	return errs
}

// P9
func TestAConnectionThatIsNotReusableIsClosed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		v := &verdict{says: func(n int32) bool { return n != 2 }}
		p := w.Pool(j.Listen, v.configure)
		l := testkit.Get(t, p)
		testkit.Put(t, l)
		assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		assert.EqualValues(t, 1, v.calls.Load(), "a lease that has ended asks nothing")

		l = testkit.Get(t, p)
		assert.Equal(t, 1, l.Conn().N)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, l)
		assert.Equal(t, 2, g.Granted(t).Conn().N, "who waits gets another one")
		assert.Equal(t, 1, w.Server.Conn(1).Closes())
		assert.EqualValues(t, 2, v.calls.Load())
		require.NoError(t, g.Lease.Taint(testkit.ErrApp))
		assert.EqualValues(t, 2, v.calls.Load(), "nor does Taint")
		synctest.Wait()
		assert.Equal(t, []string{
			"broken: actorpool: Reusable says that the connection must not be used again", "broken: " + testkit.ErrApp.Error(),
		}, closedBecause(&j))
	})
}

// P9
func TestDoAsksReusableUnlessTheConnectionIsBroken(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		v := &verdict{says: func(int32) bool { return false }}
		p := w.Pool(v.configure)
		for calls, err := range []error{nil, testkit.ErrApp} {
			assert.Equal(t, err, p.Do(ctx, func(context.Context, *testkit.Conn) error { return err }))
			synctest.Wait()
			assert.EqualValues(t, calls+1, v.calls.Load())
			assert.Equal(t, 1, w.Server.Conn(calls+1).Closes())
		}
		assert.ErrorIs(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { return context.Canceled }), context.Canceled)
		assert.EqualValues(t, 2, v.calls.Load())
	})
}

// P9, T4
func TestAReusableThatPanicsOrEndsItsGoroutineCostsItsConnection(t *testing.T) {
	for name, bad := range map[string]func(){"panics": func() { panic("no good") }, "ends": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var out syncBuffer
				v := &verdict{says: func(n int32) bool {
					if n <= 3 {
						bad()
					}
					return true
				}}
				p := w.Pool(v.configure, func(cfg *testkit.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
				for n := range 3 {
					l := testkit.Get(t, p)
					put := testkit.Async(l.Put)
					if name == "panics" {
						assert.NoError(t, put.Returned(t))
					}
					assert.Equal(t, 1, w.Server.Conn(n+1).Closes())
				}
				testkit.Put(t, testkit.Get(t, p))
				testkit.AssertCounts(t, p, 0, 1, 0)
				synctest.Wait()
				assert.Contains(t, out.take(), "Panic in Reusable")
			})
		})
	}
}

// P9
func TestAReusableThatBlocksHoldsUpNobodyElse(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		v := &verdict{says: func(n int32) bool {
			if n == 1 {
				<-release
			}
			return true
		}}
		p := w.Pool(v.configure, testkit.Capacity(2), testkit.MaxLease(time.Minute))
		l := testkit.Get(t, p)
		put := testkit.Async(l.Put)
		put.Waits(t)
		testkit.Put(t, testkit.Get(t, p))
		testkit.Pass(2 * time.Minute)
		assert.Equal(t, 1, w.Server.Conn(1).Closes(), "MaxLease holds for it, too")
		close(release)
		assert.NoError(t, put.Returned(t))
		testkit.Fill(t, p, 2)
	})
}

// steps is a list to which several goroutines add.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) add(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, step)
}

func (s *steps) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// byMessage borrows and returns a connection by message.
func byMessage(t *testing.T, w *testkit.World, p *testkit.Pool) *testkit.Conn {
	t.Helper()
	l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
	assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
	return l.Conn.(*testkit.Conn)
}

// P9
func TestAPutByMessageAsksReusableInTheBackground(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		var order steps
		v := &verdict{says: func(n int32) bool { time.Sleep(time.Second); order.add("asked"); return n != 2 }}
		p := w.Pool(j.Listen, v.configure, func(cfg *testkit.Config) {
			cfg.Reset = func(context.Context, *testkit.Conn) error { order.add("reset"); return nil }
		})
		assert.Equal(t, 1, byMessage(t, w, p).N)
		synctest.Wait()
		assert.Empty(t, order.all(), "the pool does not wait for it")
		assert.Equal(t, 1, byMessage(t, w, p).N)
		assert.Equal(t, []string{"asked", "reset"}, order.all())
		assert.Equal(t, 2, byMessage(t, w, p).N, "the first one was not reusable")
		testkit.Pass(time.Second)
		assert.Equal(t, []string{"asked", "reset", "asked", "asked", "reset"}, order.all())
		assert.Equal(t, []string{"error: actorpool: Reusable says that the connection must not be used again"}, closedBecause(&j))

		testkit.Put(t, testkit.Get(t, p)) // it is asked once, on this goroutine
		synctest.Wait()
		assert.Equal(t, []string{"asked", "reset"}, order.all()[5:])
	})
}

// P9
func TestAPutByMessageAsksReusableWithoutAReset(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		v := &verdict{says: func(n int32) bool {
			if n == 2 {
				panic("no good")
			}
			return n != 3
		}}
		p := w.Pool(v.configure)
		for _, want := range []int{1, 1, 2, 3, 3} {
			assert.Equal(t, want, byMessage(t, w, p).N)
			synctest.Wait()
		}
		assert.EqualValues(t, 5, v.calls.Load())
	})
}

// P9: a connection that ordinary Go has returned before is asked again when it is
// returned by message.
func TestEachReturnIsAskedOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		v := &verdict{says: func(int32) bool { return true }}
		p := w.Pool(v.configure, (&testkit.CountedReset{}).Configure)
		for n := range int32(3) {
			testkit.Put(t, testkit.Get(t, p))
			synctest.Wait()
			byMessage(t, w, p)
			synctest.Wait()
			assert.Equal(t, 2*(n+1), v.calls.Load())
		}
		assert.Equal(t, 1, w.Server.Dials())
	})
}

// P9
func TestAfterCloseAReturnedConnectionIsClosedWhateverReusableSays(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		v := &verdict{says: func(int32) bool { return true }}
		p := w.Spawn(w.Config(v.configure))
		l := testkit.Get(t, p)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		testkit.Put(t, l)
		assert.NoError(t, closing.Returned(t))
		assert.Equal(t, 1, w.Server.Conn(1).Closes())
	})
}
