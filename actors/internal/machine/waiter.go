// Waiters: Gets on their way to an answer, and the queue; and control requests that
// wait.

package machine

import "time"

// Waiter is one Get, from its arrival to its answer. The shell owns it, sets the
// exported fields, and may use it again once it has been answered.
type Waiter struct {
	// Owner is what the shell keeps for the Get.
	Owner any
	// Label says what the connection is for.
	Label string
	// Setting is the setting that is asked for, nil for a clean connection. It is
	// compared with ==, so its type must be comparable.
	Setting any
	// Deadline is the caller's, in the machine's time; 0: none. The machine does not
	// enforce it: it only rejects a Get early that cannot meet it (G9).
	Deadline time.Duration
	// Borrower is the actor that borrows; nil: none that can be watched. A Get with
	// a Borrower must not use the fast paths.
	Borrower *Borrower
	// Trace says where the Get came from; nil: unknown.
	Trace Trace

	queued        bool
	position      int           // the place in the queue that it was given, from 1
	since         time.Duration // when it was queued
	overtaken     int           // how often a later waiter was served first, for its setting (G7)
	slot          *Slot         // the slot whose job is under way for it
	held          []HeldLease   // what its own caller holds meanwhile
	borrowerIndex int           // in Borrower.waits
	prev, next    *Waiter       // in the queue
}

// simple says that nothing else has to change when the waiter is granted a connection.
func (w *Waiter) simple() bool { return w.slot == nil && w.Borrower == nil && w.held == nil }

// holdsLease says whether the waiter's caller holds a connection meanwhile.
func (w *Waiter) holdsLease() bool {
	for _, h := range w.held {
		if h.out() {
			return true
		}
	}
	return false
}

// waiterList is a list of Gets that wait, in order of arrival.
type waiterList struct {
	head, tail  *Waiter
	n           int
	withSetting int // how many ask for a setting
	unstarted   int // how many have no job under way for them
}

// push adds a waiter at the end.
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
		l.withSetting++
	}
	w.position, w.overtaken = l.n, 0
}

// remove takes a waiter out. No job may be assigned to it any more.
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
		l.withSetting--
	}
}

// firstUnstarted finds the first waiter without a job under way. Each waiter before
// it has a job, so the walk is no longer than the number of jobs.
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

// Ticket is a control request that waits: a SetCapacity or a Close until the pool has
// drained, a Ready until connections stand. The shell owns it.
type Ticket struct {
	// Owner is what the shell keeps for the request.
	Owner any

	op         op
	pending    bool
	prev, next *Ticket
}

// op is what a Ticket asks for.
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
