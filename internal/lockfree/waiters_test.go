package lockfree

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		var waiting []<-chan result
		for range 3 * segmentSize {
			waiting = append(waiting, goGet(t.Context(), p))
		}
		require.Equal(t, 3*segmentSize, p.Stats().Waiting)
		for i, done := range waiting {
			require.NoError(t, held.Put())
			held = got(t, done)
			if i+1 < len(waiting) {
				parked(t, waiting[i+1])
			}
		}
		require.NoError(t, held.Put())
		require.EqualValues(t, 1, w.opened.Load())
		w.settled(t, p)
	})
}

func TestAPutGoesToTheHeadWaiterNotToALaterGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		first := goGet(t.Context(), p)
		require.NoError(t, held.Put())
		_, ok := p.TryGet()
		require.False(t, ok, "lent to the waiter, never idle")
		require.NoError(t, got(t, first).Put())
		w.settled(t, p)
	})
}

func TestAWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		leaver, stayer := goGet(ctx, p), goGet(t.Context(), p)
		time.Sleep(time.Second) // virtual
		failed(t, leaver, context.DeadlineExceeded)
		require.Equal(t, 1, p.Stats().Waiting)
		require.NoError(t, held.Put())
		require.NoError(t, got(t, stayer).Put())
		require.Equal(t, 1, p.Stats().Idle)
		w.settled(t, p)
	})
}

// The following tests go step by step through the moments at which a grant can meet a
// waiter that leaves.

func TestAGrantOnItsWayToALeaverGoesToTheNextWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		leaver, stayer := goGet(ctx, p), goGet(t.Context(), p)

		// A Put, step by step: waiter off the count, ticket taken, cell marked, grant not sent yet.
		require.True(t, held.s.link.CompareAndSwap(held.word, step(held.word, 0)))
		require.True(t, p.takeWaiter())
		c := &p.queue.head.Load().cells[p.queue.dequeued.Add(1)-1]
		waiter := c.Load()
		require.True(t, c.CompareAndSwap(waiter, &p.queue.resumed))
		cancel()
		parked(t, leaver) // it knows that a grant is coming
		waiter.grant <- held.s

		failed(t, leaver, context.Canceled)
		require.NoError(t, got(t, stayer).Put())
		w.settled(t, p)
	})
}

func TestAGrantOnItsWayToALeaverBecomesIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		leaver := goGet(ctx, p)

		require.True(t, held.s.link.CompareAndSwap(held.word, step(held.word, 0)))
		require.True(t, p.takeWaiter())
		cancel()
		failed(t, leaver, context.Canceled) // gone before the grant took its ticket
		require.False(t, p.queue.deliver(held.s), "refused")
		p.release(held.s)

		require.Equal(t, 1, p.Stats().Idle)
		require.NoError(t, get(t, p).Put())
		w.settled(t, p)
	})
}

func TestALeaverPassesOnAGrantThatCameInBetween(t *testing.T) {
	for _, behind := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var w world
			p := w.pool(t, 1)
			held := get(t, p)
			// The waiter leaves, step by step; it has no goroutine of its own here.
			require.True(t, p.addWaiter(p.state.Load()))
			leaver := p.waiters.get()
			seg, c, s := p.queue.suspend(leaver)
			require.Nil(t, s)
			var stayer <-chan result
			if behind {
				stayer = goGet(t.Context(), p)
			}
			require.True(t, c.CompareAndSwap(leaver, &p.queue.leaving))
			require.NoError(t, held.Put())
			require.Same(t, held.s, c.Load().slot, "left in the cell of the waiter that leaves")
			p.depart(seg, c)

			if behind {
				require.NoError(t, got(t, stayer).Put())
			}
			require.Equal(t, 1, p.Stats().Idle)
			w.settled(t, p)
		})
	}
}

func TestAGrantMayArriveBeforeItsWaiter(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	held := get(t, p)
	require.True(t, p.addWaiter(p.state.Load())) // counted, not yet in its cell
	require.NoError(t, held.Put())
	s, err := p.wait(t.Context())
	require.NoError(t, err)
	require.Same(t, held.s, s)
	require.NoError(t, s.lease().Put())
	w.settled(t, p)
}

func TestAPutThatSawNoWaiterFailsItsPush(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	held := get(t, p)
	saw := p.state.Load()
	require.True(t, p.addWaiter(saw))
	require.False(t, p.state.CompareAndSwap(saw, step(saw, int64(held.s.index))))
	require.True(t, p.takeWaiter())
	require.False(t, p.state.CompareAndSwap(saw, step(saw, int64(held.s.index))), "the tag differs, even if the count is the same again")
	require.NoError(t, held.Put())
	w.settled(t, p)
}

func TestCancelsThatCrossPutsLoseNothing(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	for range 300 {
		held := get(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 4 {
			own := t.Context()
			if i%2 == 0 {
				own = ctx
			}
			wg.Go(func() {
				l, err := p.Get(own)
				if err == nil {
					err = l.Put()
				}
				if own != ctx && err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(cancel)
		wg.Go(func() { _ = held.Put() })
		wg.Wait()
		require.Equal(t, 1, p.Stats().Idle)
	}
	require.EqualValues(t, 1, w.opened.Load())
	w.settled(t, p)
}

func TestManyTimeoutsKeepNoMemory(t *testing.T) {
	for _, staying := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var w world
			p := w.pool(t, 1)
			held := get(t, p)
			var first <-chan result
			if staying {
				first = goGet(t.Context(), p)
			}
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				var leaving []<-chan result
				for range segmentSize {
					leaving = append(leaving, goGet(ctx, p))
				}
				cancel()
				for _, done := range leaving {
					failed(t, done, context.Canceled)
				}
			}
			require.LessOrEqual(t, segments(p), 5)
			last := goGet(t.Context(), p)
			require.NoError(t, held.Put())
			if staying {
				require.NoError(t, got(t, first).Put())
			}
			require.NoError(t, got(t, last).Put())
			require.Equal(t, 1, p.Stats().Idle)
			w.settled(t, p)
		})
	}
}

func segments(p *Pool[*conn]) int {
	n := 0
	for seg := p.queue.head.Load(); seg != nil; seg = seg.next.Load() {
		n++
	}
	return n
}

func TestWaitersThatStayKeepTheirOrderThroughSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 1)
		held := get(t, p)
		var staying []<-chan result
		for range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			staying = append(staying, goGet(t.Context(), p))
			var leaving []<-chan result
			for range 4 * segmentSize {
				leaving = append(leaving, goGet(ctx, p))
			}
			cancel()
			for _, done := range leaving {
				failed(t, done, context.Canceled)
			}
		}
		require.Less(t, segments(p), 12, "swept in between")
		for _, done := range staying {
			require.NoError(t, held.Put())
			held = got(t, done)
		}
		require.NoError(t, held.Put())
		w.settled(t, p)
	})
}
