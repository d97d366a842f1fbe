//go:build unix

package main

import (
	"context"
	"errors"
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

// recordService records a minute of the service in a pool of 8.
func recordService(file string) (err error) {
	server, err := servers.StartPostgres("max_connections = 60")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	l := &load{workload: &service, length: time.Minute, jobs: waves, timeout: 2 * time.Second}
	r, err := l.record(context.Background(), server.DSN("postgres", ""), recordedAt, 1)
	if err != nil {
		return err
	}
	return write(file, r)
}
