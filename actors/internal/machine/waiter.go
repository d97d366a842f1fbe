// Waiters: Gets on their way to an answer, and the queue; and control requests that
// wait.

package machine

import "time"

// Waiter is one Get, from its arrival to its answer. The shell owns it, sets the
// exported fields, and may use it again once it has been answered.
type Waiter struct {
	// What a wait that ends with a connection touches: see TestTheHotFieldsLieOnFewLines.
	prev, next           *Waiter // in the queue
	groupPrev, groupNext *Waiter
	group                *waiterGroup  // the waiters that ask for the same setting
	since                time.Duration // when it was queued
	waited               time.Duration // until it was granted a connection
	queued               bool
	waits                bool  // it is counted in Waits; meaningless while position is 0
	paid                 bool  // a check that it waited for has failed: it waits for no other (G13)
	claimed              bool  // it has had a reset to wait for, or a connect: it waits for no reset any more (P8)
	position             int32 // the place in the queue that it was given, from 1; 0: it never waited

	slot *Slot       // the slot whose job is under way for it
	held []HeldLease // what its own caller holds meanwhile
	// Borrower is the actor that borrows; nil: none that can be watched. A Get with
	// a Borrower must not use the fast paths.
	Borrower *Borrower
	// Deadline is when the wait must end, in the machine's time; 0: none. It is the
	// caller's deadline, less Config.Reserve. The machine arms no timer for it. It
	// ends a wait early that cannot meet it (G9), and grants nothing after it (G11).
	Deadline time.Duration
	// Label says what the connection is for.
	Label string

	// Setting is the setting that is asked for, nil for a clean connection. It is
	// compared with ==, so its type must be comparable.
	Setting   any
	overtakes int // see waiterList.overtake
	// Reserve is what has been taken off the caller's deadline (G15); 0: nothing.
	Reserve time.Duration
	// Timeout makes a Deadline for a Get that has to wait and has none (G16); 0: none.
	Timeout time.Duration
	// Trace says where the Get came from; nil: unknown.
	Trace Trace
	// Session is the number of whoever asks, for a recording; 0: unknown.
	Session       uint64
	borrowerIndex int    // in Borrower.waits
	record        uint64 // the number of its record, see Recording

	// Owner is what the shell keeps for the Get. It is the last: what the shell keeps beside
	// a waiter may be on the same line.
	Owner any
}

// ServedAtOnce says that the Get of this waiter was served by TryGet with another one.
func (w *Waiter) ServedAtOnce() { w.position = 0 }

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

// waiterList is a list of Gets that wait, in order of arrival. The waiters that ask
// for one setting are also in the list of their group, so that the first of them is
// found behind any number of others (G14).
type waiterList struct {
	head, tail  *Waiter
	n           int
	withSetting int                  // how many ask for a setting
	unstarted   int                  // how many have no job under way for them
	clean       waiterGroup          // those that ask for no setting
	groups      map[any]*waiterGroup // the others, by setting; without empty ones
	overtaken   int                  // how often the head has been overtaken
	busySince   time.Duration        // when the first waiter came to the empty list; meaningless while it is empty

	// chosen is the waiter that was taken out last, until its answer stands in an
	// effect or has been given: a turn that fails in between must not forget it (T2).
	chosen *Waiter
}

// waiterGroup is the waiters that ask for one setting, in order of arrival.
type waiterGroup struct{ head, tail *Waiter }

// groupOf is the group of a setting, which is made if there is none.
func (l *waiterList) groupOf(setting any) *waiterGroup {
	if setting == nil {
		return &l.clean
	}
	g := l.groups[setting]
	if g == nil {
		if l.groups == nil {
			l.groups = make(map[any]*waiterGroup)
		}
		g = &waiterGroup{}
		l.groups[setting] = g
	}
	return g
}

// firstWith is the first waiter that asks for exactly this setting.
func (l *waiterList) firstWith(setting any) *Waiter {
	if setting == nil {
		return l.clean.head
	}
	if g := l.groups[setting]; g != nil {
		return g.head
	}
	return nil
}

// overtake notes that w is served before the waiters ahead of it. Each of them has
// then been overtaken once more. The number of times is the sum of overtakes of a
// waiter and of those behind it, so the head's is the greatest: it alone is asked
// for, and kept in overtaken.
func (l *waiterList) overtake(w *Waiter) {
	if w.prev != nil {
		w.prev.overtakes++
		l.overtaken++
	}
}

// push adds a waiter at the end.
func (l *waiterList) push(w *Waiter) {
	if l.n == 0 {
		l.busySince = w.since
	}
	w.prev, w.next, w.queued = l.tail, nil, true
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
	l.n++
	l.unstarted++
	w.position, w.overtakes, w.paid, w.claimed = int32(l.n), 0, false, false
	if w.Setting != nil {
		l.withSetting++
	}
	g := l.groupOf(w.Setting)
	w.group, w.groupPrev, w.groupNext = g, g.tail, nil
	if g.tail != nil {
		g.tail.groupNext = w
	} else {
		g.head = w
	}
	g.tail = w
}

// pushFirst adds a waiter at the head. It keeps the place that it was given, and counts
// as overtaken as often as those behind it. The list may have been empty since the waiter
// came for the first time.
func (l *waiterList) pushFirst(w *Waiter, now time.Duration) {
	if l.n == 0 {
		l.busySince = now
	}
	w.prev, w.next, w.queued = nil, l.head, true
	if l.head != nil {
		l.head.prev = w
	} else {
		l.tail = w
	}
	l.head = w
	l.n++
	l.unstarted++
	if w.Setting != nil {
		l.withSetting++
	}
	if w.position == 0 { // it is new in the queue
		w.position, w.paid, w.claimed = 1, false, false
	}
	w.overtakes = 0
	g := l.groupOf(w.Setting)
	w.group, w.groupPrev, w.groupNext = g, nil, g.head
	if g.head != nil {
		g.head.groupPrev = w
	} else {
		g.tail = w
	}
	g.head = w
}

// remove takes a waiter out. No job may be assigned to it any more.
func (l *waiterList) remove(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
		w.prev.overtakes += w.overtakes
	} else {
		l.head = w.next
		l.overtaken -= w.overtakes
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	l.chosen = w
	l.n--
	l.unstarted--
	g := w.group
	if w.groupPrev != nil {
		w.groupPrev.groupNext = w.groupNext
	} else {
		g.head = w.groupNext
	}
	if w.groupNext != nil {
		w.groupNext.groupPrev = w.groupPrev
	} else {
		g.tail = w.groupPrev
	}
	w.group, w.groupPrev, w.groupNext = nil, nil, nil
	if w.Setting != nil {
		l.withSetting--
		if g.head == nil {
			delete(l.groups, w.Setting)
		}
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
	target     int // opReady: how many connections must stand; 0: MinIdle
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
