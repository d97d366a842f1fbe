package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/memstore"
	"github.com/actorpool/actorpool/fleet/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a database that counts its connections.
type server struct {
	open, worst atomic.Int64
	lag         time.Duration // until a close has reached it
}

type conn struct {
	s           *server
	incarnation string
}

func (s *server) connect(ctx context.Context) (*conn, error) {
	n := s.open.Add(1)
	for w := s.worst.Load(); n > w && !s.worst.CompareAndSwap(w, n); w = s.worst.Load() {
	}
	return &conn{s, fleet.Incarnation(ctx)}, nil
}

func (c *conn) Close() error {
	time.Sleep(c.s.lag)
	c.s.open.Add(-1)
	return nil
}

// world is a fleet in virtual time, over a store that the test can disturb.
type world struct {
	t      *testing.T
	server *server
	mem    *memstore.Store
	store  *disturbed
}

func run(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		w := &world{t: t, server: &server{lag: 3 * time.Millisecond}, mem: mem, store: newDisturbed(mem)}
		f(t, w)
		mem.Close()
		time.Sleep(time.Minute) // the rest of timers, in virtual time
		synctest.Wait()
		assert.Zero(t, w.server.open.Load(), "connections that are still open")
	})
}

const ttl = 5 * time.Second

func (w *world) config(change ...func(*fleet.Config)) fleet.Config {
	cfg := fleet.Config{Key: "db", Budget: 10, TTL: ttl, Store: w.store, Name: "test"}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

type process struct {
	*fleet.Member
	pool  *client.Pool[*conn]
	store *disturbed
	stop  context.CancelFunc
	ended chan struct{}
	users atomic.Int64
	want  atomic.Int64
}

func (w *world) pool() client.Config[*conn] { return client.Config[*conn]{Connect: w.server.connect} }

// join starts a member with a store of its own that can be disturbed, over the one ledger.
func (w *world) join(change ...func(*fleet.Config)) *process {
	w.t.Helper()
	p := &process{store: newDisturbed(w.mem)}
	pool, m, err := fleet.New(w.t.Context(), w.pool(), w.config(append([]func(*fleet.Config){func(cfg *fleet.Config) { cfg.Store = p.store }}, change...)...))
	require.NoError(w.t, err)
	p.Member, p.pool = m, pool
	return p
}

// use has n goroutines use the pool again and again, each for a while.
func (p *process) use(t *testing.T, n int) {
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	p.ended = make(chan struct{}, n)
	for range n {
		go func() {
			defer func() { p.ended <- struct{}{} }()
			for ctx.Err() == nil {
				l, err := p.pool.Get(ctx)
				if err != nil {
					if errors.Is(err, context.Canceled) {
						return
					}
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if c := l.Conn(); c != nil { // nil: the lease has ended already
					assert.NotEmpty(t, c.incarnation)
				}
				p.users.Add(1)
				time.Sleep(20 * time.Millisecond)
				p.users.Add(-1)
				_ = l.Put()
			}
		}()
	}
	p.want.Store(int64(n))
}

// rest ends what use has begun.
func (p *process) rest() {
	if p.stop == nil {
		return
	}
	p.stop()
	for range p.want.Load() {
		<-p.ended
	}
	p.stop = nil
}

func (p *process) leave(t *testing.T) {
	t.Helper()
	p.rest()
	require.NoError(t, p.Leave(t.Context()))
	<-p.Done()
}

// crash ends a member without a word to the store: it cannot reach it any more.
func (p *process) crash(t *testing.T) {
	t.Helper()
	p.store.fail(func(string, int) error { return errAway })
	p.rest()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, p.Leave(ctx), errAway)
	<-p.Done()
}

// eventually waits, in virtual time.
func eventually(t *testing.T, within time.Duration, what func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if what() {
			return
		}
	}
	require.Fail(t, fmt.Sprintf("not within %v: ", within)+fmt.Sprintf(format, args...))
}

// disturbed is a store whose operations fail as a test wants.
type disturbed struct {
	store.Store
	n     atomic.Int64
	fault atomic.Pointer[func(name string, n int) error]
}

var (
	errAway = errors.New("the store is away")
	// errAfter lets the operation take effect, and loses the answer.
	errAfter = errors.New("the answer is lost")
	// errHang lets the operation wait until its context ends.
	errHang = errors.New("hang")
)

func newDisturbed(s store.Store) *disturbed { return &disturbed{Store: s} }

func (d *disturbed) fail(f func(name string, n int) error) { d.fault.Store(&f) }
func (d *disturbed) heal()                                 { d.fault.Store(nil) }

// do runs an operation, unless it is disturbed.
func (d *disturbed) do(ctx context.Context, name string, f func() error) error {
	n := int(d.n.Add(1))
	if fault := d.fault.Load(); fault != nil {
		switch err := (*fault)(name, n); err {
		case nil:
		case errAfter:
			_ = f()
			return err
		case errHang:
			<-ctx.Done()
			return ctx.Err()
		default:
			return err
		}
	}
	return f()
}

func (d *disturbed) Open(ctx context.Context, key string, budget int) (sum store.Sum, err error) {
	err = d.do(ctx, "open", func() (err error) { sum, err = d.Store.Open(ctx, key, budget); return err })
	return sum, err
}

func (d *disturbed) Snapshot(ctx context.Context, key string) (v store.Snapshot, err error) {
	err = d.do(ctx, "snapshot", func() (err error) { v, err = d.Store.Snapshot(ctx, key); return err })
	return v, err
}

func (d *disturbed) Commit(ctx context.Context, key string, base, sum store.Sum, changes []store.Change) error {
	return d.do(ctx, "commit", func() error { return d.Store.Commit(ctx, key, base, sum, changes) })
}

func (d *disturbed) Join(ctx context.Context, key, incarnation string, ttl time.Duration) (m store.Membership, err error) {
	err = d.do(ctx, "join", func() (err error) { m, err = d.Store.Join(ctx, key, incarnation, ttl); return err })
	if err != nil {
		return nil, err
	}
	return &disturbedLease{m, d}, nil
}

type disturbedLease struct {
	store.Membership
	d *disturbed
}

func (l *disturbedLease) Renew(ctx context.Context, r store.Report) (row store.Row, ok bool, err error) {
	err = l.d.do(ctx, "renew", func() (err error) { row, ok, err = l.Membership.Renew(ctx, r); return err })
	return row, ok, err
}

func (l *disturbedLease) Leave(ctx context.Context) error {
	return l.d.do(ctx, "leave", func() error { return l.Membership.Leave(ctx) })
}

// errLost is what a store says of a lease that has ended; to join it is away.
func errLost(operation string) error {
	if operation == "renew" {
		return store.ErrLost
	}
	return errAway
}
