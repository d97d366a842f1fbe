package machine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// world is a machine with a slow and simple model of a pool beside it, which
// knows nothing of the machine's lists and counts: it hears the inputs and the
// effects, keeps its own books in slices and maps, and fails the test as soon
// as an effect is impossible by them. The traces and the random test both run
// in it.
type world struct {
	tb  failer
	m   *Machine
	cfg Config
	now time.Duration

	gets    int             // begun
	grants  int             // got a connection
	queue   []*get          // who waits, in order of arrival
	conns   []*conn         // all that ever were, by id from 1
	current map[*Slot]*conn // who lives in a slot
	retired map[*Slot]bool
	rested  []*conn   // idle connections, newest last
	tickets []*ticket // all that ever were
	actors  []*borrower

	capacity   int
	generation uint64
	paused     bool
	suspended  bool
	probing    bool
	failing    bool          // a connect fails in this step
	closedAt   time.Duration // -1: open
	cancelled  int
	stopped    int
	backoffs   int
	doubtedAt  time.Duration // when the last connect failed that began a backoff
	backoff    timer
	tick       timer
	late       bool // the tick should have come before this step

	seq     uint64
	started int // CheckOutStarted
	ended   int // CheckedOut, CheckOutFailed

	freed *freed // the connection that comes free in this step
	ahead []*get // who is passed over in this step with an idle connection
	wills []any  // settings of connections that timed out

	halves  bool     // also the hot halves of a Get that waits, and of a Put to who does
	full    bool     // errors in full
	refused error    // what the last control request was answered
	effects []string // of the last step, for people
	news    []messages.Event
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// get is one Get of a test.
type get struct {
	Waiter
	name   string
	lease  *lease
	err    error
	actor  *borrower
	holds  []*lease // what its caller holds while it waits
	passed int      // how often a later one was served first, for its setting
}

func (g *get) over() bool { return g.lease != nil || g.err != nil }

// borrower is an actor of a test.
type borrower struct {
	Borrower
	name    string
	watched bool
}

func (b *borrower) String() string { return b.name }

// lease is what a Get was granted.
type lease struct {
	slot      *Slot
	id, epoch uint64
	conn      *conn
}

// conn is the model's idea of one connection.
type conn struct {
	id        uint64
	slot      *Slot
	job       EffectKind // what its connector runs; 0: nothing
	jobSince  time.Duration
	abandoned bool // the job is overdue
	standing  bool // it was connected
	stale     bool
	gone      bool
	holder    *get
	leases    int // granted so far
	reported  int // the lease that was reported as leaked
	readyAt   time.Duration
	lentAt    time.Duration
	restedAt  time.Duration
	aliveAt   time.Duration // when it was last known to be alive
	quiet     bool          // the check that runs is for nobody, it does not end its rest
	setting   any
	want      any  // what is being applied
	client    *get // who its setting is being changed for

	created, ready, closed bool // by the events
}

// freed is a connection that comes free, and who must get it; nil: nobody.
type freed struct {
	conn *conn
	heir *get
}

// ticket is one control request of a test.
type ticket struct {
	Ticket
	name     string
	n        int // the capacity asked for
	answered bool
	err      error
}

type timer struct {
	armed bool
	at    time.Duration
	epoch uint64
	stale []uint64 // epochs that must have no effect any more
}

func newWorld(tb failer, cfg Config) *world {
	w := &world{
		tb: tb, m: New(cfg), cfg: cfg, capacity: cfg.Capacity, paused: cfg.PauseOnClear, closedAt: -1,
		current: map[*Slot]*conn{}, retired: map[*Slot]bool{},
	}
	w.step(func() { w.m.Start(0) })
	return w
}

func (w *world) fail(format string, args ...any) {
	w.tb.Helper()
	w.tb.Fatalf("at %v: %s\neffects: %v", w.now, fmt.Sprintf(format, args...), w.effects)
}

// step runs one input and checks what comes of it.
func (w *world) step(input func()) {
	w.tb.Helper()
	epoch := w.tick.epoch
	w.late = w.tick.armed && w.tick.at < w.now
	input()
	w.effects = nil
	for _, e := range w.m.Effects() {
		w.effects = append(w.effects, w.describe(e))
		w.given(e)
		w.perform(e)
	}
	w.fair()
	w.news = slices.Clone(w.m.Events())
	if armed := w.tick.epoch; w.tick.armed && armed != epoch && w.tick.at < w.now && !w.overdue() && !w.late {
		w.fail("a tick is armed for %v, and nothing is due", w.tick.at)
	}
	w.m.Done()
	w.m.TakeEvents(nil)
	for _, e := range w.news {
		w.hear(e)
	}
	w.verify()
}

// overdue says whether an idle connection is past its time.
func (w *world) overdue() bool {
	return slices.ContainsFunc(w.conns, func(c *conn) bool {
		return c.slot.ID == c.id && c.slot.state == idle && w.m.expiryDue(c.slot) <= w.now
	})
}

// inert runs an input which must change nothing.
func (w *world) inert(what string, input func()) {
	w.tb.Helper()
	before := w.m.Stats()
	w.step(input)
	if len(w.effects) > 0 || len(w.news) > 0 || w.m.Stats() != before {
		w.fail("%s has changed something", what)
	}
}

// hot is the time as the outside gives it with the hot halves of Get and Put:
// exact only if it has to be.
func (w *world) hot(label string) time.Duration {
	if w.m.NeedsClock() || label != "" {
		return w.now
	}
	return 0
}

// get asks as the outside does: the hot half first. True: it was enough.
func (w *world) get(g *get) bool {
	w.tb.Helper()
	w.gets++
	var taken bool
	w.step(func() {
		if g.actor != nil { // as the outside does: not by the hot halves
			g.Owner = g
			w.queue = append(w.queue, g)
			w.m.Get(w.now, &g.Waiter)
			return
		}
		if s := w.m.TryGet(w.hot(g.Label), &g.Waiter); s != nil {
			taken = true
			if len(w.queue) > 0 {
				w.fail("Take has overtaken %d waiters", len(w.queue))
			}
			w.grant(g, s)
			return
		}
		if len(w.m.Effects()) > 0 || len(w.m.Events()) > 0 {
			w.fail("Take has refused and changed something")
		}
		g.Owner = g
		w.queue = append(w.queue, g)
		if w.halves && w.m.TryQueue(w.now, &g.Waiter) {
			return
		}
		w.m.Get(w.now, &g.Waiter)
	})
	exhausted := errors.Is(g.err, messages.ErrExhausted)
	if limit := w.cfg.MaxWaiters; limit > 0 && !g.over() && len(w.queue)-w.live()+len(w.rested)+w.held() > limit ||
		exhausted && (limit == 0 || len(w.queue) < limit) {
		w.fail("%d wait, of %d, and %s has ended: %v", len(w.queue), limit, g.name, g.err)
	}
	return taken
}

// refuse asks with a context that has ended.
func (w *world) refuse(g *get, err error) {
	w.tb.Helper()
	w.gets++
	g.Owner = g
	w.queue = append(w.queue, g)
	w.step(func() { w.m.RejectGet(w.now, &g.Waiter, err) })
	if !g.over() {
		w.fail("%s was refused and goes on waiting", g.name)
	}
}

// gone stops an actor.
func (w *world) gone(b *borrower, err error) {
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
			w.fail("%s waits for %s, who is gone", g.name, b.name)
		}
	}
	for _, l := range held {
		if c := l.conn; c.lent(l) || c.job != Disconnect && (c.job != Reset || !w.cfg.Reset) {
			w.fail("%s is gone, and what he held, c%d, is neither closed nor reset", b.name, c.id)
		}
	}
}

// lost says that nobody can return a lease any more.
func (w *world) lost(l *lease) {
	w.tb.Helper()
	if !l.conn.lent(l) {
		w.inert("the loss of a lease that has ended", func() { w.m.LeaseLost(w.now, l.slot, l.id, l.epoch) })
		return
	}
	w.step(func() { w.m.LeaseLost(w.now, l.slot, l.id, l.epoch) })
	if l.conn.lent(l) || l.conn.job != Disconnect {
		w.fail("the lost c%d is not closed", l.conn.id)
	}
}

// tie says what the caller of a Get holds while it waits.
func (w *world) tie(g *get, held []*lease) {
	w.tb.Helper()
	var ties []HeldLease
	for _, l := range held {
		ties = append(ties, HeldLease{Slot: l.slot, ID: l.id, Epoch: l.epoch})
	}
	if !g.over() {
		g.holds = held
	}
	w.step(func() { w.m.Holds(w.now, &g.Waiter, ties) })
}

// deadlocked says whether every connection is held by somebody who waits.
func (w *world) deadlocked() bool {
	if w.held() == 0 || w.live() != w.held() || w.live() < w.capacity {
		return false
	}
	for _, c := range w.conns {
		if c.holder != nil && !slices.ContainsFunc(w.queue, func(g *get) bool { return slices.Contains(g.holds, c.holder.lease) }) {
			return false
		}
	}
	return true
}

func (w *world) leave(g *get, err error) {
	w.tb.Helper()
	if g.over() {
		w.inert("leaving after the end", func() { w.m.CancelGet(w.now, &g.Waiter, err) })
		return
	}
	w.step(func() { w.m.CancelGet(w.now, &g.Waiter, err) })
	if !errors.Is(g.err, err) {
		w.fail("%s left because of %v and was told %v", g.name, err, g.err)
	}
}

// put returns as the outside does: the hot half first. stowed: it was enough.
func (w *world) put(l *lease) (stowed, ok bool) {
	w.tb.Helper()
	held := l.conn.lent(l)
	check := w.step
	if !held {
		check = func(f func()) { w.inert("the second return", f) }
	}
	check(func() {
		stowed = w.m.TryPut(w.hot(""), l.slot, l.id, l.epoch)
		ok = stowed
		if !stowed {
			if len(w.m.Effects()) > 0 || len(w.m.Events()) > 0 {
				w.fail("Stow has refused and changed something")
			}
			w.returned(l, held)
			if held && !w.cfg.Reset {
				w.frees(l.conn)
			}
			if w.halves && w.handed(l) {
				ok = true
				return
			}
			ok = w.m.Put(w.now, l.slot, l.id, l.epoch)
		} else {
			w.returned(l, held)
		}
	})
	if ok != held {
		w.fail("the lease was held %v, and Put says %v", held, ok)
	}
	return stowed, ok
}

// handed says whether the hot half was enough of a Put while others wait.
func (w *world) handed(l *lease) bool {
	w.tb.Helper()
	next := w.m.TryHandOff(w.now, l.slot, l.id, l.epoch)
	if next == nil {
		if len(w.m.Effects()) > 0 || len(w.m.Events()) > 0 {
			w.fail("Hand has refused and changed something")
		}
		return false
	}
	g := next.Owner.(*get)
	if heir := w.freed.heir; heir != g && (heir != nil || !w.cfg.CoDel.on() || w.queue[0] != g) {
		w.fail("%s is handed c%d, and is not who must get it", g.name, l.id)
	}
	w.freed.heir = nil
	w.queue = slices.DeleteFunc(w.queue, func(o *get) bool { return o == g })
	w.grant(g, l.slot)
	return true
}

func (w *world) taint(l *lease, cause error) (ok bool) {
	w.tb.Helper()
	held := l.conn.lent(l)
	check := w.step
	if !held {
		check = func(f func()) { w.inert("the second return", f) }
	}
	check(func() {
		w.returned(l, held)
		ok = w.m.Taint(w.now, l.slot, l.id, l.epoch, cause)
	})
	if ok != held {
		w.fail("the lease was held %v, and Taint says %v", held, ok)
	}
	return ok
}

func (c *conn) lent(l *lease) bool { return c.holder != nil && c.holder.lease == l }

func (w *world) returned(l *lease, held bool) {
	if held {
		l.conn.holder = nil
	}
}

func (w *world) connected(c *conn) {
	w.report(c, Open)
	c.standing, c.readyAt = true, w.now
	if !c.abandoned && !c.stale && w.closedAt < 0 {
		w.probing = false
	}
	if len(w.queue) > 0 { // otherwise a setting may be passed on to it
		w.frees(c)
	}
	w.step(func() { w.m.Connected(w.now, c.slot, c) })
}

func (w *world) connectFailed(c *conn, err error, class messages.Class) {
	w.report(c, Open)
	w.leaveSlot(c)
	if !c.abandoned && !c.stale && w.closedAt < 0 && class == messages.ClassClear {
		w.cleared()
	}
	waiting := slices.Clone(w.queue)
	w.failing = true
	w.step(func() { w.m.ConnectFailed(w.now, c.slot, err, class) })
	w.failing = false
	told := 0
	for _, g := range waiting {
		var b *messages.BackoffError
		var e *messages.GetError
		if g.err == nil || g.Deadline > 0 || !errors.As(g.err, &e) {
			continue
		}
		if errors.Is(g.err, messages.ErrConnectFailed) && !errors.As(g.err, &b) {
			told++
		}
	}
	if told > 1 {
		w.fail("one failed connect has failed %d Gets", told)
	}
}

func (w *world) checked(c *conn, err error) {
	w.report(c, Check)
	if err == nil {
		w.frees(c)
	}
	w.step(func() { w.m.Checked(w.now, c.slot, err) })
	w.spoilt(c, err)
}

func (w *world) wasReset(c *conn, err error) {
	w.report(c, Reset)
	if err == nil {
		if w.cfg.ResetWipes {
			c.setting = nil
		}
		w.frees(c)
	}
	w.step(func() { w.m.WasReset(w.now, c.slot, err) })
	w.spoilt(c, err)
}

// applied ends an Apply. One that failed fails the Get that it was made for,
// and no other.
func (w *world) applied(c *conn, err error) {
	w.tb.Helper()
	w.report(c, Apply)
	victim := w.changedFor(c)
	c.client = nil
	if err == nil {
		c.setting = c.want
		w.dresses(c, victim)
	}
	waiting := slices.Clone(w.queue)
	w.failing = err != nil
	w.step(func() { w.m.Applied(w.now, c.slot, err) })
	w.failing = false
	w.spoilt(c, err)
	for _, g := range waiting {
		var ce *messages.ConnectError
		failed := errors.As(g.err, &ce) && ce.Phase == messages.PhaseApply
		if failed != (g == victim && err != nil) {
			w.fail("the Apply for %v ends with %v, and %s with %v", victim, err, g.name, g.err)
		}
	}
}

// unapplied ends an Unapply. Nobody sees it fail.
func (w *world) unapplied(c *conn, err error) {
	w.tb.Helper()
	w.report(c, Unapply)
	g := w.changedFor(c)
	c.client = nil
	if err == nil {
		c.setting = nil
		w.dresses(c, g)
	}
	w.step(func() { w.m.Unapplied(w.now, c.slot, err) })
	w.spoilt(c, err)
	if b := (*messages.BackoffError)(nil); g != nil && err != nil && errors.Is(g.err, err) && !errors.As(g.err, &b) {
		w.fail("%s is told that an Unapply has failed", g.name)
	}
}

// changedFor says who the change of setting is for that has run on c, if he
// still waits for it.
func (w *world) changedFor(c *conn) *get {
	if c.client == nil || c.stale || c.abandoned || !slices.Contains(w.queue, c.client) {
		return nil
	}
	return c.client
}

// changing says whether a change of setting is under way for g.
func (w *world) changing(g *get) bool {
	return slices.ContainsFunc(w.conns, func(c *conn) bool {
		return (c.job == Apply || c.job == Unapply) && w.changedFor(c) == g
	})
}

// spoilt checks that a connection is closed on which a job has failed.
func (w *world) spoilt(c *conn, err error) {
	if err != nil && c.job != Disconnect {
		w.fail("c%d is not closed after %v", c.id, err)
	}
}

// dresses says that the setting of c was changed for g, who gets it whoever
// else waits; nil: it comes free.
func (w *world) dresses(c *conn, g *get) {
	if g == nil || w.suspended || w.condemned(c) {
		w.frees(c)
		return
	}
	w.freed = &freed{c, g}
	if w.cfg.CoDel.on() {
		w.freed.heir = nil
	}
}

// frees says that c comes free: for the first who waits; but for a later one
// who asks for just the setting it has, unless that passes over somebody for
// the ninth time; and for nobody for whom a setting is being changed already.
func (w *world) frees(c *conn) {
	w.freed = &freed{conn: c}
	if w.suspended || w.paused || w.condemned(c) || w.cfg.CoDel.on() { // it may shed the heir
		return
	}
	for i, g := range w.queue {
		if i >= lookahead || w.queue[0].passed >= 8 {
			break
		}
		if g.Setting == c.setting {
			for _, o := range w.queue[:i] {
				o.passed++
			}
			w.freed.heir = g
			return
		}
	}
	for _, g := range w.queue {
		if !w.changing(g) && w.fits(c, g) {
			w.freed.heir = g
			return
		}
	}
}

// fits says whether c has, or can be given, what g asks for. A setting that
// stays on for good means another connection, which a blocking period forbids.
func (w *world) fits(c *conn, g *get) bool {
	return c.setting == nil || c.setting == g.Setting || w.cfg.Unapply || !w.backoff.armed
}

// condemned says whether c is to be closed when it comes free.
func (w *world) condemned(c *conn) bool {
	return w.closedAt >= 0 || c.stale || c.abandoned || w.live() > w.capacity || c.slot.expires > 0 && c.slot.expires <= w.now
}

// given checks that a connection which comes free goes to its heir.
func (w *world) given(e Effect) {
	w.tb.Helper()
	f := w.freed
	if f == nil || f.heir == nil || e.Slot != f.conn.slot {
		return
	}
	c, g := f.conn, f.heir
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
		w.fail("%v on c%d with %v, which is for %s, who asks for %v", e.Kind, c.id, c.setting, g.name, g.Setting)
	case e.Kind == Grant && e.Waiter.Owner != any(g), e.Kind != Grant && client(e.Slot) != g:
		w.fail("%v on c%d is not for %s", e.Kind, c.id, g.name)
	}
	f.heir = nil
}

// fair checks after a step that nobody was passed over in it.
func (w *world) fair() {
	w.tb.Helper()
	if w.freed != nil && w.freed.heir != nil {
		w.fail("c%d comes free, and %s does not get it", w.freed.conn.id, w.freed.heir.name)
	}
	for _, g := range w.ahead {
		if !g.over() && g.slot == nil {
			w.fail("%s is passed over, and nothing is under way for him", g.name)
		}
	}
	w.freed, w.ahead = nil, nil
}

// client is who the job on a slot is for, nil: nobody.
func client(s *Slot) *get {
	if s.waiter == nil {
		return nil
	}
	return s.waiter.Owner.(*get)
}

// mayConnect says whether one more connect is allowed.
func (w *world) mayConnect() bool {
	limit := w.cfg.MaxConnecting
	if w.probing {
		limit = 1
	}
	return !w.backoff.armed && w.live() < w.capacity && w.running(Open) < limit
}

// newest and oldest look among the idle connections with a setting; oldest at
// all that have one.
func (w *world) newest(setting any) (found *conn) {
	for _, c := range w.rested {
		if c.setting == setting {
			found = c
		}
	}
	return found
}

func (w *world) oldest() *conn {
	for _, c := range w.rested {
		if c.setting != nil {
			return c
		}
	}
	return nil
}

// choose checks that g is to have the idle connection c: one with just his
// setting before a clean one, that before a new one, and that before another's.
func (w *world) choose(g *get, c *conn) {
	w.tb.Helper()
	best := w.newest(g.Setting)
	if best == nil {
		best = w.newest(nil)
	}
	if best == nil {
		if w.mayConnect() {
			w.fail("c%d with %v is for %s, who asks for %v and could have a new one", c.id, c.setting, g.name, g.Setting)
		}
		best = w.oldest()
	}
	if c != best {
		w.fail("c%d with %v is for %s, who asks for %v, not c%d with %v", c.id, c.setting, g.name, g.Setting, best.id, best.setting)
	}
}

// wakes is when an idle connection is to be checked to keep it alive.
func (w *world) wakes(c *conn) time.Duration { return c.aliveAt + w.cfg.KeepAlive }

func (w *world) disconnected(c *conn) {
	w.report(c, Disconnect)
	w.leaveSlot(c)
	w.step(func() { w.m.Disconnected(w.now, c.slot) })
}

// report ends the job that runs for c.
func (w *world) report(c *conn, job EffectKind) {
	w.tb.Helper()
	if c.job != job {
		w.fail("the test reports the end of a job that c%d does not run: %v", c.id, job)
	}
	c.job = 0
}

// leaveSlot says that c is no more, and its slot free for the next.
func (w *world) leaveSlot(c *conn) {
	c.gone = true
	delete(w.current, c.slot)
}

func (w *world) setCapacity(t *ticket, n int) {
	w.tb.Helper()
	w.tickets = append(w.tickets, t)
	t.n = n
	if w.closedAt < 0 {
		w.capacity = n
	}
	w.step(func() { w.m.SetCapacity(w.now, n, &t.Ticket) })
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
		w.fail("Close has not cancelled the lifetime first of all")
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

func (w *world) giveUp(t *ticket, err error) {
	w.tb.Helper()
	if t.answered {
		w.inert("giving up after the end", func() { w.m.CancelControl(w.now, &t.Ticket, err) })
		return
	}
	w.step(func() { w.m.CancelControl(w.now, &t.Ticket, err) })
	if !errors.Is(t.err, err) {
		w.fail("%s was given up because of %v and told %v", t.name, err, t.err)
	}
}

func (w *world) clear(err error, interrupt bool) {
	w.tb.Helper()
	if w.closedAt < 0 {
		w.cleared()
	}
	w.step(func() { w.control(w.m.Clear(w.now, err, interrupt)) })
}

// cleared makes everything there is stale.
func (w *world) cleared() {
	w.generation++
	w.probing = false
	w.paused = w.cfg.PauseOnClear
	for _, c := range w.conns {
		c.stale = true
	}
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

func (w *world) control(err error) {
	if errors.Is(err, messages.ErrClosed) != (w.closedAt >= 0) {
		w.fail("the answer is %v", err)
	}
	w.refused = err
}

func (w *world) healthOK() {
	w.tb.Helper()
	if w.closedAt < 0 {
		w.paused = false
	}
	w.step(func() { w.m.HealthOK(w.now) })
}

func (w *world) backoffElapsed(epoch uint64) {
	w.tb.Helper()
	if !w.backoff.armed || w.backoff.epoch != epoch {
		w.inert("a stale backoff timer", func() { w.m.BackoffElapsed(w.now, epoch) })
		return
	}
	w.backoff.disarm()
	w.probing = true
	w.step(func() { w.m.BackoffElapsed(w.now, epoch) })
}

func (w *world) ticks(epoch uint64) {
	w.tb.Helper()
	if !w.tick.armed || w.tick.epoch != epoch {
		w.inert("a stale tick", func() { w.m.Tick(w.now, epoch) })
		return
	}
	w.tick.disarm()
	var victims []*get
	for _, c := range w.conns {
		if c.job == 0 {
			continue
		}
		overdue := c.jobSince+w.cfg.ConnectTimeout+w.cfg.ConnectTimeout/4 <= w.now
		left := w.closedAt >= 0 && w.now >= w.closedAt+closeGrace && c.job != Open && c.job != Disconnect
		w.failing = w.failing || overdue && (c.job == Open || c.job == Apply)
		if overdue && c.job == Apply {
			if g := w.changedFor(c); g != nil {
				victims = append(victims, g)
			}
		}
		c.abandoned = c.abandoned || overdue || left
	}
	before := slices.Clone(w.rested)
	w.step(func() { w.m.Tick(w.now, epoch) })
	w.failing = false
	for _, g := range victims {
		if w.closedAt < 0 && g.err == nil {
			w.fail("the Apply for %s is overdue, and he goes on waiting", g.name)
		}
	}
	w.swept(before)
	for _, c := range w.conns {
		if w.cfg.LeakAfter > 0 && c.holder != nil && w.now >= c.lentAt+w.cfg.LeakAfter && w.cfg.EventLevel != NoEvents && w.closedAt < 0 && c.reported != c.leases {
			w.fail("the lease of c%d is out for %v and has not been reported", c.id, w.now-c.lentAt)
		}
		if w.cfg.MaxLease > 0 && c.holder != nil && w.now >= c.lentAt+w.cfg.MaxLease {
			w.fail("the lease of c%d is out for %v and has not been ended", c.id, w.now-c.lentAt)
		}
	}
}

// swept checks what housekeeping has done to those that were idle before it.
func (w *world) swept(before []*conn) {
	w.tb.Helper()
	expired, checks := 0, 0
	for i, c := range before {
		switch {
		case c.job == Check && c.quiet:
			checks++
		case c.job != Disconnect:
			continue
		default:
			expired++
			for _, o := range before[:i] {
				if o.restedAt < c.restedAt && o.job != Disconnect && (w.overAge(o) || !w.overAge(c)) {
					w.fail("c%d has expired before c%d, which is idle for longer", c.id, o.id)
				}
			}
		}
	}
	if expired > max(1, len(before)/2) || checks > max(1, len(before)/10) {
		w.fail("of %d idle connections %d have expired and %d are checked at once", len(before), expired, checks)
	}
}

func (w *world) overAge(c *conn) bool { return c.slot.expires > 0 && c.slot.expires <= w.now }

func (t *timer) arm(at time.Duration, epoch uint64) {
	if t.armed {
		t.stale = append(t.stale, t.epoch)
	}
	t.armed, t.at, t.epoch = true, at, epoch
}

func (t *timer) disarm() {
	t.armed = false
	t.stale = append(t.stale, t.epoch)
}

// live counts what the capacity bounds.
func (w *world) live() (n int) {
	for _, c := range w.conns {
		if !c.gone && !c.abandoned {
			n++
		}
	}
	return n
}

// running counts the jobs of a kind that count.
func (w *world) running(job EffectKind) (n int) {
	for _, c := range w.conns {
		if c.job == job && !c.abandoned {
			n++
		}
	}
	return n
}

// held counts the leases that are out.
func (w *world) held() (n int) {
	for _, c := range w.conns {
		if c.holder != nil {
			n++
		}
	}
	return n
}

// perform does in the model what the effect says, if it is possible.
func (w *world) perform(e Effect) {
	w.tb.Helper()
	if w.stopped > 0 && e.Kind != Reject && e.Kind != Answer {
		w.fail("%v after the end", e.Kind)
	}
	switch e.Kind {
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
	case Open:
		w.open(e.Slot)
	case Check, Reset, Apply, Unapply, Disconnect:
		c := w.current[e.Slot]
		switch {
		case c == nil || c.id != e.Slot.ID || !c.standing:
			w.fail("%v on a slot without a connection", e.Kind)
		case c.job != 0:
			w.fail("%v on c%d, where %v runs", e.Kind, c.id, c.job)
		case c.holder != nil:
			w.fail("%v on c%d, which %s holds", e.Kind, c.id, c.holder.name)
		case e.Slot.Conn != any(c):
			w.fail("c%d has another connection in its slot", c.id)
		case e.Kind != Disconnect && (w.closedAt >= 0 || c.abandoned):
			w.fail("%v on c%d, which is to be closed", e.Kind, c.id)
		}
		w.begun(c, e)
		c.job, c.jobSince = e.Kind, w.now
		w.unrest(c)
	case Interrupt:
		if c := w.current[e.Slot]; c == nil || c.job == 0 {
			w.fail("Interrupt where nothing runs")
		}
	case Revoke:
		c := w.current[e.Slot]
		if c == nil || c.holder == nil || c.holder.lease.epoch != e.Epoch {
			w.fail("Revoke of a lease that is not out")
		}
		c.holder = nil
	case Retire:
		if c := w.current[e.Slot]; c != nil && !c.gone || w.retired[e.Slot] {
			w.fail("Retire of a slot in use")
		}
		w.retired[e.Slot] = true
	case Grant:
		g := e.Waiter.Owner.(*get)
		i := slices.Index(w.queue, g)
		c := w.current[e.Slot]
		switch {
		case i < 0 || c == nil:
			w.fail("%s is granted and does not wait", g.name)
		case slices.Contains(w.rested, c), w.freed == nil || w.freed.conn != c:
			for _, o := range w.queue[:i] {
				if w.fits(c, o) {
					w.ahead = append(w.ahead, o)
				}
			}
		}
		w.queue = slices.Delete(w.queue, i, i+1)
		w.grant(g, e.Slot)
	case Reject:
		g := e.Waiter.Owner.(*get)
		i := slices.Index(w.queue, g)
		if i < 0 || e.Err == nil {
			w.fail("%s is rejected with %v and does not wait", g.name, e.Err)
		}
		if errors.Is(e.Err, messages.ErrDeadlock) {
			last := i
			for j, o := range w.queue {
				if slices.ContainsFunc(o.holds, func(l *lease) bool { return l.conn.lent(l) }) {
					last = j
				}
			}
			if !w.deadlocked() || i != last {
				w.fail("%s is told of a deadlock; deadlocked %v, the newest who holds something %d", g.name, w.deadlocked(), last)
			}
		}
		w.queue = slices.Delete(w.queue, i, i+1)
		g.err = e.Err
		w.rejected(g)
	case Answer:
		w.answer(e.Ticket, e.Err)
	case ArmBackoff:
		if w.backoff.armed || e.Epoch <= w.backoff.epoch || e.At < w.now || e.Generation != w.generation || w.closedAt >= 0 {
			w.fail("a backoff of epoch %d, generation %d until %v after one of %d (armed %v)",
				e.Epoch, e.Generation, e.At, w.backoff.epoch, w.backoff.armed)
		}
		w.backoff.arm(e.At, e.Epoch)
		w.doubtedAt = w.now
		w.backoffs++
		w.probing = false
	case DisarmBackoff:
		if !w.backoff.armed {
			w.fail("DisarmBackoff of no timer")
		}
		w.backoff.disarm()
	case ArmTick:
		if w.tick.armed && e.At >= w.tick.at || e.Epoch <= w.tick.epoch {
			w.fail("a tick of epoch %d at %v after one of %d at %v (armed %v)", e.Epoch, e.At, w.tick.epoch, w.tick.at, w.tick.armed)
		}
		w.tick.arm(e.At, e.Epoch)
	case DisarmTick:
		if !w.tick.armed {
			w.fail("DisarmTick of no timer")
		}
		w.tick.disarm()
	case CancelLifetime:
		if w.cancelled++; w.cancelled > 1 || w.closedAt < 0 {
			w.fail("the lifetime is cancelled for the %dth time", w.cancelled)
		}
	case Stopped:
		if w.stopped++; w.stopped > 1 || w.closedAt < 0 {
			w.fail("Stopped for the %dth time", w.stopped)
		}
		for _, c := range w.conns {
			if !c.gone {
				w.fail("Stopped while c%d is left", c.id)
			}
		}
		if w.tick.armed || w.backoff.armed {
			w.fail("Stopped while a timer is armed")
		}
	default:
		w.fail("effect %v", e.Kind)
	}
}

// begun checks a job on a connection that stands: why it, and who for.
func (w *world) begun(c *conn, e Effect) {
	w.tb.Helper()
	g, idle := client(e.Slot), slices.Contains(w.rested, c)
	c.quiet = false
	if idle && g != nil {
		w.choose(g, c)
	}
	switch e.Kind {
	case Check:
		c.quiet = g == nil
		if c.quiet && (w.cfg.KeepAlive == 0 || w.now < w.wakes(c) || w.backoff.armed) {
			w.fail("c%d, alive at %v, is checked for nobody: backoff %v", c.id, c.aliveAt, w.backoff.armed)
		}
	case Apply:
		c.want, c.client = e.Slot.Want, g
		i := slices.Index(w.wills, c.want)
		switch {
		case c.setting != nil || c.want == nil:
			w.fail("%v is applied to c%d, which has %v", c.want, c.id, c.setting)
		case g != nil && g.Setting != c.want:
			w.fail("%v is applied to c%d for %s, who asks for %v", c.want, c.id, g.name, g.Setting)
		case g == nil && (i < 0 || c.leases > 0):
			w.fail("%v is applied to c%d for nobody", c.want, c.id)
		case g == nil:
			w.wills = slices.Delete(w.wills, i, i+1)
		}
	case Unapply:
		c.client = g
		if c.setting == nil || g == nil || g.Setting == c.setting || !w.cfg.Unapply {
			w.fail("%v is taken off c%d for %v", c.setting, c.id, g)
		}
	case Disconnect:
		if c.setting != nil && (idle || w.overAge(c)) {
			w.wills = append(w.wills, c.setting)
		}
		if idle && g == nil && w.closedAt < 0 && !c.stale && w.live() <= w.capacity && !w.overAge(c) &&
			(w.cfg.IdleTimeout == 0 || w.now < c.restedAt+w.cfg.IdleTimeout) {
			w.fail("c%d is idle and closed for no reason", c.id)
		}
	}
}

// rejected checks the errors that only a pool that backs off may give.
func (w *world) rejected(g *get) {
	w.tb.Helper()
	var b *messages.BackoffError
	switch {
	case errors.As(g.err, &b):
		if w.cfg.Backoff.Mode != BackoffFailFast && !w.hopeless(g) || !w.backoff.armed {
			w.fail("%s is told of a blocking period: %v", g.name, g.err)
		}
	case errors.Is(g.err, messages.ErrConnectFailed) && !w.failing:
		if !w.hopeless(g) {
			w.fail("%s is told of a connect that was not its own: %v", g.name, g.err)
		}
	}
}

// hopeless says whether a wait cannot end well: nothing is out, and the
// deadline is earlier than the next attempt.
func (w *world) hopeless(g *get) bool {
	return w.cfg.Backoff.Mode == BackoffWait && w.backoff.armed && g.Deadline > 0 && g.Deadline < w.backoff.at &&
		w.live() == w.running(Disconnect)
}

func (w *world) open(s *Slot) {
	w.tb.Helper()
	limit := w.cfg.MaxConnecting
	if w.probing {
		limit = 1
	}
	old := w.current[s]
	switch {
	case w.closedAt >= 0:
		w.fail("Open after Close")
	case w.paused || w.suspended:
		w.fail("Open while paused %v, suspended %v", w.paused, w.suspended)
	case w.backoff.armed:
		w.fail("Open in a blocking period")
	case w.live() >= w.capacity:
		w.fail("Open with %d of %d", w.live(), w.capacity)
	case w.running(Open) >= limit:
		w.fail("Open with %d under way of %d allowed", w.running(Open), limit)
	case old != nil && !old.gone || w.retired[s]:
		w.fail("Open in a slot that is not free")
	case s.ID != uint64(len(w.conns)+1):
		w.fail("connection %d follows %d", s.ID, len(w.conns))
	}
	if g := client(s); g == nil {
		asked := slices.ContainsFunc(w.tickets, func(t *ticket) bool { return t.op == opReady && !t.answered })
		if spare := w.spare(s) + len(w.rested) + w.transit(); !asked && spare >= w.cfg.MinIdle {
			w.fail("Open for nobody, with %d idle or soon to be", spare)
		}
	} else if c := w.newest(g.Setting); c != nil || w.newest(nil) != nil {
		w.fail("Open for %s, and one is idle", g.name)
	}
	c := &conn{id: s.ID, slot: s, job: Open, jobSince: w.now}
	w.conns = append(w.conns, c)
	w.current[s] = c
}

// spare counts the connects under way for nobody, but for one slot's.
func (w *world) spare(but *Slot) (n int) {
	for _, c := range w.conns {
		if c.job == Open && !c.abandoned && c.slot != but && client(c.slot) == nil {
			n++
		}
	}
	return n
}

// transit counts the jobs under way on connections that may be idle after it.
func (w *world) transit() int {
	return w.running(Check) + w.running(Reset) + w.running(Apply) + w.running(Unapply)
}

// grant gives the slot's connection to g.
func (w *world) grant(g *get, s *Slot) {
	w.tb.Helper()
	c := w.current[s]
	switch {
	case g.over():
		w.fail("%s has ended already", g.name)
	case c == nil || c.id != s.ID || !c.standing || c.gone || c.job != 0 || c.abandoned || s.Conn != any(c):
		w.fail("%s is granted what is not there", g.name)
	case c.holder != nil:
		w.fail("%s is granted c%d, which %s holds", g.name, c.id, c.holder.name)
	case c.setting != g.Setting:
		w.fail("%s asks for %v and is granted c%d, which has %v", g.name, g.Setting, c.id, c.setting)
	case c.stale:
		w.fail("%s is granted c%d, which is stale", g.name, c.id)
	case w.closedAt >= 0 || w.paused || w.suspended:
		w.fail("%s is granted c%d: closed at %v, paused %v, suspended %v", g.name, c.id, w.closedAt, w.paused, w.suspended)
	case w.live()-w.running(Disconnect) > w.capacity:
		w.fail("%s is granted c%d above the capacity", g.name, c.id)
	case w.cfg.MaxLifetime > 0 && w.now >= c.readyAt+w.cfg.MaxLifetime, w.overAge(c):
		w.fail("%s is granted c%d, which is %v old", g.name, c.id, w.now-c.readyAt)
	}
	if i := slices.Index(w.rested, c); i >= 0 {
		if w.cfg.Check && w.cfg.CheckAfterIdle >= 0 && (w.now-c.restedAt > w.cfg.CheckAfterIdle && !w.late || w.backoff.armed ||
			w.probing && c.aliveAt <= w.doubtedAt) {
			w.fail("%s is granted c%d unchecked after %v", g.name, c.id, w.now-c.restedAt)
		}
		if last := w.newest(c.setting); c != last {
			w.fail("%s is granted c%d, and c%d has come back later", g.name, c.id, last.id)
		}
		w.unrest(c)
	}
	w.grants++
	c.leases++
	c.lentAt = w.now
	c.quiet = false
	if s.LeaseEpoch != uint64(c.leases) {
		w.fail("the lease %d of c%d has epoch %d", c.leases, c.id, s.LeaseEpoch)
	}
	g.lease = &lease{slot: s, id: s.ID, epoch: s.LeaseEpoch, conn: c}
	c.holder = g
}

func (w *world) unrest(c *conn) {
	if i := slices.Index(w.rested, c); i >= 0 {
		w.rested = slices.Delete(w.rested, i, i+1)
	}
}

func (w *world) answer(mt *Ticket, err error) {
	w.tb.Helper()
	t := mt.Owner.(*ticket)
	if t.answered {
		w.fail("%s is answered twice", t.name)
	}
	t.answered, t.err = true, err
	if err != nil {
		var d *messages.DrainError
		if errors.As(err, &d) && len(d.Holders) != w.held() {
			w.fail("%s is told of %d holders, not of %d", t.name, len(d.Holders), w.held())
		}
		return
	}
	switch mt.op {
	case opSetCapacity:
		if w.live() > w.capacity || t.n != w.capacity {
			w.fail("%s is done with %d of %d", t.name, w.live(), w.capacity)
		}
	case opClose:
		for _, c := range w.conns {
			leftBehind := c.abandoned && c.job != Open && c.job != Disconnect
			if c.standing && !c.gone && !leftBehind {
				w.fail("%s is done and c%d is left", t.name, c.id)
			}
		}
		if len(w.queue) > 0 {
			w.fail("%s is done before the %d who wait", t.name, len(w.queue))
		}
	}
}

// hear follows the events.
func (w *world) hear(e messages.Event) {
	w.tb.Helper()
	w.seq++
	if e.Seq != w.seq {
		w.fail("event %d follows %d", e.Seq, w.seq-1)
	}
	if !e.Time.Equal(w.cfg.Start.Add(w.now)) && w.m.NeedsClock() {
		w.fail("%v is told with the time %v", e.Kind, e.Time)
	}
	if w.cfg.EventLevel == RareEvents && e.Kind != messages.PoolBackoff && e.Kind != messages.LeaseLeaked || w.cfg.EventLevel == NoEvents {
		w.fail("%v is told to nobody", e.Kind)
	}
	if e.Generation != w.generation || e.Pool != w.cfg.Name {
		w.fail("%v is told of pool %q, generation %d, not %d", e.Kind, e.Pool, e.Generation, w.generation)
	}
	var c *conn
	if e.ConnID != 0 {
		c = w.conns[e.ConnID-1]
	}
	wrong := false
	switch e.Kind {
	case messages.ConnectionCreated:
		wrong = c.created
		c.created = true
	case messages.ConnectionReady:
		wrong = !c.created || c.ready || c.closed
		c.ready = true
	case messages.ConnectionClosed:
		wrong = !c.created || c.closed || e.Reason == 0
		c.closed = true
	case messages.CheckedIn:
		wrong = !c.ready || c.closed
	case messages.LeaseLeaked:
		wrong = c.reported == c.leases || e.Err == nil && (c.holder == nil || e.Duration < w.cfg.LeakAfter) ||
			errors.Is(e.Err, messages.ErrLeaseExpired) && e.Duration < w.cfg.MaxLease
		c.reported = c.leases
	case messages.CheckOutStarted:
		w.started++
	case messages.CheckedOut:
		wrong = !c.ready || c.closed
		w.ended++
	case messages.CheckOutFailed:
		wrong = e.Reason == 0
		w.ended++
	}
	if wrong {
		w.fail("%v of c%d at the wrong time", e.Kind, e.ConnID)
	}
}

// rest makes c idle. A check for nobody has been no end of its rest.
func (w *world) rest(c *conn) {
	c.aliveAt = c.slot.aliveAt // by a clock that may be coarse
	if d := w.now - c.slot.aliveAt; (d < 0 || d > w.m.timers.coarseTick && !w.late) && w.m.opts.needsClock {
		w.fail("c%d has come back %v before now", c.id, d)
	}
	at := len(w.rested)
	if c.quiet {
		at = slices.IndexFunc(append(w.rested[:at:at], c), func(o *conn) bool { return o.restedAt >= c.restedAt })
	} else {
		c.restedAt = w.now
		if w.m.opts.needsClock {
			c.restedAt = c.slot.since
		}
	}
	c.quiet = false
	w.rested = slices.Insert(w.rested, at, c)
}

// verify compares the books after a step.
func (w *world) verify() {
	w.tb.Helper()
	if err := w.m.CheckInvariants(); err != nil {
		w.fail("the machine: %v", err)
	}
	for _, c := range w.conns {
		resting := c.standing && !c.gone && c.job == 0 && c.holder == nil
		if resting && !slices.Contains(w.rested, c) {
			w.rest(c)
		}
		if c.standing && !c.gone && !c.abandoned && c.job != Disconnect && c.slot.Setting() != c.setting {
			w.fail("c%d has %v, and the machine says %v", c.id, c.setting, c.slot.Setting())
		}
		if resting && (c.stale || w.closedAt >= 0) {
			w.fail("c%d is idle and was to be closed", c.id)
		}
		if c.abandoned && c.standing && !c.gone && c.job == 0 {
			w.fail("c%d has come back after it was given up, and is not closed", c.id)
		}
	}
	st := w.m.Stats()
	switch {
	case w.live() != st.Open+st.Connecting+st.Closing:
		w.fail("%d live, and Stats are %+v", w.live(), st)
	case st.Open != st.Idle+st.Borrowed+st.InTransition:
		w.fail("Open is not the sum: %+v", st)
	case st.Idle != len(w.rested) || st.Borrowed != w.held() || st.Waiting != len(w.queue) ||
		st.Connecting != w.running(Open) || st.Closing != w.running(Disconnect):
		w.fail("idle %d, held %d, waiting %d, and Stats are %+v", len(w.rested), w.held(), len(w.queue), st)
	case st.Generation != w.generation || st.Capacity != w.capacity:
		w.fail("generation %d, capacity %d, and Stats are %+v", w.generation, w.capacity, st)
	case st.Gets != uint64(w.gets) || st.Grants != uint64(w.grants) || st.Connects != uint64(len(w.conns)) ||
		st.Backoffs != uint64(w.backoffs):
		w.fail("%d Gets, %d granted, %d connects, %d backoffs, and Stats are %+v", w.gets, w.grants, len(w.conns), w.backoffs, st)
	case w.cfg.EventLevel == AllEvents && (w.started != w.gets || w.started-w.ended != len(w.queue)):
		w.fail("events tell of %d started and %d ended, %d wait", w.started, w.ended, len(w.queue))
	}
	for _, b := range w.actors {
		waits := slices.ContainsFunc(w.queue, func(g *get) bool { return g.actor == b })
		holds := slices.ContainsFunc(w.conns, func(c *conn) bool { return c.holder != nil && c.holder.actor == b })
		if b.watched != (waits || holds) {
			w.fail("%s is watched %v, waits %v, holds %v", b.name, b.watched, waits, holds)
		}
	}
	// Nobody waits for nothing.
	if w.closedAt >= 0 || w.paused || w.suspended {
		return
	}
	if w.deadlocked() {
		w.fail("a deadlock, and nobody is told")
	}
	for _, g := range w.queue {
		if w.hopeless(g) {
			w.fail("%s waits until %v, and nothing can happen before %v", g.name, g.Deadline, w.backoff.at)
		}
	}
	for _, g := range w.queue {
		if g.slot != nil {
			if c := w.current[g.slot]; c == nil || c.job == 0 || c.job == Reset || c.abandoned || client(g.slot) != g {
				w.fail("%s waits for a job that is not under way", g.name)
			}
			continue
		}
		switch {
		case slices.ContainsFunc(w.rested, func(c *conn) bool { return w.fits(c, g) }):
			w.fail("%s waits while c%d is idle", g.name, w.rested[0].id)
		case w.mayConnect():
			w.fail("%s waits while a connect is allowed", g.name)
		case w.backoff.armed && w.cfg.Backoff.Mode == BackoffFailFast:
			w.fail("%s waits in a blocking period that fails fast", g.name)
		}
	}
	if w.cfg.KeepAlive > 0 && !w.backoff.armed {
		for _, c := range w.rested {
			latest := max(w.now, w.wakes(c)) + max(w.cfg.KeepAlive/10, time.Millisecond)
			if !w.tick.armed || w.tick.at > latest {
				w.fail("c%d is to be checked at %v, and the tick is armed %v for %v", c.id, w.wakes(c), w.tick.armed, w.tick.at)
			}
		}
	}
	if len(w.queue) == 0 && len(w.rested)+w.running(Open)+w.transit() < w.cfg.MinIdle && w.mayConnect() &&
		w.now >= w.m.backgroundAfter && (!w.tick.armed || w.tick.at > w.now) {
		w.fail("%d idle, MinIdle is %d, and nothing is done for it", len(w.rested), w.cfg.MinIdle)
	}
}

// short gives an error without the picture of the pool that comes with it.
func (w *world) short(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(*messages.GetError); ok && !w.full {
		err = e.Err
	}
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "actorpool: "), "\n", "; ")
}

// describe puts an effect into words.
func (w *world) describe(e Effect) string {
	name := func() string {
		for i := len(w.conns) - 1; i >= 0 && e.Slot.ID == 0; i-- {
			if w.conns[i].slot == e.Slot {
				return fmt.Sprintf("c%d", w.conns[i].id)
			}
		}
		return fmt.Sprintf("c%d", e.Slot.ID)
	}
	switch e.Kind {
	case Apply:
		return fmt.Sprintf("Apply %v to %s", e.Slot.Want, name())
	case Unapply:
		return fmt.Sprintf("Unapply %v from %s", e.Slot.Setting(), name())
	case Open, Check, Reset, Disconnect, Interrupt:
		return fmt.Sprintf("%v %s", e.Kind, name())
	case Watch, Unwatch:
		return fmt.Sprintf("%v %s", e.Kind, e.Borrower.Owner.(*borrower).name)
	case Retire:
		return "Retire the connector of " + name()
	case Revoke:
		return fmt.Sprintf("Revoke %s/%d", name(), e.Epoch)
	case Grant:
		return fmt.Sprintf("Grant %s/%d -> %s", name(), e.Slot.LeaseEpoch, e.Waiter.Owner.(*get).name)
	case Reject:
		return fmt.Sprintf("Reject %s: %s", e.Waiter.Owner.(*get).name, w.short(e.Err))
	case Answer:
		return fmt.Sprintf("Answer %s: %s", e.Ticket.Owner.(*ticket).name, w.short(e.Err))
	case ArmBackoff:
		return fmt.Sprintf("ArmBackoff %v, epoch %d, attempt %d", e.At, e.Epoch, e.Attempt)
	case ArmTick:
		return fmt.Sprintf("ArmTick %v", e.At)
	}
	return e.Kind.String()
}
