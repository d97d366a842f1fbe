// Slots: the places for connections, and the lists that they are in.

package machine

import (
	"math"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Slot is a place for one connection, with the connector that serves it. It counts
// against the capacity in every state but vacant, unless its job was given up.
type Slot struct {
	// What a Get and a Put by the fast paths touch.

	// ID is the connection's id, from 1 within the pool; 0 while vacant.
	ID uint64
	// LeaseEpoch is that of the connection's current lease while it is borrowed,
	// otherwise of the next one. It starts at 1 and grows when a lease ends.
	LeaseEpoch uint64
	// Conn is what the shell keeps for the connection in it.
	Conn       any
	prev, next *Slot         // in the list of its state: vacant, idle, idleWithSetting, busy, or leases.out
	since      time.Duration // when the state began
	state      state
	// Path is how the current lease came by the connection. One that was idle may have
	// been closed by the server meanwhile.
	Path          messages.Path
	exactSince    bool  // since is exact, and not only the time before which the lease did not begin
	annotated     bool  // the lease has annotations: see annotate
	leaked        bool  // the lease has been reported as leaked
	standing      bool  // the connection is counted in Machine.standing
	closedEmitted bool  // ConnectionClosed has been emitted
	bound         bound // what bounds the job: the list of jobs.busy that it is in

	label      string        // of the Get
	wait       time.Duration // of the Get
	quickUntil uint64        // the fast paths return leases of smaller epochs only, see quick
	timedEpoch uint64        // of the last lease whose use is timed, see useBegins
	group      *settingGroup // the setting on the connection; nil: it is clean

	cancelled      bool  // a connect that is too many, and was cancelled
	bearsFailure   bool  // the job was begun for waiter, which fails if it does (G10)
	background     bool  // a check that does not end the connection's idling
	givenUp        bool  // the job is overdue: the slot is not counted any more
	waitingHolders int32 // how many waiters' callers hold the lease meanwhile

	// Shell is what the shell keeps for the slot: its connector.
	Shell any
	// Want is the setting to put on the connection, for Apply.
	Want any

	index int // in Machine.slots

	// The connection.
	readyAt      time.Duration // when its connect succeeded
	idled        time.Duration // how long it had been idle before its last lease or jobs, where a clock is read
	unused       uint64        // the leases so far that were no use of it
	visits       []*Visit      // that are still to come to it
	generation   uint64        // of the pool when the connect began
	backoffEpoch uint64        // of the backoff when the connect began
	expires      time.Duration // the end of its MaxLifetime; 0: none
	aliveAt      time.Duration // when it was last known to be alive
	proof        uint64        // the number of that moment, see Machine.proofs

	// The job under way.
	due       time.Duration // when it is overdue
	claimEnds time.Duration // until when a waiter waits for a reset before it has a connect
	waiter    *Waiter       // for which it is done; nil: nobody
	idleSince time.Duration // when the idling began that a check in the background does not end
	unclaimed int           // its place in jobs.unclaimed, from 1; 0: it is not there

	// A stay in the state idle or borrowed that a description has seen, and since when it
	// has lasted at the latest: see begun.
	seenStay uint64
	seenAt   time.Duration

	// Annotations of the lease. Most leases have none, see annotate.
	trace         Trace     // where the Get came from
	borrower      *Borrower // the actor that holds it
	borrowerIndex int       // in Borrower.slots

	groupPrev, groupNext *Slot // in the list of its group

	record uint64 // the number of its lease's record, see Recording
}

// Setting gives the setting on the slot's connection, nil if it is clean.
func (s *Slot) Setting() any {
	if s.group == nil {
		return nil
	}
	return s.group.setting
}

// uses is how many leases the connection has had, the present one included, without
// those that were no use of it.
func (s *Slot) uses() int {
	n := s.LeaseEpoch - s.unused
	if s.state != borrowed {
		n--
	}
	return int(min(n, math.MaxInt))
}

// simple says that nothing but the lists and counts changes when a lease of the slot
// ends.
func (s *Slot) simple() bool { return s.group == nil && !s.annotated }

// state is what is being done with a slot.
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

// bound is what bounds a job in time.
type bound uint8

const (
	boundConnect    bound = iota // ConnectTimeout
	boundReset                   // the same: a reset
	boundCheck                   // CheckTimeout: a check that a Get waits for
	boundDisconnect              // DisconnectTimeout
	boundGrace                   // the job was cancelled: closeGrace
	bounds
)

var states = [...]string{"vacant", "connecting", "checking", "resetting", "applying", "unapplying", "closing", "idle", "borrowed"}

func (s state) String() string { return states[s] }

// slotList is a doubly linked list of slots. The zero value is empty.
type slotList struct {
	head, tail *Slot
	n          int
	hint       *Slot // the last one that was inserted; the next one is often near it
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

// popHead removes the first one, of which there must be one.
func (l *slotList) popHead() {
	s := l.head
	if s == l.hint {
		l.hint = nil
	}
	l.head = s.next
	if s.next != nil {
		s.next.prev, s.next = nil, nil
	} else {
		l.tail = nil
	}
	l.n--
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

// settingGroup is the connections with one setting.
type settingGroup struct {
	setting any
	head    *Slot // the idle ones, newest first
	members int   // how many connections have the setting, idle or not
}

// insert puts s in its place: behind the next newer one of its group in
// lists.idleWithSetting, where s is already.
func (g *settingGroup) insert(s *Slot) {
	newer := s.prev
	for newer != nil && newer.group != g {
		newer = newer.prev
	}
	s.groupPrev, s.groupNext = newer, g.head
	if newer != nil {
		s.groupNext = newer.groupNext
		newer.groupNext = s
	} else {
		g.head = s
	}
	if s.groupNext != nil {
		s.groupNext.groupPrev = s
	}
}

func (g *settingGroup) remove(s *Slot) {
	if s.groupPrev != nil {
		s.groupPrev.groupNext = s.groupNext
	} else {
		g.head = s.groupNext
	}
	if s.groupNext != nil {
		s.groupNext.groupPrev = s.groupPrev
	}
	s.groupPrev, s.groupNext = nil, nil
}
