package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/fleet/internal/machine"
	"github.com/actorpool/actorpool/fleet/store"
)

// Reclaim says how the charge of a dead incarnation is had back.
type Reclaim int

// The ways, from the safest to the riskiest.
const (
	ByAck        Reclaim = iota // never
	ByLoginFence                // its logins are refused, its sessions are ended, and none is left
	BySlotRoles                 // the same with roles that are used again: see roles.go
	ByEvidence                  // the same without refusing logins
	ByTime                      // it has been dead for Grace
)

// Scenario says what the run is like, and what may go wrong in it.
type Scenario struct {
	Members, Budget, Floor, Coordinators int
	Slots                                int // 0: as many as there are members

	TTL, Refresh, Allocate time.Duration // lease; time between renewals, and between decisions of a coordinator
	Turn                   time.Duration
	Drift                  float64 // of the clocks, each way
	Length                 time.Duration

	// The mean times between faults of a member or of the store, and their mean lengths.
	Crash, Freeze, FreezeFor, Cut, CutFor, StoreDown, StoreDownFor time.Duration
	// FreezeInDial freezes a process at the worst moment: when it has decided to connect,
	// and its first packet has not left.
	FreezeInDial bool

	Delay                time.Duration // mean of one way; one message in 50 takes 100 times as long
	Loss, Repeat         float64
	ServerLag            time.Duration // until the server has noticed a close
	AuthTimeout          time.Duration // the server ends a login that takes longer
	BusyAfterDeath       time.Duration // a session that works when its client dies goes on for up to so long
	LongLeases           bool          // one lease in 20 lasts up to a minute
	DemandLasts          time.Duration
	Reclaim              Reclaim
	Grace                time.Duration
	Fault                Fault
	DemandOf             func(w *World, member int) int // instead of a random one
	WithoutWatch         bool
	WorkEvery            time.Duration
	MeasureFrom, Observe time.Duration // fairness is looked at from then on, so often
	ObserveAll           func(w *World)
}

// Fault is an error in the protocol, made on purpose: each must be found.
type Fault int

// The faults.
const (
	NoFault           Fault = iota
	TrustMemory             // coordinators believe what they remember, and commit without comparing
	NoCompare               // commits do not compare
	AckWithoutSeq           // a promise counts for any row
	AckBeforeClose          // a promise is made before the connections are closed
	ClosedAtTheClient       // a connection counts as closed when the client has closed it
	ForgetSlots             // a dead member's slot is given away while it is charged
	SamePassword            // whoever has a slot logs in with the password of those before it
	OccupyUnchecked         // a slot is occupied by a member that may be dead
	KeepPassword            // a role that is refused keeps its password
	NoRest                  // a role is used again though a login may be under way
)

// World is one run.
type World struct {
	Scenario
	random *rand.Rand
	now    time.Duration
	queue  queue
	events int

	Members []*Process
	ledger  ledger
	server  server

	// What was seen.
	Steps                             int
	OverLedger, OverRow, OverServer   int // moments at which a bound was broken
	OverSlot                          int // moments at which two had one slot
	Worst                             int // the largest excess at the server
	Most                              int // the most connections at the server
	First                             string
	Commits, Conflicts, Operations    int
	JainSum, UsedSum, Observations    float64
	Reclaimed, Refused, Interruptions int
	Occupied                          int
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return last
}

// ledger is the store's content, at the store.
type ledger struct {
	sum     store.Sum
	seq     int64
	rows    map[string]store.Row
	reports map[string]*lease
	down    bool
}

type lease struct {
	store.Report
	ends time.Duration
}

// server is the database.
type server struct {
	open    int
	of      map[string]int // by incarnation
	sockets map[*socket]bool
	fenced  map[string]bool // their logins are refused
	bySlot  map[int]map[string]int
	roles   []role
	admin   *Process // has the admin connection and the lock
	session int      // of the admin
}

type socket struct {
	incarnation string
	slot        int
	order       int
	gone        bool
}

// Run runs a scenario to its end.
func Run(s Scenario, seed uint64) *World {
	w := &World{Scenario: s, random: rand.New(rand.NewPCG(seed, 1))}
	w.ledger = ledger{rows: map[string]store.Row{}, reports: map[string]*lease{}}
	w.ledger.sum = store.Sum{Budget: s.Budget, Revision: w.write()}
	w.server = server{of: map[string]int{}, sockets: map[*socket]bool{}, fenced: map[string]bool{}, bySlot: map[int]map[string]int{}, roles: make([]role, s.Slots)}
	for i := range s.Members {
		p := &Process{w: w, index: i, rate: 1 + s.Drift*(2*w.random.Float64()-1)}
		w.Members = append(w.Members, p)
		w.after(time.Duration(w.random.Int64N(int64(2*time.Second))), p.start)
		w.troubles(p)
		if s.DemandOf == nil {
			w.changeDemand(p)
		}
	}
	w.every(s.StoreDown, func() {
		w.ledger.down = true
		w.after(w.spread(s.StoreDownFor), func() {
			w.ledger.down = false
			for _, inc := range sortedKeys(w.ledger.reports) { // etcd gives every lease its whole time again
				w.extend(inc)
			}
		})
	})
	w.repeat(s.Observe, w.observe)
	for len(w.queue) > 0 && w.queue[0].at <= s.Length {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		w.Steps++
		e.do()
	}
	return w
}

// Now is the time since the beginning.
func (w *World) Now() time.Duration { return w.now }

func (w *World) after(d time.Duration, f func()) {
	w.events++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.events, f})
}

// spread draws a time from the exponential distribution.
func (w *World) spread(mean time.Duration) time.Duration {
	return time.Duration(w.random.ExpFloat64() * float64(mean))
}

// every does something again and again, at random, with the given mean time between; 0:
// never.
func (w *World) every(mean time.Duration, f func()) {
	if mean > 0 {
		w.after(w.spread(mean), func() { f(); w.every(mean, f) })
	}
}

// repeat does something at equal intervals; 0: never.
func (w *World) repeat(interval time.Duration, f func()) {
	if interval > 0 {
		w.after(interval, func() { f(); w.repeat(interval, f) })
	}
}

// travel is how long a message is on its way.
func (w *World) travel() time.Duration {
	d := w.spread(w.Delay)
	if w.Loss > 0 && w.random.IntN(50) == 0 {
		d *= 100
	}
	return d
}

func (w *World) troubles(p *Process) {
	w.every(w.Crash, func() {
		p.crash()
		w.after(w.spread(2*time.Second), p.start)
	})
	w.every(w.Freeze, func() {
		if w.FreezeInDial {
			p.freezesNext = true
		} else {
			p.freeze()
		}
	})
	w.every(w.Cut, func() {
		p.cut++
		w.after(w.spread(w.CutFor), func() { p.cut-- })
	})
}

func (w *World) changeDemand(p *Process) {
	switch w.random.IntN(4) {
	case 0:
		p.demand = 0
	case 1:
		p.demand = 1 + w.random.IntN(max(1, 2*w.Budget/len(w.Members)))
	case 2:
		p.demand = w.random.IntN(max(2, w.Budget/2))
	default:
		p.demand = w.Budget
	}
	w.after(w.spread(w.DemandLasts), func() { w.changeDemand(p) })
}

// The store.

func (w *World) write() int64 {
	w.ledger.seq++
	return w.ledger.seq
}

// extend renews the lease of an incarnation.
func (w *World) extend(incarnation string) {
	l := w.ledger.reports[incarnation]
	l.ends = w.now + w.TTL
	w.after(w.TTL, func() { w.expire(incarnation, l) })
}

// expire ends a lease that was not renewed. A store that is down ends none.
func (w *World) expire(incarnation string, l *lease) {
	if w.ledger.reports[incarnation] == l && w.now >= l.ends && !w.ledger.down {
		delete(w.ledger.reports, incarnation)
	}
}

func (w *World) snapshot() store.Snapshot {
	v := store.Snapshot{Sum: w.ledger.sum, Rows: make(map[string]store.Row, len(w.ledger.rows)), Reports: make(map[string]store.Report, len(w.ledger.reports))}
	for inc, r := range w.ledger.rows {
		v.Rows[inc] = r
	}
	for inc, l := range w.ledger.reports {
		v.Reports[inc] = l.Report
	}
	return v
}

// commit is the store's transaction.
func (w *World) commit(base, sum store.Sum, changes []store.Change) bool {
	if base.Revision != w.ledger.sum.Revision && w.Fault != NoCompare && w.Fault != TrustMemory {
		w.Conflicts++
		return false
	}
	w.Commits++
	sum.Revision = w.write()
	w.ledger.sum = sum
	for _, c := range changes {
		if c.Delete {
			delete(w.ledger.rows, c.Incarnation)
			w.Reclaimed++
			continue
		}
		row := c.Row
		row.Seq = sum.Revision
		w.ledger.rows[c.Incarnation] = row
		w.tell(c.Incarnation, row)
	}
	w.check()
	return true
}

// tell carries a row to the one that watches it, late, twice, or not at all.
func (w *World) tell(incarnation string, row store.Row) {
	for _, p := range w.Members {
		if p.incarnation != incarnation || w.WithoutWatch {
			continue
		}
		copies := 1
		if w.random.Float64() < w.Repeat {
			copies = 2
		}
		for range copies {
			if w.random.Float64() < w.Loss {
				continue
			}
			run := p.run
			w.after(w.travel(), func() {
				if p.cut == 0 && !w.ledger.down {
					p.do(run, func() { p.saw(row) })
				}
			})
		}
	}
}

// The server.

func (w *World) connect(incarnation string, slot int) *socket {
	w.events++
	k := &socket{incarnation: incarnation, slot: slot, order: w.events}
	if w.server.bySlot[slot] == nil {
		w.server.bySlot[slot] = map[string]int{}
	}
	if w.server.bySlot[slot][incarnation]++; len(w.server.bySlot[slot]) > 1 {
		w.OverSlot++
		w.note("%v have connections of slot %d", sortedKeys(w.server.bySlot[slot]), slot)
	}
	w.server.sockets[k] = true
	w.server.open++
	w.server.of[incarnation]++
	w.check()
	return k
}

func (w *World) disconnect(k *socket) {
	if !k.gone {
		k.gone = true
		delete(w.server.sockets, k)
		w.server.open--
		w.server.of[k.incarnation]--
		if w.server.bySlot[k.slot][k.incarnation]--; w.server.bySlot[k.slot][k.incarnation] == 0 {
			delete(w.server.bySlot[k.slot], k.incarnation)
		}
	}
}

// check looks at what must always hold.
func (w *World) check() {
	charged := 0
	slots := make(map[int]bool, len(w.ledger.rows))
	for inc, r := range w.ledger.rows {
		charged += r.Charge
		if slots[r.Slot] {
			w.OverSlot++
			w.note("%s and another one have slot %d", inc, r.Slot)
		}
		slots[r.Slot] = true
	}
	if charged > w.Budget {
		w.OverLedger++
		w.note("the ledger charges %d", charged)
	}
	w.Most = max(w.Most, w.server.open)
	if over := w.server.open - w.Budget; over > 0 {
		w.OverServer++
		w.Worst = max(w.Worst, over)
		w.note("the server has %d connections", w.server.open)
	}
	for inc, r := range w.ledger.rows {
		if w.server.of[inc] > r.Charge {
			w.OverRow++
			w.note("%s has %d connections and is charged %d", inc, w.server.of[inc], r.Charge)
		}
	}
}

func (w *World) note(format string, args ...any) {
	if w.First == "" {
		w.First = fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)
	}
}

// observe looks at how fairly what is there is shared.
func (w *World) observe() {
	if w.now < w.MeasureFrom {
		return
	}
	if w.ObserveAll != nil {
		w.ObserveAll(w)
	}
	var sum, squares, used, usable float64
	n := 0
	v := w.snapshot()
	share := machine.Shares(v, w.Floor)
	for _, p := range w.Members {
		s, has := share[p.incarnation]
		if !p.up || p.frozen || !has || p.demand == 0 {
			continue
		}
		row := w.ledger.rows[p.incarnation]
		x := min(1, float64(row.Target)/max(1, float64(s)))
		sum += x
		squares += x * x
		n++
		usable += float64(p.demand)
		used += float64(min(row.Target, p.demand))
	}
	if squares > 0 {
		w.JainSum += sum * sum / (float64(n) * squares)
		w.UsedSum += used / min(usable, float64(w.Budget))
		w.Observations++
	}
}
