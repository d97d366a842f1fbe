//go:build unix

package pgfence_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/internal/identity"
	"github.com/actorpool/actorpool/fleet/internal/servers"
	"github.com/actorpool/actorpool/fleet/memstore"
	"github.com/actorpool/actorpool/fleet/pgfence"
	"github.com/actorpool/actorpool/fleet/store"
)

const authenticationTimeout = 3 * time.Second

// prepared starts PostgreSQL with the roles of slots.
func prepared(t *testing.T) (s *servers.Server, root *pgx.Conn) {
	s = servers.Postgres(t, "authentication_timeout=3s")
	root, err := pgx.Connect(t.Context(), s.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close(context.Background()) })
	_, err = root.Exec(t.Context(), `
		CREATE ROLE admin LOGIN CREATEROLE CONNECTION LIMIT 1 IN ROLE pg_signal_backend;
		CREATE ROLE weak LOGIN IN ROLE pg_signal_backend;
		CREATE ROLE open_0;
		GRANT open_0 TO admin WITH ADMIN OPTION;`)
	require.NoError(t, err)
	s.SlotRoles(t, "admin", 4)
	return s, root
}

// slotUser is a member that logs in by the role of its slot, without a pool.
type slotUser struct {
	fence       *pgfence.Fence
	incarnation string
	slot        int
}

func alive(context.Context) error { return nil }

func (u slotUser) occupy(t *testing.T) {
	t.Helper()
	require.NoError(t, u.fence.Occupy(t.Context(), u.incarnation, u.slot, alive))
}

// login connects as the member does inside of Connect.
func (u slotUser) login(t *testing.T, s *servers.Server, dial func(context.Context, string, string) (net.Conn, error)) (*pgx.Conn, error) {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.URL("postgres"))
	require.NoError(t, err)
	u.fence.Identify(identity.With(t.Context(), &identity.Identity{Incarnation: u.incarnation, Slot: u.slot}), cfg)
	if dial != nil {
		cfg.DialFunc = dial
	}
	return pgx.ConnectConfig(t.Context(), cfg)
}

func TestARoleIsUsedByOneMemberAfterTheOther(t *testing.T) {
	s, root := prepared(t)
	admin := s.URL("admin")
	newFence := func() *pgfence.Fence { return pgfence.New(admin, pgfence.Roles("app_%d", 4)) }
	one, two := slotUser{newFence(), "one", 2}, slotUser{newFence(), "two", 2}
	require.NoError(t, one.fence.Check(t.Context()))
	require.NoError(t, one.fence.Admit(t.Context(), "one"))
	_, err := one.login(t, s, nil)
	require.Error(t, err, "it has not occupied its slot")
	one.occupy(t)
	c, err := one.login(t, s, nil)
	require.NoError(t, err)
	defer c.Close(context.Background())
	var user, comment string
	require.NoError(t, c.QueryRow(t.Context(), "SELECT current_user, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'app_2'").Scan(&user, &comment))
	assert.Equal(t, "app_2", user)
	assert.Equal(t, "fleet: used by one", comment)

	begun := time.Now()
	gone, err := two.fence.Reclaim(t.Context(), []string{"one", "never was"})
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "never was"}, gone)
	assert.Less(t, time.Since(begun), authenticationTimeout, "to have the connections back does not wait")
	_, err = one.login(t, s, nil)
	require.Error(t, err)
	require.Error(t, c.Ping(t.Context()), "its session has ended")
	gone, err = two.fence.Reclaim(t.Context(), []string{"one"})
	require.NoError(t, err)
	assert.Equal(t, []string{"one"}, gone, "again")

	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = two.fence.Occupy(soon, "two", 2, alive)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the role app_2 rests for another")
	two.occupy(t)
	assert.Greater(t, time.Since(begun), authenticationTimeout, "it rests")
	c2, err := two.login(t, s, nil)
	require.NoError(t, err)
	defer c2.Close(context.Background())
	_, err = one.login(t, s, nil)
	require.ErrorContains(t, err, "28P01", "it has the old password")

	// A coordinator that was frozen before it had the lock does no harm to the new user, and
	// neither does the old user when it goes on.
	gone, err = one.fence.Reclaim(t.Context(), []string{"one"})
	require.NoError(t, err)
	assert.Equal(t, []string{"one"}, gone)
	require.ErrorIs(t, one.fence.Occupy(t.Context(), "one", 2, func(context.Context) error { return store.ErrLost }), store.ErrLost)
	require.NoError(t, one.fence.Retire(t.Context(), "one"))
	require.NoError(t, c2.Ping(t.Context()))
	c3, err := two.login(t, s, nil)
	require.NoError(t, err)
	require.NoError(t, c3.Close(t.Context()))

	// After Leave the role need not rest.
	require.NoError(t, c2.Close(t.Context()))
	require.NoError(t, two.fence.Retire(t.Context(), "two"))
	_, err = two.login(t, s, nil)
	require.Error(t, err)
	begun = time.Now()
	one.occupy(t)
	assert.Less(t, time.Since(begun), authenticationTimeout)
	require.NoError(t, root.Ping(t.Context()))
}

// pausing waits before it sends the proof that it knows the password, as a process does that
// is frozen then.
type pausing struct {
	net.Conn
	writes  int
	reached chan struct{}
	goOn    chan struct{}
}

func (p *pausing) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("p")) { // SASLInitialResponse, then SASLResponse
		if p.writes++; p.writes == 2 {
			close(p.reached)
			<-p.goOn
		}
	}
	return p.Conn.Write(b)
}

// frozenLogin begins a login that stops before its last message, and goes on when the channel
// is closed.
func (u slotUser) frozenLogin(t *testing.T, s *servers.Server) (goOn chan struct{}, result chan error) {
	t.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var dials atomic.Int64
	result = make(chan error, 1)
	go func() {
		c, err := u.login(t, s, func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil && dials.Add(1) == 1 { // the next one is pgx's cancel request
				conn = &pausing{Conn: conn, reached: reached, goOn: goOn}
			}
			return conn, err
		})
		if err == nil {
			err = c.Close(context.Background())
		}
		result <- err
	}()
	<-reached
	return goOn, result
}

// A login that has begun before a role is refused is verified against the password of that
// time. So it would succeed if the role could log in again: that is why it rests.
func TestALoginThatIsUnderWayDoesNotSucceedWhenTheRoleHasAnotherUser(t *testing.T) {
	s, root := prepared(t)
	one := slotUser{pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 4)), "one", 1}
	two := slotUser{pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 4)), "two", 1}

	one.occupy(t)
	goOn, result := one.frozenLogin(t, s)
	_, err := root.Exec(t.Context(), "ALTER ROLE app_1 NOLOGIN PASSWORD NULL")
	require.NoError(t, err)
	_, err = root.Exec(t.Context(), "ALTER ROLE app_1 LOGIN PASSWORD 'another'")
	require.NoError(t, err)
	close(goOn)
	require.NoError(t, <-result, "PostgreSQL lets it in, so the rest is needed")

	one.occupy(t)
	goOn, result = one.frozenLogin(t, s)
	gone, err := two.fence.Reclaim(t.Context(), []string{"one"})
	require.NoError(t, err)
	assert.Equal(t, []string{"one"}, gone)
	two.occupy(t)
	close(goOn)
	require.Error(t, <-result)
	c, err := two.login(t, s, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))

	// The same, and it goes on while the role rests.
	goOn, result = two.frozenLogin(t, s)
	_, err = one.fence.Reclaim(t.Context(), []string{"two"})
	require.NoError(t, err)
	close(goOn)
	require.ErrorContains(t, <-result, "not permitted to log in")
}

func TestSessionsOfOthersByARoleEndWhenItIsOccupied(t *testing.T) {
	s, root := prepared(t)
	_, err := root.Exec(t.Context(), "ALTER ROLE app_3 LOGIN PASSWORD 'known'")
	require.NoError(t, err)
	cfg, err := pgx.ParseConfig(s.URL("app_3"))
	require.NoError(t, err)
	cfg.Password = "known"
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close(context.Background())
	one := slotUser{pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 4)), "one", 3}
	one.occupy(t)
	require.Error(t, c.Ping(t.Context()))
	_, err = pgx.ConnectConfig(t.Context(), cfg)
	require.ErrorContains(t, err, "28P01")
}

func TestRolesThatCannotBeUsedAreAnErrorOfNew(t *testing.T) {
	s, _ := prepared(t)
	mem := memstore.New()
	defer mem.Close()
	roles := pgfence.Roles("app_%d", 4)
	for _, c := range []struct {
		fence *pgfence.Fence
		text  string
	}{
		{pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 5)), "there is no role app_4"},
		{pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 0)), "0 roles are less than 1"},
		{pgfence.New(s.URL("admin"), pgfence.Roles("app", 4)), `"app" has no number in it`},
		{pgfence.New(s.URL("admin"), pgfence.Roles("app_%s", 4)), `"app_%s" has no number in it`},
		{pgfence.New(s.URL("admin"), pgfence.Roles("open_%d", 1)), "pg_hba.conf must demand a password"},
		{pgfence.New(s.URL("admin"), roles, pgfence.ActAs("app")), "Roles and ActAs exclude each other"},
		{pgfence.New(s.URL("admin"), roles, pgfence.WithoutRefusingLogins()), "Roles and WithoutRefusingLogins exclude each other"},
		{pgfence.New(s.URL("weak"), roles), "must have CREATEROLE"},
	} {
		_, _, err := fleet.New(t.Context(), client.Config[*pgx.Conn]{
			Connect: func(context.Context) (*pgx.Conn, error) { return nil, errors.New("not called") },
		}, fleet.Config{Key: "a", Budget: 3, Store: mem, Reclaim: c.fence})
		require.ErrorContains(t, err, c.text)
	}
}

// A fleet with two members, over roles that are there.
func TestMembersLogInByTheRolesOfTheirSlots(t *testing.T) {
	s, root := prepared(t)
	mem := memstore.New()
	defer mem.Close()
	join := func() (*client.Pool[*pgx.Conn], *fleet.Member) {
		fence := pgfence.New(s.URL("admin"), pgfence.Roles("app_%d", 4))
		pool, m, err := fleet.New(t.Context(), client.Config[*pgx.Conn]{Connect: func(ctx context.Context) (*pgx.Conn, error) {
			cfg, err := pgx.ParseConfig(s.URL("postgres"))
			if err != nil {
				return nil, err
			}
			fence.Identify(ctx, cfg)
			return pgx.ConnectConfig(ctx, cfg)
		}}, fleet.Config{Key: "a", Budget: 3, TTL: 3 * time.Second, Store: mem, Reclaim: fence})
		require.NoError(t, err)
		return pool, m
	}
	user := func(pool *client.Pool[*pgx.Conn]) (name string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		require.NoError(t, pool.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT current_user").Scan(&name)
		}))
		return name
	}
	a, ma := join()
	b, mb := join()
	assert.ElementsMatch(t, []string{"app_0", "app_1"}, []string{user(a), user(b)})
	require.NoError(t, ma.Leave(t.Context()))
	require.NoError(t, mb.Leave(t.Context()))
	<-ma.Done()
	<-mb.Done()
	var open int
	require.NoError(t, root.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'app_%' AND rolcanlogin").Scan(&open))
	assert.Zero(t, open, "who leaves closes its role")
}
