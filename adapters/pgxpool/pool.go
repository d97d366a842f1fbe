package pgxpool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/puddle/v2"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// Pool is a pool of PostgreSQL connections. Its methods may be called from many
// goroutines. After Close, those that need a connection fail with an error that is both
// messages.ErrClosed and puddle.ErrClosedPool.
type Pool struct {
	pool       *client.Pool[*pgx.Conn]
	cfg        *Config
	start      context.Context // of NewWithConfig, for its values
	begun      time.Time
	prepare    func(context.Context, *pgx.Conn) (bool, error)
	attempts   int
	tracer     tracer
	generation atomic.Uint64 // the first that has not been cleared because of a failover
	allIdle    atomic.Int64  // connections that AcquireAllIdle has acquired
}

// New is [NewWithConfig] with a connection string: see [ParseConfig].
func New(ctx context.Context, connString string) (*Pool, error) {
	cfg, err := ParseConfig(connString)
	if err != nil {
		return nil, err
	}
	return NewWithConfig(ctx, cfg)
}

// NewWithConfig makes a pool. It does not wait for a connection: those of MinConns and
// MinIdleConns are opened in the background. The hooks that open a connection see the
// values of ctx; its end has no effect.
//
// config must come from [ParseConfig]: otherwise NewWithConfig panics, as in pgx. It is
// copied. A value that has no meaning, and values that contradict each other (a MinConns
// above MaxConns), are [messages.ConfigErrors] that name the fields.
func NewWithConfig(ctx context.Context, config *Config, opts ...Option) (*Pool, error) {
	if !byParseConfig(config) {
		panic("config must be created by ParseConfig")
	}
	if ctx == nil {
		return nil, messages.ErrNilContext
	}
	if err := checkConfig(config); err != nil {
		return nil, err
	}
	p := &Pool{cfg: config.Copy(), start: ctx, begun: time.Now(), attempts: int(config.MaxConns) + 1, tracer: tracerOf(config)}
	p.prepare = config.PrepareConn
	if before := config.BeforeAcquire; before != nil && p.prepare == nil { //nolint:staticcheck // programs use it still
		p.prepare = func(ctx context.Context, conn *pgx.Conn) (bool, error) { return before(ctx, conn), nil }
	}
	cfg := p.clientConfig()
	for _, o := range opts {
		o(&cfg)
	}
	var err error
	p.pool, err = client.New(cfg)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// now is the time since the pool was made. It reads the monotonic clock only.
func (p *Pool) now() time.Duration { return time.Since(p.begun) }

// Underlying is the pool below, for what this package has no method for: metrics, the
// live page, Suspend, Warm, Each, PID and more. Its connections have no hooks of Acquire:
// neither ShouldPing nor PrepareConn is called for them.
func (p *Pool) Underlying() *client.Pool[*pgx.Conn] { return p.pool }

// Config returns a copy of the Config that the pool was made with.
func (p *Pool) Config() *Config { return p.cfg.Copy() }

// Close closes the pool. It ends all waits, closes the idle connections, and waits until
// every acquired one has been released and closed. A bounded Close is that of Underlying,
// which takes a context. Close may be called again.
func (p *Pool) Close() { _ = p.pool.Close(context.Background()) }

// Reset closes all connections: idle ones at once, acquired ones when they are released.
// The pool goes on with new ones. It also ends a backoff. Call it when credentials were
// changed, for example.
func (p *Pool) Reset() { _ = p.pool.Clear(context.Background(), client.ClearOptions{}) }

// SetCapacity changes MaxConns to n while the pool is used: see client.Pool.SetCapacity.
func (p *Pool) SetCapacity(ctx context.Context, n int) error { return p.pool.SetCapacity(ctx, n) }

// Health says whether an Acquire would be served now: the answer for a readiness probe. It
// opens no connection and runs no query.
func (p *Pool) Health() messages.Health { return p.pool.Health() }

// Explain describes who holds connections and who waits, for people and dashboards: see
// client.Pool.Explain.
func (p *Pool) Explain(ctx context.Context) (messages.Explanation, error) { return p.pool.Explain(ctx) }

// Measure says how long acquires wait, connections are held and connects take, as
// histograms: see client.Pool.Measure.
func (p *Pool) Measure(ctx context.Context) (messages.Measures, error) { return p.pool.Measure(ctx) }

// Acquire borrows a connection. Release it.
//
// A connection that has been idle for more than a second, or for which ShouldPing returns
// true, is pinged first; PrepareConn (or BeforeAcquire) is asked. One that does not pass is
// closed, and Acquire goes on with another, at most MaxConns+1 times.
//
// An error of the pool is a *[messages.GetError], which unwraps to the reason: the error
// of ctx, an error of a connect, or that of a pool that is closed.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	c := new(Conn)
	if err := p.fetch(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// errTooMany ends an Acquire whose hooks refuse one connection after the other.
var errTooMany = errors.New("pgxpool: MaxConns+1 connections were refused by the ping, or by ShouldPing, PrepareConn or BeforeAcquire")

// fetch borrows a connection for c.
func (p *Pool) fetch(ctx context.Context, c *Conn) error {
	if p.tracer.start == nil {
		return p.borrow(ctx, c)
	}
	ctx = p.tracer.start(ctx, p)
	err := p.borrow(ctx, c)
	data := TraceAcquireEndData{Err: err}
	if err == nil {
		data.Conn = c.s.conn
	}
	told := false
	defer func() {
		if !told && err == nil { // the tracer has panicked: the caller does not get c
			c.Release()
		}
	}()
	p.tracer.end(ctx, p, data)
	told = true
	return err
}

// borrow borrows a connection that passes the hooks.
func (p *Pool) borrow(ctx context.Context, c *Conn) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	var o client.GetOptions
	if l, ok := ctx.Value(lendingKey{}).(*lending); ok {
		if l.fault != nil {
			return l.fault
		}
		o = l.options
	}
	for range p.attempts {
		lease, err := p.pool.GetWith(ctx, o)
		if err != nil {
			return asClosed(err)
		}
		conn := lease.Conn()
		if conn == nil {
			continue // the pool has just ended the lease
		}
		s := stateOf(conn)
		if s == nil { // a hook has removed it, or Configure has replaced Connect
			_ = lease.Taint(errForeign)
			return errForeign
		}
		if p.cfg.ShouldPing == nil && p.prepare == nil && p.now()-s.idleSince <= time.Second {
			c.lease, c.s = lease, s
			return nil
		}
		ok, err := p.admit(ctx, lease, s)
		if err != nil {
			return err
		}
		if ok {
			c.lease, c.s = lease, s
			return nil
		}
	}
	return errTooMany
}

// errForeign says that a connection was not opened by this package.
var errForeign = errors.New("pgxpool: the connection's CustomData has lost what the pool keeps in it: was it removed, or Connect replaced?")

// asClosed makes the error of a closed pool one of puddle's, too.
func asClosed(err error) error {
	if errors.Is(err, messages.ErrClosed) {
		return &closedError{err}
	}
	return err
}

// closedError is the error of a pool that is closed.
type closedError struct{ err error }

// Error implements error.
func (e *closedError) Error() string { return e.err.Error() }

// Unwrap gives the error of the pool below.
func (e *closedError) Unwrap() error { return e.err }

// Is says that it is puddle's error, for programs that ask for that.
func (e *closedError) Is(target error) bool { return target == puddle.ErrClosedPool }

// admit asks whether a connection may be lent: by a ping, and by the hooks. ok is false if
// it may not; then, and with an error, the lease has ended.
func (p *Pool) admit(ctx context.Context, lease client.Lease[*pgx.Conn], s *state) (ok bool, err error) {
	returned := false
	defer func() {
		if !returned { // a hook has panicked or ended its goroutine
			_ = lease.Taint(errHook)
		}
	}()
	if p.shouldPing(ctx, s) {
		if ok, err = p.pingIdle(ctx, lease, s); !ok || err != nil {
			returned = true
			return false, err
		}
	}
	if p.prepare != nil {
		ok, err = p.prepare(ctx, s.conn)
		switch {
		case !ok:
			_ = lease.Taint(errors.Join(errRefused, err))
		case err != nil:
			s.giveBack(lease)
		}
		returned = true
		return ok && err == nil, err
	}
	returned = true
	return true, nil
}

var (
	errHook    = errors.New("pgxpool: a hook of Acquire panicked or ended its goroutine")
	errRefused = errors.New("pgxpool: PrepareConn or BeforeAcquire refused the connection")
)

func (p *Pool) shouldPing(ctx context.Context, s *state) bool {
	idle := p.now() - s.idleSince
	if p.cfg.ShouldPing == nil {
		return idle > time.Second
	}
	return p.cfg.ShouldPing(ctx, ShouldPingParams{Conn: s.conn, IdleDuration: idle})
}

// abandonedPing is how long a ping may go on whose caller has left. It says something
// about the connection, so it is not cancelled at once.
const abandonedPing = time.Minute

// pingIdle asks the server whether a connection is alive. If the caller's context ends
// meanwhile, the ping goes on, and decides whether the connection is kept. ok is false if
// the connection is dead; then, and with an error, the lease has ended.
func (p *Pool) pingIdle(ctx context.Context, lease client.Lease[*pgx.Conn], s *state) (ok bool, err error) {
	deadline, bounded := ctx.Deadline()
	if t := p.cfg.PingTimeout; t > 0 {
		if own := time.Now().Add(t); !bounded || own.Before(deadline) {
			deadline, bounded = own, true
		}
	}
	pingCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if bounded {
		cancel()
		pingCtx, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	answer := make(chan error, 1)
	go func() {
		defer cancel()
		err := errHook // of a tracer that panics or ends the goroutine
		defer func() {
			_ = recover()
			answer <- err
		}()
		err = s.conn.Ping(pingCtx)
	}()
	select {
	case err := <-answer:
		return s.pinged(ctx, lease, err), nil
	case <-ctx.Done():
		go func() {
			defer time.AfterFunc(abandonedPing, cancel).Stop()
			if s.pinged(ctx, lease, <-answer) {
				s.giveBack(lease)
			}
		}()
		return false, fmt.Errorf("pgxpool: the ping of an idle connection was not answered in time: %w", ctx.Err())
	}
}

// pinged ends the lease if the ping has failed. ctx is that of the caller.
func (s *state) pinged(ctx context.Context, lease client.Lease[*pgx.Conn], err error) (alive bool) {
	if err == nil {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = &unanswered{s.pool.cfg.PingTimeout, err}
	}
	s.lost = true
	_ = lease.Taint(err)
	return false
}

// unanswered is the failure of a ping that took longer than PingTimeout. It is an error
// of the network, after which the pool looks at the other idle connections, too.
type unanswered struct {
	after time.Duration
	err   error
}

// Error implements error.
func (e *unanswered) Error() string {
	return fmt.Sprintf("pgxpool: no answer to a ping within %v: %v", e.after, e.err)
}

// Timeout implements net.Error.
func (e *unanswered) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *unanswered) Temporary() bool { return false }

// giveBack returns a connection that nobody has used: AfterRelease is not called.
func (s *state) giveBack(lease client.Lease[*pgx.Conn]) {
	s.unused = true
	s.idleSince = s.pool.now()
	_ = lease.Put()
}
