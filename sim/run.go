package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/actors/virtual"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// Option changes how a run is made.
type Option func(*options)

type options struct {
	checkEvery int
	maxSteps   int
	trace      bool
}

// CheckEvery says after how many steps the promises are checked. 1, the default: after
// each; while there are more than 32 Gets that wait and connections, more rarely in
// proportion. 0: never. Checks take most of the time of a run.
func CheckEvery(steps int) Option { return func(o *options) { o.checkEvery = steps } }

// MaxSteps bounds a run, so that every run ends: after so many steps it is given up, and
// Result.Err is an *Unfinished. Events in which the pool has no input count as steps
// here, such as a deadline that does not matter any more. 100,000,000 is the default; a
// run with so many takes a minute without checks, and several with them.
func MaxSteps(steps int) Option { return func(o *options) { o.maxSteps = steps } }

// stepsAtMost is the default.
const stepsAtMost = 100_000_000

// WithTrace puts the run into Result.Trace. It has about 80 bytes for each step.
func WithTrace() Option { return func(o *options) { o.trace = true } }

// Run simulates a pool. The same arguments give the same result, also on another
// processor of the same kind; with a Capacity of 0 the default counts, which depends on
// the machine. If a promise is broken, the run is made once more to write its trace.
// Every run ends: see MaxSteps.
func Run[C any](cfg client.Config[C], w Workload, s Server, seed uint64, opts ...Option) Result {
	o := options{checkEvery: 1, maxSteps: stepsAtMost}
	for _, set := range opts {
		set(&o)
	}
	spec, err := cfg.Spec()
	var faults messages.ConfigErrors
	if err != nil && !errors.As(err, &faults) {
		return Result{Err: err, Seed: seed}
	}
	faults = slices.Concat(faults, w.faultsIn(cfg.Apply != nil), s.faultsIn())
	if o.checkEvery < 0 {
		faults = append(faults, &messages.ConfigError{Field: "CheckEvery", Reason: fmt.Sprintf("%d is negative", o.checkEvery)})
	}
	if o.maxSteps < 1 {
		faults = append(faults, &messages.ConfigError{Field: "MaxSteps", Reason: fmt.Sprintf("%d is below 1", o.maxSteps)})
	}
	if len(faults) == 0 {
		faults = tooMany(&spec.Policy, w.Chaos > 0)
	}
	if len(faults) > 0 {
		return Result{Err: faults, Seed: seed}
	}
	level := &spec.Policy.EventLevel
	switch { // the times of a pool are more exact where somebody listens
	case cfg.OnEvent != nil:
		*level = virtual.AllEvents
	case cfg.OnChange != nil:
		*level = virtual.ChangeEvents
	}
	r := simulate(spec, w, s, seed, o)
	var broken *Failure
	if errors.As(r.Err, &broken) && !o.trace {
		o.trace = true
		r = simulate(spec, w, s, seed, o)
	}
	return r
}

// tooMany says which connections of a pool are too many to be opened one by one.
func tooMany(p *virtual.Policy, chaos bool) (faults messages.ConfigErrors) {
	for _, x := range []struct {
		field string
		n     int
		bad   bool
	}{
		{"MinIdle", p.MinIdle, true},
		{"MinOpen", p.MinOpen, true},
		{"Capacity", p.Capacity, chaos}, // chaos may open as many
	} {
		if x.bad && x.n > most {
			faults = append(faults, &messages.ConfigError{Field: x.field, Reason: fmt.Sprintf("%d is above %d, the most in a simulation", x.n, most)})
		}
	}
	return faults
}

// The streams of random numbers. Each part of a run has its own, so that a change in one
// does not change the others.
const (
	streamPool = iota // as in a real pool with that Seed
	streamArrivals
	streamServer
	streamFaults
	streamChaos
	streamSessions // and all above: one for each session
)

func stream(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }

// runner is one run.
type runner struct {
	w    Workload
	seed uint64
	pool *virtual.Pool

	arrivals *rand.Rand
	arriving func()  // arrive, as a value that need not be made each time
	arrival  float64 // when the last one came, in seconds
	given    []time.Duration
	left     int // Gets that may still come
	over     bool
	spare    []*caller
	capacity int  // at the beginning
	seesDead bool // a connection knows that it is closed

	server backend

	chaos    *rand.Rand
	controls []*virtual.Control
	actors   []*virtual.Borrower

	events   int           // that have happened
	maxSteps int           // how many may
	gaveUp   bool          // there were too many
	halfway  time.Duration // when half of them had
	waits    []time.Duration
	answers  int // Gets that have ended
	atEnd    virtual.Totals
	length   time.Duration
}

func simulate(spec actors.Spec, w Workload, s Server, seed uint64, o options) (result Result) {
	r := &runner{
		w: w, seed: seed, server: newBackend(s, seed),
		arrivals: stream(seed, streamArrivals), chaos: stream(seed, streamChaos),
		left: math.MaxInt, capacity: spec.Policy.Capacity, seesDead: spec.IsClosed != nil, maxSteps: o.maxSteps,
	}
	if w.Gets > 0 {
		r.left = w.Gets
	}
	r.arriving = r.arrive
	r.given = slices.Sorted(slices.Values(w.Arrivals))
	spec.Policy.Name, spec.Policy.Coarse = "pool", true
	var trace strings.Builder
	cfg := virtual.Config{
		Policy: spec.Policy, GetTimeout: spec.GetTimeout, Seed: seed, CheckEvery: o.checkEvery,
		Hooks: virtual.Hooks{
			Job: r.job, JobDone: r.server.done, Granted: r.granted, Failed: r.failed, Returned: r.returned, Answered: r.answered,
		},
	}
	if w.Chaos > 0 {
		cfg.Hooks.TimerComes = func() bool { return r.chaos.IntN(2) == 0 }
	}
	if o.trace {
		cfg.Trace = &trace
	}
	r.pool = virtual.New(cfg)
	err := r.toTheEnd()
	result = r.result()
	result.Trace = trace.String()
	var v *virtual.Violation
	if errors.As(err, &v) {
		err = &Failure{Seed: seed, Step: v.Step, At: v.At, What: v.What}
	}
	result.Err = err
	return result
}

// step lets the next event happen. False: there is none, something is wrong, or the run
// is given up. Every event of a run happens here, so that there is no other way to go on
// without end.
func (r *runner) step() bool {
	if r.pool.Next() != virtual.Never && (r.events >= r.maxSteps || len(r.server.drawn) >= mostFaults) {
		r.gaveUp = true
	}
	if r.gaveUp || !r.pool.Step() {
		return false
	}
	if r.events++; r.events == r.maxSteps/2 {
		r.halfway = r.pool.Now()
	}
	return true
}

// unfinished says why a run was given up.
func (r *runner) unfinished() error {
	u := &Unfinished{Seed: r.seed, Steps: r.events, At: r.pool.Now()}
	gets := r.pool.Stats().Gets
	switch {
	case len(r.server.drawn) >= mostFaults:
		u.Why = fmt.Sprintf("%d faults were drawn, with a FaultEvery of %v", mostFaults, r.server.FaultEvery)
	case r.w.Sessions > 0 && gets > uint64(r.events/10):
		u.Why = fmt.Sprintf("the last half of them took %v, and %d Gets came: a session asks again at once because Think (%v) and Hold (%v) are short",
			u.At-r.halfway, gets, r.w.Think, r.w.Hold)
	default:
		u.Why = fmt.Sprintf("the last half of them took %v, and %d Gets came", u.At-r.halfway, gets)
	}
	return u
}

// toTheEnd runs the pool until it is closed.
func (r *runner) toTheEnd() (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = r.pool.Panicked(value)
		}
	}()
	r.begin()
	for !r.over && r.pool.Next() <= r.lengthOr(longest) {
		if !r.step() {
			break
		}
	}
	if r.w.Length > 0 && !r.over && !r.gaveUp { // until then nothing happens any more
		_ = r.pool.Run(r.w.Length)
	}
	r.over = true
	r.server.heal(r.pool.Now())
	r.length, r.atEnd = r.pool.Now(), r.pool.Totals()
	if r.pool.Err() != nil {
		return r.pool.Err()
	}
	if r.gaveUp {
		return r.unfinished()
	}
	if r.w.Chaos > 0 || len(r.w.Script) > 0 {
		r.pool.Resume()
	}
	if r.pool.Stats().Capacity == 0 {
		r.pool.SetCapacity(1)
	}
	for last, answers := 0, -1; r.pool.Totals().Waiting > 0 || r.pool.Totals().Lent > 0; {
		if steps := r.pool.Totals().Steps; r.answers > answers {
			last, answers = steps, r.answers
		} else if r.pool.Totals().Waiting > 0 && steps > last+patience {
			return &virtual.Violation{At: r.pool.Now(), Step: steps, What: fmt.Sprintf("%d wait, and none of them has been answered for %d steps", r.pool.Totals().Waiting, patience)}
		}
		if !r.step() {
			break
		}
	}
	if r.pool.Err() == nil && !r.gaveUp {
		r.pool.Close()
		for r.step() {
			continue
		}
	}
	if r.pool.Err() == nil && r.gaveUp {
		return r.unfinished()
	}
	return r.pool.CheckEnd()
}

// patience is after how many steps in which no Get is answered the run gives up.
const patience = 1_000_000

func (r *runner) lengthOr(d time.Duration) time.Duration {
	if r.w.Length > 0 {
		return r.w.Length
	}
	return d
}

func (r *runner) result() Result {
	st, all := r.pool.Stats(), r.pool.Totals()
	res := Result{
		Seed: r.seed, Steps: all.Steps, Length: r.length,
		Gets: st.Gets, Grants: st.Grants, Timeouts: st.Timeouts, Cancels: st.Cancels,
		Wait:     waitsOf(r.waits),
		Connects: st.Connects, ConnectErrors: st.ConnectErrors,
		PeakConnections: r.atEnd.PeakOpen, PeakLent: r.atEnd.PeakLent, PeakWaiting: r.atEnd.PeakWaiting,
		Backoff: r.atEnd.Backoff, Stats: st,
	}
	if waiting := uint64(st.Waiting); st.Gets >= st.Grants+st.Timeouts+st.Cancels+waiting {
		res.Rejected = st.Gets - st.Grants - st.Timeouts - st.Cancels - waiting
	}
	if r.atEnd.RoomTime > 0 {
		res.Utilisation = float64(r.atEnd.LentTime) / float64(r.atEnd.RoomTime)
	}
	return res
}

// begin arms the first of everything.
func (r *runner) begin() {
	if r.w.Rate > 0 {
		r.nextArrival(r.arriving)
	}
	if len(r.given) > 0 {
		r.pool.At(r.given[0], r.arriveAsGiven)
	}
	for i := range r.w.Sessions {
		s := &session{random: stream(r.seed, streamSessions+i)}
		s.ask = func() { r.ask(s, s.random) }
		r.think(s, 0)
	}
	for _, a := range r.w.Script {
		r.pool.At(a.At, func() {
			if !r.over {
				a.do(r.pool)
			}
		})
	}
	if r.w.Chaos > 0 {
		r.nextChaos()
	}
	if r.w.Rate == 0 && r.w.Sessions == 0 && r.w.Length == 0 && r.w.Gets == 0 {
		r.left = len(r.given)
	}
}
