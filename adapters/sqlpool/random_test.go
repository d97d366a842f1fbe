// Random programs: callers that do anything that database/sql offers, in any order, over the
// drivers of fake_test.go and one that watches how it is used. A failure names its seed; run
// it again with -seed.

package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
)

var firstSeed = flag.Uint64("seed", 0, "the first seed of the random programs; 0: a random one")

// seeds are n seeds in a row.
func seeds(n int) []uint64 {
	first := *firstSeed
	if first == 0 {
		first = rand.Uint64() >> 16
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = first + uint64(i)
	}
	return all
}

// A program of one caller sees the same with the pool as without it.
func TestARandomProgramOfOneCallerSeesNoPool(t *testing.T) {
	for _, seed := range seeds(100) {
		virtually(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			servers := [2]*server{{}, {}}
			traits, stmtTraits, dies := rng.IntN(1<<len(setA)), rng.IntN(1<<len(setStmt)), rng.IntN(2) == 0
			for _, s := range servers {
				s.traits, s.stmtTraits = traits, stmtTraits
				if seed%2 == 0 {
					s.traits, s.shape = traits%(1<<len(setB)), shapeB
				}
			}
			plain, pooled := plainly(t, settings[rng.IntN(len(settings))].set, servers[0], servers[1])
			var told [2][]string
			for i, w := range []world{plain, pooled} {
				c := &caller{db: w.db, rng: rand.New(rand.NewPCG(seed, 1)), name: "7", settle: synctest.Wait}
				for range 60 {
					c.failing(w, dies)
				}
				told[i] = append(c.told, outcome("", w.db.Ping()))
				require.NoError(t, w.db.Close(), "seed %d", seed)
				synctest.Wait()
				opened, closed := w.s.counts()
				assert.Equal(t, opened, closed, "seed %d: connections closed", seed)
				if w == pooled && opened == 1 { // the statements of a condemned connection are not closed
					assert.Equal(t, w.s.count("Prepare"), w.s.count("stmt.Close"), "seed %d: statements closed", seed)
				}
			}
			for i, want := range told[0] {
				if i >= len(told[1]) || told[1][i] != want {
					t.Fatalf("seed %d, after %q\nwithout the pool: %s\nwith it: %s",
						seed, told[0][max(0, i-8):i], want, told[1][i:min(i+1, len(told[1]))])
				}
			}
			require.Len(t, told[1], len(told[0]), "seed %d", seed)
		})
	}
}

// failing does a step of a lonely caller, at times with a driver that fails.
func (c *caller) failing(w world, dies bool) {
	ops := append([]string{"Begin", "BeginTx", "Commit", "Rollback", "Ping", "stmt.Exec", "stmt.Query"}, shortcuts...)
	op, err := ops[c.rng.IntN(len(ops))], errApplication
	if dies && c.rng.IntN(2) == 0 {
		err = driver.ErrBadConn
	}
	if c.rng.IntN(4) > 0 {
		c.step()
		return
	}
	hooked(w, func() string { c.step(); return "" }, err, op)
}

// caller runs a random program.
type caller struct {
	db     *sql.DB
	rng    *rand.Rand
	name   string
	settle func()       // waits for what database/sql does aside
	crowd  *crowd       // nil: it is alone
	told   []string     // what it has seen
	late   []sql.Result // that it has not read yet
	own    *sql.Stmt    // of the *sql.DB, that nobody else uses
	onConn bool         // it uses a *sql.Conn
}

func (c *caller) note(op string, result any, err error) {
	c.told = append(c.told, op+": "+outcome(result, err))
	if c.crowd != nil && c.crowd.strict && err != nil && !strings.Contains(err.Error(), "statement is closed") {
		c.crowd.fault("%s of %s: %v", op, c.name, err)
	}
}

func (c *caller) one(in int) bool { return c.rng.IntN(in) == 0 }

func (c *caller) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(bg)
	switch {
	case c.crowd == nil && !c.onConn && c.one(8): // on a *sql.Conn the driver may ignore it, but the pool does not
		cancel()
	case c.crowd != nil && !c.crowd.strict && c.one(3):
		cancel()
		return context.WithTimeout(bg, time.Duration(c.rng.IntN(1500))*time.Microsecond)
	case c.one(2):
		cancel()
		return bg, cancel
	}
	return ctx, cancel
}

// querier is a *sql.DB, a *sql.Conn or a *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// step does one thing that needs a connection, or changes a setting.
func (c *caller) step() {
	kind := c.rng.IntN(12)
	if c.crowd != nil && c.crowd.panics && kind >= 4 && kind < 8 {
		kind = 0 // a query that panics leaves a *sql.Tx locked for ever
	}
	switch kind {
	default:
		c.query(c.db)
	case 4, 5:
		c.transaction(c.db.BeginTx)
	case 6, 7:
		c.pinned()
	case 8:
		ctx, cancel := c.context()
		defer cancel()
		c.note("Ping", "", c.db.PingContext(ctx))
	case 9:
		c.ownStatement()
	case 10, 11:
		if c.crowd == nil {
			return
		}
		if kind == 10 {
			c.sharedStatement()
			return
		}
		c.setting()
	}
}

func (c *caller) query(on querier) {
	ctx, cancel := c.context()
	defer cancel()
	switch c.rng.IntN(6) {
	case 0, 1:
		result, err := on.ExecContext(ctx, "INSERT")
		c.note("Exec", "", err)
		if err == nil {
			c.late = append(c.late, result)
		}
		if c.one(4) {
			c.readLate()
		}
	case 2:
		rows, err := on.QueryContext(ctx, "SELECT")
		c.read("Query", rows, err)
	case 3:
		var v string
		err := on.QueryRowContext(ctx, "SELECT ?", 1).Scan(&v)
		c.note("QueryRow", v, err)
	case 4:
		st, err := on.PrepareContext(ctx, "SELECT "+strconv.Itoa(c.rng.IntN(3)))
		c.note("Prepare", "", err)
		if err != nil {
			return
		}
		for range c.rng.IntN(3) {
			rows, err := st.QueryContext(ctx)
			c.read("Stmt.Query", rows, err)
		}
		if c.one(4) {
			return // it is closed with the *sql.DB
		}
		c.note("Stmt.Close", "", st.Close())
	case 5:
		stopped, stop := context.WithCancel(ctx)
		defer stop()
		rows, err := on.QueryContext(stopped, "SELECT")
		if err == nil {
			defer rows.Close()
			rows.Next()
		}
		stop()
		c.settle()
		c.note("stopped Query", "", err)
	}
}

// read reads rows, or some of them.
func (c *caller) read(op string, rows *sql.Rows, err error) (v string) {
	if err == nil {
		defer rows.Close()
		for range c.rng.IntN(4) {
			if !rows.Next() {
				break
			}
			if err = rows.Scan(&v); err != nil {
				break
			}
		}
		if c.one(4) {
			c.holding()
		}
		err = errors.Join(err, rows.Err(), rows.Close())
	}
	c.note(op, v, err)
	return v
}

// readLate reads the results that the caller has, at whatever time that is.
func (c *caller) readLate() {
	for _, result := range c.late {
		n, err := result.RowsAffected()
		c.note("RowsAffected", n, err)
	}
	c.late = nil
}

// holding does what takes the lock of another connection of database/sql than the one that
// the caller holds.
func (c *caller) holding() {
	if c.crowd != nil && c.one(2) {
		time.Sleep(time.Duration(c.rng.IntN(500)) * time.Microsecond) // others come, and wait
	}
	if !c.one(4) {
		c.readLate()
	}
	if c.own != nil && c.one(3) {
		c.note("Stmt.Close", "", c.own.Close())
		c.own = nil
	}
}

// asItself says whether a connection is the caller's alone.
func (c *caller) asItself(on querier) {
	if _, err := on.ExecContext(bg, "SET "+c.name); err != nil {
		c.note("SET", "", err)
		return
	}
	var v string
	err := on.QueryRowContext(bg, "SELECT owner").Scan(&v)
	if err == nil && v != c.name {
		c.crowd.fault("%s has the connection of %s", c.name, v)
	}
	c.note("owner", v, err)
}

func (c *caller) transaction(begin func(context.Context, *sql.TxOptions) (*sql.Tx, error)) {
	ctx, cancel := c.context()
	defer cancel()
	tx, err := begin(ctx, nil)
	c.settle()
	c.note("Begin", "", err)
	if err != nil {
		return
	}
	c.holding()
	for range c.rng.IntN(4) {
		switch c.rng.IntN(5) {
		case 0:
			c.asItself(tx)
		case 1:
			var in string
			err := tx.QueryRowContext(bg, "SELECT intx").Scan(&in)
			if err == nil && in == "false" {
				c.crowd.fault("%s is not in its transaction", c.name)
			}
			c.note("intx", in, err)
		case 2:
			c.holding()
		case 3:
			st := c.own
			if c.crowd != nil {
				st = c.crowd.statement(c.rng)
			}
			if st != nil {
				within := tx.StmtContext(ctx, st)
				_, err := within.ExecContext(ctx)
				c.note("Tx.Stmt", "", err)
				if c.one(2) {
					_ = within.Close()
				}
			}
		default:
			c.query(tx)
		}
	}
	switch c.rng.IntN(4) {
	case 0:
		if ctx.Done() != nil {
			cancel()
			c.settle()
			_ = tx.Rollback() // or its context has
			return
		}
		fallthrough
	case 1:
		c.note("Rollback", "", tx.Rollback())
	default:
		c.note("Commit", "", tx.Commit())
	}
}

// pinned uses a *sql.Conn. From one goroutine: database/sql itself fails where another one
// closes it meanwhile.
func (c *caller) pinned() {
	ctx, cancel := c.context()
	defer cancel()
	var on *sql.Conn
	var err error
	if c.one(2) {
		on, err = c.db.Conn(ctx)
	} else {
		on, err = Conn(ctx, c.db)
	}
	c.note("Conn", "", err)
	if err != nil {
		return
	}
	c.onConn = true
	defer func() { c.onConn = false }()
	for range c.rng.IntN(4) {
		switch c.rng.IntN(6) {
		case 0:
			// Without a context that ends: database/sql rolls back aside then, while the next use of
			// the *sql.Conn may begin, and closes the *sql.Conn of some drivers.
			c.transaction(func(_ context.Context, o *sql.TxOptions) (*sql.Tx, error) { return on.BeginTx(bg, o) })
		case 1:
			c.asItself(on)
		case 2:
			c.note("Raw", "", Raw(on, func(any) error { return nil }))
		case 3:
			c.note("Conn.Ping", "", on.PingContext(bg))
		case 4:
			c.holding()
		default:
			c.query(on)
		}
	}
	c.note("Conn.Close", "", on.Close())
}

func (c *caller) ownStatement() {
	if c.own == nil {
		st, err := c.db.Prepare("INSERT " + strconv.Itoa(c.rng.IntN(3)))
		c.note("Prepare", "", err)
		if err != nil {
			return
		}
		c.own = st
	}
	ctx, cancel := c.context()
	defer cancel()
	result, err := c.own.ExecContext(ctx)
	c.note("Stmt.Exec", "", err)
	if err == nil {
		c.late = append(c.late, result)
	}
}

// A crowd is what several callers have in common.
type crowd struct {
	db      *sql.DB
	pool    *client.Pool[driver.Conn]
	strict  bool // nothing may fail
	panics  bool // the driver panics
	ends    bool // leases are ended while they are in use
	bounds  bool // SetMaxOpenConns is called
	resizes bool // SetCapacity is called
	hides   int  // what a driver around the pool's hides
	faults  chan string

	mu    sync.Mutex
	rng   *rand.Rand  // the driver's
	stmts []*sql.Stmt // shared
}

func (w *crowd) fault(format string, args ...any) {
	select {
	case w.faults <- fmt.Sprintf(format, args...):
	default: // the first ones say enough
	}
}

func (w *crowd) statement(rng *rand.Rand) *sql.Stmt {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.stmts) == 0 {
		return nil
	}
	return w.stmts[rng.IntN(len(w.stmts))]
}

// sharedStatement uses a statement that others use, and close at any time.
func (c *caller) sharedStatement() {
	if st := c.crowd.statement(c.rng); st != nil && !c.one(5) {
		ctx, cancel := c.context()
		defer cancel()
		rows, err := st.QueryContext(ctx)
		c.read("shared Stmt.Query", rows, err)
		return
	}
	st, err := c.db.Prepare("SELECT " + strconv.Itoa(c.rng.IntN(3)))
	c.note("shared Prepare", "", err)
	if err != nil {
		return
	}
	c.crowd.mu.Lock()
	c.crowd.stmts = append(c.crowd.stmts, st)
	st = nil
	if len(c.crowd.stmts) > 4 {
		st, c.crowd.stmts = c.crowd.stmts[0], c.crowd.stmts[1:]
	}
	c.crowd.mu.Unlock()
	if st != nil {
		c.note("shared Stmt.Close", "", st.Close())
	}
}

// setting changes a setting of the *sql.DB or of its pool.
func (c *caller) setting() {
	w := c.crowd
	switch c.rng.IntN(6) {
	case 0:
		if w.hides&hidesIsValid == 0 {
			c.db.SetMaxIdleConns([]int{-1, 3, 1024, 1024}[c.rng.IntN(4)])
		}
	case 1:
		c.db.SetConnMaxLifetime(time.Duration(c.rng.IntN(3)) * time.Millisecond)
	case 2:
		_ = w.pool.Clear(bg, client.ClearOptions{Interrupt: w.ends && c.one(2)})
	case 3:
		if w.resizes {
			_ = w.pool.SetCapacity(bg, 1+c.rng.IntN(4))
		}
	case 4:
		if !w.bounds { // with SetMaxOpenConns it waits, for up to a second
			_, _ = Stats(c.db)
		}
	case 5:
		if w.bounds {
			c.db.SetMaxOpenConns(1 + c.rng.IntN(9))
		}
	}
}
