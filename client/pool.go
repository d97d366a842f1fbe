package client

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// Stats is what a pool looked like at one moment.
type Stats = messages.Stats

// Pool lends connections of type C. It is safe for use by many goroutines.
// After Close every method returns messages.ErrClosed, but for Close itself,
// Stats, PID and the Put of a lease taken before.
type Pool[C any] struct {
	ref atomic.Pointer[actors.Ref]

	// What is needed to find the pool on first use; see Attach.
	system *actor.ActorSystem
	pid    *actor.PID
}

// New makes a pool with an actor system of its own. It opens no connection yet,
// unless MinIdle asks for some. A *[messages.ConfigError] says what is wrong
// with the configuration.
func New[C any](cfg Config[C]) (*Pool[C], error) {
	spec, err := cfg.spec()
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler) // the pool's own logger says what matters
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		// The library counts dead letters for its log on a goroutine that lives
		// this long. The shortest is enough for a log that nobody reads.
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	return spawnPool[C](system.Root, spec)
}

// Spawn makes a pool inside an actor system: under a root context, or as a child
// of the actor whose context it is given. As a child it ends with its parent.
func Spawn[C any](parent actor.SpawnerContext, cfg Config[C]) (*Pool[C], error) {
	if isNil(parent) {
		return nil, &messages.ConfigError{Field: "parent", Reason: "it is nil"}
	}
	spec, err := cfg.spec()
	if err != nil {
		return nil, err
	}
	return spawnPool[C](parent, spec)
}

func spawnPool[C any](parent actor.SpawnerContext, spec actors.Spec) (*Pool[C], error) {
	props := actors.Props(spec)
	if _, root := parent.(*actor.RootContext); root {
		// Under an actor the parent's strategy decides instead.
		props.Configure(actor.WithGuardian(supervisor.Pool()))
	}
	pid, err := parent.SpawnNamed(props, "actorpool-"+spec.Policy.Name+parent.ActorSystem().ProcessRegistry.NextID())
	if err != nil {
		return nil, fmt.Errorf("actorpool: spawning pool %q: %w", spec.Policy.Name, err)
	}
	p := Attach[C](parent.ActorSystem(), pid)
	if _, err := p.find(context.Background()); err != nil {
		return nil, err
	}
	return p, nil
}

// Props makes the props of a pool actor, for whoever wants to spawn it himself:
// with a name, another mailbox or dispatcher, middleware. Attach then makes a
// Pool of it. Each spawn is a pool of its own. The options come after the
// pool's own and override them.
func Props[C any](cfg Config[C], opts ...actor.PropsOption) (*actor.Props, error) {
	spec, err := cfg.spec()
	if err != nil {
		return nil, err
	}
	return actors.Props(spec, opts...), nil
}

// Attach makes a Pool for a pool actor that was spawned before. If there is no
// such actor, every method returns messages.ErrClosed; if its connections are
// of another type, a *[messages.ConfigError].
func Attach[C any](system *actor.ActorSystem, pid *actor.PID) *Pool[C] {
	return &Pool[C]{system: system, pid: pid}
}

// findBound is how long the methods without a context wait for an actor that
// was attached to and does not answer.
const findBound = time.Second

// find asks the pool actor for its handle, once.
func (p *Pool[C]) find(ctx context.Context) (*actors.Ref, error) {
	if ref := p.ref.Load(); ref != nil {
		return ref, nil
	}
	if ctx == nil {
		return nil, messages.ErrNilContext
	}
	if p.system == nil || p.pid == nil {
		return nil, messages.ErrClosed
	}
	if ctx.Done() == nil {
		bounded, cancel := context.WithTimeout(ctx, findBound)
		defer cancel()
		ctx = bounded
	}
	ref, err := actors.Find(ctx, p.system, p.pid)
	if err != nil {
		return nil, err
	}
	if want := reflect.TypeFor[C](); ref.ConnType() != want {
		return nil, &messages.ConfigError{
			Field: "C", Reason: fmt.Sprintf("pool %q has connections of type %v, not %v", ref.Name(), ref.ConnType(), want),
		}
	}
	p.ref.Store(ref)
	return ref, nil
}

// Get borrows a connection: the newest idle one, or a new one if the capacity
// allows, or the next that comes free, in order of arrival. The lease must be
// ended by Put or Taint.
//
// A context that has ended gets its error at once, even when connections are
// idle. A wait that ends without a connection is a *[messages.GetError], which
// says what the pool looked like and unwraps to the reason: the context's error,
// messages.ErrClosed, messages.ErrExhausted, messages.ErrCleared, or, if the
// connect that was made for this caller failed, messages.ErrConnectFailed with
// the connector's error. A Get whose deadline comes before the next attempt of a
// pool that backs off and has nothing out fails at once, with a
// *[messages.BackoffError]: there is nothing to wait for.
func (p *Pool[C]) Get(ctx context.Context) (Lease[C], error) {
	return p.GetWith(ctx, GetOptions{})
}

// GetOptions says more about a Get. The zero value is that of Get.
type GetOptions struct {
	// Setting asks for a connection with this setting on it: one that is idle
	// with an equal setting, or else a clean one to which Config.Apply is
	// applied, or else one whose setting is taken off first. It is compared with
	// ==; a *[messages.ConfigError] says if its type cannot be. nil: a
	// connection without a setting.
	Setting any
	// Label says what the connection is for: in events, and in the errors of
	// those who wait for it to come back.
	Label string
}

// GetWith is Get with options.
func (p *Pool[C]) GetWith(ctx context.Context, o GetOptions) (Lease[C], error) {
	ref := p.ref.Load()
	if ref == nil {
		var err error
		if ref, err = p.find(ctx); err != nil {
			return Lease[C]{}, err
		}
	}
	loan, err := ref.Get(ctx, o.Label, o.Setting)
	return Lease[C]{loan: loan}, err
}

// TryGet borrows an idle connection that can be handed out without a check, or
// nothing. It never waits and never connects.
func (p *Pool[C]) TryGet() (Lease[C], bool) {
	ref, err := p.find(context.Background())
	if err != nil {
		return Lease[C]{}, false
	}
	loan, ok := ref.TryGet()
	return Lease[C]{loan: loan}, ok
}

// Do borrows a connection, calls f with it, and returns it: for further use if
// f succeeds or fails with an error of its own, to be closed if f fails and
// Config.Broken says that the error condemns it or the connection has a method
// IsClosed that says it is closed, or if f panics or ends its goroutine. The
// panic goes on. The error is that of Get or of f; it is messages.ErrLeaseEnded,
// too, if the lease ended while f ran: by MaxLease, or a Clear with Interrupt.
//
// The context that f is given carries the lease, see [Lease.Context].
func (p *Pool[C]) Do(ctx context.Context, f func(ctx context.Context, conn C) error) error {
	return p.DoWith(ctx, GetOptions{}, f)
}

// DoWith is Do with options for its Get.
func (p *Pool[C]) DoWith(ctx context.Context, o GetOptions, f func(ctx context.Context, conn C) error) error {
	lease, err := p.GetWith(ctx, o)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = lease.Taint(errAborted)
		}
	}()
	conn, ok := lease.loan.Conn()
	if !ok {
		done = true
		return messages.ErrLeaseEnded
	}
	ref := p.ref.Load()
	if region := ref.Use(ctx); region != nil {
		defer region.End()
	}
	err = f(lease.Context(ctx), conn.(C))
	broken := err != nil && (isClosed(conn) || ref.Broken(err)) // it may panic too
	done = true
	var ended error
	if broken {
		ended = lease.Taint(err)
	} else {
		ended = lease.Put()
	}
	switch {
	case ended == nil:
		return err
	case err == nil:
		return ended
	}
	return fmt.Errorf("%w: %w", ended, err)
}

// Explain tells who holds the pool's connections and who waits for them, since
// when, what the connectors are at, and what looks wrong. It is for people and
// for dashboards, not for the hot path: it looks at everything. It works until
// the last connection is closed.
func (p *Pool[C]) Explain(ctx context.Context) (messages.Explanation, error) {
	ref, err := p.find(ctx)
	if err != nil {
		return messages.Explanation{}, err
	}
	return ref.Explain(ctx)
}

// SetCapacity changes how many connections the pool may hold. When it is
// raised, waiting Gets are served by new connects at once. When it is lowered,
// idle connections are closed first, then borrowed ones as they return, and
// SetCapacity waits until what counts is within the new capacity; if ctx ends
// before, it returns a *[messages.DrainError] and the lower capacity stays. 0 is
// legal: Gets wait. A negative n is a *[messages.ConfigError]. Of two calls that
// overlap the later wins, and the earlier returns messages.ErrSuperseded.
func (p *Pool[C]) SetCapacity(ctx context.Context, n int) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.SetCapacity(ctx, n)
}

// ClearOptions says more about a Clear.
type ClearOptions struct {
	// Interrupt also cancels connects under way, and revokes leases: borrowed
	// connections are closed under their holders, whose Put is then
	// messages.ErrLeaseEnded.
	Interrupt bool
}

// Clear starts a new generation: idle connections are closed now, borrowed ones
// when they return. A backoff ends.
func (p *Pool[C]) Clear(ctx context.Context, o ClearOptions) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Clear(ctx, o.Interrupt)
}

// Suspend stops grants: Gets wait until Resume, returns go on.
func (p *Pool[C]) Suspend(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Suspend(ctx)
}

// Resume ends a Suspend, and the pause of PauseOnClear. Waiting Gets are served
// in order.
func (p *Pool[C]) Resume(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Resume(ctx)
}

// Ready waits until as many connections stand as MinIdle asks for, at least one,
// which it opens if it must; or until the first connect fails, or ctx ends: then
// it returns a *[messages.GetError], as Get does, which unwraps to the reason and
// to the connector's error.
func (p *Pool[C]) Ready(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Ready(ctx)
}

// Stats gives a snapshot of the pool, all of one moment; of its last moment if
// it has ended.
func (p *Pool[C]) Stats() Stats {
	ref, err := p.find(context.Background())
	if err != nil {
		return Stats{State: messages.StateClosed}
	}
	return ref.Stats()
}

// Close ends the pool. Connects, checks and resets under way are cancelled;
// waiting Gets fail with messages.ErrClosed; idle connections are closed, and
// borrowed ones when they return. Close waits until no connection is left, or
// until ctx ends: then it returns a *[messages.DrainError] that says who holds
// the rest, and the pool is closed all the same. It can be called again, and
// from many goroutines; once nothing is left it returns nil.
func (p *Pool[C]) Close(ctx context.Context) error {
	ref, err := p.find(ctx)
	switch {
	case ctx == nil:
		return messages.ErrNilContext
	case err != nil:
		return closeError(err)
	}
	return ref.Close(ctx)
}

// PID gives the address of the pool actor, for requests by message.
func (p *Pool[C]) PID() *actor.PID { return p.pid }

// Lease is one loan of one connection, as a value. Copies are the same lease.
// The zero Lease has ended.
type Lease[C any] struct{ loan actors.Lease }

// Conn gives the connection. It must not be used after Put or Taint; Conn then
// gives the zero C, so that a lease that has ended cannot reach a connection
// which somebody else holds now.
func (l Lease[C]) Conn() C {
	conn, ok := l.loan.Conn()
	if !ok {
		var zero C
		return zero
	}
	return conn.(C)
}

// Context gives a context like ctx that says who holds this lease. When every
// connection of the pool is held by somebody who waits for another one with such
// a context, none can come back: then the newest of these waits ends with
// messages.ErrDeadlock. A function that has a lease should therefore get others
// of the same pool with this context only, and not wait for its own goroutines
// with it that it does not wait for.
func (l Lease[C]) Context(ctx context.Context) context.Context { return l.loan.Context(ctx) }

// Put returns the connection for others to use. The second Put or Taint of a
// lease, and that of a lease that the pool has revoked, is
// messages.ErrLeaseEnded and changes nothing. After Close it is nil, and the
// connection is closed. If C has a method IsClosed() bool, a connection that says
// so is not used again, as with Taint.
func (l Lease[C]) Put() error { return l.loan.Put() }

// Taint returns the connection to be closed. A replacement opens if somebody
// needs it; the caller does not wait for that. cause, which may be nil, goes
// into events and logs.
func (l Lease[C]) Taint(cause error) error { return l.loan.Taint(cause) }
