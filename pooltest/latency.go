package pooltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Latency says how long one connect or one operation takes. It is called with the
// randomness of the connection, from one goroutine at a time for each connection. A
// negative result panics in the operation.
type Latency func(r *rand.Rand) time.Duration

// Exactly is always d. It panics if d is negative.
func Exactly(d time.Duration) Latency {
	require(d >= 0, "Exactly(%v): the latency is negative", d)
	return func(*rand.Rand) time.Duration { return d }
}

// Uniform is from least to most, each as likely as the other. It panics if least is
// negative or above most.
func Uniform(least, most time.Duration) Latency {
	require(least >= 0, "Uniform(%v, %v): the least latency is negative", least, most)
	require(least <= most, "Uniform(%v, %v): the least latency is above the most", least, most)
	return func(r *rand.Rand) time.Duration {
		return least + saturated(r.Float64()*float64(most-least))
	}
}

// Exponential has the mean that is given: short latencies are the most frequent, and one
// in a hundred is above 4.6 times the mean. It panics if mean is not positive.
func Exponential(mean time.Duration) Latency {
	require(mean > 0, "Exponential(%v): the mean is not positive", mean)
	return func(r *rand.Rand) time.Duration { return saturated(r.ExpFloat64() * float64(mean)) }
}

// LogNormal is what latencies of servers often look like: half are above the median, and
// a few are far above it. With a sigma of 0.5 one in a hundred is above 3.2 times the
// median, with 0.8 above 6.4 times, with 1 above 10 times. It panics if median is not
// positive, or sigma is negative, infinite or not a number.
func LogNormal(median time.Duration, sigma float64) Latency {
	require(median > 0, "LogNormal(%v, %v): the median is not positive", median, sigma)
	require(sigma >= 0 && !math.IsInf(sigma, 1), "LogNormal(%v, %v): sigma is negative, infinite or not a number", median, sigma)
	return func(r *rand.Rand) time.Duration {
		return saturated(float64(median) * math.Exp(sigma*r.NormFloat64()))
	}
}

// Pareto has a long tail: nothing is below least, and the part (least/d)^alpha is above
// d. With an alpha of 1.5 one in a hundred is above 22 times least, and one in ten
// thousand above 464 times. It panics if least is not positive, or alpha is not above 1,
// because the mean would be infinite.
func Pareto(least time.Duration, alpha float64) Latency {
	require(least > 0, "Pareto(%v, %v): the least latency is not positive", least, alpha)
	require(alpha > 1 && !math.IsInf(alpha, 1), "Pareto(%v, %v): alpha is infinite, not above 1, or not a number", least, alpha)
	return func(r *rand.Rand) time.Duration {
		return saturated(float64(least) * math.Exp(r.ExpFloat64()/alpha))
	}
}

// saturated is a duration of so many nanoseconds, or the longest that there is.
func saturated(nanoseconds float64) time.Duration {
	if nanoseconds >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(nanoseconds)
}

// require panics unless something holds: a mistake of the test.
func require(holds bool, format string, args ...any) {
	if !holds {
		panic("pooltest: " + fmt.Sprintf(format, args...))
	}
}
