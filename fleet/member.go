package fleet

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/fleet/internal/machine"
	"github.com/actorpool/actorpool/fleet/store"
	"github.com/actorpool/actorpool/messages"
)

// The parts of the TTL.
const (
	renewals  = 5 // so many renewals there are in a TTL
	looks     = 4 // so many times the pool is looked at between two renewals
	owedLooks = 20 * time.Millisecond
)

// shared is what the actor keeps when it is restarted after a panic.
type shared struct {
	cfg     *Config
	gate    *gate
	facade  *Member
	pool    *actor.PID
	minIdle int
	resumes bool // the pool pauses on Clear

	// lease is the present incarnation's; or, while there is none, the last one's, which
	// has to leave before another begins. nil: there is none.
	lease       store.Membership
	incarnation string

	errors uint64 // operations of the store and of Reclaim that have failed

	life context.Context // ends with the actor
	die  context.CancelFunc
	work sync.WaitGroup // the operations of the store that are under way
}

// memberActor is the actor that owns the state of a member, over all its incarnations.
type memberActor struct {
	*shared
	ctx         actor.Context
	machine     *machine.Member // nil: there is no incarnation
	stopWatch   context.CancelFunc
	first       chan<- error // where New waits for the first join; nil: it does not yet, or not any more
	firstResult *error       // of the first join; nil: there is none yet
	entering    bool         // a join or a leave is under way
	candidate   string       // which joins
	joinAgainAt time.Duration
	joinFailed  bool // the last one

	decision  machine.Decision
	capacity  int    // as last sent to the pool
	noted     string // with it
	asked     bool   // a StatsRequest is under way
	askedAt   time.Duration
	interrupt bool // leases have been ended in this phase
	stats     messages.Stats

	renewing  bool
	renewedAt time.Duration // when the last renewal was sent
	reported  store.Report
	failed    bool  // nobody knows whether it has come
	failure   error // of the last operation of the store

	coordinator *machine.Coordinator
	dealing     bool
	dealtAt     time.Duration
	rank        int // among the living, by name: the first ones deal most often
	snapshot    store.Snapshot
	rows        []Row // of the snapshot, for Status
	readAt      time.Duration

	timer      *time.Timer
	timerEpoch uint64

	leaving    bool // Leave has been called
	late       bool // the answer to the StatsRequest that is under way is too old
	hurried    bool // its context has ended
	closing    bool // the pool has been told to close
	stopTrying context.CancelFunc
	ended      bool // the pool has ended
	over       bool
}

// The messages of the actor to itself.
type (
	join   struct{ answer chan<- error }
	joined struct {
		incarnation string
		asked       time.Duration
		lease       store.Membership
		err         error
	}
	wake    struct{ epoch uint64 }
	renewed struct {
		incarnation string
		sent        time.Duration
		row         store.Row
		ok          bool
		err         error
	}
	seen struct {
		incarnation string
		row         store.Row
	}
	dealt struct {
		snapshot store.Snapshot
		err      error
	}
	leave struct{}
	hurry struct{} // the caller of Leave does not wait for borrowed connections any more
	left  struct{ err error }
)

// Receive implements actor.Actor.
func (m *memberActor) Receive(ctx actor.Context) {
	m.ctx = ctx
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		m.start()
	case *actor.Restarting:
		m.stop()
	case *actor.Stopping:
		m.stop()
		m.over = true
		m.facade.end.CompareAndSwap(nil, &errStopped)
		m.die()
		m.publish()
	case *actor.Stopped:
		system := ctx.ActorSystem()
		go func() { // not on the turn of an actor of the system that ends
			m.work.Wait()
			system.Shutdown()
			close(m.facade.left)
		}()
	case *join:
		m.first = msg.answer
		m.answerFirst()
	case *joined:
		m.count(msg.err)
		m.joined(msg)
	case *wake:
		if msg.epoch != m.timerEpoch {
			return
		}
	case *renewed:
		m.count(msg.err)
		m.renewed(msg)
	case *seen:
		if msg.incarnation == m.incarnation && m.machine != nil {
			m.machine.Seen(msg.row)
		}
	case *messages.Stats:
		m.asked = false
		if !m.late {
			m.stats = *msg
		}
		m.late = false
	case *messages.Done: // of a request to the pool
		return
	case *dealt:
		m.count(msg.err)
		m.dealt(msg)
	case *leave:
		if !m.leaving { // what the pool says is believed if it has been asked after this
			m.leaving, m.late, m.stats.Capacity = true, m.asked, -1
		}
	case *hurry:
		m.hurried = true
		m.stopTrying()
		m.closePool(true)
	case *left:
		m.hasLeft(msg.err)
	case *actor.Terminated:
		m.ended = true
	default:
		return
	}
	if !m.over {
		m.proceed()
	}
}

// errStopped is the error of Leave when the actor has been stopped by something else.
var errStopped = errors.New("fleet: the member's actor was stopped: its quota is not given back")

// start begins, or goes on after a panic: then nobody knows how far the actor had come, so
// everything is closed, and a new incarnation begins.
func (m *memberActor) start() {
	m.ctx.Watch(m.pool)
	m.coordinator = &machine.Coordinator{Floor: m.cfg.Floor, Grace: m.cfg.Reclaim.Grace(), Turn: m.cfg.TTL}
	m.decision = machine.Decision{Phase: machine.Over, Refuse: true}
	m.dealtAt = m.now()
	m.stopTrying = func() {}
	if m.lease != nil { // the first join was long ago
		m.firstResult = new(error)
	}
	m.gate.set(nil, 0, 0)
	m.setCapacity(0, machine.NoteOver)
}

// stop ends what would send messages to an actor that is not there.
func (m *memberActor) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timerEpoch++
	if m.stopWatch != nil {
		m.stopWatch()
	}
	m.gate.set(nil, 0, 0)
}

// count counts the operations that have failed.
func (m *memberActor) count(err error) {
	if err != nil {
		m.errors++
	}
}

func (m *memberActor) now() time.Duration { return m.gate.now() }

// async runs an operation of the store beside the actor, and sends it what comes of it.
func (m *memberActor) async(bound time.Duration, f func(ctx context.Context) any) {
	self, root := m.ctx.Self(), m.ctx.ActorSystem().Root
	m.work.Go(func() {
		ctx, cancel := context.WithTimeout(m.life, bound)
		defer cancel()
		root.Send(self, f(ctx))
	})
}

// proceed follows every message: it sets the pool, and begins what is due.
func (m *memberActor) proceed() {
	m.apply()
	switch {
	case m.ended:
		m.poolEnded()
	case m.leaving:
		// A connection that is lent is returned first. Close waits for the others.
		if s := &m.stats; s.Capacity == 0 && s.Borrowed+s.InTransition == 0 {
			m.closePool(false)
		}
	case m.machine == nil:
		m.enter()
	default:
		m.renew()
		m.deal()
	}
	m.look()
	m.publish()
	m.arm()
}

// Joining.

// enter begins an incarnation, if none is there and nothing is held. The one before it
// leaves first: what it was charged for is free then.
func (m *memberActor) enter() {
	if m.entering || m.leaving || m.gate.held.Load() > 0 || m.now() < m.joinAgainAt {
		return
	}
	m.entering = true
	m.candidate = newIncarnation(m.cfg.Name)
	inc, old, oldName, cfg, now := m.candidate, m.lease, m.incarnation, m.cfg, m.gate.now
	m.async(m.cfg.TTL/2, func(ctx context.Context) any {
		if old != nil {
			if err := cfg.leave(ctx, old, oldName); err != nil {
				return &joined{incarnation: inc, err: err}
			}
		}
		fence, fenced := cfg.Reclaim.(Fence)
		if fenced {
			if err := fence.Admit(ctx, inc); err != nil {
				return &joined{incarnation: inc, err: err}
			}
		}
		asked := now()
		lease, err := cfg.Store.Join(ctx, cfg.Key, inc, cfg.TTL)
		if err != nil && fenced {
			err = errors.Join(err, fence.Retire(ctx, inc))
		}
		return &joined{inc, asked, lease, err}
	})
}

// leave ends a lease whose incarnation holds nothing.
func (cfg *Config) leave(ctx context.Context, lease store.Membership, incarnation string) error {
	if err := lease.Leave(ctx); err != nil {
		return err
	}
	if fence, ok := cfg.Reclaim.(Fence); ok {
		return fence.Retire(ctx, incarnation)
	}
	return nil
}

func (m *memberActor) joined(msg *joined) {
	if msg.incarnation != m.candidate { // begun before the actor was restarted
		if msg.lease != nil {
			m.async(m.cfg.TTL, func(ctx context.Context) any { return m.cfg.leave(ctx, msg.lease, msg.incarnation) })
		}
		return
	}
	m.entering, m.failure, m.joinFailed = false, msg.err, msg.err != nil
	first := m.firstResult == nil
	if first {
		m.firstResult = &msg.err
		m.answerFirst()
	}
	if msg.err != nil {
		m.cfg.Logger.Warn("fleet: joining failed", "key", m.cfg.Key, "err", msg.err)
		m.joinAgainAt = m.now() + m.cfg.TTL/renewals
		if first { // New fails, and closes the pool
			m.joinAgainAt = math.MaxInt64
		}
		return
	}
	hard := time.Duration(float64(m.cfg.TTL) * (1 - 2*m.cfg.Drift))
	m.machine = machine.NewMember(machine.MemberConfig{
		Floor: m.cfg.Floor, Soft: hard * 2 / 3, Hard: hard, Late: m.cfg.TTL / 2, Smoothing: min(time.Second, m.cfg.TTL/renewals/3),
	}, msg.asked)
	m.lease, m.incarnation, m.interrupt = msg.lease, msg.incarnation, false
	m.reported, m.renewing, m.failed, m.renewedAt = store.Report{}, false, false, math.MinInt64/2
	m.cfg.Logger.Info("fleet: joined", "key", m.cfg.Key, "incarnation", m.incarnation)
	var ctx context.Context
	ctx, m.stopWatch = context.WithCancel(m.life)
	rows, self, root := m.lease.Watch(ctx), m.ctx.Self(), m.ctx.ActorSystem().Root
	m.work.Go(func() {
		for row := range rows {
			root.Send(self, &seen{msg.incarnation, row})
		}
	})
}

// answerFirst answers New. The join may be done before New asks.
func (m *memberActor) answerFirst() {
	if m.first != nil && m.firstResult != nil {
		m.first <- *m.firstResult
		m.first = nil
	}
}

// Looking at the pool, and setting it.

// apply makes the gate and the pool what the member decides.
func (m *memberActor) apply() {
	held := int(m.gate.held.Load())
	d := machine.Decision{Phase: machine.Over, Refuse: true, Interrupt: held > 0}
	if m.machine != nil {
		m.machine.Applied(int(m.gate.limit.Load()), held)
		d = m.machine.Decide(m.now())
	}
	if m.leaving || m.ended {
		d.Capacity, d.Refuse, d.Interrupt = 0, true, d.Interrupt && !m.ended
	}
	var until time.Duration
	if !d.Refuse {
		until = d.Next
	}
	inc := m.gate.incarnation.Load()
	switch {
	case m.machine == nil:
		inc = nil
	case inc == nil:
		inc = new(m.incarnation)
	}
	held = m.gate.set(inc, d.Capacity, until)
	if m.machine != nil {
		m.machine.Applied(d.Capacity, held)
	}
	if d.Phase != m.decision.Phase {
		m.cfg.Logger.Info("fleet: phase", "key", m.cfg.Key, "incarnation", m.incarnation, "phase", d.Phase.String(), "before", m.decision.Phase.String())
	}
	m.decision = d
	// What the pool does not count, but the server may, takes its place.
	if n := max(0, d.Capacity-m.stats.GivenUp-int(m.stats.Hijacks)); n != m.capacity || m.note(n) != m.noted {
		m.setCapacity(n, m.note(n))
	}
	if d.Interrupt && !m.interrupt {
		m.cfg.Logger.Warn("fleet: all connections are closed", "key", m.cfg.Key, "incarnation", m.incarnation, "phase", d.Phase.String(), "err", m.failure)
		m.ctx.Request(m.pool, &messages.Clear{Interrupt: true})
		if m.resumes {
			m.ctx.Request(m.pool, &messages.Resume{})
		}
	}
	m.interrupt = d.Interrupt
	if d.Phase == machine.Over && m.machine != nil {
		m.machine = nil
		m.stopWatch()
	}
}

// note says why the pool has no more, if there is a reason to be told.
func (m *memberActor) note(capacity int) string {
	switch {
	case m.leaving || m.ended:
		return machine.NoteLeave
	case m.machine != nil:
		return m.machine.Note(m.now(), capacity)
	case m.joinFailed:
		return machine.NoteFailed
	}
	return machine.NoteOver
}

// setCapacity sets the capacity of the pool. MinIdle follows it, and is never above.
func (m *memberActor) setCapacity(capacity int, note string) {
	minIdle := min(m.minIdle, capacity)
	if capacity < m.capacity && m.minIdle > 0 {
		m.ctx.Request(m.pool, &messages.SetMinIdle{MinIdle: minIdle})
	}
	m.ctx.Request(m.pool, &messages.SetCapacity{Capacity: capacity, Note: note})
	if capacity > m.capacity && m.minIdle > 0 {
		m.ctx.Request(m.pool, &messages.SetMinIdle{MinIdle: minIdle})
	}
	m.capacity, m.noted = capacity, note
}

// look asks the pool for its demand, now and then.
func (m *memberActor) look() {
	wait := m.cfg.TTL / renewals / looks
	if m.leaving {
		wait = owedLooks
	}
	if !m.asked && !m.ended && m.now()-m.askedAt >= wait {
		m.asked, m.askedAt = true, m.now()
		m.ctx.Request(m.pool, &messages.StatsRequest{})
	}
}

// demand is how many connections the member has a use for.
func (m *memberActor) demand() int {
	return m.stats.Borrowed + m.stats.InTransition + m.stats.Waiting + m.minIdle
}

// arm arms the timer for what is due first. An earlier one that comes late is recognised
// by its epoch.
func (m *memberActor) arm() {
	wait := m.cfg.TTL / renewals / looks
	if m.machine != nil && m.machine.Owes() || m.machine == nil && m.gate.held.Load() > 0 || m.leaving {
		wait = min(wait, owedLooks)
	}
	if next := m.decision.Next; next > 0 {
		wait = min(wait, max(0, next-m.now()))
	}
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timerEpoch++
	epoch, self, root := m.timerEpoch, m.ctx.Self(), m.ctx.ActorSystem().Root
	m.timer = time.AfterFunc(wait, func() { root.Send(self, &wake{epoch}) })
}

// Renewing.

// renew renews the lease if it is time, or if there is news: a promise, or a need.
func (m *memberActor) renew() {
	if m.renewing || m.machine == nil {
		return
	}
	now := m.now()
	r, since := m.machine.Report(now, m.demand()), now-m.renewedAt
	promise := r.AckSeq != m.reported.AckSeq || r.AckN != m.reported.AckN
	soon := since >= m.cfg.TTL/renewals/looks && (m.failed || r.Want > m.reported.Want)
	if since < m.cfg.TTL/renewals && !soon && (!promise || m.failed) {
		return
	}
	m.renewing, m.renewedAt, m.reported = true, now, r
	inc, lease := m.incarnation, m.lease
	m.async(m.cfg.TTL/renewals, func(ctx context.Context) any {
		row, ok, err := lease.Renew(ctx, r)
		return &renewed{inc, now, row, ok, err}
	})
}

func (m *memberActor) renewed(msg *renewed) {
	if msg.incarnation != m.incarnation || m.machine == nil {
		return
	}
	m.renewing, m.failed, m.failure = false, msg.err != nil, msg.err
	switch {
	case errors.Is(msg.err, store.ErrLost):
		m.cfg.Logger.Warn("fleet: the lease has ended", "key", m.cfg.Key, "incarnation", m.incarnation)
		m.machine.Lost()
	case msg.err != nil:
		m.cfg.Logger.Warn("fleet: the lease could not be renewed", "key", m.cfg.Key, "incarnation", m.incarnation, "err", msg.err)
	default:
		m.machine.Renewed(msg.sent)
		if msg.ok {
			m.machine.Seen(msg.row)
		}
	}
}

// Leaving.

// closePool closes the pool of a member that leaves. With interrupt the leases that are
// out end now; otherwise there are none.
func (m *memberActor) closePool(interrupt bool) {
	if m.closing || !m.leaving {
		return
	}
	m.closing = true
	if interrupt {
		m.ctx.Request(m.pool, &messages.Clear{Interrupt: true})
	}
	m.ctx.Request(m.pool, &messages.Close{})
}

// poolEnded tries to leave for a TTL, or until the caller of Leave does not wait any more.
// It comes when the pool's actor has ended, because the member leaves or because
// somebody has closed the pool. A join that is under way comes first, so that its lease
// does not stay.
func (m *memberActor) poolEnded() {
	held := int(m.gate.held.Load())
	switch {
	case m.entering:
	case held > 0: // the row stays, for those who can make sure
		m.hasLeft(heldError(held))
	case m.lease == nil:
		m.hasLeft(nil)
	default:
		m.entering = true
		lease, inc, cfg, once := m.lease, m.incarnation, m.cfg, m.hurried
		again, stop := context.WithCancel(m.life)
		m.stopTrying = stop
		m.async(m.cfg.TTL, func(ctx context.Context) any {
			for {
				attempt, cancel := context.WithTimeout(ctx, cfg.TTL/renewals)
				err := cfg.leave(attempt, lease, inc)
				cancel()
				if err == nil || once {
					return &left{err}
				}
				select {
				case <-time.After(cfg.TTL / renewals / looks):
				case <-again.Done():
					return &left{err}
				case <-ctx.Done():
					return &left{err}
				}
			}
		})
	}
}

// hasLeft ends the member.
func (m *memberActor) hasLeft(err error) {
	m.over = true
	m.stopTrying()
	if err != nil {
		m.cfg.Logger.Warn("fleet: leaving failed", "key", m.cfg.Key, "incarnation", m.incarnation, "err", err)
	}
	m.facade.end.Store(&err)
	m.ctx.Stop(m.ctx.Self())
}
