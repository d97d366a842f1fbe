package simulation_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/pooltest"
)

// Bounds of what happens in an hour. The functions of the server keep to their
// contexts.
const (
	hourCapacity   = 8 // the largest that is set
	hourBorrowers  = 10
	hourHold       = 8 * time.Second // the longest use of a connection
	hourGet        = 30 * time.Second
	hourTimeout    = 5 * time.Second // ConnectTimeout
	hourConnect    = 200 * time.Millisecond
	hourWork       = 20 * time.Millisecond // a check, reset, apply, unapply
	hourDisconnect = 50 * time.Millisecond
	hourBase       = 200 * time.Millisecond
	hourCap        = 8 * time.Second
)

// hourServer is a database whose faults come and go. It keeps a list of its connections.
type hourServer struct {
	t     testing.TB
	start time.Time
	order atomic.Uint64 // numbers connects and Clears as they begin
	db    *pooltest.Server

	troubled   atomic.Bool // a function may hang now and then
	checksFail atomic.Bool

	mu      sync.Mutex
	limit   int // the largest capacity that may be in force
	dialing int
	most    int // connects at once
	opened  int
	live    map[*hourConn]bool
}

// hourConn is a connection to it. Only its holder, or the one function of the pool
// that works on it, touches the setting: the race detector sees whether that is so.
type hourConn struct {
	usage
	*pooltest.Conn
	server  *hourServer
	n       int
	began   uint64 // the server's order when its connect began
	born    time.Time
	setting any
	touched atomic.Int64 // when it was last used, in nanoseconds
}

func newHourServer(t testing.TB, seed uint64) *hourServer {
	s := &hourServer{t: t, start: time.Now(), db: pooltest.NewServer(seed), live: make(map[*hourConn]bool), limit: hourCapacity}
	s.db.Handshake, s.db.Op = s.orHangs(hourConnect), s.orHangs(hourWork)
	s.db.FlakyOneIn = 40
	return s
}

// orHangs is a latency of at most so much, that now and then is longer than every timeout.
func (s *hourServer) orHangs(most time.Duration) pooltest.Latency {
	usual := pooltest.Uniform(0, most)
	return func(r *rand.Rand) time.Duration {
		if hangs := r.IntN(1000) == 0; hangs && s.troubled.Load() {
			return hourTimeout + time.Second
		}
		return usual(r)
	}
}

func (s *hourServer) fail(format string, args ...any) {
	s.t.Errorf("%v: "+format, append([]any{time.Since(s.start)}, args...)...)
}

func (s *hourServer) connect(ctx context.Context) (*hourConn, error) {
	c := &hourConn{usage: usage{fail: s.fail, revocable: true}, server: s, began: s.order.Add(1)}
	s.mu.Lock()
	s.dialing++
	s.most = max(s.most, s.dialing)
	if n := len(s.live) + s.dialing; n > s.limit {
		s.fail("%d connections are open or being opened, capacity %d", n, s.limit)
	}
	s.mu.Unlock()
	conn, err := s.db.Dial(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing--
	if err != nil {
		return nil, err
	}
	s.opened++
	s.live[c] = true
	c.Conn, c.n, c.born = conn, s.opened, time.Now()
	c.touch()
	return c, nil
}

func (c *hourConn) touch() { c.touched.Store(time.Now().UnixNano()) }

// call begins a function of the pool, and gives its end.
func (c *hourConn) call(what string) (end func()) {
	done := c.usage.call(what)
	return func() { c.touch(); done() }
}

func (s *hourServer) check(ctx context.Context, c *hourConn) error {
	defer c.call("check")()
	err := c.Ping(ctx)
	if s.checksFail.Load() {
		return io.EOF
	}
	return err
}

func (s *hourServer) reset(wipes bool) func(context.Context, *hourConn) error {
	return func(ctx context.Context, c *hourConn) error {
		defer c.call("reset")()
		if wipes {
			c.setting = nil
		}
		return c.Reset(ctx)
	}
}

func (s *hourServer) apply(ctx context.Context, c *hourConn, setting any) error {
	defer c.call("apply")()
	if c.setting != nil {
		s.fail("%v is applied to connection %d, which has %v", setting, c.n, c.setting)
	}
	err := c.Write(ctx)
	if err == nil {
		c.setting = setting
	}
	return err
}

func (s *hourServer) unapply(ctx context.Context, c *hourConn) error {
	defer c.call("unapply")()
	if c.setting == nil {
		s.fail("unapply of connection %d, which has no setting", c.n)
	}
	err := c.Write(ctx)
	if err == nil {
		c.setting = nil
	}
	return err
}

func (s *hourServer) disconnect(_ context.Context, c *hourConn) error {
	defer c.call("disconnect")()
	c.close()
	err := c.Close()
	time.Sleep(time.Duration(c.began) * 7 * time.Millisecond % hourDisconnect)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, c)
	return err
}

// heal ends all faults.
func (s *hourServer) heal() {
	s.db.Recover()
	s.troubled.Store(false)
	s.checksFail.Store(false)
}

// trouble ends all faults, and begins others: these, and those of a bad line.
func (s *hourServer) trouble(faults ...pooltest.Fault) {
	s.heal()
	s.troubled.Store(true)
	for _, fault := range append(faults, pooltest.Flaky) {
		s.db.Fault(fault, s.db.Now(), pooltest.Forever)
	}
}

// allow says that n is the capacity in force, and that no reduction to it is under
// way.
func (s *hourServer) allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	if n := len(s.live) + s.dialing; n > s.limit {
		s.fail("%d connections are open or being opened, capacity %d", n, s.limit)
	}
}

// hourFaults are what may be wrong for a while.
var hourFaults = []pooltest.Fault{
	pooltest.Refuse, pooltest.Blackhole, pooltest.Slow, pooltest.Reset, pooltest.HalfOpen, pooltest.ReadOnly,
	pooltest.Full, pooltest.Full, // twice: what is open goes on being lent
}

// hour is a pool, its server, ten borrowers, and one goroutine that disturbs them.
type hour struct {
	*hourServer
	cfg  client.Config[*hourConn]
	pool *client.Pool[*hourConn]
	rng  *rand.Rand // of the goroutine that disturbs

	quiet       atomic.Bool   // no borrower begins
	active      atomic.Int32  // borrowers that use the pool at the moment
	pace        atomic.Int64  // mean time between two uses by one borrower
	suspensions atomic.Uint64 // odd: the pool is suspended
	stale       atomic.Uint64 // the order of the last Clear that has returned
	interrupted atomic.Uint64 // of the last with Interrupt that has begun
	revoked     atomic.Uint64 // of the last with Interrupt that has returned

	gets, grants, ended atomic.Uint64 // ended: leases that were revoked
	last                client.Stats
	events              *eventCounts
}

func newHour(w *testkit.World, seed uint64) *hour {
	rng := rand.New(rand.NewPCG(seed, 0))
	h := &hour{
		hourServer: newHourServer(w.T, seed),
		rng:        rng,
	}
	h.events = newEventCounts(h.fail)
	h.pace.Store(int64(time.Second))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(most-least)))
	}
	cfg := client.Config[*hourConn]{
		Connect: h.connect, Disconnect: h.disconnect, Check: h.check, Apply: h.apply, Unapply: h.unapply,
		ResetWipesSetting: rng.IntN(3) == 0,
		Capacity:          3 + rng.IntN(hourCapacity-2),
		MinIdle:           1 + rng.IntN(3),
		MaxConnecting:     1 + rng.IntN(3),
		CheckAfterIdle:    []time.Duration{0, 100 * time.Millisecond, -1}[rng.IntN(3)],
		KeepAlive:         between(5*time.Second, 20*time.Second),
		IdleTimeout:       between(15*time.Second, time.Minute),
		MaxLifetime:       between(10*time.Second, 90*time.Second),
		ConnectTimeout:    hourTimeout,
		GetTimeout:        hourGet,
		LeakAfter:         3 * time.Second,
		Backoff:           client.Backoff{Base: hourBase, Cap: hourCap},
		OnEvent:           h.events.observe,
	}
	cfg.Reset = h.reset(cfg.ResetWipesSetting)
	cfg.MaxIdle = cfg.MinIdle + rng.IntN(3)
	cfg.MaxLifetimeJitter = []time.Duration{time.Nanosecond, cfg.MaxLifetime / 10, cfg.MaxLifetime}[rng.IntN(3)]
	if rng.IntN(3) == 0 {
		cfg.Backoff.Mode = client.BackoffFailFast
	}
	if rng.IntN(2) == 0 {
		cfg.Backoff.Jitter = client.NoJitter
	}
	if rng.IntN(4) == 0 {
		cfg.Unapply = nil
	}
	h.cfg = cfg
	props, err := client.Props(cfg, w.PropsOptions()...)
	if err != nil {
		w.T.Fatal(err)
	}
	h.allow(cfg.Capacity)
	h.pool = client.Attach[*hourConn](w.System, w.System.Root.Spawn(props))
	return h
}

func TestAnHour(t *testing.T) {
	for seed := *hourSeed; seed < *hourSeed+uint64(*hours); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) { newHour(w, seed).run(seed) })
		})
	}
	goleak.VerifyNone(t)
}

// run lets an hour pass, and closes the pool while everything goes on.
func (h *hour) run(seed uint64) {
	var borrowers sync.WaitGroup
	for i := range uint64(hourBorrowers) {
		rng := rand.New(rand.NewPCG(seed, 2+i))
		borrowers.Go(func() { h.borrower(rng) })
	}
	for time.Since(h.start) < time.Hour && !h.t.Failed() {
		h.disturb()
		h.checkRecovery()
	}
	h.disturb()
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.pool.Close(bounded); err != nil {
		h.fail("close: %v", err)
	}
	if took := time.Since(begun); took > hourHold+time.Second {
		h.fail("close took %v", took)
	}
	borrowers.Wait()
	synctest.Wait()
	h.checkClosed()
	pooltest.Check(h.t, h.pool, h.db)
}

func (h *hour) checkClosed() {
	st, l := h.pool.Stats(), h.events
	h.checkStats(st)
	switch {
	case st.State != messages.StateClosed || st.Open+st.Connecting+st.Closing+st.Waiting > 0:
		h.fail("closed: %+v", st)
	case len(h.live) > 0 || h.dialing > 0:
		h.fail("%d connections are left, %d are being opened", len(h.live), h.dialing)
	case st.DroppedEvents != l.missed:
		h.fail("%d events did not come, %d were dropped", l.missed, st.DroppedEvents)
	case l.complete() && (l.started != l.ended || len(l.open) > 0):
		h.fail("events: %d check-outs started and %d ended, %d connections not closed", l.started, l.ended, len(l.open))
	case h.most > h.cfg.MaxConnecting:
		h.fail("%d connects at once", h.most)
	}
	h.t.Logf("connects %d, failed %d; operations %d; gets %d, grants %d, revoked %d, opened %d, backoffs %d, clears %d, leaks %d; "+
		"closed idle %d, lifetime %d, stale %d, broken %d, capacity %d; settings hit %d, switched %d, reset %d",
		h.db.Dials(), h.db.Failed(), h.db.Ops(), st.Gets, st.Grants, h.ended.Load(), h.opened, st.Backoffs, st.Generation, st.Leaks,
		st.ClosedIdle, st.ClosedLifetime, st.ClosedStale, st.ClosedBroken, st.ClosedCapacity,
		st.SettingHits, st.SettingSwitches, st.SettingResets)
}

// disturb does a few random things to the pool or to its server.
func (h *hour) disturb() {
	h.pace.Store(int64(200*time.Millisecond) << h.rng.IntN(7))
	h.trouble()
	for range 1 + h.rng.IntN(6) {
		time.Sleep(time.Duration(h.rng.Int64N(int64(8 * time.Second))))
		switch h.rng.IntN(10) {
		case 0, 1:
			h.clear(h.rng.IntN(2) == 0)
		case 2, 3:
			h.resize(h.rng.IntN(hourCapacity+1), time.Duration(h.rng.Int64N(int64(10*time.Second))))
		case 4:
			h.suspend()
		case 5:
			h.resume()
		case 6, 7:
			h.trouble(hourFaults[h.rng.IntN(len(hourFaults))])
		case 8:
			h.trouble()
			h.checksFail.Store(h.rng.IntN(2) == 0)
		case 9:
			bounded, cancel := context.WithTimeout(ctx, time.Second)
			h.expected(h.pool.Ready(bounded))
			cancel()
		}
		h.sample()
	}
}

func (h *hour) clear(interrupt bool) {
	at := h.order.Add(1)
	if interrupt {
		h.interrupted.Store(at)
	}
	if err := h.pool.Clear(ctx, client.ClearOptions{Interrupt: interrupt}); err != nil {
		h.fail("clear: %v", err)
	}
	h.stale.Store(at)
	if interrupt {
		h.revoked.Store(at)
	}
}

func (h *hour) resize(n int, patience time.Duration) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h.mu.Lock()
	h.limit = max(h.limit, n)
	h.mu.Unlock()
	err := h.pool.SetCapacity(bounded, n)
	var drain *messages.DrainError
	switch {
	case err == nil:
		h.allow(n)
	case errors.As(err, &drain) && errors.Is(err, context.DeadlineExceeded):
		h.checkStats(drain.Stats)
	default:
		h.fail("set capacity: %v", err)
	}
}

func (h *hour) suspend() {
	if err := h.pool.Suspend(ctx); err != nil {
		h.fail("suspend: %v", err)
	}
	h.suspensions.Store(h.suspensions.Load() | 1)
}

func (h *hour) resume() {
	h.suspensions.Store((h.suspensions.Load() + 1) &^ 1)
	if err := h.pool.Resume(ctx); err != nil {
		h.fail("resume: %v", err)
	}
}

// checkRecovery makes the server healthy and the borrowers pause, and checks that
// the pool comes back to a normal state.
func (h *hour) checkRecovery() {
	h.heal()
	h.resume()
	h.quiet.Store(true)
	begun := time.Now()
	for h.active.Load() > 0 {
		time.Sleep(100 * time.Millisecond)
		if time.Since(begun) > hourGet+hourHold+time.Second {
			h.fail("%d borrowers are stuck: %+v", h.active.Load(), h.pool.Stats())
			h.t.FailNow()
		}
	}
	n := 1 + h.rng.IntN(hourCapacity)
	h.resize(n, time.Minute)
	if h.limit != n {
		h.fail("nothing is borrowed, and the capacity is not %d after a minute: %+v", n, h.pool.Stats())
	}
	h.checkMinIdle(min(n, h.cfg.MinIdle))
	h.checkBooks()
	if h.rng.IntN(3) == 0 {
		h.checkShrinking(min(n, h.cfg.MinIdle))
	}
	h.resize(h.cfg.Capacity, time.Minute)
	h.quiet.Store(false)
}

// checkMinIdle checks that there are enough idle connections in time. A connect or
// a check that hangs ends with its timeout, and may start a blocking period of the
// longest kind. Then follow one connect that probes, and the others, MaxConnecting
// at once. After a connect that failed without a backoff there is a pause of Base.
func (h *hour) checkMinIdle(want int) {
	rounds := 1 + (want+h.cfg.MaxConnecting-1)/h.cfg.MaxConnecting
	bound := hourTimeout + hourCap + hourBase + hourDisconnect + time.Duration(rounds)*(hourConnect+hourWork)
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		synctest.Wait()
		st := h.sample()
		if st.Idle >= want {
			return
		}
		if time.Since(begun) > bound {
			h.fail("%d connections are idle after %v, want %d: %+v", st.Idle, bound, want, st)
			return
		}
	}
}

// checkShrinking checks that a pool which nobody uses closes all connections but
// those of MinIdle, replaces those in time, and checks them for KeepAlive.
func (h *hour) checkShrinking(want int) {
	pause := min(h.cfg.IdleTimeout, h.cfg.MaxLifetime, h.cfg.KeepAlive)/10 + time.Second
	before := h.sample()
	testkit.Pass(h.cfg.IdleTimeout + hourTimeout + hourCapacity*pause)
	st := h.sample()
	doubt := before.State != messages.StateReady || st.Backoffs > before.Backoffs // then the pool checks no connection
	if n := st.Idle + st.InTransition; n > max(want, h.cfg.MinIdle) {
		h.fail("%d connections are idle in a pool that nobody uses, want %d: %+v", n, want, st)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.live {
		if age := time.Since(c.born); age > h.cfg.MaxLifetime+hourCapacity*pause {
			h.fail("connection %d is open for %v, MaxLifetime %v", c.n, age, h.cfg.MaxLifetime)
		}
		if unused := time.Since(time.Unix(0, c.touched.Load())); !doubt && unused > h.cfg.KeepAlive+hourCapacity*pause {
			h.fail("connection %d has not been used for %v, KeepAlive %v", c.n, unused, h.cfg.KeepAlive)
		}
	}
}

// checkBooks compares the pool's counters with those of the server and of the
// borrowers, while nobody borrows.
func (h *hour) checkBooks() {
	var st client.Stats
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		st = h.sample()
		if st.Connecting+st.Closing+st.InTransition == 0 {
			break
		}
		if time.Since(begun) > hourTimeout+time.Second {
			h.fail("jobs of the pool do not end: %+v", st)
			return
		}
	}
	pooltest.Check(h.t, h.pool, h.db)
	h.mu.Lock()
	defer h.mu.Unlock()
	closed := st.ClosedIdle + st.ClosedLifetime + st.ClosedStale + st.ClosedBroken + st.ClosedCapacity
	switch {
	case st.Borrowed+st.Waiting > 0:
		h.fail("nobody borrows: %+v", st)
	case st.Open > st.Capacity:
		h.fail("more than the capacity: %+v", st)
	case st.Open != len(h.live):
		h.fail("%d connections are live: %+v", len(h.live), st)
	case uint64(h.opened) != st.Connects-st.ConnectErrors:
		h.fail("%d connections were opened: %+v", h.opened, st)
	case uint64(h.opened) != uint64(st.Open)+closed:
		h.fail("%d connections were opened, %d closed: %+v", h.opened, closed, st)
	case st.Gets != h.gets.Load():
		h.fail("%d gets: %+v", h.gets.Load(), st)
	case st.Grants < h.grants.Load() || st.Revoked < h.ended.Load(): // the pool also granted to callers that had left
		h.fail("%d grants, %d revoked: %+v", h.grants.Load(), h.ended.Load(), st)
	}
}

// sample takes a snapshot, and checks that no counter falls, except those that may:
// Grants and WaitTime, by a Get whose context ends as it is granted a connection.
func (h *hour) sample() client.Stats {
	st := h.pool.Stats()
	h.checkStats(st)
	l := h.last
	if st.Gets < l.Gets || st.Puts < l.Puts || st.Connects < l.Connects || st.Generation < l.Generation ||
		st.ConnectErrors < l.ConnectErrors || st.Backoffs < l.Backoffs || st.Waits < l.Waits {
		h.fail("a counter falls: %+v after %+v", st, l)
	}
	h.last = st
	return st
}

func (h *hour) checkStats(st client.Stats) {
	testkit.Consistent(h.t, st)
	if st.Open+st.Connecting+st.Closing > hourCapacity || st.Connecting > h.cfg.MaxConnecting {
		h.fail("more connections, or more connects at once, than allowed: %+v", st)
	}
}

// borrower uses the pool again and again until it is closed.
func (h *hour) borrower(rng *rand.Rand) {
	for {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(h.pace.Load())))
		h.active.Add(1)
		if !h.quiet.Load() && h.useOnce(rng) {
			h.active.Add(-1)
			return
		}
		h.active.Add(-1)
	}
}

// useOnce uses the pool in one of many ways. It says whether the pool is closed.
func (h *hour) useOnce(rng *rand.Rand) (closed bool) {
	settings := []any{nil, nil, nil, "red", "red", "green", "blue", 7}
	o := client.GetOptions{Setting: settings[rng.IntN(len(settings))]}
	if rng.IntN(3) == 0 {
		o.Label = "borrower"
	}
	bounded, patience := ctx, hourGet
	cancel := func() {}
	switch rng.IntN(4) {
	case 0:
		patience = time.Duration(rng.Int64N(int64(time.Second)))
		bounded, cancel = context.WithTimeout(ctx, patience)
	case 1:
		patience = time.Duration(rng.Int64N(int64(10 * time.Second)))
		bounded, cancel = context.WithTimeout(ctx, patience)
	case 2:
		var leave context.CancelFunc
		bounded, leave = context.WithCancel(ctx)
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(10*time.Second))), leave)
		cancel = func() { timer.Stop(); leave() }
	}
	defer cancel()
	v := h.expect(o.Setting)
	var lent *hourConn
	var err error
	switch n := rng.IntN(20); {
	case n < 2:
		if l, ok := h.pool.TryGet(); ok {
			h.gets.Add(1)
			v.setting = nil
			h.hold(l, v, rng)
		}
		return false
	case n < 4:
		h.gets.Add(1)
		err = h.pool.DoWith(bounded, o, func(ctx context.Context, c *hourConn) error {
			h.grants.Add(1)
			lent = c
			if err := h.use(ctx, c, v, rng); err != nil {
				return err
			}
			return []error{nil, nil, testkit.ErrApp, testkit.ErrApp, io.EOF}[rng.IntN(5)]
		})
	case n < 5:
		h.checkStats(h.pool.Stats())
		return false
	default:
		h.gets.Add(1)
		var l client.Lease[*hourConn]
		if l, err = h.pool.GetWith(bounded, o); err == nil {
			h.hold(l, v, rng)
		}
	}
	if err != nil {
		if waited := time.Since(v.at); lent == nil && waited > patience {
			h.fail("a Get took %v, bound %v: %v", waited, patience, err)
		}
		var get *messages.GetError
		if errors.As(err, &get) {
			h.checkStats(get.Stats)
		}
		if errors.Is(err, messages.ErrLeaseEnded) {
			h.ended.Add(1)
			if lent != nil && lent.began > h.interrupted.Load() {
				h.fail("the lease of connection %d has ended, and nobody has revoked it", lent.n)
			}
		} else {
			h.expected(err)
		}
	}
	return errors.Is(err, messages.ErrClosed)
}

// expectation is what a borrower knows when it asks for a connection.
type expectation struct {
	at          time.Time
	setting     any
	stale       uint64
	suspensions uint64
}

func (h *hour) expect(setting any) expectation {
	return expectation{at: time.Now(), setting: setting, stale: h.stale.Load(), suspensions: h.suspensions.Load()}
}

// use checks a connection that has been lent, and keeps it for a while. Its error is that
// of the server.
func (h *hour) use(ctx context.Context, c *hourConn, v expectation, rng *rand.Rand) (err error) {
	if c == nil { // a Clear has revoked the lease already
		return nil
	}
	c.take()
	age := time.Since(c.born)
	switch {
	case age >= h.cfg.MaxLifetime:
		h.fail("connection %d is lent at the age of %v, MaxLifetime %v", c.n, age, h.cfg.MaxLifetime)
	case c.began < v.stale:
		h.fail("connection %d is of a generation that was cleared", c.n)
	case v.suspensions%2 == 1 && h.suspensions.Load() == v.suspensions:
		h.fail("connection %d is lent by a suspended pool", c.n)
	case c.setting != v.setting:
		h.fail("connection %d has setting %v, want %v", c.n, c.setting, v.setting)
	}
	switch n := rng.IntN(40); {
	case n == 0:
		time.Sleep(time.Duration(rng.Int64N(int64(hourHold))))
	case n < 20:
		time.Sleep(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
	case n < 30:
		bounded, cancel := context.WithTimeout(ctx, hourHold/2)
		defer cancel()
		err = c.Read(bounded)
	}
	if c.setting != v.setting {
		h.fail("the setting of connection %d has changed to %v", c.n, c.setting)
	}
	if c.isClosed() && c.began > h.interrupted.Load() {
		h.fail("connection %d was closed under its holder", c.n)
	}
	c.touch()
	c.release()
	return err
}

// hold uses a lease and ends it.
func (h *hour) hold(l client.Lease[*hourConn], v expectation, rng *rand.Rand) {
	h.grants.Add(1)
	c := l.Conn()
	used := h.use(ctx, c, v, rng)
	revoked := h.revoked.Load()
	var err error
	if used != nil || rng.IntN(40) == 0 {
		err = l.Taint(cmp.Or(used, io.EOF))
	} else {
		err = l.Put()
	}
	switch {
	case errors.Is(err, messages.ErrLeaseEnded):
		h.ended.Add(1)
		if c != nil && c.began > h.interrupted.Load() {
			h.fail("the lease of connection %d has ended, and nobody has revoked it", c.n)
		}
	case err != nil:
		h.fail("end of a lease: %v", err)
	case c == nil || c.began < revoked:
		h.fail("a lease has survived a Clear that interrupts")
	}
	if err := l.Put(); !errors.Is(err, messages.ErrLeaseEnded) {
		h.fail("second end of a lease: %v", err)
	}
}

// expected fails the test unless an error is one of those that an hour may bring.
func (h *hour) expected(err error) {
	for _, known := range []error{
		nil, messages.ErrClosed, messages.ErrConnectFailed, syscall.ECONNREFUSED, syscall.ECONNRESET, net.ErrClosed, testkit.ErrApp, io.EOF,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	var backoff *messages.BackoffError
	var server *pooltest.ServerError
	if !errors.As(err, &backoff) && !errors.As(err, &server) {
		h.fail("unexpected error: %v", err)
	}
}
