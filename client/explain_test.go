package client_test

import (
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
		assert.Equal(t, `pool "db": state=ready capacity=2 open=0 borrowed=0 idle=0 connecting=0 waiting=0`+"\n", e.String())

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
  connecting connection 2 for 1s ("export")
`, e.String())

		time.Sleep(time.Minute)
		c.Put(p, c.TakeLease(t)) // the connection is clean, so it goes to the Get without a setting
		testkit.Put(t, g.Granted(t), a)
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
