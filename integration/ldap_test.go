package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/directory"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// Pools of connections to something else than a database: a directory. A session is bound as
// the service; with a setting, it is bound as one of the users.

// service is the user of a session without a setting.
const service = user("service")

// user is a setting: the user as which a session is bound.
type user string

func (u user) dn() string       { return "cn=" + string(u) + "," + servers.LDAPSuffix }
func (u user) password() string { return string(u) + "'s" }

// own is a text that only this user may read.
func (u user) own() string { return "for " + string(u) + " only" }

var users = []user{"ann", "bob", "cyd", "dan"}

// entries are the entries of the directory, as LDIF.
func entries() string {
	text := "dn: " + servers.LDAPSuffix + "\nobjectClass: organization\nobjectClass: dcObject\no: test\ndc: test\n"
	for _, u := range append([]user{service}, users...) {
		text += fmt.Sprintf("\ndn: %s\nobjectClass: person\ncn: %[2]s\nsn: %[2]s\nuserPassword: %s\ndescription: %s\n", u.dn(), string(u), u.password(), u.own())
	}
	return text
}

// openldap is the server, with an administrator's session to look at it from outside the pool.
type openldap struct {
	*servers.LDAP
	admin *directory.Session
}

func needLDAP(t *testing.T) *openldap {
	t.Helper()
	server, err := ldapOnce()
	return observe(t, need(t, server, err))
}

// observe checks that a server has no connections from earlier tests.
func observe(t *testing.T, server *servers.LDAP) *openldap {
	t.Helper()
	s := &openldap{LDAP: server}
	t.Cleanup(func() {
		if s.admin != nil {
			assert.NoError(t, s.admin.Close(within(t, longTimeout)))
		}
	})
	testkit.Eventually(t, func() error { n, err := s.count(); return errors.Join(err, equal("connections", n, 0)) })
	return s
}

// root returns the administrator's session: a new one if the server has ended the old one.
func (s *openldap) root(ctx context.Context) (*directory.Session, error) {
	if s.admin != nil && !s.admin.IsClosed() {
		return s.admin, nil
	}
	session, err := directory.Dial(ctx, s.Address)
	if err != nil {
		return nil, err
	}
	if err := session.Bind(ctx, servers.LDAPRoot, servers.LDAPRootPassword); err != nil {
		return nil, errors.Join(err, session.Close(ctx))
	}
	s.admin = session
	return session, nil
}

// count returns the number of connections of the server, without the administrator's.
func (s *openldap) count() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	defer cancel()
	root, err := s.root(ctx)
	if err != nil {
		return 0, err
	}
	values, err := root.Read(ctx, "cn=Current,cn=Connections,cn=Monitor", "monitorCounter")
	if err != nil || len(values) != 1 {
		return 0, fmt.Errorf("no counter: %v, %w", values, err)
	}
	n, err := strconv.Atoi(values[0])
	return n - 1, err
}

// renew changes the password of a user.
func (s *openldap) renew(u user, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	defer cancel()
	root, err := s.root(ctx)
	if err != nil {
		return err
	}
	return root.Replace(ctx, u.dn(), "userPassword", password)
}

// ldapConfig is the configuration of a pool of sessions that are bound as the service.
func ldapConfig(address string) client.Config[*directory.Session] {
	return ldapConfigAs(address, service, service.password())
}

func ldapConfigAs(address string, u user, password string) client.Config[*directory.Session] {
	return client.Config[*directory.Session]{
		Connect: func(ctx context.Context) (*directory.Session, error) {
			session, err := directory.Dial(ctx, address)
			if err != nil {
				return nil, err
			}
			if err := session.Bind(ctx, u.dn(), password); err != nil {
				return nil, errors.Join(err, session.Close(ctx))
			}
			return session, nil
		},
		Disconnect: func(ctx context.Context, session *directory.Session) error { return session.Close(ctx) },
		Check:      func(ctx context.Context, session *directory.Session) error { return session.Ping(ctx) },
		Capacity:   4,
		Backoff:    client.Backoff{Base: 20 * time.Millisecond, Cap: backoffCap},
	}
}

func bindService(ctx context.Context, session *directory.Session) error {
	return session.Bind(ctx, service.dn(), service.password())
}

func bindUser(ctx context.Context, session *directory.Session, setting any) error {
	u := setting.(user)
	return session.Bind(ctx, u.dn(), u.password())
}

// isBoundAs returns an error unless the server says that the session is bound as a user, and
// shows exactly what this user may read.
func isBoundAs(ctx context.Context, session *directory.Session, want user) error {
	dn, err := session.WhoAmI(ctx)
	if err != nil {
		return err
	}
	visible, err := session.Find(ctx, servers.LDAPSuffix, "(description=*)")
	if err != nil {
		return err
	}
	return errors.Join(equal("bound as", dn, want.dn()), equal("sees", fmt.Sprint(visible), fmt.Sprint([]string{want.dn()})))
}

// asService checks that a session is bound as the service.
func asService(ctx context.Context, session *directory.Session) error {
	return isBoundAs(ctx, session, service)
}

func TestLDAPUnderLoad(t *testing.T) {
	s := needLDAP(t)
	pool, _ := start(t, ldapConfig(s.Address))
	l := startLoad(t, 32, func(ctx context.Context, worker int) error {
		if worker%2 == 0 {
			return pool.Do(ctx, asService)
		}
		lease, err := pool.Get(ctx)
		if err != nil {
			return err
		}
		u := users[rand.IntN(len(users))]
		found, err := lease.Conn().Find(ctx, servers.LDAPSuffix, "(cn="+string(u)+")")
		if err != nil {
			return errors.Join(err, lease.Taint(err))
		}
		return errors.Join(equal("found", fmt.Sprint(found), fmt.Sprint([]string{u.dn()})), lease.Put())
	})
	l.progress(t, 20)
	l.stop()
	assert.Empty(t, l.failures())
	agrees(t, pool, s.count)
	assert.LessOrEqual(t, pool.Stats().Connects, uint64(4))
	assert.Equal(t, pool.Stats().Gets, pool.Stats().Puts)
}

// After an error that the server answers, the session can be used again.
func TestLDAPErrorsOfTheServerBreakNothing(t *testing.T) {
	s := needLDAP(t)
	pool, _ := start(t, ldapConfig(s.Address))
	for name, use := range map[string]func(context.Context, *directory.Session) error{
		"no such entry": func(ctx context.Context, c *directory.Session) error {
			_, err := c.Read(ctx, "cn=nobody,dc=test", "cn")
			return err
		},
		"not permitted": func(ctx context.Context, c *directory.Session) error { return c.Replace(ctx, users[0].dn(), "sn", "x") },
		"no such schema": func(ctx context.Context, c *directory.Session) error {
			return c.Replace(ctx, users[0].dn(), "colour", "x")
		},
	} {
		err := pool.Do(within(t, longTimeout), use)
		require.Error(t, err, name)
		assert.True(t, directory.Answered(err), "%s: %v", name, err)
	}
	assert.Zero(t, pool.Stats().Taints)
	assert.EqualValues(t, 1, pool.Stats().Connects)
	err := pool.Do(within(t, longTimeout), func(ctx context.Context, c *directory.Session) error { return errors.Join(c.Close(ctx), c.Ping(ctx)) })
	require.Error(t, err)
	assert.EqualValues(t, 1, pool.Stats().Taints, "%v", err)
	require.NoError(t, pool.Do(within(t, longTimeout), asService))
	agrees(t, pool, s.count)
}

// A holder binds a session as somebody else, or anonymously. The next holder gets it bound as
// the service.
func TestLDAPResetBindsAgain(t *testing.T) {
	s := needLDAP(t)
	cfg := ldapConfig(s.Address)
	cfg.Capacity = 1
	cfg.Reset = bindService
	pool, _ := start(t, cfg)
	for name, leave := range map[string]func(context.Context, *directory.Session) error{
		"bound as a user":   func(ctx context.Context, c *directory.Session) error { return bindUser(ctx, c, users[0]) },
		"bound as nobody":   func(ctx context.Context, c *directory.Session) error { return c.Bind(ctx, "", "") },
		"after a refusal":   func(ctx context.Context, c *directory.Session) error { _ = c.Bind(ctx, users[0].dn(), "x"); return nil },
		"bound as it was":   asService,
		"closed altogether": func(ctx context.Context, c *directory.Session) error { return c.Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, pool.Do(within(t, longTimeout), leave))
			require.NoError(t, pool.Do(within(t, longTimeout), asService))
		})
	}
	assert.EqualValues(t, 1, pool.Stats().ClosedBroken, "the one that was closed")
	agrees(t, pool, s.count)
}

// A Get with a user as its setting gets a session bound as this user, in all ways in which a
// setting can be removed.
func TestLDAPIdentitiesUnderLoad(t *testing.T) {
	s := needLDAP(t)
	for name, configure := range map[string]func(*client.Config[*directory.Session]){
		"the reset wipes them":      func(cfg *client.Config[*directory.Session]) { cfg.Reset, cfg.ResetWipesSetting = bindService, true },
		"they stay until taken off": func(cfg *client.Config[*directory.Session]) { cfg.Unapply = bindService },
		"they cannot be taken off":  func(*client.Config[*directory.Session]) {},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := ldapConfig(s.Address)
			cfg.Apply = bindUser
			configure(&cfg)
			pool, _ := start(t, cfg)
			l := startLoad(t, 12, func(ctx context.Context, _ int) error {
				if i := rand.IntN(len(users) + 1); i < len(users) {
					return pool.DoWith(ctx, client.GetOptions{Setting: users[i]}, func(ctx context.Context, session *directory.Session) error {
						return isBoundAs(ctx, session, users[i])
					})
				}
				return pool.Do(ctx, asService)
			})
			l.progress(t, 20)
			l.stop()
			assert.Empty(t, l.failures())
			agrees(t, pool, s.count)
			stats := pool.Stats()
			assert.NotZero(t, stats.SettingSwitches)
			if !cfg.ResetWipesSetting {
				assert.NotZero(t, stats.SettingHits)
			}
		})
	}
}

// A Get whose user has a wrong password fails with the reason. This starts no backoff, and
// other Gets are not affected.
func TestLDAPIdentityThatIsRefused(t *testing.T) {
	s := needLDAP(t)
	cfg := ldapConfig(s.Address)
	cfg.Capacity = 1
	cfg.Unapply = bindService
	cfg.Apply = func(ctx context.Context, session *directory.Session, setting any) error {
		return session.Bind(ctx, setting.(user).dn(), "wrong")
	}
	pool, _ := start(t, cfg)
	for range 3 {
		_, err := pool.GetWith(within(t, longTimeout), client.GetOptions{Setting: users[0]})
		var failed *messages.ConnectError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, messages.PhaseApply, failed.Phase)
		assert.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials), "%v", err)
		require.NoError(t, pool.Do(within(t, longTimeout), asService))
	}
	assert.Zero(t, pool.Stats().Backoffs)
	agrees(t, pool, s.count)
}

// The error of a refused bind is that of the server. The default Classify does not know LDAP:
// the class is ClassOverload, and the pool backs off, as with ClassFatal. When the password is
// corrected on the server, a Clear ends the backoff at once.
func TestLDAPWrongPassword(t *testing.T) {
	s := needLDAP(t)
	for name, mode := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
		t.Run(name, func(t *testing.T) {
			const renewed = "another"
			cfg := ldapConfigAs(s.Address, users[0], renewed)
			cfg.Backoff = client.Backoff{Base: time.Minute, Cap: time.Minute, Jitter: client.NoJitter, Mode: mode}
			pool, recorder := start(t, cfg)
			_, err := pool.Get(within(t, longTimeout))
			require.ErrorIs(t, err, messages.ErrConnectFailed)
			assert.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials), "%v", err)
			assert.ErrorContains(t, err, "Invalid Credentials")
			assert.Equal(t, messages.ClassOverload, class(err))
			testkit.Eventually(t, func() error { return equal("backoffs", len(recorder.of(messages.PoolBackoff)), 1) })

			// The next Get fails with the same error, without a connect.
			_, err = pool.Get(within(t, longTimeout))
			var backingOff *messages.BackoffError
			require.ErrorAs(t, err, &backingOff)
			assert.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials), "%v", err)
			assert.EqualValues(t, 1, pool.Stats().Connects)
			agrees(t, pool, s.count)

			require.NoError(t, s.renew(users[0], renewed))
			defer func() { assert.NoError(t, s.renew(users[0], users[0].password())) }()
			require.NoError(t, pool.Clear(within(t, longTimeout), client.ClearOptions{}))
			require.NoError(t, pool.Do(within(t, longTimeout), func(ctx context.Context, session *directory.Session) error {
				return isBoundAs(ctx, session, users[0])
			}))
			assert.EqualValues(t, 2, pool.Stats().Connects)
			agrees(t, pool, s.count)
		})
	}
}

// The server ends idle sessions. Later Gets are not affected.
func TestLDAPServerEndsIdleSessions(t *testing.T) {
	server, err := servers.StartLDAP(entries(), "idletimeout 2")
	server = need(t, server, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	s := observe(t, server)
	gone := func() error { n, err := s.count(); return errors.Join(err, equal("connections", n, 0)) }
	cfg := ldapConfig(s.Address)
	cfg.CheckAfterIdle = 100 * time.Millisecond
	pool, recorder := start(t, cfg)
	borrowAll(t, pool, asService)
	testkit.Eventually(t, gone)
	assert.Equal(t, 4, pool.Stats().Idle, "the pool has not noticed")
	borrowAll(t, pool, asService)
	assert.EqualValues(t, 4, pool.Stats().ClosedBroken)
	assert.Zero(t, pool.Stats().Backoffs)
	assert.Empty(t, recorder.of(messages.CheckOutFailed))
	require.NoError(t, pool.Close(within(t, longTimeout)))
	testkit.Eventually(t, gone)
}
