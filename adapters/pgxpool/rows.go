package pgxpool

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// poolRows are the rows of a query of the pool, and hold its connection.
type poolRows struct {
	pgx.Rows
	c Conn
}

// query runs the query. If it panics, for instance in a tracer, the connection is not lost.
func (r *poolRows) query(ctx context.Context, sql string, args []any) (pgx.Rows, error) {
	returned := false
	defer func() {
		if !returned {
			r.c.Release()
		}
	}()
	rows, err := r.c.s.conn.Query(ctx, sql, args...)
	returned = true
	return rows, err
}

// Close implements pgx.Rows.
func (r *poolRows) Close() {
	defer r.c.Release()
	r.Rows.Close()
}

// Next implements pgx.Rows.
func (r *poolRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.c.Release()
	return false
}

// Scan implements pgx.Rows.
func (r *poolRows) Scan(dest ...any) error {
	scanned := false
	defer func() {
		if !scanned {
			r.Close()
		}
	}()
	err := r.Rows.Scan(dest...)
	scanned = err == nil
	return err
}

// Values implements pgx.Rows.
func (r *poolRows) Values() ([]any, error) {
	read := false
	defer func() {
		if !read {
			r.Close()
		}
	}()
	values, err := r.Rows.Values()
	read = err == nil
	return values, err
}

// poolRow is the row of a query of the pool, and holds its connection.
type poolRow struct {
	r pgx.Row
	c Conn
}

func (r *poolRow) query(ctx context.Context, sql string, args []any) {
	returned := false
	defer func() {
		if !returned {
			r.c.Release()
		}
	}()
	r.r = r.c.s.conn.QueryRow(ctx, sql, args...)
	returned = true
}

// Scan implements pgx.Row.
func (r *poolRow) Scan(dest ...any) error {
	if r.c.released.Load() {
		return errReleased
	}
	defer r.c.Release()
	return r.r.Scan(dest...)
}

// errRow is the row of a query that did not begin.
type errRow struct{ err error }

// Scan implements pgx.Row.
func (r errRow) Scan(...any) error { return r.err }

// errRows are the rows of a query that did not begin.
type errRows struct{ err error }

// Close implements pgx.Rows.
func (errRows) Close() {}

// Err implements pgx.Rows.
func (r errRows) Err() error { return r.err }

// CommandTag implements pgx.Rows.
func (errRows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

// FieldDescriptions implements pgx.Rows.
func (errRows) FieldDescriptions() []pgconn.FieldDescription { return nil }

// Next implements pgx.Rows.
func (errRows) Next() bool { return false }

// Scan implements pgx.Rows.
func (r errRows) Scan(...any) error { return r.err }

// Values implements pgx.Rows.
func (r errRows) Values() ([]any, error) { return nil, r.err }

// RawValues implements pgx.Rows.
func (errRows) RawValues() [][]byte { return nil }

// Conn implements pgx.Rows.
func (errRows) Conn() *pgx.Conn { return nil }

// TypeMap implements pgx.Rows.
func (errRows) TypeMap() *pgtype.Map { return nil }

// batchResults are the results of a batch of the pool. They hold its connection, or leave
// it to the transaction that the batch has begun.
type batchResults struct {
	pgx.BatchResults
	c     Conn
	begun *Tx
}

func (r *batchResults) send(ctx context.Context, b *pgx.Batch) {
	returned := false
	defer func() {
		if !returned {
			r.c.Release()
		}
	}()
	r.BatchResults = r.c.s.conn.SendBatch(ctx, b)
	if tx := r.BatchResults.Tx(); tx != nil {
		r.begun = &Tx{tx: tx, c: Conn{lease: r.c.lease, s: r.c.s}}
	}
	returned = true
}

// Close implements pgx.BatchResults.
func (r *batchResults) Close() error {
	if r.begun == nil {
		defer r.c.Release()
	}
	return r.BatchResults.Close()
}

// Tx implements pgx.BatchResults.
func (r *batchResults) Tx() pgx.Tx {
	if r.begun == nil {
		return nil
	}
	return r.begun
}
