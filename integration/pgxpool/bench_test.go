//go:build unix

package pgxpool_test

import (
	"context"
	"testing"

	original "github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

// BenchmarkAcquireAndRelease is what the pools themselves cost, without a query.
func BenchmarkAcquireAndRelease(b *testing.B) {
	server, err := shared()
	servers.Require(b, err)
	b.Run("adapter", func(b *testing.B) {
		pool, err := pgxpool.New(context.Background(), server.DSN("postgres", ""))
		require.NoError(b, err)
		defer pool.Close()
		measure(b, pool.Acquire)
	})
	b.Run("pgx", func(b *testing.B) {
		pool, err := original.New(context.Background(), server.DSN("postgres", ""))
		require.NoError(b, err)
		defer pool.Close()
		measure(b, pool.Acquire)
	})
}

func measure[C interface{ Release() }](b *testing.B, acquire func(context.Context) (C, error)) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		c, err := acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}
