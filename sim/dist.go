package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Dist is a distribution of durations. The zero value is always 0.
type Dist struct {
	kind    distKind
	a, b    time.Duration
	sigma   float64
	samples []time.Duration
}

type distKind uint8

const (
	kindExactly distKind = iota
	kindExponential
	kindLogNormal
	kindUniform
	kindSamples
)

// Exactly is always d.
func Exactly(d time.Duration) Dist { return Dist{a: d} }

// Exponential has that mean, and no memory: how much is left does not depend on how much
// has passed.
func Exponential(mean time.Duration) Dist { return Dist{kind: kindExponential, a: mean} }

// LogNormal has that median and no bound: its logarithm is normal, with the standard
// deviation sigma. With a sigma of 0.8, one in a hundred is above 6.4 times the median.
func LogNormal(median time.Duration, sigma float64) Dist {
	return Dist{kind: kindLogNormal, a: median, sigma: sigma}
}

// Uniform is between two durations.
func Uniform(from, to time.Duration) Dist { return Dist{kind: kindUniform, a: from, b: to} }

// Samples is one of those that were measured, each as likely as any other.
func Samples(measured ...time.Duration) Dist {
	return Dist{kind: kindSamples, samples: slices.Clone(measured)}
}

// IsZero says that it is always 0.
func (d Dist) IsZero() bool {
	switch d.kind {
	case kindUniform:
		return d.a == 0 && d.b <= 1 // what is drawn is below b
	case kindSamples:
		return len(d.samples) > 0 && slices.Max(d.samples) == 0
	default:
		return d.a == 0
	}
}

// String describes it.
func (d Dist) String() string {
	switch d.kind {
	case kindExponential:
		return fmt.Sprintf("exponential, mean %v", d.a)
	case kindLogNormal:
		return fmt.Sprintf("log-normal, median %v, sigma %v", d.a, d.sigma)
	case kindUniform:
		return fmt.Sprintf("%v to %v", d.a, d.b)
	case kindSamples:
		return fmt.Sprintf("one of %d samples", len(d.samples))
	default:
		return d.a.String()
	}
}

// wrong says what is wrong with it; empty: nothing.
func (d Dist) wrong() string {
	switch {
	case d.a < 0:
		return fmt.Sprintf("%v is negative", d.a)
	case d.kind == kindUniform && d.b < d.a:
		return fmt.Sprintf("%v is below %v", d.b, d.a)
	case d.kind == kindLogNormal && !(d.sigma >= 0 && d.sigma <= maxSigma): // written so that NaN is wrong
		return fmt.Sprintf("sigma is %v, and not in 0..%d", d.sigma, maxSigma)
	case d.kind == kindSamples && len(d.samples) == 0:
		return "there are no samples"
	case d.kind == kindSamples && slices.Min(d.samples) < 0:
		return fmt.Sprintf("the sample %v is negative", slices.Min(d.samples))
	}
	return ""
}

// maxSigma is more than any real latency has.
const maxSigma = 10

// longest bounds what is drawn, so that no sum of times can overflow.
const longest = 1000 * 24 * time.Hour

// draw draws a duration.
func (d Dist) draw(r *rand.Rand) time.Duration {
	x := float64(d.a)
	switch d.kind {
	case kindExponential:
		x *= r.ExpFloat64()
	case kindLogNormal:
		x *= math.Exp(d.sigma * r.NormFloat64())
	case kindUniform:
		x += float64(float64(d.b-d.a) * r.Float64()) // the conversion keeps it the same on processors with a fused multiply-add
	case kindSamples:
		x = float64(d.samples[r.IntN(len(d.samples))])
	default:
		return min(d.a, longest)
	}
	if x >= float64(longest) {
		return longest
	}
	return time.Duration(x)
}
