// Recordings in a world: the model of one, and the checks of what was recorded.

package machine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/messages"
)

// recorded is a recording of a test, with what the model has seen meanwhile.
type recorded struct {
	Recording
	began time.Duration
	gets  []*recordedGet
	came  int
	over  bool
	made  *messages.Recording // when it is over
}

// recordedGet is a Get that should be in a recording.
type recordedGet struct {
	messages.RecordedGet
	get    *get
	lease  *lease
	before bool // the recording
	known  bool // something has become of it since
}

// record begins a recording. The step may end waits that are overdue.
func (w *world) record(r *recorded) {
	w.tb.Helper()
	refused := w.recording != nil || w.closedAt >= 0
	if !refused {
		r.began, w.recording = w.now, r
		for _, g := range w.queue {
			w.asks(g).before = true
		}
		for _, c := range w.conns {
			if c.holder != nil {
				held := messages.RecordedGet{Outcome: messages.RecordedHeld, Out: true}
				r.gets = append(r.gets, &recordedGet{RecordedGet: held, get: c.holder, lease: c.holder.lease, before: true})
			}
		}
		r.came = 0
	}
	w.step(func() { w.controlErr = w.m.Record(w.now, &r.Recording) })
	if refused != (w.controlErr != nil) {
		w.fail("a recording is under way: %v, closed at %v, and Record says %v", w.recording != nil, w.closedAt, w.controlErr)
	}
}

// endRecording ends a recording whose caller wants no more of it, or does so again.
func (w *world) endRecording(r *recorded) {
	w.tb.Helper()
	if r.over {
		w.stepInVain("the second end of a recording", func() { w.m.EndRecording(w.now, &r.Recording) })
		return
	}
	w.step(func() { w.m.EndRecording(w.now, &r.Recording) })
	if !r.over {
		w.fail("a recording was ended, and is not over")
	}
}

// asks notes that a Get comes. It is called before the machine is.
func (w *world) asks(g *get) *recordedGet {
	r := w.recording
	if r == nil {
		return nil
	}
	r.came++
	n := &recordedGet{get: g, RecordedGet: messages.RecordedGet{At: w.now - r.began, Label: g.Label, Outcome: messages.RecordedWaiting}}
	if g.Setting != nil {
		n.Setting = fmt.Sprint(g.Setting)
	}
	if g.Deadline != 0 {
		n.Patience = max(time.Microsecond, g.Deadline-w.now)
	} else if g.Timeout > 0 && g.Timeout < never {
		n.Patience = g.Timeout
	}
	r.gets = append(r.gets, n)
	return n
}

// recordOf is the record of a Get whose lease it is; nil: nothing is recorded.
func (w *world) recordOf(g *get) *recordedGet {
	if w.recording == nil {
		return nil
	}
	for _, n := range slices.Backward(w.recording.gets) {
		if n.get == g && n.lease == g.lease {
			return n
		}
	}
	return nil
}

// refuses notes that a Get refuses the connection that it was granted, whose lease is out
// or not. It is called before the machine is.
func (w *world) refuses(g *get, out bool) {
	switch n := w.recordOf(g); {
	case w.recording == nil:
	case !out:
		w.asks(g)
	case n != nil:
		n.lease, n.Wait, n.Out, n.Outcome = nil, 0, false, messages.RecordedWaiting
	}
}

// declines notes that a Get whose caller has left does so, for the reason err.
func (w *world) declines(g *get, err error) {
	if n := w.recordOf(g); n != nil {
		n.lease, n.Out, n.Outcome = nil, false, outcome(err)
		n.Wait = w.now - w.recording.began - n.At
		n.get = nil
	}
}

// outcome is how a Get has ended, by its error.
func outcome(err error) messages.RecordedOutcome {
	for _, known := range []struct {
		err     error
		outcome messages.RecordedOutcome
	}{
		{messages.ErrConnectFailed, messages.RecordedFailed}, {messages.ErrExhausted, messages.RecordedExhausted},
		{messages.ErrShed, messages.RecordedShed}, {messages.ErrDeadlock, messages.RecordedDeadlock},
		{messages.ErrCleared, messages.RecordedCleared}, {messages.ErrClosed, messages.RecordedClosed},
		{messages.ErrBorrowerGone, messages.RecordedCancelled},
	} {
		if errors.Is(err, known.err) {
			return known.outcome
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return messages.RecordedTimeout
	}
	return messages.RecordedCancelled
}

// follow sees what the step has done to the Gets that are recorded, and checks a recording
// that it has ended.
func (w *world) follow() {
	w.tb.Helper()
	r := w.recording
	if r == nil {
		return
	}
	for _, n := range r.gets {
		if n.Outcome == messages.RecordedWaiting && n.get != nil {
			switch g := n.get; {
			case g.lease != nil:
				n.lease, n.Outcome, n.Out, n.Wait, n.known = g.lease, messages.RecordedGranted, true, w.now-r.began-n.At, true
			case g.err != nil:
				n.Outcome, n.Wait = outcome(g.err), w.now-r.began-n.At
			}
		}
		if n.Out && !n.lease.out() {
			n.Out, n.Hold = false, w.now-r.began-n.At-n.Wait
		}
	}
	if r.over {
		w.checkRecording(r)
		w.recording = nil
	}
}

// checkRecording compares what was recorded with what the model has seen.
func (w *world) checkRecording(r *recorded) {
	w.tb.Helper()
	r.made = r.Report(func(setting any) string { return fmt.Sprint(setting) })
	made := r.made
	if made.Length != w.now-r.began || made.Truncated && r.came < r.Max || r.Closed() != (w.closedAt >= 0 && !made.Truncated) || !r.Over() {
		w.fail("a recording of %v has %v, truncated %v after %d Gets, closed %v", w.now-r.began, made.Length, made.Truncated, r.came, r.Closed())
	}
	if !slices.IsSortedFunc(made.Gets, func(a, b messages.RecordedGet) int { return int(a.At - b.At) }) {
		w.fail("the recorded Gets are not in their order")
	}
	if made.Truncated { // the rest of the step came later
		came := 0
		for _, n := range r.gets {
			if n.before {
				came--
			}
		}
		if came += len(made.Gets); came != r.Max {
			w.fail("a recording of %d Gets has %d", r.Max, came)
		}
		return
	}
	var want, got []string
	for _, n := range r.gets {
		if n.Outcome == messages.RecordedWaiting {
			n.Wait = made.Length - n.At
			if n.before && !n.known { // only their number is known
				n.Label, n.Setting, n.Patience = "", "", 0
			}
		}
		want = append(want, fmt.Sprintf("%+v", n.RecordedGet))
	}
	for _, g := range made.Gets {
		g.Session = 0 // the traces show them
		got = append(got, fmt.Sprintf("%+v", g))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		w.fail("recorded\n%s\nand the model has seen\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// recording shows what was recorded.
func (tr *trace) recording(r *recorded) string {
	made := r.made
	if made == nil {
		tr.Fatalf("the recording is not over")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v, capacity %d", made.Length, made.Capacity)
	if made.Truncated {
		b.WriteString(", truncated")
	}
	if len(made.Connects) > 0 {
		fmt.Fprintf(&b, ", connects %v", made.Connects)
	}
	for _, g := range made.Gets {
		fmt.Fprintf(&b, "\nat %v: %v after %v", g.At, g.Outcome, g.Wait)
		switch {
		case g.Out:
			b.WriteString(", still out")
		case g.Outcome <= messages.RecordedHeld:
			fmt.Fprintf(&b, ", held for %v", g.Hold)
		}
		if g.Patience > 0 {
			fmt.Fprintf(&b, ", patience %v", g.Patience)
		}
		for _, s := range []struct {
			name string
			is   any
		}{{"session", g.Session}, {"label", g.Label}, {"setting", g.Setting}} {
			if s.is != "" && s.is != uint64(0) {
				fmt.Fprintf(&b, ", %s %v", s.name, s.is)
			}
		}
	}
	return b.String()
}

func TestARecordTakesNoMoreThan64Bytes(t *testing.T) {
	assert.LessOrEqual(t, reflect.TypeFor[record]().Size(), uintptr(64))
}

func TestOnlyARecordingBarsTheShortPaths(t *testing.T) {
	for name, cfg := range map[string]Config{
		"plain":  {Capacity: 1},
		"coarse": {Capacity: 1, Coarse: true, Check: true, CheckAfterIdle: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cfg)
			g := &get{name: "a"}
			w.get(g)
			w.connected(w.conns[0])
			w.now = time.Second
			w.put(g.lease)
			m := w.m
			looks := func() string {
				return fmt.Sprintf("%+v %v %v %v %v", m.opts, m.fastPath, m.shortPath, m.timers.coarseTick, m.timings.every)
			}
			before := looks()
			r := &recorded{Recording: Recording{Max: 10}}
			w.record(r)
			assert.Nil(t, m.TryLend(w.now))
			assert.True(t, m.NeedsClock())
			assert.True(t, m.fastPath)
			w.endRecording(r)
			assert.Equal(t, before, looks())
			assert.Equal(t, name == "plain", m.TryLend(w.now) != nil)
		})
	}
}

func TestNoTurnCopiesWhatWasRecordedBefore(t *testing.T) {
	m := New(Config{Name: "pool", Capacity: 1})
	m.Start(0)
	m.Get(0, &Waiter{})
	s := m.Effects()[0].Slot
	m.Connected(0, s, nil)
	m.Done()
	r := &Recording{Max: 1 << 20}
	m.Put(1, s, s.ID, s.LeaseEpoch)
	if err := m.Record(1, r); err != nil {
		t.Fatal(err)
	}
	const gets = 100_000
	w := &Waiter{}
	now := time.Duration(1)
	perGet := testing.AllocsPerRun(gets, func() {
		now++
		m.TryGet(now, w)
		m.TryPut(now, s, s.ID, s.LeaseEpoch)
	})
	assert.Zero(t, perGet, "there is a new chunk now and then, and nothing else")
	for i, chunk := range r.chunks {
		assert.Equal(t, recordsAtOnce, cap(chunk), "chunk %d", i)
	}
	first, last := &r.chunks[0][0], &r.chunks[len(r.chunks)-1][0]
	m.EndRecording(now, r)
	assert.Same(t, first, &r.chunks[0][0])
	assert.Same(t, last, &r.chunks[len(r.chunks)-1][0])
	assert.Len(t, r.Report(func(any) string { return "" }).Gets, gets+1)
}
