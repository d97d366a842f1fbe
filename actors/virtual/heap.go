package virtual

import "time"

// event is something that will happen.
type event struct {
	at    time.Duration
	order uint64 // of its making, among those of the same time
	n     uint64 // an epoch or turn, by which an event that has lost its meaning is known
	what  what
	of    any // a *Get, a *connector, a *second or a func()
}

// what is a kind of event.
type what uint8

const (
	call     what = iota // a func() of the caller
	arrive               // a Get comes
	deadline             // the deadline of a Get that waits
	cancel               // the caller of a Get that waits leaves
	holds                // the caller of a Get that waits holds connections
	giveBack             // the end of a lease
	again                // a second return of a lease
	report               // the end of a job
	backoff              // the timer of the backoff
	tick                 // the timer of the housekeeping
)

// events is a heap with four children for each node: it is flatter than one with two.
type events struct {
	heap []event
	made uint64
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (q *events) push(e event) {
	q.made++
	e.order = q.made
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// pop takes out the first event, of which there must be one.
func (q *events) pop() event {
	first, n := q.heap[0], len(q.heap)-1
	last := q.heap[n]
	q.heap[n] = event{}
	q.heap = q.heap[:n]
	if n == 0 {
		return first
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		for c := child + 1; c < min(child+4, n); c++ {
			if q.heap[c].before(&q.heap[child]) {
				child = c
			}
		}
		if !q.heap[child].before(&last) {
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	q.heap[i] = last
	return first
}
