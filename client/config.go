package client

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"time"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
)

// Config says what a pool is to be. Connect is required; every zero value
// means the documented default. A Config is copied by New, Spawn and Props:
// changing it afterwards changes nothing.
//
// The functions run outside the pool's turn, one at a time for each connection,
// and never for two holders at once. Their context ends with ConnectTimeout, and
// as soon as the pool is closed. A function that ignores its context delays
// nobody for longer than that: it is given up, and a connection that it still
// brings is closed. A panic in one is contained and counts as its error, a
// *[messages.PanicError].
type Config[C any] struct {
	// Name is the pool's name in errors, events and logs. Default "pool".
	Name string

	// Connect opens a connection. Required. A nil connection without an error is
	// a failed connect.
	Connect func(ctx context.Context) (C, error)
	// Disconnect closes a connection. Its context is bounded by ConnectTimeout
	// and is not ended by Close, so that a connection can be closed gracefully.
	// Default: conn.Close, if C is an io.Closer; otherwise nothing.
	Disconnect func(ctx context.Context, conn C) error
	// Check says whether a connection is alive. It runs before an idle
	// connection is handed out, see CheckAfterIdle. nil: no check.
	Check func(ctx context.Context, conn C) error
	// Reset clears what the last holder left on a connection. It runs after Put,
	// before the next holder gets the connection. If it fails, the connection is
	// replaced. nil: no reset.
	Reset func(ctx context.Context, conn C) error
	// ResetWipesSetting says that Reset also takes the setting off, as
	// PostgreSQL's DISCARD ALL does.
	ResetWipesSetting bool
	// Apply puts a setting on a clean connection, for a Get that asks for one:
	// see GetOptions. If it fails, that Get fails with messages.ErrConnectFailed
	// and the connection is closed; no backoff starts. nil: the pool has no
	// settings.
	Apply func(ctx context.Context, conn C, setting any) error
	// Unapply takes the setting off again. If it fails, or is nil, a connection
	// whose setting nobody wants is replaced by a new one.
	Unapply func(ctx context.Context, conn C) error

	// Capacity bounds the connections that are open, being opened or being
	// closed. Default max(4, GOMAXPROCS). SetCapacity changes it.
	Capacity int
	// MinIdle is how many idle connections are kept in the background.
	// Default 0.
	MinIdle int
	// MaxIdle is how many idle connections are kept at most: above it, a
	// returned connection is closed. Default: Capacity.
	MaxIdle int
	// MaxConnecting bounds simultaneous connects. Default 2.
	MaxConnecting int
	// MaxWaiters bounds the Gets that wait without a connect under way for them;
	// one more fails with messages.ErrExhausted. 0: no bound.
	MaxWaiters int
	// PauseOnClear is the rule of MongoDB's pools: the pool starts paused; a
	// Clear pauses it and ends all waits with messages.ErrCleared; Gets fail so
	// until Resume.
	PauseOnClear bool

	// CheckAfterIdle: a connection that was idle for longer is checked before it
	// is handed out. Under traffic it may be checked up to a 64th earlier. 0: one
	// second. Negative: never.
	CheckAfterIdle time.Duration
	// KeepAlive checks connections in the background that have been idle for so
	// long, again and again. Of many that are due together the last is checked a
	// tenth later. While connects are blocked by a backoff there is none. It needs
	// Check. 0: off.
	KeepAlive time.Duration
	// IdleTimeout closes connections that are idle for longer, oldest first and
	// at most half of them at once, down to MinIdle. 0: off.
	IdleTimeout time.Duration
	// MaxLifetime bounds the age of a connection. One that is idle is closed
	// when it gets there, one that is borrowed when it comes back. 0: off.
	MaxLifetime time.Duration
	// MaxLifetimeJitter shortens each connection's lifetime by a random part of
	// it, decided once, so that connections opened together do not end together.
	// 0: a tenth of MaxLifetime.
	MaxLifetimeJitter time.Duration
	// ConnectTimeout bounds each call of Connect, Disconnect, Check, Reset, Apply
	// and Unapply.
	// Default 10s.
	ConnectTimeout time.Duration
	// GetTimeout bounds a Get whose context has no deadline. 0: none.
	GetTimeout time.Duration
	// LeakAfter reports leases that are held for longer, once each, by an event
	// and a warning in the log, with the stack of whoever got it. With it, a lease
	// that nobody has any more, since it was dropped without Put or Taint, is
	// noticed within a second of the garbage collector's finding it: it is
	// reported, and its connection is closed and replaced. A lease must therefore
	// be kept for as long as its connection is used. Each Get takes some
	// microseconds more, since it looks at its own stack. 0: off.
	LeakAfter time.Duration
	// MaxLease ends leases that are held for longer: the holder's Put is then
	// messages.ErrLeaseEnded, and the connection is closed, while the holder may
	// be using it. 0: off.
	MaxLease time.Duration

	// ShedHopeless refuses a Get at once, with a *messages.ShedError, if its
	// deadline will have passed before its turn comes, at the rate at which
	// connections have come back of late. The first in line is never refused so.
	ShedHopeless bool
	// Shed ends waits when too many wait for too long, so that those who are
	// served are served soon. The zero value is off.
	Shed CoDel

	// Backoff says what the pool does while connects fail.
	Backoff Backoff
	// Classify says what a failed connect means. Default: actors.Classify.
	Classify func(phase messages.Phase, err error) messages.Class
	// Broken says, for Do, whether an error condemns the connection. Default:
	// Broken of this package. A connection with a method IsClosed() bool that says
	// so is condemned by any error.
	Broken func(err error) bool
	// OnEvent is told everything that happens in the pool, in order, on a
	// goroutine of its own. A handler that is slow delays nobody else; one that
	// falls thousands of events behind loses the oldest. A panic in it is
	// contained. Events lag behind what they tell; Stats has the present. Do not
	// call Close from it: Close waits a moment for it.
	OnEvent func(messages.Event)
	// Logger gets events at level debug; backoffs, leaks and panics at warn.
	Logger *slog.Logger
}

// CoDel is controlled delay for those who wait, after Elixir's DBConnection: when
// nobody has been served within Target for a whole Interval, the pool is
// overloaded, and until somebody is again a wait of twice Target ends with a
// *[messages.ShedError]. A Get that finds an idle connection is served at once.
type CoDel struct {
	// Target is what a wait may be for long. Default 50ms, if Interval is given.
	Target time.Duration
	// Interval is for how long every wait must be more. Default 1s, if Target is given.
	// It must not be less than Target.
	Interval time.Duration
}

// policy fills in the defaults.
func (c CoDel) policy() actors.CoDel {
	if c == (CoDel{}) {
		return actors.CoDel{}
	}
	return actors.CoDel{Target: or(c.Target, defaultTarget), Interval: or(c.Interval, defaultInterval)}
}

// The defaults are DBConnection's.
const (
	defaultTarget   = 50 * time.Millisecond
	defaultInterval = time.Second
)

// Backoff is the policy for the time in which connects fail. After a failure
// no connect begins for a while (the blocking period); after that one attempt at
// a time is made, and each failure makes the next period longer:
//
//	min(Base * 2^(attempt-1), Cap)
//
// of which the part Jitter is random. A connection that is returned meanwhile
// is handed on at once.
type Backoff struct {
	// Mode says what happens to Gets meanwhile. Default BackoffWait.
	Mode BackoffMode
	// Base is the first period. Default 200ms.
	Base time.Duration
	// Cap is the longest. Default 10s.
	Cap time.Duration
	// Jitter is the part of a period that is random, from 0 to 1. Default 1; use
	// NoJitter for none.
	Jitter float64
	// Decide says whether there is to be a backoff at all. It is asked once, by
	// New, Spawn or Props. nil means yes.
	Decide func() bool
}

// BackoffMode says what happens to Gets during a backoff.
type BackoffMode = actors.BackoffMode

const (
	// BackoffWait: they wait in line, each within its own context. One whose
	// deadline comes before the next attempt fails at once if nothing is out that
	// could come back before.
	BackoffWait = actors.BackoffWait
	// BackoffFailFast: those that find no idle connection fail at once with a
	// *messages.BackoffError.
	BackoffFailFast = actors.BackoffFailFast
	// BackoffNever: there is no backoff; every Get may connect.
	BackoffNever = actors.BackoffNever
)

// NoJitter is the Jitter of a Backoff without randomness.
const NoJitter = -1

// BackoffMongo is the backoff of MongoDB's connection pools: Gets wait; 200ms,
// doubling to 10s, with full jitter.
func BackoffMongo() Backoff {
	return Backoff{Mode: BackoffWait, Base: 200 * time.Millisecond, Cap: 10 * time.Second, Jitter: 1}
}

// BackoffBlocking is the blocking period of SqlClient's connection pools: Gets
// fail fast with the cached error; 5s, doubling to 60s, without jitter.
func BackoffBlocking() Backoff {
	return Backoff{Mode: BackoffFailFast, Base: 5 * time.Second, Cap: time.Minute, Jitter: NoJitter}
}

// spec validates the configuration and fills in the defaults.
func (cfg Config[C]) spec() (actors.Spec, error) {
	if err := cfg.validate(); err != nil {
		return actors.Spec{}, err
	}
	backoff := actors.Backoff{
		Mode:   cfg.Backoff.Mode,
		Base:   or(cfg.Backoff.Base, 200*time.Millisecond),
		Cap:    or(cfg.Backoff.Cap, 10*time.Second),
		Jitter: max(or(cfg.Backoff.Jitter, 1), 0),
	}
	if cfg.Backoff.Cap == 0 {
		backoff.Cap = max(backoff.Cap, backoff.Base)
	}
	if cfg.Backoff.Decide != nil && !cfg.Backoff.Decide() {
		backoff.Mode = actors.BackoffNever
	}
	s := actors.Spec{
		Policy: actors.Policy{
			Name:           or(cfg.Name, "pool"),
			Capacity:       cfg.effectiveCapacity(),
			MinIdle:        cfg.MinIdle,
			MaxIdle:        cfg.MaxIdle,
			MaxConnecting:  or(cfg.MaxConnecting, 2),
			MaxWaiters:     cfg.MaxWaiters,
			PauseOnClear:   cfg.PauseOnClear,
			Check:          cfg.Check != nil,
			CheckAfterIdle: or(cfg.CheckAfterIdle, time.Second),
			Reset:          cfg.Reset != nil,
			ResetWipes:     cfg.ResetWipesSetting,
			Unapply:        cfg.Unapply != nil,
			KeepAlive:      cfg.KeepAlive,
			IdleTimeout:    cfg.IdleTimeout,
			MaxLifetime:    cfg.MaxLifetime,
			LifetimeJitter: or(cfg.MaxLifetimeJitter, cfg.MaxLifetime/10),
			ConnectTimeout: or(cfg.ConnectTimeout, 10*time.Second),
			LeakAfter:      cfg.LeakAfter,
			MaxLease:       cfg.MaxLease,
			ShedHopeless:   cfg.ShedHopeless,
			CoDel:          cfg.Shed.policy(),
			Backoff:        backoff,
		},
		ConnType:   reflect.TypeFor[C](),
		Connect:    connect(cfg.Connect),
		Disconnect: onConn(cfg.Disconnect),
		Check:      onConn(cfg.Check),
		Reset:      onConn(cfg.Reset),
		Unapply:    onConn(cfg.Unapply),
		Classify:   cfg.Classify,
		Broken:     cfg.Broken,
		OnEvent:    cfg.OnEvent,
		Logger:     cfg.Logger,
		GetTimeout: cfg.GetTimeout,
	}
	if apply := cfg.Apply; apply != nil {
		s.Apply = func(ctx context.Context, conn, setting any) error { return apply(ctx, conn.(C), setting) }
	}
	if s.ConnType.Implements(reflect.TypeFor[closer]()) {
		s.IsClosed = isClosed
	}
	if s.Disconnect == nil {
		s.Disconnect = closeConn
	}
	if s.Classify == nil {
		s.Classify = actors.Classify
	}
	if s.Broken == nil {
		s.Broken = Broken
	}
	return s, nil
}

// validate says what is wrong with the configuration, field by field.
func (cfg Config[C]) validate() error {
	if cfg.Connect == nil {
		return &messages.ConfigError{Field: "Connect", Reason: "it is required"}
	}
	for _, f := range []struct {
		field string
		n     int
	}{
		{"Capacity", cfg.Capacity},
		{"MinIdle", cfg.MinIdle},
		{"MaxIdle", cfg.MaxIdle},
		{"MaxConnecting", cfg.MaxConnecting},
		{"MaxWaiters", cfg.MaxWaiters},
	} {
		if f.n < 0 {
			return &messages.ConfigError{Field: f.field, Reason: fmt.Sprintf("%d is negative", f.n)}
		}
	}
	for _, f := range []struct {
		field string
		d     time.Duration
	}{
		{"KeepAlive", cfg.KeepAlive},
		{"IdleTimeout", cfg.IdleTimeout},
		{"MaxLifetime", cfg.MaxLifetime},
		{"MaxLifetimeJitter", cfg.MaxLifetimeJitter},
		{"ConnectTimeout", cfg.ConnectTimeout},
		{"GetTimeout", cfg.GetTimeout},
		{"LeakAfter", cfg.LeakAfter},
		{"MaxLease", cfg.MaxLease},
		{"Shed.Target", cfg.Shed.Target},
		{"Shed.Interval", cfg.Shed.Interval},
		{"Backoff.Base", cfg.Backoff.Base},
		{"Backoff.Cap", cfg.Backoff.Cap},
	} {
		if f.d < 0 {
			return &messages.ConfigError{Field: f.field, Reason: fmt.Sprintf("%v is negative", f.d)}
		}
	}
	if cfg.KeepAlive > 0 && cfg.Check == nil {
		return &messages.ConfigError{Field: "KeepAlive", Reason: fmt.Sprintf("%v, and there is no Check to do it with", cfg.KeepAlive)}
	}
	if n := cfg.effectiveCapacity(); cfg.MinIdle > n {
		return &messages.ConfigError{Field: "MinIdle", Reason: fmt.Sprintf("%d is above Capacity, %d", cfg.MinIdle, n)}
	}
	if cfg.MaxIdle > 0 && cfg.MinIdle > cfg.MaxIdle {
		return &messages.ConfigError{Field: "MinIdle", Reason: fmt.Sprintf("%d is above MaxIdle, %d", cfg.MinIdle, cfg.MaxIdle)}
	}
	if cfg.MaxLifetimeJitter > cfg.MaxLifetime {
		return &messages.ConfigError{
			Field: "MaxLifetimeJitter", Reason: fmt.Sprintf("%v is above MaxLifetime, %v", cfg.MaxLifetimeJitter, cfg.MaxLifetime),
		}
	}
	if c := cfg.Shed.policy(); c.Interval < c.Target {
		return &messages.ConfigError{Field: "Shed.Interval", Reason: fmt.Sprintf("%v is below Target, %v", c.Interval, c.Target)}
	}
	return cfg.Backoff.validate()
}

func (b Backoff) validate() error {
	if b.Mode > BackoffNever {
		return &messages.ConfigError{Field: "Backoff.Mode", Reason: fmt.Sprintf("%d is no mode", b.Mode)}
	}
	if j := b.Jitter; j != NoJitter && !(j >= 0 && j <= 1) { // NaN is neither
		return &messages.ConfigError{Field: "Backoff.Jitter", Reason: fmt.Sprintf("%v is not in 0..1, nor NoJitter", j)}
	}
	if b.Cap > 0 && b.Cap < or(b.Base, 200*time.Millisecond) {
		return &messages.ConfigError{Field: "Backoff.Cap", Reason: fmt.Sprintf("%v is below Base, %v", b.Cap, or(b.Base, 200*time.Millisecond))}
	}
	return nil
}

func (cfg Config[C]) effectiveCapacity() int { return or(cfg.Capacity, max(4, runtime.GOMAXPROCS(0))) }

// or gives v, or the default if v is zero.
func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// connect hides the type of the connections, and refuses nil ones.
func connect[C any](f func(context.Context) (C, error)) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		conn, err := f(ctx)
		if err != nil {
			return nil, err
		}
		if isNil(conn) {
			return nil, messages.ErrNilConnection
		}
		return conn, nil
	}
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.Slice, reflect.UnsafePointer:
		return r.IsNil()
	default:
		return false
	}
}

func onConn[C any](f func(context.Context, C) error) func(context.Context, any) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, conn any) error { return f(ctx, conn.(C)) }
}

// closeConn is the default of Disconnect.
func closeConn(_ context.Context, conn any) error {
	if c, ok := conn.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
