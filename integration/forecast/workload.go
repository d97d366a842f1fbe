//go:build unix

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// job is what one Get is for.
type job struct {
	at    time.Duration // when it comes; in a session, how long the session thinks before
	query string
	arg   any
}

func (j *job) do(ctx context.Context, c *pgx.Conn) error {
	var result any
	return c.QueryRow(ctx, j.query, j.arg).Scan(&result)
}

// workload draws jobs.
type workload struct {
	name     string
	sessions int                                        // 0: arrivals from outside
	draw     func(rnd *rand.Rand) (query string, a any) // what a Get does
	loads    [2]float64                                 // of 4 connections, in the first and the last trial; holds as if there was no other load
}

// The server sleeps: what a query takes does not depend on the others. The length is that of many services: most
// are short, and some several times as long (lognormal, with a mean of 8 ms).
func sleeps(rnd *rand.Rand) (string, any) {
	const sigma = 0.8
	return "SELECT pg_sleep($1)::text", 0.008 * math.Exp(sigma*rnd.NormFloat64()-sigma*sigma/2)
}

// The server computes: queries compete for its processors.
func computes(rnd *rand.Rand) (string, any) {
	return "SELECT count(*)::text FROM generate_series(1, $1::int)", 2000 + rnd.IntN(16_000)
}

var workloads = []workload{
	{name: "sleeps", draw: sleeps, loads: [2]float64{0.40, 0.60}},
	{name: "sessions that sleep", sessions: 24, draw: sleeps, loads: [2]float64{0.40, 0.60}},
	{name: "computes", draw: computes, loads: [2]float64{0.12, 0.30}},
}

// open draws jobs that come at random, so many per second on average, for a time.
func (w *workload) open(rnd *rand.Rand, rate float64, length time.Duration) []job {
	var jobs []job
	at := 0.0
	for {
		at += rnd.ExpFloat64() / rate
		if at > length.Seconds() {
			return jobs
		}
		jobs = append(jobs, w.job(rnd, time.Duration(at*float64(time.Second))))
	}
}

func (w *workload) job(rnd *rand.Rand, at time.Duration) job {
	query, arg := w.draw(rnd)
	return job{at: at, query: query, arg: arg}
}

// calm is how long a job takes on average when it is alone.
func (w *workload) calm(ctx context.Context, dsn string) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is lost with it
	rnd := rand.New(rand.NewPCG(0, 0))
	const n = 300
	start := time.Now()
	for range n {
		j := w.job(rnd, 0)
		if err := j.do(ctx, conn); err != nil {
			return 0, fmt.Errorf("%s: %w", j.query, err)
		}
	}
	return time.Since(start) / n, nil
}
