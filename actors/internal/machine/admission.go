package machine

import "time"

// pace measures how fast waiters are served, as a moving mean of the time
// between one that is served and the next, while somebody waits.
type pace struct {
	last    time.Duration // when somebody was served, or the queue began
	mean    time.Duration
	samples int
}

// Each sample moves the mean by a paceWeight-th; with less than paceSamples the
// mean is not believed.
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
	p.mean += (d - p.mean) / time.Duration(min(p.samples, paceWeight))
}

// estimate is how long the waiter in this place of the queue, from 1, will wait.
func (p *pace) estimate(position int) (wait time.Duration, ok bool) {
	return time.Duration(position) * p.mean, p.samples >= paceSamples
}

// CoDel is the policy of controlled delay: a queue is good while it empties now
// and then, and bad once even the shortest wait of a whole Interval is above
// Target. In a bad queue whoever has waited for twice Target is shed. The zero
// value is off.
type CoDel struct{ Target, Interval time.Duration }

func (c CoDel) on() bool { return c.Target > 0 }

// limit is how long one may wait in a bad queue.
func (c CoDel) limit() time.Duration { return 2 * c.Target }

// delay judges the queue by CoDel, as DBConnection's pool does (a simplification
// of the algorithm for routers, from the thriftpool of Facebook). Here the first
// interval begins when somebody begins to wait, and one in which nobody is
// served is judged by the wait of who is first: so a queue that stalls is bad
// after one interval, whatever was before. And a queue that is empty because
// everybody was shed is not good for that.
type delay struct {
	bad    bool
	ends   time.Duration // the interval
	least  time.Duration // the shortest wait of those served in it; never: nobody was
	grants uint64        // how many had been served when the queue was last empty
}

// began notes that the queue is not empty any more. grants counts everybody who
// was served, those who did not wait too: if there were any since the queue was
// empty, it was good.
func (d *delay) began(c CoDel, now time.Duration, grants uint64) {
	bad := d.bad && grants == d.grants
	d.restart(c, now)
	d.bad = bad
}

// restart begins anew with a queue that is good.
func (d *delay) restart(c CoDel, now time.Duration) {
	d.bad, d.ends, d.least = false, now+c.Interval, never
}

// emptied notes that nobody waits any more.
func (d *delay) emptied(grants uint64) { d.grants = grants }

// served notes the wait of one who is served.
func (d *delay) served(wait time.Duration) { d.least = min(d.least, wait) }

// judge ends an interval that is over; first is how long the first in the queue
// has waited.
func (d *delay) judge(c CoDel, now, first time.Duration) {
	if now < d.ends {
		return
	}
	if d.least == never {
		d.least = first
	}
	d.bad = d.least > c.Target
	d.ends, d.least = now+c.Interval, never
}
