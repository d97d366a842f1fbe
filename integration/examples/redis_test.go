//go:build unix

package examples

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// counters are the names of the program's counters.
var counters = []string{"counter 0", "counter 1", "counter 2", "counter 3"}

func each(words string) []string {
	var texts []string
	for _, counter := range counters {
		texts = append(texts, counter+" "+words)
	}
	return texts
}

// TestRedis runs the program until its time is over.
func TestRedis(t *testing.T) {
	server, err := servers.StartRedis()
	need(t, server, err)
	p := run(t, []string{"REDIS_URL=redis://" + server.Address}, "redis", "-for", "1s")
	code, out := p.ends(t, longTimeout)
	assert.Zero(t, code)
	assert.Regexp(t, `database 0 counted to [1-9]\d*\n`, out)
	assert.Regexp(t, `database 1 counted to [1-9]\d*\n`, out)
	assert.Contains(t, out, "of which 0 failed")
	assert.NotContains(t, out, "fails")
	redisIsEmpty(t, server)
}

// TestRedisRestart stops and starts the server twice while the program runs, and ends the
// program with Ctrl-C.
func TestRedisRestart(t *testing.T) {
	server, err := servers.StartRedis()
	need(t, server, err)
	p := run(t, nil, "redis", "-url", "redis://"+server.Address, "-for", "1h")
	p.prints(t, 1, each("counts in database")...)
	for round := 1; round <= 2; round++ {
		require.NoError(t, server.Kill())
		p.prints(t, round, each("fails, the pool is in state ")...)
		p.prints(t, round, "backoff: attempt 3 failed")
		require.NoError(t, server.Start())
		p.prints(t, round, each("counts again, at ")...)
		p.prints(t, 1+round, "the pool is ready") // at first, and after each outage
	}
	p.interrupt(t)
	code, out := p.ends(t, longTimeout)
	assert.Zero(t, code)
	assert.Contains(t, out, "the last failure: ")
	assert.Contains(t, out, "counted to ")
	assert.NotContains(t, out, " 0 backoffs")
	redisIsEmpty(t, server)
}

// TestRedisStops: the server is not running when the program ends.
func TestRedisStops(t *testing.T) {
	server, err := servers.StartRedis()
	need(t, server, err)
	p := run(t, nil, "redis", "-url", "redis://"+server.Address, "-for", "1h")
	p.prints(t, 1, each("counts in database")...)
	require.NoError(t, server.Kill())
	p.prints(t, 1, "backoff: attempt 2 failed")
	p.interrupt(t)
	code, out := p.ends(t, bound)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, `redis: actorpool "redis": `)
	assert.Contains(t, out, "connection refused")
}

// TestRedisRefuses: the server requires a password.
func TestRedisRefuses(t *testing.T) {
	server, err := servers.StartRedis("--requirepass", "secret")
	need(t, server, err)
	failsWithoutServer(t, nil, "redis", []string{"-url", "redis://" + server.Address}, "NOAUTH")
	failsWithoutServer(t, nil, "redis", []string{"-url", "redis://:wrong@" + server.Address}, "WRONGPASS")
	code, _ := run(t, nil, "redis", "-url", "redis://:secret@"+server.Address, "-for", "300ms").ends(t, bound)
	assert.Zero(t, code)
}

func TestRedisAbsent(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "redis", []string{"-url", "redis://:secret@" + unusedAddress(t)}, "connection refused", "backoff: attempt 1 failed")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, nil, "redis", []string{"-url", "redis://" + silentServer(t)}, "backoff: attempt 1 failed")
	})
	t.Run("no address", func(t *testing.T) {
		failsWithoutServer(t, nil, "redis", []string{"-url", "http://:secret@localhost"}, "invalid redis URL scheme")
	})
}

// redisIsEmpty checks that the program has left no key and no connection.
func redisIsEmpty(t *testing.T, server *servers.Redis) {
	t.Helper()
	ctx := within(t, longTimeout)
	admin, err := resp.Dial(ctx, server.Address)
	require.NoError(t, err)
	defer admin.Close()
	info, err := admin.Do(ctx, "INFO", "keyspace")
	require.NoError(t, err)
	assert.NotContains(t, info, "keys=")
	testkit.Eventually(t, func() error {
		info, err := admin.Do(ctx, "INFO", "clients")
		if err == nil && !strings.Contains(info.(string), "connected_clients:1\r\n") {
			err = fmt.Errorf("connections left: %s", info)
		}
		return err
	})
}
