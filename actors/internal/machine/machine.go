package machine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Machine is the state of one pool. Its methods are the inputs; each carries
// the time, which never runs backwards. What they decide is in Effects and
// News afterwards.
type Machine struct {
	cfg   Config
	timed bool          // ages matter, see Config.timed
	slack time.Duration // of the coarse clock; 0: there is none, see Config.coarse
	youth time.Duration // then: it runs while an idle connection is younger
	heard bool          // somebody listens to all events
	// Options, asked for on every turn: see Config.tracked, gated, measured.
	tracked, gated, measured bool

	now        time.Duration
	phase      phase
	paused     bool // PauseOnClear: Gets fail until Resume
	suspended  bool // Gets wait until Resume
	reducing   bool // more is counted than the capacity allows
	stopped    bool // nothing is left, and that has been said
	plain      bool // none of the above, see refresh: Take and Stow may act
	capacity   int
	generation uint64

	slots  []*Slot
	vacant slotList
	idle   slotList // the clean ones, newest first
	worn   slotList // the idle ones with a setting, newest first
	kins   map[any]*kin
	legacy []any    // settings that background connects inherit from connections that timed out
	busy   slotList // those with a job under way, oldest job first
	leases slotList // if tracked: those that are out, oldest first
	fresh  *Slot    // the first of them that has not been reported as leaked
	tied   int      // leases whose holder waits, see Tie
	n      [borrowed + 1]int
	spare  int // connects under way for nobody

	strays    int // abandoned slots
	lingering int // abandoned slots whose Disconnect runs

	waiters waiterList
	resizer *Ticket
	closers ticketList
	readies ticketList

	backoff       backoff
	lastErr       error         // of the last connect; nil once one succeeded
	populateAfter time.Duration // no background connect before
	drainSince    time.Duration // when a SetCapacity or Close began to drain
	bare          bool          // an outage without hope, see despair
	lookedAt      time.Duration // when the outside last had reason to look for forgotten leases
	pace          pace
	delay         delay

	tickArmed bool
	tickAt    time.Duration
	tickEpoch uint64
	idleDue   time.Duration // no idle connection expires before

	sweeping         bool // a sweep is to be continued
	expiries, checks int  // how many more it may close, and check

	lastID  uint64
	seq     uint64
	stats   messages.Stats // its counters; the rest is filled in by Stats
	effects []Effect
	news    []messages.Event // a ring once it has reached Config.Backlog

	oldestNews int // where it begins
}

type phase uint8

const (
	open phase = iota
	closingDown
	closed
)

// backoff is the blocking period. Epoch grows with every period and every
// Clear and is never reset, so that a timer or a failure of an older one is
// recognised.
type backoff struct {
	state   backoffState
	attempt int
	epoch   uint64
	until   time.Duration
	cause   error
	since   time.Duration // when the last attempt failed
}

type backoffState uint8

const (
	ready backoffState = iota
	blocked
	probing
)

// lookEvery is how often, at least, the outside gets to look for leases that were
// forgotten, while any are out.
const lookEvery = time.Second

// batch bounds what one turn does of a kind of which there may be thousands.
const batch = 64

const never = time.Duration(math.MaxInt64)

// closeGrace is how long Close gives checks and resets under way, which it has
// cancelled, to come back; their connections are then closed properly and
// waited for. One that ignores its context is left behind after it.
const closeGrace = 20 * time.Millisecond

// errOverdue is the failure of a job whose function ignored its context.
var errOverdue = fmt.Errorf("actorpool: the function ignores its context and was given up: %w", context.DeadlineExceeded)

// New makes a machine that has not been started.
func New(cfg Config) *Machine {
	slack, youth := cfg.coarse()
	m := &Machine{
		cfg:      cfg,
		slack:    slack,
		youth:    youth,
		timed:    cfg.timed(),
		heard:    cfg.Events == AllEvents,
		tracked:  cfg.tracked(),
		gated:    cfg.gated(),
		measured: cfg.measured(),
		capacity: cfg.Capacity,
		paused:   cfg.PauseOnClear,
		idleDue:  never,
		tickAt:   never,
	}
	m.refresh()
	return m
}

// Start begins the pool's life: MinIdle is populated from here on.
func (m *Machine) Start(now time.Duration) {
	m.at(now)
	m.tell(messages.Event{Kind: messages.PoolCreated, To: m.capacity})
	if !m.paused {
		m.tell(messages.Event{Kind: messages.PoolReady})
	}
	m.settle()
}

// Take is the hot half of Get: it lends the newest idle connection if nothing
// has to be decided, and otherwise returns nil and has changed nothing. The
// time need be exact only if Timed says so or the waiter has a label.
func (m *Machine) Take(now time.Duration, w *Waiter) *Slot {
	s := m.idle.head
	if w.Setting != nil {
		if s = m.worn.head; s == nil || s.kin.setting != w.Setting { // else it is the newest of its kin, too
			s = m.newest(w.Setting)
		}
	}
	if s == nil || !m.plain || m.waiters.n > 0 {
		return nil
	}
	if m.timed {
		m.at(now)
		if m.tooOld(s) || m.perhapsDubious(s) {
			return nil
		}
	} else if w.Label != "" {
		m.at(now)
	}
	m.stats.Gets++
	m.stats.Grants++
	if w.Setting != nil {
		m.stats.SettingHits++
	}
	if m.heard {
		m.tellStarted(w)
		m.tellCheckedOut(s, w, 0)
	}
	m.lend(s, w, m.timed || w.Label != "")
	switch {
	case m.cfg.MinIdle > 0:
		m.settle()
	case m.tracked:
		m.schedule()
	}
	return s
}

// Queue is the hot half of a Get that waits: it puts w in the queue if all that
// is left to do is to wait, and otherwise returns false and has changed nothing.
func (m *Machine) Queue(now time.Duration, w *Waiter) bool {
	if !m.plain || m.backoff.state != ready || m.n[idle] > 0 || m.counted() < m.capacity || m.gated && !m.admits(w) {
		return false
	}
	m.at(now)
	m.stats.Gets++
	m.stats.Waits++
	if m.heard {
		m.tellStarted(w)
	}
	w.since = m.now
	m.waiters.push(w)
	return true
}

// Get asks for a connection. It ends with one Grant or one Reject, now or
// later, unless Leave withdraws it first.
func (m *Machine) Get(now time.Duration, w *Waiter) {
	m.at(now)
	m.stats.Gets++
	w.since, w.position = m.now, 0
	if m.heard {
		m.tellStarted(w)
	}
	switch {
	case m.phase != open:
		m.reject(w, messages.ErrClosed, messages.ReasonPoolClosed)
		return
	case m.paused:
		m.reject(w, messages.ErrCleared, messages.ReasonCleared)
		return
	}
	if m.backoff.state == blocked && m.cfg.Backoff.Mode == BackoffFailFast && m.n[idle] == 0 && !m.suspended {
		m.refuseFast(w)
		return
	}
	m.enqueue(w)
	m.settle()
	if !w.queued {
		return
	}
	if m.gated && w.slot == nil && m.shut(w) {
		return
	}
	if m.bare && w.slot == nil && m.hopeless(w) {
		w.position = 0
		m.rejectHopeless(w)
		return
	}
	m.stats.Waits++
}

// Leave ends a Get whose caller has left, for the reason err: it is taken out
// of the queue and rejected with what the pool looks like. The connect that it
// caused goes on for others (G4). A Get that is answered already is left alone;
// what it was granted is for the outside to return.
func (m *Machine) Leave(now time.Duration, w *Waiter, err error) {
	m.at(now)
	if !w.queued {
		return
	}
	if m.suspended {
		err = errors.Join(messages.ErrSuspended, err)
	}
	m.reject(w, err, leaving(err))
	m.schedule()
}

// Refuse ends a Get that came with a context that had ended already (G2).
func (m *Machine) Refuse(now time.Duration, w *Waiter, err error) {
	m.at(now)
	m.stats.Gets++
	w.since, w.position = m.now, 0
	if m.heard {
		m.tellStarted(w)
	}
	m.reject(w, err, leaving(err))
}

// leaving tells a deadline from any other end of a context.
func leaving(err error) messages.Reason {
	if errors.Is(err, context.DeadlineExceeded) {
		return messages.ReasonTimeout
	}
	return messages.ReasonCanceled
}

// Stow is the hot half of Put: it makes the connection idle if nothing has to
// be decided, and otherwise returns false and has changed nothing. The time
// need be exact only if Timed says so.
func (m *Machine) Stow(now time.Duration, s *Slot, id, epoch uint64) bool {
	if !m.plain || m.waiters.n > 0 || m.cfg.Reset || !s.lent(id, epoch) ||
		s.generation != m.generation || m.n[idle] >= m.maxIdle() {
		return false
	}
	if m.timed {
		m.at(now)
		if m.tooOld(s) {
			return false
		}
	}
	m.stats.Puts++
	if m.heard {
		m.tellCheckedIn(s)
	}
	s.Epoch++
	m.rest(s)
	return true
}

// Hand is the hot half of a Put while others wait: it lends the connection to the
// first of them if nothing has to be decided, and otherwise returns nil and has
// changed nothing.
func (m *Machine) Hand(now time.Duration, s *Slot, id, epoch uint64) *Waiter {
	w := m.waiters.head
	if w == nil || !m.plain || w.slot != nil || m.waiters.fussy > 0 || s.kin != nil || m.cfg.Reset || m.delay.bad ||
		s.entangled || w.Borrower != nil || w.ties != nil || !s.lent(id, epoch) || s.generation != m.generation {
		return nil
	}
	m.at(now)
	if m.tooOld(s) || m.cfg.CoDel.on() && m.now >= m.delay.ends {
		return nil
	}
	m.waiters.remove(w)
	wait := m.now - w.since
	m.stats.Puts++
	m.stats.Grants++
	m.stats.WaitTime += wait
	if m.measured {
		m.measure(wait)
		if m.waiters.n == 0 {
			m.delay.emptied(m.stats.Grants)
		}
	}
	if m.heard {
		m.tellCheckedIn(s)
		m.tellCheckedOut(s, w, wait)
	}
	s.Epoch++
	s.label, s.timed, s.since = w.Label, true, m.now
	return w
}

// Put ends a lease. False: the lease had ended before, and nothing changed.
func (m *Machine) Put(now time.Duration, s *Slot, id, epoch uint64) bool {
	m.at(now)
	if !s.lent(id, epoch) {
		return false
	}
	m.stats.Puts++
	m.checkIn(s)
	switch {
	case m.cfg.Reset && m.condemned(s) == 0:
		m.begin(s, resetting, Reset)
	default:
		m.available(s)
	}
	m.settle()
	return true
}

// Taint ends a lease and closes its connection, for the given cause. False: the
// lease had ended before, and nothing changed.
func (m *Machine) Taint(now time.Duration, s *Slot, id, epoch uint64, cause error) bool {
	m.at(now)
	if !s.lent(id, epoch) {
		return false
	}
	m.stats.Taints++
	m.checkIn(s)
	reason := messages.ReasonBroken
	if m.phase != open {
		reason = messages.ReasonPoolClosed
	}
	m.close(s, reason, cause)
	m.settle()
	return true
}

func (m *Machine) checkIn(s *Slot) {
	s.Epoch++
	if m.heard {
		m.tellCheckedIn(s)
	}
}

// Connected reports that Open succeeded; conn is what the outside keeps for
// the connection.
func (m *Machine) Connected(now time.Duration, s *Slot, conn any) {
	m.at(now)
	s.Conn = conn
	switch {
	case s.abandoned:
		m.late(s)
	case m.phase != open:
		m.close(s, messages.ReasonPoolClosed, nil)
	case s.generation != m.generation:
		m.release(s)
		m.close(s, messages.ReasonStale, nil)
	default:
		m.lastErr = nil
		if m.cfg.MaxLifetime > 0 {
			s.expires = m.now + m.cfg.MaxLifetime - time.Duration(float64(m.cfg.LifetimeJitter)*m.cfg.Random())
		}
		m.tell(messages.Event{Kind: messages.ConnectionReady, ConnID: s.ID, Duration: m.now - s.since})
		m.recover()
		s.alive = m.now
		if s.Want != nil && m.waiters.n == 0 && m.condemned(s) == 0 {
			m.begin(s, applying, Apply) // it replaces one that had this setting
		} else {
			m.available(s)
		}
	}
	m.settle()
}

// ConnectFailed reports that Open failed, and what the failure means.
func (m *Machine) ConnectFailed(now time.Duration, s *Slot, err error, class messages.Class) {
	m.at(now)
	if s.abandoned {
		m.drop(s)
	} else {
		m.connectFailed(s, err, class, m.vacate)
	}
	m.settle()
}

// connectFailed is everything that a failed connect means; end is what becomes
// of its slot. It fails the Get that it was started for, and no other (G10).
func (m *Machine) connectFailed(s *Slot, err error, class messages.Class, end func(*Slot)) {
	m.stats.ConnectErrors++
	w := s.waiter
	if !s.blames {
		w = nil
	}
	m.release(s)
	if m.phase != open || s.generation != m.generation {
		m.tellClosed(s, messages.ReasonStale, err)
		end(s)
		return
	}
	m.lastErr = err
	if class == messages.ClassClear {
		m.clear(err, false)
	}
	m.tellClosed(s, messages.ReasonError, err)
	switch class {
	case messages.ClassOverload, messages.ClassFatal:
		m.block(s, err)
	}
	end(s)
	failure := &messages.ConnectError{Phase: messages.PhaseConnect, Err: err}
	if w != nil && w.queued {
		m.reject(w, failure, messages.ReasonConnectionError)
	}
	m.answerAll(&m.readies, m.notReady(failure))
	m.evict() // after the one whose failure it is, who is told the cause
	if m.backoff.state != blocked {
		// Nothing else keeps the background from dialling in a loop.
		m.populateAfter = m.now + max(m.cfg.Backoff.Base, time.Millisecond)
	}
}

// block begins a blocking period after a failed connect, unless the failure is
// of an older epoch: several failures of one epoch count once (B4).
func (m *Machine) block(s *Slot, err error) {
	if m.cfg.Backoff.Mode == BackoffNever || s.epoch != m.backoff.epoch {
		return
	}
	b := &m.backoff
	b.state = blocked
	b.attempt++
	b.epoch++
	b.cause = err
	b.since = m.now
	d := m.cfg.delay(b.attempt)
	b.until = m.now + d
	m.bare = false
	m.stats.Backoffs++
	m.effect(Effect{Kind: ArmBackoff, At: b.until, Epoch: b.epoch, Generation: m.generation, Attempt: b.attempt})
	m.tell(messages.Event{Kind: messages.PoolBackoff, Attempt: b.attempt, Duration: d, Err: err})
	m.refresh()
}

// recover ends a backoff after a success of the current generation, whoever
// caused it (B10).
func (m *Machine) recover() {
	if m.backoff.state == ready {
		return
	}
	m.resetBackoff()
	m.tell(messages.Event{Kind: messages.PoolReady})
}

func (m *Machine) resetBackoff() {
	b := &m.backoff
	if b.state == blocked {
		m.effect(Effect{Kind: DisarmBackoff})
	}
	*b = backoff{epoch: b.epoch}
	m.bare = false
	m.populateAfter = 0
	m.wake()
	m.refresh()
}

// wake begins again with the checks that keep connections alive: they have stood
// still.
func (m *Machine) wake() {
	if m.cfg.KeepAlive > 0 {
		m.idleDue = min(m.idleDue, m.now)
	}
}

// BackoffElapsed reports the timer of a blocking period. One of another epoch
// is stale and changes nothing (B9).
func (m *Machine) BackoffElapsed(now time.Duration, epoch uint64) {
	m.at(now)
	if m.backoff.state != blocked || m.backoff.epoch != epoch || m.phase != open {
		return
	}
	m.backoff.state = probing
	m.bare = false
	m.wake()
	m.settle()
}

// Checked reports the outcome of Check. A dead connection is replaced by
// another idle one, or by a connect; the caller does not see it (G6).
func (m *Machine) Checked(now time.Duration, s *Slot, err error) {
	m.at(now)
	m.worked(s, err)
}

// WasReset reports the outcome of Reset.
func (m *Machine) WasReset(now time.Duration, s *Slot, err error) {
	m.at(now)
	if err == nil && m.cfg.ResetWipes && !s.abandoned {
		m.wear(s, nil)
	}
	m.worked(s, err)
}

// worked is what the jobs have in common that are done on a connection which
// stands: one that came back too late or failed is closed, and otherwise the
// connection is free for whoever waits.
func (m *Machine) worked(s *Slot, err error) {
	if !m.spoilt(s, err) {
		s.alive = m.now
		m.available(s)
	}
	m.settle()
}

// spoilt closes a connection whose job came back too late, or failed.
func (m *Machine) spoilt(s *Slot, err error) bool {
	switch {
	case s.abandoned:
		m.late(s)
	case err != nil && m.condemned(s) == 0:
		m.release(s)
		m.close(s, messages.ReasonError, err)
	default:
		return false
	}
	return true
}

// Applied reports the outcome of Apply. If it failed, the Get that it was done
// for fails; what it held is free for others (H9).
func (m *Machine) Applied(now time.Duration, s *Slot, err error) {
	m.at(now)
	w := s.waiter
	if m.spoilt(s, err) {
		if err != nil {
			m.applyFailed(w, err)
		}
		m.settle()
		return
	}
	if err != nil { // and the connection is to be closed anyway
		m.release(s)
		m.applyFailed(w, err)
		m.available(s)
		m.settle()
		return
	}
	m.wear(s, s.Want)
	s.Want, s.alive = nil, m.now
	m.dressed(s, w)
}

// applyFailed ends the Get that an Apply was done for, if there is one.
func (m *Machine) applyFailed(w *Waiter, err error) {
	if w != nil {
		m.reject(w, &messages.ConnectError{Phase: messages.PhaseApply, Err: err}, messages.ReasonConnectionError)
	}
	m.populateAfter = m.now + max(m.cfg.Backoff.Base, time.Millisecond)
}

// Unapplied reports the outcome of Unapply. If it failed, the connection is
// closed, and a bare one is opened instead.
func (m *Machine) Unapplied(now time.Duration, s *Slot, err error) {
	m.at(now)
	w := s.waiter
	switch {
	case !s.abandoned && err != nil && m.condemned(s) == 0:
		m.release(s)
		m.reopen(w, s, err)
		m.settle()
		return
	case m.spoilt(s, err):
		m.settle()
		return
	}
	m.wear(s, nil)
	s.alive = m.now
	m.dressed(s, w)
}

// dressed goes on with a connection after a change of setting that was made for
// w: it is w's, whoever else waits, if w still does.
func (m *Machine) dressed(s *Slot, w *Waiter) {
	if w != nil && !m.suspended && m.condemned(s) == 0 {
		m.give(s, w)
	} else {
		m.available(s)
	}
	m.settle()
}

// Disconnected reports that Disconnect is done, well or badly.
func (m *Machine) Disconnected(now time.Duration, s *Slot) {
	m.at(now)
	if s.abandoned {
		m.lingering--
		m.drop(s)
	} else {
		m.release(s)
		m.vacate(s)
	}
	m.settle()
}

// available finds a use for a connection that has come free: it is closed if
// it is not wanted any more, lent to the first who waits, or becomes idle.
func (m *Machine) available(s *Slot) {
	if reason := m.condemned(s); reason != 0 {
		m.release(s)
		m.close(s, reason, nil)
		if reason == messages.ReasonLifetime {
			m.bequeath(s)
		}
		return
	}
	if m.waiters.n > 0 && !m.suspended {
		m.shed(1)
		if w := m.heir(s); w != nil {
			m.give(s, w)
			return
		}
	}
	m.release(s)
	if m.n[idle] >= m.maxIdle() {
		m.close(s, messages.ReasonIdle, nil)
		return
	}
	m.rest(s)
}

// lookahead bounds how far down the queue a match of settings is looked for, and
// maxOvertaken how often somebody is passed over for one (G7).
const (
	lookahead    = 64
	maxOvertaken = 8
)

// heir finds who gets a connection that has come free: the first who waits; or,
// if a later one asks for just the setting that it has, that one, unless he
// would overtake somebody too often. For whom a setting is being changed
// already, no second connection is changed; nil: that is so for all.
func (m *Machine) heir(s *Slot) *Waiter {
	setting := s.setting()
	w := m.waiters.head
	for range lookahead {
		if w == nil || w.overtaken >= maxOvertaken {
			break
		}
		if w.Setting == setting {
			for o := m.waiters.head; o != w; o = o.next {
				o.overtaken++
			}
			return w
		}
		w = w.next
	}
	w = m.waiters.head
	for w != nil && (!m.convertible(s, w) || w.slot != nil && (w.slot.state == applying || w.slot.state == unapplying)) {
		w = w.next
	}
	return w
}

// convertible says whether a connection can become what w asks for. It cannot
// if its setting stays on it for good and no other can be opened.
func (m *Machine) convertible(s *Slot, w *Waiter) bool {
	return s.kin == nil || m.cfg.Unapply || m.backoff.state != blocked || s.kin.setting == w.Setting
}

// give lends a connection to w, or first makes it what w asks for. A setting
// that cannot be taken off means a bare reconnect: the connection is closed.
func (m *Machine) give(s *Slot, w *Waiter) {
	setting := s.setting()
	if w.Setting == setting {
		m.grant(w, s)
		return
	}
	m.exchange(w, s)
	s.quiet = false
	switch {
	case setting == nil:
		m.stats.SettingSwitches++
		s.Want = w.Setting
		m.begin(s, applying, Apply)
	case m.cfg.Unapply:
		m.stats.SettingResets++
		m.begin(s, unapplying, Unapply)
	default:
		m.stats.SettingResets++
		m.reopen(w, s, nil)
		return
	}
	m.assign(w, s, false)
}

// reopen closes a connection whose setting cannot be taken off, to open a bare
// one for w in its place. Until the place is free the closing is what is under
// way for w, so that no other connection is spoilt for him.
func (m *Machine) reopen(w *Waiter, s *Slot, err error) {
	m.close(s, messages.ReasonError, err)
	if w != nil {
		m.assign(w, s, false)
	}
}

// exchange parts w and s from the jobs that were under way for w, and that s
// was under way with for somebody else. That one gets w's, so that there are not
// more connects than are needed; its failure is then nobody's (G10).
func (m *Machine) exchange(w *Waiter, s *Slot) {
	own, other := w.slot, s.waiter
	m.release(s)
	m.unassign(w)
	if own != nil && own != s && other != nil && other != w && (own.state == connecting || own.state == checking) {
		m.assign(other, own, false)
	}
}

// wear notes the setting on a connection that is not idle; nil: it is clean.
func (m *Machine) wear(s *Slot, setting any) {
	if k := s.kin; k != nil {
		k.members--
		if k.members == 0 {
			delete(m.kins, k.setting)
		}
		s.kin = nil
	}
	if setting == nil {
		return
	}
	k := m.kins[setting]
	if k == nil {
		if m.kins == nil {
			m.kins = make(map[any]*kin)
		}
		k = &kin{setting: setting}
		m.kins[setting] = k
	}
	k.members++
	s.kin = k
}

// newest is the newest idle connection with a setting; nil: a clean one.
func (m *Machine) newest(setting any) *Slot {
	if setting == nil {
		return m.idle.head
	}
	if k := m.kins[setting]; k != nil {
		return k.head
	}
	return nil
}

// oldest is the connection that has been idle for longest.
func (m *Machine) oldest() *Slot {
	a, b := m.idle.tail, m.worn.tail
	if a == nil || b != nil && b.since < a.since {
		return b
	}
	return a
}

// condemned says why a connection that has come free must not live on; 0: it
// may.
func (m *Machine) condemned(s *Slot) messages.Reason {
	switch {
	case m.phase != open:
		return messages.ReasonPoolClosed
	case s.generation != m.generation:
		return messages.ReasonStale
	case m.counted() > m.capacity:
		return messages.ReasonCapacity
	case m.tooOld(s):
		return messages.ReasonLifetime
	}
	return 0
}

// SetCapacity changes the capacity; t is answered once what is counted fits.
func (m *Machine) SetCapacity(now time.Duration, n int, t *Ticket) {
	m.at(now)
	if m.phase != open {
		m.answer(t, messages.ErrClosed)
		return
	}
	if m.resizer != nil {
		m.answer(m.resizer, messages.ErrSuperseded)
	}
	t.op, t.pending = opSetCapacity, true
	m.resizer = t
	m.drainSince = m.now
	if n != m.capacity {
		m.tell(messages.Event{Kind: messages.CapacityChanged, From: m.capacity, To: n})
		m.capacity = n
	}
	for m.n[idle] > 0 && m.counted()-m.n[closing] > m.capacity {
		m.close(m.oldest(), messages.ReasonCapacity, nil)
	}
	for m.vacant.n > 0 && len(m.slots)-m.strays > m.capacity {
		m.drop(m.vacant.head)
	}
	m.settle()
}

// Clear starts a new generation: what is idle is closed now, what is borrowed
// when it returns. With interrupt, connects under way are cancelled and leases
// are revoked too. err, if any, is why.
func (m *Machine) Clear(now time.Duration, err error, interrupt bool) error {
	m.at(now)
	if m.phase != open {
		return messages.ErrClosed
	}
	if err != nil {
		m.lastErr = err
	}
	m.clear(err, interrupt)
	m.evict()
	m.settle()
	return nil
}

func (m *Machine) clear(err error, interrupt bool) {
	m.generation++
	m.legacy = nil
	m.resetBackoff()
	m.backoff.epoch++
	if !m.paused {
		m.tell(messages.Event{Kind: messages.PoolCleared, Interrupt: interrupt, Err: err})
	}
	if m.cfg.PauseOnClear {
		m.paused = true
	}
	for _, s := range m.slots {
		if s.abandoned {
			continue
		}
		switch s.state {
		case idle:
			m.close(s, messages.ReasonStale, nil)
		case connecting, checking, resetting, applying, unapplying:
			m.release(s)
			if interrupt {
				m.tellClosed(s, messages.ReasonStale, err)
				m.effect(Effect{Kind: Interrupt, Slot: s})
			}
		case borrowed:
			if interrupt {
				m.revoke(s)
				m.close(s, messages.ReasonStale, err)
			}
		}
	}
	m.refresh()
}

// evict ends every wait if the pool has been paused.
func (m *Machine) evict() {
	if m.paused {
		m.rejectAll(messages.ErrCleared, messages.ReasonCleared)
		m.answerAll(&m.readies, messages.ErrCleared)
	}
}

// Suspend stops grants until Resume. Returns go on.
func (m *Machine) Suspend(now time.Duration) error {
	m.at(now)
	if m.phase != open {
		return messages.ErrClosed
	}
	if !m.suspended {
		m.suspended = true
		m.refresh()
		m.tell(messages.Event{Kind: messages.PoolSuspended})
	}
	m.settle()
	return nil
}

// Resume ends a Suspend and the pause of PauseOnClear. It does not touch the
// backoff.
func (m *Machine) Resume(now time.Duration) error {
	m.at(now)
	if m.phase != open {
		return messages.ErrClosed
	}
	if m.suspended {
		m.suspended = false
		if m.measured { // what was waited meanwhile says nothing
			m.pace.began(m.now)
			m.delay.restart(m.cfg.CoDel, m.now)
		}
		m.tell(messages.Event{Kind: messages.PoolResumed})
	}
	m.unpause()
	m.settle()
	return nil
}

// HealthOK resumes a pool that is paused by PauseOnClear, and does nothing
// else: it does not end a backoff (B11).
func (m *Machine) HealthOK(now time.Duration) {
	m.at(now)
	if m.phase == open && m.paused {
		m.unpause()
		m.settle()
	}
}

func (m *Machine) unpause() {
	if m.paused {
		m.paused = false
		m.tell(messages.Event{Kind: messages.PoolReady})
	}
	m.refresh()
}

// Ready answers t once as many connections stand as MinIdle asks for, at least
// one, or with the first error.
func (m *Machine) Ready(now time.Duration, t *Ticket) {
	m.at(now)
	switch {
	case m.phase != open:
		m.answer(t, messages.ErrClosed)
	case m.paused:
		m.answer(t, messages.ErrCleared)
	case m.backoff.state == blocked && m.cfg.Backoff.Mode == BackoffFailFast && m.open() < m.quorum():
		m.answer(t, m.notReady(m.backoffError()))
	default:
		m.readies.push(t, opReady)
		m.settle()
	}
}

// quorum is how many connections must stand for the pool to be ready.
func (m *Machine) quorum() int { return max(1, min(m.cfg.MinIdle, m.capacity)) }

// Close ends the pool: connects, checks and resets under way are cancelled
// first of all, then whoever waits is rejected, and what is idle is closed. t is
// answered once no connection is left.
func (m *Machine) Close(now time.Duration, t *Ticket) {
	m.at(now)
	m.closers.push(t, opClose)
	if m.phase == open {
		m.phase = closingDown
		m.drainSince = m.now
		m.refresh()
		m.effect(Effect{Kind: CancelLifetime})
		if m.backoff.state == blocked {
			m.effect(Effect{Kind: DisarmBackoff})
		}
		m.rejectAll(messages.ErrClosed, messages.ReasonPoolClosed)
		m.answerAll(&m.readies, messages.ErrClosed)
		if m.resizer != nil {
			m.answer(m.resizer, messages.ErrClosed)
		}
		for _, s := range m.slots {
			if s.abandoned {
				continue
			}
			switch s.state {
			case idle:
				m.close(s, messages.ReasonPoolClosed, nil)
			case connecting, checking, resetting, applying, unapplying:
				m.tellClosed(s, messages.ReasonPoolClosed, nil)
			}
		}
		m.tell(messages.Event{Kind: messages.PoolClosed})
	}
	m.settle()
}

// GiveUp ends a SetCapacity, Close or Ready whose caller has left, for the
// reason err. What it asked for stays in force.
func (m *Machine) GiveUp(now time.Duration, t *Ticket, err error) {
	m.at(now)
	if !t.pending {
		return
	}
	if t.op == opReady {
		if m.lastErr != nil {
			err = fmt.Errorf("%w (last connect error: %w)", err, m.lastErr)
		}
		m.answer(t, m.notReady(err))
		return
	}
	m.answer(t, m.drainError(t.op, err))
}

// Gone reports that a borrower has stopped, or starts anew without its leases:
// they end, and their connections go through Reset, or are closed where there
// is none; its waits end, and nothing is granted to it. err is why.
//
// Its leases must be such that only the borrower's messages end them. A return
// that is on its way past the pool would meet the connection's next holder.
func (m *Machine) Gone(now time.Duration, b *Borrower, err error) {
	m.at(now)
	for len(b.waits) > 0 {
		m.reject(b.waits[0], err, messages.ReasonCanceled)
	}
	for len(b.slots) > 0 {
		s := b.slots[0]
		m.revoke(s)
		if m.heard {
			m.tellCheckedIn(s)
		}
		switch reason := m.condemned(s); {
		case reason != 0:
			m.close(s, reason, err)
		case m.cfg.Reset:
			m.begin(s, resetting, Reset)
		default:
			m.close(s, messages.ReasonBroken, err)
		}
	}
	m.settle()
}

// Lost reports that nobody can return this lease any more: it was forgotten, and
// is garbage. It is a leak, and its connection is replaced. False: the lease had
// ended before.
func (m *Machine) Lost(now time.Duration, s *Slot, id, epoch uint64) bool {
	m.at(now)
	if !s.lent(id, epoch) {
		return false
	}
	m.seize(s, messages.ErrLeaseLost)
	m.settle()
	return true
}

// Tie notes that the caller of a Get which waits holds these leases meanwhile.
func (m *Machine) Tie(now time.Duration, w *Waiter, ties []Tie) {
	m.at(now)
	if !w.queued || w.ties != nil {
		return
	}
	for _, t := range ties {
		if !t.out() {
			continue
		}
		w.ties = append(w.ties, t)
		if t.Slot.ties == 0 {
			m.tied++
			t.Slot.entangled = true
		}
		t.Slot.ties++
	}
	m.settle()
}

// Tick reports the housekeeping timer. One of another epoch is stale and
// changes nothing.
func (m *Machine) Tick(now time.Duration, epoch uint64) {
	m.at(now)
	if !m.tickArmed || epoch != m.tickEpoch {
		return
	}
	m.tickArmed, m.tickAt = false, never
	for s := m.busy.head; s != nil && m.deadline(s) <= m.now; s = m.busy.head {
		m.abandon(s)
	}
	if m.phase != open && m.now >= m.drainSince+closeGrace {
		for s := m.busy.head; s != nil; {
			next := s.next
			if s.state != connecting && s.state != closing {
				m.abandon(s)
			}
			s = next
		}
	}
	if m.idleDue <= m.now {
		m.sweep()
	}
	if m.tracked {
		m.lookedAt = m.now
		m.reportLeaks()
	}
	m.settle()
}

// sweep closes idle connections that are past their time, oldest first, at
// most half of them at once, so that a quiet pool shrinks by degrees; and begins
// checks that keep others alive, a tenth of them at once, a hundredth of KeepAlive
// apart. If they are many, it takes several turns.
func (m *Machine) sweep() {
	if !m.sweeping {
		m.expiries, m.checks = max(1, m.n[idle]/2), max(1, m.n[idle]/10)
	}
	m.sweeping = true
	m.idleDue = never
	left := batch
	clean, worn := m.idle.tail, m.worn.tail
	for clean != nil || worn != nil {
		if left == 0 {
			m.idleDue = m.now
			return // to be continued
		}
		s := clean
		if s == nil || worn != nil && worn.since < s.since {
			s, worn = worn, worn.prev
		} else {
			clean = clean.prev
		}
		end, wake := m.due(s), m.checkDue(s)
		switch {
		case end <= m.now && m.expiries > 0:
			m.expiries--
			left--
			reason := messages.ReasonIdle
			if m.tooOld(s) {
				reason = messages.ReasonLifetime
			}
			m.close(s, reason, nil)
			m.bequeath(s)
		case wake <= m.now && end > m.now && m.checks > 0:
			m.checks--
			left--
			rested := s.since
			m.begin(s, checking, Check)
			s.quiet, s.rested = true, rested
		default:
			if end <= m.now { // there were too many of them
				end = m.now + m.pause()
			}
			if wake <= m.now {
				wake = m.now + max(m.cfg.KeepAlive/100, time.Millisecond)
			}
			m.idleDue = min(m.idleDue, end, wake)
		}
	}
	m.sweeping = false
}

// bequeath passes the setting of a connection that has timed out on to the one
// that replaces it, if MinIdle asks for one.
func (m *Machine) bequeath(s *Slot) {
	if s.kin != nil && len(m.legacy) < m.lacking() {
		m.legacy = append(m.legacy, s.kin.setting)
	}
}

// pause is the time between two sweeps of which the first left something over.
func (m *Machine) pause() time.Duration {
	p := never
	for _, period := range []time.Duration{m.cfg.IdleTimeout, m.cfg.MaxLifetime, m.cfg.KeepAlive} {
		if period > 0 {
			p = min(p, period)
		}
	}
	return max(p/10, time.Millisecond)
}

// checkDue is when an idle connection is to be checked to keep it alive. There
// is no check in a blocking period: a Get makes its own then.
func (m *Machine) checkDue(s *Slot) time.Duration {
	if m.cfg.KeepAlive == 0 || !m.cfg.Check || m.backoff.state == blocked {
		return never
	}
	return max(s.alive, s.since) + m.cfg.KeepAlive
}

// due is when an idle connection is past its time.
func (m *Machine) due(s *Slot) time.Duration {
	due := never
	if m.cfg.IdleTimeout > 0 && m.n[idle] > m.cfg.MinIdle {
		due = s.since + m.cfg.IdleTimeout
	}
	if s.expires > 0 {
		due = min(due, s.expires)
	}
	return due
}

// abandon gives up a job whose function did not come back in time: it must not
// cost the pool a place, or a permit to connect, for ever. The slot is not
// counted any more; when the job comes back its connection is closed.
func (m *Machine) abandon(s *Slot) {
	switch s.state {
	case connecting:
		m.connectFailed(s, errOverdue, messages.ClassOverload, m.strand)
	case checking, resetting, applying, unapplying:
		w := s.waiter
		m.release(s)
		m.stats.ClosedBroken++
		m.tellClosed(s, messages.ReasonError, errOverdue)
		m.strand(s)
		if s.state == applying {
			m.applyFailed(w, errOverdue)
		}
	case closing:
		m.release(s)
		m.lingering++
		m.strand(s)
	}
}

// strand stops counting a slot.
func (m *Machine) strand(s *Slot) {
	if s.state == connecting {
		m.spare--
	}
	m.busy.remove(s)
	m.n[s.state]--
	m.strays++
	s.abandoned = true
}

// late closes a connection that came back after it had been given up.
func (m *Machine) late(s *Slot) {
	s.state = closing
	m.lingering++
	m.effect(Effect{Kind: Disconnect, Slot: s})
}

// settle brings the pool to rest after a change: whoever can be served is
// served, connects that are wanted and allowed begin, timers are set, and
// whoever waits for the pool to drain is told.
func (m *Machine) settle() {
	if m.phase == open && !m.paused && !m.suspended {
		m.shed(0)
		m.serve()
		m.dial()
		if m.backoff.state == blocked {
			m.despair()
		}
		m.untangle()
	}
	m.schedule()
	m.drain() // last: Stopped is the end, no timer is left then
}

// serve matches idle connections with whoever waits, in order. Who is better
// served with a new one has his connect begun in his turn.
func (m *Machine) serve() {
	w := m.waiters.head
	for range lookahead + m.cfg.MaxConnecting + m.n[idle] + m.waiters.n - m.waiters.unstarted {
		if w == nil || m.n[idle] == 0 {
			return
		}
		s := m.pick(w)
		switch {
		case s == nil && w.slot == nil && m.mayConnect():
			m.connect(w)
			w = w.next
		case s == nil, w.slot != nil && m.dubious(s):
			w = w.next
		case m.tooOld(s):
			m.close(s, messages.ReasonLifetime, nil)
		case m.dubious(s):
			m.begin(s, checking, Check)
			m.assign(w, s, false)
			w = w.next
		default:
			next := w.next
			m.give(s, w)
			w = next
		}
	}
}

// pick chooses the idle connection for w: one with just his setting, or else a
// clean one, or else, if no connect is allowed, the one whose setting has been
// idle for longest. Whoever has a job under way for him gets only the first.
func (m *Machine) pick(w *Waiter) *Slot {
	if s := m.newest(w.Setting); s != nil || w.slot != nil {
		return s
	}
	if m.idle.head != nil {
		return m.idle.head
	}
	if s := m.worn.tail; s != nil && !m.mayConnect() && m.convertible(s, w) {
		return s
	}
	return nil
}

// dial begins the connects that are wanted and allowed: first for those who
// wait, in their order, then in the background.
func (m *Machine) dial() {
	for m.mayConnect() {
		w := m.waiters.firstUnstarted()
		if w == nil && !m.wanting() {
			return
		}
		m.connect(w)
	}
}

// mayConnect says whether one more connect is allowed. While probing there is
// one at a time.
func (m *Machine) mayConnect() bool {
	limit := m.cfg.MaxConnecting
	switch m.backoff.state {
	case blocked:
		return false
	case probing:
		limit = 1
	}
	return m.n[connecting] < limit && m.counted() < m.capacity
}

// wanting says whether the background wants one more connection: for MinIdle,
// or for a Ready. Those that will soon be idle are counted as idle.
func (m *Machine) wanting() bool {
	if m.readies.head != nil && m.open()+m.n[connecting] < m.quorum() {
		return true
	}
	return m.lacking() > 0 && m.now >= m.populateAfter
}

func (m *Machine) lacking() int {
	return m.cfg.MinIdle - m.n[idle] - m.spare - m.transit()
}

// connect begins a connect for w, or for nobody.
func (m *Machine) connect(w *Waiter) {
	s := m.vacant.head
	if s == nil {
		s = &Slot{index: len(m.slots)}
		m.slots = append(m.slots, s)
		m.n[vacant]++
		m.vacant.pushHead(s)
	}
	m.lastID++
	s.ID, s.Epoch = m.lastID, 1
	s.generation, s.epoch = m.generation, m.backoff.epoch
	m.stats.Connects++
	m.tell(messages.Event{Kind: messages.ConnectionCreated, ConnID: s.ID})
	m.begin(s, connecting, Open)
	m.spare++
	if w != nil {
		m.assign(w, s, true)
	} else if n := len(m.legacy); n > 0 {
		s.Want, m.legacy = m.legacy[n-1], m.legacy[:n-1]
	}
}

// despair ends, in a blocking period, the waits that are not worth it. With
// fail-fast that is everybody who waits for a connect to begin (B8). Otherwise,
// when nothing is out that could come back before the next attempt, those whose
// deadline is earlier than it (G9).
func (m *Machine) despair() {
	if m.cfg.Backoff.Mode == BackoffFailFast {
		for w := m.waiters.firstUnstarted(); w != nil; w = m.waiters.firstUnstarted() {
			m.reject(w, m.backoffError(), messages.ReasonBackoff)
		}
		return
	}
	bare := m.open() == 0 && m.n[connecting] == 0
	if bare && !m.bare {
		for w := m.waiters.head; w != nil; {
			next := w.next
			if m.hopeless(w) {
				m.rejectHopeless(w)
			}
			w = next
		}
	}
	m.bare = bare
}

// refuseFast ends a Get in a blocking period that fails fast. It says no more
// than the backoff does: it must cost no more than a Get that succeeds (B8).
func (m *Machine) refuseFast(w *Waiter) {
	err := m.backoffError()
	m.tell(messages.Event{Kind: messages.CheckOutFailed, Reason: messages.ReasonBackoff, Label: w.Label, Err: err})
	m.effect(Effect{Kind: Reject, Waiter: w, Err: err})
}

func (m *Machine) hopeless(w *Waiter) bool { return w.Deadline > 0 && w.Deadline < m.backoff.until }

func (m *Machine) rejectHopeless(w *Waiter) {
	err := m.backoffError()
	err.Cause = &messages.ConnectError{Phase: messages.PhaseConnect, Err: err.Cause}
	m.reject(w, err, messages.ReasonBackoff)
}

// drain answers whoever waits for the pool to shrink, to close or to be ready.
func (m *Machine) drain() {
	fits := m.counted() <= m.capacity
	if m.reducing == fits {
		m.reducing = !fits
		m.refresh()
	}
	if m.resizer != nil && fits {
		m.answer(m.resizer, nil)
	}
	if m.readies.head != nil && m.open() >= m.quorum() {
		m.answerAll(&m.readies, nil)
	}
	if m.phase == open || m.open() > 0 || m.n[closing] > 0 || m.lingering > 0 {
		return
	}
	m.phase = closed
	m.answerAll(&m.closers, nil)
	if m.n[connecting] == 0 && m.strays == 0 && !m.stopped {
		m.stopped = true
		m.effect(Effect{Kind: Stopped})
	}
}

// schedule arms the housekeeping timer for whatever is due next, and disarms
// it when nothing is. A timer that comes too early is kept: it comes, finds
// nothing and is armed again.
func (m *Machine) schedule() {
	due := m.nextDue()
	switch {
	case due == never:
		if m.tickArmed && (m.phase != open || !m.ticking()) { // the coarse clock stops by itself
			m.tickArmed, m.tickAt = false, never
			m.effect(Effect{Kind: DisarmTick})
		}
	case due < m.tickAt:
		m.tickArmed, m.tickAt = true, due
		m.tickEpoch++
		m.effect(Effect{Kind: ArmTick, At: due, Epoch: m.tickEpoch})
	}
}

func (m *Machine) nextDue() time.Duration {
	due := never
	if s := m.busy.head; s != nil {
		due = m.deadline(s)
		if m.phase != open && m.transit() > 0 {
			due = min(due, m.drainSince+closeGrace)
		}
	}
	if s := m.leases.head; s != nil && m.cfg.MaxLease > 0 {
		due = min(due, s.since+m.cfg.MaxLease)
	}
	if m.leases.head != nil && m.cfg.LeakAfter > 0 {
		due = min(due, m.lookedAt+min(m.cfg.LeakAfter, lookEvery))
	}
	if m.phase != open {
		return due
	}
	if m.fresh != nil && m.cfg.LeakAfter > 0 {
		due = min(due, m.fresh.since+m.cfg.LeakAfter)
	}
	if m.n[idle] > 0 {
		due = min(due, m.idleDue)
		if m.slack > 0 && m.now-m.newestIdle() < m.youth {
			due = min(due, m.now+m.slack)
		}
	}
	if m.waiters.n > 0 && m.cfg.CoDel.on() && !m.suspended {
		if !m.delay.bad {
			due = min(due, m.delay.ends)
		} else if w := m.waiters.firstUnstarted(); w != nil {
			due = min(due, w.since+m.cfg.CoDel.limit())
		}
	}
	if m.populateAfter > m.now && m.lacking() > 0 {
		due = min(due, m.populateAfter)
	}
	return due
}

// deadline is when a job under way is overdue.
func (m *Machine) deadline(s *Slot) time.Duration { return s.since + m.cfg.overdueAfter() }

// grant ends a wait with a connection.
func (m *Machine) grant(w *Waiter, s *Slot) {
	if w.Setting != nil && s.state != applying {
		m.stats.SettingHits++
	}
	m.exchange(w, s)
	wait := m.now - w.since
	m.stats.Grants++
	m.stats.WaitTime += wait
	if m.measured {
		m.measure(wait)
	}
	if m.heard {
		m.tellCheckedOut(s, w, wait)
	}
	m.lend(s, w, true)
	m.dequeue(w) // afterwards: a borrower who gets back what he returned stays one
	m.effect(Effect{Kind: Grant, Slot: s, Waiter: w})
}

// reject ends a wait, or a Get that did not get so far, with an error that
// says what the pool looked like.
func (m *Machine) reject(w *Waiter, err error, reason messages.Reason) {
	switch reason {
	case messages.ReasonTimeout:
		m.stats.Timeouts++
	case messages.ReasonCanceled:
		m.stats.Cancels++
	}
	if w.queued || m.phase == open {
		err = m.getError(w, err)
	}
	if w.queued {
		m.unassign(w)
		m.dequeue(w)
		m.forget(w.Borrower)
	}
	m.tell(messages.Event{
		Kind: messages.CheckOutFailed, Reason: reason, Duration: m.now - w.since, Label: w.Label, Err: err,
	})
	m.effect(Effect{Kind: Reject, Waiter: w, Err: err})
}

func (m *Machine) rejectAll(err error, reason messages.Reason) {
	for m.waiters.n > 0 {
		m.reject(m.waiters.head, err, reason)
	}
}

func (m *Machine) answer(t *Ticket, err error) {
	switch {
	case t == m.resizer:
		m.resizer, t.pending = nil, false
	case t.pending && t.op == opClose:
		m.closers.remove(t)
	case t.pending && t.op == opReady:
		m.readies.remove(t)
	}
	m.effect(Effect{Kind: Answer, Ticket: t, Err: err})
}

func (m *Machine) answerAll(l *ticketList, err error) {
	for l.head != nil {
		m.answer(l.head, err)
	}
}

// assign makes s the job under way for w; blames says that it was started for
// w, so that its failure is w's.
func (m *Machine) assign(w *Waiter, s *Slot, blames bool) {
	w.slot, s.waiter, s.blames = s, w, blames
	m.waiters.unstarted--
	if s.state == connecting {
		m.spare--
	}
}

// unassign parts w from the job under way for it, if there is one. The job
// goes on for nobody.
func (m *Machine) unassign(w *Waiter) {
	if w.slot != nil {
		m.release(w.slot)
	}
}

// release parts s from the waiter that its job is for, if there is one.
func (m *Machine) release(s *Slot) {
	w := s.waiter
	if w == nil {
		return
	}
	w.slot, s.waiter, s.blames = nil, nil, false
	m.waiters.unstarted++
	if s.state == connecting {
		m.spare++
	}
}

// lend makes a connection borrowed; known says that the time is exact.
func (m *Machine) lend(s *Slot, w *Waiter, known bool) {
	m.move(s, borrowed)
	s.label, s.timed = w.Label, known
	if m.tracked || w.Borrower != nil {
		m.entangle(s, w)
	}
}

// entangle notes what a lease has to do with others than its connection: its
// age, the actor that holds it. (Who waits meanwhile, Tie notes.)
func (m *Machine) entangle(s *Slot, w *Waiter) {
	s.entangled = true
	s.trace = w.Trace
	if m.tracked {
		m.leases.pushTail(s)
		if m.fresh == nil {
			m.fresh = s
		}
		if m.leases.n == 1 {
			m.lookedAt = m.now
		}
	}
	if w.Borrower != nil {
		s.borrower = w.Borrower
		s.borrower.holds(s)
	}
}

// disentangle ends that, when the lease ends.
func (m *Machine) disentangle(s *Slot) {
	s.entangled, s.leaked, s.trace = false, false, nil
	if m.tracked {
		if m.fresh == s {
			m.fresh = s.next
		}
		m.leases.remove(s)
	}
	if s.ties > 0 {
		s.ties = 0
		m.tied--
	}
	if b := s.borrower; b != nil {
		s.borrower = nil
		b.holdsNoMore(s)
		m.forget(b)
	}
}

// enqueue puts w in the queue.
func (m *Machine) enqueue(w *Waiter) {
	if m.measured && m.waiters.n == 0 {
		m.pace.began(m.now)
		m.delay.began(m.cfg.CoDel, m.now, m.stats.Grants)
	}
	m.waiters.push(w)
	if b := w.Borrower; b != nil {
		if b.free() {
			m.effect(Effect{Kind: Watch, Borrower: b})
		}
		b.awaits(w)
	}
}

// dequeue takes w out of the queue.
func (m *Machine) dequeue(w *Waiter) {
	m.waiters.remove(w)
	if m.measured && m.waiters.n == 0 {
		m.delay.emptied(m.stats.Grants)
	}
	if w.Borrower != nil {
		w.Borrower.awaitsNoMore(w)
	}
	if w.ties != nil {
		m.untie(w)
	}
}

// measure notes how long somebody has waited who is served.
func (m *Machine) measure(wait time.Duration) {
	m.pace.served(m.now)
	m.delay.served(m.cfg.CoDel, m.now, wait)
}

// forget ends the watch of a borrower that has nothing at stake any more.
func (m *Machine) forget(b *Borrower) {
	if b != nil && b.free() {
		m.effect(Effect{Kind: Unwatch, Borrower: b})
	}
}

// reportLeaks reports the leases that are out for longer than LeakAfter, and
// ends those that are out for longer than MaxLease; so many at once.
func (m *Machine) reportLeaks() {
	for quota := batch; m.leases.n > 0 && quota > 0; quota-- {
		oldest, fresh := m.leases.head, m.fresh
		switch {
		case m.cfg.MaxLease > 0 && oldest.since+m.cfg.MaxLease <= m.now:
			m.seize(oldest, messages.ErrLeaseExpired)
		case fresh != nil && m.cfg.LeakAfter > 0 && m.phase == open && fresh.since+m.cfg.LeakAfter <= m.now:
			m.reportLeak(fresh, nil)
		default:
			return
		}
	}
}

// seize ends a lease against its holder, and closes its connection.
func (m *Machine) seize(s *Slot, cause error) {
	if !s.leaked {
		m.reportLeak(s, cause)
	}
	m.revoke(s)
	reason := messages.ReasonBroken
	if m.phase != open {
		reason = messages.ReasonPoolClosed
	}
	m.close(s, reason, cause)
}

// reportLeak tells of a lease that is out for too long, once.
func (m *Machine) reportLeak(s *Slot, cause error) {
	s.leaked = true
	if m.fresh == s {
		m.fresh = s.next
	}
	m.stats.Leaks++
	e := messages.Event{Kind: messages.LeaseLeaked, ConnID: s.ID, Duration: m.now - s.since, Label: s.label, Err: cause}
	if s.trace != nil && m.cfg.Events != NoEvents {
		e.Stack = s.trace.Stack()
	}
	m.tell(e)
}

// revoke ends a lease in its holder's stead.
func (m *Machine) revoke(s *Slot) {
	m.stats.Revoked++
	m.effect(Effect{Kind: Revoke, Slot: s, Epoch: s.Epoch})
	s.Epoch++
}

// untie ends that, when the wait ends.
func (m *Machine) untie(w *Waiter) {
	for _, t := range w.ties {
		if !t.out() {
			continue
		}
		t.Slot.ties--
		if t.Slot.ties == 0 {
			m.tied--
		}
	}
	w.ties = nil
}

// untangle ends a deadlock: every connection is held by somebody who waits for
// another. The newest of those waits fails.
func (m *Machine) untangle() {
	for m.tied > 0 && m.tied == m.n[borrowed] && m.counted() == m.n[borrowed] && m.counted() >= m.capacity {
		w := m.waiters.tail
		for !w.holds() {
			w = w.prev
		}
		m.stats.Deadlocks++
		m.reject(w, m.deadlockError(w), messages.ReasonExhausted)
	}
}

// admits says that there is surely no reason to refuse a Get that is about to be
// queued, and nothing to begin with it.
func (m *Machine) admits(w *Waiter) bool {
	return m.waiters.n > 0 && !m.delay.bad && (m.cfg.MaxWaiters == 0 || m.waiters.unstarted < m.cfg.MaxWaiters) &&
		(w.Deadline == 0 || !m.cfg.ShedHopeless)
}

// shut refuses a Get that has just been queued, because of how many wait: if it
// is one too many, or cannot be served in time at the pace of late. The first in
// line is not refused for that: it is by those who are served that the pace is known.
func (m *Machine) shut(w *Waiter) bool {
	var err error
	estimate, known := m.pace.estimate(m.waiters.unstarted)
	switch limit := m.cfg.MaxWaiters; {
	case limit > 0 && m.waiters.unstarted > limit:
		err = messages.ErrExhausted
	case m.cfg.ShedHopeless && m.waiters.unstarted > 1 && known && w.Deadline > 0 && m.now+estimate > w.Deadline:
		m.stats.Sheds++
		err = &messages.ShedError{Estimate: estimate}
	default:
		return false
	}
	w.position = 0
	m.reject(w, err, messages.ReasonExhausted)
	m.schedule()
	return true
}

// shed ends the waits that are too long for a queue that CoDel has judged bad,
// so many at once. Those for whom something is under way it spares, and the last
// ones if they can be served now.
func (m *Machine) shed(keep int) {
	c := m.cfg.CoDel
	if !c.on() || m.waiters.n == 0 {
		return
	}
	m.delay.judge(m.now)
	for quota := batch; m.delay.bad && quota > 0; quota-- {
		w := m.waiters.firstUnstarted()
		if m.waiters.unstarted <= keep || m.now-w.since < c.limit() {
			return
		}
		m.stats.Sheds++
		m.reject(w, &messages.ShedError{Target: c.Target}, messages.ReasonExhausted)
	}
}

// rest makes a connection idle.
func (m *Machine) rest(s *Slot) {
	m.move(s, idle)
	if m.timed {
		s.alive = m.now
		if m.n[idle] == 1 {
			m.idleDue = never // what it was for is gone
		}
		m.idleDue = min(m.idleDue, m.due(m.oldest()), m.checkDue(s))
		if s.expires > 0 {
			m.idleDue = min(m.idleDue, s.expires)
		}
		if m.idleDue < m.tickAt || m.slack > 0 && !m.ticking() {
			m.schedule()
		}
	}
}

// begin starts a job in the slot's connector.
func (m *Machine) begin(s *Slot, to state, job EffectKind) {
	m.move(s, to)
	m.effect(Effect{Kind: job, Slot: s})
}

// close starts to close a connection.
func (m *Machine) close(s *Slot, reason messages.Reason, err error) {
	switch reason {
	case messages.ReasonIdle:
		m.stats.ClosedIdle++
	case messages.ReasonLifetime:
		m.stats.ClosedLifetime++
	case messages.ReasonStale:
		m.stats.ClosedStale++
	case messages.ReasonError, messages.ReasonBroken:
		m.stats.ClosedBroken++
	case messages.ReasonCapacity:
		m.stats.ClosedCapacity++
	}
	m.tellClosed(s, reason, err)
	m.begin(s, closing, Disconnect)
}

// vacate ends the use of a slot. One that the capacity has no room for is
// dropped.
func (m *Machine) vacate(s *Slot) {
	m.move(s, vacant)
	if len(m.slots)-m.strays > m.capacity {
		m.drop(s)
	}
}

// drop forgets a vacant or abandoned slot altogether.
func (m *Machine) drop(s *Slot) {
	if s.abandoned {
		m.strays--
		m.wear(s, nil)
	} else {
		m.vacant.remove(s)
		m.n[vacant]--
	}
	last := m.slots[len(m.slots)-1]
	m.slots[s.index], last.index = last, s.index
	m.slots[len(m.slots)-1] = nil
	m.slots = m.slots[:len(m.slots)-1]
	m.effect(Effect{Kind: Retire, Slot: s})
}

// move takes a slot from one state to the next, with the lists and counts that
// go with them.
func (m *Machine) move(s *Slot, to state) {
	switch s.state {
	case vacant:
		m.vacant.remove(s)
	case idle:
		if s.kin == nil {
			m.idle.remove(s)
		} else {
			m.worn.remove(s)
			s.kin.remove(s)
		}
	case borrowed:
		if s.entangled {
			m.disentangle(s)
		}
	case connecting:
		m.spare-- // it has been released
		m.busy.remove(s)
	default:
		m.busy.remove(s)
	}
	m.n[s.state]--
	m.n[to]++
	s.state, s.since = to, m.now
	switch to {
	case vacant:
		s.Conn, s.Want, s.ID, s.silent, s.expires, s.quiet, s.label = nil, nil, 0, false, 0, false, ""
		m.wear(s, nil)
		m.vacant.pushHead(s)
	case idle:
		l := &m.idle
		if s.kin != nil {
			l = &m.worn
		}
		if s.quiet { // a check in the background is no use of it
			s.since, s.quiet = s.rested, false
			l.insert(s)
		} else {
			l.pushHead(s)
		}
		if s.kin != nil {
			s.kin.insert(s)
		}
	case borrowed:
		s.quiet = false
	default:
		m.busy.pushTail(s)
	}
}

// refresh works out plain after one of the things it depends on has changed.
func (m *Machine) refresh() {
	m.plain = m.phase == open && !m.paused && !m.suspended && !m.reducing &&
		(m.backoff.state == ready || !m.cfg.Check)
}

// lent says whether this lease is the slot's current one.
func (s *Slot) lent(id, epoch uint64) bool {
	return s.state == borrowed && s.ID == id && s.Epoch == epoch
}

func (m *Machine) tooOld(s *Slot) bool { return s.expires > 0 && s.expires <= m.now }

// dubious says whether an idle connection must be checked before it is lent:
// when it has been idle for long, and always in a blocking period (B5). After
// that, until a connect succeeds, it must have proved that it is alive since the
// last one failed.
func (m *Machine) dubious(s *Slot) bool {
	if !m.cfg.Check || m.cfg.CheckAfterIdle < 0 {
		return false
	}
	return m.backoff.state == blocked || m.backoff.state == probing && s.alive <= m.backoff.since ||
		m.now-s.since > m.cfg.CheckAfterIdle
}

// perhapsDubious is dubious as far as the coarse clock can tell. With an exact
// time it is decided anew.
func (m *Machine) perhapsDubious(s *Slot) bool {
	if !m.cfg.Check || m.cfg.CheckAfterIdle < 0 {
		return false
	}
	return m.backoff.state != ready || m.now+m.slack-s.since > m.cfg.CheckAfterIdle
}

// ticking says that the coarse clock runs: the time that the machine knows is late
// by its slack at most.
func (m *Machine) ticking() bool {
	return m.slack > 0 && m.tickArmed && m.tickAt <= m.now+m.slack
}

// newestIdle is when the last idle connection came to rest.
func (m *Machine) newestIdle() time.Duration {
	since := -m.youth
	if s := m.idle.head; s != nil {
		since = s.since
	}
	if s := m.worn.head; s != nil {
		since = max(since, s.since)
	}
	return since
}

func (m *Machine) maxIdle() int {
	if m.cfg.MaxIdle > 0 {
		return m.cfg.MaxIdle
	}
	return m.capacity
}

// open counts established connections.
func (m *Machine) open() int { return m.n[idle] + m.n[borrowed] + m.transit() }

// transit counts connections on which a connector is at work.
func (m *Machine) transit() int {
	return m.n[checking] + m.n[resetting] + m.n[applying] + m.n[unapplying]
}

// counted counts what the capacity bounds.
func (m *Machine) counted() int { return m.open() + m.n[connecting] + m.n[closing] }

func (m *Machine) at(now time.Duration) {
	if now > m.now {
		m.now = now
	}
}

func (m *Machine) effect(e Effect) { m.effects = append(m.effects, e) }
