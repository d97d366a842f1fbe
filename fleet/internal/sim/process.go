package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/actorpool/actorpool/fleet/internal/machine"
	"github.com/actorpool/actorpool/fleet/store"
)

// Process is one process of the fleet, with its pool, over all its incarnations.
type Process struct {
	w     *World
	index int
	rate  float64 // of its clock

	run         int // grows when it starts: what belongs to an earlier run is void
	up, frozen  bool
	thaw        []func() // what happens when it goes on
	freezesNext bool
	cut         int // from the store, if above 0

	incarnation string
	member      *machine.Member
	coordinator *machine.Coordinator
	memory      map[string]store.Row // TrustMemory
	renewing    bool
	renewAgain  bool
	occupying   bool
	lastHeld    int
	wanted      int           // as last reported
	renewedAt   time.Duration // when that was sent

	// The pool.
	capacity int
	refuses  bool
	conns    []*conn
	dials    int       // connects under way
	young    []*socket // those of them that the server knows
	demand   int
}

type conn struct {
	socket    *socket
	busyUntil time.Duration
	closing   bool
}

// clock is the process's own.
func (p *Process) clock() time.Duration { return time.Duration(float64(p.w.now) * p.rate) }

// do runs f in the process if it is still the same run; when it goes on, if it is frozen.
func (p *Process) do(run int, f func()) {
	switch {
	case p.run != run || !p.up:
	case p.frozen:
		p.thaw = append(p.thaw, func() { p.do(run, f) })
	default:
		f()
	}
}

func (p *Process) after(d time.Duration, f func()) {
	run := p.run
	p.w.after(d, func() { p.do(run, f) })
}

func (p *Process) repeat(interval time.Duration, f func()) {
	var again func()
	again = func() { f(); p.after(interval, again) }
	p.after(time.Duration(p.w.random.Int64N(int64(interval))), again)
}

// call sends an operation to the store, and gives its answer; nil: none came in time.
func (p *Process) call(operation func() (answer func()), failed func()) {
	w, run, answered := p.w, p.run, false
	finish := func(f func()) {
		p.do(run, func() {
			if !answered {
				answered = true
				f()
			}
		})
	}
	send := func() {
		w.after(w.travel(), func() {
			if w.ledger.down || p.cut > 0 {
				return
			}
			w.Operations++
			answer := operation()
			w.after(w.travel(), func() {
				if p.cut == 0 && w.random.Float64() >= w.Loss {
					finish(answer)
				}
			})
		})
	}
	if w.random.Float64() >= w.Loss {
		send()
	}
	if w.random.Float64() < w.Repeat {
		send()
	}
	w.after(time.Second, func() { finish(failed) })
}

func (p *Process) start() {
	if p.up {
		return
	}
	w := p.w
	p.run++
	p.up, p.frozen, p.thaw = true, false, nil
	p.incarnation = fmt.Sprintf("%04d/%d", p.index, p.run)
	p.conns, p.young, p.dials, p.capacity, p.refuses, p.renewing, p.renewAgain, p.occupying = nil, nil, 0, 0, true, false, false, false
	hard := time.Duration(float64(w.TTL) * (1 - 2*w.Drift))
	p.member = machine.NewMember(machine.MemberConfig{
		Floor: w.Floor, Soft: hard * 2 / 3, Hard: hard, Smoothing: w.Refresh / 3, Occupies: w.Reclaim == BySlotRoles,
	}, p.clock())
	p.coordinator = &machine.Coordinator{Floor: w.Floor, Grace: w.Grace, Turn: w.Turn, Slots: w.Slots}
	p.memory = nil
	w.ledger.reports[p.incarnation] = &lease{} // the answer to Join has come
	w.extend(p.incarnation)
	p.repeat(w.Refresh, p.renew)
	p.repeat(w.WorkEvery, p.work)
	if p.index < w.Coordinators {
		p.repeat(w.Allocate, p.coordinate)
	}
	p.renew()
}

func (p *Process) crash() {
	if !p.up {
		return
	}
	w := p.w
	p.up, p.frozen, p.thaw = false, false, nil
	p.leaveAdmin(w.ServerLag)
	for _, c := range p.conns {
		lag := w.spread(w.ServerLag)
		if c.busyUntil > w.now {
			lag = min(c.busyUntil-w.now, w.BusyAfterDeath)
		}
		w.after(lag, func() { w.disconnect(c.socket) })
	}
	for _, k := range p.young {
		w.after(w.spread(w.ServerLag), func() { w.disconnect(k) })
	}
	p.conns, p.young = nil, nil
}

func (p *Process) freeze() {
	if !p.up || p.frozen {
		return
	}
	p.frozen, p.freezesNext = true, false
	run := p.run
	p.w.after(p.w.spread(p.w.FreezeFor), func() {
		if p.run != run || !p.up {
			return
		}
		p.frozen = false
		todo := p.thaw
		p.thaw = nil
		p.w.random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		for _, f := range todo {
			f()
		}
	})
}

// renew renews the lease, reports, and reads the row.
func (p *Process) renew() {
	if p.renewing {
		p.renewAgain = true
		return
	}
	p.renewing, p.renewAgain = true, false
	w := p.w
	p.apply()
	report := p.member.Report(p.clock(), p.demand)
	if row := w.ledger.rows[p.incarnation]; w.Fault == AckBeforeClose && row.Target < row.Charge {
		report.AckSeq, report.AckN = row.Seq, row.Target
	}
	sent, inc := p.clock(), p.incarnation
	p.wanted, p.renewedAt = report.Want, sent
	end := func() {
		if p.renewing = false; p.renewAgain {
			p.renew()
		}
	}
	p.call(func() func() {
		l := w.ledger.reports[inc]
		if l == nil {
			return func() {
				p.member.Lost()
				p.apply()
				end()
			}
		}
		l.Report = report
		w.extend(inc)
		row, has := w.ledger.rows[inc]
		return func() {
			p.member.Renewed(sent)
			if has {
				p.member.Seen(row)
			}
			p.apply()
			end()
		}
	}, end)
}

// saw is a row that the watch has brought.
func (p *Process) saw(row store.Row) {
	p.member.Seen(row)
	p.apply()
	if p.member.Owes() {
		p.renew()
	}
}

// held is what the pool holds, as the pool knows.
func (p *Process) held() int { return len(p.conns) + p.dials }

// apply makes the pool what the member decides.
func (p *Process) apply() {
	d := p.member.Decide(p.clock())
	p.capacity, p.refuses = d.Capacity, d.Refuse
	p.trim(d.Interrupt)
	p.member.Applied(p.capacity, p.held())
	if d.Occupy {
		p.occupy()
	}
	if d.Phase == machine.Over && p.held() == 0 { // only now may a new one begin
		p.up = false
		p.start()
	}
}

// trim closes what is idle above the capacity; with interrupt also what is borrowed.
func (p *Process) trim(interrupt bool) {
	over := p.held() - p.capacity
	for _, c := range p.conns {
		if c.closing {
			over--
		}
	}
	for _, alsoBusy := range []bool{false, true} {
		if alsoBusy && !interrupt {
			return
		}
		for _, c := range slices.Clone(p.conns) {
			if over > 0 && !c.closing && (alsoBusy || c.busyUntil <= p.w.now) {
				if alsoBusy {
					p.w.Interruptions++
				}
				p.close(c)
				over--
			}
		}
	}
}

// close closes a connection. It counts until the server has closed it, too.
func (p *Process) close(c *conn) {
	w := p.w
	c.closing = true
	lag := time.Duration(w.random.Int64N(int64(w.ServerLag) + 1))
	if c.busyUntil > w.now {
		lag += min(c.busyUntil-w.now, w.BusyAfterDeath)
	}
	w.after(lag, func() { w.disconnect(c.socket) })
	if w.Fault == ClosedAtTheClient {
		lag = 0
	}
	p.after(lag+1, func() {
		p.conns = slices.DeleteFunc(p.conns, func(x *conn) bool { return x == c })
		p.apply()
		if p.member.Owes() {
			p.renew()
		}
	})
}

// work is the program: it uses as many connections as its demand is.
func (p *Process) work() {
	w := p.w
	if w.DemandOf != nil {
		p.demand = w.DemandOf(w, p.index)
	}
	for _, c := range slices.Clone(p.conns) {
		if c.socket.gone && !c.closing { // the server has ended it
			p.conns = slices.DeleteFunc(p.conns, func(x *conn) bool { return x == c })
		}
	}
	p.apply()
	busy := 0
	for _, c := range p.conns {
		if !c.closing && c.busyUntil > w.now {
			busy++
		}
	}
	for _, c := range p.conns {
		if busy < p.demand && !c.closing && c.busyUntil <= w.now {
			c.busyUntil = w.now + p.hold()
			busy++
		}
	}
	for busy+p.dials < p.demand && p.held() < p.capacity && !p.refuses && p.dials < 2 && p.up && !p.frozen {
		p.dial()
	}
	r := p.member.Report(p.clock(), p.demand)
	needs := r.Want > p.wanted && p.clock()-p.renewedAt >= w.Refresh/4
	if needs || p.member.Owes() && p.held() < p.lastHeld {
		p.renew()
	}
	p.lastHeld = p.held()
}

func (p *Process) hold() time.Duration {
	if p.w.LongLeases && p.w.random.IntN(20) == 0 {
		return time.Second + time.Duration(p.w.random.Int64N(int64(time.Minute)))
	}
	return time.Duration(p.w.random.Int64N(int64(50 * time.Millisecond)))
}

// dial opens a connection. Its first packet leaves at once, or later if the process
// freezes in between.
func (p *Process) dial() {
	w := p.w
	p.dials++
	row, _ := p.member.Row()
	refused := func() {
		w.Refused++
		p.dials--
	}
	open := func() {
		k := w.connect(p.incarnation, row.Slot)
		p.young = append(p.young, k)
		p.after(w.spread(5*time.Millisecond), func() {
			p.dials--
			p.young = slices.DeleteFunc(p.young, func(x *socket) bool { return x == k })
			p.conns = append(p.conns, &conn{socket: k})
			p.apply()
		})
	}
	leave := func() {
		switch {
		case w.Reclaim == ByLoginFence && w.server.fenced[p.incarnation]:
			refused()
		case w.Reclaim == BySlotRoles:
			p.logIn(row.Slot, open, refused)
		default:
			open()
		}
	}
	if w.FreezeInDial {
		p.after(w.spread(5*time.Millisecond), leave)
		p.freezeNow()
		return
	}
	leave()
}

// freezeNow freezes the process if it is one of the moments at which that is worst, and
// about as often at each of them.
func (p *Process) freezeNow() {
	if p.freezesNext && (p.w.Reclaim != BySlotRoles || p.w.random.IntN(2) == 0) {
		p.freeze()
	}
}

// coordinate is one turn of a coordinator: it reads, decides, and commits.
func (p *Process) coordinate() {
	w := p.w
	p.call(func() func() {
		v := w.snapshot()
		return func() {
			if w.Fault == TrustMemory {
				if p.memory == nil {
					p.memory = v.Rows
				}
				v.Rows = maps.Clone(p.memory)
			}
			if w.Fault == AckWithoutSeq {
				for inc, r := range v.Reports {
					if r.AckSeq != 0 {
						r.AckSeq = v.Rows[inc].Seq
						v.Reports[inc] = r
					}
				}
			}
			suspects := p.coordinator.Suspects(v, p.clock())
			if w.Fault == ForgetSlots {
				for inc, row := range v.Rows {
					if _, alive := v.Reports[inc]; !alive {
						row.Slot = -1
						v.Rows[inc] = row
					}
				}
			}
			switch {
			case w.Reclaim == ByAck || len(suspects) == 0:
				p.commit(v, nil)
			case w.Reclaim == ByTime:
				p.commit(v, suspects)
			case w.Reclaim == BySlotRoles:
				p.reclaimRoles(v, suspects)
			default:
				p.reclaim(v, suspects)
			}
		}
	}, func() {})
}

// reclaim asks the server to end the sessions of suspects, and how many are left.
func (p *Process) reclaim(v store.Snapshot, suspects []string) {
	w := p.w
	p.after(w.spread(2*time.Millisecond), func() {
		for _, inc := range suspects {
			w.server.fenced[inc] = true
		}
		p.commit(v, w.count(suspects))
	})
}

// count says which of the suspects have no session, and ends those of the others.
func (w *World) count(suspects []string) (gone []string) {
	for _, inc := range suspects {
		if w.server.of[inc] == 0 {
			gone = append(gone, inc)
		}
	}
	sockets := slices.SortedFunc(maps.Keys(w.server.sockets), func(a, b *socket) int { return cmp.Compare(a.order, b.order) })
	for _, k := range sockets {
		if slices.Contains(suspects, k.incarnation) {
			w.after(w.spread(5*time.Millisecond), func() { w.disconnect(k) })
		}
	}
	return gone
}

func (p *Process) commit(v store.Snapshot, gone []string) {
	sum, changes := p.coordinator.Decide(v, gone, p.clock())
	if len(changes) == 0 {
		return
	}
	p.call(func() func() {
		done := p.w.commit(v.Sum, sum, changes)
		return func() {
			if done && p.memory != nil {
				for _, c := range changes {
					if c.Delete {
						delete(p.memory, c.Incarnation)
					} else {
						p.memory[c.Incarnation] = p.w.ledger.rows[c.Incarnation]
					}
				}
			}
		}
	}, func() {})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
