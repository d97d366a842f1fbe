package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors/virtual"
	"github.com/actorpool/actorpool/internal/testkit"
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
	if testkit.RaceEnabled() {
		t.Skip("the race detector sees one goroutine; make test runs it without it, too")
	}
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

// one is a pool of one connection whose connects take a millisecond. What happens is
// listed.
func one(change func(*virtual.Config)) (*virtual.Pool, *[]string) {
	said := &[]string{}
	var pool *virtual.Pool
	say := func(format string, args ...any) {
		*said = append(*said, fmt.Sprintf("%v: ", pool.Now())+fmt.Sprintf(format, args...))
	}
	cfg := virtual.Config{
		Policy:     virtual.Policy{Capacity: 1, MaxConnecting: 1, ConnectTimeout: time.Second, CheckTimeout: time.Second, DisconnectTimeout: time.Second},
		CheckEvery: 1,
		Hooks: virtual.Hooks{
			Job: func(j virtual.Job) virtual.Outcome {
				if j.Kind == virtual.Connect {
					return virtual.Outcome{After: ms}
				}
				return virtual.Outcome{}
			},
			Granted: func(g *virtual.Get) virtual.Use {
				say("%v has c%d after %v", g.Owner, g.Conn, g.Wait())
				return virtual.Use{For: 10 * ms}
			},
			Failed:   func(g *virtual.Get) { say("%v: %v", g.Owner, errors.Unwrap(g.Err)) },
			Returned: func(g *virtual.Get, revoked bool) { say("%v is done, revoked %v", g.Owner, revoked) },
			Answered: func(c *virtual.Control) { say("answered: %v", c.Err) },
		},
	}
	if change != nil {
		change(&cfg)
	}
	pool = virtual.New(cfg)
	return pool, said
}

const ms = time.Millisecond

func TestAGetWaitsForAConnectOrAReturn(t *testing.T) {
	pool, said := one(nil)
	pool.Get(&virtual.Get{Owner: "a"})
	b := &virtual.Get{Owner: "b"}
	pool.At(5*ms, func() { pool.Get(b) })
	require.NoError(t, pool.Run(6*ms))
	assert.True(t, b.Waits())
	assert.False(t, b.Lends())
	assert.Equal(t, 6*ms, pool.Now())
	assert.Equal(t, 11*ms, pool.Next())
	assert.Equal(t, virtual.Totals{
		Steps: 4, Waiting: 1, Lent: 1, PeakWaiting: 1, PeakLent: 1, PeakOpen: 1, LentTime: 5 * ms, RoomTime: 6 * ms,
	}, pool.Totals())
	require.NoError(t, pool.Run(15*ms))
	assert.True(t, b.Lends())
	assert.Equal(t, [3]time.Duration{5 * ms, 11 * ms, ms}, [3]time.Duration{b.Asked, b.Granted, b.Opened})
	require.NoError(t, pool.Run(virtual.Never))
	assert.Equal(t, 1250*ms, pool.Now(), "last comes the timer that would have given up the connect")
	assert.Equal(t, virtual.Never, pool.Next())
	assert.False(t, pool.Step())
	assert.Equal(t, []string{
		"1ms: a has c1 after 1ms", "11ms: b has c1 after 6ms", "11ms: a is done, revoked false", "21ms: b is done, revoked false",
	}, *said)
}

func TestAWaitEndsWithItsDeadlineItsCallerOrTheTimeout(t *testing.T) {
	pool, said := one(func(c *virtual.Config) { c.GetTimeout = 4 * ms })
	pool.Get(&virtual.Get{Owner: "holder", Deadline: 50 * ms})
	pool.Get(&virtual.Get{Owner: "deadline", Deadline: 3 * ms})
	pool.Get(&virtual.Get{Owner: "leaves", Leaves: 2 * ms})
	pool.Get(&virtual.Get{Owner: "timeout"})
	c := &virtual.Get{Owner: "cancelled", Deadline: 50 * ms}
	pool.Get(c)
	pool.At(5*ms, func() { pool.Cancel(c) })
	pool.At(6*ms, func() { pool.Cancel(c) })
	pool.At(7*ms, func() { pool.Get(&virtual.Get{Owner: "late", Deadline: 7 * ms}) })
	require.NoError(t, pool.Run(8*ms))
	assert.Equal(t, []string{
		"1ms: holder has c1 after 1ms", "2ms: leaves: context canceled", "3ms: deadline: context deadline exceeded",
		"4ms: timeout: context deadline exceeded", "5ms: cancelled: context canceled", "7ms: late: context deadline exceeded",
	}, *said)
	assert.Zero(t, pool.Totals().Waiting)
}

func TestALeaseEndsWhenItsHolderSays(t *testing.T) {
	for way, state := range map[virtual.Way]string{
		virtual.Put: "1 idle, 0 taints, 0 hijacks, 0 revoked", virtual.ByMessage: "1 idle, 0 taints, 0 hijacks, 0 revoked",
		virtual.Taint: "0 idle, 1 taints, 0 hijacks, 0 revoked", virtual.TaintDead: "0 idle, 1 taints, 0 hijacks, 0 revoked",
		virtual.Hijack: "0 idle, 0 taints, 1 hijacks, 0 revoked", virtual.Forget: "0 idle, 0 taints, 0 hijacks, 1 revoked",
	} {
		pool, said := one(func(c *virtual.Config) {
			c.Hooks.Granted = func(*virtual.Get) virtual.Use { return virtual.Use{For: virtual.Never} }
		})
		g := &virtual.Get{Owner: "a"}
		pool.Get(g)
		require.NoError(t, pool.Run(time.Hour))
		require.True(t, g.Lends())
		pool.End(g, way)
		pool.End(g, way)
		require.NoError(t, pool.Run(virtual.Never))
		st := pool.Stats()
		assert.Equal(t, state, fmt.Sprintf("%d idle, %d taints, %d hijacks, %d revoked", st.Idle, st.Taints, st.Hijacks, st.Revoked))
		assert.Equal(t, []string{fmt.Sprintf("1h0m0s: a is done, revoked %v", way == virtual.Forget)}, *said)
		g.Reset()
		pool.Get(g)
		require.NoError(t, pool.Run(2*time.Hour))
		assert.True(t, g.Lends(), "it may be used again")
	}
}

func TestAJobThatIgnoresItsContextIsGivenUp(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		pool, said := one(func(c *virtual.Config) {
			c.Policy.Backoff.Mode = 2 // no period
			c.Hooks.Job = func(j virtual.Job) virtual.Outcome {
				if j.Conn == 1 && j.Kind == virtual.Connect {
					return virtual.Outcome{After: time.Minute, Deaf: deaf}
				}
				return virtual.Outcome{}
			}
		})
		pool.Get(&virtual.Get{Owner: "a"})
		pool.At(2*time.Second, func() { pool.Get(&virtual.Get{Owner: "b"}) })
		require.NoError(t, pool.Run(time.Hour))
		at := map[bool]string{false: "1s: ", true: "1.25s: "}[deaf]
		require.Len(t, *said, 3)
		assert.Contains(t, (*said)[0], at+"a: ")
		assert.Contains(t, (*said)[0], context.DeadlineExceeded.Error())
		assert.Equal(t, []string{"2s: b has c2 after 0s", "2.01s: b is done, revoked false"}, (*said)[1:])
		assert.Equal(t, 1, len(pool.Conns()), "the connection that came late is closed")
	}
}

func TestControlsAreAnswered(t *testing.T) {
	pool, said := one(nil)
	pool.Ready()
	require.NoError(t, pool.Run(2*ms))
	pool.Get(&virtual.Get{Owner: "a"})
	c := pool.SetCapacity(0)
	pool.At(4*ms, func() { pool.CancelControl(c) })
	pool.At(13*ms, func() { pool.SetMinIdle(5) }) // is refused
	pool.At(20*ms, func() { pool.Warm(-1) })
	pool.At(30*ms, func() { pool.Close() })
	require.NoError(t, pool.Run(virtual.Never))
	require.NoError(t, pool.CheckEnd())
	assert.True(t, c.Done)
	texts := strings.Join(*said, "\n")
	for _, want := range []string{"1ms: answered: <nil>", "4ms: answered: actorpool \"\": set capacity not finished", "12ms: a is done", "20ms: answered: actorpool: invalid n: -1 is negative", "30ms: answered: <nil>"} {
		assert.Contains(t, texts, want)
	}
}

func TestWhatIsLeftAtTheEndIsAViolation(t *testing.T) {
	pool, _ := one(nil)
	var v *virtual.Violation
	require.ErrorAs(t, pool.CheckEnd(), &v)
	assert.Equal(t, "actorpool: step 1, at 0s: at the end the pool is closed: false, and has stopped: false", v.Error())
	assert.ErrorIs(t, pool.Err(), v)
	assert.ErrorIs(t, pool.Run(time.Second), v, "it goes no further")
	assert.False(t, pool.Step())
}
