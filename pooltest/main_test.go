package pooltest_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/pooltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

type (
	config = client.Config[*pooltest.Conn]
	pool   = client.Pool[*pooltest.Conn]
)

// inVirtualTime runs a test in a bubble, with a server.
func inVirtualTime(t *testing.T, f func(t *testing.T, db *pooltest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, pooltest.NewServer(1)) })
}

// newPool makes a pool that is closed at the end of the test, and checked.
func newPool(t *testing.T, db *pooltest.Server, cfg config) *pool {
	t.Helper()
	if cfg.Connect == nil {
		cfg.Connect = db.Dial
	}
	p, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		pooltest.Check(t, p, db)
		assert.NoError(t, p.Close(ctx))
		pooltest.Check(t, p, db)
		assert.Zero(t, db.Open())
	})
	return p
}

// outcome is what one caller has seen.
type outcome struct {
	at, took time.Duration
	err      error
}

// callers use a pool for a while: so many begin each second, at random moments, and each
// waits for patience. It gives what they have seen, in the order in which they began.
func callers(p *pool, db *pooltest.Server, seed uint64, rate float64, length, patience time.Duration) []outcome {
	random := rand.New(rand.NewPCG(seed, 0))
	var outcomes []*outcome
	var group sync.WaitGroup
	for begun := db.Now(); db.Now() < begun+length; {
		time.Sleep(time.Duration(random.ExpFloat64() / rate * 1e9))
		o := &outcome{at: db.Now()}
		outcomes = append(outcomes, o)
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			o.err = p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Write(ctx) })
			o.took = db.Now() - o.at
		})
	}
	group.Wait()
	all := make([]outcome, len(outcomes))
	for i, o := range outcomes {
		all[i] = *o
	}
	return all
}
