// The checks: what must hold after every step, whatever the input was.

package machine

import (
	"errors"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// The order of the waiters.

// checkFreed checks that a connection which comes free goes to the next waiter.
func (w *world) checkFreed(e Effect) {
	w.tb.Helper()
	f := w.freed
	if f == nil || f.next == nil || e.Slot != f.conn.slot {
		return
	}
	c, g := f.conn, f.next
	want := Grant
	switch {
	case c.setting == g.Setting:
	case c.setting == nil:
		want = Apply
	case w.cfg.Unapply:
		want = Unapply
	default:
		want = Disconnect
	}
	switch {
	case e.Kind != want:
		w.fail("%v of c%d with %v, which is for %s, which asks for %v", e.Kind, c.id, c.setting, g.name, g.Setting)
	case e.Kind == Grant && e.Waiter.Owner != any(g), e.Kind != Grant && jobFor(e.Slot) != g:
		w.fail("%v of c%d is not for %s", e.Kind, c.id, g.name)
	}
	f.next = nil
}

// checkOrder checks that the step has passed over no waiter.
func (w *world) checkOrder() {
	w.tb.Helper()
	if w.freed != nil && w.freed.next != nil {
		w.fail("c%d comes free, and %s does not get it", w.freed.conn.id, w.freed.next.name)
	}
	for _, g := range w.passedOver {
		if !g.ended() && g.slot == nil {
			w.fail("%s is passed over, and no job is under way for it", g.name)
		}
	}
	w.freed, w.passedOver = nil, nil
}

// Events.

// checkEvent checks one event against those before it.
func (w *world) checkEvent(e messages.Event) {
	w.tb.Helper()
	w.seq++
	if e.Seq != w.seq {
		w.fail("event %d follows event %d", e.Seq, w.seq-1)
	}
	if !e.Time.Equal(w.cfg.Start.Add(w.now)) && w.m.NeedsClock() {
		w.fail("%v has the time %v", e.Kind, e.Time)
	}
	switch e.Kind {
	case messages.CheckOutStarted, messages.CheckOutFailed, messages.CheckedOut, messages.CheckedIn:
		if w.cfg.EventLevel != AllEvents {
			w.fail("%v is emitted, and nobody listens", e.Kind)
		}
	}
	backoffOver := e.Kind == messages.PoolReady && e.Attempt > 0
	if w.cfg.EventLevel == RareEvents && e.Kind != messages.PoolBackoff && e.Kind != messages.LeaseLeaked && !backoffOver || w.cfg.EventLevel == NoEvents {
		w.fail("%v is emitted, and nobody listens", e.Kind)
	}
	if e.Generation != w.generation || e.Pool != w.cfg.Name {
		w.fail("%v is of pool %q, generation %d, not of generation %d", e.Kind, e.Pool, e.Generation, w.generation)
	}
	var c *conn
	if e.ConnID != 0 {
		c = w.conns[e.ConnID-1]
	}
	wrong := false
	switch e.Kind {
	case messages.ConnectionCreated:
		wrong = c.createdEvent
		c.createdEvent = true
	case messages.ConnectionReady:
		wrong = !c.createdEvent || c.readyEvent || c.closedEvent
		c.readyEvent = true
	case messages.ConnectionClosed:
		wrong = !c.createdEvent || c.closedEvent || e.Reason == 0
		c.closedEvent = true
	case messages.CheckedIn:
		wrong = !c.readyEvent || c.closedEvent
	case messages.LeaseLeaked:
		wrong = c.reported == c.leases || e.Err == nil && (c.holder == nil || e.Duration < w.cfg.LeakAfter) ||
			errors.Is(e.Err, messages.ErrLeaseExpired) && e.Duration < w.cfg.MaxLease
		c.reported = c.leases
	case messages.CheckOutStarted:
		w.checkOutsStarted++
	case messages.CheckedOut:
		wrong = !c.readyEvent || c.closedEvent
		w.checkOutsEnded++
	case messages.CheckOutFailed:
		wrong = e.Reason == 0
		if e.ConnID == 0 { // otherwise it was granted c, which is taken back
			w.checkOutsEnded++
		}
	}
	if wrong {
		w.fail("%v of c%d at the wrong time", e.Kind, e.ConnID)
	}
}

// Housekeeping.

// checkSweep checks what a tick has done to the connections that were idle before.
func (w *world) checkSweep(before []*conn) {
	w.tb.Helper()
	expired, checks := 0, 0
	for i, c := range before {
		switch {
		case c.job == Check && c.background:
			checks++
		case c.job != Disconnect:
			continue
		default:
			if !w.tooOld(c) {
				expired++
			}
			for _, o := range before[:i] {
				if o.idleSince < c.idleSince && o.job != Disconnect && (w.tooOld(o) || !w.tooOld(c)) {
					w.fail("c%d has expired before c%d, which has been idle for longer", c.id, o.id)
				}
			}
		}
	}
	for _, c := range w.idle {
		if len(before) <= batch && w.tooOld(c) {
			w.fail("c%d is past its lifetime, and idle after a tick", c.id)
		}
	}
	if expired > max(1, len(before)/2) || checks > max(1, len(before)/10) {
		w.fail("of %d idle connections %d expire and %d are checked at once", len(before), expired, checks)
	}
}

// checkOldLeases checks that a tick has reported and ended the leases that are out
// for too long.
func (w *world) checkOldLeases() {
	w.tb.Helper()
	for _, c := range w.conns {
		if w.cfg.LeakAfter > 0 && c.holder != nil && w.now >= after(c.lentAt, w.cfg.LeakAfter) && w.cfg.EventLevel != NoEvents && w.closedAt < 0 && c.reported != c.leases {
			w.fail("the lease of c%d is out for %v and has not been reported", c.id, w.now-c.lentAt)
		}
		if w.cfg.MaxLease > 0 && c.holder != nil && w.now >= after(c.lentAt, w.cfg.MaxLease) {
			w.fail("the lease of c%d is out for %v and has not been ended", c.id, w.now-c.lentAt)
		}
	}
}

// The state.

// checkState checks the state after a step: the machine's own invariants, the
// connections, the statistics, the watches of borrowers, and that no waiter is left
// without a reason.
func (w *world) checkState() {
	w.tb.Helper()
	if err := w.m.CheckInvariants(); err != nil {
		w.fail("the machine: %v", err)
	}
	w.checkConns()
	w.checkVisits()
	w.checkStats()
	w.checkWatches()
	if w.closedAt < 0 && !w.paused && !w.suspended {
		w.checkWaiters()
		w.checkBackground()
	}
}

// checkConns takes connections without a job or a holder to be idle, and checks that
// each of them may be.
func (w *world) checkConns() {
	w.tb.Helper()
	for _, c := range w.conns {
		isIdle := c.established && !c.ended && c.job == 0 && c.holder == nil
		if isIdle && !slices.Contains(w.idle, c) {
			w.becomesIdle(c)
		}
		if c.established && !c.ended && !c.givenUp && c.job != Disconnect && c.slot.Setting() != c.setting {
			w.fail("c%d has %v, and the machine says %v", c.id, c.setting, c.slot.Setting())
		}
		if isIdle && w.closedAt < 0 && c.slot.expires > 0 && (!w.tick.armed || w.tick.at > max(w.now, c.slot.expires)) {
			w.fail("c%d expires at %v, and the tick is armed (%v) for %v", c.id, c.slot.expires, w.tick.armed, w.tick.at)
		}
		if isIdle && (c.stale || w.closedAt >= 0) {
			w.fail("c%d is idle and must be closed", c.id)
		}
		if c.givenUp && c.established && !c.ended && c.job == 0 {
			w.fail("the job of c%d has come back after it was given up, and c%d is not closed", c.id, c.id)
		}
	}
}

// becomesIdle makes c idle. After a check in the background it keeps its place among
// the idle ones.
func (w *world) becomesIdle(c *conn) {
	// With a coarse clock the machine's time is a little earlier.
	if d := c.aliveAt - c.slot.aliveAt; (d < 0 || d > w.m.timers.coarseTick && !w.tickLate) && w.m.opts.needsClock {
		w.fail("c%d was alive at %v, and the machine says %v", c.id, c.aliveAt, c.slot.aliveAt)
	}
	c.aliveAt = c.slot.aliveAt
	at := len(w.idle)
	if c.background {
		at = slices.IndexFunc(append(w.idle[:at:at], c), func(o *conn) bool { return o.idleSince >= c.idleSince })
	} else {
		c.idleSince, c.idledAt = w.now, w.now
		if w.m.opts.needsClock {
			c.idleSince = c.slot.since
		}
	}
	c.background = false
	w.idle = slices.Insert(w.idle, at, c)
}

// checkStats compares Stats and the events with the model.
func (w *world) checkStats() {
	w.tb.Helper()
	st := w.m.Stats()
	if h := w.m.Health(); h.OK != w.canServe() || h.State != st.State {
		w.fail("a Get can be served: %v, and Health is %+v, Stats are %+v", w.canServe(), h, st)
	}
	switch {
	case w.counted() != st.Open+st.Connecting+st.Closing:
		w.fail("%d connections count, and Stats are %+v", w.counted(), st)
	case st.Grants != uint64(st.Borrowed)+st.Puts+st.Taints+st.Revoked+st.Hijacks || st.Hijacks != uint64(w.hijacks):
		w.fail("a grant is lost, or counted twice: %+v", st)
	case st.Open != st.Idle+st.Borrowed+st.InTransition:
		w.fail("Open is not the sum: %+v", st)
	case st.Idle != len(w.idle) || st.Borrowed != w.borrowed() || st.Waiting != len(w.queue) ||
		st.Connecting != w.running(Open) || st.Closing != w.running(Disconnect):
		w.fail("idle %d, borrowed %d, waiting %d, and Stats are %+v", len(w.idle), w.borrowed(), len(w.queue), st)
	case st.Generation != w.generation || st.Capacity != w.capacity:
		w.fail("generation %d, capacity %d, and Stats are %+v", w.generation, w.capacity, st)
	case st.Gets != uint64(w.gets) || st.Grants != uint64(w.grants) || st.Connects != uint64(len(w.conns)) ||
		st.Backoffs != uint64(w.backoffs):
		w.fail("%d Gets, %d grants, %d connects, %d backoffs, and Stats are %+v", w.gets, w.grants, len(w.conns), w.backoffs, st)
	case st.GrantedWaits > st.Waits || st.GrantedWaits > st.Grants || st.GrantedWaits == 0 && st.WaitTime > 0:
		w.fail("%d waits, %d of them served, which took %v, %d grants", st.Waits, st.GrantedWaits, st.WaitTime, st.Grants)
	case st.MinIdle != w.cfg.MinIdle || st.MaxIdle != w.maxIdle():
		w.fail("MinIdle %d, MaxIdle %d, and Stats are %+v", w.cfg.MinIdle, w.maxIdle(), st)
	case st.SettingSwitches != uint64(w.switches):
		w.fail("%d settings were put on a connection, and Stats are %+v", w.switches, st)
	case w.cfg.EventLevel == AllEvents && (w.checkOutsStarted != w.gets || w.checkOutsStarted-w.checkOutsEnded != len(w.queue)):
		w.fail("by the events %d check-outs have started and %d have ended, and %d wait", w.checkOutsStarted, w.checkOutsEnded, len(w.queue))
	}
}

// checkWatches checks that a borrower is watched while it has something at stake.
func (w *world) checkWatches() {
	w.tb.Helper()
	for _, b := range w.actors {
		waits := slices.ContainsFunc(w.queue, func(g *get) bool { return g.actor == b })
		holds := slices.ContainsFunc(w.conns, func(c *conn) bool { return c.holder != nil && c.holder.actor == b })
		if b.watched != (waits || holds) {
			w.fail("%s is watched: %v, waits: %v, holds a connection: %v", b.name, b.watched, waits, holds)
		}
	}
}

// checkWaiters checks that each waiter has something to wait for.
func (w *world) checkWaiters() {
	w.tb.Helper()
	if w.deadlocked() {
		w.fail("a deadlock, and no wait has failed")
	}
	for _, g := range w.queue {
		if w.hopeless(g) {
			w.fail("%s waits until %v, and nothing can happen before %v", g.name, g.Deadline, w.backoff.at)
		}
		if g.slot != nil {
			c := w.current[g.slot]
			if c == nil || c.job == 0 || c.givenUp || jobFor(g.slot) != g {
				w.fail("%s waits for a job that is not under way", g.name)
			}
			if c.job == Reset {
				w.checkClaim(g, c)
			}
			if c.job == Check && g.paid {
				w.fail("%s has waited for a check in vain, and waits for that of c%d", g.name, c.id)
			}
			continue
		}
		switch {
		case slices.ContainsFunc(w.idle, func(c *conn) bool { return w.allows(g, c) && w.canBecome(c, g) }):
			w.fail("%s waits while c%d is idle", g.name, w.idle[0].id)
		case w.mayConnect():
			w.fail("%s waits while a connect is allowed", g.name)
		case w.backoff.armed && w.cfg.Backoff.Mode == BackoffFailFast:
			w.fail("%s waits in a blocking period that fails fast", g.name)
		}
	}
}

// checkClaim checks that a Get may wait for the reset of a connection (P8).
func (w *world) checkClaim(g *get, c *conn) {
	w.tb.Helper()
	if g.reset == nil {
		g.reset, g.resetEnds = c, after(w.now, max(w.connectTook, time.Millisecond))
	}
	switch {
	case g.reset != c:
		w.fail("%s waits for the reset of c%d, and has waited for that of c%d", g.name, c.id, g.reset.id)
	case c.stale || c.setting != nil && c.setting != g.Setting && !w.cfg.ResetWipes:
		w.fail("%s asks for %v and waits for the reset of c%d, which has %v", g.name, g.Setting, c.id, c.setting)
	case !w.tick.armed || w.tick.at > max(w.now, g.resetEnds):
		w.fail("%s waits for the reset of c%d until %v, and the tick is armed (%v) for %v", g.name, c.id, g.resetEnds, w.tick.armed, w.tick.at)
	}
}

// checkBackground checks that KeepAlive, MinIdle and MinOpen are kept.
func (w *world) checkBackground() {
	w.tb.Helper()
	for _, c := range w.idle {
		if w.suspect(c) && w.backgroundChecks(nil) == 0 && (!w.tick.armed || w.tick.at > w.now) {
			w.fail("c%d is a suspect, and is not checked: the tick is armed (%v) for %v", c.id, w.tick.armed, w.tick.at)
		}
	}
	if w.cfg.KeepAlive > 0 && !w.backoff.armed && w.backgroundChecks(nil) == 0 {
		for _, c := range w.idle {
			latest := after(max(w.now, w.keepAliveDue(c)), max(w.cfg.KeepAlive/10, time.Millisecond))
			if latest != never && (!w.tick.armed || w.tick.at > latest) {
				w.fail("c%d is to be checked at %v, and the tick is armed (%v) for %v", c.id, w.keepAliveDue(c), w.tick.armed, w.tick.at)
			}
		}
	}
	if len(w.queue) == 0 && len(w.idle)+w.running(Open)+w.inTransition() < w.cfg.MinIdle && w.mayConnect() &&
		(w.cfg.MaxConnecting > 0 || w.unclaimedConnects(nil) < 2) &&
		w.now >= w.m.backgroundAfter && (!w.tick.armed || w.tick.at > w.now) {
		w.fail("%d idle, MinIdle is %d, and no connect begins", len(w.idle), w.cfg.MinIdle)
	}
	if len(w.queue) == 0 && w.coming() < w.cfg.MinOpen && w.mayConnect() && (w.cfg.MaxConnecting > 0 || w.unclaimedConnects(nil) < 2) &&
		w.now >= w.m.backgroundAfter && (!w.tick.armed || w.tick.at > w.now) {
		w.fail("%d stand or come, MinOpen is %d, and no connect begins", w.coming(), w.cfg.MinOpen)
	}
}
