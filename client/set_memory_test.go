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

// A set may have a thousand pools. Most of them have no connection, if its Total is lower.
func TestAPoolOfASetIsSmall(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("the race detector adds to every allocation")
	}
	const pools = 500
	for name, c := range map[string]struct {
		total int
		bound float64 // in bytes
	}{
		"each with an idle connection": {pools, 8800},
		"a tenth of them with one":     {pools / 10, 8000},
		"one of them has a connection": {1, 8000},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := client.NewSet(client.SetConfig[int, *idleConn]{
				New: func(int) client.Config[*idleConn] {
					cfg := idleConfig(1)
					cfg.GetTimeout = time.Minute
					return cfg
				},
				Total: c.total, MaxPools: pools, Idle: time.Hour,
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
			t.Logf("%.0f bytes for each pool", bytes)
			assert.Less(t, bytes, c.bound)
			assert.InDelta(t, running, runtime.NumGoroutine(), 20, "goroutines")
			there := 0
			for range set.Each() {
				there++
			}
			assert.Equal(t, pools, there)
			require.NoError(t, set.Close(context.Background()))
		})
	}
}
