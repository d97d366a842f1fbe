package client_test

import (
	"context"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
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

// B14
func TestAPanicInConnectIsItsCallersErrorAndThePoolLivesOn(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { panic(testkit.ErrApp) })
		p := w.Pool()
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrConnectFailed)
		assert.ErrorIs(t, err, testkit.ErrApp)
		var e *messages.PanicError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, testkit.ErrApp, e.Value)
		assert.Contains(t, string(e.Stack), "contain_test.go")
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestMorePanicsThanTheSupervisorTakes(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { panic("no good") })
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffNever })
		for range 50 {
			_, err := p.Get(ctx)
			require.ErrorAs(t, err, new(*messages.PanicError))
		}
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, 51, w.Server.Dials())
	})
}

func TestMorePanicsThanTheSupervisorTakesWithWaiters(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { panic("no good") })
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.Backoff.Mode = client.BackoffNever })
		require.NoError(t, p.Suspend(ctx))
		var all []*testkit.Getting
		for range 60 {
			all = append(all, testkit.BeginGet(ctx, p))
		}
		require.NoError(t, p.Resume(ctx))
		for _, g := range all {
			require.ErrorAs(t, g.Failed(t), new(*messages.PanicError))
		}
	})
}

// misbehaviour makes one function of a pool's configuration call bad each time, and
// counts the calls.
type misbehaviour func(cfg *testkit.Config, calls *atomic.Int32, bad func())

// Connect and Reusable have tests of their own. Broken and Backoff.Decide run on the
// caller's goroutine, where a panic is the caller's.
var misbehaviours = map[string]misbehaviour{
	"Check": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Check = func(context.Context, *testkit.Conn) error { calls.Add(1); bad(); return nil }
	},
	"Reset": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Reset = func(context.Context, *testkit.Conn) error { calls.Add(1); bad(); return nil }
	},
	"Apply": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Apply = func(context.Context, *testkit.Conn, any) error { calls.Add(1); bad(); return nil }
	},
	"Unapply": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Unapply = func(context.Context, *testkit.Conn) error { calls.Add(1); bad(); return nil }
	},
	"Disconnect": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { calls.Add(1); _ = c.Close(); bad(); return nil }
	},
	"OnEvent": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.OnEvent = func(messages.Event) { calls.Add(1); bad() }
		cfg.Logger = slog.New(slog.DiscardHandler) // otherwise slog.Default gets the panics
	},
	"OnChange": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.OnChange = func(messages.Event) { calls.Add(1); bad() }
		cfg.Logger = slog.New(slog.DiscardHandler)
	},
	"Classify": func(cfg *testkit.Config, calls *atomic.Int32, bad func()) {
		cfg.Classify = func(messages.Phase, error) messages.Class { calls.Add(1); bad(); return messages.ClassIgnore }
	},
}

// testMisbehaviours uses a pool, one of whose functions misbehaves, in such a way
// that each function is called in each round.
func testMisbehaviours(t *testing.T, rounds int, bad func()) {
	functions := reflect.TypeFor[testkit.Config]()
	for i := range functions.NumField() {
		if f := functions.Field(i); f.Type.Kind() == reflect.Func && !slices.Contains([]string{"Connect", "Broken", "Reusable"}, f.Name) {
			require.Contains(t, misbehaviours, f.Name)
		}
	}
	for name, misbehave := range misbehaviours {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var calls atomic.Int32
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					cfg.Apply = func(context.Context, *testkit.Conn, any) error { return nil }
					misbehave(cfg, &calls, bad)
				})
				for round := range rounds {
					testkit.Put(t, testkit.Get(t, p)) // Reset
					time.Sleep(2 * time.Second)
					testkit.Put(t, testkit.Get(t, p)) // Check
					l, err := p.GetWith(ctx, client.GetOptions{Setting: "utc"})
					if name == "Apply" {
						require.ErrorAs(t, err, new(*messages.PanicError))
					} else {
						require.NoError(t, err)
						testkit.Put(t, l)
					}
					l = testkit.Get(t, p) // Unapply
					require.NoError(t, l.Taint(nil))
					synctest.Wait() // Disconnect
					w.Server.SetDial(testkit.Refuse)
					_, err = p.Get(ctx) // Classify
					assert.ErrorIs(t, err, messages.ErrConnectFailed)
					w.Server.SetDial(testkit.Accept)
					testkit.Pass(time.Minute)
					require.Greater(t, int(calls.Load()), round, "calls of %s", name)
					testkit.AssertCounts(t, p, 0, 0, 0)
				}
			})
		})
	}
}

func TestAPanicInAnyFunctionIsContained(t *testing.T) {
	testMisbehaviours(t, 30, func() { panic("no good") })
}

// The caller gets the error of its connect, which counts as a reason for a backoff.
func TestAPanicInClassifyDoesNotHideTheErrorOfTheConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { panic("no good") }
		})
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, testkit.ErrRefused)
		assert.NotErrorAs(t, err, new(*messages.PanicError))
		assert.Equal(t, messages.StateBackoff, p.Stats().State)
	})
}

func TestAConnectThatEndsItsGoroutineHasFailed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(func(context.Context, int) error { runtime.Goexit(); return nil })
		p := w.Pool(testkit.Capacity(1))
		for range 3 {
			g := testkit.BeginGet(testkit.Within(t, time.Hour), p)
			time.Sleep(30 * time.Minute)
			assert.ErrorIs(t, g.Failed(t), messages.ErrConnectFailed)
		}
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestAnyFunctionThatEndsItsGoroutineIsContained(t *testing.T) {
	testMisbehaviours(t, 5, runtime.Goexit)
}

// G3, P3
func TestACheckThatHangsIsGivenUp(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.ConnectTimeout = 4 * time.Second
			cfg.Check = func(context.Context, *testkit.Conn) error { <-release; return nil }
		})
		testkit.Fill(t, p, 1)
		time.Sleep(2 * time.Second)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(5 * time.Second)
		assert.Equal(t, 2, g.Granted(t).Conn().N)
		testkit.Put(t, g.Lease)
		close(release)
		synctest.Wait()
		assert.EqualValues(t, 1, w.Server.Conn(1).Closes())
		assert.Equal(t, 1, p.Stats().Open)
	})
}

// P3
func TestAResetThatHangsIsGivenUp(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.ConnectTimeout = 4 * time.Second
			cfg.Reset = func(_ context.Context, c *testkit.Conn) error {
				if c.N == 1 {
					<-release
				}
				return nil
			}
		})
		testkit.Put(t, testkit.Get(t, p))
		g := testkit.BeginGet(ctx, p)
		time.Sleep(5 * time.Second)
		testkit.Put(t, g.Granted(t))
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Open)
		assert.EqualValues(t, 1, w.Server.Conn(1).Closes())
	})
}

// P3, X4
func TestADisconnectThatHangsCostsNoPlaceButIsWaitedForByClose(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.OnClose = func(c *testkit.Conn) {
			if c.N == 1 {
				<-release
			}
		}
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.ConnectTimeout = 4 * time.Second })
		require.NoError(t, testkit.Get(t, p).Taint(nil))
		g := testkit.BeginGet(ctx, p)
		time.Sleep(5 * time.Second)
		testkit.Put(t, g.Granted(t))
		assert.ErrorIs(t, p.Close(testkit.Within(t, time.Second)), context.DeadlineExceeded)
		close(release)
		synctest.Wait()
		assert.NoError(t, p.Close(ctx))
	})
}

// G10
func TestManyConnectsThatHangDoNotUseUpThePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		release := make(chan struct{})
		w.Server.SetDial(testkit.IgnoreContext(release))
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.ConnectTimeout = 4 * time.Second })
		for range 5 {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
		}
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Open)
	})
}
