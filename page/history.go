package page

import (
	"iter"
	"time"

	"github.com/actorpool/actorpool/messages"
)

const (
	kept   = 300 // samples: five minutes
	lately = time.Minute
)

// sample is what the charts and the sentences remember of one second.
type sample struct {
	at                                                      time.Time
	idle, borrowed, inTransition, connecting, closing, room int
	waiting                                                 int
	gets, timeouts, sheds, deadlocks, revoked               uint64
}

// history is the samples of the last five minutes, in a ring.
type history struct {
	ring  []sample
	next  int
	state string    // of the pool, where backoff and probing are one
	since time.Time // when state became what it is
	exact bool      // the page has seen it become so
}

func (h *history) add(now time.Time, s messages.Stats) {
	if state := trouble(s.State); state != h.state {
		h.exact, h.state, h.since = h.state != "", state, now
	}
	x := sample{
		at: now, idle: s.Idle, borrowed: s.Borrowed, inTransition: s.InTransition, connecting: s.Connecting, closing: s.Closing,
		room: s.Capacity, waiting: s.Waiting, gets: s.Gets, timeouts: s.Timeouts, sheds: s.Sheds, deadlocks: s.Deadlocks,
		revoked: s.Revoked,
	}
	if len(h.ring) < kept {
		h.ring = append(h.ring, x)
		return
	}
	h.ring[h.next] = x
	h.next = (h.next + 1) % kept
}

// trouble gives the state of a pool, with backoff and probing, which take turns, as one.
func trouble(state string) string {
	if state == messages.StateProbing {
		return messages.StateBackoff
	}
	return state
}

// samples gives the samples, oldest first.
func (h *history) samples() iter.Seq[*sample] {
	return func(yield func(*sample) bool) {
		for i := range h.ring {
			if !yield(&h.ring[(h.next+i)%len(h.ring)]) {
				return
			}
		}
	}
}

// counts are what has happened in the last minute, or since the page has watched.
type counts struct{ timeouts, sheds, deadlocks, revoked uint64 }

func (h *history) counts(now time.Time, s messages.Stats) counts {
	for x := range h.samples() {
		if now.Sub(x.at) <= lately {
			return counts{
				timeouts: since(s.Timeouts, x.timeouts), sheds: since(s.Sheds, x.sheds), deadlocks: since(s.Deadlocks, x.deadlocks),
				revoked: since(s.Revoked, x.revoked),
			}
		}
	}
	return counts{}
}

// since is how much a counter has grown. Stats of another moment may be a little older.
func since(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

// chart is the history as the page draws it: a column for each line.
type chart struct {
	Ago        []float64 `json:"ago"` // seconds
	Idle       []int     `json:"idle"`
	Borrowed   []int     `json:"borrowed"`
	Transition []int     `json:"transition"`
	Connecting []int     `json:"connecting"`
	Closing    []int     `json:"closing"`
	Capacity   []int     `json:"capacity"`
	Waiting    []int     `json:"waiting"`
	Gets       []float64 `json:"gets"` // in a second
}

func (h *history) chart(now time.Time) chart {
	var c chart
	var last *sample
	for x := range h.samples() {
		rate := 0.0
		if last != nil && x.at.After(last.at) {
			rate = float64(since(x.gets, last.gets)) / x.at.Sub(last.at).Seconds()
		}
		c.Ago = append(c.Ago, now.Sub(x.at).Seconds())
		c.Idle, c.Borrowed, c.Transition = append(c.Idle, x.idle), append(c.Borrowed, x.borrowed), append(c.Transition, x.inTransition)
		c.Connecting, c.Closing, c.Capacity = append(c.Connecting, x.connecting), append(c.Closing, x.closing), append(c.Capacity, x.room)
		c.Waiting, c.Gets = append(c.Waiting, x.waiting), append(c.Gets, rate)
		last = x
	}
	return c
}
