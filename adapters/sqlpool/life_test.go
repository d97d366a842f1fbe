package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const (
	execAndQuery = 0b000101 // of setA
	resets       = 0b1000   // of setB
	pings        = 0b0001
	validates    = 0b0100
)

// stand opens n connections, uses each, and returns them.
func stand(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	conns := make([]*sql.Conn, n)
	for i := range conns {
		var err error
		conns[i], err = db.Conn(bg)
		require.NoError(t, err)
		_, err = conns[i].ExecContext(bg, "SELECT 1")
		require.NoError(t, err)
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	synctest.Wait()
}

// When all connections that are idle have died, no caller sees an error: whatever the
// driver has to find that out.
func TestNobodySeesAnErrorAfterAllIdleConnectionsHaveDied(t *testing.T) {
	for set := range 1 << len(setB) {
		virtually(t, func(t *testing.T) {
			s := &server{traits: set, shape: shapeB}
			db, pool := open(t, s, quiet(8))
			stand(t, db, 8)
			s.kill()
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() {
					_, err := db.Exec("INSERT")
					assert.NoError(t, err, names(set, setB...))
				})
			}
			callers.Wait()
			synctest.Wait()
			assert.Zero(t, pool.Stats().Borrowed)
		})
	}
}

// One connection that is found dead has those that were used no later checked, or closed
// where they cannot be: the third try of database/sql would find another dead one.
func TestOneDeathMakesTheOthersSuspect(t *testing.T) {
	for _, set := range []int{0, pings} {
		virtually(t, func(t *testing.T) {
			s := &server{traits: set, shape: shapeB}
			db, pool := open(t, s, quiet(4))
			stand(t, db, 4)
			s.hook(failing("ExecContext", 1, driver.ErrBadConn)) // one only: the others live
			_, err := db.Exec("INSERT")
			require.NoError(t, err)
			synctest.Wait()
			opened, _ := s.counts()
			if set == pings {
				assert.Equal(t, 3, s.count("Ping"))
				assert.Equal(t, 4, opened, "the others have answered")
			} else {
				assert.Greater(t, opened, 4)
				assert.LessOrEqual(t, pool.Stats().Idle, 2)
			}
		})
	}
}

func TestTheErrorsThatCondemnAConnection(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for _, c := range []struct {
		err    error
		broken func(error) bool
		closed int
	}{
		{errApplication, nil, 0},
		{context.Canceled, nil, 0},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), nil, 0},
		{reset, nil, 1},
		{io.ErrUnexpectedEOF, nil, 1},
		{reset, func(error) bool { return false }, 0},
		{errApplication, func(error) bool { return true }, 1},
		{driver.ErrSkip, func(error) bool { return true }, 0},
	} {
		virtually(t, func(t *testing.T) {
			s := &server{traits: execAndQuery, on: failing("ExecContext", 1, c.err)}
			cfg := quiet(1)
			cfg.Broken = c.broken
			db, pool := open(t, s, cfg)
			_, err := db.Exec("INSERT")
			if !errors.Is(c.err, driver.ErrSkip) {
				require.ErrorIs(t, err, c.err)
			}
			synctest.Wait()
			_, closed := s.counts()
			assert.Equal(t, c.closed, closed, "%v", c.err)
			assert.Zero(t, pool.Stats().Borrowed)
		})
	}
}

func TestAnInvalidConnectionIsClosed(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: validates | resets, shape: shapeB}
		s.on = func(c *fakeConn, op string) error {
			if op == "ExecContext" {
				c.invalidate()
				return context.Canceled
			}
			return nil
		}
		db, pool := open(t, s, quiet(2))
		_, err := db.Exec("INSERT")
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		_, closed := s.counts()
		assert.Equal(t, 1, closed)
		assert.Zero(t, pool.Stats().Open)
	})
}

func TestASessionIsResetOnceForEachLeaseButTheFirst(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: resets, shape: shapeB}
		db, pool := open(t, s, quiet(1))
		for range 3 {
			_, err := db.Exec("INSERT")
			require.NoError(t, err)
		}
		assert.Equal(t, 2, s.count("ResetSession"))
		lease, err := pool.Get(bg) // not through database/sql
		require.NoError(t, err)
		assert.IsType(t, struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cSessionResetter
		}{}, lease.Conn().(interface{ Unwrap() driver.Conn }).Unwrap())
		require.NoError(t, lease.Put())
		require.NoError(t, db.Ping())
		assert.Equal(t, 3, s.count("ResetSession"))
	})
}

func TestAConnectThatNeverSucceedsEnds(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: resets, shape: shapeB}
		db, pool := open(t, s, quiet(2))
		stand(t, db, 2)
		s.hook(func(_ *fakeConn, op string) error {
			if op == "ResetSession" {
				return driver.ErrBadConn
			}
			return nil
		})
		require.NoError(t, db.Ping(), "a new connection needs no reset")
		assert.LessOrEqual(t, s.count("ResetSession"), 2)
		s.hook(failing("Connect", 1, errTest))
		require.NoError(t, pool.Clear(bg, client.ClearOptions{}))
		err := db.Ping()
		require.ErrorIs(t, err, errTest)
		var get *messages.GetError
		require.ErrorAs(t, err, &get)
	})
}

// fatal calls f, which must panic with a value.
func fatal(t *testing.T, f func()) {
	t.Helper()
	assert.PanicsWithValue(t, "the driver", f)
}

// A panic of the driver reaches the caller, as in database/sql, but the connection is
// closed and its place is free.
func TestADriverThatPanicsLosesNoConnection(t *testing.T) {
	for op, use := range map[string]func(db *sql.DB){
		"ExecContext":  func(db *sql.DB) { _, _ = db.Exec("x") },
		"QueryContext": func(db *sql.DB) { rows, _ := db.Query("x"); _ = rows.Close() },
		"Prepare":      func(db *sql.DB) { st, _ := db.Prepare("x"); _ = st.Close() },
		"BeginTx":      func(db *sql.DB) { tx, _ := db.Begin(); _ = tx.Rollback() },
		"Commit":       func(db *sql.DB) { tx, _ := db.Begin(); _ = tx.Commit() },
		"Rollback":     func(db *sql.DB) { tx, _ := db.Begin(); _ = tx.Rollback() },
		"Ping":         func(db *sql.DB) { _ = db.Ping() },
		"IsValid":      func(db *sql.DB) { _ = db.Ping() },
		"ResetSession": func(db *sql.DB) { _ = db.Ping() },
		"stmt.Exec":    func(db *sql.DB) { st, _ := db.Prepare("x"); defer st.Close(); _, _ = st.Exec() },
		"stmt.Query":   func(db *sql.DB) { st, _ := db.Prepare("x"); defer st.Close(); _, _ = st.Query() },
	} {
		virtually(t, func(t *testing.T) {
			s := &server{traits: pings | validates | resets | 0b10, shape: shapeB}
			db, pool := open(t, s, quiet(1))
			stand(t, db, 1)
			var once sync.Once
			s.hook(func(_ *fakeConn, did string) error {
				if did == op {
					once.Do(func() { panic("the driver") })
				}
				return nil
			})
			fatal(t, func() { use(db) })
			synctest.Wait()
			assert.Zero(t, pool.Stats().Borrowed, op)
			require.NoError(t, db.PingContext(deadline(t, time.Second)), "the next caller is served")
			synctest.Wait()
			opened, closed := s.counts()
			assert.Equal(t, 1, opened-closed, op)
		})
	}
}

func TestAConnectThatPanicsOrReturnsNothingIsAnError(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{on: func(_ *fakeConn, op string) error { panic("the driver: " + op) }}
		db, _ := open(t, s, quiet(1))
		var panicked *messages.PanicError
		require.ErrorAs(t, db.Ping(), &panicked)
		s.hook(nil)
	})
	virtually(t, func(t *testing.T) {
		db, pool, err := OpenDB(nothing{}, quiet(1))
		require.NoError(t, err)
		require.ErrorIs(t, db.Ping(), messages.ErrNilConnection)
		require.NoError(t, db.Close())
		<-pool.Done()
	})
}

// nothing is a connector that returns neither a connection nor an error.
type nothing struct{}

func (nothing) Connect(context.Context) (driver.Conn, error) { return (*fakeConn)(nil), nil }
func (nothing) Driver() driver.Driver                        { return nil }

func TestTheContextOfACallerEndsItsWait(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, _ := open(t, s, quiet(1))
		rows, err := db.Query("SELECT") // never closed by its owner
		require.NoError(t, err)
		begun := time.Now()
		_, err = db.ExecContext(deadline(t, time.Second), "INSERT")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var get *messages.GetError
		require.ErrorAs(t, err, &get, "it says what the pool looks like")
		assert.Equal(t, time.Second, time.Since(begun))
		require.NoError(t, rows.Close())
	})
	virtually(t, func(t *testing.T) { // while it connects
		s := &server{traits: execAndQuery, on: func(_ *fakeConn, op string) error {
			if op == "Connect" {
				time.Sleep(3 * time.Second)
			}
			return nil
		}}
		db, pool := open(t, s, quiet(1))
		_, err := db.ExecContext(deadline(t, time.Second), "INSERT")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = db.ExecContext(deadline(t, 3*time.Second), "INSERT")
		require.NoError(t, err, "the connect goes on for the next")
		assert.Zero(t, pool.Stats().Borrowed)
	})
}

func TestWhatIsLeftOpenComesBackWithItsContext(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: validates | resets, shape: shapeB}
		db, pool := open(t, s, quiet(2))
		ctx, cancel := context.WithCancel(bg)
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.Query("SELECT") // rows, too
		require.NoError(t, err)
		_, err = db.QueryContext(ctx, "SELECT")
		require.NoError(t, err)
		assert.Equal(t, 2, pool.Stats().Borrowed)
		cancel()
		synctest.Wait()
		assert.Zero(t, pool.Stats().Borrowed)
		assert.Equal(t, 2, pool.Stats().Idle, "they can be used again")
		assert.Equal(t, 1, s.count("Rollback"))
	})
}

func TestCloseWaitsForWhatIsInUseButNotForEver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		cfg := quiet(1)
		cfg.CloseTimeout = 2 * time.Second
		db, pool, err := OpenDB(s, cfg)
		require.NoError(t, err)
		rows, err := db.Query("SELECT")
		require.NoError(t, err)
		begun := time.Now()
		var drain *messages.DrainError
		require.ErrorAs(t, db.Close(), &drain)
		assert.Equal(t, 2*time.Second, time.Since(begun))
		require.NoError(t, rows.Close())
		<-pool.Done()
		opened, closed := s.counts()
		assert.Equal(t, opened, closed)
		require.Error(t, db.Ping())
	})
}

// closable is a connector with a method Close.
type closable struct {
	*server
	err error
}

func (c closable) Close() error { return c.err }

func TestCloseAlsoClosesTheConnector(t *testing.T) {
	virtually(t, func(t *testing.T) {
		db, _, err := OpenDB(closable{&server{}, errTest}, quiet(1))
		require.NoError(t, err)
		require.ErrorIs(t, db.Close(), errTest)
	})
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, _, err := OpenDB(closable{s, errTest}, quiet(1))
		require.NoError(t, err)
		rows, err := db.Query("SELECT")
		require.NoError(t, err)
		err = db.Close()
		require.ErrorIs(t, err, errTest)
		var drain *messages.DrainError
		require.ErrorAs(t, err, &drain)
		assert.NotContains(t, err.Error(), "\n")
		require.NoError(t, rows.Close())
		synctest.Wait()
	})
}

// The pool ends a lease by itself: its holder's next call fails, and the driver is not
// called for it any more.
func TestALeaseThatThePoolEndsIsOverForItsHolder(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, pool := open(t, s, quiet(1))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		st, err := c.PrepareContext(bg, "SELECT")
		require.NoError(t, err)
		require.NoError(t, pool.Clear(bg, client.ClearOptions{Interrupt: true}))
		synctest.Wait()
		s.told()
		_, err = st.Exec()
		require.ErrorIs(t, err, sql.ErrConnDone, "database/sql has given it up")
		_, err = c.ExecContext(bg, "INSERT")
		require.ErrorIs(t, err, sql.ErrConnDone)
		_ = c.Close()
		_ = st.Close()
		assert.Empty(t, s.told())
		require.NoError(t, db.Ping())
	})
}

// Nor does a Broken that panics.
func TestABrokenThatPanicsLosesNoConnection(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery, on: failing("QueryContext", 1, errApplication)}
		cfg := quiet(1)
		cfg.Broken = func(error) bool { panic("the driver") }
		db, pool := open(t, s, cfg)
		fatal(t, func() { _, _ = db.Query("SELECT") })
		synctest.Wait()
		assert.Zero(t, pool.Stats().Borrowed)
		require.NoError(t, db.PingContext(deadline(t, time.Second)))
	})
}
