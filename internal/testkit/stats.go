package testkit

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/client"
)

// Consistent checks what holds in every snapshot of a pool, at any time. It may
// be called outside of virtual time and from any goroutine.
func Consistent(t testing.TB, st client.Stats) {
	t.Helper()
	for _, rule := range []struct {
		name  string
		holds bool
	}{
		{"Open = Idle + Borrowed + InTransition", st.Open == st.Idle+st.Borrowed+st.InTransition},
		{"no gauge is negative", min(st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing, st.Waiting, st.Capacity) >= 0},
		{"Grants = Borrowed + Puts + Taints + Revoked + Hijacks", st.Grants == uint64(st.Borrowed)+st.Puts+st.Taints+st.Revoked+st.Hijacks},
		{"Grants + Timeouts + Cancels <= Gets", st.Grants+st.Timeouts+st.Cancels <= st.Gets},
		{"Waits <= Gets", st.Waits <= st.Gets},
		{"Open + Connecting + ConnectErrors <= Connects", uint64(st.Open+st.Connecting)+st.ConnectErrors <= st.Connects},
	} {
		if !rule.holds {
			t.Errorf("not true of a snapshot: %s: %+v", rule.name, st)
		}
	}
}

// AssertCounts waits until all is quiet and says how many connections must be
// borrowed and idle, and how many Gets must wait. The snapshot must be
// [Consistent].
func AssertCounts(t testing.TB, p *Pool, borrowed, idle, waiting int) {
	t.Helper()
	synctest.Wait()
	st := p.Stats()
	assert.Equal(t, [3]int{borrowed, idle, waiting}, [3]int{st.Borrowed, st.Idle, st.Waiting}, "borrowed, idle, waiting")
	Consistent(t, st)
}
