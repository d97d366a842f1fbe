package actorpool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// customer is an actor that borrows. It does what it is sent as a function, and
// keeps whatever else it is sent. All its incarnations are one customer.
type customer struct {
	root *actor.RootContext
	pid  *actor.PID

	mu    sync.Mutex
	got   []any
	lives int // incarnations so far
	dead  bool
}

// act is something that a customer is to do.
type act func(ctx actor.Context)

// Receive implements actor.Actor.
func (c *customer) Receive(ctx actor.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch msg := ctx.Message().(type) {
	case act:
		msg(ctx)
	case *actor.Started:
		c.lives++
	case *actor.Stopped:
		c.dead = true
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		c.got = append(c.got, msg)
	}
}

func (c *customer) props(opts ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return c }, opts...)
}

// customer makes one without a parent.
func (w *world) customer(opts ...actor.PropsOption) *customer {
	c := &customer{root: w.system.Root}
	c.pid = w.system.Root.Spawn(c.props(opts...))
	synctest.Wait()
	return c
}

// family makes a parent with n customers, whom it supervises.
func (w *world) family(strategy actor.SupervisorStrategy, n int, opts ...actor.PropsOption) (parent *actor.PID, children []*customer) {
	parent = w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			for range n {
				c := &customer{root: w.system.Root}
				c.pid = ctx.Spawn(c.props(opts...))
				children = append(children, c)
			}
		}
	}, actor.WithSupervisor(strategy)))
	synctest.Wait()
	return parent, children
}

// What a parent does with a child that crashes.
func restartsIt() actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(1000, time.Minute, func(any) actor.Directive { return actor.RestartDirective })
}

func stopsIt() actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
}

func (c *customer) does(f act) {
	c.root.Send(c.pid, f)
	synctest.Wait()
}

// asks sends requests to a pool.
func (c *customer) asks(p *pool, requests ...any) {
	c.does(func(ctx actor.Context) {
		for _, r := range requests {
			ctx.Request(p.PID(), r)
		}
	})
}

// borrows gets a connection that is there.
func (c *customer) borrows(t *testing.T, p *pool) *messages.Lease {
	t.Helper()
	c.asks(p, &messages.Get{})
	return c.lease(t)
}

// take gives what has come since the last time.
func (c *customer) take() []any {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// lease says that one lease has come and nothing else, and gives it.
func (c *customer) lease(t *testing.T) *messages.Lease {
	t.Helper()
	got := c.take()
	require.Len(t, got, 1)
	require.IsType(t, &messages.Lease{}, got[0])
	return got[0].(*messages.Lease)
}

// done gives the error of the one Done that has come.
func (c *customer) done(t *testing.T) error {
	t.Helper()
	got := c.take()
	require.Len(t, got, 1)
	require.IsType(t, &messages.Done{}, got[0])
	return got[0].(*messages.Done).Err
}

func (c *customer) puts(p *pool, l *messages.Lease) {
	c.does(func(ctx actor.Context) { ctx.Send(p.PID(), &messages.Put{Lease: l.ID}) })
}

func (c *customer) crashes() { c.does(func(actor.Context) { panic("a customer crashes") }) }

func (c *customer) stops(t *testing.T) {
	t.Helper()
	require.NoError(t, c.root.StopFuture(c.pid).Wait())
	synctest.Wait()
}

func (c *customer) incarnations() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lives
}

// counts says how many connections are borrowed and idle and how many Gets wait,
// and that the counts add up.
func counts(t *testing.T, p *pool, borrowed, idle, waiting int) {
	t.Helper()
	synctest.Wait()
	st := p.Stats()
	assert.Equal(t, [3]int{borrowed, idle, waiting}, [3]int{st.Borrowed, st.Idle, st.Waiting}, "borrowed, idle, waiting")
	assert.Equal(t, st.Open, st.Idle+st.Borrowed+st.InTransition, "open")
	assert.Equal(t, st.Grants, st.Puts+st.Taints+st.Revoked+uint64(st.Borrowed), "every grant comes back once")
}

// laundry is a Reset that counts, and takes a while.
type laundry struct {
	resets atomic.Int32
	takes  time.Duration
}

func (l *laundry) reset(ctx context.Context, c *conn) error {
	if c.closed.Load() != 0 {
		c.server.t.Errorf("reset of connection %d, which is closed", c.n)
	}
	l.resets.Add(1)
	return takes(l.takes)(ctx, 0)
}

func (l *laundry) config(cfg *config) { cfg.Reset = l.reset }

// letters counts the dead letters to one process.
func (w *world) letters(to *actor.PID) *atomic.Int32 {
	n := new(atomic.Int32)
	w.system.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok && to.Equal(letter.PID) {
			n.Add(1)
		}
	})
	return n
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
	for name, spawn := range map[string]func(w *world, cfg config) *pool{
		"as a root actor": func(w *world, cfg config) *pool {
			p, err := client.Spawn(w.system.Root, cfg)
			require.NoError(w.t, err)
			return p
		},
		"as a child": func(w *world, cfg config) *pool { p, _ := w.parent(cfg); return p },
		"by name": func(w *world, cfg config) *pool {
			props, err := client.Props(cfg)
			require.NoError(w.t, err)
			pid, err := w.system.Root.SpawnNamed(props, "db")
			require.NoError(w.t, err)
			assert.Equal(w.t, "db", pid.Id)
			_, err = w.system.Root.SpawnNamed(props, "db")
			assert.ErrorIs(w.t, err, actor.ErrNameExists)
			return client.Attach[*conn](w.system, actor.NewPID(w.system.Address(), "db"))
		},
		"on the default mailbox": func(w *world, cfg config) *pool { return w.spawn(cfg, actor.WithMailbox(actor.Unbounded())) },
		"on a bounded mailbox":   func(w *world, cfg config) *pool { return w.spawn(cfg, actor.WithMailbox(actor.Bounded(100))) },
		"on a dispatcher of its own": func(w *world, cfg config) *pool {
			return w.spawn(cfg, actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewSynchronizedDispatcher(10)))
		},
		"behind middleware": func(w *world, cfg config) *pool {
			return w.spawn(cfg, actor.WithReceiverMiddleware(watched), actor.WithSenderMiddleware(sent))
		},
		"behind a decorated context": func(w *world, cfg config) *pool { return w.spawn(cfg, actor.WithContextDecorator(decorated)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false)
				var l laundry
				p := spawn(w, w.config(capacity(1), l.config))
				synctest.Wait()
				l.resets.Store(0) // a parent has tried its pool

				a, b := w.customer(), w.customer()
				lease := a.borrows(t, p)
				assert.Same(t, w.server.conns[0], lease.Conn)
				g := begin(ctx, p)
				a.asks(p, &messages.Put{Lease: lease.ID})
				assert.NoError(t, a.done(t))
				own := g.granted(t)

				b.asks(p, &messages.Get{})
				put(t, own)
				b.lease(t)
				a.asks(p, &messages.Get{})
				b.stops(t)
				lease = a.lease(t)
				assert.Equal(t, messages.LeaseID{Conn: 1, Epoch: lease.ID.Epoch}, lease.ID, "the same connection")
				assert.EqualValues(t, 3, l.resets.Load())
				a.stops(t)
				put(t, get(t, p))
				counts(t, p, 0, 1, 0)
				w.end(p)
			})
		})
	}
}

func TestWhatABorrowerHeldWhenItStoppedIsResetAndGoesToWhoWaits(t *testing.T) {
	for name, dies := range map[string]func(t *testing.T, c *customer){
		"it is stopped":                func(t *testing.T, c *customer) { c.stops(t) },
		"it stops itself":              func(_ *testing.T, c *customer) { c.does(func(ctx actor.Context) { ctx.Stop(ctx.Self()) }) },
		"it is poisoned":               func(_ *testing.T, c *customer) { c.root.Poison(c.pid) },
		"it crashes and is not wanted": func(_ *testing.T, c *customer) { c.crashes() },
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				var l laundry
				p := w.pool(capacity(1), l.config)
				_, c := w.family(stopsIt(), 1)
				lease := c[0].borrows(t, p)
				g := begin(ctx, p)
				g.waits(t)
				dies(t, c[0])
				own := g.granted(t)
				assert.Same(t, lease.Conn, own.Conn())
				assert.EqualValues(t, 1, l.resets.Load())
				assert.True(t, c[0].dead)
				assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
				assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Taint{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
				counts(t, p, 1, 0, 0)
				put(t, own)
				st := p.Stats()
				assert.EqualValues(t, 1, st.Revoked)
				assert.Equal(t, 1, w.server.dialled())
			})
		})
	}
}

func TestWhatABorrowerHeldWhenItStoppedIsClosedWhereThereIsNoReset(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(capacity(1), j.listen)
		c := w.customer()
		lease := c.borrows(t, p)
		g := begin(ctx, p)
		c.stops(t)
		own := g.granted(t)
		assert.NotSame(t, lease.Conn, own.Conn())
		assert.EqualValues(t, 1, lease.Conn.(*conn).closed.Load())
		put(t, own)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
		for _, e := range j.all() {
			if e.Kind == messages.ConnectionClosed {
				assert.ErrorIs(t, e.Err, messages.ErrBorrowerGone)
			}
		}
	})
}

func TestAWaiterThatDiesLeavesTheQueueAndIsGrantedNothing(t *testing.T) {
	for name, dies := range map[string]func(t *testing.T, c *customer){
		"it is stopped":                func(t *testing.T, c *customer) { c.stops(t) },
		"it is poisoned":               func(_ *testing.T, c *customer) { c.root.Poison(c.pid) },
		"it crashes and is not wanted": func(_ *testing.T, c *customer) { c.crashes() },
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(1))
				held := get(t, p)
				_, c := w.family(stopsIt(), 2)
				letters := w.letters(c[0].pid)
				for range 3 {
					c[0].asks(p, &messages.Get{Label: "doomed"})
					c[1].asks(p, &messages.Get{})
				}
				counts(t, p, 1, 0, 6)
				dies(t, c[0])
				counts(t, p, 1, 0, 3)
				assert.EqualValues(t, 3, p.Stats().Cancels)
				put(t, held)
				for range 3 {
					c[1].puts(p, c[1].lease(t))
				}
				counts(t, p, 0, 1, 0)
				assert.Empty(t, c[0].take())
				assert.Zero(t, letters.Load(), "nothing was sent to it")
				assert.EqualValues(t, 4, p.Stats().Grants)
			})
		})
	}
}

func TestWhoeverStopsABorrowerNeedNotWaitForThePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		// It is dead before the pool has looked at its Get, or has been told of
		// its death, or neither: whatever comes first.
		for range 50 {
			c := w.customer()
			w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.pid)
			w.system.Root.Stop(c.pid)
			w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.pid)
		}
		counts(t, p, 1, 0, 0)
		put(t, held)
		counts(t, p, 0, 1, 0)
	})
}

func TestALaterActorOfTheSameNameIsNotTheOneThatStopped(t *testing.T) {
	for name, n := range map[string]int{"it is served": 2, "it waits": 1} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				var l laundry
				p := w.pool(capacity(n), l.config)
				first, later := &customer{root: w.system.Root}, &customer{root: w.system.Root}
				spawn := func(c *customer, props *actor.Props) {
					var err error
					c.pid, err = w.system.Root.SpawnNamed(props, "teller")
					assert.NoError(t, err)
				}
				spawn(first, actor.PropsFromFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopped); ok { // the name is free, and nobody has been told
						spawn(later, later.props())
						w.system.Root.Send(later.pid, act(func(ctx actor.Context) { ctx.Request(p.PID(), &messages.Get{}) }))
						time.Sleep(time.Second)
					}
					first.Receive(ctx)
				}))
				old := first.borrows(t, p)
				w.system.Root.Stop(first.pid)
				time.Sleep(2 * time.Second)
				lease := later.lease(t)
				counts(t, p, 1, n-1, 0)
				assert.EqualValues(t, 1, l.resets.Load(), "of what the first one held")
				later.asks(p, &messages.Put{Lease: old.ID})
				assert.ErrorIs(t, later.done(t), messages.ErrLeaseEnded)
				later.asks(p, &messages.Get{})
				later.stops(t)
				counts(t, p, 0, n, 0)
				assert.NotEqual(t, old.ID, lease.ID)
			})
		})
	}
}

func TestABorrowerThatIsRestartedKeepsItsLeasesAndItsPlaceInTheQueue(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		_, c := w.family(restartsIt(), 1)
		lease := c[0].borrows(t, p)
		c[0].asks(p, &messages.Get{})
		g := begin(ctx, p)
		for range 3 {
			c[0].crashes()
		}
		assert.Equal(t, 4, c[0].incarnations())
		assert.Empty(t, c[0].take())
		counts(t, p, 1, 0, 2)
		assert.Zero(t, l.resets.Load())
		c[0].puts(p, lease)
		next := c[0].lease(t)
		assert.Equal(t, lease.ID.Epoch+1, next.ID.Epoch)
		g.waits(t)
		c[0].stops(t)
		put(t, g.granted(t))
		counts(t, p, 0, 1, 0)
	})
}

func TestABorrowerThatIsRestartedWithTheMiddlewareStartsWithoutLeases(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p, q := w.spawn(w.config(capacity(2), l.config)), w.pool(capacity(1), l.config)
		_, c := w.family(restartsIt(), 2, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID(), q.PID())))
		lease, other := c[0].borrows(t, p), c[0].borrows(t, q)
		bystander := c[1].borrows(t, p)
		c[0].asks(p, &messages.Get{}, &messages.Get{})
		g := begin(ctx, p)
		counts(t, p, 2, 0, 3)
		c[0].crashes()
		assert.Equal(t, 2, c[0].incarnations())
		assert.Empty(t, c[0].take(), "neither of its waits nor of the release")
		put(t, g.granted(t))
		counts(t, p, 1, 1, 0)
		counts(t, q, 0, 1, 0)
		c[0].asks(p, &messages.Put{Lease: lease.ID})
		assert.ErrorIs(t, c[0].done(t), messages.ErrLeaseEnded)
		c[0].asks(q, &messages.Taint{Lease: other.ID})
		assert.ErrorIs(t, c[0].done(t), messages.ErrLeaseEnded)
		c[1].asks(p, &messages.Put{Lease: bystander.ID})
		assert.NoError(t, c[1].done(t))

		// The new incarnation borrows like any other, and is watched.
		for range 3 {
			c[0].borrows(t, p)
			counts(t, p, 1, 1, 0)
			c[0].crashes()
		}
		c[0].borrows(t, p)
		c[0].stops(t)
		counts(t, p, 0, 2, 0)
		counts(t, q, 0, 1, 0)
		assert.EqualValues(t, 5, p.Stats().Revoked)
		closeNow(t, p)
	})
}

func TestAnswersOfAFormerIncarnationAreNotPassedOn(t *testing.T) {
	for name, held := range map[string]bool{"it would be a lease": false, "it would wait": true} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(1))
				_, c := w.family(restartsIt(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
				for i := range 20 {
					var own lease
					if held {
						own = get(t, p)
					}
					// The answer is on its way, or will be, when it crashes, some times more
					// than once.
					for range 1 + i%3 {
						c[0].root.Send(c[0].pid, act(func(ctx actor.Context) {
							ctx.Request(p.PID(), &messages.Get{})
							panic("a customer crashes")
						}))
					}
					if held {
						synctest.Wait()
						put(t, own)
					}
					require.Empty(t, c[0].take())
					counts(t, p, 0, p.Stats().Idle, 0)
				}
				// One that asks at once is answered once, and to it.
				c[0].root.Send(c[0].pid, act(func(ctx actor.Context) {
					ctx.Request(p.PID(), &messages.Get{Label: "former"})
					ctx.Send(ctx.Self(), act(func(ctx actor.Context) { ctx.Request(p.PID(), &messages.Get{Label: "new"}) }))
					panic("a customer crashes")
				}))
				lease := c[0].lease(t)
				counts(t, p, 1, 0, 0)
				e, err := p.Explain(ctx)
				require.NoError(t, err)
				assert.Equal(t, "new", e.Holders[0].Label)
				c[0].asks(p, &messages.Put{Lease: lease.ID})
				assert.NoError(t, c[0].done(t))
			})
		})
	}
}

func TestAnActorReleasesWhatItHoldsByMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		a, b := w.customer(), w.customer()
		a.borrows(t, p)
		a.asks(p, &messages.Get{})
		a.asks(p, &messages.Release{})
		got := a.take()
		require.Len(t, got, 1)
		assert.IsType(t, &messages.Released{}, got[0])
		counts(t, p, 0, 1, 0)

		b.borrows(t, p)
		assert.NotNil(t, ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.pid}))
		counts(t, p, 0, 1, 0)
		assert.NotNil(t, ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.pid}), "there is nothing left")
		assert.NotNil(t, ask[*messages.Released](t, w, p, &messages.Release{}), "nor is a future a borrower")
		w.system.Root.Send(p.PID(), &messages.Release{})

		b.borrows(t, p)
		b.stops(t)
		counts(t, p, 0, 1, 0)
		assert.EqualValues(t, 3, l.resets.Load())
	})
}

func TestAParentThatStopsTakesItsBorrowersWithIt(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(3), l.config)
		parent, c := w.family(stopsIt(), 6)
		for i := range c {
			c[i].asks(p, &messages.Get{})
		}
		counts(t, p, 3, 0, 3)
		g := begin(ctx, p)
		require.NoError(t, w.system.Root.StopFuture(parent).Wait())
		put(t, g.granted(t))
		counts(t, p, 0, 3, 0)
		st := p.Stats() // one that waited may have been served before it was its turn to stop
		assert.GreaterOrEqual(t, st.Revoked, uint64(3))
		assert.EqualValues(t, st.Revoked+1, l.resets.Load(), "what the dead held, and the Put")
	})
}

// household is an actor whose children are a pool and those who borrow of it.
type household struct {
	pid  *actor.PID
	pool *pool
	c    []*customer
}

func (w *world) household(cfg config, poolFirst bool) *household {
	h := &household{}
	h.pid = w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			open := func() {
				p, err := client.Spawn(ctx, cfg)
				assert.NoError(w.t, err)
				h.pool = p
			}
			if poolFirst {
				open()
			}
			for range 4 {
				c := &customer{root: w.system.Root}
				c.pid = ctx.Spawn(c.props())
				h.c = append(h.c, c)
			}
			if !poolFirst {
				open()
			}
		case act:
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
				w := newWorld(t, false)
				h := w.household(w.config(capacity(2)), poolFirst)
				for _, c := range h.c {
					c.asks(h.pool, &messages.Get{})
				}
				w.system.Root.Send(h.pid, act(func(ctx actor.Context) { ctx.Request(h.pool.PID(), &messages.Get{}) }))
				counts(t, h.pool, 2, 0, 3)
				g := begin(ctx, h.pool)
				require.NoError(t, w.system.Root.StopFuture(h.pid).Wait())
				if err := g.returned(t); err == nil { // the others had died before it was the pool's turn
					assert.ErrorIs(t, g.lease.Put(), messages.ErrLeaseEnded)
				} else {
					assert.ErrorIs(t, err, messages.ErrClosed)
				}
				assert.Equal(t, messages.StateClosed, h.pool.Stats().State)
				_, opened, closed := w.server.count()
				assert.Equal(t, opened, closed)
			})
		})
	}
}

func TestAPoolOutlivesItsSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false)
		h := w.household(w.config(capacity(2)), true)
		for _, c := range h.c {
			c.asks(h.pool, &messages.Get{})
		}
		for _, c := range h.c {
			c.stops(t)
		}
		counts(t, h.pool, 0, 0, 0)
		put(t, get(t, h.pool))
		w.end(h.pool)
		require.NoError(t, w.system.Root.StopFuture(h.pid).Wait())
	})
}

// watches counts who watches an actor, as middleware of its mailbox.
type watches struct{ began, ended atomic.Int32 }

func (*watches) MailboxStarted()     {}
func (*watches) MessageReceived(any) {}
func (*watches) MailboxEmpty()       {}
func (n *watches) MessagePosted(message any) {
	switch message.(type) {
	case *actor.Watch:
		n.began.Add(1)
	case *actor.Unwatch:
		n.ended.Add(1)
	}
}

func (n *watches) are(t *testing.T, began, ended int32) {
	t.Helper()
	synctest.Wait()
	assert.Equal(t, [2]int32{began, ended}, [2]int32{n.began.Load(), n.ended.Load()}, "watched, unwatched")
}

func TestABorrowerIsWatchedOnceHoweverManyItsLeasesAre(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3))
		held := get(t, p)
		var n watches
		c := w.customer(actor.WithMailbox(actor.Unbounded(&n)))
		for range 5 {
			c.asks(p, &messages.Get{})
		}
		n.are(t, 1, 0)
		counts(t, p, 3, 0, 3)
		got := c.take()
		require.Len(t, got, 2)
		c.puts(p, got[0].(*messages.Lease))
		c.puts(p, got[1].(*messages.Lease))
		put(t, held)
		got = c.take()
		require.Len(t, got, 3)
		n.are(t, 1, 0)
		for _, l := range got {
			c.puts(p, l.(*messages.Lease))
		}
		n.are(t, 1, 1)

		// Again, and again by way of a future.
		c.puts(p, c.borrows(t, p))
		n.are(t, 2, 2)
		l := ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c.pid})
		n.are(t, 3, 2)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Taint{Lease: l.ID}).Err)
		n.are(t, 3, 3)

		// A wait that ends without a lease ends the watch; a refusal needs none.
		require.NoError(t, p.Suspend(ctx))
		c.asks(p, &messages.Get{Deadline: time.Now().Add(time.Second)})
		n.are(t, 4, 3)
		time.Sleep(time.Second)
		n.are(t, 4, 4)
		c.asks(p, &messages.Get{Deadline: time.Now().Add(-time.Second)})
		n.are(t, 4, 4)
		require.NoError(t, p.Resume(ctx))

		// So does the end of all leases at once.
		c.borrows2(t, p)
		n.are(t, 5, 4)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		n.are(t, 5, 5)
		c.borrows2(t, p)
		c.asks(p, &messages.Release{})
		n.are(t, 6, 6)
		c.take()
		c.borrows2(t, p)
		c.stops(t)
		n.are(t, 8, 6) // one of them is that of stops
		counts(t, p, 0, 0, 0)
	})
}

// borrows2 gets two connections.
func (c *customer) borrows2(t *testing.T, p *pool) {
	t.Helper()
	c.take()
	c.asks(p, &messages.Get{}, &messages.Get{})
	require.Len(t, c.take(), 2)
}

func TestABorrowerWithManyLeasesLosesThemAllAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(5), l.config)
		a, b := w.customer(), w.customer()
		for range 4 {
			a.asks(p, &messages.Get{})
		}
		require.Len(t, a.take(), 4)
		kept := b.borrows(t, p)
		for range 4 {
			a.asks(p, &messages.Get{})
		}
		waiters := []*getting{begin(ctx, p), begin(ctx, p)}
		counts(t, p, 5, 0, 6)
		a.stops(t)
		for _, g := range waiters {
			put(t, g.granted(t))
		}
		counts(t, p, 1, 4, 0)
		b.puts(p, kept)
		counts(t, p, 0, 5, 0)
		assert.EqualValues(t, 4, p.Stats().Revoked)
	})
}

func TestAGetByFutureNamesItsBorrower(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		c := w.customer()
		lease := ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c.pid, Label: "by future"})
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, c.pid.Address+"/"+c.pid.Id, e.Holders[0].Borrower)

		f := w.system.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c.pid}, time.Minute)
		g := begin(ctx, p)
		counts(t, p, 1, 0, 2)
		c.stops(t)
		answer, err := f.Result()
		require.NoError(t, err)
		require.IsType(t, &messages.Denied{}, answer)
		assert.ErrorIs(t, answer.(*messages.Denied).Err, messages.ErrBorrowerGone)
		own := g.granted(t)
		assert.Same(t, lease.Conn, own.Conn())
		put(t, own)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
		assert.Empty(t, c.take())
		counts(t, p, 0, 1, 0)
	})
}

func TestWhatAFormerIncarnationGotByFutureIsReleasedToo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		_, c := w.family(restartsIt(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		lease := ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c[0].pid})
		f := w.system.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c[0].pid}, time.Minute)
		counts(t, p, 1, 0, 1)
		c[0].crashes()
		answer, err := f.Result()
		require.NoError(t, err)
		assert.ErrorIs(t, answer.(*messages.Denied).Err, messages.ErrBorrowerGone)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
		assert.Empty(t, c[0].take())
		counts(t, p, 0, 0, 0)
	})
}

func TestAFutureThatNamesNobodyHoldsUntilItsPut(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		c := w.customer()
		var id messages.LeaseID
		c.does(func(ctx actor.Context) {
			ctx.ReenterAfter(ctx.RequestFuture(p.PID(), &messages.Get{}, time.Second), func(answer any, err error) {
				assert.NoError(t, err)
				id = answer.(*messages.Lease).ID
			})
		})
		c.stops(t)
		time.Sleep(time.Hour)
		counts(t, p, 1, 0, 0)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: id}).Err)
		counts(t, p, 0, 1, 0)
	})
}

func TestAGrantToAFutureThatTimedOutIsTakenBackThoughItsBorrowerLives(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		var n watches
		c := w.customer(actor.WithMailbox(actor.Unbounded(&n)))
		for range 3 {
			_, err := w.system.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c.pid}, time.Second).Result()
			require.ErrorIs(t, err, actor.ErrTimeout)
		}
		n.are(t, 1, 0)
		c.asks(p, &messages.Get{})
		put(t, held)
		l := c.lease(t)
		counts(t, p, 1, 0, 0)
		assert.Equal(t, messages.LeaseID{Conn: 1, Epoch: 5}, l.ID, "three were taken back")
		c.asks(p, &messages.Put{Lease: l.ID})
		assert.NoError(t, c.done(t))
		n.are(t, 1, 1)
		assert.Equal(t, 1, w.server.dialled())
		assert.Zero(t, p.Stats().Revoked, "they were returned as by a Put")
	})
}

func TestADeadBorrowersGetIsRefused(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		c := w.customer()
		c.stops(t)
		assert.ErrorIs(t, ask[*messages.Denied](t, w, p, &messages.Get{Borrower: c.pid}).Err, messages.ErrBorrowerGone)
		assert.ErrorIs(t, ask[*messages.Denied](t, w, p, &messages.Get{Borrower: actor.NewPID(w.system.Address(), "nobody")}).Err,
			messages.ErrBorrowerGone)
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.pid)
		synctest.Wait()
		assert.Zero(t, w.server.dialled())
		assert.Zero(t, p.Stats().Gets)
	})
}

func TestABorrowerThatAsksWithItsLastBreathGetsNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		fill(t, p, 1)
		for _, last := range []any{&actor.Stopping{}, &actor.Stopped{}} {
			b := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				switch ctx.Message().(type) {
				case *actor.Stopping:
					if _, ok := last.(*actor.Stopping); ok {
						ctx.Request(p.PID(), &messages.Get{})
					}
				case *actor.Stopped:
					if _, ok := last.(*actor.Stopped); ok {
						ctx.Request(p.PID(), &messages.Get{})
					}
				}
			}))
			require.NoError(t, w.system.Root.StopFuture(b).Wait())
			counts(t, p, 0, 1, 0)
		}
		put(t, get(t, p))
	})
}

func TestABorrowerStopsWhileAConnectorWorksForIt(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		l := laundry{takes: time.Second}
		p := w.pool(capacity(1), l.config, func(cfg *config) {
			cfg.Check = func(ctx context.Context, _ *conn) error { return takes(time.Second)(ctx, 0) }
			cfg.Apply = func(ctx context.Context, _ *conn, _ any) error { return takes(time.Second)(ctx, 0) }
			cfg.Unapply = func(ctx context.Context, _ *conn) error { return takes(time.Second)(ctx, 0) }
			cfg.CheckAfterIdle = time.Minute
		})
		w.server.becomes(takes(time.Second))
		doing := func(what string) {
			t.Helper()
			e, err := p.Explain(ctx)
			require.NoError(t, err)
			require.Len(t, e.Jobs, 1)
			assert.Equal(t, what, e.Jobs[0].Doing)
		}

		c := w.customer() // while its connect runs
		c.asks(p, &messages.Get{})
		doing("connecting")
		c.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)

		c = w.customer() // while what it returned is reset
		c.puts(p, c.borrows(t, p))
		doing("resetting")
		c.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)

		c = w.customer() // while what it waits for is reset
		own := get(t, p)
		c.asks(p, &messages.Get{})
		g := begin(ctx, p)
		put(t, own)
		doing("resetting")
		c.stops(t)
		time.Sleep(time.Second)
		put(t, g.granted(t))
		time.Sleep(time.Second)

		time.Sleep(2 * time.Minute) // while what it is to get is checked
		c = w.customer()
		c.asks(p, &messages.Get{})
		doing("checking")
		c.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)

		c = w.customer() // while its setting is applied
		c.asks(p, &messages.Get{Setting: "blue"})
		doing("applying")
		c.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)

		c = w.customer() // while the setting of another is taken off for it
		c.asks(p, &messages.Get{})
		doing("unapplying")
		c.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)

		c = w.customer() // while what it held is reset, because another has died with it
		d := w.customer()
		c.borrows(t, p)
		d.asks(p, &messages.Get{})
		c.stops(t)
		doing("resetting")
		d.stops(t)
		time.Sleep(time.Second)
		counts(t, p, 0, 1, 0)
		assert.Equal(t, 1, w.server.dialled())
	})
}

func TestABorrowerThatDiesAfterCloseBeganLetsItEnd(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(2), l.config)
		a, b := w.customer(), w.customer()
		a.borrows(t, p)
		lease := b.borrows(t, p)
		b.asks(p, &messages.Get{})
		closing := async(func() error { return p.Close(ctx) })
		closing.waits(t)
		got := b.take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		a.stops(t)
		closing.waits(t)
		b.puts(p, lease)
		assert.NoError(t, closing.returned(t))
		assert.Zero(t, l.resets.Load(), "nobody is to have them")
		_, opened, closed := w.server.count()
		assert.Equal(t, opened, closed)
	})
}

func TestAPoolThatIsStoppedWhileActorsBorrowTellsThemAndIsLeftAlone(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		var n watches
		c := []*customer{w.customer(actor.WithMailbox(actor.Unbounded(&n))), w.customer(), w.customer()}
		for i := range c {
			c[i].asks(p, &messages.Get{})
		}
		lease := c[0].lease(t)
		letters := w.letters(p.PID())
		require.NoError(t, w.system.Root.StopFuture(p.PID()).Wait())
		n.are(t, 1, 1)
		got := c[2].take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		assert.EqualValues(t, 1, lease.Conn.(*conn).closed.Load())
		for i := range c {
			c[i].stops(t)
		}
		assert.Zero(t, letters.Load(), "nobody tells it of deaths")
		_, err := w.system.Root.RequestFuture(p.PID(), &messages.Put{Lease: lease.ID}, time.Minute).Result()
		assert.ErrorIs(t, err, actor.ErrDeadLetter)
	})
}

func TestAPoolThatIsStoppingRefusesByMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release // so the pool cannot end
				}
			}
		})
		c := w.customer()
		lease := c.borrows(t, p)
		hang.Store(true)
		c.asks(p, &messages.Get{})
		w.system.Root.Stop(p.PID())
		got := c.take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		c.asks(p, &messages.Put{Lease: lease.ID})
		assert.ErrorIs(t, c.done(t), messages.ErrLeaseEnded)
		c.asks(p, &messages.Taint{Lease: lease.ID})
		assert.ErrorIs(t, c.done(t), messages.ErrLeaseEnded)
		c.asks(p, &messages.Suspend{})
		assert.ErrorIs(t, c.done(t), messages.ErrClosed)
		assert.NotNil(t, ask[*messages.Released](t, w, p, &messages.Release{Borrower: c.pid}))
		assert.ErrorIs(t, ask[*messages.Denied](t, w, p, &messages.Get{}).Err, messages.ErrClosed)
		assert.Equal(t, messages.StateClosed, ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).State)
		c.stops(t)
		close(release)
		synctest.Wait()
	})
}

func TestABorrowerDiesWhileTheCapacityFalls(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(3), l.config)
		c := w.customer()
		c.asks(p, &messages.Get{}, &messages.Get{}, &messages.Get{})
		require.Len(t, c.take(), 3)
		g := begin(ctx, p)
		shrinking := async(func() error { return p.SetCapacity(ctx, 1) })
		shrinking.waits(t)
		c.stops(t)
		assert.NoError(t, shrinking.returned(t))
		own := g.granted(t)
		st := p.Stats()
		assert.Equal(t, 1, st.Open)
		assert.GreaterOrEqual(t, st.ClosedCapacity, uint64(2))
		put(t, own)
		counts(t, p, 0, 1, 0)
	})
}

func TestABorrowerDiesWhileThePoolIsSuspended(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		a, b := w.customer(), w.customer()
		a.borrows(t, p)
		b.asks(p, &messages.Get{})
		g := begin(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		a.stops(t)
		counts(t, p, 0, 1, 2)
		assert.EqualValues(t, 1, l.resets.Load())
		b.stops(t)
		counts(t, p, 0, 1, 1)
		g.waits(t)
		require.NoError(t, p.Resume(ctx))
		put(t, g.granted(t))
	})
}

func TestABorrowerDiesAfterAClear(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(2), l.config)
		a, b := w.customer(), w.customer()
		old := a.borrows(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		counts(t, p, 1, 0, 0)
		a.stops(t)
		assert.Zero(t, l.resets.Load(), "it is closed, not reset")
		assert.EqualValues(t, 1, old.Conn.(*conn).closed.Load())
		assert.EqualValues(t, 1, p.Stats().ClosedStale)

		interrupted := b.borrows(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		b.asks(p, &messages.Put{Lease: interrupted.ID})
		assert.ErrorIs(t, b.done(t), messages.ErrLeaseEnded)
		next := b.borrows(t, p)
		assert.NotEqual(t, interrupted.ID.Conn, next.ID.Conn)
		b.stops(t)
		counts(t, p, 0, 1, 0)
		assert.EqualValues(t, 3, p.Stats().Revoked)
	})
}

func TestALeaseThatThePoolHasEndedIsRefusedByMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), func(cfg *config) { cfg.MaxLease = time.Minute })
		a, b := w.customer(), w.customer()
		late := a.borrows(t, p)
		b.asks(p, &messages.Get{})
		time.Sleep(time.Minute)
		next := b.lease(t)
		for range 2 {
			a.asks(p, &messages.Put{Lease: late.ID})
			assert.ErrorIs(t, a.done(t), messages.ErrLeaseEnded)
			a.asks(p, &messages.Taint{Lease: late.ID, Cause: errApp})
			assert.ErrorIs(t, a.done(t), messages.ErrLeaseEnded)
		}
		a.stops(t)
		counts(t, p, 1, 0, 0)
		assert.Zero(t, next.Conn.(*conn).closed.Load(), "it is another's now")
		b.asks(p, &messages.Put{Lease: next.ID})
		assert.NoError(t, b.done(t))
		counts(t, p, 0, 1, 0)
	})
}

func TestABorrowerElsewhereIsToldThatAConnectionCannotTravel(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		// What is sent to the other machine is delivered here.
		far := w.customer()
		process, ok := w.system.ProcessRegistry.Get(far.pid)
		require.True(t, ok)
		w.system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
			return process, pid.Address == "elsewhere:1"
		})
		elsewhere := actor.NewPID("elsewhere:1", "far")
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, elsewhere)
		got := far.take()
		require.Len(t, got, 1)
		assert.ErrorContains(t, got[0].(*messages.Denied).Err, "a connection cannot travel: the borrower is in another process")
		assert.ErrorContains(t, ask[*messages.Denied](t, w, p, &messages.Get{Borrower: elsewhere}).Err, "another process")
		near := w.customer()
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{Borrower: near.pid}, elsewhere)
		require.Len(t, far.take(), 1)
		assert.Empty(t, near.take())
		assert.Zero(t, w.server.dialled())
		assert.Zero(t, p.Stats().Gets)

		// The other requests are plain data.
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.SetCapacity{Capacity: 2}, elsewhere)
		assert.NoError(t, far.done(t))
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.StatsRequest{}, elsewhere)
		got = far.take()
		require.Len(t, got, 1)
		assert.Equal(t, 2, got[0].(*messages.Stats).Capacity)
	})
}

func TestAHolderIsToldOfByItsAddress(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		a, b := w.customer(), w.customer()
		a.asks(p, &messages.Get{Label: "import"})
		b.asks(p, &messages.Get{Label: "export"})
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := p.Get(bounded)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, a.pid.Address+"/"+a.pid.Id, e.Holders[0].Borrower)
		assert.ErrorContains(t, err, "held by import (connection 1, 1s, actor "+a.pid.Address+"/"+a.pid.Id+")")
		told := ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		require.Len(t, told.Waiters, 1)
		assert.Equal(t, b.pid.Address+"/"+b.pid.Id, told.Waiters[0].Borrower)
		a.stops(t)
		b.stops(t)
		counts(t, p, 0, 0, 0)
	})
}

// The storm: half of two thousand borrowers die.

const (
	plaguePopulation = 2000
	plagueDead       = plaguePopulation / 2
	plagueCapacity   = 24
)

// plague is a pool, those who borrow of it, and those among them who die.
type plague struct {
	t    *testing.T
	root *actor.RootContext
	pid  *actor.PID // the pool's

	opened, closed, resets atomic.Int64
	dead                   sync.WaitGroup // counts the deaths
	living                 sync.WaitGroup // counts those who live until they are through
	restarted              atomic.Int64
}

type plagueConn struct {
	holders, closed, inside atomic.Int32
}

func (g *plague) connect(context.Context) (*plagueConn, error) {
	g.opened.Add(1)
	return &plagueConn{}, nil
}

// alone says that nobody holds the connection, and nobody else does anything with
// it.
func (g *plague) alone(what string, c *plagueConn) func() {
	if n := c.holders.Load(); n != 0 {
		g.t.Errorf("%s while %d hold the connection", what, n)
	}
	if c.inside.Add(1) != 1 || c.closed.Load() != 0 {
		g.t.Errorf("%s of a connection that is closed, or at which somebody is", what)
	}
	return func() { c.inside.Add(-1) }
}

func (g *plague) reset(_ context.Context, c *plagueConn) error {
	defer g.alone("reset", c)()
	if g.resets.Add(1)%4 == 0 {
		runtime.Gosched()
	}
	return nil
}

func (g *plague) disconnect(_ context.Context, c *plagueConn) error {
	done := g.alone("disconnect", c)
	c.closed.Add(1)
	g.closed.Add(1)
	done()
	return nil
}

// fate is what becomes of one who borrows.
type fate uint8

const (
	spared   fate = iota // it borrows some times, and is through
	stumbles             // the same, but it crashes some times and is restarted

	stopped      // from outside, whatever it does
	poisoned     // the same
	struck       // it is sent something at which it panics, and is not restarted
	quitsHolding // it stops itself while it holds
	quitsWaiting // or while it waits, or is about to hold
	failsHolding // it panics while it holds, and is not restarted
	failsWaiting
	fates
)

// villager borrows. Each incarnation is one of its own.
type villager struct {
	*plague
	fate   fate
	rng    *rand.Rand
	rounds *int // that are left to it, until it is through or does what its fate is
	asked  bool // an answer is to come
	conn   *plagueConn
	id     messages.LeaseID
}

type (
	strike  struct{} // panic
	hop     struct{ n int }
	settled struct { // the answer to a future
		answer any
		err    error
	}
)

// Receive implements actor.Actor.
func (v *villager) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		v.ask(ctx)
	case *actor.Stopping:
		v.letGo()
	case *actor.Stopped:
		if v.fate > stumbles {
			v.dead.Done()
		}
	case strike:
		v.letGo()
		panic("struck")
	case *messages.Lease:
		v.granted(ctx, msg)
	case *messages.Denied:
		if !v.asked || !errors.Is(msg.Err, context.DeadlineExceeded) {
			v.t.Errorf("denied (asked: %v): %v", v.asked, msg.Err)
		}
		v.asked = false
		v.ask(ctx)
	case settled:
		switch answer := msg.answer.(type) {
		case *messages.Lease:
			v.granted(ctx, answer)
		default:
			v.t.Errorf("the future of a living borrower ends with %v, %v", msg.answer, msg.err)
		}
	case hop:
		if msg.n > 0 {
			ctx.Send(ctx.Self(), hop{msg.n - 1})
			return
		}
		v.giveBack(ctx)
	case *messages.Done:
		if msg.Err != nil {
			v.t.Errorf("the lease of a living borrower has ended: %v", msg.Err)
		}
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		v.t.Errorf("a villager is sent a %T", msg)
	}
}

// letGo is the end of the use of the connection.
func (v *villager) letGo() {
	if v.conn != nil {
		v.conn.holders.Add(-1)
		v.conn = nil
	}
}

func (v *villager) ask(ctx actor.Context) {
	v.asked = true
	get := &messages.Get{}
	switch n := v.rng.IntN(20); {
	case n < 3:
		get.Label = "villager"
	case n < 5:
		get.Deadline = time.Now().Add(time.Duration(v.rng.IntN(3000)) * time.Microsecond)
	case n < 8 && v.fate != stumbles: // what a former one asked for by future would come to the new one
		get.Borrower = ctx.Self()
		self := ctx.Self()
		ctx.ReenterAfter(ctx.RequestFuture(v.pid, get, time.Minute), func(answer any, err error) {
			ctx.Send(self, settled{answer, err})
		})
		return
	}
	ctx.Request(v.pid, get)
	if *v.rounds > 0 {
		return
	}
	switch v.fate {
	case quitsWaiting:
		ctx.Stop(ctx.Self())
	case failsWaiting:
		panic("fails while it waits")
	}
}

func (v *villager) granted(ctx actor.Context, l *messages.Lease) {
	if !v.asked {
		v.t.Error("a lease comes that was not asked for")
	}
	v.asked = false
	v.conn, v.id = l.Conn.(*plagueConn), l.ID
	if n := v.conn.holders.Add(1); n != 1 {
		v.t.Errorf("a connection has %d holders", n)
	}
	if v.conn.closed.Load() != 0 || v.conn.inside.Load() != 0 {
		v.t.Error("a connection is lent that is closed, or at which a connector is")
	}
	if *v.rounds <= 0 {
		switch v.fate {
		case quitsHolding:
			ctx.Stop(ctx.Self())
			return
		case failsHolding:
			v.letGo()
			panic("fails while it holds")
		}
	}
	if v.fate == stumbles && v.rng.IntN(3) == 0 {
		v.restarted.Add(1)
		v.letGo()
		panic("stumbles")
	}
	if v.rng.IntN(100) == 0 {
		time.Sleep(time.Duration(v.rng.IntN(100)) * time.Microsecond)
	}
	ctx.Send(ctx.Self(), hop{v.rng.IntN(4)})
}

func (v *villager) giveBack(ctx actor.Context) {
	v.letGo()
	var end any = &messages.Put{Lease: v.id}
	if v.rng.IntN(8) == 0 {
		end = &messages.Taint{Lease: v.id}
	}
	if v.rng.IntN(2) == 0 {
		ctx.Request(v.pid, end)
	} else {
		ctx.Send(v.pid, end)
	}
	*v.rounds--
	if v.fate <= stumbles && *v.rounds <= 0 {
		v.living.Done()
		return
	}
	v.ask(ctx)
}

// settle spawns everybody, half by a parent that stops whom it sees fail.
func (g *plague) settle(rng *rand.Rand, seed uint64) (victims []*actor.PID, fateOf map[*actor.PID]fate) {
	fateOf = map[*actor.PID]fate{}
	all := rng.Perm(plaguePopulation)
	spawn := func(ctx actor.Context, i int, f fate, opts ...actor.PropsOption) *actor.PID {
		rounds := 1 + rng.IntN(4)
		own := rand.New(rand.NewPCG(seed, uint64(i)))
		return ctx.Spawn(actor.PropsFromProducer(func() actor.Actor {
			return &villager{plague: g, fate: f, rng: own, rounds: &rounds}
		}, opts...))
	}
	ready := make(chan struct{})
	parent := func(f func(ctx actor.Context), strategy actor.SupervisorStrategy) {
		g.root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				f(ctx)
				ready <- struct{}{}
			}
		}, actor.WithSupervisor(strategy)))
		<-ready
	}
	g.dead.Add(plagueDead)
	g.living.Add(plaguePopulation - plagueDead)
	parent(func(ctx actor.Context) {
		for _, i := range all[:plagueDead] {
			f := stopped + fate(rng.IntN(int(fates-stopped)))
			pid := spawn(ctx, i, f)
			fateOf[pid] = f
			victims = append(victims, pid)
		}
	}, stopsIt())
	release := actor.WithReceiverMiddleware(actors.ReleaseOnRestart(g.pid))
	parent(func(ctx actor.Context) {
		for _, i := range all[plagueDead:] {
			if i%3 == 0 {
				spawn(ctx, i, stumbles, release)
			} else {
				spawn(ctx, i, spared)
			}
		}
	}, actor.NewOneForOneStrategy(1<<20, time.Hour, func(any) actor.Directive { return actor.RestartDirective }))
	return victims, fateOf
}

// forgets waits until the pool tells nothing of somebody who is dead.
func (g *plague) forgets(p *client.Pool[*plagueConn], pid *actor.PID) {
	address := pid.Address + "/" + pid.Id
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		e, err := p.Explain(context.Background())
		if err != nil {
			g.t.Errorf("explain: %v", err)
			return
		}
		found := false
		for _, h := range e.Holders {
			found = found || h.Borrower == address
		}
		for _, w := range e.Waiters {
			found = found || w.Borrower == address
		}
		if !found {
			return
		}
		if time.Now().After(deadline) {
			g.t.Errorf("%s is dead and still holds or waits:\n%v", address, e)
			return
		}
	}
}

func (g *plague) consistent(st client.Stats) {
	if st.Open != st.Idle+st.Borrowed+st.InTransition || st.Open+st.Connecting+st.Closing > plagueCapacity ||
		min(st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing, st.Waiting) < 0 ||
		st.Grants != st.Puts+st.Taints+st.Revoked+uint64(st.Borrowed) {
		g.t.Errorf("inconsistent: %+v", st)
	}
}

func TestHalfOfTwoThousandBorrowersDieAndNoLeaseIsLost(t *testing.T) {
	for name, opts := range map[string][]actor.PropsOption{
		"combining mailbox": nil,
		"library mailbox":   {actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewDefaultDispatcher(300))},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			passThePlague(t, seed, opts...)
		})
	}
}

func passThePlague(t *testing.T, seed uint64, opts ...actor.PropsOption) {
	rng := rand.New(rand.NewPCG(seed, 0))
	system := quietSystem()
	g := &plague{t: t, root: system.Root}
	props, err := client.Props(client.Config[*plagueConn]{
		Connect: g.connect, Reset: g.reset, Disconnect: g.disconnect, Capacity: plagueCapacity, MaxConnecting: 4,
	}, opts...)
	require.NoError(t, err)
	g.pid = system.Root.Spawn(props)
	p := client.Attach[*plagueConn](system, g.pid)

	over := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // somebody looks
		for {
			select {
			case <-over:
				return
			default:
				g.consistent(p.Stats())
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for i := range 4 { // ordinary Go borrows too
		own := rand.New(rand.NewPCG(seed, uint64(plaguePopulation+i)))
		others.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				bounded, cancel := context.WithTimeout(context.Background(), time.Duration(own.IntN(5000))*time.Microsecond)
				_ = p.Do(bounded, func(_ context.Context, c *plagueConn) error {
					if n := c.holders.Add(1); n != 1 {
						t.Errorf("a connection has %d holders", n)
					}
					c.holders.Add(-1)
					return nil
				})
				cancel()
			}
		})
	}

	victims, fateOf := g.settle(rng, seed)
	for i, v := range rng.Perm(len(victims)) {
		pid := victims[v]
		switch fateOf[pid] {
		case stopped:
			if i%16 == 0 {
				require.NoError(t, system.Root.StopFuture(pid).Wait())
				g.forgets(p, pid)
			} else {
				system.Root.Stop(pid)
			}
		case poisoned:
			system.Root.Poison(pid)
		case struck:
			system.Root.Send(pid, strike{})
		}
		if rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(50)) * time.Microsecond)
		}
	}
	ended := make(chan struct{})
	go func() { g.dead.Wait(); g.living.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		e, _ := p.Explain(context.Background())
		t.Fatalf("somebody is stuck:\n%v", e)
	}
	close(over)
	others.Wait()
	var st client.Stats
	require.Eventually(t, func() bool {
		st = p.Stats()
		g.consistent(st)
		return st.Borrowed+st.Waiting+st.InTransition+st.Connecting+st.Closing == 0
	}, 10*time.Second, time.Millisecond, "everything comes back")
	assert.Equal(t, st.Open, st.Idle)
	assert.Equal(t, st.Gets, st.Grants+st.Timeouts+st.Cancels, "every Get ends once")
	assert.Equal(t, st.Grants, st.Puts+st.Taints+st.Revoked, "every lease ends once")
	assert.EqualValues(t, st.Open, g.opened.Load()-g.closed.Load())
	for range plagueCapacity { // every connection is of use
		require.NoError(t, p.Do(context.Background(), func(context.Context, *plagueConn) error { return nil }))
	}
	require.NoError(t, p.Close(within(t, 10*time.Second)))
	// A reset that Close has not waited for comes back all the same.
	require.Eventually(t, func() bool { return g.opened.Load() == g.closed.Load() }, 10*time.Second, time.Millisecond,
		"connections opened and closed")
	t.Logf("gets %d, grants %d, revoked %d, cancels %d, timeouts %d, restarts %d, resets %d, connections %d",
		st.Gets, st.Grants, st.Revoked, st.Cancels, st.Timeouts, g.restarted.Load(), g.resets.Load(), g.opened.Load())
}
