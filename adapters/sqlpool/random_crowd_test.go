package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
)

// Callers that use one pool at once have their connections alone, all is returned and closed
// at the end, and nobody waits for ever. In real time: who waits for a lock stops virtual time,
// and it is the waits for locks that this is about.
func TestRandomProgramsOfSeveralCallersKeepThePromises(t *testing.T) {
	for _, seed := range seeds(70) {
		runCrowd(t, seed)
		if t.Failed() {
			return
		}
	}
}

func runCrowd(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &crowd{rng: rand.New(rand.NewPCG(seed, 1)), faults: make(chan string, 10)}
	cfg := quiet(1 + rng.IntN(3))
	w.resizes = rng.IntN(2) == 0
	cfg.Backoff = client.Backoff{Base: time.Millisecond, Cap: time.Millisecond}
	switch w.strict = rng.IntN(2) == 0; {
	case w.strict:
	case rng.IntN(4) == 0:
		w.panics = true // database/sql counts what is lost by a panic, so SetMaxOpenConns may leave nothing
	default:
		w.bounds = rng.IntN(2) == 0
	}
	if !w.strict && rng.IntN(2) == 0 {
		w.ends = true
		cfg.MaxLease = time.Duration(1+rng.IntN(2)) * time.Millisecond
	}
	if rng.IntN(3) == 0 {
		cfg.StatementCache = NoStatements
	}
	if rng.IntN(3) == 0 {
		cfg.MaxUses = 3
	}
	s := &server{on: w.act}
	w.openOver(t, s, rng, cfg)

	var callers sync.WaitGroup
	for i := range 8 {
		c := &caller{db: w.db, rng: rand.New(rand.NewPCG(seed, uint64(2+i))), name: strconv.Itoa(i), settle: func() {}, crowd: w}
		callers.Go(func() {
			for range 40 {
				c.stepOrPanic()
				if c.one(2) { // others take what it has returned
					letOthersRun(c.rng.IntN(100))
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		stacks := make([]byte, 1<<20)
		t.Fatalf("seed %d: somebody waits for ever, with %+v\n%s", seed, w.pool.Stats(), stacks[:runtime.Stack(stacks, true)])
	}
	require.Eventually(t, func() bool { return w.pool.Stats().Borrowed == 0 }, 10*time.Second, time.Millisecond,
		"seed %d: every connection is returned", seed)
	require.NoError(t, w.db.Close(), "seed %d", seed)
	<-w.pool.Done()
	require.Eventually(t, func() bool {
		opened, closed := s.counts()
		return opened == closed
	}, 10*time.Second, time.Millisecond, "seed %d: every connection is closed", seed)
	for len(w.faults) > 0 {
		t.Errorf("seed %d: %s", seed, <-w.faults)
	}
}

// openOver opens the crowd's *sql.DB, over a server with one of several kinds of connections.
func (w *crowd) openOver(t *testing.T, s *server, rng *rand.Rand, cfg Config) {
	kind := rng.IntN(8)
	s.shape = func(c *fakeConn, _ int) driver.Conn {
		watched := &watchedConn{fakeConn: c, crowd: w, asked: kind == 0 || kind >= 4}
		switch {
		case kind == 4: // no queries without a statement
			return struct {
				driver.Conn
				driver.ConnBeginTx
				driver.SessionResetter
				driver.Validator
			}{watched, watched, watched, watched}
		case kind < 4:
			return hiding(watched, kind)
		}
		return watched
	}
	if kind <= 4 {
		var err error
		w.db, w.pool, err = OpenDB(s, cfg)
		require.NoError(t, err)
		return
	}
	pooled := Wrap(s, cfg)
	w.bounds = false // Wrap forbids SetMaxOpenConns
	w.pool, w.hides = pooled.(*core).Pool(), kind-4
	w.db = sql.OpenDB(ending{around{pooled, func(c driver.Conn) driver.Conn { return hiding(c.(whole), w.hides) }}})
	if w.hides&hidesIsValid != 0 {
		w.db.SetMaxIdleConns(-1)
	}
}

// ending is around, with a Close.
type ending struct{ around }

func (c ending) Close() error { return c.Connector.(io.Closer).Close() }

const (
	hidesIsValid = 1 << iota
	hidesResetSession
)

type visible interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnBeginTx
	driver.Pinger
}

type whole interface {
	visible
	driver.SessionResetter
	driver.Validator
}

// hiding hides methods of a connection.
func hiding(c whole, hides int) driver.Conn {
	switch hides {
	case hidesIsValid:
		return struct {
			visible
			driver.SessionResetter
		}{c, c}
	case hidesResetSession:
		return struct {
			visible
			driver.Validator
		}{c, c}
	case hidesIsValid | hidesResetSession:
		return struct{ visible }{c}
	}
	return c
}

// letOthersRun has the caller do nothing for a while, which is not measured in time.
func letOthersRun(n int) {
	for range n {
		runtime.Gosched()
	}
}

const driverPanic = "the driver panics"

func (c *caller) stepOrPanic() {
	defer func() {
		if p := recover(); p != nil && p != driverPanic {
			panic(p)
		}
	}()
	c.step()
}

// act is what happens in an operation of the driver: it takes a while, or fails.
func (w *crowd) act(c *fakeConn, op string) error {
	w.mu.Lock()
	wait, luck := w.rng.IntN(20), w.rng.IntN(100)
	w.mu.Unlock()
	switch op {
	case "Close", "stmt.Close", "rows.Close", "IsValid", "Result":
		return nil
	}
	if wait == 0 {
		letOthersRun(luck)
	}
	switch {
	case w.strict:
	case luck < 2:
		c.server.mu.Lock()
		c.dead = true
		c.server.mu.Unlock()
		return driver.ErrBadConn
	case luck < 4:
		return errApplication
	case luck < 5 && op != "Connect" && op != "ResetSession":
		return io.ErrUnexpectedEOF
	case luck < 8 && w.panics && op != "Connect" && op != "ResetSession":
		panic(driverPanic)
	}
	return nil
}

// watchedConn finds who uses a connection that it does not have.
type watchedConn struct {
	*fakeConn
	crowd    *crowd
	asked    bool // it has IsValid, with which it is returned, and ResetSession, before it is lent again
	busy     atomic.Bool
	returned atomic.Bool
	inTx     atomic.Bool
	closed   atomic.Bool
	owner    atomic.Value
}

// use is an operation of the driver.
func (c *watchedConn) use(op string, args ...any) error {
	if c.busy.Swap(true) {
		c.crowd.fault("connection %d is used by two at once: %s", c.id, op)
	}
	defer c.busy.Store(false)
	switch op {
	case "IsValid", "ResetSession", "stmt.Close", "Ping": // the pool uses these, too
	default:
		if c.returned.Load() {
			c.crowd.fault("connection %d is used after its return: %s", c.id, op)
		}
	}
	if c.closed.Load() && !c.crowd.ends {
		c.crowd.fault("connection %d is used after its close: %s", c.id, op)
	}
	runtime.Gosched()
	return c.do(op, args...)
}

func (c *watchedConn) Close() error {
	c.closed.Store(true)
	return c.fakeConn.Close()
}

func (c *watchedConn) IsValid() bool {
	err := c.use("IsValid")
	if c.inTx.Load() {
		c.crowd.fault("connection %d is returned in a transaction", c.id)
	}
	c.returned.Store(c.asked)
	return err == nil
}

func (c *watchedConn) ResetSession(context.Context) error {
	if c.inTx.Load() {
		c.crowd.fault("connection %d is lent in a transaction", c.id)
	}
	c.returned.Store(false)
	c.owner.Store("nobody")
	return c.use("ResetSession")
}

func (c *watchedConn) Ping(context.Context) error { return c.use("Ping") }

func (c *watchedConn) Begin() (driver.Tx, error) { return c.BeginTx(bg, driver.TxOptions{}) }

func (c *watchedConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	if err := c.use("Begin"); err != nil {
		return nil, err
	}
	if c.inTx.Swap(true) {
		c.crowd.fault("connection %d begins a transaction in a transaction", c.id)
	}
	return watchedTx{c}, nil
}

type watchedTx struct{ c *watchedConn }

func (t watchedTx) Commit() error   { return t.end("Commit") }
func (t watchedTx) Rollback() error { return t.end("Rollback") }

func (t watchedTx) end(op string) error {
	if !t.c.inTx.Swap(false) {
		t.c.crowd.fault("connection %d is not in a transaction: %s", t.c.id, op)
	}
	return t.c.use(op)
}

func (c *watchedConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if err := c.use("Exec", query); err != nil {
		return nil, err
	}
	if owner, ok := strings.CutPrefix(query, "SET "); ok {
		c.owner.Store(owner)
	}
	return watchedResult{c}, nil
}

func (c *watchedConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := c.use("Query", query); err != nil {
		return nil, err
	}
	var value driver.Value = "1"
	switch query {
	case "SELECT owner":
		value = c.owner.Load()
	case "SELECT intx":
		value = strconv.FormatBool(c.inTx.Load())
	}
	return &watchedRows{c: c, value: value, left: 2}, nil
}

// watchedResult needs its connection.
type watchedResult struct{ c *watchedConn }

func (r watchedResult) LastInsertId() (int64, error) { return 1, r.c.use("Result") }
func (r watchedResult) RowsAffected() (int64, error) { return 1, r.c.use("Result") }

type watchedRows struct {
	c     *watchedConn
	value driver.Value
	left  int
}

func (r *watchedRows) Columns() []string { return []string{"v"} }
func (r *watchedRows) Close() error      { return r.c.use("rows.Close") }
func (r *watchedRows) Next(row []driver.Value) error {
	if r.left--; r.left < 0 {
		return io.EOF
	}
	row[0] = r.value
	return r.c.use("Next")
}

func (c *watchedConn) Prepare(query string) (driver.Stmt, error) {
	return &watchedStmt{c: c, query: query}, c.use("Prepare", query)
}

type watchedStmt struct {
	c      *watchedConn
	query  string
	closed atomic.Bool
}

func (s *watchedStmt) check() {
	if s.closed.Load() {
		s.c.crowd.fault("a closed statement of connection %d is used", s.c.id)
	}
}

func (s *watchedStmt) NumInput() int                              { return -1 }
func (s *watchedStmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s *watchedStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s *watchedStmt) Close() error {
	s.check()
	s.closed.Store(true)
	return s.c.use("stmt.Close")
}

func (s *watchedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.check()
	return s.c.ExecContext(ctx, s.query, args)
}

func (s *watchedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.check()
	return s.c.QueryContext(ctx, s.query, args)
}
