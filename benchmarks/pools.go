package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jackc/puddle/v2"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/lockfree"
	"github.com/actorpool/actorpool/messages"
)

// conn is the connection of all pools. To open and close it costs nothing.
type conn struct{ holders atomic.Int32 }

func connect(context.Context) (*conn, error) { return new(conn), nil }

// pool is a pool as the cases see it. A whole cycle is one method, in which the methods of the
// measured pool are called directly, as in a program that uses it.
type pool interface {
	// cycle borrows a connection, calls hold unless it is nil, and returns it.
	cycle(ctx context.Context, hold func()) error
	// use is cycle for the tests, with the connection.
	use(ctx context.Context, f func(*conn)) error
	close()
}

const (
	// reference is the pool that the others are compared with, and again a second one that is
	// identical: how much their results differ is the noise of the measurement.
	reference = "actorpool"
	again     = "actorpool again"
	// ownMailbox is the same actor with the mailbox and the dispatcher of the actor library.
	ownMailbox = "actor-default"
	// withOnChange is the reference with Config.OnChange.
	withOnChange = "actorpool, OnChange"
	// nothing has no connections, and does nothing at all.
	nothing = "nothing"
	// redisClient is a client of go-redis, with its pool and a server in memory. heldRedis sends
	// the same commands over one connection that it holds.
	redisClient = "go-redis"
	heldRedis   = "go-redis, held"
)

// contestant is a pool that is measured.
type contestant struct {
	name string
	make func(capacity int) (pool, error)
}

// contestants are measured in each case that names no pools of its own.
var contestants = []contestant{
	{reference, newActor},
	{again, newActor},
	{ownMailbox, newActorDefault},
	{"lockfree", newLockfree},
	{"puddle", newPuddle},
	{"database/sql", newSQL},
	{"channel", newChannel},
	{"mutex+slice", newMutex},
}

// controls are measured in some cases only.
var controls = []contestant{
	{withOnChange, newActorOnChange},
	{nothing, newNothing},
	{redisClient, newRedis},
	{heldRedis, newHeldRedis},
}

// named returns the pool with a name.
func named(name string) (contestant, error) {
	for _, k := range slices.Concat(contestants, controls) {
		if k.name == name {
			return k, nil
		}
	}
	return contestant{}, fmt.Errorf("there is no pool %q", name)
}

// The actor pool, as client.New makes it.

type actorPool struct{ *client.Pool[*conn] }

func actorConfig(capacity int) client.Config[*conn] {
	return client.Config[*conn]{Connect: connect, Disconnect: client.NoDisconnect[*conn], Capacity: capacity}
}

func newActor(capacity int) (pool, error) {
	p, err := client.New(actorConfig(capacity))
	return actorPool{p}, err
}

func newActorOnChange(capacity int) (pool, error) {
	cfg := actorConfig(capacity)
	cfg.OnChange = func(messages.Event) {}
	p, err := client.New(cfg)
	return actorPool{p}, err
}

// newActorDefault makes the same pool with the library's own mailbox and dispatcher.
func newActorDefault(capacity int) (pool, error) {
	props, err := client.Props(actorConfig(capacity), actor.WithMailbox(actor.Unbounded()))
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	return actorPool{client.Attach[*conn](system, system.Root.Spawn(props))}, nil
}

func (p actorPool) cycle(ctx context.Context, hold func()) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	return l.Put()
}

func (p actorPool) use(ctx context.Context, f func(*conn)) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	f(l.Conn())
	return l.Put()
}

func (p actorPool) close() { _ = p.Close(context.Background()) }

// The lock-free pool, internal/lockfree.

type lockfreePool struct{ *lockfree.Pool[*conn] }

func newLockfree(capacity int) (pool, error) {
	p, err := lockfree.New(lockfree.Config[*conn]{Connect: connect, Capacity: capacity})
	return lockfreePool{p}, err
}

func (p lockfreePool) cycle(ctx context.Context, hold func()) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	return l.Put()
}

func (p lockfreePool) use(ctx context.Context, f func(*conn)) error {
	l, err := p.Get(ctx)
	if err != nil {
		return err
	}
	f(l.Conn())
	return l.Put()
}

func (p lockfreePool) close() { _ = p.Close(context.Background()) }

// puddle, the pool inside pgx.

type puddlePool struct{ *puddle.Pool[*conn] }

func newPuddle(capacity int) (pool, error) {
	p, err := puddle.NewPool(&puddle.Config[*conn]{
		Constructor: connect, Destructor: func(*conn) {}, MaxSize: int32(capacity),
	})
	return puddlePool{p}, err
}

func (p puddlePool) cycle(ctx context.Context, hold func()) error {
	r, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	r.Release()
	return nil
}

func (p puddlePool) use(ctx context.Context, f func(*conn)) error {
	r, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	f(r.Value())
	r.Release()
	return nil
}

func (p puddlePool) close() { p.Close() }

// database/sql with a driver whose connections do nothing.

type sqlPool struct{ *sql.DB }

func newSQL(capacity int) (pool, error) {
	db := sql.OpenDB(sqlConnector{})
	db.SetMaxOpenConns(capacity)
	db.SetMaxIdleConns(capacity)
	return sqlPool{db}, nil
}

func (p sqlPool) cycle(ctx context.Context, hold func()) error {
	c, err := p.Conn(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	return c.Close()
}

func (p sqlPool) use(ctx context.Context, f func(*conn)) error {
	c, err := p.Conn(ctx)
	if err != nil {
		return err
	}
	if err := c.Raw(func(driverConn any) error { f(driverConn.(*sqlConn).conn); return nil }); err != nil {
		return err
	}
	return c.Close()
}

func (p sqlPool) close() { _ = p.Close() }

type (
	sqlConnector struct{}
	sqlConn      struct{ *conn }
)

var errNoStatements = errors.New("this driver has only connections")

func (sqlConnector) Connect(context.Context) (driver.Conn, error) { return &sqlConn{new(conn)}, nil }
func (c sqlConnector) Driver() driver.Driver                      { return c }
func (sqlConnector) Open(string) (driver.Conn, error)             { return &sqlConn{new(conn)}, nil }

func (*sqlConn) Prepare(string) (driver.Stmt, error) { return nil, errNoStatements }
func (*sqlConn) Begin() (driver.Tx, error)           { return nil, errNoStatements }
func (*sqlConn) Close() error                        { return nil }

// A buffered channel that contains all connections from the start.

type channelPool chan *conn

func newChannel(capacity int) (pool, error) {
	p := make(channelPool, capacity)
	for range capacity {
		p <- new(conn)
	}
	return p, nil
}

func (p channelPool) get(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	done := ctx.Done()
	if done == nil {
		return <-p, nil
	}
	select {
	case c := <-p:
		return c, nil
	default:
	}
	select {
	case c := <-p:
		return c, nil
	case <-done:
		return nil, ctx.Err()
	}
}

func (p channelPool) cycle(ctx context.Context, hold func()) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	p <- c
	return nil
}

func (p channelPool) use(ctx context.Context, f func(*conn)) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	f(c)
	p <- c
	return nil
}

func (p channelPool) close() {}

// mutexPool is the least that a pool must do: under a mutex, it has a slice of idle connections,
// of which the last is lent first, and a queue of waiters, of which the first is served first.
// All connections exist from the start, and it has no other function.
type mutexPool struct {
	mu    sync.Mutex
	idle  []*conn
	queue []*mutexWaiter // from head on, in order; nil: it has left
	head  int
	free  []*mutexWaiter
}

type mutexWaiter struct {
	conn  chan *conn // of capacity 1
	place int        // in queue; -1: it gets a connection
}

func newMutex(capacity int) (pool, error) {
	p := new(mutexPool)
	for range capacity {
		p.idle = append(p.idle, new(conn))
	}
	return p, nil
}

func (p *mutexPool) get(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	w := p.join()
	p.mu.Unlock()
	var c *conn
	if done := ctx.Done(); done == nil {
		c = <-w.conn
	} else {
		select {
		case c = <-w.conn:
		case <-done:
			p.leave(w)
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	p.free = append(p.free, w)
	p.mu.Unlock()
	return c, nil
}

// join puts a waiter at the end of the queue.
func (p *mutexPool) join() *mutexWaiter {
	var w *mutexWaiter
	if n := len(p.free); n > 0 {
		w, p.free = p.free[n-1], p.free[:n-1]
	} else {
		w = &mutexWaiter{conn: make(chan *conn, 1)}
	}
	if p.head > 0 && len(p.queue) == cap(p.queue) { // reuse the free space at the front
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
		for i, w := range p.queue {
			if w != nil {
				w.place = i
			}
		}
	}
	w.place = len(p.queue)
	p.queue = append(p.queue, w)
	return w
}

// leave takes a waiter out of the queue. If it has got a connection meanwhile, leave returns
// that.
func (p *mutexPool) leave(w *mutexWaiter) {
	p.mu.Lock()
	if w.place >= 0 {
		p.queue[w.place] = nil
		p.free = append(p.free, w)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.put(<-w.conn)
}

func (p *mutexPool) put(c *conn) {
	p.mu.Lock()
	for p.head < len(p.queue) {
		w := p.queue[p.head]
		p.queue[p.head] = nil
		p.head++
		if w != nil {
			w.place = -1
			p.mu.Unlock()
			w.conn <- c
			return
		}
	}
	p.queue, p.head = p.queue[:0], 0
	p.idle = append(p.idle, c)
	p.mu.Unlock()
}

func (p *mutexPool) cycle(ctx context.Context, hold func()) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	if hold != nil {
		hold()
	}
	p.put(c)
	return nil
}

func (p *mutexPool) use(ctx context.Context, f func(*conn)) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	f(c)
	p.put(c)
	return nil
}

func (p *mutexPool) close() {}

// nothingPool costs what the measurement itself costs: an empty function behind the same
// interface.
type nothingPool struct{}

func newNothing(int) (pool, error) { return nothingPool{}, nil }

//go:noinline
func (nothingPool) cycle(context.Context, func()) error { return nil }

func (nothingPool) use(context.Context, func(*conn)) error { return errors.ErrUnsupported }
func (nothingPool) close()                                 {}
