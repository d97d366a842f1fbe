package simulation_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

const stormCapacity = 8 // the largest capacity that a storm sets

// storm is a server whose functions fail, panic and hang at random, and the
// counts of what 64 goroutines did with a pool of it.
type storm struct {
	t              *testing.T
	opened, closed atomic.Int64
	gets, granted  atomic.Int64
	events         *eventCounts
	failures       sync.Map // how often each known error came, for the log
}

type stormConn struct{ usage }

func newStorm(t *testing.T) *storm { return &storm{t: t, events: newEventCounts(t.Errorf)} }

func (s *storm) connect(ctx context.Context) (*stormConn, error) {
	switch n := rand.IntN(100); {
	case n < 8:
		return nil, testkit.ErrRefused
	case n < 10:
		panic("the driver is broken")
	case n < 12:
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // ignores its context
	case n < 60:
		select {
		case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.opened.Add(1)
	return &stormConn{usage{fail: s.t.Errorf, revocable: true}}, nil
}

func (s *storm) check(_ context.Context, c *stormConn) error {
	defer c.call("check")()
	switch n := rand.IntN(50); {
	case n < 3:
		return io.EOF
	case n == 3:
		panic("check")
	}
	return nil
}

func (s *storm) reset(_ context.Context, c *stormConn) error {
	defer c.call("reset")()
	switch n := rand.IntN(50); {
	case n < 3:
		return io.EOF
	case n == 3:
		panic("reset")
	case n == 4:
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
	}
	return nil
}

func (s *storm) disconnect(_ context.Context, c *stormConn) error {
	done := c.call("disconnect")
	c.close()
	s.closed.Add(1)
	done()
	switch rand.IntN(50) {
	case 0:
		panic("disconnect")
	case 1:
		return io.EOF
	}
	return nil
}

// observe is the event handler, which panics now and then.
func (s *storm) observe(e messages.Event) {
	s.events.observe(e)
	if rand.IntN(1000) == 0 {
		panic("handler")
	}
}

// hold uses a lease and ends it, sometimes twice.
func (s *storm) hold(l client.Lease[*stormConn]) {
	s.granted.Add(1)
	c := l.Conn()
	if c == nil { // a Clear has revoked the lease already
		if err := l.Put(); !errors.Is(err, messages.ErrLeaseEnded) {
			s.t.Errorf("put of a lease without a connection: %v", err)
		}
		return
	}
	c.take()
	closed := c.isClosed()
	switch n := rand.IntN(20); {
	case n == 0:
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	case n < 10:
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
	}
	closed = closed || c.isClosed()
	c.release()
	var err error
	if rand.IntN(8) == 0 {
		err = l.Taint(io.EOF)
	} else {
		err = l.Put()
	}
	switch {
	case err != nil && !errors.Is(err, messages.ErrLeaseEnded):
		s.t.Errorf("end of a lease: %v", err)
	case err == nil && closed:
		s.t.Error("a connection was lent, or held, that was closed already")
	}
	if rand.IntN(4) == 0 {
		if err := l.Put(); !errors.Is(err, messages.ErrLeaseEnded) {
			s.t.Errorf("second end of a lease: %v", err)
		}
	}
}

// step is one random call of one goroutine. It says whether the pool is closed.
func (s *storm) step(p *client.Pool[*stormConn], rng *rand.Rand) (closed bool) {
	short, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(20000))*time.Microsecond)
	defer cancel()
	var err error
	switch n := rng.IntN(1000); {
	case n < 700:
		s.gets.Add(1)
		if rng.IntN(10) == 0 {
			go cancel()
		}
		o := client.GetOptions{}
		if rng.IntN(3) == 0 {
			o.Label = "storm"
		}
		var l client.Lease[*stormConn]
		if l, err = p.GetWith(short, o); err == nil {
			s.hold(l)
		}
	case n < 800:
		if l, ok := p.TryGet(); ok {
			s.hold(l)
		}
	case n < 950:
		err = s.do(short, p, rng)
	case n < 980:
		s.checkStats(p.Stats())
	case n < 990:
		n := rng.IntN(stormCapacity + 1)
		if err = p.SetCapacity(short, n); n < 3 { // not for long
			_ = p.SetCapacity(short, stormCapacity)
		}
		var drain *messages.DrainError
		if errors.As(err, &drain) {
			s.checkStats(drain.Stats)
		}
	case n < 994:
		err = p.Clear(short, client.ClearOptions{Interrupt: rng.IntN(2) == 0})
	case n < 996:
		if err = p.Suspend(short); err == nil {
			err = p.Resume(context.Background())
		}
	default:
		err = p.Ready(short)
	}
	if err != nil {
		var get *messages.GetError
		if errors.As(err, &get) {
			s.checkStats(get.Stats)
		}
		s.expected(err)
	}
	return errors.Is(err, messages.ErrClosed)
}

func (s *storm) do(ctx context.Context, p *client.Pool[*stormConn], rng *rand.Rand) (err error) {
	outcome := rng.IntN(10)
	defer func() {
		if reason := recover(); reason != nil && (outcome != 0 || reason != "do") {
			panic(reason)
		}
	}()
	return p.Do(ctx, func(_ context.Context, c *stormConn) error {
		if c == nil { // revoked
			return testkit.ErrApp
		}
		c.take()
		defer c.release()
		switch outcome {
		case 0:
			panic("do")
		case 1:
			return io.EOF
		case 2:
			return testkit.ErrApp
		}
		return nil
	})
}

// expected fails the test unless an error is one of those that a storm may bring.
func (s *storm) expected(err error) {
	for _, known := range []error{
		messages.ErrClosed, messages.ErrSuperseded, messages.ErrConnectFailed, testkit.ErrRefused, testkit.ErrApp, io.EOF,
		context.DeadlineExceeded, context.Canceled, messages.ErrLeaseEnded, // by a Clear under a Do
	} {
		if errors.Is(err, known) {
			n, _ := s.failures.LoadOrStore(known, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			return
		}
	}
	var backoff *messages.BackoffError
	if !errors.As(err, &backoff) {
		s.t.Errorf("unexpected error: %v", err)
	}
}

func (s *storm) checkStats(st client.Stats) {
	testkit.Consistent(s.t, st)
	if st.Open+st.Connecting+st.Closing > stormCapacity {
		s.t.Errorf("more connections than any capacity: %+v", st)
	}
}

// run lets 64 goroutines use a pool for d, closes it under them, and checks what
// is left.
func (s *storm) run(p *client.Pool[*stormConn], d time.Duration) {
	t := s.t
	var all sync.WaitGroup
	for g := range 64 {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(time.Now().UnixNano())))
		all.Go(func() {
			for !s.step(p, rng) {
			}
		})
	}
	var closing sync.WaitGroup
	time.Sleep(d)
	for range 3 {
		closing.Go(func() {
			bounded, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := p.Close(bounded); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	quiet := make(chan struct{})
	go func() { all.Wait(); closing.Wait(); close(quiet) }()
	select {
	case <-quiet:
	case <-time.After(30 * time.Second):
		t.Fatalf("not every goroutine has ended: %+v", p.Stats())
	}
	// A connect that ignored its context succeeds late; its connection is closed then.
	require.Eventually(t, func() bool { return s.opened.Load() == s.closed.Load() }, 10*time.Second, time.Millisecond,
		"connections opened and closed")
	st := p.Stats()
	s.checkStats(st)
	assert.Zero(t, st.Open+st.Closing+st.Waiting)
	assert.Equal(t, messages.StateClosed, st.State)
	assert.Equal(t, s.events.started, s.events.ended, "every check-out ends once")
	assert.Equal(t, st.DroppedEvents, s.events.missed, "events that did not come")
	goleak.VerifyNone(t)
	t.Logf("gets %d, granted %d, opened %d, backoffs %d, events %d", s.gets.Load(), s.granted.Load(), s.opened.Load(), st.Backoffs, s.events.seq)
	s.failures.Range(func(err, n any) bool {
		t.Logf("%8d × %v", n.(*atomic.Int64).Load(), err)
		return true
	})
}

func (s *storm) config() client.Config[*stormConn] {
	return client.Config[*stormConn]{
		Connect:        s.connect,
		Disconnect:     s.disconnect,
		Capacity:       stormCapacity,
		MaxConnecting:  4,
		ConnectTimeout: 10 * time.Millisecond,
		Backoff:        client.Backoff{Base: time.Millisecond, Cap: 4 * time.Millisecond},
	}
}

// everything is a configuration with every option.
func (s *storm) everything() client.Config[*stormConn] {
	cfg := s.config()
	cfg.Check, cfg.Reset, cfg.OnEvent = s.check, s.reset, s.observe
	cfg.MinIdle, cfg.MaxIdle = 2, 6
	cfg.CheckAfterIdle, cfg.IdleTimeout = 200*time.Microsecond, 5*time.Millisecond
	cfg.MaxLifetime, cfg.LeakAfter = 20*time.Millisecond, 2*time.Millisecond
	cfg.GetTimeout = time.Second
	return cfg
}

func TestStressOfASimplePool(t *testing.T) {
	s := newStorm(t)
	p, err := client.New(s.config())
	require.NoError(t, err)
	s.run(p, *stormFor*3/10)
}

func TestStressOfAPoolWithEverything(t *testing.T) {
	s := newStorm(t)
	p, err := client.New(s.everything())
	require.NoError(t, err)
	s.run(p, *stormFor*3/10)
}

func TestStressOfAPoolThatFailsFast(t *testing.T) {
	s := newStorm(t)
	cfg := s.everything()
	cfg.Backoff.Mode = client.BackoffFailFast
	p, err := client.New(cfg)
	require.NoError(t, err)
	s.run(p, *stormFor/5)
}

func TestStressOfAPoolOnTheLibrarysMailbox(t *testing.T) {
	s := newStorm(t)
	system := testkit.QuietSystem()
	props, err := client.Props(s.everything(), testkit.LibraryMailbox()...)
	require.NoError(t, err)
	s.run(client.Attach[*stormConn](system, system.Root.Spawn(props)), *stormFor/5)
}
