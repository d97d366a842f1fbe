package machine

import (
	"time"
)

// Slot is a place for one connection, with the connector that serves it. It
// counts against the capacity in every state but vacant, unless it has been
// abandoned.
type Slot struct {
	// Shell is what the outside keeps for the slot: its connector.
	Shell any
	// Conn is what the outside keeps for the connection in it.
	Conn any
	// Want is the setting to put on the connection, for Apply.
	Want any
	// ID is the connection's id, from 1 within the pool; 0 while vacant.
	ID uint64
	// Epoch is that of the connection's current lease while it is borrowed,
	// otherwise of the next one. It starts at 1 and grows when a lease ends.
	Epoch uint64

	state      state
	abandoned  bool // its job is overdue: not counted any more, closed when the job ends
	silent     bool // its ConnectionClosed has been told
	blames     bool // waiter is the one the job was started for: it bears a failure (G10)
	index      int  // in Machine.slots
	generation uint64
	epoch      uint64        // the backoff's epoch when the connect began
	waiter     *Waiter       // who the job under way is for
	label      string        // the holder's
	timed      bool          // since is known, not only bounded
	leaked     bool          // this lease has been reported
	entangled  bool          // this lease is more than a loan, see entangle
	borrower   *Borrower     // the actor that holds it
	place      int           // in Borrower.slots
	ties       int           // how many wait who hold it meanwhile
	trace      Trace         // where the holder's Get came from
	kin        *kin          // the setting on the connection; nil: it is clean
	since      time.Duration // when the state began
	quiet      bool          // it is checked in the background, which does not end its rest
	rested     time.Duration // then: when that began
	alive      time.Duration // when it was last known to be alive (KeepAlive)
	expires    time.Duration // end of life; 0: none

	prev, next   *Slot // in the list of its state: vacant, idle, dressed, busy, or borrowed
	kprev, knext *Slot // among the idle ones with its setting
}

// kin are the connections with one setting.
type kin struct {
	setting any
	head    *Slot // the idle ones, newest first, linked by kprev and knext
	members int   // idle or not
}

// insert puts s in its place: behind the next newer one of its kin in worn,
// where s is already.
func (k *kin) insert(s *Slot) {
	newer := s.prev
	for newer != nil && newer.kin != k {
		newer = newer.prev
	}
	s.kprev, s.knext = newer, k.head
	if newer != nil {
		s.knext = newer.knext
		newer.knext = s
	} else {
		k.head = s
	}
	if s.knext != nil {
		s.knext.kprev = s
	}
}

func (k *kin) remove(s *Slot) {
	if s.kprev != nil {
		s.kprev.knext = s.knext
	} else {
		k.head = s.knext
	}
	if s.knext != nil {
		s.knext.kprev = s.kprev
	}
	s.kprev, s.knext = nil, nil
}

// setting is the one on the connection, nil if it is clean.
func (s *Slot) setting() any {
	if s.kin == nil {
		return nil
	}
	return s.kin.setting
}

// Setting gives the setting on the slot's connection, nil if it is clean.
func (s *Slot) Setting() any { return s.setting() }

type state uint8

const (
	vacant     state = iota
	connecting       // Connect runs
	checking         // Check runs
	resetting        // Reset runs
	applying         // Apply runs
	unapplying       // Unapply runs
	closing          // Disconnect runs
	idle
	borrowed
)

var states = [...]string{"vacant", "connecting", "checking", "resetting", "applying", "unapplying", "closing", "idle", "borrowed"}

func (s state) String() string { return states[s] }

// slotList is a doubly linked list of slots. The zero value is empty.
type slotList struct {
	head, tail *Slot
	n          int
	hint       *Slot // the last one that was inserted: the next one will be near
}

func (l *slotList) pushHead(s *Slot) {
	s.prev, s.next = nil, l.head
	if l.head != nil {
		l.head.prev = s
	} else {
		l.tail = s
	}
	l.head = s
	l.n++
}

func (l *slotList) pushTail(s *Slot) {
	s.prev, s.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = s
	} else {
		l.head = s
	}
	l.tail = s
	l.n++
}

// insert puts s in its place by since, newest first. s is among the oldest, or
// near the last one that was inserted.
func (l *slotList) insert(s *Slot) {
	after := l.hint
	if after == nil {
		after = l.tail
	}
	for after != nil && after.since < s.since {
		after = after.prev
	}
	for after != nil && after.next != nil && after.next.since >= s.since {
		after = after.next
	}
	l.hint = s
	switch {
	case after == nil:
		l.pushHead(s)
	case after.next == nil:
		l.pushTail(s)
	default:
		s.prev, s.next = after, after.next
		after.next.prev, after.next = s, s
		l.n++
	}
}

func (l *slotList) remove(s *Slot) {
	if s == l.hint {
		l.hint = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.tail = s.prev
	}
	s.prev, s.next = nil, nil
	l.n--
}
