package actors

import (
	"slices"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// goOnExplaining is the pool actor's message to itself: an ExplainRequest is answered in
// slices, so that others get their turn in between, however many connections there are.
type goOnExplaining struct{ control *control }

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*goOnExplaining) IgnoreDeadLetterLogging() {}

// explain goes on with an ExplainRequest. If the pool ends before it is done, tearDown
// answers it.
func (p *pool) explain(now time.Duration, c *control) {
	if c.description == nil {
		c.description = &machine.Description{}
		p.explaining = append(p.explaining, c)
	}
	if !p.m.Describe(now, c.description) {
		p.send(0, &goOnExplaining{control: c}) // by a goroutine of its own: a mailbox that is bounded blocks while it is full
		return
	}
	p.explaining = slices.DeleteFunc(p.explaining, func(o *control) bool { return o == c })
	p.reply(c, c.description)
}
