package actors

import "sync/atomic"

// handover is how the answer of a Get gets from the pool actor to its caller. The
// answer itself stands in the getRequest; the handover settles who may read it,
// and when.
//
// There are three ways, from the cheapest to the dearest:
//
//	direct  The pool actor runs on the caller's goroutine and answers there and
//	        then: two plain writes, no synchronisation.
//	queued  The pool actor runs on the caller's goroutine and puts the Get in the
//	        queue. The answer is sure to come later, at the pool's end if not
//	        before, so the caller sleeps until it is woken.
//	raced   The pool actor runs on another goroutine. The answer and the caller,
//	        which wants to sleep until it comes, race: the atomic says which was first.
//
// A handover is used again and again, with its request. It has a channel, so it
// stays with its pool: a channel made in a testing/synctest bubble must not leave it.
type handover struct {
	way   handoverWay // written on the caller's goroutine only
	race  atomic.Uint32
	wakes chan struct{} // of capacity 1
}

type handoverWay uint8

const (
	raced handoverWay = iota
	queued
	answeredDirectly
)

// The values of race.
const (
	pending  uint32 = iota
	asleep          // the caller sleeps, and must be woken
	answered        // the answer stands
)

func newHandover() handover { return handover{wakes: make(chan struct{}, 1)} }

// answer says that the answer stands. direct: this is the caller's goroutine. The
// pool actor must not touch the request afterwards.
func (h *handover) answer(direct bool) {
	switch {
	case direct:
		h.way = answeredDirectly
	case h.way == queued, h.race.Swap(answered) == asleep:
		h.wakes <- struct{}{}
	}
}

// wasDirect says that the answer stands already, without a wait.
func (h *handover) wasDirect() bool {
	if h.way != answeredDirectly {
		return false
	}
	h.way = raced
	return true
}

// sleeps says that the caller has to wait for wakes. False: the answer has come in
// between.
func (h *handover) sleeps() bool {
	return h.way == queued || h.race.CompareAndSwap(pending, asleep)
}

// abandon gives the answer up, because the pool has ended. True: it stood already.
func (h *handover) abandon() bool { return h.race.Swap(answered) == answered }

// reset makes the handover ready for the next Get, after an answer that was not
// direct.
func (h *handover) reset() {
	if h.way == queued {
		h.way = raced
	} else {
		h.race.Store(pending)
	}
}
