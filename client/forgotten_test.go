package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// forget gets a lease and drops it without Put or Taint.
//
//go:noinline
func forget(t *testing.T, p *testkit.Pool) {
	l := getForImport(t, p)
	require.NotNil(t, l.Conn())
}

func TestALeaseThatWasForgottenIsNoticedByWhoWaits(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(testkit.Capacity(1), testkit.LeakAfter(time.Hour), j.Listen)
		forget(t, p)
		var l testkit.Lease
		testkit.CollectUntil(t, func() bool {
			bounded, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			var err error
			l, err = p.Get(bounded)
			return err == nil
		})
		assert.Equal(t, 2, l.Conn().N, "a new connection")
		assert.EqualValues(t, 1, w.Server.Conn(1).Closes())
		leaks := j.Of(messages.LeaseLeaked)
		require.Len(t, leaks, 1)
		assert.ErrorIs(t, leaks[0].Err, messages.ErrLeaseLost)
		assert.Equal(t, "import", leaks[0].Label)
		assertCallersStack(t, leaks[0].Stack, "client_test.getForImport")
		assert.Contains(t, leaks[0].Stack, "client_test.forget")
		st := p.Stats()
		assert.Equal(t, [3]uint64{1, 1, 1}, [3]uint64{st.Revoked, st.Leaks, st.ClosedBroken})
		testkit.Put(t, l)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestLeasesThatWereForgottenAreNoticedInTime(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var j testkit.Journal
		p := w.Pool(testkit.Capacity(4), testkit.LeakAfter(time.Minute), j.Listen)
		kept := testkit.Get(t, p)
		for range 3 {
			forget(t, p)
		}
		testkit.CollectUntil(t, func() bool {
			time.Sleep(time.Minute)
			return p.Stats().Borrowed == 1
		})
		synctest.Wait()
		st := p.Stats()
		assert.EqualValues(t, 3, st.Revoked)
		assert.EqualValues(t, 4, st.Leaks, "the lease that is kept is held for longer than LeakAfter, too")
		assert.Len(t, j.Of(messages.LeaseLeaked), 4, "each is reported once")
		testkit.Put(t, kept)
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestALeaseThatWasForgottenDoesNotKeepAPoolFromClosing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), testkit.LeakAfter(time.Minute))
		forget(t, p)
		closing := testkit.Async(func() error { return p.Close(ctx) })
		testkit.CollectUntil(t, func() bool {
			time.Sleep(time.Minute)
			return closing.Ended()
		})
		assert.NoError(t, closing.Returned(t))
	})
}

func TestExplainDoesNotTellOfAHolderThatIsGarbage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), testkit.LeakAfter(time.Hour))
		forget(t, p)
		testkit.CollectUntil(t, func() bool {
			e, err := p.Explain(ctx)
			require.NoError(t, err)
			return len(e.Holders) == 0
		})
		testkit.AssertCounts(t, p, 0, 0, 0)
	})
}

func TestALeaseThatHasEndedCanBeForgotten(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), testkit.LeakAfter(time.Hour))
		for range 20 {
			l := getForImport(t, p)
			require.NoError(t, l.Put())
		}
		require.NoError(t, getForImport(t, p).Taint(nil))
		l := getForImport(t, p) // perhaps of the same connection
		testkit.CollectAll(t)
		_, err := p.Explain(ctx) // it looks for forgotten leases
		require.NoError(t, err)
		testkit.AssertCounts(t, p, 1, 0, 0)
		st := p.Stats()
		assert.Zero(t, st.Leaks+st.Revoked)
		testkit.Put(t, l)
	})
}

// leaseHolder keeps a lease in a field.
type leaseHolder struct {
	name  string
	lease *testkit.Lease
}

func TestALeaseThatSomebodyHasIsNotTakenAway(t *testing.T) {
	// Each keeps a lease in a different way while f runs, and returns it then.
	for name, hold := range map[string]func(t *testing.T, p *testkit.Pool, f func()){
		"in a variable": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			f()
			require.NoError(t, l.Put())
		},
		"in a variable, to be tainted": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			f()
			require.NoError(t, l.Taint(nil))
		},
		"in a deferred call": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			defer func() { require.NoError(t, l.Put()) }()
			f()
		},
		"as a method value": func(t *testing.T, p *testkit.Pool, f func()) {
			end := testkit.Get(t, p).Put
			f()
			require.NoError(t, end())
		},
		"inside of Do": func(t *testing.T, p *testkit.Pool, f func()) {
			require.NoError(t, p.Do(ctx, func(context.Context, *testkit.Conn) error { f(); return nil }))
		},
		"in a struct": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			h := &leaseHolder{name: "keeper", lease: &l}
			f()
			require.NoError(t, h.lease.Put())
		},
		"in a map": func(t *testing.T, p *testkit.Pool, f func()) {
			all := map[string]testkit.Lease{"it": testkit.Get(t, p)}
			f()
			require.NoError(t, all["it"].Put())
		},
		"in a channel": func(t *testing.T, p *testkit.Pool, f func()) {
			all := make(chan testkit.Lease, 1)
			all <- testkit.Get(t, p)
			f()
			l := <-all
			require.NoError(t, l.Put())
		},
		"as a copy of a copy": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			other := l
			another := []testkit.Lease{other}
			l, other = testkit.Lease{}, testkit.Lease{}
			f()
			require.NoError(t, another[0].Put())
			require.Error(t, l.Put())
			require.Error(t, other.Put())
		},
		"on another goroutine": func(t *testing.T, p *testkit.Pool, f func()) {
			l := testkit.Get(t, p)
			goOn := make(chan struct{})
			end := testkit.Async(func() error { <-goOn; return l.Put() })
			f()
			close(goOn)
			require.NoError(t, end.Returned(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1), testkit.LeakAfter(time.Hour))
				hold(t, p, func() {
					testkit.CollectAll(t)
					_, err := p.Get(testkit.Within(t, time.Second)) // a Get that must wait looks for forgotten leases
					require.ErrorIs(t, err, context.DeadlineExceeded)
					testkit.CollectAll(t)
					_, err = p.Explain(ctx)
					require.NoError(t, err)
					testkit.AssertCounts(t, p, 1, 0, 0)
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
func contextOfLease(t *testing.T, p *testkit.Pool) context.Context {
	return testkit.Get(t, p).Context(context.WithValue(ctx, messages.Get{}, "a key of the caller's"))
}

// keepOnlyContext keeps only a context that is derived from that of a lease.
//
//go:noinline
func keepOnlyContext(t *testing.T, p *testkit.Pool) {
	derived, cancel := context.WithCancel(contextOfLease(t, p))
	defer cancel()
	testkit.CollectAll(t)
	testkit.Put(t, testkit.Get(t, p))
	_, err := p.Explain(ctx)
	require.NoError(t, err)
	testkit.AssertCounts(t, p, 1, 1, 0)
	assert.Zero(t, p.Stats().Revoked)
	assert.NoError(t, derived.Err())
}

func TestALeaseWhoseContextSomebodyHasIsNotTakenAway(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2), testkit.LeakAfter(time.Hour))
		keepOnlyContext(t, p)
		testkit.CollectUntil(t, func() bool {
			_, err := p.Explain(ctx)
			require.NoError(t, err)
			return p.Stats().Revoked == 1
		})
		testkit.AssertCounts(t, p, 0, 1, 0)
	})
}

func TestWithoutLeakAfterAForgottenLeaseIsNotMissed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(testkit.Capacity(1)))
		forget(t, p)
		testkit.CollectAll(t)
		_, err := p.Get(testkit.Within(t, time.Hour))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.AssertCounts(t, p, 1, 0, 0)
		require.NoError(t, w.System.Root.StopFuture(p.PID()).Wait())
		synctest.Wait()
		_, opened, closed := w.Server.Counts()
		assert.Equal(t, opened, closed)
	})
}
