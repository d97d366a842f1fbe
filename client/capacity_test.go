package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// C1
func TestLoweringTheCapacityClosesIdleConnectionsFirst(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4))
		a, b, c, d := testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p)
		testkit.Put(t, c, d)
		shrink := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		shrink.Waits(t)
		st := p.Stats()
		assert.Equal(t, 2, st.Open)
		assert.Equal(t, 2, st.Borrowed)
		assert.Equal(t, 1, st.Capacity)
		testkit.Put(t, b)
		assert.NoError(t, shrink.Returned(t))
		testkit.Put(t, a)
		st = p.Stats()
		assert.Equal(t, 1, st.Idle)
		assert.EqualValues(t, 3, st.ClosedCapacity)
	})
}

// C2
func TestSetCapacityWaitsForConnectionsThatAreStillClosing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.OnClose = func(*testkit.Conn) { time.Sleep(time.Second) }
		p := w.Pool(testkit.Capacity(2))
		testkit.Fill(t, p, 2)
		assert.Equal(t, time.Second, testkit.Elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 1)) }))
	})
}

// C2, H6
func TestAReductionThatRunsOutOfTimeNamesTheHoldersAndStaysInForce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		a, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		b, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		err = p.SetCapacity(testkit.Within(t, time.Minute), 1)
		var e *messages.DrainError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "set capacity", e.Op)
		assert.Equal(t, 1, e.Stats.Capacity)
		assert.Equal(t, 2, e.Stats.Borrowed)
		assert.Equal(t, []messages.Holder{
			{ConnID: 1, Label: "report", Age: 61 * time.Second}, {ConnID: 2, Label: "import", Age: time.Minute},
		}, e.Holders)
		assert.Contains(t, err.Error(), "report")

		st := p.Stats()
		assert.Equal(t, 1, st.Capacity)
		assert.Zero(t, st.Idle)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, a)
		g.Waits(t)
		testkit.Put(t, b)
		testkit.Put(t, g.Granted(t))
		assert.Equal(t, 1, p.Stats().Open)
		require.NoError(t, p.SetCapacity(ctx, 2))
	})
}

// C2
func TestALaterSetCapacitySupersedesAnEarlierOne(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		a, b := testkit.Get(t, p), testkit.Get(t, p)
		first := testkit.Async(func() error { return p.SetCapacity(ctx, 0) })
		first.Waits(t)
		second := testkit.Async(func() error { return p.SetCapacity(ctx, 1) })
		assert.ErrorIs(t, first.Returned(t), messages.ErrSuperseded)
		second.Waits(t)
		testkit.Put(t, a)
		assert.NoError(t, second.Returned(t))
		testkit.Put(t, b)
		assert.Equal(t, 1, p.Stats().Capacity)
	})
}

// C3, H4
func TestAtCapacityZeroGetsWait(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		testkit.Fill(t, p, 2)
		require.NoError(t, p.SetCapacity(ctx, 0))
		st := p.Stats()
		assert.Zero(t, st.Open)
		assert.Equal(t, messages.StateReady, st.State)
		short := testkit.BeginGet(testkit.Within(t, time.Second), p)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		assert.ErrorIs(t, short.Failed(t), context.DeadlineExceeded)
		assert.NotErrorIs(t, short.Err, messages.ErrClosed)
		g.Waits(t)
		require.NoError(t, p.SetCapacity(ctx, 1))
		testkit.Put(t, g.Granted(t))
	})
}

// C3
func TestANegativeCapacityIsRefused(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		var e *messages.ConfigError
		require.ErrorAs(t, p.SetCapacity(ctx, -1), &e)
		assert.Equal(t, "Capacity", e.Field)
		assert.Equal(t, 2, p.Stats().Capacity)
	})
}

// H11
func TestSetCapacityWaitsForAConnectUnderWay(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(1))
		g := testkit.BeginGet(ctx, p)
		took := testkit.Elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 0)) })
		assert.Equal(t, time.Second, took)
		g.Waits(t)
		st := p.Stats()
		assert.Zero(t, st.Open+st.Connecting+st.Closing)
		require.NoError(t, p.SetCapacity(ctx, 1))
		time.Sleep(time.Second)
		testkit.Put(t, g.Granted(t))
	})
}
