package actors

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/actors/internal/setmachine"
	"github.com/actorpool/actorpool/messages"
)

// This file is a pool's end of a set: what it does with its units, at the end of each of
// its turns. set.go is the other end.

// Member is what a pool of a set, its callers and the set actor share.
type Member struct {
	set *SetRef
	key *setmachine.Key
	ref *Ref // of its pool; written before anybody else has the Member

	// pins is the number of callers that are about to use the pool, or below 0: it is
	// sealed, and nobody may.
	pins atomic.Int64
	// era is that of the last use.
	era atomic.Uint64
	// idle is the number of idle connections, and 1 in the lowest bit if the pool is at
	// rest, as of the end of the pool's last turn.
	idle atomic.Int64

	gone bool // nothing of it is left; belongs to the set actor
}

// pinsSealed is what stands in Member.pins of a pool that nobody may use.
const pinsSealed = -1 << 62

// Ref gives the pool.
func (m *Member) Ref() *Ref { return m.ref }

// Measure says how long Gets of the pool wait, leases last and connects take: the last
// word on it, if the pool has ended.
func (m *Member) Measure(ctx context.Context) (messages.Measures, error) {
	measures, err := m.ref.Measures(ctx)
	if last := m.ref.finalMeasures.Load(); err != nil && last != nil {
		return *last, nil
	}
	return measures, err
}

// Pin keeps the set from closing the pool, until Unpin. False: the set closes it already.
func (m *Member) Pin() bool {
	for {
		n := m.pins.Load()
		if n < 0 {
			return false
		}
		if m.pins.CompareAndSwap(n, n+1) {
			break
		}
	}
	if era := m.set.board.era.Load(); m.era.Load() != era {
		m.era.Store(era)
	}
	return true
}

// Unpin ends a Pin.
func (m *Member) Unpin() {
	if m.pins.Add(-1) == 0 && m.set.board.rest.Load() {
		m.set.send(&mayRest{})
	}
}

// seal keeps new callers from the pool. False: somebody is about to use it.
func (m *Member) seal() bool { return m.pins.CompareAndSwap(0, pinsSealed) }

func (m *Member) unseal() { m.pins.CompareAndSwap(pinsSealed, 0) }

// board is what the set actor shows to all pools of the set, and these read at the end of
// their turns. It is written before the set actor looks at Member.idle, and read after a
// pool has written that: so one of them sees what the other has done.
type board struct {
	need atomic.Pointer[setmachine.Need]
	rest atomic.Bool   // somebody waits for a pool that is at rest
	era  atomic.Uint64 // of uses
}

// share is what a pool knows of its units.
type share struct {
	holds    int // units: never below what is open
	received int // units, since the pool was made
	claimed  []*setmachine.Need
	told     told
}

// told is what the set actor knows of a pool.
type told struct {
	wants, received int
	oldest          time.Duration
	ending          bool
}

// The messages between a pool and the set actor.
type (
	// units gives a pool so many more.
	units struct{ n int }
	// lookAround asks a pool to look at the board.
	lookAround struct{}
	// retirePool asks a pool to close if it is at rest.
	retirePool struct{ member *Member }

	// poolReport is what a pool says of its units.
	poolReport struct {
		member *Member
		report setmachine.Report
	}
	// retireAnswer is the answer to retirePool.
	retireAnswer struct {
		member *Member
		closes bool
	}
	// mayRest says that a pool may be at rest.
	mayRest struct{}
)

// Those that come too late are no news.
func (*units) IgnoreDeadLetterLogging()        {}
func (*lookAround) IgnoreDeadLetterLogging()   {}
func (*retirePool) IgnoreDeadLetterLogging()   {}
func (*poolReport) IgnoreDeadLetterLogging()   {}
func (*retireAnswer) IgnoreDeadLetterLogging() {}
func (*mayRest) IgnoreDeadLetterLogging()      {}

// unitsCame takes units that the set has given.
func (p *pool) unitsCame(now time.Duration, u *units) {
	if p.share == nil {
		return
	}
	p.share.holds += u.n
	p.share.received += u.n
	if d := p.m.Demand(); d.Open {
		p.m.Resize(now, d.Capacity+u.n)
	}
}

// retire closes the pool if it is at rest.
func (p *pool) retire(now time.Duration, msg *retirePool) {
	closes := p.m.AtRest()
	if closes {
		p.m.Close(now, &newControl(&control{message: &messages.Close{}}).ticket)
	}
	msg.member.set.send(&retireAnswer{member: msg.member, closes: closes})
}

// yields says whether a connection that has just been returned is given up for another
// key. Then the capacity is lowered, so that it is closed.
func (p *pool) yields(now time.Duration, c *poolConn) bool {
	n := p.ref.member.set.board.need.Load()
	if n == nil || n.Key == p.ref.member.key || !p.m.IsLent(c.slot, c.id, c.epoch) {
		return false
	}
	d := p.m.Demand()
	if !d.Open || d.Occupied > d.Capacity || !n.Takes(d.Capacity, d.Waiting > 0, d.Oldest) || !p.claim(n) {
		return false
	}
	p.m.Resize(now, d.Capacity-1)
	return true
}

// claim takes a need from the board for a unit of this pool. False: another pool was first,
// or the need has changed.
func (p *pool) claim(n *setmachine.Need) bool {
	if !p.ref.member.set.board.need.CompareAndSwap(n, nil) {
		return false
	}
	p.share.claimed = append(p.share.claimed, n)
	return true
}

// shareUnits is the end of a turn: what the pool does not use goes back to the set, and
// the set is told what else has changed.
func (p *pool) shareUnits() {
	if !p.life.runs() {
		return
	}
	m := p.ref.member
	board := &m.set.board
	for {
		d := p.m.Demand()
		if spare := min(d.Capacity, d.Capacity-d.Occupied-d.Useful); d.Open && spare > 0 {
			p.resize(d.Capacity - spare)
			continue
		}
		seen := int64(d.Idle) << 1
		if p.m.AtRest() {
			seen |= 1
		}
		if m.idle.Load() != seen {
			m.idle.Store(seen) // before the board is read
		}
		if !d.Open || d.Idle == 0 || d.Occupied > d.Capacity {
			break
		}
		n := board.need.Load()
		if n == nil || n.Key == m.key || !p.claim(n) {
			break
		}
		p.resize(d.Capacity - 1)
		p.reportUnits() // the next need may be posted at once
	}
	p.reportUnits()
	if m.idle.Load()&1 != 0 && board.rest.Load() {
		m.set.send(&mayRest{})
	}
}

func (p *pool) resize(n int) {
	p.m.Resize(p.now(), n)
	p.perform()
}

// reportUnits tells the set actor what has changed.
func (p *pool) reportUnits() {
	s, m := p.share, p.ref.member
	d := p.m.Demand()
	returned := s.holds - max(d.Capacity, d.Occupied)
	wants := min(d.Useful-max(0, d.Capacity-d.Occupied), p.spec.MostUnits-max(d.Capacity, d.Occupied))
	next := told{wants: max(0, wants), ending: !d.Open}
	if next.wants > 0 {
		// A report that was on its way while units were may have been overtaken by them.
		next.received, next.oldest = s.received, noWait
		if d.Waiting > 0 {
			next.oldest = d.Oldest
		}
	}
	if returned <= 0 && len(s.claimed) == 0 && next == s.told {
		return
	}
	s.told = next
	s.holds -= max(0, returned)
	r := setmachine.Report{
		Received: s.received, Returned: max(0, returned), Wants: next.wants, Oldest: next.oldest, Ending: next.ending,
	}
	for i, n := range s.claimed {
		if i < len(s.claimed)-1 {
			m.set.send(&poolReport{m, setmachine.Report{Received: r.Received, Wants: r.Wants, Oldest: r.Oldest, Ending: r.Ending, Claimed: n}})
			continue
		}
		r.Claimed = n
	}
	clear(s.claimed)
	s.claimed = s.claimed[:0]
	m.set.send(&poolReport{m, r})
}

// noWait is the time since when nobody waits for a connection that the pool would open
// all the same.
const noWait = time.Duration(1<<63 - 1)

// refusesSize says that the size of the pool is not its own to change.
func (p *pool) refusesSize(message any) error {
	if p.share == nil {
		return nil
	}
	switch message.(type) {
	case *messages.SetCapacity:
		return &messages.ConfigError{Field: "Capacity", Reason: "it is that of the Set which the pool belongs to"}
	case *messages.SetMinIdle:
		return &messages.ConfigError{Field: "MinIdle", Reason: "a pool of a Set keeps no connections ready"}
	}
	return nil
}

// heldLeases finds which leases of the pools of this set the owner of a context holds.
func (s *SetRef) heldLeases(ctx context.Context) (leases []Lease) {
	h, ok := ctx.Value(s).(*leaseContext)
	for ; ok; h, ok = h.Context.Value(s).(*leaseContext) {
		leases = append(leases, h.lease)
	}
	return leases
}

// holding is a wait of a caller that holds leases of the set meanwhile.
type holding struct {
	wait     setmachine.Wait
	deadlock chan struct{} // closed if the wait must end
}

// holdWait and unholdWait are the messages of such a caller.
type (
	holdWait   struct{ of *holding }
	unholdWait struct{ of *holding }
)

// IgnoreDeadLetterLogging marks the message to a set that has ended as no news.
func (*holdWait) IgnoreDeadLetterLogging()   {}
func (*unholdWait) IgnoreDeadLetterLogging() {}

// heldLease identifies a lease.
type heldLease struct {
	conn  *poolConn
	epoch uint64
}

func (s *SetRef) hold(leases []Lease) *holding {
	w := &holding{deadlock: make(chan struct{})}
	for _, l := range leases {
		w.wait.Leases = append(w.wait.Leases, heldLease{l.lent, l.epoch})
	}
	w.wait.Owner = w
	s.send(&holdWait{w})
	return w
}

func (s *SetRef) unhold(w *holding) { s.send(&unholdWait{w}) }

// isOut says whether a lease has not ended.
func isOut(lease any) bool {
	l := lease.(heldLease)
	return l.conn.fence.Load() == l.epoch
}

// maxCycle bounds the holders that a DeadlockError names.
const maxCycle = 16

// deadlockEnd is the end of a wait that would never end.
func deadlockEnd(g *getRequest) *ending {
	err := &messages.DeadlockError{}
	for _, l := range g.held.inSet[:min(len(g.held.inSet), maxCycle)] {
		err.Cycle = append(err.Cycle, messages.Holder{ConnID: l.lent.id, Waits: true, WaitsFor: g.waiter.Label})
	}
	return &ending{err: err, reason: messages.ReasonExhausted}
}
