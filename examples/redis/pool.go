package main

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// database is the setting of a connection: the number of the database that its
// commands are for.
type database int

// conn is a connection of redigo's. It knows itself when it is of no use any
// more; a pool that finds this method asks, and closes it.
type conn struct{ redis.Conn }

func (c conn) IsClosed() bool { return c.Err() != nil }

// do is redigo's Do within a context.
func (c conn) do(ctx context.Context, command string, args ...any) (any, error) {
	return redis.DoContext(c.Conn, ctx, command, args...)
}

// newPool makes the pool. It does not connect yet.
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
				redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience))
			if err != nil {
				return conn{}, err
			}
			// A server may accept connections and be of no use: because it wants a
			// password, or still loads its data. PING says so now.
			c := conn{dialled}
			if err := ping(ctx, c); err != nil {
				_ = c.Close()
				return conn{}, err
			}
			return c, nil
		},
		// There is no Disconnect: connections have a method Close.

		// Connections that were idle for a second are tried before they are lent.
		Check: ping,

		Apply: func(ctx context.Context, c conn, setting any) error {
			_, err := c.do(ctx, "SELECT", int(setting.(database)))
			return err
		},
		Unapply: func(ctx context.Context, c conn) error {
			_, err := c.do(ctx, "SELECT", 0)
			return err
		},

		// Shorter than the patience of those who wait, so that they are told what
		// went wrong, not just that it took too long.
		ConnectTimeout: patience / 2,
		// While connects fail, one at a time is tried: after 0.2s, 0.4s, 0.8s and then
		// every second. A fifth of that is random, lest all programs try at once.
		Backoff: client.Backoff{Base: 200 * time.Millisecond, Cap: time.Second, Jitter: 0.2},
		OnEvent: onEvent,
	})
}
