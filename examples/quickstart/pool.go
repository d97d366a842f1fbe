package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// maxConnecting is the number of simultaneous connects outside a backoff.
const maxConnecting = 2

// newPool makes the pool. Only Connect is required; the other fields show what a program
// for production may want to set.
func newPool(addr string, capacity int, c *connections, w *watch) (*client.Pool[*redisConn], error) {
	return client.New(client.Config[*redisConn]{
		Name:     "quickstart",
		Capacity: capacity,

		Connect: func(ctx context.Context) (*redisConn, error) {
			c.connecting(w.backingOff.Load())
			conn, err := dial(ctx, addr)
			c.connected(err)
			return conn, err
		},
		Disconnect: func(_ context.Context, conn *redisConn) error {
			defer c.disconnected()
			return conn.Close()
		},
		// Connections that were idle for longer than a second are checked before they
		// are lent.
		Check: func(ctx context.Context, conn *redisConn) error { return conn.Ping(ctx) },

		ConnectTimeout: time.Second,
		MaxConnecting:  maxConnecting,

		// While connects fail, Gets wait, and the pool tries one connect at a time: after
		// 0.1s, 0.2s, 0.4s, 0.8s and then every second. In production, longer periods with
		// more jitter are better; here the output shows how they double.
		Backoff: client.Backoff{Base: 100 * time.Millisecond, Cap: time.Second, Jitter: 0.2},

		Broken:  broken,
		OnEvent: w.event,
	})
}

// broken says, for pool.Do, whether the connection must be closed after an error. After an
// error that the server replied it can be used again: the reply was read to its end. After
// any other error it cannot: after a timeout, the reply may still arrive.
func broken(err error) bool {
	var fromServer serverError
	return !errors.As(err, &fromServer)
}

// connections counts what Connect and Disconnect do, independently of the pool, to check the
// pool's own numbers.
type connections struct {
	opened, closed atomic.Int64
	inUse, most    atomic.Int64 // being opened, open or being closed: what Capacity bounds
	dialling       atomic.Int64
	mostProbes     atomic.Int64 // most connects at the same time while the pool backs off
}

func (c *connections) connecting(backingOff bool) {
	raise(&c.most, c.inUse.Add(1))
	if n := c.dialling.Add(1); backingOff {
		raise(&c.mostProbes, n)
	}
}

func (c *connections) connected(err error) {
	c.dialling.Add(-1)
	if err != nil {
		c.inUse.Add(-1)
		return
	}
	c.opened.Add(1)
}

func (c *connections) disconnected() {
	c.closed.Add(1)
	c.inUse.Add(-1)
}

// raise makes v at least n.
func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// watch keeps those of the pool's events that the demo shows. The pool calls event on a
// goroutine of its own, so the fields are atomic.
type watch struct {
	backingOff atomic.Bool
	backoff    atomic.Pointer[messages.Event] // the last PoolBackoff
	ready      atomic.Pointer[messages.Event] // the last PoolReady
}

func (w *watch) event(e messages.Event) {
	switch e.Kind {
	case messages.PoolBackoff:
		w.backoff.Store(&e)
		w.backingOff.Store(true)
	case messages.PoolReady: // at the start, and when a backoff is over
		w.ready.Store(&e)
		w.backingOff.Store(false)
	}
}
