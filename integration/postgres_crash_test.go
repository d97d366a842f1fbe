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
)

// One of the server's processes is killed under load, as by a system that is
// short of memory: the server ends all the others, and serves again after a
// recovery.
func TestPostgresProcessIsKilledUnderLoad(t *testing.T) {
	s := needPostgres(t)
	s.restore(t)
	cfg := s.config("app")
	cfg.Apply, cfg.Reset, cfg.ResetWipesSetting = apply, discardAll, true
	pool, ledger := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, worker int) error {
		setting := tenants[worker%len(tenants)]
		return pool.DoWith(ctx, client.GetOptions{Setting: setting}, func(ctx context.Context, conn *pgx.Conn) error {
			return checkSetting(ctx, conn, setting)
		})
	})
	for range 2 {
		l.progress(t, 5)
		require.Empty(t, l.failures())
		l.allow(patient)
		victim, err := s.number("SELECT pid " + others + " LIMIT 1")
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		eventually(t, func() error { // it has noticed
			_, err := s.number("SELECT 1")
			return equal("alive", err == nil, false)
		})
		eventually(t, func() error { // it is back
			conn, err := pgx.Connect(within(t, patience), s.DSN("postgres", ""))
			if err == nil {
				s.admin = conn
			}
			return err
		})
		back := time.Now()
		l.progress(t, 5)
		recovered(t, ledger, back, cfg.Backoff.Cap)
		l.allow(patience)
		l.failures()
	}
	l.progress(t, 5)
	l.halt()
	assert.Empty(t, l.failures())
	l.punctual(t)
	agrees(t, pool, s.count)
}
