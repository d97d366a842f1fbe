package client_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
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

// logTo makes a pool log to a buffer. It may be read when all is quiet.
func logTo(log *bytes.Buffer, level slog.Level) func(*testkit.Config) {
	return func(cfg *testkit.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
	}
}

// assertLines checks that a log has these lines, each with all of its parts.
func assertLines(t *testing.T, log *bytes.Buffer, want ...[]string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, len(want), log.String())
	for i, parts := range want {
		for _, part := range parts {
			assert.Contains(t, lines[i], part)
		}
	}
}

// E3
func TestTheEndOfABackoffIsLoggedAsInformation(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var log bytes.Buffer
		refusal := errors.New("password authentication failed")
		w.Server.SetDial(func(context.Context, int) error { return refusal })
		p := w.Pool(logTo(&log, slog.LevelInfo), func(cfg *testkit.Config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { return messages.ClassFatal }
		})
		for _, period := range []time.Duration{time.Second, 2 * time.Second} {
			_, err := p.Get(ctx)
			require.ErrorIs(t, err, refusal)
			time.Sleep(period)
		}
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		testkit.Put(t, testkit.Get(t, p))
		require.NoError(t, p.Clear(ctx, client.ClearOptions{})) // this is for debugging only
		synctest.Wait()
		assertLines(t, &log,
			[]string{"level=WARN", "attempt=1", "class=fatal"},
			[]string{"level=WARN", "attempt=2", "class=fatal"},
			[]string{`level=INFO msg="Connection pool ready again after 3.1s, 2 attempts"`, "pool=db", "attempt=2", "durationMS=3100"},
		)
	})
}

// E3
func TestAnOutageOfOneAttemptIsToldInTheSingular(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var log bytes.Buffer
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(logTo(&log, slog.LevelInfo))
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		w.Server.SetDial(testkit.Accept)
		testkit.Put(t, testkit.Get(t, p))
		synctest.Wait()
		assertLines(t, &log, []string{"class=overload"}, []string{`"Connection pool ready again after 1s, 1 attempt"`})
	})
}

// E3
func TestAPanicIsLoggedWithItsPhaseAndItsStack(t *testing.T) {
	fails := func(context.Context, *testkit.Conn) error { panic("no good") }
	use := func(t *testing.T, p *testkit.Pool, setting any) {
		l, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
		require.NoError(t, err)
		testkit.Put(t, l)
	}
	for phase, c := range map[string]struct {
		change func(*testkit.Config)
		cause  func(*testing.T, *testkit.Pool)
	}{
		"connect": {
			func(cfg *testkit.Config) {
				cfg.Connect = func(context.Context) (*testkit.Conn, error) { panic("no good") }
				cfg.Backoff.Mode = client.BackoffNever
			},
			func(t *testing.T, p *testkit.Pool) {
				_, err := p.Get(ctx)
				require.Error(t, err)
			},
		},
		"check": {
			func(cfg *testkit.Config) { cfg.Check = fails },
			func(t *testing.T, p *testkit.Pool) {
				use(t, p, nil)
				time.Sleep(time.Minute)
				use(t, p, nil)
			},
		},
		"reset": {
			func(cfg *testkit.Config) { cfg.Reset = fails },
			func(t *testing.T, p *testkit.Pool) { use(t, p, nil) },
		},
		"apply": {
			func(cfg *testkit.Config) {
				cfg.Apply = func(context.Context, *testkit.Conn, any) error { panic("no good") }
			},
			func(t *testing.T, p *testkit.Pool) {
				_, err := p.GetWith(ctx, client.GetOptions{Setting: "utc"})
				require.Error(t, err)
			},
		},
		"unapply": {
			func(cfg *testkit.Config) {
				cfg.Capacity, cfg.Unapply = 1, fails
				cfg.Apply = func(context.Context, *testkit.Conn, any) error { return nil }
			},
			func(t *testing.T, p *testkit.Pool) {
				use(t, p, "utc")
				use(t, p, nil)
			},
		},
		"disconnect": {
			func(cfg *testkit.Config) {
				cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { _ = c.Close(); panic("no good") }
			},
			func(t *testing.T, p *testkit.Pool) {
				require.NoError(t, testkit.Get(t, p).Taint(nil))
			},
		},
	} {
		t.Run(phase, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var log bytes.Buffer
				p := w.Pool(logTo(&log, slog.LevelWarn), c.change)
				c.cause(t, p)
				synctest.Wait()
				assertLines(t, &log, []string{
					`level=WARN msg="Panic in user code"`, "pool=db", "phase=" + phase,
					`error="actorpool: panic in user code: no good"`, "stack=", "logs_test.go",
				})
			})
		})
	}
}

// E3
func TestAPanicInDisconnectIsLoggedAlsoWhenThePoolIsStopped(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var log bytes.Buffer
		p := w.Pool(logTo(&log, slog.LevelWarn), func(cfg *testkit.Config) {
			cfg.Disconnect = func(_ context.Context, c *testkit.Conn) error { _ = c.Close(); panic("no good") }
		})
		testkit.Fill(t, p, 1)
		w.System.Root.Stop(p.PID())
		synctest.Wait()
		assertLines(t, &log, []string{"phase=disconnect", "no good", "logs_test.go"})
	})
}

// E3
func TestAPanicInClassifyIsLoggedWithItsStack(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var log bytes.Buffer
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(logTo(&log, slog.LevelWarn), func(cfg *testkit.Config) {
			cfg.Classify = func(messages.Phase, error) messages.Class { panic("no good") }
		})
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		synctest.Wait()
		// Panics and events are logged by two goroutines, in either order.
		lines := strings.SplitAfter(log.String(), "\n")
		slices.Sort(lines)
		assertLines(t, bytes.NewBufferString(strings.Join(lines, "")),
			[]string{`msg="Connection pool backoff"`},
			[]string{`msg="Panic in Classify"`, `panic="no good"`, "stack=", "logs_test.go"},
		)
	})
}

// E3
func TestAPanicInOnEventWithoutALoggerIsToldToTheDefaultLogger(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		log.Reset()
		w.Pool(func(cfg *testkit.Config) {
			cfg.OnEvent = func(e messages.Event) {
				if e.Kind == messages.PoolReady {
					panic("no good")
				}
			}
		})
		synctest.Wait()
		assertLines(t, &log, []string{`msg="Panic in OnEvent"`, "event=PoolReady", `panic="no good"`, "pool=db", "logs_test.go"})
	})
}
