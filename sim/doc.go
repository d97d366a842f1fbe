// Package sim simulates a pool: it runs the code with which a real pool decides, with
// callers, a server and faults that are drawn at random from a seed, in virtual time. The
// hour below takes some ten seconds, or half a second without checks ([CheckEvery]), and the
// same seed gives the same run, step by step.
//
//	result := sim.Run(cfg, sim.Workload{
//		Length: time.Hour,
//		Rate:   400,                                              // Gets per second
//		Hold:   sim.LogNormal(8*time.Millisecond, .8),
//	}, sim.Server{
//		Connect: sim.LogNormal(20*time.Millisecond, .5),
//		Faults:  []sim.Fault{{Kind: sim.Refuse, From: 10 * time.Minute, To: 11 * time.Minute}},
//	}, 1)
//	fmt.Println(result)
//
// The configuration is that of the service, a client.Config. Its functions are not called,
// except Backoff.Decide; but whether there is a Check, a Reset and so on makes a
// difference, as in the service.
//
// After every step the run checks what a pool promises. If that is violated, the fault is
// in the pool, and [Result].Err has the whole run as a trace. What a simulation cannot
// tell is in docs/simulation.md.
package sim
