//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// service is a service whose requests come in waves: for some seconds many, for some seconds few, each at
// random. Its queries take 20 ms on average.
var service = workload{name: "orders", draw: func(rnd *rand.Rand) (string, any) {
	query, seconds := sleeps(rnd)
	return query, seconds.(float64) * 2.5
}}

// waves draws its jobs.
func waves(rnd *rand.Rand, length time.Duration) []job {
	var jobs []job
	const wave = 6 * time.Second
	for begin := time.Duration(0); begin < length; begin += 2 * wave {
		for _, part := range []struct {
			from time.Duration
			rate float64
		}{{begin, 45}, {begin + wave, 165}} {
			for _, j := range service.open(rnd, part.rate, wave) {
				j.at += part.from
				jobs = append(jobs, j)
			}
		}
	}
	return jobs
}

// recordService records a minute of the service in a pool, and prints how long its Gets waited.
func recordService(file string, capacity int) (err error) {
	server, err := servers.StartPostgres("max_connections = 60")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	l := &load{workload: &service, length: time.Minute, jobs: waves, timeout: 2 * time.Second}
	r, err := l.record(context.Background(), server.DSN("postgres", ""), capacity, 1)
	if err != nil {
		return err
	}
	m := measure(r)
	fmt.Printf("capacity %d: %d Gets were granted, of %d; they waited for %s ms on average, and 99 %% of them for up to %s ms; load average %s\n",
		capacity, m.gets, len(r.Gets), ms(m.mean), ms(m.p99), loadAverage())
	return write(file, r)
}
