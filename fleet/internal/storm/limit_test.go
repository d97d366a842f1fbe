//go:build unix

package storm_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The same as TestByTimeFrozenProcessesMakeAnExcess, but all log in as one role whose
// CONNECTION LIMIT is the budget. The server refuses what is too much, so there is no excess
// though the assumption of ReclaimByTime does not hold. Gets succeed all the while.
func TestALimitOfTheRoleHoldsWhateverFails(t *testing.T) {
	s := begin(t, limited, processes, ttl)
	s.reaches(budget*3/4, 30*time.Second)
	stop := s.sample()
	const last = processes - 1
	for i := range last {
		s.signal(i, syscall.SIGSTOP)
	}
	// The leases end, then the grace, and the last one is given what the others still hold.
	s.grows("refused connects", func() int64 { return s.refusals[last].Load() }, 20)
	s.grows("Gets while connects are refused", func() int64 { return s.gets[last].Load() }, 100)
	for i := range last {
		s.signal(i, syscall.SIGCONT)
	}
	for i := range s.members {
		s.grows("Gets of each member afterwards", func() int64 { return s.gets[i].Load() }, 100)
	}
	seen := stop()
	require.NoError(t, seen.err)
	refusals := int64(0)
	for i := range s.refusals {
		refusals += s.refusals[i].Load()
	}
	t.Logf("%d samples, worst %d of %d, mean %.1f, full in %d; %d connects refused by the limit",
		seen.n, seen.worst, budget, float64(seen.sum)/float64(seen.n), seen.full, refusals)
	assert.LessOrEqual(t, seen.worst, budget)
	assert.Greater(t, seen.worst, budget*3/4, "it was tried")
}

// grows waits until a number has grown by n.
func (s *storm) grows(what string, number func() int64, n int64) {
	s.t.Helper()
	begun := number()
	for deadline := time.Now().Add(time.Minute); number()-begun < n; time.Sleep(10 * time.Millisecond) {
		require.True(s.t, time.Now().Before(deadline), "%s: %d of %d", what, number()-begun, n)
	}
}
