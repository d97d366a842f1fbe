// Tests of single questions: the delays of the backoff, the errors, TearDown, and that
// CheckInvariants finds what it is for.

package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/messages"
)

func seconds(n ...int) (out []time.Duration) {
	for _, n := range n {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

func TestTheDelayDoublesFromBaseUpToCap(t *testing.T) {
	for _, tt := range []struct {
		base, limit time.Duration
		want        []time.Duration
	}{
		{5 * time.Second, time.Minute, seconds(5, 10, 20, 40, 60, 60)},
		{time.Second, 4 * time.Second, seconds(1, 2, 4, 4)},
		{10 * time.Second, 3 * time.Second, seconds(3, 3)}, // a Base above Cap
		{time.Second, time.Second, seconds(1, 1, 1)},
		{0, time.Second, seconds(0, 0, 0)},
	} {
		cfg := Config{Backoff: Backoff{Base: tt.base, Cap: tt.limit}}
		for i, want := range tt.want {
			if got := cfg.backoffDelay(i + 1); got != want {
				t.Errorf("base %v, cap %v, attempt %d: %v, want %v", tt.base, tt.limit, i+1, got, want)
			}
		}
		if got, want := cfg.backoffDelay(1_000_000), tt.want[len(tt.want)-1]; got != want {
			t.Errorf("base %v, cap %v, attempt 1000000: %v, want %v", tt.base, tt.limit, got, want)
		}
	}
}

func TestJitterTakesAwayItsPartOfTheDelayAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt := rapid.IntRange(1, 40).Draw(t, "attempt")
		jitter := rapid.Float64Range(0, 1).Draw(t, "jitter")
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		cfg := Config{
			Backoff: Backoff{Base: 200 * time.Millisecond, Cap: 10 * time.Second},
			Random:  func() float64 { return random },
		}
		full := cfg.backoffDelay(attempt)
		cfg.Backoff.Jitter = jitter
		got := cfg.backoffDelay(attempt)
		if least := full - time.Duration(float64(full)*jitter); got < least || got > full {
			t.Fatalf("%v is not between %v and %v", got, least, full)
		}
	})
}

func TestWithoutJitterNothingIsDrawn(t *testing.T) {
	cfg := Config{
		Backoff: Backoff{Base: time.Second, Cap: time.Minute},
		Random:  func() float64 { panic("drawn") },
	}
	cfg.backoffDelay(3)
}

func TestAMachineNeedsTheClockIfAgesMatterOrATryGetMayConnect(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  Config
		want bool
	}{
		"nothing":              {Config{}, false},
		"reset":                {Config{Reset: true}, false},
		"check never":          {Config{Check: true, CheckAfterIdle: -1}, false},
		"check always":         {Config{Check: true}, true},
		"check after a second": {Config{Check: true, CheckAfterIdle: time.Second}, true},
		"no check":             {Config{CheckAfterIdle: time.Second}, false},
		"idle timeout":         {Config{IdleTimeout: time.Second}, true},
		"max lifetime":         {Config{MaxLifetime: time.Second}, true},
		"leak after":           {Config{LeakAfter: time.Second}, true},
		"min idle":             {Config{MinIdle: 1}, true},
		"rare events":          {Config{EventLevel: RareEvents}, false},
		"events of changes":    {Config{EventLevel: ChangeEvents}, false},
		"all events":           {Config{EventLevel: AllEvents}, true},
	} {
		if got := New(tt.cfg).NeedsClock(); got != tt.want {
			t.Errorf("%s: needs the clock %v, want %v", name, got, tt.want)
		}
	}
}

// newTestMachine starts a machine with as many idle connections as its capacity.
func newTestMachine(t testing.TB, cfg Config) *Machine {
	cfg.MaxConnecting = max(1, cfg.Capacity)
	cfg.ConnectTimeout, cfg.CheckTimeout, cfg.DisconnectTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	cfg.Random = func() float64 { return 0 }
	m := New(cfg)
	m.Start(0)
	waiters := make([]Waiter, cfg.Capacity)
	for i := range waiters {
		m.Get(0, &waiters[i])
	}
	var slots []*Slot
	for _, e := range m.Effects() {
		if e.Kind == Open {
			slots = append(slots, e.Slot)
		}
	}
	for i, s := range slots {
		m.Connected(0, s, i)
	}
	for _, s := range slots {
		m.Put(0, s, s.ID, s.LeaseEpoch)
	}
	m.Done()
	m.TakeEvents(nil)
	if m.lists.idle.n != cfg.Capacity {
		t.Fatalf("%d idle, want %d", m.lists.idle.n, cfg.Capacity)
	}
	return m
}

func TestTryGetAndTryPutAllocateNothing(t *testing.T) {
	for name, cfg := range map[string]Config{
		"without the clock": {Capacity: 2},
		"with the clock":    {Capacity: 2, IdleTimeout: time.Hour, MaxLifetime: time.Hour},
	} {
		m := newTestMachine(t, cfg)
		w := &Waiter{}
		if n := testing.AllocsPerRun(100, func() {
			s := m.TryGet(time.Second, w)
			if s == nil || !m.TryPut(time.Second, s, s.ID, s.LeaseEpoch) {
				t.Fatal("a fast path has declined")
			}
			m.Done()
			m.TakeEvents(nil)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestAnErrorUnwrapsToItsReasonAndSaysWhatThePoolLookedLike(t *testing.T) {
	refused := errors.New("connection refused")
	w := newWorld(t, Config{
		Name: "orders", Capacity: 2, MaxConnecting: 1, ConnectTimeout: time.Minute, CheckTimeout: time.Minute, DisconnectTimeout: time.Minute,
		Start:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Backoff: Backoff{Base: 5 * time.Second, Cap: time.Minute},
	})
	a, b, c := &get{name: "a"}, &get{name: "b"}, &get{name: "c"}
	d := &get{name: "d", Waiter: Waiter{Deadline: 4 * time.Second}}
	w.get(a)
	w.get(b)
	w.get(c)
	w.now = time.Second
	w.connectFailed(w.conns[0], refused, messages.ClassOverload)
	w.now = 3 * time.Second
	w.cancelGet(b, context.DeadlineExceeded)
	w.get(d)

	got := func(g *get) *messages.GetError {
		var e *messages.GetError
		if !errors.As(g.err, &e) {
			t.Fatalf("%s: %v", g.name, g.err)
		}
		return e
	}
	// a, whose connect failed: the cause.
	var ce *messages.ConnectError
	if e := got(a); !errors.Is(e, messages.ErrConnectFailed) || !errors.Is(e, refused) || !errors.As(e, &ce) ||
		ce.Phase != messages.PhaseConnect || e.Position != 1 || e.Waited != time.Second || e.LastConnectError != refused {
		t.Errorf("a: %+v", e)
	}
	// b, which could have been served before its deadline: the deadline, and what b
	// waited for.
	if e := got(b); !errors.Is(e, context.DeadlineExceeded) || errors.Is(e, messages.ErrConnectFailed) ||
		e.LastConnectError != refused || e.Attempt != 1 || !e.NextAttempt.Equal(w.cfg.Start.Add(6*time.Second)) ||
		e.Position != 2 || e.Waited != 3*time.Second || e.Stats.State != messages.StateBackoff || e.Stats.Capacity != 2 {
		t.Errorf("b: %+v", e)
	}
	// d, whose deadline comes before the next attempt: the cause, at once, without a
	// place in the queue.
	if e := got(d); !errors.Is(e, messages.ErrConnectFailed) || !errors.Is(e, refused) || e.LastConnectError != refused ||
		e.Position != 0 || e.Waited != 0 {
		t.Errorf("d: %+v", e)
	}
	if c.ended() {
		t.Errorf("c has ended: %v", c.err)
	}
	if n := w.m.Stats().Waits; n != 3 {
		t.Errorf("%d have waited, want 3", n)
	}
}

func TestTheErrorOfADrainNamesAHundredHoldersAtMostTheLongestFirst(t *testing.T) {
	m := newTestMachine(t, Config{Capacity: 150})
	for i := range 150 {
		w := &Waiter{Label: fmt.Sprint(i)}
		if m.TryGet(time.Duration(i)*time.Second, w) == nil {
			t.Fatal("nothing idle")
		}
	}
	ticket := &Ticket{}
	m.Close(200*time.Second, ticket)
	m.CancelControl(201*time.Second, ticket, context.Canceled)
	effects := m.Effects()
	var e *messages.DrainError
	if last := effects[len(effects)-1]; last.Kind != Answer || !errors.As(last.Err, &e) || !errors.Is(e, context.Canceled) {
		t.Fatalf("%+v", last)
	}
	if len(e.Holders) != forExplain.describe || e.Holders[0].Label != "0" || e.Holders[0].Age != 201*time.Second || e.Holders[99].Label != "99" {
		t.Errorf("%d holders: %v", len(e.Holders), e.Holders)
	}
}

func TestTearDownEndsEachWaitOnce(t *testing.T) {
	m := New(Config{Capacity: 2, MaxConnecting: 1, ConnectTimeout: time.Minute, CheckTimeout: time.Minute, DisconnectTimeout: time.Minute})
	m.Start(0)
	waiters := make([]Waiter, 3)
	for i := range waiters {
		m.Get(0, &waiters[i])
	}
	resize, ready := &Ticket{}, &Ticket{}
	m.SetCapacity(0, 0, "", resize)
	m.Ready(0, ready)
	m.Done()
	m.TakeEvents(nil)
	waits, requests := map[*Waiter]int{}, map[*Ticket]int{}
	for range 2 {
		m.TearDown(func(w *Waiter) { waits[w]++ }, func(t *Ticket) { requests[t]++ })
	}
	for i := range waiters {
		if w := &waiters[i]; waits[w] != 1 || m.Waits(w) {
			t.Errorf("waiter %d was ended %d times, waits %v", i, waits[w], m.Waits(w))
		}
	}
	if requests[resize] != 1 || requests[ready] != 1 || m.phase != phaseClosed || m.Decided() {
		t.Errorf("SetCapacity was ended %d times, Ready %d times, closed %v, decided %v",
			requests[resize], requests[ready], m.phase == phaseClosed, m.Decided())
	}
}

func TestCheckInvariantsFindsEachFault(t *testing.T) {
	var a, b, c Waiter
	var actor Borrower
	// c1 is lent to a, c2 is being opened for b, and c waits with no job under way.
	plain := func() *Machine {
		a, b, c = Waiter{}, Waiter{}, Waiter{}
		m := New(Config{Capacity: 3, MaxConnecting: 1, ConnectTimeout: time.Minute, CheckTimeout: time.Minute, DisconnectTimeout: time.Minute})
		m.Start(0)
		m.Get(0, &a)
		m.Connected(0, m.slots[0], nil)
		m.Get(0, &b)
		m.Get(0, &c)
		m.Done()
		m.TakeEvents(nil)
		return m
	}
	// c1 is idle with a setting, c2 is lent to an actor and held by the caller of b,
	// for which c3 is being opened.
	annotated := func() *Machine {
		a, b, actor = Waiter{Setting: "x"}, Waiter{}, Borrower{Owner: "actor"}
		m := New(Config{Capacity: 3, MaxConnecting: 1, ConnectTimeout: time.Minute, CheckTimeout: time.Minute, DisconnectTimeout: time.Minute, LeakAfter: time.Minute, IdleTimeout: time.Minute})
		m.Start(0)
		m.Get(0, &a)
		m.Connected(0, m.slots[0], nil)
		m.Applied(0, m.slots[0], nil)
		m.Put(0, m.slots[0], 1, 1)
		m.Get(0, &Waiter{Borrower: &actor})
		m.Connected(0, m.slots[1], nil)
		m.Get(0, &b)
		m.Holds(0, &b, []HeldLease{{Slot: m.slots[1], ID: 2, Epoch: 1}})
		m.Done()
		m.TakeEvents(nil)
		return m
	}
	for _, start := range []func() *Machine{plain, annotated} {
		if err := start().CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		start   func() *Machine
		corrupt func(*Machine)
		want    string
	}{
		"index":             {plain, func(m *Machine) { m.slots[1].index = 7 }, "index"},
		"id":                {plain, func(m *Machine) { m.slots[0].ID = 0 }, "id"},
		"count":             {plain, func(m *Machine) { m.count[idle]++ }, "counts"},
		"unclaimed":         {plain, func(m *Machine) { m.jobs.unclaimed = append(m.jobs.unclaimed, nil) }, "unclaimed 1"},
		"given up":          {plain, func(m *Machine) { m.jobs.givenUp++ }, "given up 1"},
		"length of a list":  {plain, func(m *Machine) { m.jobs.busy[boundConnect].n-- }, "list of busy"},
		"end of a list":     {plain, func(m *Machine) { m.jobs.busy[boundConnect].tail = nil }, "list of busy"},
		"not in a list":     {plain, func(m *Machine) { m.jobs.busy[boundConnect].remove(m.slots[1]) }, "not in the list of busy"},
		"in the wrong list": {annotated, func(m *Machine) { m.lists.idle.pushHead(m.slots[1]) }, "in the list of idle"},
		"in another list":   {plain, func(m *Machine) { m.leases.out.pushTail(m.slots[0]) }, "in the list of leases"},
		"link of a list":    {annotated, func(m *Machine) { m.jobs.busy[boundConnect].head.prev = m.slots[0] }, "in the list of busy"},
		"order of a list": {plain, func(m *Machine) {
			m.stands(m.slots[0], false)
			m.slots[0].state = closing
			m.count[borrowed]--
			m.count[closing]++
			m.slots[0].since = -1
			m.jobs.busy[boundConnect].pushTail(m.slots[0])
		}, "out of order"},
		"job of no waiter":   {plain, func(*Machine) { b.slot = nil }, "works for a waiter"},
		"waiter, but no job": {plain, func(m *Machine) { m.slots[0].waiter, b.slot = &b, m.slots[0] }, "works for a waiter"},
		"queue mark":         {plain, func(*Machine) { c.queued = false }, "not marked"},
		"queue link":         {plain, func(*Machine) { c.prev = nil }, "not marked"},
		"quick leases":       {plain, func(m *Machine) { m.slots[0].quickUntil = 0 }, "the fast paths return leases"},
		"a visit's count":    {plain, func(m *Machine) { m.visits = append(m.visits, &Visit{left: 1}) }, "are left for a visit"},
		"queue count":        {plain, func(m *Machine) { m.queue.unstarted++ }, "queue says"},
		"queue settings":     {plain, func(m *Machine) { m.queue.withSetting++ }, "queue says"},
		"slot of another":    {plain, func(m *Machine) { c.slot = m.slots[1] }, "works for another"},
		"over capacity":      {plain, func(m *Machine) { m.overCapacity = true }, "over capacity"},
		"lost wake-up":       {plain, func(m *Machine) { m.cfg.MaxConnecting = 2 }, "a connect is allowed"},
		"idle and waiting":   {plain, func(m *Machine) { m.move(m.slots[0], idle) }, "are idle"},
		"drain":              {plain, func(m *Machine) { m.drain.resize = &Ticket{} }, "waits for nothing"},
		"closed, waiters":    {plain, func(m *Machine) { m.phase = phaseClosed }, "closed with"},
		"closing, waiters":   {plain, func(m *Machine) { m.phase = phaseClosing }, "closing with"},
		"paused":             {plain, func(m *Machine) { m.paused = true }, "paused with"},
		"timer":              {plain, func(m *Machine) { m.timers.tickAt = never }, "is due"},
		"fast path open":     {plain, func(m *Machine) { m.suspended = true }, "fast paths"},
		"fast path closed":   {plain, func(m *Machine) { m.fastPath = false }, "fast paths"},
		"group members":      {annotated, func(m *Machine) { m.slots[0].group.members++ }, "2 members"},
		"group list":         {annotated, func(m *Machine) { m.slots[0].group.head = nil }, "0 idle"},
		"group of no slot":   {annotated, func(m *Machine) { m.lists.groups["y"] = &settingGroup{setting: "y"} }, "2 settings"},
		"idle due":           {annotated, func(m *Machine) { m.timers.idleDue = never }, "looked at only"},
		"held by waiters":    {annotated, func(m *Machine) { m.leases.heldByWaiters = 0 }, "held by waiters"},
		"waiting holders":    {annotated, func(m *Machine) { m.slots[1].waitingHolders = 2 }, "is held by 1"},
		"unreported":         {annotated, func(m *Machine) { m.leases.unreported = nil }, "unreported"},
		"no annotations":     {annotated, func(m *Machine) { m.slots[1].annotated = false }, "not marked"},
		"late annotations":   {annotated, func(m *Machine) { m.slots[0].leaked = true }, "annotations of a lease"},
		"borrower's leases":  {annotated, func(*Machine) { actor.slots = nil }, "its borrower"},
		"borrower's waits":   {annotated, func(*Machine) { actor.waits = []*Waiter{&b} }, "1 waits"},
		"waiter of no actor": {annotated, func(*Machine) { b.Borrower = &actor }, "its borrower"},
	} {
		m := tt.start()
		tt.corrupt(m)
		if err := m.CheckInvariants(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkCancelGet cancels a Get in the middle of a long queue. The cost must not
// depend on the length of the queue. To fill the queue is not measured.
func BenchmarkCancelGet(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			m := New(Config{ConnectTimeout: time.Minute, CheckTimeout: time.Minute, DisconnectTimeout: time.Minute})
			m.Start(0)
			waiters := make([]Waiter, n)
			for i := range waiters {
				m.Get(0, &waiters[i])
			}
			// The waiter in the middle is cancelled. The cancelled ones are queued
			// again at the end, a tenth of the queue at once, so that the next one to
			// be cancelled is always about in the middle.
			cancelled := make([]*Waiter, 0, n/10)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				w := &waiters[n/2+i%(n/2)]
				m.CancelGet(0, w, context.Canceled, messages.ReasonCanceled)
				m.Done()
				m.TakeEvents(nil)
				if cancelled = append(cancelled, w); len(cancelled) == cap(cancelled) {
					b.StopTimer()
					for _, w := range cancelled {
						m.Get(0, w)
					}
					cancelled = cancelled[:0]
					b.StartTimer()
				}
			}
			if got := m.Stats().Cancels; got != uint64(b.N) {
				b.Fatalf("%d Gets were cancelled, want %d", got, b.N)
			}
		})
	}
}
