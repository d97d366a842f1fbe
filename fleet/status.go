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
type Status = messages.FleetStatus

// Row is one member of the fleet in the ledger.
type Row = messages.FleetMember

// Member is the membership of this process in a fleet. Its methods may be called from many
// goroutines.
//
// Give it to page.New, or to Register or Add of the module metrics, instead of its pool:
// they show the pool, and the fleet with it.
type Member struct {
	system *actor.ActorSystem
	pid    *actor.PID
	pool   measured
	last   atomic.Pointer[published]
	// patience is how long Leave waits after its context has ended.
	patience time.Duration
	end      atomic.Pointer[error] // of Leave, when the actor has ended
	left     chan struct{}         // closed when the actor has ended
}

// measured is what is shown of a pool.
type measured interface {
	Stats() messages.Stats
	Explain(ctx context.Context) (messages.Explanation, error)
	Measure(ctx context.Context) (messages.Measures, error)
}

// Stats is that of the member's pool.
func (m *Member) Stats() messages.Stats { return m.pool.Stats() }

// Explain is that of the member's pool.
func (m *Member) Explain(ctx context.Context) (messages.Explanation, error) {
	return m.pool.Explain(ctx)
}

// Measure is that of the member's pool.
func (m *Member) Measure(ctx context.Context) (messages.Measures, error) { return m.pool.Measure(ctx) }

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
			Note: m.noted, TTL: m.cfg.TTL, Errors: m.errors,
		},
		read: m.readAt, now: m.gate.now,
	}
	if m.over {
		s.Phase, s.Capacity, s.Note = machine.Over.String(), 0, ""
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
