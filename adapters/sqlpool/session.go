package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/client"
)

// core is the connector above a pool, and the functions of that pool.
type core struct {
	inner        driver.Connector
	pool         *client.Pool[driver.Conn]
	db           *sql.DB // nil: with Wrap it is unknown
	fault        error   // of the Config; then there is no pool
	cleanse      func(ctx context.Context, conn driver.Conn) error
	broken       func(err error) bool
	statements   int
	closeTimeout time.Duration
	// deaths counts the connections that were found to be dead in use. It is how a check
	// without Ping knows whom to suspect.
	deaths atomic.Uint64
	// unasked: a connection was used by two callers without an IsValid in between.
	unasked atomic.Bool
	// bounded: SetMaxOpenConns was called.
	bounded atomic.Bool
	// resets: ResetSession is called.
	resets atomic.Bool
}

// The states of a session: who may touch its statements.
const (
	idle    = iota // the pool's functions
	held           // the holder
	closing        // Disconnect
)

// session is a connection of the driver, with what is known of it as long as it is open.
type session struct {
	driver.Conn
	core *core

	// state keeps Disconnect from the statements while somebody holds the session: a
	// lease that the pool ends by itself leaves them to the holder.
	state  atomic.Int32
	closes atomic.Bool // Disconnect has begun: the driver must not be called any more
	stmts  statements
	used   bool   // somebody has returned it: ResetSession is due
	unused bool   // it is returned without having been used
	seen   uint64 // deaths when it was last proved alive
	bad    bool   // it is closed without a word to the server
	valid  bool   // database/sql has just asked IsValid

	// What the driver's connection can do, nil where it cannot.
	execer     driver.ExecerContext
	oldExecer  driver.Execer //nolint:staticcheck // drivers still have it
	queryer    driver.QueryerContext
	oldQueryer driver.Queryer //nolint:staticcheck // drivers still have it
	preparer   driver.ConnPrepareContext
	beginner   driver.ConnBeginTx
	pinger     driver.Pinger
	validator  driver.Validator
	resetter   driver.SessionResetter
	checker    driver.NamedValueChecker
}

// open is the pool's Connect.
func (c *core) open(ctx context.Context) (driver.Conn, error) {
	seen := c.deaths.Load()
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if isNil(inner) {
		return nil, nil // which the pool reports
	}
	s := &session{Conn: inner, core: c, seen: seen}
	s.stmts.limit = c.statements
	s.execer, _ = inner.(driver.ExecerContext)
	s.oldExecer, _ = inner.(driver.Execer) //nolint:staticcheck // drivers still have it
	s.queryer, _ = inner.(driver.QueryerContext)
	s.oldQueryer, _ = inner.(driver.Queryer) //nolint:staticcheck // drivers still have it
	s.preparer, _ = inner.(driver.ConnPrepareContext)
	s.beginner, _ = inner.(driver.ConnBeginTx)
	s.pinger, _ = inner.(driver.Pinger)
	s.validator, _ = inner.(driver.Validator)
	s.resetter, _ = inner.(driver.SessionResetter)
	s.checker, _ = inner.(driver.NamedValueChecker)
	return s, nil
}

// check is the pool's Check. Without Ping it cannot ask the server: it condemns what was
// last used before another connection was found dead.
func (c *core) check(ctx context.Context, conn driver.Conn) error {
	s := conn.(*session)
	deaths := c.deaths.Load()
	switch {
	case s.pinger != nil:
		if err := s.pinger.Ping(ctx); err != nil {
			return err
		}
	case s.seen < deaths:
		return driver.ErrBadConn
	}
	s.seen = deaths
	return nil
}

// reusable is the pool's Reusable: asked on every return, also of a lease that did not
// come from database/sql.
func (c *core) reusable(conn driver.Conn) bool {
	s := conn.(*session)
	if s.unused {
		s.unused, s.valid = false, false
		return true
	}
	s.used = true
	if s.valid {
		s.valid = false
		return true
	}
	return s.validator == nil || s.validator.IsValid()
}

// reset is the pool's Reset. What it does on the server may end statements.
func (c *core) reset(ctx context.Context, conn driver.Conn) error {
	s := conn.(*session)
	err := c.cleanse(ctx, s.Conn)
	s.stmts.retire()
	s.stmts.sweep()
	return err
}

// Unwrap is the driver's own connection.
func (s *session) Unwrap() driver.Conn { return s.Conn }

// Close closes the connection, and its statements before it. The pool's Disconnect.
func (s *session) Close() error {
	s.closes.Store(true)
	if s.state.CompareAndSwap(idle, closing) && !s.bad {
		s.stmts.retire()
		s.stmts.sweep()
	}
	return s.Conn.Close()
}

// broken is the default of Config.Broken. A query that was cancelled need not cost the
// connection: drivers for which it does say so by IsValid or by their next error.
func broken(err error) bool {
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && client.Broken(err)
}
