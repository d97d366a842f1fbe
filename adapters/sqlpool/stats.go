package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/actorpool/actorpool/client"
)

// ErrNotPooled is the error of [Stats] for a *sql.DB that has no pool of this package.
var ErrNotPooled = errors.New("sqlpool: the connections of this *sql.DB come from no pool of this package")

// Statistics describe a *sql.DB above a pool.
type Statistics struct {
	Pool client.Stats
	DB   sql.DBStats
	// Warnings say which settings of the *sql.DB work against the pool; one sentence each.
	Warnings []string
}

// Stats describes a *sql.DB of this package, and warns of what works against the pool:
// SetMaxOpenConns, whose queue is above that of the pool and serves in random order, and a
// driver around the connector of [Wrap] that has no IsValid, so that connections are not
// returned. If db was not made with this package, Stats opens a connection and returns
// [ErrNotPooled]; after db.Close it returns the error of database/sql. It waits for at most
// a second, which is only needed if SetMaxOpenConns was called and that many connections are
// in use; then the error is context.DeadlineExceeded, and the Warnings are complete all the
// same.
func Stats(db *sql.DB) (Statistics, error) {
	var s Statistics
	if db == nil {
		return s, errors.New("sqlpool: db is nil")
	}
	s.DB = db.Stats()
	if n := s.DB.MaxOpenConnections; n > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("SetMaxOpenConns(%d): its queue serves in random order, and hands "+
			"connections on that the pool does not know to be free; set Config.Capacity instead, and SetMaxOpenConns(0)", n))
	}
	core, err := find(db)
	if err != nil {
		return s, err
	}
	s.Pool = core.pool.Stats()
	if core.unasked.Load() {
		s.Warnings = append(s.Warnings, "a driver around the pool's connector has no method IsValid, so connections that "+
			"database/sql keeps stay borrowed: call SetMaxIdleConns(-1)")
	}
	return s, nil
}

// probe is how the connector of a *sql.DB is found: database/sql hands the context of a
// caller on to Connect.
type probe struct{ core *core }

var errProbe = errors.New("sqlpool: the connector was asked for itself")

func find(db *sql.DB) (*core, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var found probe
	c, err := db.Conn(context.WithValue(ctx, askedKey{}, &found))
	if c != nil { // one that database/sql had
		err = errors.Join(c.Raw(func(driverConn any) error {
			if lent, ok := driverConn.(interface{ self() *handle }); ok {
				found.core = lent.self().core
			}
			return nil
		}), c.Close())
		if err == nil && found.core == nil {
			err = ErrNotPooled
		}
	}
	if found.core != nil {
		return found.core, nil
	}
	return nil, err
}

// Conn is db.Conn whose error says at once that no connection could be borrowed: that of
// db.Conn itself may be that of the first use of what it returns. With a *sql.DB that has no
// pool of this package it is the same as db.Conn.
func Conn(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	if db == nil {
		return nil, errors.New("sqlpool: db is nil")
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	err = c.Raw(func(driverConn any) error {
		if lent, ok := driverConn.(interface{ self() *handle }); ok {
			return lent.self().ready(ctx)
		}
		return nil
	})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Raw is on.Raw for the driver's own connection: on.Raw itself gives f a connection of this
// package. f must not keep it. What f does to the session may concern its statements:
// they are prepared anew afterwards. If f panics or returns driver.ErrBadConn, the
// connection is closed. With a *sql.Conn of another *sql.DB it is the same as on.Raw.
func Raw(on *sql.Conn, f func(driverConn any) error) error {
	switch {
	case on == nil:
		return errors.New("sqlpool: the *sql.Conn is nil")
	case f == nil:
		return errors.New("sqlpool: f is nil")
	}
	return on.Raw(func(driverConn any) error {
		lent, ok := driverConn.(interface{ self() *handle })
		if !ok {
			return f(driverConn)
		}
		return lent.self().raw(f)
	})
}

// self finds the lease in what database/sql has of it.
func (c *handle) self() *handle { return c }

func (c *handle) raw(f func(driverConn any) error) error {
	_, err := use(context.Background(), c, func() (driver.Conn, error) {
		err := f(c.s.Conn)
		c.s.stmts.retire()
		return nil, err
	})
	return err
}
