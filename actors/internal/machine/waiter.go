package machine

import "time"

// Waiter is one Get, from its arrival to its answer. The outside owns it, sets
// the exported fields, and may use it again once it has been answered.
type Waiter struct {
	// Owner is what the outside keeps for the Get.
	Owner any
	// Label says what the connection is for.
	Label string
	// Setting is the setting that is asked for, nil for a clean connection. It is
	// compared with ==, so its type must be comparable.
	Setting any
	// Deadline is the caller's, in the machine's time; 0: none. The machine
	// does not enforce it: it only tells early when it cannot be met (G9).
	Deadline time.Duration
	// Borrower is the actor that borrows; nil: nobody who can be watched. It is
	// not for the hot halves.
	Borrower *Borrower
	// Trace says where the Get came from; nil: unknown.
	Trace Trace

	queued     bool
	overtaken  int           // how often a later one was served first, for its setting
	position   int           // the place in the queue it was given, from 1
	since      time.Duration // when it was queued
	slot       *Slot         // the connect or check under way for it
	ties       []Tie         // what its own caller holds meanwhile
	place      int           // in Borrower.waits
	prev, next *Waiter
}

// waiterList is the queue of Gets that wait, in order of arrival.
type waiterList struct {
	head, tail *Waiter
	n          int
	fussy      int // those that ask for a setting
	unstarted  int // those for which no connect or check is under way
}

func (l *waiterList) push(w *Waiter) {
	w.prev, w.next, w.queued = l.tail, nil, true
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
	l.n++
	l.unstarted++
	if w.Setting != nil {
		l.fussy++
	}
	w.position, w.overtaken = l.n, 0
}

// remove takes w out of the queue. Its slot must have been unassigned.
func (l *waiterList) remove(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	l.n--
	l.unstarted--
	if w.Setting != nil {
		l.fussy--
	}
}

// firstUnstarted finds the first waiter without a job under way. Those before
// it have one each, so the walk is no longer than the connects and checks
// under way.
func (l *waiterList) firstUnstarted() *Waiter {
	if l.unstarted == 0 {
		return nil
	}
	w := l.head
	for w.slot != nil {
		w = w.next
	}
	return w
}

// Ticket is a control request that waits: a SetCapacity or Close that drains,
// a Ready. The outside owns it.
type Ticket struct {
	// Owner is what the outside keeps for the request.
	Owner any

	op         op
	pending    bool
	prev, next *Ticket
}

type op uint8

const (
	opNone op = iota
	opSetCapacity
	opClose
	opReady
)

// ticketList is a list of tickets of one kind.
type ticketList struct{ head, tail *Ticket }

func (l *ticketList) push(t *Ticket, o op) {
	t.prev, t.next, t.op, t.pending = l.tail, nil, o, true
	if l.tail != nil {
		l.tail.next = t
	} else {
		l.head = t
	}
	l.tail = t
}

func (l *ticketList) remove(t *Ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next, t.pending = nil, nil, false
}
