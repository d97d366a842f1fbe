// The model: a slow and simple idea of a pool, in slices and maps. It is told of
// inputs and effects, and answers questions about the pool by counting.

package machine

import (
	"slices"
	"time"
)

// model is what a pool looks like from outside. It reads no list and no count of the
// machine, and of a slot only what it cannot know itself: for which waiter its job is
// done, and when its connection expires, which is partly random.
type model struct {
	cfg Config
	now time.Duration

	queue     []*get          // the waiters, in order of arrival
	conns     []*conn         // all connections that ever were, by id from 1
	idle      []*conn         // the idle ones, newest last
	current   map[*Slot]*conn // the connection in a slot
	retired   map[*Slot]bool  // the slots that must not be used again
	tickets   []*ticket       // all control requests that ever were
	visitors  []*visitor      // all visits that ever were
	actors    []*borrower     // all borrowers that ever were
	inherited []any           // settings that replacements of expired connections may take over

	capacity    int
	note        string // on the capacity
	generation  uint64
	paused      bool
	suspended   bool
	probing     bool
	closedAt    time.Duration // when Close began; -1: the pool is open
	connectTook time.Duration // the last connect that succeeded

	proofs    int           // how often a connection was proved alive
	deadProof int           // the last proof of a connection that was found dead; no later ones are suspects
	failedAt  time.Duration // when the last connect failed that began a backoff
	backoff   timer
	tick      timer

	permits int // how many connects may run at once while they ramp up

	// Counts.
	switches         int  // settings that were put on a connection
	refused          bool // a Get has refused a connection, so the waiters may not be in order of arrival
	gets             int
	grants           int
	backoffs         int
	hijacks          int
	cancelled        int    // how often the lifetime was cancelled
	stopped          int    // how often Stopped was emitted
	seq              uint64 // of the last event
	checkOutsStarted int    // by the events
	checkOutsEnded   int    // by the events: CheckedOut, CheckOutFailed

	// The step that is running.
	failing    bool   // a connect or Apply fails in it
	lowering   bool   // it is a SetCapacity
	lost       *conn  // its connector is lost in it
	tickLate   bool   // the tick was due before it
	freed      *freed // the connection that comes free in it
	passedOver []*get // waiters before one that is granted a connection that they could use
}

// get is one Get of a test.
type get struct {
	Waiter
	name      string
	lease     *lease
	err       error
	actor     *borrower // nil: the caller is no actor
	holds     []*lease  // what its caller holds while it waits
	askedAt   time.Duration
	overtaken int   // how often a later waiter was served first, for its setting
	outOfTurn bool  // it was given its connection by LendIdle or a visit
	paid      bool  // a check that it waited for has failed
	reset     *conn // the one whose reset it has waited for
	resetEnds time.Duration
}

// ended says whether the Get has been granted or rejected.
func (g *get) ended() bool { return g.lease != nil || g.err != nil }

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

// out says that the lease has not ended.
func (l *lease) out() bool { return l.conn.holder != nil && l.conn.holder.lease == l }

// conn is one connection, from its connect to its end.
type conn struct {
	id   uint64
	slot *Slot

	established bool // its connect has succeeded
	ended       bool // its connect has failed, or it was disconnected
	stale       bool // of an older generation

	// The job under way.
	job        EffectKind // 0: none
	jobSince   time.Duration
	givenUp    bool // the job is overdue
	cancelled  bool // it is a connect that was too many
	cancelAt   time.Duration
	forNobody  bool // no waiter waited for it when the capacity was lowered
	background bool // it is a check for KeepAlive, which does not end the idling

	// The setting.
	setting   any
	want      any  // what is being applied
	changeFor *get // for which the setting is being changed; nil: no waiter

	// The lease.
	holder   *get
	leases   int // granted so far
	uses     int // those of them that were a use
	reported int // the number of the lease that was reported as leaked
	lentAt   time.Duration

	readyAt   time.Duration // when the connect succeeded
	idleSince time.Duration
	idledAt   time.Duration // the same, as the clock says it and not the machine
	aliveAt   time.Duration // when it was last known to be alive
	proof     int           // the number of that moment, counted over all connections

	// The events that have been emitted for it.
	createdEvent, readyEvent, closedEvent bool
}

// freed is a connection that comes free, and the waiter that must get it; nil: none.
type freed struct {
	conn *conn
	next *get
}

// ticket is one control request of a test.
type ticket struct {
	Ticket
	name     string
	n        int // the capacity that a SetCapacity asks for, the connections that a Warm does
	answered bool
	err      error
}

// timer is one of the two timers of a machine.
type timer struct {
	armed bool
	at    time.Duration
	epoch uint64
	stale []uint64 // the epochs of earlier armings, which must have no effect any more
}

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

func newModel(cfg Config) model {
	return model{
		cfg: cfg, permits: 2, capacity: cfg.Capacity, paused: cfg.PauseOnClear, closedAt: -1,
		current: map[*Slot]*conn{}, retired: map[*Slot]bool{},
	}
}

// The counts.

// counted counts the connections that the capacity bounds.
func (mo *model) counted() (n int) {
	for _, c := range mo.conns {
		if !c.ended && !c.givenUp {
			n++
		}
	}
	return n
}

// surplus counts the connections that are too many and not on their way out; negative:
// there is room.
func (mo *model) surplus() int {
	n := mo.counted() - mo.running(Disconnect) - mo.capacity
	for _, c := range mo.conns {
		if c.cancelled && !c.ended && !c.givenUp && c.job == Open {
			n--
		}
	}
	return n
}

// running counts the jobs of one kind, without those that were given up.
func (mo *model) running(job EffectKind) (n int) {
	for _, c := range mo.conns {
		if c.job == job && !c.givenUp {
			n++
		}
	}
	return n
}

// inTransition counts the jobs after which a connection may be idle.
func (mo *model) inTransition() int {
	return mo.running(Check) + mo.running(Reset) + mo.running(Apply) + mo.running(Unapply)
}

// backgroundChecks counts the checks under way for no waiter, without that of one.
func (mo *model) backgroundChecks(but *conn) (n int) {
	for _, c := range mo.conns {
		if c.job == Check && c.background && !c.givenUp && c != but {
			n++
		}
	}
	return n
}

// borrowed counts the leases that are out.
func (mo *model) borrowed() (n int) {
	for _, c := range mo.conns {
		if c.holder != nil {
			n++
		}
	}
	return n
}

// unclaimedConnects counts the connects that no waiter waits for, without stale ones
// and without that in one slot.
func (mo *model) unclaimedConnects(but *Slot) (n int) {
	for _, c := range mo.conns {
		if c.job == Open && !c.givenUp && !c.cancelled && !c.stale && c.slot != but && jobFor(c.slot) == nil {
			n++
		}
	}
	return n
}

// jobFor is the Get that the job on a slot is for; nil: none.
func jobFor(s *Slot) *get {
	if s.waiter == nil {
		return nil
	}
	return s.waiter.Owner.(*get)
}

// The pool.

// mayConnect says whether one more connect is allowed.
func (mo *model) mayConnect() bool {
	return !mo.backoff.armed && mo.counted() < mo.capacity && mo.running(Open) < mo.connectLimit()
}

// connectLimit is how many connects may be under way.
func (mo *model) connectLimit() int {
	if mo.probing {
		return 1
	}
	if mo.cfg.MaxConnecting == 0 {
		return mo.permits
	}
	return mo.cfg.MaxConnecting
}

// expired says whether the deadline of a waiter has passed (G11).
func (mo *model) expired(g *get) bool {
	return g.Deadline > 0 && g.Deadline <= mo.now && g.askedAt < mo.now
}

// deadlocked says whether every connection is held by a caller that waits for
// another.
func (mo *model) deadlocked() bool {
	if mo.borrowed() == 0 || mo.counted() != mo.borrowed() || mo.counted() < mo.capacity {
		return false
	}
	for _, c := range mo.conns {
		if c.holder != nil && !slices.ContainsFunc(mo.queue, func(g *get) bool { return slices.Contains(g.holds, c.holder.lease) }) {
			return false
		}
	}
	return true
}

// hopeless says whether a Get cannot be served in time: no connection can come back,
// and its deadline is before the next attempt (G9).
func (mo *model) hopeless(g *get) bool {
	return mo.cfg.Backoff.Mode == BackoffWait && mo.backoff.armed && g.Deadline > 0 && g.Deadline < mo.backoff.at &&
		mo.counted() == mo.running(Disconnect)
}

// newGeneration makes all connections stale.
func (mo *model) newGeneration() {
	mo.generation++
	mo.permits = 2
	mo.probing = false
	mo.paused = mo.cfg.PauseOnClear
	for _, c := range mo.conns {
		c.stale = true
	}
}

// canServe says whether a Get that comes now can be served, as far as anybody knows
// (B17).
func (mo *model) canServe() bool {
	switch {
	case mo.closedAt >= 0, mo.paused, mo.suspended, mo.capacity == 0:
		return false
	case !mo.backoff.armed:
		return true
	case mo.cfg.Backoff.Mode == BackoffFailFast:
		return len(mo.idle) > 0
	}
	return slices.ContainsFunc(mo.conns, func(c *conn) bool {
		return c.established && !c.ended && !c.stale && !c.givenUp && c.job != Disconnect
	})
}

// The connections.

// newestIdle is the newest idle connection with this setting that g can be given; nil:
// any Get.
func (mo *model) newestIdle(setting any, g *get) (found *conn) {
	for _, c := range mo.idle {
		if c.setting == setting && mo.allows(g, c) {
			found = c
		}
	}
	return found
}

// oldestWithSetting is the connection with a setting that has been idle for longest.
func (mo *model) oldestWithSetting(g *get) *conn {
	for _, c := range mo.idle {
		if c.setting != nil && mo.allows(g, c) {
			return c
		}
	}
	return nil
}

// proved notes that a connection is alive.
func (mo *model) proved(c *conn) {
	mo.proofs++
	c.proof, c.aliveAt = mo.proofs, mo.now
}

// foundDead notes that a connection is dead.
func (mo *model) foundDead(c *conn) {
	if mo.cfg.Check && !mo.condemned(c) {
		mo.deadProof = max(mo.deadProof, c.proof)
	}
}

// suspect says that a connection was last proved alive before one that is dead.
func (mo *model) suspect(c *conn) bool { return c.proof <= mo.deadProof }

// allows says whether a Get may be given an idle connection: one that has waited for a
// check in vain waits for no other, and a suspect needs one.
func (mo *model) allows(g *get, c *conn) bool { return g == nil || !g.paid || !mo.suspect(c) }

// checkFailed notes that a check of a connection has failed, or is overdue.
func (mo *model) checkFailed(c *conn) {
	mo.foundDead(c)
	if g := jobFor(c.slot); g != nil {
		g.paid = true
	}
}

// notIdle takes a connection out of the idle ones, if it is one of them.
func (mo *model) notIdle(c *conn) {
	if i := slices.Index(mo.idle, c); i >= 0 {
		mo.idle = slices.Delete(mo.idle, i, i+1)
	}
}

// canBecome says whether c has the setting that g asks for, or can be given it. If
// settings cannot be taken off, another connection must be opened instead, which
// cannot be done in a blocking period.
func (mo *model) canBecome(c *conn, g *get) bool {
	return c.setting == nil || c.setting == g.Setting || mo.cfg.Unapply || !mo.backoff.armed
}

// condemned says whether c must be closed when it comes free.
func (mo *model) condemned(c *conn) bool {
	return mo.closedAt >= 0 || c.stale || c.givenUp || c.cancelled || mo.surplus() > 0 || mo.tooOld(c) || mo.usedUp(c)
}

// usedUp says whether c has had as many uses as MaxUses allows.
func (mo *model) usedUp(c *conn) bool {
	return mo.cfg.MaxUses > 0 && c.holder == nil && c.uses >= mo.cfg.MaxUses
}

// coming counts the connections that stand or will, if their connect succeeds.
func (mo *model) coming() (n int) {
	for _, c := range mo.conns {
		if !c.ended && !c.givenUp && !c.cancelled && c.job != Disconnect {
			n++
		}
	}
	return n
}

// tooOld says whether c is past its MaxLifetime.
func (mo *model) tooOld(c *conn) bool { return c.slot.expires > 0 && c.slot.expires <= mo.now }

// timeout is the timeout of the job of c.
func (mo *model) timeout(c *conn) time.Duration {
	switch {
	case c.job == Disconnect:
		return mo.cfg.DisconnectTimeout
	case c.job == Check && !c.background:
		return mo.cfg.CheckTimeout
	}
	return mo.cfg.ConnectTimeout
}

// keepAliveDue is when an idle connection is to be checked to keep it alive.
func (mo *model) keepAliveDue(c *conn) time.Duration {
	return after(max(c.aliveAt, c.idleSince), mo.cfg.KeepAlive)
}

// settingWaiter is the Get for which the setting of c was changed, if it still waits.
func (mo *model) settingWaiter(c *conn) *get {
	if c.changeFor == nil || c.stale || c.givenUp || !slices.Contains(mo.queue, c.changeFor) {
		return nil
	}
	return c.changeFor
}

// settingChanging says whether the setting of a connection is being changed for g.
func (mo *model) settingChanging(g *get) bool {
	return slices.ContainsFunc(mo.conns, func(c *conn) bool {
		return (c.job == Apply || c.job == Unapply) && mo.settingWaiter(c) == g
	})
}

// Which waiter a connection is for.

// comesFree says that c comes free in this step. It is for the first waiter that
// asks for exactly its setting, unless a waiter would be overtaken for the ninth
// time (G7). Otherwise it is for the first waiter that can use it, without those for
// which a setting is being changed.
func (mo *model) comesFree(c *conn) {
	mo.freed = &freed{conn: c}
	if slices.ContainsFunc(mo.visitors, func(v *visitor) bool { return v.waits && slices.Contains(v.todo, c) }) {
		return // a visit goes before all waiters
	}
	if mo.suspended || mo.paused || mo.condemned(c) || mo.cfg.CoDel.on() { // CoDel may shed the waiter
		return
	}
	waiters := slices.DeleteFunc(slices.Clone(mo.queue), mo.expired) // the waits of the others end (G11)
	for i, g := range waiters {
		fixed := !mo.canBecome(c, waiters[0]) // c is of use only to those that ask for its setting
		if i > 0 && waiters[0].overtaken >= 8 && !fixed {
			break
		}
		if g.Setting == c.setting {
			for _, o := range mo.queue[:slices.Index(mo.queue, g)] {
				if !fixed {
					o.overtaken++
				}
			}
			mo.freed.next = g
			return
		}
	}
	for _, g := range waiters {
		if !mo.settingChanging(g) && mo.canBecome(c, g) {
			mo.freed.next = g
			return
		}
	}
}

// settingChanged says that the setting of c was changed for g, which gets c whatever
// its place in the queue. nil: the change was for no waiter, and c comes free.
func (mo *model) settingChanged(c *conn, g *get) {
	if g == nil || mo.expired(g) || mo.suspended || mo.condemned(c) {
		mo.comesFree(c)
		return
	}
	mo.freed = &freed{c, g}
	if mo.cfg.CoDel.on() {
		mo.freed.next = nil
	}
}
