package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/actorpool/actorpool/actors/virtual"
	"github.com/actorpool/actorpool/messages"
)

// Workload is the callers. There must be some: a Rate, Arrivals or Sessions. Everything
// about a caller is drawn when it comes, from numbers that depend on the seed only: so two
// runs with the same seed and another Config have the same open arrivals.
type Workload struct {
	// Length is for how long callers come. After it nobody asks any more, the server is
	// in order, every Get is answered, and the pool is closed. 0: Gets or Arrivals end it,
	// at the latest after 1,000 days, which is also the most that Length may be.
	Length time.Duration
	// Gets is after how many Gets nobody asks any more. 0: there is no bound. Without a
	// Length the callers must be able to reach it: no more than there are Arrivals, or
	// than come at the Rate in 1,000 days.
	Gets int

	// Rate is how many callers come in a second, on the average, each independent of the
	// others (a Poisson process).
	Rate float64
	// Arrivals are the times of callers that come besides these, in any order.
	Arrivals []time.Duration
	// Sessions is how many callers ask again and again: each thinks, asks, holds its
	// connection, and thinks again. When the pool is slow, they ask less often. At most a
	// million.
	Sessions int
	// Think is how long a session thinks before each Get. After a Get that has ended
	// without a connection it thinks for at least a millisecond.
	Think Dist

	// Hold is how long a connection is held.
	Hold Dist
	// Patience is how long a caller waits at most: its deadline. Zero: it has none, and
	// the Config's GetTimeout is in force.
	Patience Dist
	// Cancels is the share of callers, 0 to 1, whose context is cancelled, after a time
	// that is drawn from Hold.
	Cancels float64
	// Settings are those that callers ask for, each as often as any other; "" is a clean
	// connection. It needs an Apply in the Config. Empty: all ask for a clean one.
	Settings []string
	// Broken is the share of leases, 0 to 1, that end with a Taint.
	Broken float64
	// Nested is the share of callers, 0 to 1, that ask for a second connection while they
	// hold the first, half of the time before they return it, with its context.
	Nested float64
	// Actors is the share of callers, 0 to 1, that are actors. An actor asks by message,
	// and one in ten stops while it waits or holds its connection.
	Actors float64

	// Script is what is done to the pool as a whole.
	Script []Action
	// Chaos is how many times in a second, on the average, something is done to the pool
	// that is drawn: another capacity, a Clear, a lost connector and so on. While it is
	// above 0, callers misuse their leases now and then, too.
	Chaos float64
}

// Server is where the connections go. The zero value answers at once and has no faults.
type Server struct {
	// Connect, Check, Reset, Apply, Unapply and Disconnect are how long the functions of
	// the Config take.
	Connect, Check, Reset, Apply, Unapply, Disconnect Dist
	// Limit is how many connections it accepts. One more is refused. 0: any number.
	Limit int
	// Faults are its faults at given times.
	Faults []Fault
	// FaultEvery is the mean time between faults that come at random, of a random kind,
	// and FaultFor how long each lasts. 0: there are none.
	FaultEvery time.Duration
	FaultFor   Dist
	// Fails is the share of jobs, 0 to 1, that fail for no reason.
	Fails float64
	// Deaf is the share of jobs, 0 to 1, that ignore their context, and then take up to
	// twice as long as the pool waits for them.
	Deaf float64
}

// Fault is a time in which the server is at fault.
type Fault struct {
	Kind     FaultKind
	From, To time.Duration
}

// FaultKind says what is wrong.
type FaultKind uint8

// The kinds.
const (
	// Refuse: connects are refused, and the connections that are open are dead.
	Refuse FaultKind = iota
	// Blackhole: nothing is answered until it is over.
	Blackhole
	// Slow: everything takes ten times as long.
	Slow
	// Reset: the connections that are open when it begins are dead. New ones are not, so
	// it does not matter how long it lasts.
	Reset
	faultKinds
)

var faultNames = [...]string{Refuse: "Refuse", Blackhole: "Blackhole", Slow: "Slow", Reset: "Reset"}

// String gives the name.
func (k FaultKind) String() string {
	if k < faultKinds {
		return faultNames[k]
	}
	return fmt.Sprintf("FaultKind(%d)", uint8(k))
}

// Action is something that is done to the pool at a time: see SetCapacity and the
// others.
type Action struct {
	At   time.Duration
	name string
	n    int
	do   func(*virtual.Pool)
}

// SetCapacity sets the capacity.
func SetCapacity(at time.Duration, n int) Action {
	return Action{at, "SetCapacity", n, func(p *virtual.Pool) { p.SetCapacity(n) }}
}

// SetMinIdle sets MinIdle. A number that does not fit the capacity of the moment is
// refused, and changes nothing.
func SetMinIdle(at time.Duration, n int) Action {
	return Action{at, "SetMinIdle", n, func(p *virtual.Pool) { p.SetMinIdle(n) }}
}

// Clear makes the connections stale that are open. With interrupt it ends leases, too.
func Clear(at time.Duration, interrupt bool) Action {
	return Action{at, "Clear", 0, func(p *virtual.Pool) { p.Clear(interrupt) }}
}

// Suspend stops grants until Resume.
func Suspend(at time.Duration) Action { return Action{at, "Suspend", 0, (*virtual.Pool).Suspend} }

// Resume ends a Suspend, and the pause of PauseOnClear.
func Resume(at time.Duration) Action { return Action{at, "Resume", 0, (*virtual.Pool).Resume} }

// faultsOf collects what is wrong with a value.
type faultsOf struct {
	of     string
	faults messages.ConfigErrors
}

func (f *faultsOf) refuse(wrong bool, field, reason string, args ...any) {
	if wrong {
		f.faults = append(f.faults, &messages.ConfigError{Field: f.of + field, Reason: fmt.Sprintf(reason, args...)})
	}
}

func (f *faultsOf) dist(field string, d Dist) {
	reason := d.wrong()
	f.refuse(reason != "", field, "%s", reason)
}

func (f *faultsOf) share(field string, x float64) {
	f.refuse(!(x >= 0 && x <= 1), field, "%v is not in 0..1", x) // written so that NaN is wrong
}

// time refuses a time that is negative, or longer than any that is drawn.
func (f *faultsOf) time(field string, d time.Duration) {
	f.refuse(d < 0, field, "%v is negative", d)
	f.refuse(d > longest, field, "%v is above %v", d, longest)
}

// most bounds what is made one by one: sessions, and connections that are kept.
const most = 1_000_000

// mostPerSecond bounds rates: above it the times between events would be no times.
const mostPerSecond = 1e8

func (f *faultsOf) rate(field string, x float64) {
	f.refuse(math.IsNaN(x) || x < 0, field, "%v is negative, or no number", x)
	f.refuse(x > mostPerSecond, field, "%v is above %v per second", x, float64(mostPerSecond))
}

// faultsIn says everything that is wrong with a workload; hasApply: the Config has an Apply.
func (w *Workload) faultsIn(hasApply bool) messages.ConfigErrors {
	f := faultsOf{of: "Workload."}
	f.time("Length", w.Length)
	f.refuse(w.Gets < 0, "Gets", "%d is negative", w.Gets)
	f.rate("Rate", w.Rate)
	f.refuse(w.Sessions < 0, "Sessions", "%d is negative", w.Sessions)
	f.refuse(w.Sessions > most, "Sessions", "%d is above %d", w.Sessions, most)
	f.refuse(w.Rate == 0 && len(w.Arrivals) == 0 && w.Sessions == 0, "Rate", "0, and there are no Arrivals and no Sessions: nobody would ask")
	f.refuse((w.Rate > 0 || w.Sessions > 0) && w.Length == 0 && w.Gets == 0, "Length", "0s, and Gets is 0: the callers would never cease to come")
	f.refuse(w.Sessions > 0 && w.Length > 0 && w.Gets == 0 && w.Think.IsZero() && w.Hold.IsZero(), "Think",
		"0s, as is Hold: a session would ask without end in an instant")
	if onlyGetsEndIt := w.Length == 0 && w.Sessions == 0; onlyGetsEndIt {
		f.refuse(w.Rate == 0 && w.Gets > len(w.Arrivals), "Gets", "%d, and there are %d Arrivals and no Rate: that many never come", w.Gets, len(w.Arrivals))
		f.refuse(w.Rate > 0 && float64(w.Gets-len(w.Arrivals))/w.Rate > longest.Seconds(), "Gets",
			"%d, which do not come within %v at a Rate of %v per second", w.Gets, longest, w.Rate)
	}
	for _, at := range w.Arrivals {
		if at < 0 || at > longest {
			f.time("Arrivals", at)
			break
		}
	}
	f.dist("Think", w.Think)
	f.dist("Hold", w.Hold)
	f.dist("Patience", w.Patience)
	f.share("Cancels", w.Cancels)
	f.share("Broken", w.Broken)
	f.share("Nested", w.Nested)
	f.share("Actors", w.Actors)
	f.rate("Chaos", w.Chaos)
	for _, s := range w.Settings {
		if s != "" && !hasApply {
			f.refuse(true, "Settings", "%q, and the Config has no Apply that could put it on a connection", s)
			break
		}
	}
	for _, a := range w.Script {
		f.time("Script", a.At)
		f.refuse(a.name == "SetMinIdle" && a.n > most, "Script", "SetMinIdle to %d, which is above %d", a.n, most)
		f.refuse(a.do == nil, "Script", "the action at %v does nothing: use SetCapacity or another function", a.At)
		f.refuse(a.n < 0, "Script", "%s to %d, which is negative", a.name, a.n)
	}
	return f.faults
}

// faultsIn says everything that is wrong with a server.
func (s *Server) faultsIn() messages.ConfigErrors {
	f := faultsOf{of: "Server."}
	f.dist("Connect", s.Connect)
	f.dist("Check", s.Check)
	f.dist("Reset", s.Reset)
	f.dist("Apply", s.Apply)
	f.dist("Unapply", s.Unapply)
	f.dist("Disconnect", s.Disconnect)
	f.refuse(s.Limit < 0, "Limit", "%d is negative", s.Limit)
	for _, x := range s.Faults {
		f.refuse(x.Kind >= faultKinds, "Faults", "%v is no kind", x.Kind)
		f.time("Faults", x.From)
		f.time("Faults", x.To)
		f.refuse(x.To < x.From, "Faults", "the %v until %v begins at %v", x.Kind, x.To, x.From)
	}
	f.time("FaultEvery", s.FaultEvery)
	f.refuse(s.FaultEvery > 0 && s.FaultEvery < time.Millisecond, "FaultEvery", "%v is below %v: is the unit missing?", s.FaultEvery, time.Millisecond)
	f.dist("FaultFor", s.FaultFor)
	f.share("Fails", s.Fails)
	f.share("Deaf", s.Deaf)
	return f.faults
}
