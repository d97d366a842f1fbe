package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"
)

// sample is one measurement of one case of one pool.
type sample struct {
	Case        string  `json:"case"`
	Pool        string  `json:"pool"`
	Round       int     `json:"round"`
	N           int     `json:"n"`
	NsPerOp     float64 `json:"ns_per_op"`
	BytesPerOp  float64 `json:"bytes_per_op"`
	AllocsPerOp float64 `json:"allocs_per_op"`
	// In the wait case: percentiles of the time of a Get, in nanoseconds.
	P50 float64 `json:"p50_ns,omitempty"`
	P99 float64 `json:"p99_ns,omitempty"`
	Max float64 `json:"max_ns,omitempty"`
}

// measure runs a case once, with a new pool that has opened its connections.
func measure(c benchmark, kind int, n int) (sample, error) {
	s := sample{Case: c.name, Pool: contestants[kind].name, N: n}
	p, err := contestants[kind].make(c.capacity())
	if err != nil {
		return s, err
	}
	defer p.close()
	run := c.run
	var times []time.Duration
	if c.waits {
		run = func(p pool, n int, start func()) (err error) {
			times, err = waiting(p, n, start)
			return err
		}
	}
	if err := run(p, max(n/20, 64), func() {}); err != nil { // warm it up
		return s, fmt.Errorf("%s, %s: %w", s.Case, s.Pool, err)
	}
	runtime.GC()
	var before, after runtime.MemStats
	var began time.Time
	err = run(p, n, func() {
		runtime.ReadMemStats(&before)
		began = time.Now()
	})
	elapsed := time.Since(began)
	runtime.ReadMemStats(&after)
	if err != nil {
		return s, fmt.Errorf("%s, %s: %w", s.Case, s.Pool, err)
	}
	s.NsPerOp = float64(elapsed.Nanoseconds()) / float64(n)
	s.AllocsPerOp = float64(after.Mallocs-before.Mallocs) / float64(n)
	s.BytesPerOp = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
	if len(times) > 0 {
		// The measurement itself allocates, so these numbers say nothing about the pool.
		s.AllocsPerOp, s.BytesPerOp = 0, 0
		at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))]) }
		s.P50, s.P99, s.Max = at(0.50), at(0.99), at(1)
	}
	return s, nil
}

// scale returns how many cycles take about as long as wanted.
func scale(c benchmark, kind int, wanted time.Duration) (int, error) {
	for n := 1000; ; {
		s, err := measure(c, kind, n)
		if err != nil {
			return 0, err
		}
		took := time.Duration(s.NsPerOp * float64(n))
		if took >= wanted/4 {
			return max(1, int(float64(wanted)/s.NsPerOp)), nil
		}
		n *= 5
	}
}

// measureAll measures each pool in each case, in every round. The order of the pools is random,
// and another one for each case and round, so that other load on the machine affects all pools
// in the same way.
func measureAll(rounds int, each time.Duration, progress func(string)) ([]sample, error) {
	scales := map[string][]int{}
	for _, c := range cases {
		least := 0
		for kind := range contestants {
			n, err := scale(c, kind, each)
			if err != nil {
				return nil, err
			}
			scales[c.name] = append(scales[c.name], n)
			if least == 0 || n < least {
				least = n
			}
		}
		if c.waits { // the same number of cycles for all pools
			for kind := range contestants {
				scales[c.name][kind] = least
			}
		}
	}
	var samples []sample
	for round := 1; round <= rounds; round++ {
		for _, c := range cases {
			for _, kind := range rand.Perm(len(contestants)) {
				s, err := measure(c, kind, scales[c.name][kind])
				if err != nil {
					return nil, err
				}
				s.Round = round
				samples = append(samples, s)
			}
		}
		progress(fmt.Sprintf("round %d of %d", round, rounds))
	}
	return samples, nil
}
