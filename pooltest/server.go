package pooltest

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/actorpool/actorpool/client"
)

// Server is a server that exists only in a test. It is made by [NewServer]: the methods of
// any other panic. Set its fields before the first connect; the methods may be called at any time and from many goroutines.
//
// It has no goroutine and no timer of its own, so it needs no end.
type Server struct {
	// Handshake is how long a connect takes. Default: LogNormal(5*time.Millisecond, 0.3).
	Handshake Latency
	// Op is how long an operation takes: Read, Write, Ping and Reset of a [Conn].
	// Default: LogNormal(time.Millisecond, 0.3).
	Op Latency
	// Limit is the largest number of connections. One more is refused with SQLSTATE
	// 53300, at the end of its handshake. 0, the default: no limit.
	Limit int
	// SlowFactor is how many times as long everything takes during [Slow]. Default 10.
	SlowFactor float64
	// FlakyOneIn is how many connects and operations there are for each that fails
	// during [Flaky]. Default 20.
	FlakyOneIn int

	seed  uint64
	start time.Time
	order atomic.Uint64 // of faults and connects as they begin

	scenario atomic.Pointer[scenario]
	unclosed atomic.Pointer[[]*Conn] // those opened and not closed by the client; a slice does not change

	dialCount, failedCount, opCount, peakOpen atomic.Uint64

	journal  stack[Entry]
	mistakes stack[mistake]
}

// made gives the server, if NewServer has made it.
func (s *Server) made() *Server {
	require(s.isMade(), "a Server must be made by NewServer")
	return s
}

func (s *Server) isMade() bool { return s != nil && s.scenario.Load() != nil }

// NewServer makes a server whose random numbers come from seed: the same seed, the same
// numbers. Its time begins now. In a bubble of testing/synctest it must be made inside.
func NewServer(seed uint64) *Server {
	s := &Server{
		Handshake:  LogNormal(5*time.Millisecond, .3),
		Op:         LogNormal(time.Millisecond, .3),
		SlowFactor: 10,
		FlakyOneIn: 20,
		seed:       seed,
		start:      time.Now(),
	}
	s.scenario.Store(newScenario(nil))
	s.unclosed.Store(new([]*Conn))
	return s
}

// Now is the time since NewServer. It panics if the server was made outside of the bubble
// of testing/synctest in which it is used, where the time is another.
func (s *Server) Now() time.Duration {
	now := time.Since(s.made().start)
	require(now >= 0, "NewServer was called outside of the bubble of testing/synctest in which the server is used")
	return now
}

// Fault has something go wrong between two moments, which are counted from NewServer: at
// from it begins, at to it is over. It may be called before and while the server is used.
// A beginning that has passed is now: what has happened does not change. [Forever] is an
// end that does not come.
//
// It panics if fault is none, if from is negative, or if to is not after from: only a
// Reset may end when it begins.
func (s *Server) Fault(fault Fault, from, to time.Duration) {
	require(fault.String() != "no fault", "Fault(%d, %v, %v): there is no such fault", int(fault), from, to)
	require(from >= 0, "Fault(%v, %v, %v): it begins before the server does", fault, from, to)
	require(from <= to, "Fault(%v, %v, %v): it ends before it begins", fault, from, to)
	require(from < to || fault == Reset, "Fault(%v, %v, %v): it ends when it begins, so it has no effect", fault, from, to)
	now := s.Now()
	w := window{fault: fault, from: max(from, now), to: max(to, now), order: s.order.Add(1)}
	if w.from == w.to && fault != Reset {
		return // it is over
	}
	s.rewrite(func(windows []window) []window { return append(slices.Clone(windows), w) })
}

// Recover ends all faults now, and takes back those that have not begun. What they have
// broken stays broken.
func (s *Server) Recover() {
	now := s.Now()
	s.rewrite(func(windows []window) []window {
		var rest []window
		for _, w := range windows {
			if w.from <= now {
				w.to = min(w.to, now)
				rest = append(rest, w)
			}
		}
		return rest
	})
}

// rewrite puts a new scenario into the place of the present one, and wakes whoever waits
// by the old one.
func (s *Server) rewrite(change func([]window) []window) {
	for {
		old := s.scenario.Load()
		if s.scenario.CompareAndSwap(old, newScenario(change(old.windows))) {
			close(old.changed)
			return
		}
	}
}

// Dial opens a connection. It is the Connect of a client.Config, or a part of it: give it
// the context that Connect is given, or one derived from it. It takes Handshake, and ends
// earlier with ctx.
//
// It panics if a field of the server has a value that it cannot have. In a pool, that
// panic is the error of the connect, and [Check] reports it.
func (s *Server) Dial(ctx context.Context) (*Conn, error) {
	n := s.made().dialCount.Add(1)
	c := &Conn{server: s, id: n, order: s.order.Add(1), closed: make(chan struct{}), began: s.Now()}
	if info, ok := client.HookInfo(ctx); ok {
		c.pool, c.id = info.Pool, info.ConnID
	}
	s.validate(c)
	c.random = s.randomOf(c)
	c.delay = time.Duration(c.random.Int64N(int64(time.Millisecond)))
	err := c.connect(ctx)
	s.note(c, "connect", c.began, err)
	if err != nil {
		s.failedCount.Add(1)
		return nil, err
	}
	return c, nil
}

// validate panics if a field has a value that it cannot have.
func (s *Server) validate(c *Conn) {
	for _, field := range []struct {
		holds bool
		text  string
	}{
		{s.Handshake != nil, "Server.Handshake is nil"},
		{s.Op != nil, "Server.Op is nil"},
		{s.Limit >= 0, fmt.Sprintf("Server.Limit is %d: it is negative", s.Limit)},
		{s.SlowFactor >= 1 && !math.IsInf(s.SlowFactor, 1), fmt.Sprintf("Server.SlowFactor is %v: it is below 1, infinite or not a number", s.SlowFactor)},
		{s.FlakyOneIn >= 1, fmt.Sprintf("Server.FlakyOneIn is %d: it is below 1", s.FlakyOneIn)},
	} {
		if !field.holds {
			s.report(c, field.text)
		}
		require(field.holds, "%s", field.text)
	}
}

// randomOf gives the randomness of a connection, which depends on nothing but its name.
func (s *Server) randomOf(c *Conn) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", c.pool, c.id)
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

// admit lets a connection in, or says that there are too many.
func (s *Server) admit(c *Conn) error {
	for {
		old := s.unclosed.Load()
		open := s.count(*old) + 1
		switch {
		case s.scenario.Load().has(Full, s.Now()):
			return &ServerError{"53300", "the server has too many connections of others"}
		case s.Limit > 0 && open > s.Limit:
			return &ServerError{"53300", fmt.Sprintf("the server has %d connections already, its limit", s.Limit)}
		}
		now := append(slices.Clone(*old), c)
		if !s.unclosed.CompareAndSwap(old, &now) {
			continue
		}
		for peak := s.peakOpen.Load(); uint64(open) > peak && !s.peakOpen.CompareAndSwap(peak, uint64(open)); peak = s.peakOpen.Load() {
		}
		return nil
	}
}

// forget takes a connection that the client has closed out of the list.
func (s *Server) forget(c *Conn) {
	for {
		old := s.unclosed.Load()
		now := slices.DeleteFunc(slices.Clone(*old), func(other *Conn) bool { return other == c })
		if s.unclosed.CompareAndSwap(old, &now) {
			return
		}
	}
}

// count counts those connections that the server has open.
func (s *Server) count(conns []*Conn) int {
	scenario, now, n := s.scenario.Load(), s.Now(), 0
	for _, c := range conns {
		if !c.broken.Load() && !c.cutOff(scenario, now) {
			n++
		}
	}
	return n
}

// Open is the number of connections that the server has open now. Those that a fault has
// broken are not among them, whether or not the client has noticed.
func (s *Server) Open() int { return s.count(*s.made().unclosed.Load()) }

// Peak is the largest number of connections that were open at once.
func (s *Server) Peak() int { return int(s.made().peakOpen.Load()) }

// Dials is the number of connects that have begun.
func (s *Server) Dials() int { return int(s.made().dialCount.Load()) }

// Failed is the number of connects that have failed.
func (s *Server) Failed() int { return int(s.made().failedCount.Load()) }

// Ops is the number of operations that have begun: Read, Write, Ping and Reset.
func (s *Server) Ops() int { return int(s.made().opCount.Load()) }

// refusal is the error of a connect to a server that is not there.
func refusal() error {
	return onNetwork("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))
}

// closedError is the error of what is done on a connection that is closed.
func closedError() error { return onNetwork("read", net.ErrClosed) }
