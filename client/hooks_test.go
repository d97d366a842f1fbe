package client_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// hooked is a pool of which every function notes what HookInfo says.
type hooked struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]client.ConnInfo
}

func (h *hooked) note(ctx context.Context, function string) {
	// A function may have made another context of its own.
	derived, cancel := context.WithTimeout(context.WithValue(ctx, h, 1), time.Second)
	defer cancel()
	info, ok := client.HookInfo(derived)
	assert.True(h.t, ok, function)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[function] = info
}

// take gives what was noted since it was last called.
func (h *hooked) take() map[string]client.ConnInfo {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = map[string]client.ConnInfo{}
	return seen
}

func (h *hooked) configure(cfg *testkit.Config) {
	h.seen = map[string]client.ConnInfo{}
	function := func(name string) func(context.Context, *testkit.Conn) error {
		return func(ctx context.Context, _ *testkit.Conn) error { h.note(ctx, name); return nil }
	}
	connect := cfg.Connect
	cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) {
		h.note(ctx, "connect")
		time.Sleep(time.Second)
		return connect(ctx)
	}
	cfg.Check, cfg.Reset, cfg.Unapply = function("check"), function("reset"), function("unapply")
	cfg.Disconnect = func(ctx context.Context, c *testkit.Conn) error {
		h.note(ctx, "disconnect")
		_, bounded := ctx.Deadline()
		assert.True(h.t, bounded)
		return c.Close()
	}
	cfg.Apply = func(ctx context.Context, _ *testkit.Conn, _ any) error { h.note(ctx, "apply"); return nil }
}

// L17
func TestAFunctionIsToldOfItsConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		h := &hooked{t: t}
		p := w.Pool(testkit.Capacity(1), h.configure)
		get := func(label string, setting any) testkit.Lease {
			l, err := p.GetWith(ctx, client.GetOptions{Label: label, Setting: setting})
			require.NoError(t, err)
			return l
		}
		l := get("first", "red")
		assert.Equal(t, map[string]client.ConnInfo{
			"connect": {Pool: "db", ConnID: 1, Label: "first"},
			"apply":   {Pool: "db", ConnID: 1, Label: "first"},
		}, h.take())

		time.Sleep(3 * time.Second)
		testkit.Put(t, l)
		assert.Equal(t, map[string]client.ConnInfo{
			"reset": {Pool: "db", ConnID: 1, Uses: 1, Age: 3 * time.Second, Setting: "red"},
		}, h.take())

		time.Sleep(5 * time.Second)
		l = get("second", "blue")
		about := client.ConnInfo{Pool: "db", ConnID: 1, Uses: 1, Age: 8 * time.Second, Idle: 5 * time.Second, Label: "second"}
		red := about
		red.Setting = "red"
		assert.Equal(t, map[string]client.ConnInfo{"check": red, "unapply": red, "apply": about}, h.take())

		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		time.Sleep(time.Second)
		testkit.Put(t, l)
		assert.Equal(t, map[string]client.ConnInfo{
			"disconnect": {Pool: "db", ConnID: 1, Uses: 2, Age: 9 * time.Second, Setting: "blue"},
		}, h.take())

		testkit.Put(t, get("", nil))
		assert.Equal(t, client.ConnInfo{Pool: "db", ConnID: 2, Generation: 1}, h.take()["connect"])
	})
}

// L17
func TestAConnectionThatAStoppedConnectorClosesIsNamed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		h := &hooked{t: t}
		p := w.Spawn(w.Config(testkit.Capacity(1), h.configure))
		testkit.Fill(t, p, 1)
		h.take()
		w.System.Root.Stop(p.PID()) // its connectors close what they hold
		testkit.Pass(2 * time.Second)
		assert.Equal(t, client.ConnInfo{Pool: "db", ConnID: 1}, h.take()["disconnect"])
	})
}

// L17
func TestAnyOtherContextTellsNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var none context.Context
		_, ok := client.HookInfo(none)
		assert.False(t, ok)
		_, ok = client.HookInfo(ctx)
		assert.False(t, ok)
		p := w.Pool()
		require.NoError(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
			_, ok := client.HookInfo(ctx)
			assert.False(t, ok, "a holder is no function of the Config")
			return nil
		}))
	})
}
