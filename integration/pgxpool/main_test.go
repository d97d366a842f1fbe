//go:build unix

package pgxpool_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// longTimeout is how long a test waits for something that must happen.
const longTimeout = 30 * time.Second

// shared is one server for the tests that do not stop it.
var shared = sync.OnceValues(func() (*servers.Postgres, error) {
	server, err := servers.StartPostgres("max_connections = 100")
	if err == nil {
		running = append(running, server)
	}
	return server, err
})

var running []*servers.Postgres

func TestMain(m *testing.M) {
	code := m.Run()
	for _, server := range running {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// need returns the shared server, and a connection to it that no pool has. At the end of
// the test no goroutine may be left.
func need(t *testing.T) (*servers.Postgres, *pgx.Conn) {
	t.Helper()
	server, err := shared()
	servers.Require(t, err)
	ignored := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servers.Runs)}
	t.Cleanup(func() { testkit.Eventually(t, func() error { return goleak.Find(ignored...) }) })
	return server, direct(t, server)
}

// direct opens a connection without a pool.
func direct(t *testing.T, server *servers.Postgres) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(within(t), server.DSN("postgres", ""))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// open makes a pool whose sessions have the name of the test. At the end it is closed, and
// then the server must not have such a session any more.
func open(t *testing.T, server *servers.Postgres, change func(*pgxpool.Config), opts ...pgxpool.Option) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(server.DSN("postgres", "") + " application_name=" + name(t))
	require.NoError(t, err)
	cfg.MaxConns = 8
	if change != nil {
		change(cfg)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		pool.Close()
		select {
		case <-pool.Underlying().Done():
		case <-time.After(longTimeout):
			t.Error("the pool does not end")
		}
		assert.Empty(t, sessions(t, direct(t, server), name(t)))
	})
	return pool
}

// name is the name of the test as an application_name.
func name(t *testing.T) string {
	n := strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
	return n[:min(len(n), 60)]
}

// sessions gives the process IDs of the server's sessions with a name.
func sessions(t *testing.T, admin *pgx.Conn, name string) []uint32 {
	t.Helper()
	rows, err := admin.Query(within(t), "SELECT pid::oid FROM pg_stat_activity WHERE application_name = $1", name)
	require.NoError(t, err)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	require.NoError(t, err)
	return pids
}

// fill opens n connections of the pool, so that they are idle.
func fill(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	var conns []*pgxpool.Conn
	for range n {
		conn, err := pool.Acquire(within(t))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Release()
	}
	require.EqualValues(t, n, pool.Stat().IdleConns())
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	t.Cleanup(cancel)
	return ctx
}
