package client_test

import (
	"context"
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

func TestAttachToWhatIsNoPool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		stranger := w.Borrower()
		for _, p := range []*testkit.Pool{
			client.Attach[*testkit.Conn](w.System, actor.NewPID(w.System.Address(), "nobody")),
			client.Attach[*testkit.Conn](w.System, stranger.PID),
			client.Attach[*testkit.Conn](nil, stranger.PID),
			client.Attach[*testkit.Conn](w.System, nil),
		} {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, ok := p.TryGet()
			assert.False(t, ok)
			assert.Equal(t, messages.StateClosed, p.Stats().State)
			assert.ErrorIs(t, p.SetCapacity(ctx, 1), messages.ErrClosed)
		}
		p := w.Pool()
		_, err := client.Attach[string](w.System, p.PID()).Get(ctx)
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "C", e.Field)
	})
}

// silent is an actor that loses what it is sent, as one does that is about to end.
type silent struct{ actor.Process }

func (silent) SendUserMessage(*actor.PID, any) {}

func TestAnActorThatEndsWithoutAnAnswerIsNotWaitedFor(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		pid, _ := w.System.ProcessRegistry.Add(silent{}, "silent")
		leaving, leave := context.WithCancel(ctx)
		defer leave()
		g := testkit.BeginGet(leaving, client.Attach[*testkit.Conn](w.System, pid))
		testkit.Pass(time.Hour)
		g.Waits(t)
		w.System.ProcessRegistry.Remove(pid)
		testkit.Pass(time.Second)
		assert.ErrorIs(t, g.Failed(t), messages.ErrClosed)
	})
}

func TestManyFacadesOfOnePool(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		l := testkit.Get(t, p)
		other := client.Attach[*testkit.Conn](w.System, p.PID())
		g := testkit.BeginGet(ctx, other)
		testkit.Put(t, l)
		testkit.Put(t, g.Granted(t))
		require.NoError(t, other.Close(ctx))
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.ErrorIs(t, client.Attach[*testkit.Conn](w.System, p.PID()).Suspend(ctx), messages.ErrClosed)
		assert.NoError(t, client.Attach[*testkit.Conn](w.System, p.PID()).Close(ctx))
	})
}

func TestEachSpawnOfPropsIsAPoolOfItsOwn(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		props, err := client.Props(w.Config(testkit.Capacity(1)))
		require.NoError(t, err)
		a := client.Attach[*testkit.Conn](w.System, w.System.Root.Spawn(props))
		b := client.Attach[*testkit.Conn](w.System, w.System.Root.Spawn(props))
		x, y := testkit.Get(t, a), testkit.Get(t, b)
		testkit.Put(t, x, y)
		testkit.Close(t, a)
		testkit.Put(t, testkit.Get(t, b))
		testkit.Close(t, b)
	})
}

func TestAPoolWithASystemOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testkit.NewServer(t)
		p, err := client.New(testkit.Config{Connect: s.Connect})
		require.NoError(t, err)
		testkit.Put(t, testkit.Get(t, p))
		assert.Equal(t, "pool", p.Stats().Name)
		assert.GreaterOrEqual(t, p.Stats().Capacity, 4)
		testkit.Close(t, p)
		_, opened, closed := s.Counts()
		assert.Equal(t, 1, opened)
		assert.Equal(t, 1, closed)
	})
}
