package pooltest_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/pooltest"
)

// A fault is there from 10 to 40 seconds in each of these.
const (
	begins = 10 * time.Second
	ends   = 40 * time.Second
)

// service is a database as many have one.
func service(db *pooltest.Server) {
	db.Handshake, db.Op, db.Limit = pooltest.LogNormal(20*time.Millisecond, .5), pooltest.LogNormal(8*time.Millisecond, .8), 10
}

// failures are the calls that failed and that began in a part of the time.
func failures(all []outcome, from, to time.Duration) (failed []outcome, calls int) {
	for _, o := range all {
		if from <= o.at && o.at < to {
			calls++
			if o.err != nil {
				failed = append(failed, o)
			}
		}
	}
	return failed, calls
}

// rehearse has callers use a pool for a minute, while the fault is there. It checks what
// is so with each: nobody notices anything before the fault, nobody after the time in
// which the pool must have recovered, and all know in time.
func rehearse(t *testing.T, fault pooltest.Fault, recovery time.Duration, cfg config, look func(t *testing.T, db *pooltest.Server, p *pool, all []outcome)) {
	const patience = 2 * time.Second
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		service(db)
		db.Fault(fault, begins, ends)
		cfg.Name, cfg.Capacity, cfg.Seed = "db", 10, 1
		p := newPool(t, db, cfg)
		all := callers(p, db, 1, 200, time.Minute, patience)
		early, calls := failures(all, 0, begins-time.Second)
		require.Greater(t, calls, 1000)
		assert.Empty(t, early, "before the fault")
		if failed, _ := failures(all, 0, time.Hour); len(failed) > 0 {
			t.Logf("%v: %d of %d calls failed; they began at %v to %v", fault, len(failed), len(all), failed[0].at, failed[len(failed)-1].at)
		}
		late, calls := failures(all, ends+recovery, time.Hour)
		require.Greater(t, calls, 500)
		assert.Empty(t, late, "%v after the fault", recovery)
		for _, o := range all {
			assert.LessOrEqual(t, o.took, patience)
		}
		assert.LessOrEqual(t, db.Peak(), 10)
		look(t, db, p, all)
	})
}

// withCheck is a pool that checks connections which were idle.
func withCheck() config {
	return config{Check: func(ctx context.Context, c *pooltest.Conn) error { return c.Ping(ctx) }}
}

// docs/backoff.md: after an outage, the pool recovers within the last period, at most Cap.
func TestAPoolRecoversFromAnOutageWithinTheLastPeriodOfItsBackoff(t *testing.T) {
	for name, backoff := range map[string]client.Backoff{
		"of the default":   {},
		"of two seconds":   {Cap: 2 * time.Second},
		"without a jitter": {Cap: 5 * time.Second, Jitter: client.NoJitter},
	} {
		t.Run(name, func(t *testing.T) {
			longest := backoff.Cap
			if longest == 0 {
				longest = 10 * time.Second
			}
			rehearse(t, pooltest.Refuse, longest+100*time.Millisecond, config{Backoff: backoff}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
				failed, calls := failures(all, begins+100*time.Millisecond, ends-2*time.Second)
				assert.Len(t, failed, calls, "nobody is served")
				st := p.Stats()
				assert.NotZero(t, st.Backoffs)
				// Two at once when it begins, then one for each period: they double from 0.2s, and
				// all of each may be left out by the jitter.
				if backoff.Jitter == client.NoJitter {
					assert.LessOrEqual(t, st.ConnectErrors, uint64(2+5+7+1))
				}
				for _, o := range failed {
					var get *messages.GetError
					require.ErrorAs(t, o.err, &get)
					assert.True(t, errors.Is(o.err, syscall.ECONNREFUSED) || errors.Is(get.LastConnectError, syscall.ECONNREFUSED), "the error names the cause: %v", o.err)
				}
			})
		})
	}
}

// Connects that hang go on when it is over. Callers that have waited for long give up what they are lent, so it
// takes as long as they are patient.
func TestAPoolRecoversFromABlackholeWithTheCallersThatWaitedInIt(t *testing.T) {
	rehearse(t, pooltest.Blackhole, 3*time.Second, config{ConnectTimeout: time.Second}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		failed, calls := failures(all, begins+time.Second, ends-2*time.Second)
		assert.Len(t, failed, calls, "nobody is served")
		for _, o := range failed {
			var backoff *messages.BackoffError
			assert.True(t, errors.Is(o.err, context.DeadlineExceeded) || errors.As(o.err, &backoff), "%v", o.err)
		}
	})
}

func TestAPoolOfASlowServerServesWhomItCan(t *testing.T) {
	rehearse(t, pooltest.Slow, 3*time.Second, config{}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		failed, calls := failures(all, begins+2*time.Second, ends-2*time.Second)
		assert.NotEmpty(t, failed)
		assert.Less(t, len(failed), calls)
		for _, o := range failed {
			require.ErrorIs(t, o.err, context.DeadlineExceeded)
		}
	})
}

func TestAResetFailsOneCallOnEachConnection(t *testing.T) {
	for name, cfg := range map[string]config{"without a check": {}, "with a check": withCheck()} {
		t.Run(name, func(t *testing.T) {
			rehearse(t, pooltest.Reset, 0, cfg, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
				failed, _ := failures(all, 0, time.Hour)
				assert.NotEmpty(t, failed)
				assert.LessOrEqual(t, len(failed), 10)
				for _, o := range failed {
					require.ErrorIs(t, o.err, syscall.ECONNRESET)
					assert.Less(t, o.at, begins+5*time.Second)
				}
				assert.Zero(t, p.Stats().ConnectErrors)
			})
		})
	}
}

// Each old connection costs one caller its patience, and then it is replaced.
func TestConnectionsThatAreHalfOpenFailOneCallEach(t *testing.T) {
	rehearse(t, pooltest.HalfOpen, 0, config{}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		inUse, _ := failures(all, begins-time.Second, begins+3*time.Second)
		later, _ := failures(all, begins+3*time.Second, time.Hour)
		assert.NotEmpty(t, inUse)
		assert.LessOrEqual(t, len(later), 10, "those that were not used for a while")
		for _, o := range append(inUse, later...) {
			assert.True(t, errors.Is(o.err, context.DeadlineExceeded) || errors.Is(o.err, syscall.ECONNRESET), "%v", o.err)
		}
		assert.Zero(t, p.Stats().ConnectErrors)
	})
}

// client.Broken: a server that has become read-only is of no use, so each write that it
// refuses ends its connection; the pool goes on trying.
func TestAReadOnlyServerIsTriedAgainAndAgain(t *testing.T) {
	rehearse(t, pooltest.ReadOnly, 3*time.Second, config{}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		failed, calls := failures(all, begins, ends-2*time.Second)
		assert.Len(t, failed, calls)
		refused := 0
		for _, o := range failed {
			var server *pooltest.ServerError
			if errors.As(o.err, &server) && server.Code == "25006" {
				refused++
			}
		}
		assert.Greater(t, refused, 100)
	})
}

// Connections that stand are lent all the while.
func TestAFullServerFailsNobodyWhoCanHaveAConnection(t *testing.T) {
	rehearse(t, pooltest.Full, 0, config{}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		failed, _ := failures(all, 0, time.Hour)
		assert.Empty(t, failed)
	})
}

func TestAFlakyLineFailsAFewCalls(t *testing.T) {
	rehearse(t, pooltest.Flaky, 3*time.Second, config{}, func(t *testing.T, db *pooltest.Server, p *pool, all []outcome) {
		failed, calls := failures(all, begins, ends)
		assert.Greater(t, len(failed), calls/40)
		assert.Less(t, len(failed), calls/4)
	})
}

// A limit below the capacity costs nobody an error: rule G18.
func TestALimitBelowTheCapacityRefusesTheRest(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		service(db)
		db.Limit = 3
		p := newPool(t, db, config{Capacity: 10})
		failed, calls := failures(callers(p, db, 1, 100, time.Minute, 5*time.Second), 0, time.Hour)
		require.Greater(t, calls, 5000)
		assert.Empty(t, failed)
		assert.Equal(t, 3, db.Peak())
		assert.Positive(t, db.Failed())
		synctest.Wait()
		st := p.Stats()
		assert.Equal(t, uint64(db.Dials()), st.Connects)
		assert.Equal(t, uint64(db.Failed()), st.ConnectErrors)
		var server *pooltest.ServerError
		require.ErrorAs(t, st.LastConnectError, &server)
		assert.Equal(t, "53300", server.Code)
		assert.Equal(t, "the server has 3 connections already, its limit (SQLSTATE 53300)", server.Error())
	})
}

// The same in real time, outside of a bubble, on a small scale.
func TestARehearsalInRealTime(t *testing.T) {
	db := pooltest.NewServer(1)
	p, err := client.New(config{Connect: db.Dial, Capacity: 2, Backoff: client.Backoff{Cap: 200 * time.Millisecond}})
	require.NoError(t, err)
	write := within(10*time.Second, func(ctx context.Context) error {
		return p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Write(ctx) })
	})
	require.NoError(t, write())
	db.Fault(pooltest.Refuse, 0, db.Now()+300*time.Millisecond)
	time.Sleep(aMoment)
	require.ErrorIs(t, write(), syscall.ECONNRESET)
	deadline := time.Now().Add(30 * time.Second)
	for write() != nil {
		require.True(t, time.Now().Before(deadline), "it does not recover")
	}
	assert.Positive(t, db.Failed())
	pooltest.Check(t, p, db)
	require.NoError(t, p.Close(ctx))
	pooltest.Check(t, p, db)
	assert.Zero(t, db.Open())
}
