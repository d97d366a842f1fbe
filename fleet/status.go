package fleet

import (
	"context"
	"errors"
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
	status atomic.Pointer[published]
	left   chan struct{} // closed when the actor has ended
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
	p := m.status.Load()
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
// once. It waits until borrowed connections have been returned. If ctx ends before, they
// are interrupted: their leases end, and they are closed. If the store cannot be reached
// then, the error says so, and the others have it back as that of a member that has died.
// To leave again waits for the first call, and returns nil.
func (m *Member) Leave(ctx context.Context) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	answer := make(chan error, 1)
	m.system.Root.Send(m.pid, &leave{answer: answer})
	select {
	case err := <-answer:
		return err
	case <-m.left:
		return m.answered(answer)
	case <-ctx.Done():
	}
	m.system.Root.Send(m.pid, &hurry{})
	select {
	case err := <-answer:
		return err
	case <-m.left:
		return m.answered(answer)
	}
}

func (m *Member) answered(answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	default:
		return nil // it had ended before
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
		m.system.Root.Stop(m.pid)
		return ctx.Err()
	}
}

// publish makes the member's state known.
func (m *member) publish(d machine.Decision) {
	s := &published{
		Status: Status{
			Key: m.cfg.Key, Budget: m.cfg.Budget, Incarnation: m.incarnation, Phase: d.Phase.String(),
			Capacity: d.Capacity, Want: m.reported.Want, Err: m.failure,
		},
		read: m.readAt, now: m.gate.now,
	}
	if m.snapshot.Sum.Revision > 0 {
		s.Budget = m.snapshot.Sum.Budget
	}
	if m.machine != nil {
		row, _ := m.machine.Row()
		s.Charge, s.Target, s.Held, s.proof = row.Charge, row.Target, m.machine.Held(), m.machine.Proof()
	}
	s.Fleet = m.rows
	m.facade.status.Store(s)
}
