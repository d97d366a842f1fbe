package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// tracer writes the steps of a pool as a trace of the machine's tests: see
// trace_test.go there for the format.
type tracer struct {
	to io.Writer
	p  *Pool

	input   string // of the step
	first   string // the first line of its output
	effects []string
	conn    *connector // whose connection may be idle after the step
	waiting *Get       // that may wait after the step
	buffer  bytes.Buffer
}

func number[T int | uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

// begin writes the first input.
func (t *tracer) begin(cfg Config) { t.input = "new" + options(cfg) }

// options are the arguments of new.
func options(cfg Config) string {
	c := &cfg.Policy
	var b strings.Builder
	set := func(name string, value any) { fmt.Fprintf(&b, " %s=%v", name, value) }
	for _, n := range []struct {
		name string
		n    int
	}{
		{"min-idle", c.MinIdle},
		{"max-idle", c.MaxIdle},
		{"min-open", c.MinOpen},
		{"max-uses", c.MaxUses},
		{"max-waiters", c.MaxWaiters},
	} {
		if n.n != 0 {
			set(n.name, n.n)
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"idle-timeout", c.IdleTimeout},
		{"max-lifetime", c.MaxLifetime},
		{"lifetime-jitter", c.LifetimeJitter},
		{"keep-alive", c.KeepAlive},
		{"leak-after", c.LeakAfter},
		{"max-lease", c.MaxLease},
		{"codel", c.CoDel.Target},
		{"codel-interval", c.CoDel.Interval},
	} {
		if d.d != 0 {
			set(d.name, d.d)
		}
	}
	for _, f := range []struct {
		name string
		on   bool
	}{
		{"pause-on-clear", c.PauseOnClear},
		{"reset", c.Reset},
		{"reusable", c.Reusable},
		{"reset-wipes", c.ResetWipes && c.Reset},
		{"no-unapply", !c.Unapply},
		{"shed-hopeless", c.ShedHopeless},
		{"coarse", c.Coarse},
	} {
		if f.on {
			b.WriteString(" " + f.name)
		}
	}
	if c.Check {
		set("check-after-idle", c.CheckAfterIdle)
		set("check-timeout", c.CheckTimeout)
	}
	if c.EventLevel != machine.NoEvents {
		set("events", [...]string{machine.RareEvents: "rare", machine.ChangeEvents: "changes", machine.AllEvents: "all"}[c.EventLevel])
		b.WriteString(" quiet")
	}
	set("mode", [...]string{machine.BackoffWait: "wait", machine.BackoffFailFast: "fail-fast", machine.BackoffNever: "never"}[c.Backoff.Mode])
	set("base", c.Backoff.Base)
	set("cap", c.Backoff.Cap)
	set("jitter", c.Backoff.Jitter)
	set("connect-timeout", c.ConnectTimeout)
	set("disconnect-timeout", c.DisconnectTimeout)
	return fmt.Sprintf(" fast capacity=%d max-connecting=%d seed=%d", c.Capacity, c.MaxConnecting, cfg.Seed) + b.String()
}

// say sets the input of the step.
func (t *tracer) say(format string, args ...any) { t.input = fmt.Sprintf(format, args...) }

// get sets the input for a Get.
func (t *tracer) get(g *Get, ended bool) {
	t.say("get g%d", g.number)
	add := func(name string, value any) { t.input += fmt.Sprintf(" %s=%v", name, value) }
	if g.Label != "" {
		add("label", g.Label)
	}
	if g.Setting != nil {
		add("setting", g.Setting)
	}
	if ended {
		add("ended", "timeout")
		return
	}
	if g.Borrower != nil {
		add("borrower", "b"+number(g.Borrower.number))
	}
	if g.Deadline > 0 {
		add("deadline", g.Deadline)
	}
	if w := &g.waiter; w.Reserve > 0 {
		add("reserve", w.Reserve)
	} else if w.Timeout > 0 {
		add("timeout", w.Timeout)
	}
}

// holds sets the input that says what the caller of a Get holds.
func (t *tracer) holds(g *Get) {
	t.say("holds g%d", g.number)
	for _, h := range g.Holding {
		if h.state == lends {
			t.input += " g" + number(h.number)
		}
	}
}

// giveBack sets the input that ends a lease.
func (t *tracer) giveBack(g *Get) {
	switch name := "g" + number(g.number); g.use.Way {
	case Put, Twice:
		t.input = "put " + name
	case ByMessage:
		t.input = "put-unasked " + name
	case Taint:
		t.input = "taint " + name + " cause=" + errBroken.text
	case TaintDead:
		t.input = "taint " + name + " cause=" + errBroken.text + " dead"
	case Hijack:
		t.input, t.first = "hijack "+name, fmt.Sprintf("c%d is the caller's", g.Conn)
	case Forget:
		t.input = "lease-lost " + name
	case Decline:
		t.input = "decline " + name + " cancel"
	case Refuse:
		t.input = "get-another " + name
	}
}

// report sets the input that ends a job.
func (t *tracer) report(c *connector, kind machine.EffectKind, err error, class messages.Class) {
	names := map[machine.EffectKind]string{
		machine.Open: "connected", machine.Check: "checked", machine.Reset: "reset",
		machine.Apply: "applied", machine.Unapply: "unapplied", machine.Disconnect: "disconnected",
	}
	name := names[kind]
	if kind == machine.Open && err != nil {
		name = "failed"
	}
	t.say("%s c%d", name, c.id)
	if err != nil && kind != machine.Disconnect {
		t.input += " err=(" + err.Error() + ")"
		if kind == machine.Open {
			t.input += " class=" + class.String()
		}
	}
}

// granted is a grant without an effect.
func (t *tracer) granted(how string, g *Get, s *machine.Slot) {
	t.first = fmt.Sprintf("%s c%d/%d -> g%d", how, s.ID, s.LeaseEpoch, g.number)
}

// effect notes an effect, which is performed after it.
func (t *tracer) effect(e *machine.Effect) {
	text := e.Kind.String()
	switch e.Kind {
	case machine.ArmTick, machine.DisarmTick:
		text = ""
	case machine.Apply:
		text = fmt.Sprintf("Apply %v to %s", e.Slot.Want, name(e.Slot))
	case machine.Unapply:
		text = fmt.Sprintf("Unapply %v from %s", e.Slot.Setting(), name(e.Slot))
	case machine.Open, machine.Check, machine.Reset, machine.Disconnect, machine.Interrupt:
		text += " " + name(e.Slot)
	case machine.Watch, machine.Unwatch:
		text += " b" + number(e.Borrower.Owner.(*Borrower).number)
	case machine.Retire:
		text = "Retire the connector of " + name(e.Slot)
	case machine.Revoke:
		text = fmt.Sprintf("Revoke %s/%d", name(e.Slot), e.Epoch)
	case machine.Grant:
		text = fmt.Sprintf("Grant %s/%d -> g%d", name(e.Slot), e.Slot.LeaseEpoch, e.Waiter.Owner.(*Get).number)
	case machine.Reject:
		text = fmt.Sprintf("Reject g%d: %s", e.Waiter.Owner.(*Get).number, inShort(e.Err))
	case machine.Answer:
		text = fmt.Sprintf("Answer t%d: %s", e.Ticket.Owner.(*Control).number, inShort(e.Err))
	case machine.ArmBackoff:
		text = fmt.Sprintf("ArmBackoff %v, epoch %d, attempt %d", e.At, e.Epoch, e.Attempt)
	}
	t.effects = append(t.effects, text)
}

// name is the name of the connection of a slot, or of the last one that was there.
func name(s *machine.Slot) string {
	if c, ok := s.Shell.(*connector); ok && s.ID == 0 {
		return "c" + number(c.id)
	}
	return "c" + number(s.ID)
}

// inShort is the text of an error without what the error of a Get adds.
func inShort(err error) string {
	var e *messages.GetError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		err = e.Err
	}
	return strings.TrimPrefix(err.Error(), "actorpool: ")
}

// end writes the step.
func (t *tracer) end() {
	first := t.first
	if g := t.waiting; g != nil && g.state == waits {
		switch s := t.p.m.JobFor(&g.waiter); {
		case s == nil:
			first = fmt.Sprintf("g%d waits", g.number)
		case len(t.effects) == 0:
			first = fmt.Sprintf("g%d waits for c%d", g.number, s.ID)
		}
	}
	if c := t.conn; c != nil && c.idle() && !strings.HasPrefix(first, "TryPut") {
		first = strings.TrimPrefix(first+fmt.Sprintf("\nc%d is idle", c.id), "\n")
	}
	command, args, _ := strings.Cut(t.input, " ")
	b := &t.buffer
	b.Reset()
	b.WriteString(command)
	if args != "" {
		b.WriteString(" " + args)
	}
	if command != "new" {
		fmt.Fprintf(b, " t=%v", t.p.now)
	}
	b.WriteString("\n----\n")
	lines := 0
	for _, line := range append([]string{first}, t.effects...) {
		if line != "" {
			b.WriteString(line + "\n")
			lines++
		}
	}
	if lines == 0 {
		b.WriteString("nothing\n")
	}
	b.WriteString("\n")
	_, _ = t.to.Write(b.Bytes())
	t.input, t.first, t.conn, t.waiting, t.effects = "", "", nil, nil, t.effects[:0]
}
