package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// withCoDel configures a target of 100ms and an interval of a second. A wait in a bad
// queue ends after 200ms.
func withCoDel(cfg *testkit.Config) {
	cfg.Shed = client.CoDel{Target: 100 * time.Millisecond, Interval: time.Second}
}

// withShedHopeless configures ShedHopeless.
func withShedHopeless(cfg *testkit.Config) { cfg.ShedHopeless = true }

// wasShed checks that a Get was shed after a wait of this length, and gives its errors.
func wasShed(t *testing.T, g *testkit.Getting, after time.Duration) (*messages.GetError, *messages.ShedError) {
	t.Helper()
	err := g.Failed(t)
	assert.ErrorIs(t, err, messages.ErrShed)
	assert.NotErrorIs(t, err, messages.ErrExhausted)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	var failure *messages.GetError
	require.ErrorAs(t, err, &failure)
	var shed *messages.ShedError
	require.ErrorAs(t, err, &shed)
	assert.Equal(t, after, g.Waited)
	assert.Equal(t, after, failure.Waited)
	return failure, shed
}

// overload takes the one connection of a pool and makes its queue bad.
func overload(t *testing.T, p *testkit.Pool) testkit.Lease {
	t.Helper()
	held := testkit.Get(t, p)
	g := testkit.BeginGet(ctx, p)
	time.Sleep(time.Second)
	wasShed(t, g, time.Second)
	return held
}

func TestAQueueThatStallsIsBadAfterOneInterval(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		j := &testkit.Journal{}
		p := w.Pool(testkit.Capacity(1), withCoDel, j.Listen)
		held := testkit.Get(t, p)
		time.Sleep(time.Hour) // without waiters the queue does not become bad
		before := len(j.All())
		first := testkit.BeginGetWith(ctx, p, client.GetOptions{Label: "first"})
		time.Sleep(750 * time.Millisecond)
		second := testkit.BeginGet(ctx, p)
		time.Sleep(150 * time.Millisecond)
		third := testkit.BeginGet(ctx, p)
		time.Sleep(100*time.Millisecond - 1)
		first.Waits(t)
		time.Sleep(time.Nanosecond)
		failure, shed := wasShed(t, first, time.Second)
		assert.Equal(t, 100*time.Millisecond, shed.Target)
		assert.Zero(t, shed.Estimate)
		assert.Equal(t, "db", failure.Pool)
		assert.Equal(t, 1, failure.Position)
		assert.Equal(t, 3, failure.Stats.Waiting)
		assert.Len(t, failure.Holders, 1)
		assert.Contains(t, failure.Error(), "overloaded: every recent wait is above 100ms")
		wasShed(t, second, 250*time.Millisecond) // more than 200ms
		third.Waits(t)
		time.Sleep(100 * time.Millisecond)
		wasShed(t, third, 200*time.Millisecond)

		var reasons []messages.Reason
		for _, e := range j.All()[before:] {
			if e.Kind != messages.CheckOutFailed {
				continue
			}
			if len(reasons) == 0 {
				assert.Equal(t, "first", e.Label)
				assert.Equal(t, time.Second, e.Duration)
				assert.ErrorIs(t, e.Err, messages.ErrShed)
			}
			reasons = append(reasons, e.Reason)
		}
		assert.Equal(t, []messages.Reason{messages.ReasonExhausted, messages.ReasonExhausted, messages.ReasonExhausted}, reasons)
		st := p.Stats()
		assert.EqualValues(t, 3, st.Sheds)
		assert.Zero(t, st.Timeouts+st.Cancels)
		assert.Zero(t, st.Waiting)
		testkit.Put(t, held)
	})
}

func TestThatEverybodyWasShedMakesNoQueueGood(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := overload(t, p)
		time.Sleep(time.Minute)
		late := testkit.BeginGet(ctx, p)
		time.Sleep(200 * time.Millisecond)
		wasShed(t, late, 200*time.Millisecond)
		testkit.Put(t, held)
	})
}

func TestAQueueIsGoodAgainOnceSomebodyIsServedWithoutAWait(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		testkit.Put(t, overload(t, p))
		held := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second - 1)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

func TestAQueueIsGoodAgainAfterAnIntervalWithAShortWait(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := overload(t, p)
		g, next := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		for range 20 { // the queue is never empty, and each of them waits for 100ms
			time.Sleep(50 * time.Millisecond)
			testkit.Put(t, held)
			held = g.Granted(t)
			g, next = next, testkit.BeginGet(ctx, p)
		}
		time.Sleep(500 * time.Millisecond)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
		testkit.Put(t, next.Granted(t))
		assert.EqualValues(t, 1, p.Stats().Sheds)
	})
}

func TestABurstIsServedHoweverLongItsLastOnesWait(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		var all []*testkit.Call
		for range 48 { // 960ms
			all = append(all, testkit.Async(func() error {
				return p.Do(ctx, func(context.Context, *testkit.Conn) error { time.Sleep(20 * time.Millisecond); return nil })
			}))
		}
		time.Sleep(time.Second)
		for _, c := range all {
			assert.NoError(t, c.Returned(t))
		}
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestWithoutShedAQueueMayBeBadForEver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(24 * time.Hour)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

func TestAGetWithAConnectUnderWayIsNotShed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(5 * time.Second))
		p := w.Pool(testkit.Capacity(1), withCoDel)
		g, queued := testkit.BeginGet(ctx, p), testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		g.Waits(t)
		wasShed(t, queued, time.Second)
		time.Sleep(4 * time.Second)
		testkit.Put(t, g.Granted(t))
	})
}

func TestAGetByMessageIsShedToo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := testkit.Get(t, p)
		b := w.Borrower()
		b.Request(p, &messages.Get{})
		assert.Empty(t, b.Take())
		time.Sleep(time.Second)
		got := b.Take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrShed)
		assert.ErrorAs(t, got[0].(*messages.Denied).Err, new(*messages.ShedError))
		testkit.Put(t, held)
	})
}

func TestTooManyWaitersIsErrExhaustedAndNotShed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel, withShedHopeless, func(cfg *testkit.Config) { cfg.MaxWaiters = 1 })
		held := lendInTurn(t, p, 500*time.Millisecond, 8)
		g := testkit.BeginGet(ctx, p)
		_, err := p.Get(testkit.Within(t, 10*time.Millisecond)) // one too many, and hopeless as well
		assert.ErrorIs(t, err, messages.ErrExhausted)
		assert.NotErrorIs(t, err, messages.ErrShed)
		assert.ErrorAs(t, err, new(*messages.GetError))
		assert.Zero(t, p.Stats().Sheds)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

// lendInTurn lends the one connection of a pool to n waiters, one after the other for
// d each, and gives the lease of the last.
func lendInTurn(t *testing.T, p *testkit.Pool, d time.Duration, n int) testkit.Lease {
	t.Helper()
	require.NoError(t, p.Ready(ctx)) // else the wait for a connect would be measured too
	held := testkit.Get(t, p)
	for range n {
		g := testkit.BeginGet(ctx, p)
		time.Sleep(d)
		testkit.Put(t, held)
		held = g.Granted(t)
	}
	return held
}

func TestAGetWhoseDeadlineCannotBeMetIsRefusedAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		j := &testkit.Journal{}
		p := w.Pool(testkit.Capacity(1), withShedHopeless, j.Listen)
		held := lendInTurn(t, p, 100*time.Millisecond, 8)
		before := len(j.All())

		patient := testkit.BeginGet(ctx, p)
		patient.Waits(t)
		failure, shed := wasShed(t, testkit.BeginGet(testkit.Within(t, 150*time.Millisecond), p), 0)
		assert.Equal(t, 200*time.Millisecond, shed.Estimate)
		assert.Zero(t, shed.Target)
		assert.Equal(t, 1, failure.Stats.Waiting-1, "other waiters")
		assert.Contains(t, failure.Error(), "overloaded: the wait would be 200ms, longer than the deadline allows")

		just := testkit.BeginGet(testkit.Within(t, 200*time.Millisecond), p) // exactly the estimate
		just.Waits(t)
		_, shed = wasShed(t, testkit.BeginGet(testkit.Within(t, 299*time.Millisecond), p), 0)
		assert.Equal(t, 300*time.Millisecond, shed.Estimate)
		unbounded := testkit.BeginGet(ctx, p)
		unbounded.Waits(t)

		st := p.Stats()
		assert.EqualValues(t, 2, st.Sheds)
		assert.Zero(t, st.Timeouts+st.Cancels)
		assert.Equal(t, 3, st.Waiting)
		var failed []messages.Reason
		for _, e := range j.All()[before:] {
			if e.Kind == messages.CheckOutFailed {
				failed = append(failed, e.Reason)
				assert.Zero(t, e.Duration)
				assert.ErrorIs(t, e.Err, messages.ErrShed)
			}
		}
		assert.Equal(t, []messages.Reason{messages.ReasonExhausted, messages.ReasonExhausted}, failed)

		for _, g := range []*testkit.Getting{patient, just, unbounded} {
			time.Sleep(50 * time.Millisecond)
			testkit.Put(t, held)
			held = g.Granted(t)
		}
		testkit.Put(t, held)
	})
}

func TestNobodyIsHopelessBeforeThePaceIsKnown(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withShedHopeless)
		held := lendInTurn(t, p, time.Minute, 7)
		g := testkit.BeginGet(testkit.Within(t, time.Millisecond), p)
		g.Waits(t)
		time.Sleep(time.Millisecond)
		err := g.Failed(t)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, messages.ErrShed)
		st := p.Stats()
		assert.Zero(t, st.Sheds)
		assert.EqualValues(t, 1, st.Timeouts)
		testkit.Put(t, held)
	})
}

func TestWithoutADeadlineNobodyIsHopeless(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withShedHopeless)
		held := lendInTurn(t, p, 500*time.Millisecond, 8)
		cancellable, cancel := context.WithCancel(ctx)
		defer cancel()
		var all []*testkit.Getting
		for range 10 {
			g := testkit.BeginGet(cancellable, p)
			g.Waits(t)
			all = append(all, g)
		}
		time.Sleep(time.Hour)
		for _, g := range all {
			g.Waits(t)
		}
		assert.Zero(t, p.Stats().Sheds)
		cancel()
		testkit.Put(t, held)
	})
}

func TestNobodyIsHopelessWhoIsServedWithoutAWaitOrByAConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), withShedHopeless)
		require.NoError(t, p.SetCapacity(ctx, 1))
		held := lendInTurn(t, p, time.Minute, 8)
		require.NoError(t, p.SetCapacity(ctx, 2))
		w.Server.SetDial(testkit.Delay(5 * time.Millisecond))
		g := testkit.BeginGet(testkit.Within(t, 10*time.Millisecond), p) // a connect is under way
		g.Waits(t)
		time.Sleep(5 * time.Millisecond)
		testkit.Put(t, g.Granted(t))
		testkit.Put(t, testkit.Get(t, p)) // it is idle now
		l, err := p.Get(testkit.Within(t, time.Nanosecond))
		require.NoError(t, err)
		testkit.Put(t, l, held)
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestAGetByMessageCanBeHopelessToo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withShedHopeless)
		held := lendInTurn(t, p, time.Second, 8)
		b := w.Borrower()
		g := testkit.BeginGet(ctx, p)
		b.Request(p, &messages.Get{Deadline: time.Now().Add(1999 * time.Millisecond)})
		got := b.Take()
		require.Len(t, got, 1)
		var shed *messages.ShedError
		require.ErrorAs(t, got[0].(*messages.Denied).Err, &shed)
		assert.Equal(t, 2*time.Second, shed.Estimate)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

func TestASuspendedPoolShedsNobodyAndResumeGivesAnInterval(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := testkit.Get(t, p)
		require.NoError(t, p.Suspend(ctx))
		var all []*testkit.Getting
		for range 4 {
			all = append(all, testkit.BeginGet(ctx, p))
		}
		time.Sleep(time.Minute)
		for _, g := range all {
			g.Waits(t)
		}
		require.NoError(t, p.Resume(ctx))
		time.Sleep(400 * time.Millisecond)
		testkit.Put(t, held)
		held = all[0].Granted(t)
		time.Sleep(400 * time.Millisecond)
		testkit.Put(t, held)
		held = all[1].Granted(t)
		time.Sleep(200*time.Millisecond - 1)
		all[2].Waits(t)
		time.Sleep(time.Nanosecond) // the interval is over, and no wait was below the target
		wasShed(t, all[2], time.Minute+time.Second)
		wasShed(t, all[3], time.Minute+time.Second)
		testkit.Put(t, held)
	})
}

func TestASuspendMakesABadQueueGood(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := overload(t, p)
		g := testkit.BeginGet(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		time.Sleep(time.Minute)
		g.Waits(t)
		require.NoError(t, p.Resume(ctx))
		time.Sleep(time.Second - 1)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

func TestACapacityOfZeroIsAStallAndOneThatIsRaisedServesAtOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		testkit.Fill(t, p, 1)
		require.NoError(t, p.SetCapacity(ctx, 0))
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		failure, _ := wasShed(t, g, time.Second)
		assert.Zero(t, failure.Stats.Capacity)
		next := testkit.BeginGet(ctx, p)
		time.Sleep(200 * time.Millisecond)
		wasShed(t, next, 200*time.Millisecond)

		last := testkit.BeginGet(ctx, p)
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, p.SetCapacity(ctx, 1))
		testkit.Put(t, last.Granted(t))
		assert.EqualValues(t, 2, p.Stats().Sheds)
	})
}

func TestInAnOutageTheQueueStallsAndTheErrorSaysWhy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(testkit.Capacity(1), withCoDel, func(cfg *testkit.Config) { cfg.Backoff.Base, cfg.Backoff.Cap = 4*time.Second, 4*time.Second })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		probe := time.Now().Add(4 * time.Second)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second)
		failure, _ := wasShed(t, g, time.Second)
		assert.Equal(t, messages.StateBackoff, failure.Stats.State)
		assert.Equal(t, 1, failure.Attempt)
		assert.Equal(t, probe, failure.NextAttempt)
		assert.ErrorIs(t, failure.LastConnectError, testkit.ErrRefused)
		assert.Contains(t, failure.Error(), "connection refused")
		assert.NotErrorIs(t, failure, testkit.ErrRefused)

		w.Server.SetDial(testkit.Accept)
		time.Sleep(time.Until(probe) - 50*time.Millisecond)
		last := testkit.BeginGet(ctx, p)
		last.Waits(t)
		time.Sleep(50 * time.Millisecond)
		testkit.Put(t, last.Granted(t))
	})
}

// With fail-fast no Get waits in an outage, so none is shed.
func TestWithFailFastTheBackoffIsFasterThanShedding(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(testkit.Capacity(1), withCoDel, withShedHopeless, func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffFailFast })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		_, err = p.Get(ctx)
		assert.ErrorAs(t, err, new(*messages.BackoffError))
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestAWaitThatIsShedCanStillBeCancelledBefore(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := overload(t, p)
		cancelled, cancel := context.WithCancel(ctx)
		g := testkit.BeginGet(cancelled, p)
		time.Sleep(100 * time.Millisecond)
		cancel()
		err := g.Failed(t)
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, messages.ErrShed)
		assert.EqualValues(t, 1, p.Stats().Sheds)
		testkit.Put(t, held)
	})
}

func TestOfShedOneOfTargetAndIntervalIsEnough(t *testing.T) {
	for _, tt := range []struct {
		name             string
		shed             client.CoDel
		target, interval time.Duration
	}{
		{"target", client.CoDel{Target: 200 * time.Millisecond}, 200 * time.Millisecond, time.Second},
		{"interval", client.CoDel{Interval: 300 * time.Millisecond}, 50 * time.Millisecond, 300 * time.Millisecond},
		{"equal", client.CoDel{Target: time.Minute, Interval: time.Minute}, time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.Shed = tt.shed })
				held := testkit.Get(t, p)
				g := testkit.BeginGet(ctx, p)
				until := max(tt.interval, 2*tt.target)
				time.Sleep(until - 1)
				g.Waits(t)
				time.Sleep(time.Nanosecond)
				_, shed := wasShed(t, g, until)
				assert.Equal(t, tt.target, shed.Target)
				testkit.Put(t, held)
			})
		})
	}
}

func TestAShedThatMakesNoSenseIsRefused(t *testing.T) {
	for _, tt := range []struct {
		shed          client.CoDel
		field, reason string
	}{
		{client.CoDel{Target: -1}, "Shed.Target", "-1ns is negative"},
		{client.CoDel{Target: time.Second, Interval: -time.Second}, "Shed.Interval", "-1s is negative"},
		{client.CoDel{Interval: -time.Second}, "Shed.Interval", "-1s is negative"},
		{client.CoDel{Target: 2 * time.Second, Interval: time.Second}, "Shed.Interval", "1s is below Target, 2s"},
		{client.CoDel{Target: 2 * time.Second}, "Shed.Interval", "1s is below Target, 2s"},
		{client.CoDel{Interval: 40 * time.Millisecond}, "Shed.Interval", "40ms is below Target, 50ms"},
	} {
		_, err := client.New(testkit.Config{Connect: testkit.NewServer(t).Connect, Shed: tt.shed})
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e, "%+v", tt.shed)
		assert.Equal(t, tt.field, e.Field)
		assert.Equal(t, tt.reason, e.Reason)
	}
}

// Every wait is half the target, and each time the queue is empty for a moment.
func TestAQueueThatKeepsEmptyingIsGoodAgain(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withCoDel)
		held := overload(t, p)
		for range 1000 {
			g := testkit.BeginGet(ctx, p)
			time.Sleep(50 * time.Millisecond)
			testkit.Put(t, held)
			held = g.Granted(t)
		}
		g := testkit.BeginGet(ctx, p)
		time.Sleep(900 * time.Millisecond)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

func TestThePaceIsMeasuredAgainWhenHoldersBecomeFaster(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.ShedHopeless = true })
		for range 9 { // the holders are slow: ten seconds each
			l := testkit.Get(t, p)
			g := testkit.BeginGet(ctx, p)
			time.Sleep(10 * time.Second)
			testkit.Put(t, l)
			testkit.Put(t, g.Granted(t))
		}
		refused := 0
		const rounds = 100
		for range rounds { // now they take ten milliseconds
			l := testkit.Get(t, p)
			g := testkit.BeginGet(testkit.Within(t, time.Second), p)
			time.Sleep(10 * time.Millisecond)
			testkit.Put(t, l)
			if g.Ended() && errors.Is(g.Err, messages.ErrShed) {
				refused++
			} else {
				testkit.Put(t, g.Granted(t))
			}
		}
		assert.Zero(t, refused, "of %d Gets with a deadline of a second and a wait of 10ms", rounds)
	})
}
