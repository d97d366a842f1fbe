package forecast

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Least is the least number of leases whose hold is known that a forecast is made from. The 99th
// percentile of 1,000 waits is decided by the ten longest; that of fewer Gets, by a few
// accidents.
const Least = 1000

// Loads up to which something is said. See the comment of the package.
const (
	// MeanUpTo is the predicted load up to which the mean wait is promised within a factor of two,
	// if the load of the busiest part is not above NumbersUpTo and holds do not depend on the load.
	MeanUpTo = 0.65
	// NumbersUpTo is the predicted load above which a forecast says only whether the pool keeps up.
	NumbersUpTo = 0.90
)

// ErrTooFew is in Band.Err if the recording has fewer than [Least] leases whose hold is known.
var ErrTooFew = errors.New("too few Gets for a forecast")

// WhatIf says what would be different. The zero value asks for the capacities around the
// recorded one, in a pool that is as it was otherwise.
type WhatIf struct {
	// Capacities are the capacities to make a forecast for, each from 1 to 100,000. Empty: a half,
	// three quarters, once, one and a half times and twice the recorded one; 100,000 instead of more.
	Capacities []int
	// MinIdle is how many connections are open before the first Get comes; the pool keeps as many
	// idle. 0: the whole capacity, as in a pool that has been in use for a while. Negative: none.
	// Others are opened when Gets need them.
	MinIdle int
	// GetTimeout is how long a Get that came without a deadline of its own waits at most. 0: as
	// recorded. Negative: such Gets wait without end.
	GetTimeout time.Duration
	// Connect is how long each connect takes. 0: as long as recorded ones, drawn at random.
	// Negative: no time.
	Connect time.Duration
	// Open lets every Get come when it came in the recording, also those of sessions. It is
	// meant for workers that take their work from a queue: work comes as it came, however
	// long the workers wait for connections.
	Open bool
	// Seed is that of the random numbers: they choose a hold for each Get that has none in the
	// recording, and how long a connect takes. The same seed gives the same forecast.
	Seed uint64
}

// Band is the forecast for one capacity.
type Band struct {
	// Capacity is what the forecast is for.
	Capacity int
	// Busiest is the load in the busiest part of the recording, with holds as recorded. The parts
	// are equally long, at most 60, and have 300 Gets or more on average, so that chance alone
	// makes none of them much busier than the others. See Waits.Load for the load of the whole.
	Busiest float64
	// Low, Middle and High are what comes of holds that are 0.9, 1 and 1.1 times as long as
	// recorded. All are zero with an Err.
	Low, Middle, High Waits
	// MeanFrom and MeanTo are the band of the mean wait. If Promised, it reaches from half of
	// Middle.Mean, or Low.Mean if that is less, to twice Middle.Mean, or High.Mean if that is
	// more, plus [Resolution]. Otherwise it reaches from the least to the greatest of the three
	// means, and above a load of [NumbersUpTo] it is zero.
	MeanFrom, MeanTo time.Duration
	// Promised says that the mean wait should be between MeanFrom and MeanTo: the load is at most
	// [MeanUpTo], that of the busiest part at most [NumbersUpTo], and holds do not depend on the
	// load in the recording.
	Promised bool
	// Words says the forecast in a sentence or two. With an Err they say why there is none.
	Words string
	// Notes say what the forecast cannot know, and what was left out of the recording or had
	// to be assumed: a sentence or two each. Those that hold for all capacities come first.
	Notes []string
	// Err says why there is no forecast: a *[messages.ConfigError] that names the field of
	// WhatIf, an error that wraps [ErrTooFew], or one that says what is wrong with the
	// recording. nil: there is one.
	Err error
}

// Resolution is what a real pool and a busy machine add to a wait, and a forecast leaves out: a
// Get takes some microseconds, and a goroutine whose turn has come runs a little later.
const Resolution = 200 * time.Microsecond

// Waits is one run of a forecast. Durations are waits of the Gets that were granted a connection. A
// quantile is the least wait that the given part of them does not exceed.
type Waits struct {
	// Holds is the factor by which holds were longer than recorded: 0.9, 1 or 1.1.
	Holds float64
	// Gets is how many Gets were counted: all but those that held a connection before the
	// recording began, and those that came with nothing to wait for.
	Gets int
	// Mean, P50, P90, P99 and Longest are the mean wait, its quantiles, and the longest one.
	Mean, P50, P90, P99, Longest time.Duration
	// Waited is the share of the Gets that waited, from 0 to 1.
	Waited float64
	// Timeouts is how many Gets ended without a connection, because their deadline passed or
	// because their caller left after as long as in the recording.
	Timeouts int
	// Load is the time for which connections were asked for, over the time for which there
	// were some: 1 is the whole capacity. It may be more.
	Load float64
	// KeepsUp says that the pool serves the Gets as fast as they come: Load is below 1, and
	// sessions do not take more than a twentieth longer than in the recording.
	KeepsUp bool
	// Connects is how many connections were opened after the first Get had come.
	Connects int
}

// Predict makes a forecast for each of the capacities, in their order. It always returns at
// least one Band. Where no forecast can be made, its Err and its Words say why: all of them
// have the same one if r is nil, has too few Gets or is contradictory, or if a field of w
// other than Capacities is wrong. Gets of r that cannot have been are left out, and Notes say
// so. Predict does not change r.
func Predict(r *messages.Recording, w WhatIf) []Band {
	t, err := newTraffic(r, w)
	capacities := w.Capacities
	if len(capacities) == 0 {
		capacities = []int{0} // to say what is wrong
		if err == nil {
			capacities, err = near(r.Capacity)
		}
	}
	bands := make([]Band, len(capacities))
	var known []string
	if err == nil {
		known = t.notes(r, w)
	}
	for i, capacity := range capacities {
		b := &bands[i]
		if b.Capacity = capacity; err != nil {
			b.Err = err
		} else if capacity < 1 || capacity > mostCapacity {
			b.Err = &messages.ConfigError{
				Field: fmt.Sprintf("Capacities[%d]", i), Reason: fmt.Sprintf("%d is not between 1 and %d", capacity, mostCapacity),
			}
		}
		if b.Err == nil {
			b.Err = t.fill(b)
		}
		if b.Err != nil {
			b.Words = "No forecast: " + b.Err.Error() + "."
			continue
		}
		b.Words = b.say(t.part)
		b.Notes = append(slices.Clone(known), t.notesOn(b, r)...)
	}
	return bands
}

// mostCapacity is the greatest capacity that a forecast is made for.
const mostCapacity = 100_000

// near are the capacities that are asked for if none is given.
func near(c int) ([]int, error) {
	if c < 1 {
		return []int{0}, &messages.ConfigError{Field: "Capacities", Reason: fmt.Sprintf("none is given, and that of the recording is %d", c)}
	}
	c = min(c, 2*mostCapacity) // half of it is the most, and nothing overflows
	around := []int{max(1, c/2), max(1, c*3/4), c, c + (c+1)/2, 2 * c}
	for i := range around {
		around[i] = min(around[i], mostCapacity)
	}
	return slices.Compact(around), nil
}

// fill makes the three runs.
func (t *traffic) fill(b *Band) error {
	low, err := t.run(b.Capacity, 0.9)
	if err != nil {
		return err
	}
	middle, err := t.run(b.Capacity, 1)
	if err != nil {
		return err
	}
	high, err := t.run(b.Capacity, 1.1)
	if err != nil {
		return err
	}
	b.Low, b.Middle, b.High = low, middle, high
	b.Busiest = t.busiest / float64(b.Capacity)
	b.Promised = b.Middle.Load <= MeanUpTo && b.Busiest <= NumbersUpTo && !t.server.depends
	b.MeanFrom, b.MeanTo = b.meanBand()
	return nil
}

func (b *Band) meanBand() (from, to time.Duration) {
	switch {
	case b.Promised:
		return min(b.Low.Mean, b.Middle.Mean/2), max(b.High.Mean, 2*b.Middle.Mean) + Resolution
	case b.Middle.Load <= NumbersUpTo:
		return b.around(func(w *Waits) time.Duration { return w.Mean })
	}
	return 0, 0
}

// around is what the three runs have of something, from the least to the most. Where sessions meet by
// chance, longer holds can make for shorter waits.
func (b *Band) around(of func(*Waits) time.Duration) (from, to time.Duration) {
	low, middle, high := of(&b.Low), of(&b.Middle), of(&b.High)
	return min(low, middle, high), max(low, middle, high)
}
