package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// sample is what one process has found of one pool in one case: the medians over its turns.
type sample struct {
	Case        string  `json:"case"`
	Pool        string  `json:"pool"`
	Process     int     `json:"process"`
	N           int     `json:"n"` // cycles in a turn
	NsPerOp     float64 `json:"ns_per_op"`
	BytesPerOp  float64 `json:"bytes_per_op"`
	AllocsPerOp float64 `json:"allocs_per_op"`
	// Where single times are measured: their percentiles, in nanoseconds.
	P50 float64 `json:"p50_ns,omitempty"`
	P99 float64 `json:"p99_ns,omitempty"`
	Max float64 `json:"max_ns,omitempty"`
	// Where cycles are counted for each goroutine: Jain's index, and the least and the greatest
	// count divided by the mean.
	Jain  float64 `json:"jain,omitempty"`
	Least float64 `json:"least_share,omitempty"`
	Most  float64 `json:"most_share,omitempty"`
}

// measure runs a case once, with a new pool that has opened its connections.
func measure(c benchmark, k contestant, e effort) (sample, error) {
	s := sample{Case: c.name, Pool: k.name}
	p, err := k.make(c.capacity())
	if err != nil {
		return s, err
	}
	defer p.close()
	failed := func(err error) (sample, error) { return s, fmt.Errorf("%s, %s: %w", c.name, k.name, err) }
	warm := effort{n: min(e.n, max(e.n/20, c.first, 64)), lasts: e.lasts / 20}
	if _, err := c.run(p, warm, func() {}); err != nil {
		return failed(err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	var began time.Time
	got, err := c.run(p, e, func() {
		runtime.ReadMemStats(&before)
		began = time.Now()
	})
	elapsed := time.Since(began)
	runtime.ReadMemStats(&after)
	if err != nil {
		return failed(err)
	}
	s.N = got.n
	n := float64(max(1, got.n))
	s.NsPerOp = float64(elapsed.Nanoseconds()) / n
	if c.kind == wholes { // the others allocate for the measurement itself
		s.AllocsPerOp = float64(after.Mallocs-before.Mallocs) / n
		s.BytesPerOp = float64(after.TotalAlloc-before.TotalAlloc) / n
	}
	if len(got.times) > 0 {
		slices.Sort(got.times)
		at := func(q float64) float64 { return float64(got.times[int(q*float64(len(got.times)-1))]) }
		s.P50, s.P99, s.Max = at(0.50), at(0.99), at(1)
	}
	if len(got.counts) > 0 {
		s.Jain, s.Least, s.Most = fairness(got.counts)
	}
	return s, nil
}

// fairness returns Jain's index of the counts, (Σx)²/(n·Σx²), which is 1 if all are equal and
// 1/n if one has everything, and the least and the greatest count as a share of the mean.
func fairness(counts []int) (jain, least, most float64) {
	sum, squares := 0.0, 0.0
	for _, c := range counts {
		sum += float64(c)
		squares += float64(c) * float64(c)
	}
	if sum == 0 {
		return 0, 0, 0
	}
	n := float64(len(counts))
	return sum * sum / (n * squares), float64(slices.Min(counts)) * n / sum, float64(slices.Max(counts)) * n / sum
}

// scales are the numbers of cycles of one turn, by case and pool.
type scales map[string]map[string]int

// scale returns how many cycles take about as long as wanted.
func scale(c benchmark, k contestant, wanted time.Duration) (int, error) {
	first := c.first
	if first == 0 {
		first = 1000
	}
	for n := first; ; n *= 5 {
		s, err := measure(c, k, effort{n: n, lasts: wanted})
		if err != nil {
			return 0, err
		}
		if c.kind == shares { // which last for a time
			return s.N, nil
		}
		if took := time.Duration(s.NsPerOp * float64(n)); took >= wanted/4 {
			return max(1, c.first, int(float64(wanted)/s.NsPerOp)), nil
		}
	}
}

// scaleAll finds the scales of all cases. Where single times are measured, their number is the
// same for all pools: the greatest of many times grows with their number.
func scaleAll(cases []benchmark, turn time.Duration) (scales, error) {
	found := scales{}
	for _, c := range cases {
		found[c.name] = map[string]int{}
		least := 0
		for _, k := range c.contestants() {
			n, err := scale(c, k, turn)
			if err != nil {
				return nil, err
			}
			found[c.name][k.name] = n
			if least == 0 || n < least {
				least = n
			}
		}
		if c.kind == waits || c.kind == pausing {
			for name := range found[c.name] {
				found[c.name][name] = least
			}
		}
	}
	return found, nil
}

// measureAll measures each pool in each case, several times in turns. The order of the pools is
// random, and another one in each turn, so that other load on the machine affects all pools in
// the same way. The result is the median of the turns.
func measureAll(cases []benchmark, turns int, turn time.Duration, by scales) ([]sample, error) {
	var found []sample
	for _, c := range cases {
		pools := c.contestants()
		all := make([][]sample, len(pools))
		for range turns {
			for _, i := range rand.Perm(len(pools)) {
				s, err := measure(c, pools[i], effort{n: by[c.name][pools[i].name], lasts: turn})
				if err != nil {
					return nil, err
				}
				all[i] = append(all[i], s)
			}
		}
		for _, of := range all {
			found = append(found, medians(of))
		}
	}
	return found, nil
}

// medians returns a sample with the medians of the samples.
func medians(of []sample) sample {
	m := of[0]
	for _, field := range []func(*sample) *float64{
		func(s *sample) *float64 { return &s.NsPerOp },
		func(s *sample) *float64 { return &s.BytesPerOp },
		func(s *sample) *float64 { return &s.AllocsPerOp },
		func(s *sample) *float64 { return &s.P50 },
		func(s *sample) *float64 { return &s.P99 },
		func(s *sample) *float64 { return &s.Max },
		func(s *sample) *float64 { return &s.Jain },
		func(s *sample) *float64 { return &s.Least },
		func(s *sample) *float64 { return &s.Most },
	} {
		var values []float64
		for i := range of {
			values = append(values, *field(&of[i]))
		}
		*field(&m) = spreadOf(values).median
	}
	return m
}
