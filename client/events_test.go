package client_test

import (
	"bytes"
	"context"
	"log/slog"
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

func TestEventsComeInOrder(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(j.Listen, testkit.Capacity(1))
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		g := testkit.BeginGet(ctx, p)
		testkit.Put(t, l)
		require.NoError(t, g.Granted(t).Taint(testkit.ErrApp))
		require.NoError(t, p.SetCapacity(ctx, 2))
		require.NoError(t, p.Suspend(ctx))
		require.NoError(t, p.Resume(ctx))
		l = testkit.Get(t, p)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		testkit.Put(t, l)
		testkit.Fill(t, p, 1)
		require.NoError(t, p.Close(ctx))
		assert.Equal(t, []string{
			"PoolCreated", "PoolReady",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut",
			"CheckOutStarted", "CheckedIn", "CheckedOut",
			"CheckedIn", "ConnectionClosed(broken)",
			"CapacityChanged", "PoolSuspended", "PoolResumed",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut",
			"PoolCleared", "CheckedIn", "ConnectionClosed(stale)",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "CheckedOut", "CheckedIn",
			"ConnectionClosed(poolClosed)", "PoolClosed",
		}, j.Kinds(0))
		all := j.All()
		for i, e := range all {
			assert.EqualValues(t, i+1, e.Seq)
			assert.Equal(t, "db", e.Pool)
			assert.False(t, e.Time.IsZero())
		}
		assert.Equal(t, 1, all[0].To)
		assert.Equal(t, "report", all[5].Label)
		assert.EqualValues(t, 1, all[5].ConnID)
		assert.ErrorIs(t, all[10].Err, testkit.ErrApp)
		assert.Equal(t, [2]int{1, 2}, [2]int{all[11].From, all[11].To})
		assert.EqualValues(t, 1, all[18].Generation)
	})
}

// B3, B10
func TestEventsOfABackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(j.Listen)
		_, err := p.Get(ctx)
		require.Error(t, err)
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, []string{
			"CheckOutStarted", "ConnectionCreated", "ConnectionClosed(error)", "PoolBackoff", "CheckOutFailed(connectionError)",
			"CheckOutStarted", "ConnectionCreated", "ConnectionReady", "PoolReady", "CheckedOut", "CheckedIn",
		}, j.Kinds(2))
	})
}

func TestEventsOfGetsThatFail(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(j.Listen, testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxWaiters = 1 })
		held := testkit.Get(t, p)
		_, err := p.Get(testkit.Within(t, time.Second))
		require.Error(t, err)
		leaving, cancel := context.WithCancel(ctx)
		g := testkit.BeginGet(leaving, p)
		_, err = p.Get(ctx)
		require.Error(t, err)
		cancel()
		g.Failed(t)
		g = testkit.BeginGet(ctx, p)
		ending := testkit.Async(func() error { return p.Close(ctx) })
		g.Failed(t)
		testkit.Put(t, held)
		require.NoError(t, ending.Returned(t))
		var reasons []string
		for _, e := range j.All() {
			if e.Kind == messages.CheckOutFailed {
				reasons = append(reasons, e.Reason.String())
				assert.Error(t, e.Err)
			}
		}
		assert.Equal(t, []string{"timeout", "exhausted", "canceled", "poolClosed"}, reasons)
		kinds := j.Kinds(0)
		assert.Equal(t, []string{"PoolClosed", "CheckedIn", "ConnectionClosed(poolClosed)"}, kinds[len(kinds)-3:])
	})
}

// B14
func TestASlowOrBrokenHandlerChangesNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		handled := 0
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.OnEvent = func(messages.Event) {
				if handled++; handled%2 == 0 {
					panic("handler")
				}
				time.Sleep(time.Second)
			}
			cfg.Logger = slog.New(slog.DiscardHandler) // otherwise slog.Default gets the panics
		})
		assert.Zero(t, testkit.Elapsed(func() {
			for range 100 {
				testkit.Put(t, testkit.Get(t, p))
			}
		}))
		testkit.Pass(time.Hour)
		assert.Equal(t, 2+5+99*3, handled)
	})
}

// X4
func TestAHandlerThatHangsDelaysCloseForAMomentOnly(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Pool(func(cfg *testkit.Config) { cfg.OnEvent = func(messages.Event) { <-release } })
		testkit.Fill(t, p, 1)
		took := testkit.Elapsed(func() { assert.NoError(t, p.Close(ctx)) })
		assert.LessOrEqual(t, took, time.Second)
		close(release)
		synctest.Wait()
	})
}

func TestTheCountersCount(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		_, err := p.Get(testkit.Within(t, time.Second))
		require.Error(t, err)
		leaving, cancel := context.WithCancel(ctx)
		left := testkit.BeginGet(leaving, p)
		cancel()
		left.Failed(t)
		testkit.Put(t, l)
		require.NoError(t, g.Granted(t).Taint(nil))
		synctest.Wait()
		w.Server.SetDial(testkit.Refuse)
		_, err = p.Get(ctx)
		require.Error(t, err)
		st := p.Stats()
		assert.True(t, st.NextAttempt.After(time.Now()))
		st.NextAttempt = time.Time{} // it is random
		assert.Equal(t, client.Stats{
			Name: "db", State: messages.StateBackoff, Capacity: 1, MaxIdle: 1, LastConnectError: testkit.ErrRefused,
			Gets: 5, Grants: 2, Waits: 5, GrantedWaits: 2, WaitTime: time.Second, Timeouts: 1, Cancels: 1,
			Connects: 2, ConnectErrors: 1, Puts: 1, Taints: 1, ClosedBroken: 1, Backoffs: 1,
		}, st)
	})
}

// The pool makes no events that nobody wants. A logger at the default level of slog
// wants those that are warnings.
func TestALoggerAtTheDefaultLevelGetsTheWarnings(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var log bytes.Buffer // one goroutine writes it; it is read when all is quiet
		p := w.Pool(testkit.LeakAfter(time.Minute), func(cfg *testkit.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			require.Nil(t, cfg.OnEvent)
		})
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		w.Server.SetDial(testkit.Refuse)
		_, err = p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		testkit.Pass(time.Minute)
		testkit.Put(t, l)
		synctest.Wait()

		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 2, log.String())
		for i, parts := range [][]string{
			{`level=WARN msg="Connection pool backoff"`, "pool=db", "attempt=1", "class=overload", `error="connection refused"`},
			{`level=WARN msg="Connection lease leaked"`, "pool=db", "label=report"},
		} {
			for _, part := range parts {
				assert.Contains(t, lines[i], part)
			}
		}
	})
}
