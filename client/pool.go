package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// Stats is a snapshot of a pool.
type Stats = messages.Stats

// Pool lends connections of type C. Its methods may be called from many goroutines.
//
// As soon as Close has begun, and also when the pool actor has stopped for another
// reason, the methods that return an error return messages.ErrClosed, and TryGet
// returns false. The exceptions are Close itself, Done, Health, PID, Stats, and Explain
// and Measure, which work until the last connection is closed. A lease that was taken
// before can still be ended by Put or Taint.
type Pool[C any] struct {
	ref atomic.Pointer[actors.Ref] // nil until the pool actor has been found

	// The address of the pool actor; see Attach.
	system *actor.ActorSystem
	pid    *actor.PID
}

// New makes a pool with an actor system of its own. It does not wait for a
// connection: the pool opens those of MinIdle in the background and others when a
// Get needs them; see Ready. An invalid configuration is a *[messages.ConfigError].
//
// An actor system takes some memory: for many pools, use one system and [Spawn].
func New[C any](cfg Config[C]) (*Pool[C], error) {
	spec, err := cfg.Spec()
	if err != nil {
		return nil, err
	}
	return spawnPool[C](quietSystem().Root, spec)
}

// Spawn makes a pool in an existing actor system. parent is the system's root
// context, or the context of an actor: then the pool is a child of that actor and
// stops with it. A nil parent or an invalid configuration is a
// *[messages.ConfigError].
func Spawn[C any](parent actor.SpawnerContext, cfg Config[C]) (*Pool[C], error) {
	if isNil(parent) {
		return nil, &messages.ConfigError{Field: "parent", Reason: "it is nil"}
	}
	spec, err := cfg.Spec()
	if err != nil {
		return nil, err
	}
	return spawnPool[C](parent, spec)
}

func spawnPool[C any](parent actor.SpawnerContext, spec actors.Spec) (*Pool[C], error) {
	props := actors.Props(spec)
	if _, root := parent.(*actor.RootContext); root {
		// For a child of an actor, the parent's supervisor strategy decides instead.
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

// Props makes the props of a pool actor, for programs that spawn it themselves: under
// a name of their own, with another mailbox or dispatcher, or with middleware. Each
// spawn makes another pool; [Attach] gives access to it. opts override the pool's own
// options. An invalid configuration is a *[messages.ConfigError].
func Props[C any](cfg Config[C], opts ...actor.PropsOption) (*actor.Props, error) {
	spec, err := cfg.Spec()
	if err != nil {
		return nil, err
	}
	return actors.Props(spec, opts...), nil
}

// Attach makes a Pool for a pool actor that is running already. It sends nothing
// itself; the first call of a method asks the actor, and waits for its answer until
// the context ends, or for a second if the method has no context or one that cannot
// end. If there is no such actor, or it ends meanwhile, or it does not answer as a pool
// does, the methods behave as after Close. If its connections are not of type C, they return a
// *[messages.ConfigError].
func Attach[C any](system *actor.ActorSystem, pid *actor.PID) *Pool[C] {
	return &Pool[C]{system: system, pid: pid}
}

// findBound is how long find waits for the pool actor's answer if its context
// cannot end.
const findBound = time.Second

// find returns the pool actor's Ref. It asks the actor for it until it has one.
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

// Get borrows a connection: the one that became idle last; or, if none is idle, a new
// one if the capacity allows; or else the next that becomes free, in order of
// arrival. End the lease with Put or Taint. An idle connection is not lent if its
// method IsClosed() bool or IsClosing() bool returns true; it is asked on the caller's
// goroutine.
//
// ctx is read before the Get is sent to the pool: a panic of its methods goes on to
// the caller. One that happens later, when ctx is asked why it has ended, is a
// *[messages.PanicError] in the error.
//
// The error is one of these:
//
//   - messages.ErrNilContext, if ctx is nil.
//   - A *[messages.ConfigError], if the connections are not of type C, or if the pool
//     does not take the setting of GetOptions.
//   - A *[messages.GetError] in every other case. It describes the pool, and unwraps to
//     the reason: the error of ctx (also if ctx had ended before the call, even when a
//     connection is idle), messages.ErrClosed, messages.ErrExhausted,
//     messages.ErrCleared, a *[messages.ShedError], a *[messages.DeadlockError], a
//     *[messages.BackoffError], or a *[messages.ConnectError] if the connect that was
//     begun for this Get failed.
func (p *Pool[C]) Get(ctx context.Context) (Lease[C], error) {
	return p.GetWith(ctx, GetOptions{})
}

// notFound is the error of a Get if the pool actor was not found.
func (p *Pool[C]) notFound(err error) error {
	if !errors.Is(err, messages.ErrClosed) {
		return err
	}
	e := &messages.GetError{Err: err}
	if p.pid != nil {
		e.Pool = p.pid.Id
	}
	return e
}

// GetOptions are the options of a Get. The zero value is that of Get.
type GetOptions struct {
	// Setting asks for a connection with this setting: an idle one that has it, or
	// else one without a setting, on which Config.Apply puts it, or else one whose
	// setting is removed first. Settings are compared with ==. It is a
	// *[messages.ConfigError] if they cannot be, or if the pool has no Apply. nil: a
	// connection without a setting.
	Setting any
	// Label says what the connection is for. It appears in events, in explanations,
	// and in the errors of other Gets that wait for the connection.
	Label string
}

// GetWith is [Pool.Get] with options.
func (p *Pool[C]) GetWith(ctx context.Context, o GetOptions) (Lease[C], error) {
	ref := p.ref.Load()
	if ref == nil {
		var err error
		if ref, err = p.find(ctx); err != nil {
			return Lease[C]{}, p.notFound(err)
		}
	}
	loan, err := ref.Get(ctx, o.Label, o.Setting)
	return Lease[C]{loan: loan}, err
}

// TryGet borrows an idle connection without a setting, if one can be lent at once. It
// never waits, checks or connects. It returns false if there is none, if the only
// ones need a check, if other Gets wait, and while the pool is suspended, paused,
// closed, or above a lowered capacity.
func (p *Pool[C]) TryGet() (Lease[C], bool) {
	l, err := p.TryGetWith(GetOptions{})
	return l, err == nil
}

// TryGetWith is [Pool.TryGet] with options, and says why there is no connection: with a
// Setting it borrows an idle connection that has that setting already. The error is
// messages.ErrExhausted where TryGet returns false, but messages.ErrClosed after Close;
// or the *[messages.ConfigError] of Get.
func (p *Pool[C]) TryGetWith(o GetOptions) (Lease[C], error) {
	ref, err := p.find(context.Background())
	if err != nil {
		return Lease[C]{}, err
	}
	loan, err := ref.TryGet(o.Label, o.Setting)
	return Lease[C]{loan: loan}, err
}

// Do borrows a connection, calls f with it, and returns it. The connection is closed
// if f panics or ends its goroutine, or if it returns an error and Config.Broken says
// so or the connection has a method IsClosed() bool or IsClosing() bool that returns
// true. Otherwise it is returned by Put, which asks Config.Reusable. A panic of f goes on
// to the caller.
//
// Do returns the error of Get or that of f. If the pool ended the lease while f ran,
// because of MaxLease or a Clear with Interrupt, the error is also
// messages.ErrLeaseEnded.
//
// The context that f gets carries the lease: see [Lease.Context].
func (p *Pool[C]) Do(ctx context.Context, f func(ctx context.Context, conn C) error) error {
	return p.DoWith(ctx, GetOptions{}, f)
}

// DoWith is [Pool.Do] with options for its Get.
func (p *Pool[C]) DoWith(ctx context.Context, o GetOptions, f func(ctx context.Context, conn C) error) error {
	lease, err := p.GetWith(ctx, o)
	if err != nil {
		return err
	}
	return do(ctx, p.ref.Load(), lease, f)
}

// do calls f with a connection, and returns that.
func do[C any](ctx context.Context, ref *actors.Ref, lease Lease[C], f func(ctx context.Context, conn C) error) error {
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
	if region := ref.Use(ctx); region != nil {
		defer region.End()
	}
	err := f(lease.Context(ctx), conn.(C))
	broken := err != nil && (isClosed(conn) || ref.Broken(err)) // may panic: done is still false
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
	return &endedError{ended, err}
}

// endedError is the error of a Do whose lease had ended, and whose function failed.
type endedError struct{ ended, err error }

// Error is one line, whatever the function's error is.
func (e *endedError) Error() string { return e.ended.Error() + ": " + inOneLine(e.err) }

func (e *endedError) Unwrap() []error { return []error{e.ended, e.err} }

// Explain describes the pool in detail: who holds its connections and who waits for
// them, since when, which functions run on connections, what happened last, and what
// looks wrong. It is for people and dashboards. Its cost grows with the number of
// connections, but no other caller waits for it: a large pool is described in parts, see
// messages.Explanation. It works until the last connection is closed; then it returns
// messages.ErrClosed.
func (p *Pool[C]) Explain(ctx context.Context) (messages.Explanation, error) {
	ref, err := p.find(ctx)
	if err != nil {
		return messages.Explanation{}, err
	}
	return ref.Explain(ctx)
}

// Measure says how long Gets wait, leases last and connects take, as histograms that the
// pool keeps from its beginning, with Stats of the same moment. It costs one message to
// the pool actor. It works until the last connection is closed; then it returns
// messages.ErrClosed.
func (p *Pool[C]) Measure(ctx context.Context) (messages.Measures, error) {
	ref, err := p.find(ctx)
	if err != nil {
		return messages.Measures{}, err
	}
	return ref.Measures(ctx)
}

// SetCapacity changes the largest number of connections to n. If that is more,
// connects for waiting Gets begin at once. If it is less, as many connections are
// closed as are too many: idle ones at once and borrowed ones when they are returned.
// Connects that are too many are cancelled, and their Gets go on waiting. SetCapacity
// waits until no more than n connections are left. If ctx ends before, it returns a
// *[messages.DrainError], and the new capacity stays. With 0, Gets wait until the
// capacity is raised. MinIdle stays what it is, and holds again as far as the capacity
// allows. A negative n is a *[messages.ConfigError]. If another
// SetCapacity overtakes this one, it returns messages.ErrSuperseded.
func (p *Pool[C]) SetCapacity(ctx context.Context, n int) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.SetCapacity(ctx, n)
}

// ClearOptions are the options of a Clear.
type ClearOptions struct {
	// Interrupt also cancels the functions that run on connections, and ends all
	// leases: borrowed connections are closed at once, even while their holders use
	// them, and the holders' Put returns messages.ErrLeaseEnded.
	Interrupt bool
}

// Clear starts a new generation of connections: those of the old one are closed,
// idle ones at once and borrowed ones when they are returned. A backoff ends. With
// PauseOnClear the pool is paused, and all waits end with messages.ErrCleared. Clear
// does not wait for the connections to be closed.
func (p *Pool[C]) Clear(ctx context.Context, o ClearOptions) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Clear(ctx, o.Interrupt)
}

// Suspend stops lending: every Get waits until Resume. Connections can be returned.
// A Get whose context ends meanwhile fails with that error and
// messages.ErrSuspended. To suspend a suspended pool has no effect.
func (p *Pool[C]) Suspend(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Suspend(ctx)
}

// Resume ends a Suspend and the pause of PauseOnClear. Gets that wait are served in
// order. It does not end a backoff. Otherwise it has no effect.
func (p *Pool[C]) Resume(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Resume(ctx)
}

// Ready waits until MinIdle connections are open, or one if MinIdle is 0, also if
// SetMinIdle changes it meanwhile. It makes the pool open them. If a connect fails or ctx ends before, it returns a
// *[messages.GetError], as Get does, which unwraps to the reason and to the error of
// the last connect. While the pool is paused, it returns messages.ErrCleared. While it is
// suspended it opens nothing: Ready waits for Resume, and an error of ctx comes with
// messages.ErrSuspended.
func (p *Pool[C]) Ready(ctx context.Context) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Ready(ctx)
}

// Warm makes the pool open connections, and waits until n are open, borrowed ones
// included. It lends none of them. If a connect fails or ctx ends before, the error is
// that of Ready. A suspended pool opens nothing: then Warm waits for Resume. n must not be
// negative, above the capacity, or above MaxIdle: that is a
// *[messages.ConfigError]. If the capacity is lowered meanwhile, so many are enough.
// What MinIdle and MinOpen do not ask for may be closed again by IdleTimeout.
func (p *Pool[C]) Warm(ctx context.Context, n int) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.Warm(ctx, n)
}

// SetMinIdle changes the number of idle connections that the pool keeps ready to n, see
// Config.MinIdle. It does not wait until they are open. n must not be negative, above
// the capacity, or above MaxIdle: that is a *[messages.ConfigError].
func (p *Pool[C]) SetMinIdle(ctx context.Context, n int) error {
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	return ref.SetMinIdle(ctx, n)
}

// Changed returns a channel that has a value when the number of connections (those that
// the capacity counts), the number of Gets that wait or the capacity has changed since
// it was last read, and when the pool has ended. Several changes are one value. All
// calls return the same channel, and one value is read by one reader. Until it is first
// called it costs nothing. After Close the channel has no more values.
func (p *Pool[C]) Changed() <-chan struct{} {
	ref, err := p.find(context.Background())
	if err != nil {
		return nil // of a pool that is not there
	}
	return ref.Changed()
}

// Stats returns a snapshot of the pool: all its numbers are of the same moment. When
// the pool has stopped, it returns the last one.
func (p *Pool[C]) Stats() Stats {
	ref, err := p.find(context.Background())
	if err != nil {
		return Stats{State: messages.StateClosed}
	}
	return ref.Stats()
}

// Health says whether the pool can serve a Get now: the answer for a readiness probe. It
// costs one message to the pool actor, and opens no connection. Of a pool that is closed,
// or not there, it says so: OK is false and State is messages.StateClosed.
func (p *Pool[C]) Health() messages.Health {
	ref, err := p.find(context.Background())
	if err != nil {
		return messages.Health{State: messages.StateClosed}
	}
	return ref.Health()
}

// Done returns a channel that is closed when nothing of the pool is left: every
// connection is closed, every function of the Config has returned, OnEvent and OnChange
// included, and the pool actor and its children have stopped. Close does not wait for
// functions that ignore their context; Done does. If there is no such pool, the channel is
// closed. Do not wait for it in a function of the Config.
func (p *Pool[C]) Done() <-chan struct{} {
	ref, err := p.find(context.Background())
	if err != nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return ref.Done()
}

// Close closes the pool. It cancels the functions that run on connections, except
// Disconnect; ends all waits with messages.ErrClosed; and closes idle connections at
// once, borrowed ones when they are returned. It waits until no connection is left.
// If ctx ends before, it returns a *[messages.DrainError] that says who holds the
// others; the pool is closed all the same, and these are closed when they are
// returned. Close waits at most 20ms for a function that ignores its context, but for
// Disconnect until it returns.
//
// Close may be called again, and from many goroutines. It returns nil when no
// connection is left.
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

// PID returns the address of the pool actor, for requests by message: see package
// messages. It does not change.
func (p *Pool[C]) PID() *actor.PID { return p.pid }

// Lease is the right to use one connection, until Put, Taint or Hijack. Copies of a Lease are
// the same lease. The zero Lease has ended.
type Lease[C any] struct{ loan actors.Lease }

// Conn returns the connection. Do not use it after Put or Taint. If the lease has
// ended, Conn returns the zero C, because somebody else may hold the connection.
func (l Lease[C]) Conn() C {
	conn, ok := l.loan.Conn()
	if !ok {
		var zero C
		return zero
	}
	return conn.(C)
}

// Context returns a child of ctx that carries this lease: a Get with it tells the pool
// that its caller holds a connection while it waits for another one. When every
// connection is held by such a waiting caller, none can be returned; then the newest
// of these waits ends with messages.ErrDeadlock. Deadlocks are found within one pool:
// a circle of waits in several pools is not (G17).
//
// So a function that holds a connection should use this context to get another one
// from the same pool. It should not pass it to a goroutine that it does not wait
// for: a Get there would not keep this lease from ending, but the pool would count
// it so.
func (l Lease[C]) Context(ctx context.Context) context.Context { return l.loan.Context(ctx) }

// Put returns the connection, and ends the lease. If the type C has a method
// IsClosed() bool or IsClosing() bool that returns true, if Config.Reusable returns
// false, or if one of them panics, the connection is closed, as by Taint. A panic there is
// logged. They are asked on the goroutine of the caller, and not if the lease had ended.
// After Close the connection is closed, and Put returns nil.
//
// If the lease had ended before, by Put, by Taint or by the pool, Put returns
// messages.ErrLeaseEnded and has no effect.
func (l Lease[C]) Put() error { return l.loan.Put() }

// Hijack takes the connection out of the pool, and ends the lease: the connection is the
// caller's from now on, who closes it. The pool forgets it and may open another one in
// its place: see the events (ConnectionClosed with messages.ReasonHijacked) and
// Stats.Hijacks. Neither Clear nor Close nor MaxLease closes it afterwards. If it has a
// setting, the setting stays on it.
//
// Hijack is allowed while the pool closes. If the lease had ended before, by Put, by
// Taint or by the pool, it returns messages.ErrLeaseEnded and the zero C, and so does
// every Put, Taint and Hijack after it.
func (l Lease[C]) Hijack() (C, error) {
	conn, err := l.loan.Hijack()
	if err != nil {
		var zero C
		return zero, err
	}
	return conn.(C), nil
}

// LeaseInfo describes a lease and its connection, see [Lease.Info].
type LeaseInfo = messages.LeaseInfo

// Info describes the lease and its connection: how long the Get waited, how it came by
// the connection, how old that is and how often it was used. It asks the pool actor. For
// a lease that has ended it is zero.
func (l Lease[C]) Info() LeaseInfo { return l.loan.Info() }

// Taint returns a connection that must not be used again, and ends the lease. The
// connection is closed in the background, and a new one is opened if it is needed.
// cause appears in events and logs; it may be nil. With Check configured, a cause that is
// an error of the network has the pool check the connections that were used no later.
// The error is that of Put.
func (l Lease[C]) Taint(cause error) error {
	if isDead(cause) {
		return l.loan.TaintDead(cause)
	}
	return l.loan.Taint(cause)
}
