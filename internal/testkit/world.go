package testkit

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/pooltest"
)

type (
	// Pool is a pool of connections to a [Server].
	Pool = client.Pool[*Conn]
	// Lease is a lease of such a connection.
	Lease = client.Lease[*Conn]
	// Config is the configuration of such a pool.
	Config = client.Config[*Conn]
)

// World is what a test runs in: a server, an actor system, and pools that all
// use one kind of mailbox.
type World struct {
	T      testing.TB
	Server *Server
	System *actor.ActorSystem
	// Library: pools run on the mailbox and dispatcher of the actor library
	// instead of the pool's own mailbox.
	Library bool

	deadLetterCount atomic.Int32
}

// Run runs f in virtual time, once with the pool's own mailbox and once with
// that of the actor library.
func Run(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	for _, library := range []bool{false, true} {
		name := "combining mailbox"
		if library {
			name = "library mailbox"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, NewWorld(t, library)) })
		})
	}
}

// NewWorld makes a world. It is called in virtual time.
func NewWorld(t testing.TB, library bool) *World {
	w := &World{T: t, Server: NewServer(t), System: QuietSystem(), Library: library}
	w.System.EventStream.Subscribe(func(event any) {
		if _, ok := event.(*actor.DeadLetterEvent); ok {
			w.deadLetterCount.Add(1)
		}
	})
	// The library counts dead letters on a goroutine that lives for a moment.
	t.Cleanup(func() { Pass(time.Millisecond) })
	return w
}

// QuietSystem makes an actor system that logs nothing, and whose goroutine that
// counts dead letters for the log does not outlive a test.
func QuietSystem() *actor.ActorSystem {
	quiet := slog.New(slog.DiscardHandler)
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
}

// LibraryMailbox are the options with which a pool runs on the mailbox and
// dispatcher of the actor library.
func LibraryMailbox() []actor.PropsOption {
	return []actor.PropsOption{actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewDefaultDispatcher(300))}
}

// Pool makes a pool of [World.Config]. At the end of the test it is closed, and
// must have closed every connection.
func (w *World) Pool(change ...func(*Config)) *Pool {
	w.T.Helper()
	p := w.Spawn(w.Config(change...))
	w.T.Cleanup(func() { w.CloseAndCheck(p) })
	return p
}

// Config is the configuration of a pool of the world's server, called "db". Its
// backoff is one second, doubling to eight, without jitter.
func (w *World) Config(change ...func(*Config)) Config {
	cfg := Config{
		Name:    "db",
		Connect: w.Server.Connect,
		Backoff: client.Backoff{Base: time.Second, Cap: 8 * time.Second, Jitter: client.NoJitter},
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// Spawn makes a pool that the test closes itself.
func (w *World) Spawn(cfg Config, opts ...actor.PropsOption) *Pool {
	w.T.Helper()
	props, err := client.Props(cfg, append(opts, w.PropsOptions()...)...)
	require.NoError(w.T, err)
	pid := w.System.Root.Spawn(props)
	synctest.Wait()
	return client.Attach[*Conn](w.System, pid)
}

// PropsOptions are the options of the world's pools: those of its mailbox.
func (w *World) PropsOptions() []actor.PropsOption {
	if w.Library {
		return LibraryMailbox()
	}
	return nil
}

// SpawnUnderParent makes an actor that spawns a pool as its child, and uses it
// once from inside.
func (w *World) SpawnUnderParent(cfg Config) (*Pool, *actor.PID) {
	w.T.Helper()
	var p *Pool
	pid := w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			var err error
			p, err = client.Spawn(ctx, cfg)
			assert.NoError(w.T, err)
			l, err := p.Get(context.Background())
			assert.NoError(w.T, err)
			assert.NoError(w.T, l.Put())
		}
	}))
	synctest.Wait()
	require.NotNil(w.T, p)
	return p, pid
}

// CloseAndCheck closes a pool. Nothing may be left of it then, and every connection of
// the world's server must be closed.
func (w *World) CloseAndCheck(p *Pool) {
	w.T.Helper()
	stopped := p.Stats().State == messages.StateClosed // from outside: its last snapshot is of before
	Close(w.T, p)
	if !stopped {
		pooltest.Check(w.T, p)
	}
	_, opened, closed := w.Server.Counts()
	assert.Equal(w.T, opened, closed, "connections opened, closed")
}

// DeadLetters counts the dead letters of the actor system.
func (w *World) DeadLetters() int { return int(w.deadLetterCount.Load()) }

// DeadLettersTo counts the dead letters to one actor from now on.
func (w *World) DeadLettersTo(pid *actor.PID) *atomic.Int32 {
	n := new(atomic.Int32)
	w.System.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok && pid.Equal(letter.PID) {
			n.Add(1)
		}
	})
	return n
}

// Capacity sets the capacity of a pool.
func Capacity(n int) func(*Config) { return func(cfg *Config) { cfg.Capacity = n } }

// MaxLease sets MaxLease.
func MaxLease(d time.Duration) func(*Config) { return func(cfg *Config) { cfg.MaxLease = d } }

// LeakAfter sets LeakAfter.
func LeakAfter(d time.Duration) func(*Config) { return func(cfg *Config) { cfg.LeakAfter = d } }

// LeakGoroutines sets LeakGoroutines.
func LeakGoroutines(cfg *Config) { cfg.LeakGoroutines = true }
