package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// over says whether a channel is closed, once all is quiet.
func over(done <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// X7
func TestDoneIsClosedWhenTheLastConnectionIs(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config())
		done := p.Done()
		l := testkit.Get(t, p)
		assert.Error(t, p.Close(testkit.Within(t, time.Second)))
		assert.False(t, over(done), "a connection is out")
		testkit.Put(t, l)
		assert.True(t, over(done))
		assert.True(t, over(p.Done()), "also if it is asked for later")
		assert.True(t, over(client.Attach[*testkit.Conn](w.System, p.PID()).Done()), "there is no such pool any more")
	})
}

// X7
func TestDoneWaitsForWhatCloseDoesNotWaitFor(t *testing.T) {
	for name, hang := range map[string]func(*testkit.World, *testkit.Config, chan struct{}){
		"a connect that ignores its context": func(w *testkit.World, cfg *testkit.Config, release chan struct{}) {
			w.Server.SetDial(testkit.IgnoreContext(release))
			cfg.MinIdle = 1
		},
		"a handler that hangs": func(_ *testkit.World, cfg *testkit.Config, release chan struct{}) {
			cfg.OnChange = func(messages.Event) { <-release }
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				release := make(chan struct{})
				cfg := w.Config()
				hang(w, &cfg, release)
				p := w.Spawn(cfg)
				require.NoError(t, p.Close(ctx))
				assert.False(t, over(p.Done()))
				close(release)
				assert.True(t, over(p.Done()))
			})
		})
	}
}

// X7
func TestDoneIsClosedAfterAnEndFromOutside(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Spawn(w.Config(func(cfg *testkit.Config) {
			cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { <-release; return c.Close() }
		}))
		l := testkit.Get(t, p)
		done := p.Done()
		w.System.Root.Stop(p.PID())
		assert.False(t, over(done), "its connection is being closed")
		close(release)
		assert.True(t, over(done))
		assert.Equal(t, 1, w.Server.Conn(1).Closes())
		assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	})
}

// G19
func TestTryGetSaysWhyThereIsNoConnection(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(2), withSettings(&settingsServer{})))
		_, err := p.TryGetWith(client.GetOptions{})
		assert.ErrorIs(t, err, messages.ErrExhausted, "it never connects")
		testkit.Put(t, getWith(t, p, "red"))
		for _, other := range []any{nil, "blue"} {
			_, err = p.TryGetWith(client.GetOptions{Setting: other})
			assert.ErrorIs(t, err, messages.ErrExhausted, "it never changes a setting")
		}
		l, err := p.TryGetWith(client.GetOptions{Setting: "red", Label: "night"})
		require.NoError(t, err)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, "night", e.Holders[0].Label)
		testkit.Put(t, l)
		_, err = p.TryGetWith(client.GetOptions{Setting: []int{1}})
		assert.ErrorAs(t, err, new(*messages.ConfigError))
		require.NoError(t, p.Suspend(ctx))
		_, err = p.TryGetWith(client.GetOptions{Setting: "red"})
		assert.ErrorIs(t, err, messages.ErrExhausted)
		assert.Equal(t, uint64(2), p.Stats().Gets, "one that got nothing is no Get")

		testkit.Close(t, p)
		_, err = p.TryGetWith(client.GetOptions{})
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NotErrorIs(t, err, messages.ErrExhausted)
		_, err = client.Attach[*testkit.Conn](w.System, p.PID()).TryGetWith(client.GetOptions{})
		assert.ErrorIs(t, err, messages.ErrClosed)
		_, ok := p.TryGet()
		assert.False(t, ok)
	})
}

// G19
func TestTryGetOfAPoolWithoutSettingsRefusesOne(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		_, err := w.Pool().TryGetWith(client.GetOptions{Setting: "red"})
		var fault *messages.ConfigError
		require.ErrorAs(t, err, &fault)
		assert.Equal(t, "Apply", fault.Field)
	})
}
