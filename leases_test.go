package actorpool_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

func maxLease(d time.Duration) func(*config) { return func(cfg *config) { cfg.MaxLease = d } }

func leakAfter(d time.Duration) func(*config) { return func(cfg *config) { cfg.LeakAfter = d } }

// of gives the events of one kind.
func (j *journal) of(kind messages.EventKind) []messages.Event {
	var events []messages.Event
	for _, e := range j.all() {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

func TestALeaseThatIsHeldForTooLongEnds(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(capacity(1), maxLease(time.Minute), j.listen)
		late, err := p.GetWith(ctx, client.GetOptions{Label: "late"})
		require.NoError(t, err)
		held := late.Conn()
		g := begin(ctx, p)
		time.Sleep(time.Minute - time.Millisecond)
		g.waits(t)
		assert.NotNil(t, late.Conn())
		time.Sleep(time.Millisecond)
		next := g.granted(t)
		assert.NotSame(t, held, next.Conn())
		assert.EqualValues(t, 1, held.closed.Load())
		assert.Nil(t, late.Conn())
		for range 2 {
			assert.ErrorIs(t, late.Put(), messages.ErrLeaseEnded)
			assert.ErrorIs(t, late.Taint(nil), messages.ErrLeaseEnded)
		}
		put(t, next)
		counts(t, p, 0, 1, 0)
		st := p.Stats()
		assert.Equal(t, [3]uint64{1, 1, 1}, [3]uint64{st.Revoked, st.Leaks, st.ClosedBroken})
		leaks := j.of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.ErrorIs(t, leaks[0].Err, messages.ErrLeaseExpired)
		assert.Equal(t, "late", leaks[0].Label)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		closings := j.of(messages.ConnectionClosed)
		require.Len(t, closings, 1)
		assert.ErrorIs(t, closings[0].Err, messages.ErrLeaseExpired)
	})
}

func TestEachLeaseHasItsOwnTime(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(3), maxLease(time.Minute))
		var leases []lease
		for range 3 {
			leases = append(leases, get(t, p))
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		for i := range leases { // the first has come to its end just now
			assert.Equal(t, i == 0, leases[i].Conn() == nil)
		}
		put(t, leases[1]) // in time
		fresh := get(t, p)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		assert.ErrorIs(t, leases[2].Put(), messages.ErrLeaseEnded)
		put(t, fresh)
		for range 10 { // the time of one is not that of the next
			l := get(t, p)
			time.Sleep(59 * time.Second)
			put(t, l)
		}
		assert.EqualValues(t, 2, p.Stats().Revoked)
		counts(t, p, 0, 1, 0)
	})
}

func TestDoTellsThatItsLeaseEndedMeanwhile(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), maxLease(time.Minute))
		for _, result := range []error{nil, errApp, io.EOF} {
			var was *conn
			err := p.Do(ctx, func(_ context.Context, c *conn) error {
				was = c
				time.Sleep(time.Hour)
				return result
			})
			assert.ErrorIs(t, err, messages.ErrLeaseEnded)
			if result != nil {
				assert.ErrorIs(t, err, result)
			}
			assert.EqualValues(t, 1, was.closed.Load())
		}
		assert.NoError(t, p.Do(ctx, func(context.Context, *conn) error { time.Sleep(59 * time.Second); return nil }))
		assert.PanicsWithValue(t, "too late", func() {
			_ = p.Do(ctx, func(context.Context, *conn) error { time.Sleep(time.Hour); panic("too late") })
		})
		counts(t, p, 0, 0, 0)
		assert.EqualValues(t, 4, p.Stats().Revoked)
	})
}

func TestMaxLeaseBoundsACloseAndASmallerCapacity(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), maxLease(time.Minute))
		a, b := get(t, p), get(t, p)
		assert.Equal(t, time.Minute, elapsed(func() { assert.NoError(t, p.SetCapacity(ctx, 0)) }))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, b.Put(), messages.ErrLeaseEnded)
		require.NoError(t, p.SetCapacity(ctx, 2))
		a = get(t, p)
		assert.Equal(t, time.Minute, elapsed(func() { assert.NoError(t, p.Close(ctx)) }))
		assert.ErrorIs(t, a.Put(), messages.ErrLeaseEnded)
	})
}

// whoBorrows is a function to be found in a stack.
//
//go:noinline
func whoBorrows(t *testing.T, p *pool) lease {
	l, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
	require.NoError(t, err)
	return l
}

// itsStack says that a stack is that of whoever called the pool, and not of the
// pool.
func itsStack(t *testing.T, stack, caller string) {
	t.Helper()
	first, _, _ := strings.Cut(stack, "\n")
	assert.Contains(t, first, caller, "the first frame")
	assert.NotContains(t, stack, "actorpool/client.")
	assert.NotContains(t, stack, "actorpool/actors.")
	assert.Contains(t, stack, "leases_test.go:")
}

// goroutine is the number of this goroutine.
func goroutine(t *testing.T) uint64 {
	var b [64]byte
	text := strings.Fields(string(b[:runtime.Stack(b[:], false)]))
	n, err := strconv.ParseUint(text[1], 10, 64)
	require.NoError(t, err)
	return n
}

func TestALeakIsToldOfWithItsAgeItsLabelAndWhereItCameFrom(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		var log bytes.Buffer // written by one goroutine, and read when that is at rest
		p := w.pool(capacity(2), leakAfter(time.Minute), j.listen, func(cfg *config) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		l := whoBorrows(t, p)
		time.Sleep(time.Minute)
		leaks := j.of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.Equal(t, time.Minute, leaks[0].Duration)
		assert.Equal(t, "import", leaks[0].Label)
		assert.EqualValues(t, 1, leaks[0].ConnID)
		assert.NoError(t, leaks[0].Err, "it may still come back")
		itsStack(t, leaks[0].Stack, "actorpool_test.whoBorrows")
		assert.Contains(t, leaks[0].Stack, "TestALeakIsToldOfWithItsAgeItsLabelAndWhereItCameFrom")

		assert.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		for _, part := range []string{"level=WARN", "import", "whoBorrows", "60000"} {
			assert.Contains(t, log.String(), part)
		}
		assert.NotNil(t, l.Conn(), "it goes on")
		put(t, l)
		time.Sleep(time.Hour)
		assert.Len(t, j.of(messages.LeaseLeaked), 1)
		counts(t, p, 0, 1, 0)
	})
}

func TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1), leakAfter(time.Hour))
		l := whoBorrows(t, p)
		time.Sleep(time.Second)
		g := begin(within(t, time.Second), p)
		_, err := p.Get(within(t, time.Second))
		for _, err := range []error{err, g.failed(t)} {
			var e *messages.GetError
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Holders, 1)
			h := e.Holders[0]
			assert.Equal(t, "import", h.Label)
			assert.Equal(t, 2*time.Second, h.Age)
			assert.EqualValues(t, 1, h.ConnID)
			assert.Equal(t, goroutine(t), h.Goroutine)
			itsStack(t, h.Stack, "actorpool_test.whoBorrows")
			assert.ErrorContains(t, err, "held by import (connection 1, 2s, goroutine "+strconv.FormatUint(h.Goroutine, 10)+")")
			assert.NotContains(t, err.Error(), "whoBorrows", "an error is one line")
		}
		put(t, l)
		l, ok := p.TryGet()
		require.True(t, ok)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		itsStack(t, e.Holders[0].Stack, "TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere")
		put(t, l)
		require.NoError(t, p.Do(ctx, func(ctx context.Context, _ *conn) error {
			e, err := p.Explain(ctx)
			itsStack(t, e.Holders[0].Stack, "TestTheErrorOfAWaitSaysWhoHoldsTheConnectionsAndWhere")
			return err
		}))
	})
}

func TestWithoutLeakAfterNobodyLooksAtStacks(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(1))
		l := whoBorrows(t, p)
		_, err := p.Get(within(t, time.Second))
		var e *messages.GetError
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, messages.Holder{ConnID: 1, Label: "import", Age: time.Second}, e.Holders[0])
		time.Sleep(time.Hour)
		assert.Zero(t, p.Stats().Leaks)
		put(t, l)
	})
}

// Forgotten leases.

// drop gets a lease and forgets it.
//
//go:noinline
func drop(t *testing.T, p *pool) {
	l := whoBorrows(t, p)
	require.NotNil(t, l.Conn())
}

// collects runs the garbage collector until something is noticed. The runtime
// tells of garbage on a goroutine of its own, at its leisure.
func collects(t *testing.T, noticed func() bool) {
	t.Helper()
	for range 2000 {
		runtime.GC()
		if noticed() {
			return
		}
	}
	require.Fail(t, "the garbage is not noticed")
}

// keeps runs it for as long as it takes to notice garbage that there is.
func keeps(t *testing.T) {
	t.Helper()
	gone := new(atomic.Bool)
	runtime.AddCleanup(&struct{ _ [2]uint64 }{}, func(gone *atomic.Bool) { gone.Store(true) }, gone)
	collects(t, gone.Load)
	runtime.GC()
}

func TestALeaseThatWasForgottenIsNoticedByWhoWaits(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(capacity(1), leakAfter(time.Hour), j.listen)
		drop(t, p)
		var l lease
		collects(t, func() bool {
			bounded, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			var err error
			l, err = p.Get(bounded)
			return err == nil
		})
		assert.Equal(t, 2, l.Conn().n, "a new connection")
		assert.EqualValues(t, 1, w.server.conns[0].closed.Load())
		leaks := j.of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.ErrorIs(t, leaks[0].Err, messages.ErrLeaseLost)
		assert.Equal(t, "import", leaks[0].Label)
		itsStack(t, leaks[0].Stack, "actorpool_test.whoBorrows")
		assert.Contains(t, leaks[0].Stack, "actorpool_test.drop")
		st := p.Stats()
		assert.Equal(t, [3]uint64{1, 1, 1}, [3]uint64{st.Revoked, st.Leaks, st.ClosedBroken})
		put(t, l)
		counts(t, p, 0, 1, 0)
	})
}

func TestLeasesThatWereForgottenAreNoticedInTime(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		var j journal
		p := w.pool(capacity(4), leakAfter(time.Minute), j.listen)
		kept := get(t, p)
		for range 3 {
			drop(t, p)
		}
		collects(t, func() bool {
			time.Sleep(time.Minute)
			return p.Stats().Borrowed == 1
		})
		synctest.Wait()
		st := p.Stats()
		assert.EqualValues(t, 3, st.Revoked)
		assert.EqualValues(t, 4, st.Leaks, "the one that is kept is out for long, too")
		assert.Len(t, j.of(messages.LeaseLeaked), 4, "each is told of once")
		put(t, kept)
		counts(t, p, 0, 1, 0)
	})
}

func TestALeaseThatWasForgottenDoesNotKeepAPoolFromClosing(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), leakAfter(time.Minute))
		drop(t, p)
		closing := async(func() error { return p.Close(ctx) })
		collects(t, func() bool {
			time.Sleep(time.Minute)
			return closing.ended()
		})
		assert.NoError(t, closing.returned(t))
	})
}

func TestExplainDoesNotTellOfAHolderThatIsGarbage(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), leakAfter(time.Hour))
		drop(t, p)
		collects(t, func() bool {
			e, err := p.Explain(ctx)
			require.NoError(t, err)
			return len(e.Holders) == 0
		})
		counts(t, p, 0, 0, 0)
	})
}

func TestALeaseThatHasEndedCanBeForgotten(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), leakAfter(time.Hour))
		for range 20 {
			l := whoBorrows(t, p)
			require.NoError(t, l.Put())
		}
		require.NoError(t, whoBorrows(t, p).Taint(nil))
		l := whoBorrows(t, p) // the same connection, perhaps, and another lease of it
		keeps(t)
		_, err := p.Explain(ctx) // it looks for what is forgotten
		require.NoError(t, err)
		counts(t, p, 1, 0, 0)
		st := p.Stats()
		assert.Zero(t, st.Leaks+st.Revoked)
		put(t, l)
	})
}

// holder keeps a lease among other things.
type holder struct {
	name  string
	lease *lease
}

func TestALeaseThatSomebodyHasIsNotTakenAway(t *testing.T) {
	// Each keeps a lease in its way while f runs, and returns it then.
	for name, hold := range map[string]func(t *testing.T, p *pool, f func()){
		"in a variable": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			f()
			require.NoError(t, l.Put())
		},
		"in a variable, to be tainted": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			f()
			require.NoError(t, l.Taint(nil))
		},
		"in a deferred call": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			defer func() { require.NoError(t, l.Put()) }()
			f()
		},
		"as a method value": func(t *testing.T, p *pool, f func()) {
			end := get(t, p).Put
			f()
			require.NoError(t, end())
		},
		"inside of Do": func(t *testing.T, p *pool, f func()) {
			require.NoError(t, p.Do(ctx, func(context.Context, *conn) error { f(); return nil }))
		},
		"in a struct": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			h := &holder{name: "keeper", lease: &l}
			f()
			require.NoError(t, h.lease.Put())
		},
		"in a map": func(t *testing.T, p *pool, f func()) {
			all := map[string]lease{"it": get(t, p)}
			f()
			require.NoError(t, all["it"].Put())
		},
		"in a channel": func(t *testing.T, p *pool, f func()) {
			all := make(chan lease, 1)
			all <- get(t, p)
			f()
			l := <-all
			require.NoError(t, l.Put())
		},
		"as a copy of a copy": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			other := l
			another := []lease{other}
			l, other = lease{}, lease{}
			f()
			require.NoError(t, another[0].Put())
			require.Error(t, l.Put())
			require.Error(t, other.Put())
		},
		"on another goroutine": func(t *testing.T, p *pool, f func()) {
			l := get(t, p)
			goOn := make(chan struct{})
			end := async(func() error { <-goOn; return l.Put() })
			f()
			close(goOn)
			require.NoError(t, end.returned(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule(t, func(t *testing.T, w *world) {
				p := w.pool(capacity(1), leakAfter(time.Hour))
				hold(t, p, func() {
					keeps(t)
					_, err := p.Get(within(t, time.Second)) // who waits looks for what is forgotten
					require.ErrorIs(t, err, context.DeadlineExceeded)
					keeps(t)
					_, err = p.Explain(ctx)
					require.NoError(t, err)
					counts(t, p, 1, 0, 0)
				})
				synctest.Wait()
				st := p.Stats()
				assert.Zero(t, st.Borrowed)
				assert.Zero(t, st.Revoked+st.Leaks)
			})
		})
	}
}

//go:noinline
func onlyItsContext(t *testing.T, p *pool) context.Context {
	return get(t, p).Context(context.WithValue(ctx, messages.Get{}, "a key of somebody's"))
}

// keepsTheContext has nothing of a lease but its context, and one derived from it.
//
//go:noinline
func keepsTheContext(t *testing.T, p *pool) {
	derived, cancel := context.WithCancel(onlyItsContext(t, p))
	defer cancel()
	keeps(t)
	put(t, get(t, p))
	_, err := p.Explain(ctx)
	require.NoError(t, err)
	counts(t, p, 1, 1, 0)
	assert.Zero(t, p.Stats().Revoked)
	assert.NoError(t, derived.Err())
}

func TestALeaseWhoseContextSomebodyHasIsNotTakenAway(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.pool(capacity(2), leakAfter(time.Hour))
		keepsTheContext(t, p)
		collects(t, func() bool {
			_, err := p.Explain(ctx)
			require.NoError(t, err)
			return p.Stats().Revoked == 1
		})
		counts(t, p, 0, 1, 0)
	})
}

func TestWithoutLeakAfterAForgottenLeaseIsNotMissed(t *testing.T) {
	rule(t, func(t *testing.T, w *world) {
		p := w.spawn(w.config(capacity(1)))
		drop(t, p)
		keeps(t)
		_, err := p.Get(within(t, time.Hour))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		counts(t, p, 1, 0, 0)
		require.NoError(t, w.system.Root.StopFuture(p.PID()).Wait())
		synctest.Wait()
		_, opened, closed := w.server.count()
		assert.Equal(t, opened, closed)
	})
}

func TestLeasesAreForgottenAndKeptAtRandom(t *testing.T) {
	s := &storm{t: t}
	p, err := client.New(client.Config[*stormConn]{
		Connect: func(context.Context) (*stormConn, error) { s.opened.Add(1); return &stormConn{storm: s}, nil },
		Disconnect: func(_ context.Context, c *stormConn) error {
			defer c.alone("close")()
			c.closed.Add(1)
			s.closed.Add(1)
			return nil
		},
		Reset:     func(_ context.Context, c *stormConn) error { defer c.alone("reset")(); return nil },
		Capacity:  stressCapacity,
		LeakAfter: time.Millisecond,
	})
	require.NoError(t, err)
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 40 {
				l, err := p.Get(within(t, time.Minute))
				if !assert.NoError(t, err) {
					return
				}
				if (g+i)%8 == 0 {
					continue // forgotten
				}
				c := l.Conn()
				if n := c.holders.Add(1); n != 1 {
					t.Errorf("a connection has %d holders", n)
				}
				if i%10 == 5 {
					runtime.GC()
				}
				c.holders.Add(-1)
				assert.NoError(t, l.Put())
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	collects(t, func() bool {
		select {
		case <-over:
			return p.Stats().Borrowed == 0
		default:
			return false
		}
	})
	st := p.Stats()
	assert.EqualValues(t, 16*40/8, st.Revoked)
	assert.Equal(t, st.Grants, st.Puts+st.Revoked)
	require.NoError(t, p.Close(within(t, time.Minute)))
	assert.Equal(t, s.opened.Load(), s.closed.Load())
}
