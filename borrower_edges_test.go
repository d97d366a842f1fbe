package actorpool_test

import (
	"context"
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

func TestANamesakeElsewhereThatIsDeniedEndsNoLease(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		c := w.customer()
		lease := c.borrows(t, p)
		// It is denied, the answer cannot be delivered, and the pool is told so.
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, actor.NewPID("elsewhere:1", c.pid.Id))
		counts(t, p, 1, 0, 0)
		assert.Zero(t, lease.Conn.(*conn).closed.Load())
		c.stops(t)
	})
}

func TestANamesakeElsewhereReleasesNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		c := w.customer()
		c.borrows(t, p)
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Release{}, actor.NewPID("elsewhere:1", c.pid.Id))
		counts(t, p, 1, 0, 0)
		c.stops(t)
	})
}

func TestAReleaseForANamesakeElsewhereEndsNoLease(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		c := w.customer()
		c.borrows(t, p)
		w.system.Root.Send(p.PID(), &messages.Release{Borrower: actor.NewPID("elsewhere:1", c.pid.Id)})
		counts(t, p, 1, 0, 0)
		c.stops(t)
	})
}

func TestAPoolThatComesBackUnderItsNameServesWhoWasRestartedMeanwhile(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		open := func() *pool {
			props, err := client.Props(w.config(capacity(1)))
			require.NoError(t, err)
			pid, err := w.system.Root.SpawnNamed(props, "db")
			require.NoError(t, err)
			return client.Attach[*conn](w.system, pid)
		}
		p := open()
		_, c := w.family(restartsIt(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		c[0].puts(p, c[0].borrows(t, p))
		closeNow(t, p)
		c[0].crashes() // while there is no pool
		assert.Empty(t, c[0].take(), "nothing that the actor has to know")
		p = open()
		c[0].borrows(t, p)
		c[0].stops(t)
		closeNow(t, p)
	})
}

func TestABorrowerMayReturnWhatItHoldsWhenItIsRestarted(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		var id messages.LeaseID
		var refused atomic.Int32
		parent := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
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
					case *actor.Restarting: // it has cleaned up and returns what it holds
						ctx.Send(p.PID(), &messages.Put{Lease: id})
					case *messages.Done:
						if msg.Err != nil {
							refused.Add(1)
						}
					}
				}, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID()))))
			}
		}, actor.WithSupervisor(restartsIt())))
		_ = parent
		synctest.Wait()
		counts(t, p, 0, 1, 0)
		assert.EqualValues(t, 1, p.Stats().Puts)
	})
}

func TestASenderThatStopsDoesNotEndTheLeaseOfTheBorrowerItNamed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(1), l.config)
		broker, c := w.customer(), w.customer()
		broker.asks(p, &messages.Get{Borrower: c.pid}, &messages.Get{Borrower: c.pid, Deadline: time.Now().Add(time.Second)})
		lease := broker.lease(t) // it passes it on
		broker.stops(t)
		time.Sleep(2 * time.Second)
		counts(t, p, 1, 0, 0)
		c.asks(p, &messages.Put{Lease: lease.ID})
		assert.NoError(t, c.done(t))
	})
}

func TestGrantsToASenderThatHasStoppedAreTakenBack(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var l laundry
		p := w.pool(capacity(2), l.config)
		own := []lease{get(t, p), get(t, p)}
		broker, c := w.customer(), w.customer()
		broker.asks(p, &messages.Get{Borrower: c.pid}, &messages.Get{Borrower: c.pid})
		broker.stops(t)
		require.NoError(t, p.Suspend(ctx))
		put(t, own...)
		synctest.Wait()
		require.NoError(t, p.Resume(ctx))
		counts(t, p, 0, 2, 0)
	})
}

func TestAPoolThatIsStoppingAnswersAnExplainRequest(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release
				}
			}
		})
		hang.Store(true)
		put(t, get(t, p))
		synctest.Wait() // the handler hangs now, and keeps the pool from ending
		w.system.Root.Stop(p.PID())
		synctest.Wait()
		_, err := w.system.Root.RequestFuture(p.PID(), &messages.ExplainRequest{}, time.Minute).Result()
		close(release)
		synctest.Wait()
		assert.NoError(t, err)
	})
}

func TestAPoolThatIsStoppingAnswersARelease(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		var hang atomic.Bool
		p := w.pool(capacity(1), func(cfg *config) {
			cfg.OnEvent = func(messages.Event) {
				if hang.Load() {
					<-release
				}
			}
		})
		_, c := w.family(restartsIt(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		hang.Store(true)
		put(t, get(t, p))
		synctest.Wait() // the handler hangs now, and keeps the pool from ending
		w.system.Root.Stop(p.PID())
		c[0].crashes()
		assert.Empty(t, c[0].take())
		close(release)
		synctest.Wait()
	})
}

func TestAStackHasNoFramesOfThePoolInANestedDo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), func(cfg *config) { cfg.LeakAfter = time.Minute })
		require.NoError(t, p.Do(ctx, func(ctx context.Context, _ *conn) error {
			return p.Do(ctx, func(ctx context.Context, _ *conn) error {
				e, err := p.Explain(ctx)
				for _, h := range e.Holders {
					assert.NotContains(t, h.Stack, "actorpool/actors.")
				}
				return err
			})
		}))
	})
}

func TestNothingIsSuspectedAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := get(t, p)
		g := begin(ctx, p)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Suspicions)
		put(t, l)
		put(t, g.granted(t))
	})
}

// An inner Get that fails says nothing of the outer connection.
func TestAGetThatFailsInADoSaysNothingOfTheConnectionInUse(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		err := p.Do(ctx, func(context.Context, *conn) error {
			bounded, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return p.Do(bounded, func(context.Context, *conn) error { return nil })
		})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, p.Stats().Idle)
	})
}

func TestAFutureThatAsksTwiceGetsOneLease(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		f := actor.NewFuture(w.system, time.Minute)
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, f.PID())
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, f.PID())
		answer, err := f.Result()
		require.NoError(t, err)
		synctest.Wait()
		// The second Get may have been granted in vain, or found the future gone.
		counts(t, p, 1, p.Stats().Idle, 0)
		w.system.Root.Send(p.PID(), &messages.Put{Lease: answer.(*messages.Lease).ID})
	})
}

// An actor that is stopping, and waits for its children, still asks.
func TestABorrowerThatIsStoppingAlreadyKeepsNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		b := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
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
		require.NoError(t, w.system.Root.StopFuture(b).Wait())
		counts(t, p, 0, p.Stats().Idle, 0)
	})
}

func TestABorrowerReleasedByAnotherIsToldThatItsWaitHasEnded(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		own := get(t, p)
		b := w.customer()
		b.asks(p, &messages.Get{})
		assert.NotNil(t, ask[*messages.Released](t, w, p, &messages.Release{Borrower: b.pid}))
		assert.Len(t, b.take(), 1, "its wait has ended, and it lives")
		put(t, own)
	})
}
