package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// maxConnecting is how many connects may be under way at once while all is well.
const maxConnecting = 2

// newPool makes the pool of the demo. A program of your own needs Connect and
// Capacity; what else stands here is what a careful one sets.
func newPool(addr string, capacity int, c *connections, w *watch) (*client.Pool[*redisConn], error) {
	return client.New(client.Config[*redisConn]{
		Name:     "quickstart",
		Capacity: capacity,

		Connect: func(ctx context.Context) (*redisConn, error) {
			c.begin(w.backingOff.Load())
			conn, err := dial(ctx, addr)
			c.began(err)
			return conn, err
		},
		Disconnect: func(_ context.Context, conn *redisConn) error {
			defer c.ended()
			return conn.Close()
		},
		// Connections that were idle for a second are tried before they are lent.
		Check: func(ctx context.Context, conn *redisConn) error { return conn.Ping(ctx) },

		ConnectTimeout: time.Second,
		MaxConnecting:  maxConnecting,

		// While connects fail, Gets wait, and one connect at a time is tried: after
		// 0.1s, 0.2s, 0.4s, 0.8s and then every second. That is quick, for the
		// demo's sake; and the jitter is small, so that one sees it double.
		Backoff: client.Backoff{Base: 100 * time.Millisecond, Cap: time.Second, Jitter: 0.2},

		Broken:  broken,
		OnEvent: w.event,
	})
}

// broken says, for pool.Do, whether an error condemns the connection it came
// from. An error that the server replied does not: it is the application's, and
// the reply was read to its end. Everything else does, a timeout too, since the
// reply may still be on its way.
func broken(err error) bool {
	var fromServer serverError
	return !errors.As(err, &fromServer)
}

// connections counts what Connect and Disconnect do, independently of the pool,
// as evidence against it.
type connections struct {
	opened, closed atomic.Int64
	inUse, most    atomic.Int64 // opening, open or closing: this is what Capacity bounds
	dialling       atomic.Int64
	mostProbes     atomic.Int64 // most connects at once while the pool backs off
}

func (c *connections) begin(backingOff bool) {
	raise(&c.most, c.inUse.Add(1))
	if n := c.dialling.Add(1); backingOff {
		raise(&c.mostProbes, n)
	}
}

func (c *connections) began(err error) {
	c.dialling.Add(-1)
	if err != nil {
		c.inUse.Add(-1)
		return
	}
	c.opened.Add(1)
}

func (c *connections) ended() {
	c.closed.Add(1)
	c.inUse.Add(-1)
}

// raise makes v at least n.
func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// watch remembers of the pool's events what the demo shows. The pool calls
// event on a goroutine of its own, hence the atomics.
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
