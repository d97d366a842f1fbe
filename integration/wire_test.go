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
	"github.com/actorpool/actorpool/internal/testkit"
)

var flap = flag.Duration("flap", 2*time.Second, "how long TestWireFlaps interrupts the network again and again, for each server")

// wire is the network between the pool and the server: a proxy that can inject faults.
type wire struct{ proxy *toxiproxy.Proxy }

func newWire(t *testing.T, upstream string) *wire {
	t.Helper()
	listen, err := servers.FreeAddress()
	require.NoError(t, err)
	zerolog.SetGlobalLevel(zerolog.Disabled) // parts of toxiproxy have loggers of their own
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{toxiproxy.NewProxy(server, "wire", listen, upstream)}
	require.NoError(t, w.proxy.Start())
	t.Cleanup(w.proxy.Stop)
	return w
}

// toxic is a fault of toxiproxy: its type and attributes, for one direction.
type toxic struct{ kind, stream, attributes string }

// inject starts a fault, and returns the function that ends it. Without a toxic, all connections
// are closed and new ones are refused.
func (w *wire) inject(t *testing.T, fault *toxic) (end func()) {
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

// wireConfig is the configuration of a pool whose functions have a far longer timeout than its
// callers. If a caller waited for a connect or a check, the test would notice.
func wireConfig(w *wire) client.Config[*resp.Conn] {
	cfg := redisConfig(w.proxy.Listen)
	cfg.ConnectTimeout = 2 * (shortTimeout + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

// echoMuch is echo with a reply that takes long if the bandwidth is low.
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
	cfg.ConnectTimeout = 2 * (shortTimeout + margin)
	cfg.CheckAfterIdle = 20 * time.Millisecond
	return cfg
}

var (
	cut        *toxic
	reset      = &toxic{"reset_peer", "downstream", `"timeout": 0`}
	noReplies  = &toxic{"timeout", "downstream", `"timeout": 0`}
	noRequests = &toxic{"timeout", "upstream", `"timeout": 0`}
)

// During all faults of the network no operation exceeds its timeout, nothing is left on either
// side, and after the fault the pool is ready within one period of backoff.
func TestWireFaults(t *testing.T) {
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		for name, test := range map[string]struct {
			fault *toxic
			mild  bool // operations succeed all the same
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
				testFault(t, w, wireConfig(w), echoMuch, s.count, test.fault, test.mild)
			})
		}
	})
	severe := map[string]*toxic{"reset by the peer": reset, "half-open, no replies": noReplies, "cut": cut}
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		for name, fault := range severe {
			t.Run(name, func(t *testing.T) {
				w := newWire(t, s.Address)
				testFault(t, w, s.wireConfig(w), selectOne, s.count, fault, false)
			})
		}
	})
	t.Run("LDAP", func(t *testing.T) {
		s := needLDAP(t)
		for name, fault := range severe {
			t.Run(name, func(t *testing.T) {
				w := newWire(t, s.Address)
				testFault(t, w, frozenConfig(w.proxy.Listen), asService, s.count, fault, false)
			})
		}
	})
}

// testFault injects a fault under load, and ends it.
func testFault[C any](t *testing.T, w *wire, cfg client.Config[C], use func(context.Context, C) error, count func() (int, error), fault *toxic, mild bool) {
	pool, recorder := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, use) })
	l.progress(t, 5)
	require.Empty(t, l.failures())

	if !mild {
		l.setTimeout(shortTimeout)
	}
	end := w.inject(t, fault)
	for range 3 {
		if mild {
			l.progress(t, 1)
		} else {
			l.awaitFailures(t)
		}
	}
	end()
	back := time.Now()
	l.progress(t, 3)
	recovered(t, recorder, back, cfg.Backoff.Cap)
	l.setTimeout(longTimeout)
	if errs := l.failures(); mild {
		assert.Empty(t, errs)
	}
	l.progress(t, 3)
	l.stop()
	assert.Empty(t, l.failures())
	l.onTime(t)
	agrees(t, pool, count)
	require.NoError(t, pool.Close(within(t, longTimeout)))
	testkit.Eventually(t, func() error { n, err := count(); return errors.Join(err, equal("connections", n, 0)) })
}

// Close does not wait for a network that transmits nothing.
func TestWireCloseWhileHalfOpen(t *testing.T) {
	s := needRedis(t)
	w := newWire(t, s.Address)
	cfg := wireConfig(w)
	cfg.ConnectTimeout = 10 * longTimeout
	pool, _ := start(t, cfg)
	l := startLoad(t, 8, func(ctx context.Context, _ int) error { return pool.Do(ctx, echo) })
	l.progress(t, 3)
	l.setTimeout(shortTimeout)
	end := w.inject(t, noReplies)
	defer end()
	l.awaitFailures(t)
	l.awaitFailures(t) // now connects and checks hang
	begun := time.Now()
	require.NoError(t, pool.Close(within(t, longTimeout)))
	assert.Less(t, time.Since(begun), shortTimeout+margin)
	l.stop()
	l.onTime(t)
	agrees(t, pool, s.count)
}

// The network is interrupted again and again. Each time, when no operation runs, the pool and the
// server agree on the number of connections.
func TestWireFlaps(t *testing.T) {
	t.Run("Redis", func(t *testing.T) {
		s := needRedis(t)
		w := newWire(t, s.Address)
		testFlapping(t, w, wireConfig(w), echoMuch, s.count)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s := needPostgres(t)
		w := newWire(t, s.Address)
		testFlapping(t, w, s.wireConfig(w), selectOne, s.count)
	})
	t.Run("LDAP", func(t *testing.T) {
		s := needLDAP(t)
		w := newWire(t, s.Address)
		testFlapping(t, w, frozenConfig(w.proxy.Listen), asService, s.count)
	})
}

func testFlapping[C any](t *testing.T, w *wire, cfg client.Config[C], use func(context.Context, C) error, count func() (int, error)) {
	pool, recorder := start(t, cfg)
	l := startLoad(t, 16, func(ctx context.Context, _ int) error { return pool.Do(ctx, use) })
	l.progress(t, 3)
	l.setTimeout(shortTimeout)
	faults := []*toxic{cut, cut, reset, noRequests, noReplies}
	n := 0
	for deadline := time.Now().Add(*flap); time.Now().Before(deadline); n++ {
		// This is so long that only some of the operations time out.
		wait := func() { time.Sleep(time.Duration(20+rand.IntN(180)) * time.Millisecond) }
		end := w.inject(t, faults[rand.IntN(len(faults))])
		wait()
		end()
		if n%2 == 0 { // otherwise the next fault comes during the recovery
			wait()
		}
		stats := pool.Stats()
		require.LessOrEqual(t, stats.Open+stats.Connecting+stats.Closing, stats.Capacity)
		l.whileIdle(func() { agrees(t, pool, count) })
	}
	back := time.Now()
	l.progress(t, 3)
	recovered(t, recorder, back, cfg.Backoff.Cap)
	l.setTimeout(longTimeout)
	l.failures()
	l.progress(t, 3)
	l.stop()
	assert.Empty(t, l.failures())
	l.onTime(t)
	agrees(t, pool, count)
	require.NoError(t, pool.Close(within(t, longTimeout)))
	testkit.Eventually(t, func() error { n, err := count(); return errors.Join(err, equal("connections", n, 0)) })
	stats := pool.Stats()
	t.Logf("%d interruptions, %d backoffs, %d connects, of which %d failed", n, stats.Backoffs, stats.Connects, stats.ConnectErrors)
}
