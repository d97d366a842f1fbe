// Sweeps: a tick that finds 10,000 idle connections due must not take long.

package machine

import (
	"slices"
	"testing"
	"time"
)

const (
	manyIdle = 10_000
	// turnBound is how many jobs one turn of housekeeping may begin. The shell takes
	// some microseconds to start one, and a turn should take less than a millisecond.
	turnBound = 128
)

// sweeps are the ways in which 10,000 idle connections can be due at once.
var sweeps = []struct {
	name string
	cfg  Config
}{
	{"IdleTimeout", Config{IdleTimeout: time.Minute}},
	{"MaxLifetime", Config{MaxLifetime: time.Minute}},
	{"KeepAlive", Config{Check: true, CheckAfterIdle: -1, KeepAlive: time.Minute}},
}

// sweeper is a machine with idle connections, whose effects are performed at once and
// with success, until each connection has been closed or checked.
type sweeper struct {
	m    *Machine
	now  time.Duration
	tick Effect   // ArmTick, while the timer is armed
	jobs []Effect // the jobs under way
	done int      // the jobs that are done

	longest time.Duration // the longest turn
	most    int           // the most jobs that one turn has begun
}

// newSweeper makes a machine whose idle connections are not due yet.
func newSweeper(tb testing.TB, cfg Config) *sweeper {
	cfg.Capacity = manyIdle
	s := &sweeper{}
	s.m = newTestMachine(tb, cfg)
	for c, i := s.m.lists.idle.tail, 0; c != nil; c, i = c.prev, i+1 { // they became idle one after the other
		c.since = time.Duration(i) * time.Microsecond
	}
	s.tick = Effect{Kind: ArmTick, At: s.m.timers.tickAt, Epoch: s.m.timers.tickEpoch}
	return s
}

// run runs turns until each connection has been closed or checked.
func (s *sweeper) run(tb testing.TB) {
	for rounds := 0; s.done < manyIdle; rounds++ {
		if s.tick.Kind == 0 || rounds > manyIdle {
			tb.Fatalf("%d connections were due, and %d have been closed or checked", manyIdle, s.done)
		}
		tick := s.tick
		s.tick = Effect{}
		s.now = max(s.now, tick.At+manyIdle*time.Microsecond) // all of them are due
		s.turn(func() { s.m.Tick(s.now, tick.Epoch) })
		for len(s.jobs) > 0 {
			jobs := s.jobs
			s.jobs = nil
			for _, e := range jobs {
				s.turn(func() { s.report(e) })
			}
		}
	}
}

// report reports the end of a job.
func (s *sweeper) report(e Effect) {
	s.done++
	if e.Kind == Check {
		s.m.Checked(s.now, e.Slot, nil)
	} else {
		s.m.Disconnected(s.now, e.Slot)
	}
}

// turn runs one input, measures it, and takes its effects.
func (s *sweeper) turn(f func()) {
	start := time.Now()
	f()
	s.longest = max(s.longest, time.Since(start))
	begun := 0
	for _, e := range s.m.Effects() {
		switch e.Kind {
		case Disconnect, Check:
			s.jobs = append(s.jobs, e)
			begun++
		case ArmTick:
			s.tick = e
		case DisarmTick:
			s.tick = Effect{}
		}
	}
	s.most = max(s.most, begun)
	s.m.Done()
	s.m.TakeEvents(nil)
}

func TestASweepIsCutIntoShortTurns(t *testing.T) {
	for _, tt := range sweeps {
		t.Run(tt.name, func(t *testing.T) {
			s := newSweeper(t, tt.cfg)
			s.run(t)
			t.Logf("a turn has begun %d jobs at most; all were done after %v", s.most, s.now)
			if s.most > turnBound {
				t.Errorf("one turn has begun %d jobs, want at most %d", s.most, turnBound)
			}
			if err := s.m.CheckInvariants(); err != nil {
				t.Error(err)
			}
		})
	}
}

// BenchmarkSweep measures the longest turn of a sweep of 10,000 idle connections, of
// the machine alone. It gives the median of the rounds, since the system may interrupt
// a round.
func BenchmarkSweep(b *testing.B) {
	for _, tt := range sweeps {
		b.Run(tt.name, func(b *testing.B) {
			var longest []time.Duration
			most := 0
			for b.Loop() {
				b.StopTimer()
				s := newSweeper(b, tt.cfg)
				b.StartTimer()
				s.run(b)
				longest = append(longest, s.longest)
				most = max(most, s.most)
			}
			slices.Sort(longest)
			b.ReportMetric(float64(longest[len(longest)/2]), "max-turn-ns")
			b.ReportMetric(float64(most), "max-jobs")
		})
	}
}
