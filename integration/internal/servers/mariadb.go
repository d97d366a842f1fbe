//go:build unix

package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
)

// MariaDB is a MariaDB server with a database test. The user root needs no password.
type MariaDB struct {
	// Address is where the server listens.
	Address string

	path    string
	dir     string
	args    []string
	account *account
	process *process
}

func findMariaDB() (string, error) {
	return find("mariadbd", "mariadb-server", "/usr/sbin", "/usr/libexec")
}

// StartMariaDB makes a new data folder and starts a server with additional arguments.
func StartMariaDB(args ...string) (_ *MariaDB, err error) {
	s := &MariaDB{}
	if s.path, err = findMariaDB(); err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "mariadb-server")
	if err != nil {
		return nil, err
	}
	if s.account, err = unprivileged("mysql"); err != nil {
		return nil, err
	}
	if s.dir, err = folder("mariadb", s.account); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	data := filepath.Join(s.dir, "data")
	out, err := command(s.account, s.dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	begin := filepath.Join(s.dir, "begin.sql")
	if err = os.WriteFile(begin, []byte("CREATE DATABASE IF NOT EXISTS test;\n"), 0o644); err != nil {
		return nil, err
	}
	if s.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	s.args = append([]string{
		"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + port(s.Address),
		"--socket=" + filepath.Join(s.dir, "socket"), "--pid-file=" + filepath.Join(s.dir, "pid"), "--init-file=" + begin,
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M",
	}, args...)
	return s, s.Start()
}

// Start starts the server, always at the same address, and waits until it answers.
func (s *MariaDB) Start() (err error) {
	if s.process, err = start(s.account, s.dir, s.path, s.args...); err != nil {
		return err
	}
	return s.process.serves(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		db, err := sql.Open("mysql", s.DSN())
		if err != nil {
			return err
		}
		defer db.Close()
		return db.PingContext(ctx)
	})
}

// DSN returns the name of the database test, for go-sql-driver.
func (s *MariaDB) DSN() string { return "root@tcp(" + s.Address + ")/test" }

// Stop ends all connections and stops the server.
func (s *MariaDB) Stop() error { return s.process.stop(syscall.SIGTERM) }

// Kill is like a crash.
func (s *MariaDB) Kill() error { return s.process.stop(syscall.SIGKILL) }

// Close stops the server and removes its folder.
func (s *MariaDB) Close() error {
	var err error
	if s.process != nil {
		err = s.Kill()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
