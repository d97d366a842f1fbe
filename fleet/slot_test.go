package fleet_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/store"
)

// slot is that of a member's connection.
func (p *process) slot(t *testing.T) int {
	t.Helper()
	l, err := p.pool.Get(t.Context())
	require.NoError(t, err)
	c := l.Conn()
	require.Equal(t, p.Status().Incarnation, c.incarnation)
	require.NoError(t, l.Put())
	return c.slot
}

func TestASlotIsHadAloneUntilItsRowIsDeleted(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		assert.Equal(t, -1, fleet.Slot(t.Context()))
		assert.Empty(t, fleet.Incarnation(t.Context()))
		var all []*process
		for i := range 3 {
			p := w.join()
			require.Equal(t, i, p.slot(t))
			all = append(all, p)
		}
		dead := all[1].Status().Incarnation
		all[1].crash(t)
		time.Sleep(2 * ttl) // its lease ends, and its row stays
		all[1] = w.join()
		require.Equal(t, 3, all[1].slot(t), "the dead one still has its own")
		require.NoError(t, fleet.Forget(t.Context(), w.config(), dead))
		all = append(all, w.join())
		require.Equal(t, 1, all[3].slot(t))
		all[0].leave(t)
		all[0] = w.join()
		require.Equal(t, 0, all[0].slot(t), "it is free after Leave")
		for _, p := range all {
			p.leave(t)
		}
	})
}

// A member that loses its lease while it holds nothing begins anew at once: what it opens
// then has its new name.
func TestTheNameOfANewLifeIsThatOfItsConnections(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Store = w.store })
		eventually(t, ttl, func() bool { return a.Status().Phase == "live" }, "%v", a.Status())
		first := a.Status().Incarnation
		lost := false
		w.store.fail(func(name string, _ int) error {
			if name == "renew" && !lost {
				lost = true
				return store.ErrLost
			}
			return nil
		})
		eventually(t, 2*ttl, func() bool { return a.Status().Incarnation != first }, "%v", a.Status())
		a.slot(t)
		a.leave(t)
	})
}

// slots is a SlotFence that counts.
type slots struct {
	fleet.Reclaimer
	n        int
	refuse   atomic.Int64 // so many times, Occupy fails
	occupied atomic.Int64
	last     atomic.Int64
	lost     atomic.Int64 // times that the lease had ended
	delay    atomic.Int64
}

func (s *slots) Slots() int                           { return s.n }
func (s *slots) Check(context.Context) error          { return nil }
func (s *slots) Admit(context.Context, string) error  { return nil }
func (s *slots) Retire(context.Context, string) error { return nil }

func (s *slots) Occupy(ctx context.Context, _ string, slot int, alive func(context.Context) error) error {
	select {
	case <-time.After(time.Duration(s.delay.Load())):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.refuse.Add(-1) >= 0 {
		return errUnfit
	}
	if err := alive(ctx); err != nil {
		if errors.Is(err, store.ErrLost) {
			s.lost.Add(1)
		}
		return err
	}
	s.last.Store(int64(slot))
	s.occupied.Add(1)
	return nil
}

func TestASlotIsOccupiedBeforeTheFirstConnect(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		fence := &slots{Reclaimer: fleet.ReclaimByTime(time.Second), n: 2}
		fence.refuse.Store(2)
		with := func(cfg *fleet.Config) { cfg.Reclaim = fence }
		a := w.join(with)
		begun := time.Now()
		assert.Equal(t, 0, a.slot(t))
		assert.GreaterOrEqual(t, time.Since(begun), 2*ttl/5, "it waits after a failure")
		assert.EqualValues(t, 1, fence.occupied.Load())
		b := w.join(with)
		assert.Equal(t, 1, b.slot(t))
		assert.EqualValues(t, 1, fence.last.Load())

		c := w.join(with)
		c.use(t, 1)
		time.Sleep(2 * ttl)
		assert.Equal(t, "new", c.Status().Phase, "all slots are taken")
		assert.True(t, c.Status().NoQuota())
		a.leave(t)
		eventually(t, 2*ttl, func() bool { return c.users.Load() == 1 }, "it has the slot that is free now: %v", c.Status())
		c.rest()
		assert.Equal(t, 0, c.slot(t))
		b.leave(t)
		c.leave(t)
		assert.EqualValues(t, 3, fence.occupied.Load(), "once for each life")
	})
}

func TestASlotIsNotOccupiedWhenTheLeaseHasEnded(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		fence := &slots{Reclaimer: fleet.ReclaimByTime(time.Second), n: 2}
		fence.delay.Store(int64(ttl * 4 / 5))
		fence.refuse.Store(1) // the second time comes after the end of the lease
		a := w.join(func(cfg *fleet.Config) { cfg.Reclaim = fence })
		eventually(t, ttl, func() bool { return a.Status().Charge+len(a.Status().Fleet) > 0 }, "it has a row: %v", a.Status())
		first := a.Status().Incarnation
		a.store.fail(func(name string, _ int) error {
			if name == "renew" {
				return errAway
			}
			return nil
		})
		time.Sleep(ttl + ttl/2)
		assert.Equal(t, "hard", a.Status().Phase)
		eventually(t, 2*ttl, func() bool { return fence.lost.Load() > 0 }, "it comes too late: %v", a.Status())
		occupied := fence.occupied.Load()
		fence.delay.Store(0)
		a.store.heal()
		a.slot(t)
		assert.NotEqual(t, first, a.Status().Incarnation)
		assert.Equal(t, occupied+1, fence.occupied.Load())
		a.leave(t)
	})
}
