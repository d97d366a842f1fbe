package prommetrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/actorpool/actorpool/messages"
)

// histogram is a histogram of a pool as a metric. It has the classic buckets and the
// native histogram in one metric, because a registry refuses two of one name.
type histogram struct {
	desc      *prometheus.Desc
	labels    []*dto.LabelPair
	durations messages.Histogram
	options   Options
}

// Desc implements prometheus.Metric.
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric.
func (h *histogram) Write(out *dto.Metric) error {
	count, sum := h.durations.Count, h.durations.Sum.Seconds()
	m := &dto.Histogram{SampleCount: &count, SampleSum: &sum}
	if !h.options.WithoutClassic {
		m.Bucket = classic(h.durations)
	}
	if !h.options.WithoutNative {
		native(m, h.durations)
	}
	out.Label, out.Histogram = h.labels, m
	return nil
}

// The bounds of the classic buckets are powers of two of seconds, from 2^-13 (0.12 ms) to
// 2^5 (32 s): they are bounds of the pool's buckets as well, so the counts are exact.
const (
	firstPower = -13
	lastPower  = 5
)

// classic are the classic buckets: how many durations there are up to each bound.
func classic(h messages.Histogram) []*dto.Bucket {
	buckets := make([]*dto.Bucket, 0, lastPower-firstPower+1)
	count, next := h.Zeros(), 0
	for power := firstPower; power <= lastPower; power++ {
		end := power<<h.Scale - h.Offset // the first bucket above the bound
		for ; next < len(h.Buckets) && next < end; next++ {
			count += h.Buckets[next]
		}
		bound, below := math.Ldexp(1, power), count
		buckets = append(buckets, &dto.Bucket{UpperBound: &bound, CumulativeCount: &below})
	}
	return buckets
}

// longestGap is how many empty buckets in a row are written as such, rather than by
// another span.
const longestGap = 2

// native adds the native histogram: the counts as spans of buckets, each count as the
// difference to the one before. Prometheus gives a bucket the index of its upper bound,
// OpenTelemetry and the pool that of its lower bound, so that it is one more here.
func native(m *dto.Histogram, h messages.Histogram) {
	schema, zeros, threshold := int32(h.Scale), h.Zeros(), 0.0 // only durations of 0 are zeros
	m.Schema, m.ZeroCount, m.ZeroThreshold = &schema, &zeros, &threshold
	var span *dto.BucketSpan
	last, end := uint64(0), 0 // the count before, and the index after it
	write := func(n uint64) {
		m.PositiveDelta = append(m.PositiveDelta, int64(n-last))
		*span.Length++
		last, end = n, end+1
	}
	for i, n := range h.Buckets {
		index := h.Offset + i + 1
		if n == 0 {
			continue
		}
		if span == nil || index-end > longestGap {
			offset, length := int32(index-end), uint32(0)
			span = &dto.BucketSpan{Offset: &offset, Length: &length}
			m.PositiveSpan = append(m.PositiveSpan, span)
			end = index
		}
		for end < index {
			write(0)
		}
		write(n)
	}
	if span == nil { // a span without length says that the histogram is native
		m.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32), Length: new(uint32)}}
	}
}
