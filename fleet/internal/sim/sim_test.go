package sim

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
)

// calm is a fleet to which nothing happens but a network as it is.
func calm() Scenario {
	return Scenario{
		Members: 12, Budget: 40, Floor: 1, Coordinators: 3,
		TTL: 5 * time.Second, Refresh: time.Second, Allocate: 250 * time.Millisecond, Turn: 5 * time.Second,
		Drift: .01, Length: 2 * time.Minute,
		Delay: 5 * time.Millisecond, Loss: .02, Repeat: .05,
		ServerLag: 20 * time.Millisecond, DemandLasts: 8 * time.Second, WorkEvery: 20 * time.Millisecond,
		Grace: 200 * time.Millisecond, Reclaim: ByLoginFence,
		MeasureFrom: 10 * time.Second, Observe: 100 * time.Millisecond,
	}
}

// storm adds crashes, restarts, partitions, outages of the store, and leases that are long.
func storm(s Scenario) Scenario {
	s.Crash, s.Cut, s.CutFor = time.Minute, time.Minute, 5*time.Second
	s.StoreDown, s.StoreDownFor = 2*time.Minute, 8*time.Second
	s.LongLeases, s.BusyAfterDeath = true, time.Minute
	return s
}

// frozen adds processes that freeze, some of them at the worst moment.
func frozen(s Scenario, inDial bool) Scenario {
	s.Freeze, s.FreezeFor, s.FreezeInDial = time.Minute, 6*time.Second, inDial
	return s
}

func with(s Scenario, change func(*Scenario)) Scenario {
	change(&s)
	return s
}

// slots gives members roles that are used again, one more than there are members, and
// freezes them more often.
func slots(s Scenario) Scenario {
	s.Reclaim, s.Slots, s.AuthTimeout = BySlotRoles, s.Members+1, 25*time.Second
	s.Freeze, s.FreezeFor, s.Length = 12*time.Second, 12*time.Second, 4*time.Minute
	return s
}

// total runs a scenario with several seeds, and adds up what was seen.
func total(s Scenario, seeds int) *World {
	sum := &World{}
	for seed := range seeds {
		w := Run(s, uint64(seed)+1)
		sum.Steps += w.Steps
		sum.OverLedger += w.OverLedger
		sum.OverRow += w.OverRow
		sum.OverServer += w.OverServer
		sum.OverSlot += w.OverSlot
		sum.Occupied += w.Occupied
		sum.Worst = max(sum.Worst, w.Worst)
		sum.Most = max(sum.Most, w.Most)
		sum.Commits += w.Commits
		sum.Conflicts += w.Conflicts
		sum.Reclaimed += w.Reclaimed
		sum.Refused += w.Refused
		sum.Interruptions += w.Interruptions
		sum.JainSum += w.JainSum
		sum.UsedSum += w.UsedSum
		sum.Observations += w.Observations
		if sum.First == "" && w.First != "" {
			sum.First = fmt.Sprintf("seed %d, %s", seed+1, w.First)
		}
	}
	return sum
}

func (w *World) violations() int { return w.OverLedger + w.OverRow + w.OverServer + w.OverSlot }

// seeds is how many runs a scenario has. The simulation has one goroutine, so that the race
// detector sees nothing in it: under it there are few.
func seeds(n int) int {
	if testkit.RaceEnabled() {
		return max(2, n/10)
	}
	return n
}

func TestTheBudgetHolds(t *testing.T) {
	steps := new(atomic.Int64)
	t.Cleanup(func() {
		t.Logf("%d steps in all", steps.Load())
		if !testkit.RaceEnabled() {
			assert.Greater(t, steps.Load(), int64(10_000_000))
		}
	})
	for name, s := range map[string]Scenario{
		"calm":                        calm(),
		"storm, by ack":               with(frozen(storm(calm()), false), func(s *Scenario) { s.Reclaim = ByAck }),
		"storm, behind a login fence": frozen(storm(calm()), true),
		"storm, roles of slots":       slots(frozen(storm(calm()), true)),
		"storm, by evidence":          with(frozen(storm(calm()), false), func(s *Scenario) { s.Reclaim = ByEvidence }),
		"storm, by time, not frozen": with(storm(calm()), func(s *Scenario) {
			s.Reclaim, s.Grace = ByTime, 61*time.Second
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := total(s, seeds(26))
			steps.Add(int64(w.Steps))
			t.Logf("%d steps, %d commits, %d conflicts, %d reclaimed, %d occupied, at most %d connections, Jain %.3f, used %.3f",
				w.Steps, w.Commits, w.Conflicts, w.Reclaimed, w.Occupied, w.Most, w.JainSum/w.Observations, w.UsedSum/w.Observations)
			require.Zero(t, w.violations(), w.First)
			assert.Greater(t, w.Most, s.Budget*3/4, "it was tried")
			if name == "calm" {
				assert.Greater(t, w.JainSum/w.Observations, .97)
			}
		})
	}
}

// The demand goes from one half of the members to the other, again and again: the budget
// follows within two refresh intervals.
func TestTheBudgetFollowsTheDemand(t *testing.T) {
	for _, members := range []int{12, 100, 1000} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			if members > 100 && !*large {
				t.Skip("-large runs it")
			}
			t.Parallel()
			const swap = 20 * time.Second
			s := calm()
			s.Members, s.Budget, s.Floor, s.Length = members, 4*members, 0, 5*swap
			s.Loss, s.Repeat = 0, 0
			s.DemandOf = func(w *World, member int) int {
				if (int(w.Now()/swap)+member)%2 == 0 {
					return 20
				}
				return 0
			}
			s.Observe = 50 * time.Millisecond
			settled := map[int]time.Duration{}
			s.ObserveAll = func(w *World) {
				round := int(w.Now() / swap)
				if _, known := settled[round]; known {
					return
				}
				for i, p := range w.Members {
					if (round+i)%2 == 0 && w.ledger.rows[p.incarnation].Charge < 8 {
						return
					}
				}
				settled[round] = w.Now() % swap
			}
			w := Run(s, 1)
			require.Zero(t, w.violations(), w.First)
			var worst time.Duration
			for round := 1; round < 5; round++ {
				require.Contains(t, settled, round, "it does not come to rest")
				worst = max(worst, settled[round])
			}
			t.Logf("%d members: settled after at most %v, %.0f operations of the store a second", members, worst, float64(w.Operations)/s.Length.Seconds())
			assert.LessOrEqual(t, worst, 2*s.Refresh)
		})
	}
}

var large = flag.Bool("large", false, "also with 1,000 members")

// What is not promised does happen, so the simulation sees it.
func TestWhatIsNotPromisedHappens(t *testing.T) {
	for name, s := range map[string]Scenario{
		"frozen before the first packet, without a login fence": with(frozen(storm(calm()), true), func(s *Scenario) { s.Reclaim = ByEvidence }),
		"by time, frozen": with(frozen(storm(calm()), false), func(s *Scenario) {
			s.Reclaim, s.Grace, s.FreezeFor, s.Length = ByTime, 61*time.Second, 2*time.Minute, 10*time.Minute
			s.Crash, s.Cut, s.StoreDown, s.Freeze = 0, 0, 0, 4*time.Minute
		}),
		"by time, too soon": with(storm(calm()), func(s *Scenario) { s.Reclaim = ByTime }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := total(s, max(8, seeds(20)))
			t.Logf("%d steps, worst %d too many, %s", w.Steps, w.Worst, w.First)
			assert.Positive(t, w.OverServer)
			assert.Zero(t, w.OverLedger, "the ledger is always right")
		})
	}
}

// Each of these errors, made in the protocol on purpose, is found.
func TestErrorsInTheProtocolAreFound(t *testing.T) {
	for fault, s := range map[Fault]Scenario{
		TrustMemory:       calm(),
		NoCompare:         calm(),
		AckWithoutSeq:     with(storm(calm()), func(s *Scenario) { s.Reclaim = ByAck }),
		AckBeforeClose:    with(calm(), func(s *Scenario) { s.LongLeases = true }),
		ClosedAtTheClient: calm(),
		ForgetSlots:       storm(calm()),
		SamePassword:      slots(frozen(storm(calm()), true)),
		OccupyUnchecked:   slots(frozen(storm(calm()), true)),
		KeepPassword:      slots(frozen(storm(calm()), true)),
		NoRest:            slots(frozen(storm(calm()), true)),
	} {
		s.Fault = fault
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				if w := Run(s, seed+1); w.violations() > 0 {
					t.Logf("found after %d runs: %d violations, the first %s", seed+1, w.violations(), w.First)
					return
				}
			}
			t.Error("it is not found")
		})
	}
}
