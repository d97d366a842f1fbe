package main

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestRun runs the whole example: the pool takes back what alice and carol held, and rolls
// their transactions back.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	start := time.Now()
	err := run(t.Context(), &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}

	// In this order, with other lines between them.
	rest := out.String()
	for _, want := range []string{
		"alice   borrows connection 1, with no transaction open",
		"bob     starts (incarnation 1)",
		"carol   starts (incarnation 1)",
		"\"alice\" (connection 1, ",
		"\"bob\" (",
		"\"carol\" (",
		"alice   panics, with its transaction open",
		"pool    resets connection 1: rolls back the transaction of alice",
		"bob     borrows connection 1, with no transaction open",
		"bob     commits",
		"carol   borrows connection 1, with no transaction open",
		"carol   stops, without returning the connection",
		"pool    resets connection 1: rolls back the transaction of carol",
		"alice   borrows connection 1, with no transaction open",
		"alice   commits",
		"pool    is closed: 4 Gets, 4 leases, 2 returned, 2 taken back; 1 connections opened, 1 closed",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in this order", want)
		}
		rest = after
	}
	if !strings.Contains(out.String(), "alice   starts (incarnation 2)") {
		t.Error("alice was not restarted")
	}
}

// TestInterrupt: Ctrl-C ends the example early, and no goroutine is left.
func TestInterrupt(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		start := time.Now()
		if err := run(ctx, io.Discard); err == nil {
			t.Errorf("after %v: no error", after)
		}
		if took := time.Since(start) - after; took > 1500*time.Millisecond {
			t.Errorf("after %v it took %v to end", after, took)
		}
		cancel()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more than before", runtime.NumGoroutine()-before)
		}
	}
}
