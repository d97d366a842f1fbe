package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

var flap = flag.Duration("flap", 2*time.Second, "how long each server's wire flaps in TestWireFlaps")

// wire is what lies between the pool and the server.
type wire struct{ proxy *toxiproxy.Proxy }

func newWire(t *testing.T, upstream string) *wire {
	t.Helper()
	listen, err := servers.FreeAddress()
	require.NoError(t, err)
	zerolog.SetGlobalLevel(zerolog.Disabled) // some of its parts have loggers of their own
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{toxiproxy.NewProxy(server, "wire", listen, upstream)}
	require.NoError(t, w.proxy.Start())
	t.Cleanup(w.proxy.Stop)
	return w
}

// toxic is a fault: its type and attributes, for one direction.
type toxic struct{ kind, stream, attributes string }

// suffer begins a fault, and gives what ends it. Without a toxic, the wire is
// cut.
func (w *wire) suffer(t *testing.T, fault *toxic) (end func()) {
	t.Helper()
	if fault == nil {
		w.proxy.Stop()
		return func() { require.NoError(t, w.proxy.Start()) }
	}
	_, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name": "fault", "type": %q, "stream": %q, "attributes": {%s}}`, fault.kind, fault.stream, fault.attributes)))
	require.NoError(t, err)
	return func() { require.NoError(t, w.proxy.Toxics.RemoveToxic(context.Background(), "fault")) }
}

// wireConfig is a pool whose functions may take far longer than its callers: if
// one of those waited for a connect or a check, it would be seen.
func wireConfig(w *wire) client.Config[*resp.Conn] {
	cfg := redisConfig(w.proxy.Listen)
	cfg.ConnectTimeout = 2 * (patient + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

// echoMuch is echo with a reply that takes its time on a narrow wire.
func echoMuch(ctx context.Context, conn *resp.Conn) error {
	want := strings.Repeat(fmt.Sprintf("%8d", echoes.Add(1)), 128)
	got, err := conn.Do(ctx, "ECHO", want)
	if err != nil {
		return err
	}
	return equal("reply", got, any(want))
}

// wireConfig is the same for PostgreSQL.
func (s *postgres) wireConfig(w *wire) client.Config[*pgx.Conn] {
	_, port, _ := net.SplitHostPort(w.proxy.Listen)
	cfg := s.configDSN("host=127.0.0.1 user=app dbname=postgres sslmode=disable port=" + port)
	cfg.ConnectTimeout = 2 * (patient + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

var (
	cut        *toxic
	reset      = &toxic{"reset_peer", "downstream", `"timeout": 0`}
	noReplies  = &toxic{"timeout", "downstream", `"timeout": 0`}
	noRequests = &toxic{"timeout", "upstream", `"timeout": 0`}
)

// Whatever happens to the wire: no caller stays longer than it wants to, nothing
// is left behind on either side, and when it is over the pool is back within one
// period of backoff.
func TestWireFaults(t *testing.T) {
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		for name, test := range map[string]struct {
			fault *toxic
			mild  bool // callers succeed all the same
		}{
			"latency":                 {&toxic{"latency", "downstream", `"latency": 20, "jitter": 20`}, true},
			"latency, too long":       {&toxic{"latency", "downstream", `"latency": 1000`}, false},
			"bandwidth":               {&toxic{"bandwidth", "downstream", `"rate": 1`}, false},
			"reset by the peer":       {reset, false},
			"reset on the way up":     {&toxic{"reset_peer", "upstream", `"timeout": 0`}, false},
			"half-open, no replies":   {noReplies, false},
			"half-open, no requests":  {noRequests, false},
			"closed after some time":  {&toxic{"timeout", "downstream", `"timeout": 100`}, false},
			"cut":                     {cut, false},
			"sliced":                  {&toxic{"slicer", "downstream", `"average_size": 64, "size_variation": 32, "delay": 100`}, true},
			"closed after some bytes": {&toxic{"limit_data", "downstream", `"bytes": 500`}, false},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWire(t, s.Address)
				endure(t, w, wireConfig(w), echoMuch, s.count, test.fault, test.mild)
			})
		}
	})
	grave := map[string]*toxic{"reset by the peer": reset, "half-open, no replies": noReplies, "cut": cut}
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		for name, fault := range grave {
			t.Run(name, func(t *testing.T) {
				w := newWire(t, s.Address)
				endure(t, w, s.wireConfig(w), selectOne, s.count, fault, false)
			})
		}
	})
	t.Run("LDAP", func(t *testing.T) {
		s := needLDAP(t)
		for name, fault := range grave {
			t.Run(name, func(t *testing.T) {
				w := newWire(t, s.Address)
				endure(t, w, frozenConfig(w.proxy.Listen), asService, s.count, fault, false)
			})
		}
	})
}

// endure brings a fault about under load, and ends it.
func endure[C any](t *testing.T, w *wire, cfg client.Config[C], use func(context.Context, C) error, count func() (int, error), fault *toxic, mild bool) {
	pool, ledger := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, use) })
	l.progress(t, 5)
	require.Empty(t, l.failures())

	if !mild {
		l.allow(patient)
	}
	end := w.suffer(t, fault)
	for range 3 {
		if mild {
			l.progress(t, 1)
		} else {
			l.suffers(t)
		}
	}
	end()
	back := time.Now()
	l.progress(t, 3)
	recovered(t, ledger, back, cfg.Backoff.Cap)
	l.allow(patience)
	if errs := l.failures(); mild {
		assert.Empty(t, errs)
	}
	l.progress(t, 3)
	l.halt()
	assert.Empty(t, l.failures())
	l.punctual(t)
	agrees(t, pool, count)
	require.NoError(t, pool.Close(within(t, patience)))
	eventually(t, func() error { n, err := count(); return errors.Join(err, equal("connections", n, 0)) })
}

// Close does not wait for a wire on which nothing moves.
func TestWireCloseWhileHalfOpen(t *testing.T) {
	s := needRedis(t)
	w := newWire(t, s.Address)
	cfg := wireConfig(w)
	cfg.ConnectTimeout = 10 * patience
	pool, _ := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, echo) })
	l.progress(t, 3)
	l.allow(patient)
	end := w.suffer(t, noReplies)
	defer end()
	l.suffers(t)
	l.suffers(t) // now connects and checks hang
	begun := time.Now()
	require.NoError(t, pool.Close(within(t, patience)))
	assert.Less(t, time.Since(begun), patient+margin)
	l.halt()
	l.punctual(t)
	agrees(t, pool, s.count)
}

// The wire comes and goes. Each time, as soon as the callers pause, both sides
// have as many connections as the other.
func TestWireFlaps(t *testing.T) {
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		w := newWire(t, s.Address)
		flaps(t, w, wireConfig(w), echoMuch, s.count)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		w := newWire(t, s.Address)
		flaps(t, w, s.wireConfig(w), selectOne, s.count)
	})
	t.Run("LDAP", func(t *testing.T) {
		s := needLDAP(t)
		w := newWire(t, s.Address)
		flaps(t, w, frozenConfig(w.proxy.Listen), asService, s.count)
	})
}

func flaps[C any](t *testing.T, w *wire, cfg client.Config[C], use func(context.Context, C) error, count func() (int, error)) {
	pool, ledger := start(t, cfg)
	l := startLoad(t, 16, func(ctx context.Context, _ int) error { return pool.Do(ctx, use) })
	l.progress(t, 3)
	l.allow(patient)
	faults := []*toxic{cut, cut, reset, noRequests, noReplies}
	n := 0
	for deadline := time.Now().Add(*flap); time.Now().Before(deadline); n++ {
		// As long as this takes some pass, and some do not.
		pass := func() { time.Sleep(time.Duration(20+rand.IntN(180)) * time.Millisecond) }
		end := w.suffer(t, faults[rand.IntN(len(faults))])
		pass()
		end()
		if n%2 == 0 { // or in the middle of the recovery
			pass()
		}
		stats := pool.Stats()
		require.LessOrEqual(t, stats.Open+stats.Connecting+stats.Closing, stats.Capacity)
		l.calm(func() { agrees(t, pool, count) })
	}
	back := time.Now()
	l.progress(t, 3)
	recovered(t, ledger, back, cfg.Backoff.Cap)
	l.allow(patience)
	l.failures()
	l.progress(t, 3)
	l.halt()
	assert.Empty(t, l.failures())
	l.punctual(t)
	agrees(t, pool, count)
	require.NoError(t, pool.Close(within(t, patience)))
	eventually(t, func() error { n, err := count(); return errors.Join(err, equal("connections", n, 0)) })
	stats := pool.Stats()
	t.Logf("%d flaps, %d backoffs, %d connects, of which %d failed", n, stats.Backoffs, stats.Connects, stats.ConnectErrors)
}
