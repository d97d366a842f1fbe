package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// No pool lends a connection to two holders at the same time, or more connections than its
// capacity.
func TestEveryPoolLendsExclusively(t *testing.T) {
	for _, kind := range contestants {
		t.Run(kind.name, func(t *testing.T) {
			const capacity = 3
			p, err := kind.make(capacity)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var mu sync.Mutex
			seen := map[*conn]bool{}
			err = crowd(16, 4000, func() {}, func(_, _ int) error {
				return p.use(t.Context(), func(c *conn) {
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
	for _, kind := range contestants {
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

func TestTinyRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := run(2, time.Millisecond, dir); err != nil {
		t.Fatal(err)
	}
	files := []string{"results.json", "table.md"}
	for _, c := range cases {
		files = append(files, c.name+".svg")
	}
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty: %v", name, err)
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2}), (spread{2, 1, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := spreadOf([]float64{4, 1, 3, 2}), (spread{2.5, 1, 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
