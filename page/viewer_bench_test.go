package page_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/page"
)

// BenchmarkViewer measures what a viewer costs a Get and Put in a tight loop: the same
// loop in turns without a page and with one that a viewer asks as a browser does. Each turn
// lasts for more than two snapshots. It reports the smallest time of both, and their ratio.
//
//	go test ./page -run xxx -bench Viewer -benchtime 12x
func BenchmarkViewer(b *testing.B) {
	pool, err := client.New(client.Config[*int]{
		Name: "orders", Capacity: 8,
		Connect:    func(context.Context) (*int, error) { return new(int), nil },
		Disconnect: client.NoDisconnect[*int],
	})
	require.NoError(b, err)
	defer func() { require.NoError(b, pool.Close(context.Background())) }()
	var off, on time.Duration
	for b.Loop() {
		off = least(off, turn(b, pool))
		stop := look(b, pool)
		on = least(on, turn(b, pool))
		stop()
	}
	b.ReportMetric(float64(off.Nanoseconds())/cycles, "ns-off")
	b.ReportMetric(float64(on.Nanoseconds())/cycles, "ns-on")
	b.ReportMetric(float64(on)/float64(off), "ratio")
}

const cycles = 1 << 25 // of a Get and a Put in a turn

func least(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// turn measures Gets and Puts on one goroutine.
func turn(b *testing.B, pool *client.Pool[*int]) time.Duration {
	runtime.GC()
	ctx := context.Background()
	start := time.Now()
	for range cycles {
		lease, err := pool.Get(ctx)
		if err == nil {
			err = lease.Put()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// look looks at the page once a second, until stop is called.
func look(b *testing.B, pool *client.Pool[*int]) (stop func()) {
	h := page.New(page.Options{}, pool)
	ended := make(chan struct{})
	var viewer sync.WaitGroup
	viewer.Go(func() {
		for {
			r := httptest.NewRequest(http.MethodGet, "/data", nil)
			r.Host = "localhost"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Errorf("the page answers %d", w.Code)
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Second):
			}
		}
	})
	return func() { close(ended); viewer.Wait(); h.Close() }
}
