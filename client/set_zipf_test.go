package client_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/internal/testkit"
)

// The Gets of fifty keys, whose numbers follow Zipf's law, share ten connections that take
// time to open and to close, and that are in use for nearly all of the time. The server never
// sees more than ten, from the begin of a connect to the end of a Disconnect. Every Get is
// served, and none waits for more than twenty times as long as a connection is used
// on average.
func TestKeysWithUnequalLoadsShareTheConnectionsOfASet(t *testing.T) {
	const (
		keys, total, gets = 50, 10, 5000
		use               = 10 * time.Millisecond
		load              = 0.75
	)
	var open, most, opened atomic.Int64
	runSet(t, func(w *testkit.World, cfg *testSetCfg) {
		cfg.Total = total
		plain := cfg.New
		cfg.New = func(key string) testkit.Config {
			c := plain(key)
			connect := c.Connect
			c.Connect = func(ctx context.Context) (*testkit.Conn, error) {
				opened.Add(1)
				now := open.Add(1)
				for last := most.Load(); now > last && !most.CompareAndSwap(last, now); {
					last = most.Load()
				}
				time.Sleep(time.Millisecond)
				return connect(ctx)
			}
			c.Disconnect = func(_ context.Context, conn *testkit.Conn) error {
				defer open.Add(-1)
				time.Sleep(200 * time.Microsecond)
				return conn.Close()
			}
			return c
		}
	}, func(t *testing.T, w *testkit.World, s *testSet) {
		random := rand.New(rand.NewPCG(3, 4))
		var sums [keys]float64
		sum := 0.0
		for i := range sums {
			sum += 1 / float64(i+1)
			sums[i] = sum
		}
		waits := make([]time.Duration, gets)
		var callers sync.WaitGroup
		for i := range waits {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(use) / total / load))
			rank, _ := slices.BinarySearch(sums[:], random.Float64()*sum)
			key, uses := strconv.Itoa(rank), time.Duration(random.ExpFloat64()*float64(use))
			callers.Go(func() {
				start := time.Now()
				lease, err := s.Get(ctx, key)
				if !assert.NoError(t, err) {
					return
				}
				waits[i] = time.Since(start)
				time.Sleep(uses)
				assert.NoError(t, lease.Put())
			})
		}
		callers.Wait()
		synctest.Wait()
		t.Logf("%d connects, %d connections at most; the longest wait is %v", opened.Load(), most.Load(), slices.Max(waits))
		assert.EqualValues(t, total, most.Load(), "all places are used, and no more")
		assert.Less(t, slices.Max(waits), 20*use)
		st := s.Stats()
		assert.EqualValues(t, gets, st.Grants)
		assert.Zero(t, st.Waiting)
		assert.Zero(t, st.Borrowed)
		assert.LessOrEqual(t, st.Open, total)
		assert.NoError(t, s.Close(ctx))
		assert.Zero(t, open.Load(), "everything is closed")
	})
}
