package client_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// P12
func TestAHijackedConnectionIsItsHoldersForEver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(testkit.Capacity(1), j.Listen, func(cfg *testkit.Config) { cfg.MaxLease = time.Minute })
		l := testkit.Get(t, p)
		waiting := testkit.BeginGet(ctx, p)
		conn, err := l.Hijack()
		require.NoError(t, err)
		assert.Same(t, w.Server.Conn(1), conn)
		next := waiting.Granted(t) // its place is free
		assert.Same(t, w.Server.Conn(2), next.Conn())

		for range 2 {
			again, err := l.Hijack()
			assert.Nil(t, again)
			require.ErrorIs(t, err, messages.ErrLeaseEnded)
			require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
			require.ErrorIs(t, l.Taint(nil), messages.ErrLeaseEnded)
			assert.Nil(t, l.Conn())
		}
		testkit.Put(t, next)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		testkit.Pass(time.Hour)
		st := p.Stats()
		assert.EqualValues(t, 1, st.Hijacks)
		testkit.Consistent(t, st)
		testkit.Close(t, p)
		assert.Zero(t, conn.Closes(), "neither Clear nor MaxLease nor Close closes it")
		require.NoError(t, conn.Close())

		gone := slices.DeleteFunc(j.Of(messages.ConnectionClosed), func(e messages.Event) bool { return e.Reason != messages.ReasonHijacked })
		require.Len(t, gone, 1)
		assert.EqualValues(t, 1, gone[0].ConnID)
	})
}

// P12
func TestALeaseCanBeHijackedWhileThePoolCloses(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Get(t, p)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		closing.Waits(t)
		conn, err := l.Hijack()
		require.NoError(t, err)
		require.NoError(t, closing.Returned(t), "nothing is left to wait for")
		assert.Zero(t, conn.Closes())
		require.NoError(t, conn.Close())
		_, err = l.Hijack()
		require.ErrorIs(t, err, messages.ErrLeaseEnded)
	})
}

// P12: the holder, the pool and somebody who stops the connector may all end a lease at
// once. One of them succeeds, and the connection has one owner.
func TestOfHijackPutAndTheEndOfThePoolOneSucceeds(t *testing.T) {
	for range 50 {
		testkit.Run(t, func(t *testing.T, w *testkit.World) {
			p := w.Spawn(w.Config(testkit.Capacity(1)))
			l := testkit.Get(t, p)
			conn := l.Conn()
			put := testkit.Async(l.Put)
			stop := testkit.Async(func() error { w.System.Root.Stop(p.PID()); return nil })
			kept, err := l.Hijack()
			synctest.Wait()
			require.NoError(t, stop.Returned(t))
			putErr := put.Returned(t)
			testkit.Pass(time.Second)
			if err == nil {
				require.ErrorIs(t, putErr, messages.ErrLeaseEnded)
				assert.Same(t, conn, kept)
				assert.Zero(t, conn.Closes())
				require.NoError(t, conn.Close())
				return
			}
			require.ErrorIs(t, err, messages.ErrLeaseEnded)
			assert.Equal(t, 1, conn.Closes())
		})
	}
}

// L21
func TestAConnectionIsClosedAfterMaxUses(t *testing.T) {
	for name, put := range map[string]func(*testing.T, *testkit.Pool, testkit.Lease){
		"by Put": func(t *testing.T, _ *testkit.Pool, l testkit.Lease) { testkit.Put(t, l) },
		"while one waits": func(t *testing.T, p *testkit.Pool, l testkit.Lease) {
			g := testkit.BeginGet(ctx, p)
			g.Waits(t)
			testkit.Put(t, l)
			testkit.Put(t, g.Granted(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var j testkit.Journal
				p := w.Pool(testkit.Capacity(1), j.Listen, func(cfg *testkit.Config) { cfg.MaxUses = 3 })
				for p.Stats().Puts < 12 {
					put(t, p, testkit.Get(t, p))
				}
				synctest.Wait()
				st := p.Stats()
				assert.EqualValues(t, 4, st.ClosedUses)
				assert.EqualValues(t, 4, st.Connects)
				for _, e := range j.Of(messages.ConnectionClosed) {
					assert.Equal(t, messages.ReasonUses, e.Reason)
				}
			})
		})
	}
}

// E8
func TestALeaseSaysHowItCameByItsConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.Check = func(ctx context.Context, _ *testkit.Conn) error { return testkit.Sleep(ctx, time.Millisecond) }
			cfg.Apply = func(ctx context.Context, _ *testkit.Conn, _ any) error { return testkit.Sleep(ctx, time.Millisecond) }
		})
		a := testkit.Get(t, p)
		assert.Equal(t, client.LeaseInfo{ConnID: 1, Wait: time.Second, Path: messages.PathNew, Uses: 1}, a.Info())
		g := testkit.BeginGet(ctx, p)
		testkit.Pass(2 * time.Second)
		testkit.Put(t, a)
		b := g.Granted(t)
		assert.Zero(t, a.Info(), "it has ended")
		assert.Equal(t, client.LeaseInfo{ConnID: 1, Wait: 2 * time.Second, Path: messages.PathQueued, Uses: 2, Age: 2 * time.Second}, b.Info())
		testkit.Put(t, b)
		testkit.Pass(time.Minute)
		c := testkit.Get(t, p)
		assert.Equal(t, messages.PathChecked, c.Info().Path)
		assert.Equal(t, time.Minute, c.Info().Idle)
		testkit.Put(t, c)
		d, err := p.GetWith(ctx, client.GetOptions{Setting: "red"})
		require.NoError(t, err)
		assert.Equal(t, messages.PathPrepared, d.Info().Path)
		assert.Equal(t, "red", d.Info().Setting)
		testkit.Put(t, d)
		testkit.Pass(100 * time.Millisecond)
		e, err := p.GetWith(ctx, client.GetOptions{Setting: "red"})
		require.NoError(t, err)
		assert.Equal(t, messages.PathIdle, e.Info().Path)
		assert.InDelta(t, 100*time.Millisecond, e.Info().Idle, float64(20*time.Millisecond), "the clock may be coarse")
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		assert.Zero(t, e.Info().Generation)
		testkit.Put(t, e)
		f := testkit.Get(t, p)
		assert.EqualValues(t, 1, f.Info().Generation)
		testkit.Put(t, f)
		testkit.Close(t, p)
		assert.Zero(t, f.Info())
	})
}

// P13
func TestTryGetAllLendsEverythingThatIsIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) {
			cfg.MaxUses = 1
			cfg.LeakAfter = time.Hour
		})
		testkit.Fill(t, p, 0)
		require.NoError(t, p.Warm(ctx, 3))
		held := testkit.Get(t, p)
		for range 5 {
			all := p.TryGetAll()
			require.Len(t, all, 2)
			testkit.AssertCounts(t, p, 3, 0, 0)
			assert.Empty(t, p.TryGetAll())
			testkit.Put(t, all...)
		}
		testkit.Put(t, held)
		synctest.Wait()
		assert.EqualValues(t, 1, p.Stats().ClosedUses, "that was no use of the others")
		require.NoError(t, p.Suspend(ctx))
		assert.Empty(t, p.TryGetAll())
		testkit.Close(t, p)
		assert.Empty(t, p.TryGetAll())
	})
}

// L20
func TestEachVisitsEveryConnectionOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4))
		require.NoError(t, p.Warm(ctx, 3))
		held := testkit.Get(t, p)
		var seen []*testkit.Conn
		each := testkit.Async(func() error {
			return p.Each(ctx, func(ctx context.Context, conn *testkit.Conn) error {
				seen = append(seen, conn)
				return testkit.Sleep(ctx, time.Second)
			})
		})
		testkit.Pass(500 * time.Millisecond)
		testkit.AssertCounts(t, p, 2, 1, 0) // the others can be lent meanwhile
		testkit.Pass(10 * time.Second)
		each.Waits(t) // for the one that is borrowed
		assert.Len(t, seen, 2)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, g.Granted(t))
		conn := held.Conn()
		testkit.Put(t, held)
		testkit.Pass(2 * time.Second)
		require.NoError(t, each.Returned(t))
		assert.Same(t, conn, seen[2])
		assert.ElementsMatch(t, []*testkit.Conn{w.Server.Conn(1), w.Server.Conn(2), w.Server.Conn(3)}, seen)
		testkit.Consistent(t, p.Stats())
	})
}

// L20
func TestAConnectionThatFailsInEachIsClosedAndTheOthersAreVisited(t *testing.T) {
	boom := errors.New("boom,\nin two lines")
	for name, c := range map[string]struct {
		f     func(context.Context, *testkit.Conn) error
		visit int // how many connections are visited, of three
	}{
		"an error":            {func(context.Context, *testkit.Conn) error { return boom }, 3},
		"a panic":             {func(context.Context, *testkit.Conn) error { panic(boom) }, 1},
		"the goroutine's end": {func(context.Context, *testkit.Conn) error { runtime.Goexit(); return nil }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(3))
				require.NoError(t, p.Warm(ctx, 3))
				visited := 0
				err := errors.New("it has not returned")
				done := make(chan any, 1)
				go func() {
					defer func() { done <- recover() }()
					err = p.Each(ctx, func(ctx context.Context, conn *testkit.Conn) error {
						visited++
						return c.f(ctx, conn)
					})
				}()
				panicked := <-done
				assert.Equal(t, c.visit, visited)
				if c.visit == 3 {
					require.ErrorIs(t, err, boom)
					assert.Equal(t, 3, strings.Count(err.Error(), "boom"))
					assert.NotContains(t, err.Error(), "\n")
				}
				assert.Equal(t, name == "a panic", panicked != nil)
				testkit.AssertCounts(t, p, 0, 3-c.visit, 0)
				assert.EqualValues(t, c.visit, p.Stats().ClosedBroken)
				require.NoError(t, p.Each(ctx, func(context.Context, *testkit.Conn) error { return nil }), "another visit")
			})
		})
	}
}

// L20
func TestEachEndsWithItsContextAndWithThePool(t *testing.T) {
	nothing := func(context.Context, *testkit.Conn) error { return nil }
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		require.ErrorIs(t, p.Each(testkit.Within(t, time.Second), nothing), context.DeadlineExceeded)
		require.ErrorIs(t, p.Each(nil, nothing), messages.ErrNilContext) //nolint:staticcheck // that is the question
		require.ErrorAs(t, p.Each(ctx, nil), new(*messages.ConfigError))
		each := testkit.Async(func() error { return p.Each(ctx, nothing) })
		each.Waits(t)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		require.ErrorIs(t, each.Returned(t), messages.ErrClosed)
		testkit.Put(t, l)
		require.NoError(t, closing.Returned(t))
		require.ErrorIs(t, p.Each(ctx, nothing), messages.ErrClosed)
	})
	testkit.Run(t, func(t *testing.T, w *testkit.World) { // the pool's actor is stopped
		p := w.Spawn(w.Config(testkit.Capacity(1)))
		_ = testkit.Get(t, p)
		each := testkit.Async(func() error { return p.Each(ctx, nothing) })
		each.Waits(t)
		w.System.Root.Stop(p.PID())
		require.ErrorIs(t, each.Returned(t), messages.ErrClosed)
	})
}

// L18
func TestMinOpenConnectionsStandAndIdleTimeoutStopsThere(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) { cfg.MinOpen, cfg.IdleTimeout = 2, time.Minute })
		synctest.Wait()
		testkit.AssertCounts(t, p, 0, 2, 0)
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		testkit.Pass(time.Hour)
		testkit.AssertCounts(t, p, 2, 0, 0) // with MinIdle there were more
		c := testkit.Get(t, p)
		testkit.Put(t, a, b, c)
		testkit.Pass(time.Hour)
		testkit.AssertCounts(t, p, 0, 2, 0)
		require.NoError(t, testkit.Get(t, p).Taint(nil))
		testkit.Pass(time.Second)
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

// L18, L19
func TestWarmAndSetMinIdleRefuseImpossibleNumbers(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) { cfg.MaxIdle = 3 })
		for n, reason := range map[int]string{-1: "-1 is negative", 4: "4 is above MaxIdle, 3", 5: "5 is above Capacity, 4"} {
			require.ErrorContains(t, p.Warm(ctx, n), reason)
			require.ErrorContains(t, p.SetMinIdle(ctx, n), reason)
			require.ErrorAs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Warm{Connections: n}).Err, new(*messages.ConfigError))
			require.ErrorAs(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetMinIdle{MinIdle: n}).Err, new(*messages.ConfigError))
		}
		require.NoError(t, p.Warm(ctx, 0))
		assert.Zero(t, w.Server.Dials())
		require.NoError(t, p.Warm(ctx, 2))
		assert.Equal(t, 2, w.Server.Dials())
		require.NoError(t, p.SetMinIdle(ctx, 3))
		synctest.Wait()
		testkit.AssertCounts(t, p, 0, 3, 0)
		st := p.Stats()
		assert.Equal(t, 3, st.MinIdle)
		assert.Equal(t, 3, st.MaxIdle)
		testkit.Close(t, p)
		require.ErrorIs(t, p.Warm(ctx, 1), messages.ErrClosed)
		require.ErrorIs(t, p.SetMinIdle(ctx, 1), messages.ErrClosed)
	})
}

// L19
func TestWarmEndsWithTheFirstErrorOfAConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(testkit.Capacity(4))
		err := p.Warm(ctx, 2)
		require.ErrorIs(t, err, testkit.ErrRefused)
		require.ErrorAs(t, err, new(*messages.GetError))
		synctest.Wait() // for the other connect
		st := p.Stats()
		require.ErrorIs(t, st.LastConnectError, testkit.ErrRefused)
		assert.True(t, st.NextAttempt.After(time.Now()), "in the blocking period")
		w.Server.SetDial(testkit.Accept)
		require.NoError(t, p.Warm(ctx, 2))
		st = p.Stats()
		require.NoError(t, st.LastConnectError)
		assert.Zero(t, st.NextAttempt)
	})
}

// E8
func TestGrantedWaitsAndGivenUpAreCounted(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Spawn(w.Config(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.ConnectTimeout = time.Second }))
		l := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := p.Get(bounded)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.Put(t, l)
		testkit.Put(t, g.Granted(t))
		st := p.Stats()
		assert.EqualValues(t, 3, st.Waits, "for a connect, in vain, and for a return")
		assert.EqualValues(t, 2, st.GrantedWaits)
		assert.Equal(t, time.Second, st.WaitTime)
		w.Server.SetDial(testkit.IgnoreContext(release))
		require.NoError(t, testkit.Get(t, p).Taint(nil))
		hung := testkit.BeginGet(ctx, p)
		testkit.Pass(2 * time.Second)
		assert.Equal(t, 1, p.Stats().GivenUp)
		w.Server.SetDial(testkit.Accept)
		close(release)
		testkit.Pass(time.Hour)
		assert.Zero(t, p.Stats().GivenUp)
		_ = hung.Failed(t)
		w.CloseAndCheck(p)
	})
}

// E7
func TestChangedTellsThatCountsOrWaitersHaveChanged(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		changed := p.Changed()
		told := func() bool {
			synctest.Wait()
			select {
			case <-changed:
				return true
			default:
				return false
			}
		}
		assert.False(t, told())
		l := testkit.Get(t, p)
		assert.True(t, told(), "a connection is open")
		assert.False(t, told(), "several changes are one")
		testkit.Put(t, l)
		l = testkit.Get(t, p)
		assert.False(t, told(), "it counts, whoever has it")
		g := testkit.BeginGet(ctx, p)
		assert.True(t, told(), "one waits")
		testkit.Put(t, l)
		assert.True(t, told(), "and waits no more")
		testkit.Put(t, g.Granted(t))
		assert.False(t, told())
		require.NoError(t, p.SetCapacity(ctx, 2))
		assert.True(t, told(), "the capacity")
		assert.Equal(t, changed, p.Changed())
		testkit.Close(t, p)
		assert.True(t, told(), "the end")
		assert.False(t, told())
	})
}

// L20, T4: a context or an error of the user that misbehaves costs its own caller, and no
// connection.
func TestEachLosesNoConnectionToCodeOfTheUser(t *testing.T) {
	for name, c := range map[string]struct {
		ctx func(*testing.T) context.Context
		err error
	}{
		"Err panics when the visit is granted": {ctx: func(t *testing.T) context.Context {
			endable, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			return &badContext{Context: endable, panics: true}
		}},
		"Err blocks": {ctx: func(t *testing.T) context.Context {
			return &badContext{Context: testkit.Within(t, time.Second), takes: time.Hour}
		}},
		"Is of an error ends the goroutine": {ctx: func(*testing.T) context.Context { return ctx }, err: goexitError{}},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1))
				l, visiting := testkit.Get(t, p), c.ctx(t)
				go func() {
					defer func() { _ = recover() }()
					_ = p.Each(visiting, func(context.Context, *testkit.Conn) error { return c.err })
				}()
				testkit.Pass(2 * time.Second)
				testkit.Put(t, l)
				testkit.Pass(time.Second)
				testkit.AssertCounts(t, p, 0, p.Stats().Idle, 0)
				testkit.Put(t, testkit.Get(t, p))
				testkit.Pass(2 * time.Hour)
			})
		})
	}
}

// badContext is a context whose Err panics or takes long.
type badContext struct {
	context.Context
	panics bool
	takes  time.Duration
}

func (c *badContext) Err() error {
	if c.panics {
		panic("Err")
	}
	time.Sleep(c.takes)
	return c.Context.Err()
}

// goexitError is an error whose Is ends the goroutine.
type goexitError struct{}

func (goexitError) Error() string { return "goexit" }
func (goexitError) Is(error) bool { runtime.Goexit(); return false }

// L20
func TestEachSaysThatThePoolHasEndedALease(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.MaxLease = time.Second })
		require.NoError(t, p.Warm(ctx, 2))
		visits := 0
		err := p.Each(ctx, func(ctx context.Context, _ *testkit.Conn) error {
			visits++
			return testkit.Sleep(ctx, time.Duration(visits)*700*time.Millisecond) // the second for too long
		})
		assert.Equal(t, 2, visits)
		require.ErrorIs(t, err, messages.ErrLeaseEnded)
	})
}

// L20
func TestEachWithAContextThatHasEndedVisitsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for range 100 {
			require.ErrorIs(t, p.Each(ended, func(context.Context, *testkit.Conn) error { return nil }), context.Canceled)
		}
		testkit.Close(t, p)
	})
}

// E7: lending a connection makes MinIdle open another.
func TestAGetThatMakesThePoolConnectIsAChange(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.MinIdle = 1 })
		synctest.Wait()
		w.Server.SetDial(testkit.Delay(time.Hour))
		changed := p.Changed()
		synctest.Wait()
		l := testkit.Get(t, p)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("a connect has begun, and nothing is told")
		}
		testkit.Put(t, l)
	})
}

// L6, L19
func TestWarmOfASuspendedPoolWaitsForResume(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		require.NoError(t, p.Suspend(ctx))
		for _, wait := range []func(context.Context) error{p.Ready, func(ctx context.Context) error { return p.Warm(ctx, 1) }} {
			err := wait(testkit.Within(t, time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, messages.ErrSuspended)
		}
		warm := testkit.Async(func() error { return p.Warm(ctx, 1) })
		warm.Waits(t)
		require.NoError(t, p.Resume(ctx))
		require.NoError(t, warm.Returned(t))
	})
}
