package client_test

import (
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

func TestExplainTellsEverythingOfOneMoment(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		settings := &settingsServer{}
		p := w.Pool(testkit.Capacity(2), withSettings(settings))
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Holders)
		assert.Empty(t, e.Waiters)
		assert.Empty(t, e.Suspicions)
		assert.Empty(t, e.Conns)
		assert.Equal(t, `pool "db": state=ready capacity=2 open=0 borrowed=0 idle=0 connecting=0 waiting=0`, withoutEvents(t, e))

		a := getLabelled(t, ctx, p, "import")
		time.Sleep(time.Second)
		w.Server.SetDial(testkit.Delay(5 * time.Second))
		g := testkit.BeginGetWith(ctx, p, client.GetOptions{Label: "export", Setting: "blue"})
		c := w.Borrower()
		c.Request(p, &messages.Get{Label: "actor"})
		time.Sleep(time.Second)
		e, err = p.Explain(ctx)
		require.NoError(t, err)
		byMessage := *testkit.Ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		assert.Equal(t, e, byMessage)
		assert.Equal(t, time.Now().Unix(), e.Time.Unix())
		assert.Equal(t, []messages.Holder{{ConnID: 1, Label: "import", Age: 2 * time.Second}}, e.Holders)
		address := c.PID.Address + "/" + c.PID.Id
		assert.Equal(t, []messages.Waiter{
			{Label: "export", Waited: time.Second, Setting: "blue", Doing: "connecting"},
			{Label: "actor", Waited: time.Second, Borrower: address},
		}, e.Waiters)
		assert.Equal(t, []messages.Job{{ConnID: 2, Doing: "connecting", Age: time.Second, For: "export"}}, e.Jobs)
		assert.Equal(t, p.Stats(), e.Stats)
		assert.Equal(t, `pool "db": state=ready capacity=2 open=1 borrowed=1 idle=0 connecting=1 waiting=2
held by:
  "import" (connection 1, 2s)
waiting:
  "export" (1s) for setting blue, connecting a connection
  "actor" (1s, actor `+address+`)
under way:
  connecting connection 2 for 1s ("export")`, withoutEvents(t, e))
		assert.Equal(t, []messages.Conn{
			{ID: 1, State: "borrowed", Label: "import", In: 2 * time.Second, Age: 2 * time.Second, Uses: 1},
			{ID: 2, State: "connecting", Label: "export", In: time.Second},
		}, e.Conns)

		time.Sleep(time.Minute)
		c.Put(p, c.TakeLease(t)) // the connection is clean, so it goes to the Get without a setting
		testkit.Put(t, g.Granted(t), a)
	})
}

// withoutEvents is the text of an explanation without the recent events, which there are.
func withoutEvents(t *testing.T, e messages.Explanation) string {
	t.Helper()
	text, _, found := strings.Cut(e.String(), "\nrecent events:\n")
	assert.True(t, found)
	return text
}

// E10
func TestExplainHasTheRecentEventsOfAPoolWithoutAHandler(t *testing.T) {
	for name, seen := range map[string]bool{"with a handler": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					cfg.Logger = slog.New(slog.DiscardHandler)
					if seen {
						cfg.OnEvent = func(messages.Event) {}
					} else {
						cfg.OnEvent, cfg.OnChange = nil, nil
					}
				})
				l := testkit.Get(t, p)
				ended, cancel := context.WithCancel(ctx)
				cancel()
				_, err := p.Get(ended)
				require.ErrorIs(t, err, context.Canceled)
				testkit.Put(t, l)
				e, err := p.Explain(ctx)
				require.NoError(t, err)
				var kinds []messages.EventKind
				for i, event := range e.Recent {
					kinds = append(kinds, event.Kind)
					assert.Equal(t, "db", event.Pool)
					assert.False(t, event.Time.IsZero())
					switch {
					case !seen:
						assert.Zero(t, event.Seq, event.Kind)
					case i > 0:
						assert.Greater(t, event.Seq, e.Recent[i-1].Seq)
					}
				}
				assert.Equal(t, []messages.EventKind{
					messages.PoolCreated, messages.PoolReady, messages.ConnectionCreated, messages.ConnectionReady, messages.CheckOutFailed,
				}, kinds)
				assert.ErrorIs(t, e.Recent[4].Err, context.Canceled)
				for range 100 {
					require.NoError(t, p.Suspend(ctx))
				}
				for range 100 {
					require.NoError(t, p.Resume(ctx))
					require.NoError(t, p.Suspend(ctx))
				}
				e, err = p.Explain(ctx)
				require.NoError(t, err)
				require.Len(t, e.Recent, 64)
				assert.Equal(t, messages.PoolResumed, e.Recent[62].Kind)
				assert.Equal(t, messages.PoolSuspended, e.Recent[63].Kind)
			})
		})
	}
}

// E11
func TestTheAgeOfALeaseThatNobodyTimesIsTheLeastOne(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.OnEvent, cfg.OnChange = nil, nil
		})
		holder := func() messages.Holder {
			e, err := p.Explain(ctx)
			require.NoError(t, err)
			require.Len(t, e.Holders, 1)
			assert.Equal(t, e.Holders[0].Age, e.Conns[0].In)
			assert.Equal(t, e.Holders[0].AtLeast, e.Conns[0].AtLeast)
			return e.Holders[0]
		}
		var l testkit.Lease
		for { // one that is not in the sample of those that are timed
			l = testkit.Get(t, p)
			time.Sleep(10 * time.Second)
			if h := holder(); h.AtLeast {
				assert.Equal(t, messages.Holder{ConnID: 1, AtLeast: true}, h)
				break
			}
			testkit.Put(t, l)
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		assert.Equal(t, messages.Holder{ConnID: 1, Age: 5 * time.Second, AtLeast: true}, holder())
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := p.Get(bounded)
		assert.ErrorContains(t, err, "longest: connection 1 for at least 6s")
		testkit.Put(t, l)
		l = getLabelled(t, ctx, p, "label")
		time.Sleep(time.Second)
		assert.Equal(t, messages.Holder{ConnID: 1, Label: "label", Age: time.Second}, holder())
		testkit.Put(t, l)
	})
}

func TestAWaiterHasTheTimeThatItIsLeft(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		a, b := testkit.BeginGet(bounded, p), testkit.BeginGet(ctx, p)
		time.Sleep(4 * time.Second)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Waiters, 2)
		assert.ElementsMatch(t, []time.Duration{6 * time.Second, 0}, []time.Duration{e.Waiters[0].Left, e.Waiters[1].Left})
		testkit.Put(t, l)
		if e.Waiters[0].Left == 0 {
			a, b = b, a
		}
		testkit.Put(t, a.Granted(t))
		testkit.Put(t, b.Granted(t))
	})
}

// E10
func TestALargePoolIsExplainedOverSeveralTurns(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		const n = 600
		p := w.Pool(testkit.Capacity(n), func(cfg *testkit.Config) { cfg.MaxConnecting = n })
		leases := make([]testkit.Lease, n)
		for i := range leases {
			leases[i] = testkit.Get(t, p)
		}
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Len(t, e.Conns, n)
		assert.Len(t, e.Holders, 100)
		byMessage := *testkit.Ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		assert.Equal(t, e, byMessage)

		// Close comes between two turns, or after them: each Explain is answered.
		var explaining []*testkit.Call
		for range 20 {
			explaining = append(explaining, testkit.Async(func() error {
				_, err := p.Explain(ctx)
				return err
			}))
		}
		closing := testkit.Async(func() error { return p.Close(ctx) })
		testkit.Put(t, leases...)
		assert.NoError(t, closing.Returned(t))
		for _, c := range explaining {
			if err := c.Returned(t); err != nil {
				assert.ErrorIs(t, err, messages.ErrClosed)
			}
		}
	})
}

func TestExplainTellsOfTheBackoff(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		g := testkit.BeginGet(ctx, p)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, 1, e.Attempt)
		assert.Equal(t, time.Now().Add(time.Second).Unix(), e.NextAttempt.Unix())
		assert.ErrorIs(t, e.LastConnectError, testkit.ErrRefused)
		assert.Contains(t, e.String(), "backoff: attempt 1 has failed, the next is due at ")
		assert.Contains(t, e.String(), "last connect error: connection refused")
		w.Server.SetDial(testkit.Accept)
		time.Sleep(time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

func TestExplainOfManyTellsOfSomeAndCountsTheRest(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(150), func(cfg *testkit.Config) { cfg.MaxConnecting = 150 })
		leases := make([]testkit.Lease, 150)
		for i := range leases {
			leases[i] = testkit.Get(t, p)
		}
		waiters := make([]*testkit.Getting, 120)
		for i := range waiters {
			waiters[i] = testkit.BeginGet(ctx, p)
		}
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Len(t, e.Holders, 100)
		assert.Len(t, e.Waiters, 100)
		assert.Contains(t, e.String(), "and 50 more")
		assert.Contains(t, e.String(), "and 20 more")
		testkit.Put(t, leases...)
		for _, g := range waiters {
			testkit.Put(t, g.Granted(t))
		}
	})
}

func TestExplainSaysWhatACloseWaitsFor(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		a := getLabelled(t, ctx, p, "straggler")
		closing := testkit.Async(func() error { return p.Close(ctx) })
		time.Sleep(time.Second)
		closing.Waits(t)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, messages.StateClosing, e.Stats.State)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, "straggler", e.Holders[0].Label)
		assert.Equal(t, time.Second, e.Holders[0].Age)
		assert.Empty(t, e.Suspicions)
		told := testkit.Ask[*messages.Explanation](t, w, p, &messages.ExplainRequest{})
		assert.Equal(t, e, *told)
		testkit.Put(t, a)
		assert.NoError(t, closing.Returned(t))
		synctest.Wait()
		_, err = p.Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}

func TestExplainKeepsToItsContext(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		_, err := p.Explain(nil) //nolint:staticcheck // on purpose
		assert.ErrorIs(t, err, messages.ErrNilContext)
		testkit.Close(t, p)
		_, err = p.Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		_, err = client.Attach[*testkit.Conn](w.System, nil).Explain(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
	})
}

func TestNothingIsSuspectedAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Empty(t, e.Suspicions)
		testkit.Put(t, l)
		testkit.Put(t, g.Granted(t))
	})
}
