package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/store"
	"github.com/actorpool/actorpool/messages"
)

func TestMembersShareABudgetAndItGoesToWhoNeedsIt(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b, c := w.join(), w.join(), w.join()
		a.use(t, 20)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 10 }, "one has all: %v", a.Status())
		b.use(t, 20)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 5 && b.users.Load() == 5 }, "two have half each: %v, %v", a.Status(), b.Status())
		c.use(t, 2)
		eventually(t, 2*ttl, func() bool { return c.users.Load() == 2 && a.users.Load()+b.users.Load() == 8 }, "max-min: %v", c.Status())
		a.leave(t)
		eventually(t, 2*ttl, func() bool { return b.users.Load() == 8 }, "what one leaves is had by another: %v", b.Status())
		eventually(t, ttl, func() bool { return len(b.Status().Fleet) == 2 }, "two are left: %v", b.Status())
		b.leave(t)
		c.leave(t)
		assert.EqualValues(t, 10, w.server.worst.Load())
		v, err := w.mem.Snapshot(t.Context(), "db")
		require.NoError(t, err)
		assert.Empty(t, v.Rows, "who leaves takes its row along")
	})
}

func TestWhatACrashedMemberHeldIsNotDealt(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := w.join(), w.join()
		a.use(t, 20)
		b.use(t, 20)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 5 && b.users.Load() == 5 }, "half each")
		dead := a.Status().Incarnation
		a.crash(t)
		time.Sleep(10 * ttl)
		assert.LessOrEqual(t, b.users.Load(), int64(5), "by ack, nothing is had back")
		require.NoError(t, fleet.Forget(t.Context(), w.config(), dead))
		eventually(t, 2*ttl, func() bool { return b.users.Load() == 10 }, "an operator has said so: %v", b.Status())
		require.ErrorContains(t, fleet.Forget(t.Context(), w.config(), dead), "no row")
		require.ErrorContains(t, fleet.Forget(t.Context(), w.config(), b.Status().Incarnation), "not dead")
		b.leave(t)
	})
}

func TestReclaimByTimeHasItBack(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		byTime := func(cfg *fleet.Config) { cfg.Reclaim = fleet.ReclaimByTime(time.Second) }
		a, b := w.join(byTime), w.join(byTime)
		a.use(t, 20)
		b.use(t, 20)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 5 && b.users.Load() == 5 }, "half each")
		a.crash(t)
		eventually(t, 3*ttl, func() bool { return b.users.Load() == 10 }, "the dead one's half: %v", b.Status())
		b.leave(t)
		assert.EqualValues(t, 10, w.server.worst.Load())
	})
}

// A store that is away: what is held goes on until Soft; then only what is borrowed and the
// floor; then nothing. When it is back, a new incarnation begins, and has it all.
func TestAStoreThatIsAway(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Floor = 2 })
		a.use(t, 6)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 }, "it works: %v", a.Status())
		first := a.Status().Incarnation
		away := time.Now()
		a.store.fail(func(string, int) error { return errAway })
		phases := map[string]time.Duration{}
		eventually(t, 2*ttl, func() bool {
			s := a.Status()
			if _, known := phases[s.Phase]; !known {
				phases[s.Phase] = time.Since(away)
			}
			if s.Phase == "soft" {
				assert.Equal(t, 2, s.Capacity)
			}
			return s.Phase == "hard" && s.Held == 0
		}, "it closes everything: %v", a.Status())
		assert.InDelta(t, ttl.Seconds()*2/3, phases["soft"].Seconds(), 1.1)
		assert.InDelta(t, ttl.Seconds(), phases["hard"].Seconds(), 1.2)
		assert.Less(t, phases["hard"], ttl, "before the lease can have ended")
		require.ErrorIs(t, a.Status().Err, errAway)
		assert.True(t, a.Status().NoQuota())
		assert.Contains(t, a.Status().String(), "; fleet: store not reached for 5s, all is closed; the store is away")

		time.Sleep(2 * ttl)
		a.store.heal()
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 }, "it is back: %v", a.Status())
		assert.NotEqual(t, first, a.Status().Incarnation)
		v, err := w.mem.Snapshot(t.Context(), "db")
		require.NoError(t, err)
		assert.Len(t, v.Rows, 1, "the old incarnation has taken its row along")
		a.leave(t)
	})
}

func TestAStoreThatIsAwayForAShortWhileChangesNothing(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		a.use(t, 6)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 }, "it works: %v", a.Status())
		first := a.Status()
		a.store.fail(func(string, int) error { return errHang })
		time.Sleep(ttl / 2)
		assert.Equal(t, "live", a.Status().Phase)
		assert.EqualValues(t, 6, a.users.Load())
		a.store.heal()
		time.Sleep(ttl)
		assert.Equal(t, first.Incarnation, a.Status().Incarnation)
		a.leave(t)
	})
}

func TestALeaseThatIsLost(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		a.use(t, 6)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 }, "it works")
		first := a.Status().Incarnation
		a.store.fail(func(name string, _ int) error {
			if name == "renew" {
				return store.ErrLost
			}
			return nil
		})
		eventually(t, ttl, func() bool { return a.Status().Phase == "over" }, "it believes the store: %v", a.Status())
		a.store.heal()
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 && a.Status().Incarnation != first }, "anew: %v", a.Status())
		a.leave(t)
	})
}

// A member starts, works, leaves and crashes while the n-th operation of its store fails
// before it takes effect, after it, or hangs: for every n. The budget holds, and another
// member works on.
func TestAFaultAtEveryStepOfTheProtocol(t *testing.T) {
	for _, fault := range []error{errAway, errAfter, errHang, store.ErrLost} {
		for n := 1; n <= 24; n++ {
			run(t, func(t *testing.T, w *world) {
				byTime := func(cfg *fleet.Config) { cfg.Reclaim = fleet.ReclaimByTime(time.Second) }
				other := w.join(byTime)
				other.use(t, 20)
				eventually(t, 2*ttl, func() bool { return other.users.Load() == 10 }, "the other one works")
				p := &process{store: newDisturbed(w.mem)}
				p.store.fail(func(_ string, i int) error {
					if i == n {
						return fault
					}
					return nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), ttl)
				defer cancel()
				pool, m, err := fleet.New(ctx, w.pool(), w.config(byTime, func(cfg *fleet.Config) { cfg.Store = p.store }))
				if err == nil {
					p.Member, p.pool = m, pool
					p.use(t, 20)
					eventually(t, 5*ttl, func() bool { return p.users.Load() == 5 && other.users.Load() == 5 },
						"half each, operation %d, %v: %v, %v", n, fault, p.Status(), other.Status())
					if n%2 == 0 {
						p.leave(t) // it tries again
					} else {
						p.crash(t)
					}
				} else {
					require.Less(t, n, 5, "only the first operations are a part of New: %v", err)
				}
				eventually(t, 5*ttl, func() bool { return other.users.Load() == 10 }, "all, operation %d, %v: %v", n, fault, other.Status())
				other.leave(t)
				assert.EqualValues(t, 10, w.server.worst.Load())
			})
		}
	}
}

// A connect that ignores its context, and that the pool gives up, still counts.
func TestAConnectThatWasGivenUpCounts(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		first := make(chan struct{}, 1)
		first <- struct{}{}
		cfg := w.pool()
		cfg.ConnectTimeout = 100 * time.Millisecond
		cfg.Connect = func(ctx context.Context) (*conn, error) {
			c, err := w.server.connect(ctx)
			select {
			case <-first:
				<-release
			default:
			}
			return c, err
		}
		pool, m, err := fleet.New(t.Context(), cfg, w.config(func(cfg *fleet.Config) { cfg.Budget = 3 }))
		require.NoError(t, err)
		a := &process{Member: m, pool: pool}
		a.use(t, 9)
		eventually(t, 4*ttl, func() bool { return a.users.Load() == 2 }, "two work: %v", a.Status())
		time.Sleep(ttl)
		assert.EqualValues(t, 3, w.server.open.Load())
		close(release)
		eventually(t, 4*ttl, func() bool { return a.users.Load() == 3 }, "three work: %v", a.Status())
		a.leave(t)
		assert.EqualValues(t, 3, w.server.worst.Load())
	})
}

func TestAHijackedConnectionCountsAndItsQuotaStays(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Budget = 2 })
		l, err := a.pool.Get(t.Context())
		require.NoError(t, err)
		c, err := l.Hijack()
		require.NoError(t, err)
		a.use(t, 5)
		time.Sleep(2 * ttl)
		eventually(t, time.Second, func() bool { return a.users.Load() == 1 }, "%v", a.Status())
		a.rest()
		require.ErrorContains(t, a.Leave(t.Context()), "1 connections may still be open")
		<-a.Done()
		assert.EqualValues(t, 2, w.server.worst.Load())
		require.NoError(t, c.Close())
	})
}

func TestTheBudgetCanBeChanged(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		a.use(t, 20)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 10 }, "all")
		require.NoError(t, fleet.SetBudget(t.Context(), w.config(), 4))
		eventually(t, 2*ttl, func() bool { return w.server.open.Load() == 4 }, "less: %v", a.Status())
		require.NoError(t, fleet.SetBudget(t.Context(), w.config(), 12))
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 12 }, "more: %v", a.Status())
		assert.Equal(t, 12, a.Status().Budget)
		a.leave(t)
	})
}

func TestClosingThePoolIsToLeave(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		l, err := a.pool.Get(t.Context())
		require.NoError(t, err)
		require.NoError(t, l.Put())
		require.NoError(t, a.pool.Close(t.Context()))
		<-a.Done()
		assert.Equal(t, "over", a.Status().Phase)
		v, err := w.mem.Snapshot(t.Context(), "db")
		require.NoError(t, err)
		assert.Empty(t, v.Rows)
		assert.Empty(t, v.Reports)
		require.NoError(t, a.Leave(t.Context()))
	})
}

func TestLeaveInterruptsWhenItsContextEnds(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		l, err := a.pool.Get(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		require.NoError(t, a.Leave(ctx))
		assert.InDelta(t, 2, time.Since(begin).Seconds(), .1)
		require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		<-a.Done()
	})
}

func TestMinIdleIsAskedFor(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		cfg := w.pool()
		cfg.MinIdle = 3
		pool, m, err := fleet.New(t.Context(), cfg, w.config())
		require.NoError(t, err)
		eventually(t, 2*ttl, func() bool { return w.server.open.Load() == 3 }, "%v", m.Status())
		other := w.join(func(cfg *fleet.Config) { cfg.Budget = 10 })
		other.use(t, 20)
		eventually(t, 3*ttl, func() bool { return other.users.Load() == 7 }, "%v", other.Status())
		assert.Equal(t, 3, pool.Stats().MinIdle)
		other.leave(t)
		require.NoError(t, m.Leave(t.Context()))
		<-m.Done()
	})
}

func TestWhatIsWrongIsAnErrorOfNew(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Floor = 4 })
		for _, c := range []struct {
			change func(*fleet.Config)
			text   string
		}{
			{func(cfg *fleet.Config) { cfg.Key = "" }, "fleet.Config.Key: it is required"},
			{func(cfg *fleet.Config) { cfg.Key = "a/b" }, `"a/b" contains a slash`},
			{func(cfg *fleet.Config) { cfg.Budget = 0 }, "Budget: 0 is less than 1"},
			{func(cfg *fleet.Config) { cfg.Budget = 11 }, "it is 11, and the ledger \"db\" has 10: change that with fleet.SetBudget"},
			{func(cfg *fleet.Config) { cfg.Floor = -1 }, "Floor: -1 is negative"},
			{func(cfg *fleet.Config) { cfg.Floor = 11 }, "not even one member"},
			{func(cfg *fleet.Config) { cfg.Floor = 6 }, "6 for each of 2 members is more than Budget, 10"},
			{func(cfg *fleet.Config) { cfg.TTL = time.Second }, "TTL: 1s is less than 2s"},
			{func(cfg *fleet.Config) { cfg.Drift = .3 }, "0.3 is not between 0 and .25"},
			{func(cfg *fleet.Config) { cfg.Store = nil }, "Store: it is required"},
			{func(cfg *fleet.Config) { cfg.Reclaim = fleet.ReclaimByTime(-1) }, "a grace of -1ns is negative"},
			{func(cfg *fleet.Config) { cfg.Reclaim = unfit{fleet.ReclaimByAck} }, "cannot do its work: it may not"},
		} {
			_, _, err := fleet.New(t.Context(), w.pool(), w.config(c.change))
			require.ErrorContains(t, err, c.text)
		}
		for _, pool := range []client.Config[*conn]{{}, {Connect: w.server.connect, Capacity: 3}, {Connect: w.server.connect, MinIdle: 3, MaxIdle: 2}} {
			_, _, err := fleet.New(t.Context(), pool, w.config())
			require.ErrorContains(t, err, "invalid ")
		}
		_, _, err := fleet.New(nil, w.pool(), w.config()) //nolint:staticcheck // nil is the point
		require.ErrorIs(t, err, messages.ErrNilContext)
		require.ErrorContains(t, fleet.SetBudget(t.Context(), w.config(), 0), "0 is less than 1")
		require.ErrorContains(t, fleet.SetBudget(t.Context(), fleet.Config{Key: "db"}, 1), "Store: it is required")
		a.leave(t)
	})
}

// unfit is a fence that may not do what it must.
type unfit struct{ fleet.Reclaimer }

func (unfit) Check(context.Context) error          { return errUnfit }
func (unfit) Admit(context.Context, string) error  { return nil }
func (unfit) Retire(context.Context, string) error { return nil }

type errorText string

func (e errorText) Error() string { return string(e) }

const errUnfit = errorText("it may not")

// The actor is restarted when it panics: everything is closed, and it joins anew.
func TestAMemberSurvivesAPanicOfItsActor(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		a.use(t, 6)
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 }, "it works: %v", a.Status())
		first := a.Status().Incarnation
		a.Panic()
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 6 && a.Status().Incarnation != first }, "anew: %v", a.Status())
		a.leave(t)
		v, err := w.mem.Snapshot(t.Context(), "db")
		require.NoError(t, err)
		assert.Empty(t, v.Rows, "the incarnation before has left, too")
	})
}
