//go:build unix

package pgxpool_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// dbtx is the interface that sqlc generates for pgx.
type dbtx interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	Query(context.Context, string, ...any) (pgx.Rows, error)
	QueryRow(context.Context, string, ...any) pgx.Row
	CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error)
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

var (
	_ dbtx   = (*pgxpool.Pool)(nil)
	_ dbtx   = (*pgxpool.Conn)(nil)
	_ dbtx   = (*pgxpool.Tx)(nil)
	_ pgx.Tx = (*pgxpool.Tx)(nil)
)

// panics is a destination that panics in Scan.
type panics struct{}

func (panics) Scan(any) error { panic("scan") }

func TestRowsReleaseTheirConnectionHoweverTheyEnd(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	const many = "SELECT generate_series(1, 1000)"
	for _, end := range []struct {
		name string
		use  func(ctx context.Context) error
	}{
		{"Close", func(ctx context.Context) error {
			rows, err := pool.Query(ctx, many)
			rows.Close()
			rows.Close()
			return err
		}},
		{"Next", func(ctx context.Context) error {
			rows, err := pool.Query(ctx, many)
			for rows.Next() {
				_ = rows.RawValues()
			}
			return errors.Join(err, rows.Err())
		}},
		{"a failed Scan", func(ctx context.Context) error {
			rows, _ := pool.Query(ctx, many)
			rows.Next()
			var wrong time.Time
			if rows.Scan(&wrong) == nil {
				return errors.New("an integer is no time")
			}
			return nil
		}},
		{"a panic in Scan", func(ctx context.Context) error {
			rows, _ := pool.Query(ctx, many)
			rows.Next()
			assert.Panics(t, func() { _ = rows.Scan(panics{}) })
			return nil
		}},
		{"a failed query", func(ctx context.Context) error {
			rows, err := pool.Query(ctx, "SELECT nothing FROM nowhere")
			assert.Error(t, rows.Err(), "rows are there and say it, too")
			assert.False(t, rows.Next())
			if err == nil {
				return errors.New("there is no such table")
			}
			return nil
		}},
		{"QueryRow", func(ctx context.Context) error {
			row := pool.QueryRow(ctx, many)
			var n int
			err := row.Scan(&n)
			assert.Error(t, row.Scan(&n), "a second Scan")
			return err
		}},
		{"QueryRow without rows", func(ctx context.Context) error {
			if err := pool.QueryRow(ctx, "SELECT 1 WHERE false").Scan(nil); err != pgx.ErrNoRows {
				return err
			}
			return nil
		}},
		{"a panic in QueryRow", func(ctx context.Context) error {
			assert.Panics(t, func() { _ = pool.QueryRow(ctx, many).Scan(panics{}) })
			return nil
		}},
		{"SendBatch", func(ctx context.Context) error {
			b := &pgx.Batch{}
			b.Queue("SELECT 1")
			results := pool.SendBatch(ctx, b)
			return errors.Join(results.Close(), results.Close())
		}},
		{"CopyFrom", func(ctx context.Context) error {
			_, err := pool.CopyFrom(ctx, pgx.Identifier{"nowhere"}, []string{"a"}, pgx.CopyFromRows(nil))
			if err == nil {
				return errors.New("there is no such table")
			}
			return nil
		}},
		{"Ping", pool.Ping},
		{"a query whose context ends", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if _, err := pool.Exec(ctx, "SELECT pg_sleep(10)"); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			assert.NoError(t, end.use(within(t)))
			assert.Zero(t, pool.Stat().AcquiredConns())
			_, err := pool.Exec(within(t), "SELECT 1") // on the only connection
			assert.NoError(t, err)
		})
	}
}

func TestForgottenRowsAreFoundByLeakAfter(t *testing.T) {
	server, _ := need(t)
	leaks := make(chan messages.Event, 1)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 }, pgxpool.LeakAfter(time.Hour),
		pgxpool.Configure(func(cfg *client.Config[*pgx.Conn]) {
			cfg.OnChange = func(e messages.Event) {
				if e.Kind == messages.LeaseLeaked {
					leaks <- e
				}
			}
		}))
	func() { _, _ = pool.Query(within(t), "SELECT 1") }()
	testkit.Eventually(t, func() error {
		runtime.GC()
		select {
		case e := <-leaks:
			assert.Contains(t, e.Stack, "TestForgottenRowsAreFoundByLeakAfter")
			return nil
		default:
			return errors.New("not found")
		}
	})
	assert.NoError(t, pool.Ping(within(t)))
}

func TestAConnectionThatIsReturnedUnfitIsClosed(t *testing.T) {
	server, _ := need(t)
	for _, unfit := range []struct {
		name, cause string
		use         func(ctx context.Context, conn *pgxpool.Conn) error
	}{
		{"closed", "was returned closed", func(ctx context.Context, conn *pgxpool.Conn) error { return conn.Conn().Close(ctx) }},
		{"busy", "while a query was running", func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Query(ctx, "SELECT generate_series(1, 100000)")
			return err
		}},
		{"in a transaction", "inside a transaction", func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Begin(ctx)
			return err
		}},
		{"in a failed transaction", "inside a transaction", func(ctx context.Context, conn *pgxpool.Conn) error {
			tx, err := conn.Begin(ctx)
			if _, err := tx.Exec(ctx, "SELECT 1/0"); err == nil {
				return errors.New("no error")
			}
			return err
		}},
	} {
		t.Run(unfit.name, func(t *testing.T) {
			closed := make(chan error, 8)
			released := 0
			pool := open(t, server, func(cfg *pgxpool.Config) {
				cfg.MaxConns = 1
				cfg.AfterRelease = func(*pgx.Conn) bool { released++; return true }
			}, pgxpool.Configure(func(cfg *client.Config[*pgx.Conn]) {
				cfg.OnChange = func(e messages.Event) {
					if e.Kind == messages.ConnectionClosed {
						closed <- e.Err
					}
				}
			}))
			conn, err := pool.Acquire(within(t))
			require.NoError(t, err)
			pid := conn.Conn().PgConn().PID()
			require.NoError(t, unfit.use(within(t), conn))
			conn.Release()
			assert.Zero(t, released, "AfterRelease is not asked about it")
			assert.ErrorContains(t, <-closed, unfit.cause)
			var next uint32
			require.NoError(t, pool.QueryRow(within(t), "SELECT pg_backend_pid()::oid").Scan(&next))
			assert.NotEqual(t, pid, next)
			assert.Equal(t, 1, released)
		})
	}
}

func TestAfterReleaseIsContained(t *testing.T) {
	server, _ := need(t)
	for _, c := range []struct {
		name string
		f    func(*pgx.Conn) bool
	}{
		{"false", func(*pgx.Conn) bool { return false }},
		{"a panic", func(*pgx.Conn) bool { panic("after release") }},
		{"a transaction", func(conn *pgx.Conn) bool {
			_, err := conn.Begin(context.Background())
			return err == nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := open(t, server, func(cfg *pgxpool.Config) {
				cfg.MaxConns = 1
				cfg.AfterRelease = c.f
			})
			for range 3 {
				require.NoError(t, pool.Ping(within(t)))
			}
			assert.EqualValues(t, 3, pool.Stat().NewConnsCount())
		})
	}
}

func TestHooksOfAcquireAreContained(t *testing.T) {
	server, _ := need(t)
	hooked := false
	once := func() {
		if !hooked {
			hooked = true
			panic("hook")
		}
	}
	for _, c := range []struct {
		name   string
		change func(*pgxpool.Config)
	}{
		{"ShouldPing", func(cfg *pgxpool.Config) {
			cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { once(); return true }
		}},
		{"PrepareConn", func(cfg *pgxpool.Config) {
			cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { once(); return true, nil }
		}},
		{"BeforeAcquire", func(cfg *pgxpool.Config) {
			cfg.BeforeAcquire = func(context.Context, *pgx.Conn) bool { once(); return true } //nolint:staticcheck // pgx has it
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooked = false
			pool := open(t, server, func(cfg *pgxpool.Config) {
				cfg.MaxConns = 1
				c.change(cfg)
			})
			assert.Panics(t, func() { _, _ = pool.Acquire(within(t)) })
			assert.NoError(t, pool.Ping(within(t)), "the only connection is not lost")
		})
	}
}

func TestAHookThatRefusesEverythingEndsAcquire(t *testing.T) {
	server, _ := need(t)
	asked := 0
	pool := open(t, server, func(cfg *pgxpool.Config) {
		cfg.MaxConns = 3
		cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { asked++; return false, nil }
	})
	_, err := pool.Acquire(within(t))
	assert.ErrorContains(t, err, "MaxConns+1 connections were refused")
	assert.Equal(t, 4, asked)
}

func TestAReleasedConnTouchesNothing(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	ctx := within(t)
	old, err := pool.Acquire(ctx)
	require.NoError(t, err)
	old.Release()
	next, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer next.Release()

	old.Release()
	assert.Nil(t, old.Conn())
	const released = "pgxpool: the connection has been released"
	_, err = old.Exec(ctx, "BEGIN")
	assert.EqualError(t, err, released)
	_, err = old.Query(ctx, "BEGIN")
	assert.EqualError(t, err, released)
	assert.EqualError(t, old.QueryRow(ctx, "BEGIN").Scan(), released)
	_, err = old.Begin(ctx)
	assert.EqualError(t, err, released)
	_, err = old.CopyFrom(ctx, nil, nil, nil)
	assert.EqualError(t, err, released)
	b := &pgx.Batch{}
	b.Queue("BEGIN")
	assert.EqualError(t, old.SendBatch(ctx, b).Close(), released)
	assert.EqualError(t, old.Ping(ctx), released)
	assert.Panics(t, func() { old.Hijack() })
	assert.EqualValues(t, 'I', next.Conn().PgConn().TxStatus())
}

func TestAHijackedConnectionOutlivesThePool(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, nil)
	conn, err := pool.Acquire(within(t))
	require.NoError(t, err)
	own := conn.Hijack()
	assert.Zero(t, pool.Stat().TotalConns())
	pool.Close()
	var n int
	assert.NoError(t, own.QueryRow(within(t), "SELECT 1").Scan(&n))
	pid := own.PgConn().PID()
	require.NoError(t, own.Close(within(t)))
	admin := direct(t, server)
	testkit.Eventually(t, func() error { // nobody waits for the server's process here
		for _, p := range sessions(t, admin, name(t)) {
			if p == pid {
				return errors.New("it is still there")
			}
		}
		return nil
	})
}

func TestInTx(t *testing.T) {
	server, admin := need(t)
	_, err := admin.Exec(within(t), "CREATE TABLE IF NOT EXISTS intx (n int)")
	require.NoError(t, err)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	ctx := within(t)
	insert := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO intx VALUES (1)")
		return err
	}
	rows := func() (n int) {
		require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM intx").Scan(&n))
		return n
	}
	require.NoError(t, pool.InTx(ctx, insert))
	assert.Equal(t, 1, rows())
	failure := errors.New("no")
	assert.ErrorIs(t, pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return errors.Join(insert(ctx, tx), failure)
	}), failure)
	assert.Equal(t, 1, rows())
	assert.PanicsWithValue(t, "tx", func() {
		_ = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			assert.NoError(t, insert(ctx, tx))
			panic("tx")
		})
	})
	assert.Equal(t, 1, rows())
	err = pool.InTxWith(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, insert)
	var sql *pgconn.PgError
	require.ErrorAs(t, err, &sql)
	assert.Equal(t, "25006", sql.Code)
	assert.EqualValues(t, 1, pool.Stat().NewConnsCount(), "the one connection was used again each time")
}

func TestADeadlockIsAnError(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 }, pgxpool.Name("orders"))
	ctx := within(t)
	err := pool.InTx(ctx, func(ctx context.Context, _ pgx.Tx) error {
		_, err := pool.Exec(ctx, "SELECT 1") // the mistake: not tx.Exec
		return err
	})
	var explained *messages.GetError
	require.ErrorAs(t, err, &explained)
	assert.ErrorIs(t, err, messages.ErrDeadlock)
	assert.Equal(t, "orders", explained.Pool)
	err = pool.Func(ctx, func(ctx context.Context, _ *pgxpool.Conn) error { return pool.Ping(ctx) })
	assert.ErrorIs(t, err, messages.ErrDeadlock)
	assert.NoError(t, pool.Ping(ctx))
}

func TestAfterClose(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, nil)
	ctx := within(t)
	require.NoError(t, pool.Ping(ctx))
	pool.Close()
	pool.Close()
	_, err := pool.Acquire(ctx)
	assert.ErrorIs(t, err, puddle.ErrClosedPool)
	assert.ErrorIs(t, err, messages.ErrClosed)
	assert.ErrorIs(t, pool.Ping(ctx), puddle.ErrClosedPool)
	_, err = pool.Begin(ctx)
	assert.ErrorIs(t, err, puddle.ErrClosedPool)
	assert.ErrorIs(t, pool.QueryRow(ctx, "SELECT 1").Scan(), puddle.ErrClosedPool)
	assert.Empty(t, pool.AcquireAllIdle(ctx))
	assert.False(t, pool.Health().OK)
	assert.Zero(t, pool.Stat().TotalConns())
	pool.Reset()
}

func TestSetCapacityReserveAndSight(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 2 }, pgxpool.Reserve(time.Second))
	ctx := pgxpool.WithLabel(within(t), "import")
	conn, err := pool.Acquire(ctx)
	require.NoError(t, err)
	require.NoError(t, pool.SetCapacity(ctx, 1))
	assert.EqualValues(t, 1, pool.Stat().MaxConns())

	e, err := pool.Explain(ctx)
	require.NoError(t, err)
	require.Len(t, e.Holders, 1)
	assert.Equal(t, "import", e.Holders[0].Label)

	waiting, cancel := context.WithCancel(ctx)
	go func() {
		testkit.Eventually(t, func() error {
			if pool.Underlying().Stats().Waiting != 1 {
				return errors.New("nobody waits")
			}
			return nil
		})
		cancel()
	}()
	_, err = pool.Acquire(waiting)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, `"import"`, "the error says who holds the connection")
	conn.Release()

	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err = pool.Acquire(short)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "less than Reserve is left")
	m, err := pool.Measure(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1, m.Connect.Count)
	assert.True(t, pool.Health().OK)
}
