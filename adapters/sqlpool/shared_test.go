package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const checks = 0b100000 // of setA

// soon calls f, and fails the test if it takes long in real time. unblock lets f end then.
func soon(t *testing.T, what string, f, unblock func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error(what)
		unblock()
		<-done
	}
}

// A sql.Result takes the lock of the database/sql connection that made it, whenever it is
// read. So nobody may wait for a connection under that lock: here the reader holds what the
// other waits for. In real time: in virtual time it would hang.
func TestAResultCanBeReadWhileAnotherCallerWaits(t *testing.T) {
	db, pool := open(t, &server{traits: execAndQuery}, quiet(1))
	waits := func() bool { return pool.Stats().Waiting == 1 }
	ping := func(callers *sync.WaitGroup) {
		callers.Go(func() { assert.NoError(t, db.Ping()) })
		require.Eventually(t, waits, 10*time.Second, time.Millisecond)
	}
	c, err := db.Conn(bg)
	require.NoError(t, err)
	result, err := c.ExecContext(bg, "INSERT")
	require.NoError(t, err)
	var callers sync.WaitGroup
	ping(&callers)
	require.NoError(t, c.Close())
	callers.Wait() // now the handle of the result lies below another one

	tx, err := db.Begin() // takes that
	require.NoError(t, err)
	ping(&callers) // takes the handle of the result
	soon(t, "a result waits for a caller that waits for the transaction of its reader", func() {
		_, err := result.RowsAffected()
		assert.NoError(t, err)
		_, _ = result.LastInsertId()
	}, func() { assert.NoError(t, tx.Rollback()) })
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		require.NoError(t, err)
	}
	callers.Wait()
}

// The same in the life of a program, with many callers that each read the result of one
// statement while they hold a transaction.
func TestResultsAreReadWithinTransactions(t *testing.T) {
	db, pool := open(t, &server{traits: execAndQuery}, quiet(2))
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for range 50 {
				result, err := db.ExecContext(ctx, "INSERT")
				if !assert.NoError(t, err) {
					return
				}
				runtime.Gosched() // others come between
				tx, err := db.BeginTx(ctx, nil)
				if !assert.NoError(t, err) {
					return
				}
				runtime.Gosched()
				_, err = result.RowsAffected()
				assert.NoError(t, errors.Join(err, tx.Commit()))
			}
		})
	}
	soon(t, "callers wait for one another", callers.Wait, cancel)
	assert.Zero(t, pool.Stats().Borrowed)
}

// resulting is a connection whose results use it, as drivers may: database/sql holds the lock
// of a connection while its results are read.
type resulting struct {
	*fakeConn
	inUse, clashes *atomic.Int32
}

func (r *resulting) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	r.inUse.Add(1)
	time.Sleep(time.Millisecond)
	r.inUse.Add(-1)
	return r, nil
}

func (r *resulting) LastInsertId() (int64, error) {
	if r.inUse.Add(1) > 1 {
		r.clashes.Add(1)
	}
	time.Sleep(time.Millisecond)
	r.inUse.Add(-1)
	return int64(r.id), nil
}

func (r *resulting) RowsAffected() (int64, error) { return 1, errApplication }

func TestAResultIsReadWhileItsConnectionIsHeld(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var inUse, clashes atomic.Int32
		s := &server{shape: func(c *fakeConn, _ int) driver.Conn { return &resulting{c, &inUse, &clashes} }}
		db, _ := open(t, s, quiet(1))
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 20 {
					result, err := db.Exec("INSERT")
					if !assert.NoError(t, err) {
						return
					}
					n, err := result.LastInsertId()
					assert.NoError(t, err)
					assert.EqualValues(t, 1, n)
					_, err = result.RowsAffected()
					assert.ErrorIs(t, err, errApplication)
				}
			})
		}
		callers.Wait()
		assert.Zero(t, clashes.Load(), "somebody else used the connection meanwhile")
	})
}

// Whoever asks a connection in Raw whether it is valid does not return it.
func TestAConnectionIsAskedInRawWithinATransaction(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, pool := open(t, s, quiet(2))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		tx, err := c.BeginTx(bg, nil)
		require.NoError(t, err)
		require.NoError(t, c.Raw(func(driverConn any) error {
			assert.True(t, driverConn.(driver.Validator).IsValid())
			return nil
		}))
		assert.Equal(t, 1, pool.Stats().Borrowed, "it is in use")
		require.NoError(t, tx.Commit())
		require.NoError(t, c.Close())
		assert.Zero(t, pool.Stats().Borrowed)

		c, err = db.Conn(bg)
		require.NoError(t, err)
		require.NoError(t, c.Raw(func(driverConn any) error {
			assert.True(t, driverConn.(driver.Validator).IsValid())
			return nil
		}))
		_, err = c.ExecContext(bg, "INSERT")
		require.ErrorIs(t, err, driver.ErrBadConn, "what it had known, another one does not know")
		_ = c.Close()
		require.NoError(t, db.Ping())
	})
}

// The error of a Get that fails is not replaced by one of the arguments, which the driver has
// not seen.
func TestAFailedGetIsReportedWhateverTheArgumentsAre(t *testing.T) {
	virtually(t, func(t *testing.T) {
		db, pool := open(t, &server{traits: execAndQuery | checks}, quiet(1))
		rows, err := db.Query("SELECT ?", odd{}) // so that a handle is kept
		require.NoError(t, err)
		require.NoError(t, rows.Close())
		lease, err := pool.Get(bg)
		require.NoError(t, err)
		var get *messages.GetError
		_, err = db.ExecContext(deadline(t, time.Second), "INSERT ?", odd{})
		require.ErrorAs(t, err, &get)
		require.NotContains(t, err.Error(), "argument")
		require.ErrorAs(t, db.QueryRowContext(deadline(t, time.Second), "SELECT ?", odd{}).Err(), &get)
		require.NoError(t, lease.Put())
	})
}

// database/sql connects aside with SetMaxOpenConns, and keeps what nobody wants any more. It
// keeps no connection of the pool by that.
func TestSetMaxOpenConnsKeepsNoConnection(t *testing.T) {
	virtually(t, func(t *testing.T) {
		db, pool := open(t, &server{traits: execAndQuery | checks}, quiet(1))
		db.SetMaxOpenConns(3)
		held, err := pool.Get(bg)
		require.NoError(t, err)
		var gone sync.WaitGroup
		for i := range 4 { // three wait in the pool, and one in database/sql, which connects for it when the first gives up
			ctx := deadline(t, time.Duration(i+1)*time.Second)
			gone.Go(func() { assert.Error(t, db.PingContext(ctx)) })
			synctest.Wait()
		}
		gone.Wait()
		served := make(chan error, 1)
		go func() { served <- db.PingContext(deadline(t, time.Hour)) }()
		synctest.Wait()
		require.NoError(t, held.Put())
		synctest.Wait()
		assert.Zero(t, pool.Stats().Borrowed, "nobody uses a connection")
		require.NoError(t, <-served)
		c, err := db.Conn(bg)
		require.NoError(t, err)
		_, err = c.ExecContext(bg, "INSERT ?", odd{})
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}

// Arguments that are checked only when there is a connection are checked as ever.
func TestArgumentsAreCheckedLate(t *testing.T) {
	for _, traits := range []int{execAndQuery, execAndQuery | checks} {
		virtually(t, func(t *testing.T) {
			text := func(db *sql.DB, s *server, arg any) string {
				c, err := db.Conn(bg)
				require.NoError(t, err)
				_, err = c.ExecContext(bg, "INSERT", 1, arg)
				told := outcome("done", err)
				require.NoError(t, c.Close())
				for _, op := range s.told("Connect", "IsValid") {
					told += "; " + op
				}
				return told
			}
			for _, arg := range []any{2, odd{}, left{}, decimal{}, make(chan int), sql.Named("n", make(chan int)), sql.Named("n", 1)} {
				one, other := &server{traits: traits}, &server{traits: traits}
				plain := sql.OpenDB(one)
				db, _, err := OpenDB(other, quiet(1))
				require.NoError(t, err)
				db.SetMaxOpenConns(1) // so the first use borrows
				assert.Equal(t, text(plain, one, arg), text(db, other, arg))
				require.NoError(t, errors.Join(plain.Close(), db.Close()))
			}
		})
	}
}

// panicking is a connection whose rows panic.
type panicking struct {
	*fakeConn
	op string
}

func (p *panicking) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &panickingRows{op: p.op}, nil
}

type panickingRows struct {
	fakeRows
	op string
}

func (r *panickingRows) Next(row []driver.Value) error {
	if r.op == "Next" {
		panic("the driver")
	}
	return r.fakeRows.Next(row)
}

func (r *panickingRows) HasNextResultSet() bool { return true }
func (r *panickingRows) NextResultSet() error {
	if r.op == "NextResultSet" {
		panic("the driver")
	}
	return io.EOF
}

func (r *panickingRows) Close() error {
	if r.op == "Close" {
		panic("the driver")
	}
	return nil
}

func TestRowsThatPanicLoseNoConnection(t *testing.T) {
	for _, op := range []string{"Next", "NextResultSet", "Close"} {
		virtually(t, func(t *testing.T) {
			s := &server{shape: func(c *fakeConn, _ int) driver.Conn { return &panicking{c, op} }}
			db, pool := open(t, s, quiet(1))
			rows, err := db.Query("SELECT")
			require.NoError(t, err)
			fatal(t, func() {
				defer rows.Close()
				for rows.Next() {
					assert.True(t, rows.NextResultSet() || op != "NextResultSet")
				}
			})
			synctest.Wait()
			assert.Zero(t, pool.Stats().Borrowed, op)
			_, closed := s.counts()
			assert.Equal(t, 1, closed, op)
			require.NoError(t, db.PingContext(deadline(t, time.Second)), "the next caller is served")
		})
	}
}

// failingRows end with an error.
type failingRows struct{ fakeRows }

func (failingRows) Next([]driver.Value) error { return io.ErrUnexpectedEOF }

type breaking struct{ *fakeConn }

func (breaking) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &failingRows{}, nil
}

func TestAnErrorWhileRowsAreReadCondemnsTheirConnection(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{shape: func(c *fakeConn, _ int) driver.Conn { return breaking{c} }}
		db, _ := open(t, s, quiet(1))
		var n int
		require.ErrorIs(t, db.QueryRow("SELECT").Scan(&n), io.ErrUnexpectedEOF)
		synctest.Wait()
		_, closed := s.counts()
		assert.Equal(t, 1, closed)
	})
}

// isPanics is an error of a driver whose methods panic, as any function of it may.
type isPanics struct{}

func (isPanics) Error() string { return "a driver's error" }
func (isPanics) Is(error) bool { panic("the driver") }

func TestAnErrorThatPanicsLosesNoConnection(t *testing.T) {
	for _, op := range []string{"ResetSession", "ExecContext", "Begin", "Commit"} {
		virtually(t, func(t *testing.T) {
			s := &server{traits: validates | resets, shape: shapeB}
			db, pool := open(t, s, quiet(1))
			require.NoError(t, db.Ping())
			s.hook(failing(op, 1, isPanics{}))
			fatal(t, func() {
				if _, err := db.Exec("x"); err == nil {
					if tx, err := db.Begin(); err == nil {
						_ = tx.Commit()
					}
				}
			})
			synctest.Wait()
			assert.Zero(t, pool.Stats().Borrowed, op)
			require.NoError(t, db.PingContext(deadline(t, time.Second)), op)
		})
	}
}

// A driver around the pool's that hides IsValid does not hide a connection's death.
func TestABrokenConnectionIsNotUsedAgainWhereIsValidIsHidden(t *testing.T) {
	type inner interface {
		driver.Conn
		driver.ExecerContext
	}
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery, on: failing("ExecContext", 1, io.ErrUnexpectedEOF)}
		pooled := Wrap(s, quiet(2))
		db := sql.OpenDB(around{pooled, func(c driver.Conn) driver.Conn {
			return struct {
				inner
				driver.SessionResetter
			}{c.(inner), c.(driver.SessionResetter)}
		}})
		_, err := db.Exec("INSERT")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = db.Exec("INSERT")
		require.NoError(t, err)
		synctest.Wait()
		opened, closed := s.counts()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 1, closed)
		require.NoError(t, errors.Join(db.Close(), pooled.(io.Closer).Close()))
	})
}

// database/sql tries again after driver.ErrBadConn of a connect, in DB.Conn, too.
func TestAConnectThatFailsWithErrBadConnIsTriedAgain(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, pool := open(t, s, quiet(1))
		require.NoError(t, db.Ping())
		require.NoError(t, pool.Clear(bg, client.ClearOptions{}))
		synctest.Wait()
		s.hook(failing("Connect", 1, driver.ErrBadConn))
		c, err := db.Conn(deadline(t, time.Minute))
		require.NoError(t, err)
		_, err = c.ExecContext(bg, "INSERT")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}
