package integration

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// One of the server's processes is killed under load, as by a system without memory. The server
// then ends all the others, and accepts connections again after a recovery.
func TestPostgresProcessIsKilledUnderLoad(t *testing.T) {
	s := needPostgres(t)
	s.restore(t)
	cfg := s.config("app")
	cfg.Apply, cfg.Reset, cfg.ResetWipesSetting = apply, discardAll, true
	pool, recorder := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, worker int) error {
		setting := tenants[worker%len(tenants)]
		return pool.DoWith(ctx, client.GetOptions{Setting: setting}, func(ctx context.Context, conn *pgx.Conn) error {
			return checkSetting(ctx, conn, setting)
		})
	})
	for range 2 {
		l.progress(t, 5)
		require.Empty(t, l.failures())
		l.setTimeout(shortTimeout)
		victim, err := s.number("SELECT pid " + others + " LIMIT 1")
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		testkit.Eventually(t, func() error { // until the server has noticed
			_, err := s.number("SELECT 1")
			return equal("alive", err == nil, false)
		})
		testkit.Eventually(t, func() error { // until it is back
			conn, err := pgx.Connect(within(t, longTimeout), s.DSN("postgres", ""))
			if err == nil {
				s.admin = conn
			}
			return err
		})
		back := time.Now()
		l.progress(t, 5)
		recovered(t, recorder, back, cfg.Backoff.Cap)
		l.setTimeout(longTimeout)
		l.failures()
	}
	l.progress(t, 5)
	l.stop()
	assert.Empty(t, l.failures())
	l.onTime(t)
	agrees(t, pool, s.count)
}
