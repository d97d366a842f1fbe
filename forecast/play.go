package forecast

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/actorpool/actorpool/actors/virtual"
)

// play is one run of the traffic through a pool.
type play struct {
	t      *traffic
	pool   *virtual.Pool
	factor float64 // of holds
	warm   bool    // the first Get has come
	rnd    *rand.Rand

	next  []int32 // the ask that follows each one in its session; -1: none
	left  int     // asks that are not answered
	last  time.Duration
	waits []time.Duration
	free  []*virtual.Get
	w     Waits
}

// asked is what a Get in the pool belongs to.
type asked struct {
	ask *ask
	i   int
}

// run plays the traffic into a pool with a capacity, with holds longer by a factor.
func (t *traffic) run(capacity int, factor float64) (Waits, error) {
	p := &play{
		t: t, factor: factor, rnd: rand.New(rand.NewPCG(t.what.Seed, 2)),
		next: make([]int32, len(t.asks)), left: len(t.asks), waits: make([]time.Duration, 0, len(t.asks)),
	}
	for i := range p.next {
		p.next[i] = -1
	}
	for i := range t.asks {
		if before := t.asks[i].after; before >= 0 {
			p.next[before] = int32(i)
		}
	}
	policy := virtual.Policy{Name: "forecast", Capacity: capacity, ConnectTimeout: 2 * time.Hour}
	switch {
	case t.what.MinIdle == 0: // more than there are Gets are never needed
		policy.MinOpen = min(capacity, len(t.asks))
	case t.what.MinIdle > 0:
		policy.MinIdle = min(t.what.MinIdle, capacity, len(t.asks))
	}
	p.pool = virtual.New(virtual.Config{
		Policy: policy, Seed: t.what.Seed,
		Hooks: virtual.Hooks{Job: p.job, Granted: p.granted, Failed: p.failed, Returned: p.returned},
	})
	if err := p.pool.Run(0); err != nil {
		return Waits{}, err
	}
	p.warm = true
	for i := range t.asks {
		if t.asks[i].after >= 0 {
			continue
		}
		if err := p.pool.Run(t.asks[i].came); err != nil {
			return Waits{}, err
		}
		p.arrive(i)
	}
	for p.left > 0 && p.pool.Step() {
		continue
	}
	return p.result(capacity), p.pool.Err()
}

// job is a connect: nothing else is configured. Before the first Get it takes no time.
func (p *play) job(j virtual.Job) virtual.Outcome {
	if !p.warm || j.Kind != virtual.Connect {
		return virtual.Outcome{}
	}
	p.w.Connects++
	return virtual.Outcome{After: p.t.connects[p.rnd.IntN(len(p.t.connects))]}
}

func (p *play) arrive(i int) {
	a := &p.t.asks[i]
	now := p.pool.Now()
	p.last = max(p.last, now)
	var g *virtual.Get
	if n := len(p.free); n > 0 {
		g, p.free = p.free[n-1], p.free[:n-1]
		g.Reset()
		*g.Owner.(*asked) = asked{a, i}
	} else {
		g = &virtual.Get{Owner: &asked{a, i}}
	}
	if a.patience > 0 {
		g.Deadline = later(now, a.patience)
	}
	p.pool.Get(g)
}

func (p *play) granted(g *virtual.Get) virtual.Use {
	a := g.Owner.(*asked)
	p.left--
	if !a.ask.uncounted {
		p.w.Gets++
		p.waits = append(p.waits, g.Wait())
	}
	if p.nestedFollows(a.i) {
		p.follow(a.i)
	}
	return virtual.Use{For: p.hold(a.ask)}
}

func (p *play) hold(a *ask) time.Duration { return time.Duration(float64(a.hold) * p.factor) }

func (p *play) failed(g *virtual.Get) {
	a := g.Owner.(*asked)
	p.left--
	if !a.ask.uncounted {
		p.w.Gets++
		p.w.Timeouts++
	}
	p.follow(a.i)
	p.free = append(p.free, g)
}

func (p *play) returned(g *virtual.Get, _ bool) {
	if a := g.Owner.(*asked); !p.nestedFollows(a.i) {
		p.follow(a.i)
	}
	p.free = append(p.free, g)
}

// later is the sum of two times, or the greatest there is.
func later(t, d time.Duration) time.Duration {
	if d > virtual.Never-t {
		return virtual.Never
	}
	return t + d
}

// nestedFollows says that the next ask of the session comes while this one's connection is held.
func (p *play) nestedFollows(i int) bool { return p.next[i] >= 0 && p.t.asks[p.next[i]].nested }

// follow lets the next ask of a session come.
func (p *play) follow(i int) {
	if next := int(p.next[i]); next >= 0 {
		p.pool.At(later(p.pool.Now(), p.t.asks[next].think), func() { p.arrive(next) })
	}
}

// result sums the run up.
func (p *play) result(capacity int) Waits {
	w := p.w
	w.Holds = p.factor
	slices.Sort(p.waits)
	var sum, held float64
	waited := w.Timeouts
	for _, d := range p.waits {
		sum += float64(d)
		if d > 0 {
			waited++
		}
	}
	if n := len(p.waits); n > 0 {
		w.Mean, w.Longest = time.Duration(sum/float64(n)), p.waits[n-1]
		w.P50, w.P90, w.P99 = p.quantile(50), p.quantile(90), p.quantile(99)
	}
	w.Waited = float64(waited) / float64(max(1, w.Gets))
	for i := range p.t.asks {
		held += float64(p.t.asks[i].hold)
	}
	// Sessions that wait for longer ask later, so that the work of the recording takes longer.
	late := max(0, p.last-p.t.last)
	length := float64(p.t.length) + float64(late) // as durations their sum could overflow
	w.Load = held * p.factor / length / float64(capacity)
	w.KeepsUp = w.Load < 1 && late <= p.t.length/20
	return w
}

// quantile is the least wait that so many of a hundred do not exceed.
func (p *play) quantile(percent int) time.Duration {
	return p.waits[(len(p.waits)*percent+99)/100-1]
}
