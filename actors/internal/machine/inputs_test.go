// The inputs of a world, one method each. It tells the model what happens, gives the
// input to the machine as the shell does, and checks what this input promises. What
// holds after every input is in model_checks_test.go.

package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Get, and how it ends.

// fastPathTime is the time that the shell gives to a fast path: exact only if it must
// be.
func (w *world) fastPathTime(g *Waiter) time.Duration {
	if w.m.NeedsClock() || g.Label != "" || g.Reserve > 0 {
		return w.now
	}
	return 0
}

// tryLend asks by the shortest path, as a direct turn does.
func (w *world) tryLend(g *get) *Slot {
	if !w.fastPaths || g.Label != "" || g.Setting != nil || g.Reserve > 0 {
		return nil
	}
	s := w.m.TryLend(w.fastPathTime(&g.Waiter))
	if s == nil {
		w.declined("TryLend")
	}
	g.ServedAtOnce()
	return s
}

// get asks for a connection, by the fast path first. True: the fast path has granted
// it.
func (w *world) get(g *get) (fast bool) {
	w.tb.Helper()
	w.gets++
	g.askedAt = w.now
	w.asks(g)
	w.step(func() {
		if g.actor != nil { // for a borrower the fast paths must not be used
			w.enqueue(g)
			w.m.Get(w.now, &g.Waiter)
			return
		}
		s := w.tryLend(g)
		if s == nil {
			s = w.m.TryGet(w.fastPathTime(&g.Waiter), &g.Waiter)
		}
		if s != nil {
			fast = true
			if len(w.queue) > 0 {
				w.fail("TryGet has overtaken %d waiters", len(w.queue))
			}
			w.grant(g, s)
			return
		}
		w.declined("TryGet")
		w.enqueue(g)
		if w.fastPaths && w.m.TryQueue(w.now, &g.Waiter) {
			return
		}
		w.m.Get(w.now, &g.Waiter)
	})
	exhausted := errors.Is(g.err, messages.ErrExhausted)
	// A Get for which a job has begun may stay, however many wait whose connect has failed.
	if limit := w.cfg.MaxWaiters; limit > 0 && !g.ended() && g.slot == nil && len(w.queue)-w.counted()+len(w.idle)+w.borrowed() > limit ||
		exhausted && (limit == 0 || len(w.queue) < limit) {
		w.fail("%d wait, MaxWaiters is %d, and %s has ended with %v", len(w.queue), limit, g.name, g.err)
	}
	return fast
}

// enqueue puts a Get in the queue of the model. An effect of the step may take it out.
func (w *world) enqueue(g *get) {
	g.Owner = g
	w.queue = append(w.queue, g)
}

// rejectGet asks with a context that has ended.
func (w *world) rejectGet(g *get, err error) {
	w.tb.Helper()
	w.gets++
	w.asks(g)
	w.enqueue(g)
	w.step(func() { w.m.RejectGet(w.now, &g.Waiter, err, reasonOf(err)) })
	if !g.ended() {
		w.fail("%s came with a context that had ended, and waits", g.name)
	}
}

// cancelGet ends a Get whose caller leaves.
func (w *world) cancelGet(g *get, err error) {
	w.tb.Helper()
	if g.ended() {
		w.stepInVain("a CancelGet after the end", func() { w.m.CancelGet(w.now, &g.Waiter, err, reasonOf(err)) })
		return
	}
	w.step(func() { w.m.CancelGet(w.now, &g.Waiter, err, reasonOf(err)) })
	if !errors.Is(g.err, err) {
		w.fail("%s was cancelled with %v, and has ended with %v", g.name, err, g.err)
	}
}

// decline takes back what was granted to a Get whose caller has left in the same
// instant. The Get must count as one that has failed.
func (w *world) decline(g *get, err error) {
	w.tb.Helper()
	l := g.lease
	out := l.out()
	before := w.m.Stats()
	w.step(func() {
		w.returned(l, out)
		if out {
			w.grants--
			l.conn.uses--
			w.declines(g, err)
			if !w.suspect(l.conn) { // otherwise it is checked first
				w.comesFree(l.conn)
			}
		}
		g.err = w.m.Decline(w.now, &g.Waiter, l.slot, l.id, l.epoch, err, reasonOf(err))
	})
	var e *messages.GetError
	if !errors.Is(g.err, err) || !errors.As(g.err, &e) || e.Waited < 0 || e.Stats.State == "" {
		w.fail("%s was declined with %v, and has ended with %v", g.name, err, g.err)
	}
	failed := w.m.Stats().Timeouts + w.m.Stats().Cancels - before.Timeouts - before.Cancels
	// Waits whose deadline has passed may end in the same step (G11).
	if out != (failed >= 1) || w.m.Stats().Puts != before.Puts || w.m.Stats().WaitTime < 0 {
		w.fail("%s was declined, its lease was out: %v, and Stats are %+v", g.name, out, w.m.Stats())
	}
}

// reasonOf says whether an error of a context is a timeout.
func reasonOf(err error) messages.Reason {
	if err == context.DeadlineExceeded {
		return messages.ReasonTimeout
	}
	return messages.ReasonCanceled
}

// getAnother refuses the connection that a Get was granted, because it is closed. If
// its lease has ended, the Get is a new one.
func (w *world) getAnother(g *get) {
	w.tb.Helper()
	l := g.lease
	out := l.out()
	w.refuses(g, out)
	g.Owner, g.lease, g.err, g.holds, g.overtaken = g, nil, nil, nil, 0
	if g.position == 0 || !out { // it was served at once, or is a new Get: its wait begins now
		g.askedAt = w.now
	}
	for _, c := range w.conns {
		if c.changeFor == g { // that was for it before it was granted a connection
			c.changeFor = nil
		}
	}
	if len(w.queue) > 0 {
		g.overtaken = w.queue[0].overtaken
	}
	w.queue, w.refused = slices.Insert(w.queue, 0, g), true
	if out {
		l.conn.holder = nil
		w.grants--
		if w.cfg.EventLevel == AllEvents {
			w.checkOutsEnded--
		}
	} else {
		w.gets++
	}
	before := w.m.Stats()
	w.step(func() { w.m.GetAnother(w.now, l.slot, l.id, l.epoch, &g.Waiter, errDown) })
	st := w.m.Stats()
	switch {
	case out && l.conn.job != Disconnect:
		w.fail("c%d is refused, and is not closed", l.id)
	case st.Taints != before.Taints || st.Puts != before.Puts:
		w.fail("the refusal of c%d counts as a return", l.id)
	case st.WaitTime < 0:
		w.fail("the time of all waits is %v", st.WaitTime)
	}
}

var errLost = errors.New("connector lost")

// connectorLost says that the connector of a connection is no more, and has closed it.
func (w *world) connectorLost(c *conn) {
	w.tb.Helper()
	if w.current[c.slot] != c {
		w.fail("the test loses the connector of c%d, which has none", c.id)
	}
	if c.job == Open || c.job == Disconnect {
		w.stepInVain("the loss of a connector whose job goes to another", func() { w.m.ConnectorLost(w.now, c.slot, errLost) })
		return
	}
	waiting := slices.Clone(w.queue)
	c.job, c.changeFor, w.lost = 0, nil, c
	w.step(func() { w.m.ConnectorLost(w.now, c.slot, errLost) })
	w.lost = nil
	if c.holder != nil || c.job != Disconnect {
		w.fail("the connector of c%d is lost, and c%d is not closed", c.id, c.id)
	}
	for _, g := range waiting {
		if errors.Is(g.err, errLost) {
			w.fail("the connector of c%d is lost, and %s fails with %v", c.id, g.name, g.err)
		}
	}
}

// Put and Taint.

// put ends a lease, by the fast paths first. fast: TryPut has made the connection
// idle.
func (w *world) put(l *lease) (fast, ok bool) {
	w.tb.Helper()
	out := l.out()
	step := w.step
	if !out {
		step = func(f func()) { w.stepInVain("the second return", f) }
	}
	step(func() {
		var now time.Duration
		if w.m.NeedsClockFor(l.slot) {
			now = w.now
		}
		if fast = w.m.TryPut(now, l.slot, l.id, l.epoch); fast {
			ok = true
			w.returned(l, out)
			w.proved(l.conn)
			return
		}
		w.declined("TryPut")
		w.returned(l, out)
		if out {
			w.proved(l.conn)
		}
		if out && !w.cfg.Reset {
			w.comesFree(l.conn)
		}
		if w.fastPaths && w.handOff(l) {
			ok = true
			return
		}
		ok = w.m.Put(w.now, l.slot, l.id, l.epoch)
	})
	if ok != out {
		w.fail("the lease was out: %v, and Put says %v", out, ok)
	}
	return fast, ok
}

// putUnasked ends a lease by message. The connection is reset or asked before it is
// lent again.
func (w *world) putUnasked(l *lease) (ok bool) {
	w.tb.Helper()
	out := l.out()
	step := w.step
	if !out {
		step = func(f func()) { w.stepInVain("the second return", f) }
	}
	asks := w.cfg.Reset || w.cfg.Reusable
	step(func() {
		w.returned(l, out)
		if out {
			w.proved(l.conn)
		}
		if out && !asks {
			w.comesFree(l.conn)
		}
		ok = w.m.PutUnasked(w.now, l.slot, l.id, l.epoch)
	})
	switch {
	case ok != out:
		w.fail("the lease was out: %v, and PutUnasked says %v", out, ok)
	case out && asks && l.conn.job != Reset && l.conn.job != Disconnect:
		w.fail("c%d was returned, and is not asked", l.id)
	}
	return ok
}

// handOff says whether the fast path has handed the connection of a Put to a waiter.
func (w *world) handOff(l *lease) bool {
	w.tb.Helper()
	waiter := w.m.TryHandOff(w.now, l.slot, l.id, l.epoch)
	if waiter == nil {
		w.declined("TryHandOff")
		return false
	}
	g := waiter.Owner.(*get)
	if next := w.freed.next; next != g && (next != nil || !w.cfg.CoDel.on() || w.queue[0] != g) {
		w.fail("c%d is handed to %s, which is not the next waiter", l.id, g.name)
	}
	w.freed.next = nil
	w.queue = slices.DeleteFunc(w.queue, func(o *get) bool { return o == g })
	w.grant(g, l.slot)
	w.effects = append(w.effects, fmt.Sprintf("Grant c%d/%d -> %s", l.id, l.slot.LeaseEpoch, g.name))
	return true
}

// taint ends a lease whose connection must not be used again.
func (w *world) taint(l *lease, cause error, dead bool) (ok bool) {
	w.tb.Helper()
	out := l.out()
	step := w.step
	if !out {
		step = func(f func()) { w.stepInVain("the second return", f) }
	}
	step(func() {
		w.returned(l, out)
		if out && dead && w.cfg.Check {
			w.deadProof = max(w.deadProof, l.conn.proof)
		}
		ok = w.m.Taint(w.now, l.slot, l.id, l.epoch, cause, dead)
	})
	if ok != out {
		w.fail("the lease was out: %v, and Taint says %v", out, ok)
	}
	return ok
}

// returned ends a lease in the model, if it was out.
func (w *world) returned(l *lease, out bool) {
	if out {
		l.conn.holder = nil
	}
}

// Leases that somebody else ends, and what their holders do meanwhile.

// borrowerGone stops a borrower.
func (w *world) borrowerGone(b *borrower, err error) {
	w.tb.Helper()
	var held []*lease
	for _, c := range w.conns {
		if c.holder != nil && c.holder.actor == b {
			held = append(held, c.holder.lease)
		}
	}
	w.step(func() { w.m.BorrowerGone(w.now, &b.Borrower, err) })
	for _, g := range w.queue {
		if g.actor == b {
			w.fail("%s waits for %s, which is gone", g.name, b.name)
		}
	}
	for _, l := range held {
		if c := l.conn; l.out() || c.job != Disconnect && (c.job != Reset || !w.cfg.Reset) {
			w.fail("%s is gone, and its c%d is neither closed nor reset", b.name, c.id)
		}
	}
}

// leaseLost reports that nobody can return a lease any more.
func (w *world) leaseLost(l *lease) {
	w.tb.Helper()
	if !l.out() {
		w.stepInVain("the loss of a lease that has ended", func() { w.m.LeaseLost(w.now, l.slot, l.id, l.epoch) })
		return
	}
	w.step(func() { w.m.LeaseLost(w.now, l.slot, l.id, l.epoch) })
	if l.out() || l.conn.job != Disconnect {
		w.fail("the lease of c%d is lost, and c%d is not closed", l.conn.id, l.conn.id)
	}
}

// holds says which leases the caller of a Get holds while it waits.
func (w *world) holds(g *get, leases []*lease) {
	w.tb.Helper()
	var held []HeldLease
	for _, l := range leases {
		held = append(held, HeldLease{Slot: l.slot, ID: l.id, Epoch: l.epoch})
	}
	if !g.ended() {
		g.holds = leases
	}
	w.step(func() { w.m.Holds(w.now, &g.Waiter, held) })
}

// What the connectors report.

// jobDone ends the job that runs for c.
func (w *world) jobDone(c *conn, job EffectKind) {
	w.tb.Helper()
	if c.job != job {
		w.fail("the test ends a job that c%d does not run: %v", c.id, job)
	}
	c.job = 0
}

// connEnded says that c is no more, and that its slot is free for another.
func (w *world) connEnded(c *conn) {
	c.ended = true
	delete(w.current, c.slot)
}

func (w *world) connected(c *conn) {
	w.jobDone(c, Open)
	c.established, c.readyAt = true, w.now
	w.proved(c)
	if !c.givenUp && !c.stale && !c.cancelled {
		w.connectTook = w.now - c.jobSince
	}
	if !c.givenUp && !c.stale && !c.cancelled && w.closedAt < 0 {
		w.probing = false
		w.permits++
	}
	// Without a waiter it may be given an inherited setting first. At the end of time its
	// lifetime is over at once.
	if len(w.queue) > 0 && (w.now != never || w.cfg.MaxLifetime == 0) {
		w.comesFree(c)
	}
	w.step(func() { w.m.Connected(w.now, c.slot, c) })
}

func (w *world) connectFailed(c *conn, err error, class messages.Class) {
	w.jobDone(c, Open)
	w.connEnded(c)
	if !c.givenUp && !c.stale && !c.cancelled && w.closedAt < 0 && class == messages.ClassClear {
		w.newGeneration()
	}
	if !c.givenUp && !c.stale && !c.cancelled && class != messages.ClassIgnore {
		w.permits = 2
	}
	waiting := slices.Clone(w.queue)
	w.failing = !c.cancelled
	backoffs := w.backoffs
	defer func() {
		if c.cancelled && w.backoffs > backoffs {
			w.fail("c%d was cancelled, and a backoff begins", c.id)
		}
	}()
	w.step(func() { w.m.ConnectFailed(w.now, c.slot, err, class) })
	w.failing = false
	failed := 0
	for _, g := range waiting {
		var b *messages.BackoffError
		var e *messages.GetError
		if g.err == nil || g.Deadline > 0 || !errors.As(g.err, &e) {
			continue
		}
		if errors.Is(g.err, messages.ErrConnectFailed) && !errors.As(g.err, &b) {
			failed++
		}
	}
	if failed > 1 {
		w.fail("one failed connect has failed %d Gets", failed)
	}
}

func (w *world) checked(c *conn, err error) {
	w.jobDone(c, Check)
	if err == nil {
		w.proved(c)
		w.comesFree(c)
	} else if !c.givenUp {
		w.checkFailed(c)
	}
	w.step(func() { w.m.Checked(w.now, c.slot, err) })
	w.closedIfFailed(c, err)
}

func (w *world) wasReset(c *conn, err error) {
	w.jobDone(c, Reset)
	if err == nil {
		if w.cfg.ResetWipes {
			c.setting = nil
		}
		w.proved(c)
		w.comesFree(c)
	}
	w.step(func() { w.m.WasReset(w.now, c.slot, err) })
	w.closedIfFailed(c, err)
}

// applied ends an Apply. A failed one fails the Get that it was done for, and no
// other.
func (w *world) applied(c *conn, err error) {
	w.tb.Helper()
	w.jobDone(c, Apply)
	g := w.settingWaiter(c)
	c.changeFor = nil
	if err == nil {
		if !c.givenUp {
			w.switches++
		}
		c.setting = c.want
		w.proved(c)
		w.settingChanged(c, g)
	}
	waiting := slices.Clone(w.queue)
	w.failing = err != nil
	w.step(func() { w.m.Applied(w.now, c.slot, err) })
	w.failing = false
	w.closedIfFailed(c, err)
	for _, o := range waiting {
		var ce *messages.ConnectError
		failed := errors.As(o.err, &ce) && ce.Phase == messages.PhaseApply
		if failed != (o == g && err != nil) {
			w.fail("the Apply for %v ends with %v, and %s with %v", g, err, o.name, o.err)
		}
	}
}

// unapplied ends an Unapply. A failed one fails no Get.
func (w *world) unapplied(c *conn, err error) {
	w.tb.Helper()
	w.jobDone(c, Unapply)
	g := w.settingWaiter(c)
	c.changeFor = nil
	if err == nil {
		c.setting = nil
		w.proved(c)
		w.settingChanged(c, g)
	}
	w.step(func() { w.m.Unapplied(w.now, c.slot, err) })
	w.closedIfFailed(c, err)
	if b := (*messages.BackoffError)(nil); g != nil && err != nil && errors.Is(g.err, err) && !errors.As(g.err, &b) {
		w.fail("%s has the error of a failed Unapply", g.name)
	}
}

func (w *world) disconnected(c *conn) {
	w.jobDone(c, Disconnect)
	w.connEnded(c)
	w.step(func() { w.m.Disconnected(w.now, c.slot) })
}

// closedIfFailed checks that a connection is closed if its job has failed.
func (w *world) closedIfFailed(c *conn, err error) {
	if err != nil && c.job != Disconnect {
		w.fail("a job of c%d has failed with %v, and c%d is not closed", c.id, err, c.id)
	}
}

// Control.

func (w *world) setCapacity(t *ticket, n int, note string) {
	w.tb.Helper()
	w.tickets = append(w.tickets, t)
	t.n = n
	if w.closedAt < 0 {
		w.capacity, w.note = n, note
	}
	for _, c := range w.conns {
		c.forNobody = c.job == Open && jobFor(c.slot) == nil
	}
	w.lowering = true
	w.step(func() { w.m.SetCapacity(w.now, n, note, &t.Ticket) })
	if got, want := w.m.Stats().CapacityNote, []rune(w.note); got != string(want[:min(len(want), noteLength)]) {
		w.tb.Fatalf("the note on the capacity is %q, and not %q", got, w.note)
	}
	w.lowering = false
}

func (w *world) close(t *ticket) {
	w.tb.Helper()
	w.tickets = append(w.tickets, t)
	first := w.closedAt < 0
	if first {
		w.closedAt = w.now
	}
	w.step(func() { w.m.Close(w.now, &t.Ticket) })
	if first && (len(w.effects) == 0 || w.effects[0] != "CancelLifetime") {
		w.fail("the first effect of Close is not CancelLifetime")
	}
	if len(w.queue) > 0 {
		w.fail("%d wait after Close", len(w.queue))
	}
}

func (w *world) ready(t *ticket) {
	w.tb.Helper()
	w.tickets = append(w.tickets, t)
	w.step(func() { w.m.Ready(w.now, &t.Ticket) })
}

// cancelControl ends a control request whose caller leaves.
func (w *world) cancelControl(t *ticket, err error) {
	w.tb.Helper()
	if t.answered {
		w.stepInVain("a CancelControl after the answer", func() { w.m.CancelControl(w.now, &t.Ticket, err) })
		return
	}
	w.step(func() { w.m.CancelControl(w.now, &t.Ticket, err) })
	if !errors.Is(t.err, err) {
		w.fail("%s was cancelled with %v, and answered with %v", t.name, err, t.err)
	}
}

func (w *world) clear(err error, interrupt bool) {
	w.tb.Helper()
	if w.closedAt < 0 {
		w.newGeneration()
	}
	w.step(func() { w.control(w.m.Clear(w.now, err, interrupt)) })
}

func (w *world) suspend() {
	w.tb.Helper()
	w.suspended = w.suspended || w.closedAt < 0
	w.step(func() { w.control(w.m.Suspend(w.now)) })
}

func (w *world) resume() {
	w.tb.Helper()
	if w.closedAt < 0 {
		w.suspended, w.paused = false, false
	}
	w.step(func() { w.control(w.m.Resume(w.now)) })
}

// control checks the result of a Clear, Suspend or Resume.
func (w *world) control(err error) {
	if errors.Is(err, messages.ErrClosed) != (w.closedAt >= 0) {
		w.fail("the pool is closed at %v, and the result is %v", w.closedAt, err)
	}
	w.controlErr = err
}

func (w *world) healthOK() {
	w.tb.Helper()
	if w.closedAt < 0 {
		w.paused = false
	}
	w.step(func() { w.m.HealthOK(w.now) })
}

// Timers.

func (w *world) backoffElapsed(epoch uint64) {
	w.tb.Helper()
	if !w.backoff.armed || w.backoff.epoch != epoch {
		w.stepInVain("a stale backoff timer", func() { w.m.BackoffElapsed(w.now, epoch) })
		return
	}
	w.backoff.disarm()
	w.probing = true
	w.step(func() { w.m.BackoffElapsed(w.now, epoch) })
}

func (w *world) tickElapsed(epoch uint64) {
	w.tb.Helper()
	if !w.tick.armed || w.tick.epoch != epoch {
		w.stepInVain("a stale tick", func() { w.m.Tick(w.now, epoch) })
		return
	}
	w.tick.disarm()
	var failed []*get // their Apply is overdue
	for _, c := range w.conns {
		if c.job == 0 {
			continue
		}
		overdue := after(c.jobSince, after(w.timeout(c), w.timeout(c)/4)) <= w.now
		switch cancelled := w.closedAt >= 0 && c.job != Disconnect; {
		case cancelled:
			overdue = w.now >= after(w.closedAt, closeGrace)
		case c.cancelled && c.job == Open:
			overdue = w.now >= after(c.cancelAt, closeGrace)
		default:
			w.failing = w.failing || overdue && (c.job == Open || c.job == Apply)
		}
		if overdue && c.job == Apply {
			if g := w.settingWaiter(c); g != nil {
				failed = append(failed, g)
			}
		}
		if overdue && c.job == Open && !c.givenUp && !c.stale && !c.cancelled && w.closedAt < 0 {
			w.permits = 2
		}
		if overdue && c.job == Check && !c.givenUp {
			w.checkFailed(c)
		}
		c.givenUp = c.givenUp || overdue
	}
	before := slices.Clone(w.idle)
	w.step(func() { w.m.Tick(w.now, epoch) })
	w.failing = false
	for _, g := range failed {
		if w.closedAt < 0 && g.err == nil {
			w.fail("the Apply for %s is overdue, and %s still waits", g.name, g.name)
		}
	}
	w.checkSweep(before)
	w.checkOldLeases()
}
