package client_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// A set may have a thousand pools. The bound is for one with an idle connection.
func TestAPoolOfASetIsSmall(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("the race detector adds to every allocation")
	}
	const pools, bound = 500, 11200
	set, err := client.NewSet(client.SetConfig[int, *idleConn]{
		New: func(int) client.Config[*idleConn] {
			cfg := idleConfig(1)
			cfg.GetTimeout = time.Minute
			return cfg
		},
		Total: pools, MaxPools: pools, Idle: time.Hour,
	})
	require.NoError(t, err)
	use := func(key int) {
		lease, err := set.Get(context.Background(), key)
		require.NoError(t, err)
		require.NoError(t, lease.Put())
	}
	use(0)
	heap, running := livingHeap(), runtime.NumGoroutine()
	for key := 1; key < pools; key++ {
		use(key)
	}
	bytes := (float64(livingHeap()) - float64(heap)) / (pools - 1)
	t.Logf("%.0f bytes for each pool with an idle connection", bytes)
	assert.Less(t, bytes, float64(bound))
	assert.InDelta(t, running, runtime.NumGoroutine(), 20, "goroutines")
	require.NoError(t, set.Close(context.Background()))
}
