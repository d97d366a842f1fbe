package setmachine

// shares counts the keys by their demands, so that the level of the max-min fair shares is
// found in logarithmic time: the level L at which the sum of min(demand, L) is the total.
//
// count and sum are Fenwick trees over the demands from 1: the number of keys with a
// demand, and the sum of their demands.
type shares struct {
	count, sum []int // index 0 is not used; the length is a power of two, plus one
	demands    []int // by the demand: how many keys, for when the trees grow
	n, total   int   // of all
}

// change moves one key from a demand to another; 0 is none.
func (s *shares) change(from, to int) {
	if from == to {
		return
	}
	s.grow(max(from, to))
	s.add(from, -1)
	s.add(to, 1)
}

func (s *shares) add(demand, n int) {
	if demand == 0 {
		return
	}
	s.demands[demand] += n
	s.n += n
	s.total += n * demand
	s.addAt(demand, n)
}

func (s *shares) addAt(demand, n int) {
	for i := demand; i < len(s.count); i += i & -i {
		s.count[i] += n
		s.sum[i] += n * demand
	}
}

// grow makes room for a demand.
func (s *shares) grow(demand int) {
	if demand < len(s.count) {
		return
	}
	size := max(16, len(s.count)-1)
	for size < demand {
		size *= 2
	}
	s.count, s.sum = make([]int, size+1), make([]int, size+1)
	s.demands = append(s.demands, make([]int, size+1-len(s.demands))...)
	for demand, n := range s.demands {
		if n != 0 {
			s.addAt(demand, n)
		}
	}
}

// level gives the level of the shares of a number of units.
func (s *shares) level(units int) Level {
	if s.total <= units {
		return Level{}
	}
	level, count, sum := 0, 0, 0
	filled := 0 // what the level uses
	for step := len(s.count) - 1; step > 0; step /= 2 {
		next := level + step
		if next >= len(s.count) {
			continue
		}
		nextCount, nextSum := count+s.count[next], sum+s.sum[next]
		if used := nextSum + next*(s.n-nextCount); used <= units {
			level, count, sum, filled = next, nextCount, nextSum, used
		}
	}
	return Level{Units: level, Part: filled < units, Scarce: true}
}
