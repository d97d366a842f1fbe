package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// longTimeout is how long a test waits for something that must happen. Only a test that fails
// takes so long.
const longTimeout = 30 * time.Second

// shortTimeout is the timeout of operations during an outage: less than the longest period of
// backoff, so that some operations time out during a period.
const shortTimeout = 400 * time.Millisecond

// Each server is started once, for the first test that needs it, and closed after all tests.
// The tests run one after another.
var (
	postgresOnce = sync.OnceValues(startPostgres)
	redisOnce    = sync.OnceValues(func() (*servers.Redis, error) { return started(servers.StartRedis()) })
	ldapOnce     = sync.OnceValues(func() (*servers.LDAP, error) { return started(servers.StartLDAP(entries())) })
	running      []interface{ Close() error }
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, server := range running {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(toxiproxyLeaks...); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func started[S interface{ Close() error }](server S, err error) (S, error) {
	if err == nil {
		running = append(running, server)
	}
	return server, err
}

// need returns the server. If it could not be started, the test ends now. When the test ends,
// need checks that no goroutine is left.
func need[S any](t *testing.T, server S, err error) S {
	t.Helper()
	servers.Require(t, err)
	ignored := append([]goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servers.Runs)}, toxiproxyLeaks...)
	t.Cleanup(func() {
		testkit.Eventually(t, func() error { return goleak.Find(ignored...) })
	})
	return server
}

// toxiproxyLeaks are goroutines that toxiproxy leaks if a connection is closed while a toxic
// has data to send.
var toxiproxyLeaks = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

// within returns a context with a timeout, for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// recorder counts connections independently of the pool, and keeps the pool's events, except
// for those of every Get. An event may arrive a little later than the change that it reports.
type recorder struct {
	opened, closed atomic.Int64

	lock   sync.Mutex
	events []messages.Event
}

func (l *recorder) event(e messages.Event) {
	switch e.Kind {
	case messages.CheckOutStarted, messages.CheckedOut, messages.CheckedIn:
		return
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.events = append(l.events, e)
}

// of returns the events of a kind so far.
func (l *recorder) of(kind messages.EventKind) []messages.Event {
	l.lock.Lock()
	defer l.lock.Unlock()
	var found []messages.Event
	for _, e := range l.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// start makes a pool. When the test ends, it is closed, and start checks that every connection
// that was opened has been closed.
func start[C any](t *testing.T, cfg client.Config[C]) (*client.Pool[C], *recorder) {
	t.Helper()
	l := &recorder{}
	connect, disconnect := cfg.Connect, cfg.Disconnect
	cfg.Connect = func(ctx context.Context) (C, error) {
		conn, err := connect(ctx)
		if err == nil {
			l.opened.Add(1)
		}
		return conn, err
	}
	cfg.Disconnect = func(ctx context.Context, conn C) error {
		defer l.closed.Add(1)
		return disconnect(ctx, conn)
	}
	cfg.OnEvent = l.event
	cfg.Name = t.Name()
	pool, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pool.Close(within(t, longTimeout)))
		// A connect that was given up may return its connection a little later.
		testkit.Eventually(t, func() error { return equal("closed", l.closed.Load(), l.opened.Load()) })
		s := pool.Stats()
		assert.Zero(t, s.Open+s.Closing, "%+v", s) // Close does not wait for a connect that was given up
	})
	return pool, l
}

func equal[N comparable](what string, got, want N) error {
	if got != want {
		return fmt.Errorf("%s: %v, not %v", what, got, want)
	}
	return nil
}

// agrees waits until the pool is not used and the server has as many connections as the pool
// says.
func agrees[C any](t *testing.T, pool *client.Pool[C], server func() (int, error)) {
	t.Helper()
	testkit.Eventually(t, func() error {
		s := pool.Stats()
		n, err := server()
		if err != nil {
			return err
		}
		if s.Idle != s.Open || s.Connecting+s.Closing+s.Waiting != 0 || n != s.Open {
			return fmt.Errorf("the server has %d: %+v", n, s)
		}
		return nil
	})
}

// load is a number of goroutines that repeat an operation.
type load struct {
	stopped atomic.Bool
	gate    sync.RWMutex // read-locked by operations, write-locked by whileIdle
	timeout time.Duration
	workers []worker
	running sync.WaitGroup

	lock   sync.Mutex
	errors []error
}

type worker struct {
	done, failed atomic.Int64
	latest       atomic.Int64 // the longest time by which an operation exceeded its timeout
}

// startLoad starts goroutines that repeat op, each time with longTimeout. They are stopped at
// the end of the test, if not before.
func startLoad(t *testing.T, workers int, op func(ctx context.Context, worker int) error) *load {
	t.Helper()
	l := &load{timeout: longTimeout, workers: make([]worker, workers)}
	for i := range l.workers {
		l.running.Go(func() {
			w := &l.workers[i]
			for !l.stopped.Load() {
				if err := l.once(w, i, op); err != nil {
					time.Sleep(time.Millisecond) // do not spin if it fails at once
				}
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) once(w *worker, i int, op func(ctx context.Context, worker int) error) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	begun := time.Now()
	err := op(ctx, i)
	w.latest.Store(max(w.latest.Load(), int64(time.Since(begun)-l.timeout)))
	if err == nil {
		w.done.Add(1)
		return nil
	}
	w.failed.Add(1)
	l.lock.Lock()
	defer l.lock.Unlock()
	l.errors = append(l.errors, err)
	return err
}

// failures returns the errors since the last call.
func (l *load) failures() []error {
	l.lock.Lock()
	defer l.lock.Unlock()
	errs := l.errors
	l.errors = nil
	return errs
}

func (l *load) stop() {
	l.stopped.Store(true)
	l.running.Wait()
}

// whileIdle calls f while no operation runs.
func (l *load) whileIdle(f func()) {
	l.gate.Lock()
	defer l.gate.Unlock()
	f()
}

// setTimeout changes the timeout of operations. When it returns, no operation with another
// timeout is running. Tests use a short timeout during an outage only: on a busy machine an
// operation may take long even if the server is well.
func (l *load) setTimeout(timeout time.Duration) {
	l.whileIdle(func() { l.timeout = timeout })
}

// progress waits until every worker has succeeded n more times.
func (l *load) progress(t *testing.T, n int64) {
	t.Helper()
	from := make([]int64, len(l.workers))
	for i := range l.workers {
		from[i] = l.workers[i].done.Load()
	}
	testkit.Eventually(t, func() error {
		for i := range l.workers {
			if done := l.workers[i].done.Load() - from[i]; done < n {
				err := fmt.Errorf("worker %d succeeded %d times of %d", i, done, n)
				l.lock.Lock()
				defer l.lock.Unlock()
				if len(l.errors) > 0 {
					err = fmt.Errorf("%w; last error: %w", err, l.errors[len(l.errors)-1])
				}
				return err
			}
		}
		return nil
	})
}

// awaitFailures waits until every worker has failed once more.
func (l *load) awaitFailures(t *testing.T) {
	t.Helper()
	from := make([]int64, len(l.workers))
	for i := range l.workers {
		from[i] = l.workers[i].failed.Load()
	}
	testkit.Eventually(t, func() error {
		for i := range l.workers {
			if l.workers[i].failed.Load() == from[i] {
				return fmt.Errorf("worker %d has not failed", i)
			}
		}
		return nil
	})
}

// margin is how much later than its deadline an operation may return on a busy machine.
const margin = 2 * time.Second

// onTime checks that no operation has returned long after its deadline.
func (l *load) onTime(t *testing.T) {
	t.Helper()
	for i := range l.workers {
		assert.Less(t, time.Duration(l.workers[i].latest.Load()), margin, "worker %d", i)
	}
}

// class returns the class of a connect error, by the default Classify.
func class(err error) messages.Class {
	return actors.Classify(messages.PhaseConnect, err)
}

// recovered checks that the pool was ready at most one period of backoff after the server was
// back, and that no connect failed that began after that.
func recovered(t *testing.T, l *recorder, back time.Time, longest time.Duration) {
	t.Helper()
	var ready messages.Event
	testkit.Eventually(t, func() error {
		readies, backoffs := l.of(messages.PoolReady), l.of(messages.PoolBackoff)
		if len(readies) == 0 || len(backoffs) > 0 && backoffs[len(backoffs)-1].Seq > readies[len(readies)-1].Seq {
			return errors.New("the pool is not ready")
		}
		ready = readies[len(readies)-1]
		return nil
	})
	// The difference may be negative: the server may have been back before the test knew.
	assert.Less(t, ready.Time.Sub(back), longest+margin)
	for _, e := range l.of(messages.PoolBackoff) {
		assert.LessOrEqual(t, e.Duration, longest)
	}
	stood, begun := make(map[uint64]bool), make(map[uint64]bool)
	for _, e := range l.of(messages.ConnectionReady) {
		stood[e.ConnID] = true
	}
	for _, e := range l.of(messages.ConnectionCreated) {
		begun[e.ConnID] = e.Time.After(back)
	}
	for _, e := range l.of(messages.ConnectionClosed) {
		if begun[e.ConnID] && !stood[e.ConnID] && e.Reason == messages.ReasonError {
			assert.NoError(t, e.Err, "the server was back when this connect began")
		}
	}
}

// borrowAll borrows all connections of the pool at the same time, and uses them.
func borrowAll[C any](t *testing.T, pool *client.Pool[C], use func(context.Context, C) error) {
	t.Helper()
	ctx := within(t, longTimeout)
	var leases []client.Lease[C]
	for range pool.Stats().Capacity {
		lease, err := pool.Get(ctx)
		require.NoError(t, err)
		leases = append(leases, lease)
	}
	for _, lease := range leases {
		assert.NoError(t, use(ctx, lease.Conn()))
		assert.NoError(t, lease.Put())
	}
}
