package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Result is what a run was like.
type Result struct {
	// Err is nil if the run is good. It is a messages.ConfigErrors if the Config, the
	// Workload or the Server is not valid: then nothing has run. It is an *Unfinished if
	// the run has reached MaxSteps. Otherwise it is a *Failure: the pool has broken a
	// promise, and that is a fault in it. Please report it, with the trace.
	Err error
	// Seed is that of the run.
	Seed uint64
	// Steps is how many inputs the pool has had.
	Steps int
	// Length is for how long callers have come. The times, peaks and shares below are of
	// that time; the counts and waits are those of all Gets until each was answered.
	Length time.Duration

	// Gets is how many came, Grants how many of them were given a connection.
	Gets, Grants uint64
	// Timeouts and Cancels are the Gets whose caller has left, Rejected those that the pool
	// has ended for another reason.
	Timeouts, Cancels, Rejected uint64
	// Wait is how long those have waited that were given a connection.
	Wait Waits
	// Connects is how many connects there were, ConnectErrors how many of them have failed.
	Connects, ConnectErrors uint64
	// PeakConnections is the most connections at once, including those that were being
	// opened or closed; PeakLent the most that were lent; PeakWaiting the most Gets that
	// waited.
	PeakConnections, PeakLent, PeakWaiting int
	// Backoff is for how long the pool tried no connect because others had failed.
	Backoff time.Duration
	// Utilisation is the part of the capacity that was lent, on the average, 0 to 1.
	Utilisation float64
	// Stats is what the pool has counted, when the last Get had been answered.
	Stats messages.Stats

	// Trace is the run in the format of the traces in actors/internal/machine/testdata,
	// with the option WithTrace, or if Err is a *Failure.
	Trace string
}

// Waits are durations in short.
type Waits struct {
	Count               int
	Mean, P50, P99, Max time.Duration
}

// waitsOf sorts durations, and describes them.
func waitsOf(all []time.Duration) Waits {
	n := len(all)
	if n == 0 {
		return Waits{}
	}
	slices.Sort(all)
	sum := 0.0 // of so many, each up to years: a Duration could overflow
	for _, d := range all {
		sum += float64(d)
	}
	at := func(percent int) time.Duration { return all[(n*percent+99)/100-1] }
	return Waits{Count: n, Mean: time.Duration(sum / float64(n)), P50: at(50), P99: at(99), Max: all[n-1]}
}

// Failure says which promise the pool has broken.
type Failure struct {
	// Seed is that of the run.
	Seed uint64
	// Step and At are when it was noticed.
	Step int
	At   time.Duration
	// What is the promise.
	What string
}

// Error implements error.
func (f *Failure) Error() string {
	return fmt.Sprintf("actorpool: the simulation with seed %d fails in step %d, at %v: %s", f.Seed, f.Step, f.At, f.What)
}

// Unfinished says that a run was given up, because it had too many steps (see MaxSteps),
// or too many faults were drawn. The numbers of the Result are those until then.
type Unfinished struct {
	// Seed is that of the run.
	Seed uint64
	// Steps is after how many steps it was given up, and At when, in virtual time.
	Steps int
	At    time.Duration
	// Why says what there was so much of.
	Why string
}

// Error implements error.
func (u *Unfinished) Error() string {
	return fmt.Sprintf("actorpool: the simulation with seed %d has not ended after %d steps, at virtual time %v: %s", u.Seed, u.Steps, u.At, u.Why)
}

// String gives the numbers in a few lines, and the error if there is one.
func (r Result) String() string {
	var b strings.Builder
	if r.Err != nil {
		fmt.Fprintf(&b, "%v\n", r.Err)
	}
	if r.Steps == 0 {
		return b.String()
	}
	short := func(d time.Duration) time.Duration {
		for unit := time.Microsecond; unit <= time.Second; unit *= 10 {
			if d < 1000*unit {
				return d.Round(unit)
			}
		}
		return d.Round(time.Second)
	}
	fmt.Fprintf(&b, "gets         %d in %v, %d granted, %d timed out, %d cancelled, %d rejected\n",
		r.Gets, short(r.Length), r.Grants, r.Timeouts, r.Cancels, r.Rejected)
	fmt.Fprintf(&b, "wait         mean %v, median %v, p99 %v, longest %v; at most %d at once\n",
		short(r.Wait.Mean), short(r.Wait.P50), short(r.Wait.P99), short(r.Wait.Max), r.PeakWaiting)
	fmt.Fprintf(&b, "connections  at most %d, at most %d lent, %.1f%% of the capacity lent on the average\n",
		r.PeakConnections, r.PeakLent, 100*r.Utilisation)
	fmt.Fprintf(&b, "connects     %d, %d failed, none tried for %v\n", r.Connects, r.ConnectErrors, short(r.Backoff))
	return b.String()
}
