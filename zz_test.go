package actorpool_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// X4, X5
func TestAPoolWhoseHandlerHangsIsClosedAllTheSame(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		p := w.pool(func(cfg *config) { cfg.OnEvent = func(messages.Event) { <-release } })
		fill(t, p, 1)
		require.NoError(t, p.Close(ctx))
		stats := async(func() error { p.Stats(); return nil })
		again := async(func() error { return p.Close(within(t, time.Second)) })
		other := async(func() error { return p.Suspend(within(t, time.Second)) })
		time.Sleep(time.Minute)
		assert.True(t, stats.ended(), "stats")
		assert.True(t, again.ended(), "close")
		assert.True(t, other.ended(), "suspend")
		close(release)
		synctest.Wait()
		assert.NoError(t, again.returned(t))
	})
}

func TestAConnectThatEndsItsGoroutineHasFailed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(func(context.Context, int) error { runtime.Goexit(); return nil })
		p := w.pool(capacity(1))
		for range 3 {
			g := begin(within(t, time.Hour), p)
			time.Sleep(30 * time.Minute)
			assert.ErrorIs(t, g.failed(t), messages.ErrConnectFailed)
		}
		w.server.becomes(accept)
		put(t, get(t, p))
	})
}

func TestAnyFunctionThatEndsItsGoroutineIsContained(t *testing.T) {
	exits := func(context.Context, *conn) error { runtime.Goexit(); return nil }
	for name, change := range map[string]func(*config){
		"Check":      func(cfg *config) { cfg.Check = exits },
		"Reset":      func(cfg *config) { cfg.Reset = exits },
		"Disconnect": func(cfg *config) { cfg.Disconnect = func(_ context.Context, c *conn) error { _ = c.Close(); runtime.Goexit(); return nil } },
		"OnEvent":    func(cfg *config) { cfg.OnEvent = func(messages.Event) { runtime.Goexit() } },
		"Classify":   func(cfg *config) { cfg.Classify = func(messages.Phase, error) messages.Class { runtime.Goexit(); return 0 } },
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(2), change)
				for range 5 {
					put(t, get(t, p))
					time.Sleep(2 * time.Second)
					require.NoError(t, get(t, p).Taint(nil))
					synctest.Wait()
					w.server.becomes(refuse)
					_, err := p.Get(within(t, time.Second))
					assert.Error(t, err)
					w.server.becomes(accept)
					time.Sleep(time.Minute)
				}
			})
		})
	}
}
