package client_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// getForImport is a function whose name tests look for in stacks.
//
//go:noinline
func getForImport(t *testing.T, p *testkit.Pool) testkit.Lease {
	l, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
	require.NoError(t, err)
	return l
}

// assertCallersStack checks that a stack begins with the function that called the
// pool, and has no frames of the pool.
func assertCallersStack(t *testing.T, stack, caller string) {
	t.Helper()
	first, _, _ := strings.Cut(stack, "\n")
	assert.Contains(t, first, caller, "the first frame")
	assert.NotContains(t, stack, "actorpool/client.")
	assert.NotContains(t, stack, "actorpool/actors.")
	assert.Contains(t, stack, "leak_test.go:")
}

// goroutine gives the number of the current goroutine.
func goroutine(t *testing.T) uint64 {
	var b [64]byte
	text := strings.Fields(string(b[:runtime.Stack(b[:], false)]))
	n, err := strconv.ParseUint(text[1], 10, 64)
	require.NoError(t, err)
	return n
}

func TestALeakIsToldOfWithItsAgeItsLabelAndWhereItCameFrom(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		var log bytes.Buffer // one goroutine writes it; it is read when all is quiet
		p := w.Pool(testkit.Capacity(2), testkit.LeakAfter(time.Minute), j.Listen, func(cfg *testkit.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		l := getForImport(t, p)
		time.Sleep(time.Minute)
		leaks := j.Of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		assert.Equal(t, "import", leaks[0].Label)
		assert.EqualValues(t, 1, leaks[0].ConnID)
		assert.NoError(t, leaks[0].Err, "it may still come back")
		assertCallersStack(t, leaks[0].Stack, "client_test.getForImport")
		assert.Contains(t, leaks[0].Stack, "TestALeakIsToldOfWithItsAgeItsLabelAndWhereItCameFrom")

		assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		for _, part := range []string{"level=WARN", "import", "getForImport", "60000"} {
			assert.Contains(t, log.String(), part)
		}
		assert.NotNil(t, l.Conn(), "it goes on")
		testkit.Put(t, l)
		time.Sleep(time.Hour)
		assert.Len(t, j.Of(messages.LeaseLeaked), 1)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), testkit.LeakAfter(time.Hour), testkit.LeakGoroutines)
		l := getForImport(t, p)
		time.Sleep(time.Second)
		g := testkit.BeginGet(testkit.Within(t, time.Second), p)
		_, err := p.Get(testkit.Within(t, time.Second))
		for _, err := range []error{err, g.Failed(t)} {
			var e *messages.GetError
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Holders, 1)
			h := e.Holders[0]
			assert.Equal(t, "import", h.Label)
			assert.Equal(t, 2*time.Second, h.Age)
			assert.EqualValues(t, 1, h.ConnID)
			assert.Equal(t, goroutine(t), h.Goroutine)
			assertCallersStack(t, h.Stack, "client_test.getForImport")
			assert.ErrorContains(t, err, `longest: "import" for 2s`)
			assert.NotContains(t, err.Error(), "getForImport", "an error is one line")
			full := fmt.Sprintf("%+v", err)
			assert.Contains(t, full, `"import" (connection 1, 2s, goroutine `+strconv.FormatUint(h.Goroutine, 10)+")")
			assert.Contains(t, full, "getForImport")
		}
		testkit.Put(t, l)
		l, ok := p.TryGet()
		require.True(t, ok)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		assertCallersStack(t, e.Holders[0].Stack, "TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere")
		testkit.Put(t, l)
		require.NoError(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
			e, err := p.Explain(ctx)
			assertCallersStack(t, e.Holders[0].Stack, "TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere")
			return err
		}))
	})
}

func TestTheNumberOfAGoroutineIsAnOptionOfItsOwn(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), testkit.LeakAfter(time.Hour))
		l := getForImport(t, p)
		g := testkit.BeginGet(testkit.Within(t, time.Minute), p)
		g.Waits(t)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 1)
		require.Len(t, e.Waiters, 1)
		assertCallersStack(t, e.Holders[0].Stack, "client_test.getForImport")
		assert.NotEmpty(t, e.Waiters[0].Stack)
		assert.Zero(t, e.Holders[0].Goroutine)
		assert.Zero(t, e.Waiters[0].Goroutine)
		testkit.Put(t, l)
		testkit.Put(t, g.Granted(t))
	})
}

func TestWithoutLeakAfterNobodyLooksAtStacks(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := getForImport(t, p)
		_, err := p.Get(testkit.Within(t, time.Second))
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, messages.Holder{ConnID: 1, Label: "import", Age: time.Second}, e.Holders[0])
		time.Sleep(time.Hour)
		assert.Zero(t, p.Stats().Leaks)
		testkit.Put(t, l)
	})
}

func TestAStackHasNoFramesOfThePoolInANestedDo(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.LeakAfter = time.Minute })
		require.NoError(t, p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
			return p.Do(ctx, func(ctx context.Context, _ *testkit.Conn) error {
				e, err := p.Explain(ctx)
				for _, h := range e.Holders {
					assert.NotContains(t, h.Stack, "actorpool/actors.")
				}
				return err
			})
		}))
	})
}

func TestALeakIsReportedOnce(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(j.Listen, func(cfg *testkit.Config) { cfg.LeakAfter = time.Minute })
		l, err := p.GetWith(ctx, client.GetOptions{Label: "report"})
		require.NoError(t, err)
		testkit.Put(t, testkit.Get(t, p))
		time.Sleep(time.Hour)
		var leaks []messages.Event
		for _, e := range j.All() {
			if e.Kind == messages.LeaseLeaked {
				leaks = append(leaks, e)
			}
		}
		require.Len(t, leaks, 1)
		assert.Equal(t, "report", leaks[0].Label)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		assert.EqualValues(t, 1, p.Stats().Leaks)
		testkit.Put(t, l)
	})
}
