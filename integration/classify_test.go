package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// The class of errors of real servers that no other test causes. A server that refuses TLS may
// count as ClassOverload or ClassFatal, which both start a backoff, but not as ClassIgnore.
func TestTLSAgainstServersWithout(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		cfg := s.configDSN(strings.Replace(s.DSN("app", ""), "sslmode=disable", "sslmode=require", 1))
		pool, _ := start(t, cfg)
		_, err := pool.Get(within(t, longTimeout))
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorContains(t, err, "TLS")
		assert.Contains(t, []messages.Class{messages.ClassOverload, messages.ClassFatal}, class(err), "%v", err)
		assert.EqualValues(t, 1, pool.Stats().Backoffs)
		agrees(t, pool, s.count)
	})
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		cfg := redisConfig(s.Address)
		cfg.Connect = func(ctx context.Context) (*resp.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
			conn, err := d.DialContext(ctx, "tcp", s.Address)
			if err != nil {
				return nil, err
			}
			return resp.New(conn), nil
		}
		cfg.ConnectTimeout = shortTimeout
		pool, _ := start(t, cfg)
		_, err := pool.Get(within(t, longTimeout))
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.Contains(t, []messages.Class{messages.ClassOverload, messages.ClassFatal}, class(err), "%v", err)
		assert.EqualValues(t, 1, pool.Stats().Backoffs)
		agrees(t, pool, s.count)
	})
}

// A server with another protocol, and an address without a server.
func TestOtherServers(t *testing.T) {
	s := needRedis(t)
	p := needPostgres(t)
	// PostgreSQL's driver connects to Redis, and the other way round.
	cfg := p.configDSN("host=127.0.0.1 user=app sslmode=disable port=" + s.Address[strings.LastIndex(s.Address, ":")+1:])
	cfg.ConnectTimeout = shortTimeout // each side waits for the other
	atRedis, _ := start(t, cfg)
	_, err := atRedis.Get(within(t, longTimeout))
	require.ErrorIs(t, err, messages.ErrConnectFailed)
	assert.Equal(t, messages.ClassOverload, class(err), "%v", err)

	other := redisConfig(p.Address)
	other.ConnectTimeout = shortTimeout
	atPostgres, _ := start(t, other)
	_, err = atPostgres.Get(within(t, longTimeout))
	require.ErrorIs(t, err, messages.ErrConnectFailed)
	assert.Equal(t, messages.ClassOverload, class(err), "%v", err)

	address, err := servers.FreeAddress()
	require.NoError(t, err)
	unused, _ := start(t, redisConfig(address))
	_, err = unused.Get(within(t, longTimeout))
	require.ErrorIs(t, err, messages.ErrConnectFailed)
	assert.Equal(t, messages.ClassOverload, class(err), "%v", err)
}

// What an error means for the connection, by the default Broken.
func TestBrokenByDefault(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		pool, _ := start(t, s.config("app"))
		for query, broken := range map[string]bool{
			"SELECT 1/0":                  false,
			"SELECT * FROM nowhere":       false,
			"SELEC":                       false,
			"INSERT INTO orders VALUES()": false,
			"SET statement_timeout = 1; SELECT pg_sleep(10)":                                                    false,
			"SET idle_in_transaction_session_timeout = 1; BEGIN":                                                true,
			"SELECT pg_terminate_backend(pg_backend_pid())":                                                     true,
			"SELECT pg_cancel_backend(pg_backend_pid())":                                                        false,
			"DO $$ BEGIN RAISE EXCEPTION 'an application''s error' USING ERRCODE = 'U0001'; END $$":             false,
			"DO $$ BEGIN RAISE EXCEPTION 'a query that was cancelled, it says' USING ERRCODE = '57014'; END $$": false,
		} {
			before := pool.Stats()
			err := pool.Do(within(t, longTimeout), func(ctx context.Context, conn *pgx.Conn) error {
				// The simple protocol, for several statements at once.
				_, err := conn.PgConn().Exec(ctx, query).ReadAll()
				if err == nil { // the server ends the session a little later, with an error
					err = conn.PgConn().WaitForNotification(ctx)
				}
				return err
			})
			require.Error(t, err, query)
			assert.Equal(t, broken, pool.Stats().Taints > before.Taints, "%s: %v", query, err)
			_ = pool.Do(within(t, longTimeout), unapply)
		}
	})
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		pool, _ := start(t, redisConfig(s.Address))
		for _, command := range [][]string{{"NOSUCH"}, {"GET"}, {"AUTH", "x", "y"}, {"EVAL", "return redis.error_reply('MY own')", "0"}} {
			err := pool.Do(within(t, longTimeout), func(ctx context.Context, conn *resp.Conn) error {
				_, err := conn.Do(ctx, command...)
				return err
			})
			var refusal resp.Error
			require.ErrorAs(t, err, &refusal)
		}
		assert.Zero(t, pool.Stats().Taints)
		err := pool.Do(within(t, longTimeout), func(ctx context.Context, conn *resp.Conn) error {
			_, err := conn.Do(ctx, "QUIT")
			if err == nil {
				_, err = conn.Do(ctx, "PING")
			}
			return err
		})
		require.Error(t, err)
		assert.EqualValues(t, 1, pool.Stats().Taints, "%v", err)
	})
}

// With capacity 0 the server has no connection.
func TestCapacityZeroHoldsNoConnection(t *testing.T) {
	s := needRedis(t)
	pool, _ := start(t, redisConfig(s.Address))
	borrowAll(t, pool, echo)
	require.NoError(t, pool.SetCapacity(within(t, longTimeout), 0))
	agrees(t, pool, s.count)
	assert.Zero(t, pool.Stats().Open)
	done := make(chan error, 1)
	go func() { done <- pool.DoWith(within(t, longTimeout), client.GetOptions{Label: "waits"}, echo) }()
	testkit.Eventually(t, func() error { return equal("waiting", pool.Stats().Waiting, 1) })
	require.NoError(t, errors.Join(pool.SetCapacity(within(t, longTimeout), 1), <-done))
	agrees(t, pool, s.count)
}
