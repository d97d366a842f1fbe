package actors_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestABorrowerThatIsRestartedKeepsItsLeasesAndItsPlaceInTheQueue(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		_, c := w.Children(testkit.RestartChild(), 1)
		lease := c[0].Borrow(t, p)
		c[0].Request(p, &messages.Get{})
		g := testkit.BeginGet(ctx, p)
		for range 3 {
			c[0].Crash()
		}
		assert.Equal(t, 4, c[0].Incarnations())
		assert.Empty(t, c[0].Take())
		testkit.AssertCounts(t, p, 1, 0, 2)
		assert.Zero(t, l.Count.Load())
		c[0].Put(p, lease)
		next := c[0].TakeLease(t)
		assert.Equal(t, lease.ID.Conn, next.ID.Conn)
		g.Waits(t)
		c[0].Stop(t)
		testkit.Put(t, g.Granted(t))
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestABorrowerThatIsRestartedWithTheMiddlewareStartsWithoutLeases(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p, q := w.Spawn(w.Config(testkit.Capacity(2), l.Configure)), w.Pool(testkit.Capacity(1), l.Configure)
		_, c := w.Children(testkit.RestartChild(), 2, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID(), q.PID())))
		lease, other := c[0].Borrow(t, p), c[0].Borrow(t, q)
		bystander := c[1].Borrow(t, p)
		c[0].Request(p, &messages.Get{}, &messages.Get{})
		g := testkit.BeginGet(ctx, p)
		testkit.AssertCounts(t, p, 2, 0, 3)
		c[0].Crash()
		assert.Equal(t, 2, c[0].Incarnations())
		assert.Empty(t, c[0].Take(), "no answer to its Gets, and none to the release")
		testkit.Put(t, g.Granted(t))
		testkit.AssertCounts(t, p, 1, 1, 0)
		testkit.AssertCounts(t, q, 0, 1, 0)
		c[0].Request(p, &messages.Put{Lease: lease.ID})
		assert.ErrorIs(t, c[0].TakeDone(t), messages.ErrLeaseEnded)
		c[0].Request(q, &messages.Taint{Lease: other.ID})
		assert.ErrorIs(t, c[0].TakeDone(t), messages.ErrLeaseEnded)
		c[1].Request(p, &messages.Put{Lease: bystander.ID})
		assert.NoError(t, c[1].TakeDone(t))

		// The new incarnation borrows like any other, and is watched.
		for range 3 {
			c[0].Borrow(t, p)
			testkit.AssertCounts(t, p, 1, 1, 0)
			c[0].Crash()
		}
		c[0].Borrow(t, p)
		c[0].Stop(t)
		testkit.AssertCounts(t, p, 0, 2, 0)
		testkit.AssertCounts(t, q, 0, 1, 0)
		assert.EqualValues(t, 5, p.Stats().Revoked)
		testkit.Close(t, p)
	})
}

func TestAnswersOfAFormerIncarnationAreNotPassedOn(t *testing.T) {
	for name, held := range map[string]bool{"a lease": false, "the end of a wait": true} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1))
				_, c := w.Children(testkit.RestartChild(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
				for i := range 20 {
					var own testkit.Lease
					if held {
						own = testkit.Get(t, p)
					}
					// When it crashes the answer is on its way or is still to come. It may
					// crash several times.
					for range 1 + i%3 {
						c[0].Tell(testkit.Action(func(ctx actor.Context) {
							ctx.Request(p.PID(), &messages.Get{})
							panic("the borrower crashes")
						}))
					}
					if held {
						synctest.Wait()
						testkit.Put(t, own)
					}
					require.Empty(t, c[0].Take())
					testkit.AssertCounts(t, p, 0, p.Stats().Idle, 0)
				}
				// A new incarnation that asks at once gets the answer to its own Get only.
				c[0].Tell(testkit.Action(func(ctx actor.Context) {
					ctx.Request(p.PID(), &messages.Get{Label: "former"})
					ctx.Send(ctx.Self(), testkit.Action(func(ctx actor.Context) { ctx.Request(p.PID(), &messages.Get{Label: "new"}) }))
					panic("the borrower crashes")
				}))
				lease := c[0].TakeLease(t)
				testkit.AssertCounts(t, p, 1, 0, 0)
				e, err := p.Explain(ctx)
				require.NoError(t, err)
				assert.Equal(t, "new", e.Holders[0].Label)
				c[0].Request(p, &messages.Put{Lease: lease.ID})
				assert.NoError(t, c[0].TakeDone(t))
			})
		})
	}
}

func TestAPoolThatComesBackUnderItsNameServesWhoWasRestartedMeanwhile(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		open := func() *testkit.Pool {
			props, err := client.Props(w.Config(testkit.Capacity(1)))
			require.NoError(t, err)
			pid, err := w.System.Root.SpawnNamed(props, "db")
			require.NoError(t, err)
			return client.Attach[*testkit.Conn](w.System, pid)
		}
		p := open()
		_, c := w.Children(testkit.RestartChild(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		c[0].Put(p, c[0].Borrow(t, p))
		testkit.Close(t, p)
		c[0].Crash() // while there is no pool
		assert.Empty(t, c[0].Take(), "the actor gets no message about it")
		p = open()
		c[0].Borrow(t, p)
		c[0].Stop(t)
		testkit.Close(t, p)
	})
}

func TestABorrowerMayReturnWhatItHoldsWhenItIsRestarted(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		var id messages.LeaseID
		var returned, refused atomic.Int32
		w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
					switch msg := ctx.Message().(type) {
					case *actor.Started:
						if id == (messages.LeaseID{}) {
							ctx.Request(p.PID(), &messages.Get{})
						}
					case *messages.Lease:
						id = msg.ID
						panic("crash")
					case *actor.Restarting: // it returns what it holds
						ctx.Request(p.PID(), &messages.Put{Lease: id})
					case *messages.Done:
						returned.Add(1)
						if msg.Err != nil {
							refused.Add(1)
						}
					}
				}, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID()))))
			}
		}, actor.WithSupervisor(testkit.RestartChild())))
		synctest.Wait()
		testkit.AssertCounts(t, p, 0, 1, 0)
		assert.EqualValues(t, 1, returned.Load(), "the new incarnation gets the answer to the Put")
		assert.Zero(t, refused.Load(), "the Put comes before the release, which would end the lease")
		st := p.Stats()
		assert.Equal(t, [2]uint64{1, 0}, [2]uint64{st.Puts, st.Revoked})
	})
}
