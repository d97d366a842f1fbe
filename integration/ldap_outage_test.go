package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/directory"
	"github.com/actorpool/actorpool/internal/testkit"
)

// restore restarts the server at the end of a test that failed, for the other tests.
func (s *openldap) restore(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			assert.NoError(t, s.Thaw())
			assert.NoError(t, s.Kill())
			assert.NoError(t, s.Start())
		}
	})
}

// The server is killed under load and started again: no operation exceeds its timeout, and the
// pool is ready at most one period of backoff later.
func TestLDAPIsKilledUnderLoad(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	for name, mode := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
		t.Run(name, func(t *testing.T) {
			cfg := ldapConfig(s.Address)
			cfg.Backoff.Mode = mode
			cfg.Apply, cfg.Reset, cfg.ResetWipesSetting = bindUser, bindService, true
			pool, recorder := start(t, cfg)
			l := startLoad(t, 32, func(ctx context.Context, worker int) error {
				u := users[worker%len(users)]
				return pool.DoWith(ctx, client.GetOptions{Setting: u}, func(ctx context.Context, session *directory.Session) error {
					return isBoundAs(ctx, session, u)
				})
			})
			l.progress(t, 5)
			require.Empty(t, l.failures())

			l.setTimeout(shortTimeout)
			require.NoError(t, s.Kill())
			for range 3 {
				l.awaitFailures(t)
			}
			testkit.Eventually(t, func() error { return equal("at least 5 backoffs", pool.Stats().Backoffs >= 5, true) })
			assert.Zero(t, pool.Stats().Open, "no connection to the old server is left")
			assert.Less(t, pool.Stats().Connects, uint64(100), "few connects during an outage")

			require.NoError(t, s.Start())
			back := time.Now()
			l.progress(t, 5)
			recovered(t, recorder, back, cfg.Backoff.Cap)
			l.setTimeout(longTimeout)
			l.failures()
			l.progress(t, 5)
			l.stop()
			assert.Empty(t, l.failures())
			l.onTime(t)
			agrees(t, pool, s.count)
		})
	}
}

// frozenConfig is a pool whose functions have a far longer timeout than its callers. If a caller
// waited for a connect or a check, the test would notice.
func frozenConfig(address string) client.Config[*directory.Session] {
	cfg := ldapConfig(address)
	cfg.ConnectTimeout = 2 * (shortTimeout + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

// The server accepts connections and does not answer.
func TestLDAPHangsUnderLoad(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	cfg := frozenConfig(s.Address)
	pool, recorder := start(t, cfg)
	l := startLoad(t, 32, func(ctx context.Context, _ int) error { return pool.Do(ctx, asService) })
	l.progress(t, 5)
	require.Empty(t, l.failures())
	l.setTimeout(shortTimeout)
	require.NoError(t, s.Freeze())
	for range 3 {
		l.awaitFailures(t)
	}
	require.NoError(t, s.Thaw())
	back := time.Now()
	l.progress(t, 5)
	recovered(t, recorder, back, cfg.Backoff.Cap)
	l.setTimeout(longTimeout)
	l.failures()
	l.progress(t, 5)
	l.stop()
	assert.Empty(t, l.failures())
	l.onTime(t)
	agrees(t, pool, s.count)
}

// Close does not wait for a server that does not answer: it cancels connects and checks.
func TestLDAPCloseWhileItHangs(t *testing.T) {
	s := needLDAP(t)
	s.restore(t)
	cfg := frozenConfig(s.Address)
	cfg.ConnectTimeout = longTimeout
	pool, _ := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, asService) })
	l.progress(t, 3)
	l.setTimeout(shortTimeout)
	require.NoError(t, s.Freeze())
	l.awaitFailures(t)
	l.awaitFailures(t)
	begun := time.Now()
	require.NoError(t, pool.Close(within(t, longTimeout)))
	assert.Less(t, time.Since(begun), shortTimeout+margin)
	l.stop()
	l.onTime(t)
	require.NoError(t, s.Thaw())
	agrees(t, pool, s.count)
}
