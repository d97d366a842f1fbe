package pooltest_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/pooltest"
)

var nan, infinite = math.NaN(), math.Inf(1)

// The quantiles of each distribution are those of its definition, and what the comments
// say of them holds.
func TestTheLatenciesAreThoseOfTheirDistributions(t *testing.T) {
	const n = 200_000
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	for _, test := range []struct {
		name             string
		latency          pooltest.Latency
		median, p99, top time.Duration // top: of ten thousand; 0: not looked at
		mean             time.Duration
	}{
		{"Exactly", pooltest.Exactly(ms(10)), ms(10), ms(10), ms(10), ms(10)},
		{"Uniform", pooltest.Uniform(ms(10), ms(30)), ms(20), ms(29.8), ms(29.998), ms(20)},
		{"Uniform from and to the same", pooltest.Uniform(ms(10), ms(10)), ms(10), ms(10), ms(10), ms(10)},
		{"Exponential", pooltest.Exponential(ms(10)), ms(10 * math.Ln2), ms(46.05), 0, ms(10)},
		{"LogNormal 0.5", pooltest.LogNormal(ms(10), .5), ms(10), ms(32.00), 0, ms(10 * math.Exp(.125))},
		{"LogNormal 0.8", pooltest.LogNormal(ms(10), .8), ms(10), ms(64.31), 0, ms(10 * math.Exp(.32))},
		{"LogNormal 1", pooltest.LogNormal(ms(10), 1), ms(10), ms(102.4), 0, ms(10 * math.Exp(.5))},
		{"LogNormal 0", pooltest.LogNormal(ms(10), 0), ms(10), ms(10), ms(10), ms(10)},
		{"Pareto", pooltest.Pareto(ms(10), 1.5), ms(10 * math.Pow(2, 1/1.5)), ms(215.4), 0, 0},
		{"Pareto with a shorter tail", pooltest.Pareto(ms(10), 3), ms(10 * math.Cbrt(2)), ms(46.42), 0, ms(15)},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			drawn := make([]time.Duration, n)
			sum := 0.0
			for i := range drawn {
				drawn[i] = test.latency(r)
				sum += float64(drawn[i])
			}
			slices.Sort(drawn)
			near := func(want, got time.Duration, part float64, what string) {
				assert.InEpsilon(t, float64(want), float64(got), part, "%s: %v, not %v", what, got, want)
			}
			near(test.median, drawn[n/2], .02, "median")
			near(test.p99, drawn[n*99/100], .04, "one in a hundred")
			if test.top != 0 {
				near(test.top, drawn[n-n/10_000], .001, "one in ten thousand")
			}
			if test.mean != 0 {
				near(test.mean, time.Duration(sum/n), .02, "mean")
			}
		})
	}
}

func TestALatencyThatIsTooLongForATimeIsTheLongestTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	longest := time.Duration(0)
	for range 100 {
		d := pooltest.LogNormal(time.Hour, 1000)(r)
		assert.GreaterOrEqual(t, d, time.Duration(0))
		longest = max(longest, d)
	}
	assert.Equal(t, pooltest.Forever, longest)
}
