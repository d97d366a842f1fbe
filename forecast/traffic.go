package forecast

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// ask is one Get of the recording, as it is played.
type ask struct {
	// came is when it came in the recording, and when it comes again if after is -1.
	came time.Duration
	// after is the ask of the same session that it follows, and think how much later it comes:
	// after that one's end, or with nested after its grant.
	after  int
	think  time.Duration
	nested bool
	// hold is how long it keeps its connection, patience how long it waits at most; 0: without end.
	hold, patience time.Duration
	// uncounted: it held its connection before the recording began.
	uncounted bool
}

// traffic is a recording made ready to be played.
type traffic struct {
	asks     []ask
	length   time.Duration // of the recording
	last     time.Duration // when the last Get came
	connects []time.Duration
	what     WhatIf
	part     time.Duration // the length of the parts that are compared
	busiest  float64       // the load of the busiest, in connections
	server   dependence
	left     oddities
}

// oddities count what a note tells of.
type oddities struct {
	impossible int // left out: with a negative time, or an end after that of the recording
	unsorted   int // came before the one that stands before it
	dead       int // came with nothing to wait for
	drawn      int // were not granted a connection: their hold is another one's
	out        int // were still held at the end
	nested     int // came while their session held another connection
	sessions   int // goroutines with many Gets
	settings   int // asked for a setting
	left       int // their callers left
	waited     int // waited for longer than Resolution
	unserved   int // were ended by what a forecast leaves out
	outage     int // failed because a connect failed
	known      int // have a hold that is known
	noConnects bool
	noLength   bool
}

// forever bounds times, so that a Get's can be added up without an overflow, when it came, how long
// it waited and how long it held its connection: 90 years.
const forever = 90 * 365 * 24 * time.Hour

func newTraffic(r *messages.Recording, w WhatIf) (*traffic, error) {
	switch {
	case r == nil:
		return nil, errors.New("the recording is nil")
	case r.Version > messages.RecordingVersion:
		return nil, fmt.Errorf("the recording has version %d, and this package knows up to %d", r.Version, messages.RecordingVersion)
	case w.Connect > time.Hour:
		return nil, &messages.ConfigError{Field: "Connect", Reason: fmt.Sprintf("%v is above an hour", w.Connect)}
	case len(r.Gets) == 0:
		return nil, fmt.Errorf("%w: the recording has none", ErrTooFew)
	}
	t := &traffic{what: w}
	gets := t.sound(r)
	holds, total := t.holds(gets)
	if len(holds) < Least {
		return nil, fmt.Errorf("%w: %d leases have a hold that is known, and %d is the least", ErrTooFew, len(holds), Least)
	}
	if total > float64(forever) {
		return nil, fmt.Errorf("the holds add up to more than %d years", forever/(365*24*time.Hour))
	}
	if t.length <= 0 {
		return nil, errors.New("the recording has no length: all of its Gets came and ended at once")
	}
	t.chooseConnects(r)
	t.server = dependenceOf(gets)
	t.makeAsks(r, gets, holds)
	t.findBusiest()
	return t, nil
}

// findBusiest finds the part of the recording in which most time was asked for.
func (t *traffic) findBusiest() {
	parts := min(60, max(1, len(t.asks)/300))
	asked := make([]float64, parts)
	t.part = t.length/time.Duration(parts) + 1
	for i := range t.asks {
		a := &t.asks[i]
		asked[min(parts-1, int(a.came/t.part))] += float64(a.hold)
	}
	t.busiest = slices.Max(asked) / float64(t.part)
}

// sound returns the Gets that can have been, in the order in which they came.
func (t *traffic) sound(r *messages.Recording) []messages.RecordedGet {
	gets := make([]messages.RecordedGet, 0, len(r.Gets))
	t.length = min(r.Length, forever)
	before := time.Duration(math.MinInt64)
	for _, g := range r.Gets {
		if g.At < before {
			t.left.unsorted++
		}
		before = g.At
		bound := t.length
		if r.Length <= 0 {
			bound = forever
		}
		if min(g.At, g.Wait, g.Hold, g.Patience) < 0 || max(g.At, g.Wait, g.Hold) > bound+time.Second {
			t.left.impossible++
			continue
		}
		if g.Wait == 0 && g.Patience == 0 && ended(g.Outcome) { // its context had ended when it came
			t.left.dead++
			continue
		}
		gets = append(gets, g)
	}
	if t.left.unsorted > 0 {
		slices.SortStableFunc(gets, func(a, b messages.RecordedGet) int { return cmp.Compare(a.At, b.At) })
	}
	for _, g := range gets {
		if r.Length <= 0 {
			t.left.noLength = true
			t.length = max(t.length, g.At+g.Wait)
		}
		t.last = max(t.last, g.At)
	}
	return gets
}

// ended says that a Get ended because its deadline passed or its caller left.
func ended(o messages.RecordedOutcome) bool {
	return o == messages.RecordedTimeout || o == messages.RecordedCancelled
}

func granted(o messages.RecordedOutcome) bool {
	return o == messages.RecordedGranted || o == messages.RecordedHeld
}

// holds are those that are known from beginning to end, with their sum.
func (t *traffic) holds(gets []messages.RecordedGet) (holds []time.Duration, sum float64) {
	for _, g := range gets {
		if g.Outcome == messages.RecordedGranted && !g.Out {
			holds = append(holds, g.Hold)
			sum += float64(g.Hold)
		}
	}
	t.left.known = len(holds)
	if sum > 0 { // those that are drawn count, too
		sum *= float64(len(gets)) / float64(len(holds))
	}
	return holds, sum
}

func (t *traffic) chooseConnects(r *messages.Recording) {
	switch {
	case t.what.Connect > 0:
		t.connects = []time.Duration{t.what.Connect}
	case t.what.Connect == 0:
		for _, d := range r.Connects {
			if d >= 0 && d <= time.Hour {
				t.connects = append(t.connects, d)
			}
		}
		t.left.noConnects = len(t.connects) == 0
	}
	if len(t.connects) == 0 {
		t.connects = []time.Duration{0}
	}
}

// makeAsks says of each Get when it comes, for how long it holds and how long it waits.
func (t *traffic) makeAsks(r *messages.Recording, gets []messages.RecordedGet, holds []time.Duration) {
	rnd := rand.New(rand.NewPCG(t.what.Seed, 1))
	latest := make(map[uint64]int) // the latest ask of each session
	many := make(map[uint64]bool)
	t.asks = make([]ask, len(gets))
	for i, g := range gets {
		a := &t.asks[i]
		a.came, a.after = g.At, -1
		a.hold = g.Hold
		switch {
		case granted(g.Outcome) && !g.Out:
		case g.Out:
			t.left.out++
			a.hold = max(holds[rnd.IntN(len(holds))], t.length-g.At-g.Wait)
		default:
			t.left.drawn++
			a.hold = holds[rnd.IntN(len(holds))]
		}
		a.patience = t.patience(r, g)
		a.uncounted = g.Outcome == messages.RecordedHeld
		t.tally(g)
		if g.Session == 0 {
			continue
		}
		previous, again := latest[g.Session]
		latest[g.Session] = i
		if again && !many[g.Session] {
			many[g.Session] = true
			t.left.sessions++
		}
		if again && !t.what.Open {
			t.follow(i, previous, gets)
		}
	}
}

// follow makes an ask follow the one before it in its session. A goroutine that asks while it holds
// a connection asks as long after that one was granted as in the recording; and so does one
// whose connection somebody else returns.
func (t *traffic) follow(i, previous int, gets []messages.RecordedGet) {
	a, before := &t.asks[i], gets[previous]
	answered := before.At + before.Wait
	end := answered + before.Hold
	switch {
	case before.Outcome == messages.RecordedWaiting || a.came < answered: // not one goroutine's
		return
	case before.Out || a.came < end:
		t.left.nested++
		a.nested, a.think = true, a.came-answered
	default:
		a.think = a.came - end
	}
	a.after = previous
}

func (t *traffic) patience(r *messages.Recording, g messages.RecordedGet) time.Duration {
	p := g.Patience
	byPool := p == 0 || r.GetTimeout > 0 && (p-r.GetTimeout).Abs() <= time.Microsecond // as it is written
	switch {
	case g.Outcome == messages.RecordedHeld:
		return 0
	case byPool && t.what.GetTimeout > 0:
		p = t.what.GetTimeout
	case byPool && t.what.GetTimeout < 0:
		p = 0
	}
	if g.Outcome == messages.RecordedCancelled && (p == 0 || g.Wait < p) {
		p = max(1, g.Wait)
	}
	return p
}

func (t *traffic) tally(g messages.RecordedGet) {
	if g.Setting != "" {
		t.left.settings++
	}
	if g.Wait > Resolution {
		t.left.waited++
	}
	switch g.Outcome {
	case messages.RecordedCancelled:
		t.left.left++
	case messages.RecordedFailed:
		t.left.outage++
	case messages.RecordedExhausted, messages.RecordedShed, messages.RecordedDeadlock, messages.RecordedCleared, messages.RecordedClosed:
		t.left.unserved++
	}
}
