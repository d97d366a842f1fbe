package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// OpenDB makes a *sql.DB whose connections come from connector and are kept by a pool of
// their own. The pool is for what *sql.DB does not know: Explain, Clear, SetCapacity,
// Health. Close the *sql.DB, which closes the pool, and connector if it has a method Close.
//
// It opens no connection. A nil connector or a faulty cfg is messages.ConfigErrors.
//
// The connections of the pool are of a type of this package; their method
// Unwrap() driver.Conn gives the driver's own.
func OpenDB(connector driver.Connector, cfg Config) (*sql.DB, *client.Pool[driver.Conn], error) {
	c, err := build(connector, cfg)
	if err != nil {
		return nil, nil, err
	}
	db := sql.OpenDB(c)
	c.db = db
	db.SetMaxIdleConns(keptHandles)
	return db, c.pool, nil
}

// keptHandles is how many handles database/sql may keep. They hold nothing, so it is enough for
// more callers at a time than most programs have, and no loss where it is not.
const keptHandles = 1024

// Open is [OpenDB] with a registered driver and the name of a data source, as in sql.Open.
func Open(driverName, dataSourceName string, cfg Config) (*sql.DB, *client.Pool[driver.Conn], error) {
	plain, err := sql.Open(driverName, dataSourceName)
	if err != nil {
		return nil, nil, err
	}
	d := plain.Driver()
	if err := plain.Close(); err != nil { // it has opened nothing
		return nil, nil, err
	}
	var connector driver.Connector = source{d, dataSourceName}
	if d, ok := d.(driver.DriverContext); ok {
		if connector, err = d.OpenConnector(dataSourceName); err != nil {
			return nil, nil, err
		}
	}
	return OpenDB(connector, cfg)
}

// source is the connector of a driver that has none.
type source struct {
	driver driver.Driver
	name   string
}

func (s source) Connect(context.Context) (driver.Conn, error) { return s.driver.Open(s.name) }
func (s source) Driver() driver.Driver                        { return s.driver }

// Wrap makes a connector whose connections are lent by a pool, for a library that makes its
// *sql.DB from a connector. Do not call SetMaxOpenConns of that *sql.DB: see [Stats].
// SetMaxIdleConns may be left alone; about as many as there are callers at a time saves
// some work, since what database/sql keeps then holds no connection of the pool. But call
// SetMaxIdleConns(-1) where a driver is put around the connector whose connections have no
// IsValid. Closing the *sql.DB closes the pool.
//
// The connector has a method Pool() *client.Pool[driver.Conn]. If connector is nil or cfg
// is faulty, each Connect of the new connector returns messages.ConfigErrors, and Pool
// returns nil.
func Wrap(connector driver.Connector, cfg Config) driver.Connector {
	c, err := build(connector, cfg)
	if err != nil {
		return &core{inner: connector, fault: err}
	}
	return c
}

func build(inner driver.Connector, cfg Config) (*core, error) {
	faults := cfg.faults(inner)
	c := &core{inner: inner, cleanse: cfg.Reset, broken: cfg.Broken}
	c.closeTimeout = or(cfg.CloseTimeout, defaultCloseTimeout)
	c.statements = max(or(cfg.StatementCache, defaultStatementCache), 0)
	if c.broken == nil {
		c.broken = broken
	}
	if faults != nil {
		_, err := client.Props(cfg.pool(c)) // starts nothing: for what else is wrong
		var more messages.ConfigErrors
		errors.As(err, &more)
		return nil, append(faults, more...)
	}
	pool, err := client.New(cfg.pool(c))
	if err != nil {
		return nil, err
	}
	c.pool = pool
	return c, nil
}

// Pool is the pool that lends the connections.
func (c *core) Pool() *client.Pool[driver.Conn] { return c.pool }

// Driver is the driver of the wrapped connector.
func (c *core) Driver() driver.Driver {
	if isNil(c.inner) {
		return nil
	}
	return c.inner.Driver()
}

// askedKey is the key of what a context tells Connect: a *label, or a *probe.
type askedKey struct{}

type label string

// WithLabel returns a context that says what the connections are for that queries with it
// use, such as "nightly import": in errors, events and Explain, see client.GetOptions. A
// transaction or a *sql.Conn has the label of the context with which it was begun. An
// empty label is none.
func WithLabel(ctx context.Context, what string) context.Context {
	l := label(what)
	return context.WithValue(ctx, askedKey{}, &l)
}

// Connect borrows a connection. database/sql calls its Close to return it.
func (c *core) Connect(ctx context.Context) (driver.Conn, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	if asked, _ := ctx.Value(askedKey{}).(*probe); asked != nil {
		asked.core = c
		return nil, errProbe
	}
	made := handle{core: c, peeks: c.look()}
	if err := made.borrow(ctx, options(ctx)); err != nil {
		return nil, err
	}
	shown, own := made.shape()
	if own.peeks {
		// The caller may be a goroutine of database/sql, which keeps what nobody wants any
		// more without a word. Who gets it borrows again, see ready.
		own.peeks, own.s.unused = false, true
		_ = own.give(nil)
	}
	return shown, nil
}

// look looks whether SetMaxOpenConns was called, as far as that can be known.
func (c *core) look() (bounded bool) {
	if c.db == nil {
		return false
	}
	bounded = c.db.Stats().MaxOpenConnections > 0
	c.bounded.Store(bounded)
	return bounded
}

// keepsShared says whether database/sql is to keep a handle that must not wait. After
// SetMaxOpenConns it may not find a new one instead.
func (c *core) keepsShared() bool { return c.db != nil && !c.bounded.Load() }

// options are what a context says about a Get.
func options(ctx context.Context) (o client.GetOptions) {
	if l, _ := ctx.Value(askedKey{}).(*label); l != nil {
		o.Label = string(*l)
	}
	return o
}

// Close closes the pool, and then the wrapped connector.
func (c *core) Close() error {
	var err error
	if c.pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.closeTimeout)
		defer cancel()
		err = c.pool.Close(ctx)
	}
	closer, ok := c.inner.(io.Closer)
	if !ok {
		return err
	}
	if closing := closer.Close(); err == nil {
		err = closing
	} else if closing != nil {
		err = fmt.Errorf("%w; %w", err, closing)
	}
	return err
}
