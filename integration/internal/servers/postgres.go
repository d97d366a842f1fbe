//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server. The superuser is postgres. The role guarded needs its
// password; all other roles can connect without one.
type Postgres struct {
	// Address is where the server listens.
	Address string

	bin     string
	dir     string
	account *account
	process *process
}

const postgresHBA = `
host all guarded 127.0.0.1/32 scram-sha-256
host all all     127.0.0.1/32 trust
`

func findPostgres() (string, error) {
	return find("initdb", "postgresql", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
}

// StartPostgres makes a new cluster and starts a server with additional settings, each
// written "name=value".
func StartPostgres(settings ...string) (_ *Postgres, err error) {
	initdb, err := findPostgres()
	if err != nil {
		return nil, err
	}
	s := &Postgres{bin: filepath.Dir(initdb)}
	if s.account, err = unprivileged("postgres"); err != nil {
		return nil, err
	}
	if s.dir, err = folder("postgres", s.account); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	out, err := command(s.account, s.dir, initdb, "-D", s.data(), "-U", "postgres", "-E", "UTF8", "--locale=C",
		"--no-sync", "--auth=trust").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err = os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(postgresHBA), 0o644); err != nil {
		return nil, err
	}
	if s.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("listen_addresses = '127.0.0.1'\nport = %s\nunix_socket_directories = ''\nfsync = off\n", port(s.Address))
	text += strings.Join(settings, "\n") + "\n"
	if err = s.WriteFile("postgresql.auto.conf", []byte(text)); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// WriteFile writes a file into the server's data folder, for the server to read.
func (s *Postgres) WriteFile(name string, content []byte) error {
	name = filepath.Join(s.data(), name)
	err := os.WriteFile(name, content, 0o600)
	if err == nil && s.account != nil {
		err = os.Chown(name, s.account.uid, s.account.gid)
	}
	return err
}

func (s *Postgres) data() string { return filepath.Join(s.dir, "data") }

// Start starts the server, always at the same address, and waits until it answers.
func (s *Postgres) Start() (err error) {
	s.process, err = start(s.account, s.dir, filepath.Join(s.bin, "postgres"), "-D", s.data())
	if err != nil {
		return err
	}
	return s.process.serves(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.DSN("postgres", ""))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// Shutdown is a way to stop PostgreSQL.
type Shutdown syscall.Signal

const (
	// Smart refuses new connections and waits until the old ones have ended.
	Smart = Shutdown(syscall.SIGTERM)
	// Fast ends all connections.
	Fast = Shutdown(syscall.SIGINT)
	// Immediate is like a crash: nothing is written, and the next start makes a
	// recovery.
	Immediate = Shutdown(syscall.SIGQUIT)
)

// Stop stops the server and waits until it has ended.
func (s *Postgres) Stop(how Shutdown) error { return s.process.stop(syscall.Signal(how)) }

// Signal asks the server to stop and does not wait.
func (s *Postgres) Signal(how Shutdown) error {
	return s.process.cmd.Process.Signal(syscall.Signal(how))
}

// DSN returns the connection string for a role; the password may be empty.
func (s *Postgres) DSN(role, password string) string {
	dsn := "host=127.0.0.1 port=" + port(s.Address) + " user=" + role + " dbname=postgres sslmode=disable"
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
	return errors.Join(err, os.RemoveAll(s.dir))
}
