package actors_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestAPoolThatIsStoppedWhileActorsBorrowTellsThemAndIsLeftAlone(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		var n watchCounter
		c := []*testkit.Borrower{w.Borrower(actor.WithMailbox(actor.Unbounded(&n))), w.Borrower(), w.Borrower()}
		for i := range c {
			c[i].Request(p, &messages.Get{})
		}
		lease := c[0].TakeLease(t)
		letters := w.DeadLettersTo(p.PID())
		require.NoError(t, w.System.Root.StopFuture(p.PID()).Wait())
		n.assert(t, 1, 1)
		got := c[2].Take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		assert.EqualValues(t, 1, lease.Conn.(*testkit.Conn).Closes())
		for i := range c {
			c[i].Stop(t)
		}
		assert.Zero(t, letters.Load(), "no actor tells it that it has stopped")
		_, err := w.System.Root.RequestFuture(p.PID(), &messages.Put{Lease: lease.ID}, time.Minute).Result()
		assert.ErrorIs(t, err, actor.ErrDeadLetter)
	})
}

func TestAPoolThatIsStoppingRefusesByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release // which delays the pool's end
				}
			}
		})
		c := w.Borrower()
		lease := c.Borrow(t, p)
		hang.Store(true)
		c.Request(p, &messages.Get{})
		w.System.Root.Stop(p.PID())
		got := c.Take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrClosed)
		c.Request(p, &messages.Put{Lease: lease.ID})
		assert.ErrorIs(t, c.TakeDone(t), messages.ErrLeaseEnded)
		c.Request(p, &messages.Taint{Lease: lease.ID})
		assert.ErrorIs(t, c.TakeDone(t), messages.ErrLeaseEnded)
		c.Request(p, &messages.Suspend{})
		assert.ErrorIs(t, c.TakeDone(t), messages.ErrClosed)
		assert.NotNil(t, testkit.Ask[*messages.Released](t, w, p, &messages.Release{Borrower: c.PID}))
		assert.ErrorIs(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{}).Err, messages.ErrClosed)
		assert.Equal(t, messages.StateClosed, testkit.Ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).State)
		c.Stop(t)
		close(release)
		synctest.Wait()
	})
}

func TestAPoolThatIsStoppingAnswersAnExplainRequest(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release
				}
			}
		})
		hang.Store(true)
		testkit.Put(t, testkit.Get(t, p))
		synctest.Wait() // the event handler hangs now, which delays the pool's end
		w.System.Root.Stop(p.PID())
		synctest.Wait()
		_, err := w.System.Root.RequestFuture(p.PID(), &messages.ExplainRequest{}, time.Minute).Result()
		close(release)
		synctest.Wait()
		assert.NoError(t, err)
	})
}

func TestAPoolThatIsStoppingAnswersARelease(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release
				}
			}
		})
		_, c := w.Children(testkit.RestartChild(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		hang.Store(true)
		testkit.Put(t, testkit.Get(t, p))
		synctest.Wait() // the event handler hangs now, which delays the pool's end
		w.System.Root.Stop(p.PID())
		c[0].Crash()
		assert.Empty(t, c[0].Take())
		close(release)
		synctest.Wait()
	})
}

// A pool whose connections are all closed delivers its events before its Closes
// return. A Close whose context ends meanwhile succeeds at once, and takes no other
// Close with it.
func TestACloseWhoseContextEndsDoesNotWaitForEvents(t *testing.T) {
	for leaves := range 4 {
		t.Run(fmt.Sprintf("number %d leaves", leaves), func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				release := make(chan struct{})
				p := w.Pool(func(cfg *testkit.Config) { cfg.OnEvent = func(messages.Event) { <-release } })
				testkit.Fill(t, p, 1)
				closes := make([]*testkit.Call, 4)
				for i := range closes {
					bounded := ctx
					if i == leaves {
						bounded = testkit.Within(t, 100*time.Millisecond)
					}
					closes[i] = testkit.Async(func() error { return p.Close(bounded) })
				}
				b := w.Borrower()
				b.Request(p, &messages.Close{Deadline: time.Now().Add(200 * time.Millisecond)})
				assert.Empty(t, b.Take())
				_, opened, closed := w.Server.Counts()
				assert.Equal(t, [2]int{1, 1}, [2]int{opened, closed}, "only events are left")

				testkit.Pass(100 * time.Millisecond)
				for i, c := range closes {
					if i == leaves {
						assert.NoError(t, c.Returned(t))
						assert.Equal(t, 100*time.Millisecond, c.Waited)
					} else {
						c.Waits(t)
					}
				}
				testkit.Pass(100 * time.Millisecond)
				assert.NoError(t, b.TakeDone(t))
				for i, c := range closes {
					if i != leaves {
						c.Waits(t)
					}
				}
				testkit.Pass(800 * time.Millisecond) // the bound for a slow event handler
				for _, c := range closes {
					assert.NoError(t, c.Returned(t))
				}
				assert.Empty(t, b.Take())
				close(release)
				synctest.Wait()
			})
		})
	}
}

// Close has closed all connections, and waits for a handler of events that is slow or hangs.
// Who stops the pool meanwhile leaves nobody waiting: not for the handler, and not for an
// incarnation that is no more.
func TestAPoolThatIsStoppedWhileItsEventsAreDeliveredAnswersEverybody(t *testing.T) {
	for name, stop := range map[string]func(w *testkit.World, p *testkit.Pool){
		"stopped":  func(w *testkit.World, p *testkit.Pool) { w.System.Root.Stop(p.PID()) },
		"poisoned": func(w *testkit.World, p *testkit.Pool) { w.System.Root.Poison(p.PID()) },
		"restarted": func(w *testkit.World, p *testkit.Pool) {
			process, _ := w.System.ProcessRegistry.Get(p.PID())
			process.SendSystemMessage(p.PID(), &actor.Restart{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				release := make(chan struct{})
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					cfg.OnEvent = func(e messages.Event) {
						if e.Kind == messages.PoolClosed {
							<-release
						}
					}
				})
				testkit.Put(t, testkit.Get(t, p))
				closed := testkit.Async(func() error { return p.Close(ctx) })
				synctest.Wait()
				stop(w, p)
				require.NoError(t, closed.Returned(t))
				assert.Equal(t, messages.StateClosed, p.Stats().State)
				assert.False(t, p.Health().OK)
				require.NoError(t, p.Close(ctx))
				_, err := p.Explain(ctx)
				require.ErrorIs(t, err, messages.ErrClosed)
				close(release)
				<-p.Done()
			})
		})
	}
}
