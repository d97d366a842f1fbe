//go:build unix

package main

import (
	"context"
	"database/sql/driver"
)

// channel is the least that can lend connections below database/sql: it has a connection of
// database/sql made for each lease, as the pool must, and does nothing else.
type channel struct {
	driver driver.Driver
	conns  chan *channelConn
}

// channelConn is a connection of the channel. It returns itself.
type channelConn struct {
	driver.Conn
	driver.QueryerContext
	resetter  driver.SessionResetter // nil: the driver's connections are not asked
	validator driver.Validator
	home      channel
}

func newChannel(connector driver.Connector) (channel, error) {
	c := channel{connector.Driver(), make(chan *channelConn, connections)}
	for range connections {
		conn, err := connector.Connect(context.Background())
		if err != nil {
			return c, err
		}
		queryer, _ := conn.(driver.QueryerContext)
		resetter, _ := conn.(driver.SessionResetter)
		validator, _ := conn.(driver.Validator)
		c.conns <- &channelConn{conn, queryer, resetter, validator, c}
	}
	return c, nil
}

// Connect implements driver.Connector.
func (c channel) Connect(ctx context.Context) (driver.Conn, error) {
	select {
	case conn := <-c.conns:
		if conn.resetter == nil {
			return conn, nil
		}
		return conn, conn.resetter.ResetSession(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Driver implements driver.Connector.
func (c channel) Driver() driver.Driver { return c.driver }

// IsValid implements driver.Validator.
func (c *channelConn) IsValid() bool { return c.validator == nil || c.validator.IsValid() }

// Close returns the connection.
func (c *channelConn) Close() error {
	c.home.conns <- c
	return nil
}

// close ends all connections.
func (c channel) close() {
	for range connections {
		_ = (<-c.conns).Conn.Close()
	}
}
