package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/fleet/store"
)

// TestEveryDecisionKeepsTheBudgetAndComesToRest deals random ledgers again and again: no
// decision charges more than the budget, whatever part of it is committed; charges fall
// only by promises; and when members do what is asked of them, everybody soon has its
// max-min share and nothing moves any more.
func TestEveryDecisionKeepsTheBudgetAndComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "members")
		v := store.Snapshot{
			Sum:  store.Sum{Budget: rapid.IntRange(0, 20).Draw(t, "budget"), Revision: 1},
			Rows: map[string]store.Row{}, Reports: map[string]store.Report{},
		}
		seq := int64(0)
		left := v.Sum.Budget
		for i := range n {
			inc := fmt.Sprintf("m%d", i)
			if charge := rapid.IntRange(0, left).Draw(t, "charge"); rapid.Bool().Draw(t, "has a row") {
				left -= charge
				seq++
				v.Rows[inc] = store.Row{Charge: charge, Target: rapid.IntRange(0, charge).Draw(t, "target"), Slot: 2*n - i, Seq: seq}
			}
			if rapid.IntRange(0, 3).Draw(t, "lives") > 0 {
				v.Reports[inc] = store.Report{Want: rapid.IntRange(0, 12).Draw(t, "want")}
			}
		}
		if rapid.Bool().Draw(t, "the budget is changed") {
			v.Sum.Budget = rapid.IntRange(0, 20).Draw(t, "new budget")
		}
		c := &Coordinator{Floor: rapid.IntRange(0, 2).Draw(t, "floor"), Slots: rapid.SampledFrom([]int{0, 3, 20}).Draw(t, "slots")}
		bound := c.Slots
		if bound == 0 {
			bound = n
		}
		charged := func() (sum int) {
			for _, r := range v.Rows {
				sum += r.Charge
			}
			return sum
		}
		rounds := 0
		for {
			rounds++
			require.Less(t, rounds, 8, "it does not come to rest: %+v", v)
			for inc, r := range v.Reports { // they do what is asked of them
				if row := v.Rows[inc]; row.Target < row.Charge {
					r.AckSeq, r.AckN = row.Seq, row.Target
					v.Reports[inc] = r
				}
			}
			sum, changes := c.Decide(v, nil, 0)
			v.Sum.NextSlot = sum.NextSlot
			if len(changes) == 0 {
				break
			}
			before := charged()
			for _, ch := range changes {
				if ch.Delete {
					_, alive := v.Reports[ch.Incarnation]
					require.False(t, alive)
					require.Zero(t, v.Rows[ch.Incarnation].Charge, "what a dead member may hold is had back without evidence")
					delete(v.Rows, ch.Incarnation)
					continue
				}
				old, had := v.Rows[ch.Incarnation]
				report, alive := v.Reports[ch.Incarnation]
				require.True(t, alive, "the row of a dead member changes")
				require.True(t, 0 <= ch.Row.Target && ch.Row.Target <= ch.Row.Charge, "%+v", ch)
				if had && ch.Row.Charge < old.Charge {
					require.True(t, report.AckSeq == old.Seq && report.AckN <= ch.Row.Charge, "a charge falls without a promise: %+v", ch)
				}
				if had {
					require.Equal(t, old.Slot, ch.Row.Slot, "it keeps its slot")
				} else {
					require.Less(t, ch.Row.Slot, bound)
				}
				seq++
				ch.Row.Seq = seq
				v.Rows[ch.Incarnation] = ch.Row
				slots := map[int]bool{}
				for _, row := range v.Rows {
					slots[row.Slot] = true
				}
				require.Len(t, slots, len(v.Rows), "a slot has one row: %+v", v.Rows)
				require.LessOrEqual(t, charged(), max(before, v.Sum.Budget))
			}
		}
		// Nobody that lacks something has less than another one by more than one.
		free := v.Sum.Budget - charged()
		for a, ra := range v.Reports {
			if _, seated := v.Rows[a]; !seated { // the slots below the bound are all taken
				taken := 0
				for _, row := range v.Rows {
					if row.Slot < c.Slots {
						taken++
					}
				}
				require.Equal(t, c.Slots, taken)
				continue
			}
			lacks := max(ra.Want, c.Floor) - v.Rows[a].Target
			if lacks <= 0 {
				continue
			}
			require.LessOrEqual(t, free, 0, "%s lacks %d", a, lacks)
			for b, rb := range v.Reports {
				if v.Rows[b].Target > max(rb.Want, c.Floor) {
					t.Fatalf("%s lacks %d, and %s has more than it wants", a, lacks, b)
				}
				require.LessOrEqual(t, v.Rows[b].Target, v.Rows[a].Target+1, "%s lacks %d, and %s has more", a, lacks, b)
			}
		}
	})
}

// TestWhatDoesNotDivideIsPassedOn has five members want two connections: each has one for
// its turn, and the others wait no longer than it takes.
func TestWhatDoesNotDivideIsPassedOn(t *testing.T) {
	v := store.Snapshot{Sum: store.Sum{Budget: 2}, Rows: map[string]store.Row{}, Reports: map[string]store.Report{}}
	for i := range 5 {
		v.Reports[fmt.Sprintf("m%d", i)] = store.Report{Want: 3}
	}
	c := &Coordinator{Turn: 10 * time.Second}
	had := map[string]int{}
	seq := int64(0)
	for s := range 500 {
		sum, changes := c.Decide(v, nil, time.Duration(s)*time.Second)
		v.Sum = sum
		for _, ch := range changes {
			seq++
			ch.Row.Seq = seq
			v.Rows[ch.Incarnation] = ch.Row
		}
		for inc, r := range v.Reports {
			row := v.Rows[inc]
			had[inc] += row.Target
			r.AckSeq, r.AckN = row.Seq, row.Target
			v.Reports[inc] = r
		}
	}
	for inc, n := range had {
		require.InDelta(t, 200, n, 60, "%s had a connection for %ds of 500", inc, n)
	}
}
