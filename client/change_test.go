package client_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// change uses a pool so that all that OnChange tells happens, and some that it does not.
func change(t *testing.T, w *testkit.World, p *testkit.Pool) {
	t.Helper()
	l := testkit.Get(t, p)
	_, err := p.Get(testkit.Within(t, time.Millisecond))
	require.Error(t, err)
	require.NoError(t, l.Taint(testkit.ErrApp))
	synctest.Wait()
	w.Server.SetDial(testkit.Refuse)
	_, err = p.Get(ctx)
	require.Error(t, err)
	w.Server.SetDial(testkit.Accept)
	testkit.Put(t, testkit.Get(t, p))
	require.NoError(t, p.SetCapacity(ctx, 2))
	require.NoError(t, p.Suspend(ctx))
	require.NoError(t, p.Resume(ctx))
	require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
	testkit.Close(t, p)
}

var changes = []string{
	"PoolCreated", "PoolReady", "ConnectionCreated", "ConnectionReady", "ConnectionClosed(broken)",
	"ConnectionCreated", "ConnectionClosed(error)", "PoolBackoff", "ConnectionCreated", "ConnectionReady", "PoolReady",
	"CapacityChanged", "PoolSuspended", "PoolResumed", "PoolCleared", "ConnectionClosed(stale)", "PoolClosed",
}

// E6
func TestOnChangeGetsEveryEventButThoseOfGetsAndPuts(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		cfg := w.Config(j.Listen, testkit.Capacity(1))
		cfg.OnChange, cfg.OnEvent = cfg.OnEvent, nil
		change(t, w, w.Spawn(cfg))
		assert.Equal(t, changes, j.Kinds(0))
		assert.True(t, slices.IsSortedFunc(j.All(), func(a, b messages.Event) int { return int(a.Seq) - int(b.Seq) }))
	})
}

// E6
func TestOnEventAndOnChangeAreBothCalled(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j, all testkit.Journal
		cfg := w.Config(j.Listen)
		cfg.OnChange = cfg.OnEvent
		cfg = w.Config(all.Listen, testkit.Capacity(1), func(c *testkit.Config) { c.OnChange = cfg.OnChange })
		change(t, w, w.Spawn(cfg))
		assert.Equal(t, changes, j.Kinds(0))
		told := all.Kinds(0)
		assert.Contains(t, told, "CheckOutFailed(timeout)")
		assert.Contains(t, told, "CheckedIn")
		told = slices.DeleteFunc(told, func(kind string) bool { return strings.HasPrefix(kind, "Check") })
		assert.Equal(t, changes, told)
	})
}

// E6
func TestAHandlerThatFailsTakesNoEventFromTheOther(t *testing.T) {
	for name, bad := range map[string]func(){"panics": func() { panic("no good") }, "ends its goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var changed, told testkit.Journal
				cfg := w.Config(told.Listen, testkit.Capacity(1))
				onChange := w.Config(changed.Listen).OnEvent
				onEvent := cfg.OnEvent
				cfg.OnEvent = func(e messages.Event) { onEvent(e); bad() }
				cfg.OnChange = func(e messages.Event) { onChange(e); bad() }
				cfg.Logger = slog.New(slog.DiscardHandler)
				change(t, w, w.Spawn(cfg))
				assert.Equal(t, changes, changed.Kinds(0))
				assert.Greater(t, len(told.All()), len(changes))
			})
		})
	}
}

// E6
func TestAPanicInOnChangeIsLogged(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var out syncBuffer
		w.Pool(func(cfg *testkit.Config) {
			cfg.OnChange = func(messages.Event) { panic("no good") }
			cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
		})
		synctest.Wait()
		assert.Contains(t, out.take(), `msg="Panic in OnChange" event=PoolCreated panic="no good"`)
	})
}

// attempts gives the times at which a pool with this seed connects in an outage, and the
// lifetimes of its connections.
func attempts(t *testing.T, w *testkit.World, seed uint64) (times []time.Duration) {
	start := time.Now()
	p := w.Spawn(w.Config(testkit.Capacity(1), func(cfg *testkit.Config) {
		cfg.Seed, cfg.MinIdle, cfg.Backoff, cfg.MaxLifetime = seed, 1, client.BackoffMongo(), time.Hour
		cfg.Connect = func(context.Context) (*testkit.Conn, error) {
			times = append(times, time.Since(start))
			if len(times) < 8 {
				return nil, testkit.ErrRefused
			}
			return w.Server.Connect(ctx)
		}
	}))
	testkit.Pass(12 * time.Hour)
	testkit.Close(t, p)
	return times
}

// B18
func TestPoolsWithTheSameSeedDoTheSame(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		first := attempts(t, w, 7)
		assert.Greater(t, len(first), 16, "8 attempts, and 12 lifetimes of about an hour")
		assert.Equal(t, first, attempts(t, w, 7))
		assert.NotEqual(t, first, attempts(t, w, 8))
		assert.NotEqual(t, attempts(t, w, 0), attempts(t, w, 0), "without a seed each pool is random")
	})
}

// B18: the pools of one Props do not share their source.
func TestEachPoolOfAPropsBeginsWithTheSeed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var ends [2]time.Duration
		props, err := client.Props(w.Config(func(cfg *testkit.Config) { cfg.Seed, cfg.MaxLifetime = 1, time.Hour }), w.PropsOptions()...)
		require.NoError(t, err)
		for i := range ends {
			p := client.Attach[*testkit.Conn](w.System, w.System.Root.Spawn(props))
			testkit.Fill(t, p, 1)
			start := time.Now()
			for p.Stats().Open > 0 {
				testkit.Pass(time.Second)
			}
			ends[i] = time.Since(start)
			testkit.Close(t, p)
		}
		assert.Equal(t, ends[0], ends[1])
	})
}
