package virtual

import (
	"context"
	"slices"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Kind is what a job does.
type Kind uint8

// The kinds.
const (
	Connect Kind = iota + 1
	Check
	Reset
	Apply
	Unapply
	Disconnect
)

var kinds = map[machine.EffectKind]Kind{
	machine.Open: Connect, machine.Check: Check, machine.Reset: Reset,
	machine.Apply: Apply, machine.Unapply: Unapply, machine.Disconnect: Disconnect,
}

// Job is a job that begins now.
type Job struct {
	Kind Kind
	// Conn is the number of the connection, from 1 in the order of the connects.
	Conn uint64
	// Opened is when its connect had succeeded; for a Connect it is 0.
	Opened time.Duration
	// Setting is the one that is applied, or taken off.
	Setting any
	// Timeout is when its context ends, counted from now.
	Timeout time.Duration
}

// Outcome is how a job will go.
type Outcome struct {
	// After is how long it takes. A job that would take longer than its Timeout ends then,
	// with context.DeadlineExceeded.
	After time.Duration
	// Err is its error; nil: it succeeds. That of a Disconnect means nothing.
	Err error
	// Class says what the error of a Connect means; 0: messages.ClassOverload.
	Class messages.Class
	// Deaf says that it ignores its context: neither its Timeout nor a Close ends it.
	Deaf bool
}

// connector is what does the jobs of a slot.
type connector struct {
	slot *machine.Slot

	id      uint64 // of the connection that it serves, or has served last
	stands  bool   // that connection is open
	opened  time.Duration
	setting any
	uses    int  // of that connection
	holder  *Get // of that connection; nil: nobody
	stale   bool // the pool was cleared since its connect began

	job     uint64 // the number of the last job, by which the end of an older one is known
	running machine.EffectKind
	told    Job  // what the world is told of it
	changed bool // it has changed the setting for a Get, and the connection has not been lent since
	outcome Outcome
	due     time.Duration // when the pool gives it up
	givenUp bool          // it has: the connection does not count any more
	leaving bool          // it is a connect that is too many
}

func connectorOf(s *machine.Slot) *connector { return s.Shell.(*connector) }

// idle says that the connection can be lent.
func (c *connector) idle() bool { return c.stands && c.running == 0 && c.holder == nil }

// gone notes that the connection is no more.
func (c *connector) gone() { c.stands, c.setting, c.holder = false, nil, nil }

// grace is how long the pool waits for a job that it has cancelled.
const grace = 20 * time.Millisecond

// beginJob begins a job.
func (p *Pool) beginJob(kind machine.EffectKind, s *machine.Slot) {
	c, ok := s.Shell.(*connector)
	if !ok {
		c = &connector{slot: s}
		s.Shell = c
		p.connectors = append(p.connectors, c)
	}
	before := c.counts()
	if kind == machine.Open {
		*c = connector{slot: s, id: s.ID, job: c.job}
	}
	timeout := p.m.JobTimeout(s)
	j := Job{Kind: kinds[kind], Conn: c.id, Opened: c.opened, Timeout: timeout}
	switch kind {
	case machine.Apply:
		j.Setting = s.Want
	case machine.Unapply:
		j.Setting = c.setting
	}
	c.told, c.outcome = j, Outcome{}
	if p.cfg.Hooks.Job != nil {
		c.outcome = p.cfg.Hooks.Job(j)
	}
	if c.outcome.After > timeout && !c.outcome.Deaf {
		c.outcome.After, c.outcome.Err = timeout, context.DeadlineExceeded
	}
	c.running, c.leaving, c.changed = kind, false, kind == machine.Apply || kind == machine.Unapply
	p.recount(c, before)
	c.due = sooner(p.now, sooner(timeout, timeout/4))
	c.job++
	if kind == machine.Open {
		p.seen.PeakOpen = max(p.seen.PeakOpen, p.open)
	}
	p.events.push(event{at: sooner(p.now, c.outcome.After), what: report, n: c.job, of: c})
}

// recount notes a change of whether a connection counts against the capacity.
func (p *Pool) recount(c *connector, before bool) {
	switch after := c.counts(); {
	case after && !before:
		p.open++
	case before && !after:
		p.open--
	}
}

// count walks over the connections that count against the capacity: for checks.
func (p *Pool) count() int {
	n := 0
	for _, c := range p.connectors {
		if c.counts() {
			n++
		}
	}
	return n
}

// counts says that a connection counts against the capacity: it is open, being opened or
// being closed, and its job is not given up.
func (c *connector) counts() bool { return !c.givenUp && (c.stands || c.running != 0) }

// surplus is how many connections are too many, and not on their way out.
func (p *Pool) surplus() int {
	n := -p.room.n
	for _, c := range p.connectors {
		if c.counts() && c.running != machine.Disconnect && !c.leaving {
			n++
		}
	}
	return n
}

// giveUp notes which jobs a tick gives up.
func (p *Pool) giveUp() {
	for _, c := range p.connectors {
		if c.running != 0 && c.due <= p.now {
			before := c.counts()
			c.givenUp = true
			p.recount(c, before)
		}
	}
}

// interrupt cancels the job of a connector, if that heeds its context. bounded says that
// the pool waits no longer for it than the grace.
func (p *Pool) interrupt(c *connector, bounded bool) {
	if c.running == 0 || c.running == machine.Disconnect {
		return
	}
	if bounded {
		c.due = p.now + grace
		c.leaving = c.running == machine.Open
	}
	if c.outcome.Deaf {
		return
	}
	c.outcome.Err = context.Canceled
	c.job++
	p.events.push(event{at: p.now, what: report, n: c.job, of: c})
}

// retire ends a connector, whose slot is no more.
func (p *Pool) retire(c *connector) {
	i := slices.Index(p.connectors, c)
	if i < 0 || c.stands || c.running != 0 {
		p.fail("the connector of c%d is retired, and is in use", c.id)
		return
	}
	p.connectors = slices.Delete(p.connectors, i, i+1)
}

// reportJob tells the pool that a job is done.
func (p *Pool) reportJob(c *connector) {
	p.beginStep()
	kind, err, class := c.running, c.outcome.Err, c.outcome.Class
	if class == 0 {
		class = messages.ClassOverload
	}
	if p.trace != nil {
		p.trace.report(c, kind, err, class)
	}
	before := c.counts()
	c.running = 0
	if p.cfg.Hooks.JobDone != nil {
		p.cfg.Hooks.JobDone(c.told, err)
	}
	switch kind {
	case machine.Open:
		if err != nil {
			p.connectFailed(c, err, class)
			break
		}
		if p.guard != nil && !c.givenUp && !c.stale {
			p.guard.probing = false
		}
		c.stands, c.opened = true, p.now
		p.m.Connected(p.now, c.slot, c)
	case machine.Check:
		p.m.Checked(p.now, c.slot, err)
	case machine.Reset:
		if err == nil && p.cfg.Policy.ResetWipes {
			c.setting = nil
		}
		p.m.WasReset(p.now, c.slot, err)
	case machine.Apply:
		if err == nil {
			c.setting = c.slot.Want
		}
		p.m.Applied(p.now, c.slot, err)
	case machine.Unapply:
		if err == nil {
			c.setting = nil
		}
		p.m.Unapplied(p.now, c.slot, err)
	case machine.Disconnect:
		c.gone()
		p.m.Disconnected(p.now, c.slot)
	}
	p.recount(c, before)
	if p.trace != nil {
		p.trace.conn = c
	}
	p.endStep()
	if err != nil && kind != machine.Open && c.stands && c.running != machine.Disconnect {
		p.fail("%v of c%d has failed, and c%d is not closed", kind, c.id, c.id)
	}
}

// connectFailed tells the pool that a connect has failed. That may clear it.
func (p *Pool) connectFailed(c *connector, err error, class messages.Class) {
	if class != messages.ClassClear {
		p.m.ConnectFailed(p.now, c.slot, err, class)
		return
	}
	before := p.m.Stats().Generation
	p.m.ConnectFailed(p.now, c.slot, err, class)
	if p.m.Stats().Generation > before {
		p.cleared()
	}
}

// cleared notes that the connections which stand or come are stale.
func (p *Pool) cleared() {
	for _, c := range p.connectors {
		c.stale = true
	}
	if p.guard != nil {
		p.guard.cleared()
	}
}

var errLost = &fault{"connector lost"}

// LoseConnector ends the connector of a connection, for example because somebody has
// stopped that actor. One that connects or closes is left alone: its job goes to another.
func (p *Pool) LoseConnector(conn uint64) {
	p.do(func() {
		for _, c := range p.connectors {
			if c.id != conn || !c.stands || c.running == machine.Disconnect {
				continue
			}
			p.beginStep()
			if p.trace != nil {
				p.trace.say("connector-lost c%d", c.id)
			}
			c.job++
			c.running = 0
			p.m.ConnectorLost(p.now, c.slot, errLost)
			p.endStep()
			return
		}
	})
}

// Conns gives the numbers of the connections that are open.
func (p *Pool) Conns() []uint64 {
	var conns []uint64
	for _, c := range p.connectors {
		if c.stands {
			conns = append(conns, c.id)
		}
	}
	return conns
}
