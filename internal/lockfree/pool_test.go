package lockfree

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config[*conn]{Capacity: 1})
	require.ErrorContains(t, err, "Connect")
	var w world
	for _, n := range []int{-1, maxCapacity + 1} {
		_, err = New(w.config(n))
		require.ErrorContains(t, err, "capacity")
	}
}

func TestIdleIsLastInFirstOutAndGrowthIsLazy(t *testing.T) {
	var w world
	p := w.pool(t, 3)
	require.Zero(t, w.opened.Load())
	a, b := get(t, p), get(t, p)
	require.NoError(t, a.Put())
	require.NoError(t, b.Put())
	require.Equal(t, 2, p.Stats().Idle)
	c := get(t, p)
	require.Same(t, b.Conn(), c.Conn(), "the newest idle connection first")
	d := get(t, p)
	require.Same(t, a.Conn(), d.Conn())
	require.EqualValues(t, 2, w.opened.Load())
	e := get(t, p)
	require.EqualValues(t, 3, w.opened.Load())
	for _, l := range []Lease[*conn]{c, d, e} {
		require.NoError(t, l.Put())
	}
	w.settled(t, p)
}

func TestTryGetNeverConnects(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	_, ok := p.TryGet()
	require.False(t, ok)
	require.NoError(t, get(t, p).Put())
	l, ok := p.TryGet()
	require.True(t, ok)
	_, ok = p.TryGet()
	require.False(t, ok)
	require.NoError(t, l.Put())
	w.settled(t, p)
	_, ok = p.TryGet()
	require.False(t, ok)
}

func TestALeaseEndsOnce(t *testing.T) {
	var w world
	p := w.pool(t, 2)
	require.ErrorIs(t, Lease[*conn]{}.Put(), ErrLeaseEnded)
	require.ErrorIs(t, Lease[*conn]{}.Taint(nil), ErrLeaseEnded)

	first := get(t, p)
	require.NoError(t, first.Put())
	second := get(t, p)
	require.Same(t, first.Conn(), second.Conn())
	before := p.Stats()
	require.ErrorIs(t, first.Put(), ErrLeaseEnded, "an old lease, while another is valid")
	require.ErrorIs(t, first.Taint(nil), ErrLeaseEnded)
	require.Equal(t, before, p.Stats(), "an old lease changes nothing")

	require.NoError(t, second.Taint(nil))
	require.ErrorIs(t, second.Taint(nil), ErrLeaseEnded)
	require.ErrorIs(t, second.Put(), ErrLeaseEnded)
	third := get(t, p)
	require.NotSame(t, second.Conn(), third.Conn(), "same slot, new connection")
	require.ErrorIs(t, second.Put(), ErrLeaseEnded)
	require.NoError(t, third.Put())
	w.settled(t, p)
	require.ErrorIs(t, third.Put(), ErrLeaseEnded)
}

func TestStatsOfARestingPoolAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 3)
		a, b, c := get(t, p), get(t, p), get(t, p)
		waiting := goGet(t.Context(), p)
		require.Equal(t, Stats{Capacity: 3, Open: 3, Borrowed: 3, Waiting: 1, Gets: 3, Waits: 1, Connects: 3}, p.Stats())
		require.NoError(t, a.Put())
		d := got(t, waiting)
		require.NoError(t, b.Put())
		require.NoError(t, c.Taint(nil))
		require.Equal(t, Stats{Capacity: 3, Open: 2, Idle: 1, Borrowed: 1, Gets: 4, Waits: 1, Connects: 3, Disconnects: 1}, p.Stats())
		require.NoError(t, d.Put())
		w.settled(t, p)
	})
}

func TestAnEndedContextFailsAtOnce(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	require.NoError(t, get(t, p).Put())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Get(ctx)
	require.ErrorIs(t, err, context.Canceled, "also when something is idle")
	w.settled(t, p)
}

func TestAConnectDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		p := w.pool(t, 2)
		first := get(t, p)
		release := make(chan struct{})
		w.onConnect = func(context.Context) error { <-release; return nil }
		slow := goGet(t.Context(), p)
		parked(t, slow)
		require.Equal(t, 1, p.Stats().Connecting)
		require.NoError(t, first.Put())
		require.NoError(t, get(t, p).Put())
		close(release)
		require.NoError(t, got(t, slow).Put())
		w.settled(t, p)
	})
}

func TestAFailedConnectFreesItsPlace(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	w.onConnect = func(context.Context) error { return errConnect }
	for range 3 {
		_, err := p.Get(t.Context())
		require.ErrorIs(t, err, errConnect)
	}
	require.Zero(t, p.Stats().Open)
	require.EqualValues(t, 3, p.Stats().ConnectErrors)
	w.onConnect = nil
	require.NoError(t, get(t, p).Put())
	w.settled(t, p)
}

func TestAPanicInConnectFreesItsPlace(t *testing.T) {
	var w world
	p := w.pool(t, 1)
	w.onConnect = func(context.Context) error { panic("bug") }
	require.PanicsWithValue(t, "bug", func() { _, _ = p.Get(t.Context()) })
	w.onConnect = nil
	require.NoError(t, get(t, p).Put())
	w.settled(t, p)
}

func TestIdleConnectionsAreStamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		cfg := w.config(1)
		cfg.IdleStamps = true
		p, err := New(cfg)
		require.NoError(t, err)
		l := get(t, p)
		time.Sleep(time.Minute) // virtual
		require.NoError(t, l.Put())
		require.Equal(t, int64(time.Minute), l.s.since)
		w.settled(t, p)
	})
}

type closer struct{ closed bool }

func (c *closer) Close() error { c.closed = true; return nil }

func TestTheDefaultDisconnectClosesAnIOCloser(t *testing.T) {
	p, err := New(Config[*closer]{Capacity: 1, Connect: func(context.Context) (*closer, error) { return new(closer), nil }})
	require.NoError(t, err)
	l, err := p.Get(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Taint(nil))
	require.True(t, l.Conn().closed)
	require.NoError(t, p.Close(t.Context()))

	q, err := New(Config[int]{Capacity: 1, Connect: func(context.Context) (int, error) { return 1, nil }})
	require.NoError(t, err)
	n, err := q.Get(t.Context())
	require.NoError(t, err)
	require.NoError(t, n.Put())
	require.NoError(t, q.Close(t.Context()))
}

func TestGetAndPutAllocateNothing(t *testing.T) {
	var w world
	for _, stamps := range []bool{false, true} {
		cfg := w.config(2)
		cfg.IdleStamps = stamps
		p, err := New(cfg)
		require.NoError(t, err)
		require.NoError(t, get(t, p).Put())
		ctx := t.Context()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			l, _ := p.Get(ctx)
			_ = l.Put()
		}))
		require.NoError(t, p.Close(ctx))
	}
}
