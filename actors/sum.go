package actors

import (
	"slices"

	"github.com/actorpool/actorpool/messages"
)

// SumMeasures adds up the measures of two pools. What is true of one pool only, as its
// state, is that of the first.
func SumMeasures(a, b messages.Measures) messages.Measures {
	return messages.Measures{
		Stats:        SumStats(a.Stats, b.Stats),
		Wait:         sumHistograms(a.Wait, b.Wait),
		Use:          sumHistograms(a.Use, b.Use),
		Connect:      sumHistograms(a.Connect, b.Connect),
		UseEvery:     max(a.UseEvery, b.UseEvery),
		LongestLease: max(a.LongestLease, b.LongestLease),
		LongestWait:  max(a.LongestWait, b.LongestWait),
	}
}

// SumStats adds up the numbers of two pools. LastConnectError is that of either, and
// NextAttempt the earlier.
func SumStats(a, b messages.Stats) messages.Stats {
	for _, n := range []struct {
		sum *int
		n   int
	}{
		{&a.Capacity, b.Capacity},
		{&a.Open, b.Open},
		{&a.Idle, b.Idle},
		{&a.Borrowed, b.Borrowed},
		{&a.InTransition, b.InTransition},
		{&a.Connecting, b.Connecting},
		{&a.Closing, b.Closing},
		{&a.Waiting, b.Waiting},
		{&a.GivenUp, b.GivenUp},
		{&a.MinIdle, b.MinIdle},
	} {
		*n.sum += n.n
	}
	for _, n := range []struct {
		sum *uint64
		n   uint64
	}{
		{&a.Generation, b.Generation},
		{&a.Gets, b.Gets},
		{&a.Grants, b.Grants},
		{&a.Waits, b.Waits},
		{&a.GrantedWaits, b.GrantedWaits},
		{&a.Timeouts, b.Timeouts},
		{&a.Cancels, b.Cancels},
		{&a.Connects, b.Connects},
		{&a.ConnectErrors, b.ConnectErrors},
		{&a.Puts, b.Puts},
		{&a.Taints, b.Taints},
		{&a.ClosedIdle, b.ClosedIdle},
		{&a.ClosedLifetime, b.ClosedLifetime},
		{&a.ClosedStale, b.ClosedStale},
		{&a.ClosedBroken, b.ClosedBroken},
		{&a.ClosedCapacity, b.ClosedCapacity},
		{&a.ClosedUses, b.ClosedUses},
		{&a.Hijacks, b.Hijacks},
		{&a.Backoffs, b.Backoffs},
		{&a.Leaks, b.Leaks},
		{&a.Revoked, b.Revoked},
		{&a.Sheds, b.Sheds},
		{&a.Deadlocks, b.Deadlocks},
		{&a.SettingHits, b.SettingHits},
		{&a.SettingSwitches, b.SettingSwitches},
		{&a.SettingResets, b.SettingResets},
		{&a.DroppedEvents, b.DroppedEvents},
	} {
		*n.sum += n.n
	}
	a.WaitTime += b.WaitTime
	if a.LastConnectError == nil {
		a.LastConnectError = b.LastConnectError
	}
	if a.NextAttempt.IsZero() || !b.NextAttempt.IsZero() && b.NextAttempt.Before(a.NextAttempt) {
		a.NextAttempt = b.NextAttempt
	}
	return a
}

// sumHistograms adds up two histograms of one scale.
func sumHistograms(a, b messages.Histogram) messages.Histogram {
	switch {
	case b.Count == 0:
		return a
	case a.Count == 0:
		return b
	}
	sum := messages.Histogram{Count: a.Count + b.Count, Sum: a.Sum + b.Sum, Scale: a.Scale}
	switch {
	case len(a.Buckets) == 0:
		sum.Offset, sum.Buckets = b.Offset, slices.Clone(b.Buckets)
	case len(b.Buckets) == 0:
		sum.Offset, sum.Buckets = a.Offset, slices.Clone(a.Buckets)
	default:
		sum.Offset = min(a.Offset, b.Offset)
		sum.Buckets = make([]uint64, max(a.Offset+len(a.Buckets), b.Offset+len(b.Buckets))-sum.Offset)
		for _, h := range []messages.Histogram{a, b} {
			for i, n := range h.Buckets {
				sum.Buckets[h.Offset-sum.Offset+i] += n
			}
		}
	}
	return sum
}
