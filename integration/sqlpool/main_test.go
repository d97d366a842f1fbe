//go:build unix

package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/actorpool/actorpool/adapters/sqlpool"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

const (
	size        = 8  // connections
	callers     = 64 // goroutines
	longTimeout = 30 * time.Second
)

var bg = context.Background()

// Each server is started once, for the first test that needs it, and closed after all
// tests. The tests run one after another.
var (
	mariaOnce    = sync.OnceValues(func() (*servers.MariaDB, error) { return started(servers.StartMariaDB()) })
	postgresOnce = sync.OnceValues(func() (*servers.Postgres, error) { return started(servers.StartPostgres()) })
	running      []interface{ Close() error }
)

func started[S interface{ Close() error }](server S, err error) (S, error) {
	if err == nil {
		running = append(running, server)
	}
	return server, err
}

func TestMain(m *testing.M) {
	_ = mysql.SetLogger(silent{}) // it tells of each connection that the tests kill
	code := m.Run()
	for _, server := range running {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

type silent struct{}

func (silent) Print(...any) {}

// database is a kind of database, with what its tests need to know.
type database struct {
	name      string
	connector driver.Connector
	restart   func() error // of its server; nil: it has none
	// control runs outside of the connections that are tested.
	control *sql.DB
	// kill ends all other connections to the server, and count says how many there are.
	kill, count string
	holder      string // the place of an argument
}

// maria is the MariaDB server; change may change the connections.
func maria(t *testing.T, change func(*mysql.Config)) database {
	t.Helper()
	server, err := mariaOnce()
	servers.Require(t, err)
	cfg, err := mysql.ParseDSN(server.DSN())
	require.NoError(t, err)
	cfg.MultiStatements = true
	control, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	if change != nil {
		cfg = cfg.Clone()
		change(cfg)
	}
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	return database{
		name: "MariaDB", connector: connector, control: controls(t, control),
		restart: func() error { return errors.Join(server.Kill(), server.Start()) },
		kill:    "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'",
		count:   "SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'",
		holder:  "?",
	}
}

func postgres(t *testing.T) database {
	t.Helper()
	server, err := postgresOnce()
	servers.Require(t, err)
	cfg, err := pgx.ParseConfig(server.DSN("postgres", ""))
	require.NoError(t, err)
	connector := stdlib.GetConnector(*cfg)
	return database{
		name: "PostgreSQL", connector: connector, control: controls(t, connector),
		restart: func() error { return errors.Join(server.Stop(servers.Immediate), server.Start()) },
		kill: "SELECT 'SELECT pg_terminate_backend(' || pid || ')' FROM pg_stat_activity " +
			"WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
		count:  "SELECT COUNT(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
		holder: "$1",
	}
}

func sqlite(t *testing.T) database {
	t.Helper()
	name := "file:" + filepath.Join(t.TempDir(), "db") + "?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	return database{name: "SQLite", connector: source{name}, holder: "?"}
}

// source is a connector of SQLite, whose driver has none.
type source struct{ name string }

func (s source) Connect(context.Context) (driver.Conn, error) { return s.Driver().Open(s.name) }
func (s source) Driver() driver.Driver {
	db, err := sql.Open("sqlite", s.name)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	return db.Driver()
}

// controls makes a *sql.DB that keeps one connection.
func controls(t *testing.T, connector driver.Connector) *sql.DB {
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// open makes a *sql.DB above a pool. At its end no connection is left.
func open(t *testing.T, d database, cfg sqlpool.Config) (*sql.DB, *client.Pool[driver.Conn]) {
	t.Helper()
	if cfg.Capacity == 0 {
		cfg.Capacity = size
	}
	ignored := []goleak.Option{
		goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servers.Runs),
		// Also of the control connection, which reconnects. TestMain looks at the end.
		goleak.IgnoreAnyFunction("github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func1"),
	}
	db, pool, err := sqlpool.OpenDB(d.connector, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, db.Close())
		<-pool.Done()
		testkit.Eventually(t, func() error { return goleak.Find(ignored...) })
	})
	return db, pool
}

// plain makes the *sql.DB to compare with: the same sizes, and no pool.
func plain(d database) *sql.DB {
	db := sql.OpenDB(d.connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(bg, d)
	t.Cleanup(cancel)
	return ctx
}

// at runs f on many goroutines, and returns the errors.
func at(goroutines int, f func(i int) error) []error {
	var running sync.WaitGroup
	errs := make([]error, goroutines)
	for i := range goroutines {
		running.Go(func() { errs[i] = f(i) })
	}
	running.Wait()
	var failed []error
	for _, err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// stand opens n connections, and uses each.
func stand(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		var err error
		conns[i], err = db.Conn(within(t, longTimeout))
		require.NoError(t, err)
		require.NoError(t, conns[i].PingContext(within(t, longTimeout)))
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
}

// killAll ends the connections of everybody else, and waits until they are gone.
func (d database) killAll(t *testing.T) {
	t.Helper()
	rows, err := d.control.Query(d.kill)
	require.NoError(t, err)
	var kills []string
	for rows.Next() {
		var kill string
		require.NoError(t, rows.Scan(&kill))
		kills = append(kills, kill)
	}
	require.NoError(t, errors.Join(rows.Err(), rows.Close()))
	require.NotEmpty(t, kills)
	for _, kill := range kills {
		_, err := d.control.Exec(kill)
		require.NoError(t, err)
	}
	d.counts(t, 0)
}

// sessions is how many connections of others the server has.
func (d database) sessions() (n int, err error) {
	err = d.control.QueryRow(d.count).Scan(&n)
	return n, err
}

// counts waits until the server has n connections of others.
func (d database) counts(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		have, err := d.sessions()
		if err == nil && have != n {
			err = fmt.Errorf("the server has %d connections, not %d", have, n)
		}
		return err
	})
}
