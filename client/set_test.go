package client_test

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
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

type (
	testSet    = client.Set[string, *testkit.Conn]
	testSetCfg = client.SetConfig[string, *testkit.Conn]
)

// runSet runs f in virtual time with a set of pools of one server, which must close all it
// has opened.
func runSet(t *testing.T, change func(w *testkit.World, cfg *testSetCfg), f func(t *testing.T, w *testkit.World, s *testSet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		cfg := testSetCfg{Total: 2, New: func(string) testkit.Config {
			cfg := w.Config()
			cfg.Name, cfg.GetTimeout = "", time.Minute
			return cfg
		}}
		if change != nil {
			change(w, &cfg)
		}
		s, err := client.NewSet(cfg)
		require.NoError(t, err)
		t.Cleanup(func() {
			bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			assert.NoError(t, s.Close(bounded))
			synctest.Wait()
			select {
			case <-s.Done():
			default:
				assert.Fail(t, "the set is not done after Close")
			}
			assert.Zero(t, openOf(w))
		})
		f(t, w, s)
	})
}

// openOf is how many connections of a world's server are open.
func openOf(w *testkit.World) int {
	_, opened, closed := w.Server.Counts()
	return opened - closed
}

func getOf(t *testing.T, s *testSet, key string) testkit.Lease {
	t.Helper()
	l, err := s.Get(ctx, key)
	require.NoError(t, err)
	return l
}

// beginGetOf starts a Get and waits until all is quiet.
func beginGetOf(ctx context.Context, s *testSet, key string) *testkit.Getting {
	g := &testkit.Getting{}
	g.Call = testkit.Async(func() (err error) {
		g.Lease, err = s.Get(ctx, key)
		return err
	})
	return g
}

func TestASetMakesAPoolForEachKey(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		assert.Nil(t, s.Pool("a"))
		a, b := getOf(t, s, "a"), getOf(t, s, "b")
		assert.NotSame(t, a.Conn(), b.Conn())
		assert.Equal(t, "set/a", s.Pool("a").Stats().Name)
		testkit.Put(t, a, b)
		again := getOf(t, s, "a")
		assert.Equal(t, 2, w.Server.Dials())
		testkit.Put(t, again)
		keys := map[string]bool{}
		for key, p := range s.Each() {
			keys[key] = true
			assert.Same(t, p.PID(), s.Pool(key).PID())
		}
		assert.Equal(t, map[string]bool{"a": true, "b": true}, keys)
		st := s.Stats()
		assert.Equal(t, "set", st.Name)
		assert.Equal(t, 2, st.Capacity)
		assert.Equal(t, 2, st.Idle)
		assert.EqualValues(t, 3, st.Grants)
	})
}

func TestAnIdleConnectionOfAnotherKeyMakesPlace(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		b := getOf(t, s, "b")
		c := getOf(t, s, "c")
		assert.Equal(t, 2, openOf(w))
		assert.Zero(t, s.Pool("a").Stats().Open)
		testkit.Put(t, b, c)
	})
}

func TestAWaitingKeyGetsTheNextConnectionThatIsReturned(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		a1, a2 := getOf(t, s, "a"), getOf(t, s, "a")
		b := beginGetOf(ctx, s, "b")
		b.Waits(t)
		more := beginGetOf(ctx, s, "a")
		more.Waits(t)
		testkit.Put(t, a1)
		lease := b.Granted(t)
		more.Waits(t)
		testkit.Put(t, a2)
		testkit.Put(t, more.Granted(t), lease)
	})
}

func TestACallerThatHoldsAllAndWaitsInTheSetIsToldSo(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		other := getOf(t, s, "c")
		outer := testkit.Async(func() error {
			return s.Do(ctx, "a", func(ctx context.Context, _ *testkit.Conn) error {
				return s.Do(ctx, "b", doNothing) // waits for other
			})
		})
		outer.Waits(t)
		var inner error
		var took time.Duration
		holder := testkit.Async(func() error {
			var err error
			took = testkit.Elapsed(func() { _, err = s.Get(other.Context(ctx), "a") })
			inner = err
			return other.Put()
		})
		assert.NoError(t, holder.Returned(t))
		assert.ErrorIs(t, inner, messages.ErrDeadlock)
		assert.Zero(t, took)
		assert.NoError(t, outer.Returned(t))
		assert.EqualValues(t, 1, s.Stats().Deadlocks)
	})
}

func TestADoInsideOfADoForTheSameKeyUsesAnotherUnit(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		assert.NoError(t, s.Do(ctx, "a", func(ctx context.Context, _ *testkit.Conn) error {
			return s.Do(ctx, "a", doNothing)
		}))
		var inner error
		assert.NoError(t, s.Do(ctx, "a", func(ctx context.Context, _ *testkit.Conn) error {
			return s.Do(ctx, "b", func(ctx context.Context, _ *testkit.Conn) error {
				inner = s.Do(ctx, "c", doNothing)
				return nil
			})
		}))
		assert.ErrorIs(t, inner, messages.ErrDeadlock)
	})
}

func TestAWaitWithoutALeaseContextEndsByGetTimeout(t *testing.T) {
	runSet(t, func(_ *testkit.World, cfg *testSetCfg) { cfg.Total = 1 }, func(t *testing.T, w *testkit.World, s *testSet) {
		a := getOf(t, s, "a")
		var err error
		assert.Equal(t, time.Minute, testkit.Elapsed(func() { _, err = s.Get(ctx, "b") }))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.Put(t, a)
	})
}

func TestAnUnitMovesOnlyWhenDisconnectHasReturned(t *testing.T) {
	var release chan struct{}
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		release = make(chan struct{})
		cfg.Total = 1
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			c.DisconnectTimeout = 10 * time.Millisecond // it is given up long before it returns
			c.Disconnect = func(_ context.Context, conn *testkit.Conn) error {
				<-release
				return conn.Close()
			}
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		b := beginGetOf(ctx, s, "b")
		testkit.Pass(time.Second)
		b.Waits(t)
		assert.Equal(t, 1, w.Server.Dials())
		assert.Equal(t, 1, s.Stats().GivenUp)
		close(release)
		testkit.Put(t, b.Granted(t))
	})
}

func TestANewThatFailsIsAnErrorOfThatKeyAndIsTriedAnew(t *testing.T) {
	var fault func(c *testkit.Config)
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			if key == "bad" && fault != nil {
				fault(&c)
			}
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		for name, f := range map[string]struct {
			fault func(c *testkit.Config)
			text  string
		}{
			"a panic":       {func(*testkit.Config) { panic("no such tenant") }, "no such tenant"},
			"goexit":        {func(*testkit.Config) { runtime.Goexit() }, "goroutine"},
			"no connect":    {func(c *testkit.Config) { c.Connect = nil }, "Connect"},
			"min idle":      {func(c *testkit.Config) { c.MinIdle = 1 }, "MinIdle"},
			"min open":      {func(c *testkit.Config) { c.MinOpen = 1 }, "MinOpen"},
			"no timeout":    {func(c *testkit.Config) { c.GetTimeout = 0 }, "GetTimeout"},
			"no capacity":   {func(c *testkit.Config) { c.Capacity = client.NoCapacity }, "Capacity"},
			"logger panics": {func(c *testkit.Config) { c.Backoff.Decide = func() bool { panic("decide") } }, "decide"},
		} {
			fault = f.fault
			_, err := s.Get(ctx, "bad")
			var e *messages.KeyError
			require.ErrorAs(t, err, &e, name)
			assert.Equal(t, "bad", e.Key, name)
			assert.ErrorContains(t, err, "key bad", name)
			assert.ErrorContains(t, err, f.text, name)
			assert.Nil(t, s.Pool("bad"), name)
			testkit.Put(t, getOf(t, s, "good"))
			fault = nil
			testkit.Put(t, getOf(t, s, "bad"))
			assert.NoError(t, s.Pool("bad").Close(ctx))
			synctest.Wait()
		}
	})
}

func TestANewThatHangsDelaysItsOwnKeyOnly(t *testing.T) {
	var release chan struct{}
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		release = make(chan struct{})
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			if key == "slow" {
				<-release
			}
			return plain(key)
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		_, err := s.Get(testkit.Within(t, time.Second), "slow")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		slow := beginGetOf(ctx, s, "slow")
		slow.Waits(t)
		testkit.Put(t, getOf(t, s, "other"))
		close(release)
		testkit.Put(t, slow.Granted(t))
	})
}

func TestAPoolThatIsNotUsedIsClosedAfterIdle(t *testing.T) {
	runSet(t, func(_ *testkit.World, cfg *testSetCfg) { cfg.Idle = time.Minute }, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		held := getOf(t, s, "b")
		testkit.Pass(time.Minute - time.Second)
		assert.NotNil(t, s.Pool("a"))
		testkit.Pass(20 * time.Second)
		assert.Nil(t, s.Pool("a"))
		assert.NotNil(t, s.Pool("b"), "a lease is out")
		testkit.Put(t, held)
		testkit.Pass(80 * time.Second)
		assert.Nil(t, s.Pool("b"))
		assert.Zero(t, openOf(w))
		st := s.Stats()
		assert.EqualValues(t, 2, st.Grants, "what closed pools have counted stays")
		assert.Zero(t, st.Open)
		testkit.Put(t, getOf(t, s, "a"))
	})
}

func TestAboveMaxPoolsTheLeastRecentlyUsedIsClosedAndABusyOneNever(t *testing.T) {
	runSet(t, func(_ *testkit.World, cfg *testSetCfg) { cfg.MaxPools, cfg.Total = 2, 5 }, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		testkit.Put(t, getOf(t, s, "b"))
		synctest.Wait() // the era of b is over
		testkit.Put(t, getOf(t, s, "a"))
		c := getOf(t, s, "c")
		assert.NotNil(t, s.Pool("a"))
		assert.Nil(t, s.Pool("b"))
		a := getOf(t, s, "a")
		d := beginGetOf(ctx, s, "d")
		d.Waits(t)
		assert.Equal(t, 1, s.Stats().Waiting)
		var err error
		assert.Equal(t, time.Minute, testkit.Elapsed(func() { _, err = s.Get(ctx, "e") }), "GetTimeout bounds the wait for a place")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		e := beginGetOf(testkit.Within(t, time.Second), s, "e")
		e.Waits(t)
		testkit.Pass(time.Second)
		assert.ErrorIs(t, e.Failed(t), context.DeadlineExceeded)
		testkit.Put(t, c)
		if !d.Ended() {
			t.Fatal("a place is free, and nobody takes it")
		}
		assert.ErrorIs(t, d.Err, context.DeadlineExceeded) // it had waited for a minute
		f := beginGetOf(ctx, s, "f")
		testkit.Put(t, f.Granted(t), a)
	})
}

func TestAGetForAKeyThatIsBeingClosedWaitsForThat(t *testing.T) {
	var release chan struct{}
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		release = make(chan struct{})
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			c.DisconnectTimeout = time.Hour
			c.Disconnect = func(_ context.Context, conn *testkit.Conn) error {
				<-release
				return conn.Close()
			}
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		closing := testkit.Async(func() error { return s.Pool("a").Close(ctx) })
		a := beginGetOf(ctx, s, "a")
		a.Waits(t)
		close(release)
		lease := a.Granted(t)
		assert.NoError(t, closing.Returned(t))
		assert.Equal(t, 2, w.Server.Dials())
		testkit.Put(t, lease)
	})
}

func TestTheSizeOfAPoolOfASetIsTheSets(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		var e *messages.ConfigError
		require.ErrorAs(t, s.Pool("a").SetCapacity(ctx, 10), &e)
		assert.Equal(t, "Capacity", e.Field)
		require.ErrorAs(t, s.Pool("a").SetMinIdle(ctx, 1), &e)
		assert.Equal(t, "MinIdle", e.Field)
		require.NoError(t, s.Pool("a").Ready(ctx))
		assert.NoError(t, s.Close(ctx))
	})
}

func TestTheCapacityInAConfigBoundsItsKey(t *testing.T) {
	runSet(t, func(_ *testkit.World, cfg *testSetCfg) {
		cfg.Total = 5
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			c.Capacity = 2
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		a, b := getOf(t, s, "a"), getOf(t, s, "a")
		c := beginGetOf(ctx, s, "a")
		c.Waits(t)
		other := getOf(t, s, "b")
		c.Waits(t)
		testkit.Put(t, a)
		testkit.Put(t, c.Granted(t), b, other)
	})
}

func TestAKeyWhoseServerIsAwayLeavesItsUnitsToOthers(t *testing.T) {
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		cfg.Total = 1
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			if key == "down" {
				c.Connect = func(context.Context) (*testkit.Conn, error) { return nil, errors.New("connection refused") }
			}
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		var down []*testkit.Getting
		for range 5 {
			down = append(down, beginGetOf(ctx, s, "down"))
		}
		for range 20 {
			testkit.Put(t, getOf(t, s, "up"))
			testkit.Pass(time.Second)
		}
		testkit.Pass(time.Hour)
		for _, g := range down {
			assert.ErrorIs(t, g.Failed(t), messages.ErrConnectFailed)
		}
	})
}

func TestBadKeysAndBadContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		s, err := client.NewSet(client.SetConfig[any, *testkit.Conn]{Total: 1, New: func(any) testkit.Config {
			cfg := w.Config()
			cfg.GetTimeout = time.Second
			return cfg
		}})
		require.NoError(t, err)
		for _, key := range []any{math.NaN(), []int{1}, [1]any{math.NaN()}, struct{ f any }{[]int{1}}} {
			_, err := s.Get(ctx, key)
			var e *messages.ConfigError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "key", e.Field)
			assert.Nil(t, s.Pool(key))
			_, ok := s.TryGet(key)
			assert.False(t, ok)
		}
		_, err = s.Get(nil, "a") //nolint:staticcheck // that is the test
		assert.ErrorIs(t, err, messages.ErrNilContext)
		assert.ErrorIs(t, s.Close(nil), messages.ErrNilContext) //nolint:staticcheck // that is the test
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.Get(ended, "a")
		assert.ErrorIs(t, err, context.Canceled)
		lease, err := s.Get(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, lease.Put())
		require.NoError(t, s.Close(ctx))
		_, err = s.Get(ctx, "a")
		assert.ErrorIs(t, err, messages.ErrClosed)
		_, err = s.Get(ctx, nil)
		assert.ErrorIs(t, err, messages.ErrClosed)
		_, ok := s.TryGet(nil)
		assert.False(t, ok)
		assert.NoError(t, s.Close(ctx))
		assert.Equal(t, messages.StateClosed, s.Stats().State)
		_, err = s.Measure(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		for range s.Each() {
			assert.Fail(t, "there is no pool after Close")
		}
	})
}

func TestAnInvalidSetConfigNamesItsFaults(t *testing.T) {
	_, err := client.NewSet(client.SetConfig[string, *testkit.Conn]{MaxPools: -1, Idle: 30})
	var faults messages.ConfigErrors
	require.ErrorAs(t, err, &faults)
	var fields []string
	for _, f := range faults {
		fields = append(fields, f.Field)
	}
	assert.Equal(t, []string{"New", "Total", "MaxPools", "Idle"}, fields)
	_, err = client.NewSet(client.SetConfig[string, *testkit.Conn]{New: func(string) testkit.Config { return testkit.Config{} }, Total: -3, Idle: -1})
	assert.ErrorContains(t, err, "Total: -3 is not positive")
	assert.ErrorContains(t, err, "Idle: -1ns is negative")
}

func TestCloseOfASetEndsWaitsAndTellsWhoHoldsConnections(t *testing.T) {
	runSet(t, func(_ *testkit.World, cfg *testSetCfg) { cfg.MaxPools = 2 }, func(t *testing.T, w *testkit.World, s *testSet) {
		a, b := getOf(t, s, "a"), getOf(t, s, "b")
		queued, placeless := beginGetOf(ctx, s, "a"), beginGetOf(ctx, s, "c")
		err := s.Close(testkit.Within(t, time.Second))
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, queued.Failed(t), messages.ErrClosed)
		assert.ErrorIs(t, placeless.Failed(t), messages.ErrClosed)
		testkit.Put(t, a, b)
	})
}

// Callers of many keys take, keep and return connections at random, some of them leave, and
// pools are closed meanwhile. There are never more connections than Total, and all callers
// end.
func TestASetUnderAStorm(t *testing.T) {
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		cfg.Total, cfg.MaxPools, cfg.Idle = 3, 6, 40*time.Millisecond
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		var callers sync.WaitGroup
		var most, served atomic.Int64
		for i := range 24 {
			callers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 1))
				for range 30 {
					key := strconv.Itoa(random.IntN(1 + random.IntN(10)))
					bounded, cancel := context.WithTimeout(ctx, time.Duration(5+random.IntN(500))*time.Millisecond)
					err := s.Do(bounded, key, func(ctx context.Context, _ *testkit.Conn) error {
						served.Add(1)
						n := int64(openOf(w))
						for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
						}
						time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
						switch random.IntN(8) {
						case 0:
							return io.EOF // the connection is closed
						case 1:
							nested, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
							defer cancel()
							return s.Do(nested, "x"+key, doNothing)
						case 2:
							if p := s.Pool(key); p != nil && random.IntN(4) == 0 {
								go func() { _ = p.Close(context.Background()) }()
							}
						}
						return nil
					})
					cancel()
					_ = err
				}
			})
		}
		callers.Wait()
		assert.LessOrEqual(t, most.Load(), int64(3))
		assert.Greater(t, served.Load(), int64(100))
		for i := range 10 { // everything still works
			testkit.Put(t, getOf(t, s, strconv.Itoa(i)))
		}
		st := s.Stats()
		assert.Zero(t, st.Waiting)
		assert.Zero(t, st.Borrowed)
	})
}
