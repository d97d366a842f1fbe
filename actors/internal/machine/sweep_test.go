package machine

import (
	"slices"
	"testing"
	"time"
)

const (
	manyIdle = 10_000
	// turnBound is how many jobs one turn of housekeeping may begin. The actor
	// takes some microseconds to start one, and is to be held for less than a
	// millisecond.
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

// sweeper performs what a machine with idle connections decides, at once and
// with success, until each of them has been closed or checked.
type sweeper struct {
	m     *Machine
	now   time.Duration
	tick  Effect
	jobs  []Effect
	swept int

	longest time.Duration // turn
	most    int           // jobs begun in one turn
}

func newSweeper(tb testing.TB, cfg Config) *sweeper {
	cfg.Capacity = manyIdle
	s := &sweeper{}
	s.m = newTestMachine(tb, cfg)
	for c, i := s.m.lists.idle.tail, 0; c != nil; c, i = c.prev, i+1 { // they came back one after the other
		c.since = time.Duration(i) * time.Microsecond
	}
	s.tick = Effect{Kind: ArmTick, At: s.m.timers.tickAt, Epoch: s.m.timers.tickEpoch}
	return s
}

func (s *sweeper) run(tb testing.TB) {
	for rounds := 0; s.swept < manyIdle; rounds++ {
		if s.tick.Kind == 0 || rounds > manyIdle {
			tb.Fatalf("%d of %d were due and %d have been swept", manyIdle, manyIdle, s.swept)
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

func (s *sweeper) report(e Effect) {
	s.swept++
	if e.Kind == Check {
		s.m.Checked(s.now, e.Slot, nil)
	} else {
		s.m.Disconnected(s.now, e.Slot)
	}
}

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
			t.Logf("at most %d jobs begun in a turn; all was done after %v", s.most, s.now)
			if s.most > turnBound {
				t.Errorf("%d jobs begun in one turn, want at most %d", s.most, turnBound)
			}
			if err := s.m.CheckInvariants(); err != nil {
				t.Error(err)
			}
		})
	}
}

// BenchmarkSweep: how long the machine alone takes in the longest turn of a
// sweep of 10,000 idle connections. One round may be interrupted by whatever
// else the computer does, so it is the median of the rounds.
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
