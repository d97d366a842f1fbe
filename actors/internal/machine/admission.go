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

// CoDel is the policy of controlled delay: a queue is good while somebody is
// served within Target now and then, and bad once that has not been so for an
// Interval. In a bad queue whoever has waited for twice Target is shed. The zero
// value is off.
type CoDel struct{ Target, Interval time.Duration }

func (c CoDel) on() bool { return c.Target > 0 }

// limit is how long one may wait in a bad queue.
func (c CoDel) limit() time.Duration { return 2 * c.Target }

// delay judges the queue by CoDel, as DBConnection's pool does (a simplification
// of the algorithm for routers, from the thriftpool of Facebook). There the least
// wait of fixed intervals is judged; here an interval begins anew whenever somebody
// is served in time, and when somebody begins to wait. So a queue that goes from
// empty to stalled is bad after one interval, and so is one that slowly fills. And
// a queue that is empty because everybody was shed is not good for that.
type delay struct {
	bad    bool
	ends   time.Duration // the interval, if nobody is served in time before
	grants uint64        // how many had been served when the queue was last empty
}

// began notes that the queue is not empty any more. grants counts everybody who
// was served, those who did not wait too: if there were any since the queue was
// empty, it was good.
func (d *delay) began(c CoDel, now time.Duration, grants uint64) {
	if !d.bad || grants != d.grants {
		d.restart(c, now)
	}
}

// restart begins anew with a queue that is good.
func (d *delay) restart(c CoDel, now time.Duration) { d.bad, d.ends = false, now+c.Interval }

// emptied notes that nobody waits any more.
func (d *delay) emptied(grants uint64) { d.grants = grants }

// served notes the wait of one who is served.
func (d *delay) served(c CoDel, now, wait time.Duration) {
	if wait <= c.Target {
		d.restart(c, now)
	}
}

// judge ends an interval that is over.
func (d *delay) judge(now time.Duration) { d.bad = d.bad || now >= d.ends }
