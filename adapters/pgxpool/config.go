package pgxpool

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// Config is the configuration of pgx's pool: [ParseConfig] makes it, and then it can be
// changed. What actorpool has beyond it comes as an [Option].
//
// HealthCheckPeriod has no effect: connections are closed and opened when that is due. A
// MaxConnIdleTime of 0 closes a connection after 1ms of idling.
type Config = pgxpool.Config

// ShouldPingParams are the parameters of Config.ShouldPing.
type ShouldPingParams = pgxpool.ShouldPingParams

// poolParameter is how the names of the pool's parameters in a connection string begin.
const poolParameter = "pool_"

// ParseConfig reads a connection string as pgx's ParseConfig does, with the same
// parameters of the pool: pool_max_conns, pool_min_conns, pool_min_idle_conns,
// pool_max_conn_lifetime, pool_max_conn_lifetime_jitter, pool_max_conn_idle_time,
// pool_health_check_period and pool_ping_timeout. Another parameter whose name begins
// with pool_ is an error that names it. Every error is a *[pgconn.ParseConfigError],
// which does not show the password.
func ParseConfig(connString string) (*Config, error) {
	cfg, err := pgxpool.ParseConfig(connString)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for name := range cfg.ConnConfig.RuntimeParams {
		if strings.HasPrefix(name, poolParameter) {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		slices.Sort(unknown)
		return nil, pgconn.NewParseConfigError(connString, "unknown parameter "+strings.Join(unknown, ", "), nil)
	}
	return cfg, nil
}

// Option is what a pool has beyond pgx's Config: see [NewWithConfig].
type Option func(*client.Config[*pgx.Conn])

// Name is the pool's name in errors, events, logs and metrics. Default: the name of the
// database, or "pgxpool".
func Name(name string) Option {
	return func(cfg *client.Config[*pgx.Conn]) { cfg.Name = name }
}

// Logger gets the pool's log: see client.Config.Logger. Default: no log.
func Logger(l *slog.Logger) Option {
	return func(cfg *client.Config[*pgx.Conn]) { cfg.Logger = l }
}

// Backoff says what the pool does while connects fail. Default, unlike pgx's pool: Acquire
// waits, and the pool makes one attempt at the end of each period, first after at most
// 200ms and at last every ten seconds. With client.BackoffNever as the Mode every Acquire
// may connect, as in pgx's pool.
func Backoff(b client.Backoff) Option {
	return func(cfg *client.Config[*pgx.Conn]) { cfg.Backoff = b }
}

// LeakAfter is the time after which a connection that is still acquired is reported, with
// the stack of its Acquire, and with which Rows and connections that were forgotten are
// found: see client.Config.LeakAfter. Default 0: off.
func LeakAfter(d time.Duration) Option {
	return func(cfg *client.Config[*pgx.Conn]) { cfg.LeakAfter = d }
}

// Reserve is the time that a caller needs with its connection: an Acquire whose deadline
// leaves less fails at once with context.DeadlineExceeded. Default 0: off.
func Reserve(d time.Duration) Option {
	return func(cfg *client.Config[*pgx.Conn]) { cfg.Reserve = d }
}

// Configure changes the configuration of the pool below, after all of [Config] has been
// put into it: for GetTimeout, MaxLease, MaxUses, OnEvent, Shed and more. Connect,
// Disconnect, Check, Reusable, Apply and Unapply are those of this package; a program that
// replaces one of them calls the former from its own.
func Configure(f func(*client.Config[*pgx.Conn])) Option { return f }

// shortestPeriod is the shortest lifetime and idle time that package client takes.
const shortestPeriod = time.Millisecond

// connectTimeout bounds a connect with its hooks: as long as the attempts of pgx's pool
// in the background, or longer if the ConnectTimeout of all addresses together is longer.
func connectTimeout(cfg *Config) time.Duration {
	addresses := time.Duration(1 + len(cfg.ConnConfig.Fallbacks))
	if t := cfg.ConnConfig.ConnectTimeout; t > math.MaxInt64/addresses {
		return math.MaxInt64
	}
	return max(time.Minute, cfg.ConnConfig.ConnectTimeout*addresses)
}

// checkConfig says what is wrong with a Config, by the names of its fields.
func checkConfig(cfg *Config) error {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, reason string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
		}
	}
	refuse(cfg.MaxConns < 1, "MaxConns", "%d is below 1", cfg.MaxConns)
	refuse(cfg.MinConns < 0, "MinConns", "%d is negative", cfg.MinConns)
	refuse(cfg.MinIdleConns < 0, "MinIdleConns", "%d is negative", cfg.MinIdleConns)
	refuse(cfg.MaxConns >= 1 && cfg.MinConns > cfg.MaxConns, "MinConns", "%d is above MaxConns, %d", cfg.MinConns, cfg.MaxConns)
	refuse(cfg.MaxConns >= 1 && cfg.MinIdleConns > cfg.MaxConns, "MinIdleConns", "%d is above MaxConns, %d", cfg.MinIdleConns, cfg.MaxConns)
	for _, f := range []struct {
		field string
		d     time.Duration
	}{
		{"MaxConnLifetime", cfg.MaxConnLifetime},
		{"MaxConnLifetimeJitter", cfg.MaxConnLifetimeJitter},
		{"MaxConnIdleTime", cfg.MaxConnIdleTime},
		{"PingTimeout", cfg.PingTimeout},
	} {
		refuse(f.d < 0, f.field, "%v is negative", f.d)
	}
	if faults != nil {
		return faults
	}
	return nil
}

// byParseConfig says whether ParseConfig made a Config. pgx keeps that in a field of its
// own, and uses it for the same purpose. A field that does not exist means yes.
func byParseConfig(cfg *Config) bool {
	if cfg == nil || cfg.ConnConfig == nil {
		return false
	}
	made := reflect.ValueOf(cfg).Elem().FieldByName("createdByParseConfig")
	return made.Kind() != reflect.Bool || made.Bool()
}

// clientConfig is the configuration of the pool below.
func (p *Pool) clientConfig() client.Config[*pgx.Conn] {
	cfg := p.cfg
	c := client.Config[*pgx.Conn]{
		Name:              cfg.ConnConfig.Database,
		Connect:           p.connect,
		Disconnect:        p.disconnect,
		Check:             p.check,
		CheckAfterIdle:    -1, // whether to ping is asked on the goroutine of Acquire
		Reusable:          p.reusable,
		Apply:             p.apply,
		Unapply:           p.unapply,
		Capacity:          int(cfg.MaxConns),
		MinOpen:           int(cfg.MinConns),
		MinIdle:           int(cfg.MinIdleConns),
		ConnectTimeout:    connectTimeout(cfg),
		DisconnectTimeout: disconnectTimeout,
		IdleTimeout:       max(cfg.MaxConnIdleTime, shortestPeriod),
	}
	if c.Name == "" {
		c.Name = "pgxpool"
	}
	if cfg.PingTimeout > 0 {
		c.CheckTimeout = max(cfg.PingTimeout, shortestPeriod)
	}
	if cfg.MaxConnLifetime > 0 { // pgx adds the jitter, package client takes it off
		c.MaxLifetime = max(cfg.MaxConnLifetime, shortestPeriod)
		c.MaxLifetimeJitter = client.NoJitter
		if jitter := cfg.MaxConnLifetimeJitter; jitter > 0 {
			c.MaxLifetime += min(jitter, math.MaxInt64-c.MaxLifetime)
			c.MaxLifetimeJitter = jitter
		}
	}
	return c
}

// startValues gives connects the values of the context that NewWithConfig was given.
type startValues struct {
	context.Context
	start context.Context
}

// Value implements context.Context.
func (c startValues) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.start.Value(key)
}
