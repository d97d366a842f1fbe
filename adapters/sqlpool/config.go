package sqlpool

import (
	"context"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// Never, as MaxLifetime or IdleTimeout, means that no connection is closed for it.
const Never time.Duration = -1

// NoStatements is the StatementCache of connections that keep no statements.
const NoStatements = -1

// The defaults of a Config where they are not those of client.Config.
const (
	defaultMaxLifetime    = time.Hour
	defaultIdleTimeout    = 30 * time.Minute
	defaultStatementCache = 64
	defaultCloseTimeout   = 5 * time.Second
)

// Config is the configuration of a pool under a *sql.DB. The zero value of every field
// means its default. The fields that have no comment of their own mean what they mean in
// [client.Config], and have the same defaults.
//
// A faulty Config gives messages.ConfigErrors, with all of its faults: a negative number,
// a period below 1ms, fields that contradict each other.
type Config struct {
	// Name is the pool's name in errors, events and logs. Default "sql".
	Name string

	// Capacity is the largest number of connections, as SetMaxOpenConns. Default
	// max(4, GOMAXPROCS).
	Capacity      int
	MinIdle       int
	MaxIdle       int // as SetMaxIdleConns. Default: Capacity
	MinOpen       int
	MaxConnecting int
	MaxWaiters    int

	// MaxLifetime is the largest age of a connection, as SetConnMaxLifetime. Default 1h,
	// so that connections follow a change of addresses. Never: no bound.
	MaxLifetime       time.Duration
	MaxLifetimeJitter time.Duration
	// IdleTimeout closes connections that are idle for so long, as SetConnMaxIdleTime.
	// Default 30m. Never: none.
	IdleTimeout time.Duration
	MaxUses     int

	ConnectTimeout    time.Duration
	CheckTimeout      time.Duration
	DisconnectTimeout time.Duration
	GetTimeout        time.Duration
	Reserve           time.Duration
	// CheckAfterIdle is the time after which an idle connection is pinged before it is
	// lent, where the driver's connections have Ping. Default 1s. Negative: only if
	// another connection was found dead since it was last used.
	CheckAfterIdle time.Duration
	KeepAlive      time.Duration
	LeakAfter      time.Duration
	LeakGoroutines bool
	// MaxLease ends what is longer: the driver's connection is closed while it may be in
	// use, which drivers need not be made for. 0: off.
	MaxLease time.Duration
	// CloseTimeout bounds db.Close, which waits for connections in use. When it is over,
	// db.Close returns a *[messages.DrainError]; these connections are closed when they
	// are returned. Default 5s.
	CloseTimeout time.Duration

	// Reset removes what the last user left on a connection, after every return, with the
	// driver's own connection. The statements of the connection are prepared anew after
	// it. The driver's ResetSession is called without it. nil: nothing more.
	Reset func(ctx context.Context, conn driver.Conn) error
	// Broken says whether an error of the driver means that its connection must not be
	// used again, beside driver.ErrBadConn, which always does. Then the pool also checks
	// the connections that were used no later. Default: [client.Broken], but for errors
	// of contexts: there the driver's IsValid decides.
	Broken func(err error) bool
	// StatementCache is the number of prepared statements that each connection keeps for
	// their next use. Default 64. NoStatements: none.
	StatementCache int

	Backoff      client.Backoff
	Classify     func(phase messages.Phase, err error) messages.Class
	ShedHopeless bool
	Shed         client.CoDel

	OnEvent  func(messages.Event)
	OnChange func(messages.Event)
	Logger   *slog.Logger
}

// faults are the faults of the fields that client.Config does not have.
func (cfg Config) faults(connector driver.Connector) messages.ConfigErrors {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, reason string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
		}
	}
	refuse(isNil(connector), "connector", "it is nil")
	refuse(cfg.StatementCache < NoStatements, "StatementCache", "%d is negative, and not NoStatements", cfg.StatementCache)
	refuse(cfg.CloseTimeout < 0, "CloseTimeout", "%v is negative", cfg.CloseTimeout)
	refuse(cfg.CloseTimeout > 0 && cfg.CloseTimeout < time.Millisecond, "CloseTimeout",
		"%v is below %v: is the unit missing?", cfg.CloseTimeout, time.Millisecond)
	return faults
}

// pool is the configuration of the pool itself, with the functions of c.
func (cfg Config) pool(c *core) client.Config[driver.Conn] {
	pool := client.Config[driver.Conn]{
		Name:              or(cfg.Name, "sql"),
		Connect:           c.open,
		Check:             c.check,
		Reusable:          c.reusable,
		Capacity:          cfg.Capacity,
		MinIdle:           cfg.MinIdle,
		MaxIdle:           cfg.MaxIdle,
		MinOpen:           cfg.MinOpen,
		MaxConnecting:     cfg.MaxConnecting,
		MaxWaiters:        cfg.MaxWaiters,
		MaxLifetime:       period(cfg.MaxLifetime, defaultMaxLifetime),
		MaxLifetimeJitter: cfg.MaxLifetimeJitter,
		IdleTimeout:       period(cfg.IdleTimeout, defaultIdleTimeout),
		MaxUses:           cfg.MaxUses,
		ConnectTimeout:    cfg.ConnectTimeout,
		CheckTimeout:      cfg.CheckTimeout,
		DisconnectTimeout: cfg.DisconnectTimeout,
		GetTimeout:        cfg.GetTimeout,
		Reserve:           cfg.Reserve,
		CheckAfterIdle:    cfg.CheckAfterIdle,
		KeepAlive:         cfg.KeepAlive,
		LeakAfter:         cfg.LeakAfter,
		LeakGoroutines:    cfg.LeakGoroutines,
		MaxLease:          cfg.MaxLease,
		Backoff:           cfg.Backoff,
		Classify:          cfg.Classify,
		ShedHopeless:      cfg.ShedHopeless,
		Shed:              cfg.Shed,
		OnEvent:           cfg.OnEvent,
		OnChange:          cfg.OnChange,
		Logger:            cfg.Logger,
	}
	if cfg.CheckAfterIdle < 0 {
		pool.CheckAfterIdle = math.MaxInt64 // negative would mean that suspects are lent unchecked
	}
	if cfg.Reset != nil {
		pool.Reset = c.reset
	}
	return pool
}

// period is a period that is on by default.
func period(d, fallback time.Duration) time.Duration {
	if d == Never {
		return 0
	}
	return or(d, fallback)
}

// or returns v, or fallback if v is zero.
func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// isNil says whether v is nil or holds a nil pointer.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || r.Kind() == reflect.Pointer && r.IsNil()
}
