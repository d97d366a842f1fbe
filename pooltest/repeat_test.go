package pooltest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/pooltest"
)

// rehearsal is a minute with all faults, and a pool that may have more connections than
// the server allows. It gives the history of the server, and what the callers have seen,
// to the nanosecond.
func rehearsal(t *testing.T, seed uint64) string {
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		db := pooltest.NewServer(seed)
		db.Handshake, db.Op, db.Limit = pooltest.LogNormal(20*time.Millisecond, .5), pooltest.LogNormal(8*time.Millisecond, .8), 8
		db.Fault(pooltest.Refuse, 5*time.Second, 12*time.Second)
		db.Fault(pooltest.Slow, 16*time.Second, 18*time.Second)
		db.Fault(pooltest.Blackhole, 20*time.Second, 25*time.Second)
		db.Fault(pooltest.Reset, 30*time.Second, 30*time.Second)
		db.Fault(pooltest.HalfOpen, 35*time.Second, 40*time.Second)
		db.Fault(pooltest.ReadOnly, 45*time.Second, 47*time.Second)
		db.Fault(pooltest.Flaky, 50*time.Second, 55*time.Second)
		p := newPool(t, db, config{
			Name: "db", Capacity: 10, MinIdle: 2, Seed: seed,
			Check: func(ctx context.Context, c *pooltest.Conn) error { return c.Ping(ctx) }, CheckAfterIdle: 100 * time.Millisecond,
		})
		seen := callers(p, db, seed, 100, time.Minute, 2*time.Second)
		for _, e := range db.History() {
			fmt.Fprintln(&b, int64(e.At), e.Pool, e.Conn, e.What, int64(e.Took), e.Err)
		}
		for _, s := range seen {
			fmt.Fprintln(&b, int64(s.at), int64(s.took), s.err)
		}
	})
	return b.String()
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	first := strings.Split(rehearsal(t, 1), "\n")
	require.Greater(t, len(first), 5_000)
	again := strings.Split(rehearsal(t, 1), "\n")
	for i := range min(len(first), len(again)) {
		require.Equal(t, first[i], again[i], "line %d", i+1)
	}
	require.Len(t, again, len(first))
	other := strings.Split(rehearsal(t, 2), "\n")
	assert.NotEqual(t, first[:5], other[:5], "another seed, another history")
}

// What one connection does is no part of the randomness of another.
func TestAnotherConnectionChangesNothingInTheLatencies(t *testing.T) {
	latencies := func(more int) (all []time.Duration) {
		inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
			c := dial(t, db)
			for range 20 {
				begun := db.Now()
				require.NoError(t, c.Read(ctx))
				all = append(all, db.Now()-begun)
				for range more {
					other := dial(t, db)
					require.NoError(t, other.Write(ctx))
					require.NoError(t, other.Close())
				}
			}
			require.NoError(t, c.Close())
		})
		return all
	}
	alone := latencies(0)
	assert.Equal(t, alone, latencies(3))
	assert.NotEqual(t, alone[0], alone[1])
}

// A fault that meets one connection changes nothing in what it draws afterwards.
func TestAFaultChangesNothingInTheLatenciesAfterIt(t *testing.T) {
	latencies := func(fault func(*pooltest.Server)) (last time.Duration) {
		inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
			fault(db)
			c := dial(t, db)
			require.NoError(t, c.Read(ctx))
			_ = c.Write(ctx)
			time.Sleep(time.Minute)
			begun := db.Now()
			require.NoError(t, c.Read(ctx))
			last = db.Now() - begun
			require.NoError(t, c.Close())
		})
		return last
	}
	healthy := latencies(func(*pooltest.Server) {})
	for _, fault := range []pooltest.Fault{pooltest.Slow, pooltest.Blackhole, pooltest.ReadOnly} {
		assert.Equal(t, healthy, latencies(func(db *pooltest.Server) { db.Fault(fault, 0, 30*time.Second) }), fault)
	}
	assert.Equal(t, healthy, latencies(func(db *pooltest.Server) {
		db.FlakyOneIn = 1_000_000
		db.Fault(pooltest.Flaky, 0, 30*time.Second)
	}))
}

func TestAHistoryReadsLikeALog(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.ReadOnly, 250*time.Millisecond, 350*time.Millisecond)
		db.Fault(pooltest.Reset, 450*time.Millisecond, 450*time.Millisecond)
		db.Fault(pooltest.Refuse, time.Hour, pooltest.Forever)
		p := newPool(t, db, config{Name: "orders", Capacity: 1})
		for range 3 {
			_ = p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Write(ctx) })
		}
		time.Sleep(time.Second - db.Now())
		c := dial(t, db)
		require.NoError(t, c.Close())
		synctest.Wait()
		got := strings.Split(db.History().String(), "\n")
		want := []string{
			`    0.000000s orders 1 connect 100ms`,
			`    0.100000s orders 1 write 100ms`,
			`    0.200000s orders 1 write 100ms`,
			`    0.250000s ReadOnly begins`,
			`    0.300000s orders 1 write 100ms: the server is read-only and cannot write (SQLSTATE 25006)`,
			`    0.350000s ReadOnly ends`,
			`    0.400000s orders 1 close`,
			`    0.450000s Reset begins`,
			`    1.000000s conn 2 connect 100ms`,
			`    1.100000s conn 2 close`,
			``,
		}
		assert.Equal(t, want, got)
	})(t)
}
