package testkit

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/pooltest"
)

// Consistent checks what holds in every snapshot of a pool, at any time. It may
// be called outside of virtual time and from any goroutine.
func Consistent(t testing.TB, st client.Stats) {
	t.Helper()
	for _, rule := range pooltest.Unbalanced(st) {
		t.Errorf("not true of a snapshot: %s: %+v", rule, st)
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
