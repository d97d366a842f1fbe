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

// L6
func TestWhileSuspendedGetsWaitAndReturnsWork(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		held := testkit.Get(t, p)
		testkit.Fill(t, p, 1)
		require.NoError(t, p.Suspend(ctx))
		require.NoError(t, p.Suspend(ctx))
		assert.Equal(t, messages.StateSuspended, p.Stats().State)
		first, second, third := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		short := testkit.BeginGet(testkit.Within(t, time.Second), p)
		_, ok := p.TryGet()
		assert.False(t, ok)
		testkit.Put(t, held)
		assert.Equal(t, 2, p.Stats().Idle)
		time.Sleep(time.Second)
		err := short.Failed(t)
		assert.ErrorIs(t, err, messages.ErrSuspended)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		first.Waits(t)
		require.NoError(t, p.Resume(ctx))
		testkit.Put(t, first.Granted(t), second.Granted(t))
		testkit.Put(t, third.Granted(t))
		assert.Equal(t, messages.StateReady, p.Stats().State)
	})
}

// L6
func TestAConnectThatEndsWhileSuspendedBecomesIdle(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1))
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		time.Sleep(time.Second)
		g.Waits(t)
		assert.Equal(t, 1, p.Stats().Idle)
		require.NoError(t, p.Resume(ctx))
		testkit.Put(t, g.Granted(t))
	})
}

// L6
func TestASuspendedPoolCanBeClosed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		testkit.Fill(t, p, 1)
		require.NoError(t, p.Suspend(ctx))
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Close(ctx))
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
	})
}
