package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
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

// member is the actor that owns the state of a member, over all its incarnations.
type member struct {
	cfg     *Config
	gate    *gate
	facade  *Member
	pool    *actor.PID
	minIdle int

	ctx         actor.Context
	machine     *machine.Member // nil: not joined
	lease       store.Membership
	stopWatch   context.CancelFunc
	incarnation string
	joining     []chan<- error // who waits for the first join
	joinAgainAt time.Duration

	capacity  int  // as last sent to the pool
	asked     bool // a StatsRequest is under way
	interrupt bool // leases have been ended in this phase
	stats     messages.Stats

	renewing  bool
	renewedAt time.Duration // when the last renewal was sent
	reported  store.Report
	failure   error // of the last operation of the store

	coordinator *machine.Coordinator
	dealing     bool
	dealtAt     time.Duration
	rank        int // among the living, by name: the first ones deal most often
	snapshot    store.Snapshot

	timer      *time.Timer
	timerEpoch uint64

	rows   []Row // of the snapshot, for Status
	readAt time.Duration

	leaving []chan<- error // who waits for the end
	closing bool           // the pool has been told to close
	over    bool           // nothing is held, and the ledger is told
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
	leave struct{ answer chan<- error }
	hurry struct{} // the caller of Leave does not wait for borrowed connections any more
	left  struct{ err error }
)

// Receive implements actor.Actor.
func (m *member) Receive(ctx actor.Context) {
	m.ctx = ctx
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		ctx.Watch(m.pool)
		m.coordinator = &machine.Coordinator{
			Floor: m.cfg.Floor, Grace: m.cfg.Reclaim.Grace(), Turn: m.cfg.TTL,
		}
		m.capacity = 0
	case *actor.Stopping:
		m.end()
	case *actor.Stopped:
		system := ctx.ActorSystem()
		go func() { // not on the turn of an actor of the system that ends
			system.Shutdown()
			close(m.facade.left)
		}()
	case *join:
		m.joining = append(m.joining, msg.answer)
		m.join()
	case *joined:
		m.joined(msg)
	case *wake:
		if msg.epoch == m.timerEpoch {
			m.look()
		}
	case *renewed:
		m.renewed(msg)
	case *seen:
		if msg.incarnation == m.incarnation && m.machine != nil {
			m.machine.Seen(msg.row)
			m.look()
		}
	case *messages.Stats:
		m.asked = false
		m.stats = *msg
		m.looked()
	case *messages.Done: // of a SetCapacity that has drained, or a SetMinIdle
		m.look()
	case *dealt:
		m.dealt(msg)
	case *leave:
		m.leave(msg)
	case *hurry:
		m.closePool(true)
	case *left:
		m.hasLeft(msg.err)
	case *actor.Terminated: // the pool has ended: nothing is held
		m.poolEnded()
	}
}

func (m *member) now() time.Duration { return m.gate.now() }

// async runs an operation of the store beside the actor, and sends it what comes of it.
func (m *member) async(bound time.Duration, f func(ctx context.Context) any) {
	self, root := m.ctx.Self(), m.ctx.ActorSystem().Root
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		root.Send(self, f(ctx))
	}()
}

// Joining.

// join begins an incarnation.
func (m *member) join() {
	inc, asked := newIncarnation(m.cfg.Name), m.now()
	m.async(m.cfg.TTL/2, func(ctx context.Context) any {
		lease, err := m.cfg.Store.Join(ctx, m.cfg.Key, inc, m.cfg.TTL)
		return &joined{inc, asked, lease, err}
	})
}

func (m *member) joined(msg *joined) {
	if msg.err != nil {
		m.failure = msg.err
		for _, answer := range m.joining {
			answer <- msg.err
		}
		if len(m.joining) > 0 || m.leaving != nil { // New has failed
			m.joining = nil
			m.ctx.Stop(m.ctx.Self())
			return
		}
		m.arm(m.cfg.TTL / renewals)
		m.joinAgainAt = m.now() + m.cfg.TTL/renewals
		return
	}
	hard := time.Duration(float64(m.cfg.TTL) * (1 - 2*m.cfg.Drift))
	m.machine = machine.NewMember(machine.MemberConfig{
		Floor: m.cfg.Floor, Soft: hard * 2 / 3, Hard: hard, Smoothing: min(time.Second, m.cfg.TTL/renewals/3),
	}, msg.asked)
	m.lease, m.incarnation, m.interrupt = msg.lease, msg.incarnation, false
	m.gate.incarnation.Store(&m.incarnation)
	var ctx context.Context
	ctx, m.stopWatch = context.WithCancel(context.Background())
	rows, self, root := m.lease.Watch(ctx), m.ctx.Self(), m.ctx.ActorSystem().Root
	go func() {
		for row := range rows {
			root.Send(self, &seen{msg.incarnation, row})
		}
	}()
	for _, answer := range m.joining {
		answer <- nil
	}
	m.joining = nil
	m.renew()
	m.look()
}

// Looking at the pool, and setting it.

// look asks the pool what it holds: looked goes on with the answer.
func (m *member) look() {
	if m.over {
		return
	}
	m.apply()
	if !m.asked {
		m.asked = true
		m.ctx.Request(m.pool, &messages.StatsRequest{})
	}
}

// apply makes the pool what the member decides.
func (m *member) apply() {
	d := machine.Decision{Phase: machine.Over, Refuse: true, Interrupt: m.stats.Open > 0}
	if m.machine != nil {
		d = m.machine.Decide(m.now())
	}
	if m.leaving != nil {
		d.Capacity, d.Refuse = 0, true
	}
	until := time.Duration(0)
	if !d.Refuse {
		until = d.Next
	}
	m.gate.until.Store(int64(until))
	if d.Capacity != m.capacity {
		m.set(d.Capacity)
	}
	if d.Interrupt && !m.interrupt && m.leaving == nil {
		m.cfg.Logger.Warn("fleet: the lease was not renewed in time: all connections are closed", "key", m.cfg.Key, "incarnation", m.incarnation, "err", m.failure)
		m.ctx.Send(m.pool, &messages.Clear{Interrupt: true})
		m.ctx.Request(m.pool, &messages.StatsRequest{})
	}
	m.interrupt = d.Interrupt
	m.publish(d)
	m.armFor(d)
}

// set sets the capacity of the pool. MinIdle follows it.
func (m *member) set(capacity int) {
	minIdle := min(m.minIdle, capacity)
	if capacity < m.capacity && m.minIdle > 0 {
		m.ctx.Request(m.pool, &messages.SetMinIdle{MinIdle: minIdle})
	}
	m.ctx.Request(m.pool, &messages.SetCapacity{Capacity: capacity})
	if capacity > m.capacity && m.minIdle > 0 {
		m.ctx.Request(m.pool, &messages.SetMinIdle{MinIdle: minIdle})
	}
	m.capacity = capacity
}

// looked goes on with what the pool has answered: its capacity and what it holds are of
// one moment.
func (m *member) looked() {
	s := &m.stats
	held := s.Open + s.Connecting + s.Closing + s.GivenUp
	if m.leaving != nil && held == 0 {
		m.closePool(false)
	}
	if m.machine == nil {
		if m.leaving == nil && held == 0 && m.now() >= m.joinAgainAt { // a new incarnation begins only now
			m.joinAgainAt = math.MaxInt64
			m.join()
		}
		return
	}
	m.machine.Applied(s.Capacity, held)
	m.apply()
	if d := m.machine.Decide(m.now()); d.Phase == machine.Over {
		m.forget()
		m.look()
		return
	}
	r := m.machine.Report(m.now(), m.demand())
	if r.AckSeq != m.reported.AckSeq || r.AckN != m.reported.AckN || m.now()-m.renewedAt >= m.cfg.TTL/renewals {
		m.renew()
	}
	m.deal()
}

// demand is how many connections the member has a use for.
func (m *member) demand() int {
	return max(m.stats.Borrowed+m.stats.InTransition+m.stats.Waiting, m.minIdle)
}

// forget ends an incarnation that is over.
func (m *member) forget() {
	if m.stopWatch != nil {
		m.stopWatch()
	}
	m.machine, m.lease, m.stopWatch = nil, nil, nil
	m.gate.incarnation.Store(nil)
	m.reported, m.renewing = store.Report{}, false
	m.joinAgainAt = 0
}

// armFor arms the timer for what is due first.
func (m *member) armFor(d machine.Decision) {
	wait := m.cfg.TTL / renewals / looks
	if m.machine != nil && m.machine.Owes() {
		wait = min(wait, owedLooks)
	}
	if d.Next > 0 {
		wait = min(wait, max(0, d.Next-m.now()))
	}
	m.arm(wait)
}

// arm arms the timer anew: an earlier one that comes late is recognised by its epoch.
func (m *member) arm(wait time.Duration) {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timerEpoch++
	epoch, self, root := m.timerEpoch, m.ctx.Self(), m.ctx.ActorSystem().Root
	m.timer = time.AfterFunc(wait, func() { root.Send(self, &wake{epoch}) })
}

// Renewing.

func (m *member) renew() {
	if m.renewing || m.machine == nil || m.lease == nil {
		return
	}
	m.renewing = true
	m.renewedAt = m.now()
	m.reported = m.machine.Report(m.renewedAt, m.demand())
	inc, sent, lease, report := m.incarnation, m.renewedAt, m.lease, m.reported
	m.async(m.cfg.TTL/renewals, func(ctx context.Context) any {
		row, ok, err := lease.Renew(ctx, report)
		return &renewed{inc, sent, row, ok, err}
	})
}

func (m *member) renewed(msg *renewed) {
	if msg.incarnation != m.incarnation || m.machine == nil {
		return
	}
	m.renewing = false
	m.failure = msg.err
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
	m.look()
}

// Dealing.

// deal is one turn of a coordinator, if it is time. Every member may deal; the first ones
// by name do it most often, so that a large fleet does not read its ledger all the time.
func (m *member) deal() {
	wait := m.cfg.TTL / renewals / looks * time.Duration(max(1, m.rank-1))
	if m.dealing || m.now()-m.dealtAt < wait || m.leaving != nil {
		return
	}
	m.dealing, m.dealtAt = true, m.now()
	now, c, cfg := m.dealtAt, m.coordinator, m.cfg
	m.async(m.cfg.TTL, func(ctx context.Context) any {
		v, err := cfg.Store.Snapshot(ctx, cfg.Key)
		if err != nil {
			return &dealt{v, err}
		}
		var gone []string
		if suspects := c.Suspects(v, now); len(suspects) > 0 {
			if gone, err = cfg.Reclaim.Reclaim(ctx, suspects); err != nil {
				gone = nil // what is not sure stays charged
			}
		}
		sum, changes := c.Decide(v, gone, now)
		if len(changes) > 0 {
			// What does not fit is decided anew on the next turn.
			if e := cfg.Store.Commit(ctx, cfg.Key, v.Sum, sum, changes[:min(len(changes), store.MaxChanges)]); e != nil && !errors.Is(e, store.ErrConflict) {
				err = errors.Join(err, e)
			}
		}
		return &dealt{v, err}
	})
}

func (m *member) dealt(msg *dealt) {
	m.dealing = false
	if msg.err != nil {
		m.cfg.Logger.Warn("fleet: dealing the budget failed", "key", m.cfg.Key, "err", msg.err)
	}
	if msg.snapshot.Sum.Revision > 0 {
		m.snapshot, m.readAt = msg.snapshot, m.now()
		m.rows = rowsOf(msg.snapshot)
		m.rank = 1 + slices.Index(slices.Sorted(maps.Keys(msg.snapshot.Reports)), m.incarnation)
	}
}

// rowsOf is the ledger for people, in the order of the incarnations.
func rowsOf(v store.Snapshot) []Row {
	all := make(map[string]Row, len(v.Rows))
	for inc, r := range v.Rows {
		all[inc] = Row{Incarnation: inc, Charge: r.Charge, Target: r.Target}
	}
	for inc, r := range v.Reports {
		row := all[inc]
		row.Incarnation, row.Want, row.Alive = inc, r.Want, true
		all[inc] = row
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Row) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
}

// Leaving.

// leave begins to leave: the pool drains, then it closes, then the ledger is told.
func (m *member) leave(msg *leave) {
	if m.over {
		msg.answer <- nil
		return
	}
	m.leaving = append(m.leaving, msg.answer)
	m.look()
}

// closePool closes the pool of a member that leaves. With interrupt the leases that are
// out end now; otherwise there are none.
func (m *member) closePool(interrupt bool) {
	if m.closing || m.leaving == nil {
		return
	}
	m.closing = true
	if interrupt {
		m.ctx.Send(m.pool, &messages.Clear{Interrupt: true})
	}
	m.ctx.Send(m.pool, &messages.Close{})
}

// poolEnded goes on when the pool's actor has ended, because the member leaves or because
// somebody has closed the pool.
func (m *member) poolEnded() {
	if m.over || m.lease == nil {
		m.hasLeft(nil)
		return
	}
	if m.stats.GivenUp > 0 {
		// A function ignores its context, and may still hold what it was given up with. The
		// row stays, for those who can make sure.
		m.hasLeft(errGivenUp)
		return
	}
	lease := m.lease
	m.async(m.cfg.TTL, func(ctx context.Context) any { return &left{lease.Leave(ctx)} })
}

// errGivenUp is the error of a Leave while a function of the pool's configuration still
// runs that was given up.
var errGivenUp = errors.New("fleet: a function that ignores its context may still hold a connection: its quota is not given back")

// hasLeft ends the member.
func (m *member) hasLeft(err error) {
	m.over = true
	for _, answer := range m.leaving {
		answer <- err
	}
	m.leaving = nil
	m.ctx.Stop(m.ctx.Self())
}

// end is the end of the actor.
func (m *member) end() {
	m.over = true
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timerEpoch++
	m.forget()
	m.gate.until.Store(0)
	m.publish(machine.Decision{Phase: machine.Over})
}
