package simulation_test

import "github.com/actorpool/actorpool/messages"

// eventCounts is what the events of a pool add up to. The event handler writes
// it, on one goroutine; it is read when the pool has ended.
type eventCounts struct {
	fail func(format string, args ...any)

	seq, missed    uint64 // the last number, and how many are missing before it
	started, ended int    // check-outs
	open           map[uint64]bool
}

func newEventCounts(fail func(string, ...any)) *eventCounts {
	return &eventCounts{fail: fail, open: make(map[uint64]bool)}
}

func (c *eventCounts) observe(e messages.Event) {
	c.missed += e.Seq - c.seq - 1
	c.seq = e.Seq
	switch e.Kind {
	case messages.CheckOutStarted:
		c.started++
	case messages.CheckedOut:
		c.ended++
	case messages.CheckOutFailed:
		if e.ConnID == 0 { // otherwise its CheckedOut has been counted
			c.ended++
		}
	case messages.ConnectionCreated:
		c.open[e.ConnID] = true
	case messages.ConnectionClosed:
		if !c.open[e.ConnID] && c.missed == 0 {
			c.fail("connection %d is closed and was not open", e.ConnID)
		}
		delete(c.open, e.ConnID)
	}
}

// complete says whether no event was missed, so that the counts are exact.
func (c *eventCounts) complete() bool { return c.missed == 0 }
