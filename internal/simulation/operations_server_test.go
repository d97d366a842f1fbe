package simulation_test

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/actorpool/actorpool/internal/testkit"
)

// Times of the server. A function that ignores its context is given up before it
// returns, and returns in the end.
const (
	opsTimeout = time.Second // ConnectTimeout
	opsSlow    = 50 * time.Millisecond
	opsIgnored = 3 * opsTimeout
)

// mood is what a function of the server does.
type mood uint8

const (
	fine    mood = iota
	slow         // succeeds after a while
	failing      // fails at once
	stuck        // waits for its context
	deaf         // ignores its context
	panicking
	exiting // ends its goroutine
	moods
)

// The functions of the server, each with a mood of its own.
const (
	onConnect = iota
	onDisconnect
	onCheck
	onReset
	onApply
	onUnapply
	opsFunctions
)

// opsServer is a server whose functions have moods, which the operations change.
type opsServer struct {
	t         *testing.T
	start     time.Time
	revocable bool
	order     atomic.Uint64 // numbers connects and Clears as they begin
	moods     [opsFunctions]atomic.Uint32

	mu      sync.Mutex
	dials   int // connects begun
	running int // functions that run now
	opened  int
	closed  int
	conns   []*opsConn // in the order of their age

	troubled     bool // a function may have failed
	checksFailed bool // a check, that is
}

// opsConn is a connection to it.
type opsConn struct {
	usage
	n       int
	began   uint64 // the server's order when its connect began
	born    time.Time
	setting any
}

func (s *opsServer) fail(format string, args ...any) {
	s.t.Errorf("%v: "+format, append([]any{time.Since(s.start)}, args...)...)
}

// act does what the mood of a function says.
func (s *opsServer) act(ctx context.Context, function int) error {
	switch mood(s.moods[function].Load()) {
	case slow:
		return testkit.Sleep(ctx, opsSlow)
	case failing:
		return io.EOF
	case stuck:
		<-ctx.Done()
		return ctx.Err()
	case deaf:
		time.Sleep(opsIgnored)
	case panicking:
		panic("the driver is broken")
	case exiting:
		runtime.Goexit()
	}
	return nil
}

// enter counts a function that runs, until the end that it gives.
func (s *opsServer) enter() (end func()) {
	s.add(&s.running, 1)
	return func() { s.add(&s.running, -1) }
}

func (s *opsServer) add(counter *int, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter += n
}

func (s *opsServer) connect(ctx context.Context) (*opsConn, error) {
	defer s.enter()()
	s.add(&s.dials, 1)
	c := &opsConn{usage: usage{fail: s.fail, revocable: s.revocable}, began: s.order.Add(1)}
	if err := s.act(ctx, onConnect); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	c.n, c.born = s.opened, time.Now()
	s.conns = append(s.conns, c)
	return c, nil
}

// disconnect closes a connection first, and then does what its mood says.
func (s *opsServer) disconnect(ctx context.Context, c *opsConn) error {
	defer s.enter()()
	defer c.call("disconnect")()
	c.close()
	s.add(&s.closed, 1)
	return s.act(ctx, onDisconnect)
}

// function makes a function that works on a connection.
func (s *opsServer) function(what string, which int) func(context.Context, *opsConn) error {
	return func(ctx context.Context, c *opsConn) error {
		defer s.enter()()
		defer c.call(what)()
		return s.act(ctx, which)
	}
}

func (s *opsServer) apply(ctx context.Context, c *opsConn, setting any) error {
	defer s.enter()()
	defer c.call("apply")()
	if c.setting != nil {
		s.fail("%v is applied to connection %d, which has %v", setting, c.n, c.setting)
	}
	err := s.act(ctx, onApply)
	if err == nil {
		c.setting = setting
	}
	return err
}

func (s *opsServer) unapply(ctx context.Context, c *opsConn) error {
	defer s.enter()()
	defer c.call("unapply")()
	if c.setting == nil {
		s.fail("unapply of connection %d, which has no setting", c.n)
	}
	err := s.act(ctx, onUnapply)
	if err == nil {
		c.setting = nil
	}
	return err
}

func (s *opsServer) reset(wipes bool) func(context.Context, *opsConn) error {
	return func(ctx context.Context, c *opsConn) error {
		defer s.enter()()
		defer c.call("reset")()
		err := s.act(ctx, onReset)
		if err == nil && wipes {
			c.setting = nil
		}
		return err
	}
}

// setMood changes one function; recoverAll makes all of them fine.
func (s *opsServer) setMood(function int, to mood) {
	s.moods[function].Store(uint32(to))
	s.troubled = s.troubled || to > slow
	s.checksFailed = s.checksFailed || to > slow && function == onCheck
}

func (s *opsServer) recoverAll() {
	for i := range s.moods {
		s.setMood(i, fine)
	}
}

func (s *opsServer) counts() (dials, running, opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials, s.running, s.opened, s.closed
}
