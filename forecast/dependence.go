package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// dependence says how holds depend on how many connections were in use when they began.
type dependence struct {
	few        int // at most so many in use, its own included: the first half of the leases
	low, high  time.Duration
	depends    bool // high is above low by more than chance can explain
	comparable bool // there are enough leases in both halves
}

// Holds depend on load if their means differ by more than a tenth of the lesser, and by more than four
// standard errors: less would be reported of holds that only differ by chance.
const (
	leastDifference = 0.1
	standardErrors  = 4
)

// dependenceOf compares the holds of leases that began while few connections were in use with
// those that began while many were.
func dependenceOf(gets []messages.RecordedGet) dependence {
	type lease struct {
		from, hold time.Duration
		known      bool
	}
	leases, ends := make([]lease, 0, len(gets)), make([]time.Duration, 0, len(gets))
	for _, g := range gets {
		if !granted(g.Outcome) {
			continue
		}
		from := g.At + g.Wait
		leases = append(leases, lease{from, g.Hold, g.Outcome == messages.RecordedGranted && !g.Out})
		if !g.Out {
			ends = append(ends, from+g.Hold)
		}
	}
	slices.SortFunc(leases, func(a, b lease) int { return cmp.Compare(a.from, b.from) })
	slices.Sort(ends)
	inUse, sorted := make([]int, len(leases)), make([]int, len(leases))
	ended := 0
	for i, l := range leases {
		for ended < len(ends) && ends[ended] <= l.from {
			ended++
		}
		inUse[i] = max(1, i+1-ended) // a lease without length has ended when it begins
	}
	copy(sorted, inUse)
	slices.Sort(sorted)
	var d dependence
	if len(leases) == 0 {
		return d
	}
	d.few = sorted[(len(sorted)-1)/2]
	var low, high sample
	for i, l := range leases {
		switch {
		case !l.known:
		case inUse[i] <= d.few:
			low.add(l.hold)
		default:
			high.add(l.hold)
		}
	}
	const enough = 100
	if d.comparable = low.n >= enough && high.n >= enough; d.comparable {
		d.low, d.high = time.Duration(low.mean), time.Duration(high.mean)
		difference := high.mean - low.mean
		d.depends = difference > leastDifference*low.mean && difference > standardErrors*math.Sqrt(low.squaredError()+high.squaredError())
	}
	return d
}

// sample is a running mean and sum of squared differences from it (B. P. Welford, Note on a method for
// calculating corrected sums of squares and products, Technometrics 4, 1962).
type sample struct {
	n             int
	mean, squares float64
}

func (s *sample) add(d time.Duration) {
	s.n++
	difference := float64(d) - s.mean
	s.mean += difference / float64(s.n)
	s.squares += difference * (float64(d) - s.mean)
}

// squaredError is the square of the standard error of the mean.
func (s *sample) squaredError() float64 { return s.squares / float64(s.n-1) / float64(s.n) }
