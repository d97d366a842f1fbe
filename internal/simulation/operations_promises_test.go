package simulation_test

import (
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// nothingIsForgotten checks, while all is quiet, that nobody waits for something that
// could be done at once. The end of a run does not show that: the operations that end it
// make the pool look at everything again.
func (o *operations) nothingIsForgotten(st *client.Stats) {
	if o.closing.Load() {
		return
	}
	counted := st.Open + st.Connecting + st.Closing
	jobs := st.Connecting + st.InTransition // each is for one waiter, or for nobody
	if o.cfg.Apply != nil {
		jobs += st.Closing // so that one without a setting can be opened
	}
	connects := o.cfg.MaxConnecting
	if connects == 0 {
		connects = 2
	}
	serving := o.suspensions.Load()%2 == 0 && st.State == messages.StateReady && st.Backoffs == 0
	switch {
	case o.resizes > 0 && counted <= st.Capacity:
		o.fail("a SetCapacity has not returned: %+v", st)
	case o.readies > 0 && st.Open >= max(1, min(o.cfg.MinIdle, st.Capacity)):
		o.fail("a Ready has not returned: %+v", st)
	case serving && st.Waiting > jobs && st.Idle > 0 && !o.checksFailed:
		o.fail("%d wait while connections are idle: %+v", st.Waiting, st)
	case serving && st.Waiting > jobs && st.Connecting < connects && counted < st.Capacity:
		o.fail("%d wait while a connect is allowed: %+v", st.Waiting, st)
	case serving && !o.troubled && jobs == 0 && st.Idle < o.cfg.MinIdle && counted < st.Capacity:
		o.fail("fewer than MinIdle are idle, and none is opened: %+v", st)
	}
	if n, age := o.oldestIdle(); o.cfg.MaxLifetime > 0 && age > o.cfg.MaxLifetime {
		o.fail("connection %d is idle at the age of %v", n, age)
	}
}

// oldestIdle gives the oldest connection that is open and that nobody uses, and its age.
func (s *opsServer) oldestIdle() (n int, age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.isIdle() {
			return c.n, time.Since(c.born)
		}
	}
	return 0, 0
}
