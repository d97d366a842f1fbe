package main

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The pool of go-redis is in an internal package, so a program reaches it through a command
// only. The command here is answered at once by a connection in memory. What is measured beside
// the pool is the client's own way to it and the protocol, which is more than the pool. Only the
// difference to the same command over a connection that is held all the time tells of the pool:
// so go-redis is in few cases, each with both.
type redisPool struct {
	do     func(context.Context, redis.Cmder) error
	ends   func()
	redis  *redis.Client
	spares sync.Pool // of *redisCommand
}

// argument is the argument of the command. Its method runs while the connection is held.
type argument struct{ hold func() }

//nolint:unparam // it is an encoding.BinaryMarshaler
func (a *argument) MarshalBinary() ([]byte, error) {
	if a.hold != nil {
		a.hold()
	}
	return []byte("name"), nil
}

type redisCommand struct {
	argument
	args []any
}

func newRedis(capacity int) (pool, error) {
	c := redis.NewClient(&redis.Options{
		Dialer:   func(context.Context, string, string) (net.Conn, error) { return &redisConn{}, nil },
		PoolSize: capacity, MaxActiveConns: capacity, MaxIdleConns: capacity,
		PoolTimeout: time.Hour, // as for the other pools, only the context bounds a wait
		MaxRetries:  -1, Protocol: 2, DisableIdentity: true, ReadTimeout: -2, WriteTimeout: -2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	p := &redisPool{do: c.Process, ends: func() {}, redis: c}
	p.spares.New = func() any {
		r := &redisCommand{}
		r.args = []any{"get", &r.argument}
		return r
	}
	return p, nil
}

// newHeldRedis sends the same command over a connection that it has taken before, so that the
// difference to newRedis is what the pool costs.
func newHeldRedis(capacity int) (pool, error) {
	made, err := newRedis(capacity)
	if err != nil {
		return nil, err
	}
	p := made.(*redisPool)
	held := p.redis.Conn()
	p.do, p.ends = held.Process, func() { _ = held.Close() }
	return p, nil
}

func (p *redisPool) cycle(ctx context.Context, hold func()) error {
	r := p.spares.Get().(*redisCommand)
	r.hold = hold
	err := p.do(ctx, redis.NewCmd(ctx, r.args...))
	r.hold = nil
	p.spares.Put(r)
	return err
}

// use cannot tell which connection it has.
func (p *redisPool) use(ctx context.Context, f func(*conn)) error {
	return p.cycle(ctx, func() { f(nil) })
}

func (p *redisPool) close() {
	p.ends()
	_ = p.redis.Close()
}

// redisConn is a connection to a server that answers GET, and knows no other command. It is used
// by one goroutine at a time, as go-redis does.
type redisConn struct{ replies bytes.Buffer }

var redisGet = []byte("*2\r\n$3\r\nget\r\n$4\r\nname\r\n")

func (c *redisConn) Write(b []byte) (int, error) {
	if bytes.Equal(b, redisGet) {
		c.replies.WriteString("+OK\r\n")
		return len(b), nil
	}
	for range bytes.Count(b, []byte("*")) {
		c.replies.WriteString("-ERR unknown command\r\n")
	}
	return len(b), nil
}

func (c *redisConn) Read(b []byte) (int, error)     { return c.replies.Read(b) }
func (*redisConn) Close() error                     { return nil }
func (*redisConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*redisConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*redisConn) SetDeadline(time.Time) error      { return nil }
func (*redisConn) SetReadDeadline(time.Time) error  { return nil }
func (*redisConn) SetWriteDeadline(time.Time) error { return nil }
