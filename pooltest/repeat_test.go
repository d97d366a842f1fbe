package pooltest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/pooltest"
)

// rehearsal is a minute with all faults. It gives the history of the server, and what the
// callers have seen, in full.
func rehearsal(t *testing.T, seed uint64, change func(*pooltest.Server)) (history string) {
	synctest.Test(t, func(t *testing.T) {
		db := pooltest.NewServer(seed)
		db.Handshake, db.Op, db.Limit = pooltest.LogNormal(20*time.Millisecond, .5), pooltest.LogNormal(8*time.Millisecond, .8), 8
		db.Fault(pooltest.Refuse, 5*time.Second, 12*time.Second)
		db.Fault(pooltest.Slow, 16*time.Second, 18*time.Second)
		db.Fault(pooltest.Blackhole, 20*time.Second, 25*time.Second)
		db.Fault(pooltest.Reset, 30*time.Second, 30*time.Second)
		db.Fault(pooltest.HalfOpen, 35*time.Second, 40*time.Second)
		db.Fault(pooltest.ReadOnly, 45*time.Second, 47*time.Second)
		db.Fault(pooltest.Flaky, 50*time.Second, 55*time.Second)
		if change != nil {
			change(db)
		}
		p := newPool(t, db, config{Name: "db", Capacity: 10, MinIdle: 2, Seed: seed, CheckAfterIdle: 100 * time.Millisecond, Check: func(ctx context.Context, c *pooltest.Conn) error { return c.Ping(ctx) }})
		seen := callers(p, db, seed, 200, time.Minute, 2*time.Second)
		var b strings.Builder
		for _, e := range db.History() {
			fmt.Fprintln(&b, e, int64(e.At), int64(e.Took))
		}
		for _, s := range seen {
			fmt.Fprintln(&b, s.at, s.took, s.err)
		}
		history = b.String()
	})
	return history
}

func TestRepeatTrial(t *testing.T) {
	n := map[string]int{}
	for range 10 {
		h := rehearsal(t, 1, nil)
		n[fmt.Sprintf("%d %x", len(h), sha256.Sum256([]byte(h)))]++
	}
	t.Log(n)
	assert.Len(t, n, 1)
}

func TestShowTrial(t *testing.T) {
	h := rehearsal(t, 1, nil)
	os.WriteFile("/tmp/hist.txt", []byte(h), 0o644)
}
