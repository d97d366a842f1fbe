package messages

import (
	"math"
	"time"
)

// MeasuresRequest asks for the pool's measures. It is answered by *[Measures]; when the
// last connection has been closed after Close, by *[Done] with [ErrClosed].
type MeasuresRequest struct{}

// Measures are how long Gets wait, leases last and connects take, since the pool was
// made, with the pool's numbers of the same moment. They are always kept.
type Measures struct {
	// Since is when the pool was made. The histograms, and the counts in Stats, are what
	// has come since then.
	Since time.Time `json:"since"`
	// Stats is the pool's snapshot.
	Stats Stats `json:"stats"`
	// Wait is how long the Gets waited that got a connection. One that was served at once
	// has waited 0. A Get that failed is not in it.
	Wait Histogram `json:"wait"`
	// Use is how long leases lasted, from the grant to the Put, Taint or Hijack, or until
	// the pool ended them: of one lease in UseEvery, drawn at random when it begins.
	Use Histogram `json:"use"`
	// Connect is how long the connects took that succeeded.
	Connect Histogram `json:"connect"`
	// UseEvery is how many leases there are to each one in Use, on average: 16, or 1 in a
	// pool that times all its leases anyway, because of LeakAfter or MaxLease.
	UseEvery int `json:"useEvery"`
	// LongestLease and LongestWait are the ages of the oldest lease and of the oldest
	// wait that go on at this moment; 0: there is none. LongestLease is at least so long,
	// as [Holder].Age is.
	LongestLease time.Duration `json:"longestLease"`
	LongestWait  time.Duration `json:"longestWait"`
}

// HistogramScale is the Scale of every [Histogram] of a pool: four buckets for each power
// of two.
const HistogramScale = 2

// Histogram counts durations in buckets that grow exponentially, as OpenTelemetry's
// exponential histogram does: the bucket Buckets[i] counts the durations d with
//
//	base^(Offset+i) < d <= base^(Offset+i+1)
//
// in seconds, where base is 2^(2^-Scale). At Scale 2 a bucket is 19 % wide. Durations of
// 0 are in Count and in no bucket.
type Histogram struct {
	// Count is the number of durations, and Sum their sum.
	Count uint64        `json:"count"`
	Sum   time.Duration `json:"sum"`
	// Scale says how fine the buckets are.
	Scale int8 `json:"scale"`
	// Offset is the index of the first bucket. It is negative for less than a second.
	Offset int `json:"offset"`
	// Buckets are the counts. The first and the last are not 0.
	Buckets []uint64 `json:"buckets"`
}

// Zeros is the number of durations of 0.
func (h Histogram) Zeros() uint64 {
	zeros := h.Count
	for _, n := range h.Buckets {
		zeros -= n
	}
	return zeros
}

// Bound is the upper bound of the bucket with the given index, counted from Offset 0,
// which is also the lower bound of the next: base^(index+1) seconds.
func (h Histogram) Bound(index int) time.Duration {
	return duration(math.Exp2(math.Ldexp(float64(index+1), -int(h.Scale))) * float64(time.Second))
}

// duration is a number of nanoseconds, or the longest duration if it is more.
func duration(nanoseconds float64) time.Duration {
	if nanoseconds >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(nanoseconds)
}

// Quantile estimates the duration that a share of q of the durations does not exceed: 0.5
// gives the median. Within a bucket the durations are taken as spread evenly on a
// logarithmic scale, so that the estimate is at most 19 % off at Scale 2. A q below 0 is
// taken as 0 and one above 1 as 1. Without durations, and for a q that is no number, it is
// 0.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 || math.IsNaN(q) {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(h.Count)
	below := float64(h.Zeros())
	if rank <= below && below > 0 {
		return 0
	}
	for i, n := range h.Buckets {
		if n > 0 && rank <= below+float64(n) {
			low := float64(h.Bound(h.Offset + i - 1))
			high := float64(h.Bound(h.Offset + i))
			return duration(low * math.Pow(high/low, (rank-below)/float64(n)))
		}
		below += float64(n)
	}
	return h.Bound(h.Offset + len(h.Buckets) - 1)
}
