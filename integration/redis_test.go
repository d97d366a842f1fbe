package integration

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// redis is the server, with a connection to look at it from outside the pool.
type redis struct {
	*servers.Redis
	admin *resp.Conn
}

func needRedis(t *testing.T) *redis {
	t.Helper()
	server, err := redisOnce()
	s := &redis{Redis: need(t, server, err)}
	s.look(t)
	t.Cleanup(func() { _ = s.admin.Close() })
	testkit.Eventually(t, func() error { // connections of other tests may still be closing
		n, err := s.count()
		return errors.Join(err, equal("connections", n, 0))
	})
	return s
}

// look connects the admin. It must be called again after a restart.
func (s *redis) look(t *testing.T) {
	t.Helper()
	conn, err := resp.Dial(within(t, longTimeout), s.Address)
	require.NoError(t, err)
	s.admin = conn
}

// count returns the number of connections of the server, without the admin's.
func (s *redis) count() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longTimeout)
	defer cancel()
	reply, err := s.admin.Do(ctx, "INFO", "clients")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(reply.(string)) {
		if value, ok := strings.CutPrefix(line, "connected_clients:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			return n - 1, err
		}
	}
	return 0, fmt.Errorf("no connected_clients: %q", reply)
}

// kill ends all connections but the admin's, and returns their number.
func (s *redis) kill(t *testing.T) int {
	t.Helper()
	reply, err := s.admin.Do(within(t, longTimeout), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	require.NoError(t, err)
	return int(reply.(int64))
}

// redisConfig is the configuration of a pool of connections to an address. first are commands
// for every new connection, for example a login.
func redisConfig(address string, first ...[]string) client.Config[*resp.Conn] {
	return client.Config[*resp.Conn]{
		Connect: func(ctx context.Context) (*resp.Conn, error) {
			conn, err := resp.Dial(ctx, address)
			if err != nil {
				return nil, err
			}
			for _, command := range append(first, []string{"PING"}) {
				if _, err := conn.Do(ctx, command...); err != nil {
					_ = conn.Close()
					return nil, fmt.Errorf("redis: %w", err)
				}
			}
			return conn, nil
		},
		Disconnect: func(_ context.Context, conn *resp.Conn) error { return conn.Close() },
		Check: func(ctx context.Context, conn *resp.Conn) error {
			_, err := conn.Do(ctx, "PING")
			return err
		},
		Capacity: 4,
		Backoff:  client.Backoff{Base: 20 * time.Millisecond, Cap: backoffCap},
	}
}

var echoes atomic.Int64

// echo sends a number that is sent only once, and checks the reply: so it notices a reply to
// another request.
func echo(ctx context.Context, conn *resp.Conn) error {
	want := strconv.FormatInt(echoes.Add(1), 10)
	got, err := conn.Do(ctx, "ECHO", want)
	if err != nil {
		return err
	}
	return equal("reply", got, any(want))
}

func TestRedisUnderLoad(t *testing.T) {
	s := needRedis(t)
	pool, _ := start(t, redisConfig(s.Address))
	l := startLoad(t, 32, func(ctx context.Context, worker int) error {
		if worker%2 == 0 {
			return pool.Do(ctx, echo)
		}
		lease, err := pool.Get(ctx)
		if err != nil {
			return err
		}
		if _, err = lease.Conn().Do(ctx, "INCR", "counter"); err != nil {
			return errors.Join(err, lease.Taint(err))
		}
		return lease.Put()
	})
	l.progress(t, 50)
	l.stop()
	assert.Empty(t, l.failures())
	var incremented int64
	for i := 1; i < len(l.workers); i += 2 {
		incremented += l.workers[i].done.Load()
	}
	reply, err := s.admin.Do(within(t, longTimeout), "GETDEL", "counter")
	require.NoError(t, err)
	assert.Equal(t, strconv.FormatInt(incremented, 10), reply)
	agrees(t, pool, s.count)
	assert.LessOrEqual(t, pool.Stats().Open, 4)
	assert.Equal(t, pool.Stats().Gets, pool.Stats().Puts)
}

// Only the holders of connections get an error because of CLIENT KILL: idle connections are
// checked before they are lent.
func TestRedisClientKill(t *testing.T) {
	s := needRedis(t)
	t.Run("idle", func(t *testing.T) {
		cfg := redisConfig(s.Address)
		cfg.CheckAfterIdle = time.Nanosecond
		cfg.MinIdle = 4
		pool, recorder := start(t, cfg)
		for range 5 {
			require.NoError(t, pool.Ready(within(t, longTimeout)))
			agrees(t, pool, s.count)
			assert.Equal(t, 4, s.kill(t))
			borrowAll(t, pool, echo)
			testkit.Eventually(t, func() error { return equal("idle", pool.Stats().Idle, 4) })
		}
		assert.Zero(t, pool.Stats().Backoffs)
		assert.Empty(t, recorder.of(messages.CheckOutFailed))
	})
	t.Run("under load", func(t *testing.T) {
		pool, _ := start(t, redisConfig(s.Address))
		l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, echo) })
		killed := 0
		for range 10 {
			l.progress(t, 5)
			killed += s.kill(t)
		}
		l.progress(t, 5)
		l.stop()
		assert.NotZero(t, killed)
		assert.LessOrEqual(t, len(l.failures()), killed, "at most one error for each killed connection")
		agrees(t, pool, s.count)
	})
}

// The server is killed under load and started again.
func TestRedisRestartsUnderLoad(t *testing.T) {
	s := needRedis(t)
	for name, mode := range map[string]client.BackoffMode{
		"wait": client.BackoffWait, "fail fast": client.BackoffFailFast, "no backoff": client.BackoffNever,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := redisConfig(s.Address)
			cfg.Backoff.Mode = mode
			pool, recorder := start(t, cfg)
			l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, echo) })
			l.progress(t, 10)
			require.Empty(t, l.failures())
			l.setTimeout(shortTimeout)
			require.NoError(t, s.Kill())
			for range 3 {
				l.awaitFailures(t)
			}
			testkit.Eventually(t, func() error { return equal("open", pool.Stats().Open, 0) })
			if mode != client.BackoffNever {
				testkit.Eventually(t, func() error { return equal("at least 5 backoffs", pool.Stats().Backoffs >= 5, true) })
				assert.Less(t, pool.Stats().Connects, uint64(100), "few connects during an outage")
			}
			require.NoError(t, s.Start())
			back := time.Now()
			l.progress(t, 5)
			if mode != client.BackoffNever {
				recovered(t, recorder, back, cfg.Backoff.Cap)
			}
			l.setTimeout(longTimeout)
			l.failures()
			l.progress(t, 5)
			l.stop()
			assert.Empty(t, l.failures())
			l.onTime(t)
			s.look(t)
			agrees(t, pool, s.count)
		})
	}
}

// The server requires a password, or allows only a few connections.
func TestRedisRefusals(t *testing.T) {
	server, err := servers.StartRedis("--requirepass", "secret", "--maxclients", "2",
		"--user", "limited", "on", ">limited", "~*", "+auth", "+hello")
	server = need(t, server, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	for name, test := range map[string]struct {
		first []string
		code  string
		class messages.Class
	}{
		"no password":       {nil, "NOAUTH", messages.ClassFatal},
		"wrong password":    {[]string{"AUTH", "wrong"}, "WRONGPASS", messages.ClassFatal},
		"hello":             {[]string{"HELLO", "3", "AUTH", "default", "wrong"}, "WRONGPASS", messages.ClassFatal},
		"not permitted":     {[]string{"AUTH", "limited", "limited"}, "NOPERM", messages.ClassFatal},
		"no such command":   {[]string{"AUTHORISE"}, "ERR", messages.ClassOverload},
		"too many of words": {[]string{"AUTH", "a", "b", "c"}, "ERR", messages.ClassOverload},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := redisConfig(server.Address)
			if test.first != nil {
				cfg = redisConfig(server.Address, test.first)
			}
			pool, _ := start(t, cfg)
			_, err := pool.Get(within(t, longTimeout))
			require.ErrorIs(t, err, messages.ErrConnectFailed)
			var refusal resp.Error
			require.ErrorAs(t, err, &refusal)
			assert.Equal(t, test.code, refusal.Code(), "%v", refusal)
			assert.Equal(t, test.class, class(err), "%v", refusal)
			assert.EqualValues(t, 1, pool.Stats().Backoffs)
		})
	}
	t.Run("right password, too many clients", func(t *testing.T) {
		pool, _ := start(t, redisConfig(server.Address, []string{"AUTH", "secret"}))
		for range 2 {
			var lease client.Lease[*resp.Conn]
			testkit.Eventually(t, func() (err error) { // rejected connections may still be closing
				lease, err = pool.Get(within(t, longTimeout))
				return err
			})
			defer func() { assert.NoError(t, lease.Put()) }()
		}
		_, err := pool.Get(context.Background()) // with a deadline it would keep its place (G18)
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.Equal(t, messages.ClassOverload, class(err), "%v", err)
	})
}
