package main

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// database is the setting of a connection: the number of the database that it uses.
type database int

// conn is a connection of redigo. Because of its method IsClosed, the pool closes it when it
// is returned after a fatal error.
type conn struct{ redis.Conn }

func (c conn) IsClosed() bool { return c.Err() != nil }

// do is redigo's Do with a context.
func (c conn) do(ctx context.Context, command string, args ...any) (any, error) {
	return redis.DoContext(c.Conn, ctx, command, args...)
}

// newPool makes the pool. It does not connect.
func newPool(url string, onEvent func(messages.Event)) (*client.Pool[conn], error) {
	ping := func(ctx context.Context, c conn) error {
		_, err := c.do(ctx, "PING")
		return err
	}
	return client.New(client.Config[conn]{
		Name:     "redis",
		Capacity: 4,

		Connect: func(ctx context.Context) (conn, error) {
			dialled, err := redis.DialURLContext(ctx, url,
				redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout))
			if err != nil {
				return conn{}, err
			}
			// A server that accepts connections may still refuse commands, because it
			// requires a password or is loading its data. PING fails then.
			c := conn{dialled}
			if err := ping(ctx, c); err != nil {
				_ = c.Close()
				return conn{}, err
			}
			return c, nil
		},
		// Disconnect is not needed, because connections have a method Close.

		// Connections that were idle for longer than a second are checked before they
		// are lent.
		Check: ping,

		Apply: func(ctx context.Context, c conn, setting any) error {
			_, err := c.do(ctx, "SELECT", int(setting.(database)))
			return err
		},
		Unapply: func(ctx context.Context, c conn) error {
			_, err := c.do(ctx, "SELECT", 0)
			return err
		},

		// Shorter than the timeout of a Get, so that its error is the reason, and not only
		// that it took too long.
		ConnectTimeout: timeout / 2,
		// While connects fail, the pool tries one at a time: after 0.2s, 0.4s, 0.8s and then
		// every second. A fifth of each period is random, so that not all programs try at
		// the same time.
		Backoff: client.Backoff{Base: 200 * time.Millisecond, Cap: time.Second, Jitter: 0.2},
		OnEvent: onEvent,
	})
}
