package client_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestALeaseThatIsHeldForTooLongEnds(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(testkit.Capacity(1), testkit.MaxLease(time.Minute), j.Listen)
		late, err := p.GetWith(ctx, client.GetOptions{Label: "late"})
		require.NoError(t, err)
		held := late.Conn()
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Minute - time.Millisecond)
		g.Waits(t)
		assert.NotNil(t, late.Conn())
		time.Sleep(time.Millisecond)
		next := g.Granted(t)
		assert.NotSame(t, held, next.Conn())
		assert.EqualValues(t, 1, held.Closes())
		assert.Nil(t, late.Conn())
		for range 2 {
			assert.ErrorIs(t, late.Put(), messages.ErrLeaseEnded)
			assert.ErrorIs(t, late.Taint(nil), messages.ErrLeaseEnded)
		}
		testkit.Put(t, next)
		testkit.AssertCounts(t, p, 0, 1, 0)
		st := p.Stats()
		assert.Equal(t, [3]uint64{1, 1, 1}, [3]uint64{st.Revoked, st.Leaks, st.ClosedBroken})
		leaks := j.Of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.ErrorIs(t, leaks[0].Err, messages.ErrLeaseExpired)
		assert.Equal(t, "late", leaks[0].Label)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		closings := j.Of(messages.ConnectionClosed)
		require.Len(t, closings, 1)
		assert.ErrorIs(t, closings[0].Err, messages.ErrLeaseExpired)
	})
}

func TestEachLeaseHasItsOwnTime(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3), testkit.MaxLease(time.Minute))
		var leases []testkit.Lease
		for range 3 {
			leases = append(leases, testkit.Get(t, p))
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		for i := range leases { // the first is over now
			assert.Equal(t, i == 0, leases[i].Conn() == nil)
		}
		testkit.Put(t, leases[1]) // before MaxLease
		fresh := testkit.Get(t, p)
		testkit.Pass(40 * time.Second)
		assert.ErrorIs(t, leases[2].Put(), messages.ErrLeaseEnded)
		testkit.Put(t, fresh)
		for range 10 { // each lease of a connection has its own bound
			l := testkit.Get(t, p)
			time.Sleep(59 * time.Second)
			testkit.Put(t, l)
		}
		assert.EqualValues(t, 2, p.Stats().Revoked)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestDoTellsThatItsLeaseEndedMeanwhile(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), testkit.MaxLease(time.Minute))
		for _, result := range []error{nil, testkit.ErrApp, io.EOF} {
			var was *testkit.Conn
			err := p.Do(ctx, func(_ context.Context, c *testkit.Conn) error {
				was = c
				time.Sleep(time.Hour)
				return result
			})
			assert.ErrorIs(t, err, messages.ErrLeaseEnded)
			if result != nil {
				assert.ErrorIs(t, err, result)
			}
			assert.EqualValues(t, 1, was.Closes())
		}
		assert.NoError(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { time.Sleep(59 * time.Second); return nil }))
		assert.PanicsWithValue(t, "too late", func() {
			_ = p.Do(ctx, func(context.Context, *testkit.Conn) error { time.Sleep(time.Hour); panic("too late") })
		})
		testkit.AssertCounts(t, p, 0, 0, 0)
		assert.EqualValues(t, 4, p.Stats().Revoked)
	})
}

func TestMaxLeaseBoundsACloseAndASmallerCapacity(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), testkit.MaxLease(time.Minute))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		assert.Equal(t, time.Minute, testkit.Elapsed(func() { assert.NoError(t, p.SetCapacity(ctx, 0)) }))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Put(), messages.ErrLeaseEnded)
		require.NoError(t, p.SetCapacity(ctx, 2))
		a = testkit.Get(t, p)
		assert.Equal(t, time.Minute, testkit.Elapsed(func() { assert.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
	})
}
