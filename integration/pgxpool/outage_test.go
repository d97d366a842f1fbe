//go:build unix

package pgxpool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
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
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// pooled is what both pools have.
type pooled interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Close()
}

// TestTerminatedIdleSessions terminates all idle sessions, and counts the callers that see
// an error, next to pgx's own pool.
func TestTerminatedIdleSessions(t *testing.T) {
	server, admin := need(t)
	for _, c := range []struct {
		name    string
		idle    time.Duration
		callers int // at once
		most    int // errors of the adapter
	}{
		{"used a moment ago, one caller after another", 0, 1, 1},
		{"used a moment ago, eight callers at once", 0, 8, 8},
		{"idle for longer than a second", 1100 * time.Millisecond, 8, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			// failures kills the sessions and makes 32 calls.
			failures := func(pool pooled, fill func()) (failed int64) {
				fill()
				require.Len(t, sessions(t, admin, name(t)), 8)
				_, err := admin.Exec(within(t), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name(t))
				require.NoError(t, err)
				testkit.Eventually(t, func() error {
					if n := len(sessions(t, admin, name(t))); n > 0 {
						return fmt.Errorf("%d sessions", n)
					}
					return nil
				})
				time.Sleep(c.idle) // the pools ask no clock that a test could move
				var n atomic.Int64
				var running sync.WaitGroup
				for range c.callers {
					running.Go(func() {
						for range 32 / c.callers {
							if _, err := pool.Exec(within(t), "SELECT 1"); err != nil {
								n.Add(1)
							}
						}
					})
				}
				running.Wait()
				return n.Load()
			}
			cfg, err := original.ParseConfig(server.DSN("postgres", "") + " application_name=" + name(t))
			require.NoError(t, err)
			cfg.MaxConns = 8
			theirs, err := original.NewWithConfig(context.Background(), cfg)
			require.NoError(t, err)
			there := failures(theirs, func() {
				var conns []*original.Conn
				for range 8 {
					conn, err := theirs.Acquire(within(t))
					require.NoError(t, err)
					conns = append(conns, conn)
				}
				for _, conn := range conns {
					conn.Release()
				}
			})
			theirs.Close()
			testkit.Eventually(t, func() error {
				if n := len(sessions(t, admin, name(t))); n > 0 {
					return fmt.Errorf("%d sessions", n)
				}
				return nil
			})
			ours := open(t, server, nil)
			here := failures(ours, func() { fill(t, ours, 8) })
			t.Logf("errors: %d here, %d with pgx's pool", here, there)
			assert.LessOrEqual(t, here, there)
			assert.LessOrEqual(t, here, int64(c.most))
		})
	}
}

// TestFailover makes the server read only, as an old primary is after a failover: all
// connections are replaced when one of them has heard of it, once.
func TestFailover(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 40")
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	admin := direct(t, server)
	ctx := within(t)
	_, err = admin.Exec(ctx, "CREATE TABLE written (n int)")
	require.NoError(t, err)
	pool := open(t, server, nil)
	fill(t, pool, 8)
	write := func() error {
		_, err := pool.Exec(ctx, "INSERT INTO written VALUES (1)")
		return err
	}
	require.NoError(t, write())

	// A transaction that the program itself has begun as READ ONLY is no failover.
	err = pool.InTxWith(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO written VALUES (1)")
		return err
	})
	require.Error(t, err)
	require.Zero(t, pool.Underlying().Stats().Generation)

	readOnly := func(value string) {
		_, err := admin.Exec(ctx, "ALTER SYSTEM SET default_transaction_read_only = "+value)
		require.NoError(t, err)
		_, err = admin.Exec(ctx, "SELECT pg_reload_conf()")
		require.NoError(t, err)
		testkit.Eventually(t, func() error {
			var now string
			if err := direct(t, server).QueryRow(ctx, "SHOW default_transaction_read_only").Scan(&now); err != nil || now != value {
				return fmt.Errorf("%s: %w", now, err)
			}
			return nil
		})
	}
	var holders []*pgxpool.Conn // all notice it together
	for range 8 {
		conn, err := pool.Acquire(ctx)
		require.NoError(t, err)
		holders = append(holders, conn)
	}
	old := sessions(t, admin, name(t))
	readOnly("on")
	var running sync.WaitGroup
	for _, conn := range holders {
		running.Go(func() {
			defer conn.Release()
			_, err := conn.Exec(ctx, "INSERT INTO written VALUES (1)")
			var sql *pgconn.PgError
			if assert.ErrorAs(t, err, &sql) {
				assert.Equal(t, "25006", sql.Code)
			}
		})
	}
	running.Wait()
	assert.EqualValues(t, 1, pool.Underlying().Stats().Generation, "one Clear for all of them")

	readOnly("off")
	_, err = admin.Exec(ctx, "SET default_transaction_read_only = off")
	require.NoError(t, err)
	require.NoError(t, write())
	for _, pid := range sessions(t, admin, name(t)) {
		assert.NotContains(t, old, pid)
	}

	// A shutdown condemns all connections, too.
	fill(t, pool, 8)
	generation := pool.Underlying().Stats().Generation
	require.NoError(t, server.Stop(servers.Fast))
	begun := make(chan error, 1)
	failed := 0
	go func() {
		time.Sleep(100 * time.Millisecond)
		begun <- server.Start()
	}()
	testkit.Eventually(t, func() error {
		err := write()
		var sql *pgconn.PgError
		if errors.As(err, &sql) && sql.Code == "57P01" {
			failed++
		}
		return err
	})
	require.NoError(t, <-begun)
	assert.LessOrEqual(t, failed, 1, "the other connections are closed before they fail somebody")
	assert.Equal(t, generation+1, pool.Underlying().Stats().Generation)
}

// TestCredentialsThatRotate: BeforeConnect reads the password for each connect, and Reset
// replaces the connections that stand.
func TestCredentialsThatRotate(t *testing.T) {
	server, admin := need(t)
	ctx := within(t)
	_, err := admin.Exec(ctx, "DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'first'")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(ctx, "DROP ROLE guarded")
		assert.NoError(t, err)
	})
	var password atomic.Value
	password.Store("first")
	pool := open(t, server, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.User = "guarded" // which needs a password
		cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
			conn.Password = password.Load().(string)
			return nil
		}
	})
	fill(t, pool, 4)
	old := sessions(t, admin, name(t))
	_, err = admin.Exec(ctx, "ALTER ROLE guarded PASSWORD 'second'")
	require.NoError(t, err)
	require.NoError(t, pool.Ping(ctx), "connections that stand go on")

	pool.Reset() // too early: the new password is not known yet
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err = pool.Ping(short)
	assert.ErrorContains(t, err, "password authentication failed")

	password.Store("second")
	pool.Reset() // which also ends the backoff
	require.NoError(t, pool.Ping(ctx))
	for _, pid := range sessions(t, admin, name(t)) {
		assert.NotContains(t, old, pid)
	}
}

// silent is a network that loses everything, without an error.
type silent struct {
	net.Conn
	lost func() bool
	done atomic.Bool
	by   atomic.Int64 // deadline, in nanoseconds
}

func (s *silent) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	for s.lost() {
		if at := s.by.Load(); at != 0 && time.Now().UnixNano() >= at {
			return 0, errTimeout
		}
		if s.done.Load() {
			return 0, net.ErrClosed
		}
		time.Sleep(time.Millisecond)
	}
	return n, err
}

func (s *silent) SetDeadline(d time.Time) error {
	_ = s.SetReadDeadline(d)
	return s.SetWriteDeadline(d)
}

func (s *silent) SetReadDeadline(d time.Time) error {
	if d.IsZero() {
		s.by.Store(0)
	} else {
		s.by.Store(d.UnixNano())
	}
	return s.Conn.SetReadDeadline(d)
}

func (s *silent) Close() error {
	s.done.Store(true)
	return s.Conn.Close()
}

// errTimeout is what a read reports whose deadline has passed.
var errTimeout = &net.OpError{Op: "read", Err: context.DeadlineExceeded}

// TestAForgettingFirewallCostsOneCallerOnePing: the network has lost eight idle
// connections. Whoever comes first does not ping all of them.
func TestAForgettingFirewallCostsOneCallerOnePing(t *testing.T) {
	server, _ := need(t)
	var lost atomic.Bool
	var pings atomic.Int64
	pool := open(t, server, func(cfg *pgxpool.Config) {
		cfg.PingTimeout = 200 * time.Millisecond
		cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
			pings.Add(1)
			return true
		}
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil || lost.Load() {
				return conn, err
			}
			return &silent{Conn: conn, lost: lost.Load}, nil
		}
	})
	fill(t, pool, 8)
	pings.Store(0)
	lost.Store(true)
	defer lost.Store(false)
	begun := time.Now()
	require.NoError(t, pool.Ping(within(t)))
	assert.Less(t, time.Since(begun), 1500*time.Millisecond, "eight pings take 1.6 s")
	assert.Less(t, pings.Load(), int64(8))
}

// TestTheLimitOfTheServerIsNotExceeded: a connection counts until the server has closed
// it, so that a new one finds a place.
func TestTheLimitOfTheServerIsNotExceeded(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 6", "superuser_reserved_connections = 0", "max_wal_senders = 0")
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	cfg, err := pgxpool.ParseConfig(server.DSN("postgres", ""))
	require.NoError(t, err)
	cfg.MaxConns = 6 // all that the server has
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	for range 5 {
		fill(t, pool, 6)
		pool.Reset()
		for range 6 {
			require.NoError(t, pool.Ping(within(t)))
		}
	}
	assert.Zero(t, pool.Underlying().Stats().ConnectErrors)
}

func TestBackoffIsAChoice(t *testing.T) {
	refused := errors.New("refused")
	tried := func(opts ...pgxpool.Option) (n int) {
		cfg, err := pgxpool.ParseConfig("host=127.0.0.1 sslmode=disable")
		require.NoError(t, err)
		cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { n++; return refused }
		pool, err := pgxpool.NewWithConfig(context.Background(), cfg, opts...)
		require.NoError(t, err)
		defer pool.Close()
		for range 5 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			assert.ErrorIs(t, pool.Ping(ctx), refused)
			cancel()
		}
		return n
	}
	long := client.Backoff{Base: time.Minute, Cap: time.Minute, Jitter: client.NoJitter}
	assert.Equal(t, 1, tried(pgxpool.Backoff(long)))
	assert.Equal(t, 5, tried(pgxpool.Backoff(client.Backoff{Mode: client.BackoffNever})))
}
