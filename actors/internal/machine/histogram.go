// Histograms: durations, counted in buckets that grow exponentially.

package machine

import (
	"math"
	"math/bits"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// histogram counts durations as [messages.Histogram] describes. Its buckets are those
// between the shortest and the longest duration so far, as few pools see more than a
// part of the 253 that there are: a new one there costs an allocation, which becomes
// rare at once.
type histogram struct {
	first   int // the place of buckets[0] in bucketEnds
	buckets []uint64
	count   uint64 // of all durations, those of 0 included
	sum     time.Duration
}

// The buckets begin at 2^-30 s, which is less than a nanosecond.
const (
	bucketsPerOctave = 1 << messages.HistogramScale
	firstBucket      = -30 * bucketsPerOctave // the index that bucketEnds begins with
	bucketBlock      = 8                      // so many are made at once
)

// bucketEnds are the upper bounds of all buckets, which are inclusive: the largest whole
// number of nanoseconds that is not above 2^((index+1)/4) seconds. Above 18 years it may
// be one less.
var bucketEnds = func() (ends [253]time.Duration) {
	root := [bucketsPerOctave]uint64{ // 2^(i/4) * 2^62
		1 << 62, 0x4c1bf828c6dc54b7, 0x5a827999fcef3242, 0x6ba27e656b4eb57a,
	}
	for i := range ends {
		index := firstBucket + i + 1
		octave, part := index>>messages.HistogramScale, index&(bucketsPerOctave-1)
		high, low := bits.Mul64(root[part], uint64(time.Second))
		switch shift := 62 - octave; {
		case shift >= 64:
			ends[i] = time.Duration(high >> (shift - 64))
		case high>>(shift-1) > 0:
			ends[i] = math.MaxInt64
		default:
			ends[i] = time.Duration(high<<(64-shift) | low>>shift)
		}
	}
	return ends
}()

// placeOf is the place in bucketEnds of the bucket of a duration above 0. No bucket that
// begins at a smaller power of two of nanoseconds can hold it.
func placeOf(d time.Duration) int {
	place := bucketsPerOctave * (bits.Len64(uint64(d)) - 1)
	for d > bucketEnds[place] {
		place++
	}
	return place
}

// add counts a duration.
func (h *histogram) add(d time.Duration) {
	h.count++
	if d <= 0 {
		return
	}
	h.sum = after(h.sum, d)
	place := placeOf(d)
	if i := place - h.first; uint(i) < uint(len(h.buckets)) {
		h.buckets[i]++
		return
	}
	h.widen(place)
	h.buckets[place-h.first]++
}

// remove takes back a duration that was added.
func (h *histogram) remove(d time.Duration) {
	h.count--
	if d > 0 {
		h.sum = max(0, h.sum-d) // a sum that was cut off at the largest is not exact any more
		h.buckets[placeOf(d)-h.first]--
	}
}

// widen makes room for one more place.
func (h *histogram) widen(place int) {
	first, end := place, place+1
	if len(h.buckets) > 0 {
		first, end = min(first, h.first), max(end, h.first+len(h.buckets))
	}
	first -= first % bucketBlock
	end = min(len(bucketEnds), end+bucketBlock-1-(end-1)%bucketBlock)
	buckets := make([]uint64, end-first)
	if len(h.buckets) > 0 {
		copy(buckets[h.first-first:], h.buckets)
	}
	h.first, h.buckets = first, buckets
}

// report is the histogram for others, without empty buckets at its ends.
func (h *histogram) report() messages.Histogram {
	first, buckets := h.first, h.buckets
	for len(buckets) > 0 && buckets[0] == 0 {
		first, buckets = first+1, buckets[1:]
	}
	for len(buckets) > 0 && buckets[len(buckets)-1] == 0 {
		buckets = buckets[:len(buckets)-1]
	}
	r := messages.Histogram{Count: h.count, Sum: h.sum, Scale: messages.HistogramScale}
	if len(buckets) > 0 {
		r.Offset, r.Buckets = firstBucket+first, append([]uint64(nil), buckets...)
	}
	return r
}
