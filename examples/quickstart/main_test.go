package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestRun runs the whole demo, with a short duration.
func TestRun(t *testing.T) {
	before := runtime.NumGoroutine()
	var out bytes.Buffer
	r, err := run(t.Context(), options{
		duration: 5 * time.Second, outage: time.Second, workers: 32, capacity: 8,
	}, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}

	expected := map[kind]bool{connectionLost: true, connectFailed: true, failedFast: true, noConnection: true, refused: true}
	for k, n := range r.errors {
		if n > 0 && !expected[kind(k)] {
			t.Errorf("%d errors of the kind %q", n, kindNames[k])
		}
	}
	if r.errors[connectionLost]+r.errors[connectFailed] == 0 {
		t.Error("no worker noticed the outage")
	}
	if r.opened == 0 || r.opened != r.closed {
		t.Errorf("%d connections opened, %d closed", r.opened, r.closed)
	}
	if r.afterOutage < 100 {
		t.Errorf("%d operations after the outage", r.afterOutage)
	}
	if r.recovery == 0 || r.recovery > 1500*time.Millisecond {
		t.Errorf("recovered %v after the server", r.recovery)
	}
	if r.outage.after.ConnectErrors == r.outage.before.ConnectErrors {
		t.Error("no connect failed during the outage")
	}
	for _, want := range []string{"server down", "server up", "capacity 8 -> 4", "capacity 4 -> 12", "closing", "backoff #"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("the output has colour codes")
	}
	if n := settle(func() int { return runtime.NumGoroutine() - before }); n > 0 {
		t.Errorf("%d goroutines more than before", n)
	}
}

// TestInterrupt: Ctrl-C ends the demo at once, also during the outage.
func TestInterrupt(t *testing.T) {
	for name, after := range map[string]time.Duration{
		"under load":       500 * time.Millisecond,
		"during an outage": 1600 * time.Millisecond, // it begins after 1.2s
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			start := time.Now()
			r, err := run(ctx, options{duration: 5 * time.Second, outage: time.Second, workers: 32, capacity: 4}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start) - after; took > time.Second {
				t.Errorf("it took %v to close", took)
			}
			if r.opened != r.closed {
				t.Errorf("%d connections opened, %d closed", r.opened, r.closed)
			}
		})
	}
}

// TestInterruptStuck: the demo also ends if the server does not answer, and nothing is left.
func TestInterruptStuck(t *testing.T) {
	addr := serve(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "+PONG\r\n") // the reply that dial needs, and no other
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	r, err := run(ctx, options{addr: addr, duration: 5 * time.Second, workers: 8, capacity: 4}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 1800*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if r.opened == 0 || r.opened != r.closed || r.errors[interrupted] == 0 {
		t.Errorf("%d connections opened, %d closed, %d interrupted", r.opened, r.closed, r.errors[interrupted])
	}
}

// TestNoServer: a wrong address is noticed at once.
func TestNoServer(t *testing.T) {
	server := miniredis.RunT(t)
	addr := server.Addr()
	server.Close()
	if _, err := run(t.Context(), options{addr: addr, duration: 5 * time.Second, workers: 1, capacity: 1}, io.Discard); err == nil {
		t.Fatal("no error")
	}
}

// TestBroken: after an error that the server replied, the connection stays in the pool; after
// the end of the connection it does not.
func TestBroken(t *testing.T) {
	server := miniredis.RunT(t)
	var conns connections
	pool, err := newPool(server.Addr(), 1, &conns, &watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	w := &worker{pool: pool, key: "key", tally: &tally{}}

	if err := w.operate(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := w.operate(t.Context(), everyNth); classify(err) != refused {
		t.Errorf("an error of the application is %v", err)
	}
	if s := pool.Stats(); s.Idle != 1 || s.Taints != 0 {
		t.Errorf("after an error of the application: %+v", s)
	}
	server.Close()
	if err := w.operate(t.Context(), 2); classify(err) != connectionLost {
		t.Errorf("a lost connection is %v", err)
	}
	if s := pool.Stats(); s.Idle != 0 || s.Taints != 1 {
		t.Errorf("after a lost connection: %+v", s)
	}
	if err := w.operate(t.Context(), 3); classify(err) != connectFailed {
		t.Errorf("a failed connect is %v", err)
	}
}

// TestPoolGoroutines: the check at the end would notice a goroutine that is left.
func TestPoolGoroutines(t *testing.T) {
	server := miniredis.RunT(t)
	pool, err := newPool(server.Addr(), 1, &connections{}, &watch{})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := pool.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		lease, err := pool.Get(t.Context())
		if err == nil {
			err = lease.Put()
		}
		waiting <- err
	}()
	for pool.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	if poolGoroutines() == 0 {
		t.Error("a Get that waits is not counted")
	}
	if err := errors.Join(lease.Put(), <-waiting, pool.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := settle(poolGoroutines); n != 0 {
		t.Errorf("%d goroutines are left", n)
	}
}

func TestParse(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if want := (options{duration: 20 * time.Second, workers: 64, capacity: 8, outage: 3 * time.Second}); err != nil || o != want {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	if o, err = parse([]string{"-addr", "localhost:6379"}, io.Discard); err != nil || o.outage != 0 {
		t.Errorf("a real server: %+v, %v", o, err)
	}
	for _, bad := range []string{"-workers=0", "-capacity=0", "-outage=-1s", "-duration=4s", "-nonsense", "argument"} {
		if _, err := parse([]string{bad}, io.Discard); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h, other histogram
	for i := 1; i <= 500; i++ {
		h.add(time.Duration(i) * time.Millisecond)
		other.add(time.Duration(500+i) * time.Millisecond)
	}
	h.merge(&other)
	for p, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.percentile(p); got < want || float64(got) > width*width*float64(want) {
			t.Errorf("percentile %v is %v, not %v", p, got, want)
		}
	}
	if (&histogram{}).percentile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

// serve calls f for every connection, which stays open until the test ends.
func serve(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			f(conn)
		}
	}()
	return l.Addr().String()
}
