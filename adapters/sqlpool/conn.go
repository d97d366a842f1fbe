package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/actorpool/actorpool/client"
)

var (
	errAborted   = errors.New("sqlpool: the driver panicked")
	errDiscarded = errors.New("sqlpool: database/sql has discarded the connection")
	errInvalid   = errors.New("sqlpool: the connection is not valid any more")
)

// conn is one lease of a session, as database/sql sees it: database/sql opens it, uses it
// under a lock, and closes it once. It has the methods whose presence makes no difference
// to database/sql; shape adds the others.
type conn struct {
	s     *session
	lease client.Lease[driver.Conn]

	lent []*stmt // not closed yet
	last error   // of the driver
	dead error   // the error that condemned the connection
	kept bool    // database/sql has asked IsValid, so it does not discard the connection
	fine bool    // the driver has done something without an error
	gone bool    // the lease has ended
}

// A conn with the methods whose presence changes what database/sql does: with an Execer or
// Queryer the arguments are converted before a statement is prepared; with a Validator and
// a SessionResetter a connection outlives a transaction whose context has ended.
type (
	execer   conn
	queryer  conn
	resetter conn
)

// common is a conn of a driver whose connections run queries without a statement, as most
// do, in one piece of memory with what lends it its methods.
type common struct {
	*conn
	*execer
	*queryer
	own conn
}

// outliving is a common that outlives transactions.
type outliving struct {
	*conn
	*execer
	*queryer
	*resetter
	own conn
}

// shape makes a conn with the methods that the driver's connection has: as database/sql
// is given it, and as itself.
func (s *session) shape() (driver.Conn, *conn) {
	execs := s.execer != nil || s.oldExecer != nil
	queries := s.queryer != nil || s.oldQueryer != nil
	outlives := s.validator != nil && s.resetter != nil
	switch {
	case execs && queries && outlives:
		o := new(outliving)
		c := &o.own
		o.conn, o.execer, o.queryer, o.resetter = c, (*execer)(c), (*queryer)(c), (*resetter)(c)
		return o, c
	case execs && queries:
		o := new(common)
		c := &o.own
		o.conn, o.execer, o.queryer = c, (*execer)(c), (*queryer)(c)
		return o, c
	}
	c := new(conn)
	e, q, r := (*execer)(c), (*queryer)(c), (*resetter)(c)
	switch {
	case execs && outlives:
		return struct {
			*conn
			*execer
			*resetter
		}{c, e, r}, c
	case queries && outlives:
		return struct {
			*conn
			*queryer
			*resetter
		}{c, q, r}, c
	case execs:
		return struct {
			*conn
			*execer
		}{c, e}, c
	case queries:
		return struct {
			*conn
			*queryer
		}{c, q}, c
	case outlives:
		return struct {
			*conn
			*resetter
		}{c, r}, c
	}
	return c, c
}

// guard calls the driver. A panic goes on to the caller, but it ends the lease first:
// database/sql does not return the connection after a panic in a query.
func (c *conn) guard(f func()) {
	returned := false
	defer func() {
		if !returned {
			c.gone, c.s.bad = true, true
			c.s.state.CompareAndSwap(held, idle)
			_ = c.lease.Taint(errAborted)
		}
	}()
	f()
	returned = true
}

// ended says whether the driver must not be called any more: the lease is over, or the
// pool has ended it, and closes the connection. (Lease.Conn would say so a moment earlier,
// and costs more than all the rest of a query here.)
func (c *conn) ended() bool { return c.gone || c.s.closes.Load() }

// use calls the driver for what goes to the server.
func use[T any](c *conn, f func() (T, error)) (result T, err error) {
	if c.ended() {
		return result, driver.ErrBadConn
	}
	c.kept = false
	c.guard(func() {
		result, err = f()
		c.see(err)
	})
	return result, err
}

// see notes what an error of the driver says about the connection.
func (c *conn) see(err error) {
	switch {
	case err == nil:
		c.fine = true
	case errors.Is(err, driver.ErrSkip), errors.Is(err, driver.ErrRemoveArgument):
	case errors.Is(err, driver.ErrBadConn):
		c.dead = err
	default:
		c.last = err
		if c.s.core.broken(err) {
			c.dead = &deadError{err}
		}
	}
}

// deadError is an error that condemned its connection by Config.Broken. That it is
// driver.ErrBadConn, too, tells the pool that others may be dead as well.
type deadError struct{ error }

func (e *deadError) Unwrap() []error { return []error{driver.ErrBadConn, e.error} }

// renew makes the session ready for its next holder, as database/sql does with a
// connection that it has kept. It returns false if the connection was dead, after which
// the lease has ended.
func (c *conn) renew(ctx context.Context) bool {
	if !c.s.used || c.s.resetter == nil {
		return true
	}
	var err error
	c.guard(func() { err = c.s.resetter.ResetSession(ctx) })
	if !errors.Is(err, driver.ErrBadConn) {
		return true // database/sql ignores every other error
	}
	c.dead = err
	_ = c.Close()
	return false
}

// Close returns the connection to the pool. Without an IsValid before it, database/sql
// discards the connection: after driver.ErrBadConn, or after a transaction whose context
// has ended.
func (c *conn) Close() error {
	if c.gone {
		return nil
	}
	if c.dead == nil {
		c.reclaim()
	}
	c.gone = true
	s := c.s
	switch {
	case c.dead != nil:
		s.bad = true
		if errors.Is(c.dead, driver.ErrBadConn) {
			s.core.deaths.Add(1)
		}
	case c.kept:
		s.valid = true
		if c.fine {
			s.seen = s.core.deaths.Load()
		}
	default:
		c.dead = errDiscarded
	}
	s.state.CompareAndSwap(held, idle) // before the pool has it, which may close it at once
	if c.dead != nil {
		return c.lease.Taint(c.dead)
	}
	return c.lease.Put()
}

// reclaim takes back the statements that were not closed, and closes those that are
// retired. Whoever still has one cannot use it any more: the next holder of the session may
// get it.
func (c *conn) reclaim() {
	for len(c.lent) > 0 {
		_ = c.lent[len(c.lent)-1].Close()
	}
	if len(c.s.stmts.retired) > 0 && !c.ended() {
		c.guard(c.s.stmts.sweep)
	}
}

// IsValid is asked by database/sql before it returns the connection.
func (c *conn) IsValid() bool {
	if c.ended() {
		return false
	}
	valid := true
	if v := c.s.validator; v != nil {
		c.guard(func() { valid = v.IsValid() })
	}
	if !valid && c.dead == nil {
		c.dead = errInvalid
		if c.last != nil && !errors.Is(c.last, context.Canceled) && !errors.Is(c.last, context.DeadlineExceeded) {
			c.dead = &deadError{c.last}
		}
	}
	c.kept = c.dead == nil
	return c.kept
}

// ResetSession is called by a database/sql that keeps connections, which it should not.
func (r *resetter) ResetSession(ctx context.Context) error {
	c := (*conn)(r)
	_, err := use(c, func() (struct{}, error) { return struct{}{}, c.s.resetter.ResetSession(ctx) })
	return err
}

// Ping implements driver.Pinger. Where the driver has none, it succeeds, as in database/sql.
func (c *conn) Ping(ctx context.Context) error {
	if c.s.pinger == nil {
		return nil
	}
	_, err := use(c, func() (struct{}, error) { return struct{}{}, c.s.pinger.Ping(ctx) })
	return err
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *conn) CheckNamedValue(value *driver.NamedValue) (err error) {
	if c.s.checker == nil {
		return driver.ErrSkip // as if there was none
	}
	c.guard(func() { err = c.s.checker.CheckNamedValue(value) })
	return err
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if c.s.beginner == nil {
		switch {
		case o.Isolation != driver.IsolationLevel(sql.LevelDefault):
			return nil, errors.New("sql: driver does not support non-default isolation level")
		case o.ReadOnly:
			return nil, errors.New("sql: driver does not support read-only transactions")
		}
	}
	inner, err := use(c, func() (driver.Tx, error) {
		if c.s.beginner != nil {
			return c.s.beginner.BeginTx(ctx, o)
		}
		inner, err := c.s.Begin()
		if err == nil && ctx.Err() != nil {
			_ = inner.Rollback()
			err = ctx.Err()
		}
		return inner, err
	})
	if err != nil {
		return nil, err
	}
	return &tx{c, inner}, nil
}

// tx shows what the end of a transaction says about its connection.
type tx struct {
	c     *conn
	inner driver.Tx
}

// Commit implements driver.Tx.
func (t *tx) Commit() error {
	_, err := use(t.c, func() (struct{}, error) { return struct{}{}, t.inner.Commit() })
	return err
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	_, err := use(t.c, func() (struct{}, error) { return struct{}{}, t.inner.Rollback() })
	return err
}

// ExecContext implements driver.ExecerContext.
func (e *execer) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c := (*conn)(e)
	values, err := without(ctx, c.s.execer != nil, args)
	if err != nil {
		return nil, err
	}
	defer c.ran(query)
	return use(c, func() (driver.Result, error) {
		if c.s.execer != nil {
			return c.s.execer.ExecContext(ctx, query, args)
		}
		return c.s.oldExecer.Exec(query, values)
	})
}

// QueryContext implements driver.QueryerContext.
func (q *queryer) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c := (*conn)(q)
	values, err := without(ctx, c.s.queryer != nil, args)
	if err != nil {
		return nil, err
	}
	defer c.ran(query)
	return use(c, func() (driver.Rows, error) {
		if c.s.queryer != nil {
			return c.s.queryer.QueryContext(ctx, query, args)
		}
		return c.s.oldQueryer.Query(query, values)
	})
}

// without makes the arguments of a driver that takes no context, as database/sql does.
func without(ctx context.Context, has bool, args []driver.NamedValue) ([]driver.Value, error) {
	if has {
		return nil, nil
	}
	values := make([]driver.Value, len(args))
	for i, arg := range args {
		if arg.Name != "" {
			return nil, errors.New("sql: driver does not support the use of Named Parameters")
		}
		values[i] = arg.Value
	}
	return values, ctx.Err()
}

// ran notes a query that may change what others mean on this connection.
func (c *conn) ran(query string) {
	if !c.gone && c.s.stmts.limit > 0 && changesSession(query) {
		c.s.stmts.retire()
	}
}
