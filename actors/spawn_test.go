package actors_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestAPoolInsideAnActorEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		p, parent := w.SpawnUnderParent(w.Config(testkit.Capacity(2)))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		shrink := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		ready := testkit.Async(func() error { return p.Ready(ctx) })
		assert.NoError(t, ready.Returned(t))
		require.NoError(t, w.System.Root.StopFuture(parent).Wait())
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
		assert.ErrorIs(t, shrink.Returned(t), messages.ErrClosed)
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 2, closed)
		assert.Nil(t, a.Conn())
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Taint(nil), messages.ErrLeaseEnded)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NoError(t, p.Close(ctx))
		assert.Equal(t, messages.StateClosed, p.Stats().State)
	})
}

func TestAPoolThatIsStoppedFromOutsideLeavesNothingBehind(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) { cfg.MinIdle, cfg.IdleTimeout = 1, time.Minute })
		testkit.Fill(t, p, 2)
		held := testkit.Get(t, p)
		w.Server.SetDial(testkit.Delay(time.Second))
		ending := testkit.Async(func() error { return p.Close(ctx) })
		ending.Waits(t)
		require.NoError(t, w.System.Root.StopFuture(p.PID()).Wait())
		synctest.Wait()
		assert.True(t, ending.Ended())
		assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
	})
}

func TestAPoolThatIsStoppedWhileItConnectsClosesWhatComes(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.SetDial(testkit.IgnoreContext(release))
		p := w.Pool()
		g := testkit.BeginGet(ctx, p)
		w.System.Root.Stop(p.PID())
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
		close(release)
		synctest.Wait()
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, 1, opened)
		assert.Equal(t, 1, closed)
	})
}

func TestAPoolServesActorsHoweverItWasSpawned(t *testing.T) {
	watched := func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) { next(ctx, envelope) }
	}
	sent := func(next actor.SenderFunc) actor.SenderFunc {
		return func(ctx actor.SenderContext, target *actor.PID, envelope *actor.MessageEnvelope) {
			next(ctx, target, envelope)
		}
	}
	decorated := func(next actor.ContextDecoratorFunc) actor.ContextDecoratorFunc {
		return func(ctx actor.Context) actor.Context { return next(struct{ actor.Context }{ctx}) }
	}
	for name, spawn := range map[string]func(w *testkit.World, cfg testkit.Config) *testkit.Pool{
		"as a root actor": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			p, err := client.Spawn(w.System.Root, cfg)
			require.NoError(w.T, err)
			return p
		},
		"as a child": func(w *testkit.World, cfg testkit.Config) *testkit.Pool { p, _ := w.SpawnUnderParent(cfg); return p },
		"by name": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			props, err := client.Props(cfg)
			require.NoError(w.T, err)
			pid, err := w.System.Root.SpawnNamed(props, "db")
			require.NoError(w.T, err)
			assert.Equal(w.T, "db", pid.Id)
			_, err = w.System.Root.SpawnNamed(props, "db")
			assert.ErrorIs(w.T, err, actor.ErrNameExists)
			return client.Attach[*testkit.Conn](w.System, actor.NewPID(w.System.Address(), "db"))
		},
		"on the default mailbox": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			return w.Spawn(cfg, actor.WithMailbox(actor.Unbounded()))
		},
		"on a bounded mailbox": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			return w.Spawn(cfg, actor.WithMailbox(actor.Bounded(100)))
		},
		"on a dispatcher of its own": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			return w.Spawn(cfg, actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewSynchronizedDispatcher(10)))
		},
		"behind middleware": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			return w.Spawn(cfg, actor.WithReceiverMiddleware(watched), actor.WithSenderMiddleware(sent))
		},
		"behind a decorated context": func(w *testkit.World, cfg testkit.Config) *testkit.Pool {
			return w.Spawn(cfg, actor.WithContextDecorator(decorated))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := testkit.NewWorld(t, false)
				var l testkit.CountedReset
				p := spawn(w, w.Config(testkit.Capacity(1), l.Configure))
				synctest.Wait()
				l.Count.Store(0) // SpawnUnderParent has used the pool once

				a, b := w.Borrower(), w.Borrower()
				lease := a.Borrow(t, p)
				assert.Same(t, w.Server.Conn(1), lease.Conn)
				g := testkit.BeginGet(ctx, p)
				a.Request(p, &messages.Put{Lease: lease.ID})
				assert.NoError(t, a.TakeDone(t))
				own := g.Granted(t)

				b.Request(p, &messages.Get{})
				testkit.Put(t, own)
				b.TakeLease(t)
				a.Request(p, &messages.Get{})
				b.Stop(t)
				lease = a.TakeLease(t)
				assert.Equal(t, messages.LeaseID{Conn: 1, Epoch: lease.ID.Epoch}, lease.ID, "the same connection")
				assert.EqualValues(t, 3, l.Count.Load())
				a.Stop(t)
				testkit.Put(t, testkit.Get(t, p))
				testkit.AssertCounts(t, p, 0, 1, 0)
				w.CloseAndCheck(p)
			})
		})
	}
}

func TestAParentThatStopsTakesItsBorrowersWithIt(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(3), l.Configure)
		parent, c := w.Children(testkit.StopChild(), 6)
		for i := range c {
			c[i].Request(p, &messages.Get{})
		}
		testkit.AssertCounts(t, p, 3, 0, 3)
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, w.System.Root.StopFuture(parent).Wait())
		testkit.Put(t, g.Granted(t))
		testkit.AssertCounts(t, p, 0, 3, 0)
		st := p.Stats() // a waiter may have been served before it stopped
		assert.GreaterOrEqual(t, st.Revoked+st.Puts, uint64(4), "a lease that finds its borrower gone comes back")
		assert.EqualValues(t, st.Revoked+st.Puts, l.Count.Load(), "one for each revoked lease, and for each that came back")
	})
}

// parentWithPool is an actor whose children are a pool and four borrowers.
type parentWithPool struct {
	pid       *actor.PID
	pool      *testkit.Pool
	borrowers []*testkit.Borrower
}

func newParentWithPool(w *testkit.World, cfg testkit.Config, poolFirst bool) *parentWithPool {
	h := &parentWithPool{}
	h.pid = w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			open := func() {
				p, err := client.Spawn(ctx, cfg)
				assert.NoError(w.T, err)
				h.pool = p
			}
			if poolFirst {
				open()
			}
			for range 4 {
				c := w.NewBorrower()
				c.PID = ctx.Spawn(c.Props())
				h.borrowers = append(h.borrowers, c)
			}
			if !poolFirst {
				open()
			}
		case testkit.Action:
			msg(ctx)
		}
	}))
	synctest.Wait()
	return h
}

func TestAPoolAndItsBorrowersStopWithTheirParent(t *testing.T) {
	for _, poolFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("the pool is first: %v", poolFirst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := testkit.NewWorld(t, false)
				h := newParentWithPool(w, w.Config(testkit.Capacity(2)), poolFirst)
				for _, c := range h.borrowers {
					c.Request(h.pool, &messages.Get{})
				}
				w.System.Root.Send(h.pid, testkit.Action(func(ctx actor.Context) { ctx.Request(h.pool.PID(), &messages.Get{}) }))
				testkit.AssertCounts(t, h.pool, 2, 0, 3)
				g := testkit.BeginGet(ctx, h.pool)
				require.NoError(t, w.System.Root.StopFuture(h.pid).Wait())
				if err := g.Returned(t); err == nil { // the other borrowers had stopped before the pool
					assert.ErrorIs(t, g.Lease.Put(), messages.ErrLeaseEnded)
				} else {
					assert.ErrorIs(t, err, messages.ErrClosed)
				}
				assert.Equal(t, messages.StateClosed, h.pool.Stats().State)
				_, opened, closed := w.Server.Counts()
				assert.Equal(t, opened, closed)
			})
		})
	}
}

func TestAPoolOutlivesItsSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		h := newParentWithPool(w, w.Config(testkit.Capacity(2)), true)
		for _, c := range h.borrowers {
			c.Request(h.pool, &messages.Get{})
		}
		for _, c := range h.borrowers {
			c.Stop(t)
		}
		testkit.AssertCounts(t, h.pool, 0, 0, 0)
		testkit.Put(t, testkit.Get(t, h.pool))
		w.CloseAndCheck(h.pool)
		require.NoError(t, w.System.Root.StopFuture(h.pid).Wait())
	})
}

// X5
func TestAPoolActorThatFailsEndsAndNobodyHangs(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(2)), actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
			return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
				if envelope.Message == "die" {
					panic("a bug in the middleware")
				}
				next(ctx, envelope)
			}
		}))
		t.Cleanup(func() { w.CloseAndCheck(p) })
		held, idle := testkit.Get(t, p), testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		shrink := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		w.System.Root.Send(p.PID(), "die")
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
		assert.ErrorIs(t, shrink.Returned(t), messages.ErrClosed)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
		assert.Nil(t, idle.Conn())
		assert.Equal(t, messages.StateClosed, p.Stats().State)
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, opened, closed)
	})
}
