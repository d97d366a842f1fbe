//go:build unix

package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"runtime"
)

// memory is a driver without a server. A query lets the other goroutines run once, as one
// that waits for a server does, so that callers wait for connections.
type memory struct{}

func (memory) Connect(context.Context) (driver.Conn, error) { return &memoryConn{}, nil }
func (memory) Driver() driver.Driver                        { return memory{} }
func (memory) Open(string) (driver.Conn, error)             { return &memoryConn{}, nil }

type memoryConn struct{}

var errNotThere = errors.New("the driver in memory has no transactions and executes nothing")

func (c *memoryConn) Prepare(string) (driver.Stmt, error)    { return memoryStmt{c}, nil }
func (*memoryConn) Begin() (driver.Tx, error)                { return nil, errNotThere }
func (*memoryConn) Close() error                             { return nil }
func (*memoryConn) Ping(context.Context) error               { return nil }
func (*memoryConn) ResetSession(context.Context) error       { return nil }
func (*memoryConn) IsValid() bool                            { return true }
func (*memoryConn) CheckNamedValue(*driver.NamedValue) error { return nil }
func (*memoryConn) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	runtime.Gosched()
	return new(memoryRows), ctx.Err()
}

type memoryStmt struct{ c *memoryConn }

func (memoryStmt) Close() error                               { return nil }
func (memoryStmt) NumInput() int                              { return 0 }
func (memoryStmt) Exec([]driver.Value) (driver.Result, error) { return nil, errNotThere }
func (s memoryStmt) Query([]driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), nil)
}
func (s memoryStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, "", args)
}

// memoryRows are one row with one number.
type memoryRows struct{ read bool }

var memoryColumns = []string{"one"}

func (*memoryRows) Columns() []string { return memoryColumns }
func (*memoryRows) Close() error      { return nil }

func (r *memoryRows) Next(row []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read, row[0] = true, int64(1)
	return nil
}
