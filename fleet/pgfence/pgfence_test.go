//go:build unix

package pgfence_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/internal/servers"
	"github.com/actorpool/actorpool/fleet/memstore"
	"github.com/actorpool/actorpool/fleet/pgfence"
)

// setup starts PostgreSQL with the roles of a fleet.
func setup(t *testing.T) (s *servers.Server, root *pgx.Conn) {
	s = servers.Postgres(t)
	root, err := pgx.Connect(t.Context(), s.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close(context.Background()) })
	_, err = root.Exec(t.Context(), `
		CREATE ROLE app;
		CREATE ROLE admin LOGIN CREATEROLE CONNECTION LIMIT 1 IN ROLE pg_signal_backend;
		GRANT app TO admin WITH ADMIN OPTION;
		CREATE ROLE weak LOGIN IN ROLE pg_signal_backend;
		CREATE ROLE nobody LOGIN CREATEROLE;`)
	require.NoError(t, err)
	return s, root
}

func sessions(t *testing.T, root *pgx.Conn) (n int) {
	t.Helper()
	err := root.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'fleet_%' OR application_name LIKE 'storm-%'").Scan(&n)
	require.NoError(t, err)
	return n
}

func TestADeadIncarnationIsRefusedAndItsSessionsEnd(t *testing.T) {
	s, root := setup(t)
	fence := pgfence.New(s.URL("admin"), pgfence.ActAs("app"))
	require.NoError(t, fence.Check(t.Context()))
	require.NoError(t, fence.Admit(t.Context(), "one"))
	require.NoError(t, fence.Admit(t.Context(), "two"))

	login := func(inc string) (*pgx.Conn, error) {
		cfg, err := pgx.ParseConfig(s.URL("postgres"))
		require.NoError(t, err)
		cfg.User = "fleet_" + inc
		return pgx.ConnectConfig(t.Context(), cfg)
	}
	c, err := login("one")
	require.NoError(t, err)
	defer c.Close(context.Background())
	var as string
	require.NoError(t, c.QueryRow(t.Context(), "SELECT current_user").Scan(&as))
	assert.Equal(t, "app", as)
	two, err := login("two")
	require.NoError(t, err)
	defer two.Close(context.Background())

	gone, err := fence.Reclaim(t.Context(), []string{"one", "never was"})
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "never was"}, gone)
	assert.Equal(t, 1, sessions(t, root), "that of the other incarnation")
	require.NoError(t, two.Ping(t.Context()))
	_, err = login("one")
	require.Error(t, err, "it goes on, and does not get in")

	require.NoError(t, two.Close(t.Context()))
	require.NoError(t, fence.Retire(t.Context(), "two"))
	require.NoError(t, fence.Retire(t.Context(), "two"))
}

func TestWithoutTheAdminConnectionNothingIsReclaimed(t *testing.T) {
	s, _ := setup(t)
	fence := pgfence.New(s.URL("admin"))
	other, err := pgx.Connect(t.Context(), s.URL("admin"))
	require.NoError(t, err)
	gone, err := fence.Reclaim(t.Context(), []string{"one"})
	require.NoError(t, err)
	assert.Empty(t, gone)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, fence.Admit(ctx, "one"), context.DeadlineExceeded)
	require.NoError(t, other.Close(t.Context()))
	require.NoError(t, fence.Admit(t.Context(), "one"), "it waits for the admin connection")
}

func TestAFenceThatMayNotIsAnErrorOfNew(t *testing.T) {
	s, _ := setup(t)
	mem := memstore.New()
	defer mem.Close()
	for text, fence := range map[string]*pgfence.Fence{
		"GRANT pg_signal_backend TO": pgfence.New(s.URL("nobody")),
		"must have CREATEROLE":       pgfence.New(s.URL("weak")),
		"does not exist":             pgfence.New(s.URL("missing")),
	} {
		_, _, err := fleet.New(t.Context(), client.Config[*pgx.Conn]{
			Connect: func(context.Context) (*pgx.Conn, error) { return nil, nil },
		}, fleet.Config{Key: "a", Budget: 3, Store: mem, Reclaim: fence})
		require.ErrorContains(t, err, text)
	}
	require.NoError(t, pgfence.New(s.URL("weak"), pgfence.WithoutRefusingLogins()).Check(t.Context()))
}

func TestWithoutRefusingLoginsSessionsEndByName(t *testing.T) {
	s, root := setup(t)
	cfg, err := pgx.ParseConfig(s.URL("postgres"))
	require.NoError(t, err)
	cfg.RuntimeParams["application_name"] = "storm-one"
	fence := pgfence.New(s.URL("postgres"), pgfence.WithoutRefusingLogins(), pgfence.Settle(300*time.Millisecond))
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close(context.Background())
	assert.Equal(t, 1, sessions(t, root))
	gone, err := fence.Reclaim(t.Context(), []string{"storm-one"})
	require.NoError(t, err)
	assert.Equal(t, []string{"storm-one"}, gone)
	assert.Zero(t, sessions(t, root))
}
