package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestReadyWaitsUntilMinIdleConnectionsStand(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(func(cfg *testkit.Config) { cfg.MinIdle, cfg.MaxConnecting = 3, 1 })
		assert.Equal(t, 3*time.Second, testkit.Elapsed(func() { require.NoError(t, p.Ready(ctx)) }))
		assert.Equal(t, 3, p.Stats().Idle)
		assert.Zero(t, testkit.Elapsed(func() { require.NoError(t, p.Ready(ctx)) }))
	})
}

func TestReadyOpensOneConnectionWhereMinIdleAsksForNone(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool()
		require.NoError(t, p.Ready(ctx))
		assert.Equal(t, 1, p.Stats().Idle)
		assert.Equal(t, 1, w.Server.Dials())
	})
}

func TestReadyEndsWithTheFirstError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		err := p.Ready(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		err = p.Ready(testkit.Within(t, 100*time.Millisecond))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		w.Server.SetDial(testkit.Accept)
		require.NoError(t, p.Ready(ctx))
	})
}

func TestReadyEndsWithItsContextAndWithThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Hour))
		p := w.Pool(func(cfg *testkit.Config) { cfg.ConnectTimeout = 2 * time.Hour })
		assert.ErrorIs(t, p.Ready(testkit.Within(t, time.Second)), context.DeadlineExceeded)
		ready := testkit.Async(func() error { return p.Ready(ctx) })
		ready.Waits(t)
		require.NoError(t, p.Close(ctx))
		assert.ErrorIs(t, ready.Returned(t), messages.ErrClosed)
	})
}
