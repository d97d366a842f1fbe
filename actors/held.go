package actors

import (
	"context"
	"runtime/trace"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// leaseContext is a context that says which connection its owner holds. It is found
// in a context by the pool it belongs to, under the pool's Ref as key, so that a
// wait with this context can be told from one that will end (see ErrDeadlock).
type leaseContext struct {
	context.Context
	lease Lease
}

// Context gives a context like ctx that says that its owner holds this lease.
func (l Lease) Context(ctx context.Context) context.Context {
	if l.lent == nil || ctx == nil { // a Get with nil says what is wrong
		return ctx
	}
	return &leaseContext{Context: ctx, lease: l}
}

// Value implements context.Context.
func (h *leaseContext) Value(key any) any {
	ref := h.lease.lent.ref
	if key == any(ref) || ref.member != nil && key == any(ref.member.set) {
		return h
	}
	return h.Context.Value(key)
}

// Info describes the lease. Code that has the context of a Do and not its lease asks it:
// tracing does.
func (h *leaseContext) Info() messages.LeaseInfo { return h.lease.Info() }

// holdsLeases is the message of a caller that waits and holds connections.
type holdsLeases struct {
	request *getRequest
	leases  []machine.HeldLease
}

// holdings are the leases that the owner of a context holds while it asks for another one.
type holdings struct {
	leases []machine.HeldLease // of this pool
	inSet  []Lease             // of all pools of the set that this one belongs to
}

// holdingsOf finds the holdings of the owner of a context, in which h is the innermost
// lease of this pool; nil: there is none.
func (r *Ref) holdingsOf(ctx context.Context, h *leaseContext) *holdings {
	var all holdings
	if h != nil {
		all.leases = r.heldLeases(h)
	}
	if r.member != nil {
		all.inSet = r.member.set.heldLeases(ctx)
	}
	if all.leases == nil && all.inSet == nil {
		return nil
	}
	return &all
}

// heldLeases finds which leases of this pool the owner of a context holds.
func (r *Ref) heldLeases(h *leaseContext) (leases []machine.HeldLease) {
	for ok := true; ok; h, ok = h.Context.Value(r).(*leaseContext) {
		l := h.lease
		leases = append(leases, machine.HeldLease{Slot: l.lent.slot, ID: l.lent.id, Epoch: l.epoch})
	}
	return leases
}

// Use begins to show in an execution trace that a connection is used; nil: there
// is no trace.
func (r *Ref) Use(ctx context.Context) *trace.Region {
	if !trace.IsEnabled() {
		return nil
	}
	return trace.StartRegion(ctx, r.regions.use)
}
