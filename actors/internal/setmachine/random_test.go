package setmachine

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEveryRandomHistoryKeepsThePromises gives random inputs to a machine and its pools,
// whose messages come late and in any order, in a world that checks every step against a
// slow model. In the end every connection is returned and every job ends. Then every Get
// must have been served, and after Close nothing may be left.
func TestEveryRandomHistoryKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Total:    rapid.IntRange(1, 4).Draw(t, "total"),
			MaxPools: max(0, rapid.IntRange(-2, 3).Draw(t, "max pools")),
			Idle:     rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(t, "idle"),
		}
		w := newWorld(t, cfg)
		served, asked := 0, 0
		var out []*fakeGet
		w.lendTo = func(g *fakeGet) { served++; out = append(out, g) }
		keys := rapid.IntRange(1, 5).Draw(t, "keys")
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
		pool := func(has func(p *fakePool) bool) *fakePool {
			var found []*fakePool
			for _, k := range w.order {
				if k.pool != nil && has(k.pool) {
					found = append(found, k.pool)
				}
			}
			if len(found) == 0 {
				return nil
			}
			return found[choose(len(found))]
		}
		turn := func(p *fakePool, f func()) {
			if p != nil {
				f()
				p.endTurn()
			}
		}
		put := func() {
			if len(out) > 0 {
				i := choose(len(out))
				p := out[i].pool
				out = append(out[:i], out[i+1:]...)
				turn(p, p.put)
			}
		}
		connected := func(fails bool) {
			p := pool(func(p *fakePool) bool { return p.connecting > 0 })
			turn(p, func() {
				p.connecting--
				if !fails {
					p.idle++
				}
			})
		}
		closed := func() {
			p := pool(func(p *fakePool) bool { return p.ending > 0 })
			turn(p, func() { p.ending-- })
		}
		made := func() {
			if len(w.made) > 0 {
				w.isMade(w.made[choose(len(w.made))])
			}
		}
		for range rapid.SampledFrom([]int{10, 50, 200}).Draw(t, "steps") {
			w.now += time.Duration(rapid.IntRange(0, 300).Draw(t, "pause")) * time.Millisecond
			switch rapid.IntRange(0, 14).Draw(t, "input") {
			case 0, 1, 2:
				asked++
				name := fmt.Sprint(rapid.IntRange(0, keys-1).Draw(t, "key"))
				w.want(name, &fakeGet{key: name, since: w.now})
			case 3, 4:
				put()
			case 5:
				connected(rapid.IntRange(0, 4).Draw(t, "fails") == 4)
			case 6:
				closed()
			case 7:
				made()
			case 8:
				if w.armed && w.now >= w.tick.At {
					w.armed = false
					w.input(func() { w.m.Tick(w.now, w.tick.Epoch) })
				}
			case 9: // a backoff begins or ends
				p := pool(func(*fakePool) bool { return true })
				turn(p, func() { p.blocked = !p.blocked })
			case 10: // a waiter leaves
				p := pool(func(p *fakePool) bool { return len(p.waiting) > 0 })
				turn(p, func() { p.waiting = p.waiting[1:]; asked-- })
			case 11: // somebody else closes a pool
				if rapid.IntRange(0, 3).Draw(t, "close") == 3 {
					p := pool(func(p *fakePool) bool { return !p.closes })
					turn(p, func() { p.close() })
				}
			default:
				w.step(choose)
			}
		}
		for range 10_000 {
			w.deliver()
			if p := pool(func(p *fakePool) bool { return p.blocked }); p != nil {
				turn(p, func() { p.blocked = false })
			}
			made()
			connected(false)
			closed()
			put()
			if served == asked && len(out) == 0 {
				break
			}
		}
		w.deliver()
		if served != asked {
			t.Fatalf("%d of %d Gets were served", served, asked)
		}
		var all []*Key
		for _, k := range w.order {
			all = append(all, k.key)
		}
		w.input(func() { w.m.Close(w.now, all) })
		for range 1000 {
			w.deliver()
			connected(false)
			closed()
		}
		if !w.stopped || w.m.Free() != cfg.Total {
			t.Fatalf("after Close %d of %d units are free, stopped: %v", w.m.Free(), cfg.Total, w.stopped)
		}
	})
}
