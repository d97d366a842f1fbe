// Admission: measuring the queue, to decide which Gets are rejected or shed.

package machine

import "time"

// pace measures how fast waiters are served: a moving mean of the time between one
// waiter that is served and the next, while any wait.
type pace struct {
	last    time.Duration // when the last one was served, or the queue ceased to be empty
	mean    time.Duration
	samples int
}

// Each sample moves the mean by a paceWeight-th. With fewer than paceSamples
// samples the mean is not used.
const (
	paceWeight  = 8
	paceSamples = 8
)

// began notes that the queue is not empty any more.
func (p *pace) began(now time.Duration) { p.last = now }

// served notes that a waiter was served.
func (p *pace) served(now time.Duration) {
	d := now - p.last
	p.last = now
	p.samples++
	p.mean -= (p.mean - d) / time.Duration(min(p.samples, paceWeight))
}

// estimate is how long the waiter in this place of the queue, counted from 1, will
// wait.
func (p *pace) estimate(position int) (wait time.Duration, ok bool) {
	return times(position, p.mean), p.samples >= paceSamples
}

// CoDel is the policy of controlled delay. A queue is bad once no waiter has been
// served within Target for a whole Interval, and good again as soon as one is. In
// a bad queue a waiter that has waited for twice Target is shed. The zero value is
// off.
type CoDel struct{ Target, Interval time.Duration }

func (c CoDel) on() bool { return c.Target > 0 }

// limit is how long a waiter may wait in a bad queue.
func (c CoDel) limit() time.Duration { return times(2, c.Target) }

// codelState judges the queue by CoDel, as the pool of Elixir's DBConnection does
// (after Facebook's simplification, for servers, of the algorithm for routers).
// There the shortest wait of each fixed interval is judged. Here an interval begins
// anew whenever a waiter is served in time, and when the queue ceases to be empty.
// So a queue that stalls is bad after one interval, and so is one that fills
// slowly. A queue that is empty because all its waiters were shed stays bad.
type codelState struct {
	bad    bool
	ends   time.Duration // when the interval ends, if no waiter is served in time before
	grants uint64        // the number of grants when the queue was last empty
}

// began notes that the queue is not empty any more. grants is the number of all
// grants, without a wait too: if there were any since the queue was empty, it was
// good.
func (d *codelState) began(c CoDel, now time.Duration, grants uint64) {
	if !d.bad || grants != d.grants {
		d.restart(c, now)
	}
}

// restart begins a new interval with a good queue.
func (d *codelState) restart(c CoDel, now time.Duration) {
	d.bad, d.ends = false, after(now, c.Interval)
}

// emptied notes that the queue is empty.
func (d *codelState) emptied(grants uint64) { d.grants = grants }

// served notes the wait of a waiter that is served.
func (d *codelState) served(c CoDel, now, wait time.Duration) {
	if wait <= c.Target {
		d.restart(c, now)
	}
}

// judge makes the queue bad if the interval is over.
func (d *codelState) judge(now time.Duration) { d.bad = d.bad || now >= d.ends }
