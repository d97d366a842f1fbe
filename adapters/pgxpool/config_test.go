package pgxpool

import (
	"context"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
)

func TestTheConfigOfPgxIsTranslated(t *testing.T) {
	const l, j, most = time.Hour, time.Minute, time.Duration(math.MaxInt64)
	for _, c := range []struct {
		name                                string
		lifetime, jitter, idle, connect     time.Duration // of pgx
		maxLifetime, maxJitter, idleTimeout time.Duration // here
		connectTimeout                      time.Duration
	}{
		{"defaults", l, 0, 30 * time.Minute, 0, l, client.NoJitter, 30 * time.Minute, time.Minute},
		{"a jitter is added there and taken off here", l, j, l, 0, l + j, j, l, time.Minute},
		{"a jitter longer than the lifetime", j, l, l, 0, l + j, l, l, time.Minute},
		{"no lifetime", 0, j, l, 0, 0, 0, l, time.Minute},
		{"no idle time", l, 0, 0, 0, l, client.NoJitter, time.Millisecond, time.Minute},
		{"too short", 1, 0, 1, 1, time.Millisecond, client.NoJitter, time.Millisecond, time.Minute},
		{"for ever", most, most, most, most, most, most, most, most},
		{"a patient connect", l, 0, l, 5 * time.Minute, l, client.NoJitter, l, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := ParseConfig("host=127.0.0.1 sslmode=disable pool_max_conns=7 pool_min_conns=2 pool_min_idle_conns=3")
			require.NoError(t, err)
			cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter, cfg.MaxConnIdleTime = c.lifetime, c.jitter, c.idle
			cfg.ConnConfig.ConnectTimeout = c.connect
			require.NoError(t, checkConfig(cfg))
			got := (&Pool{cfg: cfg}).clientConfig()
			assert.Equal(t, c.maxLifetime, got.MaxLifetime)
			assert.Equal(t, c.maxJitter, got.MaxLifetimeJitter)
			assert.Equal(t, c.idleTimeout, got.IdleTimeout)
			assert.Equal(t, c.connectTimeout, got.ConnectTimeout)
			assert.Equal(t, []int{7, 2, 3}, []int{got.Capacity, got.MinOpen, got.MinIdle})
			pool, err := client.New(got)
			require.NoError(t, err)
			assert.NoError(t, pool.Close(context.Background()))
		})
	}
}

func TestTheTimeoutOfAConnectCountsEveryAddress(t *testing.T) {
	cfg, err := ParseConfig("host=a,b,c port=1,2,3 sslmode=disable connect_timeout=50")
	require.NoError(t, err)
	assert.Equal(t, 150*time.Second, connectTimeout(cfg))
}

func TestASettingIsTheSameInAnyOrder(t *testing.T) {
	a := setting("").with("b", "2").with("role", "r").with("a", `"1" = x`)
	b := setting("").with("role", "other").with("a", `"1" = x`).with("b", "2").with("role", "r")
	assert.Equal(t, a, b)
	assert.Equal(t, setting(`a="\"1\" = x" b="2" role="r"`), a, "the role is last")
	assert.Equal(t, []parameter{{"a", `"1" = x`}, {"b", "2"}, {"role", "r"}}, a.parameters())
	assert.Empty(t, setting("").parameters())
}

// FuzzSetting: what goes into a setting comes out of it.
func FuzzSetting(f *testing.F) {
	f.Add("a", "b")
	f.Add(`"`, "= \n\x80")
	f.Fuzz(func(t *testing.T, one, two string) {
		s := setting("").with("role", one).with("x.y", two)
		assert.Equal(t, []parameter{{"x.y", two}, {"role", one}}, s.parameters())
	})
}

func TestTheWireKeepsTheErrorThatShowsThatTheServerIsGone(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		lost bool
	}{
		{"the end", io.EOF, true},
		{"a reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", os.ErrInvalid)}, true},
		{"a deadline", os.ErrDeadlineExceeded, false},
		{"closed by us", net.ErrClosed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &wire{Conn: failing{c.err}}
			_, err := w.Read(nil)
			assert.Equal(t, c.err, err)
			assert.Equal(t, c.lost, w.lost.Load() != nil)
			w = &wire{Conn: failing{c.err}}
			_, err = w.Write(nil)
			assert.Equal(t, c.err, err)
			assert.Equal(t, c.lost, w.lost.Load() != nil)
			require.NoError(t, w.Close())
			w = &wire{Conn: failing{c.err}}
			require.NoError(t, w.Close())
			_, _ = w.Read(nil)
			assert.Nil(t, w.lost.Load(), "after our own Close it says nothing")
		})
	}
}

// failing is a network connection on which everything fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)         { return 0, f.err }
func (f failing) Write([]byte) (int, error)        { return 0, f.err }
func (failing) Close() error                       { return nil }
func (failing) LocalAddr() net.Addr                { return nil }
func (failing) RemoteAddr() net.Addr               { return nil }
func (failing) SetDeadline(time.Time) error        { return nil }
func (f failing) SetReadDeadline(time.Time) error  { return f.err }
func (f failing) SetWriteDeadline(time.Time) error { return f.err }
