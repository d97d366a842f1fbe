package sqlpool

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
)

// server is what the fake driver's connections talk to. It keeps a journal.
type server struct {
	traits, stmtTraits int                                     // bits: which optional interfaces a connection or statement has
	shape              func(c *fakeConn, bits int) driver.Conn // the types that have them
	on                 func(c *fakeConn, op string) error      // before each operation; its error is the driver's

	mu      sync.Mutex
	journal []string
	opened  int
	closed  int
	open    map[*fakeConn]bool
}

func (s *server) Connect(context.Context) (driver.Conn, error) {
	c := &fakeConn{server: s, valid: true}
	if err := c.do("Connect"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.opened++
	c.id = s.opened
	if s.open == nil {
		s.open = make(map[*fakeConn]bool)
	}
	s.open[c] = true
	s.mu.Unlock()
	if s.shape == nil {
		return shapeA(c, s.traits), nil
	}
	return s.shape(c, s.traits), nil
}

func (s *server) Driver() driver.Driver { return s }

func (s *server) Open(string) (driver.Conn, error) { return s.Connect(context.Background()) }

// hook sets what is asked before each operation.
func (s *server) hook(on func(c *fakeConn, op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

// counts says how many connections were opened and closed.
func (s *server) counts() (opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.closed
}

// told takes the journal, without the entries that begin with one of the prefixes.
func (s *server) told(without ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var told []string
next:
	for _, entry := range s.journal {
		for _, prefix := range without {
			if strings.HasPrefix(entry, prefix) {
				continue next
			}
		}
		told = append(told, entry)
	}
	s.journal = nil
	return told
}

// count says how often an operation was done; it leaves the journal alone.
func (s *server) count(op string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entry := range s.journal {
		if strings.HasPrefix(entry, op) {
			n++
		}
	}
	return n
}

// kill has every connection that is open now fail with driver.ErrBadConn.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.dead = true
	}
}

type fakeConn struct {
	server *server
	id     int
	valid  bool // guarded by server.mu, as dead
	dead   bool
}

// do notes an operation and asks the hook.
func (c *fakeConn) do(op string, args ...any) error {
	s := c.server
	s.mu.Lock()
	s.journal = append(s.journal, strings.TrimSpace(op+" "+fmt.Sprint(args...)))
	dead, on := c.dead, s.on
	s.mu.Unlock()
	if dead && op != "Close" {
		return driver.ErrBadConn
	}
	if on != nil {
		return on(c, op)
	}
	return nil
}

func (c *fakeConn) invalidate() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.valid = false
}

func (c *fakeConn) Close() error {
	c.server.mu.Lock()
	c.server.closed++
	delete(c.server.open, c)
	c.server.mu.Unlock()
	return c.do("Close")
}

func (c *fakeConn) Prepare(query string) (driver.Stmt, error) {
	if err := c.do("Prepare", query); err != nil {
		return nil, err
	}
	return shapeStmt(&fakeStmt{conn: c, query: query}, c.server.stmtTraits), nil
}

func (c *fakeConn) Begin() (driver.Tx, error) {
	if err := c.do("Begin"); err != nil {
		return nil, err
	}
	return fakeTx{c}, nil
}

type fakeTx struct{ c *fakeConn }

func (t fakeTx) Commit() error   { return t.c.do("Commit") }
func (t fakeTx) Rollback() error { return t.c.do("Rollback") }

// The optional interfaces of a connection, one type each.
type (
	cExecerContext   fakeConn
	cExecer          fakeConn
	cQueryerContext  fakeConn
	cQueryer         fakeConn
	cPrepareContext  fakeConn
	cChecker         fakeConn
	cPinger          fakeConn
	cBeginTx         fakeConn
	cValidator       fakeConn
	cSessionResetter fakeConn
)

func (c *cExecerContext) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), (*fakeConn)(c).do("ExecContext", query, args)
}

func (c *cExecer) Exec(query string, args []driver.Value) (driver.Result, error) {
	return driver.RowsAffected(1), (*fakeConn)(c).do("Exec", query, args)
}

func (c *cQueryerContext) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return answer((*fakeConn)(c).do("QueryContext", query, args))
}

func (c *cQueryer) Query(query string, args []driver.Value) (driver.Rows, error) {
	return answer((*fakeConn)(c).do("Query", query, args))
}

func (c *cPrepareContext) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return (*fakeConn)(c).Prepare(query + " with context")
}

func (c *cChecker) CheckNamedValue(value *driver.NamedValue) error { return check("connection", value) }

func (c *cPinger) Ping(context.Context) error { return (*fakeConn)(c).do("Ping") }

func (c *cBeginTx) BeginTx(_ context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := (*fakeConn)(c).do("BeginTx", o); err != nil {
		return nil, err
	}
	return fakeTx{(*fakeConn)(c)}, nil
}

func (c *cValidator) IsValid() bool {
	_ = (*fakeConn)(c).do("IsValid")
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.valid
}

func (c *cSessionResetter) ResetSession(context.Context) error {
	return (*fakeConn)(c).do("ResetSession")
}

// odd is a value that only a checker or a converter takes. left is one that checkers remove.
type (
	odd  struct{}
	left struct{}
)

// check is a NamedValueChecker that takes odd, removes left, and leaves the rest to others.
func check(who string, value *driver.NamedValue) error {
	switch value.Value.(type) {
	case odd:
		value.Value = "odd for the checker of the " + who
		return nil
	case left:
		return driver.ErrRemoveArgument
	}
	return driver.ErrSkip
}

type fakeStmt struct {
	conn  *fakeConn
	query string
}

func (s *fakeStmt) Close() error { return s.conn.do("stmt.Close", s.query) }
func (s *fakeStmt) NumInput() int {
	return strings.Count(s.query, "?") + max(0, 99*strings.Count(s.query, "*"))
}

func (s *fakeStmt) Exec(args []driver.Value) (driver.Result, error) {
	return driver.RowsAffected(2), s.conn.do("stmt.Exec", s.query, args)
}

func (s *fakeStmt) Query(args []driver.Value) (driver.Rows, error) {
	return answer(s.conn.do("stmt.Query", s.query, args))
}

// The optional interfaces of a statement.
type (
	sExecContext  fakeStmt
	sQueryContext fakeStmt
	sChecker      fakeStmt
	sConverter    fakeStmt
)

func (s *sExecContext) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(3), s.conn.do("stmt.ExecContext", s.query, args)
}

func (s *sQueryContext) QueryContext(_ context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return answer(s.conn.do("stmt.QueryContext", s.query, args))
}

func (s *sChecker) CheckNamedValue(value *driver.NamedValue) error { return check("statement", value) }

func (s *sConverter) ColumnConverter(int) driver.ValueConverter { return converter{} }

type converter struct{}

func (converter) ConvertValue(v any) (driver.Value, error) {
	if _, ok := v.(odd); ok {
		return "odd for the converter", nil
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(v)
	return fmt.Sprint("converted ", v), err
}

// answer is one row with one column.
func answer(err error) (driver.Rows, error) {
	if err != nil {
		return nil, err
	}
	return &fakeRows{}, nil
}

type fakeRows struct{ read bool }

func (r *fakeRows) Columns() []string { return []string{"n"} }
func (r *fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(row []driver.Value) error {
	if r.read {
		return io.EOF
	}
	row[0], r.read = int64(7), true
	return nil
}

var errApplication = errors.New("duplicate key")

// names lists what a set of interfaces has.
func names(set int, of ...string) string {
	var has []string
	for i := range of {
		if set>>i&1 == 1 {
			has = append(has, of[i])
		}
	}
	return fmt.Sprintf("%d: %s", bits.OnesCount(uint(set)), strings.Join(has, " "))
}
