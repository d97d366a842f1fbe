package sim_test

import (
	"context"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/sim"
)

// conn is a connection of a service. None is ever made.
type conn struct{}

// service is the Config of a service.
func service() client.Config[*conn] {
	return client.Config[*conn]{
		Connect:    func(context.Context) (*conn, error) { panic("a simulation calls no function") },
		Disconnect: func(context.Context, *conn) error { panic("a simulation calls no function") },
		Capacity:   8,
	}
}

// steps is how many steps the run of everything has. There is one goroutine, so that the
// race detector sees nothing: under it there are few.
func steps() int {
	if testkit.RaceEnabled() {
		return 100_000
	}
	return 1_000_000
}

// skipUnderRace skips a test that takes long, and that make test runs without the race
// detector, too.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if testkit.RaceEnabled() {
		t.Skip("the race detector sees one goroutine; it runs without it, too")
	}
}

func TestAMillionStepsWithEveryOptionKeepThePromises(t *testing.T) {
	done, seed := 0, uint64(0)
	var seen messages.Stats
	for done < steps() {
		seed++
		r := draw(seed).run()
		require.NoError(t, r.Err, "%s", tail(r.Trace))
		done += r.Steps
		add(&seen, r.Stats)
	}
	t.Logf("%d steps in %d runs", done, seed)
	fields := reflect.ValueOf(seen)
	for i := range fields.NumField() {
		if n, ok := fields.Field(i).Interface().(uint64); ok && n == 0 && fields.Type().Field(i).Name != "DroppedEvents" { // nobody listens
			t.Errorf("the runs have no %s", fields.Type().Field(i).Name)
		}
	}
}

// add adds up the counts.
func add(sum *messages.Stats, st messages.Stats) {
	to, from := reflect.ValueOf(sum).Elem(), reflect.ValueOf(st)
	for i := range to.NumField() {
		if n, ok := from.Field(i).Interface().(uint64); ok {
			to.Field(i).SetUint(to.Field(i).Uint() + n)
		}
	}
}

// tail is the end of a trace.
func tail(trace string) string { return trace[max(0, len(trace)-2000):] }

// near says that two numbers differ by no more than a part of the second.
func near(t *testing.T, want, got, part float64, what string) {
	t.Helper()
	assert.LessOrEqual(t, math.Abs(got-want), part*want, "%s: %v, want %v", what, got, want)
}

func TestSessionsAskAsOftenAsTheyCan(t *testing.T) {
	skipUnderRace(t)
	const think, hold = 30 * time.Millisecond, 10 * time.Millisecond
	w := sim.Workload{Length: 200 * time.Second, Sessions: 4, Think: sim.Exponential(think), Hold: sim.Exponential(hold)}
	r := sim.Run(service(), w, sim.Server{}, 1, sim.CheckEvery(10))
	require.NoError(t, r.Err)
	near(t, 4/(think+hold).Seconds(), float64(r.Gets)/r.Length.Seconds(), .02, "nobody has to wait, Gets per second")
	near(t, 4*hold.Seconds()/(think+hold).Seconds()/8, r.Utilisation, .02, "utilisation")
	assert.Zero(t, r.Wait.Max)
	assert.LessOrEqual(t, r.PeakConnections, 4)

	w.Sessions = 100
	r = sim.Run(service(), w, sim.Server{}, 1, sim.CheckEvery(100))
	require.NoError(t, r.Err)
	near(t, 8/hold.Seconds(), float64(r.Gets)/r.Length.Seconds(), .02, "the connections are the bound, Gets per second")
	near(t, 1, r.Utilisation, .01, "utilisation")
	near(t, 100/(8/hold.Seconds())-(think+hold).Seconds(), r.Wait.Mean.Seconds(), .05, "mean wait, by Little's law")
}

func TestWaitsAreErlangs(t *testing.T) {
	skipUnderRace(t)
	cfg := service()
	cfg.Capacity, cfg.MinIdle = 5, 5
	r := sim.Run(cfg, sim.Workload{Length: 30 * time.Minute, Rate: 220, Hold: sim.Exponential(15 * time.Millisecond)}, sim.Server{}, 3, sim.CheckEvery(0))
	require.NoError(t, r.Err)
	near(t, 2.796, r.Wait.Mean.Seconds()*1000, .05, "mean wait by Erlang's formula, in ms")
	near(t, 3.3/5, r.Utilisation, .02, "utilisation")
}

func TestAnOutage(t *testing.T) {
	w := sim.Workload{Length: time.Minute, Rate: 200, Hold: sim.Exponential(10 * time.Millisecond), Patience: sim.Exactly(2 * time.Second)}
	calm := sim.Run(service(), w, sim.Server{Connect: sim.Exactly(5 * time.Millisecond)}, 1)
	require.NoError(t, calm.Err)
	assert.Zero(t, calm.Timeouts+calm.Rejected)
	assert.Zero(t, calm.Backoff)
	from, to := 20*time.Second, 30*time.Second
	for kind, seen := range map[sim.FaultKind]func(r sim.Result){
		sim.Refuse: func(r sim.Result) {
			assert.Greater(t, r.Backoff, 9*time.Second)
			near(t, 200*10, float64(r.Timeouts+r.Rejected), .3, "Gets that fail")
			assert.Less(t, r.ConnectErrors, uint64(50), "connects back off")
		},
		sim.Blackhole: func(r sim.Result) {
			near(t, 200*8, float64(r.Timeouts+r.Rejected), .3, "Gets that fail")
			assert.LessOrEqual(t, r.PeakLent, 8)
		},
		sim.Slow: func(r sim.Result) {
			assert.Greater(t, r.Wait.Max, 500*time.Millisecond)
			assert.Zero(t, r.ConnectErrors)
		},
		sim.Reset: func(r sim.Result) {
			assert.Zero(t, r.ConnectErrors)
			assert.NotZero(t, r.Stats.Taints, "their holders notice")
		},
	} {
		r := sim.Run(service(), w, sim.Server{Connect: sim.Exactly(5 * time.Millisecond), Faults: []sim.Fault{{Kind: kind, From: from, To: to}}}, 1)
		require.NoError(t, r.Err, kind)
		t.Logf("%v\n%v", kind, r)
		assert.Equal(t, calm.Gets, r.Gets)
		seen(r)
	}
}

func TestAServerWithALimitRefusesTheRest(t *testing.T) {
	r := sim.Run(service(), sim.Workload{Length: 10 * time.Second, Sessions: 20, Hold: sim.Exactly(time.Millisecond)}, sim.Server{Limit: 3}, 1)
	require.NoError(t, r.Err)
	assert.Equal(t, 3, r.PeakLent)
	assert.NotZero(t, r.ConnectErrors)
	assert.NotZero(t, r.Backoff)
}

func TestGivenArrivalsAndAScript(t *testing.T) {
	cfg := service()
	cfg.Capacity = 1
	const ms = time.Millisecond
	r := sim.Run(cfg, sim.Workload{
		Arrivals: []time.Duration{30 * ms, 0, 10 * ms, 20 * ms}, Hold: sim.Exactly(100 * ms),
		Script: []sim.Action{sim.SetCapacity(5*ms, 2), sim.Suspend(15 * ms), sim.Resume(25 * ms), sim.SetMinIdle(26*ms, 1), sim.Clear(27*ms, false)},
	}, sim.Server{Connect: sim.Exactly(ms)}, 1, sim.WithTrace())
	require.NoError(t, r.Err)
	assert.EqualValues(t, 4, r.Grants)
	assert.Equal(t, 2, r.PeakConnections)
	assert.Equal(t, sim.Waits{Count: 4, Mean: 41500 * time.Microsecond, P50: ms, P99: 82 * ms, Max: 82 * ms}, r.Wait,
		"the last two wait for the connects that follow the Clear")
	for _, input := range []string{"set-capacity t1 2 t=5ms", "suspend t=15ms", "resume t=25ms", "set-min-idle 1 t=26ms", "clear t=27ms"} {
		assert.Contains(t, r.Trace, input)
	}
}

func TestDistributionsHaveTheirMeans(t *testing.T) {
	skipUnderRace(t)
	const d = 10 * time.Millisecond
	for _, c := range []struct {
		dist sim.Dist
		mean time.Duration
		text string
	}{
		{sim.Exactly(d), d, "10ms"},
		{sim.Exponential(d), d, "exponential, mean 10ms"},
		{sim.LogNormal(d, .8), time.Duration(float64(d) * math.Exp(.32)), "log-normal, median 10ms, sigma 0.8"},
		{sim.Uniform(d, 3*d), 2 * d, "10ms to 30ms"},
		{sim.Samples(d, d, 4*d), 2 * d, "one of 3 samples"},
		{sim.Dist{}, 0, "0s"},
	} {
		// Each Get has a connection of its own, so that its wait is a connect.
		cfg := service()
		cfg.Capacity, cfg.MaxUses, cfg.MaxConnecting = 1000, 1, 1000
		r := sim.Run(cfg, sim.Workload{Gets: 20_000, Rate: 10}, sim.Server{Connect: c.dist}, 1, sim.CheckEvery(0))
		require.NoError(t, r.Err)
		near(t, c.mean.Seconds(), r.Wait.Mean.Seconds(), .03, c.text)
		assert.Equal(t, c.text, c.dist.String())
	}
}

func TestWhatIsNotValidIsNamed(t *testing.T) {
	good := sim.Workload{Length: time.Second, Rate: 1}
	for want, args := range map[string]struct {
		cfg client.Config[*conn]
		w   sim.Workload
		s   sim.Server
	}{
		"invalid Connect: it is required": {cfg: client.Config[*conn]{Disconnect: called[*conn]}, w: good},
		"invalid Workload.Rate: 0, and there are no Arrivals and no Sessions: nobody would ask": {cfg: service()},
		"invalid Workload.Rate: -1 is negative, or no number":                                   {cfg: service(), w: sim.Workload{Length: 1, Rate: -1}},
		"invalid Workload.Rate: NaN is negative, or no number":                                  {cfg: service(), w: sim.Workload{Length: 1, Rate: math.NaN()}},
		"invalid Workload.Rate: +Inf is above 1e+08 per second":                                 {cfg: service(), w: sim.Workload{Length: 1, Rate: math.Inf(1)}},
		"invalid Workload.Length: 0s, and Gets is 0: the callers would never cease to come":     {cfg: service(), w: sim.Workload{Rate: 1}},
		"invalid Workload.Length: -1s is negative":                                              {cfg: service(), w: sim.Workload{Length: -time.Second, Rate: 1}},
		"invalid Workload.Gets: -1 is negative":                                                 {cfg: service(), w: sim.Workload{Length: 1, Gets: -1, Rate: 1}},
		"invalid Workload.Sessions: -2 is negative":                                             {cfg: service(), w: sim.Workload{Length: 1, Rate: 1, Sessions: -2}},
		"invalid Workload.Think: 0s, as is Hold: a session would ask without end in an instant": {cfg: service(), w: sim.Workload{Length: 1, Sessions: 2}},
		"invalid Workload.Arrivals: -1ns is negative":                                           {cfg: service(), w: sim.Workload{Arrivals: []time.Duration{1, -1}}},
		"invalid Workload.Hold: -1ns is negative":                                               {cfg: service(), w: with(good, func(w *sim.Workload) { w.Hold = sim.Exactly(-1) })},
		"invalid Workload.Think: 1ns is below 2ns":                                              {cfg: service(), w: with(good, func(w *sim.Workload) { w.Think = sim.Uniform(2, 1) })},
		"invalid Workload.Patience: there are no samples":                                       {cfg: service(), w: with(good, func(w *sim.Workload) { w.Patience = sim.Samples() })},
		"invalid Workload.Broken: 1.5 is not in 0..1":                                           {cfg: service(), w: with(good, func(w *sim.Workload) { w.Broken = 1.5 })},
		"invalid Workload.Settings: \"red\", and the Config has no Apply that could put it on a connection": {
			cfg: service(), w: with(good, func(w *sim.Workload) { w.Settings = []string{"", "red"} }),
		},
		"invalid Workload.Script: the action at 1s does nothing: use SetCapacity or another function": {
			cfg: service(), w: with(good, func(w *sim.Workload) { w.Script = []sim.Action{{At: time.Second}} }),
		},
		"invalid Workload.Script: SetCapacity to -1, which is negative": {
			cfg: service(), w: with(good, func(w *sim.Workload) { w.Script = []sim.Action{sim.SetCapacity(0, -1)} }),
		},
		"invalid Server.Connect: sigma is -1, and not in 0..10":              {cfg: service(), w: good, s: sim.Server{Connect: sim.LogNormal(1, -1)}},
		"invalid Server.Check: the sample -3ns is negative":                  {cfg: service(), w: good, s: sim.Server{Check: sim.Samples(1, -3)}},
		"invalid Server.Limit: -1 is negative":                               {cfg: service(), w: good, s: sim.Server{Limit: -1}},
		"invalid Server.Faults: FaultKind(9) is no kind":                     {cfg: service(), w: good, s: sim.Server{Faults: []sim.Fault{{Kind: 9}}}},
		"invalid Server.Faults: the Slow until 1s begins at 2s":              {cfg: service(), w: good, s: sim.Server{Faults: []sim.Fault{{sim.Slow, 2 * time.Second, time.Second}}}},
		"invalid Server.FaultEvery: 30ns is below 1ms: is the unit missing?": {cfg: service(), w: good, s: sim.Server{FaultEvery: 30}},
		"invalid Server.Deaf: NaN is not in 0..1":                            {cfg: service(), w: good, s: sim.Server{Deaf: math.NaN()}},
	} {
		r := sim.Run(args.cfg, args.w, args.s, 1)
		assert.ErrorContains(t, r.Err, want)
		var faults messages.ConfigErrors
		assert.ErrorAs(t, r.Err, &faults, want)
		assert.Zero(t, r.Steps, want)
		assert.Contains(t, r.String(), want)
	}
	cfg := service()
	cfg.Capacity, cfg.MinIdle = 2, 3
	r := sim.Run(cfg, sim.Workload{Length: 1, Rate: -1}, sim.Server{Limit: -1}, 1, sim.CheckEvery(-1))
	for _, all := range []string{"MinIdle: 3 is above Capacity, 2", "Workload.Rate", "Server.Limit", "CheckEvery: -1 is negative"} {
		assert.ErrorContains(t, r.Err, all)
	}
}

func with(w sim.Workload, change func(*sim.Workload)) sim.Workload {
	change(&w)
	return w
}

func BenchmarkGetAndPut(b *testing.B) {
	r := sim.Run(service(), sim.Workload{Gets: b.N, Rate: 480, Hold: sim.Exponential(15 * time.Millisecond)}, sim.Server{}, 1, sim.CheckEvery(0))
	require.NoError(b, r.Err)
}
