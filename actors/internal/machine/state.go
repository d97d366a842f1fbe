// State: what a machine knows, and the questions that can be asked of it.
// Nothing in this file changes anything except New, advance and
// refreshFastPath. It is the lowest layer: every other file builds on it.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Machine is the state of one pool.
//
// Its exported methods are the inputs (machine.go). Each takes the time, which
// never runs backwards: the machine reads no clock. What an input decides is in
// Effects and Events afterwards, until Done.
//
// The life of a connection is a walk of its [Slot] through the states of
// slot.go. The slot is always in exactly one state, in the list that belongs to
// that state, and is counted in count. Only move changes a slot's state, so these
// three always agree; CheckInvariants verifies it in tests.
//
// The fields that the shortest Get and Put touch come first, so that they lie on few
// lines of the processor's cache: TestTheHotFieldsLieOnFewLines.
type Machine struct {
	now time.Duration // since Config.Start; the time of the latest input

	// The pool as a whole. Paused and suspended stand beside the backoff, so that
	// Resume does not end a blocking period.
	phase        phase
	paused       bool // PauseOnClear: Gets fail until Resume
	suspended    bool // Gets wait until Resume
	overCapacity bool // there is a surplus of connections
	stopped      bool // nothing is left, and Stopped has been emitted
	fastPath     bool // TryGet, TryPut and their like may act: see refreshFastPath
	shortPath    bool // and they need not look at ages, checks, events and MaxIdle
	savesClock   bool // the fast paths do, or did, without the exact time: see noteClock
	opts         options

	// count has the number of slots in each state, without those whose job was given up.
	count [borrowed + 1]int
	lists lists
	queue queue

	cfg         *Config       // it may be shared: whoever changes it makes a copy
	capacity    int           // the bound on what counted counts
	generation  uint64        // grows with every Clear; older connections are closed
	barredSince time.Duration // when fastPath became false; meaningless while it is true

	// The places for connections. Vacant places are kept for reuse up to the
	// capacity.
	slots  []*Slot
	lastID uint64 // of the newest connection

	returned *Slot // its lease has ended, and no use has been found for it yet; nil: there is none

	jobs   jobs
	leases leases

	// Proofs number the moments at which a connection was known to be alive, in their
	// order. One that is dead makes those suspects that were proved alive no later
	// (G13).
	proofs      uint64
	aliveBefore uint64

	// Connects. A failed connect begins a blocking period (backoff.go).
	permits         int // how many may run at once, while they ramp up (L11)
	standing        int // established connections of the current generation
	backoff         backoffState
	lastConnectErr  error         // of the last connect; nil once one has succeeded
	lastConnect     time.Duration // how long the last successful connect took
	backgroundAfter time.Duration // no connect for MinIdle before: background connects must not loop

	lastState  string        // what stateName said last
	stateSince time.Duration // since when

	timings      timings
	drain        drain
	visits       []*Visit       // that are not over
	descriptions []*Description // that take more than one turn and are not over
	timers       timers
	recording    *Recording // that is under way; nil: there is none
	lastRecord   uint64     // the number of the last record of the recordings that are over
	counters     counters
	output       output
}

// options are facts that are asked for on every turn: about the Config, and whether
// there is a recording.
type options struct {
	needsClock    bool // see refreshClock
	watchesGets   bool // somebody is told of each Get and Put: by events, or by a recording
	tracksLeases  bool // see Config.tracksLeases
	limitsQueue   bool // see Config.limitsQueue
	measuresWaits bool // see Config.measuresWaits
}

// lists are the connections that can be lent, in the order in which they are
// lent: the newest first, so that the others can grow old and be closed. A clean
// connection is in idle. One with a setting is in idleWithSetting, and in the
// list of its group.
type lists struct {
	idle            slotList // clean, newest first
	vacant          slotList // places without a connection
	idleWithSetting slotList // with a setting, newest first
	groups          map[any]*settingGroup
	inherited       []any // settings that background connects take over from connections that expired
}

// jobs is the work of the connectors: each connecting, checking, resetting,
// applying, unapplying or closing slot has one job. A job that is overdue is
// given up: its slot is not counted any more, so that a function that ignores its
// context costs the pool neither a place nor a permit to connect.
type jobs struct {
	busy           [bounds]slotList // slots with a job, by what bounds it, the first that is overdue first
	unclaimed      []*Slot          // connects under way for nobody that are not stale and not cancelled
	cancelled      int              // connects that a lowered capacity has cancelled and that are not back
	claims         int              // resets that a waiter waits for
	claimsDue      time.Duration    // none of these waits ends before; never: there is none
	background     int              // checks under way that are for no waiter
	givenUp        int              // slots whose job was given up
	givenUpClosing int              // those of them whose Disconnect still runs
}

// leases is what the machine knows of the leases that are out, beyond their
// slots. The list is kept only where the age of a lease matters (tracksLeases).
type leases struct {
	out           slotList      // oldest first
	unreported    *Slot         // the oldest one that has not been reported as leaked
	lastLook      time.Duration // when the shell was last called to look for forgotten leases
	heldByWaiters int           // leases whose holder waits for another connection, see Holds
	longest       HeldLease     // the one that longestLease has found last
	nextLook      int           // the slot where it goes on looking
}

// queue is the Gets that wait, in order of arrival, with the measurements that
// decide whether a Get is rejected or shed (admission.go).
type queue struct {
	waiterList
	pace  pace
	codel codelState
}

// drain is the control requests that wait: for the pool to shrink, to close, or
// to be ready.
type drain struct {
	resize  *Ticket // the last SetCapacity; an earlier one is superseded
	closes  ticketList
	readies ticketList
}

// timers is the housekeeping timer and what it is needed for. There is one timer,
// armed for whatever is due next (timers.go). Each arming has a new epoch, by
// which a tick that comes late is recognised.
//
// The coarse clock avoids reading the time on the hot path: while connections
// are young a tick comes every coarseTick, and between two ticks the time of the
// last input is exact enough.
type timers struct {
	tickAt    time.Duration // when the timer is armed for; never: it is not
	tickEpoch uint64
	idleDue   time.Duration // no idle connection expires, or needs a check, before

	coarseTick  time.Duration // the period of the coarse clock; 0: there is none
	coarseWhile time.Duration // it runs while an idle connection is younger than this

	// A sweep of the idle connections takes several turns if they are many.
	sweeping     bool
	expiriesLeft int  // how many more it may close
	checksLeft   int  // how many more it may check
	checksWait   bool // a connection is to be checked when a check in the background is done
}

// output is what the inputs have decided, until the shell takes it.
type output struct {
	effects []Effect
	log     Log // the events; at most Config.Backlog
	recent  recent
}

// counters are the fields of messages.Stats that the machine keeps; Stats fills in the rest.
type counters struct {
	CapacityNote string
	WaitTime     time.Duration

	Gets, Grants, Waits, GrantedWaits, Timeouts, Cancels, Sheds, Deadlocks            uint64
	Connects, ConnectErrors, Backoffs                                                 uint64
	Puts, Taints, Hijacks, Leaks, Revoked                                             uint64
	ClosedIdle, ClosedLifetime, ClosedStale, ClosedBroken, ClosedCapacity, ClosedUses uint64
	SettingHits, SettingSwitches, SettingResets                                       uint64
	DroppedEvents                                                                     uint64
}

// stats makes the Stats that have what is counted.
func (c *counters) stats() messages.Stats {
	return messages.Stats{
		CapacityNote: c.CapacityNote, WaitTime: c.WaitTime,
		Gets: c.Gets, Grants: c.Grants, Waits: c.Waits, GrantedWaits: c.GrantedWaits,
		Timeouts: c.Timeouts, Cancels: c.Cancels, Sheds: c.Sheds, Deadlocks: c.Deadlocks,
		Connects: c.Connects, ConnectErrors: c.ConnectErrors, Backoffs: c.Backoffs,
		Puts: c.Puts, Taints: c.Taints, Hijacks: c.Hijacks, Leaks: c.Leaks, Revoked: c.Revoked,
		ClosedIdle: c.ClosedIdle, ClosedLifetime: c.ClosedLifetime, ClosedStale: c.ClosedStale,
		ClosedBroken: c.ClosedBroken, ClosedCapacity: c.ClosedCapacity, ClosedUses: c.ClosedUses,
		SettingHits: c.SettingHits, SettingSwitches: c.SettingSwitches, SettingResets: c.SettingResets,
		DroppedEvents: c.DroppedEvents,
	}
}

// phase is how far the pool's life has come.
type phase uint8

const (
	phaseOpen    phase = iota
	phaseClosing       // Close has begun: no Get, no connect; connections close as they come back
	phaseClosed        // no connection is left
)

// New makes a machine that has not been started.
func New(cfg Config) *Machine { return NewShared(&cfg) }

// NewShared is New for a Config that nobody changes any more.
func NewShared(cfg *Config) *Machine {
	tick, while := cfg.coarseClock()
	m := &Machine{
		cfg: cfg,
		opts: options{
			needsClock:    cfg.needsClock(),
			watchesGets:   cfg.EventLevel == AllEvents,
			tracksLeases:  cfg.tracksLeases(),
			limitsQueue:   cfg.limitsQueue(),
			measuresWaits: cfg.measuresWaits(),
		},
		timers:   timers{tickAt: never, idleDue: never, coarseTick: tick, coarseWhile: while},
		jobs:     jobs{claimsDue: never},
		timings:  timings{random: firstRandom},
		capacity: cfg.Capacity,
		permits:  initialPermits,
		paused:   cfg.PauseOnClear,
		output:   output{log: Log{pool: cfg.Name, start: cfg.Start}},
	}
	if m.timings.every = 1; !m.opts.needsClock || tick > 0 {
		m.timings.every, m.timings.untilTimed = useEvery, m.drawGap()
	}
	m.noteClock()
	m.refreshFastPath()
	return m
}

// advance moves the machine's time on. It never moves back.
func (m *Machine) advance(now time.Duration) {
	if now > m.now {
		m.now = now
	}
}

// effect notes something that the shell has to do.
func (m *Machine) effect(e Effect) { m.output.effects = append(m.output.effects, e) }

// exactClock says that the fast paths know the exact time.
func (m *Machine) exactClock() bool {
	return m.timings.every == 1 || m.opts.needsClock && m.timers.coarseTick == 0
}

// refreshFastPath works fastPath and shortPath out anew. It must be called whenever something
// that it depends on has changed.
func (m *Machine) refreshFastPath() {
	open := m.serving() && !m.overCapacity && !m.mustCheckAll()
	if m.fastPath && !open {
		m.barredSince = m.now
	}
	m.fastPath = open
	m.shortPath = open && !m.opts.needsClock && !m.cfg.Check && m.cfg.MaxIdle == 0 && m.timings.every > 1
}

// serving says whether the pool serves Gets at all.
func (m *Machine) serving() bool { return m.phase == phaseOpen && !m.paused && !m.suspended }

// mustCheckAll says whether an idle connection may need a check for another
// reason than its time of idling: after a failed connect (B5).
func (m *Machine) mustCheckAll() bool { return m.backoff.phase != backoffOff && m.cfg.Check }

// The counts.

// counted is the number of connections that the capacity bounds.
func (m *Machine) counted() int { return m.established() + m.count[connecting] + m.count[closing] }

// occupied is counted, with the jobs that were given up if these occupy their places.
func (m *Machine) occupied() int {
	if m.cfg.Shared {
		return m.counted() + m.jobs.givenUp
	}
	return m.counted()
}

// surplus is how many connections are too many and not on their way out yet. If it is
// negative, there is room.
func (m *Machine) surplus() int {
	return m.occupied() - m.count[closing] - m.jobs.cancelled - m.capacity
}

// established is the number of connections that stand.
func (m *Machine) established() int { return m.count[idle] + m.count[borrowed] + m.inTransition() }

// inTransition is the number of established connections with a job under way.
func (m *Machine) inTransition() int {
	return m.count[checking] + m.count[resetting] + m.count[applying] + m.count[unapplying]
}

// maxIdle is how many connections may be idle.
func (m *Machine) maxIdle() int {
	if m.cfg.MaxIdle > 0 {
		return m.cfg.MaxIdle
	}
	return m.capacity
}

// missing is how many more connections MinIdle and MinOpen ask for. For MinIdle those
// that will soon be idle count as idle.
func (m *Machine) missing() int {
	return max(m.cfg.MinIdle-m.count[idle]-len(m.jobs.unclaimed)-m.inTransition(), m.cfg.MinOpen-m.coming())
}

// wantsBackground says whether one more connect is wanted that no waiter needs: for
// a Ready or Warm, for MinIdle or for MinOpen.
func (m *Machine) wantsBackground() bool {
	for t := m.drain.readies.head; t != nil; t = t.next {
		if m.coming() < m.readyTarget(t) {
			return true
		}
	}
	return m.missing() > 0 && m.now >= m.backgroundAfter
}

// coming is the number of connections that stand, or will when their connect is done.
func (m *Machine) coming() int {
	return m.established() + m.count[connecting] - m.jobs.cancelled
}

// readyTarget is how many connections must stand for a Warm or Ready to succeed, within
// the capacity of the moment. A Ready asks for the MinIdle of the moment.
func (m *Machine) readyTarget(t *Ticket) int {
	target := t.target
	if target == 0 {
		target = m.cfg.MinIdle
	}
	return max(1, min(target, m.capacity))
}

// initialPermits is how many connects may run at once before one has succeeded, and
// how many may run for nobody, where MaxConnecting gives no bound (L11).
const initialPermits = 2

// mayConnect says whether one more connect is allowed now. While probing there is
// one at a time. Without a MaxConnecting the bound grows with each success.
func (m *Machine) mayConnect() bool {
	return m.freePermits() > 0 && m.occupied() < m.capacity
}

// freePermits is how many more connects may be under way now, whatever the capacity is.
func (m *Machine) freePermits() int {
	limit := m.cfg.MaxConnecting
	if limit == 0 {
		limit = m.permits
	}
	switch m.backoff.phase {
	case backoffBlocked:
		return 0
	case backoffProbing:
		limit = 1
	}
	return limit - m.count[connecting]
}

// mayConnectInBackground says whether one more connect for nobody is allowed, as far
// as that differs from one for a waiter.
func (m *Machine) mayConnectInBackground() bool {
	return m.cfg.MaxConnecting > 0 || len(m.jobs.unclaimed) < initialPermits
}

// mayCheck says whether one more check may begin in the background: at most a tenth of
// the connections that rest are under check, but at least one (L14). So where two
// rest, one can be lent.
func (m *Machine) mayCheck() bool {
	return m.jobs.background < max(1, (m.count[idle]+m.jobs.background)/10)
}

// The connections.

// hasLease says whether this lease is the slot's current one.
func (s *Slot) hasLease(id, epoch uint64) bool {
	return s.state == borrowed && s.ID == id && s.LeaseEpoch == epoch
}

// newestIdle is the newest idle connection with this setting; nil asks for a clean
// one.
func (m *Machine) newestIdle(setting any) *Slot {
	if setting == nil {
		return m.lists.idle.head
	}
	if g := m.lists.groups[setting]; g != nil {
		return g.head
	}
	return nil
}

// oldestIdle is the connection that has been idle for longest.
func (m *Machine) oldestIdle() *Slot {
	a, b := m.lists.idle.tail, m.lists.idleWithSetting.tail
	if a == nil || b != nil && b.since < a.since {
		return b
	}
	return a
}

// newestIdleSince is when the last idle connection became idle.
func (m *Machine) newestIdleSince() time.Duration {
	since := -m.timers.coarseWhile
	if s := m.lists.idle.head; s != nil {
		since = s.since
	}
	if s := m.lists.idleWithSetting.head; s != nil {
		since = max(since, s.since)
	}
	return since
}

// condemned says why a connection that nobody uses any more must be closed; 0: it
// need not be.
func (m *Machine) condemned(s *Slot) messages.Reason {
	switch {
	case m.phase != phaseOpen:
		return messages.ReasonPoolClosed
	case s.generation != m.generation:
		return messages.ReasonStale
	case m.surplus() > 0:
		return messages.ReasonCapacity
	case m.tooOld(s):
		return messages.ReasonLifetime
	case m.usedUp(s):
		return messages.ReasonUses
	}
	return 0
}

// usedUp says whether as many leases of a connection have ended as MaxUses allows.
func (m *Machine) usedUp(s *Slot) bool {
	return m.cfg.MaxUses > 0 && s.LeaseEpoch > s.unused+uint64(m.cfg.MaxUses)
}

// tooOld says whether a connection has reached its MaxLifetime.
func (m *Machine) tooOld(s *Slot) bool { return s.expires > 0 && s.expires <= m.now }

// suspect says whether an idle connection was last proved alive before one that is dead.
func (m *Machine) suspect(s *Slot) bool { return s.proof <= m.aliveBefore }

// needsCheck says whether an idle connection must be checked before it is lent: when
// it has been idle for long; when it is a suspect (G13); and after a failed connect,
// until one succeeds, when it has not proved since that it is alive (B5, B16).
func (m *Machine) needsCheck(s *Slot) bool {
	if !m.cfg.Check || m.cfg.CheckAfterIdle < 0 {
		return false
	}
	return m.suspect(s) || m.backoff.phase != backoffOff && s.aliveAt <= m.backoff.failedAt ||
		m.now-s.since > m.cfg.CheckAfterIdle
}

// mayNeedCheck is needsCheck for a time that may be late by one tick of the coarse
// clock. If it says yes, the caller decides anew with the exact time.
func (m *Machine) mayNeedCheck(s *Slot) bool {
	if !m.cfg.Check || m.cfg.CheckAfterIdle < 0 {
		return false
	}
	return m.suspect(s) || m.backoff.phase != backoffOff || after(m.now, m.timers.coarseTick)-s.since > m.cfg.CheckAfterIdle
}

// coarseTicking says that the coarse clock runs: the machine's time is late by one
// period of it at most.
func (m *Machine) coarseTicking() bool {
	return m.timers.coarseTick > 0 && m.timers.tickAt <= after(m.now, m.timers.coarseTick)
}
