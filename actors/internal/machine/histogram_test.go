package machine

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/messages"
)

// M3
func TestTheBoundsOfTheBucketsArePowersOfTheRootOfTwo(t *testing.T) {
	second := new(big.Int).Exp(big.NewInt(int64(time.Second)), big.NewInt(4), nil)
	for i, end := range bucketEnds {
		index := firstBucket + i + 1
		// end is the largest whole number with (end/second)^4 <= 2^index.
		holds := func(n int64) bool {
			left := new(big.Int).Exp(big.NewInt(n), big.NewInt(4), nil)
			right := new(big.Int).Set(second)
			if index >= 0 {
				right.Lsh(right, uint(index))
			} else {
				left.Lsh(left, uint(-index))
			}
			return left.Cmp(right) <= 0
		}
		slack := end >> 59 // of a nanosecond in 18 years
		if !holds(int64(end)) || end < math.MaxInt64 && holds(int64(end+slack)+1) {
			t.Errorf("bucket %d ends at %d", index-1, end)
		}
		if told := (messages.Histogram{Scale: messages.HistogramScale}).Bound(index - 1); (told - end).Abs() > max(1, end>>40) {
			t.Errorf("Bound says that bucket %d ends at %d, not at %d", index-1, told, end)
		}
	}
	if bucketEnds[len(bucketEnds)-1] != math.MaxInt64 || bucketEnds[len(bucketEnds)-2] == math.MaxInt64 {
		t.Error("the last bucket, and no other, holds the longest duration")
	}
	if end := bucketEnds[-firstBucket-1]; end != time.Second {
		t.Errorf("the bucket below a second ends at %v", end)
	}
}

// M3
func TestAHistogramCountsWhatItWasGivenAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h histogram
		var all []time.Duration
		cutOff := false
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			if len(all) > 0 && rapid.IntRange(0, 4).Draw(t, "takes one back") == 0 {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				h.remove(all[i])
				all = append(all[:i], all[i+1:]...)
				continue
			}
			d := time.Duration(rapid.Int64Range(-1, math.MaxInt64).Draw(t, "duration") >> rapid.IntRange(0, 63).Draw(t, "shorter"))
			h.add(d)
			all = append(all, d)
			cutOff = cutOff || h.sum == math.MaxInt64
		}
		r := h.report()
		if r.Count != uint64(len(all)) || r.Scale != messages.HistogramScale {
			t.Fatalf("%d durations of %d, scale %d", r.Count, len(all), r.Scale)
		}
		if n := len(r.Buckets); n > 0 && (r.Buckets[0] == 0 || r.Buckets[n-1] == 0) {
			t.Fatalf("empty buckets at the ends: %v", r.Buckets)
		}
		sum, zeros := time.Duration(0), uint64(0)
		left := make(map[int]uint64)
		for _, d := range all {
			if d <= 0 {
				zeros++
				continue
			}
			sum = after(sum, d)
			index := firstBucket
			for d > bucketEnds[index-firstBucket] {
				index++
			}
			left[index]++
		}
		if !cutOff && r.Sum != sum || r.Sum < 0 || r.Zeros() != zeros {
			t.Fatalf("sum %v of %v, %d zeros of %d", r.Sum, sum, r.Zeros(), zeros)
		}
		for i, n := range r.Buckets {
			if left[r.Offset+i] != n {
				t.Fatalf("bucket %d holds %d of %d", r.Offset+i, n, left[r.Offset+i])
			}
			delete(left, r.Offset+i)
		}
		if len(left) > 0 {
			t.Fatalf("no bucket for %v", left)
		}
	})
}

// The sample must be right however the leases end: by TryPut, or by a hand-over.
//
// M2
func TestTheSampleOfUsesIsFair(t *testing.T) {
	for name, rate := range map[string]float64{"with idle connections": 60, "exhausted": 99.9} {
		t.Run(name, func(t *testing.T) {
			const capacity, leases = 4, 1_500_000
			m := New(Config{Name: "sample", Capacity: capacity, MaxConnecting: capacity, ConnectTimeout: time.Hour, Random: func() float64 { return 0 }})
			m.Start(0)
			random := rand.New(rand.NewPCG(1, 2))
			type lease struct {
				slot      *Slot
				id, epoch uint64
				ends      time.Duration
			}
			var out []lease
			var uses time.Duration
			var now, arrival time.Duration
			granted := 0
			lend := func(s *Slot) {
				// Half of the leases are ten times as long as the others.
				use := time.Duration(random.ExpFloat64() * float64(7*time.Millisecond))
				if random.IntN(2) == 0 {
					use *= 10
				}
				uses += use
				granted++
				out = append(out, lease{s, s.ID, s.LeaseEpoch, now + use})
			}
			perform := func() {
				for i := 0; ; i++ {
					effects := m.Effects() // there may be more than a moment ago
					if i == len(effects) {
						break
					}
					switch e := effects[i]; e.Kind {
					case Open:
						m.Connected(now, e.Slot, "")
					case Grant:
						lend(e.Slot)
					}
				}
				m.Done()
			}
			for granted < leases {
				first := -1
				for i, l := range out {
					if first < 0 || l.ends < out[first].ends {
						first = i
					}
				}
				if first >= 0 && out[first].ends <= arrival {
					l := out[first]
					out = append(out[:first], out[first+1:]...)
					now = l.ends
					exact := time.Duration(0)
					if m.NeedsClockFor(l.slot) {
						exact = now
					}
					if m.TryPut(exact, l.slot, l.id, l.epoch) {
						continue
					}
					if w := m.TryHandOff(now, l.slot, l.id, l.epoch); w != nil {
						m.Answered()
						lend(l.slot)
						continue
					}
					m.Put(now, l.slot, l.id, l.epoch)
					perform()
					continue
				}
				now = arrival
				arrival += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
				exact := time.Duration(0)
				if m.NeedsClock() {
					exact = now
				}
				if s := m.TryLend(exact); s != nil {
					lend(s)
					continue
				}
				m.Get(now, &Waiter{})
				perform()
			}
			e := m.Measures(now)
			share := float64(granted) / float64(e.Use.Count+uint64(len(out))/useEvery)
			if e.UseEvery != useEvery || math.Abs(share/useEvery-1) > .01 {
				t.Errorf("one lease in %.2f is timed", share)
			}
			mean, sampled := float64(uses)/float64(granted), float64(e.Use.Sum)/float64(e.Use.Count)
			if math.Abs(sampled/mean-1) > .015 {
				t.Errorf("the mean use is %v, and that of the sample %v", time.Duration(mean), time.Duration(sampled))
			}
			if e.Wait.Count != e.Stats.Grants || e.Wait.Count-e.Wait.Zeros() > e.Stats.GrantedWaits || name == "exhausted" && e.Stats.GrantedWaits < leases/2 {
				t.Errorf("%d grants, %d waits: %+v", e.Stats.Grants, e.Stats.GrantedWaits, e.Wait)
			}
		})
	}
}

// M2
func TestAPoolThatNeedsTheTimeOfEveryLeaseTimesThemAll(t *testing.T) {
	for name, every := range map[string]int{"leak after": 1, "max lease": 1, "max lifetime": 1, "idle timeout": useEvery, "nothing": useEvery} {
		cfg := Config{Capacity: 1, ConnectTimeout: time.Hour, Random: func() float64 { return 0 }, Coarse: true}
		switch name {
		case "leak after":
			cfg.LeakAfter = time.Minute
		case "max lease":
			cfg.MaxLease = time.Minute
		case "max lifetime":
			cfg.MaxLifetime = time.Hour
		case "idle timeout":
			cfg.IdleTimeout = time.Minute
		}
		if e := New(cfg).Measures(0); e.UseEvery != every {
			t.Errorf("%s: one lease in %d is timed, not in %d", name, e.UseEvery, every)
		}
	}
}
