package virtual

import (
	"context"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// Control is a request about the pool as a whole that may have to wait.
type Control struct {
	// Done says that it is answered, and Err is the answer; nil: it has succeeded.
	Done bool
	Err  error
	// Owner is whatever the caller of this package keeps for it.
	Owner any

	ticket machine.Ticket
	number int
	close  bool
}

func (p *Pool) newControl() *Control {
	p.controls++
	c := &Control{number: p.controls}
	c.ticket.Owner = c
	return c
}

func (p *Pool) answer(c *Control, err error) {
	if c.Done {
		p.fail("t%d is answered twice", c.number)
	}
	c.Done, c.Err = true, err
	if p.guard != nil {
		p.guard.answered(c)
	}
	if p.cfg.Hooks.Answered != nil {
		p.cfg.Hooks.Answered(c)
	}
}

// control runs an input with a ticket.
func (p *Pool) control(input string, c *Control, args string, f func()) *Control {
	p.do(func() {
		p.beginStep()
		if p.trace != nil {
			p.trace.say("%s t%d%s", input, c.number, args)
		}
		f()
		p.endStep()
	})
	return c
}

// simply runs an input that is answered at once.
func (p *Pool) simply(input string, f func() error) {
	p.do(func() {
		p.beginStep()
		p.say(input)
		if err := f(); err != nil && p.trace != nil {
			p.trace.first = "refused: " + inShort(err)
		}
		p.endStep()
	})
}

// SetCapacity changes the capacity. It is answered once the pool has shrunk.
func (p *Pool) SetCapacity(n int) *Control {
	c := p.newControl()
	return p.control("set-capacity", c, " "+number(n), func() {
		if !p.closed {
			p.room.change(p.now, n-p.room.n)
		}
		p.m.SetCapacity(p.now, n, "", &c.ticket)
	})
}

// Ready is answered once the pool has as many connections as MinIdle asks for, and at
// least one.
func (p *Pool) Ready() *Control {
	c := p.newControl()
	return p.control("ready", c, "", func() { p.m.Ready(p.now, &c.ticket) })
}

// Warm is answered once n connections are open.
func (p *Pool) Warm(n int) *Control {
	c := p.newControl()
	return p.control("warm", c, " "+number(n), func() { p.m.Warm(p.now, &c.ticket, n) })
}

// Close closes the pool. It is answered once no connection is left.
func (p *Pool) Close() *Control {
	c := p.newControl()
	c.close = true
	return p.control("close", c, "", func() {
		p.closed = true
		p.m.Close(p.now, &c.ticket)
	})
}

// CancelControl ends a Control whose caller leaves. One that is answered is left alone.
func (p *Pool) CancelControl(c *Control) {
	p.do(func() {
		if !c.Done {
			p.beginStep()
			if p.trace != nil {
				p.trace.say("cancel-control t%d", c.number)
			}
			p.m.CancelControl(p.now, &c.ticket, context.DeadlineExceeded)
			p.endStep()
		}
	})
}

// Clear makes every connection stale. With interrupt leases are revoked, and jobs
// cancelled.
func (p *Pool) Clear(interrupt bool) {
	input := "clear"
	if interrupt {
		input = "clear interrupt"
	}
	p.simply(input, func() error {
		if !p.closed {
			p.cleared()
		}
		p.clearing = true
		return p.m.Clear(p.now, nil, interrupt)
	})
}

// Suspend stops grants until Resume.
func (p *Pool) Suspend() {
	p.simply("suspend", func() error {
		if p.guard != nil && !p.closed {
			p.guard.suspended = true
		}
		return p.m.Suspend(p.now)
	})
}

// Resume ends a Suspend, and the pause after a Clear with PauseOnClear.
func (p *Pool) Resume() {
	p.simply("resume", func() error {
		if p.guard != nil && !p.closed {
			p.guard.suspended, p.guard.paused = false, false
		}
		return p.m.Resume(p.now)
	})
}

// HealthOK ends the pause after a Clear with PauseOnClear.
func (p *Pool) HealthOK() {
	p.simply("health-ok", func() error {
		if p.guard != nil {
			p.guard.paused = false
		}
		p.m.HealthOK(p.now)
		return nil
	})
}

// SetMinIdle changes MinIdle. A number that does not fit is refused.
func (p *Pool) SetMinIdle(n int) {
	p.simply("set-min-idle "+number(n), func() error { return p.m.SetMinIdle(p.now, n) })
}
