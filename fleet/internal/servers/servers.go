// Package servers runs PostgreSQL and etcd for tests, each in a temporary folder and until the
// test's end.
package servers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/internal/servers"
)

// Missing gives an error for each program that the tests need and that is not there.
func Missing() []error { return servers.Missing(findEtcd, servers.FindPostgres) }

func findEtcd() (string, error) { return servers.Find("etcd", "etcd-server") }

// Server is one server.
type Server struct{ *servers.Server }

// Start starts it, also again, and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	servers.Require(t, s.Server.Start())
}

// Etcd starts an etcd of its own, with additional arguments. The test's end kills it.
func Etcd(t testing.TB, args ...string) *Server {
	t.Helper()
	program, err := findEtcd()
	servers.Require(t, err)
	s, err := servers.New("etcd", "")
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	peers, err := servers.FreeAddress()
	servers.Require(t, err)
	s.Program, s.Ping = program, s.Listens
	s.Args = append([]string{
		"--name", "one", "--data-dir", s.Path("data"), "--listen-client-urls", "http://" + s.Address, "--advertise-client-urls", "http://" + s.Address,
		"--listen-peer-urls", "http://" + peers, "--initial-advertise-peer-urls", "http://" + peers, "--initial-cluster", "one=http://" + peers,
	}, args...)
	etcd := &Server{s}
	etcd.Start(t)
	return etcd
}

// Postgres starts a PostgreSQL of its own, with the superuser postgres and no passwords.
// The test's end stops it.
func Postgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := servers.StartPostgres(func(ctx context.Context, dsn string) error {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}, settings...)
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return &Server{s.Server}
}

// URL is that of a role of PostgreSQL.
func (s *Server) URL(role string) string {
	return fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", role, s.Address)
}

// SlotRoles makes n roles, app_0 and so on, that must give a password. Another role may
// change them.
func (s *Server) SlotRoles(t testing.TB, admin string, n int) {
	t.Helper()
	root, err := pgx.Connect(t.Context(), s.URL("postgres"))
	servers.Require(t, err)
	defer func() { _ = root.Close(context.Background()) }()
	exec := func(sql string) {
		t.Helper()
		_, err := root.Exec(t.Context(), sql)
		servers.Require(t, err)
	}
	var version int
	servers.Require(t, root.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version))
	exec("CREATE ROLE slots")
	for i := range n {
		exec(fmt.Sprintf("CREATE ROLE app_%d NOLOGIN IN ROLE slots", i))
		if version >= 160000 {
			exec(fmt.Sprintf("GRANT app_%d TO %s WITH ADMIN OPTION", i, admin))
		}
	}
	var file string
	servers.Require(t, root.QueryRow(t.Context(), "SHOW hba_file").Scan(&file))
	lines := "('host all +slots 127.0.0.1/32 scram-sha-256'), ('host all postgres,app,admin,weak 127.0.0.1/32 trust')"
	exec(fmt.Sprintf("COPY (VALUES %s) TO '%s'", lines, file))
	exec("SELECT pg_reload_conf()")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := pgx.Connect(t.Context(), s.URL("app_0"))
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "28P01" { // invalid_password
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no password is demanded: %v", err)
		}
	}
}
