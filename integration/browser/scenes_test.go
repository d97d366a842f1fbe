package browser

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// scene is a pool that says what a test wants. Its methods may be called by any number of
// goroutines.
type scene struct {
	explanation atomic.Pointer[messages.Explanation]
	measures    atomic.Pointer[messages.Measures]
	explains    atomic.Int64
	done        chan struct{}
}

func newScene(e messages.Explanation) *scene {
	s := &scene{done: make(chan struct{})}
	s.show(e)
	return s
}

func (s *scene) show(e messages.Explanation) {
	s.explanation.Store(&e)
	s.measures.Store(&messages.Measures{Stats: e.Stats, Wait: spread(-14, 3, 9000), Use: spread(-30, 12, 800), Connect: spread(-24, 8, 40), UseEvery: 16})
}

func (s *scene) Stats() messages.Stats { return s.explanation.Load().Stats }

func (s *scene) Done() <-chan struct{} { return s.done }

func (s *scene) Explain(context.Context) (messages.Explanation, error) {
	s.explains.Add(1)
	return *s.explanation.Load(), nil
}

func (s *scene) Measure(context.Context) (messages.Measures, error) { return *s.measures.Load(), nil }

// spread is a histogram with a hump of width buckets from the given one, and as many zeros.
func spread(from, width int, zeros uint64) messages.Histogram {
	h := messages.Histogram{Scale: messages.HistogramScale, Offset: from}
	for i := range 2*width + 1 {
		n := uint64((width+1)*(width+1) - (i-width)*(i-width))
		h.Buckets = append(h.Buckets, n)
		h.Count += n
	}
	h.Count += zeros
	return h
}

// exhausted is a pool of 12 whose connections are nearly all held by one import, with 28
// callers in the queue.
func exhausted() messages.Explanation {
	now := time.Now()
	e := messages.Explanation{Time: now, Stats: messages.Stats{
		Name: "orders", State: messages.StateReady, Capacity: 12, Open: 12, Borrowed: 12, Waiting: 28, MaxIdle: 12,
		Gets: 48213, Grants: 48150, Waits: 1212, GrantedWaits: 1150, WaitTime: 453 * time.Second, Timeouts: 35, Connects: 24, Puts: 48138, Leaks: 3,
	}}
	for i := range 12 {
		h := messages.Holder{ConnID: uint64(i + 1), Label: "nightly import", Age: time.Duration(26000-1400*i) * time.Millisecond, Goroutine: uint64(40 + i)}
		if i >= 9 {
			h.Label, h.Age = "GET /cart", time.Duration(400-90*(i-9))*time.Millisecond
		}
		h.Stack = "example.com/shop/orders.(*Importer).run(...)\n\t/src/orders/import.go:81\nmain.main()\n\t/src/main.go:20"
		e.Holders = append(e.Holders, h)
		e.Conns = append(e.Conns, messages.Conn{ID: h.ConnID, State: "borrowed", Label: h.Label, In: h.Age, Age: 40 * time.Minute,
			Left: time.Duration(20-3*i) * time.Minute, Uses: 153 * (i + 1), Setting: "tenant=acme"})
	}
	for i := range 28 {
		e.Waiters = append(e.Waiters, messages.Waiter{
			Label:  []string{"GET /orders", "POST /orders", "GET /cart", "login"}[i*7%4],
			Waited: time.Duration(722-23*i) * time.Millisecond, Left: time.Duration(1278+23*i) * time.Millisecond,
		})
	}
	for i := range 3 {
		e.Recent = append(e.Recent, messages.Event{Kind: messages.LeaseLeaked, Pool: "orders", Time: now.Add(time.Duration(-20+i) * time.Second),
			ConnID: uint64(i + 1), Duration: 5 * time.Second, Label: "nightly import"})
	}
	for i := range 35 {
		e.Recent = append(e.Recent, messages.Event{Kind: messages.CheckOutFailed, Pool: "orders", Time: now.Add(time.Duration(-8000+200*i) * time.Millisecond),
			Reason: messages.ReasonTimeout, Duration: 2 * time.Second, Label: "GET /orders", Err: context.DeadlineExceeded})
	}
	return e
}

// backingOff is a pool whose server is gone.
func backingOff() messages.Explanation {
	now := time.Now()
	refused := errors.New("dial tcp 10.1.2.3:6379: connect: connection refused")
	e := messages.Explanation{Time: now, Attempt: 7, NextAttempt: now.Add(3700 * time.Millisecond), LastConnectError: refused, Stats: messages.Stats{
		Name: "cache", State: messages.StateBackoff, Capacity: 8, Waiting: 40, LastConnectError: refused, NextAttempt: now.Add(3700 * time.Millisecond),
		Gets: 9311, Grants: 9100, Connects: 31, ConnectErrors: 7, Backoffs: 7, ClosedBroken: 8, MaxIdle: 8,
	}}
	for i := range 40 {
		e.Waiters = append(e.Waiters, messages.Waiter{Label: fmt.Sprintf("worker %d", i), Waited: time.Duration(1900-40*i) * time.Millisecond,
			Left: time.Duration(100+40*i) * time.Millisecond})
	}
	for i := range 7 {
		at := now.Add(time.Duration(-9000+1200*i) * time.Millisecond)
		e.Recent = append(e.Recent,
			messages.Event{Kind: messages.ConnectionCreated, Pool: "cache", Time: at, ConnID: uint64(20 + i)},
			messages.Event{Kind: messages.ConnectionClosed, Pool: "cache", Time: at, ConnID: uint64(20 + i), Reason: messages.ReasonError, Err: refused},
			messages.Event{Kind: messages.PoolBackoff, Pool: "cache", Time: at, Attempt: i + 1, Duration: 200 * time.Millisecond << i, Err: refused})
	}
	return e
}

// quiet is a pool with nothing wrong.
func quiet() messages.Explanation {
	e := messages.Explanation{Time: time.Now(), Stats: messages.Stats{
		Name: "search", State: messages.StateReady, Capacity: 8, Open: 3, Idle: 1, Borrowed: 1, InTransition: 1, Connecting: 1, MaxIdle: 8,
		Gets: 120, Grants: 120, Puts: 119, Connects: 4,
	}}
	e.Holders = []messages.Holder{{ConnID: 2, Label: "suggest", Age: 3 * time.Millisecond}}
	e.Conns = []messages.Conn{
		{ID: 1, State: "idle", In: 12 * time.Second, Age: 40 * time.Minute, Left: -time.Second, Uses: 80},
		{ID: 2, State: "borrowed", Label: "suggest", In: 3 * time.Millisecond, Age: 40 * time.Minute, Left: 20 * time.Minute, Uses: 40},
		{ID: 3, State: "resetting", In: 1 * time.Millisecond, Age: 4 * time.Minute, Left: 56 * time.Minute, Uses: 4},
		{ID: 4, State: "connecting", In: 14 * time.Millisecond},
	}
	return e
}
