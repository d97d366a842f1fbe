package actorpool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/lockfree"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// benchConn is what all pools of the benchmarks lend: opening and closing it
// costs nothing.
type benchConn struct{ _ int }

func benchConnect(context.Context) (*benchConn, error) { return new(benchConn), nil }

// benchPool is what the benchmarks know of a pool. A whole cycle is one call,
// so that the pool's own calls in it are as direct as in a program.
type benchPool interface {
	// cycle is Get, hold unless it is nil, Put.
	cycle(ctx context.Context, hold func()) error
	// taint is Get, Taint.
	taint(ctx context.Context) error
	// waiting counts the Gets that wait.
	waiting() int
	close()
}

// benchPools are the contestants. Their names are in those of the benchmarks, so
// that benchstat -col /pool puts them side by side.
var benchPools = []struct {
	name string
	make func(b testing.TB, capacity int) benchPool
}{
	{"actor", func(b testing.TB, capacity int) benchPool { return benchActor(b, benchConfig(capacity)) }},
	{"actor-default", func(b testing.TB, capacity int) benchPool { return benchActorDefault(b, benchConfig(capacity)) }},
	{"lockfree", func(b testing.TB, capacity int) benchPool {
		p, err := lockfree.New(lockfree.Config[*benchConn]{Connect: benchConnect, Capacity: capacity})
		require.NoError(b, err)
		return benchLockfreePool{p}
	}},
}

func benchConfig(capacity int) client.Config[*benchConn] {
	return client.Config[*benchConn]{Connect: benchConnect, Disconnect: client.NoDisconnect[*benchConn], Capacity: capacity}
}

// benchActor is the pool as client.New makes it.
func benchActor(b testing.TB, cfg client.Config[*benchConn]) benchActorPool {
	p, err := client.New(cfg)
	require.NoError(b, err)
	return benchActorPool{p}
}

// benchActorDefault is the same actor with the library's own mailbox and
// dispatcher.
func benchActorDefault(b testing.TB, cfg client.Config[*benchConn]) benchActorPool {
	props, err := client.Props(cfg, actor.WithMailbox(actor.Unbounded()))
	require.NoError(b, err)
	system := testkit.QuietSystem()
	return benchActorPool{client.Attach[*benchConn](system, system.Root.Spawn(props))}
}

type benchActorPool struct{ *client.Pool[*benchConn] }

func (p benchActorPool) cycle(ctx context.Context, hold func()) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	return l.Put()
}

func (p benchActorPool) taint(ctx context.Context) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	return l.Taint(nil)
}

func (p benchActorPool) waiting() int { return p.Stats().Waiting }
func (p benchActorPool) close()       { _ = p.Close(context.Background()) }

type benchLockfreePool struct{ *lockfree.Pool[*benchConn] }

func (p benchLockfreePool) cycle(ctx context.Context, hold func()) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	return l.Put()
}

func (p benchLockfreePool) taint(ctx context.Context) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	return l.Taint(nil)
}

func (p benchLockfreePool) waiting() int { return p.Stats().Waiting }
func (p benchLockfreePool) close()       { _ = p.Close(context.Background()) }

// benchEach runs a case for every pool.
func benchEach(b *testing.B, capacity int, f func(b *testing.B, p benchPool)) {
	for _, kind := range benchPools {
		b.Run("pool="+kind.name, func(b *testing.B) {
			p := kind.make(b, capacity)
			defer p.close()
			benchRun(b, p, f)
		})
	}
}

// benchRun warms a pool up and runs one case of it.
func benchRun(b *testing.B, p benchPool, f func(b *testing.B, p benchPool)) {
	require.NoError(b, p.cycle(context.Background(), nil))
	b.ReportAllocs()
	b.ResetTimer()
	f(b, p)
	b.StopTimer()
}

func benchSerially(ctx context.Context) func(*testing.B, benchPool) {
	return func(b *testing.B, p benchPool) {
		for b.Loop() {
			if err := p.cycle(ctx, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// benchCrowd divides n calls of f among goroutines that start together, and
// times that.
func benchCrowd(b *testing.B, goroutines, n int, f func() error) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range goroutines {
		share := n / goroutines
		if i < n%goroutines {
			share++
		}
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			for range share {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	ready.Wait()
	b.ResetTimer()
	close(start)
	done.Wait()
}

// BenchmarkSerial: one goroutine, a connection is always idle.
func BenchmarkSerial(b *testing.B) { benchEach(b, 8, benchSerially(context.Background())) }

// BenchmarkSerialCancellable: the same with a context that can end.
func BenchmarkSerialCancellable(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	benchEach(b, 8, benchSerially(ctx))
}

// BenchmarkParallel: as many goroutines as processors, a connection for each.
func BenchmarkParallel(b *testing.B) {
	benchEach(b, max(64, runtime.GOMAXPROCS(0)), func(b *testing.B, p benchPool) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := p.cycle(context.Background(), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkExhausted: 64 goroutines on 4 connections. Each holder yields once,
// so nearly every Get waits.
func BenchmarkExhausted(b *testing.B) {
	benchEach(b, 4, func(b *testing.B, p benchPool) {
		benchCrowd(b, 64, b.N, func() error { return p.cycle(context.Background(), runtime.Gosched) })
	})
}

// BenchmarkCrowd: 10,000 goroutines on 100 connections.
func BenchmarkCrowd(b *testing.B) {
	benchEach(b, 100, func(b *testing.B, p benchPool) {
		f := func() error { return p.cycle(context.Background(), runtime.Gosched) }
		benchCrowd(b, 10_000, 20_000, f) // all of it has been there before the time counts
		benchCrowd(b, 10_000, b.N, f)
	})
}

// BenchmarkCancelStorm: nothing is ever free, and 64 goroutines ask with
// contexts that end while they wait.
func BenchmarkCancelStorm(b *testing.B) {
	benchEach(b, 1, func(b *testing.B, p benchPool) {
		err := p.cycle(context.Background(), func() {
			benchCrowd(b, 64, b.N, func() error {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel() // its turn comes when the Get parks
				if err := p.cycle(ctx, nil); !errors.Is(err, context.Canceled) {
					return fmt.Errorf("a Get that was cancelled: %w", err)
				}
				return nil
			})
			b.StopTimer()
		})
		require.NoError(b, err)
	})
}

// BenchmarkTaintStorm: 64 goroutines on 4 connections, and every connection is
// tainted as soon as it is lent.
func BenchmarkTaintStorm(b *testing.B) {
	benchEach(b, 4, func(b *testing.B, p benchPool) {
		benchCrowd(b, 64, b.N, func() error { return p.taint(context.Background()) })
	})
}

// BenchmarkSetting: a Get that asks for the setting which the connection has,
// next to one that asks for none.
func BenchmarkSetting(b *testing.B) {
	for _, tt := range []struct {
		name    string
		setting any
	}{{"none", nil}, {"same", "utc"}} {
		b.Run("setting="+tt.name, func(b *testing.B) {
			for _, kind := range []struct { // the lock-free pool knows none
				name string
				make func(testing.TB, client.Config[*benchConn]) benchActorPool
			}{{"actor", benchActor}, {"actor-default", benchActorDefault}} {
				b.Run("pool="+kind.name, func(b *testing.B) {
					cfg := benchConfig(8)
					cfg.Apply = func(context.Context, *benchConn, any) error { return nil }
					p := kind.make(b, cfg)
					defer p.close()
					o := client.GetOptions{Setting: tt.setting}
					l, err := p.GetWith(context.Background(), o)
					require.NoError(b, err)
					require.NoError(b, l.Put())
					b.ReportAllocs()
					for b.Loop() {
						l, err := p.GetWith(context.Background(), o)
						if err != nil || l.Put() != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// BenchmarkAges: one goroutine and a connection that is always idle, in a pool
// that watches how long, next to one that does not.
func BenchmarkAges(b *testing.B) {
	for _, ages := range []string{"off", "on"} {
		b.Run("ages="+ages, func(b *testing.B) {
			cfg := benchConfig(8)
			if ages == "on" {
				cfg.Check = func(context.Context, *benchConn) error { return nil }
				cfg.IdleTimeout = time.Minute
			}
			p := benchActor(b, cfg)
			defer p.close()
			benchRun(b, p, benchSerially(context.Background()))
		})
	}
}

// BenchmarkWait: 8 goroutines on one connection, each holder yields: every Get
// waits for a Put. waits/op says how many really did.
func BenchmarkWait(b *testing.B) {
	benchEach(b, 1, func(b *testing.B, p benchPool) {
		benchCrowd(b, 8, b.N, func() error { return p.cycle(context.Background(), runtime.Gosched) })
		if p, ok := p.(benchActorPool); ok {
			b.ReportMetric(float64(p.Stats().Waits)/float64(b.N), "waits/op")
		}
	})
}

// BenchmarkCancelOneOf: of n Gets that wait, any one leaves and comes back at
// the end of the line. The cost must not grow with n.
func BenchmarkCancelOneOf(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			benchEach(b, 1, func(b *testing.B, p benchPool) {
				err := p.cycle(context.Background(), func() { benchCancelOneOf(b, p, n) })
				require.NoError(b, err)
			})
		})
	}
}

func benchCancelOneOf(b *testing.B, p benchPool, n int) {
	cancels := make([]context.CancelFunc, n)
	left := make(chan struct{}) // a Get has left, and its successor can be cancelled
	ended, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range n {
		var ctx context.Context
		ctx, cancels[i] = context.WithCancel(ended)
		all.Go(func() {
			for {
				_ = p.cycle(ctx, nil)
				if ended.Err() != nil {
					return
				}
				ctx, cancels[i] = context.WithCancel(ended)
				left <- struct{}{}
			}
		})
	}
	for p.waiting() < n {
		runtime.Gosched()
	}
	random := rand.New(rand.NewPCG(1, 2))
	b.ResetTimer()
	for b.Loop() {
		cancels[random.IntN(n)]()
		<-left
	}
	b.StopTimer()
	end()
	all.Wait()
}

// BenchmarkEvents: what a listener costs the borrower.
func BenchmarkEvents(b *testing.B) {
	for name, handler := range map[string]func(messages.Event){"off": nil, "noop-handler": func(messages.Event) {}} {
		b.Run(name, func(b *testing.B) {
			cfg := benchConfig(8)
			cfg.OnEvent = handler
			p := benchActor(b, cfg)
			defer p.close()
			benchRun(b, p, benchSerially(context.Background()))
			b.ReportMetric(float64(p.Stats().DroppedEvents)/float64(b.N), "dropped/op")
		})
	}
}

// BenchmarkFailFast: a Get that fails because the pool backs off, next to one
// that succeeds.
func BenchmarkFailFast(b *testing.B) {
	b.Run("get-in-backoff", func(b *testing.B) {
		cfg := benchConfig(8)
		cfg.Connect = func(context.Context) (*benchConn, error) { return nil, errors.New("no route") }
		cfg.Classify = func(messages.Phase, error) messages.Class { return messages.ClassOverload }
		cfg.Backoff = client.Backoff{Mode: client.BackoffFailFast, Base: 1 << 40, Cap: 1 << 41, Jitter: client.NoJitter}
		p := benchActor(b, cfg)
		defer p.close()
		require.Error(b, p.cycle(context.Background(), nil))
		b.ReportAllocs()
		for b.Loop() {
			if err := p.cycle(context.Background(), nil); err == nil {
				b.Fatal("the Get should fail")
			}
		}
	})
	b.Run("successful-get", func(b *testing.B) {
		p := benchActor(b, benchConfig(8))
		defer p.close()
		benchRun(b, p, benchSerially(context.Background()))
	})
}

// optionConfigs are the options that have a price on every Get and Put. Nothing
// of what they are for happens here: no lease is out for long, and nobody waits
// for too long.
var optionConfigs = []struct {
	name   string
	change func(*client.Config[*benchConn])
}{
	{"off", func(*client.Config[*benchConn]) {}},
	{"MaxWaiters", func(cfg *client.Config[*benchConn]) { cfg.MaxWaiters = 1000 }},
	{"GetTimeout", func(cfg *client.Config[*benchConn]) { cfg.GetTimeout = time.Hour }},
	{"MaxLease", func(cfg *client.Config[*benchConn]) { cfg.MaxLease = time.Hour }},
	{"LeakAfter", func(cfg *client.Config[*benchConn]) { cfg.LeakAfter = time.Hour }},
	{"ShedHopeless", func(cfg *client.Config[*benchConn]) { cfg.ShedHopeless = true }},
	{"CoDel", func(cfg *client.Config[*benchConn]) {
		cfg.Shed = client.CoDel{Target: time.Second, Interval: time.Minute}
	}},
	{"Reusable", func(cfg *client.Config[*benchConn]) { cfg.Reusable = func(*benchConn) bool { return true } }},
	// A Reset goes to the connector and back, and a Get waits for it for as long as the
	// last connect took (P8). A connect that takes nothing is opened needlessly when the
	// operating system takes the processor away for a millisecond.
	{"Reset", func(cfg *client.Config[*benchConn]) {
		cfg.Reset = func(context.Context, *benchConn) error { return nil }
		cfg.Connect = func(ctx context.Context) (*benchConn, error) {
			time.Sleep(20 * time.Millisecond)
			return benchConnect(ctx)
		}
	}},
	{"Reset-connect-0", func(cfg *client.Config[*benchConn]) {
		cfg.Reset = func(context.Context, *benchConn) error { return nil }
	}},
}

// BenchmarkOption: one goroutine, a connection is always idle. What each option
// costs, and what each other way to borrow costs.
func BenchmarkOption(b *testing.B) {
	for _, option := range optionConfigs {
		b.Run("pool="+option.name, func(b *testing.B) {
			cfg := benchConfig(8)
			option.change(&cfg)
			p := benchActor(b, cfg)
			defer p.close()
			benchRun(b, p, benchSerially(context.Background()))
			b.ReportMetric(float64(p.Stats().Connects), "connects")
		})
	}
	background := context.Background()
	for _, way := range []struct {
		name string
		make func(b *testing.B, p benchActorPool) func() error
	}{
		{"label", func(_ *testing.B, p benchActorPool) func() error {
			o := client.GetOptions{Label: "report"}
			return func() error {
				l, err := p.GetWith(background, o)
				if err != nil {
					return err
				}
				return l.Put()
			}
		}},
		{"Do", func(_ *testing.B, p benchActorPool) func() error {
			nothing := func(context.Context, *benchConn) error { return nil }
			return func() error { return p.Do(background, nothing) }
		}},
		{"lease-context", func(b *testing.B, p benchActorPool) func() error {
			held, err := p.Get(background)
			require.NoError(b, err)
			b.Cleanup(func() { _ = held.Put() })
			ctx := held.Context(background)
			return func() error { return p.cycle(ctx, nil) }
		}},
	} {
		b.Run("pool="+way.name, func(b *testing.B) {
			p := benchActor(b, benchConfig(8))
			b.Cleanup(p.close)
			f := way.make(b, p)
			require.NoError(b, f())
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, held := range []bool{false, true} {
		name := "message" // and the borrower is watched anew for each Get
		if held {
			name = "message-watched" // it is watched all the time, since it holds another one
		}
		b.Run("pool="+name, func(b *testing.B) {
			system := testkit.QuietSystem()
			props, err := client.Props(benchConfig(8))
			require.NoError(b, err)
			pid := system.Root.Spawn(props)
			pool := client.Attach[*benchConn](system, pid)
			defer func() { _ = pool.Close(background) }()
			r := &messenger{pool: pid, keep: held, done: make(chan struct{}, 1)}
			borrower := system.Root.Spawn(actor.PropsFromFunc(r.receive))
			defer func() { _ = system.Root.StopFuture(borrower).Wait() }()
			system.Root.Send(borrower, cycles(1))
			<-r.done
			b.ReportAllocs()
			b.ResetTimer()
			system.Root.Send(borrower, cycles(b.N))
			<-r.done
		})
	}
}

// cycles tells a messenger to get and put that often.
type cycles int

// messenger is an actor that gets and puts by message.
type messenger struct {
	pool *actor.PID
	keep bool // it keeps the first lease
	left cycles
	done chan struct{}
}

func (r *messenger) receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case cycles:
		r.left = msg
	case *messages.Lease:
		if r.keep {
			r.keep = false
			break
		}
		ctx.Send(r.pool, &messages.Put{Lease: msg.ID})
		if r.left--; r.left == 0 {
			r.done <- struct{}{}
			return
		}
	default:
		return
	}
	ctx.Request(r.pool, &messages.Get{})
}

// BenchmarkHops: what of the price of a Reset is the way to a connector and back. A
// connector is an actor with a mailbox of the library, and answers on its own goroutine.
// It calls user code on a goroutine of its own, with a context that has a deadline.
func BenchmarkHops(b *testing.B) {
	onItsOwn := func(f func()) {
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		<-done
	}
	for _, way := range []struct {
		name string
		work func()
	}{
		{"there-and-back", func() {}},
		{"with-a-goroutine", func() { onItsOwn(func() {}) }},
		{"with-a-deadline-too", func() {
			onItsOwn(func() {
				_, cancel := context.WithTimeout(context.Background(), time.Hour)
				cancel()
			})
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			system := testkit.QuietSystem()
			back := make(chan struct{}, 1)
			connector := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(cycles); ok {
					way.work()
					back <- struct{}{}
				}
			}))
			defer func() { _ = system.Root.StopFuture(connector).Wait() }()
			b.ReportAllocs()
			for b.Loop() {
				system.Root.Send(connector, cycles(1))
				<-back
			}
		})
	}
}

// BenchmarkOptionExhausted: 64 goroutines on 4 connections, so that nearly every
// Get waits.
func BenchmarkOptionExhausted(b *testing.B) {
	for _, option := range optionConfigs {
		b.Run("pool="+option.name, func(b *testing.B) {
			cfg := benchConfig(4)
			option.change(&cfg)
			p := benchActor(b, cfg)
			defer p.close()
			benchRun(b, p, func(b *testing.B, p benchPool) {
				benchCrowd(b, 64, b.N, func() error { return p.cycle(context.Background(), runtime.Gosched) })
			})
		})
	}
	// With a deadline there is something for ShedHopeless to reckon with.
	for _, option := range optionConfigs {
		if option.name != "off" && option.name != "ShedHopeless" {
			continue
		}
		b.Run("pool="+option.name+"-deadline", func(b *testing.B) {
			cfg := benchConfig(4)
			option.change(&cfg)
			p := benchActor(b, cfg)
			defer p.close()
			bounded, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			benchRun(b, p, func(b *testing.B, p benchPool) {
				benchCrowd(b, 64, b.N, func() error { return p.cycle(bounded, runtime.Gosched) })
			})
		})
	}
	// A Get with the context of a lease tells the pool what its caller holds.
	b.Run("pool=lease-context", func(b *testing.B) {
		p := benchActor(b, benchConfig(5))
		defer p.close()
		held, err := p.Get(context.Background())
		require.NoError(b, err)
		defer func() { _ = held.Put() }()
		ctx := held.Context(context.Background())
		benchRun(b, p, func(b *testing.B, p benchPool) {
			benchCrowd(b, 64, b.N, func() error { return p.cycle(ctx, runtime.Gosched) })
		})
	})
}

// TestGetAndPutAllocateNothing holds for Gets that find an idle connection and
// for those that wait.
func TestGetAndPutAllocateNothing(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("under the race detector a sync.Pool forgets on purpose")
	}
	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"serial": context.Background(), "cancellable": cancellable} {
		t.Run(name, func(t *testing.T) {
			p := benchActor(t, benchConfig(1))
			defer p.close()
			require.Zero(t, testing.AllocsPerRun(1000, func() {
				if p.cycle(ctx, nil) != nil {
					t.Error("Get or Put failed")
				}
			}))
		})
		t.Run(name+" and waiting", func(t *testing.T) {
			p := benchActor(t, benchConfig(1))
			defer p.close()
			ask, held := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(held)
				lend := func() {
					held <- struct{}{}
					for range 10 {
						runtime.Gosched() // the other one gets in line
					}
				}
				for range ask {
					_ = p.cycle(ctx, lend)
				}
			}()
			const runs = 1000
			require.Zero(t, testing.AllocsPerRun(runs, func() {
				ask <- struct{}{}
				<-held
				if p.cycle(ctx, nil) != nil {
					t.Error("Get or Put failed")
				}
			}))
			close(ask)
			<-held
			require.GreaterOrEqual(t, p.Stats().Waits, uint64(runs*9/10), "Gets that waited")
		})
	}
}

// TestOptionsAllocateLittle holds what a Get and a Put allocate at most where an option
// cannot be had for nothing.
func TestOptionsAllocateLittle(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("under the race detector a sync.Pool forgets on purpose")
	}
	cycle := func(p benchActorPool) error { return p.cycle(context.Background(), nil) }
	for name, c := range map[string]struct {
		change func(*client.Config[*benchConn])
		use    func(benchActorPool) error
		atMost float64
	}{
		// The stack; the token, and what the runtime keeps to call a cleanup.
		"LeakAfter": {func(cfg *client.Config[*benchConn]) { cfg.LeakAfter = time.Hour }, cycle, 4},
		// The context that carries the lease.
		"Do": {func(*client.Config[*benchConn]) {}, func(p benchActorPool) error {
			return p.Do(context.Background(), func(context.Context, *benchConn) error { return nil })
		}, 1},
		// Two jobs of a connector and the connection: see docs/benchmarks.md.
		"Taint and replacement": {func(*client.Config[*benchConn]) {}, func(p benchActorPool) error {
			l, err := p.Get(context.Background())
			if err != nil {
				return err
			}
			return l.Taint(nil)
		}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := benchConfig(1)
			c.change(&cfg)
			p := benchActor(t, cfg)
			defer p.close()
			allocations := testing.AllocsPerRun(1000, func() {
				if c.use(p) != nil {
					t.Error("the use failed")
				}
			})
			assert.LessOrEqual(t, allocations, c.atMost)
		})
	}
}

// BenchmarkRecording: one goroutine, a connection is always idle, and what is asked of the
// pool is recorded or not. To find out the number of a goroutine takes longer the more
// functions have called each other: 20 more in the last case.
func BenchmarkRecording(b *testing.B) {
	for _, way := range []struct {
		name    string
		options *client.RecordOptions // nil: it is not recorded
		deep    int
	}{
		{"off", nil, 0},
		{"no-sessions", &client.RecordOptions{NoSessions: true}, 0},
		{"recorded", &client.RecordOptions{}, 0},
		{"recorded-deep", &client.RecordOptions{}, 20},
	} {
		b.Run("pool="+way.name, func(b *testing.B) {
			p := benchActor(b, benchConfig(8))
			defer p.close()
			if way.options != nil {
				defer benchRecord(b, p, *way.options)()
			}
			deeper(way.deep, func() { benchRun(b, p, benchSerially(context.Background())) })
		})
	}
}

// deeper calls f by so many functions.
//
//go:noinline
func deeper(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deeper(n-1, f)
}

// benchRecord has a pool recorded until the end is called.
func benchRecord(b *testing.B, p benchActorPool, o client.RecordOptions) (end func()) {
	o.Max = messages.MaxRecordedGets
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan int, 1)
	go func() {
		for {
			made, err := p.Record(ctx, o)
			if !errors.Is(err, messages.ErrRecording) { // otherwise the question below was first
				over <- len(made.Gets)
				return
			}
		}
	}()
	ended, cancelNow := context.WithCancel(ctx)
	cancelNow()
	for {
		if _, err := p.Record(ended, client.RecordOptions{}); errors.Is(err, messages.ErrRecording) {
			break
		}
		runtime.Gosched()
	}
	return func() {
		cancel()
		if n := <-over; n < b.N {
			b.Errorf("%d of %d Gets were recorded", n, b.N)
		}
	}
}
