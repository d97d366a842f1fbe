package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// recordingOf is a Record on a goroutine of its own.
type recordingOf struct {
	*testkit.Call
	end  context.CancelFunc
	made *messages.Recording
}

// beginRecord begins a recording, which end ends.
func beginRecord[C any](p *client.Pool[C], o client.RecordOptions) *recordingOf {
	ctx, cancel := context.WithCancel(context.Background())
	r := &recordingOf{end: cancel}
	r.Call = testkit.Async(func() (err error) {
		r.made, err = p.Record(ctx, o)
		return err
	})
	return r
}

// ends has the recording end, and gives it.
func (r *recordingOf) ends(t testing.TB) *messages.Recording {
	t.Helper()
	r.end()
	require.NoError(t, r.Returned(t))
	return r.made
}

const ms = time.Millisecond

func TestARecordingSaysWhatEachGetAskedForAndWhatItGot(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.GetTimeout = 10 * time.Second
			cfg.Apply = func(context.Context, *testkit.Conn, any) error { return nil }
		})
		w.Server.SetDial(testkit.Delay(5 * ms))
		start := time.Now()
		r := beginRecord(p, client.RecordOptions{})

		testkit.Pass(10 * ms)
		l, err := p.GetWith(t.Context(), client.GetOptions{Label: "import"}) // waits for its connect
		require.NoError(t, err)
		patient, cancel := context.WithTimeout(context.Background(), 100*ms)
		defer cancel()
		waits := testkit.BeginGetWith(patient, p, client.GetOptions{Label: "report", Setting: 7})
		impatient, leave := context.WithCancel(context.Background())
		leaves := testkit.BeginGet(impatient, p)
		short, cancelShort := context.WithTimeout(context.Background(), 8*ms)
		defer cancelShort()
		expires := testkit.BeginGet(short, p)
		testkit.Pass(3 * ms)
		leave()
		testkit.Pass(17 * ms)
		require.NoError(t, l.Put())
		second := waits.Granted(t)
		testkit.Pass(4 * ms)
		require.NoError(t, second.Taint(nil))
		require.Error(t, leaves.Returned(t))
		require.Error(t, expires.Returned(t))
		testkit.Pass(ms)

		made := r.ends(t)
		assert.Equal(t, &messages.Recording{
			Version: messages.RecordingVersion, Pool: "db", Start: start, Length: 40 * ms, Capacity: 1, GetTimeout: 10 * time.Second,
			Connects: []time.Duration{5 * ms},
			Gets: []messages.RecordedGet{
				{At: 10 * ms, Wait: 5 * ms, Hold: 20 * ms, Patience: 10 * time.Second, Session: 1, Label: "import", Outcome: messages.RecordedGranted},
				{At: 15 * ms, Wait: 20 * ms, Hold: 4 * ms, Patience: 100 * ms, Session: 2, Label: "report", Setting: "7", Outcome: messages.RecordedGranted},
				{At: 15 * ms, Wait: 3 * ms, Patience: 10 * time.Second, Session: 3, Outcome: messages.RecordedCancelled},
				{At: 15 * ms, Wait: 8 * ms, Patience: 8 * ms, Session: 4, Outcome: messages.RecordedTimeout},
			},
		}, withoutClock(made))
	})
}

// withoutClock takes the monotonic part off the start, which two equal times may have or
// not have.
func withoutClock(r *messages.Recording) *messages.Recording {
	c := *r
	c.Start = c.Start.Round(0)
	return &c
}

func TestEachGoroutineIsASessionAndSoIsEachActor(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4))
		b, c := w.Borrower(), w.Borrower()
		r := beginRecord(p, client.RecordOptions{})
		for range 3 {
			testkit.Put(t, testkit.Get(t, p))
		}
		l := testkit.BeginGet(t.Context(), p).Granted(t)
		testkit.Put(t, l)
		for _, actor := range []*testkit.Borrower{b, c, b} {
			lease := actor.Borrow(t, p)
			actor.Put(p, lease)
		}
		l, ok := p.TryGet()
		require.True(t, ok)
		testkit.Put(t, l)

		var sessions []uint64
		for _, g := range r.ends(t).Gets {
			sessions = append(sessions, g.Session)
			assert.Equal(t, messages.RecordedGranted, g.Outcome)
		}
		assert.Equal(t, []uint64{1, 1, 1, 2, 3, 4, 3, 1}, sessions)
	})
}

func TestWithoutSessionsNobodyIsAskedWhoAsks(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		b := w.Borrower()
		r := beginRecord(p, client.RecordOptions{NoSessions: true})
		testkit.Put(t, testkit.Get(t, p))
		b.Put(p, b.Borrow(t, p))
		made := r.ends(t)
		require.Len(t, made.Gets, 2)
		for _, g := range made.Gets {
			assert.Zero(t, g.Session)
		}
	})
}

func TestARecordingShowsWhatWasThereBeforeAndWhatIsThereAfterwards(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		returned, kept, third := testkit.Get(t, p), testkit.Get(t, p), testkit.Get(t, p)
		served, waiting := testkit.BeginGet(t.Context(), p), testkit.BeginGet(t.Context(), p)
		testkit.Pass(time.Second)
		r := beginRecord(p, client.RecordOptions{})
		testkit.Pass(10 * ms)
		testkit.Put(t, returned)
		l := served.Granted(t)
		testkit.Pass(10 * ms)
		testkit.Put(t, third)
		last := waiting.Granted(t)
		later := testkit.BeginGet(t.Context(), p)
		testkit.Pass(10 * ms)
		made := r.ends(t)
		assert.Equal(t, []messages.RecordedGet{
			{Outcome: messages.RecordedHeld, Out: true}, // kept
			{Hold: 10 * ms, Outcome: messages.RecordedHeld},
			{Wait: 10 * ms, Outcome: messages.RecordedGranted, Out: true},
			{Hold: 20 * ms, Outcome: messages.RecordedHeld},
			{Wait: 20 * ms, Outcome: messages.RecordedGranted, Out: true},
			{At: 20 * ms, Wait: 10 * ms, Session: 1, Outcome: messages.RecordedWaiting},
		}, made.Gets)
		testkit.Put(t, kept, l, last)
		testkit.Put(t, later.Granted(t))
	})
}

func TestARecordingEndsWithItsContextAndThatIsNoError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		begun := time.Now()
		made, err := p.Record(testkit.Within(t, time.Second), client.RecordOptions{})
		require.NoError(t, err)
		assert.Equal(t, time.Second, made.Length)
		assert.Equal(t, time.Second, time.Since(begun))
		assert.False(t, made.Truncated)

		ended, cancel := context.WithCancel(context.Background())
		cancel()
		made, err = p.Record(ended, client.RecordOptions{})
		require.NoError(t, err)
		assert.Zero(t, made.Length)
		assert.Empty(t, made.Gets)
	})
}

func TestARecordingEndsWhenItHasAsManyGetsAsItMayHave(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		before := testkit.Get(t, p)
		r := beginRecord(p, client.RecordOptions{Max: 3})
		testkit.Put(t, before) // it came before, and does not count
		for range 2 {
			testkit.Pass(ms)
			testkit.Put(t, testkit.Get(t, p))
		}
		r.Waits(t)
		testkit.Pass(ms)
		l := testkit.Get(t, p)
		require.NoError(t, r.Returned(t))
		testkit.Put(t, l)
		assert.True(t, r.made.Truncated)
		assert.Equal(t, 3*ms, r.made.Length)
		require.Len(t, r.made.Gets, 4)
		assert.Equal(t, messages.RecordedGet{At: 3 * ms, Session: 1, Outcome: messages.RecordedGranted, Out: true}, r.made.Gets[3])

		// If the last one waits, the recording ends when it is answered, or when one more comes.
		held := testkit.Get(t, p)
		other := testkit.Get(t, p)
		r = beginRecord(p, client.RecordOptions{Max: 1})
		first := testkit.BeginGet(t.Context(), p)
		r.Waits(t)
		second := testkit.BeginGet(t.Context(), p)
		require.NoError(t, r.Returned(t))
		assert.True(t, r.made.Truncated)
		assert.Len(t, r.made.Gets, 3)
		testkit.Put(t, held, other)
		testkit.Put(t, first.Granted(t), second.Granted(t))
	})
}

func TestCloseEndsARecordingWhichIsReturnedWithTheError(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		r := beginRecord(p, client.RecordOptions{})
		l := testkit.Get(t, p)
		waits := testkit.BeginGet(t.Context(), p)
		testkit.Pass(ms)
		closing := testkit.Async(func() error { return p.Close(context.Background()) })
		require.ErrorIs(t, r.Returned(t), messages.ErrClosed, "although a lease is out")
		require.ErrorIs(t, waits.Returned(t), messages.ErrClosed)
		assert.Equal(t, []messages.RecordedGet{
			{Session: 1, Outcome: messages.RecordedGranted, Out: true},
			{Wait: ms, Session: 2, Outcome: messages.RecordedClosed},
		}, r.made.Gets)
		testkit.Put(t, l)
		require.NoError(t, closing.Returned(t))

		made, err := p.Record(t.Context(), client.RecordOptions{})
		require.ErrorIs(t, err, messages.ErrClosed)
		assert.Nil(t, made)
	})
}

func TestAPoolThatIsStoppedFromOutsideHandsItsRecordingOver(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		r := beginRecord(p, client.RecordOptions{})
		testkit.Put(t, testkit.Get(t, p))
		w.System.Root.Stop(p.PID())
		require.ErrorIs(t, r.Returned(t), messages.ErrClosed)
		require.NotNil(t, r.made)
		assert.Len(t, r.made.Gets, 1)
	})
}

func TestOneRecordingIsMadeAtATime(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		first := beginRecord(p, client.RecordOptions{})
		made, err := p.Record(t.Context(), client.RecordOptions{})
		require.ErrorIs(t, err, messages.ErrRecording)
		assert.Nil(t, made)
		first.Waits(t)
		testkit.Put(t, testkit.Get(t, p))
		assert.Len(t, first.ends(t).Gets, 1)

		second := beginRecord(p, client.RecordOptions{})
		second.Waits(t)
		assert.Empty(t, second.ends(t).Gets)
	})
}

func TestARecordThatCannotBeMadeSaysWhy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		_, err := p.Record(nil, client.RecordOptions{}) //nolint:staticcheck // what it says to this
		require.ErrorIs(t, err, messages.ErrNilContext)
		for n, want := range map[int]string{
			-1:                           "actorpool: invalid Max: -1 is negative",
			messages.MaxRecordedGets + 1: "actorpool: invalid Max: 10000001 is above 10000000",
		} {
			_, err := p.Record(t.Context(), client.RecordOptions{Max: n})
			var wrong *messages.ConfigError
			require.ErrorAs(t, err, &wrong)
			assert.EqualError(t, err, want)
		}
	})
}

func TestEveryEndOfAGetHasItsOutcome(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxWaiters, cfg.PauseOnClear = 1, true })
		require.NoError(t, p.Resume(t.Context()))
		w.Server.SetDial(testkit.Refuse)
		r := beginRecord(p, client.RecordOptions{})
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		w.Server.SetDial(testkit.Accept)
		testkit.Pass(2 * time.Second)
		l := testkit.Get(t, p)
		waits := testkit.BeginGet(t.Context(), p)
		_, err = p.Get(t.Context())
		require.ErrorIs(t, err, messages.ErrExhausted)
		require.NoError(t, p.Clear(t.Context(), client.ClearOptions{}))
		require.ErrorIs(t, waits.Returned(t), messages.ErrCleared)
		require.NoError(t, p.Resume(t.Context()))
		_, err = p.Get(l.Context(testkit.Within(t, time.Second)))
		require.ErrorIs(t, err, messages.ErrDeadlock)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = p.Get(ended)
		require.ErrorIs(t, err, context.Canceled)
		testkit.Put(t, l)

		var outcomes []string
		for _, g := range r.ends(t).Gets {
			outcomes = append(outcomes, g.Outcome.String())
		}
		assert.Equal(t, []string{"failed", "granted", "cleared", "exhausted", "deadlock", "cancelled"}, outcomes)
	})
}

func TestALeaseThatThePoolEndsIsRecordedSo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.MaxLease(50 * ms))
		r := beginRecord(p, client.RecordOptions{})
		l := testkit.Get(t, p)
		testkit.Pass(80 * ms)
		require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		l = testkit.Get(t, p)
		testkit.Pass(10 * ms)
		require.NoError(t, p.Clear(t.Context(), client.ClearOptions{Interrupt: true}))
		l2 := testkit.Get(t, p)
		testkit.Pass(5 * ms)
		conn, err := l2.Hijack()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		_ = l.Put()
		var holds []time.Duration
		for _, g := range r.ends(t).Gets {
			holds = append(holds, g.Hold)
			assert.False(t, g.Out)
		}
		assert.Equal(t, []time.Duration{50 * ms, 10 * ms, 5 * ms}, holds)
	})
}

func TestAConnectionThatIsRefusedByItsGetIsNoSecondGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := client.New(client.Config[*selfReportingConn]{
			Capacity: 1, Disconnect: client.NoDisconnect[*selfReportingConn],
			Connect: func(context.Context) (*selfReportingConn, error) {
				time.Sleep(7 * ms)
				return &selfReportingConn{}, nil
			},
		})
		require.NoError(t, err)
		l, err := p.Get(t.Context())
		require.NoError(t, err)
		conn := l.Conn()
		require.NoError(t, l.Put())
		conn.closed.Store(true)
		r := beginRecord(p, client.RecordOptions{})
		l, err = p.Get(t.Context())
		require.NoError(t, err)
		time.Sleep(ms)
		require.NoError(t, l.Put())
		assert.Equal(t, []messages.RecordedGet{{Wait: 7 * ms, Hold: ms, Session: 1, Outcome: messages.RecordedGranted}}, r.ends(t).Gets)
		require.NoError(t, p.Close(context.Background()))
	})
}

// talkative is a setting whose text is code of the user that uses the pool.
type talkative struct{ says func() string }

func (s *talkative) String() string { return s.says() }

func TestNoCodeOfTheUserRunsOnThePoolsTurnForARecording(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Apply = func(context.Context, *testkit.Conn, any) error { return nil }
		})
		asks := &talkative{func() string { return fmt.Sprint(p.Stats().Name, " is open: ", p.Health().OK) }}
		panics := &talkative{func() string { panic("no text") }}
		r := beginRecord(p, client.RecordOptions{})
		for _, setting := range []any{asks, panics, asks} {
			l, err := p.GetWith(t.Context(), client.GetOptions{Setting: setting})
			require.NoError(t, err)
			testkit.Put(t, l)
		}
		made := r.ends(t)
		require.Len(t, made.Gets, 3)
		assert.Equal(t, "db is open: true", made.Gets[0].Setting)
		assert.Contains(t, made.Gets[1].Setting, "no text")
		assert.Equal(t, "db is open: true", made.Gets[2].Setting)
	})
}

// panicking is a context whose Done panics.
type panicking struct{ context.Context }

func (panicking) Done() <-chan struct{} { panic("no Done") }

func TestARecorderThatIsGoneLeavesAPoolThatCanBeRecorded(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		require.PanicsWithValue(t, "no Done", func() { _, _ = p.Record(panicking{t.Context()}, client.RecordOptions{}) })
		r := beginRecord(p, client.RecordOptions{})
		testkit.Put(t, testkit.Get(t, p))
		assert.Len(t, r.ends(t).Gets, 1)
	})
}

func TestAfterARecordingAGetCostsWhatItDidBefore(t *testing.T) {
	if testkit.RaceEnabled() {
		t.Skip("the race detector allocates")
	}
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		p := w.Pool(testkit.Capacity(1))
		getAndPut := func() { testkit.Put(t, testkit.Get(t, p)) }
		getAndPut()
		before := testing.AllocsPerRun(100, getAndPut)
		r := beginRecord(p, client.RecordOptions{})
		getAndPut()
		assert.Len(t, r.ends(t).Gets, 1)
		assert.Equal(t, before, testing.AllocsPerRun(100, getAndPut))
		assert.Len(t, beginRecord(p, client.RecordOptions{}).ends(t).Gets, 0)
	})
}

func TestEveryGetIsRecordedOnceHoweverManyComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		p := w.Pool(testkit.Capacity(3))
		r := beginRecord(p, client.RecordOptions{})
		before := p.Stats()
		var callers sync.WaitGroup
		var granted, failed atomic.Int64
		for n := range 16 {
			callers.Go(func() {
				for i := range 50 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+(n+i)%5)*ms)
					l, err := p.Get(ctx)
					cancel()
					if err != nil {
						failed.Add(1)
						continue
					}
					granted.Add(1)
					if i%2 == 0 {
						time.Sleep(time.Duration(i%3) * ms)
					}
					_ = l.Put()
				}
			})
		}
		callers.Wait()
		made := r.ends(t)
		after := p.Stats()
		require.Len(t, made.Gets, 800)
		counts := map[messages.RecordedOutcome]int64{}
		perSession := map[uint64]int{}
		var wait, last time.Duration
		for _, g := range made.Gets {
			counts[g.Outcome]++
			perSession[g.Session]++
			assert.False(t, g.Out)
			assert.LessOrEqual(t, last, g.At)
			last = g.At
			assert.LessOrEqual(t, g.At+g.Wait+g.Hold, made.Length)
			if g.Outcome == messages.RecordedGranted {
				wait += g.Wait
			}
		}
		assert.Equal(t, map[messages.RecordedOutcome]int64{messages.RecordedGranted: granted.Load(), messages.RecordedTimeout: failed.Load()}, counts)
		assert.Len(t, perSession, 16)
		assert.Equal(t, after.WaitTime-before.WaitTime, wait)
		assert.Positive(t, failed.Load())
	})
}
