//go:build unix

package storm_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/etcdstore"
)

var timelineTTL = flag.Duration("timeline", 4*time.Second, "the TTL of the timeline of an outage, which -v prints")

// watched is a member of this process, whose work and status a test looks at.
type watched struct {
	t     *testing.T
	s     *storm
	m     *fleet.Member
	pool  *client.Pool[*pgx.Conn]
	begun time.Time

	gets, failures atomic.Int64
	lastGet        atomic.Int64 // in nanoseconds since begun
	longestGap     atomic.Int64 // between two Gets that succeed
}

// watch joins the fleet of a storm, and works.
func (s *storm) watch() *watched {
	t := s.t
	etcd, err := newClient("http://" + s.etcd.Address)
	require.NoError(t, err)
	cfg := fleet.Config{Key: "storm", Budget: budget, TTL: s.ttl, Store: etcdstore.New(etcd), Name: "watched"}
	connect := configure(&cfg, s.kind, s.postgres.URL("app"), s.postgres.URL("admin"))
	w := &watched{t: t, s: s, begun: time.Now()}
	w.pool, w.m, err = fleet.New(t.Context(), client.Config[*pgx.Conn]{Connect: connect, Disconnect: disconnect}, cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	for range budget {
		go func() {
			defer func() { ended <- struct{}{} }()
			for ctx.Err() == nil {
				err := w.pool.Do(ctx, work)
				switch now := time.Since(w.begun); {
				case err == nil:
					w.gets.Add(1)
					gap := int64(now) - w.lastGet.Swap(int64(now))
					for old := w.longestGap.Load(); gap > old && !w.longestGap.CompareAndSwap(old, gap); old = w.longestGap.Load() {
					}
				case ctx.Err() == nil:
					w.failures.Add(1)
				}
			}
		}()
	}
	t.Cleanup(func() {
		stop()
		for range budget {
			<-ended
		}
		leave, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, w.m.Leave(leave))
		assert.NoError(t, etcd.Close())
	})
	return w
}

// until waits for something, which must come within a bound.
func (w *watched) until(what string, within time.Duration, is func(fleet.Status) bool) {
	w.t.Helper()
	begun := time.Now()
	for ; ; time.Sleep(2 * time.Millisecond) {
		if is(w.m.Status()) {
			return
		}
		require.Less(w.t, time.Since(begun), within, "%s: %v", what, w.m.Status())
	}
}

// line is a line of the timeline.
func (w *watched) line(text *strings.Builder, since time.Time, format string, args ...any) {
	fmt.Fprintf(text, "\n%6.2fs  %s", time.Since(since).Seconds(), fmt.Sprintf(format, args...))
}

// etcd is away for longer than a TTL. Gets go on from what is held until Soft; what is
// borrowed works on until Hard; when etcd is back, so is the member. Then the process that
// deals most often is killed, and the others have its part.
func TestTheTimelineOfAnOutage(t *testing.T) {
	ttl := *timelineTTL
	hard := time.Duration(float64(ttl) * (1 - 2*fleet.DefaultDrift))
	soft := hard * 2 / 3
	s := begin(t, byEvidence, 2, ttl)
	w := s.watch()
	w.until("three members share", 10*ttl, func(s fleet.Status) bool {
		return len(s.Fleet) == 3 && s.Phase == "live" && s.Held >= budget/3 && s.Charge <= budget/3+1
	})
	long, cancel := context.WithCancel(t.Context())
	defer cancel()
	lease, err := w.pool.Get(long)
	require.NoError(t, err)
	first := w.m.Status()

	var text strings.Builder
	w.longestGap.Store(0)
	gets := w.gets.Load()
	proof, away := w.m.Status().Proof, time.Now()
	require.NoError(t, s.etcd.Kill())
	w.line(&text, away, "etcd is killed; the member holds %d connections, one of them lent for long", first.Held)
	w.until("soft", ttl, func(s fleet.Status) bool { return s.Phase == "soft" })
	w.line(&text, away, "Soft: %d Gets have succeeded meanwhile, with at most %v between two; %d have failed",
		w.gets.Load()-gets, time.Duration(w.longestGap.Load()).Round(time.Millisecond), w.failures.Load())
	assert.GreaterOrEqual(t, time.Since(away), soft-proof, "not before")
	assert.Zero(t, w.failures.Load())
	assert.Greater(t, w.gets.Load()-gets, int64(10*(soft-proof).Seconds()), "Gets go on from what is held")
	assert.Less(t, time.Duration(w.longestGap.Load()), soft/2, "all the time")

	w.until("what is not lent closes", hard-soft, func(s fleet.Status) bool { return s.Held == 1 })
	w.line(&text, away, "everything but what is lent for long is closed; connects are refused, Gets wait")
	gets = w.gets.Load()
	_, err = lease.Conn().Exec(t.Context(), "SELECT 1")
	require.NoError(t, err, "what is lent works on")
	w.until("hard", ttl, func(s fleet.Status) bool { return s.Phase == "hard" })
	w.line(&text, away, "Hard: the lease of what is lent ends, and it is closed")
	assert.GreaterOrEqual(t, time.Since(away), hard-proof, "not before")
	w.until("nothing is held", 10*ttl, func(s fleet.Status) bool { return s.Held == 0 })
	require.Error(t, lease.Put())
	w.line(&text, away, "the member holds nothing")
	assert.Equal(t, gets, w.gets.Load(), "Gets wait")
	time.Sleep(time.Until(away.Add(ttl * 4 / 3)))
	s.etcd.Start(t)
	w.line(&text, away, "etcd is started")
	w.until("live", 10*ttl, func(s fleet.Status) bool { return s.Phase == "live" })
	w.line(&text, away, "live again%s", map[bool]string{true: ", as a new incarnation"}[w.m.Status().Incarnation != first.Incarnation])
	w.until("a Get", 10*ttl, func(fleet.Status) bool { return w.gets.Load() > gets })
	w.line(&text, away, "the first Get succeeds; %d have failed since etcd was killed", w.failures.Load())
	w.until("three members share", 10*ttl, func(s fleet.Status) bool {
		alive := 0
		for _, r := range s.Fleet {
			if r.Alive {
				alive++
			}
		}
		return alive == 3 && len(s.Fleet) == 3 && s.Held >= budget/3
	})
	w.line(&text, away, "three members share the budget again")

	coordinator := w.m.Status().Fleet[0].Incarnation // the first by name deals most often
	victim := -1
	for i := range s.members {
		if strings.HasPrefix(coordinator, fmt.Sprintf("storm-%d-", s.members[i].Process.Pid)) {
			victim = i
		}
	}
	require.NotEqual(t, -1, victim, coordinator)
	killed := time.Now()
	s.kill(victim)
	w.line(&text, killed, "the member that deals most often is killed; it was charged %d", w.m.Status().Fleet[0].Charge)
	row := func(s fleet.Status) (r fleet.Row, ok bool) {
		for _, r := range s.Fleet {
			if r.Incarnation == coordinator {
				return r, true
			}
		}
		return r, false
	}
	w.until("its lease ends", 10*ttl, func(s fleet.Status) bool { r, there := row(s); return !there || !r.Alive })
	w.line(&text, killed, "its lease has ended")
	w.until("it is reclaimed", 10*ttl, func(s fleet.Status) bool { _, there := row(s); return !there })
	w.line(&text, killed, "its sessions are ended and its row is deleted")
	w.until("its part is had", 10*ttl, func(s fleet.Status) bool { return s.Held >= budget/2 })
	w.line(&text, killed, "the others hold what it had")
	t.Logf("TTL %v:%s", ttl, text.String())
}
