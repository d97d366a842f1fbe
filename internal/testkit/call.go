package testkit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
)

// Get borrows a connection, which must succeed.
func Get(t testing.TB, p *Pool) Lease {
	t.Helper()
	l, err := p.Get(context.Background())
	require.NoError(t, err)
	return l
}

// Put ends leases, which must succeed.
func Put(t testing.TB, leases ...Lease) {
	t.Helper()
	for _, l := range leases {
		require.NoError(t, l.Put())
	}
}

// Fill makes n idle connections, the last of which is the newest, and waits
// until all is quiet.
func Fill(t testing.TB, p *Pool, n int) {
	t.Helper()
	leases := make([]Lease, n)
	for i := range leases {
		leases[i] = Get(t, p)
	}
	Put(t, leases...)
	synctest.Wait()
}

// Close closes a pool, which must succeed within a minute, and waits until all
// is quiet.
func Close(t testing.TB, p *Pool) {
	t.Helper()
	bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	assert.NoError(t, p.Close(bounded))
	synctest.Wait()
}

// Ask sends a request by future and gives the answer, which must be an A.
func Ask[A any](t testing.TB, w *World, p *Pool, request any) A {
	t.Helper()
	answer, err := w.System.Root.RequestFuture(p.PID(), request, time.Minute).Result()
	require.NoError(t, err)
	a, ok := answer.(A)
	require.True(t, ok, "the answer is a %T", answer)
	return a
}

// Within is a context with a timeout, whose resources are freed at the end of the
// test.
func Within(t testing.TB, d time.Duration) context.Context {
	bounded, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return bounded
}

// Eventually waits until f returns nil, for half a minute at most: only a test that fails
// takes so long. It is for what happens outside of the program, in real time.
func Eventually(t testing.TB, f func() error) {
	t.Helper()
	const bound = 30 * time.Second
	for deadline := time.Now().Add(bound); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "after %v", bound)
		}
	}
}

// Pass lets virtual time pass and waits until all is quiet.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Elapsed measures how much time f takes.
func Elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// Call is a function that runs on a goroutine of its own.
type Call struct {
	// Done is closed when the function has returned. The other fields may be read
	// then.
	Done   chan struct{}
	Err    error
	Waited time.Duration
}

// Async starts a function and waits until all is quiet.
func Async(f func() error) *Call {
	c := &Call{Done: make(chan struct{})}
	go func() {
		defer close(c.Done)
		start := time.Now()
		c.Err = f()
		c.Waited = time.Since(start)
	}()
	synctest.Wait()
	return c
}

// Ended waits until all is quiet and says whether the function has returned.
func (c *Call) Ended() bool {
	synctest.Wait()
	select {
	case <-c.Done:
		return true
	default:
		return false
	}
}

// Waits fails the test if the function has returned.
func (c *Call) Waits(t testing.TB) {
	t.Helper()
	if c.Ended() {
		require.Fail(t, "the call waits no more", "error: %v", c.Err)
	}
}

// Returned gives the function's error. It must have returned.
func (c *Call) Returned(t testing.TB) error {
	t.Helper()
	require.True(t, c.Ended(), "the call has returned")
	return c.Err
}

// Getting is a Get on a goroutine of its own.
type Getting struct {
	*Call
	Lease Lease
}

// BeginGet starts a Get and waits until all is quiet.
func BeginGet(ctx context.Context, p *Pool) *Getting {
	return BeginGetWith(ctx, p, client.GetOptions{})
}

// BeginGetWith starts a GetWith and waits until all is quiet.
func BeginGetWith(ctx context.Context, p *Pool, o client.GetOptions) *Getting {
	g := &Getting{}
	g.Call = Async(func() (err error) {
		g.Lease, err = p.GetWith(ctx, o)
		return err
	})
	return g
}

// Granted gives the lease. The Get must have succeeded.
func (g *Getting) Granted(t testing.TB) Lease {
	t.Helper()
	require.NoError(t, g.Returned(t))
	return g.Lease
}

// Failed gives the error. The Get must have failed.
func (g *Getting) Failed(t testing.TB) error {
	t.Helper()
	err := g.Returned(t)
	require.Error(t, err)
	return err
}
