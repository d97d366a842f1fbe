package client_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func doNothing(context.Context, *testkit.Conn) error { return nil }

// getLabelled borrows with a label.
func getLabelled(t *testing.T, ctx context.Context, p *testkit.Pool, label string) testkit.Lease {
	t.Helper()
	l, err := p.GetWith(ctx, client.GetOptions{Label: label})
	require.NoError(t, err)
	return l
}

func TestADoInsideOfADoIsToldThatItWouldWaitForItself(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		testkit.Fill(t, p, 1)
		var inner error
		took := testkit.Elapsed(func() {
			assert.NoError(t, p.DoWith(ctx, client.GetOptions{Label: "outer"}, func(ctx context.Context, c *testkit.Conn) error {
				inner = p.DoWith(ctx, client.GetOptions{Label: "inner"}, doNothing)
				assert.Zero(t, c.Closes())
				return nil
			}))
		})
		assert.Zero(t, took)
		require.ErrorIs(t, inner, messages.ErrDeadlock)
		var e *messages.DeadlockError
		require.ErrorAs(t, inner, &e)
		assert.Equal(t, []messages.Holder{{ConnID: 1, Label: "outer", Waits: true, WaitsFor: "inner"}}, e.Cycle)
		var g *messages.GetError
		require.ErrorAs(t, inner, &g)
		assert.Equal(t, 1, g.Position)
		assert.ErrorContains(t, inner, `deadlock: every holder of a connection waits for another one; the newest: "outer" (connection 1)`)
		assert.Contains(t, fmt.Sprintf("%+v", inner), `"outer" (connection 1, 0s) waits for another ("inner")`)
		assert.Equal(t, 1, strings.Count(inner.Error(), "outer"), "the holder is named once")
		assert.EqualValues(t, 1, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 1, 0)
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestTheErrorOfADeadlockDoesNotCondemnTheConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		assert.ErrorIs(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return p.Do(ctx, doNothing) }), messages.ErrDeadlock)
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

func TestOfTwoCallersThatWaitForEachOtherOneFails(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		var both sync.WaitGroup
		both.Add(2)
		var inner [2]error
		nested := func(i int) *testkit.Call {
			return testkit.Async(func() error {
				return p.DoWith(ctx, client.GetOptions{Label: "outer " + strconv.Itoa(i)}, func(ctx context.Context, _ *testkit.Conn) error {
					both.Done()
					both.Wait()
					inner[i] = p.DoWith(ctx, client.GetOptions{Label: "inner " + strconv.Itoa(i)}, doNothing)
					return nil
				})
			})
		}
		took := testkit.Elapsed(func() {
			a, b := nested(0), nested(1)
			assert.NoError(t, a.Returned(t))
			assert.NoError(t, b.Returned(t))
		})
		assert.Zero(t, took)
		told, served := inner[0], inner[1]
		if told == nil {
			told, served = served, told
		}
		assert.NoError(t, served)
		require.ErrorIs(t, told, messages.ErrDeadlock)
		for _, label := range []string{"outer 0", "outer 1", "inner 0", "inner 1"} {
			assert.Contains(t, fmt.Sprintf("%+v", told), label)
		}
		var e *messages.DeadlockError
		require.ErrorAs(t, told, &e)
		assert.Len(t, e.Cycle, 2)
		assert.EqualValues(t, 1, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

func TestManyCallersThatNestGetsGoOn(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4))
		calls := make([]*testkit.Call, 20)
		for i := range calls {
			calls[i] = testkit.Async(func() error {
				for range 10 {
					err := p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
						time.Sleep(time.Millisecond)
						return p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { time.Sleep(time.Millisecond); return nil })
					})
					if err != nil && !errors.Is(err, messages.ErrDeadlock) {
						return err
					}
				}
				return nil
			})
		}
		time.Sleep(time.Minute)
		for i := range calls {
			assert.NoError(t, calls[i].Returned(t))
		}
		assert.NotZero(t, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 4, 0)
	})
}

func TestTheContextOfALeaseWithoutAContextIsNone(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Get(t, p)
		var none context.Context
		_, err := p.Get(l.Context(none))
		assert.ErrorIs(t, err, messages.ErrNilContext)
		assert.Equal(t, ctx, testkit.Lease{}.Context(ctx), "nor does the zero lease add anything")
		testkit.Put(t, l)
	})
}

func TestTheContextOfALeaseAndWhatIsDerivedFromItSaysWhoHolds(t *testing.T) {
	type key struct{}
	for name, derive := range map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"itself": func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} },
		"with a value": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithValue(ctx, key{}, 1), func() {}
		},
		"with cancel": context.WithCancel,
		"with a bound": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		},
		"without cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithoutCancel(ctx), func() {}
		},
		"with all of them": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(context.WithValue(ctx, key{}, 1))
			ctx, stop := context.WithTimeout(ctx, time.Hour)
			return ctx, func() { stop(); cancel(nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(2))
				a := getLabelled(t, ctx, p, "first")
				b := getLabelled(t, a.Context(ctx), p, "second")
				derived, cancel := derive(b.Context(a.Context(ctx)))
				defer cancel()
				assert.Zero(t, testkit.Elapsed(func() {
					_, err := p.Get(derived)
					assert.ErrorIs(t, err, messages.ErrDeadlock)
					assert.Contains(t, fmt.Sprintf("%+v", err), "first")
					assert.ErrorContains(t, err, "second")
				}))
				testkit.Put(t, b)
				c, err := p.Get(derived)
				require.NoError(t, err, "a lease that has ended is not held")
				testkit.Put(t, a, c)
			})
		})
	}
}

func TestTheContextOfNoLeaseSaysNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		assert.Equal(t, ctx, testkit.Lease{}.Context(ctx))
		held := testkit.Get(t, p)
		_, err := p.Get(testkit.Lease{}.Context(testkit.Within(t, time.Second)))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.Put(t, held)

		ended := testkit.Get(t, p)
		testkit.Put(t, ended)
		held = testkit.Get(t, p)
		g := testkit.BeginGet(ended.Context(ctx), p)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
		assert.Zero(t, p.Stats().Deadlocks)
	})
}

func TestAWaiterWithoutTheContextOfItsLeaseIsSuspected(t *testing.T) {
	for name, change := range map[string]func(*testkit.Config){
		"without LeakAfter": func(*testkit.Config) {}, "with LeakAfter": testkit.LeakAfter(time.Hour),
		"with LeakGoroutines": func(cfg *testkit.Config) { cfg.LeakAfter, cfg.LeakGoroutines = time.Hour, true },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1), change)
				traced := name == "with LeakGoroutines"
				var number uint64
				nested := testkit.Async(func() error {
					number = goroutine(t)
					return p.DoWith(ctx, client.GetOptions{Label: "outer"}, func(context.Context, *testkit.Conn) error {
						bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
						defer cancel()
						_, err := p.GetWith(bounded, client.GetOptions{Label: "inner"})
						assert.ErrorIs(t, err, context.DeadlineExceeded)
						assert.NotErrorIs(t, err, messages.ErrDeadlock)
						assert.ErrorContains(t, err, `longest: "outer" for 1m0s`)
						return nil
					})
				})
				time.Sleep(30 * time.Second)
				nested.Waits(t)
				e, err := p.Explain(ctx)
				require.NoError(t, err)
				require.Len(t, e.Holders, 1)
				require.Len(t, e.Waiters, 1)
				said := strings.Join(e.Suspicions, "\n")
				assert.Contains(t, said, "every connection is out, and none has come back in the 30s since the first in the queue began to wait")
				if traced {
					assert.Contains(t, said, "goroutine "+strconv.FormatUint(number, 10)+" got connection 1 and waits for another")
					assert.Equal(t, [2]uint64{number, number}, [2]uint64{e.Holders[0].Goroutine, e.Waiters[0].Goroutine})
					assert.Contains(t, e.Waiters[0].Stack, "TestAWaiterWithoutTheContextOfItsLeaseIsSuspected")
				} else {
					assert.Len(t, e.Suspicions, 1)
					assert.Zero(t, e.Waiters[0].Goroutine)
				}
				assert.Contains(t, e.String(), "suspicions:\n  ")
				time.Sleep(30 * time.Second)
				assert.NoError(t, nested.Returned(t))
				assert.Zero(t, p.Stats().Deadlocks)
				testkit.AssertCounts(t, p, 0, 1, 0)
			})
		})
	}
}

func TestOneWhoHoldsAndWaitsIsNoDeadlockWhileAnotherCanReturn(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		other := testkit.Get(t, p) // its holder waits for nothing
		nested := testkit.Async(func() error {
			return p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return p.Do(ctx, doNothing) })
		})
		time.Sleep(time.Hour)
		nested.Waits(t)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 2)
		assert.Equal(t, []uint64{2}, e.Waiters[0].Holds)
		assert.True(t, e.Holders[1].Waits)
		assert.False(t, e.Holders[0].Waits)
		testkit.Put(t, other)
		assert.NoError(t, nested.Returned(t))
		assert.Zero(t, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

func TestWhatIsUnderWayIsNoDeadlock(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		l := testkit.CountedReset{Duration: time.Second}
		p := w.Pool(testkit.Capacity(2), l.Configure)
		w.Server.SetDial(testkit.Delay(time.Second))
		nested := func() *testkit.Call {
			return testkit.Async(func() error {
				return p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return p.Do(ctx, doNothing) })
			})
		}
		first := nested() // the second connection is opened for it
		time.Sleep(time.Second)
		first.Waits(t)
		time.Sleep(time.Second)
		assert.NoError(t, first.Returned(t))
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 2, 0)

		other := testkit.Get(t, p)
		second := nested()
		testkit.Put(t, other)
		second.Waits(t) // it is reset
		time.Sleep(time.Second)
		assert.NoError(t, second.Returned(t))
		time.Sleep(time.Second)

		other = testkit.Get(t, p)
		third := nested()
		require.NoError(t, other.Taint(nil))
		third.Waits(t) // it is closed and replaced
		time.Sleep(time.Second)
		assert.NoError(t, third.Returned(t))
		time.Sleep(time.Second)
		assert.Zero(t, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

func TestADeadlockCanComeAboutLater(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		for _, begins := range []func(other testkit.Lease){
			func(other testkit.Lease) { // the connection that would come back is closed, and the capacity allows no other
				shrinking := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
				testkit.Put(t, other)
				assert.NoError(t, shrinking.Returned(t))
			},
			func(other testkit.Lease) { // the only other holder waits as well
				_, err := p.Get(other.Context(testkit.Within(t, time.Minute)))
				assert.ErrorIs(t, err, messages.ErrDeadlock, "the newest wait fails")
				testkit.Put(t, other)
			},
		} {
			require.NoError(t, p.SetCapacity(ctx, 2))
			other, own := testkit.Get(t, p), testkit.Get(t, p)
			g := testkit.BeginGet(own.Context(ctx), p)
			g.Waits(t)
			begins(other)
			if err := g.Returned(t); err != nil {
				assert.ErrorIs(t, err, messages.ErrDeadlock)
			} else {
				testkit.Put(t, g.Lease)
			}
			testkit.Put(t, own)
		}
		assert.EqualValues(t, 2, p.Stats().Deadlocks)
	})
}

func TestADeadlockUnderSuspensionIsToldAtItsEnd(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		own := testkit.Get(t, p)
		require.NoError(t, p.Suspend(ctx))
		g := testkit.BeginGet(own.Context(ctx), p)
		time.Sleep(time.Minute)
		g.Waits(t)
		require.NoError(t, p.Resume(ctx))
		err := g.Failed(t)
		var e *messages.DeadlockError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, time.Minute, e.Cycle[0].Waited)
		assert.Contains(t, fmt.Sprintf("%+v", err), "waits for another since 1m0s")
		testkit.Put(t, own)
	})
}

func TestAHolderWhoseConnectionAnotherReturnsIsNoDeadlock(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		other, own := testkit.Get(t, p), testkit.Get(t, p)
		g := testkit.BeginGet(own.Context(ctx), p)
		g.Waits(t)
		testkit.Put(t, own) // another goroutine could do this
		next := g.Granted(t)
		assert.Equal(t, 2, next.Conn().N)
		again := testkit.BeginGet(next.Context(ctx), p)
		again.Waits(t)
		testkit.Put(t, other)
		testkit.Put(t, again.Granted(t), next)
		assert.Zero(t, p.Stats().Deadlocks)
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

func TestALeaseOfAnotherPoolIsNoCauseOfADeadlock(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(1)))
		q := w.Pool(testkit.Capacity(1))
		assert.NoError(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return q.Do(ctx, doNothing) }))

		held := testkit.Get(t, q) // its holder returns it later
		nested := testkit.Async(func() error {
			return p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return q.Do(ctx, doNothing) })
		})
		time.Sleep(time.Minute)
		nested.Waits(t)
		e, err := q.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Waiters[0].Holds)
		testkit.Put(t, held)
		assert.NoError(t, nested.Returned(t))

		// A deadlock through the other pool is still found.
		err = p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
			return q.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
				assert.ErrorIs(t, q.Do(ctx, doNothing), messages.ErrDeadlock)
				return p.Do(ctx, doNothing)
			})
		})
		assert.ErrorIs(t, err, messages.ErrDeadlock)
		assert.Equal(t, [2]uint64{1, 1}, [2]uint64{p.Stats().Deadlocks, q.Stats().Deadlocks})
		testkit.AssertCounts(t, p, 0, 1, 0)
		testkit.AssertCounts(t, q, 0, 1, 0)
		testkit.Close(t, p)
	})
}

func TestADeadlockAcrossTwoPoolsIsNotFound(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p, q := w.Spawn(w.Config(testkit.Capacity(1))), w.Pool(testkit.Capacity(1))
		nested := func(outer, inner *testkit.Pool) *testkit.Call {
			return testkit.Async(func() error {
				return outer.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
					bounded, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					time.Sleep(time.Second) // until the other one holds its connection
					return inner.Do(bounded, doNothing)
				})
			})
		}
		first, second := nested(p, q), nested(q, p)
		time.Sleep(30 * time.Second)
		first.Waits(t)
		second.Waits(t)
		time.Sleep(time.Minute)
		for _, err := range []error{first.Returned(t), second.Returned(t)} {
			assert.NotErrorIs(t, err, messages.ErrDeadlock)
		}
		assert.Zero(t, p.Stats().Deadlocks+q.Stats().Deadlocks)
		assert.NotZero(t, p.Stats().Timeouts+q.Stats().Timeouts)
		testkit.Close(t, p)
	})
}

func TestTwoFacadesAreOnePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		other := client.Attach[*testkit.Conn](w.System, p.PID())
		assert.ErrorIs(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error { return other.Do(ctx, doNothing) }), messages.ErrDeadlock)
	})
}

func TestADeadlockOfManyNamesSomeOfThem(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(40), func(cfg *testkit.Config) { cfg.MaxConnecting = 40 })
		tagged := context.Background()
		var leases []testkit.Lease
		for i := range 40 {
			l := getLabelled(t, tagged, p, "level "+strconv.Itoa(i))
			leases, tagged = append(leases, l), l.Context(tagged)
		}
		_, err := p.Get(tagged)
		var e *messages.DeadlockError
		require.ErrorAs(t, err, &e)
		assert.Len(t, e.Cycle, 16)
		assert.Equal(t, "level 39", e.Cycle[0].Label)
		testkit.Put(t, leases...)
	})
}

func TestTryGetIsNoWait(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		assert.NoError(t, p.Do(ctx, func(context.Context, *testkit.Conn) error {
			_, ok := p.TryGet()
			assert.False(t, ok)
			return nil
		}))
		assert.Zero(t, p.Stats().Deadlocks)
	})
}
