package simulation_test

import (
	"sync"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// opsEvents counts the events of a pool by kind, and its closings and failed Gets by
// reason.
type opsEvents struct {
	mu sync.Mutex
	*eventCounts
	pauses   bool // PauseOnClear: a Clear of a paused pool is no event
	kinds    [messages.CapacityChanged + 1]uint64
	closed   [messages.ReasonHijacked + 1]uint64
	failed   [messages.ReasonHijacked + 1]uint64
	declined uint64
}

func (c *opsEvents) observe(e messages.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eventCounts.observe(e)
	c.kinds[e.Kind]++
	switch e.Kind {
	case messages.ConnectionClosed:
		c.closed[e.Reason]++
	case messages.CheckOutFailed:
		c.failed[e.Reason]++
		if e.ConnID != 0 { // it was granted a connection as its context ended, and declined it
			c.declined++
		}
	}
}

// agree fails the test if the events do not add up to a snapshot. closing: a Close has
// begun, and a connection that it closes is counted nowhere.
func (c *opsEvents) agree(st client.Stats, closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete() || st.DroppedEvents > 0 {
		c.fail("%d events are missing, %d were dropped", c.missed, st.DroppedEvents)
		return
	}
	for _, count := range []struct {
		what          string
		events, stats uint64
	}{
		{"Gets", c.kinds[messages.CheckOutStarted], st.Gets},
		{"Gets that have ended", c.kinds[messages.CheckedOut] + c.kinds[messages.CheckOutFailed] - c.declined, st.Gets - uint64(st.Waiting)},
		{"Grants", c.kinds[messages.CheckedOut] - c.declined, st.Grants},
		{"returns", c.kinds[messages.CheckedIn] - c.declined, st.Puts + st.Taints + st.Hijacks},
		{"Hijacks", c.closed[messages.ReasonHijacked], st.Hijacks},
		{"Connects", c.kinds[messages.ConnectionCreated], st.Connects},
		{"Backoffs", c.kinds[messages.PoolBackoff], st.Backoffs},
		{"Generation", c.kinds[messages.PoolCleared], st.Generation},
		{"Leaks", c.kinds[messages.LeaseLeaked], st.Leaks},
		{"Timeouts", c.failed[messages.ReasonTimeout], st.Timeouts},
		{"Cancels", c.failed[messages.ReasonCanceled], st.Cancels},
	} {
		if c.pauses && count.what == "Generation" {
			continue
		}
		if count.events != count.stats {
			c.fail("%s: %d by the events, %d in %+v", count.what, count.events, count.stats, st)
		}
	}
	// A connection that a Clear made stale while it was opened is never ready. If its
	// connect fails, the event says stale, and Stats counts a ConnectError.
	var closed uint64
	for _, n := range c.closed {
		closed += n
	}
	ended := st.ConnectErrors + st.ClosedStale + st.ClosedIdle + st.ClosedLifetime + st.ClosedCapacity + st.ClosedBroken + st.ClosedUses + st.Hijacks
	succeeded := st.Connects - st.ConnectErrors - uint64(st.Connecting)
	switch {
	case c.kinds[messages.ConnectionReady] > succeeded:
		c.fail("%d connections were ready: %+v", c.kinds[messages.ConnectionReady], st)
	case c.closed[messages.ReasonStale] < st.ClosedStale, c.closed[messages.ReasonIdle] != st.ClosedIdle,
		c.closed[messages.ReasonLifetime] != st.ClosedLifetime, c.closed[messages.ReasonUses] != st.ClosedUses, c.closed[messages.ReasonCapacity] < st.ClosedCapacity:
		c.fail("closings by reason: %v, %+v", c.closed, st)
	case !closing && (closed < ended || closed > ended+uint64(st.Connecting+st.InTransition)): // a function that is interrupted ends later
		c.fail("%d closings: %+v", closed, st)
	}
}
