package forecast

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// steady is a recording of n Gets, one each 10 ms, that hold a connection for some time.
func steady(n int, hold time.Duration) *messages.Recording {
	r := &messages.Recording{
		Version: messages.RecordingVersion, Pool: "steady", Capacity: 8, Length: time.Duration(n) * 10 * time.Millisecond,
		Gets: make([]messages.RecordedGet, n),
	}
	for i := range r.Gets {
		r.Gets[i] = messages.RecordedGet{At: time.Duration(i) * 10 * time.Millisecond, Hold: hold, Outcome: messages.RecordedGranted}
	}
	return r
}

func only(t *testing.T, bands []Band) Band {
	t.Helper()
	require.Len(t, bands, 1)
	return bands[0]
}

func at(capacities ...int) WhatIf { return WhatIf{Capacities: capacities} }

func TestABandIsMadeOfHoldsThatAreShorterAsRecordedAndLonger(t *testing.T) {
	b := only(t, Predict(steady(2000, 18*time.Millisecond), at(2)))
	require.NoError(t, b.Err)
	assert.Equal(t, []float64{0.9, 1, 1.1}, []float64{b.Low.Holds, b.Middle.Holds, b.High.Holds})
	assert.InDelta(t, 0.81, b.Low.Load, 1e-3)
	assert.InDelta(t, 0.90, b.Middle.Load, 1e-3)
	assert.InDelta(t, 0.99, b.High.Load, 1e-3)
	assert.Zero(t, b.High.Longest, "each connection is back before its turn comes again")
	assert.True(t, b.High.KeepsUp)
}

func TestItSaysWhetherThePoolKeepsUp(t *testing.T) {
	bands := Predict(steady(2000, 19*time.Millisecond), at(1, 2, 3))
	require.Len(t, bands, 3)
	assert.False(t, bands[0].Middle.KeepsUp)
	assert.Contains(t, bands[0].Words, "Does not keep up: the load is 190 %.")
	assert.True(t, bands[1].Middle.KeepsUp)
	assert.False(t, bands[1].High.KeepsUp)
	assert.Contains(t, bands[1].Words, "Keeps up at 95 % load, but not if holds get 10 % longer.")
	assert.Contains(t, bands[2].Words, "Keeps up at 63 % load.")
}

func TestHowMuchIsPromisedDependsOnTheLoad(t *testing.T) {
	r := open(1, 5000, 3, 10*time.Millisecond, exponential)
	bands := Predict(r, at(3, 4, 5))
	over, rough, promised := bands[0], bands[1], bands[2]

	assert.Greater(t, over.Middle.Load, NumbersUpTo)
	assert.Zero(t, over.MeanTo)
	assert.NotContains(t, over.Words, "mean")
	assert.Contains(t, notes(over), "Above 90 % load a forecast only says whether the pool keeps up")

	assert.InDelta(t, 0.75, rough.Middle.Load, 0.02)
	assert.Equal(t, rough.Low.Mean, rough.MeanFrom)
	assert.Equal(t, rough.High.Mean, rough.MeanTo)
	assert.Contains(t, notes(rough), "Above 65 % load, the mean within a factor of two does not hold any more")

	assert.InDelta(t, 0.6, promised.Middle.Load, 0.02)
	assert.Equal(t, promised.Middle.Mean*2+Resolution, promised.MeanTo)
	assert.Equal(t, min(promised.Middle.Mean/2, promised.Low.Mean), promised.MeanFrom)
	assert.Contains(t, promised.Words, "The mean wait is "+short(promised.Middle.Mean)+" and should lie between ")
	assert.NotContains(t, notes(promised), "factor of two")
}

func TestNothingIsPromisedWhereTheLoadIsUneven(t *testing.T) {
	r := steady(3000, 8*time.Millisecond)
	for i := range r.Gets { // in the middle third of the time, three times as many come
		if third := i % 5; third < 3 {
			r.Gets[i].At = r.Length/3 + time.Duration(i)*r.Length/9000
		} else {
			r.Gets[i].At = time.Duration(third-3)*2*r.Length/3 + time.Duration(i)*r.Length/9000
		}
	}
	slices.SortStableFunc(r.Gets, func(a, b messages.RecordedGet) int { return int(a.At - b.At) })
	bands := Predict(r, at(2, 3))
	uneven, even := bands[0], bands[1]
	assert.InDelta(t, 0.4, uneven.Middle.Load, 0.01)
	assert.InDelta(t, 0.72, uneven.Busiest, 0.05)
	assert.True(t, uneven.Promised)
	uneven = only(t, Predict(r, at(1)))
	assert.InDelta(t, 0.8, uneven.Middle.Load, 0.01)
	assert.False(t, uneven.Promised)
	assert.Contains(t, uneven.Words, "Keeps up at 80 % load, but in the busiest 3 s the load is 144 %.")
	for i := range r.Gets {
		r.Gets[i].Hold = 6 * time.Millisecond
	}
	uneven = only(t, Predict(r, at(1)))
	assert.Less(t, uneven.Middle.Load, MeanUpTo)
	assert.False(t, uneven.Promised)
	assert.Equal(t, uneven.High.Mean, uneven.MeanTo)
	assert.Contains(t, notes(uneven), "The load is uneven")
	assert.True(t, even.Promised)
}

func notes(b Band) string { return strings.Join(b.Notes, "\n") }

func TestTheSameRecordingGivesTheSameForecast(t *testing.T) {
	r := open(1, 3000, 3, 10*time.Millisecond, exponential)
	for i := range r.Gets {
		if i%7 == 0 {
			r.Gets[i].Outcome, r.Gets[i].Hold, r.Gets[i].Patience, r.Gets[i].Wait = messages.RecordedTimeout, 0, time.Millisecond, time.Millisecond
		}
		r.Gets[i].Session = uint64(i % 40)
	}
	r.Connects = []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}
	w := WhatIf{Capacities: []int{2, 4}, MinIdle: -1, Seed: 3}
	bands := Predict(r, w)
	assert.Equal(t, bands, Predict(r, w))
	w.Seed = 4
	assert.NotEqual(t, bands, Predict(r, w), "another seed draws other holds")
}

func TestWhatCannotBeForecastIsAnErrorAndNoPanic(t *testing.T) {
	good := steady(2000, time.Millisecond)
	short := steady(Least-1, time.Millisecond)
	instant := steady(2000, 0)
	instant.Length = 0
	for i := range instant.Gets {
		instant.Gets[i].At = 0
	}
	newer := steady(2000, time.Millisecond)
	newer.Version = 99
	refused := steady(2000, 0)
	for i := range refused.Gets {
		refused.Gets[i].Outcome = messages.RecordedFailed
	}
	endless := steady(2000, 0)
	endless.Length = forever
	for i := range endless.Gets {
		endless.Gets[i].Hold = forever - endless.Gets[i].At
	}
	noCapacity := steady(2000, time.Millisecond)
	noCapacity.Capacity = 0
	for what, c := range map[string]struct {
		r    *messages.Recording
		w    WhatIf
		says string
	}{
		"nil":           {nil, at(4), "the recording is nil"},
		"nil, no size":  {nil, WhatIf{}, "the recording is nil"},
		"empty":         {&messages.Recording{}, WhatIf{}, "too few Gets for a forecast: the recording has none"},
		"few":           {short, at(4), "too few Gets for a forecast: 999 leases have a hold that is known, and 1000 is the least"},
		"none granted":  {refused, at(4), "too few Gets for a forecast: 0 leases"},
		"no length":     {instant, at(4), "the recording has no length"},
		"newer":         {newer, at(4), "the recording has version 99, and this package knows up to 1"},
		"endless":       {endless, at(4), "the holds add up to more than 90 years"},
		"no capacities": {noCapacity, WhatIf{}, "invalid Capacities: none is given, and that of the recording is 0"},
		"zero":          {good, at(0), "invalid Capacities[0]: 0 is not between 1 and 100000"},
		"negative":      {good, at(math.MinInt), "is not between 1 and 100000"},
		"huge":          {good, at(math.MaxInt), "is not between 1 and 100000"},
		"connect":       {good, WhatIf{Capacities: []int{4}, Connect: 2 * time.Hour}, "invalid Connect: 2h0m0s is above an hour"},
	} {
		b := only(t, Predict(c.r, c.w))
		require.ErrorContains(t, b.Err, c.says, what)
		assert.Contains(t, b.Words, c.says, what)
		assert.Zero(t, b.Middle, what)
	}
	assert.ErrorIs(t, only(t, Predict(short, at(4))).Err, ErrTooFew)
	var config *messages.ConfigError
	require.ErrorAs(t, Predict(good, at(4, -1))[1].Err, &config)
	assert.Equal(t, "Capacities[1]", config.Field)
	assert.NoError(t, Predict(good, at(4, -1))[0].Err, "the others are forecast")
}

func TestAnyNumbersGiveAForecastOrAnError(t *testing.T) {
	numbers := []time.Duration{math.MinInt64, -1, 0, 1, time.Millisecond, forever, math.MaxInt64}
	r := steady(1200, time.Millisecond)
	i := 0
	for _, x := range numbers {
		for _, g := range []*messages.RecordedGet{&r.Gets[i], &r.Gets[i+1], &r.Gets[i+2], &r.Gets[i+3]} {
			i++
			switch i % 4 {
			case 0:
				g.At = x
			case 1:
				g.Hold, g.Session = x, 1
			case 2:
				g.Wait, g.Out, g.Session = x, true, 1
			case 3:
				g.Patience, g.Outcome = x, messages.RecordedOutcome(i)
			}
		}
	}
	for _, x := range numbers {
		for _, length := range numbers {
			r.Length, r.GetTimeout, r.Capacity, r.Connects = length, x, int(x), []time.Duration{x}
			for _, b := range Predict(r, WhatIf{Capacities: []int{2, 100_000}, MinIdle: int(x), GetTimeout: x, Connect: min(x, time.Hour)}) {
				assert.NotEmpty(t, b.Words)
				assert.True(t, b.Err != nil || b.Middle.Gets > 1000, "%v", b.Err)
				for _, w := range []Waits{b.Low, b.Middle, b.High} {
					assert.GreaterOrEqual(t, w.Load, 0.0)
					assert.GreaterOrEqual(t, min(w.Mean, w.P50, w.Longest), time.Duration(0))
				}
			}
		}
	}
}

func TestWaitsOfManyYearsAreNotNegative(t *testing.T) {
	r := steady(1500, time.Millisecond)
	r.Length = forever
	for i := range 3 { // one after the other they take 270 years
		r.Gets[i] = messages.RecordedGet{Hold: 1, Outcome: messages.RecordedGranted, Out: true}
	}
	r.Gets[3].Session, r.Gets[4].Session, r.Gets[4].At, r.Gets[4].Patience = 7, 7, forever/2, math.MaxInt64
	r.Gets[5].Patience = math.MaxInt64
	b := only(t, Predict(r, at(1)))
	require.NoError(t, b.Err)
	assert.Greater(t, b.Middle.Mean, forever)
	assert.GreaterOrEqual(t, b.Middle.Longest, 2*forever)
	assert.InDelta(t, 0.8, b.Middle.Load, 0.05)
	assert.False(t, b.Promised)
	assert.False(t, b.Middle.KeepsUp)
}

func TestTheCapacitiesAroundTheRecordedOneAreTheDefault(t *testing.T) {
	for recorded, want := range map[int][]int{8: {4, 6, 8, 12, 16}, 1: {1, 2}, 2: {1, 2, 3, 4}, 3: {1, 2, 3, 5, 6},
		50_001: {25_000, 37_500, 50_001, 75_002, 100_000}, 120_000: {60_000, 90_000, 100_000}, math.MaxInt: {100_000}} {
		r := steady(1500, time.Millisecond)
		r.Capacity = recorded
		var got []int
		for _, b := range Predict(r, WhatIf{}) {
			assert.NoError(t, b.Err)
			got = append(got, b.Capacity)
		}
		assert.Equal(t, want, got)
	}
}

func TestARecordingIsNotChanged(t *testing.T) {
	r := steady(1500, time.Millisecond)
	r.Gets[3], r.Gets[4] = r.Gets[4], r.Gets[3]
	before := append([]messages.RecordedGet(nil), r.Gets...)
	b := only(t, Predict(r, at(2)))
	assert.Equal(t, before, r.Gets)
	assert.Contains(t, notes(b), "1 of the Gets stand in the recording after one that came later")
}

func TestWaitsEndAtTheDeadlinesThatWereRecorded(t *testing.T) {
	r := steady(2000, 15*time.Millisecond) // at capacity 1 the load is 150 %
	for i := range r.Gets {
		r.Gets[i].Patience = 40 * time.Millisecond
	}
	b := only(t, Predict(r, at(1)))
	assert.InDelta(t, 2000/3, b.Middle.Timeouts, 15, "one of three is too many")
	assert.LessOrEqual(t, b.Middle.Longest, 40*time.Millisecond)
	assert.Contains(t, b.Words, "of 2,000 Gets end without a connection")
	assert.Contains(t, notes(b), "holds within about 10 %, if holds stay as long as they were")
}

func TestGetTimeoutReplacesThatOfTheRecordedPoolAndNoOther(t *testing.T) {
	r := steady(2000, 40*time.Millisecond)
	r.GetTimeout = 100 * time.Millisecond
	for i := range r.Gets {
		switch i % 3 {
		case 0:
			r.Gets[i].Patience = r.GetTimeout - 300*time.Nanosecond // as it was written
		case 1:
			r.Gets[i].Patience = 20 * time.Millisecond // its own
		}
	}
	longest := func(timeout time.Duration) time.Duration {
		return only(t, Predict(r, WhatIf{Capacities: []int{1}, GetTimeout: timeout})).Middle.Longest
	}
	assert.Greater(t, longest(0), time.Second, "a third of the Gets have no deadline")
	assert.LessOrEqual(t, longest(50*time.Millisecond), 50*time.Millisecond)
	assert.Greater(t, longest(50*time.Millisecond), 20*time.Millisecond, "others have deadlines of 20 ms")
	assert.Greater(t, longest(-1), 2*longest(0), "now two thirds have none")
}

func TestAGetThatWasNotGrantedIsGivenARecordedHold(t *testing.T) {
	r := steady(2000, 5*time.Millisecond)
	for i := range 500 {
		g := &r.Gets[4*i]
		g.Outcome, g.Hold, g.Wait, g.Patience = messages.RecordedTimeout, 0, time.Second, time.Second
	}
	b := only(t, Predict(r, at(1)))
	assert.InDelta(t, 0.5, b.Middle.Load, 1e-3, "as if all had held for 5 ms")
	assert.Zero(t, b.Middle.Timeouts)
	assert.Contains(t, notes(b), "500 of the Gets got no connection, so nobody knows for how long they would have held it: each is given a recorded hold")
}

func TestALeaseThatWasStillOutHoldsAtLeastForAsLongAsItHad(t *testing.T) {
	r := steady(2000, time.Millisecond)
	r.Gets[0].Out, r.Gets[0].Hold = true, 0
	b := only(t, Predict(r, at(1)))
	assert.Equal(t, 1999, b.Middle.Gets-int(float64(b.Middle.Gets)*(1-b.Middle.Waited)+0.5), "all wait for it")
	assert.Contains(t, notes(b), "1 of the Gets still held their connection at the end")
}

func TestConnectionsThatWereHeldBeforeTheRecordingAreInUseAndNotCounted(t *testing.T) {
	r := steady(2000, time.Millisecond)
	for i := range 2 {
		r.Gets[i] = messages.RecordedGet{Hold: time.Second, Outcome: messages.RecordedHeld}
	}
	b := only(t, Predict(r, at(2)))
	assert.Equal(t, 1998, b.Middle.Gets)
	assert.InDelta(t, 980*time.Millisecond, b.Middle.Longest, float64(time.Millisecond), "the first Get waits for one of the two")
}

func TestACallerThatLeftLeavesAfterAsLong(t *testing.T) {
	r := steady(2000, 15*time.Millisecond)
	for i := range r.Gets {
		r.Gets[i].Outcome, r.Gets[i].Wait = messages.RecordedCancelled, 40*time.Millisecond
		if i%2 == 0 {
			r.Gets[i].Outcome, r.Gets[i].Wait = messages.RecordedGranted, 0
		}
	}
	b := only(t, Predict(r, at(1)))
	assert.Greater(t, b.Middle.Timeouts, 500)
	assert.Contains(t, notes(b), "1,000 of the Gets ended because their callers left")
	r.Gets[1].Wait = 0
	b = only(t, Predict(r, at(1)))
	assert.Equal(t, 1999, b.Middle.Gets)
	assert.Contains(t, notes(b), "1 of the Gets came when their context had ended or their deadline was too near: they are left out")
}

// session is a goroutine that asks, holds for 10 ms, and thinks for 10 ms.
func session(n int) *messages.Recording {
	r := &messages.Recording{Version: 1, Capacity: 4, Length: time.Duration(n) * 20 * time.Millisecond}
	for i := range n {
		r.Gets = append(r.Gets, messages.RecordedGet{
			At: time.Duration(i) * 20 * time.Millisecond, Hold: 10 * time.Millisecond, Session: 1, Outcome: messages.RecordedGranted,
		})
	}
	return r
}

func TestASessionAsksAgainAsLongAfterItsReturnAsRecorded(t *testing.T) {
	r := session(1500)
	// Somebody else holds the only connection for a second, in the middle.
	r.Gets = append(r.Gets[:501], append([]messages.RecordedGet{{
		At: r.Gets[500].At + 15*time.Millisecond, Hold: time.Second, Session: 2, Outcome: messages.RecordedGranted,
	}}, r.Gets[501:]...)...)
	b := only(t, Predict(r, at(1)))
	waits := int(b.Middle.Waited*float64(b.Middle.Gets) + 0.5)
	assert.Equal(t, 1, waits, "the session waits once, and comes later from then on")
	assert.InDelta(t, 995*time.Millisecond, b.Middle.Longest, float64(time.Millisecond))
	assert.Contains(t, notes(b), "1 goroutine asked again and again")

	b = only(t, Predict(r, WhatIf{Capacities: []int{1}, Open: true}))
	waits = int(b.Middle.Waited*float64(b.Middle.Gets) + 0.5)
	assert.Greater(t, waits, 50, "all Gets that came meanwhile wait")
	assert.Contains(t, notes(b), "their Gets come when they came")
}

func TestAGetOfAGoroutineThatHoldsAConnectionComesAfterThatGrant(t *testing.T) {
	r := session(1500)
	for i := 1; i < len(r.Gets); i += 2 { // each second one comes while the one before holds
		r.Gets[i].At = r.Gets[i-1].At + 4*time.Millisecond
	}
	b := only(t, Predict(r, at(2)))
	assert.Zero(t, b.Middle.Longest)
	assert.Equal(t, 1500, b.Middle.Gets)
	assert.Contains(t, notes(b), "750 of the Gets came while the same goroutine held a connection")
	b = only(t, Predict(r, at(1)))
	assert.InDelta(t, 6*time.Millisecond, b.Middle.Longest, float64(10*time.Microsecond), "until the one before is back")
}

func TestConnectionsThatAreNotOpenAreOpenedWhenGetsNeedThem(t *testing.T) {
	r := steady(2000, time.Millisecond)
	longest := func(w WhatIf) (time.Duration, int) {
		w.Capacities = []int{2}
		b := only(t, Predict(r, w))
		return b.Middle.Longest, b.Middle.Connects
	}
	wait, connects := longest(WhatIf{Connect: time.Second})
	assert.Zero(t, wait, "all are open from the beginning")
	assert.Zero(t, connects)
	wait, connects = longest(WhatIf{Connect: time.Second, MinIdle: -1})
	assert.Equal(t, time.Second, wait)
	assert.Equal(t, 2, connects)
	wait, _ = longest(WhatIf{Connect: time.Second, MinIdle: 1})
	assert.Zero(t, wait, "one is enough here")
	wait, _ = longest(WhatIf{MinIdle: -1})
	assert.Zero(t, wait)
	assert.Contains(t, notes(only(t, Predict(r, WhatIf{Capacities: []int{2}, MinIdle: -1}))), "The recording has no connects, so they take no time here")
	r.Connects = []time.Duration{30 * time.Millisecond}
	wait, _ = longest(WhatIf{MinIdle: -1})
	assert.Equal(t, 30*time.Millisecond, wait)
	wait, _ = longest(WhatIf{MinIdle: -1, Connect: -1})
	assert.Zero(t, wait)
}

// loaded is a recording in which holds get longer with the number in use, if the server is the bottleneck.
func loaded(bottleneck bool) *messages.Recording {
	r := open(5, 4000, 4, 10*time.Millisecond, exponential)
	r.Capacity = 8
	for i := range r.Gets {
		inUse := 0
		for j := max(0, i-200); j < i; j++ {
			if r.Gets[j].At+r.Gets[j].Hold > r.Gets[i].At {
				inUse++
			}
		}
		if bottleneck {
			r.Gets[i].Hold = r.Gets[i].Hold * time.Duration(4+inUse) / 10
		}
	}
	return r
}

func TestItSeesWhetherHoldsDependOnTheLoad(t *testing.T) {
	bands := Predict(loaded(true), at(4, 8, 16))
	for _, b := range bands {
		assert.Contains(t, notes(b), "Holds depend on the load")
		assert.False(t, b.Promised)
	}
	assert.Contains(t, notes(bands[2]), "As holds depend on the load, the mean within a factor of two does not hold")
	assert.Contains(t, notes(bands[0]), "it looks worse here than it is")
	assert.NotContains(t, notes(bands[1]), "looks")
	assert.Contains(t, notes(bands[2]), "it looks better here than it is")

	bands = Predict(loaded(false), at(4, 8, 16))
	assert.True(t, bands[2].Promised)
	assert.Contains(t, notes(bands[0]), "Holds hardly depended on the load")
	assert.Contains(t, notes(bands[0]), "If the server is the bottleneck, it looks worse here than it is")
	assert.Contains(t, notes(bands[2]), "What the server does with more connections at once is not in the recording")

	assert.Contains(t, notes(only(t, Predict(steady(2000, time.Millisecond), at(8)))), "cannot be seen in the recording")
}

func TestARecordingOfABusyPoolIsSaidToBeOne(t *testing.T) {
	r := steady(2000, time.Millisecond)
	for i := range 400 {
		r.Gets[i].Wait = time.Millisecond
	}
	assert.NotContains(t, notes(only(t, Predict(r, at(8)))), "waited in the recording")
	r.Gets[400].Wait = time.Millisecond
	assert.Contains(t, notes(only(t, Predict(r, at(8)))), "401 of the Gets waited in the recording")
}

func TestWhatWasLeftOutIsSaid(t *testing.T) {
	r := steady(2000, time.Millisecond)
	r.Truncated = true
	r.Gets[0].Outcome = messages.RecordedFailed
	r.Gets[1].Outcome = messages.RecordedShed
	r.Gets[2].Setting = "tenant 1"
	r.Gets[3].Hold = -1
	r.Gets[4].At = 2 * r.Length
	said := notes(only(t, Predict(r, at(8))))
	for _, text := range []string{
		"The recording ended early because it was full",
		"1 of the Gets failed because a connect failed",
		"1 of the Gets ended by MaxWaiters, Shed, a deadlock, Clear or Close",
		"1 of the Gets asked for a setting",
		"2 of the Gets cannot have been",
		"It says nothing of other times",
	} {
		assert.Contains(t, said, text)
	}
	r.Gets[5].At = r.Gets[6].At
	assert.Contains(t, notes(only(t, Predict(r, at(1)))), "Only 1 of 1,998 Gets wait: another recording may give")
	r.Length = 0
	assert.Contains(t, notes(only(t, Predict(r, at(8)))), "The recording does not say how long it is")
}

func TestNumbersAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 84: "0.08 µs", 84 * time.Microsecond: "84 µs", 999_600: "1 ms", 1254 * time.Microsecond: "1.25 ms",
		12_349 * time.Microsecond: "12.3 ms", 123_456 * time.Microsecond: "123 ms", 999_600 * time.Microsecond: "1 s", time.Minute: "60 s",
		-time.Millisecond: "-1 ms",
	} {
		assert.Equal(t, want, short(d))
	}
	for x, want := range map[float64]string{0: "0 %", 0.0001: "less than 0.1 %", 0.052: "5.2 %", 0.5: "50 %", 0.999: "99.9 %", 1: "100 %", 1.894: "189 %"} {
		assert.Equal(t, want, percent(x))
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		assert.Equal(t, want, count(n))
	}
	assert.Equal(t, []string{"0.08", "1", "9.9", "100"}, []string{millis(84 * time.Microsecond), millis(time.Millisecond), millis(9940 * time.Microsecond), millis(99960 * time.Microsecond)})
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestAWriterThatFailsIsReported(t *testing.T) {
	bands := Predict(steady(2000, time.Millisecond), at(8))
	assert.EqualError(t, WriteText(failing{}, nil, bands), "the disk is full")
	assert.EqualError(t, WriteSVG(failing{}, nil, bands), "the disk is full")
	assert.EqualError(t, WriteSVG(&strings.Builder{}, nil, Predict(nil, at(1))), "there is nothing to draw: none of the 1 bands is a forecast")
}
