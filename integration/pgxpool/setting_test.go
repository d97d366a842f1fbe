//go:build unix

package pgxpool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// tenants makes two roles that may only read their own rows.
func tenants(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	_, err := admin.Exec(within(t), `
		DROP TABLE IF EXISTS tenant_orders;
		DROP ROLE IF EXISTS tenant_a; DROP ROLE IF EXISTS tenant_b;
		CREATE ROLE tenant_a; CREATE ROLE tenant_b;
		CREATE TABLE tenant_orders (tenant text);
		INSERT INTO tenant_orders VALUES ('tenant_a'), ('tenant_b'), ('tenant_b');
		GRANT SELECT ON tenant_orders TO tenant_a, tenant_b;
		ALTER TABLE tenant_orders ENABLE ROW LEVEL SECURITY;
		CREATE POLICY own ON tenant_orders USING (tenant = current_user)`)
	require.NoError(t, err)
}

func TestSettings(t *testing.T) {
	server, admin := need(t)
	tenants(t, admin)
	pool := open(t, server, func(cfg *pgxpool.Config) {
		cfg.MaxConns = 1
		cfg.ConnConfig.RuntimeParams["search_path"] = "standard"
	})
	type seen struct {
		role, path, tenant string
		orders             int
	}
	look := func(ctx context.Context) (s seen) {
		t.Helper()
		require.NoError(t, pool.QueryRow(ctx, `SELECT current_user::text, current_setting('search_path'),
			coalesce(current_setting('app.tenant', true), ''), (SELECT count(*) FROM public.tenant_orders)`).
			Scan(&s.role, &s.path, &s.tenant, &s.orders))
		return s
	}
	plain := within(t)
	a := pgxpool.WithSetting(plain, "role", "tenant_a")
	b := pgxpool.WithSetting(pgxpool.WithSetting(pgxpool.WithSetting(a, "ROLE", "tenant_b"), "search_path", `"x y", public`), "app.tenant", `it's "b"`)
	for range 3 {
		assert.Equal(t, seen{"postgres", "standard", "", 3}, look(plain))
		assert.Equal(t, seen{"tenant_a", "standard", "", 1}, look(a))
		assert.Equal(t, seen{"tenant_b", `"x y", public`, `it's "b"`, 2}, look(b))
		assert.Equal(t, seen{"tenant_b", `"x y", public`, `it's "b"`, 2}, look(b))
	}
	assert.EqualValues(t, 1, pool.Stat().NewConnsCount())
	s := pool.Underlying().Stats()
	assert.EqualValues(t, 3, s.SettingHits)
	assert.EqualValues(t, 6, s.SettingSwitches)

	// In a transaction, and in whatever else acquires a connection.
	require.NoError(t, pool.InTx(a, func(ctx context.Context, tx pgx.Tx) error {
		var role string
		err := tx.QueryRow(ctx, "SELECT current_user").Scan(&role)
		assert.Equal(t, "tenant_a", role)
		return err
	}))
}

// TestNobodySeesTheSettingOfAnother: many callers with different roles, on few connections.
func TestNobodySeesTheSettingOfAnother(t *testing.T) {
	server, admin := need(t)
	tenants(t, admin)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 3 })
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 30 {
				role := []string{"postgres", "tenant_a", "tenant_b"}[rand.IntN(3)]
				ctx := within(t)
				if role != "postgres" {
					ctx = pgxpool.WithSetting(ctx, "role", role)
				}
				var is string
				err := pool.QueryRow(ctx, "SELECT current_user").Scan(&is)
				if !assert.NoError(t, err) || !assert.Equal(t, role, is) {
					return
				}
			}
		})
	}
	running.Wait()
}

func TestSettingsThatCannotBe(t *testing.T) {
	server, _ := need(t)
	pool := open(t, server, func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	ctx := within(t)
	for _, name := range []string{"", "role; DROP TABLE x", "a b", ".", "app.", "1st", "säk"} {
		_, err := pool.Acquire(pgxpool.WithSetting(ctx, name, "value"))
		var wrong *messages.ConfigError
		require.ErrorAs(t, err, &wrong, name)
		assert.ErrorContains(t, err, fmt.Sprintf("%q is no name of a parameter", name))
	}
	_, err := pool.Acquire(pgxpool.WithSetting(ctx, "app.tenant", "a\x00b"))
	assert.ErrorContains(t, err, "zero byte")
	// What the server refuses is its error, and the next caller is served.
	_, err = pool.Acquire(pgxpool.WithSetting(ctx, "role", "nobody_of_this_name"))
	var sql *pgconn.PgError
	require.ErrorAs(t, err, &sql)
	assert.ErrorContains(t, err, `role "nobody_of_this_name" does not exist`)
	_, err = pool.Acquire(pgxpool.WithSetting(ctx, "no_such_parameter", "1"))
	assert.ErrorContains(t, err, `"no_such_parameter"`)
	_, err = pool.Underlying().GetWith(ctx, client.GetOptions{Setting: 7})
	assert.ErrorContains(t, err, "it must come from WithSetting")
	assert.NoError(t, pool.Ping(ctx))
}
