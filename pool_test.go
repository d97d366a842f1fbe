package actorpool_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// These are the guarantees of the README, one test for each. The detailed tests
// are in client and actors.
//
// They run in virtual time: time.Sleep returns as soon as every goroutine of the
// test waits, and synctest.Wait returns when all others wait. See testing/synctest.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	background = context.Background()
	errRefused = errors.New("connection refused")
)

// conn is a connection to a backend.
type conn struct {
	id     int
	closed atomic.Bool
}

// Close is the Disconnect of a pool whose connections have it.
func (c *conn) Close() error { c.closed.Store(true); return nil }

// backend is a server that answers at once, unless dial is set.
type backend struct {
	mu    sync.Mutex
	dial  func(ctx context.Context) error
	dials int
	conns []*conn
}

func (b *backend) connect(ctx context.Context) (*conn, error) {
	b.mu.Lock()
	b.dials++
	dial := b.dial
	b.mu.Unlock()
	if dial != nil {
		if err := dial(ctx); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &conn{id: len(b.conns) + 1}
	b.conns = append(b.conns, c)
	return c, nil
}

func (b *backend) onDial(f func(ctx context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dial = f
}

func (b *backend) counts() (dials, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		if !c.closed.Load() {
			open++
		}
	}
	return b.dials, open
}

func refuse(context.Context) error { return errRefused }

// newPool makes a pool of the backend. At the end of the test it is closed, and
// no connection may be open then.
func newPool(t *testing.T, b *backend, cfg client.Config[*conn]) *client.Pool[*conn] {
	cfg.Connect = b.connect
	pool, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pool.Close(background))
		synctest.Wait()
		_, open := b.counts()
		assert.Zero(t, open, "connections that are still open")
	})
	return pool
}

func get(t *testing.T, pool *client.Pool[*conn]) client.Lease[*conn] {
	t.Helper()
	lease, err := pool.Get(background)
	require.NoError(t, err)
	return lease
}

// result is how a Get ended.
type result struct {
	lease client.Lease[*conn]
	err   error
}

// begin starts a Get on a goroutine of its own. When it returns, the Get has ended
// or waits.
func begin(ctx context.Context, pool *client.Pool[*conn]) <-chan result {
	done := make(chan result, 1)
	go func() {
		lease, err := pool.Get(ctx)
		done <- result{lease, err}
	}()
	synctest.Wait()
	return done
}

// Close does not hang on a sick backend: it fails whoever waits at once, and
// does not wait for a connect that ignores its context.
func TestCloseDoesNotHangOnASickBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		b := &backend{dial: func(context.Context) error { <-hang; return nil }}
		pool := newPool(t, b, client.Config[*conn]{Capacity: 1})
		connecting, queued := begin(background, pool), begin(background, pool)

		start := time.Now()
		require.NoError(t, pool.Close(background))
		assert.Less(t, time.Since(start), time.Second)
		assert.ErrorIs(t, (<-connecting).err, messages.ErrClosed)
		assert.ErrorIs(t, (<-queued).err, messages.ErrClosed)

		close(hang) // the connect succeeds after all
		synctest.Wait()
		assert.True(t, b.conns[0].closed.Load(), "its connection is closed")
	})
}

// Close waits for borrowed connections, but no longer than its context, and says
// who holds them.
func TestCloseWaitsForBorrowedConnectionsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		pool := newPool(t, b, client.Config[*conn]{Capacity: 1})
		lease, err := pool.GetWith(background, client.GetOptions{Label: "report"})
		require.NoError(t, err)

		minute, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		var drain *messages.DrainError
		require.ErrorAs(t, pool.Close(minute), &drain)
		assert.Equal(t, "report", drain.Holders[0].Label)

		require.NoError(t, lease.Put()) // the holder can still finish
		synctest.Wait()
		assert.True(t, b.conns[0].closed.Load())
	})
}

// Capacity that comes free wakes somebody, however it comes free.
func TestCapacityThatComesFreeWakesAWaiter(t *testing.T) {
	for name, free := range map[string]func(b *backend, pool *client.Pool[*conn], held client.Lease[*conn]) error{
		"a return": func(_ *backend, _ *client.Pool[*conn], held client.Lease[*conn]) error { return held.Put() },
		"a taint":  func(_ *backend, _ *client.Pool[*conn], held client.Lease[*conn]) error { return held.Taint(nil) },
		"a raised capacity": func(_ *backend, pool *client.Pool[*conn], _ client.Lease[*conn]) error {
			return pool.SetCapacity(background, 2)
		},
		"revoked leases": func(_ *backend, pool *client.Pool[*conn], _ client.Lease[*conn]) error {
			return pool.Clear(background, client.ClearOptions{Interrupt: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				pool := newPool(t, b, client.Config[*conn]{Capacity: 1})
				held := get(t, pool)
				waiter := begin(background, pool)
				require.Empty(t, waiter)

				require.NoError(t, free(b, pool, held))
				served := <-waiter
				require.NoError(t, served.err)
				require.NoError(t, served.lease.Put())
				_ = held.Put()
			})
		})
	}
}

// Nothing is lost between a grant and a cancel, when both happen at once.
func TestNothingIsLostBetweenAGrantAndACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		pool := newPool(t, b, client.Config[*conn]{Capacity: 1})
		for range 500 {
			held := get(t, pool)
			ctx, cancel := context.WithCancel(background)
			waiter := begin(ctx, pool)
			go cancel()
			require.NoError(t, held.Put())
			if r := <-waiter; r.err == nil {
				require.NoError(t, r.lease.Put())
			} else {
				require.ErrorIs(t, r.err, context.Canceled)
			}
		}
		synctest.Wait()
		assert.Equal(t, 1, pool.Stats().Idle)
		dials, _ := b.counts()
		assert.Equal(t, 1, dials, "it is still the first connection")
	})
}

// Waiters are served in order of arrival; those that have left are skipped.
func TestWaitersAreServedInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, &backend{}, client.Config[*conn]{Capacity: 1})
		held := get(t, pool)
		leaving, leave := context.WithCancel(background)
		first := begin(background, pool)
		second := begin(leaving, pool)
		third := begin(background, pool)
		leave()
		assert.ErrorIs(t, (<-second).err, context.Canceled)

		require.NoError(t, held.Put())
		served := <-first
		require.NoError(t, served.err)
		synctest.Wait()
		require.Empty(t, third)
		require.NoError(t, served.lease.Put())
		served = <-third
		require.NoError(t, served.err)
		require.NoError(t, served.lease.Put())
	})
}

// A lease ends once: a second end is an error, and cannot touch the next holder.
func TestALeaseEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, &backend{}, client.Config[*conn]{Capacity: 1})
		old := get(t, pool)
		require.NoError(t, old.Put())
		next := get(t, pool) // the same connection

		assert.ErrorIs(t, old.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, old.Taint(nil), messages.ErrLeaseEnded)
		assert.Nil(t, old.Conn())
		assert.Equal(t, 1, pool.Stats().Borrowed)
		assert.False(t, next.Conn().closed.Load())
		require.NoError(t, next.Put())
	})
}

// An outage is calm: a failed connect fails one caller, further connects wait for
// the end of a period that doubles, and a connection that comes back is handed on
// meanwhile.
func TestAnOutageIsCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		pool := newPool(t, b, client.Config[*conn]{
			Capacity: 4,
			Backoff:  client.Backoff{Base: time.Second, Cap: time.Hour, Jitter: client.NoJitter},
		})
		held := get(t, pool)
		b.onDial(refuse)
		_, err := pool.Get(background)
		assert.ErrorIs(t, err, errRefused, "the caller whose connect failed is told why")
		assert.EqualValues(t, 1, pool.Stats().Backoffs)

		var waiters []<-chan result
		for range 10 {
			waiters = append(waiters, begin(background, pool))
		}
		dials, _ := b.counts()
		for _, period := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			time.Sleep(period) // one probe at its end fails one waiter
			synctest.Wait()
			dials++
			now, _ := b.counts()
			assert.Equal(t, dials, now)
			assert.ErrorIs(t, (<-waiters[0]).err, errRefused)
			waiters = waiters[1:]
		}
		for _, w := range waiters {
			require.Empty(t, w)
			require.NoError(t, held.Put())
			served := <-w
			require.NoError(t, served.err)
			held = served.lease
		}
		require.NoError(t, held.Put())
	})
}

// User code cannot break the pool: a panic is an error of that connection, and a
// function that hangs is given up.
func TestUserCodeCannotBreakThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		b := &backend{dial: func(context.Context) error { panic("a bug in the driver") }}
		pool := newPool(t, b, client.Config[*conn]{
			Capacity: 1,
			Check:    func(context.Context, *conn) error { <-hang; return nil },
		})
		_, err := pool.Get(background)
		var panicked *messages.PanicError
		require.ErrorAs(t, err, &panicked)
		assert.Equal(t, "a bug in the driver", panicked.Value)

		b.onDial(nil)
		require.NoError(t, get(t, pool).Put())
		time.Sleep(time.Minute) // the next Get checks the idle connection
		lease := get(t, pool)   // the check hangs and is given up
		assert.Equal(t, 2, lease.Conn().id, "a new connection")
		require.NoError(t, lease.Put())
		close(hang)
		synctest.Wait()
	})
}

// Errors explain: how long the wait was, in which place, what the pool looked
// like, and who holds its connections. Explain says so at any time.
func TestErrorsExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, &backend{}, client.Config[*conn]{Name: "orders", Capacity: 1})
		held, err := pool.GetWith(background, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		second, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err = pool.Get(second)
		assert.EqualError(t, err, `actorpool "orders": no connection in 1s: context deadline exceeded `+
			`(capacity 1: 1 borrowed, 1 waiting; longest: "import" for 1s)`)

		explanation, err := pool.Explain(background)
		require.NoError(t, err)
		assert.Equal(t, "import", explanation.Holders[0].Label)
		require.NoError(t, held.Put())
	})
}

// An actor that stops while it holds a connection gives it back.
func TestABorrowerThatStopsGivesBackWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := testkit.QuietSystem()
		b := &backend{}
		pool, err := client.Spawn(system.Root, client.Config[*conn]{
			Connect: b.connect, Capacity: 1, Reset: func(context.Context, *conn) error { return nil },
		})
		require.NoError(t, err)
		borrower := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Request(pool.PID(), &messages.Get{})
			}
		}))
		synctest.Wait()
		assert.Equal(t, 1, pool.Stats().Borrowed)
		waiter := begin(background, pool)
		require.Empty(t, waiter)

		system.Root.Stop(borrower)
		served := <-waiter
		require.NoError(t, served.err)
		assert.Equal(t, 1, served.lease.Conn().id, "the same connection, after a reset")
		require.NoError(t, served.lease.Put())
		require.NoError(t, pool.Close(background))
	})
}

// A lease that was forgotten is found when it is garbage, if LeakAfter is set.
func TestAForgottenLeaseIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, &backend{}, client.Config[*conn]{Capacity: 1, LeakAfter: time.Minute})
		func() { get(t, pool) }() // nobody has the lease any more
		waiter := begin(background, pool)
		for i := 0; len(waiter) == 0 && i < 2000; i++ {
			runtime.GC()
			time.Sleep(time.Second)
		}
		served := <-waiter
		require.NoError(t, served.err)
		assert.Equal(t, 2, served.lease.Conn().id, "the forgotten connection is replaced")
		require.NoError(t, served.lease.Put())
	})
}

// A deadlock is an error, not a hang, for callers that wait with the context of
// what they hold.
func TestADeadlockIsAnErrorAndNotAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, &backend{}, client.Config[*conn]{Capacity: 1})
		err := pool.Do(background, func(ctx context.Context, _ *conn) error {
			_, err := pool.Get(ctx) // waits for the connection that this function holds
			return err
		})
		assert.ErrorIs(t, err, messages.ErrDeadlock)
		assert.Equal(t, 1, pool.Stats().Idle)
	})
}

// There are never more connections than the capacity: one that is being closed
// counts until it is closed.
func TestThereAreNeverMoreConnectionsThanTheCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 3
		var mu sync.Mutex
		var open, most int
		pool, err := client.New(client.Config[*conn]{
			Capacity: capacity,
			Connect: func(context.Context) (*conn, error) {
				mu.Lock()
				defer mu.Unlock()
				open++
				most = max(most, open)
				return new(conn), nil
			},
			Disconnect: func(context.Context, *conn) error {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				open--
				return nil
			},
		})
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 10 * capacity {
			all.Go(func() {
				lease, err := pool.Get(background)
				if assert.NoError(t, err) {
					time.Sleep(time.Second)
					assert.NoError(t, lease.Taint(nil)) // the next needs a new connection
				}
			})
		}
		all.Wait()
		require.NoError(t, pool.Close(background))
		assert.Equal(t, capacity, most)
		assert.Zero(t, open)
	})
}
