//go:build unix

package examples

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// tenants are those of the program.
var tenants = []string{"ant", "bee", "cat", "dog"}

// TestPostgres runs the program in different ways, with one server.
func TestPostgres(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 20")
	need(t, server, err)
	admin := superuser(t, server)
	// The role may do only what the program's documentation requires.
	_, err = admin.Exec(within(t, longTimeout), "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app")
	require.NoError(t, err)

	t.Run("each tenant has its own orders", func(t *testing.T) {
		s := serve(t, server, "app")
		probes := listening(t, s)
		assert.Empty(t, s.orders(8, 25, 0))
		for _, tenant := range tenants[:3] {
			assert.Equal(t, 2*25, ordersOf(t, admin, tenant), tenant)
		}
		assert.Equal(t, 2*25+probes, ordersOf(t, admin, "dog"))
		var connections int
		require.NoError(t, query(admin, &connections, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"))
		assert.LessOrEqual(t, connections, 3+1, "three, and the one that listens")
		for _, tenant := range tenants {
			s.prints(t, 50, "an order of "+tenant)
		}
		s.interrupt(t)
		code, _ := s.ends(t, bound)
		assert.Zero(t, code)
		nothingIsLeft(t, admin)
	})

	t.Run("forgotten rows harm nobody else", func(t *testing.T) {
		s := serve(t, server, "app")
		assert.Empty(t, s.orders(8, 50, 10))
		require.NoError(t, s.order("ant", ""))
		s.interrupt(t)
		code, _ := s.ends(t, bound)
		assert.Zero(t, code)
		nothingIsLeft(t, admin)
	})

	t.Run("an order that has begun is finished after SIGTERM", func(t *testing.T) {
		s := serve(t, server, "app")
		locker := superuser(t, server)
		tx, err := locker.Begin(within(t, longTimeout))
		require.NoError(t, err)
		_, err = tx.Exec(within(t, longTimeout), "LOCK TABLE "+schema(t, admin, "ant")+".orders")
		require.NoError(t, err)
		answer := make(chan error, 1)
		go func() { answer <- s.order("ant", "") }()
		testkit.Eventually(t, func() error {
			var n int
			err := query(admin, &n, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'")
			if err == nil && n == 0 {
				err = errors.New("the order has not begun")
			}
			return err
		})
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		testkit.Eventually(t, func() error { // it accepts no orders any more
			if s.order("bee", "") == nil {
				return errors.New("an order was accepted")
			}
			return nil
		})
		assert.False(t, s.hasEnded(0))
		require.NoError(t, tx.Rollback(within(t, longTimeout)))
		require.NoError(t, <-answer)
		require.NoError(t, locker.Close(within(t, longTimeout)))
		code, _ := s.ends(t, bound)
		assert.Zero(t, code)
		nothingIsLeft(t, admin)
	})

	t.Run("a role that does not exist", func(t *testing.T) {
		failsWithoutServer(t, nil, "postgres", []string{"-url", url(server, "stranger")}, `role "stranger" does not exist`)
	})

	t.Run("a role that may not create schemas", func(t *testing.T) {
		_, err := admin.Exec(within(t, longTimeout), "CREATE ROLE guest LOGIN")
		require.NoError(t, err)
		code, out := run(t, nil, "postgres", "-url", url(server, "guest")).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "permission denied for database")
		nothingIsLeft(t, admin)
	})

	t.Run("an address that is in use", func(t *testing.T) {
		code, out := run(t, nil, "postgres", "-url", url(server, "app"), "-listen", server.Address).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "address already in use")
		nothingIsLeft(t, admin)
	})
}

// TestPostgresRestart stops and starts the server while the program runs.
func TestPostgresRestart(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 20")
	need(t, server, err)
	s := serve(t, server, "postgres")
	listening(t, s)
	require.NoError(t, server.Stop(servers.Immediate))
	testkit.Eventually(t, func() error { // it is noticed by the first order that fails
		if s.order("ant", "") == nil || s.get("/ready") == nil {
			return errors.New("it says that it is ready")
		}
		return nil
	})
	require.NoError(t, server.Start())
	testkit.Eventually(t, func() error { return s.get("/ready") })
	require.NoError(t, s.order("ant", ""), "it has said that it is ready")
	listening(t, s)
	s.interrupt(t)
	code, _ := s.ends(t, bound)
	assert.Zero(t, code)
	nothingIsLeft(t, superuser(t, server))
}

func TestPostgresAbsent(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "postgres", []string{"-url", "postgres://app:secret@" + unusedAddress(t) + "/postgres"}, "connection refused")
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

// service is the program, which runs.
type service struct {
	*program
	address string
}

// serve starts the program and waits until it is ready.
func serve(t *testing.T, server *servers.Postgres, role string) *service {
	t.Helper()
	address := unusedAddress(t)
	s := &service{run(t, nil, "postgres", "-url", url(server, role), "-listen", address), address}
	testkit.Eventually(t, func() error { return s.get("/ready") })
	return s
}

// listening places orders of dog until the program logs one, of which the server has notified it.
// It returns how many orders that took.
func listening(t *testing.T, s *service) (orders int) {
	t.Helper()
	before := strings.Count(s.out.String(), "an order of dog")
	testkit.Eventually(t, func() error {
		if err := s.order("dog", ""); err != nil {
			return err
		}
		orders++
		if strings.Count(s.out.String(), "an order of dog") == before {
			return errors.New("it does not listen")
		}
		return nil
	})
	return orders
}

func (s *service) get(path string) error { return answered(http.Get("http://" + s.address + path)) }

func (s *service) order(tenant, form string) error {
	return answered(http.Post("http://"+s.address+"/"+tenant, "application/x-www-form-urlencoded", strings.NewReader(form)))
}

// answered returns an error unless the status is 200.
func answered(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, text)
	}
	return err
}

// orders lets so many clients place so many orders each, in turn for each tenant. One of forget
// orders forgets its rows. It returns the errors.
func (s *service) orders(clients, each, forget int) []error {
	errs := make([][]error, clients)
	var placing sync.WaitGroup
	for i := range clients {
		placing.Go(func() {
			for n := range each {
				form := ""
				if forget > 0 && n%forget == 0 {
					form = "forget=1"
				}
				if err := s.order(tenants[i%len(tenants)], form); err != nil {
					errs[i] = append(errs[i], err)
				}
			}
		})
	}
	placing.Wait()
	return slices.Concat(errs...)
}

func url(server *servers.Postgres, role string) string {
	return "postgres://" + role + "@" + server.Address + "/postgres"
}

// superuser returns a connection that is closed when the test ends.
func superuser(t *testing.T, server *servers.Postgres) *pgx.Conn {
	t.Helper()
	admin, err := pgx.Connect(within(t, longTimeout), server.DSN("postgres", ""))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, admin.Close(within(t, longTimeout))) })
	return admin
}

// schema returns the name of a tenant's schema.
func schema(t *testing.T, admin *pgx.Conn, tenant string) (name string) {
	t.Helper()
	require.NoError(t, admin.QueryRow(within(t, longTimeout), "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)", tenant+"_").Scan(&name))
	return name
}

// ordersOf returns how many orders a tenant has, which must be its own.
func ordersOf(t *testing.T, admin *pgx.Conn, tenant string) (n int) {
	t.Helper()
	var others int
	require.NoError(t, query(admin, &n, "SELECT count(*) FROM "+schema(t, admin, tenant)+".orders"))
	require.NoError(t, query(admin, &others, "SELECT count(*) FROM "+schema(t, admin, tenant)+".orders WHERE tenant <> '"+tenant+"'"))
	assert.Zero(t, others, "orders of others")
	return n
}

// nothingIsLeft checks that the program has left no schema and no connection. A backend may
// end a moment after its connection.
func nothingIsLeft(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	var schemas int
	require.NoError(t, query(admin, &schemas, `SELECT count(*) FROM pg_namespace WHERE nspname ~ '^(ant|bee|cat|dog)_'`))
	assert.Zero(t, schemas, "schemas left")
	testkit.Eventually(t, func() error {
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
