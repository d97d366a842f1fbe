package machine

import (
	"fmt"
	"strings"

	"github.com/actorpool/actorpool/messages"
)

// stats gives Stats in words.
func (tr *trace) stats() string {
	st := tr.world.m.Stats()
	line := fmt.Sprintf("%s: capacity %d, open %d (idle %d, borrowed %d, in transition %d), connecting %d, closing %d, waiting %d",
		st.State, st.Capacity, st.Open, st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing, st.Waiting)
	if st.CapacityNote != "" {
		line += "; " + st.CapacityNote
	}
	if len(tr.d.CmdArgs) == 0 || tr.d.CmdArgs[0].Key != "all" {
		return line
	}
	for _, c := range []struct {
		name string
		n    any
	}{
		{"gets", st.Gets},
		{"grants", st.Grants},
		{"waits", st.Waits},
		{"wait time", st.WaitTime},
		{"timeouts", st.Timeouts},
		{"cancels", st.Cancels},
		{"connects", st.Connects},
		{"connect errors", st.ConnectErrors},
		{"puts", st.Puts},
		{"taints", st.Taints},
		{"setting hits", st.SettingHits},
		{"setting switches", st.SettingSwitches},
		{"setting resets", st.SettingResets},
		{"closed idle", st.ClosedIdle},
		{"closed lifetime", st.ClosedLifetime},
		{"closed stale", st.ClosedStale},
		{"closed broken", st.ClosedBroken},
		{"closed capacity", st.ClosedCapacity},
		{"backoffs", st.Backoffs},
		{"leaks", st.Leaks},
		{"revoked", st.Revoked},
		{"sheds", st.Sheds},
		{"deadlocks", st.Deadlocks},
	} {
		if s := fmt.Sprint(c.n); s != "0" && s != "0s" {
			line += fmt.Sprintf("\n%s %s", c.name, s)
		}
	}
	return line
}

// measures gives Measures in words: each histogram with the upper bounds of its buckets.
func (tr *trace) measures() string {
	e := tr.world.m.Measures(tr.world.now)
	var b strings.Builder
	for _, h := range []struct {
		name string
		messages.Histogram
	}{{"wait", e.Wait}, {"use", e.Use}, {"connect", e.Connect}} {
		fmt.Fprintf(&b, "%s: %d of %v", h.name, h.Count, h.Sum)
		if n := h.Zeros(); n > 0 {
			fmt.Fprintf(&b, ", %d of 0", n)
		}
		for i, n := range h.Buckets {
			if n > 0 {
				fmt.Fprintf(&b, ", %d up to %v", n, h.Bound(h.Offset+i))
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "one lease in %d is timed; the longest wait is %v", e.UseEvery, e.LongestWait)
	return b.String()
}
