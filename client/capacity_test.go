package client_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
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
		w.Server.SetDial(cleansUp)
		p := w.Pool(testkit.Capacity(1))
		g := testkit.BeginGet(ctx, p)
		took := testkit.Elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 0)) })
		assert.Equal(t, 10*time.Millisecond, took)
		g.Waits(t)
		st := p.Stats()
		assert.Zero(t, st.Open+st.Connecting+st.Closing)
		w.Server.SetDial(testkit.Delay(time.Second))
		require.NoError(t, p.SetCapacity(ctx, 1))
		time.Sleep(time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

// cleansUp is a connect that hangs, and needs 10ms to clean up when it is cancelled.
func cleansUp(ctx context.Context, _ int) error {
	<-ctx.Done()
	time.Sleep(10 * time.Millisecond)
	return ctx.Err()
}

// C4
func TestLoweringTheCapacityUnderLoadClosesExactlyWhatIsTooMany(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.OnClose = func(*testkit.Conn) { time.Sleep(100 * time.Millisecond) }
		p := w.Pool(testkit.Capacity(20))
		load, stop := context.WithCancel(ctx)
		var callers sync.WaitGroup
		for i := range 30 {
			callers.Go(func() {
				time.Sleep(time.Duration(i) * 37 * time.Microsecond)
				for load.Err() == nil {
					if l, err := p.Get(load); err == nil {
						time.Sleep(time.Millisecond)
						assert.NoError(t, l.Put())
					}
				}
			})
		}
		time.Sleep(time.Second)
		require.NoError(t, p.SetCapacity(ctx, 17))
		time.Sleep(time.Second)
		st := p.Stats()
		assert.EqualValues(t, 3, st.ClosedCapacity)
		assert.EqualValues(t, 20, st.Connects)
		stop()
		callers.Wait()
	})
}

// C4
func TestLoweringTheCapacityCancelsTheConnectsThatAreTooMany(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(3 * time.Second))
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) { cfg.MaxConnecting = 4 })
		var gets []*testkit.Getting
		for range 4 {
			gets = append(gets, testkit.BeginGet(ctx, p))
		}
		time.Sleep(time.Second)
		assert.Zero(t, testkit.Elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 1)) }))
		assert.Equal(t, messages.StateReady, p.Stats().State, "no backoff")
		time.Sleep(2 * time.Second)
		for _, g := range gets { // in their order, with the one connection
			testkit.Put(t, g.Granted(t))
			synctest.Wait()
		}
		assert.Equal(t, 4, w.Server.Dials())
		assert.Zero(t, p.Stats().ClosedCapacity)
	})
}

// C4
func TestACancelledConnectThatIgnoresItsContextIsLeftBehind(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.SetDial(testkit.IgnoreContext(release))
		p := w.Pool(testkit.Capacity(1))
		g := testkit.BeginGet(ctx, p)
		took := testkit.Elapsed(func() { require.NoError(t, p.SetCapacity(ctx, 0)) })
		assert.Equal(t, 20*time.Millisecond, took)
		w.Server.SetDial(testkit.Accept)
		require.NoError(t, p.SetCapacity(ctx, 1))
		synctest.Wait()
		l := g.Granted(t)
		close(release)
		synctest.Wait()
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, []int{2, 1}, []int{opened, closed}, "opened, closed")
		testkit.Put(t, l)
	})
}

// C6
func TestTheNoteOnTheCapacityIsInErrorsExplanationsAndHealth(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		set := func(n int, note string) {
			t.Helper()
			assert.NoError(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: n, Note: note}).Err)
		}
		set(0, "fleet: no quota")
		_, err := p.Get(testkit.Within(t, time.Second))
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "fleet: no quota", e.Stats.CapacityNote)
		assert.ErrorContains(t, err, "(fleet: no quota; capacity 0: 1 waiting)")
		explained, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Contains(t, explained.String(), "waiting=0 (fleet: no quota)")
		text, err := json.Marshal(p.Health())
		require.NoError(t, err)
		assert.Contains(t, string(text), `"capacityNote":"fleet: no quota"`)
		assert.False(t, p.Health().OK)
		assert.Equal(t, "fleet: no quota", p.Health().CapacityNote)
		set(0, "red \x1b[31m, two\nlines, cut \xff")
		assert.Equal(t, "red  [31m, two lines, cut \uFFFD", p.Stats().CapacityNote)
		set(0, "fleet: no quota")

		assert.Error(t, testkit.Ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: -1, Note: "not set"}).Err)
		assert.Equal(t, "fleet: no quota", p.Stats().CapacityNote, "what is refused changes nothing")
		require.NoError(t, p.SetCapacity(ctx, 1))
		assert.Empty(t, p.Stats().CapacityNote, "ordinary Go gives no note")
		testkit.Put(t, testkit.Get(t, p))
	})
}
