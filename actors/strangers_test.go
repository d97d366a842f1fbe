package actors_test

import (
	"context"
	"runtime"
	"strings"
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

// children finds the connectors and the observer of a pool, as anybody can.
func children(w *testkit.World, p *testkit.Pool) (pids []*actor.PID) {
	for _, bucket := range w.System.ProcessRegistry.LocalPIDs.LocalPIDs {
		for _, id := range bucket.Keys() {
			if strings.HasPrefix(id, p.PID().Id+"/") {
				pids = append(pids, actor.NewPID(p.PID().Address, id))
			}
		}
	}
	return pids
}

// T1
func TestARecipientThatBlocksDelaysOnlyItself(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(2)))
		release := make(chan struct{})
		var got atomic.Int32
		blocked := w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *messages.Lease, *messages.Released:
				got.Add(1)
				<-release
			}
		}, actor.WithMailbox(actors.NewMailbox)))
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, blocked)
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Release{}, blocked)
		b := w.Borrower()
		lease := b.Borrow(t, p)
		testkit.AssertCounts(t, p, 1, 0, 0) // that of the blocked one was released
		b.Request(p, &messages.Put{Lease: lease.ID})
		assert.NoError(t, b.TakeDone(t))
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, blocked)
		testkit.Put(t, testkit.Get(t, p))
		require.NoError(t, w.System.Root.StopFuture(p.PID()).Wait(), "the end of the pool does not wait either")
		assert.EqualValues(t, 1, got.Load())
		close(release)
		synctest.Wait()
		assert.GreaterOrEqual(t, got.Load(), int32(2), "what was for it arrives")
		w.System.Root.Stop(blocked)
	})
}

// T5
func TestAConnectorThatSomebodyStopsIsReplaced(t *testing.T) {
	for _, doing := range []string{"idle", "borrowed", "connecting", "resetting", "closing"} {
		t.Run(doing, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					if doing == "resetting" {
						cfg.Reset = func(ctx context.Context, _ *testkit.Conn) error { return testkit.Sleep(ctx, time.Second) }
					}
				})
				l := testkit.Get(t, p)
				var g *testkit.Getting
				switch doing {
				case "idle", "resetting":
					testkit.Put(t, l)
				case "connecting":
					w.Server.SetDial(testkit.Delay(time.Second))
					require.NoError(t, l.Taint(nil))
					g = testkit.BeginGet(ctx, p)
				case "closing":
					w.Server.OnClose = func(*testkit.Conn) { time.Sleep(time.Second) }
					require.NoError(t, l.Taint(nil))
				}
				for _, pid := range children(w, p) {
					w.System.Root.Stop(pid)
				}
				testkit.Pass(10 * time.Second)
				if doing == "connecting" { // it stopped when the connect was done
					l = g.Granted(t)
				}
				if doing == "borrowed" || doing == "connecting" {
					assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
				}
				w.Server.SetDial(testkit.Accept)
				next := testkit.Get(t, p)
				assert.Zero(t, next.Conn().Closes())
				assert.NotSame(t, w.Server.Conn(1), next.Conn())
				testkit.Put(t, next)
			})
		})
	}
}

// T5
func TestAnObserverThatSomebodyStopsIsReplaced(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Spawn(w.Config(j.Listen))
		for range 3 {
			for _, pid := range children(w, p) {
				w.System.Root.Stop(pid)
			}
			// The connectors stop, too, and one may be of the connection that is lent.
			if err := testkit.Get(t, p).Put(); err != nil {
				require.ErrorIs(t, err, messages.ErrLeaseEnded)
			}
			synctest.Wait()
		}
		start := time.Now()
		w.CloseAndCheck(p)
		assert.Zero(t, time.Since(start), "no event is waited for in vain")
		for i, e := range j.All() {
			assert.EqualValues(t, i+1, e.Seq)
		}
	})
}

// T6
func TestAGetByMessageIsAnsweredAtTheEndOfThePool(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			w := testkit.NewWorld(t, false)
			p := w.Spawn(w.Config(testkit.Capacity(1)))
			process, _ := w.System.ProcessRegistry.Get(p.PID())
			var asked, answered atomic.Int32
			pid := w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				switch msg := ctx.Message().(type) {
				case *messages.Denied, *actor.DeadLetterResponse:
					answered.Add(1)
				case *messages.Lease:
					answered.Add(1)
					ctx.Send(p.PID(), &messages.Put{Lease: msg.ID})
				}
			}))
			for range 4 {
				go func() {
					for range 10 {
						asked.Add(1)
						// By the process, as somebody who has it in hand already.
						process.SendUserMessage(p.PID(), &actor.MessageEnvelope{Message: &messages.Get{}, Sender: pid})
						runtime.Gosched()
					}
				}()
			}
			testkit.Close(t, p)
			synctest.Wait()
			assert.Equal(t, asked.Load(), answered.Load(), "Gets, answers")
			w.System.Root.Stop(pid)
		})
	}
}

// S1
func TestALeaseOfOrdinaryGoIsNotEndedByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		byMessage := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
		w.System.Root.Send(p.PID(), &messages.Put{Lease: byMessage.ID})
		l := testkit.Get(t, p)
		for epoch := range uint64(10) {
			for _, epoch := range []uint64{epoch, byMessage.ID.Epoch + epoch} {
				id := messages.LeaseID{Conn: byMessage.ID.Conn, Epoch: epoch}
				assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: id}).Err, messages.ErrLeaseEnded)
				assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: id}).Err, messages.ErrLeaseEnded)
			}
		}
		testkit.Put(t, l)
	})
}

// respondsItself is a message that the actor library asks for the answer to itself.
type respondsItself struct{ asked *atomic.Bool }

func (r *respondsItself) GetAutoResponse(actor.Context) any {
	r.asked.Store(true)
	panic("on the pool's turn")
}

// S1, T1
func TestMessagesOfTheActorSystemCannotBeForged(t *testing.T) {
	var asked atomic.Bool
	for _, message := range []any{
		&actor.Started{}, &actor.Stopping{}, &actor.Stopped{}, &actor.Restarting{}, &actor.Restart{}, &actor.Stop{},
		&actor.Terminated{}, &actor.ReceiveTimeout{}, &respondsItself{&asked},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := testkit.NewWorld(t, false)
			p := w.Pool(testkit.Capacity(1))
			b := w.Borrower()
			lease := b.Borrow(t, p)
			if terminated, ok := message.(*actor.Terminated); ok {
				terminated.Who = b.PID
			}
			for range 2 { // a second Terminated is believed, if it comes from the system
				w.System.Root.Send(p.PID(), message)
				_ = w.System.Root.RequestFuture(p.PID(), message, time.Millisecond).Wait()
			}
			testkit.AssertCounts(t, p, 1, 0, 0)
			b.Request(p, &messages.Put{Lease: lease.ID})
			assert.NoError(t, b.TakeDone(t), "%T", message)
			testkit.Put(t, testkit.Get(t, p))
			b.Stop(t)
		})
	}
	assert.False(t, asked.Load())
}
