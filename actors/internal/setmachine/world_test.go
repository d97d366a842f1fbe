package setmachine

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// world is a set of pools as simple as they can be, around a machine. Messages lie in
// queues until deliver brings them. It checks after each step what must hold.
type world struct {
	t     interface{ Fatalf(string, ...any) }
	m     *Machine
	cfg   Config
	now   time.Duration
	keys  map[string]*fakeKey
	order []*fakeKey
	need  *Need
	rest  bool
	era   uint64
	made  []*fakeKey // New runs
	inbox []func()   // of the set
	tick  Effect     // the armed timer
	armed bool

	slow      bool        // check everything after each step
	awake     []*fakePool // otherwise: those with messages
	deadlocks []*Wait
	stopped   bool
	lendTo    func(g *fakeGet)
}

type fakeKey struct {
	name string
	key  *Key
	pool *fakePool
	gets []*fakeGet // that wait for the pool
}

// fakePool is a pool: the numbers of its connections, and who waits.
type fakePool struct {
	w                              *world
	k                              *fakeKey
	holds, received, capacity      int
	idle, busy, connecting, ending int
	permits                        int // how many connects may run at once
	blocked                        bool
	closes                         bool
	waiting                        []*fakeGet
	claims                         []*Need
	told                           Report
	inbox                          []func()
	era                            uint64
	pins                           int
	onConnect, onClose             func(p *fakePool) // a job has begun; nil: it is ended by the test
}

type fakeGet struct {
	key   string
	since time.Duration
	pool  *fakePool // once it is granted
}

func newWorld(t interface{ Fatalf(string, ...any) }, cfg Config) *world {
	w := &world{t: t, cfg: cfg, keys: map[string]*fakeKey{}, era: 1, slow: true}
	cfg.Look = func(k *Key) (uint64, bool) {
		p := k.Owner.(*fakeKey).pool
		if p == nil {
			return w.era, false
		}
		return p.era, p.atRest() && p.pins == 0
	}
	w.m = New(cfg)
	return w
}

// input gives the machine an input, and performs what it decides.
func (w *world) input(f func()) {
	f()
	for i := 0; i < len(w.m.Effects()); i++ { //nolint:intrange // there will be more
		w.do(w.m.Effects()[i])
	}
	w.m.Done()
	w.check()
}

func (w *world) do(e Effect) {
	var k *fakeKey
	if e.Key != nil {
		k = e.Key.Owner.(*fakeKey)
	}
	switch e.Kind {
	case Make:
		w.made = append(w.made, k)
	case Spawn:
		k.pool = &fakePool{w: w, k: k, permits: 2, era: w.era}
	case Ready:
		p := k.pool
		if p == nil { // it has just closed
			p = &fakePool{w: w, k: k, closes: true}
		}
		for _, g := range k.gets {
			p.post(func() { p.get(g) })
		}
		if p != k.pool {
			for len(p.inbox) > 0 {
				p.inbox[0]()
				p.inbox = p.inbox[1:]
			}
		}
		k.gets = nil
	case Refuse:
		k.gets = nil
	case Forget:
		delete(w.keys, k.name)
		w.order = slices.DeleteFunc(w.order, func(other *fakeKey) bool { return other == k })
	case Retire:
		p := k.pool
		if p.pins > 0 {
			w.m.Retired(w.now, e.Key, false)
			return
		}
		p.post(func() {
			closes := p.atRest() && !p.closes
			if closes {
				p.close()
			}
			w.inbox = append(w.inbox, func() { w.m.Retired(w.now, p.k.key, closes) })
		})
	case ClosePool:
		p := k.pool
		p.post(func() { p.close() })
	case Grant:
		p, n := k.pool, e.Units
		if p != nil {
			p.post(func() { p.grant(n) })
		}
	case Post:
		if e.Need != w.m.Posted() {
			return
		}
		w.need = e.Need
		if e.Need != nil {
			w.wake()
		}
	case Rest:
		w.rest = true
		w.m.Rested(w.now)
	case Unrest:
		w.rest = false
	case Era:
		w.era++
	case Deadlock:
		w.deadlocks = append(w.deadlocks, e.Wait)
	case ArmTick:
		w.tick, w.armed = e, true
	case DisarmTick:
		w.armed = false
	case Stopped:
		w.stopped = true
	}
}

// wake has the pools with idle connections look at the need, the least recently used first.
func (w *world) wake() {
	var idle []*fakePool
	w.m.EachHolder(func(k *Key) {
		if p := k.Owner.(*fakeKey).pool; p != nil && p.idle > 0 && k != w.need.Key {
			idle = append(idle, p)
		}
	})
	if len(idle) > 0 {
		w.era++
	}
	slices.SortStableFunc(idle, func(a, b *fakePool) int { return cmp.Compare(a.era, b.era) })
	for _, p := range idle {
		p.post(func() {})
	}
}

// want is a Get for a key.
func (w *world) want(name string, g *fakeGet) {
	k := w.keys[name]
	if k == nil {
		k = &fakeKey{name: name, key: &Key{}}
		k.key.Owner = k
		w.keys[name] = k
		w.order = append(w.order, k)
	}
	if p := k.pool; p != nil && k.key.state == open && !p.closes {
		p.era = w.era
		p.post(func() { p.get(g) })
		return
	}
	k.gets = append(k.gets, g)
	w.input(func() {
		if k.pool != nil && k.pool.closes {
			w.m.Report(w.now, k.key, Report{Ending: true})
		}
		w.m.Want(w.now, k.key)
	})
}

func (w *world) isMade(k *fakeKey) {
	w.made = slices.DeleteFunc(w.made, func(other *fakeKey) bool { return other == k })
	w.input(func() { w.m.Made(w.now, k.key) })
}

func (p *fakePool) post(f func()) {
	p.inbox = append(p.inbox, f)
	if !p.w.slow {
		p.w.awake = append(p.w.awake, p)
	}
}

// step delivers one message; nil: there is none.
func (w *world) step(choose func(n int) int) bool {
	var pending []*fakePool
	for _, k := range w.order {
		if k.pool != nil && len(k.pool.inbox) > 0 {
			pending = append(pending, k.pool)
		}
	}
	n := len(pending)
	if len(w.inbox) > 0 {
		n++
	}
	if n == 0 {
		return false
	}
	i := choose(n)
	if i == len(pending) {
		f := w.inbox[0]
		w.inbox = w.inbox[1:]
		w.input(f)
		return true
	}
	pending[i].next()
	return true
}

func (p *fakePool) next() {
	f := p.inbox[0]
	p.inbox = p.inbox[1:]
	f()
	p.endTurn()
}

// deliver delivers all messages.
func (w *world) deliver() {
	for w.step(func(int) int { return 0 }) {
	}
}

// The pool.

func (p *fakePool) occupied() int { return p.idle + p.busy + p.connecting + p.ending }

func (p *fakePool) atRest() bool { return p.occupied() == p.idle && len(p.waiting) == 0 }

func (p *fakePool) useful() int {
	if p.blocked || p.closes {
		return 0
	}
	return max(0, min(len(p.waiting)-p.connecting, p.permits-p.connecting))
}

func (p *fakePool) grant(n int) {
	p.holds += n
	p.received += n
	if !p.closes {
		p.capacity += n
	}
}

func (p *fakePool) get(g *fakeGet) {
	if p.closes {
		p.w.inbox = append(p.w.inbox, func() { p.w.want(g.key, g) })
		return
	}
	p.waiting = append(p.waiting, g)
}

func (p *fakePool) close() {
	p.closes = true
	gets := p.waiting
	p.waiting = nil
	for _, g := range gets {
		p.get(g)
	}
}

// settle serves who waits, begins connects and closes what is too much.
func (p *fakePool) settle() {
	if p.closes {
		p.capacity = 0
	}
	for p.idle > 0 && p.occupied()-p.ending > p.capacity {
		p.idle--
		p.end()
	}
	for p.idle > 0 && len(p.waiting) > 0 && !p.closes {
		p.idle--
		p.lend()
	}
	for p.useful() > 0 && p.occupied() < p.capacity {
		p.connecting++
		if p.onConnect != nil {
			p.onConnect(p)
		}
	}
}

func (p *fakePool) end() {
	p.ending++
	if p.onClose != nil {
		p.onClose(p)
	}
}

func (p *fakePool) lend() {
	g := p.waiting[0]
	p.waiting = p.waiting[1:]
	p.busy++
	g.pool = p
	if p.w.lendTo != nil {
		p.w.lendTo(g)
	}
}

// put is the return of a connection.
func (p *fakePool) put() {
	p.busy--
	n := p.w.need
	oldest := time.Duration(0)
	if len(p.waiting) > 0 {
		oldest = p.waiting[0].since
	}
	if n != nil && n.Key != p.k.key && !p.closes && p.occupied()+1 <= p.capacity && n.Takes(p.capacity, len(p.waiting) > 0, oldest) {
		p.w.need = nil
		p.claims = append(p.claims, n)
		p.capacity--
		p.end()
		return
	}
	if p.occupied()-p.ending+1 > p.capacity {
		p.end()
		return
	}
	p.idle++
}

func (p *fakePool) endTurn() {
	for {
		p.settle()
		if spare := p.capacity - p.occupied() - p.useful(); spare > 0 {
			p.capacity -= spare
			continue
		}
		n := p.w.need
		if p.closes || p.idle == 0 || n == nil || n.Key == p.k.key || p.occupied() > p.capacity {
			break
		}
		p.w.need = nil
		p.claims = append(p.claims, n)
		p.capacity--
		p.settle()
		p.report()
	}
	p.report()
	if p.w.rest && p.atRest() {
		p.w.inbox = append(p.w.inbox, func() { p.w.m.Rested(p.w.now) })
	}
	if p.closes && p.occupied() == 0 && p.k.pool == p {
		k := p.k
		k.pool = nil
		inbox := p.inbox
		p.inbox = nil
		p.w.inbox = append(p.w.inbox, func() { p.w.m.Gone(p.w.now, k.key) })
		for _, f := range inbox { // Gets among them find another pool
			f()
		}
	}
	p.w.check()
}

func (p *fakePool) report() {
	r := Report{Wants: max(0, p.useful()-max(0, p.capacity-p.occupied())), Ending: p.closes}
	if r.Wants > 0 {
		r.Oldest, r.Received = p.waiting[min(p.connecting, len(p.waiting)-1)].since, p.received
	}
	r.Returned = p.holds - max(p.capacity, p.occupied())
	if r.Returned == 0 && len(p.claims) == 0 && p.told.Wants == r.Wants && p.told.Oldest == r.Oldest && p.told.Ending == r.Ending && p.told.Received == r.Received {
		return
	}
	p.told = Report{Wants: r.Wants, Oldest: r.Oldest, Ending: r.Ending, Received: r.Received}
	p.holds -= r.Returned
	r.Received = p.received
	if len(p.claims) > 1 {
		p.w.t.Fatalf("two claims in one report")
	}
	if len(p.claims) == 1 {
		r.Claimed = p.claims[0]
		p.claims = nil
	}
	k := p.k
	p.w.inbox = append(p.w.inbox, func() {
		if k.pool == p || k.key.state == closing {
			p.w.m.Report(p.w.now, k.key, r)
		}
	})
}

// check fails if anything is wrong.
func (w *world) check() {
	if !w.slow {
		return
	}
	if err := w.m.CheckInvariants(); err != nil {
		w.t.Fatalf("%v", err)
	}
	total := 0
	for _, k := range w.order {
		if p := k.pool; p != nil {
			total += p.occupied()
			if p.holds < max(p.capacity, p.occupied()) {
				w.t.Fatalf("%s holds %d units, has capacity %d and %d connections", k.name, p.holds, p.capacity, p.occupied())
			}
		}
	}
	if total > w.cfg.Total {
		w.t.Fatalf("%d connections, of %d", total, w.cfg.Total)
	}
	if err := w.slowly(); err != nil {
		w.t.Fatalf("%v", err)
	}
}

// slowly works out in the simplest way which key has the next need, and compares.
func (w *world) slowly() error {
	var demands []int
	for _, k := range w.m.pools {
		demands = append(demands, k.holds+k.wants)
	}
	used := func(level int) (n int) {
		for _, d := range demands {
			n += min(d, level)
		}
		return n
	}
	level, scarce := 0, used(1<<30) > w.cfg.Total
	for scarce && used(level+1) <= w.cfg.Total {
		level++
	}
	below := func(k *Key) bool {
		units := k.holds + len(k.coming)
		return !scarce || units < level || units == level && used(level) < w.cfg.Total
	}
	var best *Key
	for _, k := range w.m.pools {
		if k.wants <= len(k.coming) {
			continue
		}
		switch {
		case best == nil, below(k) && !below(best):
			best = k
		case below(k) == below(best) && (k.oldest < best.oldest || k.oldest == best.oldest && k.seq < best.seq):
			best = k
		}
	}
	switch posted := w.m.Posted(); {
	case best == nil && posted == nil:
		return nil
	case best == nil || posted == nil || posted.Key != best:
		return fmt.Errorf("the need is %v, not that of %v", posted, best)
	case posted.Busy != below(best) || posted.Oldest != best.oldest:
		return fmt.Errorf("the need is %+v, but below its share: %v, since %v", *posted, below(best), best.oldest)
	}
	return nil
}
