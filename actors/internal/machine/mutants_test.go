package machine

// Cases that a mutation run found untested and that no trace can show: see
// docs/testing.md. Those that can be shown by a trace are in
// testdata/mutants.txt.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/actorpool/actorpool/messages"
)

// TestTheFastPathsDecideAsTheSlowOnesDo runs every trace in two worlds, of which
// one also uses the fast paths for a Get that waits and for a Put while others
// wait. Both must look alike after each input, and tell the same events.
func TestTheFastPathsDecideAsTheSlowOnesDo(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			slow, fast := &trace{t: t}, &trace{t: t}
			datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
				var looks [2]string
				for i, tr := range []*trace{slow, fast} {
					tr.d = d
					tr.run()
					w := tr.world
					w.fastPaths = i == 1
					for _, e := range w.events {
						looks[i] += tr.event(e) + "\n"
					}
					w.events = nil
					looks[i] += fmt.Sprintf("%+v\n%v", w.m.Stats(), explain(w.m, w.now))
				}
				if looks[0] != looks[1] {
					d.Fatalf(t, "slow: %s\nfast: %s", looks[0], looks[1])
				}
				return d.Expected
			})
		})
	}
}

func TestTheClockIsCoarseOnlyWhereThatIsHarmless(t *testing.T) {
	const second = time.Second
	for name, tt := range map[string]struct {
		cfg    Config
		period time.Duration // 0: exact
	}{
		"nothing is timed":    {Config{Coarse: true}, 0},
		"not wanted":          {Config{IdleTimeout: 64 * second}, 0},
		"idle timeout":        {Config{Coarse: true, IdleTimeout: 64 * second}, second},
		"check after idle":    {Config{Coarse: true, Check: true, CheckAfterIdle: 64 * second}, second},
		"without a check":     {Config{Coarse: true, CheckAfterIdle: 64 * second}, 0},
		"the smallest period": {Config{Coarse: true, Check: true, CheckAfterIdle: 640 * second, KeepAlive: 128 * second, IdleTimeout: 640 * second}, 2 * second},
		"no check but an idle timeout": {
			Config{Coarse: true, CheckAfterIdle: second, IdleTimeout: 64 * second}, second,
		},
		"every connection is checked": {Config{Coarse: true, Check: true, IdleTimeout: 64 * second}, 0},
		"none is checked":             {Config{Coarse: true, Check: true, CheckAfterIdle: -1, IdleTimeout: 64 * second}, second},
		"a millisecond":               {Config{Coarse: true, IdleTimeout: 64 * time.Millisecond}, time.Millisecond},
		"less":                        {Config{Coarse: true, IdleTimeout: 63 * time.Millisecond}, 0},
		"max lifetime":                {Config{Coarse: true, IdleTimeout: 64 * second, MaxLifetime: time.Hour}, 0},
		"min idle":                    {Config{Coarse: true, IdleTimeout: 64 * second, MinIdle: 1}, 0},
		"leak after":                  {Config{Coarse: true, IdleTimeout: 64 * second, LeakAfter: time.Hour}, 0},
		"max lease":                   {Config{Coarse: true, IdleTimeout: 64 * second, MaxLease: time.Hour}, 0},
		"all events":                  {Config{Coarse: true, IdleTimeout: 64 * second, EventLevel: AllEvents}, 0},
		"rare events":                 {Config{Coarse: true, IdleTimeout: 64 * second, EventLevel: RareEvents}, second},
	} {
		if period, while := tt.cfg.coarseClock(); period != tt.period || while != 64*tt.period {
			t.Errorf("%s: period %v, while %v; want %v", name, period, while, tt.period)
		}
	}
}

func TestNoExactTimeIsAskedForWhileTheCoarseClockRuns(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 1, IdleTimeout: 64 * time.Second, Coarse: true})
	if m.NeedsClock() {
		t.Error("the clock ticks a second from now, and the exact time is asked for")
	}
	exact := newTestMachine(t, Config{Capacity: 1, IdleTimeout: 64 * time.Second})
	if !exact.NeedsClock() {
		t.Error("there is no coarse clock, and the exact time is not asked for")
	}
}

func TestTheOldestEventsAreLostIfNobodyTakesThem(t *testing.T) {
	m := New(Config{Capacity: 1, MaxConnecting: 1, ConnectTimeout: time.Minute, EventLevel: AllEvents, Backlog: 3})
	m.Start(5 * time.Second) // two events
	taken := func(log *Log) (kinds []messages.EventKind, numbers []uint64) {
		events := m.Events()
		m.TakeEvents(log)
		for i := range events {
			e := log.At(i)
			if e != events[i] || log.Len() != len(events) {
				t.Errorf("taken %+v of %d, told %+v of %d", e, log.Len(), events[i], len(events))
			}
			kinds, numbers = append(kinds, e.Kind), append(numbers, e.Seq)
			if want := m.cfg.Start.Add(5 * time.Second); !e.Time.Equal(want) {
				t.Errorf("%v at %v, want %v", e.Kind, e.Time, want)
			}
		}
		return kinds, numbers
	}
	first := []messages.EventKind{messages.PoolCreated, messages.PoolReady}
	if kinds, _ := taken(new(Log)); !slices.Equal(kinds, first) || m.Stats().DroppedEvents != 0 {
		t.Errorf("%v, %d dropped", kinds, m.Stats().DroppedEvents)
	}
	if kinds, _ := taken(new(Log)); len(kinds) > 0 {
		t.Errorf("taken twice: %v", kinds)
	}
	for range 4 {
		m.Get(5*time.Second, &Waiter{Label: "import"}) // CheckOutStarted; the first: ConnectionCreated too
	}
	kinds, numbers := taken(&Log{notes: make([]note, 0, 8)})
	if !slices.Equal(numbers, []uint64{5, 6, 7}) || m.Stats().DroppedEvents != 2 {
		t.Errorf("%v %v, %d dropped", kinds, numbers, m.Stats().DroppedEvents)
	}
	_ = m.Suspend(5 * time.Second)
	_ = m.Resume(5 * time.Second)
	if kinds, _ := taken(new(Log)); !slices.Equal(kinds, []messages.EventKind{messages.PoolSuspended, messages.PoolResumed}) {
		t.Errorf("after a ring that had turned: %v", kinds)
	}
	// An event takes nothing over from the one whose place it has.
	m.Close(5*time.Second, &Ticket{})
	taken(new(Log))
	for range 3 { // a CheckOutStarted and a CheckOutFailed each
		m.Get(5*time.Second, &Waiter{Label: "import"})
	}
	for _, e := range m.Events() {
		if failed := e.Kind == messages.CheckOutFailed; (e.Err != nil) != failed || (e.Reason != 0) != failed {
			t.Errorf("%+v", e)
		}
	}
}

func TestTheMachineAnswersWhatTheShellAsks(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 2})
	n := 0
	m.EachSlot(func(*Slot) { n++ })
	if n != 2 || m.Decided() {
		t.Errorf("%d slots, decided %v", n, m.Decided())
	}
	a, b, c := &Waiter{}, &Waiter{}, &Waiter{}
	s, other := m.TryGet(0, a), m.TryGet(0, b)
	if m.Decided() {
		t.Error("TryGet has decided something")
	}
	id, epoch := s.ID, s.LeaseEpoch
	m.Get(0, c)
	if !m.Waits(c) || m.Waits(a) || !m.IsLent(s, id, epoch) || m.IsLent(s, id, epoch+1) || m.IsLent(s, id+1, epoch) {
		t.Error("a holds, and c waits")
	}
	if !m.LeaseLost(0, s, id, epoch) || m.IsLent(s, id, epoch) || m.LeaseLost(0, s, id, epoch) {
		t.Error("the lease of a is lost, once")
	}
	if !m.Decided() || len(m.Events()) != 0 {
		t.Error("the loss decides something, and nobody listens")
	}
	m.Done()
	m.Put(0, other, other.ID, other.LeaseEpoch)
	if n := len(m.Effects()); n != 1 || !m.Decided() { // the Grant to c
		t.Errorf("%d effects, decided %v", n, m.Decided())
	}
	told := New(Config{EventLevel: AllEvents, PauseOnClear: true})
	told.Start(0)
	if len(told.Effects()) != 0 || len(told.Events()) != 1 || !told.Decided() {
		t.Error("one event is something to be done")
	}
}

// origin is where a Get comes from.
type origin struct {
	goroutine uint64
	asked     int
}

func (o *origin) Goroutine() uint64 { return o.goroutine }
func (o *origin) Stack() string     { o.asked++; return fmt.Sprintf("stack %d", o.goroutine) }

func TestALeaseIsReportedWithWhereItsGetCameFrom(t *testing.T) {
	for level, want := range map[EventLevel]int{NoEvents: 0, RareEvents: 1} {
		m := newTestMachine(t, Config{Capacity: 2, LeakAfter: time.Minute, EventLevel: level})
		one, two := &origin{goroutine: 7}, &origin{goroutine: 8}
		s := m.TryGet(0, &Waiter{Trace: one})
		m.TryGet(time.Second, &Waiter{})
		m.Get(2*time.Second, &Waiter{Trace: &origin{goroutine: 7}})
		m.Get(2*time.Second, &Waiter{Trace: two})
		m.Get(2*time.Second, &Waiter{})

		e := explain(m, 3*time.Second)
		if h := e.Holders; h[0].Goroutine != 7 || h[0].Stack != "stack 7" || h[1].Goroutine != 0 || h[1].Stack != "" {
			t.Errorf("held by %+v", h)
		}
		if w := e.Waiters; w[1].Goroutine != 8 || w[1].Stack != "stack 8" || w[2].Goroutine != 0 {
			t.Errorf("waiting %+v", w)
		}
		if !e.Time.Equal(m.cfg.Start.Add(3 * time.Second)) {
			t.Errorf("explained at %v", e.Time)
		}
		// Only the one that holds a connection and waits for another.
		if want := fmt.Sprintf("goroutine 7 got connection %d and waits for another: "+
			"it may deadlock with itself or with others that do the same", s.ID); len(e.Suspicions) != 2 || e.Suspicions[0] != want {
			t.Errorf("suspicions %q", e.Suspicions)
		}

		asked := one.asked
		for tick := range 70 { // once a second, to look for those that were forgotten
			m.Tick(time.Duration(tick)*time.Second, m.timers.tickEpoch)
		}
		events := m.Events()
		if one.asked-asked != want || level == RareEvents && (len(events) != 2 || events[0].Stack != "stack 7" || events[1].Stack != "") {
			t.Errorf("level %v: asked %d times, events %+v", level, one.asked-asked, events)
		}
	}
}

func TestAGoroutineOfNumberOneIsOneToo(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 1, LeakAfter: time.Minute})
	m.TryGet(0, &Waiter{Trace: &origin{goroutine: 1}})
	m.Get(0, &Waiter{Trace: &origin{goroutine: 1}})
	if e := explain(m, 0); len(e.Suspicions) != 1 {
		t.Errorf("suspicions %q", e.Suspicions)
	}
}

func TestNoExplanationIsLongerThanAHundred(t *testing.T) {
	const many = 150
	m := newTestMachine(t, Config{Capacity: many, LeakAfter: time.Hour})
	for range many {
		m.TryGet(0, &Waiter{})
	}
	for range many {
		m.Get(0, &Waiter{})
	}
	if e := explain(m, time.Minute); len(e.Holders) != forExplain.describe || len(e.Waiters) != forExplain.describe || len(e.Suspicions) != 0 {
		t.Errorf("%d holders, %d waiters, %q", len(e.Holders), len(e.Waiters), e.Suspicions)
	}
	m = New(Config{Capacity: many, MaxConnecting: many, ConnectTimeout: time.Hour})
	m.Start(0)
	for range many {
		m.Get(0, &Waiter{})
	}
	if e := explain(m, 0); len(e.Jobs) != forExplain.describe {
		t.Errorf("%d jobs", len(e.Jobs))
	}
}

// Without LeakAfter the error of a Get looks at the first slots only.
func TestAPoolThatWatchesLeasesNamesTheOldestOne(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 100, LeakAfter: time.Hour})
	var oldest *Slot
	for i := range 100 {
		s := m.TryGet(time.Duration(i)*time.Second, &Waiter{})
		if i == 0 {
			oldest = s // the last one that came back: it has the last slot
		}
	}
	if oldest.index < forError.lookAt {
		t.Fatalf("the oldest lease is that of slot %d", oldest.index)
	}
	w := &Waiter{}
	m.Get(100*time.Second, w)
	m.Done()
	m.CancelGet(100*time.Second, w, context.Canceled, messages.ReasonCanceled)
	var e *messages.GetError
	if !errors.As(m.Effects()[0].Err, &e) || len(e.Holders) != forError.describe || e.Holders[0].ConnID != oldest.ID {
		t.Errorf("%+v", e)
	}
}

func TestADeadlockNamesNotMoreThanSixteenLeases(t *testing.T) {
	for _, n := range []int{16, 17} {
		m := newTestMachine(t, Config{Capacity: n})
		var held []*Slot
		for range n {
			held = append(held, m.TryGet(0, &Waiter{}))
		}
		for _, s := range held {
			w := &Waiter{}
			m.Get(0, w)
			m.Done()
			m.Holds(0, w, []HeldLease{{s, s.ID, s.LeaseEpoch}})
		}
		var e *messages.DeadlockError
		if effects := m.Effects(); len(effects) == 0 || !errors.As(effects[0].Err, &e) || len(e.Cycle) != 16 {
			t.Errorf("of %d: %+v", n, effects)
		}
	}
}

// A waiter may be used again, and says anew what its caller holds.
func TestAWaiterThatIsUsedAgainHoldsWhatItSaysThen(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 2})
	s, other := m.TryGet(0, &Waiter{}), m.TryGet(0, &Waiter{})
	w := &Waiter{}
	m.Get(0, w)
	m.Holds(0, w, []HeldLease{{s, s.ID, s.LeaseEpoch}})
	m.CancelGet(0, w, context.Canceled, messages.ReasonCanceled)
	m.Get(0, w)
	if e := explain(m, 0); len(e.Waiters[0].Holds) != 0 || e.Holders[0].Waits || e.Holders[1].Waits {
		t.Errorf("before it says anything: %+v", e)
	}
	m.Holds(0, w, []HeldLease{{other, other.ID, other.LeaseEpoch}})
	if e := explain(m, 0); !slices.Equal(e.Waiters[0].Holds, []uint64{other.ID}) {
		t.Errorf("holds %v, want %d", e.Waiters[0].Holds, other.ID)
	}
}

// A turn ends after a batch of what there may be thousands of; the rest comes in
// the next ones.
func TestATurnEndsAfterABatch(t *testing.T) {
	count := func(m *Machine, kind EffectKind) (n int) {
		for _, e := range m.Effects() {
			if e.Kind == kind {
				n++
			}
		}
		m.Done()
		return n
	}
	turn := func(m *Machine, now time.Duration, kind EffectKind) int {
		m.Tick(now, m.timers.tickEpoch)
		return count(m, kind)
	}
	expect := func(what string, got []int, want ...int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}

	m := newTestMachine(t, Config{Capacity: 100, MaxLease: time.Minute})
	for range 100 {
		m.TryGet(0, &Waiter{})
	}
	m.Done()
	expect("leases", []int{turn(m, time.Minute, Revoke), turn(m, time.Minute, Revoke)}, batch, 100-batch)

	m = newTestMachine(t, Config{Capacity: 1, CoDel: CoDel{Target: time.Second, Interval: 10 * time.Second}})
	m.TryGet(0, &Waiter{})
	for range 100 {
		m.Get(0, &Waiter{})
	}
	m.Done()
	expect("waits", []int{turn(m, time.Minute, Reject), turn(m, time.Minute, Reject)}, batch, 100-batch)

	// Half of those that are idle at its beginning expire in one sweep, however
	// many turns that takes.
	m = newTestMachine(t, Config{Capacity: 200, IdleTimeout: time.Minute})
	m.Done()
	expect("idle", []int{
		turn(m, time.Minute, Disconnect), turn(m, time.Minute, Disconnect), turn(m, time.Minute, Disconnect),
	}, batch, 100-batch, 0)
}

func TestAMachineThatWasTornDownLendsNothing(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 1})
	tickets := 0
	m.TearDown(func(*Waiter) {}, func(*Ticket) { tickets++ })
	if m.TryGet(0, &Waiter{}) != nil || tickets != 0 || m.phase != phaseClosed {
		t.Errorf("%d tickets, closed %v", tickets, m.phase == phaseClosed)
	}
	if newTestMachine(t, Config{}).phase != phaseOpen {
		t.Error("a machine is not open from the beginning")
	}
}

func TestWithoutABackoffAnErrorNamesNoNextAttempt(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 1, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	m.TryGet(0, &Waiter{})
	w := &Waiter{}
	m.Get(0, w)
	m.Done()
	m.CancelGet(time.Second, w, context.Canceled, messages.ReasonCanceled)
	var e *messages.GetError
	if !errors.As(m.Effects()[0].Err, &e) || e.Attempt != 0 || !e.NextAttempt.IsZero() {
		t.Errorf("%+v", e)
	}
	// Nor does that of a Ready say that it has waited in line.
	ready := &Ticket{}
	m = New(Config{Capacity: 1, MaxConnecting: 1, ConnectTimeout: time.Minute})
	m.Start(0)
	m.Ready(time.Second, ready)
	m.Done()
	m.CancelControl(3*time.Second, ready, context.Canceled)
	if !errors.As(m.Effects()[0].Err, &e) || e.Waited != 0 {
		t.Errorf("%+v", e)
	}
}
