package actors_test

import (
	"sync/atomic"
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

// watchCounter counts the watches of an actor. It is middleware of its mailbox.
type watchCounter struct{ began, ended atomic.Int32 }

func (*watchCounter) MailboxStarted() {}

func (*watchCounter) MessageReceived(any) {}

func (*watchCounter) MailboxEmpty() {}

func (n *watchCounter) MessagePosted(message any) {
	switch message.(type) {
	case *actor.Watch:
		n.began.Add(1)
	case *actor.Unwatch:
		n.ended.Add(1)
	}
}

func (n *watchCounter) assert(t *testing.T, began, ended int32) {
	t.Helper()
	synctest.Wait()
	assert.Equal(t, [2]int32{began, ended}, [2]int32{n.began.Load(), n.ended.Load()}, "watched, unwatched")
}

func TestABorrowerIsWatchedOnceHoweverManyItsLeasesAre(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		held := testkit.Get(t, p)
		var n watchCounter
		c := w.Borrower(actor.WithMailbox(actor.Unbounded(&n)))
		for range 5 {
			c.Request(p, &messages.Get{})
		}
		n.assert(t, 1, 0)
		testkit.AssertCounts(t, p, 3, 0, 3)
		got := c.Take()
		require.Len(t, got, 2)
		c.Put(p, got[0].(*messages.Lease))
		c.Put(p, got[1].(*messages.Lease))
		testkit.Put(t, held)
		got = c.Take()
		require.Len(t, got, 3)
		n.assert(t, 1, 0)
		for _, l := range got {
			c.Put(p, l.(*messages.Lease))
		}
		n.assert(t, 1, 1)

		// The same for later leases, also for one by future.
		c.Put(p, c.Borrow(t, p))
		n.assert(t, 2, 2)
		l := testkit.Ask[*messages.Lease](t, w, p, &messages.Get{Borrower: c.PID})
		n.assert(t, 3, 2)
		assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.Taint{Lease: l.ID}).Err)
		n.assert(t, 3, 3)

		// A wait that ends without a lease ends the watch. A Get that is refused at once starts none.
		require.NoError(t, p.Suspend(ctx))
		c.Request(p, &messages.Get{Deadline: time.Now().Add(time.Second)})
		n.assert(t, 4, 3)
		time.Sleep(time.Second)
		n.assert(t, 4, 4)
		c.Request(p, &messages.Get{Deadline: time.Now().Add(-time.Second)})
		n.assert(t, 4, 4)
		require.NoError(t, p.Resume(ctx))

		// So does the end of all leases at once.
		borrowTwo(t, c, p)
		n.assert(t, 5, 4)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		n.assert(t, 5, 5)
		borrowTwo(t, c, p)
		c.Request(p, &messages.Release{})
		n.assert(t, 6, 6)
		c.Take()
		borrowTwo(t, c, p)
		c.Stop(t)
		n.assert(t, 8, 6) // StopFuture watches it too
		testkit.AssertCounts(t, p, 0, 0, 0)
	})
}

// borrowTwo makes an actor borrow two connections.
func borrowTwo(t *testing.T, c *testkit.Borrower, p *testkit.Pool) {
	t.Helper()
	c.Take()
	c.Request(p, &messages.Get{}, &messages.Get{})
	require.Len(t, c.Take(), 2)
}
