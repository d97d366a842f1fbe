package client_test

import (
	"context"
	"errors"
	"fmt"
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

// asGetError checks that an error is a *GetError for this reason, of one line.
func asGetError(t *testing.T, err, reason error) *messages.GetError {
	t.Helper()
	e, ok := err.(*messages.GetError)
	require.True(t, ok, "%T: %v", err, err)
	assert.ErrorIs(t, err, reason)
	assert.NotContains(t, err.Error(), "\n")
	assert.Less(t, len(err.Error()), 240)
	return e
}

// E1
func TestEveryGetThatFailsFailsWithAGetError(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	refuse := func(t *testing.T, w *testkit.World, p *testkit.Pool) {
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
	}
	for name, c := range map[string]struct {
		change func(*testkit.Config)
		before func(*testing.T, *testkit.World, *testkit.Pool)
		ctx    context.Context
		reason error
	}{
		"ended context": {ctx: ended, reason: context.Canceled},
		"refused connect": {
			before: func(_ *testing.T, w *testkit.World, _ *testkit.Pool) { w.Server.SetDial(testkit.Refuse) },
			reason: testkit.ErrRefused,
		},
		"fail-fast": {
			change: func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffFailFast },
			before: refuse, reason: messages.ErrConnectFailed,
		},
		"paused": {
			change: func(cfg *testkit.Config) { cfg.PauseOnClear = true },
			reason: messages.ErrCleared,
		},
		"too many waiters": {
			change: func(cfg *testkit.Config) { cfg.Capacity, cfg.MaxWaiters = 1, 1 },
			before: func(t *testing.T, _ *testkit.World, p *testkit.Pool) {
				l := testkit.Get(t, p)
				testkit.BeginGet(testkit.Within(t, time.Second), p)
				time.AfterFunc(2*time.Second, func() { testkit.Put(t, l) })
			},
			reason: messages.ErrExhausted,
		},
		"closed": {
			before: func(t *testing.T, _ *testkit.World, p *testkit.Pool) { testkit.Close(t, p) },
			reason: messages.ErrClosed,
		},
		"closed, ended context": {
			before: func(t *testing.T, _ *testkit.World, p *testkit.Pool) { testkit.Close(t, p) },
			ctx:    ended, reason: messages.ErrClosed,
		},
		"stopped from outside": {
			before: func(_ *testing.T, w *testkit.World, p *testkit.Pool) { w.System.Root.Stop(p.PID()); synctest.Wait() },
			reason: messages.ErrClosed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(func(cfg *testkit.Config) {
					if c.change != nil {
						c.change(cfg)
					}
				})
				p.Stats() // it is found
				if c.before != nil {
					c.before(t, w, p)
				}
				with := ctx
				if c.ctx != nil {
					with = c.ctx
				}
				_, err := p.Get(with)
				e := asGetError(t, err, c.reason)
				assert.Equal(t, "db", e.Pool)
				assert.False(t, e.Time.IsZero())
				assert.ErrorIs(t, p.Do(with, func(context.Context, *testkit.Conn) error { return nil }), c.reason)
				time.Sleep(time.Minute)
			})
		})
	}
}

// E1
func TestAGetOfAPoolThatIsNotThereFailsWithAGetError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		testkit.Close(t, p)
		synctest.Wait()
		late := client.Attach[*testkit.Conn](w.System, p.PID())
		_, err := late.Get(ctx)
		assert.Equal(t, p.PID().Id, asGetError(t, err, messages.ErrClosed).Pool)
		_, err = client.Attach[*testkit.Conn](nil, nil).Get(ctx)
		assert.Empty(t, asGetError(t, err, messages.ErrClosed).Pool)
	})
}

// E1, B8
func TestAGetThatFailsFastCarriesTheBackoffAndNoPicture(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffFailFast })
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		time.Sleep(300 * time.Millisecond)
		_, err = p.Get(ctx)
		e := asGetError(t, err, messages.ErrConnectFailed)
		var b *messages.BackoffError
		require.ErrorAs(t, err, &b)
		next := time.Now().Add(700 * time.Millisecond).Round(0)
		assert.True(t, next.Equal(e.NextAttempt), "%v, %v", next, e.NextAttempt)
		assert.True(t, next.Equal(b.Until))
		assert.Equal(t, &messages.GetError{Pool: "db", Time: e.Time, Attempt: 1, NextAttempt: e.NextAttempt, Err: b}, e)
		assert.EqualError(t, err, `actorpool "db": backing off, connect failed: connection refused (attempt 1, next in 700ms)`)
	})
}

// crossing makes Gets, each of a pool of its own, whose contexts end in the instant in
// which they are granted a connection, until one of them has failed.
func crossing(t *testing.T, w *testkit.World, ended error, change ...func(*testkit.Config)) (*testkit.Pool, *messages.GetError) {
	t.Helper()
	for range 1000 {
		p := w.Pool(append(change, testkit.Capacity(1))...)
		held := testkit.Get(t, p)
		leaving, end := context.WithCancel(ctx)
		g := testkit.BeginGetWith(endsWith{leaving, ended}, p, client.GetOptions{Label: "me"})
		time.Sleep(5 * time.Second)
		testkit.Put(t, held)
		end()
		if g.Ended(); g.Err != nil {
			return p, asGetError(t, g.Err, ended)
		}
		testkit.Put(t, g.Lease) // it has come first
		testkit.Close(t, p)
	}
	require.Fail(t, "the grant has always come first")
	return nil, nil
}

// endsWith is a context that ends with an error of the test's choice.
type endsWith struct {
	context.Context
	err error
}

func (c endsWith) Err() error {
	if c.Context.Err() != nil {
		return c.err
	}
	return nil
}

// E1: those of one millisecond share the error, so that they cost no allocation.
func TestGetsThatFailFastTogetherShareTheError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffFailFast })
		fail := func() *messages.GetError {
			_, err := p.Get(ctx)
			return asGetError(t, err, testkit.ErrRefused)
		}
		fail() // its connect
		first := fail()
		time.Sleep(time.Millisecond - time.Nanosecond)
		assert.Same(t, first, fail())
		time.Sleep(time.Nanosecond)
		later := fail()
		assert.NotSame(t, first, later)
		assert.Equal(t, first.NextAttempt, later.NextAttempt)
		assert.Equal(t, time.Millisecond, later.Time.Sub(first.Time))
		time.Sleep(time.Second)
		fail() // the next connect
		assert.Equal(t, 2, fail().Attempt)
	})
}

// E2, G5
func TestAGetThatIsCancelledAsItIsGrantedExplainsItselfAndCountsAsCancelled(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p, e := crossing(t, w, context.Canceled)
		assert.Equal(t, 5*time.Second, e.Waited)
		assert.Equal(t, 1, e.Position)
		assert.Equal(t, 1, e.Stats.Capacity)
		assert.EqualError(t, e, `actorpool "db": no connection in 5s: context canceled (capacity 1: 1 idle)`)
		st := p.Stats()
		testkit.Consistent(t, st)
		assert.Equal(t, []uint64{2, 1, 1, 1}, []uint64{st.Gets, st.Grants, st.Puts, st.Cancels}, "Gets, Grants, Puts, Cancels")
		assert.Zero(t, st.WaitTime)
		testkit.Put(t, testkit.Get(t, p))
	})
}

// E2
func TestAGetThatTimesOutAsItIsGrantedIsATimeout(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p, _ := crossing(t, w, context.DeadlineExceeded)
		st := p.Stats()
		testkit.Consistent(t, st)
		assert.Equal(t, []uint64{1, 1, 0}, []uint64{st.Grants, st.Timeouts, st.Cancels}, "Grants, Timeouts, Cancels")
	})
}

// E2
func TestTheEventsOfAGetThatIsCancelledAsItIsGrantedSaySo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p, e := crossing(t, w, context.Canceled, j.Listen)
		testkit.Close(t, p)
		failed := j.Of(messages.CheckOutFailed)
		require.Len(t, failed, 1)
		assert.Equal(t, messages.ReasonCanceled, failed[0].Reason)
		assert.EqualValues(t, 1, failed[0].ConnID)
		assert.Equal(t, "me", failed[0].Label)
		assert.Equal(t, 5*time.Second, failed[0].Duration)
		assert.Equal(t, error(e), failed[0].Err)
		assert.Len(t, j.Of(messages.CheckedIn), len(j.Of(messages.CheckedOut)))
	})
}

// E2
func TestNoErrorOfThePoolHasSeveralLines(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		joined := errors.Join(errors.New("read: connection reset"), errors.New("write: broken\n\tpipe"))
		w.Server.SetDial(func(context.Context, int) error { return joined })
		p := w.Pool()
		_, err := p.Get(ctx)
		asGetError(t, err, joined)
		assert.ErrorContains(t, err, "connect failed: read: connection reset; write: broken; pipe (attempt 1")
		require.NoError(t, p.Suspend(ctx))
		with, cancel := context.WithCancelCause(ctx)
		g := testkit.BeginGet(with, p)
		cancel(joined)
		asGetError(t, g.Failed(t), joined)
		assert.NotContains(t, p.Ready(testkit.Within(t, time.Second)).Error(), "\n")
		require.NoError(t, p.Resume(ctx))

		w.Server.SetDial(testkit.Accept)
		err = p.Do(ctx, func(context.Context, *testkit.Conn) error {
			require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
			return joined
		})
		assert.ErrorIs(t, err, messages.ErrLeaseEnded)
		assert.ErrorIs(t, err, joined)
		assert.NotContains(t, err.Error(), "\n")

		l, err := p.GetWith(ctx, client.GetOptions{Label: "nightly\nimport"})
		require.NoError(t, err)
		err = p.SetCapacity(testkit.Within(t, time.Second), 0)
		assert.ErrorContains(t, err, `longest: "nightly\nimport" for 1s`)
		assert.NotContains(t, err.Error(), "\n")
		testkit.Put(t, l)
	})
}

// uncomparable is an error whose values cannot be compared with ==.
type uncomparable struct{ details any }

func (uncomparable) Error() string { return "uncomparable" }

// E2
func TestAnErrorThatCannotBeComparedIsAnErrorLikeAnyOther(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { return uncomparable{[]int{1}} })
		p := w.Pool()
		_, err := p.Get(ctx)
		assert.EqualError(t, err, `actorpool "db": connect failed: uncomparable (attempt 1, next in 1s)`)
		assert.Contains(t, fmt.Sprintf("%+v", err), "uncomparable")
		_, err = p.Get(testkit.Within(t, 500*time.Millisecond))
		assert.ErrorContains(t, err, "uncomparable")
		require.ErrorAs(t, err, &uncomparable{})
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Contains(t, e.String(), "uncomparable")
	})
}

// E2: between the end of a period and the outcome of the attempt after it, no time of
// a next attempt is known.
func TestNoErrorShowsANextAttemptInThePast(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool()
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		time.Sleep(time.Minute)
		w.Server.SetDial(testkit.Delay(time.Minute))
		_, err = p.Get(testkit.Within(t, time.Second))
		e := asGetError(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, e.Attempt)
		assert.Zero(t, e.NextAttempt)
		told, err := p.Explain(ctx)
		require.NoError(t, err)
		assert.Equal(t, 1, told.Attempt)
		assert.Zero(t, told.NextAttempt)
		assert.Contains(t, told.String(), "backoff: attempt 1 has failed, the period after it is over")
	})
}

// E2
func TestPlusVGivesEverything(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		first, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		second, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		w.Server.SetDial(testkit.Delay(time.Minute))
		_, err = p.Get(testkit.Within(t, time.Second))
		full := fmt.Sprintf("%+v", err)
		for _, part := range []string{
			err.Error() + "\n", "waited: 1s, at place 1 of the queue\n", "state=ready capacity=3 open=2 borrowed=2",
			"\nheld by:\n  \"import\" (connection 1, 1s)\n  \"report\" (connection 2, 1s)\n", "under way:\n  connecting connection 3 for 1s",
		} {
			assert.Contains(t, full, part)
		}
		assert.Equal(t, err.Error(), fmt.Sprintf("%v", err))
		assert.Equal(t, err.Error(), fmt.Sprintf("%s", err))
		assert.Equal(t, 1, strings.Count(fmt.Sprintf("%q", err), "no connection"))
		testkit.Put(t, first, second)
	})
}
