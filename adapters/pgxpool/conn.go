package pgxpool

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/actorpool/actorpool/client"
)

// Conn is a connection that a [Pool] has lent. It is used by one goroutine at a time.
// After Release its methods return an error, and Conn returns nil; they do not touch the
// connection, which somebody else may have.
type Conn struct {
	lease    client.Lease[*pgx.Conn]
	s        *state
	released atomic.Bool
}

// errReleased is the error of a Conn that is used after its Release.
var errReleased = errors.New("pgxpool: the connection has been released")

// Release gives the connection back to the pool. Only the first call has an effect.
//
// A connection that is closed, inside a transaction, or in the middle of a query, is
// closed, and so is one whose server has reported a shutdown or a failover. Otherwise
// AfterRelease is called, on the goroutine of the caller; the connection is closed if it
// returns false, or leaves a transaction open.
func (c *Conn) Release() {
	if !c.released.CompareAndSwap(false, true) {
		return
	}
	conn := c.lease.Conn()
	if conn == nil {
		return // the pool has ended the lease
	}
	if release := c.s.pool.tracer.release; release != nil {
		told := false
		defer func() {
			if !told {
				_ = c.lease.Taint(errHook)
			}
		}()
		release(c.s.pool, TraceReleaseData{Conn: conn})
		told = true
	}
	if why := c.s.verdict(); why != nil {
		_ = c.lease.Taint(why)
		return
	}
	c.s.idleSince, c.s.vetted = c.s.pool.now(), true
	_ = c.lease.Put()
}

// Hijack takes the connection out of the pool: the caller owns it and closes it. Hijack
// panics if the connection has been released or hijacked.
func (c *Conn) Hijack() *pgx.Conn {
	if !c.released.CompareAndSwap(false, true) {
		panic("cannot hijack already released or hijacked connection")
	}
	c.s.hijacked = true
	conn, err := c.lease.Hijack()
	if err != nil {
		panic("cannot hijack a connection whose lease the pool has ended: " + err.Error())
	}
	return conn
}

// Conn returns the connection of pgx; nil after Release.
func (c *Conn) Conn() *pgx.Conn {
	if c.released.Load() {
		return nil
	}
	return c.lease.Conn()
}

// Exec runs a statement: see pgx.Conn.Exec.
func (c *Conn) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	conn := c.Conn()
	if conn == nil {
		return pgconn.CommandTag{}, errReleased
	}
	return conn.Exec(ctx, sql, arguments...)
}

// Query runs a query: see pgx.Conn.Query. Closing the rows does not release the
// connection.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	conn := c.Conn()
	if conn == nil {
		return errRows{err: errReleased}, errReleased
	}
	return conn.Query(ctx, sql, args...)
}

// QueryRow runs a query for one row: see pgx.Conn.QueryRow.
func (c *Conn) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	conn := c.Conn()
	if conn == nil {
		return errRow{errReleased}
	}
	return conn.QueryRow(ctx, sql, args...)
}

// SendBatch sends a batch: see pgx.Conn.SendBatch.
func (c *Conn) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	conn := c.Conn()
	if conn == nil {
		return pgx.FailedBatchResults(b, errReleased)
	}
	return conn.SendBatch(ctx, b)
}

// CopyFrom inserts many rows: see pgx.Conn.CopyFrom.
func (c *Conn) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	conn := c.Conn()
	if conn == nil {
		return 0, errReleased
	}
	return conn.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

// Begin starts a transaction, whose end does not release the connection.
func (c *Conn) Begin(ctx context.Context) (pgx.Tx, error) { return c.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is Begin with options.
func (c *Conn) BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error) {
	conn := c.Conn()
	if conn == nil {
		return nil, errReleased
	}
	return conn.BeginTx(ctx, txOptions)
}

// Ping runs an empty statement.
func (c *Conn) Ping(ctx context.Context) error {
	conn := c.Conn()
	if conn == nil {
		return errReleased
	}
	return conn.Ping(ctx)
}
