package actors

import (
	"sync"
	"sync/atomic"
)

// outbox is how the pool actor runs what is not its own: a message to an actor of the
// user, whose mailbox may run it on the sender's goroutine; a dead letter, whose
// subscribers run there, too; a record for a log handler. On the pool's turn such code
// could hang the pool or fail it (T1).
//
// There is one queue for each recipient, which keeps the order. A goroutine of its own
// runs it and ends when the queue is empty, so a recipient that blocks delays only
// what is for itself. Nobody waits for that goroutine, the end of the pool neither.
type outbox struct{ queues sync.Map } // of *outQueue, by recipient

// outQueue is the actions for one recipient. Its list is the newest first, and is
// sealed when its goroutine ends: then the recipient needs a new queue.
type outQueue struct{ newest atomic.Pointer[outItem] }

type outItem struct {
	do   func()
	next *outItem
}

// sealed stands in the list of a queue that takes nothing any more.
var sealed = &outItem{}

// send runs an action after all earlier ones for the same recipient. It does not wait.
func (o *outbox) send(recipient string, do func()) {
	item := &outItem{do: do}
	for {
		q, found := o.queues.Load(recipient)
		if !found {
			q, found = o.queues.LoadOrStore(recipient, &outQueue{})
		}
		queue := q.(*outQueue)
		if queue.push(item) {
			if !found {
				go o.run(recipient, queue)
			}
			return
		}
		o.queues.CompareAndDelete(recipient, queue) // its goroutine is about to do so
	}
}

// push adds an item. False: the queue is sealed.
func (q *outQueue) push(item *outItem) bool {
	for {
		item.next = q.newest.Load()
		if item.next == sealed {
			return false
		}
		if q.newest.CompareAndSwap(item.next, item) {
			return true
		}
	}
}

// take removes all items and gives them, oldest first.
func (q *outQueue) take() (oldest *outItem) {
	for item := q.newest.Swap(nil); item != nil; {
		item, item.next, oldest = item.next, oldest, item
	}
	return oldest
}

// run runs the items of a queue until it is empty.
func (o *outbox) run(recipient string, q *outQueue) { o.runFrom(recipient, q, nil) }

// runFrom runs the items from next on, then those of the queue. An action that panics
// or ends its goroutine takes nothing with it.
func (o *outbox) runFrom(recipient string, q *outQueue, next *outItem) {
	finished := false
	defer func() {
		if !finished {
			_ = recover() // the panic is the recipient's, which nobody here can report to
			go o.runFrom(recipient, q, next)
		}
	}()
	for {
		if next == nil {
			next = q.take()
		}
		if next == nil {
			if q.newest.CompareAndSwap(nil, sealed) {
				break
			}
			continue
		}
		item := next
		next = item.next
		item.do()
	}
	finished = true
	o.queues.CompareAndDelete(recipient, q)
}
