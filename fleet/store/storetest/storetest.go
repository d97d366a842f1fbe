// Package storetest tests that a store keeps a fleet's ledger as package store says.
package storetest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/fleet/store"
)

// Run runs all tests on a store. ttl is the shortest lease that it keeps. Each test uses a
// ledger of its own, whose key begins with prefix.
func Run(t *testing.T, s store.Store, prefix string, ttl time.Duration) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"the first budget stays", firstBudget},
		{"a commit is all or nothing", commits},
		{"of two commits on one snapshot one succeeds", conflicts},
		{"a commit may be as large as it says", largest},
		{"a renewal reports and brings the row", renewals},
		{"a lease ends when it is not renewed", expiry},
		{"a member that leaves frees what it had", leaves},
		{"a watch brings rows and ends", watches},
		{"ledgers do not know each other", separate},
		{"what is not there is an error", absent},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c.test(t, &suite{s, fmt.Sprintf("%s%d", prefix, time.Now().UnixNano()), ttl, ctx})
		})
	}
}

type suite struct {
	store.Store
	key string
	ttl time.Duration
	ctx context.Context
}

func (s *suite) open(t *testing.T, budget int) store.Sum {
	t.Helper()
	sum, err := s.Open(s.ctx, s.key, budget)
	require.NoError(t, err)
	return sum
}

func (s *suite) join(t *testing.T, incarnation string) store.Membership {
	t.Helper()
	m, err := s.Join(s.ctx, s.key, incarnation, s.ttl)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Leave(context.Background()) })
	return m
}

func (s *suite) snapshot(t *testing.T) store.Snapshot {
	t.Helper()
	v, err := s.Snapshot(s.ctx, s.key)
	require.NoError(t, err)
	return v
}

func firstBudget(t *testing.T, s *suite) {
	first := s.open(t, 10)
	assert.Equal(t, 10, first.Budget)
	assert.Positive(t, first.Revision)
	assert.Equal(t, first, s.open(t, 20), "the budget that is there")
	require.NoError(t, s.SetBudget(s.ctx, s.key, 30))
	sum := s.snapshot(t).Sum
	assert.Equal(t, 30, sum.Budget)
	assert.Greater(t, sum.Revision, first.Revision)
	require.ErrorIs(t, s.Commit(s.ctx, s.key, first, first, nil), store.ErrConflict, "SetBudget has written the sum")
}

func commits(t *testing.T, s *suite) {
	base := s.open(t, 10)
	sum := base
	sum.Rotations, sum.NextSlot = 7, 6
	require.NoError(t, s.Commit(s.ctx, s.key, base, sum, []store.Change{
		{Incarnation: "a", Row: store.Row{Charge: 4, Target: 3, Slot: 5, Seq: 99}},
		{Incarnation: "b", Row: store.Row{Charge: 6, Target: 6}},
	}))
	v := s.snapshot(t)
	assert.EqualValues(t, 7, v.Sum.Rotations)
	assert.Equal(t, 6, v.Sum.NextSlot)
	require.Len(t, v.Rows, 2)
	a, b := v.Rows["a"], v.Rows["b"]
	assert.Equal(t, [6]int{4, 3, 5, 6, 6, 0}, [6]int{a.Charge, a.Target, a.Slot, b.Charge, b.Target, b.Slot})
	assert.Equal(t, a.Seq, b.Seq, "one revision")
	assert.Greater(t, a.Seq, base.Revision)

	require.NoError(t, s.Commit(s.ctx, s.key, v.Sum, v.Sum, []store.Change{
		{Incarnation: "a", Delete: true},
		{Incarnation: "b", Row: store.Row{Charge: 6, Target: 1}},
	}))
	v2 := s.snapshot(t)
	require.Len(t, v2.Rows, 1)
	assert.Equal(t, 1, v2.Rows["b"].Target)
	assert.Greater(t, v2.Rows["b"].Seq, b.Seq)
}

func conflicts(t *testing.T, s *suite) {
	s.open(t, 10)
	const commits = 8
	v := s.snapshot(t)
	done := make(chan error, commits)
	for i := range commits {
		go func() {
			done <- s.Commit(s.ctx, s.key, v.Sum, v.Sum, []store.Change{{Incarnation: strconv.Itoa(i), Row: store.Row{Charge: 10, Target: 10}}})
		}()
	}
	succeeded := 0
	for range commits {
		if err := <-done; err == nil {
			succeeded++
		} else {
			require.ErrorIs(t, err, store.ErrConflict)
		}
	}
	assert.Equal(t, 1, succeeded)
	assert.Len(t, s.snapshot(t).Rows, 1)
}

func largest(t *testing.T, s *suite) {
	base := s.open(t, 1000)
	changes := make([]store.Change, store.MaxChanges+1)
	for i := range changes {
		changes[i] = store.Change{Incarnation: strconv.Itoa(i), Row: store.Row{Charge: 1, Target: 1, Slot: i}}
	}
	require.Error(t, s.Commit(s.ctx, s.key, base, base, changes))
	assert.Empty(t, s.snapshot(t).Rows, "none of them")
	require.NoError(t, s.Commit(s.ctx, s.key, base, base, changes[1:]))
	assert.Len(t, s.snapshot(t).Rows, store.MaxChanges)
}

func renewals(t *testing.T, s *suite) {
	base := s.open(t, 10)
	m := s.join(t, "a")
	_, err := s.Join(s.ctx, s.key, "a", s.ttl)
	require.Error(t, err, "it has joined")
	assert.Equal(t, map[string]store.Report{"a": {}}, s.snapshot(t).Reports)
	_, ok, err := m.Renew(s.ctx, store.Report{Want: 3, AckSeq: 5, AckN: 2})
	require.NoError(t, err)
	assert.False(t, ok, "it has no row")
	assert.Equal(t, map[string]store.Report{"a": {Want: 3, AckSeq: 5, AckN: 2}}, s.snapshot(t).Reports)
	require.NoError(t, s.Commit(s.ctx, s.key, base, base, []store.Change{{Incarnation: "a", Row: store.Row{Charge: 2, Target: 1}}}),
		"a report does not write the sum")
	row, ok, err := m.Renew(s.ctx, store.Report{Want: 4})
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, s.snapshot(t).Rows["a"], row)
	assert.Equal(t, 2, row.Charge)
}

func expiry(t *testing.T, s *suite) {
	base := s.open(t, 10)
	m, kept := s.join(t, "a"), s.join(t, "b")
	require.NoError(t, s.Commit(s.ctx, s.key, base, base, []store.Change{{Incarnation: "a", Row: store.Row{Charge: 2, Target: 2}}}))
	renew := time.NewTicker(s.ttl / 5)
	defer renew.Stop()
	for begun := time.Now(); ; {
		<-renew.C
		_, _, err := kept.Renew(s.ctx, store.Report{})
		require.NoError(t, err)
		if _, alive := s.snapshot(t).Reports["a"]; !alive {
			assert.GreaterOrEqual(t, time.Since(begun), s.ttl*3/4)
			break
		}
		require.Less(t, time.Since(begun), 10*s.ttl)
	}
	v := s.snapshot(t)
	assert.Contains(t, v.Reports, "b", "its lease was renewed")
	assert.Equal(t, 2, v.Rows["a"].Charge, "a row outlives the lease: what it charges may still be held")
	_, _, err := m.Renew(s.ctx, store.Report{})
	require.ErrorIs(t, err, store.ErrLost)
	assert.NotContains(t, s.snapshot(t).Reports, "a", "and does not bring it back")
	require.NoError(t, m.Leave(s.ctx), "a member whose lease is lost may leave")
	assert.NotContains(t, s.snapshot(t).Rows, "a")
}

func leaves(t *testing.T, s *suite) {
	base := s.open(t, 10)
	m := s.join(t, "a")
	require.NoError(t, s.Commit(s.ctx, s.key, base, base, []store.Change{{Incarnation: "a", Row: store.Row{Charge: 2, Target: 2}}}))
	before := s.snapshot(t)
	require.NoError(t, m.Leave(s.ctx))
	after := s.snapshot(t)
	assert.Empty(t, after.Rows)
	assert.Empty(t, after.Reports)
	require.ErrorIs(t, s.Commit(s.ctx, s.key, before.Sum, before.Sum, []store.Change{{Incarnation: "a", Row: store.Row{Charge: 9, Target: 9}}}),
		store.ErrConflict, "a decision on what was before does not bring the row back")
	_, _, err := m.Renew(s.ctx, store.Report{Want: 1})
	require.ErrorIs(t, err, store.ErrLost)
	require.NoError(t, m.Leave(s.ctx), "again")
	assert.Equal(t, 10, s.snapshot(t).Sum.Budget)
}

func watches(t *testing.T, s *suite) {
	s.open(t, 10)
	m := s.join(t, "a")
	ctx, cancel := context.WithCancel(s.ctx)
	rows := m.Watch(ctx)
	// A watch may begin a little after the call: it is fed until it has brought a row.
	charge := 0
	for seen := false; !seen; {
		charge++
		v := s.snapshot(t)
		require.NoError(t, s.Commit(s.ctx, s.key, v.Sum, v.Sum, []store.Change{{Incarnation: "a", Row: store.Row{Charge: charge, Target: 1}}}))
		select {
		case row, ok := <-rows:
			require.True(t, ok)
			assert.Equal(t, 1, row.Target)
			assert.Positive(t, row.Seq)
			seen = true
		case <-time.After(s.ttl / 5):
			_, _, err := m.Renew(s.ctx, store.Report{})
			require.NoError(t, err)
		case <-s.ctx.Done():
			require.NoError(t, s.ctx.Err())
		}
	}
	cancel()
	for range rows { // until it is closed
	}
}

func separate(t *testing.T, s *suite) {
	s.open(t, 10)
	other := *s
	other.key += "-other"
	base := other.open(t, 20)
	s.join(t, "a")
	require.NoError(t, s.Commit(s.ctx, other.key, base, base, []store.Change{{Incarnation: "b", Row: store.Row{Charge: 2, Target: 2}}}))
	v, o := s.snapshot(t), other.snapshot(t)
	assert.Equal(t, 10, v.Sum.Budget)
	assert.Empty(t, v.Rows)
	assert.Len(t, v.Reports, 1)
	assert.Len(t, o.Rows, 1)
	assert.Empty(t, o.Reports)
}

func absent(t *testing.T, s *suite) {
	_, err := s.Snapshot(s.ctx, s.key)
	require.ErrorContains(t, err, "has not been opened")
	require.Error(t, s.SetBudget(s.ctx, s.key, 1))
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err = s.Open(ended, s.key, 1)
	require.ErrorIs(t, err, context.Canceled)
}
