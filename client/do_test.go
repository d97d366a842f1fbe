package client_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// P4
func TestDoKeepsTheConnectionUnlessItIsBroken(t *testing.T) {
	network := &net.OpError{Op: "read", Err: errors.New("reset")}
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		for _, c := range []struct {
			err    error
			broken bool
		}{
			{nil, false},
			{testkit.ErrApp, false},
			{fmt.Errorf("query: %w", testkit.ErrApp), false},
			{network, true},
			{fmt.Errorf("query: %w", network), true},
			{io.EOF, true},
			{io.ErrUnexpectedEOF, true},
			{io.ErrClosedPipe, true},
			{net.ErrClosed, true},
			{syscall.ECONNRESET, true},
			{syscall.EPIPE, true},
			{driver.ErrBadConn, true},
			{context.Canceled, true},
			{context.DeadlineExceeded, true},
		} {
			var used *testkit.Conn
			err := p.Do(ctx, func(_ context.Context, conn *testkit.Conn) error { used = conn; return c.err })
			assert.Equal(t, c.err, err)
			synctest.Wait()
			assert.Equal(t, c.broken, used.Closes() == 1, "%v", c.err)
		}
	})
}

// P4
func TestDoTaintsTheConnectionWhenTheFunctionPanics(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		var used *testkit.Conn
		assert.PanicsWithValue(t, "no good", func() {
			_ = p.Do(ctx, func(_ context.Context, c *testkit.Conn) error { used = c; panic("no good") })
		})
		synctest.Wait()
		assert.EqualValues(t, 1, used.Closes())
		testkit.Put(t, testkit.Get(t, p))
	})
}

// P4
func TestDoTaintsTheConnectionWhenTheFunctionEndsItsGoroutine(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		var used *testkit.Conn
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = p.Do(ctx, func(_ context.Context, c *testkit.Conn) error { used = c; runtime.Goexit(); return nil })
		}()
		<-done
		synctest.Wait()
		assert.EqualValues(t, 1, used.Closes())
		testkit.Put(t, testkit.Get(t, p))
	})
}

// P4
func TestDoAsksTheConfiguredBroken(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) { cfg.Broken = func(err error) bool { return errors.Is(err, testkit.ErrApp) } })
		require.ErrorIs(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { return io.EOF }), io.EOF)
		assert.Zero(t, p.Stats().ClosedBroken)
		require.ErrorIs(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { return testkit.ErrApp }), testkit.ErrApp)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P4
func TestDoDoesNotLoseTheConnectionWhenBrokenPanics(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.Broken = func(error) bool { panic("no good") } })
		assert.PanicsWithValue(t, "no good", func() {
			_ = p.Do(ctx, func(context.Context, *testkit.Conn) error { return testkit.ErrApp })
		})
		synctest.Wait()
		assert.Zero(t, p.Stats().Borrowed)
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true})) // else the Close at the end of the test waits for it
	})
}

// The error of an inner Get says nothing about the connection of the outer one.
func TestAGetThatFailsInADoSaysNothingOfTheConnectionInUse(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		err := p.Do(ctx, func(context.Context, *testkit.Conn) error {
			bounded, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return p.Do(bounded, func(context.Context, *testkit.Conn) error { return nil })
		})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, p.Stats().Idle)
	})
}
