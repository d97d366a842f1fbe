package pooltest

import (
	"math"
	"time"
)

// Fault is something that is wrong with a server for a while: see [Server.Fault].
type Fault int

// The faults. Each lasts from its beginning to just before its end. "At once" is within
// a millisecond: each connection notices at a moment of its own.
//
// Several may overlap, and each has its effect. While nothing is answered (Blackhole),
// refusals, resets and errors do not arrive either. Of several faults that break a
// connection, the one that begins first does it.
const (
	// Refuse is a server that is not there: connects fail with ECONNREFUSED at once, and
	// the connections that are open at the beginning break: operations fail with
	// ECONNRESET, those under way at once.
	Refuse Fault = iota + 1
	// Blackhole is a network that loses everything. Nothing is answered, and nothing
	// breaks: what is under way goes on when the fault is over, and ends as much later. A
	// call hangs until then, or until its context ends.
	Blackhole
	// Slow is a server that is overloaded: connects and operations take
	// Server.SlowFactor times as long, for the part of them that falls into the fault.
	Slow
	// Reset breaks the connections that are open at the beginning, as the restart of a
	// proxy does. New ones work. It lasts for a moment: its end may be its beginning, and
	// has no effect.
	Reset
	// HalfOpen is a server that has lost its memory, or a firewall that has lost its
	// table: on the connections that are open at the beginning nothing is answered any
	// more. New ones work. From the end on somebody says so: then operations on these
	// connections fail with ECONNRESET, those under way at once.
	HalfOpen
	// ReadOnly is a server that has been a primary: a Write that begins meanwhile fails with the
	// SQLSTATE 25006. All else works.
	ReadOnly
	// Full is a server whose connections others have taken: connects fail with the SQLSTATE
	// 53300 at the end of their handshake. What is open works.
	Full
	// Flaky is a bad line: of the connects and operations that begin meanwhile, one in
	// Server.FlakyOneIn fails with ECONNRESET before it is done, and its connection is
	// broken.
	Flaky
)

// Forever is the end of a fault that does not end.
const Forever time.Duration = math.MaxInt64

var faultNames = [...]string{
	Refuse: "Refuse", Blackhole: "Blackhole", Slow: "Slow", Reset: "Reset", HalfOpen: "HalfOpen", ReadOnly: "ReadOnly", Full: "Full", Flaky: "Flaky",
}

// String returns the name of the constant, for example "Refuse".
func (f Fault) String() string {
	if f < Refuse || int(f) >= len(faultNames) {
		return "no fault"
	}
	return faultNames[f]
}

// window is a fault of the scenario. It does not change.
type window struct {
	fault    Fault
	from, to time.Duration
	order    uint64 // of what is at the same moment as from, later numbers come later
}

func (w window) during(at time.Duration) bool { return w.from <= at && at < w.to }

// scenario is all that is to go wrong. It does not change: a new one takes its place, and
// then the channel of the old one is closed.
type scenario struct {
	windows []window
	changed chan struct{}
}

func newScenario(windows []window) *scenario {
	return &scenario{windows: windows, changed: make(chan struct{})}
}

// has says whether there is such a fault at a moment.
func (s *scenario) has(fault Fault, at time.Duration) bool {
	for _, w := range s.windows {
		if w.fault == fault && w.during(at) {
			return true
		}
	}
	return false
}

// next is the first moment after at in which a fault that concerns the pace of all begins
// or ends.
func (s *scenario) next(at time.Duration) time.Duration {
	next := Forever
	for _, w := range s.windows {
		if w.fault != Blackhole && w.fault != Slow {
			continue
		}
		for _, edge := range [...]time.Duration{w.from, w.to} {
			if edge > at {
				next = min(next, edge)
			}
		}
	}
	return next
}

// finish says when something is done that begins at a moment and would take so long on a
// healthy server.
func (s *scenario) finish(at, work time.Duration, slow float64) time.Duration {
	for at < Forever {
		until := s.next(at)
		if s.has(Blackhole, at) {
			at = until
			continue
		}
		pace := 1.0
		if s.has(Slow, at) {
			pace = slow
		}
		needed := saturated(float64(work) * pace)
		if pace == 1 {
			needed = work // exactly: a float64 has not all digits of a long time
		}
		if needed <= until-at {
			return plus(at, needed)
		}
		work -= saturated(float64(until-at) / pace)
		at = until
	}
	return Forever
}

// end is the fault that breaks a connection which began at a moment.
func (s *scenario) end(begun time.Duration, order uint64) (end window, ok bool) {
	for _, w := range s.windows {
		if w.fault != Refuse && w.fault != Reset && w.fault != HalfOpen {
			continue
		}
		meets := begun < w.from || begun == w.from && order < w.order
		if meets && (!ok || w.from < end.from) {
			end, ok = w, true
		}
	}
	return end, ok
}

// plus adds two durations that are not negative, as far as Forever.
func plus(a, b time.Duration) time.Duration {
	if a > Forever-b {
		return Forever
	}
	return a + b
}
