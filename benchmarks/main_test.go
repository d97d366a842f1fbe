package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	is, err := child(os.Args[1:])
	if !is {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// all are the pools with connections.
func all() []contestant {
	return slices.DeleteFunc(slices.Concat(contestants, controls), func(k contestant) bool {
		return k.name == nothing || k.name == heldRedis
	})
}

// No pool lends a connection to two holders at the same time, or more connections than its
// capacity.
func TestEveryPoolLendsExclusively(t *testing.T) {
	for _, kind := range all() {
		t.Run(kind.name, func(t *testing.T) {
			const capacity = 3
			p, err := kind.make(capacity)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var mu sync.Mutex
			var holding atomic.Int32
			seen := map[*conn]bool{}
			err = crowd(16, 4000, func() {}, func(_, _ int) error {
				return p.use(t.Context(), func(c *conn) {
					defer holding.Add(-1)
					if n := holding.Add(1); n > capacity {
						t.Errorf("%d holders, the capacity is %d", n, capacity)
					}
					if c == nil { // this pool does not show its connections
						runtime.Gosched()
						return
					}
					if c.holders.Add(1) != 1 {
						t.Error("two holders of one connection")
					}
					mu.Lock()
					seen[c] = true
					mu.Unlock()
					runtime.Gosched()
					c.holders.Add(-1)
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) > capacity {
				t.Errorf("%d connections, the capacity is %d", len(seen), capacity)
			}
		})
	}
}

// A Get whose context ends while it waits fails, and no connection is lost.
func TestEveryPoolCancelsAGet(t *testing.T) {
	for _, kind := range all() {
		t.Run(kind.name, func(t *testing.T) {
			p, err := kind.make(1)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			err = p.cycle(t.Context(), func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer cancel()
				if err := crowd(8, 8, func() {}, func(_, _ int) error { return p.cycle(ctx, nil) }); err == nil {
					t.Error("a Get succeeded although no connection was free")
				} else if ctx.Err() == nil {
					t.Error("a Get failed before its context ended:", err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			// A connection that is returned at the moment of a cancel is not lost.
			err = crowd(8, 4000, func() {}, func(_, call int) error {
				ctx, cancel := context.WithCancel(t.Context())
				if call%2 == 0 {
					go cancel()
				}
				defer cancel()
				err := p.cycle(ctx, runtime.Gosched)
				if call%2 == 0 && errors.Is(err, context.Canceled) {
					return nil
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.cycle(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}
