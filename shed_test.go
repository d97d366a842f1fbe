package actorpool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// controlled is CoDel with a target of 100ms and an interval of a second, so that
// a wait in a bad queue ends after 200ms.
func controlled(cfg *config) {
	cfg.Shed = client.CoDel{Target: 100 * time.Millisecond, Interval: time.Second}
}

// tellsHopeless is ShedHopeless.
func tellsHopeless(cfg *config) { cfg.ShedHopeless = true }

// wasShed says that a Get was shed after so long a wait, and gives its errors.
func (g *getting) wasShed(t *testing.T, after time.Duration) (*messages.GetError, *messages.ShedError) {
	t.Helper()
	err := g.failed(t)
	assert.ErrorIs(t, err, messages.ErrShed)
	assert.NotErrorIs(t, err, messages.ErrExhausted)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	var failure *messages.GetError
	require.ErrorAs(t, err, &failure)
	var shed *messages.ShedError
	require.ErrorAs(t, err, &shed)
	assert.Equal(t, after, g.waited)
	assert.Equal(t, after, failure.Waited)
	return failure, shed
}

// stall makes the queue of a pool with one connection, which it takes, bad.
func stall(t *testing.T, p *pool) lease {
	t.Helper()
	held := get(t, p)
	g := begin(ctx, p)
	time.Sleep(time.Second)
	g.wasShed(t, time.Second)
	return held
}

func TestAQueueThatStallsIsBadAfterOneInterval(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		j := &journal{}
		p := w.pool(capacity(1), controlled, j.listen)
		held := get(t, p)
		time.Sleep(time.Hour) // nobody waits: that is no stall
		before := len(j.all())
		first := beginWith(ctx, p, client.GetOptions{Label: "first"})
		time.Sleep(750 * time.Millisecond)
		second := begin(ctx, p)
		time.Sleep(150 * time.Millisecond)
		third := begin(ctx, p)
		time.Sleep(100*time.Millisecond - 1)
		first.waits(t)
		time.Sleep(time.Nanosecond)
		failure, shed := first.wasShed(t, time.Second)
		assert.Equal(t, 100*time.Millisecond, shed.Target)
		assert.Zero(t, shed.Estimate)
		assert.Equal(t, "db", failure.Pool)
		assert.Equal(t, 1, failure.Position)
		assert.Equal(t, 3, failure.Stats.Waiting)
		assert.Len(t, failure.Holders, 1)
		assert.Contains(t, failure.Error(), "overloaded: every wait of late is above 100ms")
		second.wasShed(t, 250*time.Millisecond) // more than 200ms
		third.waits(t)
		time.Sleep(100 * time.Millisecond)
		third.wasShed(t, 200*time.Millisecond)

		var reasons []messages.Reason
		for _, e := range j.all()[before:] {
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
		put(t, held)
	})
}

func TestThatEverybodyWasShedMakesNoQueueGood(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := stall(t, p)
		time.Sleep(time.Minute)
		late := begin(ctx, p)
		time.Sleep(200 * time.Millisecond)
		late.wasShed(t, 200*time.Millisecond)
		put(t, held)
	})
}

func TestAQueueIsGoodAgainOnceSomebodyIsServedWithoutAWait(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		put(t, stall(t, p))
		held := get(t, p)
		g := begin(ctx, p)
		time.Sleep(time.Second - 1)
		g.waits(t)
		put(t, held)
		put(t, g.granted(t))
	})
}

func TestAQueueIsGoodAgainAfterAnIntervalWithAShortWait(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := stall(t, p)
		g, next := begin(ctx, p), begin(ctx, p)
		for range 20 { // the queue is never empty, and each of them waits for 100ms
			time.Sleep(50 * time.Millisecond)
			put(t, held)
			held = g.granted(t)
			g, next = next, begin(ctx, p)
		}
		time.Sleep(500 * time.Millisecond)
		put(t, held)
		put(t, g.granted(t))
		put(t, next.granted(t))
		assert.EqualValues(t, 1, p.Stats().Sheds)
	})
}

func TestABurstIsServedHoweverLongItsLastOnesWait(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		var all []*call
		for range 48 { // 960ms
			all = append(all, async(func() error {
				return p.Do(ctx, func(context.Context, *conn) error { time.Sleep(20 * time.Millisecond); return nil })
			}))
		}
		time.Sleep(time.Second)
		for _, c := range all {
			assert.NoError(t, c.returned(t))
		}
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestWithoutShedAQueueMayBeBadForEver(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		g := begin(ctx, p)
		time.Sleep(24 * time.Hour)
		g.waits(t)
		put(t, held)
		put(t, g.granted(t))
	})
}

func TestWhoHasAConnectUnderWayIsNotShed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(takes(5 * time.Second))
		p := w.pool(capacity(1), controlled)
		g, queued := begin(ctx, p), begin(ctx, p)
		time.Sleep(time.Second)
		g.waits(t)
		queued.wasShed(t, time.Second)
		time.Sleep(4 * time.Second)
		put(t, g.granted(t))
	})
}

func TestAGetByMessageIsShedToo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := get(t, p)
		b := w.inbox()
		b.request(p, &messages.Get{})
		assert.Empty(t, b.take())
		time.Sleep(time.Second)
		got := b.take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, messages.ErrShed)
		assert.ErrorAs(t, got[0].(*messages.Denied).Err, new(*messages.ShedError))
		put(t, held)
	})
}

func TestTooManyWaitersIsErrExhaustedAndNotShed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled, tellsHopeless, func(cfg *config) { cfg.MaxWaiters = 1 })
		held := paced(t, p, 500*time.Millisecond, 8)
		g := begin(ctx, p)
		_, err := p.Get(within(t, 10*time.Millisecond)) // one too many, and hopeless as well
		assert.ErrorIs(t, err, messages.ErrExhausted)
		assert.NotErrorIs(t, err, messages.ErrShed)
		assert.ErrorAs(t, err, new(*messages.GetError))
		assert.Zero(t, p.Stats().Sheds)
		put(t, held)
		put(t, g.granted(t))
	})
}

// paced lends the connection of a pool that has one to n who wait, one after the
// other for d each, and gives the lease of the last of them.
func paced(t *testing.T, p *pool, d time.Duration, n int) lease {
	t.Helper()
	require.NoError(t, p.Ready(ctx)) // a wait for a connect would count
	held := get(t, p)
	for range n {
		g := begin(ctx, p)
		time.Sleep(d)
		put(t, held)
		held = g.granted(t)
	}
	return held
}

func TestAGetWhoseDeadlineCannotBeMetIsRefusedAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		j := &journal{}
		p := w.pool(capacity(1), tellsHopeless, j.listen)
		held := paced(t, p, 100*time.Millisecond, 8)
		before := len(j.all())

		patient := begin(ctx, p)
		patient.waits(t)
		failure, shed := begin(within(t, 150*time.Millisecond), p).wasShed(t, 0)
		assert.Equal(t, 200*time.Millisecond, shed.Estimate)
		assert.Zero(t, shed.Target)
		assert.Equal(t, 1, failure.Stats.Waiting-1, "others who wait")
		assert.Contains(t, failure.Error(), "overloaded: the wait would be 200ms, longer than the deadline allows")

		just := begin(within(t, 200*time.Millisecond), p) // it can be met, if only just
		just.waits(t)
		_, shed = begin(within(t, 299*time.Millisecond), p).wasShed(t, 0)
		assert.Equal(t, 300*time.Millisecond, shed.Estimate)
		unbounded := begin(ctx, p)
		unbounded.waits(t)

		st := p.Stats()
		assert.EqualValues(t, 2, st.Sheds)
		assert.Zero(t, st.Timeouts+st.Cancels)
		assert.Equal(t, 3, st.Waiting)
		var failed []messages.Reason
		for _, e := range j.all()[before:] {
			if e.Kind == messages.CheckOutFailed {
				failed = append(failed, e.Reason)
				assert.Zero(t, e.Duration)
				assert.ErrorIs(t, e.Err, messages.ErrShed)
			}
		}
		assert.Equal(t, []messages.Reason{messages.ReasonExhausted, messages.ReasonExhausted}, failed)

		for _, g := range []*getting{patient, just, unbounded} {
			time.Sleep(50 * time.Millisecond)
			put(t, held)
			held = g.granted(t)
		}
		put(t, held)
	})
}

func TestNobodyIsHopelessBeforeThePaceIsKnown(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), tellsHopeless)
		held := paced(t, p, time.Minute, 7)
		g := begin(within(t, time.Millisecond), p)
		g.waits(t)
		time.Sleep(time.Millisecond)
		err := g.failed(t)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, messages.ErrShed)
		st := p.Stats()
		assert.Zero(t, st.Sheds)
		assert.EqualValues(t, 1, st.Timeouts)
		put(t, held)
	})
}

func TestWithoutADeadlineNobodyIsHopeless(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), tellsHopeless, func(cfg *config) { cfg.GetTimeout = time.Second })
		held := paced(t, p, 500*time.Millisecond, 8)
		cancellable, cancel := context.WithCancel(ctx)
		defer cancel()
		var all []*getting
		for range 10 { // GetTimeout ends a wait, but it is no deadline to reckon with
			g := begin(cancellable, p)
			g.waits(t)
			all = append(all, g)
		}
		time.Sleep(time.Second)
		for _, g := range all {
			assert.ErrorIs(t, g.failed(t), context.DeadlineExceeded)
		}
		assert.Zero(t, p.Stats().Sheds)
		put(t, held)
	})
}

func TestNobodyIsHopelessWhoIsServedWithoutAWaitOrByAConnect(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), tellsHopeless)
		require.NoError(t, p.SetCapacity(ctx, 1))
		held := paced(t, p, time.Minute, 8)
		require.NoError(t, p.SetCapacity(ctx, 2))
		w.server.becomes(takes(5 * time.Millisecond))
		g := begin(within(t, 10*time.Millisecond), p) // a connect is under way
		g.waits(t)
		time.Sleep(5 * time.Millisecond)
		put(t, g.granted(t))
		put(t, get(t, p)) // it is idle now
		l, err := p.Get(within(t, time.Nanosecond))
		require.NoError(t, err)
		put(t, l, held)
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestAGetByMessageCanBeHopelessToo(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), tellsHopeless)
		held := paced(t, p, time.Second, 8)
		b := w.inbox()
		g := begin(ctx, p)
		b.request(p, &messages.Get{Deadline: time.Now().Add(1999 * time.Millisecond)})
		got := b.take()
		require.Len(t, got, 1)
		var shed *messages.ShedError
		require.ErrorAs(t, got[0].(*messages.Denied).Err, &shed)
		assert.Equal(t, 2*time.Second, shed.Estimate)
		put(t, held)
		put(t, g.granted(t))
	})
}

func TestASuspendedPoolShedsNobodyAndResumeGivesAnInterval(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := get(t, p)
		require.NoError(t, p.Suspend(ctx))
		var all []*getting
		for range 4 {
			all = append(all, begin(ctx, p))
		}
		time.Sleep(time.Minute)
		for _, g := range all {
			g.waits(t)
		}
		require.NoError(t, p.Resume(ctx))
		time.Sleep(400 * time.Millisecond)
		put(t, held)
		held = all[0].granted(t)
		time.Sleep(400 * time.Millisecond)
		put(t, held)
		held = all[1].granted(t)
		time.Sleep(200*time.Millisecond - 1)
		all[2].waits(t)
		time.Sleep(time.Nanosecond) // the interval is over, and nobody was served soon
		all[2].wasShed(t, time.Minute+time.Second)
		all[3].wasShed(t, time.Minute+time.Second)
		put(t, held)
	})
}

func TestASuspendMakesABadQueueGood(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := stall(t, p)
		g := begin(ctx, p)
		require.NoError(t, p.Suspend(ctx))
		time.Sleep(time.Minute)
		g.waits(t)
		require.NoError(t, p.Resume(ctx))
		time.Sleep(time.Second - 1)
		g.waits(t)
		put(t, held)
		put(t, g.granted(t))
	})
}

func TestACapacityOfZeroIsAStallAndOneThatIsRaisedServesAtOnce(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		fill(t, p, 1)
		require.NoError(t, p.SetCapacity(ctx, 0))
		g := begin(ctx, p)
		time.Sleep(time.Second)
		failure, _ := g.wasShed(t, time.Second)
		assert.Zero(t, failure.Stats.Capacity)
		next := begin(ctx, p)
		time.Sleep(200 * time.Millisecond)
		next.wasShed(t, 200*time.Millisecond)

		last := begin(ctx, p)
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, p.SetCapacity(ctx, 1))
		put(t, last.granted(t))
		assert.EqualValues(t, 2, p.Stats().Sheds)
	})
}

func TestInAnOutageTheQueueStallsAndTheErrorSaysWhy(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(capacity(1), controlled, func(cfg *config) { cfg.Backoff.Base, cfg.Backoff.Cap = 4*time.Second, 4*time.Second })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, errRefused)
		probe := time.Now().Add(4 * time.Second)
		g := begin(ctx, p)
		time.Sleep(time.Second)
		failure, _ := g.wasShed(t, time.Second)
		assert.Equal(t, messages.StateBackoff, failure.Stats.State)
		assert.Equal(t, 1, failure.Attempt)
		assert.Equal(t, probe, failure.NextAttempt)
		assert.ErrorIs(t, failure.LastConnectError, errRefused)
		assert.Contains(t, failure.Error(), "connection refused")
		assert.NotErrorIs(t, failure, errRefused)

		w.server.becomes(accept)
		time.Sleep(time.Until(probe) - 50*time.Millisecond)
		last := begin(ctx, p)
		last.waits(t)
		time.Sleep(50 * time.Millisecond)
		put(t, last.granted(t))
	})
}

// With fail-fast nobody waits in an outage, so there is nothing to shed.
func TestWithFailFastTheBackoffIsFasterThanShedding(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		w.server.becomes(refuse)
		p := w.pool(capacity(1), controlled, tellsHopeless, func(cfg *config) { cfg.Backoff.Mode = client.BackoffFailFast })
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, errRefused)
		_, err = p.Get(ctx)
		assert.ErrorAs(t, err, new(*messages.BackoffError))
		assert.Zero(t, p.Stats().Sheds)
	})
}

func TestAWaitThatIsShedCanStillBeCancelledBefore(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := stall(t, p)
		cancelled, cancel := context.WithCancel(ctx)
		g := begin(cancelled, p)
		time.Sleep(100 * time.Millisecond)
		cancel()
		err := g.failed(t)
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, messages.ErrShed)
		assert.EqualValues(t, 1, p.Stats().Sheds)
		put(t, held)
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
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(1), func(cfg *config) { cfg.Shed = tt.shed })
				held := get(t, p)
				g := begin(ctx, p)
				until := max(tt.interval, 2*tt.target)
				time.Sleep(until - 1)
				g.waits(t)
				time.Sleep(time.Nanosecond)
				_, shed := g.wasShed(t, until)
				assert.Equal(t, tt.target, shed.Target)
				put(t, held)
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
		_, err := client.New(config{Connect: (&server{t: t}).connect, Shed: tt.shed})
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e, "%+v", tt.shed)
		assert.Equal(t, tt.field, e.Field)
		assert.Equal(t, tt.reason, e.Reason)
	}
}

// Every wait is half the target, and each time the queue is empty for a moment.
func TestAQueueThatKeepsEmptyingIsGoodAgain(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), controlled)
		held := stall(t, p)
		for range 1000 {
			g := begin(ctx, p)
			time.Sleep(50 * time.Millisecond)
			put(t, held)
			held = g.granted(t)
		}
		g := begin(ctx, p)
		time.Sleep(900 * time.Millisecond)
		g.waits(t)
		put(t, held)
		put(t, g.granted(t))
	})
}

func TestThePaceIsMeasuredAgainWhenHoldersBecomeFaster(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), func(cfg *config) { cfg.ShedHopeless = true })
		for range 9 { // the holders are slow: ten seconds each
			l := get(t, p)
			g := begin(ctx, p)
			time.Sleep(10 * time.Second)
			put(t, l)
			put(t, g.granted(t))
		}
		refused := 0
		const rounds = 100
		for range rounds { // and now they take ten milliseconds
			l := get(t, p)
			g := begin(within(t, time.Second), p)
			time.Sleep(10 * time.Millisecond)
			put(t, l)
			if g.ended() && errors.Is(g.err, messages.ErrShed) {
				refused++
			} else {
				put(t, g.granted(t))
			}
		}
		assert.Zero(t, refused, "of %d who would have waited for 10ms of the second that they had", rounds)
	})
}
