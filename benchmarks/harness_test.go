package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/actorpool/actorpool/internal/servers"
)

// The whole way: several processes, results, table, plots, and quotes in a document.
func TestTinyRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("before <!--bench serial-ns-->old<!--/bench--> after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// One case of each kind. TestEveryCaseRuns has the others.
	o := options{
		processes: 2, each: time.Millisecond, turns: 1, out: dir, docs: []string{doc},
		cases: []string{"serial", "onchange", "wait", "fairness", "pause-20us-sleep"},
	}
	chosen, err := casesNamed(o.cases)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	files := []string{"results.json", "table.md"}
	for _, c := range chosen {
		if c.drawn() {
			files = append(files, c.name+".svg")
		}
	}
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty: %v", name, err)
		}
	}
	r, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chosen {
		for _, k := range c.contestants() {
			if n := len(r.in(c.name, k.name, nsPerOp)); n != o.processes {
				t.Errorf("%s, %s: results of %d processes, want %d", c.name, k.name, n, o.processes)
			}
		}
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "old") || !strings.Contains(string(text), " ns<!--/bench--> after") {
		t.Errorf("the document has %q", text)
	}
	for _, c := range chosen {
		if table := r.caseTable(c); strings.Contains(table, "not measured") {
			t.Errorf("the table of %s misses something:\n%s", c.name, table)
		}
	}
}

func TestEveryCaseRuns(t *testing.T) {
	for _, c := range cases {
		for _, k := range c.contestants() {
			if c.name == "crowd" && k.name != reference {
				continue // it starts so many goroutines
			}
			s, err := measure(c, k, effort{n: 10, lasts: time.Millisecond})
			if err != nil || s.N < 1 || s.NsPerOp <= 0 {
				t.Errorf("got %+v, %v", s, err)
			}
		}
	}
}

// What the documents quote, and the table, are those of the recorded results.
func TestTheDocumentsQuoteTheRecordedResults(t *testing.T) {
	r, err := readResults("../docs/benchmarks")
	if err != nil {
		t.Fatal(err)
	}
	files, err := documents([]string{"../README.md", "../docs"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found += len(quoted.FindAll(text, -1))
		want, err := requote(r, string(text))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if want != string(text) {
			t.Errorf("%s quotes other numbers than docs/benchmarks/results.json has: go -C benchmarks run . -write", path)
		}
	}
	if found < len(quotes) {
		t.Errorf("%d quotes were found in the documents, and there are %d", found, len(quotes))
	}
	if table, err := os.ReadFile("../docs/benchmarks/table.md"); err != nil || string(table) != r.table() {
		t.Errorf("table.md is not made from results.json (%v): go -C benchmarks run . -write", err)
	}
}

func TestAProcessThatFailsIsAnError(t *testing.T) {
	_, err := inAProcess(assignment{Cases: []string{"nonsense"}})
	if err == nil || !strings.Contains(err.Error(), `there is no case "nonsense"`) {
		t.Errorf("got %v", err)
	}
}

func TestQuotes(t *testing.T) {
	r := &results{Samples: []sample{{Case: "serial", Pool: reference, Process: 1, NsPerOp: 64.4}}}
	got, err := requote(r, "a <!--bench serial-ns-->1 ns<!--/bench--> b")
	if want := "a <!--bench serial-ns-->64 ns<!--/bench--> b"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"<!--bench nonsense-->1<!--/bench-->", "<!--bench serial-ns-->1"} {
		if _, err := requote(r, bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2}), (spread{2, 1, 3, 1.5, 2.5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := spreadOf([]float64{4, 1, 3, 2}), (spread{2.5, 1, 4, 1.75, 3.25}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A ratio compares two pools in one process, not the medians of all processes.
func TestRatiosAreTakenWithinAProcess(t *testing.T) {
	r := &results{}
	for process, ns := range []float64{10, 100, 1000} { // a machine that gets slower and slower
		r.Samples = append(r.Samples,
			sample{Case: "serial", Pool: reference, Process: process, NsPerOp: ns},
			sample{Case: "serial", Pool: again, Process: process, NsPerOp: ns},
			sample{Case: "serial", Pool: "puddle", Process: process, NsPerOp: 2 * ns})
	}
	if got, want := r.ratio("serial", reference, "puddle", nsPerOp), (spread{0.5, 0.5, 0.5, 0.5, 0.5}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := r.noise("serial", nsPerOp), (spread{1, 1, 1, 1, 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestVerdict(t *testing.T) {
	quiet, loud := spread{1, 1, 1, 1, 1}, spread{1, 0.8, 1.2, 0.9, 1.1}
	for _, test := range []struct {
		median, least float64
		noise         spread
		want          string
	}{
		{0.4, 0.4, quiet, "met"},
		{0.5, 0.5, quiet, "met, within the noise"},
		{0.6, 0.6, quiet, "**missed**"},
		{0.4, 0.6, quiet, "**partly met**"},
		{0.6, 0.4, quiet, "**partly met**"},
		{0.48, 0.48, loud, "met, within the noise"},
		{0.52, 0.52, loud, "**missed**, within the noise"},
		{0.4, 0.4, loud, "met"},
	} {
		if got := verdict(spread{median: test.median}, test.least, 0.5, test.noise); got != test.want {
			t.Errorf("median %v, least %v: %q, want %q", test.median, test.least, got, test.want)
		}
	}
}

func TestFairness(t *testing.T) {
	for _, test := range []struct {
		counts            []int
		jain, least, most float64
	}{
		{[]int{5, 5, 5, 5}, 1, 1, 1},
		{[]int{8, 0, 0, 0}, 0.25, 0, 4},
		{[]int{1, 3}, 0.8, 0.5, 1.5},
		{[]int{0, 0}, 0, 0, 0},
	} {
		jain, least, most := fairness(test.counts)
		if math.Abs(jain-test.jain) > 1e-9 || least != test.least || most != test.most {
			t.Errorf("%v: %v, %v, %v", test.counts, jain, least, most)
		}
	}
}

func TestTheSumsOfCallgrind(t *testing.T) {
	got, err := totals([]byte("version: 1\nevents: Ir Dr I1mr\nfn=(1) main\n1 2\n\ntotals: 12 3\n"))
	if err != nil || got["Ir"] != 12 || got["Dr"] != 3 || got["I1mr"] != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := totals([]byte("nothing")); err == nil {
		t.Error("a file without sums is no error")
	}
}

// The program that is counted makes its cycles, for every pool, without and with a pause.
func TestEveryPoolCanBeCounted(t *testing.T) {
	for _, k := range slices.Concat(contestants, controls) {
		for _, args := range [][]string{{k.name, "10"}, {k.name, "2", "pause-code"}} {
			if err := cyclesForACounter(args); err != nil {
				t.Errorf("%q: %v", args, err)
			}
		}
	}
	for _, args := range [][]string{{"nonsense", "1"}, {reference, "x"}, {reference}, {reference, "1", "nonsense"}} {
		if err := cyclesForACounter(args); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

// Without valgrind nothing is counted, and the table says so.
func TestAMissingValgrindIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	counts, err := countAll(1, func(string) {})
	if counts != nil || err != errNoValgrind {
		t.Errorf("got %v, %v", counts, err)
	}
	r := results{NotCounted: errNoValgrind.Error()}
	if got := r.instructionTable(); !strings.Contains(got, "valgrind is not installed") {
		t.Errorf("got %q", got)
	}
}

// The count of a pool that is known to do nothing is small, and that of a pool is not.
func TestInstructionsAreCounted(t *testing.T) {
	_, err := servers.Find("valgrind", "valgrind")
	servers.Require(t, err)
	if raceEnabled {
		t.Skip("valgrind does not run a program with the race detector")
	}
	none, err := instructions(nothing)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := instructions("mutex+slice")
	if err != nil {
		t.Fatal(err)
	}
	if none < 1 || none > 100 || ours < none+20 || ours > 2000 {
		t.Errorf("%v instructions of nothing, %v of a mutex and a slice", none, ours)
	}
}

func TestLongTextsAreWrapped(t *testing.T) {
	text := strings.Repeat("word ", 100)
	got := wrap(text)
	for _, line := range strings.Split(got, "\n") {
		if len(line) > 118 {
			t.Errorf("%d characters in a line", len(line))
		}
	}
	if strings.Join(strings.Fields(got), " ") != strings.TrimSpace(text) {
		t.Error("words are lost")
	}
}

func TestResultsOfABusyMachineAreProvisional(t *testing.T) {
	for _, test := range []struct {
		r    results
		want string
	}{
		{results{Processes: 15, NumCPU: 2, LoadBefore: "0.40"}, ""},
		{results{Processes: 15, NumCPU: 2, LoadBefore: ""}, ""},
		{results{Processes: 15, NumCPU: 2, LoadBefore: "5.00"}, "load average of 5.00"},
		{results{Processes: 3, NumCPU: 2, LoadBefore: "0.40"}, "only 3 processes"},
	} {
		if got := test.r.provisional(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q", test.r, got)
		}
	}
}

func TestResultsSurviveTheirFile(t *testing.T) {
	r := newResults()
	r.Samples = []sample{{Case: "serial", Pool: "puddle", Process: 1, NsPerOp: 1.234567}}
	data, err := r.data()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("\n{\"case\"")) || !bytes.Contains(data, []byte("1.2346")) {
		t.Errorf("got %s", data)
	}
}
