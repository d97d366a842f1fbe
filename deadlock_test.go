package actorpool_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

func nothingMore(context.Context, *conn) error { return nil }

// labelled borrows with a label.
func labelled(t *testing.T, ctx context.Context, p *pool, label string) lease {
	t.Helper()
	l, err := p.GetWith(ctx, client.GetOptions{Label: label})
	require.NoError(t, err)
	return l
}

func TestADoInsideOfADoIsToldThatItWouldWaitForItself(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		fill(t, p, 1)
		var inner error
		took := elapsed(func() {
			assert.NoError(t, p.DoWith(ctx, client.GetOptions{Label: "outer"}, func(ctx context.Context, c *conn) error {
				inner = p.DoWith(ctx, client.GetOptions{Label: "inner"}, nothingMore)
				assert.Zero(t, c.closed.Load())
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
		assert.ErrorContains(t, inner, "deadlock: every connection is held by somebody who waits for another; "+
			"held by outer (connection 1, 0s) waits for another (inner)")
		assert.Equal(t, 1, strings.Count(inner.Error(), "; held by"), "it says so once")
		assert.EqualValues(t, 1, p.Stats().Deadlocks)
		counts(t, p, 0, 1, 0)
		put(t, get(t, p))
	})
}

func TestTheErrorOfADeadlockDoesNotCondemnTheConnection(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		assert.ErrorIs(t, p.Do(ctx, func(ctx context.Context, _ *conn) error { return p.Do(ctx, nothingMore) }), messages.ErrDeadlock)
		counts(t, p, 0, 1, 0)
		assert.Equal(t, 1, w.server.dialled())
	})
}

func TestOfTwoWhoWaitForEachOtherOneIsTold(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		var both sync.WaitGroup
		both.Add(2)
		var inner [2]error
		nested := func(i int) *call {
			return async(func() error {
				return p.DoWith(ctx, client.GetOptions{Label: "outer " + strconv.Itoa(i)}, func(ctx context.Context, _ *conn) error {
					both.Done()
					both.Wait()
					inner[i] = p.DoWith(ctx, client.GetOptions{Label: "inner " + strconv.Itoa(i)}, nothingMore)
					return nil
				})
			})
		}
		took := elapsed(func() {
			a, b := nested(0), nested(1)
			assert.NoError(t, a.returned(t))
			assert.NoError(t, b.returned(t))
		})
		assert.Zero(t, took)
		told, served := inner[0], inner[1]
		if told == nil {
			told, served = served, told
		}
		assert.NoError(t, served)
		require.ErrorIs(t, told, messages.ErrDeadlock)
		for _, label := range []string{"outer 0", "outer 1", "inner 0", "inner 1"} {
			assert.ErrorContains(t, told, label)
		}
		var e *messages.DeadlockError
		require.ErrorAs(t, told, &e)
		assert.Len(t, e.Cycle, 2)
		assert.EqualValues(t, 1, p.Stats().Deadlocks)
		counts(t, p, 0, 2, 0)
	})
}

func TestACrowdThatNestsGoesOn(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(4))
		calls := make([]*call, 20)
		for i := range calls {
			calls[i] = async(func() error {
				for range 10 {
					err := p.Do(ctx, func(ctx context.Context, _ *conn) error {
						time.Sleep(time.Millisecond)
						return p.Do(ctx, func(ctx context.Context, _ *conn) error { time.Sleep(time.Millisecond); return nil })
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
			assert.NoError(t, calls[i].returned(t))
		}
		assert.NotZero(t, p.Stats().Deadlocks)
		counts(t, p, 0, 4, 0)
	})
}

func TestTheContextOfALeaseWithoutAContextIsNone(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l := get(t, p)
		var none context.Context
		_, err := p.Get(l.Context(none))
		assert.ErrorIs(t, err, messages.ErrNilContext)
		assert.Equal(t, ctx, lease{}.Context(ctx), "nor has the zero lease anything to say")
		put(t, l)
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
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(2))
				a := labelled(t, ctx, p, "first")
				b := labelled(t, a.Context(ctx), p, "second")
				derived, cancel := derive(b.Context(a.Context(ctx)))
				defer cancel()
				assert.Zero(t, elapsed(func() {
					_, err := p.Get(derived)
					assert.ErrorIs(t, err, messages.ErrDeadlock)
					assert.ErrorContains(t, err, "first")
					assert.ErrorContains(t, err, "second")
				}))
				put(t, b)
				c, err := p.Get(derived)
				require.NoError(t, err, "what has ended is not held")
				put(t, a, c)
			})
		})
	}
}

func TestTheContextOfNoLeaseSaysNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		assert.Equal(t, ctx, lease{}.Context(ctx))
		held := get(t, p)
		_, err := p.Get(lease{}.Context(within(t, time.Second)))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		put(t, held)

		ended := get(t, p)
		put(t, ended)
		held = get(t, p)
		g := begin(ended.Context(ctx), p)
		g.waits(t)
		put(t, held)
		put(t, g.granted(t))
		assert.Zero(t, p.Stats().Deadlocks)
	})
}

func TestWhoWaitsWithoutTheContextOfHisLeaseIsSuspected(t *testing.T) {
	for name, change := range map[string]func(*config){
		"without LeakAfter": func(*config) {}, "with LeakAfter": leakAfter(time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(1), change)
				traced := name == "with LeakAfter"
				var number uint64
				nested := async(func() error {
					number = goroutine(t)
					return p.DoWith(ctx, client.GetOptions{Label: "outer"}, func(context.Context, *conn) error {
						bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
						defer cancel()
						_, err := p.GetWith(bounded, client.GetOptions{Label: "inner"})
						assert.ErrorIs(t, err, context.DeadlineExceeded)
						assert.NotErrorIs(t, err, messages.ErrDeadlock)
						assert.ErrorContains(t, err, "held by outer (connection 1, 1m0s")
						return nil
					})
				})
				time.Sleep(30 * time.Second)
				nested.waits(t)
				e, err := p.Explain(ctx)
				require.NoError(t, err)
				require.Len(t, e.Holders, 1)
				require.Len(t, e.Waiters, 1)
				said := strings.Join(e.Suspicions, "\n")
				assert.Contains(t, said, "every connection is out, and none has come back in the 30s since the first in the queue began to wait")
				if traced {
					assert.Contains(t, said, "goroutine "+strconv.FormatUint(number, 10)+" got connection 1 and waits for another")
					assert.Equal(t, [2]uint64{number, number}, [2]uint64{e.Holders[0].Goroutine, e.Waiters[0].Goroutine})
					assert.Contains(t, e.Waiters[0].Stack, "TestWhoWaitsWithoutTheContextOfHisLeaseIsSuspected")
				} else {
					assert.Len(t, e.Suspicions, 1)
					assert.Zero(t, e.Waiters[0].Goroutine)
				}
				assert.Contains(t, e.String(), "suspicions:\n  ")
				time.Sleep(30 * time.Second)
				assert.NoError(t, nested.returned(t))
				assert.Zero(t, p.Stats().Deadlocks)
				counts(t, p, 0, 1, 0)
			})
		})
	}
}

func TestOneWhoHoldsAndWaitsIsNoDeadlockWhileAnotherCanReturn(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		other := get(t, p) // says nothing of itself
		nested := async(func() error {
			return p.Do(ctx, func(ctx context.Context, _ *conn) error { return p.Do(ctx, nothingMore) })
		})
		time.Sleep(time.Hour)
		nested.waits(t)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 2)
		assert.Equal(t, []uint64{2}, e.Waiters[0].Holds)
		assert.True(t, e.Holders[1].Waits)
		assert.False(t, e.Holders[0].Waits)
		put(t, other)
		assert.NoError(t, nested.returned(t))
		assert.Zero(t, p.Stats().Deadlocks)
		counts(t, p, 0, 2, 0)
	})
}

func TestWhatIsUnderWayIsNoDeadlock(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		l := laundry{takes: time.Second}
		p := w.pool(capacity(2), l.config)
		w.server.becomes(takes(time.Second))
		nested := func() *call {
			return async(func() error {
				return p.Do(ctx, func(ctx context.Context, _ *conn) error { return p.Do(ctx, nothingMore) })
			})
		}
		first := nested() // the second connection is opened for it
		time.Sleep(time.Second)
		first.waits(t)
		time.Sleep(time.Second)
		assert.NoError(t, first.returned(t))
		time.Sleep(time.Second)
		counts(t, p, 0, 2, 0)

		other := get(t, p)
		second := nested()
		put(t, other)
		second.waits(t) // it is reset
		time.Sleep(time.Second)
		assert.NoError(t, second.returned(t))
		time.Sleep(time.Second)

		other = get(t, p)
		third := nested()
		require.NoError(t, other.Taint(nil))
		third.waits(t) // it is closed and replaced
		time.Sleep(time.Second)
		assert.NoError(t, third.returned(t))
		time.Sleep(time.Second)
		assert.Zero(t, p.Stats().Deadlocks)
		counts(t, p, 0, 2, 0)
	})
}

func TestADeadlockCanComeAboutLater(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		for _, begins := range []func(other lease){
			func(other lease) { // what would have come back is closed, and there is no room for another
				shrinking := async(func() error { return p.SetCapacity(ctx, 1) })
				put(t, other)
				assert.NoError(t, shrinking.returned(t))
			},
			func(other lease) { // whoever could return waits as well
				_, err := p.Get(other.Context(within(t, time.Minute)))
				assert.ErrorIs(t, err, messages.ErrDeadlock, "the newest is told")
				put(t, other)
			},
		} {
			require.NoError(t, p.SetCapacity(ctx, 2))
			other, own := get(t, p), get(t, p)
			g := begin(own.Context(ctx), p)
			g.waits(t)
			begins(other)
			if err := g.returned(t); err != nil {
				assert.ErrorIs(t, err, messages.ErrDeadlock)
			} else {
				put(t, g.lease)
			}
			put(t, own)
		}
		assert.EqualValues(t, 2, p.Stats().Deadlocks)
	})
}

func TestADeadlockUnderSuspensionIsToldAtItsEnd(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		own := get(t, p)
		require.NoError(t, p.Suspend(ctx))
		g := begin(own.Context(ctx), p)
		time.Sleep(time.Minute)
		g.waits(t)
		require.NoError(t, p.Resume(ctx))
		err := g.failed(t)
		var e *messages.DeadlockError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, time.Minute, e.Cycle[0].Waited)
		assert.ErrorContains(t, err, "waits for another since 1m0s")
		put(t, own)
	})
}

func TestWhoGetsHisOwnConnectionBackFromAnotherIsNoDeadlock(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		other, own := get(t, p), get(t, p)
		g := begin(own.Context(ctx), p)
		g.waits(t)
		put(t, own) // somebody else does it for him
		next := g.granted(t)
		assert.Equal(t, 2, next.Conn().n)
		again := begin(next.Context(ctx), p)
		again.waits(t)
		put(t, other)
		put(t, again.granted(t), next)
		assert.Zero(t, p.Stats().Deadlocks)
		counts(t, p, 0, 2, 0)
	})
}

func TestALeaseOfAnotherPoolIsNoTie(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.spawn(w.config(capacity(1)))
		q := w.pool(capacity(1))
		assert.NoError(t, p.Do(ctx, func(ctx context.Context, _ *conn) error { return q.Do(ctx, nothingMore) }))

		held := get(t, q) // somebody has it, and returns it
		nested := async(func() error {
			return p.Do(ctx, func(ctx context.Context, _ *conn) error { return q.Do(ctx, nothingMore) })
		})
		time.Sleep(time.Minute)
		nested.waits(t)
		e, err := q.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Waiters[0].Holds)
		put(t, held)
		assert.NoError(t, nested.returned(t))

		// By way of the other pool it is still one.
		err = p.Do(ctx, func(ctx context.Context, _ *conn) error {
			return q.Do(ctx, func(ctx context.Context, _ *conn) error {
				assert.ErrorIs(t, q.Do(ctx, nothingMore), messages.ErrDeadlock)
				return p.Do(ctx, nothingMore)
			})
		})
		assert.ErrorIs(t, err, messages.ErrDeadlock)
		assert.Equal(t, [2]uint64{1, 1}, [2]uint64{p.Stats().Deadlocks, q.Stats().Deadlocks})
		counts(t, p, 0, 1, 0)
		counts(t, q, 0, 1, 0)
		closeNow(t, p)
	})
}

func TestTwoFacadesAreOnePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		other := client.Attach[*conn](w.system, p.PID())
		assert.ErrorIs(t, p.Do(ctx, func(ctx context.Context, _ *conn) error { return other.Do(ctx, nothingMore) }), messages.ErrDeadlock)
	})
}

func TestADeadlockOfManyNamesSomeOfThem(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(40), func(cfg *config) { cfg.MaxConnecting = 40 })
		tagged := context.Background()
		var leases []lease
		for i := range 40 {
			l := labelled(t, tagged, p, "level "+strconv.Itoa(i))
			leases, tagged = append(leases, l), l.Context(tagged)
		}
		_, err := p.Get(tagged)
		var e *messages.DeadlockError
		require.ErrorAs(t, err, &e)
		assert.Len(t, e.Cycle, 16)
		assert.Equal(t, "level 39", e.Cycle[0].Label)
		put(t, leases...)
	})
}

func TestTryGetIsNoWait(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		assert.NoError(t, p.Do(ctx, func(context.Context, *conn) error {
			_, ok := p.TryGet()
			assert.False(t, ok)
			return nil
		}))
		assert.Zero(t, p.Stats().Deadlocks)
	})
}

// Explain.

func TestExplainTellsEverythingOfOneMoment(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		wardrobe := &wardrobe{}
		p := w.pool(capacity(2), dressing(wardrobe))
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Holders)
		assert.Empty(t, e.Waiters)
		assert.Empty(t, e.Suspicions)
		assert.Equal(t, `pool "db": state=ready capacity=2 open=0 borrowed=0 idle=0 connecting=0 waiting=0`+"\n", e.String())

		a := labelled(t, ctx, p, "import")
		time.Sleep(time.Second)
		w.server.becomes(takes(5 * time.Second))
		g := beginWith(ctx, p, client.GetOptions{Label: "export", Setting: "blue"})
		c := w.customer()
		c.asks(p, &messages.Get{Label: "actor"})
		time.Sleep(time.Second)
		e, err = p.Explain(ctx)
		require.NoError(t, err)
		byMessage := *ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		assert.Equal(t, e, byMessage)
		assert.Equal(t, time.Now().Unix(), e.Time.Unix())
		assert.Equal(t, []messages.Holder{{ConnID: 1, Label: "import", Age: 2 * time.Second}}, e.Holders)
		address := c.pid.Address + "/" + c.pid.Id
		assert.Equal(t, []messages.Waiter{
			{Label: "export", Waited: time.Second, Setting: "blue", Doing: "connecting"},
			{Label: "actor", Waited: time.Second, Borrower: address},
		}, e.Waiters)
		assert.Equal(t, []messages.Job{{ConnID: 2, Doing: "connecting", Age: time.Second, For: "export"}}, e.Jobs)
		assert.Equal(t, p.Stats(), e.Stats)
		assert.Equal(t, `pool "db": state=ready capacity=2 open=1 borrowed=1 idle=0 connecting=1 waiting=2
held by:
  import (connection 1, 2s)
waiting:
  export (1s) for setting blue, connecting a connection
  actor (1s, actor `+address+`)
under way:
  connecting connection 2 for 1s (export)
`, e.String())

		time.Sleep(time.Minute)
		c.puts(p, c.lease(t)) // it was clean: less work for the actor than for whom it was opened
		put(t, g.granted(t), a)
	})
}

func TestExplainTellsOfTheBackoff(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, errRefused)
		g := begin(ctx, p)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, 1, e.Attempt)
		assert.Equal(t, time.Now().Add(time.Second).Unix(), e.NextAttempt.Unix())
		assert.ErrorIs(t, e.LastConnectError, errRefused)
		assert.Contains(t, e.String(), "backoff: attempt 1 has failed, the next is due at ")
		assert.Contains(t, e.String(), "last connect error: connection refused")
		w.server.becomes(accept)
		time.Sleep(time.Second)
		put(t, g.granted(t))
	})
}

func TestExplainOfManyTellsOfSomeAndCountsTheRest(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(150), func(cfg *config) { cfg.MaxConnecting = 150 })
		leases := make([]lease, 150)
		for i := range leases {
			leases[i] = get(t, p)
		}
		waiters := make([]*getting, 120)
		for i := range waiters {
			waiters[i] = begin(ctx, p)
		}
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Len(t, e.Holders, 100)
		assert.Len(t, e.Waiters, 100)
		assert.Contains(t, e.String(), "and 50 more")
		assert.Contains(t, e.String(), "and 20 more")
		put(t, leases...)
		for _, g := range waiters {
			put(t, g.granted(t))
		}
	})
}

func TestExplainSaysWhatACloseWaitsFor(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		a := labelled(t, ctx, p, "straggler")
		closing := async(func() error { return p.Close(ctx) })
		time.Sleep(time.Second)
		closing.waits(t)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, messages.StateClosing, e.Stats.State)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, "straggler", e.Holders[0].Label)
		assert.Equal(t, time.Second, e.Holders[0].Age)
		assert.Empty(t, e.Suspicions)
		told := ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		assert.Equal(t, e, *told)
		put(t, a)
		assert.NoError(t, closing.returned(t))
		synctest.Wait()
		_, err = p.Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}

func TestExplainKeepsToItsContext(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		_, err := p.Explain(nil) //nolint:staticcheck // on purpose
		assert.ErrorIs(t, err, messages.ErrNilContext)
		closeNow(t, p)
		_, err = p.Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		_, err = client.Attach[*conn](w.system, nil).Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}
