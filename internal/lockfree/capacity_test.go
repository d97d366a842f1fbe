package lockfree

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRaisingTheCapacityWakesAParkedWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		waiting := goGet(t.Context(), p)
		parked(t, waiting)
		require.NoError(t, p.SetCapacity(t.Context(), 2))
		second := got(t, waiting)
		require.NotSame(t, held.Conn(), second.Conn())
		require.NoError(t, held.Put())
		require.NoError(t, second.Put())
		w.settled(t, p)
	})
}

func TestAtCapacityZeroGetsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		a, b := goGet(t.Context(), p), goGet(t.Context(), p)
		parked(t, a)
		require.NoError(t, p.SetCapacity(t.Context(), 1))
		l := got(t, a)
		parked(t, b)
		require.NoError(t, l.Put())
		require.NoError(t, got(t, b).Put())
		require.NoError(t, p.SetCapacity(t.Context(), 0))
		require.Zero(t, p.Stats().Open)
		c := goGet(t.Context(), p)
		parked(t, c)
		failedClose := p.Close(t.Context())
		require.NoError(t, failedClose)
		failed(t, c, ErrClosed)
		w.settled(t, p)
	})
}

func TestLoweringTheCapacityClosesIdleFirstThenReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 4)
		var held []Lease[*conn]
		for range 4 {
			held = append(held, get(t, p))
		}
		require.NoError(t, held[3].Put())
		lowered := make(chan error, 1)
		go func() { lowered <- p.SetCapacity(t.Context(), 1) }()
		synctest.Wait()
		require.EqualValues(t, 1, w.closed.Load(), "the idle one")
		require.Empty(t, lowered, "three are borrowed")
		waiting := goGet(t.Context(), p)
		require.NoError(t, held[0].Put())
		require.EqualValues(t, 2, w.closed.Load(), "above the capacity it is closed, even with a waiter")
		parked(t, waiting)
		require.NoError(t, held[1].Put())
		synctest.Wait()
		require.NoError(t, <-lowered)
		parked(t, waiting)
		require.NoError(t, held[2].Put())
		last := got(t, waiting)
		require.Same(t, held[2].Conn(), last.Conn(), "no longer above the capacity: lent again")
		require.NoError(t, last.Put())
		require.Equal(t, 1, p.Stats().Idle)
		w.settled(t, p)
	})
}

func TestALoweringThatTimesOutStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 2)
		a, b := get(t, p), get(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.SetCapacity(ctx, 1), context.DeadlineExceeded)
		require.Equal(t, 1, p.Stats().Capacity)
		require.NoError(t, a.Put())
		require.NoError(t, b.Put())
		require.Equal(t, Stats{Capacity: 1, Open: 1, Idle: 1, Gets: 2, Connects: 2, Disconnects: 1}, p.Stats())
		w.settled(t, p)
	})
}

func TestALaterSetCapacitySupersedesAnEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 2)
		a := get(t, p)
		earlier := make(chan error, 1)
		go func() { earlier <- p.SetCapacity(context.Background(), 0) }()
		synctest.Wait()
		require.NoError(t, p.SetCapacity(t.Context(), 3))
		synctest.Wait()
		require.ErrorIs(t, <-earlier, ErrSuperseded)
		go func() { earlier <- p.SetCapacity(context.Background(), 0) }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- p.Close(t.Context()) }()
		synctest.Wait()
		require.ErrorIs(t, <-earlier, ErrClosed)
		require.ErrorIs(t, p.SetCapacity(t.Context(), 3), ErrClosed)
		require.NoError(t, a.Put())
		require.NoError(t, <-closed)
		w.settled(t, p)
	})
}

func TestABadCapacityIsRefused(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	require.Error(t, p.SetCapacity(t.Context(), -1))
	require.Error(t, p.SetCapacity(t.Context(), maxCapacity+1))
	require.Equal(t, 1, p.Stats().Capacity)
	w.settled(t, p)
}

func TestATaintLetsTheHeadWaiterConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		waiting := goGet(t.Context(), p)
		require.NoError(t, held.Taint(errConnect))
		l := got(t, waiting)
		require.NotSame(t, held.Conn(), l.Conn())
		require.NoError(t, l.Put())
		w.settled(t, p)
	})
}

func TestATaintWhoseReplacementFailsLeavesNobodyAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		var waiting []<-chan result
		for range 5 {
			waiting = append(waiting, goGet(t.Context(), p))
		}
		failures := 4
		w.onConnect = func(context.Context) error { // one at a time: the capacity is 1
			if failures--; failures >= 0 {
				return errConnect
			}
			return nil
		}
		require.NoError(t, held.Taint(nil))
		for _, done := range waiting[:4] {
			failed(t, done, errConnect)
		}
		require.NoError(t, got(t, waiting[4]).Put())
		w.settled(t, p)
	})
}

func TestAPermitThatCrossesACancelGoesToTheNextWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		leaver, stayer := goGet(ctx, p), goGet(t.Context(), p)
		// serve for the waiter that leaves, step by step
		p.size.Store(uint64(size(p.size.Load()).withCapacity(1)))
		require.True(t, p.reserve())
		require.True(t, p.takeWaiter())
		s := p.slots.get()
		c := &p.queue.head.Load().cells[p.queue.dequeued.Add(1)-1]
		waiter := c.Load()
		require.True(t, c.CompareAndSwap(waiter, &p.queue.resumed))
		cancel()
		synctest.Wait()
		waiter.grant <- s
		failed(t, leaver, context.Canceled)
		require.NoError(t, got(t, stayer).Put())
		w.settled(t, p)
	})
}

func TestAPermitThatIsRefusedGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		leaver := goGet(ctx, p)
		// serve, step by step: the waiter leaves between the count and its cell
		p.size.Store(uint64(size(p.size.Load()).withCapacity(1)))
		require.True(t, p.reserve())
		require.True(t, p.takeWaiter())
		cancel()
		failed(t, leaver, context.Canceled)
		p.permit()
		require.Zero(t, p.Stats().Open)
		require.NoError(t, get(t, p).Put())
		w.settled(t, p)
	})
}

func TestAPlaceThatOnlyLookedTakenServesWhoCameMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		require.True(t, p.reserve())
		s := p.slots.get()
		waiting := goGet(t.Context(), p)
		parked(t, waiting)
		p.release(s)
		require.NoError(t, got(t, waiting).Put())
		w.settled(t, p)
	})
}

func TestANewcomerLeavesFreedRoomToTheHeadWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 0)
		first := goGet(t.Context(), p)
		// SetCapacity, step by step: the size has changed, no waiter is served yet.
		p.size.Store(uint64(size(p.size.Load()).withCapacity(1)))
		newcomer := goGet(t.Context(), p)
		l := got(t, first)
		parked(t, newcomer)
		require.NoError(t, l.Put())
		require.NoError(t, got(t, newcomer).Put())
		w.settled(t, p)
	})
}

func TestAWaiterChecksAgainForRoomAfterItJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		state := p.state.Load() // the Get has seen a full pool without waiters
		require.NoError(t, held.Taint(nil))
		require.True(t, p.addWaiter(state), "the taint changed only the size")
		s, err := p.wait(t.Context())
		require.NoError(t, err)
		l, err := p.dial(t.Context(), s)
		require.NoError(t, err)
		require.NoError(t, l.Put())
		w.settled(t, p)
	})
}

func TestCloseFailsWaitersAtOnceAndWaitsForBorrowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 2)
		a, b := get(t, p), get(t, p)
		var waiting []<-chan result
		for range 2*segmentSize + 1 {
			waiting = append(waiting, goGet(t.Context(), p))
		}
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- p.Close(t.Context()) }()
		}
		synctest.Wait()
		for _, done := range waiting {
			failed(t, done, ErrClosed)
		}
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		_, ok := p.TryGet()
		require.False(t, ok)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.Close(ctx), context.DeadlineExceeded)
		require.NoError(t, a.Put())
		synctest.Wait()
		require.Empty(t, closed)
		require.EqualValues(t, 1, w.closed.Load(), "closed on return")
		require.NoError(t, b.Taint(nil))
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
		w.settled(t, p)
	})
}

func TestCloseClosesEveryIdleConnection(t *testing.T) {
	var w world
	p := w.pool(t, 5)
	var held []Lease[*conn]
	for range 5 {
		held = append(held, get(t, p))
	}
	for _, l := range held {
		require.NoError(t, l.Put())
	}
	w.settled(t, p)
	require.EqualValues(t, 5, w.closed.Load())
}

func TestCloseCancelsAConnectUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		w.onConnect = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		dialling, waiting := goGet(t.Context(), p), goGet(t.Context(), p)
		require.NoError(t, p.Close(t.Context()))
		failed(t, dialling, ErrClosed)
		failed(t, waiting, ErrClosed)
		w.settled(t, p)
	})
}

func TestAConnectionThatArrivesAfterCloseIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		release := make(chan struct{})
		w.onConnect = func(context.Context) error { <-release; return nil } // ignores its context
		dialling := goGet(t.Context(), p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.Close(ctx), context.DeadlineExceeded, "the place is still taken")
		close(release)
		failed(t, dialling, ErrClosed)
		w.settled(t, p)
		require.EqualValues(t, 1, w.opened.Load())
	})
}

func TestAPutThatSawTheOldSizeFailsItsPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		saw := p.state.Load()
		require.False(t, size(p.size.Load()).over())
		lowered := make(chan error, 1)
		go func() { lowered <- p.SetCapacity(t.Context(), 0) }()
		synctest.Wait() // it has emptied the idle stack and waits
		require.False(t, p.state.CompareAndSwap(saw, step(saw, int64(held.s.index))))
		require.NoError(t, held.Put())
		require.NoError(t, <-lowered)
		w.settled(t, p)
	})
}
