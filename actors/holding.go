package actors

import (
	"context"
	"runtime/trace"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// holding is a context that says which connection its owner holds. It is found
// in a context by the pool it belongs to, under the pool's Ref as key, so that a
// wait with this context can be told from one that will end (see ErrDeadlock).
type holding struct {
	context.Context
	loan Loan
}

// Context gives a context like ctx that says that its owner holds this lease.
func (l Loan) Context(ctx context.Context) context.Context {
	if l.handle == nil || ctx == nil { // a Get with nil says what is wrong
		return ctx
	}
	return &holding{Context: ctx, loan: l}
}

// Value implements context.Context.
func (h *holding) Value(key any) any {
	if key == any(h.loan.handle.ref) {
		return h
	}
	return h.Context.Value(key)
}

// tied is the message of a caller who is about to wait and holds connections.
type tied struct {
	call *Call
	ties []machine.HeldLease
}

// tell tells the pool what the caller holds who waits with c. It comes before
// the wait can end and the call be used again, since the caller sends it himself.
func (r *Ref) tell(ctx context.Context, c *Call) {
	h, ok := ctx.Value(r).(*holding)
	if !ok {
		return
	}
	t := &tied{call: c}
	for ; ok; h, ok = h.Context.Value(r).(*holding) {
		l := h.loan
		t.ties = append(t.ties, machine.HeldLease{Slot: l.handle.slot, ID: l.handle.id, Epoch: l.epoch})
	}
	r.process.SendUserMessage(r.pid, t)
}

// Use begins to show in an execution trace that a connection is used; nil: there
// is no trace.
func (r *Ref) Use(ctx context.Context) *trace.Region {
	if !trace.IsEnabled() {
		return nil
	}
	return trace.StartRegion(ctx, r.regions.use)
}
