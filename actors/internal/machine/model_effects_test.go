// The effects: what the machine decides is done in the model. The test fails if the
// model says that it is impossible.

package machine

import (
	"errors"
	"slices"

	"github.com/actorpool/actorpool/messages"
)

// perform does in the model what an effect says.
func (w *world) perform(e Effect) {
	w.tb.Helper()
	if w.stopped > 0 && e.Kind != Reject && e.Kind != Answer && (e.Kind != Visited || e.Slot != nil) {
		w.fail("%v after the end", e.Kind)
	}
	switch e.Kind {
	case Open:
		w.open(e.Slot)
	case Check, Reset, Apply, Unapply, Disconnect:
		w.beginJob(e)
	case Interrupt:
		c := w.current[e.Slot]
		if c == nil || c.job == 0 {
			w.fail("Interrupt of a slot without a job")
		}
		if w.lowering {
			w.checkCancel(c)
		}
	case Revoke:
		c := w.current[e.Slot]
		if c == nil || c.holder == nil || c.holder.lease.epoch != e.Epoch {
			w.fail("Revoke of a lease that is not out")
		}
		c.holder = nil
	case Retire:
		if c := w.current[e.Slot]; c != nil && !c.ended || w.retired[e.Slot] {
			w.fail("Retire of a slot in use")
		}
		w.retired[e.Slot] = true
	case Watch:
		b := e.Borrower.Owner.(*borrower)
		if b.watched {
			w.fail("%s is watched already", b.name)
		}
		b.watched = true
	case Unwatch:
		b := e.Borrower.Owner.(*borrower)
		if !b.watched {
			w.fail("%s is not watched", b.name)
		}
		b.watched = false
	case Grant:
		w.grantWaiter(e)
	case Reject:
		w.reject(e)
	case Answer:
		w.answer(e.Ticket, e.Err)
	case Visited:
		w.visited(e)
	case Recorded:
		if w.recording == nil || w.recording.over {
			w.fail("a recording is over that is not under way")
		}
		w.recording.over = true
	case ArmBackoff:
		if w.backoff.armed || e.Epoch <= w.backoff.epoch || e.At < w.now || e.Generation != w.generation || w.closedAt >= 0 {
			w.fail("a backoff of epoch %d, generation %d until %v after one of epoch %d (armed %v)",
				e.Epoch, e.Generation, e.At, w.backoff.epoch, w.backoff.armed)
		}
		w.backoff.arm(e.At, e.Epoch)
		w.failedAt = w.now
		w.backoffs++
		w.probing = false
	case DisarmBackoff:
		if !w.backoff.armed {
			w.fail("DisarmBackoff without a timer")
		}
		w.backoff.disarm()
	case ArmTick:
		if w.tick.armed && e.At >= w.tick.at || e.Epoch <= w.tick.epoch {
			w.fail("a tick of epoch %d at %v after one of epoch %d at %v (armed %v)", e.Epoch, e.At, w.tick.epoch, w.tick.at, w.tick.armed)
		}
		w.tick.arm(e.At, e.Epoch)
	case DisarmTick:
		if !w.tick.armed {
			w.fail("DisarmTick without a timer")
		}
		w.tick.disarm()
	case CancelLifetime:
		if w.cancelled++; w.cancelled > 1 || w.closedAt < 0 {
			w.fail("CancelLifetime number %d, closed at %v", w.cancelled, w.closedAt)
		}
	case Stopped:
		if w.stopped++; w.stopped > 1 || w.closedAt < 0 {
			w.fail("Stopped number %d, closed at %v", w.stopped, w.closedAt)
		}
		for _, c := range w.conns {
			if !c.ended {
				w.fail("Stopped while c%d is left", c.id)
			}
		}
		if w.tick.armed || w.backoff.armed {
			w.fail("Stopped while a timer is armed")
		}
	default:
		w.fail("unknown effect %v", e.Kind)
	}
}

// open begins a connect.
func (w *world) open(s *Slot) {
	w.tb.Helper()
	old := w.current[s]
	switch {
	case w.closedAt >= 0:
		w.fail("Open after Close")
	case w.paused || w.suspended:
		w.fail("Open while paused %v, suspended %v", w.paused, w.suspended)
	case w.backoff.armed:
		w.fail("Open in a blocking period")
	case w.counted() >= w.capacity:
		w.fail("Open with %d connections, capacity %d", w.counted(), w.capacity)
	case w.running(Open) >= w.connectLimit():
		w.fail("Open with %d connects under way, %d are allowed", w.running(Open), w.connectLimit())
	case old != nil && !old.ended || w.retired[s]:
		w.fail("Open in a slot that is not free")
	case s.ID != uint64(len(w.conns)+1):
		w.fail("connection %d follows connection %d", s.ID, len(w.conns))
	}
	if g := jobFor(s); g == nil {
		asked := slices.ContainsFunc(w.tickets, func(t *ticket) bool { return t.op == opReady && !t.answered })
		if soon := w.unclaimedConnects(s) + len(w.idle) + w.inTransition(); !asked && soon >= w.cfg.MinIdle && w.coming() >= w.cfg.MinOpen {
			w.fail("Open for no waiter, with %d connections that are idle or will be", soon)
		}
	} else if c := w.newestIdle(g.Setting, g); c != nil || w.newestIdle(nil, g) != nil {
		w.fail("Open for %s while a connection that it could use is idle", g.name)
	}
	c := &conn{id: s.ID, slot: s, job: Open, jobSince: w.now}
	w.conns = append(w.conns, c)
	w.current[s] = c
}

// checkCancel checks that a connect that is cancelled because the capacity was lowered
// is too many, and the right one: one for no waiter if there is any, and then the newest.
func (w *world) checkCancel(c *conn) {
	w.tb.Helper()
	if c.job != Open || c.cancelled || w.surplus() <= 0 || len(w.idle) > 0 {
		w.fail("c%d is cancelled with %d idle and %d too many", c.id, len(w.idle), w.surplus())
	}
	for _, o := range w.conns {
		candidate := o.job == Open && !o.givenUp && !o.cancelled && o != c
		if candidate && (o.forNobody && !c.forNobody || o.forNobody == c.forNobody && o.id > c.id) {
			w.fail("c%d is cancelled before c%d", c.id, o.id)
		}
	}
	c.cancelled, c.cancelAt = true, w.now
}

// beginJob begins a job on an established connection.
func (w *world) beginJob(e Effect) {
	w.tb.Helper()
	c := w.current[e.Slot]
	switch {
	case c == nil || c.id != e.Slot.ID || !c.established:
		w.fail("%v of a slot without a connection", e.Kind)
	case c.job != 0:
		w.fail("%v of c%d during %v", e.Kind, c.id, c.job)
	case c.holder != nil:
		w.fail("%v of c%d, which %s holds", e.Kind, c.id, c.holder.name)
	case e.Slot.Conn != any(c):
		w.fail("the slot of c%d has another connection", c.id)
	case e.Kind != Disconnect && (w.closedAt >= 0 || c.givenUp):
		w.fail("%v of c%d, which must be closed", e.Kind, c.id)
	}
	w.checkJob(c, e)
	c.job, c.jobSince = e.Kind, w.now
	w.notIdle(c)
}

// checkJob checks that there is a reason for a job on an established connection.
func (w *world) checkJob(c *conn, e Effect) {
	w.tb.Helper()
	g, wasIdle := jobFor(e.Slot), slices.Contains(w.idle, c)
	c.background = false
	if wasIdle && g != nil {
		w.checkChoice(g, c)
	}
	switch e.Kind {
	case Check:
		c.background = g == nil
		if bg := w.backgroundChecks(c); c.background && bg >= max(1, (len(w.idle)+bg)/10) {
			w.fail("c%d is checked for no waiter, beside %d others, and %d are idle", c.id, bg, len(w.idle))
		}
		if g != nil && g.paid {
			w.fail("%s has waited for a check in vain, and waits for that of c%d", g.name, c.id)
		}
		if c.background && !w.suspect(c) && (w.cfg.KeepAlive == 0 || w.now < w.keepAliveDue(c) || w.backoff.armed) {
			w.fail("c%d, alive at %v, is checked for no waiter: backoff %v", c.id, c.aliveAt, w.backoff.armed)
		}
	case Apply:
		c.want, c.changeFor = e.Slot.Want, g
		i := slices.Index(w.inherited, c.want)
		switch {
		case c.setting != nil || c.want == nil:
			w.fail("%v is applied to c%d, which has %v", c.want, c.id, c.setting)
		case g != nil && g.Setting != c.want:
			w.fail("%v is applied to c%d for %s, which asks for %v", c.want, c.id, g.name, g.Setting)
		case g == nil && (i < 0 || c.leases > 0):
			w.fail("%v is applied to c%d for no waiter", c.want, c.id)
		case g == nil:
			w.inherited = slices.Delete(w.inherited, i, i+1)
		}
	case Unapply:
		c.changeFor = g
		if c.setting == nil || g == nil || g.Setting == c.setting || !w.cfg.Unapply {
			w.fail("%v is taken off c%d for %v", c.setting, c.id, g)
		}
	case Disconnect:
		if c.setting != nil && (wasIdle || w.tooOld(c)) {
			w.inherited = append(w.inherited, c.setting)
		}
		if wasIdle && g == nil && c != w.lost && w.closedAt < 0 && !c.stale && w.surplus() <= 0 && !w.tooOld(c) &&
			(w.cfg.IdleTimeout == 0 || w.now < after(c.idleSince, w.cfg.IdleTimeout) || w.coming()-w.running(Open) <= w.cfg.MinOpen) {
			w.fail("c%d is idle and closed without a reason", c.id)
		}
	}
}

// checkChoice checks that c is the right idle connection for g (G1): one with exactly
// its setting, otherwise a clean one, otherwise a new one, and otherwise the one
// whose setting has been idle for longest.
func (w *world) checkChoice(g *get, c *conn) {
	w.tb.Helper()
	best := w.newestIdle(g.Setting, g)
	if best == nil {
		best = w.newestIdle(nil, g)
	}
	if best == nil {
		if w.mayConnect() {
			w.fail("c%d with %v is for %s, which asks for %v and could have a new one", c.id, c.setting, g.name, g.Setting)
		}
		best = w.oldestWithSetting(g)
	}
	if c != best {
		w.fail("c%d with %v is for %s, which asks for %v, instead of c%d with %v", c.id, c.setting, g.name, g.Setting, best.id, best.setting)
	}
}

// grantWaiter ends a wait with a connection.
func (w *world) grantWaiter(e Effect) {
	w.tb.Helper()
	g := e.Waiter.Owner.(*get)
	i := slices.Index(w.queue, g)
	c := w.current[e.Slot]
	switch {
	case i < 0 || c == nil:
		w.fail("%s is granted a connection and does not wait for one", g.name)
	case slices.Contains(w.idle, c), w.freed == nil || w.freed.conn != c:
		for _, o := range w.queue[:i] {
			if w.canBecome(c, o) {
				w.passedOver = append(w.passedOver, o)
			}
		}
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	w.grant(g, e.Slot)
}

// grant gives the connection of a slot to g.
func (w *world) grant(g *get, s *Slot) {
	w.tb.Helper()
	c := w.current[s]
	switch {
	case g.ended():
		w.fail("%s has ended already", g.name)
	case c == nil || c.id != s.ID || !c.established || c.ended || c.job != 0 || c.givenUp || s.Conn != any(c):
		w.fail("%s is granted a slot without a connection that can be lent", g.name)
	case c.holder != nil:
		w.fail("%s is granted c%d, which %s holds", g.name, c.id, c.holder.name)
	case c.setting != g.Setting:
		w.fail("%s asks for %v and is granted c%d, which has %v", g.name, g.Setting, c.id, c.setting)
	case c.stale:
		w.fail("%s is granted c%d, which is stale", g.name, c.id)
	case w.expired(g):
		w.fail("%s is granted c%d at %v, after its deadline %v", g.name, c.id, w.now, g.Deadline)
	case w.closedAt >= 0 || w.paused || w.suspended:
		w.fail("%s is granted c%d: closed at %v, paused %v, suspended %v", g.name, c.id, w.closedAt, w.paused, w.suspended)
	case w.usedUp(c):
		w.fail("%s is granted c%d after its last use", g.name, c.id)
	case w.surplus() > 0:
		w.fail("%s is granted c%d above the capacity", g.name, c.id)
	case w.cfg.MaxLifetime > 0 && w.now >= after(c.readyAt, w.cfg.MaxLifetime), w.tooOld(c):
		w.fail("%s is granted c%d, which is %v old", g.name, c.id, w.now-c.readyAt)
	case w.cfg.CheckAfterIdle >= 0 && w.suspect(c):
		w.fail("%s is granted c%d, which is a suspect", g.name, c.id)
	}
	if slices.Contains(w.idle, c) {
		if w.cfg.Check && w.cfg.CheckAfterIdle >= 0 && !g.paid && (w.suspect(c) || w.now-c.idleSince > w.cfg.CheckAfterIdle && !w.tickLate ||
			(w.backoff.armed || w.probing) && c.aliveAt <= w.failedAt) {
			w.fail("%s is granted c%d without a check after %v", g.name, c.id, w.now-c.idleSince)
		}
		if newest := w.newestIdle(c.setting, g); c != newest {
			w.fail("%s is granted c%d, and c%d became idle later", g.name, c.id, newest.id)
		}
		w.notIdle(c)
	}
	c.uses++
	w.lent(g, c)
}

// lent begins a lease of a connection.
func (w *world) lent(g *get, c *conn) {
	w.tb.Helper()
	w.grants++
	c.leases++
	c.lentAt = w.now
	c.background = false
	if c.slot.LeaseEpoch != uint64(c.leases) {
		w.fail("lease %d of c%d has epoch %d", c.leases, c.id, c.slot.LeaseEpoch)
	}
	g.lease = &lease{slot: c.slot, id: c.id, epoch: c.slot.LeaseEpoch, conn: c}
	c.holder = g
}

// reject ends a wait with an error.
func (w *world) reject(e Effect) {
	w.tb.Helper()
	g := e.Waiter.Owner.(*get)
	i := slices.Index(w.queue, g)
	if i < 0 || e.Err == nil {
		w.fail("%s is rejected with %v and does not wait", g.name, e.Err)
	}
	if errors.Is(e.Err, messages.ErrDeadlock) {
		newest := i
		for j, o := range w.queue {
			if slices.ContainsFunc(o.holds, (*lease).out) {
				newest = j
			}
		}
		if !w.deadlocked() || i != newest {
			w.fail("%s is rejected because of a deadlock; deadlocked %v, the newest waiter that holds a lease is number %d", g.name, w.deadlocked(), newest)
		}
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	g.err = e.Err
	var failed *messages.GetError
	if errors.As(g.err, &failed) {
		w.checkHolders(failed.Holders, w.now)
	}
	var deadlock *messages.DeadlockError
	if errors.As(g.err, &deadlock) {
		w.checkHolders(deadlock.Cycle, w.now)
	}
	w.checkRejection(g)
}

// checkRejection checks the errors that may only come from a backoff, or from a
// connect of the Get's own.
func (w *world) checkRejection(g *get) {
	w.tb.Helper()
	var b *messages.BackoffError
	switch {
	case errors.As(g.err, &b):
		if w.cfg.Backoff.Mode != BackoffFailFast && !w.hopeless(g) || !w.backoff.armed {
			w.fail("%s is rejected because of a blocking period: %v", g.name, g.err)
		}
	case errors.Is(g.err, messages.ErrConnectFailed) && !w.failing:
		if !w.hopeless(g) {
			w.fail("%s is rejected because of a connect that was not its own: %v", g.name, g.err)
		}
	}
}

// answer ends a control request.
func (w *world) answer(mt *Ticket, err error) {
	w.tb.Helper()
	t := mt.Owner.(*ticket)
	if t.answered {
		w.fail("%s is answered twice", t.name)
	}
	t.answered, t.err = true, err
	if err != nil {
		var d *messages.DrainError
		if errors.As(err, &d) {
			w.checkHolders(d.Holders, w.now)
			if len(d.Holders) != w.borrowed() {
				w.fail("the error of %s has %d holders, and there are %d", t.name, len(d.Holders), w.borrowed())
			}
		}
		return
	}
	switch mt.op {
	case opSetCapacity:
		if w.counted() > w.capacity || t.n != w.capacity {
			w.fail("%s is answered with %d connections, capacity %d", t.name, w.counted(), w.capacity)
		}
	case opClose:
		for _, c := range w.conns {
			leftBehind := c.givenUp && c.job != Open && c.job != Disconnect
			if c.job == Open && !c.givenUp {
				w.fail("%s is answered while the connect of c%d runs", t.name, c.id)
			}
			if c.established && !c.ended && !leftBehind {
				w.fail("%s is answered while c%d is left", t.name, c.id)
			}
		}
		if len(w.queue) > 0 {
			w.fail("%s is answered before the %d waiters", t.name, len(w.queue))
		}
	}
}
