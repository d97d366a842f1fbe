package virtual_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors/virtual"
)

// erlangC is the mean wait for one of n servers, by Erlang's formula: arrivals and holds
// are exponential.
func erlangC(n int, perSecond float64, hold time.Duration) time.Duration {
	load := perSecond * hold.Seconds()
	sum, term := 0.0, 1.0
	for k := range n {
		sum += term
		term *= load / float64(k+1)
	}
	spare := float64(n) - load
	waits := term * float64(n) / spare
	waits /= sum + waits
	return time.Duration(waits * float64(hold) / spare)
}

// queue runs Gets that come at random, with holds that are random, and gives the sum of
// their waits.
func queue(t testing.TB, gets, capacity int, perSecond float64, hold time.Duration, checkEvery int) (*virtual.Pool, time.Duration) {
	arrivals, holds := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(1, 2))
	var (
		sum   time.Duration
		spare []*virtual.Get
		pool  *virtual.Pool
		next  float64
		left  = gets
	)
	pool = virtual.New(virtual.Config{
		Policy:     virtual.Policy{Capacity: capacity, MinIdle: capacity, MaxConnecting: capacity, ConnectTimeout: time.Second, DisconnectTimeout: time.Second},
		CheckEvery: checkEvery,
		Hooks: virtual.Hooks{
			Granted: func(g *virtual.Get) virtual.Use {
				sum += g.Wait()
				return virtual.Use{For: time.Duration(holds.ExpFloat64() * float64(hold))}
			},
			Returned: func(g *virtual.Get, _ bool) { spare = append(spare, g) },
		},
	})
	var arrive func()
	arrive = func() {
		var g *virtual.Get
		if n := len(spare); n > 0 {
			g, spare = spare[n-1], spare[:n-1]
			g.Reset()
		} else {
			g = &virtual.Get{}
		}
		pool.Get(g)
		if left--; left > 0 {
			next += arrivals.ExpFloat64() / perSecond
			pool.At(time.Duration(next*1e9), arrive)
		}
	}
	pool.At(time.Second, arrive)
	next = 1
	for left > 0 || pool.Totals().Waiting > 0 || pool.Totals().Lent > 0 {
		if !pool.Step() {
			break
		}
	}
	require.NoError(t, pool.Err())
	require.EqualValues(t, gets, pool.Stats().Grants)
	return pool, sum
}

func TestTheMeanWaitIsErlangs(t *testing.T) {
	for _, capacity := range []int{4, 5, 8} {
		const gets, perSecond, hold = 400_000, 220, 15 * time.Millisecond
		_, sum := queue(t, gets, capacity, perSecond, hold, 0)
		mean, want := sum/gets, erlangC(capacity, perSecond, hold)
		t.Logf("capacity %d: %v, by the formula %v", capacity, mean, want)
		assert.Less(t, math.Abs(float64(mean-want)), .03*float64(want)+float64(10*time.Microsecond), "capacity %d: %v, want %v", capacity, mean, want)
	}
}

func BenchmarkGetAndPut(b *testing.B) {
	b.ReportAllocs()
	queue(b, b.N, 8, 480, 15*time.Millisecond, 0)
}
