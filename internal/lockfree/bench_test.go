package lockfree

import (
	"context"
	"runtime"
	"testing"
)

func benchPool(b *testing.B, capacity int, stamps bool) *Pool[*conn] {
	var w world
	cfg := w.config(capacity)
	cfg.IdleStamps = stamps
	p, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close(context.Background()) })
	b.ReportAllocs()
	return p
}

func BenchmarkSerial(b *testing.B) {
	for name, stamps := range map[string]bool{"plain": false, "stamps": true} {
		b.Run(name, func(b *testing.B) {
			p, ctx := benchPool(b, 8, stamps), b.Context()
			for b.Loop() {
				l, _ := p.Get(ctx)
				_ = l.Put()
			}
		})
	}
}

func BenchmarkParallel(b *testing.B) {
	p, ctx := benchPool(b, 64, false), b.Context()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, _ := p.Get(ctx)
			_ = l.Put()
		}
	})
}

// Every holder yields once, so nearly every Get waits.
func BenchmarkExhausted(b *testing.B) {
	p, ctx := benchPool(b, 4, false), b.Context()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, _ := p.Get(ctx)
			runtime.Gosched()
			_ = l.Put()
		}
	})
}
