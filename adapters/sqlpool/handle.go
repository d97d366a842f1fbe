package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/actorpool/actorpool/client"
)

var (
	errAborted   = errors.New("sqlpool: the driver panicked")
	errDiscarded = errors.New("sqlpool: database/sql has discarded the connection")
	errInvalid   = errors.New("sqlpool: the connection is not valid any more")
)

// handle is a connection as database/sql sees it: database/sql uses it under a lock, for one
// caller at a time, and keeps it for the next one. It borrows a session for each of them, in
// ResetSession, which database/sql calls before a caller has it, and returns that in IsValid,
// which database/sql calls when the caller is done. So database/sql keeps handles, but no
// session. It has the methods whose presence makes no difference to database/sql; shape adds
// the others.
type handle struct {
	core  *core
	s     *session // borrowed; nil: none
	lease client.Lease[driver.Conn]

	lent     []*stmt // not closed yet
	last     error   // of the driver
	dead     error   // the error that condemned the session
	died     bool    // that is a sign of its death, so others may be dead, too
	failed   error   // why none could be borrowed: for each use by the caller
	calling  bool    // the driver is at work
	inTx     bool    // a transaction has begun and has not ended
	returned bool    // by IsValid; no session was borrowed since
	fine     bool    // the driver has done something without an error
	gone     bool    // it cannot be used any more

	// Somebody may want the lock of database/sql for this handle later: who has a Result takes
	// it to read that. So nobody must wait for a session under it: what they wait for may be
	// what the owner of the Result holds.
	shared bool
	// unchecked: the arguments of the call that comes were not checked, for want of a session.
	unchecked bool
	peeks     bool   // it borrows only to learn what the driver's connections can do
	harmless  string // the latest query that changes nothing for others
}

// A handle with the methods whose presence changes what database/sql does: with an Execer or
// Queryer the arguments are converted before a statement is prepared.
type (
	execer  handle
	queryer handle
)

// common is a handle of a driver whose connections run queries without a statement, as most
// do, in one piece of memory with what lends it its methods.
type common struct {
	*handle
	*execer
	*queryer
	own handle
}

// shape makes a handle with the methods that the session that it has borrowed has: as
// database/sql is given it, and as itself.
func (c handle) shape() (driver.Conn, *handle) {
	execs := c.s.execer != nil || c.s.oldExecer != nil
	queries := c.s.queryer != nil || c.s.oldQueryer != nil
	shown := &common{own: c}
	shown.handle, shown.execer, shown.queryer = &shown.own, (*execer)(&shown.own), (*queryer)(&shown.own)
	switch {
	case execs && queries:
		return shown, shown.handle
	case execs:
		return struct {
			*handle
			*execer
		}{shown.handle, shown.execer}, shown.handle
	case queries:
		return struct {
			*handle
			*queryer
		}{shown.handle, shown.queryer}, shown.handle
	}
	return shown.handle, shown.handle
}

// borrow borrows a session, and makes it ready for its holder. A handle that is shared does
// not wait: with driver.ErrBadConn database/sql goes on with another one, at last with one
// that is new.
func (c *handle) borrow(ctx context.Context, o client.GetOptions) error {
	for tries := 1; ; tries++ {
		var lease client.Lease[driver.Conn]
		var err error
		if !c.shared {
			lease, err = c.core.pool.GetWith(ctx, o)
		} else if lease, err = c.core.pool.TryGetWith(o); err != nil {
			c.core.look()
			err = driver.ErrBadConn
		}
		if err != nil {
			return err
		}
		s, _ := lease.Conn().(*session)
		if s == nil || !s.state.CompareAndSwap(idle, held) {
			_ = lease.Taint(nil) // the pool has ended the lease meanwhile
		} else {
			c.s, c.lease, c.returned = s, lease, false
			c.last, c.dead, c.died, c.failed, c.fine = nil, nil, false, nil, false
			if c.peeks || c.renew(ctx) {
				return nil
			}
		}
		if tries > c.core.pool.Stats().Capacity { // all that there were are gone, and a new one
			return driver.ErrBadConn
		}
	}
}

// ready says whether the driver may be called. It must not where there is no session, or
// where the pool has ended the lease, and closes the connection. (Lease.Conn would say so a
// moment earlier, and costs more than all the rest of a query here.)
func (c *handle) ready(ctx context.Context) error {
	switch {
	case c.ended():
		return driver.ErrBadConn
	case c.s != nil:
		return nil
	case c.failed != nil:
		return c.failed
	}
	// database/sql has not called ResetSession: a driver around this one hides that, or the
	// handle is new, see Connect. Or somebody has called IsValid in Raw; what the session has
	// known is lost then.
	if c.returned && (c.core.db != nil || c.core.resets.Load()) {
		return driver.ErrBadConn
	}
	return c.borrow(ctx, options(ctx))
}

// ended says whether the handle or its lease is over.
func (c *handle) ended() bool { return c.gone || c.s != nil && c.s.closes.Load() }

// enter and leave stand around a call of the driver or of Config.Broken, with a deferred caught.
func (c *handle) enter() { c.calling = true }
func (c *handle) leave() { c.calling = false }

// caught ends the lease if what was called has panicked. The panic goes on to the caller;
// database/sql does not return the connection after a panic in a query.
func (c *handle) caught() {
	if !c.calling {
		return
	}
	c.calling, c.gone, c.s.bad = false, true, true
	c.s.state.CompareAndSwap(held, idle)
	_ = c.lease.Taint(errAborted)
}

// guard calls the driver.
func (c *handle) guard(f func()) {
	defer c.caught()
	c.enter()
	f()
	c.leave()
}

// use calls the driver for what goes to the server.
func use[T any](ctx context.Context, c *handle, f func() (T, error)) (result T, err error) {
	if err := c.ready(ctx); err != nil {
		return result, err
	}
	defer c.caught()
	c.enter()
	result, err = f()
	c.see(err)
	c.leave()
	return result, err
}

// see notes what an error of the driver says about the session.
func (c *handle) see(err error) {
	switch {
	case err == nil:
		c.fine = true
	case errors.Is(err, driver.ErrSkip), errors.Is(err, driver.ErrRemoveArgument):
	case errors.Is(err, driver.ErrBadConn):
		c.dead, c.died = err, true
	default:
		c.last = err
		if c.s.core.broken(err) {
			c.dead, c.died = &deadError{err}, true
		}
	}
}

// deadError is an error that condemned its connection by Config.Broken. That it is
// driver.ErrBadConn, too, tells the pool that others may be dead as well.
type deadError struct{ error }

func (e *deadError) Unwrap() []error { return []error{driver.ErrBadConn, e.error} }

// renew does what database/sql does with a connection that it has kept. It returns false if
// the session was dead, after which the lease has ended.
func (c *handle) renew(ctx context.Context) bool {
	if !c.s.used || c.s.resetter == nil {
		return true
	}
	c.guard(func() {
		if err := c.s.resetter.ResetSession(ctx); errors.Is(err, driver.ErrBadConn) {
			c.dead, c.died = err, true // database/sql ignores every other error
		}
	})
	if c.dead == nil {
		return true
	}
	_ = c.give(nil)
	return false
}

// Close returns the session if there is one. Without an IsValid before it, database/sql
// discards the connection: after driver.ErrBadConn.
func (c *handle) Close() error {
	if c.gone || c.s == nil {
		return nil
	}
	err := c.give(errDiscarded)
	c.gone = true
	return err
}

// give returns the session to the pool, which closes it if it is dead, or with the cause
// discard; nil: there is none.
func (c *handle) give(discard error) error {
	if c.dead == nil {
		c.reclaim()
		c.dead = discard
	}
	for _, st := range c.lent {
		st.closed = true
	}
	s, lease := c.s, c.lease
	c.s, c.lease, c.lent = nil, client.Lease[driver.Conn]{}, nil
	switch {
	case c.dead != nil:
		s.bad = true
		if c.died {
			s.core.deaths.Add(1)
		}
	default:
		s.valid = true
		if c.fine {
			s.seen = s.core.deaths.Load()
		}
	}
	s.state.CompareAndSwap(held, idle) // before the pool has it, which may close it at once
	if c.dead != nil {
		return lease.Taint(c.dead)
	}
	return lease.Put()
}

// reclaim takes back the statements that were not closed, and closes those that are
// retired. Whoever still has one cannot use it any more: the next holder of the session may
// get it.
func (c *handle) reclaim() {
	for len(c.lent) > 0 {
		_ = c.lent[len(c.lent)-1].Close()
	}
	if len(c.s.stmts.retired) > 0 && !c.ended() {
		c.guard(c.s.stmts.sweep)
	}
}

// IsValid is called by database/sql when a caller is done: it returns the session. Its
// answer is whether database/sql is to keep the handle. One with statements that are not
// closed is not kept: they belong to the session, and to close them, their owner takes the
// lock of the handle, see shared. Within a transaction it is not database/sql that asks, but
// somebody in Raw.
func (c *handle) IsValid() bool {
	switch {
	case c.s == nil:
		c.failed, c.unchecked = nil, false
		return !c.gone
	case c.ended():
		return false
	case c.inTx:
		return true
	}
	if v := c.s.validator; v != nil && c.dead == nil {
		c.guard(func() {
			if v.IsValid() {
				return
			}
			c.dead = errInvalid
			if c.last != nil && !errors.Is(c.last, context.Canceled) && !errors.Is(c.last, context.DeadlineExceeded) {
				c.dead, c.died = &deadError{c.last}, true
			}
		})
	}
	again := len(c.lent) == 0 && (!c.shared || c.core.keepsShared())
	_ = c.give(nil)
	c.returned = true
	return again
}

// ResetSession is called by database/sql before a caller gets a handle that was kept: it
// borrows a session. An error is for the first use of the handle: from here, database/sql
// would not hand it on, unless it is driver.ErrBadConn, with which it tries again.
func (c *handle) ResetSession(ctx context.Context) error {
	if found, _ := ctx.Value(askedKey{}).(*probe); found != nil {
		found.core, c.failed = c.core, errProbe
		return nil
	}
	if !c.core.resets.Load() { // a store would cost each caller a line of the cache
		c.core.resets.Store(true)
	}
	if c.s != nil { // a driver around this one hides IsValid, so the session was not returned
		c.core.unasked.Store(true)
		if !c.IsValid() {
			return driver.ErrBadConn
		}
	}
	c.failed = c.borrow(ctx, options(ctx))
	if errors.Is(c.failed, driver.ErrBadConn) {
		return c.failed
	}
	return nil
}

// Ping implements driver.Pinger. Where the driver has none, it succeeds, as in database/sql.
func (c *handle) Ping(ctx context.Context) error {
	if err := c.ready(ctx); err != nil || c.s.pinger == nil {
		return err
	}
	_, err := use(ctx, c, func() (struct{}, error) { return struct{}{}, c.s.pinger.Ping(ctx) })
	return err
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *handle) CheckNamedValue(value *driver.NamedValue) (err error) {
	switch {
	case c.s == nil: // see ready; and there is no context to borrow one with
		c.unchecked = true
		return nil
	case c.s.checker == nil:
		return driver.ErrSkip // as if there was none
	}
	c.guard(func() { err = c.s.checker.CheckNamedValue(value) })
	return err
}

// Prepare implements driver.Conn.
func (c *handle) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// Begin implements driver.Conn.
func (c *handle) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx.
func (c *handle) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if c.s.beginner == nil {
		switch {
		case o.Isolation != driver.IsolationLevel(sql.LevelDefault):
			return nil, errors.New("sql: driver does not support non-default isolation level")
		case o.ReadOnly:
			return nil, errors.New("sql: driver does not support read-only transactions")
		}
	}
	inner, err := use(ctx, c, func() (driver.Tx, error) {
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
	c.inTx = true
	return &tx{c, c.s, ctx, inner}, nil
}

// tx shows what the end of a transaction says about its session.
type tx struct {
	c     *handle
	s     *session
	ctx   context.Context
	inner driver.Tx
}

// Commit implements driver.Tx.
func (t *tx) Commit() error { return t.finish(t.inner.Commit) }

// Rollback implements driver.Tx. After a transaction whose context has ended, database/sql
// would discard a connection of a driver that has no ResetSession or no IsValid.
func (t *tx) Rollback() error {
	err := t.finish(t.inner.Rollback)
	if t.c.s == t.s && t.c.dead == nil && (t.s.resetter == nil || t.s.validator == nil) && t.ctx.Err() != nil {
		t.c.dead = errDiscarded
	}
	return err
}

func (t *tx) finish(f func() error) error {
	if t.c.s != t.s {
		return driver.ErrBadConn // it was returned
	}
	t.c.inTx = false
	_, err := use(t.ctx, t.c, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// ExecContext implements driver.ExecerContext.
func (e *execer) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	c := (*handle)(e)
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	with, without := c.s.execer, c.s.oldExecer
	args, values, err := c.arguments(ctx, with != nil, without != nil, args)
	if err != nil {
		return nil, err
	}
	defer c.caught()
	c.enter()
	if with != nil {
		result, err = with.ExecContext(ctx, query, args)
	} else {
		result, err = without.Exec(query, values)
	}
	result = c.read(result, err)
	c.see(err)
	c.ran(query)
	c.leave()
	return result, err
}

// QueryContext implements driver.QueryerContext.
func (q *queryer) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	c := (*handle)(q)
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	with, without := c.s.queryer, c.s.oldQueryer
	args, values, err := c.arguments(ctx, with != nil, without != nil, args)
	if err != nil {
		return nil, err
	}
	defer c.caught()
	c.enter()
	if with != nil {
		rows, err = with.QueryContext(ctx, query, args)
	} else {
		rows, err = without.Query(query, values)
	}
	if err == nil && rows != nil {
		rows = c.guarded(rows, nil)
	}
	c.see(err)
	c.ran(query)
	c.leave()
	return rows, err
}

// arguments makes those of a query without a statement, for a driver that takes a context, or
// takes none. With another one, as of a driver whose connections are not alike, database/sql
// goes on with a statement.
func (c *handle) arguments(
	ctx context.Context, with, without bool, args []driver.NamedValue,
) (checked []driver.NamedValue, values []driver.Value, err error) {
	unchecked := c.unchecked
	c.unchecked = false
	if !with && !without {
		return nil, nil, driver.ErrSkip
	}
	if unchecked {
		if args, err = c.late(args); err != nil {
			return nil, nil, err
		}
	}
	values, err = unnamed(ctx, with, args)
	return args, values, err
}

// unnamed makes the arguments of a driver that takes no context, as database/sql does.
func unnamed(ctx context.Context, has bool, args []driver.NamedValue) ([]driver.Value, error) {
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
func (c *handle) ran(query string) {
	if query == c.harmless || c.gone || c.s.stmts.limit == 0 {
		return
	}
	switch {
	case changesSession(query):
		c.s.stmts.retire()
	case len(query) <= 1<<10: // a longer one is not kept in memory for this
		c.harmless = query
	}
}

// late checks arguments that could not be checked before there was a session, as
// database/sql does.
func (c *handle) late(args []driver.NamedValue) ([]driver.NamedValue, error) {
	checked := args[:0:0]
	for _, arg := range args {
		err := c.CheckNamedValue(&arg)
		if errors.Is(err, driver.ErrSkip) {
			arg.Value, err = driver.DefaultParameterConverter.ConvertValue(arg.Value)
		}
		switch {
		case err == nil:
			arg.Ordinal = len(checked) + 1
			checked = append(checked, arg)
		case !errors.Is(err, driver.ErrRemoveArgument):
			name := fmt.Sprintf("$%d", arg.Ordinal)
			if arg.Name != "" {
				name = fmt.Sprintf("with name %q", arg.Name)
			}
			return nil, fmt.Errorf("sql: converting argument %s type: %w", name, err)
		}
	}
	return checked, nil
}

// result is a driver's, read while its connection was held: afterwards somebody else may
// use that.
type result struct {
	id, rows           int64
	idError, rowsError error
}

// LastInsertId implements driver.Result.
func (r *result) LastInsertId() (int64, error) { return r.id, r.idError }

// RowsAffected implements driver.Result.
func (r *result) RowsAffected() (int64, error) { return r.rows, r.rowsError }

// read reads what the driver has returned beside err.
func (c *handle) read(from driver.Result, err error) driver.Result {
	if err != nil || from == nil {
		return from
	}
	c.shared = true
	if n, ok := from.(driver.RowsAffected); ok { // it has no connection
		return n
	}
	var r result
	r.id, r.idError = from.LastInsertId()
	r.rows, r.rowsError = from.RowsAffected()
	return &r
}
