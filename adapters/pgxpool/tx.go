package pgxpool

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Tx is a transaction that was begun by a [Pool], and holds a connection until Commit or
// Rollback.
type Tx struct {
	tx pgx.Tx
	c  Conn
}

// Commit commits the transaction and releases its connection. A second Commit or Rollback
// returns an error that is pgx.ErrTxClosed. If the server has rolled back instead, because
// a statement had failed, the error is pgx.ErrTxCommitRollback.
func (tx *Tx) Commit(ctx context.Context) error {
	defer tx.c.Release()
	return tx.tx.Commit(ctx)
}

// Rollback rolls the transaction back and releases its connection. After Commit it
// returns an error that is pgx.ErrTxClosed and has no effect, so that it can be deferred.
func (tx *Tx) Rollback(ctx context.Context) error {
	defer tx.c.Release()
	return tx.tx.Rollback(ctx)
}

// Begin starts a nested transaction, which is a savepoint.
func (tx *Tx) Begin(ctx context.Context) (pgx.Tx, error) { return tx.tx.Begin(ctx) }

// Exec runs a statement: see pgx.Conn.Exec.
func (tx *Tx) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	return tx.tx.Exec(ctx, sql, arguments...)
}

// Query runs a query: see pgx.Conn.Query.
func (tx *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return tx.tx.Query(ctx, sql, args...)
}

// QueryRow runs a query for one row: see pgx.Conn.QueryRow.
func (tx *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return tx.tx.QueryRow(ctx, sql, args...)
}

// SendBatch sends a batch: see pgx.Conn.SendBatch.
func (tx *Tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return tx.tx.SendBatch(ctx, b)
}

// CopyFrom inserts many rows: see pgx.Conn.CopyFrom.
func (tx *Tx) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	return tx.tx.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

// LargeObjects gives access to large objects: see pgx.Tx.
func (tx *Tx) LargeObjects() pgx.LargeObjects { return tx.tx.LargeObjects() }

// Prepare prepares a statement on the transaction's connection: see pgx.Conn.Prepare.
func (tx *Tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return tx.tx.Prepare(ctx, name, sql)
}

// Conn returns the connection of pgx.
func (tx *Tx) Conn() *pgx.Conn { return tx.tx.Conn() }
