package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

var flap = flag.Duration("flap", 3*time.Second, "how long the wire flaps in TestWireFlaps")

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

// patient is how long a caller on the wire waits for all it wants.
const patient = 400 * time.Millisecond

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

// Whatever happens to the wire: no caller stays longer than it wants to, nothing
// is left behind on either side, and when it is over the pool is back within one
// period of backoff.
func TestWireFaults(t *testing.T) {
	s := needRedis(t)
	for name, test := range map[string]struct {
		fault *toxic
		mild  bool // callers succeed all the same
	}{
		"latency":                 {&toxic{"latency", "downstream", `"latency": 20, "jitter": 20`}, true},
		"latency, too long":       {&toxic{"latency", "downstream", `"latency": 1000`}, false},
		"bandwidth":               {&toxic{"bandwidth", "downstream", `"rate": 1`}, false},
		"reset by the peer":       {&toxic{"reset_peer", "downstream", `"timeout": 0`}, false},
		"reset on the way up":     {&toxic{"reset_peer", "upstream", `"timeout": 0`}, false},
		"half-open, no replies":   {&toxic{"timeout", "downstream", `"timeout": 0`}, false},
		"half-open, no requests":  {&toxic{"timeout", "upstream", `"timeout": 0`}, false},
		"closed after some time":  {&toxic{"timeout", "downstream", `"timeout": 100`}, false},
		"cut":                     {nil, false},
		"sliced":                  {&toxic{"slicer", "downstream", `"average_size": 64, "size_variation": 32, "delay": 100`}, true},
		"closed after some bytes": {&toxic{"limit_data", "downstream", `"bytes": 500`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, s.Address)
			cfg := wireConfig(w)
			pool, ledger := start(t, cfg)
			l := startLoad(t, 8, patient, func(ctx context.Context, _ int) error { return pool.Do(ctx, echoMuch) })
			l.progress(t, 5)
			require.Empty(t, l.failures())

			end := w.suffer(t, test.fault)
			for range 3 {
				if test.mild {
					l.progress(t, 1)
				} else {
					l.suffers(t)
				}
			}
			end()
			back := time.Now()
			l.progress(t, 3)
			recovered(t, ledger, back, cfg.Backoff.Cap)
			errs := l.failures()
			if test.mild {
				assert.Empty(t, errs)
			}
			l.progress(t, 3)
			l.halt()
			assert.Empty(t, l.failures())
			l.punctual(t)
			agrees(t, pool, s.count)
			require.NoError(t, pool.Close(within(t, patience)))
			agrees(t, pool, s.count)
		})
	}
}

// Close does not wait for a wire on which nothing moves.
func TestWireCloseWhileHalfOpen(t *testing.T) {
	s := needRedis(t)
	w := newWire(t, s.Address)
	cfg := wireConfig(w)
	cfg.ConnectTimeout = 10 * patience
	pool, _ := start(t, cfg)
	l := startLoad(t, 8, patient, func(ctx context.Context, _ int) error { return pool.Do(ctx, echo) })
	l.progress(t, 3)
	end := w.suffer(t, &toxic{"timeout", "downstream", `"timeout": 0`})
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

// The wire comes and goes.
func TestWireFlaps(t *testing.T) {
	s := needRedis(t)
	w := newWire(t, s.Address)
	cfg := wireConfig(w)
	pool, ledger := start(t, cfg)
	l := startLoad(t, 16, patient, func(ctx context.Context, _ int) error { return pool.Do(ctx, echoMuch) })
	l.progress(t, 3)
	faults := []*toxic{nil, nil, {"reset_peer", "downstream", `"timeout": 0`}, {"timeout", "upstream", `"timeout": 0`}}
	flaps := 0
	for deadline := time.Now().Add(*flap); time.Now().Before(deadline); flaps++ {
		// As long as this takes some pass, and some do not.
		pass := func() { time.Sleep(time.Duration(20+rand.IntN(180)) * time.Millisecond) }
		end := w.suffer(t, faults[rand.IntN(len(faults))])
		pass()
		end()
		pass()
		stats := pool.Stats()
		require.LessOrEqual(t, stats.Open+stats.Connecting+stats.Closing, stats.Capacity)
	}
	back := time.Now()
	l.progress(t, 3)
	recovered(t, ledger, back, cfg.Backoff.Cap)
	l.failures()
	l.progress(t, 3)
	l.halt()
	assert.Empty(t, l.failures())
	l.punctual(t)
	agrees(t, pool, s.count)
	require.NoError(t, pool.Close(within(t, patience)))
	eventually(t, func() error {
		n, err := s.count()
		return errors.Join(err, equal("connections", n, 0))
	})
	t.Logf("%d flaps, %d backoffs, %d connects, of which %d failed", flaps, pool.Stats().Backoffs, pool.Stats().Connects, pool.Stats().ConnectErrors)
}
