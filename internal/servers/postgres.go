package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Postgres is a PostgreSQL server. The superuser is postgres. The role guarded needs its
// password; all other roles can connect without one.
type Postgres struct{ *Server }

const postgresHBA = `
host all guarded 127.0.0.1/32 scram-sha-256
host all all     127.0.0.1/32 trust
`

// FindPostgres looks for the program that makes a cluster.
func FindPostgres() (string, error) {
	return Find("initdb", "postgresql", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
}

// StartPostgres makes a new cluster and starts a server with additional settings, each
// written "name=value". ping connects with a driver.
func StartPostgres(ping func(ctx context.Context, dsn string) error, settings ...string) (_ *Postgres, err error) {
	initdb, err := FindPostgres()
	if err != nil {
		return nil, err
	}
	server, err := New("postgres", "postgres")
	if err != nil {
		return nil, err
	}
	s := &Postgres{server}
	defer CloseOnError(&err, s)
	s.Program, s.Args = filepath.Join(filepath.Dir(initdb), "postgres"), []string{"-D", s.Path("data")}
	s.Ping = func(ctx context.Context) error { return ping(ctx, s.DSN("postgres", "")) }
	if err = s.Run(initdb, "-D", s.Path("data"), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust"); err != nil {
		return nil, err
	}
	if err = s.WriteFile("pg_hba.conf", []byte(postgresHBA)); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("listen_addresses = '127.0.0.1'\nport = %s\nunix_socket_directories = ''\nfsync = off\n", s.Port())
	text += strings.Join(settings, "\n") + "\n"
	if err = s.WriteFile("postgresql.auto.conf", []byte(text)); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// WriteFile writes a file into the server's data folder, for the server to read.
func (s *Postgres) WriteFile(name string, content []byte) error {
	name = filepath.Join(s.Path("data"), name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return err
	}
	return s.Own(name)
}

// The signals that stop PostgreSQL.
const (
	// Smart refuses new connections and waits until the old ones have ended.
	Smart = syscall.SIGTERM
	// Fast ends all connections.
	Fast = syscall.SIGINT
	// Immediate is like a crash: nothing is written, and the next start makes a
	// recovery.
	Immediate = syscall.SIGQUIT
)

// DSN returns the connection string for a role; the password may be empty.
func (s *Postgres) DSN(role, password string) string {
	dsn := "host=127.0.0.1 port=" + s.Port() + " user=" + role + " dbname=postgres sslmode=disable"
	if password != "" {
		dsn += " password=" + password
	}
	return dsn
}

// Close stops the server and removes its folder.
func (s *Postgres) Close() error {
	var err error
	if s.process != nil {
		err = s.Stop(Fast)
	}
	return errors.Join(err, s.Server.Close())
}
