//go:build unix

package sqlpool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/actorpool/actorpool/adapters/sqlpool"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// each runs a test with all three databases.
func each(t *testing.T, f func(t *testing.T, d database)) {
	t.Run("MariaDB", func(t *testing.T) { f(t, maria(t, nil)) })
	t.Run("PostgreSQL", func(t *testing.T) { f(t, postgres(t)) })
	t.Run("SQLite", func(t *testing.T) { f(t, sqlite(t)) })
}

// eachServer runs a test with the databases that have a server.
func eachServer(t *testing.T, f func(t *testing.T, d database)) {
	t.Run("MariaDB", func(t *testing.T) { f(t, maria(t, nil)) })
	t.Run("PostgreSQL", func(t *testing.T) { f(t, postgres(t)) })
}

func TestADatabaseIsUsedByMany(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db, pool := open(t, d, sqlpool.Config{})
		_, err := db.Exec("DROP TABLE IF EXISTS counters")
		require.NoError(t, err)
		_, err = db.Exec("CREATE TABLE counters (id INT PRIMARY KEY, n INT NOT NULL)")
		require.NoError(t, err)
		insert, err := db.Prepare(strings.NewReplacer("?", d.holder).Replace("INSERT INTO counters VALUES (?, 0)"))
		require.NoError(t, err)
		for i := range 4 {
			_, err := insert.Exec(i)
			require.NoError(t, err)
		}
		require.NoError(t, insert.Close())
		require.NoError(t, insert.Close(), "closed twice")
		update := strings.NewReplacer("?", d.holder).Replace("UPDATE counters SET n = n + 1 WHERE id = ?")
		query := strings.NewReplacer("?", d.holder).Replace("SELECT n FROM counters WHERE id = ?")
		assert.Empty(t, at(16, func(i int) error {
			ctx := within(t, longTimeout)
			for round := range 10 {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, update, i%4)
				var n int
				err = errors.Join(err, tx.QueryRowContext(ctx, query, i%4).Scan(&n))
				if round == 9 {
					err = errors.Join(err, tx.Rollback())
				} else {
					err = errors.Join(err, tx.Commit())
				}
				if err != nil {
					return err
				}
			}
			return nil
		}))
		var sum int
		require.NoError(t, db.QueryRow("SELECT SUM(n) FROM counters").Scan(&sum))
		assert.Equal(t, 16*9, sum)
		stats, err := sqlpool.Stats(db)
		require.NoError(t, err)
		assert.Empty(t, stats.Warnings)
		assert.LessOrEqual(t, stats.Pool.Open, size)
		assert.Zero(t, pool.Stats().Borrowed)
		if d.control != nil {
			testkit.Eventually(t, func() error { // a connect may still be under way
				have, err := d.sessions()
				if open := pool.Stats().Open; err == nil && have != open {
					err = fmt.Errorf("the server has %d connections, the pool %d", have, open)
				}
				return err
			})
		}

		// A unique key that is violated costs neither the statement of others nor a connection.
		before := pool.Stats().Connects
		_, err = db.Exec("INSERT INTO counters VALUES (1, 1)")
		require.Error(t, err)
		require.NoError(t, db.Ping())
		assert.Equal(t, before, pool.Stats().Connects)
	})
}

func TestWhatIsLeftOpenComesBack(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db, pool := open(t, d, sqlpool.Config{Capacity: 2, CloseTimeout: 200 * time.Millisecond})
		ctx, cancel := context.WithCancel(bg)
		_, err := db.QueryContext(ctx, "SELECT 1") //nolint:rowserrcheck,sqlclosecheck // that is the test
		require.NoError(t, err)
		_, err = db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = db.ExecContext(within(t, 100*time.Millisecond), "SELECT 1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var get *messages.GetError
		require.ErrorAs(t, err, &get)
		cancel()
		testkit.Eventually(t, func() error {
			if n := pool.Stats().Borrowed; n != 0 {
				return fmt.Errorf("%d are borrowed", n)
			}
			return nil
		})
		require.NoError(t, db.PingContext(within(t, longTimeout)))
	})
}

func TestAQueryThatIsCancelledHarmsNobody(t *testing.T) {
	for _, d := range []struct {
		query string
		of    func(t *testing.T) database
	}{
		{"SELECT SLEEP(30)", func(t *testing.T) database { return maria(t, nil) }},
		{"SELECT pg_sleep(30)", postgres},
		{"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n", sqlite},
	} {
		d := struct {
			database
			query string
		}{d.of(t), d.query}
		t.Run(d.name, func(t *testing.T) {
			db, pool := open(t, d.database, sqlpool.Config{Capacity: 4})
			stand(t, db, 4)
			errs := at(8, func(int) error {
				_, err := db.ExecContext(within(t, 100*time.Millisecond), d.query)
				return err
			})
			assert.Len(t, errs, 8)
			assert.Empty(t, at(8, func(int) error { return db.PingContext(within(t, longTimeout)) }))
			assert.Zero(t, pool.Stats().Borrowed)
		})
	}
}

// prepares is how many statements the server has prepared.
func prepares(t *testing.T, d database) (n int) {
	t.Helper()
	var name string
	require.NoError(t, d.control.QueryRow("SHOW GLOBAL STATUS LIKE 'Com_stmt_prepare'").Scan(&name, &n))
	return n
}

func TestAStatementIsPreparedOnceForEachConnection(t *testing.T) {
	d := maria(t, nil)
	db, _ := open(t, d, sqlpool.Config{})
	before := prepares(t, d)
	st, err := db.Prepare("SELECT ? + 1")
	require.NoError(t, err)
	assert.Empty(t, at(100, func(i int) error {
		var n int
		return st.QueryRow(i).Scan(&n)
	}))
	require.NoError(t, st.Close())
	assert.LessOrEqual(t, prepares(t, d)-before, size)
	assert.Empty(t, at(100, func(i int) error { // the driver has it prepared for its arguments
		var n int
		return db.QueryRow("SELECT ? + 1", i).Scan(&n)
	}))
	assert.LessOrEqual(t, prepares(t, d)-before, size)
}

// A statement that was prepared in one schema is not used in another.
func TestAStatementFollowsTheSchema(t *testing.T) {
	d := maria(t, nil)
	db, _ := open(t, d, sqlpool.Config{Capacity: 1})
	for _, schema := range []string{"one", "other"} {
		_, err := d.control.Exec(fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %[1]s; CREATE OR REPLACE TABLE %[1]s.t AS SELECT '%[1]s' AS name", schema))
		require.NoError(t, err)
	}
	c, err := db.Conn(bg)
	require.NoError(t, err)
	for _, schema := range []string{"one", "other"} {
		_, err := c.ExecContext(bg, "USE "+schema)
		require.NoError(t, err)
		var name string
		require.NoError(t, c.QueryRowContext(bg, "SELECT name FROM t WHERE name <> ?", "").Scan(&name))
		assert.Equal(t, schema, name)
	}
	require.NoError(t, c.Close())
}

func TestRawReachesTheDriver(t *testing.T) {
	db, _ := open(t, postgres(t), sqlpool.Config{})
	c, err := db.Conn(bg)
	require.NoError(t, err)
	require.NoError(t, sqlpool.Raw(c, func(driverConn any) error {
		_, err := driverConn.(*stdlib.Conn).Conn().Exec(bg, "SELECT 1")
		return err
	}))
	require.NoError(t, c.Close())
}

func TestGormWorks(t *testing.T) {
	db, pool := open(t, maria(t, nil), sqlpool.Config{})
	g, err := gorm.Open(gormmysql.New(gormmysql.Config{Conn: db}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	type Product struct {
		ID    uint
		Name  string
		Price int
	}
	require.NoError(t, g.Migrator().DropTable(&Product{}))
	require.NoError(t, g.AutoMigrate(&Product{}))
	require.NoError(t, g.Create(&Product{Name: "bolt", Price: 3}).Error)
	require.Error(t, g.Transaction(func(tx *gorm.DB) error {
		return errors.Join(tx.Create(&Product{Name: "nut"}).Error, errors.New("roll back"))
	}))
	var found []Product
	require.NoError(t, g.Where("price > ?", 1).Find(&found).Error)
	require.Len(t, found, 1)
	assert.Equal(t, "bolt", found[0].Name)
	assert.Zero(t, pool.Stats().Borrowed)
}

func TestSqlxWorks(t *testing.T) {
	plain, pool := open(t, postgres(t), sqlpool.Config{})
	db := sqlx.NewDb(plain, "pgx")
	_, err := db.Exec("DROP TABLE IF EXISTS people")
	require.NoError(t, err)
	db.MustExec("CREATE TABLE people (id INT, name TEXT)")
	type person struct {
		ID   int
		Name string
	}
	_, err = db.NamedExec("INSERT INTO people (id, name) VALUES (:id, :name)", []person{{1, "Ada"}, {2, "Grace"}})
	require.NoError(t, err)
	var people []person
	require.NoError(t, db.Select(&people, "SELECT * FROM people ORDER BY id"))
	assert.Equal(t, []person{{1, "Ada"}, {2, "Grace"}}, people)
	var one person
	st, err := db.PrepareNamed("SELECT * FROM people WHERE name = :name")
	require.NoError(t, err)
	require.NoError(t, st.Get(&one, person{Name: "Ada"}))
	require.NoError(t, st.Close())
	assert.Equal(t, 1, one.ID)
	assert.Zero(t, pool.Stats().Borrowed)
}

// compared runs callers against a *sql.DB without a pool and then against one with it, after
// the same disaster, and says how many of them fail.
func compared(t *testing.T, d database, disaster func(t *testing.T)) {
	t.Helper()
	var failed [2][]error
	for i := range failed {
		var db *sql.DB
		if i == 0 {
			db = plain(d)
			defer db.Close()
		} else {
			db, _ = open(t, d, sqlpool.Config{})
		}
		stand(t, db, size)
		disaster(t)
		failed[i] = at(callers, func(int) error {
			var n int
			return db.QueryRowContext(within(t, longTimeout), "SELECT 1").Scan(&n)
		})
		if i == 0 {
			require.NoError(t, db.Close())
		}
	}
	t.Logf("of %d callers fail: %d without the pool, %d with it", callers, len(failed[0]), len(failed[1]))
	assert.LessOrEqual(t, len(failed[1]), len(failed[0]), "%v", failed[1])
}

func TestNoMoreCallersSeeAnErrorAfterAllIdleSessionsWereKilled(t *testing.T) {
	eachServer(t, func(t *testing.T, d database) { compared(t, d, d.killAll) })
}

func TestNoMoreCallersSeeAnErrorAfterARestart(t *testing.T) {
	eachServer(t, func(t *testing.T, d database) {
		compared(t, d, func(t *testing.T) {
			require.NoError(t, d.restart())
			testkit.Eventually(t, func() error { return d.control.Ping() })
		})
	})
}

func TestSessionsThatTheServerHasTimedOutHarmNobody(t *testing.T) {
	d := maria(t, func(c *mysql.Config) { c.Params = map[string]string{"wait_timeout": "1"} })
	db, _ := open(t, d, sqlpool.Config{})
	stand(t, db, size)
	d.counts(t, 0)
	assert.Empty(t, at(callers, func(int) error {
		var n int
		return db.QueryRowContext(within(t, longTimeout), "SELECT 1").Scan(&n)
	}))
}

func TestAServersLimitBelowTheCapacityCostsNobodyAnError(t *testing.T) {
	d := maria(t, nil)
	var name string
	var before int
	require.NoError(t, d.control.QueryRow("SHOW GLOBAL VARIABLES LIKE 'max_connections'").Scan(&name, &before))
	_, err := d.control.Exec("SET GLOBAL max_connections = 10") // the least that is allowed
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := d.control.Exec(fmt.Sprintf("SET GLOBAL max_connections = %d", before))
		assert.NoError(t, err)
	})
	db, pool := open(t, d, sqlpool.Config{Capacity: 20})
	assert.Empty(t, at(callers, func(int) error {
		for range 20 {
			var n int
			if err := db.QueryRowContext(within(t, longTimeout), "SELECT SLEEP(0.001)").Scan(&n); err != nil {
				return err
			}
		}
		return nil
	}))
	assert.NotZero(t, pool.Stats().ConnectErrors)
}
