package pgxpool

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// TraceAcquireStartData is what TraceAcquireStart is told: nothing yet.
type TraceAcquireStartData = pgxpool.TraceAcquireStartData

// TraceAcquireEndData is what TraceAcquireEnd is told.
type TraceAcquireEndData = pgxpool.TraceAcquireEndData

// TraceReleaseData is what TraceRelease is told.
type TraceReleaseData = pgxpool.TraceReleaseData

// AcquireTracer traces Acquire. The Tracer of the ConnConfig is asked whether it is one.
//
// One that is made for pgx's pool (its methods take a *pgxpool.Pool of pgx) is called,
// too, with a nil pool: what it panics with is ignored.
type AcquireTracer interface {
	// TraceAcquireStart is called when Acquire begins. The context that it returns is used
	// for the rest of Acquire, and given to TraceAcquireEnd.
	TraceAcquireStart(ctx context.Context, pool *Pool, data TraceAcquireStartData) context.Context
	// TraceAcquireEnd is called when Acquire has a connection, or has failed.
	TraceAcquireEnd(ctx context.Context, pool *Pool, data TraceAcquireEndData)
}

// ReleaseTracer traces Release. What is said of an [AcquireTracer] for pgx's pool holds
// for it, too.
type ReleaseTracer interface {
	// TraceRelease is called when Release begins.
	TraceRelease(pool *Pool, data TraceReleaseData)
}

// tracer is what the Tracer of a ConnConfig wants to know about the pool. nil: nothing.
type tracer struct {
	start   func(context.Context, *Pool) context.Context
	end     func(context.Context, *Pool, TraceAcquireEndData)
	release func(*Pool, TraceReleaseData)
}

func tracerOf(cfg *Config) (t tracer) {
	switch own := cfg.ConnConfig.Tracer.(type) {
	case AcquireTracer:
		t.start = func(ctx context.Context, p *Pool) context.Context {
			return own.TraceAcquireStart(ctx, p, TraceAcquireStartData{})
		}
		t.end = own.TraceAcquireEnd
	case pgxpool.AcquireTracer:
		t.start = func(ctx context.Context, _ *Pool) (traced context.Context) {
			traced = ctx
			defer func() { _ = recover() }()
			if c := own.TraceAcquireStart(ctx, nil, TraceAcquireStartData{}); c != nil {
				traced = c
			}
			return traced
		}
		t.end = func(ctx context.Context, _ *Pool, data TraceAcquireEndData) {
			defer func() { _ = recover() }()
			own.TraceAcquireEnd(ctx, nil, data)
		}
	}
	switch own := cfg.ConnConfig.Tracer.(type) {
	case ReleaseTracer:
		t.release = own.TraceRelease
	case pgxpool.ReleaseTracer:
		t.release = func(_ *Pool, data TraceReleaseData) {
			defer func() { _ = recover() }()
			own.TraceRelease(nil, data)
		}
	}
	return t
}
