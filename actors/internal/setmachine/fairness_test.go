package setmachine

import (
	"container/heap"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"
)

// event is something that happens at a time of the simulation.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

// arrival is one Get: when it comes, for which key, and how long it uses its connection.
type arrival struct {
	at   time.Duration
	key  int
	uses time.Duration
}

const (
	fairKeys  = 1000
	fairTotal = 100
	fairUse   = 10 * time.Millisecond
	fairOpen  = time.Millisecond
	fairClose = 200 * time.Microsecond
)

// arrivals draws Gets whose keys follow Zipf's law with the exponent 1, so that the first key
// has an eighth of them, and that come at random times, at so many of the rate that Total
// connections can just serve.
func arrivals(n int, load float64) []arrival {
	random := rand.New(rand.NewPCG(1, 2))
	sums := make([]float64, fairKeys)
	sum := 0.0
	for i := range sums {
		sum += 1 / float64(i+1)
		sums[i] = sum
	}
	gap := float64(fairUse) / fairTotal / load
	gets := make([]arrival, n)
	at := 0.0
	for i := range gets {
		at += random.ExpFloat64() * gap
		key, _ := slices.BinarySearch(sums, random.Float64()*sum)
		gets[i] = arrival{time.Duration(at), key, time.Duration(random.ExpFloat64() * float64(fairUse))}
	}
	return gets
}

// inOneQueue gives the waits of Gets that all wait in one queue, for connections that serve
// every key. switching is what it costs to serve another key than the one before.
func inOneQueue(gets []arrival, switching time.Duration) []time.Duration {
	free := make([]time.Duration, fairTotal) // when each connection is free
	last := make([]int, fairTotal)
	waits := make([]time.Duration, len(gets))
	for i, g := range gets {
		first := 0
		for j := range free {
			if max(free[j], g.at) < max(free[first], g.at) || free[j] <= g.at && last[j] == g.key+1 && free[first] <= g.at {
				first = j
			}
		}
		start := max(free[first], g.at)
		if last[first] != g.key+1 {
			start += switching
		}
		last[first] = g.key + 1
		waits[i] = start - g.at
		free[first] = start + g.uses
	}
	return waits
}

// inASet gives the waits of the same Gets in a set, and the most connections there were.
func inASet(t *testing.T, gets []arrival) (waits []time.Duration, most, opened int) {
	w := newWorld(t, Config{Total: fairTotal, MaxPools: fairKeys})
	w.slow = false
	var queue events
	seq, open := 0, 0
	at := func(d time.Duration, do func()) {
		seq++
		heap.Push(&queue, event{w.now + d, seq, do})
	}
	waits = make([]time.Duration, len(gets))
	indexes := map[*fakeGet]int{}
	w.lendTo = func(g *fakeGet) {
		i := indexes[g]
		delete(indexes, g)
		waits[i] = w.now - gets[i].at
		at(gets[i].uses, func() {
			g.pool.put()
			g.pool.endTurn()
		})
	}
	jobs := func(p *fakePool) {
		p.permits = fairTotal
		p.onConnect = func(p *fakePool) {
			open++
			opened++
			most = max(most, open)
			at(fairOpen, func() {
				p.connecting--
				p.idle++
				p.endTurn()
			})
		}
		p.onClose = func(p *fakePool) {
			at(fairClose, func() {
				open--
				p.ending--
				p.endTurn()
			})
		}
	}
	makeAll := func() {
		for len(w.made) > 0 {
			w.isMade(w.made[0])
		}
	}
	names := make([]string, fairKeys)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	deliver := func() {
		for {
			switch {
			case len(w.inbox) > 0:
				f := w.inbox[0]
				w.inbox = w.inbox[1:]
				w.input(f)
			case len(w.awake) > 0:
				p := w.awake[0]
				w.awake = w.awake[1:]
				if len(p.inbox) > 0 {
					if p.onConnect == nil {
						jobs(p)
					}
					p.next()
				}
			default:
				return
			}
		}
	}
	next := 0
	for next < len(gets) || len(queue) > 0 {
		if next < len(gets) && (len(queue) == 0 || gets[next].at <= queue[0].at) {
			g := gets[next]
			w.now = g.at
			get := &fakeGet{key: names[g.key], since: g.at}
			indexes[get] = next
			next++
			w.want(get.key, get)
			makeAll()
		} else {
			e := heap.Pop(&queue).(event)
			w.now = e.at
			e.do()
		}
		deliver()
		if next%10_000 == 0 {
			w.slow = true
			w.check()
			w.slow = false
		}
	}
	if len(indexes) > 0 {
		t.Fatalf("%d Gets were never served", len(indexes))
	}
	return waits, most, opened
}

// The Gets of a thousand keys share a hundred connections. There are never more, and the
// longest wait of all is at most three times the longest in one queue for all, whose
// connections cost as much to change.
func TestNoKeyStarves(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceEnabled() {
		n = 50_000
	}
	gets := arrivals(n, 0.7)
	f := measureFairness(t, gets)
	if f.longest > 3*f.queue {
		t.Errorf("the longest wait is %v, and %v in one queue", f.longest, f.queue)
	}
}

// Near and beyond what the connections can serve, the few keys that ask for more than their
// share wait, and all others hardly: shares are max-min fair, and one queue is not.
func TestKeysBelowTheirShareDoNotWaitForOthers(t *testing.T) {
	for _, load := range []float64{0.85, 1.1} {
		f := measureFairness(t, arrivals(50_000, load))
		const heavy = 12
		if rest := slices.Max(f.byKey[heavy:]); rest > f.queue {
			t.Errorf("load %v: a key with a small demand waits for %v, and for %v in one queue", load, rest, f.queue)
		}
	}
}

// fairness is how long Gets wait: the longest wait, also by key, and that in one queue.
type fairness struct {
	longest, queue time.Duration
	byKey          []time.Duration
}

func measureFairness(t *testing.T, gets []arrival) fairness {
	t.Helper()
	waits, most, opened := inASet(t, gets)
	f := fairness{
		longest: slices.Max(waits), queue: slices.Max(inOneQueue(gets, fairOpen+fairClose)),
		byKey: make([]time.Duration, fairKeys),
	}
	for i, g := range gets {
		f.byKey[g.key] = max(f.byKey[g.key], waits[i])
	}
	t.Logf("%d Gets, %d connections at most, %d opened: the longest wait is %v, in one queue %v (%.2f times); without the costs %v; of the 12 heaviest keys %v",
		len(gets), most, opened, f.longest, f.queue, float64(f.longest)/float64(f.queue), slices.Max(inOneQueue(gets, 0)), f.byKey[:12])
	if most > fairTotal {
		t.Errorf("%d connections, of %d", most, fairTotal)
	}
	return f
}

// raceEnabled says whether the race detector is on.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}
