package sim

import (
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/actors/virtual"
)

// caller is one Get, and what its caller will do.
type caller struct {
	virtual.Get
	session *session
	hold    time.Duration
	way     virtual.Way
	nested  bool    // it will ask for a second connection
	outer   *caller // it is the second one of this caller
}

// session is a caller that asks again and again.
type session struct {
	random *rand.Rand
	ask    func()
}

// nextArrival lets the next caller come of those that come by themselves.
func (r *runner) nextArrival(arrive func()) {
	r.arrival += r.arrivals.ExpFloat64() / r.w.Rate
	if r.arrival < longest.Seconds() {
		r.pool.At(time.Duration(r.arrival*float64(time.Second)), arrive)
	}
}

func (r *runner) arrive() {
	if !r.over {
		r.ask(nil, r.arrivals)
		r.nextArrival(r.arriving)
	}
}

func (r *runner) arriveAsGiven() {
	r.given = r.given[1:]
	if r.over {
		return
	}
	r.ask(nil, r.arrivals)
	if len(r.given) > 0 {
		r.pool.At(r.given[0], r.arriveAsGiven)
	}
}

// afterFailure is the least time that a session thinks after a Get without a connection.
// Without it a session that is refused at once would ask again in the same instant, without end.
const afterFailure = time.Millisecond

// think lets a session think, and ask again.
func (r *runner) think(s *session, least time.Duration) {
	if !r.over {
		r.pool.At(r.pool.Now()+max(r.w.Think.draw(s.random), least), s.ask)
	}
}

// newCaller gives a caller that has not asked yet.
func (r *runner) newCaller() *caller {
	n := len(r.spare)
	if n == 0 {
		c := &caller{}
		c.Owner = c
		return c
	}
	c := r.spare[n-1]
	r.spare = r.spare[:n-1]
	c.Reset()
	c.session, c.way = nil, virtual.Put
	return c
}

// ask makes a caller, and lets it ask. All that it will do is drawn now.
func (r *runner) ask(s *session, random *rand.Rand) {
	if r.over {
		return
	}
	if r.left--; r.left == 0 {
		r.over = true
	}
	w, c, now := &r.w, r.newCaller(), r.pool.Now()
	c.session, c.hold = s, w.Hold.draw(random)
	if !w.Patience.IsZero() {
		c.Deadline = now + max(w.Patience.draw(random), 1)
	}
	if n := len(w.Settings); n > 0 {
		if setting := w.Settings[random.IntN(n)]; setting != "" {
			c.Setting = setting
		}
	}
	chance := func(share float64) bool { return share > 0 && random.Float64() < share }
	if chance(w.Broken) {
		c.way = virtual.Taint
	}
	if chance(w.Cancels) {
		c.Leaves = now + max(w.Hold.draw(random), 1)
	}
	switch {
	case chance(w.Actors):
		r.byActor(c, random)
	case chance(w.Nested):
		c.nested = true
	case w.Chaos > 0 && random.IntN(20) == 0:
		misuses := [...]virtual.Way{virtual.Twice, virtual.TaintDead, virtual.Hijack, virtual.Forget, virtual.Decline, virtual.Refuse}
		c.way = misuses[random.IntN(len(misuses))]
	}
	r.pool.Get(&c.Get)
}

// byActor makes a caller an actor, which may stop before it is done.
func (r *runner) byActor(c *caller, random *rand.Rand) {
	const atOnce = 8
	i := random.IntN(atOnce)
	for len(r.actors) <= i {
		r.actors = append(r.actors, r.pool.NewBorrower())
	}
	b := r.actors[i]
	c.Borrower = b
	if c.way == virtual.Put {
		c.way = virtual.ByMessage
	}
	if random.IntN(10) == 0 {
		r.actors[i] = r.pool.NewBorrower()
		after := time.Duration(random.Float64() * 2 * float64(c.hold))
		r.pool.At(r.pool.Now()+after, func() { r.pool.Gone(b) })
	}
}

// granted says what a caller does with its connection.
func (r *runner) granted(g *virtual.Get) virtual.Use {
	r.answers++
	c, now := g.Owner.(*caller), r.pool.Now()
	died, dead := r.server.killed(g.Opened, now)
	switch {
	case dead && died <= now && r.seesDead && g.FromIdle:
		return virtual.Use{Way: virtual.Refuse}
	case c.way == virtual.Refuse:
		c.way = virtual.Put // it accepts the next one
		return virtual.Use{Way: virtual.Refuse}
	case c.way == virtual.Decline:
		return virtual.Use{Way: virtual.Decline}
	}
	r.waits = append(r.waits, g.Wait())
	hold := r.server.slowed(now, c.hold)
	if died, dead = r.server.killed(g.Opened, now+hold); dead { // it notices when it uses the connection next
		return virtual.Use{For: max(died-now, 0), Way: virtual.TaintDead}
	}
	if c.nested {
		r.pool.At(now+hold/2, func() { r.askSecond(c, hold/2) })
		return virtual.Use{For: virtual.Never}
	}
	return virtual.Use{For: hold, Way: c.way}
}

// askSecond lets a caller ask for a second connection while it holds its first.
func (r *runner) askSecond(c *caller, left time.Duration) {
	inner := &caller{outer: c, hold: left}
	inner.Owner, inner.Holding = inner, []*virtual.Get{&c.Get}
	if c.Deadline > r.pool.Now() {
		inner.Deadline = c.Deadline
	}
	r.pool.Get(&inner.Get)
}

// failed goes on after a Get without a connection.
func (r *runner) failed(g *virtual.Get) {
	r.answers++
	r.done(g.Owner.(*caller), afterFailure)
}

// returned goes on after a lease.
func (r *runner) returned(g *virtual.Get, _ bool) { r.done(g.Owner.(*caller), 0) }

// done goes on when a caller has no connection any more, or gets none. A session thinks
// for a least time then.
func (r *runner) done(c *caller, least time.Duration) {
	if c.outer != nil {
		r.pool.End(&c.outer.Get, c.outer.way)
		return
	}
	if c.session != nil {
		r.think(c.session, least)
	}
	if !c.nested { // its second Get may refer to it
		r.spare = append(r.spare, c)
	}
}
