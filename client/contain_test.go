package client_test

import (
	"context"
	"runtime"
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

func TestAPanicInAnyFunctionIsContained(t *testing.T) {
	panics := func(context.Context, *testkit.Conn) error { panic("no good") }
	for name, change := range map[string]func(*testkit.Config){
		"Check": func(cfg *testkit.Config) { cfg.Check = panics },
		"Reset": func(cfg *testkit.Config) { cfg.Reset = panics },
		"Disconnect": func(cfg *testkit.Config) {
			cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { _ = c.Close(); panic("no good") }
		},
		"OnEvent": func(cfg *testkit.Config) { cfg.OnEvent = func(messages.Event) { panic("no good") } },
		"Classify": func(cfg *testkit.Config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { panic("no good") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(2), change)
				for range 30 {
					l := testkit.Get(t, p)
					g := testkit.BeginGet(testkit.Within(t, time.Minute), p)
					testkit.Put(t, l, g.Granted(t))
					time.Sleep(2 * time.Second)
					require.NoError(t, testkit.Get(t, p).Taint(nil))
					w.Server.SetDial(testkit.Refuse)
					_, err := p.Get(ctx)
					if err == nil { // there was an idle one
						require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
					}
					w.Server.SetDial(testkit.Accept)
					time.Sleep(time.Minute)
				}
				assert.Zero(t, p.Stats().Borrowed)
			})
		})
	}
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
	exits := func(context.Context, *testkit.Conn) error { runtime.Goexit(); return nil }
	for name, change := range map[string]func(*testkit.Config){
		"Check": func(cfg *testkit.Config) { cfg.Check = exits },
		"Reset": func(cfg *testkit.Config) { cfg.Reset = exits },
		"Disconnect": func(cfg *testkit.Config) {
			cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { _ = c.Close(); runtime.Goexit(); return nil }
		},
		"OnEvent": func(cfg *testkit.Config) { cfg.OnEvent = func(messages.Event) { runtime.Goexit() } },
		"Classify": func(cfg *testkit.Config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { runtime.Goexit(); return 0 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(2), change)
				for range 5 {
					testkit.Put(t, testkit.Get(t, p))
					time.Sleep(2 * time.Second)
					require.NoError(t, testkit.Get(t, p).Taint(nil))
					synctest.Wait()
					w.Server.SetDial(testkit.Refuse)
					_, err := p.Get(testkit.Within(t, time.Second))
					assert.Error(t, err)
					w.Server.SetDial(testkit.Accept)
					time.Sleep(time.Minute)
				}
			})
		})
	}
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
