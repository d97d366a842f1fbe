package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// counting counts how often database/sql makes a handle.
type counting struct {
	driver.Connector
	n *atomic.Int32
}

func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	c.n.Add(1)
	return c.Connector.Connect(ctx)
}

// What database/sql keeps holds no connection of the pool, and serves one caller after the
// other.
func TestDatabaseSQLKeepsHandlesAndNoConnections(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		pooled := Wrap(s, quiet(2))
		var made atomic.Int32
		db := sql.OpenDB(counting{pooled, &made})
		db.SetMaxIdleConns(16)
		pool := pooled.(*core).Pool()
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				for range 100 {
					var n int
					assert.NoError(t, db.QueryRow("SELECT").Scan(&n))
				}
			})
		}
		callers.Wait()
		assert.LessOrEqual(t, made.Load(), int32(16), "one for each caller")
		stats := db.Stats()
		assert.Equal(t, stats.OpenConnections, stats.Idle)
		opened, _ := s.counts()
		assert.LessOrEqual(t, opened, 2)
		assert.Zero(t, pool.Stats().Borrowed)
		assert.EqualValues(t, 1600, pool.Stats().Gets)
		require.NoError(t, errors.Join(db.Close(), pooled.(io.Closer).Close()))
	})
}

// The error of a Get that fails is that of the caller's first use, also where database/sql
// asks for the connection before: it may be reported only then.
func TestAFailedGetIsReportedByTheFirstUse(t *testing.T) {
	for name, use := range map[string]func(ctx context.Context, db *sql.DB) error{
		"Exec": func(ctx context.Context, db *sql.DB) error { _, err := db.ExecContext(ctx, "INSERT ?", 1); return err },
		"Query": func(ctx context.Context, db *sql.DB) error {
			var n int
			return db.QueryRowContext(ctx, "SELECT ?", 1).Scan(&n)
		},
		"Prepare": func(ctx context.Context, db *sql.DB) error { return closed(db.PrepareContext(ctx, "SELECT")) },
		"Ping":    func(ctx context.Context, db *sql.DB) error { return db.PingContext(ctx) },
		"Begin": func(ctx context.Context, db *sql.DB) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			return tx.Rollback()
		},
		"Conn": func(ctx context.Context, db *sql.DB) error {
			c, err := db.Conn(ctx)
			if err != nil {
				return err
			}
			_, err = c.ExecContext(bg, "INSERT")
			return errors.Join(err, c.Close())
		},
		"sqlpool.Conn": func(ctx context.Context, db *sql.DB) error {
			c, err := Conn(ctx, db)
			if err != nil {
				assert.Nil(t, c)
				return err
			}
			return c.Close()
		},
		"Raw": func(ctx context.Context, db *sql.DB) error {
			c, err := db.Conn(ctx)
			if err != nil {
				return err
			}
			err = Raw(c, func(any) error { return nil })
			return errors.Join(err, c.Close())
		},
	} {
		for traits := range 1 << len(setA) {
			virtually(t, func(t *testing.T) {
				db, pool := open(t, &server{traits: traits}, quiet(1))
				held, err := db.Conn(bg)
				require.NoError(t, err)
				another := deadline(t, time.Second)
				require.Error(t, db.PingContext(another), "so that another conn is there, and kept")
				require.NoError(t, held.Close())
				require.NoError(t, db.Ping())
				held, err = db.Conn(bg)
				require.NoError(t, err)

				var get *messages.GetError
				err = use(deadline(t, time.Second), db)
				require.ErrorAs(t, err, &get, name)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, held.Close())
				require.NoError(t, use(bg, db), "%s: it is not remembered", name)
				assert.Zero(t, pool.Stats().Borrowed)
			})
		}
	}
}

func closed(st *sql.Stmt, err error) error {
	if err != nil {
		return err
	}
	return st.Close()
}

// A caller that holds the last connections can close a statement that was prepared on others,
// while somebody waits for a connection: if closing waited for whoever waits, neither would
// go on. In real time: in virtual time it would hang.
func TestAStatementCanBeClosedWhileAnotherCallerWaits(t *testing.T) {
	db, pool := open(t, &server{traits: execAndQuery}, quiet(2))
	waits := func() bool { return pool.Stats().Waiting == 1 }
	st, err := db.Prepare("SELECT 1")
	require.NoError(t, err)
	rows := make([]*sql.Rows, 2)
	for i := range rows {
		rows[i], err = st.Query()
		require.NoError(t, err)
	}
	var third sync.WaitGroup
	third.Go(func() { _, err := st.Exec(); assert.NoError(t, err) })
	require.Eventually(t, waits, 10*time.Second, time.Millisecond)
	require.NoError(t, errors.Join(rows[0].Close(), rows[1].Close()))
	third.Wait() // three handles of database/sql have had the statement
	one, err := db.Begin()
	require.NoError(t, err)
	two, err := db.Begin()
	require.NoError(t, err)
	third.Go(func() { assert.NoError(t, db.Ping()) })
	require.Eventually(t, waits, 10*time.Second, time.Millisecond)
	closed := make(chan error, 1)
	go func() { closed <- st.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Error("it waits for a connection of another caller")
	}
	require.NoError(t, errors.Join(one.Commit(), two.Commit()))
	third.Wait()
}

// around is a driver around that of the pool, as tracers are, with some of its methods.
type around struct {
	driver.Connector
	shape func(driver.Conn) driver.Conn
}

func (a around) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := a.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return a.shape(inner), nil
}

// What a driver around the pool's hides costs no correctness.
func TestADriverAroundThatHidesMethods(t *testing.T) {
	type conn interface {
		driver.Conn
		driver.ExecerContext
		driver.NamedValueChecker
	}
	for _, c := range []struct {
		hides string
		shape func(driver.Conn) driver.Conn
		idle  int // connections that are idle at the end, of one that was used
		warns bool
	}{
		{"nothing", func(c driver.Conn) driver.Conn { return c }, 1, false},
		{"IsValid", func(c driver.Conn) driver.Conn {
			return struct {
				conn
				driver.SessionResetter
			}{c.(conn), c.(driver.SessionResetter)}
		}, 0, true},
		{"ResetSession", func(c driver.Conn) driver.Conn {
			return struct {
				conn
				driver.Validator
			}{c.(conn), c.(driver.Validator)}
		}, 1, false},
		{"both", func(c driver.Conn) driver.Conn { return struct{ conn }{c.(conn)} }, 0, false},
	} {
		for _, set := range []int{0, resets, validates, resets | validates} {
			virtually(t, func(t *testing.T) {
				s := &server{traits: set, shape: shapeB}
				pooled := Wrap(s, quiet(2))
				db := sql.OpenDB(around{pooled, c.shape})
				for range 5 {
					_, err := db.Exec("INSERT", 1)
					require.NoError(t, err)
				}
				if set&resets != 0 && c.hides != "both" {
					assert.Equal(t, 4, s.count("ResetSession"), c.hides)
				}
				if set&validates != 0 && c.hides != "IsValid" && c.hides != "both" {
					assert.Equal(t, 5, s.count("IsValid"), c.hides)
				}
				stats, err := Stats(db)
				if c.hides != "both" && c.hides != "ResetSession" { // which the question needs
					require.NoError(t, err, c.hides)
					assert.Equal(t, c.idle, stats.Pool.Idle, c.hides)
					assert.Equal(t, c.warns, len(stats.Warnings) == 1, c.hides)
				}
				tx, err := db.Begin()
				require.NoError(t, err)
				_, err = tx.Exec("INSERT", 1)
				require.NoError(t, errors.Join(err, tx.Commit()))
				opened, _ := s.counts()
				assert.Equal(t, 1, opened, c.hides)
				require.NoError(t, errors.Join(db.Close(), pooled.(io.Closer).Close())) // it hides Close, too
				opened, closed := s.counts()
				assert.Equal(t, opened, closed, c.hides)
			})
		}
	}
}
