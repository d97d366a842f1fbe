package actors_test

import (
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

func TestAGetByFutureNamesItsBorrower(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var l testkit.CountedReset
		p := w.Pool(testkit.Capacity(1), l.Configure)
		c := w.Borrower()
		lease := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c.PID, Label: "by future"})
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, c.PID.Address+"/"+c.PID.Id, e.Holders[0].Borrower)

		f := w.System.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c.PID}, time.Minute)
		g := testkit.BeginGet(ctx, p)
		testkit.AssertCounts(t, p, 1, 0, 2)
		c.Stop(t)
		answer, err := f.Result()
		require.NoError(t, err)
		require.IsType(t, &messages.Denied{}, answer)
		assert.ErrorIs(t, answer.(*messages.Denied).Err, messages.ErrBorrowerGone)
		own := g.Granted(t)
		assert.Same(t, lease.Conn, own.Conn())
		testkit.Put(t, own)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
		assert.Empty(t, c.Take())
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestWhatAFormerIncarnationGotByFutureIsReleasedToo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		_, c := w.Children(testkit.RestartChild(), 1, actor.WithReceiverMiddleware(actors.ReleaseOnRestart(p.PID())))
		lease := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c[0].PID})
		f := w.System.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c[0].PID}, time.Minute)
		testkit.AssertCounts(t, p, 1, 0, 1)
		c[0].Crash()
		answer, err := f.Result()
		require.NoError(t, err)
		assert.ErrorIs(t, answer.(*messages.Denied).Err, messages.ErrBorrowerGone)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: lease.ID}).Err, messages.ErrLeaseEnded)
		assert.Empty(t, c[0].Take())
		testkit.AssertCounts(t, p, 0, 0, 0)
	})
}

func TestAFutureThatNamesNobodyHoldsUntilItsPut(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		c := w.Borrower()
		var id messages.LeaseID
		c.Do(func(ctx actor.Context) {
			ctx.ReenterAfter(ctx.RequestFuture(p.PID(), &messages.Get{}, time.Second), func(answer any, err error) {
				assert.NoError(t, err)
				id = answer.(*messages.Lease).ID
			})
		})
		c.Stop(t)
		time.Sleep(time.Hour)
		testkit.AssertCounts(t, p, 1, 0, 0)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: id}).Err)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestAGrantToAFutureThatTimedOutIsTakenBackThoughItsBorrowerLives(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		var n watchCounter
		c := w.Borrower(actor.WithMailbox(actor.Unbounded(&n)))
		for range 3 {
			_, err := w.System.Root.RequestFuture(p.PID(), &messages.Get{Borrower: c.PID}, time.Second).Result()
			require.ErrorIs(t, err, actor.ErrTimeout)
		}
		n.assert(t, 1, 0)
		c.Request(p, &messages.Get{})
		testkit.Put(t, held)
		l := c.TakeLease(t)
		testkit.AssertCounts(t, p, 1, 0, 0)
		assert.EqualValues(t, 1, l.ID.Conn, "three were taken back")
		c.Request(p, &messages.Put{Lease: l.ID})
		assert.NoError(t, c.TakeDone(t))
		n.assert(t, 1, 1)
		assert.Equal(t, 1, w.Server.Dials())
		assert.Zero(t, p.Stats().Revoked, "they were returned as by a Put")
	})
}

func TestAFutureThatAsksTwiceGetsOneLease(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		f := actor.NewFuture(w.System, time.Minute)
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, f.PID())
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, f.PID())
		answer, err := f.Result()
		require.NoError(t, err)
		synctest.Wait()
		// The second Get was granted and taken back, or found no future.
		testkit.AssertCounts(t, p, 1, p.Stats().Idle, 0)
		w.System.Root.Send(p.PID(), &messages.Put{Lease: answer.(*messages.Lease).ID})
	})
}
