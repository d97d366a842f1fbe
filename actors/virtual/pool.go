package virtual

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Policy is the part of a pool's configuration that the machine knows. It is that of
// actors.Policy, and is not validated: package client does that, see client.Config.Spec.
type Policy = machine.Config

// The values of Policy.EventLevel: which events somebody listens to. Nobody gets them
// here, but where somebody would, the pool reads the clock more often.
const (
	NoEvents     = machine.NoEvents
	ChangeEvents = machine.ChangeEvents
	AllEvents    = machine.AllEvents
)

// Never is the time of what does not happen.
const Never = time.Duration(math.MaxInt64)

// Config says which pool is run, and in which world.
type Config struct {
	// Policy is the pool's. Where Start or Random is missing, Start is the beginning of
	// the year 2026 and Random is made of Seed.
	Policy Policy
	// GetTimeout bounds the wait of a Get without a Deadline, as client.Config.GetTimeout
	// does. 0: nothing does.
	GetTimeout time.Duration
	// Seed is that of the pool's jitter, as client.Config.Seed is.
	Seed uint64
	// Hooks are the world.
	Hooks Hooks
	// CheckEvery says after how many steps the pool is checked: 1 for every step, 0 for
	// never. A check walks over everything, so it is rarer while there are more than 32
	// Gets that wait and connections, in proportion. Single steps are checked always,
	// unless it is 0.
	CheckEvery int
	// Trace, if it is not nil, is written a trace of all steps. Its errors are ignored.
	Trace io.Writer
}

// Hooks are what the pool asks of the world, and tells it. Each is called while a step
// is under way: what it does to the pool, for example another Get, is done at the same
// time of the clock after it. A hook that is nil does nothing.
type Hooks struct {
	// Job says how a job of a connector will go. nil: each succeeds at once.
	Job func(Job) Outcome
	// JobDone is called when a job has ended, with its error.
	JobDone func(Job, error)
	// Granted is called when a Get is given a connection, and says what its caller does
	// with it. nil: it returns it at once.
	Granted func(*Get) Use
	// Failed is called when a Get ends without a connection: see Get.Err.
	Failed func(*Get)
	// Returned is called when a lease has ended. revoked says that the pool has ended it,
	// and not its holder.
	Returned func(g *Get, revoked bool)
	// TimerComes is asked when a timer would have come that was stopped: true if it comes
	// all the same, as it may where the stop was too late. It must change nothing.
	TimerComes func() bool
	// Answered is called when a Control is: see Control.Err.
	Answered func(*Control)
}

// Pool is a pool in virtual time.
type Pool struct {
	cfg    Config
	m      *machine.Machine
	now    time.Duration
	events events
	inTurn bool // a step is under way
	steps  int
	err    error

	connectors []*connector // of the slots in use, in the order in which they were first used
	timers     struct{ backoff, tick uint64 }
	blocked    time.Duration // when the period of the backoff that runs began; Never: there is none
	gets       uint64        // how many have come
	controls   int
	borrowers  int
	waiting    int
	open       int // connections that count against the capacity
	out        int
	closed     bool
	clearing   bool // a Clear is under way
	stopped    bool
	lent       area // the number of connections that are lent
	room       area // the capacity

	seen  Totals
	guard *guard // checks what a pool promises; nil: CheckEvery is 0
	trace *tracer
}

// Totals is what was seen so far. Stats has what the pool counts itself.
type Totals struct {
	Steps       int           // inputs of the machine
	Waiting     int           // Gets that wait now
	Lent        int           // connections that are lent now
	PeakWaiting int           // the most Gets that waited at once
	PeakLent    int           // the most connections that were lent at once
	PeakOpen    int           // the most that were open, being opened or being closed
	LentTime    time.Duration // the sum of the lengths of all leases so far
	RoomTime    time.Duration // the capacity, summed over the time so far
	Backoff     time.Duration // how long connects have been blocked
}

// area is the sum of a number over time.
type area struct {
	n     int
	since time.Duration
	sum   time.Duration
}

func (a *area) change(now time.Duration, by int) {
	a.sum += time.Duration(a.n) * (now - a.since)
	a.n, a.since = a.n+by, now
}

// New makes a pool, and starts it at the time 0.
func New(cfg Config) *Pool {
	if cfg.Policy.Start.IsZero() {
		cfg.Policy.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if cfg.Policy.Random == nil {
		cfg.Policy.Random = rand.New(rand.NewPCG(cfg.Seed, 0)).Float64
	}
	p := &Pool{cfg: cfg, blocked: Never}
	if cfg.CheckEvery > 0 {
		p.guard = newGuard(p)
	}
	if cfg.Trace != nil {
		p.trace = &tracer{to: cfg.Trace, p: p}
		p.trace.begin(cfg)
	}
	p.m = machine.New(cfg.Policy)
	p.room.change(0, cfg.Policy.Capacity)
	p.beginStep()
	p.m.Start(0)
	p.endStep()
	return p
}

// Now is the virtual time, counted from the pool's start.
func (p *Pool) Now() time.Duration { return p.now }

// Err is what was found to be wrong, a *Violation. nil: nothing.
func (p *Pool) Err() error { return p.err }

// Stats is what the pool says of itself.
func (p *Pool) Stats() messages.Stats { return p.m.Stats() }

// Totals is what was seen so far.
func (p *Pool) Totals() Totals {
	t := p.seen
	t.Steps, t.Waiting, t.Lent = p.steps, p.waiting, p.out
	lent, room := p.lent, p.room
	lent.change(p.now, 0)
	room.change(p.now, 0)
	t.LentTime, t.RoomTime = lent.sum, room.sum
	if p.blocked < p.now {
		t.Backoff += p.now - p.blocked
	}
	return t
}

// At calls f at a time; one that is past means now. It is no step by itself.
func (p *Pool) At(at time.Duration, f func()) {
	p.events.push(event{at: max(at, p.now), what: call, of: f})
}

// Next is the time of the next event; Never: there is none.
func (p *Pool) Next() time.Duration {
	if len(p.events.heap) == 0 {
		return Never
	}
	return p.events.heap[0].at
}

// Run lets everything happen that happens until a time, and gives Err. It ends at that
// time, or earlier, when something is found to be wrong.
func (p *Pool) Run(until time.Duration) error {
	for p.err == nil && len(p.events.heap) > 0 && p.events.heap[0].at <= until {
		p.happen()
	}
	if p.err == nil && until != Never {
		p.now = max(p.now, until)
	}
	return p.err
}

// Step lets the next event happen. False: there is none, or something is wrong.
func (p *Pool) Step() bool {
	if p.err != nil || len(p.events.heap) == 0 {
		return false
	}
	p.happen()
	return true
}

func (p *Pool) happen() {
	e := p.events.pop()
	p.now = max(p.now, e.at)
	switch e.what {
	case call:
		e.of.(func())()
	case arrive:
		p.ask(e.of.(*Get))
	case deadline:
		if g := e.of.(*Get); g.turn == e.n && g.state == waits {
			p.leave(g, true)
		}
	case cancel:
		if g := e.of.(*Get); g.turn == e.n && g.state == waits {
			p.leave(g, false)
		}
	case holds:
		if g := e.of.(*Get); g.turn == e.n && g.state == waits {
			p.tellHolds(g)
		}
	case giveBack:
		if g := e.of.(*Get); g.turn == e.n && g.state == lends {
			p.endLease(g)
		}
	case again:
		p.returnAgain(e.of.(*second))
	case report:
		if c := e.of.(*connector); c.job == e.n {
			p.reportJob(c)
		}
	case backoff:
		if current := p.timers.backoff == e.n; current || p.comesLate() {
			p.backoffElapsed(e.n, current)
		}
	case tick:
		if current := p.timers.tick == e.n; current || p.comesLate() {
			p.tickElapsed(e.n, current)
		}
	}
}

// comesLate says that a timer which was stopped comes all the same.
func (p *Pool) comesLate() bool { return p.cfg.Hooks.TimerComes != nil && p.cfg.Hooks.TimerComes() }

// backoffElapsed tells the pool that the timer of a period has come.
func (p *Pool) backoffElapsed(epoch uint64, current bool) {
	p.beginStep()
	p.sayTimer("backoff-elapsed", epoch, current)
	if current {
		p.timers.backoff = 0
		p.unblock()
		if p.guard != nil {
			p.guard.probing = true
		}
	}
	p.m.BackoffElapsed(p.now, epoch)
	p.endTimer(epoch, current)
}

// tickElapsed tells the pool that the timer of the housekeeping has come.
func (p *Pool) tickElapsed(epoch uint64, current bool) {
	p.beginStep()
	p.sayTimer("tick", epoch, current)
	if current {
		p.timers.tick = 0
		p.giveUp()
	}
	p.m.Tick(p.now, epoch)
	p.endTimer(epoch, current)
}

func (p *Pool) sayTimer(input string, epoch uint64, current bool) {
	if p.trace != nil {
		p.trace.input = input
		if !current {
			p.trace.input += " epoch=" + number(epoch)
		}
	}
}

func (p *Pool) endTimer(epoch uint64, current bool) {
	if !current && p.m.Decided() {
		p.fail("a timer of epoch %d, which is over, has changed something", epoch)
	}
	p.endStep()
}

// do does something to the pool: now, or if a step is under way, after it.
func (p *Pool) do(f func()) {
	if p.inTurn {
		p.At(p.now, f)
		return
	}
	f()
}

// beginStep begins a step.
func (p *Pool) beginStep() {
	p.inTurn = true
	p.steps++
}

// endStep performs what a step has decided.
func (p *Pool) endStep() {
	if p.m.Decided() {
		effects := p.m.Effects()
		for i := range effects {
			if p.trace != nil {
				p.trace.effect(&effects[i])
			}
			p.perform(&effects[i])
		}
		p.m.TakeEvents(nil)
		p.m.Done()
	}
	p.inTurn, p.clearing = false, false
	if p.trace != nil {
		p.trace.end()
	}
	if p.guard != nil {
		p.guard.stepped()
	}
}

// say tells the trace which input the step is. Where building the words costs
// something, the caller asks for p.trace first.
func (p *Pool) say(input string) {
	if p.trace != nil {
		p.trace.input = input
	}
}

// perform does one thing that the machine has decided.
func (p *Pool) perform(e *machine.Effect) {
	if p.guard != nil {
		p.guard.effect(e)
	}
	switch e.Kind {
	case machine.Grant:
		p.grant(e.Waiter.Owner.(*Get), e.Slot)
	case machine.Reject:
		p.reject(e.Waiter.Owner.(*Get), e.Err)
	case machine.Open, machine.Check, machine.Reset, machine.Apply, machine.Unapply, machine.Disconnect:
		p.beginJob(e.Kind, e.Slot)
	case machine.Interrupt:
		p.interrupt(connectorOf(e.Slot), !p.clearing)
	case machine.Revoke:
		p.revoke(connectorOf(e.Slot), e.Epoch)
	case machine.Retire:
		p.retire(connectorOf(e.Slot))
	case machine.Answer:
		p.answer(e.Ticket.Owner.(*Control), e.Err)
	case machine.ArmBackoff:
		p.timers.backoff = e.Epoch
		if p.blocked == Never {
			p.blocked = p.now
		}
		p.events.push(event{at: e.At, what: backoff, n: e.Epoch})
	case machine.DisarmBackoff:
		p.timers.backoff = 0
		p.unblock()
	case machine.ArmTick:
		p.timers.tick = e.Epoch
		p.events.push(event{at: e.At, what: tick, n: e.Epoch})
	case machine.DisarmTick:
		p.timers.tick = 0
	case machine.Watch:
		e.Borrower.Owner.(*Borrower).watched = true
	case machine.Unwatch:
		e.Borrower.Owner.(*Borrower).watched = false
	case machine.CancelLifetime:
		for _, c := range p.connectors {
			p.interrupt(c, true)
		}
	case machine.Stopped:
		p.stopped = true
	}
}

// unblock notes that the period of the backoff is over.
func (p *Pool) unblock() {
	if p.blocked != Never {
		p.seen.Backoff += p.now - p.blocked
		p.blocked = Never
	}
}

// sooner is the sum of a time and a length, or Never.
func sooner(t, d time.Duration) time.Duration {
	if d > Never-t {
		return Never
	}
	return t + d
}

// Violation is something that must never be: a fault in the pool, or in this package.
type Violation struct {
	At   time.Duration
	Step int
	What string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("actorpool: step %d, at %v: %s", v.Step, v.At, v.What)
}

// Panicked notes that a step has panicked with a value, which the caller has recovered.
// Nothing can be done with the pool after that.
func (p *Pool) Panicked(value any) error {
	p.fail("panic: %v", value)
	if p.trace != nil {
		p.trace.first = "panic"
		p.trace.end()
	}
	return p.err
}

func (p *Pool) fail(format string, args ...any) {
	if p.err == nil {
		p.err = &Violation{At: p.now, Step: p.steps, What: fmt.Sprintf(format, args...)}
	}
}
