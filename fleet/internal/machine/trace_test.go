package machine

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/fleet/store"
)

// TestTraces runs the traces in testdata: histories of members, of coordinators, and of
// both with a ledger between them. -rewrite writes the outputs anew. The inputs:
//
//	fleet budget=n floor=n grace=d turn=d   begin, with an empty ledger
//	budget n                     the budget is changed
//	join NAME                    a member's lease begins
//	holds NAME n                 its pool holds n connections, or as many as it may if fewer
//	wants NAME n                 its pool has a use for n
//	renew NAME [lost|unconfirmed]  it reports; the answer brings its row
//	see NAME                     the watch brings its row
//	old NAME                     the watch brings the row before it, late
//	dies NAME                    its lease ends, without it being told
//	deal [gone=NAME]             a coordinator reads, decides and commits
//	decide NAME                  what its pool must be
//	note NAME n                  the note if its pool is set to n
//
// Every input takes t=, the time, counted from the start. Each member has a TTL of 15s:
// Soft begins 10s after the last confirmed renewal was sent, and Hard after 15s. What
// stands in brackets is the note.
func TestTraces(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var tr *trace
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd == "fleet" {
					tr = newTrace(t, d)
					return "ok\n"
				}
				return tr.run(t, d)
			})
		})
	}
}

type trace struct {
	now         time.Duration
	coordinator *Coordinator
	v           store.Snapshot
	revision    int64
	before      map[string]store.Row // rows as they were before the last change
	members     map[string]*traced
}

type traced struct {
	*Member
	held, wants int
}

func newTrace(t *testing.T, d *datadriven.TestData) *trace {
	tr := &trace{
		coordinator: &Coordinator{}, before: map[string]store.Row{}, members: map[string]*traced{}, revision: 1,
		v: store.Snapshot{Rows: map[string]store.Row{}, Reports: map[string]store.Report{}},
	}
	d.ScanArgs(t, "budget", &tr.v.Sum.Budget)
	d.MaybeScanArgs(t, "floor", &tr.coordinator.Floor)
	tr.coordinator.Grace, _ = duration(t, d, "grace")
	tr.coordinator.Turn, _ = duration(t, d, "turn")
	tr.v.Sum.Revision = 1
	return tr
}

func duration(t *testing.T, d *datadriven.TestData, key string) (time.Duration, bool) {
	var text string
	if !d.MaybeScanArgs(t, key, &text) {
		return 0, false
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v, true
}

func (tr *trace) run(t *testing.T, d *datadriven.TestData) string {
	if at, ok := duration(t, d, "t"); ok {
		tr.now = at
	}
	name, n := "", 0
	if len(d.CmdArgs) > 0 {
		name = d.CmdArgs[0].Key
	}
	if len(d.CmdArgs) > 1 {
		_, _ = fmt.Sscan(d.CmdArgs[1].Key, &n)
	}
	m := tr.members[name]
	switch d.Cmd {
	case "budget":
		_, _ = fmt.Sscan(name, &tr.v.Sum.Budget)
		return "ok\n"
	case "join":
		cfg := MemberConfig{Floor: tr.coordinator.Floor, Soft: 10 * time.Second, Hard: 15 * time.Second, Late: 7500 * time.Millisecond}
		m = &traced{Member: NewMember(cfg, tr.now)}
		tr.members[name], tr.v.Reports[name] = m, store.Report{}
	case "holds":
		m.held = n
	case "wants":
		m.wants = n
		return "ok\n"
	case "renew":
		return tr.renew(m, name, d)
	case "see":
		m.Seen(tr.v.Rows[name])
	case "old":
		m.Seen(tr.before[name])
	case "note":
		return fmt.Sprintf("%q\n", m.Note(tr.now, n))
	case "dies":
		delete(tr.v.Reports, name)
		return "ok\n"
	case "deal":
		return tr.deal(t, d)
	}
	return tr.decision(m)
}

// renew reports, as the member's actor does: it sets the pool first.
func (tr *trace) renew(m *traced, name string, d *datadriven.TestData) string {
	m.Applied(m.Decide(tr.now).Capacity, m.held)
	r := m.Report(tr.now, m.wants)
	out := fmt.Sprintf("reports: wants %d", r.Want)
	if r.AckSeq != 0 {
		out += fmt.Sprintf(", promises at most %d for row %d", r.AckN, r.AckSeq)
	}
	out += "\n"
	if d.HasArg("lost") {
		m.Lost()
		return out + tr.decision(m)
	}
	tr.v.Reports[name] = r
	if !d.HasArg("unconfirmed") {
		m.Renewed(tr.now)
		if row, ok := tr.v.Rows[name]; ok {
			m.Seen(row)
		}
	}
	return out + tr.decision(m)
}

func (tr *trace) decision(m *traced) string {
	d := m.Decide(tr.now)
	m.Applied(d.Capacity, m.held)
	d = m.Decide(tr.now)
	out := fmt.Sprintf("%s: capacity %d", d.Phase, d.Capacity)
	if m.held > 0 {
		out += fmt.Sprintf(", holds %d", m.held)
	}
	if d.Refuse {
		out += ", connects are refused"
	}
	if d.Interrupt {
		out += ", everything is closed"
	}
	if d.Next > 0 {
		out += fmt.Sprintf(", until %v", d.Next)
	}
	if note := m.Note(tr.now, d.Capacity); note != "" {
		out += " [" + note + "]"
	}
	return out + "\n"
}

func (tr *trace) deal(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	suspects := tr.coordinator.Suspects(tr.v, tr.now)
	if len(suspects) > 0 {
		fmt.Fprintf(&out, "suspects: %s\n", strings.Join(suspects, " "))
	}
	var name string
	var gone []string
	if d.MaybeScanArgs(t, "gone", &name) {
		gone = []string{name}
	}
	sum, changes := tr.coordinator.Decide(tr.v, gone, tr.now)
	if len(changes) == 0 {
		out.WriteString("nothing changes\n")
		return out.String()
	}
	tr.before = maps.Clone(tr.v.Rows)
	tr.revision++
	sum.Revision = tr.revision
	tr.v.Sum = sum
	for _, c := range changes {
		if c.Delete {
			delete(tr.v.Rows, c.Incarnation)
			continue
		}
		tr.v.Rows[c.Incarnation] = store.Row{Charge: c.Row.Charge, Target: c.Row.Target, Seq: tr.revision}
	}
	charged := 0
	for _, inc := range slices.Sorted(maps.Keys(tr.v.Rows)) {
		row := tr.v.Rows[inc]
		charged += row.Charge
		fmt.Fprintf(&out, "%s: charge %d, target %d, row %d\n", inc, row.Charge, row.Target, row.Seq)
	}
	fmt.Fprintf(&out, "charged %d of %d\n", charged, sum.Budget)
	return out.String()
}
