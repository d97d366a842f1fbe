// The world of a test: a machine with a model of a pool beside it. The traces
// (trace_test.go) and the random histories (random_test.go) run in it.
//
// A test calls one method for each input (inputs_test.go). The world gives the
// input to the machine, and takes what the machine decides to the model
// (model_test.go), which knows nothing of the machine's lists and counts. The test
// fails as soon as the model says that
//
//   - an effect is impossible (model_effects_test.go), or
//   - the state after the step is wrong (model_checks_test.go).

package machine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// world is a machine and its model.
type world struct {
	model

	tb failer
	m  *Machine

	recording *recorded // that is under way; nil: there is none

	fastPaths  bool // use TryQueue and TryHandOff too, not only TryGet and TryPut
	fullErrors bool // show errors in full, see shortError

	// What the last step decided.
	effects    []string // in words, and what TryHandOff has granted
	events     []messages.Event
	controlErr error // the result of a Clear, Suspend or Resume
}

// failer is a test, a random history, or a trace that names its line.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// newWorld starts a machine.
func newWorld(tb failer, cfg Config) *world {
	w := &world{tb: tb, m: New(cfg), model: newModel(cfg)}
	w.step(func() { w.m.Start(0) })
	return w
}

// fail fails the test, and shows the effects of the step.
func (w *world) fail(format string, args ...any) {
	w.tb.Helper()
	w.tb.Fatalf("at %v: %s\neffects: %v", w.now, fmt.Sprintf(format, args...), w.effects)
}

// step runs one input. It performs the effects in the model, and checks the state
// afterwards.
func (w *world) step(input func()) {
	w.tb.Helper()
	epoch := w.tick.epoch
	w.tickLate = w.tick.armed && w.tick.at < w.now
	w.effects = nil
	input()
	for _, e := range w.m.Effects() {
		w.effects = append(w.effects, w.describe(e))
		w.checkFreed(e)
		w.perform(e)
	}
	w.checkOrder()
	w.events = slices.Clone(w.m.Events())
	batched := len(w.effects) > batch // more of a kind may be left for the next tick
	if armed := w.tick.epoch; w.tick.armed && armed != epoch && w.tick.at < w.now && !batched && !w.anyExpired() && !w.tickLate && (!w.refused || !w.cfg.CoDel.on()) {
		w.fail("a tick is armed for %v, and nothing is due", w.tick.at)
	}
	if w.running(Open) == 0 {
		w.permits = 2
	}
	w.m.Done()
	w.m.TakeEvents(nil)
	for _, e := range w.events {
		w.checkEvent(e)
	}
	w.follow()
	w.checkState()
}

// stepInVain runs an input that must change nothing.
func (w *world) stepInVain(what string, input func()) {
	w.tb.Helper()
	before := w.lastingStats()
	w.step(input)
	if len(w.effects) > 0 || len(w.events) > 0 || w.lastingStats() != before {
		w.fail("%s has changed something", what)
	}
}

// lastingStats are the numbers that do not change by themselves: a next attempt that is
// late is due at once, whenever that is.
func (w *world) lastingStats() messages.Stats {
	st := w.m.Stats()
	st.NextAttempt = time.Time{}
	return st
}

// declined checks that a fast path which has declined has decided nothing.
func (w *world) declined(fastPath string) {
	w.tb.Helper()
	if w.m.Decided() {
		w.fail("%s has declined and changed something", fastPath)
	}
}

// anyExpired says whether an idle connection is past its IdleTimeout or MaxLifetime.
func (w *world) anyExpired() bool {
	return slices.ContainsFunc(w.conns, func(c *conn) bool {
		return c.slot.ID == c.id && c.slot.state == idle && w.m.expiryDue(c.slot) <= w.now
	})
}

// shortError gives the text of an error without the picture of the pool that an
// error of a Get has.
func (w *world) shortError(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(*messages.GetError); ok && !w.fullErrors {
		err = e.Err
	}
	if strings.Contains(err.Error(), "\n") {
		w.fail("the text of an error has several lines: %q", err)
	}
	return strings.TrimPrefix(err.Error(), "actorpool: ")
}

// describe gives an effect in words.
func (w *world) describe(e Effect) string {
	name := func() string {
		for i := len(w.conns) - 1; i >= 0 && e.Slot.ID == 0; i-- {
			if w.conns[i].slot == e.Slot {
				return fmt.Sprintf("c%d", w.conns[i].id)
			}
		}
		return fmt.Sprintf("c%d", e.Slot.ID)
	}
	switch e.Kind {
	case Apply:
		return fmt.Sprintf("Apply %v to %s", e.Slot.Want, name())
	case Unapply:
		return fmt.Sprintf("Unapply %v from %s", e.Slot.Setting(), name())
	case Open, Check, Reset, Disconnect, Interrupt:
		return fmt.Sprintf("%v %s", e.Kind, name())
	case Watch, Unwatch:
		return fmt.Sprintf("%v %s", e.Kind, e.Borrower.Owner.(*borrower).name)
	case Retire:
		return "Retire the connector of " + name()
	case Revoke:
		return fmt.Sprintf("Revoke %s/%d", name(), e.Epoch)
	case Grant:
		return fmt.Sprintf("Grant %s/%d -> %s", name(), e.Slot.LeaseEpoch, e.Waiter.Owner.(*get).name)
	case Reject:
		return fmt.Sprintf("Reject %s: %s", e.Waiter.Owner.(*get).name, w.shortError(e.Err))
	case Visited:
		name := e.Visit.Owner.(*visitor).name
		if e.Slot == nil {
			return fmt.Sprintf("The visit %s is over: %s", name, w.shortError(e.Err))
		}
		return fmt.Sprintf("Visited c%d/%d -> %s", e.Slot.ID, e.Slot.LeaseEpoch, name)
	case Answer:
		return fmt.Sprintf("Answer %s: %s", e.Ticket.Owner.(*ticket).name, w.shortError(e.Err))
	case ArmBackoff:
		return fmt.Sprintf("ArmBackoff %v, epoch %d, attempt %d", e.At, e.Epoch, e.Attempt)
	case ArmTick:
		return fmt.Sprintf("ArmTick %v", e.At)
	}
	return e.Kind.String()
}
