// Time: sums of times. A period of [math.MaxInt64] means never, and so does any sum
// that would be longer. A test keeps sums of times out of every other file.

package machine

import (
	"math"
	"time"
)

// never is the time of what does not happen.
const never = time.Duration(math.MaxInt64)

// after is the time d after t, or never. Neither is negative.
func after(t, d time.Duration) time.Duration {
	if d > never-t {
		return never
	}
	return t + d
}

// times is n periods of d. Neither is negative.
func times(n int, d time.Duration) time.Duration {
	if n > 0 && d > never/time.Duration(n) {
		return never
	}
	return time.Duration(n) * d
}

// part is a part of d, given as a fraction in [0,1]. Near never a float64 is less
// exact than a duration, so the result is kept within d.
func part(d time.Duration, fraction float64) time.Duration {
	x := float64(d) * fraction
	if x >= float64(d) {
		return d
	}
	return time.Duration(x)
}
