// Recordings: what was asked of the pool for a while, one record for each Get.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Recording is what is recorded from the input Record on. The machine writes to it until
// the effect Recorded says that it is over, and never afterwards: then whoever has asked
// for it reads it, off the pool's turn.
//
// A turn writes one record for a Get, in a chunk that is never copied, and changes that
// record when the Get is answered and when its lease ends. Nothing is looked through, at
// the beginning or at the end. So what is known of the Gets that waited when the
// recording began, and of the leases that were out, is their number; each has a record as
// soon as something becomes of it.
type Recording struct {
	// Max is how many Gets it has at most.
	Max int

	at                time.Duration // when it began
	wall              time.Time
	ended             time.Duration
	capacity, minIdle int
	truncated, closed bool
	over              bool
	arrived           int    // Gets that have come since it began
	newest            uint64 // the record of the last of them
	first             uint64 // the number of its first record: every record of a machine has a number
	n                 int    // of the records
	waited            int    // Gets that waited when it began and have no record yet
	held              int    // leases that were out when it began and have no record yet
	chunks            [][]record
	labels            map[string]uint32
	settings          map[any]uint32
	labelOf           []string // by number, from 1
	settingOf         []any
	connects          []time.Duration
}

// record is one Get. A recording can have millions of them, so texts are numbers here.
type record struct {
	at, wait, hold, patience time.Duration
	session                  uint64
	label, setting           uint32
	outcome                  messages.RecordedOutcome
	before                   bool // it had come before the recording began
	out                      bool // its lease is out
}

// The bounds of a recording.
const (
	recordsAtOnce    = 1024   // in a chunk
	recordedConnects = 10_000 // connects that are kept
)

// get gives the record with a number; nil: it is of no Get of this recording.
func (r *Recording) get(number uint64) *record {
	i := number - r.first
	if number < r.first || i >= uint64(r.n) {
		return nil
	}
	return &r.chunks[i/recordsAtOnce][i%recordsAtOnce]
}

// add makes a record, and gives its number.
func (r *Recording) add(n record) (number uint64) {
	last := len(r.chunks) - 1
	if r.n%recordsAtOnce == 0 {
		r.chunks = append(r.chunks, make([]record, 0, recordsAtOnce))
		last++
	}
	r.chunks[last] = append(r.chunks[last], n)
	r.n++
	return r.first + uint64(r.n) - 1
}

// numberOf gives a label or a setting its number; 0: there is none.
func numberOf[K comparable](numbers map[K]uint32, all *[]K, key K) uint32 {
	n, ok := numbers[key]
	if !ok {
		n = uint32(len(*all))
		numbers[key] = n
		*all = append(*all, key)
	}
	return n
}

// ask fills in what a Get asks for.
func (r *Recording) ask(n *record, w *Waiter, now time.Duration) {
	n.session = w.Session
	if w.Label != "" {
		n.label = numberOf(r.labels, &r.labelOf, w.Label)
	}
	if w.Setting != nil {
		n.setting = numberOf(r.settings, &r.settingOf, w.Setting)
	}
	switch {
	case w.Deadline != 0:
		n.patience = max(leastPatience, w.Deadline-now)
	case w.Timeout > 0 && w.Timeout < never:
		n.patience = max(leastPatience, w.Timeout)
	}
}

// leastPatience is the patience of a Get whose deadline has passed: 0 would say that it
// has none.
const leastPatience = time.Microsecond

// Over says that the recording has been made.
func (r *Recording) Over() bool { return r.over }

// Closed says that the pool was closed meanwhile, which has ended the recording.
func (r *Recording) Closed() bool { return r.closed }

// tellStarted tells that a Get comes, tellCheckedOut that it is granted a connection, and
// tellCheckedIn that a lease ends. On the hot path they are called only if
// opts.watchesGets says so; the caller asks, which saves a call.
func (m *Machine) tellStarted(w *Waiter) {
	if m.cfg.EventLevel == AllEvents {
		m.emitStarted(w)
	}
	if m.recording != nil {
		m.recordStarted(w)
	}
}

func (m *Machine) tellCheckedOut(s *Slot, w *Waiter, wait time.Duration) {
	if m.cfg.EventLevel == AllEvents {
		m.emitCheckedOut(s, w, wait)
	}
	if m.recording != nil {
		m.recordGrant(s, w)
	}
}

func (m *Machine) tellCheckedIn(s *Slot) {
	if m.cfg.EventLevel == AllEvents {
		m.emitCheckedIn(s)
	}
	if m.recording != nil {
		m.recordReturn(s)
	}
}

// beginRecording begins a recording.
func (m *Machine) beginRecording(r *Recording) {
	r.at, r.wall, r.capacity, r.minIdle = m.now, m.wall(m.now), m.capacity, m.cfg.MinIdle
	r.first, r.waited, r.held = m.lastRecord+1, m.queue.n, m.count[borrowed]
	r.labels, r.labelOf = map[string]uint32{}, []string{""}
	r.settings, r.settingOf = map[any]uint32{}, []any{nil}
	m.recording = r
	m.refreshClock()
}

// finishRecording ends it.
func (m *Machine) finishRecording() {
	r := m.recording
	r.ended, r.over = m.now, true
	m.lastRecord += uint64(r.n)
	m.recording = nil
	m.refreshClock()
	if m.phase == phaseOpen { // not every input that ends a Get sets the timer anew
		m.arm(m.coarseDue())
	}
	m.effect(Effect{Kind: Recorded})
}

// recordStarted records a Get that comes.
func (m *Machine) recordStarted(w *Waiter) {
	r := m.recording
	if r.arrived == r.Max {
		m.truncateRecording()
		return
	}
	r.arrived++
	n := record{at: m.now - r.at, outcome: messages.RecordedWaiting}
	r.ask(&n, w, m.now)
	w.record = r.add(n)
	r.newest = w.record
}

// truncateRecording ends a recording that has as many Gets as it may have.
func (m *Machine) truncateRecording() {
	m.recording.truncated = true
	m.finishRecording()
}

// recordOf is the record of a Get that ends, or goes on. One without a record waited
// before the recording began.
func (m *Machine) recordOf(w *Waiter) *record {
	r := m.recording
	if n := r.get(w.record); n != nil {
		return n
	}
	r.waited--
	n := record{before: true, outcome: messages.RecordedWaiting}
	r.ask(&n, w, r.at)
	w.record = r.add(n)
	return r.get(w.record)
}

// recordAnswered ends the recording if that was the answer to the last Get that it may
// have.
func (m *Machine) recordAnswered(w *Waiter) {
	if r := m.recording; r.arrived == r.Max && w.record == r.newest {
		m.truncateRecording()
	}
}

// recordGrant records that a Get is granted a connection.
func (m *Machine) recordGrant(s *Slot, w *Waiter) {
	n := m.recordOf(w)
	n.wait, n.outcome, n.out = m.now-m.recording.at-n.at, messages.RecordedGranted, true
	s.record = w.record
	m.recordAnswered(w)
}

// recordEnd records that a Get ends without a connection.
func (m *Machine) recordEnd(w *Waiter, err error, reason messages.Reason) {
	if m.recording == nil {
		return
	}
	n := m.recordOf(w)
	n.wait, n.outcome = m.now-m.recording.at-n.at, outcomeOf(err, reason)
	m.recordAnswered(w)
}

// outcomeOf says how a Get has ended. It asks nothing of an error that may be code of the
// user (T1).
func outcomeOf(err error, reason messages.Reason) messages.RecordedOutcome {
	switch reason {
	case messages.ReasonTimeout:
		return messages.RecordedTimeout
	case messages.ReasonCanceled:
		return messages.RecordedCancelled
	case messages.ReasonPoolClosed:
		return messages.RecordedClosed
	case messages.ReasonCleared:
		return messages.RecordedCleared
	case messages.ReasonExhausted:
		if err == messages.ErrExhausted { //nolint:errorlint // errors.Is would be code of the user
			return messages.RecordedExhausted
		}
		if _, shed := err.(*messages.ShedError); shed { //nolint:errorlint // and so would errors.As
			return messages.RecordedShed
		}
		return messages.RecordedDeadlock
	}
	return messages.RecordedFailed
}

// lentRecord is the record of a lease that is out. One without a record was out before
// the recording began. nil: it has ended.
func (m *Machine) lentRecord(s *Slot) *record {
	r := m.recording
	n := r.get(s.record)
	if n == nil {
		r.held--
		s.record = r.add(record{before: true, outcome: messages.RecordedHeld, out: true})
		n = r.get(s.record)
	}
	if !n.out {
		return nil
	}
	return n
}

// recordReturn records that a lease ends.
func (m *Machine) recordReturn(s *Slot) {
	if n := m.lentRecord(s); n != nil {
		n.hold, n.out = m.now-m.recording.at-n.at-n.wait, false
	}
}

// recordRefusal records that a Get refuses the connection that it was granted: it is as
// if it had not been granted it.
func (m *Machine) recordRefusal(s *Slot, w *Waiter) {
	if m.recording == nil {
		return
	}
	if n := m.lentRecord(s); n != nil {
		n.wait, n.hold, n.outcome, n.out = 0, 0, messages.RecordedWaiting, false
		w.record = s.record
	}
}

// recordConnect records how long a connect took.
func (m *Machine) recordConnect(took time.Duration) {
	if r := m.recording; r != nil && len(r.connects) < recordedConnects {
		r.connects = append(r.connects, took)
	}
}

// Report gives a recording that is over, in which each setting is a text. It takes the
// records with it, so that there are not two copies of millions.
func (r *Recording) Report(text func(setting any) string) *messages.Recording {
	length := r.ended - r.at
	report := &messages.Recording{
		Version: messages.RecordingVersion, Start: r.wall, Length: length, Capacity: r.capacity, MinIdle: r.minIdle,
		Truncated: r.truncated, Connects: r.connects, Gets: make([]messages.RecordedGet, 0, r.n+r.waited+r.held),
	}
	settings := make([]string, len(r.settingOf))
	for i, setting := range r.settingOf[1:] {
		settings[i+1] = text(setting)
	}
	for range r.held {
		report.Gets = append(report.Gets, messages.RecordedGet{Outcome: messages.RecordedHeld, Out: true})
	}
	for range r.waited {
		report.Gets = append(report.Gets, messages.RecordedGet{Wait: length, Outcome: messages.RecordedWaiting})
	}
	sessions := map[uint64]uint64{0: 0}
	for _, before := range []bool{true, false} {
		for _, chunk := range r.chunks {
			for i := range chunk {
				n := &chunk[i]
				if n.before != before {
					continue
				}
				session, known := sessions[n.session]
				if !known {
					session = uint64(len(sessions))
					sessions[n.session] = session
				}
				if n.outcome == messages.RecordedWaiting {
					n.wait = length - n.at
				}
				report.Gets = append(report.Gets, messages.RecordedGet{
					At: n.at, Wait: n.wait, Hold: n.hold, Patience: n.patience, Session: session,
					Label: r.labelOf[n.label], Setting: settings[n.setting], Outcome: n.outcome, Out: n.out,
				})
			}
		}
	}
	r.chunks = nil
	return report
}
