package actorpool_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

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
			system := quietSystem()
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
	// Who waits with the context of a lease tells the pool what he holds.
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
