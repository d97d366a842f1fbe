package actors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// borrower is an actor that borrows by message. It is watched while it holds or
// awaits a connection.
type borrower struct {
	machine.Borrower
	pid     *actor.PID
	process actor.Process // tells it from a later actor of the same name
	deaf    bool          // it does not want to hear how its waits end, or cannot
	doubted bool          // it was said to have stopped, and was asked again
}

// String gives its address.
func (b *borrower) String() string { return b.pid.Address + "/" + b.pid.Id }

// borrowerOf finds out who borrows with a Get from this process: an actor, which
// can be watched, or nil, for a future. alive: there is such a process.
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
	p.borrowers[b.pid.Id] = b
	p.ctx.Watch(b.pid)
}

func (p *pool) unwatch(b *borrower) {
	if p.borrowers[b.pid.Id] == b {
		delete(p.borrowers, b.pid.Id)
	}
	if !b.deaf {
		p.ctx.Unwatch(b.pid)
	}
}

// gone ends what a borrower has at stake, if it is gone. terminated: the library
// says so; but the news may be of a former actor of the same name.
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
			// Either that was a former one, or this one is stopping, and waits for its
			// children: then it says so again.
			b.doubted = true
			p.ctx.Watch(b.pid)
			return
		}
	}
	b.deaf = true
	p.m.BorrowerGone(now, &b.Borrower, messages.ErrBorrowerGone)
	p.perform()
}

// release is gone for a borrower that lives on. It asks for it itself.
func (p *pool) release(now time.Duration, msg *messages.Release) {
	pid := msg.Borrower
	if pid == nil {
		pid = p.ctx.Sender()
	}
	if pid == nil {
		return
	}
	if b := p.borrowers[pid.Id]; b != nil && p.local(pid) {
		b.deaf = p.ctx.Sender() != nil && p.ctx.Sender().Equal(pid)
		p.m.BorrowerGone(now, &b.Borrower, messages.ErrBorrowerGone)
		p.perform()
		p.ctx.Unwatch(b.pid)
	}
	if p.ctx.Sender() != nil {
		p.ctx.Request(p.ctx.Sender(), &messages.Released{})
	}
}

// untaken is a lease that nobody was there to take: a future has timed out, an
// actor has stopped.
type untaken struct {
	handle *Handle
	epoch  uint64
}

// takeBack ends it.
func (p *pool) takeBack(now time.Duration, u *untaken) {
	if h := u.handle; p.m.IsLent(h.slot, h.id, u.epoch) && h.revoke(u.epoch) {
		p.m.Put(now, h.slot, h.id, u.epoch)
	}
}

// ReleaseOnRestart is middleware for actors that borrow by message: when one of
// them is restarted, its leases of these pools end, and its waits. Without it a
// restart changes nothing, since those who watch an actor are not told of it:
// the leases go on, and the new incarnation has to know of them.
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
