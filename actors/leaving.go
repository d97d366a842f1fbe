package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/messages"
)

// This file is what the pool actor sends to actors that are not its own. All of it goes
// through the outbox, so that none of it runs on the pool's turn. What goes to one actor
// arrives in the order in which it was sent. It does not pass the sender middleware
// that a program may have given the pool, which would be code on the pool's turn.

// respond answers the message in hand, if it was a request.
func (p *pool) respond(answer any) {
	if sender := p.ctx.Sender(); sender != nil {
		p.tell(sender, answer)
	}
}

// request sends a message that has the pool as its sender, as a grant has.
func (p *pool) request(to *actor.PID, message any) {
	p.tell(to, &actor.MessageEnvelope{Message: message, Sender: p.ctx.Self()})
}

// tell sends a message. To an actor that is no more it is a dead letter.
func (p *pool) tell(to *actor.PID, message any) { p.tellLater(to, func() any { return message }) }

// tellLater is tell for a message that is made when it is sent, and not on the turn.
func (p *pool) tellLater(to *actor.PID, message func() any) {
	registry := p.ctx.ActorSystem().ProcessRegistry
	p.out.send(recipient(to), func() {
		process, _ := registry.Get(to)
		process.SendUserMessage(to, message())
	})
}

// tellSystem sends a message of the actor system, such as a Watch.
func (p *pool) tellSystem(to *actor.PID, message any) {
	registry := p.ctx.ActorSystem().ProcessRegistry
	p.out.send(recipient(to), func() {
		process, _ := registry.Get(to)
		process.SendSystemMessage(to, message)
	})
}

// lease sends a lease. If there is nobody to take it, it comes back. The process is
// looked up, because the PID remembers a future that is over.
func (p *pool) lease(to *actor.PID, lease *messages.Lease, back *undelivered) {
	ref := p.ref
	p.out.send(recipient(to), func() {
		process, ok := ref.system.ProcessRegistry.Get(to)
		if !ok {
			ref.process.SendUserMessage(ref.pid, back)
			return
		}
		process.SendUserMessage(to, &actor.MessageEnvelope{Message: lease, Sender: ref.pid})
	})
}

// recipient names the queue of an actor in the outbox.
func recipient(pid *actor.PID) string { return pid.Address + "/" + pid.Id }

// runsOn implements mailboxActor.
func (p *pool) runsOn(m *mailbox) { p.mailbox = m }

// receiveStopped implements mailboxActor: the pool actor has stopped, and a message comes
// from somebody who had its process in hand. It is a dead letter, as it would have been a
// moment later. A Get of ordinary Go is answered; whoever waits for the answer to another
// of the pool's own messages sees that the pool has ended.
func (p *pool) receiveStopped(message any) {
	_, content, _ := actor.UnwrapEnvelope(message)
	switch msg := unwrap(content).(type) {
	case *refRequest:
		msg.ref <- p.ref
	case *getRequest:
		msg.deny()
	case *getAnother:
		msg.request.deny()
	case *poolConn, *cancelGet, *decline, *holdsLeases, *control, *cancelControl, *job, *batch,
		*connectorStopped, *observerStopped, *undelivered, *deliveryOverdue, *visit, *endVisit, *tryAll, *hijack, *infoRequest,
		*goOnExplaining, *watchChanges, *recording, *endRecording, *units, *lookAround, *retirePool, *messages.Tick, *messages.BackoffElapsed:
	default:
		system, self := p.ctx.ActorSystem(), p.ctx.Self()
		p.out.send(recipient(self), func() { system.DeadLetter.SendUserMessage(self, message) })
	}
}
