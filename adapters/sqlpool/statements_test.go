package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAStatementIsPreparedOnceForEachConnection(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, pool := open(t, s, quiet(8))
		require.NoError(t, pool.Warm(bg, 8))
		st, err := db.Prepare("SELECT ?")
		require.NoError(t, err)
		var users sync.WaitGroup
		for range 100 {
			users.Go(func() {
				var n int
				assert.NoError(t, st.QueryRow(1).Scan(&n))
			})
		}
		users.Wait()
		assert.Equal(t, 100, s.count("stmt.Query "))
		assert.LessOrEqual(t, s.count("Prepare"), 8)
		require.NoError(t, st.Close())
		require.NoError(t, st.Close(), "closed twice")
		for range 100 {
			_, err := db.Exec("SELECT ?", 1) // without Execer: prepared by database/sql each time
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, s.count("Prepare"), 8)
	})
}

func TestAStatementThatIsOpenIsLentToNobodyElse(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, _ := open(t, s, quiet(1))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		one, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		other, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		assert.Equal(t, 2, s.count("Prepare"))
		require.NoError(t, one.Close())
		require.NoError(t, other.Close(), "one of the two is kept")
		assert.Equal(t, 1, s.count("stmt.Close"))

		// A statement that is closed while its rows are open is not free either.
		one, err = c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		rows, err := one.Query()
		require.NoError(t, err)
		require.NoError(t, one.Close())
		assert.Equal(t, 2, s.count("stmt.Close"))
		require.NoError(t, rows.Close())
		require.NoError(t, c.Close())
	})
}

func TestAStatementThatWasNotClosedIsTakenBackWithItsConnection(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, _ := open(t, s, quiet(1))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		st, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		require.NoError(t, c.Close())

		c, err = db.Conn(bg)
		require.NoError(t, err)
		again, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		assert.Equal(t, 1, s.count("Prepare"), "it was kept")
		require.NoError(t, st.Close(), "this does not touch the connection of somebody else")
		assert.Zero(t, s.count("stmt.Close"))
		_, err = again.Exec()
		require.NoError(t, err)
		_, err = st.Exec()
		require.Error(t, err)
		require.NoError(t, c.Close())
	})
}

func TestAConnectionKeepsTheStatementsThatWereUsedLast(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		cfg := quiet(1)
		cfg.StatementCache = 2
		db, _ := open(t, s, cfg)
		exec := func(query string) {
			_, err := db.Exec(query)
			require.NoError(t, err)
		}
		for _, query := range []string{"SELECT 1", "SELECT 2", "SELECT 1", "SELECT 3"} {
			exec(query)
		}
		assert.Equal(t, []string{"stmt.Close SELECT 2"}, s.told("Connect", "Prepare", "stmt.Exec"))
		exec("SELECT 1")
		assert.Zero(t, s.count("Prepare"))
		exec("SELECT 2")
		assert.Equal(t, 1, s.count("Prepare"))
	})
	virtually(t, func(t *testing.T) {
		s := &server{}
		cfg := quiet(1)
		cfg.StatementCache = NoStatements
		db, _ := open(t, s, cfg)
		for range 3 {
			_, err := db.Exec("SELECT 1")
			require.NoError(t, err)
		}
		assert.Equal(t, 3, s.count("stmt.Close"))
	})
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, _ := open(t, s, quiet(1))
		for i := range 100 {
			_, err := db.Exec(fmt.Sprintf("SELECT %d", i))
			require.NoError(t, err)
		}
		assert.Equal(t, 100-64, s.count("stmt.Close"))
	})
}

func TestAStatementThatFailedIsPreparedAnew(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{on: failing("stmt.Exec", 1, errApplication)}
		db, _ := open(t, s, quiet(1))
		_, err := db.Exec("INSERT")
		require.ErrorIs(t, err, errApplication)
		_, err = db.Exec("INSERT")
		require.NoError(t, err)
		assert.Equal(t, []string{"Prepare INSERT", "stmt.Exec INSERT[]", "stmt.Close INSERT", "Prepare INSERT", "stmt.Exec INSERT[]"},
			s.told("Connect"))
	})
}

func TestStatementsArePreparedAnewWhenTheirMeaningMayHaveChanged(t *testing.T) {
	for what, change := range map[string]func(db *sql.DB, c *sql.Conn) error{
		"a query":           func(_ *sql.DB, c *sql.Conn) error { _, err := c.ExecContext(bg, "USE other"); return err },
		"a query with rows": func(_ *sql.DB, c *sql.Conn) error { return c.QueryRowContext(bg, "/* set */ SET x").Scan(new(int)) },
		"Raw":               func(_ *sql.DB, c *sql.Conn) error { return Raw(c, func(any) error { return nil }) },
	} {
		virtually(t, func(t *testing.T) {
			s := &server{traits: 0b101}
			db, _ := open(t, s, quiet(1))
			c, err := db.Conn(bg)
			require.NoError(t, err)
			use := func() {
				st, err := c.PrepareContext(bg, "SELECT")
				require.NoError(t, err)
				require.NoError(t, st.Close())
			}
			use()
			open, err := c.PrepareContext(bg, "SELECT")
			require.NoError(t, err)
			require.NoError(t, change(db, c), what)
			require.NoError(t, open.Close(), "it is older than the change: not kept")
			assert.Equal(t, 1, s.count("Prepare"))
			use()
			assert.Equal(t, 2, s.count("Prepare"), what)
			require.NoError(t, c.Close())
		})
	}
	virtually(t, func(t *testing.T) {
		s := &server{}
		cfg := quiet(1)
		var got driver.Conn
		cfg.Reset = func(_ context.Context, c driver.Conn) error { got = c; return nil }
		db, _ := open(t, s, cfg)
		for range 2 {
			_, err := db.Exec("SELECT")
			require.NoError(t, err)
			synctest.Wait()
		}
		assert.IsType(t, &fakeConn{}, got, "Reset has the driver's own connection")
		assert.Equal(t, 2, s.count("Prepare"))
		assert.Equal(t, 2, s.count("stmt.Close"))
	})
}

func TestQueriesThatChangeTheSessionAreRecognised(t *testing.T) {
	for query, changes := range map[string]bool{
		"":                        false,
		"select 1":                false,
		" (SELECT 1) UNION x":     false,
		"\n-- USE x\n# SET\nWITH": false,
		"/* SET */INSERT":         false,
		"-- only a comment":       false,
		"use x":                   true,
		"SET search_path = x":     true,
		"DISCARD ALL":             true,
		"ALTER TABLE x":           true,
		"/* SELECT */ set x":      true,
		"/*!40101 SET x */":       true,
		"?":                       true,
	} {
		assert.Equal(t, changes, changesSession(query), query)
	}
}

func TestAPreparedStatementWhoseContextHasEndedIsKept(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, _ := open(t, s, quiet(1))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		st, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		require.NoError(t, st.Close())
		ended, cancel := context.WithCancel(bg)
		cancel()
		_, err = c.PrepareContext(ended, "SELECT")
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		assert.Equal(t, 1, s.count("Prepare"))
		require.NoError(t, c.Close())
	})
}
