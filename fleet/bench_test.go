package fleet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/memstore"
)

// A Get and a Put with a member beside the pool, and without one.
func BenchmarkGetPut(b *testing.B) {
	s := &server{}
	loop := func(b *testing.B, pool *client.Pool[*conn]) {
		l, err := pool.Get(b.Context())
		require.NoError(b, err)
		require.NoError(b, l.Put())
		for b.Loop() {
			l, _ := pool.Get(b.Context())
			_ = l.Put()
		}
	}
	b.Run("without", func(b *testing.B) {
		pool, err := client.New(client.Config[*conn]{Connect: s.connect, Capacity: 10})
		require.NoError(b, err)
		loop(b, pool)
		require.NoError(b, pool.Close(b.Context()))
	})
	b.Run("with", func(b *testing.B) {
		mem := memstore.New()
		defer mem.Close()
		pool, m, err := fleet.New(b.Context(), client.Config[*conn]{Connect: s.connect}, fleet.Config{Key: "b", Budget: 10, TTL: fleet.DefaultTTL, Store: mem})
		require.NoError(b, err)
		loop(b, pool)
		require.NoError(b, m.Leave(b.Context()))
		<-m.Done()
	})
}
