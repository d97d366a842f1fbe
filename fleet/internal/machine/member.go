package machine

import (
	"time"

	"github.com/actorpool/actorpool/fleet/store"
)

// Phase is how far the life of an incarnation has come.
type Phase uint8

// The phases, in their order. Between Live, Soft and Hard an incarnation goes back as
// soon as its lease is renewed; Over is for ever.
const (
	New  Phase = iota // no row has been seen: it holds nothing
	Live              // it holds what its row allows
	Soft              // no renewal was confirmed for long: nothing new is opened, and idle connections above the floor close
	Hard              // the lease may have ended: nothing may be held
	Over              // the lease has ended, or the incarnation has left
)

var phases = [...]string{"new", "live", "soft", "hard", "over"}

// String gives the phase in lower case.
func (p Phase) String() string { return phases[p] }

// MemberConfig is the configuration of a Member. All times are of its own monotonic clock.
type MemberConfig struct {
	// Floor is how many connections it keeps in phase Soft, as far as its row allows.
	Floor int
	// Hard is how long after a confirmed renewal nothing may be held any more: the time to
	// live of the lease, less what the clock may be slow and less what closing takes. Soft
	// is how long after it phase Soft begins.
	Soft, Hard time.Duration
	// Late is how long after it Note says that the store is not reached.
	Late time.Duration
	// Smoothing is how long a change of the demand must last before it is reported.
	Smoothing time.Duration
}

// Member decides for one incarnation. Its inputs are Seen, Renewed, Lost, Left and Applied;
// Decide says what follows from them at a moment, and Report what to tell the others.
type Member struct {
	cfg    MemberConfig
	phase  Phase
	newest store.Row
	hasRow bool

	proof time.Duration // when the last renewal that was confirmed was sent

	// The pool: its capacity, as it has been set, and what it holds. Everything that may
	// be open at the server counts: what is being opened, what is being closed, and jobs
	// that were given up.
	capacity, held int

	promise store.Report // AckSeq and AckN
	want    smoothed
}

// NewMember begins an incarnation whose lease was asked for at the given time.
func NewMember(cfg MemberConfig, asked time.Duration) *Member {
	return &Member{cfg: cfg, proof: asked, want: smoothed{window: cfg.Smoothing}}
}

// Seen is a row of this incarnation, which may have come late, or again. One that is not
// newer than the last is ignored.
func (m *Member) Seen(row store.Row) {
	if m.hasRow && row.Seq <= m.newest.Seq {
		return
	}
	m.newest, m.hasRow = row, true
}

// Renewed is a confirmation of the renewal that was sent at the given time. What counts
// is when it was sent: the store may have received it at once, and the lease runs from
// then.
func (m *Member) Renewed(sent time.Duration) { m.proof = max(m.proof, sent) }

// Lost is the store's answer that the lease has ended: somebody may have what it held.
func (m *Member) Lost() { m.phase = Over }

// Left says that the incarnation has left.
func (m *Member) Left() { m.phase = Over }

// Applied says that the capacity of the pool has been set, and what the pool held after
// that, of one moment.
func (m *Member) Applied(capacity, held int) { m.capacity, m.held = capacity, held }

// Decision is what the pool must be now.
type Decision struct {
	Phase    Phase
	Capacity int
	// Refuse: a connect that begins now must fail.
	Refuse bool
	// Interrupt: leases end now, and what they hold is closed.
	Interrupt bool
	// Next is when to decide again if nothing happens before; 0: never.
	Next time.Duration
}

// Decide says what the pool must be at a moment. It must be asked, and its answer applied,
// before anything else is done at that moment.
func (m *Member) Decide(now time.Duration) Decision {
	if m.phase != Over {
		m.phase = m.phaseAt(now)
	}
	d := Decision{Phase: m.phase}
	switch m.phase {
	case New:
		d.Refuse = true
	case Live:
		d.Capacity = m.allowed()
		d.Next = m.proof + m.cfg.Soft
	case Soft:
		d.Capacity = min(m.cfg.Floor, m.allowed())
		d.Refuse = true
		d.Next = m.proof + m.cfg.Hard
	case Hard, Over:
		d.Refuse = true
		d.Interrupt = m.held > 0
	}
	return d
}

func (m *Member) phaseAt(now time.Duration) Phase {
	switch since := now - m.proof; {
	case since >= m.cfg.Hard:
		return Hard
	case !m.hasRow:
		return New
	case since >= m.cfg.Soft:
		return Soft
	default:
		return Live
	}
}

// allowed is what the row and the member's own promise on it allow.
func (m *Member) allowed() int {
	n := min(m.newest.Charge, m.newest.Target)
	if m.promise.AckSeq == m.newest.Seq {
		n = min(n, m.promise.AckN)
	}
	return n
}

// Report is what to tell the others, with the demand of the moment: how many connections
// are borrowed, and how many Gets wait.
//
// A promise to hold less than the row charges is made when the pool neither holds more nor
// may open more. It is kept until a newer row comes: see allowed.
func (m *Member) Report(now time.Duration, demand int) store.Report {
	if m.hasRow && m.newest.Target < m.newest.Charge && m.phase != Over {
		n := max(m.held, m.capacity, m.newest.Target)
		if n < m.newest.Charge && (m.promise.AckSeq != m.newest.Seq || n < m.promise.AckN) {
			m.promise.AckSeq, m.promise.AckN = m.newest.Seq, n
		}
	}
	r := m.promise
	r.Want = m.want.at(now, demand)
	return r
}

// Owes says that connections were asked back and are held, or not promised away yet: their
// return is worth a report of its own.
func (m *Member) Owes() bool { return m.hasRow && m.newest.Target < m.newest.Charge }

// Row is the last row that was seen; false: none.
func (m *Member) Row() (store.Row, bool) { return m.newest, m.hasRow }

// Proof is when the last confirmed renewal was sent.
func (m *Member) Proof() time.Duration { return m.proof }

// Held is what the pool held when it was last asked.
func (m *Member) Held() int { return m.held }

// smoothed is a number that follows another one when that has stayed above it, or below
// it, for a while: then it goes as far as the other one has stayed.
type smoothed struct {
	window  time.Duration
	started bool
	value   int
	side    int           // of the other one: above (1), below (-1), equal (0)
	since   time.Duration // when it came to be there
	least   int           // how far it has been away all the time
}

func (s *smoothed) at(now time.Duration, n int) int {
	if !s.started {
		s.started, s.value = true, n
		return s.value
	}
	side := 0
	switch {
	case n > s.value:
		side = 1
	case n < s.value:
		side = -1
	}
	switch {
	case side == 0:
		s.side = 0
		return s.value
	case side != s.side:
		s.side, s.since, s.least = side, now, n
	case side > 0:
		s.least = min(s.least, n)
	default:
		s.least = max(s.least, n)
	}
	if now-s.since >= s.window {
		s.value, s.side = s.least, 0
	}
	return s.value
}
