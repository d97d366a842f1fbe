package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/directory"
)

// restore starts the server anew at the end of a test that failed, so that the
// others find one.
func (s *openldap) restore(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			assert.NoError(t, s.Thaw())
			assert.NoError(t, s.Stop())
			assert.NoError(t, s.Start())
		}
	})
}

// The server is killed under load, and comes back: nobody stays longer than it
// wants to, and one period of backoff later the pool serves.
func TestLDAPIsKilledUnderLoad(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	for name, mode := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
		t.Run(name, func(t *testing.T) {
			cfg := ldapConfig(s.Address)
			cfg.Backoff.Mode = mode
			cfg.Apply, cfg.Reset, cfg.ResetWipesSetting = bindUser, bindService, true
			pool, ledger := start(t, cfg)
			l := startLoad(t, 32, func(ctx context.Context, worker int) error {
				u := users[worker%len(users)]
				return pool.DoWith(ctx, client.GetOptions{Setting: u}, func(ctx context.Context, session *directory.Session) error {
					return isBoundAs(ctx, session, u)
				})
			})
			l.progress(t, 5)
			require.Empty(t, l.failures())

			l.allow(patient)
			require.NoError(t, s.Stop())
			for range 3 {
				l.suffers(t)
			}
			eventually(t, func() error { return equal("backing off for long", pool.Stats().Backoffs >= 5, true) })
			assert.Zero(t, pool.Stats().Open, "nothing is left of the old server")
			assert.Less(t, pool.Stats().Connects, uint64(100), "an outage is calm")

			require.NoError(t, s.Start())
			back := time.Now()
			l.progress(t, 5)
			recovered(t, ledger, back, cfg.Backoff.Cap)
			l.allow(patience)
			l.failures()
			l.progress(t, 5)
			l.halt()
			assert.Empty(t, l.failures())
			l.punctual(t)
			agrees(t, pool, s.count)
		})
	}
}

// frozenConfig is a pool whose functions may take far longer than its callers.
func frozenConfig(address string) client.Config[*directory.Session] {
	cfg := ldapConfig(address)
	cfg.ConnectTimeout = 2 * (patient + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

// The server takes connections and does not answer. The library's calls know no
// contexts: it is the session that ends them.
func TestLDAPHangsUnderLoad(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	cfg := frozenConfig(s.Address)
	pool, ledger := start(t, cfg)
	l := startLoad(t, 32, func(ctx context.Context, _ int) error { return pool.Do(ctx, asService) })
	l.progress(t, 5)
	require.Empty(t, l.failures())
	l.allow(patient)
	require.NoError(t, s.Freeze())
	for range 3 {
		l.suffers(t)
	}
	require.NoError(t, s.Thaw())
	back := time.Now()
	l.progress(t, 5)
	recovered(t, ledger, back, cfg.Backoff.Cap)
	l.allow(patience)
	l.failures()
	l.progress(t, 5)
	l.halt()
	assert.Empty(t, l.failures())
	l.punctual(t)
	agrees(t, pool, s.count)
}

// Close does not wait for a server that does not answer, and cuts what waits for
// it: a connect, a check.
func TestLDAPCloseWhileItHangs(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	cfg := frozenConfig(s.Address)
	cfg.ConnectTimeout = patience
	pool, _ := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, asService) })
	l.progress(t, 3)
	l.allow(patient)
	require.NoError(t, s.Freeze())
	l.suffers(t)
	l.suffers(t)
	begun := time.Now()
	require.NoError(t, pool.Close(within(t, patience)))
	assert.Less(t, time.Since(begun), patient+margin)
	l.halt()
	l.punctual(t)
	require.NoError(t, s.Thaw())
	agrees(t, pool, s.count)
}
