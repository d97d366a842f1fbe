package actorpool_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// ask sends a request by future and gives the answer.
func ask[A any](t *testing.T, w *world, p *pool, request any) A {
	t.Helper()
	answer, err := w.system.Root.RequestFuture(p.PID(), request, time.Minute).Result()
	require.NoError(t, err)
	a, ok := answer.(A)
	require.True(t, ok, "the answer is a %T", answer)
	return a
}

// inbox is an actor that keeps what it is sent.
type inbox struct {
	mu   sync.Mutex
	got  []any
	pid  *actor.PID
	root *actor.RootContext
}

func (w *world) inbox() *inbox {
	b := &inbox{root: w.system.Root}
	b.pid = w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case actor.SystemMessage, actor.AutoReceiveMessage:
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, ctx.Message())
	}))
	return b
}

func (b *inbox) request(p *pool, message any) {
	b.root.RequestWithCustomSender(p.PID(), message, b.pid)
}

// take gives what has come since the last time.
func (b *inbox) take() []any {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func TestAnActorBorrowsByMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		b := w.inbox()
		b.request(p, &messages.Get{Label: "report"})
		got := b.take()
		require.Len(t, got, 1)
		l := got[0].(*messages.Lease)
		assert.Equal(t, messages.LeaseID{Conn: 1, Epoch: 1}, l.ID)
		assert.Equal(t, w.server.conns[0], l.Conn)

		b.request(p, &messages.Get{})
		b.request(p, &messages.Get{Deadline: time.Now().Add(time.Second)})
		b.request(p, &messages.Get{Deadline: time.Now().Add(-time.Second)})
		got = b.take()
		require.Len(t, got, 1)
		assert.ErrorIs(t, got[0].(*messages.Denied).Err, context.DeadlineExceeded)
		assert.Equal(t, 2, ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).Waiting)
		time.Sleep(time.Second)
		got = b.take()
		require.Len(t, got, 1)
		err := got[0].(*messages.Denied).Err
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorAs(t, err, new(*messages.GetError))

		w.system.Root.Send(p.PID(), &messages.Put{Lease: l.ID})
		got = b.take()
		require.Len(t, got, 1)
		next := got[0].(*messages.Lease)
		assert.Equal(t, messages.LeaseID{Conn: 1, Epoch: 2}, next.ID)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Taint{Lease: next.ID, Cause: errApp}).Err)
		assert.EqualValues(t, 1, p.Stats().ClosedBroken)
	})
}

// P5
func TestALeaseThatHasEndedOrNeverWasIsRefusedByMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := ask[*messages.Lease](t, w, p, &messages.Get{})
		for _, forged := range []messages.LeaseID{
			{}, {Conn: 1}, {Conn: 1, Epoch: 2}, {Conn: 2, Epoch: 1}, {Conn: 1 << 63, Epoch: 1}, {Conn: 1, Epoch: 1 << 63},
		} {
			assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: forged}).Err, messages.ErrLeaseEnded)
			assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Taint{Lease: forged}).Err, messages.ErrLeaseEnded)
		}
		assert.Equal(t, 1, p.Stats().Borrowed)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Taint{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		next := get(t, p)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err, messages.ErrLeaseEnded)
		assert.NotNil(t, next.Conn())
		put(t, next)
	})
}

func TestEveryControlHasItsMessage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2))
		fill(t, p, 2)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: 1}).Err)
		assert.ErrorAs(t, ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: -1}).Err, new(*messages.ConfigError))
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Suspend{}).Err)
		assert.Equal(t, messages.StateSuspended, ask[*messages.Stats](t, w, p, &messages.StatsRequest{}).State)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Resume{}).Err)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Clear{}).Err)
		synctest.Wait()
		st := ask[*messages.Stats](t, w, p, &messages.StatsRequest{})
		assert.Zero(t, st.Open)
		assert.Equal(t, 1, st.Capacity)
		assert.EqualValues(t, 1, st.Generation)
	})
}

// X2
func TestCloseByMessageWaitsUntilItsDeadline(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		l := ask[*messages.Lease](t, w, p, &messages.Get{Label: "report"})
		b := w.inbox()
		b.request(p, &messages.Close{Deadline: time.Now().Add(time.Second)})
		b.request(p, &messages.Close{})
		assert.Empty(t, b.take())
		time.Sleep(time.Second)
		got := b.take()
		require.Len(t, got, 1)
		var e *messages.DrainError
		require.ErrorAs(t, got[0].(*messages.Done).Err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, "report", e.Holders[0].Label)
		assert.ErrorIs(t, ask[*messages.Denied](t, w, p, &messages.Get{}).Err, messages.ErrClosed)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.SetCapacity{Capacity: 1}).Err, messages.ErrClosed)
		assert.ErrorIs(t, ask[*messages.Done](t, w, p, &messages.Clear{}).Err, messages.ErrClosed)
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: l.ID}).Err)
		got = b.take()
		require.Len(t, got, 1)
		assert.NoError(t, got[0].(*messages.Done).Err)
	})
}

func TestAGrantToAFutureThatTimedOutIsTakenBack(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		_, err := w.system.Root.RequestFuture(p.PID(), &messages.Get{}, time.Second).Result()
		require.ErrorIs(t, err, actor.ErrTimeout)
		g := begin(ctx, p)
		put(t, held)
		put(t, g.granted(t))
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.Equal(t, 1, st.Idle)
		assert.Equal(t, 1, w.server.dialled())
	})
}

func TestAGrantToAnActorThatHasStoppedIsTakenBack(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		held := get(t, p)
		b := w.inbox()
		b.request(p, &messages.Get{})
		require.NoError(t, w.system.Root.StopFuture(b.pid).Wait())
		put(t, held)
		synctest.Wait()
		assert.Equal(t, 1, p.Stats().Idle)
		put(t, get(t, p))
	})
}

func TestAGetWithoutASenderIsIgnored(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		w.system.Root.Send(p.PID(), &messages.Get{})
		synctest.Wait()
		assert.Zero(t, w.server.dialled())
		assert.Zero(t, p.Stats().Gets)
	})
}

func TestABorrowerInAnotherProcessGetsNothing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		w.system.Root.RequestWithCustomSender(p.PID(), &messages.Get{}, actor.NewPID("elsewhere:1", "x"))
		synctest.Wait()
		assert.Zero(t, w.server.dialled())
		assert.Zero(t, p.Stats().Borrowed)
	})
}

func TestNonsenseByMessageDoesNoHarm(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool()
		borrowed := ask[*messages.Lease](t, w, p, &messages.Get{})
		for _, nonsense := range []any{
			(*messages.Get)(nil), (*messages.Put)(nil), (*messages.Taint)(nil), (*messages.SetCapacity)(nil), (*messages.Close)(nil),
			(*messages.Clear)(nil), (*messages.StatsRequest)(nil), (*messages.HealthFailed)(nil),
		} {
			assert.ErrorAs(t, ask[*messages.Done](t, w, p, nonsense).Err, new(*messages.ConfigError), "%T", nonsense)
		}
		for _, nonsense := range []any{
			"hello", 42, struct{}{}, messages.Get{}, &messages.Lease{}, &messages.Done{}, (*messages.Tick)(nil), (*messages.BackoffElapsed)(nil),
			&actor.DeadLetterResponse{}, &messages.Tick{Epoch: 7}, &messages.BackoffElapsed{Epoch: 7},
		} {
			w.system.Root.Send(p.PID(), nonsense)
			w.inbox().request(p, nonsense)
			require.Equal(t, 1, p.Stats().Borrowed, "%T", nonsense)
		}
		assert.NoError(t, ask[*messages.Done](t, w, p, &messages.Put{Lease: borrowed.ID}).Err)
		put(t, get(t, p))
		assert.Equal(t, messages.StateReady, p.Stats().State)
	})
}

// parent is an actor that spawns a pool as its child.
func (w *world) parent(cfg config) (*pool, *actor.PID) {
	var p *pool
	pid := w.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			var err error
			p, err = client.Spawn(ctx, cfg)
			assert.NoError(w.t, err)
			l, err := p.Get(context.Background()) // from inside an actor
			assert.NoError(w.t, err)
			assert.NoError(w.t, l.Put())
		}
	}))
	synctest.Wait()
	require.NotNil(w.t, p)
	return p, pid
}

func TestAPoolInsideAnActorEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false)
		p, parent := w.parent(w.config(capacity(2)))
		a, b := get(t, p), get(t, p)
		g := begin(ctx, p)
		shrink := async(func() error { return p.SetCapacity(ctx, 1) })
		ready := async(func() error { return p.Ready(ctx) })
		assert.NoError(t, ready.returned(t))
		require.NoError(t, w.system.Root.StopFuture(parent).Wait())
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
		assert.ErrorIs(t, shrink.returned(t), messages.ErrClosed)
		_, opened, closed := w.server.count()
		assert.Equal(t, 2, opened)
		assert.Equal(t, 2, closed)
		assert.Nil(t, a.Conn())
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Taint(nil), messages.ErrLeaseEnded)
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NoError(t, p.Close(ctx))
		assert.Equal(t, messages.StateClosed, p.Stats().State)
	})
}

func TestAPoolThatIsStoppedFromOutsideLeavesNothingBehind(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3), func(cfg *config) { cfg.MinIdle, cfg.IdleTimeout = 1, time.Minute })
		fill(t, p, 2)
		held := get(t, p)
		w.server.becomes(takes(time.Second))
		ending := async(func() error { return p.Close(ctx) })
		ending.waits(t)
		require.NoError(t, w.system.Root.StopFuture(p.PID()).Wait())
		synctest.Wait()
		assert.True(t, ending.ended())
		assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
	})
}

func TestAPoolThatIsStoppedWhileItConnectsClosesWhatComes(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.server.becomes(ignoring(release))
		p := w.pool()
		g := begin(ctx, p)
		w.system.Root.Stop(p.PID())
		assert.ErrorIs(t, g.failed(t), messages.ErrClosed)
		close(release)
		synctest.Wait()
		_, opened, closed := w.server.count()
		assert.Equal(t, 1, opened)
		assert.Equal(t, 1, closed)
	})
}

func TestAttachToWhatIsNoPool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		stranger := w.inbox()
		for _, p := range []*pool{
			client.Attach[*conn](w.system, actor.NewPID(w.system.Address(), "nobody")),
			client.Attach[*conn](w.system, stranger.pid),
			client.Attach[*conn](nil, stranger.pid),
			client.Attach[*conn](w.system, nil),
		} {
			_, err := p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrClosed)
			_, ok := p.TryGet()
			assert.False(t, ok)
			assert.Equal(t, messages.StateClosed, p.Stats().State)
			assert.ErrorIs(t, p.SetCapacity(ctx, 1), messages.ErrClosed)
		}
		p := w.pool()
		_, err := client.Attach[string](w.system, p.PID()).Get(ctx)
		var e *messages.ConfigError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "C", e.Field)
	})
}

func TestManyFacadesOfOnePool(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := get(t, p)
		other := client.Attach[*conn](w.system, p.PID())
		g := begin(ctx, other)
		put(t, l)
		put(t, g.granted(t))
		require.NoError(t, other.Close(ctx))
		_, err := p.Get(ctx)
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.ErrorIs(t, client.Attach[*conn](w.system, p.PID()).Suspend(ctx), messages.ErrClosed)
		assert.NoError(t, client.Attach[*conn](w.system, p.PID()).Close(ctx))
	})
}

func TestEachSpawnOfPropsIsAPoolOfItsOwn(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		props, err := client.Props(w.config(capacity(1)))
		require.NoError(t, err)
		a := client.Attach[*conn](w.system, w.system.Root.Spawn(props))
		b := client.Attach[*conn](w.system, w.system.Root.Spawn(props))
		x, y := get(t, a), get(t, b)
		put(t, x, y)
		closeNow(t, a)
		put(t, get(t, b))
		closeNow(t, b)
	})
}

func TestAPoolWithASystemOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t}
		p, err := client.New(config{Connect: s.connect})
		require.NoError(t, err)
		put(t, get(t, p))
		assert.Equal(t, "pool", p.Stats().Name)
		assert.GreaterOrEqual(t, p.Stats().Capacity, 4)
		closeNow(t, p)
		_, opened, closed := s.count()
		assert.Equal(t, 1, opened)
		assert.Equal(t, 1, closed)
	})
}
