//go:build unix

package pgxpool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	original "github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// queries is the part of a tracer that pgx requires.
type queries struct{}

func (queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// foreign is a tracer for pgx's own pool.
type foreign struct {
	queries
	starts, ends, releases int
	panics                 bool
}

func (f *foreign) use(pool *original.Pool) {
	if f.panics {
		_ = pool.Config() // the pool is nil
	}
}

func (f *foreign) TraceAcquireStart(ctx context.Context, pool *original.Pool, _ original.TraceAcquireStartData) context.Context {
	f.starts++
	f.use(pool)
	return ctx
}

func (f *foreign) TraceAcquireEnd(_ context.Context, pool *original.Pool, _ original.TraceAcquireEndData) {
	f.ends++
	f.use(pool)
}

func (f *foreign) TraceRelease(pool *original.Pool, _ original.TraceReleaseData) {
	f.releases++
	f.use(pool)
}

// own is a tracer for the adapter.
type own struct {
	queries
	starts, ends, releases int
	pool                   *pgxpool.Pool
	err                    error
	panics                 bool
}

type traceKey struct{}

func (o *own) TraceAcquireStart(ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	o.starts++
	o.pool = pool
	return context.WithValue(ctx, traceKey{}, true)
}

func (o *own) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if ctx.Value(traceKey{}) == true && (data.Conn != nil) != (data.Err != nil) {
		o.ends++
	}
	o.err = data.Err
	if o.panics {
		panic("tracer")
	}
}

func (o *own) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) {
	o.releases++
	if o.panics {
		panic("tracer")
	}
}

func TestTracers(t *testing.T) {
	server, _ := need(t)
	with := func(t *testing.T, tracer pgx.QueryTracer) *pgxpool.Pool {
		t.Helper()
		return open(t, server, func(cfg *pgxpool.Config) {
			cfg.MaxConns = 1
			cfg.ConnConfig.Tracer = tracer
		})
	}
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprint("of pgx's pool, panics: ", panics), func(t *testing.T) {
			f := &foreign{panics: panics}
			require.NoError(t, with(t, f).Ping(within(t)))
			assert.Equal(t, []int{1, 1, 1}, []int{f.starts, f.ends, f.releases})
		})
	}
	o := &own{}
	pool := with(t, o)
	require.NoError(t, pool.Ping(within(t)))
	assert.Equal(t, []int{1, 1, 1}, []int{o.starts, o.ends, o.releases})
	assert.Same(t, pool, o.pool)
	ended, cancel := context.WithCancel(within(t))
	cancel()
	_, err := pool.Acquire(ended)
	assert.Equal(t, err, o.err)

	// A panic goes on to the caller, who does not get a connection: it is not lost.
	o.panics = true
	assert.Panics(t, func() { _, _ = pool.Acquire(within(t)) })
	o.panics = false
	conn, err := pool.Acquire(within(t))
	require.NoError(t, err)
	o.panics = true
	assert.Panics(t, conn.Release)
	o.panics = false
	assert.NoError(t, pool.Ping(within(t)))
}

// TestTheServerHasClosedBeforeThePoolSaysSo: BeforeClose sees the open connection, and
// after Close nothing is left on the server.
func TestTheServerHasClosedBeforeThePoolSaysSo(t *testing.T) {
	server, admin := need(t)
	before := 0
	pool := open(t, server, func(cfg *pgxpool.Config) {
		cfg.BeforeClose = func(conn *pgx.Conn) {
			if !conn.IsClosed() {
				before++
			}
		}
		cfg.MaxConns = 1
	})
	for range 20 {
		require.NoError(t, pool.Ping(within(t)))
		pool.Reset()
		require.NoError(t, pool.Ping(within(t)))
		assert.Len(t, sessions(t, admin, name(t)), 1, "the old one had gone before the new one came")
	}
	pool.Close()
	assert.Empty(t, sessions(t, admin, name(t)))
	assert.Equal(t, 21, before)
}

// slow is a server that takes its time to close a connection, or does not close it at all.
func slow(t *testing.T, closes time.Duration) (dsn string, closed *atomic.Bool) {
	t.Helper()
	server, _ := need(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed = new(atomic.Bool)
	done := make(chan struct{})
	t.Cleanup(func() { close(done); _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", server.Address)
			if err != nil {
				_ = conn.Close()
				return
			}
			go func() { _, _ = io.Copy(back, conn); _ = back.Close() }()
			go func() {
				_, _ = io.Copy(conn, back)
				select {
				case <-time.After(closes):
					closed.Store(true)
				case <-done:
				}
				_ = conn.Close()
			}()
		}
	}()
	return "host=127.0.0.1 user=postgres dbname=postgres sslmode=disable port=" + port(l.Addr()), closed
}

func port(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

func TestClosingWaitsForTheServerButNotForEver(t *testing.T) {
	for _, c := range []struct {
		name   string
		closes time.Duration
		waits  bool
	}{
		{"a server that takes its time", 300 * time.Millisecond, true},
		{"a server that does not close", time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn, closed := slow(t, c.closes)
			pool, err := pgxpool.New(context.Background(), dsn)
			require.NoError(t, err)
			require.NoError(t, pool.Ping(within(t)))
			begun := time.Now()
			pool.Close()
			assert.Equal(t, c.waits, closed.Load())
			assert.Less(t, time.Since(begun), 5*time.Second)
		})
	}
}

func TestConnectSeesTheValuesOfNewWithConfig(t *testing.T) {
	server, _ := need(t)
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "start"))
	cfg, err := pgxpool.ParseConfig(server.DSN("postgres", ""))
	require.NoError(t, err)
	var before, after any
	var info client.ConnInfo
	cfg.BeforeConnect = func(ctx context.Context, _ *pgx.ConnConfig) error {
		before = ctx.Value(key{})
		info, _ = client.HookInfo(ctx)
		return nil
	}
	cfg.AfterConnect = func(ctx context.Context, _ *pgx.Conn) error { after = ctx.Value(key{}); return nil }
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	require.NoError(t, err)
	defer pool.Close()
	cancel()
	require.NoError(t, pool.Ping(context.WithValue(within(t), key{}, "acquire")))
	assert.Equal(t, "start", before)
	assert.Equal(t, "start", after)
	assert.Equal(t, "postgres", info.Pool, "the name of the database")
}

func TestAnAfterConnectThatFailsLeavesNothing(t *testing.T) {
	server, admin := need(t)
	for _, f := range []func() error{
		func() error { return errors.New("after connect") },
		func() error { panic("after connect") },
	} {
		pool := open(t, server, func(cfg *pgxpool.Config) {
			cfg.AfterConnect = func(context.Context, *pgx.Conn) error { return f() }
		})
		_, err := pool.Acquire(within(t))
		assert.ErrorContains(t, err, "after connect")
		assert.Empty(t, sessions(t, admin, name(t)))
	}
}

func TestCustomDataBelongsToTheProgram(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	require.NoError(t, pool.Func(within(t), func(_ context.Context, conn *pgxpool.Conn) error {
		clear(conn.Conn().PgConn().CustomData()) // a mistake
		return nil
	}))
	_, err := pool.Acquire(within(t))
	assert.ErrorContains(t, err, "CustomData")
	assert.NoError(t, pool.Ping(within(t)), "that connection is closed")
}

func TestBadConnectionStrings(t *testing.T) {
	for text, says := range map[string]string{
		"pool_max_con=3":                           "unknown parameter pool_max_con",
		"pool_x=1 pool_a=2":                        "unknown parameter pool_a, pool_x",
		"postgres://localhost/x?pool_max_size=3":   "unknown parameter pool_max_size",
		"pool_max_conns=0":                         "pool_max_conns too small",
		"pool_max_conns=many":                      "pool_max_conns",
		"pool_max_conn_lifetime=60":                "pool_max_conn_lifetime",
		"pool_max_conns=2 pool_min_conns=3":        "MinConns: 3 is above MaxConns, 2",
		"pool_max_conns=2 pool_min_idle_conns=9":   "MinIdleConns: 9 is above MaxConns, 2",
		"pool_min_conns=-1":                        "MinConns: -1 is negative",
		"pool_max_conn_lifetime=-1s":               "MaxConnLifetime: -1s is negative",
		"pool_ping_timeout=-1s pool_min_conns=-2":  "MinConns: -2 is negative; actorpool: invalid PingTimeout: -1s is negative",
		"host=127.0.0.1 port=99999":                "port",
		"password=secret pool_max_con=3 sslmode=x": "sslmode",
	} {
		_, err := pgxpool.New(context.Background(), text)
		assert.ErrorContains(t, err, says, text)
		if err != nil {
			assert.NotContains(t, err.Error(), "secret")
		}
	}
	_, err := pgxpool.ParseConfig("pool_max_con=3")
	var parse *pgconn.ParseConfigError
	assert.ErrorAs(t, err, &parse)

	cfg, err := pgxpool.ParseConfig("")
	require.NoError(t, err)
	cfg.MaxConns = 0
	_, err = pgxpool.NewWithConfig(context.Background(), cfg)
	var fault *messages.ConfigError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, "MaxConns", fault.Field)
	cfg.MaxConns = 1
	_, err = pgxpool.NewWithConfig(nil, cfg) //nolint:staticcheck // a mistake on purpose
	assert.ErrorIs(t, err, messages.ErrNilContext)
	assert.Panics(t, func() { _, _ = pgxpool.NewWithConfig(context.Background(), nil) })
	assert.Panics(t, func() {
		_, _ = pgxpool.NewWithConfig(context.Background(), &pgxpool.Config{ConnConfig: cfg.ConnConfig})
	})
}

// TestExtremeConfigs: numbers that pgx's pool takes are taken.
func TestExtremeConfigs(t *testing.T) {
	server, _ := need(t)
	for name, change := range map[string]func(*pgxpool.Config){
		"the least": func(cfg *pgxpool.Config) {
			cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnIdleTime, cfg.HealthCheckPeriod = 1, 1, 0, 0
			cfg.PingTimeout = 1
		},
		"the most": func(cfg *pgxpool.Config) {
			cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = math.MaxInt32, math.MaxInt64, math.MaxInt64
			cfg.MaxConnIdleTime, cfg.HealthCheckPeriod, cfg.PingTimeout = math.MaxInt64, math.MaxInt64, math.MaxInt64
			cfg.ConnConfig.ConnectTimeout = math.MaxInt64
		},
		"a lifetime that does not end": func(cfg *pgxpool.Config) { cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = 0, time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			pool := open(t, server, change)
			require.NoError(t, pool.Ping(within(t)))
			assert.Equal(t, pool.Config().MaxConns, pool.Stat().MaxConns())
		})
	}
}
