package actorpool_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

var stressFor = flag.Duration("stress", 5*time.Second, "how long all stress tests take together")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	pool   = client.Pool[*conn]
	lease  = client.Lease[*conn]
	config = client.Config[*conn]
)

var (
	ctx        = context.Background()
	errRefused = errors.New("connection refused")
	errApp     = errors.New("no such row")
)

// server is the fake that connections are opened to.
type server struct {
	t    *testing.T
	hook func(c *conn) // runs in Close of a connection

	mu      sync.Mutex
	dial    func(ctx context.Context, n int) error // what connect number n does
	dials   []time.Time                            // when connects began
	dialing int
	most    int // the most that were under way at once
	conns   []*conn
}

// conn is a connection to it.
type conn struct {
	server *server
	n      int // from 1, in the order in which they stood
	closed atomic.Int32
}

func (s *server) connect(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	n, dial := len(s.dials), s.dial
	s.dialing++
	s.most = max(s.most, s.dialing)
	s.mu.Unlock()
	var err error
	defer func() {
		s.mu.Lock()
		s.dialing--
		s.mu.Unlock()
	}()
	if dial != nil {
		err = dial(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &conn{server: s, n: len(s.conns) + 1}
	s.conns = append(s.conns, c)
	return c, nil
}

// Close is found by the pool's default Disconnect.
func (c *conn) Close() error {
	if n := c.closed.Add(1); n > 1 {
		c.server.t.Errorf("connection %d is closed %d times", c.n, n)
	}
	if c.server.hook != nil {
		c.server.hook(c)
	}
	return nil
}

// becomes changes what connects do from now on.
func (s *server) becomes(dial func(ctx context.Context, n int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dial = dial
}

// count gives the connects begun, and the connections opened and closed.
func (s *server) count() (dials, opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		closed += int(c.closed.Load())
	}
	return len(s.dials), len(s.conns), closed
}

func (s *server) dialled() int { n, _, _ := s.count(); return n }

// What connects can do.
func refuse(context.Context, int) error { return errRefused }

func accept(context.Context, int) error { return nil }

// takes is a connect that takes a while and keeps to its context.
func takes(d time.Duration) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ignoring is a connect that does not look at its context until release is
// closed.
func ignoring(release <-chan struct{}) func(context.Context, int) error {
	return func(context.Context, int) error { <-release; return nil }
}

// world is what a rule is tested in: a server, an actor system, and pools that
// run on one of the mailboxes.
type world struct {
	t       *testing.T
	server  *server
	system  *actor.ActorSystem
	library bool // pools run on the library's mailbox and dispatcher

	deadLetters atomic.Int32
}

// rule runs f in virtual time, once for the pool's own mailbox and once for
// the library's.
func rule(t *testing.T, f func(t *testing.T, w *world)) {
	for _, library := range []bool{false, true} {
		name := "combining mailbox"
		if library {
			name = "library mailbox"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, library)) })
		})
	}
}

func newWorld(t *testing.T, library bool) *world {
	w := &world{t: t, server: &server{t: t}, system: quietSystem(), library: library}
	w.system.EventStream.Subscribe(func(event any) {
		if _, ok := event.(*actor.DeadLetterEvent); ok {
			w.deadLetters.Add(1)
		}
	})
	// The library counts dead letters on a goroutine that lives for a moment.
	t.Cleanup(func() { time.Sleep(time.Millisecond); synctest.Wait() })
	return w
}

func quietSystem() *actor.ActorSystem {
	quiet := slog.New(slog.DiscardHandler)
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
}

// pool makes a pool whose backoff is one second, doubling to eight, without
// jitter. At the end of the test it is closed, and has closed every connection.
func (w *world) pool(change ...func(*config)) *pool {
	p := w.spawn(w.config(change...))
	w.t.Cleanup(func() { w.end(p) })
	return p
}

func (w *world) config(change ...func(*config)) config {
	cfg := config{
		Name:    "db",
		Connect: w.server.connect,
		Backoff: client.Backoff{Base: time.Second, Cap: 8 * time.Second, Jitter: client.NoJitter},
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func (w *world) spawn(cfg config, opts ...actor.PropsOption) *pool {
	if w.library {
		opts = append(opts, actor.WithMailbox(actor.Unbounded()), actor.WithDispatcher(actor.NewDefaultDispatcher(300)))
	}
	props, err := client.Props(cfg, opts...)
	require.NoError(w.t, err)
	pid := w.system.Root.Spawn(props)
	synctest.Wait()
	return client.Attach[*conn](w.system, pid)
}

func (w *world) end(p *pool) {
	closeNow(w.t, p)
	_, opened, closed := w.server.count()
	assert.Equal(w.t, opened, closed, "connections opened, closed")
}

func closeNow(t *testing.T, p *pool) {
	bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	assert.NoError(t, p.Close(bounded))
	synctest.Wait()
}

func capacity(n int) func(*config) { return func(cfg *config) { cfg.Capacity = n } }

func get(t *testing.T, p *pool) lease {
	t.Helper()
	l, err := p.Get(ctx)
	require.NoError(t, err)
	return l
}

func put(t *testing.T, leases ...lease) {
	t.Helper()
	for _, l := range leases {
		require.NoError(t, l.Put())
	}
}

// fill makes n idle connections, the last of which is the newest.
func fill(t *testing.T, p *pool, n int) {
	t.Helper()
	leases := make([]lease, n)
	for i := range leases {
		leases[i] = get(t, p)
	}
	put(t, leases...)
	synctest.Wait()
}

func within(t *testing.T, d time.Duration) context.Context {
	bounded, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return bounded
}

// call is a function that runs on a goroutine of its own.
type call struct {
	done   chan struct{}
	err    error // these may be read when it has ended
	waited time.Duration
}

func async(f func() error) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		start := time.Now()
		c.err = f()
		c.waited = time.Since(start)
	}()
	synctest.Wait()
	return c
}

func (c *call) ended() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *call) waits(t *testing.T) {
	t.Helper()
	if c.ended() {
		require.Fail(t, "the call waits no more", "error: %v", c.err)
	}
}

// returned gives the call's error; it must have returned.
func (c *call) returned(t *testing.T) error {
	t.Helper()
	require.True(t, c.ended(), "the call has returned")
	return c.err
}

// getting is a Get.
type getting struct {
	*call
	lease lease
}

func begin(ctx context.Context, p *pool) *getting { return beginWith(ctx, p, client.GetOptions{}) }

func beginWith(ctx context.Context, p *pool, o client.GetOptions) *getting {
	g := &getting{}
	g.call = async(func() (err error) {
		g.lease, err = p.GetWith(ctx, o)
		return err
	})
	return g
}

// granted says that the Get has its connection.
func (g *getting) granted(t *testing.T) lease {
	t.Helper()
	require.NoError(t, g.returned(t))
	return g.lease
}

// failed says that the Get has ended with an error, and gives it.
func (g *getting) failed(t *testing.T) error {
	t.Helper()
	err := g.returned(t)
	require.Error(t, err)
	return err
}

// journal keeps a pool's events.
type journal struct {
	mu     sync.Mutex
	events []messages.Event
}

func (j *journal) note(e messages.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// listen makes the journal the event handler.
func (j *journal) listen(cfg *config) { cfg.OnEvent = j.note }

func (j *journal) all() []messages.Event {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]messages.Event(nil), j.events...)
}

// kinds gives the names of the events after the first skip, closings and
// failures with their reasons.
func (j *journal) kinds(skip int) []string {
	var names []string
	for _, e := range j.all()[skip:] {
		name := e.Kind.String()
		if e.Reason != 0 {
			name += "(" + e.Reason.String() + ")"
		}
		names = append(names, name)
	}
	return names
}

// elapsed measures virtual time.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
