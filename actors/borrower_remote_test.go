package actors_test

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestABorrowerElsewhereIsToldThatAConnectionCannotTravel(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		// Messages to the other machine are delivered to far.
		far := w.Borrower()
		process, ok := w.System.ProcessRegistry.Get(far.PID)
		require.True(t, ok)
		w.System.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
			return process, pid.Address == "elsewhere:1"
		})
		elsewhere := actor.NewPID("elsewhere:1", "far")
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, elsewhere)
		got := far.Take()
		require.Len(t, got, 1)
		assert.ErrorContains(t, got[0].(*messages.Denied).Err, "a connection cannot travel: the borrower is in another process")
		assert.ErrorContains(t, testkit.Ask[*messages.Denied](t, w, p, &messages.Get{Borrower: elsewhere}).Err, "another process")
		near := w.Borrower()
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{Borrower: near.PID}, elsewhere)
		require.Len(t, far.Take(), 1)
		assert.Empty(t, near.Take())
		assert.Zero(t, w.Server.Dials())
		assert.Zero(t, p.Stats().Gets)

		// The other requests are plain data.
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.SetCapacity{Capacity: 2}, elsewhere)
		assert.NoError(t, far.TakeDone(t))
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.StatsRequest{}, elsewhere)
		got = far.Take()
		require.Len(t, got, 1)
		assert.Equal(t, 2, got[0].(*messages.Stats).Capacity)
	})
}

func TestAnActorOfTheSameNameElsewhereThatIsDeniedEndsNoLease(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		c := w.Borrower()
		lease := c.Borrow(t, p)
		// The Get is denied. The answer cannot be delivered, and the pool gets it back.
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, actor.NewPID("elsewhere:1", c.PID.Id))
		testkit.AssertCounts(t, p, 1, 0, 0)
		assert.Zero(t, lease.Conn.(*testkit.Conn).Closes())
		c.Stop(t)
	})
}

func TestAnActorOfTheSameNameElsewhereReleasesNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		c := w.Borrower()
		c.Borrow(t, p)
		w.System.Root.RequestWithCustomSender(p.PID(), &messages.Release{}, actor.NewPID("elsewhere:1", c.PID.Id))
		testkit.AssertCounts(t, p, 1, 0, 0)
		c.Stop(t)
	})
}

func TestAReleaseForAnActorOfTheSameNameElsewhereEndsNoLease(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		c := w.Borrower()
		c.Borrow(t, p)
		w.System.Root.Send(p.PID(), &messages.Release{Borrower: actor.NewPID("elsewhere:1", c.PID.Id)})
		testkit.AssertCounts(t, p, 1, 0, 0)
		c.Stop(t)
	})
}
