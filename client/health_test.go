package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// health asks by both ways, which must agree.
func health(t *testing.T, w *testkit.World, p *testkit.Pool) messages.Health {
	t.Helper()
	synctest.Wait()
	h := p.Health()
	assert.Equal(t, h, *testkit.Ask[*messages.Health](t, w, p, &messages.HealthRequest{}))
	return h
}

// B17
func TestHealthFollowsTheStateOfThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		start := time.Now()
		p := w.Pool(testkit.Capacity(client.NoCapacity), func(cfg *testkit.Config) { cfg.PauseOnClear = true })
		assert.Equal(t, messages.Health{State: messages.StatePaused, Since: start}, health(t, w, p))
		step := func(do func() error) time.Time {
			time.Sleep(time.Second)
			require.NoError(t, do())
			return time.Now()
		}
		ready := step(func() error { return p.Resume(ctx) })
		assert.Equal(t, messages.Health{State: messages.StateReady, Since: ready}, health(t, w, p), "the capacity is 0")
		step(func() error { return p.SetCapacity(ctx, 1) })
		assert.Equal(t, messages.Health{OK: true, State: messages.StateReady, Since: ready}, health(t, w, p))

		l := testkit.Get(t, p)
		assert.True(t, health(t, w, p).OK, "a Get waits, and is served when the connection returns")
		since := step(func() error { return p.Suspend(ctx) })
		testkit.Put(t, l)
		assert.Equal(t, messages.Health{State: messages.StateSuspended, Since: since}, health(t, w, p))
		since = step(func() error { return p.Resume(ctx) })
		assert.Equal(t, messages.Health{OK: true, State: messages.StateReady, Since: since}, health(t, w, p))
		since = step(func() error { return p.Clear(ctx, client.ClearOptions{}) })
		assert.Equal(t, messages.Health{State: messages.StatePaused, Since: since}, health(t, w, p))
	})
}

// B17
func TestHealthSaysWhyAndUntilWhenInAnOutage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(testkit.Capacity(1))
		_, err := p.Get(ctx)
		require.Error(t, err)
		failed := time.Now()
		want := messages.Health{
			State: messages.StateBackoff, LastError: testkit.ErrRefused, Attempt: 1, NextAttempt: failed.Add(time.Second), Since: failed,
		}
		assert.Equal(t, want, health(t, w, p))
		text, err := json.Marshal(p.Health())
		require.NoError(t, err)
		assert.JSONEq(t, `{"ok":false,"state":"backoff","lastError":"connection refused","attempt":1,
			"nextAttempt":"2000-01-01T00:00:01Z","since":"2000-01-01T00:00:00Z"}`, string(text))

		testkit.Pass(time.Second)
		want = messages.Health{OK: true, State: messages.StateProbing, LastError: testkit.ErrRefused, Attempt: 1, Since: time.Now()}
		assert.Equal(t, want, health(t, w, p), "nobody knows until the next attempt")
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, messages.Health{OK: true, State: messages.StateReady, Since: time.Now()}, health(t, w, p))
	})
}

// B17, B16
func TestAFailedGrowthDoesNotMakeAPoolUnhealthy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(_ context.Context, n int) error {
			if n > 1 {
				return testkit.ErrRefused
			}
			return nil
		})
		for mode, idleNeeded := range map[client.BackoffMode]bool{client.BackoffWait: false, client.BackoffFailFast: true} {
			p := w.Spawn(w.Config(testkit.Capacity(2), func(cfg *testkit.Config) {
				cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) { return w.Server.Connect(ctx) }
				cfg.Backoff.Mode = mode
			}))
			w.Server.SetDial(testkit.Accept)
			l := testkit.Get(t, p)
			w.Server.SetDial(testkit.Refuse)
			_, err := p.Get(testkit.Within(t, time.Millisecond))
			require.Error(t, err)
			h := p.Health()
			assert.Equal(t, !idleNeeded, h.OK, "the one connection is out")
			assert.Equal(t, messages.StateReady, h.State)
			assert.ErrorIs(t, h.LastError, testkit.ErrRefused)
			testkit.Put(t, l)
			assert.True(t, p.Health().OK, "it is idle")
			testkit.Close(t, p)
		}
	})
}

// B17, X5
func TestAPoolThatIsClosedOrNotThereIsNotHealthy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(1)))
		l := testkit.Get(t, p)
		time.Sleep(time.Second)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		since := time.Now()
		assert.Equal(t, messages.Health{State: messages.StateClosing, Since: since}, health(t, w, p))
		time.Sleep(time.Second)
		testkit.Put(t, l)
		require.NoError(t, closing.Returned(t))
		assert.Equal(t, messages.Health{State: messages.StateClosed, Since: time.Now()}, p.Health())
		time.Sleep(time.Hour)
		assert.Equal(t, since.Add(time.Second), p.Health().Since)

		fresh := client.Attach[*testkit.Conn](w.System, p.PID())
		assert.Equal(t, messages.Health{State: messages.StateClosed}, fresh.Health())
		assert.Equal(t, messages.Health{State: messages.StateClosed}, client.Attach[*testkit.Conn](w.System, nil).Health())
	})
}

// B17
func TestAPoolThatWasStoppedIsNotHealthy(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config())
		testkit.Fill(t, p, 1)
		time.Sleep(time.Second)
		w.System.Root.Stop(p.PID())
		synctest.Wait()
		assert.Equal(t, messages.Health{State: messages.StateClosed, Since: time.Now()}, p.Health())
	})
}

// B17: in an outage Health agrees at every moment with what a Get finds: it never says
// no when the Get is served before the next attempt, and wrongly yes only from the end
// of a period until the attempt that follows is back.
func TestHealthAgreesWithWhatAGetFinds(t *testing.T) {
	for name, mode := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var away atomic.Bool
				errDied := errors.New("the server is away")
				p := w.Pool(testkit.Capacity(3), func(cfg *testkit.Config) {
					cfg.Backoff.Mode, cfg.MinIdle = mode, 1
					cfg.Backoff.Base, cfg.Backoff.Cap = 400*time.Millisecond, 2*time.Second
					cfg.Check = func(context.Context, *testkit.Conn) error {
						if away.Load() {
							return errDied
						}
						return nil
					}
					cfg.KeepAlive = 100 * time.Millisecond
				})
				w.Server.SetDial(func(ctx context.Context, _ int) error {
					if err := testkit.Sleep(ctx, 30*time.Millisecond); err != nil {
						return err
					}
					if away.Load() {
						return testkit.ErrRefused
					}
					return nil
				})
				wrong, no := 0, 0
				for step := range 1500 { // 15 seconds
					away.Store(step >= 300 && step < 900)
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
					if step < 20 || step >= 300 && step < 330 {
						continue // nothing is open yet, or nobody has met the outage yet
					}
					h := p.Health()
					served := false
					if l, err := p.Get(testkit.Within(t, time.Millisecond)); err == nil {
						served = true
						testkit.Put(t, l)
					}
					st := p.Stats()
					switch {
					case served && !h.OK:
						t.Fatalf("step %d: a Get is served, and Health is %+v", step, h)
					case !served && !h.OK:
						no++
					case served && h.OK:
					case h.State == messages.StateProbing || st.Connecting > 0:
						wrong++
					default:
						t.Fatalf("step %d: no Get is served, and Health is %+v, Stats %+v", step, h, st)
					}
				}
				assert.Greater(t, no, 400, "not OK for most of the outage")
				assert.Less(t, wrong, 100)
			})
		})
	}
}

// A HealthRequest is answered as long as there is an actor; then it is a dead letter.
// X5
func TestAHealthRequestToAPoolThatIsNotThereIsADeadLetter(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config())
		testkit.Close(t, p)
		_, err := w.System.Root.RequestFuture(p.PID(), &messages.HealthRequest{}, time.Minute).Result()
		assert.ErrorIs(t, err, actor.ErrDeadLetter)
	})
}
