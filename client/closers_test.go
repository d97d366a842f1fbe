package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// The three forms of Close.
type (
	failingCloser struct{ closes *int }
	silentCloser  struct{ closes *int }
	patientCloser struct {
		closes *int
		bound  *bool
	}
)

func (c failingCloser) Close() error { *c.closes++; return errors.New("close failed") }
func (c silentCloser) Close()        { *c.closes++ }
func (c patientCloser) Close(ctx context.Context) error {
	*c.closes++
	_, *c.bound = ctx.Deadline()
	return nil
}

// testCloser tests that a connection is closed without a Disconnect.
func testCloser[C any](t *testing.T, kind string, conn C, closes *int) {
	t.Run(kind, func(t *testing.T) {
		*closes = 0
		synctest.Test(t, func(t *testing.T) {
			p, err := client.New(client.Config[C]{Connect: func(context.Context) (C, error) { return conn, nil }})
			require.NoError(t, err)
			l, err := p.Get(ctx)
			require.NoError(t, err)
			require.NoError(t, l.Put())
			assert.Zero(t, *closes)
			require.NoError(t, p.Close(ctx))
			assert.Equal(t, 1, *closes)
		})
	})
}

// N4
func TestAConnectionIsClosedByWhicheverCloseItHas(t *testing.T) {
	closes, bound := new(int), new(bool)
	testCloser(t, "Close() error", failingCloser{closes}, closes)
	testCloser(t, "Close()", silentCloser{closes}, closes)
	testCloser(t, "Close(context.Context) error", &patientCloser{closes, bound}, closes)
	assert.True(t, *bound, "DisconnectTimeout bounds it")
	testCloser[interface{ Close() }](t, "interface", silentCloser{closes}, closes)
}

// testNotCloser tests that a type whose connections cannot be closed is refused.
func testNotCloser[C any](t *testing.T, kind string, conn C) {
	t.Run(kind, func(t *testing.T) {
		cfg := client.Config[C]{Connect: func(context.Context) (C, error) { return conn, nil }}
		_, err := client.New(cfg)
		_, err2 := client.Props(cfg)
		_, err3 := client.Spawn(testkit.QuietSystem().Root, cfg)
		for _, err := range []error{err, err2, err3} {
			var fault *messages.ConfigError
			require.ErrorAs(t, err, &fault)
			assert.Equal(t, "Disconnect", fault.Field)
			assert.Contains(t, fault.Reason, "has no method Close() error, Close() or Close(context.Context) error")
		}
		synctest.Test(t, func(t *testing.T) {
			cfg.Disconnect = client.NoDisconnect[C]
			p, err := client.New(cfg)
			require.NoError(t, err)
			require.NoError(t, p.Do(ctx, func(context.Context, C) error { return nil }))
			require.NoError(t, p.Close(ctx))
			assert.Zero(t, p.Stats().Open)
		})
	})
}

// closesOtherwise has methods that look like a Close, and are none.
type closesOtherwise struct{}

func (closesOtherwise) Close(bool) error  { return nil }
func (closesOtherwise) Disconnect() error { return nil }

// pointerCloser has a Close, but for pointers only.
type pointerCloser struct{}

func (*pointerCloser) Close() error { return nil }

// N4
func TestATypeThatCannotBeClosedIsRefused(t *testing.T) {
	testNotCloser(t, "plain value", 1)
	testNotCloser(t, "other methods", closesOtherwise{})
	testNotCloser[any](t, "interface without Close", failingCloser{new(int)})
	testNotCloser(t, "value of a pointer's method", pointerCloser{})
}

// C5
func TestAPoolCanBeginWithoutCapacity(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(client.NoCapacity))
		assert.Zero(t, p.Stats().Capacity)
		_, ok := p.TryGet()
		assert.False(t, ok)
		first := testkit.BeginGet(ctx, p)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Waiting)
		assert.Zero(t, w.Server.Dials())
		require.NoError(t, p.SetCapacity(ctx, 1))
		testkit.Put(t, first.Granted(t))
	})
}
