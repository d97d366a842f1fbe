package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestAnActorBorrowsByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		b := w.Borrower()
		b.Request(p, &messages.Get{Label: "report"})
		got := b.Take()
		require.Len(t, got, 1)
		l := got[0].(*messages.Lease)
		assert.EqualValues(t, 1, l.ID.Conn)
		assert.NotZero(t, l.ID.Epoch)
		assert.Equal(t, w.Server.Conn(1), l.Conn)

		b.Request(p, &messages.Get{})
		b.Request(p, &messages.Get{Deadline: time.Now().Add(time.Second)})
		b.Request(p, &messages.Get{Deadline: time.Now().Add(-time.Second)})
		got = b.Take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, context.DeadlineExceeded)
		assert.Equal(t, 2, testkit.Ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).Waiting)
		time.Sleep(time.Second)
		got = b.Take()
		require.Len(t, got, 1)
		err := got[0].(*messages.Denied).Err
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorAs(t, err, new(*messages.GetError))

		w.System.Root.Send(p.PID(), &messages.Put{Lease: l.ID})
		got = b.Take()
		require.Len(t, got, 1)
		next := got[0].(*messages.Lease)
		assert.EqualValues(t, 1, next.ID.Conn)
		assert.NotEqual(t, l.ID.Epoch, next.ID.Epoch)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: next.ID, Cause: testkit.ErrApp}).Err)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P5, S1
func TestALeaseThatHasEndedOrNeverWasIsRefusedByMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
		for _, forged := range []messages.LeaseID{
			{}, {Conn: 1}, {Conn: 1, Epoch: 2}, {Conn: 2, Epoch: 1}, {Conn: 1 << 63, Epoch: 1}, {Conn: 1, Epoch: 1 << 63},
			{Conn: 1, Epoch: 1}, {Conn: 1, Epoch: l.ID.Epoch + 1}, {Conn: 2, Epoch: l.ID.Epoch},
		} {
			assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: forged}).Err, messages.ErrLeaseEnded)
			assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: forged}).Err, messages.ErrLeaseEnded)
		}
		assert.Equal(t, 1, p.Stats().Borrowed)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		next := testkit.Get(t, p)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		assert.NotNil(t, next.Conn())
		testkit.Put(t, next)
	})
}

func TestEveryControlHasItsMessage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		testkit.Fill(t, p, 2)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: 1}).Err)
		assert.ErrorAs(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: -1}).Err, new(*messages.ConfigError))
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Suspend{}).Err)
		assert.Equal(t, messages.StateSuspended, testkit.Ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).State)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Resume{}).Err)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Clear{}).Err)
		synctest.Wait()
		st := testkit.Ask[*messages.Stats](t, w, p, &messages.StatsRequest{})
		assert.Zero(t, st.Open)
		assert.Equal(t, 1, st.Capacity)
		assert.EqualValues(t, 1, st.Generation)
	})
}

// X2
func TestCloseByMessageWaitsUntilItsDeadline(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{Label: "report"})
		b := w.Borrower()
		b.Request(p, &messages.Close{Deadline: time.Now().Add(time.Second)})
		b.Request(p, &messages.Close{})
		assert.Empty(t, b.Take())
		time.Sleep(time.Second)
		got := b.Take()
		require.Len(t, got, 1)
		var e *messages.DrainError
		require.ErrorAs(t, got[0].(*messages.Done).Err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, "report", e.Holders[0].Label)
		assert.ErrorIs(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{}).Err, messages.ErrClosed)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: 1}).Err, messages.ErrClosed)
		assert.ErrorIs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Clear{}).Err, messages.ErrClosed)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
		got = b.Take()
		require.Len(t, got, 1)
		assert.NoError(t, got[0].(*messages.Done).Err)
	})
}

// N1
func TestADeadlineLongBeforeThePoolsStartIsOver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
		time.Sleep(time.Second)
		longAgo := time.Date(-290_000_000, 1, 1, 0, 0, 0, 0, time.UTC)
		assert.ErrorIs(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{Deadline: longAgo}).Err, context.DeadlineExceeded)
		var e *messages.DrainError
		require.ErrorAs(t, testkit.Ask[*messages.Done](t, w, p, &messages.Close{Deadline: longAgo}).Err, &e)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
	})
}

func TestAGrantToAFutureThatTimedOutIsTakenBack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		_, err := w.System.Root.RequestFuture(p.PID(), &messages.Get{}, time.Second).Result()
		require.ErrorIs(t, err, actor.ErrTimeout)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

func TestAGrantToAnActorThatHasStoppedIsTakenBack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		b := w.Borrower()
		b.Request(p, &messages.Get{})
		require.NoError(t, w.System.Root.StopFuture(b.PID).Wait())
		testkit.Put(t, held)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestAGetWithoutASenderIsIgnored(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		w.System.Root.Send(p.PID(), &messages.Get{})
		synctest.Wait()
		assert.Zero(t, w.Server.Dials())
		assert.Zero(t, p.Stats().Gets)
	})
}

func TestABorrowerInAnotherProcessGetsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, actor.NewPID("elsewhere:1", "x"))
		synctest.Wait()
		assert.Zero(t, w.Server.Dials())
		assert.Zero(t, p.Stats().Borrowed)
	})
}

func TestNonsenseByMessageDoesNoHarm(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		borrowed := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{})
		for _, nonsense := range []any{
			(*messages.Get)(nil), (*messages.Put)(nil), (*messages.Taint)(nil), (*messages.SetCapacity)(nil), (*messages.Close)(nil),
			(*messages.Clear)(nil), (*messages.StatsRequest)(nil), (*messages.HealthFailed)(nil),
		} {
			assert.ErrorAs(t, testkit.Ask[*messages.Done](t, w, p, nonsense).Err, new(*messages.ConfigError), "%T", nonsense)
		}
		for _, nonsense := range []any{
			"hello", 42, struct{}{}, messages.Get{}, &messages.Lease{}, &messages.Done{}, (*messages.Tick)(nil), (*messages.BackoffElapsed)(nil),
			&actor.DeadLetterResponse{}, &messages.Tick{Epoch: 7}, &messages.BackoffElapsed{Epoch: 7},
		} {
			w.System.Root.Send(p.PID(), nonsense)
			w.Borrower().Request(p, nonsense)
			require.Equal(t, 1, p.Stats().Borrowed, "%T", nonsense)
		}
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Put{Lease: borrowed.ID}).Err)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, messages.StateReady, p.Stats().State)
	})
}
