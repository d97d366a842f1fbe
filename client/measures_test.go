package client_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// idleConn is a connection that costs nothing to open and to close.
type idleConn struct{ _ int }

// idleConfig is the configuration of a pool of them.
func idleConfig(capacity int) client.Config[*idleConn] {
	return client.Config[*idleConn]{
		Connect:    func(context.Context) (*idleConn, error) { return new(idleConn), nil },
		Disconnect: client.NoDisconnect[*idleConn],
		Capacity:   capacity,
	}
}

const manyIdle = 10_000

// idlePools are the pools for which the memory of an idle connection is measured:
// one without options, and one with every option that keeps something for it.
var idlePools = []struct {
	name   string
	change func(*client.Config[*idleConn])
}{
	{"plain", func(*client.Config[*idleConn]) {}},
	{"everything", func(cfg *client.Config[*idleConn]) {
		fine := func(context.Context, *idleConn) error { return nil }
		cfg.Check, cfg.Reset, cfg.Unapply = fine, fine, fine
		cfg.Apply = func(context.Context, *idleConn, any) error { return nil }
		cfg.KeepAlive, cfg.IdleTimeout, cfg.MaxLifetime, cfg.LeakAfter = time.Hour, 2*time.Hour, 3*time.Hour, time.Hour
	}},
}

// idlePool makes a pool of which n connections are idle.
func idlePool(tb testing.TB, n int, change func(*client.Config[*idleConn])) *client.Pool[*idleConn] {
	cfg := idleConfig(manyIdle)
	change(&cfg)
	p, err := client.New(cfg)
	require.NoError(tb, err)
	beIdle(tb, p, n, cfg.Apply != nil)
	return p
}

// beIdle makes n connections idle, with a setting if the pool has any.
func beIdle(tb testing.TB, p *client.Pool[*idleConn], n int, withSetting bool) {
	o := client.GetOptions{}
	if withSetting {
		o.Setting = "utc"
	}
	leases := make([]client.Lease[*idleConn], n)
	for i := range leases {
		var err error
		leases[i], err = p.GetWith(context.Background(), o)
		require.NoError(tb, err)
	}
	for _, l := range leases {
		require.NoError(tb, l.Put())
	}
	for p.Stats().Idle < n { // some may still be reset
		runtime.Gosched()
	}
}

// measureIdle gives the bytes of the heap and the goroutines that each idle
// connection costs, without those of the pool itself.
func measureIdle(tb testing.TB, change func(*client.Config[*idleConn])) (bytes, goroutines float64) {
	cfg := idleConfig(manyIdle)
	change(&cfg)
	p, err := client.New(cfg)
	require.NoError(tb, err)
	heap, running := livingHeap(), runtime.NumGoroutine()
	beIdle(tb, p, manyIdle, cfg.Apply != nil)
	bytes = (float64(livingHeap()) - float64(heap)) / manyIdle
	goroutines = float64(runtime.NumGoroutine()-running) / manyIdle
	require.NoError(tb, p.Close(context.Background()))
	return bytes, goroutines
}

// livingHeap counts the bytes in use after garbage collection. There are two
// collections because finalizers and a sync.Pool keep memory over the first.
func livingHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAnIdleConnectionHoldsNoGoroutine(t *testing.T) {
	for _, kind := range idlePools {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running [2]int
				for i, n := range []int{10, manyIdle} {
					p := idlePool(t, n, kind.change)
					synctest.Wait()
					require.Equal(t, n, p.Stats().Idle)
					running[i] = runtime.NumGoroutine()
					require.NoError(t, p.Close(ctx))
					synctest.Wait()
				}
				t.Logf("%d goroutines with 10 idle connections, %d with %d", running[0], running[1], manyIdle)
				// The runtime has goroutines of its own.
				assert.InDelta(t, running[0], running[1], 3)
			})
		})
	}
}

func TestAnIdleConnectionIsSmall(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("the race detector adds to every allocation")
	}
	const bound = 1400
	for _, kind := range idlePools {
		t.Run(kind.name, func(t *testing.T) {
			bytes, _ := measureIdle(t, kind.change)
			t.Logf("%.0f bytes for each of %d idle connections", bytes, manyIdle)
			assert.Less(t, bytes, float64(bound))
		})
	}
}

// BenchmarkIdleConnections: what 10,000 connections that nobody uses cost each.
func BenchmarkIdleConnections(b *testing.B) {
	for _, kind := range idlePools {
		b.Run(kind.name, func(b *testing.B) {
			var bytes, goroutines float64
			for b.Loop() {
				bytes, goroutines = measureIdle(b, kind.change)
			}
			b.ReportMetric(bytes, "B/conn")
			b.ReportMetric(goroutines, "goroutines/conn")
		})
	}
}

// turnTimer measures the turns of timers and requests, on which much may be decided.
// It does not measure the reports of connectors. It delays the first tick, so that
// all connections are due when it is handled.
type turnTimer struct {
	late  atomic.Bool
	mu    sync.Mutex
	turns []time.Duration
}

func (s *turnTimer) middleware(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		switch envelope.Message.(type) {
		case *messages.Tick:
			if s.late.CompareAndSwap(true, false) {
				<-time.After(500 * time.Millisecond)
			}
		case *messages.Clear, *messages.SetCapacity, *messages.Close:
		default:
			next(ctx, envelope)
			return
		}
		start := time.Now()
		next(ctx, envelope)
		took := time.Since(start)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.turns = append(s.turns, took)
	}
}

// read gives the turns so far, the shortest first.
func (s *turnTimer) read() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.turns)
	return s.turns
}

// BenchmarkLongestTurn: how long the pool actor's turn is when something happens to
// 10,000 idle connections at once: it decides, and sends jobs to the connectors.
// Other processes interrupt some turns, so max-turn-ns is the median over the
// rounds of the longest turn of each.
func BenchmarkLongestTurn(b *testing.B) {
	const soon = time.Second
	empty := func(p *client.Pool[*idleConn]) bool { return p.Stats().Open == 0 }
	var checks atomic.Int64
	for _, tt := range []struct {
		name   string
		change func(*client.Config[*idleConn])
		begin  any // the request; nil: time passes
		over   func(*client.Pool[*idleConn]) bool
	}{
		{"IdleTimeout", func(cfg *client.Config[*idleConn]) { cfg.IdleTimeout = soon }, nil, empty},
		{"MaxLifetime", func(cfg *client.Config[*idleConn]) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = soon, 1 }, nil, empty},
		{"KeepAlive", func(cfg *client.Config[*idleConn]) {
			cfg.Check = func(context.Context, *idleConn) error { checks.Add(1); return nil }
			cfg.KeepAlive, cfg.CheckAfterIdle = soon, -1
		}, nil, func(*client.Pool[*idleConn]) bool { return checks.Load() >= manyIdle }},
		{"Clear", nil, &messages.Clear{}, empty},
		{"SetCapacity", nil, &messages.SetCapacity{}, empty},
		{"Close", nil, &messages.Close{}, empty},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var longest, turns []time.Duration
			for b.Loop() {
				cfg := idleConfig(manyIdle)
				if tt.change != nil {
					tt.change(&cfg)
				}
				watch := &turnTimer{}
				watch.late.Store(tt.begin == nil)
				props, err := client.Props(cfg, actor.WithReceiverMiddleware(watch.middleware))
				require.NoError(b, err)
				system := testkit.QuietSystem()
				p := client.Attach[*idleConn](system, system.Root.Spawn(props))
				beIdle(b, p, manyIdle, false)
				checks.Store(0)
				if tt.begin != nil {
					system.Root.Send(p.PID(), tt.begin)
				}
				require.Eventually(b, func() bool { return tt.over(p) }, time.Minute, 10*time.Millisecond)
				require.NoError(b, p.Close(ctx))
				took := watch.read()
				longest = append(longest, took[len(took)-1])
				turns = append(turns, took...)
			}
			slices.Sort(longest)
			slices.Sort(turns)
			b.ReportMetric(float64(longest[len(longest)/2]), "max-turn-ns")
			b.ReportMetric(float64(turns[len(turns)*9/10]), "p90-turn-ns")
		})
	}
}
