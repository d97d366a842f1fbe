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
	"github.com/actorpool/actorpool/messages"
)

// patience is how long a test waits for what must come. It only passes when a
// test fails.
const patience = 30 * time.Second

// patient is how long a caller waits for all it wants during an outage: less
// than the longest period of backoff, so that some leave before it is over.
const patient = 400 * time.Millisecond

// A server is started once, for the first test that needs it, and closed at the
// end. The tests run one after another.
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
	if err := goleak.Find(toxiproxys...); err != nil && code == 0 {
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

// need gives the server, or ends the test that cannot do without. When the test
// ends, no goroutine is left of it.
func need[S any](t *testing.T, server S, err error) S {
	t.Helper()
	var missing *servers.MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	require.NoError(t, err)
	ignored := append([]goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servers.Runs)}, toxiproxys...)
	t.Cleanup(func() {
		eventually(t, func() error { return goleak.Find(ignored...) })
	})
	return server
}

// toxiproxys are goroutines that toxiproxy leaves behind, if a wire is closed
// while a toxic has something to pass on: it does so without looking up.
var toxiproxys = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

// within gives a context for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f has no complaint any more.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "after %v", patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ledger counts connections from the outside, and keeps the pool's events but
// for what every Get brings. Events come a little later than what they tell.
type ledger struct {
	opened, closed atomic.Int64

	lock   sync.Mutex
	events []messages.Event
}

func (l *ledger) event(e messages.Event) {
	switch e.Kind {
	case messages.CheckOutStarted, messages.CheckedOut, messages.CheckedIn:
		return
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.events = append(l.events, e)
}

// of gives the events of a kind so far.
func (l *ledger) of(kind messages.EventKind) []messages.Event {
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

// start makes a pool that is closed when the test ends. Then every connection
// that was opened has been closed.
func start[C any](t *testing.T, cfg client.Config[C]) (*client.Pool[C], *ledger) {
	t.Helper()
	l := &ledger{}
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
		assert.NoError(t, pool.Close(within(t, patience)))
		// A connect that was given up may bring its connection a little later.
		eventually(t, func() error { return equal("closed", l.closed.Load(), l.opened.Load()) })
		s := pool.Stats()
		assert.Zero(t, s.Open+s.Closing, "%+v", s) // a connect that was given up is not waited for
	})
	return pool, l
}

func equal[N comparable](what string, got, want N) error {
	if got != want {
		return fmt.Errorf("%s: %v, not %v", what, got, want)
	}
	return nil
}

// agrees waits until the pool is at rest and the server counts as many
// connections as the pool has open.
func agrees[C any](t *testing.T, pool *client.Pool[C], server func() (int, error)) {
	t.Helper()
	eventually(t, func() error {
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

// load is a number of goroutines that do the same over and over.
type load struct {
	halted  atomic.Bool
	gate    sync.RWMutex // held by whoever works; by calm alone
	timeout time.Duration
	workers []worker
	running sync.WaitGroup

	lock   sync.Mutex
	errors []error
}

type worker struct {
	done, failed atomic.Int64
	latest       atomic.Int64 // how long after its timeout an operation ended
}

// startLoad begins to do op, each time within our patience. It is halted at the
// end of the test if it was not before.
func startLoad(t *testing.T, workers int, op func(ctx context.Context, worker int) error) *load {
	t.Helper()
	l := &load{timeout: patience, workers: make([]worker, workers)}
	for i := range l.workers {
		l.running.Go(func() {
			w := &l.workers[i]
			for !l.halted.Load() {
				if err := l.once(w, i, op); err != nil {
					time.Sleep(time.Millisecond) // an error that comes at once is no reason to spin
				}
			}
		})
	}
	t.Cleanup(l.halt)
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

// failures gives the errors since the last call.
func (l *load) failures() []error {
	l.lock.Lock()
	defer l.lock.Unlock()
	errs := l.errors
	l.errors = nil
	return errs
}

func (l *load) halt() {
	l.halted.Store(true)
	l.running.Wait()
}

// calm calls f while nobody works.
func (l *load) calm(f func()) {
	l.gate.Lock()
	defer l.gate.Unlock()
	f()
}

// allow gives the operations that begin from now on another timeout; when it
// returns, there are no others. Callers are short of time only during an outage:
// on a machine that has other things to do, a server that is well may take long.
func (l *load) allow(timeout time.Duration) {
	l.calm(func() { l.timeout = timeout })
}

// progress waits until every worker has succeeded n times more.
func (l *load) progress(t *testing.T, n int64) {
	t.Helper()
	from := make([]int64, len(l.workers))
	for i := range l.workers {
		from[i] = l.workers[i].done.Load()
	}
	eventually(t, func() error {
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

// suffers waits until every worker has failed once more.
func (l *load) suffers(t *testing.T) {
	t.Helper()
	from := make([]int64, len(l.workers))
	for i := range l.workers {
		from[i] = l.workers[i].failed.Load()
	}
	eventually(t, func() error {
		for i := range l.workers {
			if l.workers[i].failed.Load() == from[i] {
				return fmt.Errorf("worker %d has not failed", i)
			}
		}
		return nil
	})
}

// margin is how much later than its deadline a caller may return on a machine
// that has other things to do.
const margin = 2 * time.Second

// punctual says that nobody has returned long after its deadline.
func (l *load) punctual(t *testing.T) {
	t.Helper()
	for i := range l.workers {
		assert.Less(t, time.Duration(l.workers[i].latest.Load()), margin, "worker %d", i)
	}
}

// class gives what the default makes of an error that came out of a pool.
func class(err error) messages.Class {
	return actors.Classify(messages.PhaseConnect, err)
}

// recovered says that the pool was ready again within one period of backoff
// after the server was back, and that no connect failed which was begun then.
func recovered(t *testing.T, l *ledger, back time.Time, longest time.Duration) {
	t.Helper()
	var ready messages.Event
	eventually(t, func() error {
		readies, backoffs := l.of(messages.PoolReady), l.of(messages.PoolBackoff)
		if len(readies) == 0 || len(backoffs) > 0 && backoffs[len(backoffs)-1].Seq > readies[len(readies)-1].Seq {
			return errors.New("the pool is not ready")
		}
		ready = readies[len(readies)-1]
		return nil
	})
	// Before, if the server served a moment before we knew.
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
			assert.NoError(t, e.Err, "the server was back when this connect was begun")
		}
	}
}

// borrowAll borrows every connection of the pool at once, and uses it.
func borrowAll[C any](t *testing.T, pool *client.Pool[C], use func(context.Context, C) error) {
	t.Helper()
	ctx := within(t, patience)
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
