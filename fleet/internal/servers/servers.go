//go:build unix

// Package servers runs PostgreSQL and etcd for tests: on a free port of the loopback
// interface, in a temporary folder, each in a session of its own.
package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// MissingError says that a program is not installed, and which package has it.
type MissingError struct{ Program, Package string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.Program, e.Package)
}

// Missing gives an error for each program that the tests need and that is not there.
func Missing() (all []error) {
	if _, err := find("etcd", "etcd-server", ""); err != nil {
		all = append(all, err)
	}
	if _, err := find("initdb", "postgresql", "/usr/lib/postgresql/*/bin"); err != nil {
		all = append(all, err)
	}
	return all
}

func find(program, pkg, pattern string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if found, _ := filepath.Glob(filepath.Join(pattern, program)); pattern != "" && len(found) > 0 {
		return found[len(found)-1], nil
	}
	return "", &MissingError{program, pkg}
}

// require ends a test if err is not nil: with a skip if a program is missing, except with
// CI=true.
func require(t testing.TB, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// freeAddress is one on which nothing listens. Its port is below those that the system
// gives to clients, so that it stays free while a server is away.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000))))
		if err == nil {
			address := l.Addr().String()
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Server is one server.
type Server struct {
	// Address is where it listens.
	Address string
	path    string
	args    []string
	dir     string
	attr    syscall.SysProcAttr
	cmd     *exec.Cmd
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Start starts it, also again, and waits until it listens.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Dir = s.dir
	attr := s.attr
	s.cmd.SysProcAttr = &attr
	require(t, s.cmd.Start())
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.Address)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v", s.path, err)
		}
	}
}

// Etcd starts an etcd of its own. The test's end kills it.
func Etcd(t testing.TB) *Server {
	t.Helper()
	program, err := find("etcd", "etcd-server", "")
	require(t, err)
	clients, peers := freeAddress(t), freeAddress(t)
	s := &Server{
		Address: clients, path: program, dir: t.TempDir(), attr: syscall.SysProcAttr{Setsid: true},
		args: []string{
			"--name", "one", "--data-dir", t.TempDir(), "--listen-client-urls", "http://" + clients, "--advertise-client-urls", "http://" + clients,
			"--listen-peer-urls", "http://" + peers, "--initial-advertise-peer-urls", "http://" + peers, "--initial-cluster", "one=http://" + peers,
		},
	}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Postgres starts a PostgreSQL of its own, with the superuser postgres and no passwords.
// The test's end stops it. It does not run as root.
func Postgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	initdb, err := find("initdb", "postgresql", "/usr/lib/postgresql/*/bin")
	require(t, err)
	dir, err := os.MkdirTemp("", "actorpool-fleet-postgres-")
	require(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Address: freeAddress(t), path: filepath.Join(filepath.Dir(initdb), "postgres"), dir: dir, attr: syscall.SysProcAttr{Setsid: true}}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		require(t, err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		require(t, os.Chown(dir, uid, gid))
		s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	init := exec.Command(initdb, "-D", dir+"/data", "-U", "postgres", "--no-sync", "--auth=trust", "--locale=C")
	init.Dir, init.SysProcAttr = dir, &syscall.SysProcAttr{Credential: s.attr.Credential}
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	_, port, _ := net.SplitHostPort(s.Address)
	s.args = []string{"-D", dir + "/data", "-c", "listen_addresses=127.0.0.1", "-c", "port=" + port, "-c", "unix_socket_directories=", "-c", "fsync=off"}
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	s.Start(t)
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		_ = s.cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres"))
		if err == nil {
			_ = conn.Close(context.Background())
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
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
	require(t, err)
	defer func() { _ = root.Close(context.Background()) }()
	exec := func(sql string) {
		t.Helper()
		_, err := root.Exec(t.Context(), sql)
		require(t, err)
	}
	var version int
	require(t, root.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version))
	exec("CREATE ROLE slots")
	for i := range n {
		exec(fmt.Sprintf("CREATE ROLE app_%d NOLOGIN IN ROLE slots", i))
		if version >= 160000 {
			exec(fmt.Sprintf("GRANT app_%d TO %s WITH ADMIN OPTION", i, admin))
		}
	}
	var file string
	require(t, root.QueryRow(t.Context(), "SHOW hba_file").Scan(&file))
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
