//go:build unix

package servers

import (
	"context"
	"database/sql"
	"os"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/actorpool/actorpool/internal/servers"
)

// MariaDB is a MariaDB server with a database test. The user root needs no password.
type MariaDB struct{ *servers.Server }

func findMariaDB() (string, error) {
	return servers.Find("mariadbd", "mariadb-server", "/usr/sbin", "/usr/libexec")
}

// StartMariaDB makes a new data folder and starts a server with additional arguments.
func StartMariaDB(args ...string) (_ *MariaDB, err error) {
	program, err := findMariaDB()
	if err != nil {
		return nil, err
	}
	install, err := servers.Find("mariadb-install-db", "mariadb-server")
	if err != nil {
		return nil, err
	}
	server, err := servers.New("mariadb", "mysql")
	if err != nil {
		return nil, err
	}
	s := &MariaDB{server}
	defer servers.CloseOnError(&err, s)
	data, begin := s.Path("data"), s.Path("begin.sql")
	if err = s.Run(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"); err != nil {
		return nil, err
	}
	if err = os.WriteFile(begin, []byte("CREATE DATABASE IF NOT EXISTS test;\n"), 0o644); err != nil {
		return nil, err
	}
	s.Program, s.Ping = program, s.ping
	s.Args = append([]string{
		"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + s.Port(),
		"--socket=" + s.Path("socket"), "--pid-file=" + s.Path("pid"), "--init-file=" + begin,
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M",
	}, args...)
	return s, s.Start()
}

func (s *MariaDB) ping(ctx context.Context) error {
	db, err := sql.Open("mysql", s.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// DSN returns the name of the database test, for go-sql-driver.
func (s *MariaDB) DSN() string { return "root@tcp(" + s.Address + ")/test" }
