package lockfree

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hold checks that the caller is the only holder, for a moment.
func hold(t *testing.T, c *conn, rng *rand.Rand) {
	if c.holders.Add(1) != 1 {
		t.Errorf("connection %d has two holders", c.id)
	}
	if c.closed.Load() {
		t.Errorf("connection %d was lent although it was closed", c.id)
	}
	if rng.IntN(2) == 0 {
		runtime.Gosched()
	}
	c.holders.Add(-1)
}

func end(t *testing.T, l Lease[*conn], rng *rand.Rand) {
	var err error
	if rng.IntN(10) == 0 {
		err = l.Taint(errConnect)
	} else {
		err = l.Put()
	}
	if err != nil {
		t.Error("end of a lease:", err)
	}
	if rng.IntN(4) == 0 {
		if err := l.Put(); err != ErrLeaseEnded {
			t.Error("second end of a lease:", err)
		}
	}
}

func flaky(context.Context) error {
	if rand.IntN(4) == 0 {
		return errConnect
	}
	return nil
}

func TestStressOfEverything(t *testing.T) {
	const goroutines = 64
	w := world{onConnect: flaky}
	p := w.pool(t, 4)
	stop := time.Now().Add(*stressFor)
	var wg sync.WaitGroup
	for g := range goroutines {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(stop.UnixNano())))
		wg.Go(func() {
			for time.Now().Before(stop) {
				var l Lease[*conn]
				var err error
				switch rng.IntN(8) {
				case 0:
					var ok bool
					if l, ok = p.TryGet(); !ok {
						continue
					}
				case 1:
					ctx, cancel := context.WithCancel(t.Context())
					go cancel()
					l, err = p.Get(ctx)
				default:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Microsecond)
					l, err = p.Get(ctx)
					cancel()
				}
				if err == nil {
					hold(t, l.Conn(), rng)
					end(t, l, rng)
				}
				if g == 0 && rng.IntN(8) == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Microsecond)
					_ = p.SetCapacity(ctx, rng.IntN(8))
					cancel()
				}
				if g == 1 {
					p.Stats()
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, p.Stats().Waiting)
	require.Zero(t, p.Stats().Borrowed)
	w.settled(t, p)
}

// Without deadlines a lost wake-up is a hang: then the watchdog ends this test.
func TestStressWithoutDeadlinesFinishes(t *testing.T) {
	const goroutines, capacity = 64, 3
	w := world{onConnect: flaky}
	p := w.pool(t, capacity)
	stop := time.Now().Add(*stressFor)
	watchdog, cancel := context.WithTimeout(t.Context(), time.Minute+*stressFor)
	defer cancel()
	var leases atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(stop.UnixNano())))
		wg.Go(func() {
			for time.Now().Before(stop) {
				l, err := p.Get(watchdog)
				if err == nil {
					leases.Add(1)
					hold(t, l.Conn(), rng)
					end(t, l, rng)
				} else if watchdog.Err() != nil {
					t.Error("asleep:", err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, w.most.Load(), int64(capacity), "open at one time")
	require.EqualValues(t, leases.Load(), p.Stats().Gets)
	w.settled(t, p)
}

func TestStressOfResizesWithWaitersThatStay(t *testing.T) {
	const goroutines, most = 32, 4
	var w world
	p := w.pool(t, most)
	stop := time.Now().Add(*stressFor)
	watchdog, cancel := context.WithTimeout(t.Context(), time.Minute+*stressFor)
	defer cancel()
	var wg sync.WaitGroup
	for g := range goroutines {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(stop.UnixNano())))
		wg.Go(func() {
			for time.Now().Before(stop) {
				l, err := p.Get(watchdog)
				if err != nil {
					t.Error("asleep:", err)
					return
				}
				hold(t, l.Conn(), rng)
				end(t, l, rng)
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(stop) {
			n := rand.IntN(most + 1)
			if err := p.SetCapacity(watchdog, n); err != nil {
				t.Error("SetCapacity:", err)
			}
			if open := p.Stats().Open; open > n {
				t.Errorf("%d open after SetCapacity(%d)", open, n)
			}
		}
		if err := p.SetCapacity(watchdog, 1); err != nil { // the others can finish
			t.Error("SetCapacity:", err)
		}
	})
	wg.Wait()
	require.LessOrEqual(t, w.most.Load(), int64(most), "open at one time")
	w.settled(t, p)
}

func TestStressOfClose(t *testing.T) {
	for stop := time.Now().Add(*stressFor); time.Now().Before(stop); {
		w := world{onConnect: flaky}
		p := w.pool(t, 2)
		var wg sync.WaitGroup
		for g := range 16 {
			rng := rand.New(rand.NewPCG(uint64(g), uint64(stop.UnixNano())))
			wg.Go(func() {
				for {
					l, err := p.Get(context.Background())
					if err == ErrClosed {
						return
					}
					if err == nil {
						hold(t, l.Conn(), rng)
						end(t, l, rng)
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error("Close:", err)
				}
				if open := w.open.Load(); open != 0 {
					t.Errorf("%d open after Close", open)
				}
			})
		}
		wg.Wait()
		w.settled(t, p)
	}
}

// Many waiters leave at the moment they are served, over many segments.
func TestStressOfLeaving(t *testing.T) {
	var w world
	p := w.pool(t, 2)
	stop := time.Now().Add(*stressFor)
	var wg sync.WaitGroup
	for g := range 64 {
		rng := rand.New(rand.NewPCG(uint64(g), uint64(stop.UnixNano())))
		wg.Go(func() {
			for time.Now().Before(stop) {
				ctx, cancel := context.WithCancel(t.Context())
				cancelled := make(chan struct{})
				go func() { cancel(); close(cancelled) }()
				if l, err := p.Get(ctx); err == nil {
					hold(t, l.Conn(), rng)
					if err := l.Put(); err != nil {
						t.Error(err)
					}
				}
				<-cancelled
			}
		})
	}
	wg.Wait()
	st := p.Stats()
	require.Zero(t, st.Waiting)
	require.Equal(t, st.Open, st.Idle, "nothing lost")
	w.settled(t, p)
}
