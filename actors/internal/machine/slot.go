package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Slot is a place for one connection, with the connector that serves it. It
// counts against the capacity in every state but vacant, unless it has been
// abandoned.
type Slot struct {
	// Shell is what the outside keeps for the slot: its connector.
	Shell any
	// Conn is what the outside keeps for the connection in it.
	Conn any
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
	epoch      uint64  // the backoff's epoch when the connect began
	waiter     *Waiter // who the job under way is for
	label      string  // the holder's
	timed      bool    // since is known, not only bounded
	leaked     bool    // this lease has been reported
	doom       messages.Reason
	since      time.Duration // when the state began
	expires    time.Duration // end of life; 0: none

	prev, next *Slot // in the list of its state: vacant, idle, busy, or borrowed
}

type state uint8

const (
	vacant     state = iota
	connecting       // Connect runs
	checking         // Check runs
	resetting        // Reset runs
	closing          // Disconnect runs
	idle
	borrowed
)

var states = [...]string{"vacant", "connecting", "checking", "resetting", "closing", "idle", "borrowed"}

func (s state) String() string { return states[s] }

// slotList is a doubly linked list of slots. The zero value is empty.
type slotList struct {
	head, tail *Slot
	n          int
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

func (l *slotList) remove(s *Slot) {
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
