package client_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// M1
func TestMeasuresSayHowLongWaitsUsesAndConnectsTook(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		made := time.Now()
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxLease = time.Hour })
		testkit.Pass(time.Second)
		l := testkit.Get(t, p) // waits 100ms for a connect
		waiting := testkit.BeginGet(ctx, p)
		testkit.Pass(time.Second)
		m, err := p.Measure(ctx)
		require.NoError(t, err)
		assert.Equal(t, time.Second, m.LongestWait)
		assert.Equal(t, 1, m.Stats.Waiting)
		testkit.Put(t, l)
		testkit.Put(t, waiting.Granted(t)) // waited 1s
		testkit.Put(t, testkit.Get(t, p))  // served at once
		left, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		l = testkit.Get(t, p)
		_, err = p.Get(left) // a wait that fails is not one
		require.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.Put(t, l)

		m, err = p.Measure(ctx)
		require.NoError(t, err)
		assert.Equal(t, messages.Histogram{Count: 4, Sum: 1100 * time.Millisecond, Scale: 2, Offset: -14, Buckets: buckets(-14, 100*time.Millisecond, time.Second)}, m.Wait)
		assert.EqualValues(t, 2, m.Wait.Zeros())
		assert.Equal(t, messages.Histogram{Count: 4, Sum: 2 * time.Second, Scale: 2, Offset: -1, Buckets: []uint64{2}}, m.Use)
		assert.Equal(t, messages.Histogram{Count: 1, Sum: 100 * time.Millisecond, Scale: 2, Offset: -14, Buckets: []uint64{1}}, m.Connect)
		assert.Equal(t, 1, m.UseEvery)
		assert.True(t, made.Equal(m.Since), m.Since)
		assert.Zero(t, m.LongestWait)
		assert.Zero(t, m.LongestLease)
		assert.Equal(t, *testkit.Ask[*messages.Measures](t, w, p, &messages.MeasuresRequest{}), m, "by message")

		l = testkit.Get(t, p)
		testkit.Pass(time.Minute)
		m, err = p.Measure(ctx)
		require.NoError(t, err)
		assert.Equal(t, time.Minute, m.LongestLease)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		synctest.Wait()
		_, err = p.Measure(ctx)
		require.NoError(t, err, "until the last connection is closed")
		testkit.Put(t, l)
		require.NoError(t, closing.Returned(t))
		_, err = p.Measure(ctx)
		require.ErrorIs(t, err, messages.ErrClosed)
		//nolint:staticcheck // on purpose
		_, err = p.Measure(nil)
		require.ErrorIs(t, err, messages.ErrNilContext)
	})
}

// buckets counts durations in the buckets from an offset on.
func buckets(offset int, durations ...time.Duration) []uint64 {
	var counts []uint64
	for _, d := range durations {
		i := int(math.Ceil(4*math.Log2(d.Seconds()))) - 1 - offset
		for len(counts) <= i {
			counts = append(counts, 0)
		}
		counts[i]++
	}
	return counts
}

// M4
func TestWaitTimeIsWhatTheCallersWaited(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		const callers, capacity, gets = 64, 4, 50
		p := w.Pool(testkit.Capacity(capacity), func(cfg *testkit.Config) { cfg.MaxConnecting = capacity })
		waited := make(chan time.Duration, callers)
		for i := range callers {
			go func() {
				var sum time.Duration
				for n := range gets {
					begun := time.Now()
					l, err := p.Get(ctx)
					sum += time.Since(begun)
					if assert.NoError(t, err) {
						time.Sleep(time.Duration(1+(i*n)%7) * time.Millisecond)
						assert.NoError(t, l.Put())
					}
				}
				waited <- sum
			}()
		}
		var all time.Duration
		for range callers {
			all += <-waited
		}
		m, err := p.Measure(ctx)
		require.NoError(t, err)
		assert.InEpsilon(t, all, m.Stats.WaitTime, .01)
		assert.Equal(t, m.Stats.WaitTime, m.Wait.Sum)
		assert.EqualValues(t, callers*gets, m.Wait.Count)
		assert.Greater(t, m.Wait.Quantile(.5), 10*time.Millisecond)
		testkit.Close(t, p)
	})
}

// M2
func TestASampledUseEndsWithItsLeaseHoweverThatEnds(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		ways := []func(client.Lease[*testkit.Conn]){
			func(l client.Lease[*testkit.Conn]) { testkit.Put(t, l) },
			func(l client.Lease[*testkit.Conn]) { require.NoError(t, l.Taint(nil)) },
			func(l client.Lease[*testkit.Conn]) {
				conn, err := l.Hijack()
				require.NoError(t, err)
				require.NoError(t, conn.Close())
			},
			func(l client.Lease[*testkit.Conn]) {
				require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
			},
		}
		const leases = 4000
		for i := range leases {
			l := testkit.Get(t, p)
			time.Sleep(time.Second)
			ways[i%len(ways)](l)
		}
		m, err := p.Measure(ctx)
		require.NoError(t, err)
		assert.Equal(t, 16, m.UseEvery)
		assert.InEpsilon(t, leases/16, m.Use.Count, .1)
		assert.Equal(t, time.Duration(m.Use.Count)*time.Second, m.Use.Sum, "each lasted a second")
		assert.Equal(t, []uint64{m.Use.Count}, m.Use.Buckets)
		testkit.Close(t, p)
	})
}
