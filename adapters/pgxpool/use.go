package pgxpool

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// This file has the methods of a Pool that use a connection.

// AcquireFunc acquires a connection, calls f with it, and releases it. It returns the
// error of Acquire or that of f. [Pool.Func] also gives f a context, with which a deadlock
// is recognised.
func (p *Pool) AcquireFunc(ctx context.Context, f func(*Conn) error) error {
	c := new(Conn)
	if err := p.fetch(ctx, c); err != nil {
		return err
	}
	defer c.Release()
	return f(c)
}

// Func is AcquireFunc with a context for f. It says which connection its owner holds: if f
// acquires another connection with it, and every connection is held by somebody who waits
// for one more, the last of these waits ends with messages.ErrDeadlock instead of
// lasting for ever.
func (p *Pool) Func(ctx context.Context, f func(ctx context.Context, conn *Conn) error) error {
	c := new(Conn)
	if err := p.fetch(ctx, c); err != nil {
		return err
	}
	defer c.Release()
	return f(c.lease.Context(ctx), c)
}

// InTx calls f inside a transaction, on one connection. If f returns nil, the transaction
// is committed; if f returns an error, panics or ends its goroutine, it is rolled back. It
// returns the error of Acquire, of the begin, of f or of the commit. The context that f
// gets is that of [Pool.Func].
func (p *Pool) InTx(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return p.InTxWith(ctx, pgx.TxOptions{}, f)
}

// InTxWith is [Pool.InTx] with options of the transaction.
func (p *Pool) InTxWith(ctx context.Context, o pgx.TxOptions, f func(ctx context.Context, tx pgx.Tx) error) error {
	c := new(Conn)
	if err := p.fetch(ctx, c); err != nil {
		return err
	}
	defer c.Release() // after the rollback; a transaction that is still open closes the connection
	inner := c.lease.Context(ctx)
	return pgx.BeginTxFunc(ctx, c.s.conn, o, func(tx pgx.Tx) error { return f(inner, tx) })
}

// AcquireAllIdle acquires all connections that are idle now, whatever their settings are,
// and asks PrepareConn (or BeforeAcquire) about each. It pings none, and does not count in
// AcquireCount of [Stat].
func (p *Pool) AcquireAllIdle(ctx context.Context) []*Conn {
	leases := p.pool.TryGetAll()
	p.allIdle.Add(int64(len(leases)))
	conns := make([]*Conn, 0, len(leases))
	complete := false
	defer func() {
		if complete {
			return
		}
		for _, lease := range leases { // PrepareConn has panicked: those that it has seen, too
			_ = lease.Taint(errHook)
		}
	}()
	for _, lease := range leases {
		conn := lease.Conn()
		if conn == nil {
			continue
		}
		s := stateOf(conn)
		if s == nil {
			_ = lease.Taint(errForeign)
			continue
		}
		if p.prepare != nil {
			if ok, err := p.prepare(ctx, conn); !ok || err != nil {
				_ = lease.Taint(errors.Join(errRefused, err))
				continue
			}
		}
		conns = append(conns, &Conn{lease: lease, s: s})
	}
	complete = true
	return conns
}

// Exec runs a statement on a connection of the pool: see pgx.Conn.Exec.
func (p *Pool) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	var c Conn
	if err := p.fetch(ctx, &c); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer c.Release()
	return c.s.conn.Exec(ctx, sql, arguments...)
}

// Query runs a query on a connection of the pool: see pgx.Conn.Query. The connection is
// released when the rows are closed: by Close, when Next returns false, and when Scan or
// Values fails or panics. With an error there are rows, too, which report it.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := new(poolRows)
	if err := p.fetch(ctx, &r.c); err != nil {
		return errRows{err: err}, err
	}
	rows, err := r.query(ctx, sql, args)
	if err != nil {
		r.c.Release()
		return errRows{err: err}, err
	}
	r.Rows = rows
	return r, nil
}

// QueryRow runs a query for one row on a connection of the pool: see pgx.Conn.QueryRow. The
// connection is released by Scan, which also reports an error of Acquire.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	r := new(poolRow)
	if err := p.fetch(ctx, &r.c); err != nil {
		return errRow{err}
	}
	r.query(ctx, sql, args)
	return r
}

// SendBatch sends a batch on a connection of the pool: see pgx.Conn.SendBatch. The
// connection is released by Close of the results; if the batch begins a transaction
// (pgx.Batch.BeginTx), by the Commit or Rollback of that.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	r := new(batchResults)
	if err := p.fetch(ctx, &r.c); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	r.send(ctx, b)
	return r
}

// Begin acquires a connection and starts a transaction on it. Commit or Rollback releases
// the connection. The end of ctx does not end the transaction. [Pool.InTx] is safer: it
// cannot be forgotten.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx is [Pool.Begin] with options of the transaction.
func (p *Pool) BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error) {
	tx := new(Tx)
	if err := p.fetch(ctx, &tx.c); err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if !begun {
			tx.c.Release()
		}
	}()
	t, err := tx.c.s.conn.BeginTx(ctx, txOptions)
	if err != nil {
		return nil, err
	}
	begun = true
	tx.tx = t
	return tx, nil
}

// CopyFrom inserts many rows by the copy protocol: see pgx.Conn.CopyFrom.
func (p *Pool) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	var c Conn
	if err := p.fetch(ctx, &c); err != nil {
		return 0, err
	}
	defer c.Release()
	return c.s.conn.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

// Ping acquires a connection and runs an empty statement on it. [Pool.Health] answers
// without a query.
func (p *Pool) Ping(ctx context.Context) error {
	var c Conn
	if err := p.fetch(ctx, &c); err != nil {
		return err
	}
	defer c.Release()
	return c.s.conn.Ping(ctx)
}
