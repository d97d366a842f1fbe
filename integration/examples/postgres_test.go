//go:build unix

package examples

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// TestPostgres runs the program in different ways, with one server.
func TestPostgres(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 20")
	need(t, server, err)
	admin, err := pgx.Connect(within(t, longTimeout), server.DSN("postgres", ""))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, admin.Close(within(t, longTimeout))) })
	// The role may do only what the program's documentation requires.
	_, err = admin.Exec(within(t, longTimeout), "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app")
	require.NoError(t, err)
	url := func(role string) string { return "postgres://" + role + "@" + server.Address + "/postgres" }

	t.Run("each tenant sees its own orders", func(t *testing.T) {
		p := run(t, nil, "postgres", "-url", url("app"))
		code, out := p.ends(t, longTimeout)
		assert.Zero(t, code)
		for _, tenant := range []string{"ant", "bee", "cat", "dog"} {
			assert.Regexp(t, `(?m)^`+tenant+`_[0-9a-f]{8} sees 50 orders, all its own$`, out)
		}
		// 4 tenants, 2 workers for each, 25 rounds, and the reports. It is also a switch if
		// the Get for which a connection was prepared got another one meanwhile. There are
		// fewer connections than tenants, so some must change their tenant.
		const gets = 4*2*25 + 4
		hits, switches := number(t, out, "setting hits"), number(t, out, "setting switches")
		assert.Equal(t, gets+1, number(t, out, "Gets"), "and the one that creates the schemas")
		assert.GreaterOrEqual(t, hits+switches, gets)
		assert.Positive(t, hits)
		assert.Less(t, hits, gets)
		assert.Positive(t, number(t, out, "setting resets"))
		assert.LessOrEqual(t, number(t, out, "connections"), 3)
		nothingIsLeft(t, admin)
	})

	t.Run("the address may come from the environment", func(t *testing.T) {
		p := run(t, []string{"DATABASE_URL=" + url("app")}, "postgres", "-rounds", "1", "-v")
		code, out := p.ends(t, longTimeout)
		assert.Zero(t, code)
		assert.Contains(t, out, "sees 2 orders, all its own")
		assert.Contains(t, out, "DEBUG Connection checked out")
		assert.Contains(t, out, `label="order for ant_`)
		nothingIsLeft(t, admin)
	})

	t.Run("Ctrl-C", func(t *testing.T) {
		p := run(t, nil, "postgres", "-url", url("app"), "-rounds", "1000000000")
		// The workers have begun when there are orders.
		eventually(t, func() error { return orders(admin) })
		p.interrupt(t)
		code, out := p.ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "postgres: interrupt")
		nothingIsLeft(t, admin)
	})

	t.Run("a role that does not exist", func(t *testing.T) {
		failsWithoutServer(t, nil, "postgres", []string{"-url", url("stranger")}, `role "stranger" does not exist`)
	})

	t.Run("a role that may not create schemas", func(t *testing.T) {
		_, err := admin.Exec(within(t, longTimeout), "CREATE ROLE guest LOGIN")
		require.NoError(t, err)
		code, out := run(t, nil, "postgres", "-url", url("guest")).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "permission denied for database")
		nothingIsLeft(t, admin)
	})

	t.Run("terminated connections", func(t *testing.T) {
		p := run(t, nil, "postgres", "-url", url("app"), "-rounds", "1000000000")
		eventually(t, func() error { return orders(admin) })
		// The pool recovers, but the program does not repeat an INSERT that may have
		// succeeded: it prints the error and ends. A connection that dies while the pool
		// changes its tenant costs the program nothing: so they are terminated until one
		// dies in use.
		eventually(t, func() error {
			_, err := admin.Exec(within(t, longTimeout), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
			require.NoError(t, err)
			if p.hasEnded(time.Second) {
				return nil
			}
			return errors.New("no connection was in use")
		})
		code, out := p.ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "terminating connection due to administrator command")
	})
}

func TestPostgresAbsent(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "postgres", []string{"-url", "postgres://app:secret@" + unusedAddress(t) + "/postgres"}, "connection refused", "attempt=1")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, nil, "postgres", []string{"-url", "postgres://app:secret@" + silentServer(t) + "/postgres"}, "failed to connect")
	})
	t.Run("no address", func(t *testing.T) {
		code, out := run(t, nil, "postgres", "-url", "postgres://app:secret@:port/").ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "cannot parse")
		assert.NotContains(t, out, "secret")
	})
}

// number returns the number before these words in the output.
func number(t *testing.T, out, words string) int {
	t.Helper()
	match := regexp.MustCompile(`(?m)\b(\d+) ` + words + `\b`).FindStringSubmatch(out)
	require.NotNil(t, match, words)
	n, err := strconv.Atoi(match[1])
	require.NoError(t, err)
	return n
}

// orders returns an error until an order has been placed. It reads the server's statistics,
// so that it does not disturb the program.
func orders(admin *pgx.Conn) error {
	var n int
	err := query(admin, &n, "SELECT coalesce(sum(n_tup_ins), 0)::int FROM pg_stat_user_tables WHERE relname = 'orders'")
	if err == nil && n == 0 {
		err = errors.New("no orders")
	}
	return err
}

// nothingIsLeft checks that the program has left no schema and no connection. A backend may
// end a moment after its connection.
func nothingIsLeft(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	var schemas int
	require.NoError(t, query(admin, &schemas, `SELECT count(*) FROM pg_namespace WHERE nspname ~ '_[0-9a-f]{8}$'`))
	assert.Zero(t, schemas, "schemas left")
	eventually(t, func() error {
		var n int
		err := query(admin, &n, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
		if err == nil && n > 0 {
			err = fmt.Errorf("%d connections left", n)
		}
		return err
	})
}

func query(admin *pgx.Conn, n *int, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	defer cancel()
	return admin.QueryRow(ctx, sql).Scan(n)
}
