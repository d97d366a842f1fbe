package testkit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Errors that the fake server and the code which uses its connections return.
var (
	// ErrRefused is what a connect to a server that refuses returns.
	ErrRefused = errors.New("connection refused")
	// ErrApp is an error of the application, which does not break a connection.
	ErrApp = errors.New("no such row")
)

// Dial is what a connect to a [Server] does before the connection stands: it
// may wait, or fail. n counts the connects, from 1.
type Dial func(ctx context.Context, n int) error

// Server is a fake server. Its connects succeed at once unless [Server.SetDial]
// says otherwise.
type Server struct {
	// OnClose runs in the Close of each connection. It is set before the first
	// connection is opened.
	OnClose func(c *Conn)

	t           testing.TB
	mu          sync.Mutex
	dial        Dial
	dialTimes   int
	dialing     int
	dialingPeak int
	conns       []*Conn
}

// NewServer makes a server that reports misuse of its connections to t.
func NewServer(t testing.TB) *Server { return &Server{t: t} }

// Conn is a connection to a [Server].
type Conn struct {
	// N numbers the connections in the order in which they were opened, from 1.
	N int

	server     *Server
	closeCount atomic.Int32
}

// Connect opens a connection. It is the Connect of [World.Config].
func (s *Server) Connect(ctx context.Context) (*Conn, error) {
	s.mu.Lock()
	s.dialTimes++
	n, dial := s.dialTimes, s.dial
	s.dialing++
	s.dialingPeak = max(s.dialingPeak, s.dialing)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.dialing--
		s.mu.Unlock()
	}()
	if dial != nil {
		if err := dial(ctx, n); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Conn{server: s, N: len(s.conns) + 1}
	s.conns = append(s.conns, c)
	return c, nil
}

// Close implements io.Closer: the pool's default Disconnect calls it. A second
// call fails the test.
func (c *Conn) Close() error {
	if n := c.closeCount.Add(1); n > 1 {
		c.server.t.Errorf("connection %d is closed %d times", c.N, n)
	}
	if c.server.OnClose != nil {
		c.server.OnClose(c)
	}
	return nil
}

// Closes counts the calls of Close: 0 or 1.
func (c *Conn) Closes() int { return int(c.closeCount.Load()) }

// SetDial changes what connects do from now on.
func (s *Server) SetDial(dial Dial) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dial = dial
}

// Counts gives the connects begun, and the connections opened and closed.
func (s *Server) Counts() (dials, opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		closed += c.Closes()
	}
	return s.dialTimes, len(s.conns), closed
}

// Dials counts the connects begun.
func (s *Server) Dials() int { n, _, _ := s.Counts(); return n }

// MaxDialing is the largest number of connects that were under way at once.
func (s *Server) MaxDialing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialingPeak
}

// Conn gives connection number n, from 1.
func (s *Server) Conn(n int) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[n-1]
}

// Refuse is a [Dial] that fails with [ErrRefused].
func Refuse(context.Context, int) error { return ErrRefused }

// Accept is a [Dial] that succeeds at once.
func Accept(context.Context, int) error { return nil }

// Delay is a [Dial] that takes d, or ends with its context.
func Delay(d time.Duration) Dial {
	return func(ctx context.Context, _ int) error { return Sleep(ctx, d) }
}

// IgnoreContext is a [Dial] that waits until release is closed, whatever its
// context says.
func IgnoreContext(release <-chan struct{}) Dial {
	return func(context.Context, int) error { <-release; return nil }
}

// Sleep waits for d, or until the context ends, whose error it returns then.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CountedReset is a Reset that counts its calls, and takes a while.
type CountedReset struct {
	Count    atomic.Int32
	Duration time.Duration
}

// Reset fails the test if the connection is closed.
func (r *CountedReset) Reset(ctx context.Context, c *Conn) error {
	if c.Closes() != 0 {
		c.server.t.Errorf("reset of connection %d, which is closed", c.N)
	}
	r.Count.Add(1)
	return Sleep(ctx, r.Duration)
}

// Configure makes it the Reset of a pool.
func (r *CountedReset) Configure(cfg *Config) { cfg.Reset = r.Reset }
