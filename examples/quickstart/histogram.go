package main

import (
	"math"
	"time"
)

// histogram counts durations in classes that are 5% wide, so that its size does not depend
// on their number.
type histogram struct {
	counts [classes]uint64
	n      uint64
	max    time.Duration
}

const (
	width   = 1.05
	classes = 500 // up to 1.05^500 nanoseconds, 39 seconds
)

var logWidth = math.Log(width)

func (h *histogram) add(d time.Duration) {
	class := 0
	if d > 1 {
		class = min(int(math.Log(float64(d))/logWidth), classes-1)
	}
	h.counts[class]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// percentile returns a duration that the part p of all durations, from 0 to 1, does not
// exceed.
func (h *histogram) percentile(p float64) time.Duration {
	rank := uint64(math.Ceil(p * float64(h.n)))
	var seen uint64
	for class, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(time.Duration(math.Pow(width, float64(class+1))), h.max)
		}
	}
	return h.max
}
