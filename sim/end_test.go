package sim_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/sim"
)

// These sessions think for no time, and their Gets are refused at once, or are left at once.
func TestASessionThatIsRefusedAtOnceThinksForAMillisecond(t *testing.T) {
	const ms = time.Millisecond
	down := sim.Server{Faults: []sim.Fault{{Kind: sim.Refuse, To: time.Second}}}
	for name, c := range map[string]struct {
		change func(*client.Config[*conn])
		w      sim.Workload
		s      sim.Server
	}{
		"MaxWaiters": {
			change: func(c *client.Config[*conn]) { c.MaxWaiters = 1 },
			w:      sim.Workload{Sessions: 5, Hold: sim.Exactly(10 * ms)},
		},
		"BackoffFailFast": {
			change: func(c *client.Config[*conn]) { c.Backoff.Mode = client.BackoffFailFast },
			w:      sim.Workload{Sessions: 2, Hold: sim.Exactly(ms)}, s: down,
		},
		"BackoffNever": {
			change: func(c *client.Config[*conn]) { c.Backoff.Mode = client.BackoffNever },
			w:      sim.Workload{Sessions: 2, Hold: sim.Exactly(ms)}, s: down,
		},
		"PauseOnClear": {
			change: func(c *client.Config[*conn]) { c.PauseOnClear = true },
			w:      sim.Workload{Sessions: 2, Hold: sim.Exactly(ms), Script: []sim.Action{sim.Clear(10*ms, false)}},
		},
		"a patience of 1ns": {
			w: sim.Workload{Sessions: 2, Hold: sim.Exactly(time.Second), Patience: sim.Exactly(1)},
		},
	} {
		cfg := service()
		cfg.Capacity = 1
		if c.change != nil {
			c.change(&cfg)
		}
		c.w.Length = time.Second
		r := sim.Run(cfg, c.w, c.s, 1, sim.MaxSteps(100_000))
		require.NoError(t, r.Err, name)
		assert.Greater(t, r.Rejected+r.Timeouts, uint64(500), name)
		assert.LessOrEqual(t, r.Gets, uint64(c.w.Sessions)*1001, name)
		assert.Equal(t, time.Second, r.Length, name)
	}
}

func TestARunThatWouldNotEndIsGivenUp(t *testing.T) {
	cfg := service()
	cfg.Capacity = 2
	for name, w := range map[string]sim.Workload{
		"each step takes a nanosecond": {Length: time.Hour, Sessions: 1, Think: sim.Exponential(2)},
		"it may take no time":          {Length: time.Hour, Sessions: 1, Think: sim.Samples(0, 1)},
	} {
		r := sim.Run(cfg, w, sim.Server{}, 7, sim.MaxSteps(10_000))
		var u *sim.Unfinished
		require.ErrorAs(t, r.Err, &u, name)
		assert.EqualValues(t, 7, u.Seed)
		assert.Equal(t, 10_000, u.Steps)
		assert.Less(t, u.At, time.Millisecond)
		assert.ErrorContains(t, r.Err, "has not ended after 10000 steps, at virtual time")
		assert.ErrorContains(t, r.Err, "a session asks again at once because Think ("+w.Think.String()+") and Hold (0s) are short")
		assert.Greater(t, r.Gets, uint64(1000), "the numbers until then are there")
		assert.Empty(t, r.Trace, "a trace of so many steps is written only for those who ask")
		assert.Contains(t, r.String(), u.Error())
	}

	w := sim.Workload{Length: time.Hour, Rate: 1000}
	r := sim.Run(cfg, w, sim.Server{}, 1, sim.MaxSteps(1000))
	assert.ErrorContains(t, r.Err, "has not ended after 1000 steps")
	assert.NotContains(t, r.Err.Error(), "session")

	w = sim.Workload{Gets: 100, Rate: 1000}
	r = sim.Run(cfg, w, sim.Server{}, 1, sim.MaxSteps(100_000))
	require.NoError(t, r.Err)
	needs := 0
	for steps := 1; needs == 0; steps++ {
		if sim.Run(cfg, w, sim.Server{}, 1, sim.MaxSteps(steps)).Err == nil {
			needs = steps
		}
	}
	assert.GreaterOrEqual(t, needs, r.Steps-1, "the start is no event")

	w = sim.Workload{Length: 1000 * 24 * time.Hour, Rate: 1e-5}
	r = sim.Run(cfg, w, sim.Server{FaultEvery: time.Millisecond}, 1, sim.CheckEvery(0))
	assert.ErrorContains(t, r.Err, "5000000 faults were drawn, with a FaultEvery of 1ms")
}

// The timers of a pool go on for ever, and so does chaos: what ends a run are its callers.
func TestCallersThatDoNotComeEndARun(t *testing.T) {
	cfg := service()
	cfg.Capacity, cfg.MinIdle, cfg.MaxLifetime = 2, 2, time.Hour
	r := sim.Run(cfg, sim.Workload{Gets: 10, Rate: 1e-9, Sessions: 1, Think: sim.Exactly(math.MaxInt64)}, sim.Server{}, 1, sim.CheckEvery(0))
	require.NoError(t, r.Err)
	assert.LessOrEqual(t, r.Gets, uint64(2))
	assert.LessOrEqual(t, r.Length, 1000*24*time.Hour)

	arrivals := []time.Duration{0, time.Millisecond}
	r = sim.Run(cfg, sim.Workload{Gets: 2, Arrivals: arrivals, Chaos: 1}, sim.Server{}, 1)
	require.NoError(t, r.Err)
	r = sim.Run(cfg, sim.Workload{Gets: 3, Arrivals: arrivals, Length: time.Hour, Chaos: 1}, sim.Server{}, 1)
	require.NoError(t, r.Err, "the Length ends it")
	assert.Equal(t, time.Hour, r.Length)

	for want, w := range map[string]sim.Workload{
		"invalid Workload.Gets: 10, and there are 2 Arrivals and no Rate: that many never come":        {Arrivals: arrivals, Gets: 10, Chaos: 1},
		"invalid Workload.Gets: 10, which do not come within 24000h0m0s at a Rate of 1e-12 per second": {Rate: 1e-12, Gets: 10},
		"invalid Workload.Sessions: 1000001 is above 1000000":                                          {Length: 1, Sessions: 1_000_001, Think: sim.Exactly(1)},
		"invalid Workload.Script: SetMinIdle to 1000001, which is above 1000000":                       {Length: 1, Rate: 1, Script: []sim.Action{sim.SetMinIdle(0, 1_000_001)}},
	} {
		r := sim.Run(cfg, w, sim.Server{}, 1)
		assert.ErrorContains(t, r.Err, want)
		assert.Zero(t, r.Steps)
	}
	assert.ErrorContains(t, sim.Run(cfg, sim.Workload{Length: 1, Rate: 1}, sim.Server{}, 1, sim.MaxSteps(0)).Err, "MaxSteps: 0 is below 1")
	cfg.Capacity, cfg.MinIdle = math.MaxInt, math.MaxInt
	r = sim.Run(cfg, sim.Workload{Length: 1, Rate: 1, Chaos: 1}, sim.Server{}, 1)
	assert.ErrorContains(t, r.Err, "MinIdle: 9223372036854775807 is above 1000000, the most in a simulation")
	assert.ErrorContains(t, r.Err, "Capacity: 9223372036854775807 is above 1000000")
}

func TestADistributionThatIsAlwaysZeroIsKnown(t *testing.T) {
	for _, zero := range []sim.Dist{
		{}, sim.Exactly(0), sim.Exponential(0), sim.LogNormal(0, 1), sim.Uniform(0, 0), sim.Uniform(0, 1), sim.Samples(0, 0),
	} {
		assert.True(t, zero.IsZero(), "%v", zero)
		r := sim.Run(service(), sim.Workload{Length: time.Second, Sessions: 1, Think: zero, Hold: zero}, sim.Server{}, 1)
		var faults messages.ConfigErrors
		require.ErrorAs(t, r.Err, &faults, "%v", zero)
		assert.ErrorContains(t, r.Err, "a session would ask without end in an instant")
	}
	for _, d := range []sim.Dist{sim.Exactly(1), sim.Exponential(1), sim.LogNormal(1, 0), sim.Uniform(0, 2), sim.Samples(0, 1), sim.Samples()} {
		assert.False(t, d.IsZero(), "%v", d)
	}
}

func TestADeafJobOfAPoolThatWaitsForEverEnds(t *testing.T) {
	cfg := service()
	cfg.ConnectTimeout = math.MaxInt64
	for seed := range uint64(20) {
		r := sim.Run(cfg, sim.Workload{Length: time.Second, Rate: 100}, sim.Server{Deaf: 1}, seed)
		require.NoError(t, r.Err)
		assert.Greater(t, r.Wait.Max, time.Hour, "a connect takes as long as it is drawn")
	}
}
