package sim_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/sim"
)

// A service with 200 Gets per second, on the average, and a server that refuses connects
// for half a minute: what does a GetTimeout change?
func ExampleRun() {
	cfg := client.Config[net.Conn]{ // that of the service
		Connect:  func(context.Context) (net.Conn, error) { return nil, nil },
		Capacity: 8,
	}
	callers := sim.Workload{
		Length: 2 * time.Minute,
		Rate:   200,
		Hold:   sim.Exponential(10 * time.Millisecond),
	}
	server := sim.Server{
		Connect: sim.Exactly(20 * time.Millisecond),
		Faults:  []sim.Fault{{Kind: sim.Refuse, From: 60 * time.Second, To: 90 * time.Second}},
	}
	for _, timeout := range []time.Duration{0, time.Second} {
		cfg.GetTimeout = timeout
		result := sim.Run(cfg, callers, server, 1)
		fmt.Printf("GetTimeout %v\n%v\n", timeout, result)
	}
	// Output:
	// GetTimeout 0s
	// gets         23898 in 2m0s, 23887 granted, 0 timed out, 0 cancelled, 11 rejected
	// wait         mean 6.4s, median 0s, p99 32.9s, longest 33.8s; at most 6789 at once
	// connections  at most 8, at most 8 lent, 24.7% of the capacity lent on the average
	// connects     27, 11 failed, none tried for 33.6s
	//
	// GetTimeout 1s
	// gets         23898 in 2m0s, 17311 granted, 38 timed out, 0 cancelled, 6549 rejected
	// wait         mean 8.28ms, median 0s, p99 407ms, longest 1s; at most 218 at once
	// connections  at most 8, at most 8 lent, 17.9% of the capacity lent on the average
	// connects     27, 11 failed, none tried for 33.6s
}

// What is not valid is said, with its field and value, before anything runs.
func ExampleRun_invalid() {
	result := sim.Run(client.Config[net.Conn]{Capacity: -3}, sim.Workload{Length: time.Minute, Rate: -400}, sim.Server{}, 1)
	fmt.Println(result.Err)
	// Output:
	// actorpool: invalid Connect: it is required; actorpool: invalid Capacity: -3 is negative, and not NoCapacity; actorpool: invalid Workload.Rate: -400 is negative, or no number
}
