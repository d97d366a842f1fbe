package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// control is a request about the pool as a whole, on its way to its answer. It
// carries the message that it stands for, whether that came from an actor or from a
// method of Ref: a SetCapacity, SetMinIdle, Warm, Clear, Suspend, Resume, Close,
// StatsRequest, HealthRequest, ExplainRequest or MeasuresRequest, or the readyRequest of ordinary Go.
type control struct {
	message any
	ticket  machine.Ticket // for those that wait
	timer   *time.Timer    // of the deadline that came with the message

	description *machine.Description // of an ExplainRequest

	// The answer is a message, too. It goes to the sender, or else into answers.
	sender  *actor.PID
	answers chan any // of capacity 1; nil if it came by message
}

// readyRequest stands for Ref.Ready. It is answered by *messages.Done.
type readyRequest struct{}

// cancelControl is the message of a caller of a control that has left.
type cancelControl struct {
	control *control
	err     error
}

// controlOf makes a control of a message from outside; nil: it is no such request.
func controlOf(message any, sender *actor.PID) *control {
	switch message.(type) {
	case *messages.SetCapacity, *messages.SetMinIdle, *messages.Warm, *messages.Clear, *messages.Suspend,
		*messages.Resume, *messages.Close, *messages.StatsRequest, *messages.HealthRequest, *messages.ExplainRequest,
		*messages.MeasuresRequest:
		return newControl(&control{message: message, sender: sender})
	}
	return nil
}

func newControl(c *control) *control {
	c.ticket.Owner = c
	return c
}

// check says what is wrong with a control's message.
func (c *control) check() error {
	if msg, ok := c.message.(*messages.SetCapacity); ok && msg.Capacity < 0 {
		return &messages.ConfigError{Field: "Capacity", Reason: fmt.Sprintf("%d is negative", msg.Capacity)}
	}
	return nil
}

// isClose says that a control asks for the end of the pool.
func (c *control) isClose() bool {
	_, ok := c.message.(*messages.Close)
	return ok
}

// isAnsweredWhileClosing says that a control has a use until the last connection is
// closed.
func (c *control) isAnsweredWhileClosing() bool {
	switch c.message.(type) {
	case *messages.ExplainRequest, *messages.MeasuresRequest, *messages.Close:
		return true
	}
	return false
}

// control handles a control on the pool's turn.
func (p *pool) control(now time.Duration, c *control) {
	if err := c.check(); err != nil {
		p.reply(c, &messages.Done{Err: err})
		return
	}
	if err := p.refusesSize(c.message); err != nil {
		p.reply(c, &messages.Done{Err: err})
		return
	}
	switch msg := c.message.(type) {
	case *messages.SetCapacity:
		p.m.SetCapacity(now, msg.Capacity, msg.Note, &c.ticket)
	case *messages.SetMinIdle:
		p.answer(c, p.m.SetMinIdle(now, msg.MinIdle))
	case *messages.Warm:
		p.m.Warm(now, &c.ticket, msg.Connections)
	case *readyRequest:
		p.m.Ready(now, &c.ticket)
	case *messages.Close:
		if !msg.Deadline.IsZero() {
			c.timer = p.sendAt(p.spec.clock.at(msg.Deadline), &cancelControl{control: c, err: context.DeadlineExceeded})
		}
		p.m.Close(now, &c.ticket)
	case *messages.Clear:
		p.answer(c, p.m.Clear(now, nil, msg.Interrupt))
	case *messages.Suspend:
		p.answer(c, p.m.Suspend(now))
	case *messages.Resume:
		p.answer(c, p.m.Resume(now))
	case *messages.StatsRequest:
		stats := p.m.Stats()
		p.reply(c, &stats)
	case *messages.HealthRequest:
		health := p.m.Health()
		p.reply(c, &health)
	case *messages.ExplainRequest:
		p.explain(now, c)
	case *messages.MeasuresRequest:
		measures := p.m.Measures(now)
		p.reply(c, &measures)
	}
}

// controlAfterEnd answers a control that comes when the pool has ended. The actor
// can take long to stop: an event handler that hangs keeps it from doing so.
func (p *pool) controlAfterEnd(c *control) {
	switch c.message.(type) {
	case *messages.Close:
		if p.feed.overdue || c.answers == nil {
			p.reply(c, &messages.Done{})
		} else {
			p.closing = append(p.closing, c) // answered when it has stopped
		}
	case *messages.StatsRequest:
		if p.ref != nil {
			p.reply(c, p.ref.final.Load())
		}
	case *messages.HealthRequest:
		health := &messages.Health{State: messages.StateClosed}
		if p.ref != nil {
			health = p.ref.finalHealth.Load()
		}
		p.reply(c, health)
	default:
		p.reply(c, &messages.Done{Err: p.endError()})
	}
}

// answer ends a control. A Close that succeeded is answered a little later, once the
// events are delivered: see end.
func (p *pool) answer(c *control, err error) {
	if err == nil && c.isClose() {
		p.closing = append(p.closing, c)
		return
	}
	p.reply(c, &messages.Done{Err: err})
}

// reply gives a control its answer: on a turn, once all that the machine has decided has
// been carried out. Otherwise a caller could see the answer to a Clear with Interrupt,
// and then still return its lease.
func (p *pool) reply(c *control, answer any) {
	stop(c.timer)
	if p.inTurn && !p.performing {
		p.replies = append(p.replies, reply{c, answer})
		return
	}
	p.deliver(c, answer)
}

// reply is an answer that waits for the effects of its turn.
type reply struct {
	to     *control
	answer any
}

// deliverReplies gives the answers that have waited.
func (p *pool) deliverReplies() {
	for _, r := range p.replies {
		p.deliver(r.to, r.answer)
	}
	clear(p.replies)
	p.replies = p.replies[:0]
}

func (p *pool) deliver(c *control, answer any) {
	switch {
	case c.answers != nil:
		c.answers <- answer
	case c.sender != nil:
		p.tellLater(c.sender, func() any {
			if d, ok := answer.(*machine.Description); ok {
				e := d.Explanation()
				return &e
			}
			return answer
		})
	}
}

// answerEarly answers a Close whose caller has left while only events were waited
// for: the pool is closed and drained.
func (p *pool) answerEarly(c *control) {
	for i, other := range p.closing {
		if other == c {
			p.closing = append(p.closing[:i], p.closing[i+1:]...)
			p.reply(c, &messages.Done{})
			return
		}
	}
}

// answerCloses answers the Closes that have waited for the events.
func (p *pool) answerCloses() {
	for _, c := range p.closing {
		p.reply(c, &messages.Done{})
	}
	p.closing = nil
}
