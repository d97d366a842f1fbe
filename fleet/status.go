package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/fleet/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Status is what a member knows of itself and of its fleet.
type Status struct {
	// Key and Budget are those of the fleet.
	Key    string `json:"key"`
	Budget int    `json:"budget"`
	// Incarnation is the name of the member's present life; "" while it has none.
	Incarnation string `json:"incarnation"`
	// Phase is how far that has come: new, live, soft (the store was not reached for long:
	// nothing new is opened), hard (nothing may be held) or over.
	Phase string `json:"phase"`
	// Charge is what the budget is charged for this member, and Target what it shall shrink
	// to. Capacity is what its pool is set to, Held what that holds, and Want what it asks
	// for.
	Charge   int `json:"charge"`
	Target   int `json:"target"`
	Capacity int `json:"capacity"`
	Held     int `json:"held"`
	Want     int `json:"want"`
	// Proof is how long ago the last confirmed renewal was sent.
	Proof time.Duration `json:"proof"`
	// Err is the error of the last renewal; nil if it succeeded.
	Err error `json:"-"`
	// Fleet are the members, as this one has last read the ledger, in the order of their
	// incarnations; and ReadAgo is how long ago that was.
	Fleet   []Row         `json:"fleet"`
	ReadAgo time.Duration `json:"readAgo"`
}

// NoQuota says that the member has a use for connections and may have none.
func (s Status) NoQuota() bool { return s.Capacity == 0 && s.Want > 0 }

// String is the status in a line.
func (s Status) String() string {
	text := fmt.Sprintf("fleet %s: phase %s, capacity %d, held %d, want %d, charge %d, target %d, of a budget of %d; renewed %v ago",
		s.Key, s.Phase, s.Capacity, s.Held, s.Want, s.Charge, s.Target, s.Budget, s.Proof.Round(time.Millisecond))
	if s.NoQuota() {
		text += "; fleet: no quota"
	}
	if s.Err != nil {
		text += "; " + s.Err.Error()
	}
	return text
}

// Row is one member of the fleet in the ledger.
type Row struct {
	Incarnation string `json:"incarnation"`
	Charge      int    `json:"charge"`
	Target      int    `json:"target"`
	Want        int    `json:"want"`
	// Alive: its lease lives. What a dead one is charged for may still be open.
	Alive bool `json:"alive"`
}

// Member is the membership of this process in a fleet. Its methods may be called from many
// goroutines.
type Member struct {
	system *actor.ActorSystem
	pid    *actor.PID
	last   atomic.Pointer[published]
	// patience is how long Leave waits after its context has ended.
	patience time.Duration
	end      atomic.Pointer[error] // of Leave, when the actor has ended
	left     chan struct{}         // closed when the actor has ended
}

// published is a Status, and the moments that it counts from.
type published struct {
	Status
	proof, read time.Duration
	now         func() time.Duration
}

// Status says what the member may hold and holds now. It asks nobody. After the end it is
// the last one, with phase "over".
func (m *Member) Status() Status {
	p := m.last.Load()
	s := p.Status
	if p.now != nil {
		s.Proof = p.now() - p.proof
		s.ReadAgo = p.now() - p.read
	}
	return s
}

// Done is closed when the member has ended, and its actor system with it: after Leave, or
// after the pool has been closed and what it held is given back.
func (m *Member) Done() <-chan struct{} { return m.left }

// Leave closes the pool and gives back what the member had, so that others have it at
// once. It waits until borrowed connections have been returned; Gets wait meanwhile, and
// fail when the pool closes. If ctx ends before, leases end, and their connections are
// closed. If the store cannot be reached then, or if a function that ignores its context
// may still hold a connection, the error says so, and the others have the quota back as
// that of a member that has died. After the end of ctx it waits no longer than TTL. To leave again gives the same answer.
func (m *Member) Leave(ctx context.Context) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	m.system.Root.Send(m.pid, &leave{})
	select {
	case <-m.left:
		return *m.end.Load()
	case <-ctx.Done():
	}
	m.system.Root.Send(m.pid, &hurry{})
	select {
	case <-m.left:
		return *m.end.Load()
	case <-time.After(m.patience):
		return fmt.Errorf("fleet: the pool does not close: %w", ctx.Err())
	}
}

// join has the actor begin its first incarnation.
func (m *Member) join(ctx context.Context) error {
	answer := make(chan error, 1)
	m.system.Root.Send(m.pid, &join{answer: answer})
	select {
	case err := <-answer:
		return err
	case <-m.left:
		return errors.New("fleet: the member has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish makes the member's state known.
func (m *memberActor) publish() {
	s := &published{
		Status: Status{
			Key: m.cfg.Key, Budget: m.cfg.Budget, Incarnation: m.incarnation, Phase: m.decision.Phase.String(),
			Capacity: m.capacity, Held: int(m.gate.held.Load()), Want: max(m.reported.Want, m.demand()), Err: m.failure, Fleet: m.rows,
		},
		read: m.readAt, now: m.gate.now,
	}
	if m.over {
		s.Phase, s.Capacity = machine.Over.String(), 0
	}
	if m.snapshot.Sum.Revision > 0 {
		s.Budget = m.snapshot.Sum.Budget
	}
	if m.machine != nil {
		row, _ := m.machine.Row()
		s.Charge, s.Target, s.proof = row.Charge, row.Target, m.machine.Proof()
	}
	m.facade.last.Store(s)
}
