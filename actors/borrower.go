package actors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// borrower is an actor that borrows by message. It is watched while it holds a
// connection or waits for one.
type borrower struct {
	machine.Borrower
	pid     *actor.PID
	process actor.Process // tells it from a later actor of the same name
	stopped bool          // there is no watch to end, and nobody to answer
	leaving bool          // it releases what it waits for itself, and is told so by Released
	doubted bool          // it was said to have stopped, and is watched anew to be sure
}

// wantsNoAnswer says that a Get of this sender is not answered when its wait ends.
func (b *borrower) wantsNoAnswer(sender *actor.PID) bool {
	return (b.stopped || b.leaving) && b.pid.Equal(sender)
}

// String gives its address.
func (b *borrower) String() string { return b.pid.Address + "/" + b.pid.Id }

// borrowerOf finds out who borrows with a Get from this process: an actor, which can
// be watched, or nil for a future. alive says whether there is such a process.
func (p *pool) borrowerOf(now time.Duration, pid *actor.PID) (b *borrower, alive bool) {
	process, ok := p.ref.system.ProcessRegistry.Get(pid)
	if !ok {
		return nil, false
	}
	if _, ok := process.(*actor.ActorProcess); !ok {
		return nil, true
	}
	p.gone(now, pid, false) // if that was a former actor of the same name
	if b = p.borrowers[pid.Id]; b == nil {
		b = &borrower{pid: pid, process: process}
		b.Owner = b
	}
	return b, true
}

func (p *pool) watch(b *borrower) {
	if p.borrowers == nil {
		p.borrowers = make(map[string]*borrower)
	}
	p.borrowers[b.pid.Id] = b
	p.tellSystem(b.pid, &actor.Watch{Watcher: p.ref.pid})
}

func (p *pool) unwatch(b *borrower) {
	if p.borrowers[b.pid.Id] == b {
		delete(p.borrowers, b.pid.Id)
	}
	if !b.stopped {
		p.tellSystem(b.pid, &actor.Unwatch{Watcher: p.ref.pid})
	}
}

// gone ends what a borrower has at stake, if it has stopped. terminated says that the
// library reports it; but the report may be of a former actor of the same name.
func (p *pool) gone(now time.Duration, pid *actor.PID, terminated bool) {
	b := p.borrowers[pid.GetId()]
	if b == nil || !p.local(pid) {
		return
	}
	if process, ok := p.ref.system.ProcessRegistry.Get(pid); ok && process == b.process {
		switch {
		case !terminated:
			return
		case !b.doubted:
			// Either the report is of a former one, or this one is stopping and waits for
			// its children: then there will be another report.
			b.doubted = true
			p.tellSystem(b.pid, &actor.Watch{Watcher: p.ref.pid})
			return
		}
	}
	b.stopped = true
	p.m.BorrowerGone(now, &b.Borrower, messages.ErrBorrowerGone)
	p.perform()
}

// release ends what a borrower has at stake that lives on, because it asks for it.
func (p *pool) release(now time.Duration, msg *messages.Release) {
	pid := msg.Borrower
	if pid == nil {
		pid = p.ctx.Sender()
	}
	if pid == nil {
		return
	}
	if b := p.borrowers[pid.Id]; b != nil && p.local(pid) {
		b.leaving = p.ctx.Sender() != nil && p.ctx.Sender().Equal(pid)
		p.m.BorrowerGone(now, &b.Borrower, messages.ErrBorrowerGone)
		p.perform()
		b.leaving = false
	}
	if p.ctx.Sender() != nil {
		p.request(p.ctx.Sender(), &messages.Released{})
	}
}

// undelivered is a lease whose taker is gone: a future has timed out, an actor has
// stopped.
type undelivered struct {
	conn  *poolConn
	epoch uint64
}

// takeBack ends it.
func (p *pool) takeBack(now time.Duration, u *undelivered) {
	if c := u.conn; p.m.IsLent(c.slot, c.id, u.epoch) && c.revoke(u.epoch) {
		p.m.Put(now, c.slot, c.id, u.epoch)
	}
}

// ReleaseOnRestart is middleware for actors that borrow by message: when one of
// them is restarted, its leases of these pools end, and its waits. Without it a
// restart changes nothing, because the watchers of an actor are not told of it: the
// leases go on, and the new incarnation has to know of them.
//
// A [messages.Lease] or [messages.Denied] that was on its way when the actor was
// restarted is not passed on to the new incarnation: it belongs to the former one,
// and the lease has ended.
func ReleaseOnRestart(pools ...*actor.PID) actor.ReceiverMiddleware {
	var restarts sync.Map // by actor and pool: how many Released are to come
	type pair struct{ borrower, pool string }
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			key := pair{borrower: ctx.Self().Id}
			if envelope.Sender != nil {
				key.pool = envelope.Sender.Id
			}
			if dead, ok := envelope.Message.(*actor.DeadLetterResponse); ok { // there is no such pool
				key.pool = dead.GetTarget().GetId()
				if _, ok := restarts.LoadAndDelete(key); ok {
					return
				}
			}
			switch envelope.Message.(type) {
			case *actor.Restarting:
				defer func() { // the actor may still use, and return, what it holds
					for _, pid := range pools {
						key.pool = pid.Id
						n, _ := restarts.LoadOrStore(key, 0)
						restarts.Store(key, n.(int)+1)
						ctx.ActorSystem().Root.RequestWithCustomSender(pid, &messages.Release{}, ctx.Self())
					}
				}()
			case *actor.Stopped:
				for _, pid := range pools {
					key.pool = pid.Id
					restarts.Delete(key)
				}
			case *messages.Released:
				if n, ok := restarts.Load(key); ok {
					if restarts.Delete(key); n.(int) > 1 {
						restarts.Store(key, n.(int)-1)
					}
					return
				}
			case *messages.Lease, *messages.Denied:
				if _, ok := restarts.Load(key); ok {
					return
				}
			}
			next(ctx, envelope)
		}
	}
}
