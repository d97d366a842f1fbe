// Descriptions in the world of a test: what Explain says, against the model.

package machine

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// explain describes a machine completely, as the shell does.
func explain(m *Machine, now time.Duration) messages.Explanation {
	d := &Description{}
	for !m.Describe(now, d) {
		now++
	}
	return d.Explanation()
}

// longestLeaseAt is longestLease at a time.
func (m *Machine) longestLeaseAt(now time.Duration) time.Duration {
	m.advance(now)
	return m.longestLease()
}

// described is a description of a test, with what the model says of the moment at which
// it began.
type described struct {
	Description
	conns   []*conn
	waiters []*get
	time    time.Duration
}

// explain describes the pool in one turn, and checks what that says.
func (w *world) explain() messages.Explanation {
	w.tb.Helper()
	d := &described{}
	if !w.describeOn(d) {
		w.fail("a pool with %d slots takes more than one turn", len(w.m.slots))
	}
	e := d.Explanation()
	w.checkHolders(e.Holders, w.now)
	if len(e.Holders) != w.borrowed() || len(e.Conns) != w.counted() {
		w.fail("%d holders and %d connections, and Explain has %d and %d", w.borrowed(), w.counted(), len(e.Holders), len(e.Conns))
	}
	for _, c := range e.Conns {
		w.checkConn(c)
	}
	return e
}

// describeOn goes on with a description, which decides nothing. True: it is complete.
func (w *world) describeOn(d *described) (done bool) {
	w.tb.Helper()
	if !d.begun {
		d.conns, d.waiters, d.time = w.present(), slices.Clone(w.queue), w.now
	}
	w.stepInVain("a description", func() { done = w.m.Describe(w.now, &d.Description) })
	if done {
		w.checkDescription(d)
	}
	return done
}

// present are the connections that count.
func (w *world) present() []*conn {
	return slices.DeleteFunc(slices.Clone(w.conns), func(c *conn) bool { return c.ended || c.givenUp })
}

// checkDescription checks a description that is complete: every connection that was
// there all the while is in it once, and none that came later.
func (w *world) checkDescription(d *described) {
	w.tb.Helper()
	e := d.Explanation()
	ids := map[uint64]bool{}
	for i, c := range e.Conns {
		if i > 0 && c.ID <= e.Conns[i-1].ID || !slices.ContainsFunc(d.conns, func(o *conn) bool { return o.id == c.ID }) || c.In < 0 || c.Age < 0 {
			w.fail("%+v of a description that began at %v", c, d.time)
		}
		ids[c.ID] = true
	}
	now := w.present()
	for _, c := range d.conns {
		if slices.Contains(now, c) && !ids[c.id] {
			w.fail("c%d was there all the while, and is not described", c.id)
		}
	}
	holds := map[uint64]bool{}
	for i, h := range e.Holders {
		if i > 0 && h.Age > e.Holders[i-1].Age || holds[h.ConnID] || h.Age < 0 {
			w.fail("the holders are out of order: %v", e.Holders)
		}
		holds[h.ConnID] = true
	}
	if !e.Time.Equal(w.cfg.Start.Add(d.time)) || len(e.Waiters) != len(d.waiters) {
		w.fail("a description of %v with %d waiters has %v and %d", d.time, len(d.waiters), e.Time, len(e.Waiters))
	}
	for i, g := range d.waiters {
		left := g.Deadline - d.time
		if left == 0 {
			left = -1
		}
		if got := e.Waiters[i]; got.Label != g.Label || got.Setting != g.Setting || g.Deadline == 0 && got.Left != 0 || g.Deadline > 0 && got.Left != left {
			w.fail("%s, with deadline %v, is described as %+v", g.name, g.Deadline, got)
		}
	}
	if len(e.Recent) > recentEvents || !slices.IsSortedFunc(e.Recent, func(a, b messages.Event) int { return a.Time.Compare(b.Time) }) {
		w.fail("%d recent events, or not in order", len(e.Recent))
	}
}

// checkHolders checks the ages of leases: exact, or no longer than they are.
func (w *world) checkHolders(holders []messages.Holder, now time.Duration) {
	w.tb.Helper()
	for _, h := range holders {
		c := w.conns[h.ConnID-1]
		if c.holder == nil {
			continue // it has come back since
		}
		if age := now - c.lentAt; h.Age > age || !h.AtLeast && h.Age != age || h.Label != c.holder.Label && !c.holder.outOfTurn {
			w.fail("c%d is held for %v by %q, and described as %+v", c.id, age, c.holder.Label, h)
		}
		if h.AtLeast && (w.m.opts.tracksLeases || h.Label != "") {
			w.fail("the age of the lease of c%d is exact, and described as %+v", c.id, h)
		}
	}
}

// checkLongestLease checks how long the longest lease is said to have lasted.
func (w *world) checkLongestLease() {
	w.tb.Helper()
	var longest time.Duration
	for _, c := range w.conns {
		if c.holder != nil {
			longest = max(longest, w.now-c.lentAt)
		}
	}
	if got := w.m.longestLeaseAt(w.now); got < 0 || got > longest || got != longest && w.m.opts.tracksLeases {
		w.fail("the longest lease has lasted %v, and the machine says %v", longest, got)
	}
}

// checkConn checks the description of a connection at this moment.
func (w *world) checkConn(got messages.Conn) {
	w.tb.Helper()
	c := w.conns[got.ID-1]
	state := c.slot.state.String()
	want := messages.Conn{
		ID: c.id, State: state, In: got.In, AtLeast: got.AtLeast, Age: w.now - c.readyAt, Left: got.Left, Uses: c.uses, Generation: c.slot.generation, Setting: c.setting,
	}
	var since time.Duration
	switch {
	case c.holder != nil:
		since, want.State, want.Label = c.lentAt, "borrowed", c.slot.label
	case c.job != 0:
		since = c.jobSince
		if g := jobFor(c.slot); g != nil {
			want.Label = g.Label
		}
	default:
		since, want.State = c.idledAt, "idle"
	}
	if !c.established {
		want.Age = 0
	}
	if c.job == Disconnect {
		want.Setting = got.Setting // the model does not know it
	}
	if got != want || got.In > w.now-since || !got.AtLeast && got.In != w.now-since || (c.slot.expires == 0) != (got.Left == 0) ||
		got.Left != 0 && (got.Left < 0) != w.tooOld(c) {
		w.fail("c%d, in its state for %v, is described as\n%+v, not as\n%+v", c.id, w.now-since, got, want)
	}
}

// E10
//
// TestADescriptionOfManyIsTakenInSlicesThatAreBounded counts the turns, and looks at what
// the bounds keep: the lowest ids and the longest holders.
func TestADescriptionOfManyIsTakenInSlicesThatAreBounded(t *testing.T) {
	const n = 3000
	m := newTestMachine(t, Config{Capacity: n})
	for i := range n {
		if m.TryGet(time.Duration(n-i)*time.Second, &Waiter{Label: "label"}) == nil {
			t.Fatal("nothing idle")
		}
	}
	d := &Description{}
	turns := 1
	for !m.Describe(n*time.Second, d) {
		if d.next != turns*slotsAtOnce || len(m.descriptions) != 1 {
			t.Fatalf("after %d turns %d slots have been looked at, and %d descriptions are under way", turns, d.next, len(m.descriptions))
		}
		turns++
	}
	e := d.Explanation()
	if turns != (n+slotsAtOnce-1)/slotsAtOnce || len(m.descriptions) != 0 {
		t.Errorf("%d turns for %d slots, and %d descriptions are left", turns, n, len(m.descriptions))
	}
	if len(e.Conns) != describedConns || e.Conns[0].ID != 1 || e.Conns[describedConns-1].ID != describedConns {
		t.Errorf("%d connections, from %v to %v", len(e.Conns), e.Conns[0], e.Conns[len(e.Conns)-1])
	}
	if len(e.Holders) != forExplain.describe || !slices.IsSortedFunc(e.Holders, func(a, b messages.Holder) int { return int(b.Age - a.Age) }) {
		t.Errorf("%d holders: %v", len(e.Holders), e.Holders)
	}
	if e.Stats.Borrowed != n || len(e.Suspicions) != 0 {
		t.Errorf("%+v, suspicions %v", e.Stats, e.Suspicions)
	}
}

// Whatever is added in whatever order, the first ones are kept.
func TestLeastKeepsTheFirstOnes(t *testing.T) {
	for _, room := range []int{0, 1, 7, 100} {
		l := least[string]{room: room}
		x := uint64(1)
		var all []rank
		for range 200 {
			x = x*6364136223846793005 + 1442695040888963407
			r := rank{time.Duration(x >> 60), x >> 40 & 0xFF}
			all = append(all, r)
			l.add(r, fmt.Sprint(r))
		}
		slices.SortFunc(all, rank.compare)
		all = all[:min(room, len(all))]
		for i, got := range l.sorted() {
			if got.rank != all[i] || got.item != fmt.Sprint(all[i]) {
				t.Errorf("room %d: number %d is %v, not %v", room, i, got, all[i])
			}
		}
		if len(l.items) != len(all) {
			t.Errorf("room %d: %d are kept", room, len(l.items))
		}
	}
}

// In a pool with more places than it looks at in one call, longestLease finds the longest
// after some, and keeps to it while it is out.
func TestTheLongestLeaseIsFoundAmongMany(t *testing.T) {
	const n = 3 * leasesAtOnce
	m := newTestMachine(t, Config{Capacity: n})
	old := m.TryGet(time.Second, &Waiter{Label: "old"})
	for m.count[idle] > 0 {
		m.TryGet(2*time.Second, &Waiter{Label: "young"})
	}
	found := func(want time.Duration) bool {
		for range n/leasesAtOnce + 1 {
			if m.longestLeaseAt(10*time.Second) == want {
				return true
			}
		}
		return false
	}
	if !found(9*time.Second) || m.longestLease() != 9*time.Second || m.longestLease() != 9*time.Second {
		t.Errorf("the longest lease is %v old", m.longestLease())
	}
	if !m.Put(10*time.Second, old, old.ID, old.LeaseEpoch) || !found(8*time.Second) || m.longestLease() != 8*time.Second {
		t.Errorf("the longest lease is %v old, after the first has ended", m.longestLease())
	}
}

// BenchmarkDescription measures the turns of an Explain: the longest one of each, of which
// it gives the median and the least, and all together.
func BenchmarkDescription(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		for _, tracked := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d held, leases watched: %v", n, tracked), func(b *testing.B) {
				cfg := Config{Capacity: n}
				if tracked {
					cfg.LeakAfter = time.Hour
				}
				m := newTestMachine(b, cfg)
				for m.count[idle] > 0 {
					m.TryGet(time.Second, &Waiter{})
				}
				for range n {
					m.Get(2*time.Second, &Waiter{Label: "waiting"})
				}
				m.Done()
				var longest []time.Duration // turn of each
				turns := 0
				for range b.N {
					d, worst := &Description{}, time.Duration(0)
					for done := false; !done; turns++ {
						start := time.Now()
						done = m.Describe(3*time.Second, d)
						worst = max(worst, time.Since(start))
					}
					longest = append(longest, worst)
				}
				slices.Sort(longest)
				b.ReportMetric(float64(turns)/float64(b.N), "turns/op")
				b.ReportMetric(float64(longest[len(longest)/2].Microseconds()), "µs-longest-turn")
				b.ReportMetric(float64(longest[0].Microseconds()), "µs-longest-turn-at-best")
			})
		}
	}
}

// E10
func TestFailedCheckOutsDoNotPushOutWhatElseHasHappened(t *testing.T) {
	var r recent
	r.keep(0, messages.Event{Kind: messages.PoolBackoff})
	for range 1000 {
		r.keep(0, messages.Event{Kind: messages.CheckOutFailed, Reason: messages.ReasonBackoff})
		r.keep(0, messages.Event{Kind: messages.CheckOutFailed, Reason: messages.ReasonTimeout})
	}
	r.keep(0, messages.Event{Kind: messages.PoolReady})
	r.keep(0, messages.Event{Kind: messages.CheckOutFailed, Reason: messages.ReasonTimeout})
	var kinds []messages.EventKind
	for _, e := range r.list("", time.Time{}) {
		kinds = append(kinds, e.Kind)
	}
	failed := messages.CheckOutFailed
	if want := []messages.EventKind{messages.PoolBackoff, failed, failed, messages.PoolReady, failed}; !slices.Equal(kinds, want) {
		t.Errorf("%v, not %v", kinds, want)
	}
}

// What is kept of an event is all of it, whatever it says.
func TestRecentEventsAreWhole(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	plain := messages.Event{
		Kind: messages.ConnectionClosed, Pool: "p", Seq: 3, Time: start.Add(time.Minute), ConnID: 4,
		Reason: messages.ReasonIdle, Duration: time.Second, Generation: 5,
	}
	want := []messages.Event{plain}
	for i := range reflect.TypeFor[messages.Event]().NumField() {
		e := plain
		switch f := reflect.ValueOf(&e).Elem().Field(i); reflect.TypeFor[messages.Event]().Field(i).Name {
		case "Pool", "Time": // always those of the pool
		case "Err":
			e.Err = errors.New("an error")
		case "Setting":
			e.Setting = struct{ f func() }{} // that cannot be compared
		default:
			switch {
			case f.CanInt():
				f.SetInt(77)
			case f.CanUint():
				f.SetUint(77)
			case f.Kind() == reflect.Bool:
				f.SetBool(true)
			default:
				f.SetString("text")
			}
		}
		want = append(want, e)
	}
	var r recent
	for _, e := range want {
		r.keep(e.Time.Sub(start), e)
	}
	got := r.list("p", start)
	for i, e := range want {
		if !reflect.DeepEqual(got[i], e) {
			t.Errorf("%+v, not %+v", got[i], e)
		}
	}
	var forgotten recent
	if n := testing.AllocsPerRun(100, func() { forgotten = recent{}; forgotten.keep(0, plain) }); n != 1 {
		t.Errorf("%v allocations for an event that says little, not that of the list alone", n)
	}
}
