package actors_test

import (
	"context"
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

func TestWhatABorrowerHeldWhenItStoppedIsResetAndGoesToWhoWaits(t *testing.T) {
	for name, dies := range map[string]func(t *testing.T, c *testkit.Borrower){
		"it is stopped":             func(t *testing.T, c *testkit.Borrower) { c.Stop(t) },
		"it stops itself":           func(_ *testing.T, c *testkit.Borrower) { c.Do(func(ctx actor.Context) { ctx.Stop(ctx.Self()) }) },
		"it is poisoned":            func(_ *testing.T, c *testkit.Borrower) { c.Root.Poison(c.PID) },
		"it crashes and is stopped": func(_ *testing.T, c *testkit.Borrower) { c.Crash() },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var l testkit.CountedReset
				p := w.Pool(testkit.Capacity(1), l.Configure)
				_, c := w.Children(testkit.StopChild(), 1)
				lease := c[0].Borrow(t, p)
				g := testkit.BeginGet(ctx, p)
				g.Waits(t)
				dies(t, c[0])
				own := g.Granted(t)
				assert.Same(t, lease.Conn, own.Conn())
				assert.EqualValues(t, 1, l.Count.Load())
				assert.True(t, c[0].Stopped())
				assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
				assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
				testkit.AssertCounts(t, p, 1, 0, 0)
				testkit.Put(t, own)
				st := p.Stats()
				assert.EqualValues(t, 1, st.Revoked)
				assert.Equal(t, 1, w.Server.Dials())
			})
		})
	}
}

func TestWhatABorrowerHeldWhenItStoppedIsClosedWhereThereIsNoReset(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(testkit.Capacity(1), j.Listen)
		c := w.Borrower()
		lease := c.Borrow(t, p)
		g := testkit.BeginGet(ctx, p)
		c.Stop(t)
		own := g.Granted(t)
		assert.NotSame(t, lease.Conn, own.Conn())
		assert.EqualValues(t, 1, lease.Conn.(*testkit.Conn).Closes())
		testkit.Put(t, own)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
		for _, e := range j.All() {
			if e.Kind == messages.ConnectionClosed {
				assert.ErrorIs(t, e.Err, messages.ErrBorrowerGone)
			}
		}
	})
}

func TestAWaiterThatDiesLeavesTheQueueAndIsGrantedNothing(t *testing.T) {
	for name, dies := range map[string]func(t *testing.T, c *testkit.Borrower){
		"it is stopped":             func(t *testing.T, c *testkit.Borrower) { c.Stop(t) },
		"it is poisoned":            func(_ *testing.T, c *testkit.Borrower) { c.Root.Poison(c.PID) },
		"it crashes and is stopped": func(_ *testing.T, c *testkit.Borrower) { c.Crash() },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1))
				held := testkit.Get(t, p)
				_, c := w.Children(testkit.StopChild(), 2)
				letters := w.DeadLettersTo(c[0].PID)
				for range 3 {
					c[0].Request(p, &messages.Get{Label: "doomed"})
					c[1].Request(p, &messages.Get{})
				}
				testkit.AssertCounts(t, p, 1, 0, 6)
				dies(t, c[0])
				testkit.AssertCounts(t, p, 1, 0, 3)
				assert.EqualValues(t, 3, p.Stats().Cancels)
				testkit.Put(t, held)
				for range 3 {
					c[1].Put(p, c[1].TakeLease(t))
				}
				testkit.AssertCounts(t, p, 0, 1, 0)
				assert.Empty(t, c[0].Take())
				assert.Zero(t, letters.Load(), "nothing was sent to it")
				assert.EqualValues(t, 4, p.Stats().Grants)
			})
		})
	}
}

func TestWhoeverStopsABorrowerNeedNotWaitForThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		// The pool may handle the two Gets and the news that the actor has stopped
		// in any order.
		for range 50 {
			c := w.Borrower()
			w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.PID)
			w.System.Root.Stop(c.PID)
			w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.PID)
		}
		testkit.AssertCounts(t, p, 1, 0, 0)
		testkit.Put(t, held)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestALaterActorOfTheSameNameIsNotTheOneThatStopped(t *testing.T) {
	for name, n := range map[string]int{"it is served": 2, "it waits": 1} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var l testkit.CountedReset
				p := w.Pool(testkit.Capacity(n), l.Configure)
				first, later := w.NewBorrower(), w.NewBorrower()
				spawn := func(c *testkit.Borrower, props *actor.Props) {
					var err error
					c.PID, err = w.System.Root.SpawnNamed(props, "teller")
					assert.NoError(t, err)
				}
				spawn(first, actor.PropsFromFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopped); ok { // the name is free, and the pool does not know yet
						spawn(later, later.Props())
						w.System.Root.Send(later.PID, testkit.Action(func(ctx actor.Context) { ctx.Request(p.PID(), &messages.Get{}) }))
						time.Sleep(time.Second)
					}
					first.Receive(ctx)
				}))
				old := first.Borrow(t, p)
				w.System.Root.Stop(first.PID)
				time.Sleep(2 * time.Second)
				lease := later.TakeLease(t)
				testkit.AssertCounts(t, p, 1, 0, 0) // it has waited for the reset (P8)
				assert.EqualValues(t, 1, l.Count.Load(), "of the connection that the first one held")
				later.Request(p, &messages.Put{Lease: old.ID})
				assert.ErrorIs(t, later.TakeDone(t), messages.ErrLeaseEnded)
				later.Request(p, &messages.Get{})
				later.Stop(t)
				testkit.AssertCounts(t, p, 0, n, 0)
				assert.NotEqual(t, old.ID, lease.ID)
			})
		})
	}
}

func TestAnActorReleasesWhatItHoldsByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		a, b := w.Borrower(), w.Borrower()
		a.Borrow(t, p)
		a.Request(p, &messages.Get{})
		a.Request(p, &messages.Release{})
		got := a.Take()
		require.Len(t, got, 1)
		assert.IsType(t, &messages.Released{}, got[0])
		testkit.AssertCounts(t, p, 0, 1, 0)

		b.Borrow(t, p)
		assert.NotNil(t, testkit.Ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.PID}))
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.NotNil(t, testkit.Ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.PID}), "there is nothing left")
		assert.NotNil(t, testkit.Ask[*messages.Released](t, w, p, &messages.Release{}), "a future is no borrower")
		w.System.Root.Send(p.PID(), &messages.Release{})

		b.Borrow(t, p)
		b.Stop(t)
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.EqualValues(t, 3, l.Count.Load())
	})
}

func TestABorrowerWithManyLeasesLosesThemAllAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(5), l.Configure)
		a, b := w.Borrower(), w.Borrower()
		for range 4 {
			a.Request(p, &messages.Get{})
		}
		require.Len(t, a.Take(), 4)
		kept := b.Borrow(t, p)
		for range 4 {
			a.Request(p, &messages.Get{})
		}
		waiters := []*testkit.Getting{testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)}
		testkit.AssertCounts(t, p, 5, 0, 6)
		a.Stop(t)
		for _, g := range waiters {
			testkit.Put(t, g.Granted(t))
		}
		testkit.AssertCounts(t, p, 1, 4, 0)
		b.Put(p, kept)
		testkit.AssertCounts(t, p, 0, 5, 0)
		assert.EqualValues(t, 4, p.Stats().Revoked)
	})
}

func TestADeadBorrowersGetIsRefused(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		c := w.Borrower()
		c.Stop(t)
		assert.ErrorIs(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{Borrower: c.PID}).Err, messages.ErrBorrowerGone)
		assert.ErrorIs(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{Borrower: actor.NewPID(w.System.Address(), "nobody")}).Err,
			messages.ErrBorrowerGone)
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, c.PID)
		synctest.Wait()
		assert.Zero(t, w.Server.Dials())
		assert.Zero(t, p.Stats().Gets)
	})
}

func TestABorrowerThatAsksWhileItStopsGetsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		testkit.Fill(t, p, 1)
		for _, last := range []any{&actor.Stopping{}, &actor.Stopped{}} {
			b := w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
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
			require.NoError(t, w.System.Root.StopFuture(b).Wait())
			testkit.AssertCounts(t, p, 0, 1, 0)
		}
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestABorrowerStopsWhileAConnectorWorksForIt(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		l := testkit.CountedReset{Duration: time.Second}
		p := w.Pool(testkit.Capacity(1), l.Configure, func(cfg *testkit.Config) {
			cfg.Check = func(ctx context.Context, _ *testkit.Conn) error { return testkit.Sleep(ctx, time.Second) }
			cfg.Apply = func(ctx context.Context, _ *testkit.Conn, _ any) error { return testkit.Sleep(ctx, time.Second) }
			cfg.Unapply = func(ctx context.Context, _ *testkit.Conn) error { return testkit.Sleep(ctx, time.Second) }
			cfg.CheckAfterIdle = time.Minute
		})
		w.Server.SetDial(testkit.Delay(time.Second))
		doing := func(what string) {
			t.Helper()
			e, err := p.Explain(ctx)
			require.NoError(t, err)
			require.Len(t, e.Jobs, 1)
			assert.Equal(t, what, e.Jobs[0].Doing)
		}

		c := w.Borrower() // it stops while its connect runs
		c.Request(p, &messages.Get{})
		doing("connecting")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)

		c = w.Borrower() // it stops while the connection that it returned is reset
		c.Put(p, c.Borrow(t, p))
		doing("resetting")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)

		c = w.Borrower() // it stops while the connection that it waits for is reset
		own := testkit.Get(t, p)
		c.Request(p, &messages.Get{})
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, own)
		doing("resetting")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.Put(t, g.Granted(t))
		time.Sleep(time.Second)

		time.Sleep(2 * time.Minute) // it stops while the connection for it is checked
		c = w.Borrower()
		c.Request(p, &messages.Get{})
		doing("checking")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)

		c = w.Borrower() // it stops while its setting is applied
		c.Request(p, &messages.Get{Setting: "blue"})
		doing("applying")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)

		c = w.Borrower() // it stops while another setting is taken off for it
		c.Request(p, &messages.Get{})
		doing("unapplying")
		c.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)

		c = w.Borrower() // it stops while it waits for a connection that is reset because its holder has stopped
		d := w.Borrower()
		c.Borrow(t, p)
		d.Request(p, &messages.Get{})
		c.Stop(t)
		doing("resetting")
		d.Stop(t)
		time.Sleep(time.Second)
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

func TestABorrowerThatDiesAfterCloseBeganLetsItEnd(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(2), l.Configure)
		a, b := w.Borrower(), w.Borrower()
		a.Borrow(t, p)
		lease := b.Borrow(t, p)
		b.Request(p, &messages.Get{})
		closing := testkit.Async(func() error { return p.Close(ctx) })
		closing.Waits(t)
		got := b.Take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		a.Stop(t)
		closing.Waits(t)
		b.Put(p, lease)
		assert.NoError(t, closing.Returned(t))
		assert.Zero(t, l.Count.Load(), "they are closed, not reset")
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, opened, closed)
	})
}

func TestABorrowerDiesWhileTheCapacityFalls(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(3), l.Configure)
		c := w.Borrower()
		c.Request(p, &messages.Get{}, &messages.Get{}, &messages.Get{})
		require.Len(t, c.Take(), 3)
		g := testkit.BeginGet(ctx, p)
		shrinking := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		shrinking.Waits(t)
		c.Stop(t)
		assert.NoError(t, shrinking.Returned(t))
		own := g.Granted(t)
		st := p.Stats()
		assert.Equal(t, 1, st.Open)
		assert.GreaterOrEqual(t, st.ClosedCapacity, uint64(2))
		testkit.Put(t, own)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestABorrowerDiesWhileThePoolIsSuspended(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		a, b := w.Borrower(), w.Borrower()
		a.Borrow(t, p)
		b.Request(p, &messages.Get{})
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		a.Stop(t)
		testkit.AssertCounts(t, p, 0, 1, 2)
		assert.EqualValues(t, 1, l.Count.Load())
		b.Stop(t)
		testkit.AssertCounts(t, p, 0, 1, 1)
		g.Waits(t)
		require.NoError(t, p.Resume(ctx))
		testkit.Put(t, g.Granted(t))
	})
}

func TestABorrowerDiesAfterAClear(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(2), l.Configure)
		a, b := w.Borrower(), w.Borrower()
		old := a.Borrow(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		testkit.AssertCounts(t, p, 1, 0, 0)
		a.Stop(t)
		assert.Zero(t, l.Count.Load(), "it is closed, not reset")
		assert.EqualValues(t, 1, old.Conn.(*testkit.Conn).Closes())
		assert.EqualValues(t, 1, p.Stats().ClosedStale)

		interrupted := b.Borrow(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		b.Request(p, &messages.Put{Lease: interrupted.ID})
		assert.ErrorIs(t, b.TakeDone(t), messages.ErrLeaseEnded)
		next := b.Borrow(t, p)
		assert.NotEqual(t, interrupted.ID.Conn, next.ID.Conn)
		b.Stop(t)
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.EqualValues(t, 3, p.Stats().Revoked)
	})
}

func TestALeaseThatThePoolHasEndedIsRefusedByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxLease = time.Minute })
		a, b := w.Borrower(), w.Borrower()
		late := a.Borrow(t, p)
		b.Request(p, &messages.Get{})
		time.Sleep(time.Minute)
		next := b.TakeLease(t)
		for range 2 {
			a.Request(p, &messages.Put{Lease: late.ID})
			assert.ErrorIs(t, a.TakeDone(t), messages.ErrLeaseEnded)
			a.Request(p, &messages.Taint{Lease: late.ID, Cause: testkit.ErrApp})
			assert.ErrorIs(t, a.TakeDone(t), messages.ErrLeaseEnded)
		}
		a.Stop(t)
		testkit.AssertCounts(t, p, 1, 0, 0)
		assert.Zero(t, next.Conn.(*testkit.Conn).Closes(), "another borrower holds it")
		b.Request(p, &messages.Put{Lease: next.ID})
		assert.NoError(t, b.TakeDone(t))
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestAHolderIsToldOfByItsAddress(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		a, b := w.Borrower(), w.Borrower()
		a.Request(p, &messages.Get{Label: "import"})
		b.Request(p, &messages.Get{Label: "export"})
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := p.Get(bounded)
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, a.PID.Address+"/"+a.PID.Id, e.Holders[0].Borrower)
		assert.Contains(t, fmt.Sprintf("%+v", err), `"import" (connection 1, 1s, actor `+a.PID.Address+"/"+a.PID.Id+")")
		told := testkit.Ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		require.Len(t, told.Waiters, 1)
		assert.Equal(t, b.PID.Address+"/"+b.PID.Id, told.Waiters[0].Borrower)
		a.Stop(t)
		b.Stop(t)
		testkit.AssertCounts(t, p, 0, 0, 0)
	})
}

func TestASenderThatStopsDoesNotEndTheLeaseOfTheBorrowerItNamed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		broker, c := w.Borrower(), w.Borrower()
		broker.Request(p, &messages.Get{Borrower: c.PID}, &messages.Get{Borrower: c.PID, Deadline: time.Now().Add(time.Second)})
		lease := broker.TakeLease(t) // it is for c, which the broker would pass it to
		broker.Stop(t)
		time.Sleep(2 * time.Second)
		testkit.AssertCounts(t, p, 1, 0, 0)
		c.Request(p, &messages.Put{Lease: lease.ID})
		assert.NoError(t, c.TakeDone(t))
	})
}

func TestGrantsToASenderThatHasStoppedAreTakenBack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(2), l.Configure)
		own := []testkit.Lease{testkit.Get(t, p), testkit.Get(t, p)}
		broker, c := w.Borrower(), w.Borrower()
		broker.Request(p, &messages.Get{Borrower: c.PID}, &messages.Get{Borrower: c.PID})
		broker.Stop(t)
		require.NoError(t, p.Suspend(ctx))
		testkit.Put(t, own...)
		synctest.Wait()
		require.NoError(t, p.Resume(ctx))
		testkit.AssertCounts(t, p, 0, 2, 0)
	})
}

// The actor asks while it is stopping and waits for its child to stop.
func TestABorrowerThatIsStoppingAlreadyKeepsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		b := w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				ctx.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						time.Sleep(time.Second)
					}
				}))
			case *actor.Stopping:
				ctx.Request(p.PID(), &messages.Get{})
			}
		}))
		synctest.Wait()
		require.NoError(t, w.System.Root.StopFuture(b).Wait())
		testkit.AssertCounts(t, p, 0, p.Stats().Idle, 0)
	})
}

func TestABorrowerReleasedByAnotherIsToldThatItsWaitHasEnded(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		own := testkit.Get(t, p)
		b := w.Borrower()
		b.Request(p, &messages.Get{})
		assert.NotNil(t, testkit.Ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.PID}))
		assert.Len(t, b.Take(), 1, "it still runs, so it is told")
		testkit.Put(t, own)
	})
}
