package actorpool_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const stressCapacity = 8 // never more than that

// storm is a server that does everything to its connections, and counts.
type storm struct {
	t                *testing.T
	opened, closed   atomic.Int64
	started, settled atomic.Int64 // check-outs in the events
	seq              uint64       // of the last event
	missed           uint64       // gaps in the events
	gets, granted    atomic.Int64
	failures         sync.Map // error text → count, for the log
}

type stormConn struct {
	storm           *storm
	holders, closed atomic.Int32
	inside          atomic.Int32 // check, reset and disconnect under way
}

func (s *storm) connect(ctx context.Context) (*stormConn, error) {
	switch n := rand.IntN(100); {
	case n < 8:
		return nil, errRefused
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
	return &stormConn{storm: s}, nil
}

// alone says that nobody else does anything with the connection meanwhile.
func (c *stormConn) alone(what string) func() {
	if n := c.inside.Add(1); n != 1 {
		c.storm.t.Errorf("%s: %d functions at once", what, n)
	}
	if n := c.holders.Load(); n != 0 && what != "disconnect" { // a revoked lease may still be in use
		c.storm.t.Errorf("%s while %d hold the connection", what, n)
	}
	if c.closed.Load() != 0 {
		c.storm.t.Errorf("%s of a closed connection", what)
	}
	return func() { c.inside.Add(-1) }
}

func (s *storm) check(_ context.Context, c *stormConn) error {
	defer c.alone("check")()
	switch n := rand.IntN(50); {
	case n < 3:
		return io.EOF
	case n == 3:
		panic("check")
	}
	return nil
}

func (s *storm) reset(_ context.Context, c *stormConn) error {
	defer c.alone("reset")()
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
	done := c.alone("disconnect")
	if c.closed.Add(1) == 1 {
		s.closed.Add(1)
	}
	done()
	switch rand.IntN(50) {
	case 0:
		panic("disconnect")
	case 1:
		return io.EOF
	}
	return nil
}

// observe runs on one goroutine.
func (s *storm) observe(e messages.Event) {
	s.missed += e.Seq - s.seq - 1
	s.seq = e.Seq
	switch e.Kind {
	case messages.CheckOutStarted:
		s.started.Add(1)
	case messages.CheckedOut, messages.CheckOutFailed:
		s.settled.Add(1)
	}
	if rand.IntN(1000) == 0 {
		panic("handler")
	}
}

// hold uses a lease like a careful holder, and ends it like a careless one.
func (s *storm) hold(l client.Lease[*stormConn]) {
	s.granted.Add(1)
	c := l.Conn()
	if c == nil { // a Clear was faster
		if err := l.Put(); !errors.Is(err, messages.ErrLeaseEnded) {
			s.t.Errorf("put of a lease without a connection: %v", err)
		}
		return
	}
	if n := c.holders.Add(1); n != 1 {
		s.t.Errorf("a connection has %d holders", n)
	}
	closed := c.closed.Load() != 0
	switch n := rand.IntN(20); {
	case n == 0:
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	case n < 10:
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
	}
	closed = closed || c.closed.Load() != 0
	c.holders.Add(-1)
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

// act is one random step of one goroutine. It says whether the pool is closed.
func (s *storm) act(p *client.Pool[*stormConn], rng *rand.Rand) (closed bool) {
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
		s.consistent(p.Stats())
	case n < 990:
		n := rng.IntN(stressCapacity + 1)
		if err = p.SetCapacity(short, n); n < 3 { // not for long
			_ = p.SetCapacity(short, stressCapacity)
		}
		var drain *messages.DrainError
		if errors.As(err, &drain) {
			s.consistent(drain.Stats)
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
			s.consistent(get.Stats)
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
			return errApp
		}
		if n := c.holders.Add(1); n != 1 {
			s.t.Errorf("a connection has %d holders", n)
		}
		defer c.holders.Add(-1)
		switch outcome {
		case 0:
			panic("do")
		case 1:
			return io.EOF
		case 2:
			return errApp
		}
		return nil
	})
}

// expected says whether an error is one of those that a storm may bring.
func (s *storm) expected(err error) {
	for _, known := range []error{
		messages.ErrClosed, messages.ErrSuperseded, messages.ErrConnectFailed, errRefused, errApp, io.EOF,
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

func (s *storm) consistent(st client.Stats) {
	if st.Open != st.Idle+st.Borrowed+st.InTransition || st.Open+st.Connecting+st.Closing > stressCapacity ||
		min(st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing, st.Waiting) < 0 || st.Grants > st.Gets {
		s.t.Errorf("inconsistent: %+v", st)
	}
}

// rage lets 64 goroutines loose on a pool, closes it under them, and looks at
// what is left.
func (s *storm) rage(p *client.Pool[*stormConn], d time.Duration) {
	t := s.t
	var all sync.WaitGroup
	for g := range 64 {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(time.Now().UnixNano())))
		all.Go(func() {
			for !s.act(p, rng) {
			}
		})
	}
	var closing sync.WaitGroup
	time.Sleep(d) // that long the storm lasts
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
		t.Fatalf("somebody is stuck: %+v", p.Stats())
	}
	// What ignored its context comes late, and is closed then.
	require.Eventually(t, func() bool { return s.opened.Load() == s.closed.Load() }, 10*time.Second, time.Millisecond,
		"connections opened and closed")
	st := p.Stats()
	s.consistent(st)
	assert.Zero(t, st.Open+st.Closing+st.Waiting)
	assert.Equal(t, messages.StateClosed, st.State)
	assert.Equal(t, s.started.Load(), s.settled.Load(), "every check-out ends once")
	assert.Equal(t, st.DroppedEvents, s.missed, "events that did not come")
	goleak.VerifyNone(t)
	t.Logf("gets %d, granted %d, opened %d, backoffs %d, events %d", s.gets.Load(), s.granted.Load(), s.opened.Load(), st.Backoffs, s.seq)
	s.failures.Range(func(err, n any) bool {
		t.Logf("%8d × %v", n.(*atomic.Int64).Load(), err)
		return true
	})
}

func (s *storm) config() client.Config[*stormConn] {
	return client.Config[*stormConn]{
		Connect:        s.connect,
		Disconnect:     s.disconnect,
		Capacity:       stressCapacity,
		MaxConnecting:  4,
		ConnectTimeout: 10 * time.Millisecond,
		Backoff:        client.Backoff{Base: 100 * time.Microsecond, Cap: 2 * time.Millisecond},
	}
}

// everything turns everything on.
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
	s := &storm{t: t}
	p, err := client.New(s.config())
	require.NoError(t, err)
	s.rage(p, *stressFor*3/10)
}

func TestStressOfAPoolWithEverything(t *testing.T) {
	s := &storm{t: t}
	p, err := client.New(s.everything())
	require.NoError(t, err)
	s.rage(p, *stressFor*3/10)
}

func TestStressOfAPoolThatFailsFast(t *testing.T) {
	s := &storm{t: t}
	cfg := s.everything()
	cfg.Backoff.Mode = client.BackoffFailFast
	p, err := client.New(cfg)
	require.NoError(t, err)
	s.rage(p, *stressFor/5)
}

func TestStressOfAPoolOnTheLibrarysMailbox(t *testing.T) {
	s := &storm{t: t}
	system := quietSystem()
	props, err := client.Props(s.everything(),
		actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewDefaultDispatcher(300)))
	require.NoError(t, err)
	s.rage(client.Attach[*stormConn](system, system.Root.Spawn(props)), *stressFor/5)
}
