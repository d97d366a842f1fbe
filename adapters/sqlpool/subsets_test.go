package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// decimal is a value that drivers may take as it is, or by its method Value.
type decimal struct{}

func (decimal) Decompose([]byte) (form byte, negative bool, coefficient []byte, exponent int32) {
	return 0, false, []byte{1}, 0
}
func (decimal) Value() (driver.Value, error) { return "1 by Value", nil }

// counted counts how often it is asked for its value.
type counted struct{ n *int }

func (c counted) Value() (driver.Value, error) {
	*c.n++
	return "counted", nil
}

// world is a *sql.DB over a server of its own: plain, or through the pool.
type world struct {
	db *sql.DB
	s  *server
}

// outcome is what a caller sees, in words.
func outcome(result any, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprint(result)
}

func exec(ctx context.Context, w world, query string, args ...any) string {
	result, err := w.db.ExecContext(ctx, query, args...)
	if err != nil {
		return outcome(nil, err)
	}
	return outcome(result.RowsAffected())
}

func query(ctx context.Context, w world, query string, args ...any) string {
	var n int
	err := w.db.QueryRowContext(ctx, query, args...).Scan(&n)
	return outcome(n, err)
}

// both runs a text with arguments as Exec and as Query.
func both(args ...any) func(w world, text string) string {
	return func(w world, text string) string {
		return exec(bg, w, "INSERT "+text, args...) + "; " + query(bg, w, "SELECT "+text, args...)
	}
}

// hooked fails an operation with err while f runs.
func hooked(w world, f func() string, err error, ops ...string) string {
	w.s.hook(func(_ *fakeConn, op string) error {
		for _, failing := range ops {
			if op == failing {
				return err
			}
		}
		return nil
	})
	defer w.s.hook(nil)
	return f()
}

var shortcuts = []string{"ExecContext", "Exec", "QueryContext", "Query"}

// queries are all that database/sql does with the interfaces of setA and setStmt.
var queries = []struct {
	name string
	run  func(w world, text string) string
}{
	{"plain values", both(1, "x", nil)},
	{"no values", both()},
	{"a value that only checkers and converters take", both(odd{})},
	{"a value that checkers remove", both(left{})},
	{"a value that nobody takes", both(make(chan int))},
	{"too many, one of which nobody takes", func(w world, text string) string { return both(1, make(chan int))(w, text+"?") }},
	{"too few", func(w world, text string) string { return both(1)(w, text+"??") }},
	{"a decimal", both(decimal{})},
	{"a named value", both(sql.Named("n", 1))},
	{"a value that is asked for", func(w world, text string) string {
		n := 0
		return both(counted{&n})(w, text) + fmt.Sprintf("; asked %d times", n)
	}},
	{"the driver skips", func(w world, text string) string {
		return hooked(w, func() string { return both(1)(w, text) }, driver.ErrSkip, shortcuts...)
	}},
	{"the driver fails", func(w world, text string) string {
		return hooked(w, func() string { return both(1)(w, text) }, errApplication,
			append(shortcuts, "stmt.ExecContext", "stmt.Exec", "stmt.QueryContext", "stmt.Query")...)
	}},
	{"it cannot be prepared", func(w world, text string) string {
		return hooked(w, func() string {
			_, err := w.db.Prepare("SELECT " + text)
			return outcome(nil, err)
		}, errApplication, "Prepare")
	}},
	{"the context ends while it is prepared", func(w world, text string) string {
		ctx, cancel := context.WithCancel(bg)
		w.s.hook(func(_ *fakeConn, op string) error {
			if op == "Prepare" {
				cancel()
			}
			return nil
		})
		defer w.s.hook(nil)
		st, err := w.db.PrepareContext(ctx, "SELECT "+text)
		cancel()
		if err == nil {
			defer st.Close()
		}
		return outcome("prepared", err)
	}},
	{"prepared", func(w world, text string) string {
		st, err := w.db.Prepare("SELECT " + text + "?")
		if err != nil {
			return outcome(nil, err)
		}
		defer st.Close()
		var told []string
		for _, arg := range []any{1, odd{}, left{}, decimal{}, sql.Named("n", 1)} {
			_, err := st.Exec(arg)
			var n int
			told = append(told, outcome("done", err), outcome(n, st.QueryRow(arg).Scan(&n)))
		}
		return strings.Join(told, "; ")
	}},
	{"within a transaction", func(w world, text string) string {
		tx, err := w.db.Begin()
		if err != nil {
			return outcome(nil, err)
		}
		defer tx.Rollback()
		_, err = tx.Exec("INSERT "+text, 1, odd{})
		var n int
		return outcome("done", err) + outcome(n, tx.QueryRow("SELECT "+text, 1).Scan(&n)) + outcome("", tx.Commit())
	}},
}

// plainly makes the two worlds that are compared. The settings of database/sql make no
// difference.
func plainly(t *testing.T, settings func(*sql.DB), one, other *server) (plain, pooled world) {
	plain = world{sql.OpenDB(one), one}
	t.Cleanup(func() { _ = plain.db.Close() })
	db, _, err := OpenDB(other, quiet(1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	settings(db)
	return plain, world{db, other}
}

// settings are those of database/sql under which all is the same: it keeps a conn for the
// next caller, or makes one for each; it opens one in the caller's turn, or aside.
var settings = []struct {
	name string
	set  func(*sql.DB)
}{
	{"as OpenDB leaves it", func(*sql.DB) {}},
	{"SetMaxIdleConns(-1)", func(db *sql.DB) { db.SetMaxIdleConns(-1) }},
	{"SetMaxOpenConns(1)", func(db *sql.DB) { db.SetMaxOpenConns(1) }},
}

// What a caller sees, and what the driver is asked to do, is the same in every combination
// of the interfaces that have to do with queries.
func TestQueriesBehaveAsWithoutThePoolWhateverTheDriverHas(t *testing.T) {
	for i := range len(settings) << len(setA) {
		virtually(t, func(t *testing.T) {
			set, under := i%(1<<len(setA)), settings[i>>len(setA)]
			plain, pooled := plainly(t, under.set, &server{traits: set}, &server{traits: set})
			for stmt := range 1 << len(setStmt) {
				plain.s.stmtTraits, pooled.s.stmtTraits = stmt, stmt
				for i, q := range queries {
					text := fmt.Sprintf("%d.%d ", stmt, i)
					want, got := q.run(plain, text), q.run(pooled, text)
					// Statements are kept: they are closed later, and not prepared again.
					asked, did := plain.s.told("stmt.Close"), pooled.s.told("stmt.Close")
					if want != got || strings.Join(asked, "\n") != strings.Join(did, "\n") {
						t.Fatalf("%s, by a connection with %s and a statement with %s, %s\nwithout the pool: %s %q\nwith it: %s %q",
							q.name, names(set, setA...), names(stmt, setStmt...), under.name, want, asked, got, did)
					}
				}
			}
		})
	}
}

// sessions are all that database/sql does with the interfaces of setB.
var sessions = []struct {
	name string
	run  func(w world) string
}{
	{"ping", func(w world) string { return outcome("", w.db.Ping()) }},
	{"ping fails", func(w world) string {
		return hooked(w, func() string { return outcome("", w.db.Ping()) }, errApplication, "Ping")
	}},
	{"the connection is dead when it is pinged", func(w world) string {
		return hooked(w, func() string { return outcome("", w.db.Ping()) }, driver.ErrBadConn, "Ping")
	}},
	{"commit", func(w world) string { return transaction(bg, w, nil, (*sql.Tx).Commit) }},
	{"rollback", func(w world) string { return transaction(bg, w, nil, (*sql.Tx).Rollback) }},
	{"isolation", func(w world) string {
		return transaction(bg, w, &sql.TxOptions{Isolation: sql.LevelSerializable}, (*sql.Tx).Commit)
	}},
	{"read only", func(w world) string { return transaction(bg, w, &sql.TxOptions{ReadOnly: true}, (*sql.Tx).Commit) }},
	{"begin fails", func(w world) string {
		return hooked(w, func() string { return transaction(bg, w, nil, (*sql.Tx).Commit) }, errApplication, "Begin", "BeginTx")
	}},
	{"the connection is dead at every begin", func(w world) string {
		return hooked(w, func() string { return transaction(bg, w, nil, (*sql.Tx).Commit) }, driver.ErrBadConn, "Begin", "BeginTx")
	}},
	{"the context ends during begin", func(w world) string {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		w.s.hook(func(_ *fakeConn, op string) error {
			if op == "Begin" || op == "BeginTx" {
				cancel()
			}
			return nil
		})
		defer w.s.hook(nil)
		tx, err := w.db.BeginTx(ctx, nil)
		synctest.Wait()
		if err == nil {
			err = tx.Commit()
		}
		return outcome("", err)
	}},
	{"the context of a transaction ends", func(w world) string {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			return outcome(nil, err)
		}
		cancel()
		synctest.Wait()
		return outcome("", tx.Commit())
	}},
	{"commit fails", func(w world) string {
		return hooked(w, func() string { return transaction(bg, w, nil, (*sql.Tx).Commit) }, errApplication, "Commit")
	}},
	{"the connection is dead at commit", func(w world) string {
		return hooked(w, func() string { return transaction(bg, w, nil, (*sql.Tx).Commit) }, driver.ErrBadConn, "Commit")
	}},
	{"a query makes the connection invalid", func(w world) string {
		w.s.hook(func(c *fakeConn, op string) error {
			if op == "ExecContext" {
				c.invalidate()
				return errApplication
			}
			return nil
		})
		defer w.s.hook(nil)
		return exec(bg, w, "INSERT")
	}},
	{"the session cannot be reset", func(w world) string {
		return hooked(w, func() string { return exec(bg, w, "INSERT") }, errApplication, "ResetSession")
	}},
	{"the session is found dead when it is reset", func(w world) string {
		n := 0
		w.s.hook(func(_ *fakeConn, op string) error {
			if op == "ResetSession" {
				if n++; n == 1 {
					return fmt.Errorf("closed by the server: %w", driver.ErrBadConn)
				}
			}
			return nil
		})
		defer w.s.hook(nil)
		return exec(bg, w, "INSERT")
	}},
	{"every query finds a dead connection", func(w world) string {
		return hooked(w, func() string { return exec(bg, w, "INSERT") }, driver.ErrBadConn, "ExecContext")
	}},
	{"on one connection", func(w world) string {
		c, err := w.db.Conn(bg)
		if err != nil {
			return outcome(nil, err)
		}
		_, err = c.ExecContext(bg, "INSERT")
		told := outcome("done", err) + outcome("", c.PingContext(bg))
		return told + outcome("", c.Close()) + outcome("", c.PingContext(bg))
	}},
}

func transaction(ctx context.Context, w world, o *sql.TxOptions, end func(*sql.Tx) error) string {
	tx, err := w.db.BeginTx(ctx, o)
	if err != nil {
		return outcome(nil, err)
	}
	_, err = tx.Exec("INSERT")
	return outcome("done", errors.Join(err, end(tx)))
}

// The same of transactions, pings and the life of a connection. How many connections are
// opened and closed is compared, too.
func TestSessionsBehaveAsWithoutThePoolWhateverTheDriverHas(t *testing.T) {
	for i := range len(settings) << len(setB) {
		set, under := i%(1<<len(setB)), settings[i>>len(setB)]
		for _, try := range sessions {
			virtually(t, func(t *testing.T) {
				plain, pooled := plainly(t, under.set, &server{traits: set, shape: shapeB}, &server{traits: set, shape: shapeB})
				var told [2]string
				for i, w := range []world{plain, pooled} {
					// Before it, so that the connection has been used; after it, so that it is used again.
					told[i] = strings.Join([]string{exec(bg, w, "INSERT"), try.run(w), exec(bg, w, "INSERT")}, "; ")
					synctest.Wait()
					opened, closed := w.s.counts()
					told[i] += fmt.Sprintf("; %d opened, %d closed: %q", opened, closed, w.s.told())
				}
				if told[0] != told[1] {
					t.Fatalf("%s, by a connection with %s, %s\nwithout the pool: %s\nwith it: %s",
						try.name, names(set, setB...), under.name, told[0], told[1])
				}
			})
		}
	}
}
