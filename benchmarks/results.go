package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// results is the content of results.json.
type results struct {
	Go         string   `json:"go"`
	OS         string   `json:"os"`
	Arch       string   `json:"arch"`
	CPU        string   `json:"cpu,omitempty"`
	NumCPU     int      `json:"num_cpu"`
	GOMAXPROCS int      `json:"gomaxprocs"`
	Recorded   string   `json:"recorded"` // the day
	LoadBefore string   `json:"load_before,omitempty"`
	LoadAfter  string   `json:"load_after,omitempty"`
	Processes  int      `json:"processes"`
	Turns      int      `json:"turns"`
	Each       string   `json:"each"`
	NotCounted string   `json:"not_counted,omitempty"` // why there are no Counts
	Counts     []count  `json:"counts,omitempty"`
	Samples    []sample `json:"samples"`
}

func newResults() *results {
	return &results{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuModel(),
		NumCPU: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Recorded: time.Now().UTC().Format(time.DateOnly), LoadBefore: load(),
	}
}

// cpuModel is the name of the processor. It is known on Linux only.
func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// load is the load average of the last minute. It is known on Linux only.
func load() string {
	info, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(info), " ")
	return first
}

func readResults(dir string) (*results, error) {
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil, err
	}
	r := new(results)
	return r, json.Unmarshal(data, r)
}

// data is the content of results.json: a line for each sample, with no more digits than mean
// anything.
func (r *results) data() ([]byte, error) {
	short := *r
	short.Samples = slices.Clone(r.Samples)
	for i := range short.Samples {
		s := &short.Samples[i]
		for _, v := range []*float64{
			&s.NsPerOp, &s.BytesPerOp, &s.AllocsPerOp, &s.P50, &s.P99, &s.Max, &s.Jain, &s.Least, &s.Most,
		} {
			*v = math.Round(*v*1e4) / 1e4
		}
	}
	b, err := json.Marshal(short)
	if err != nil {
		return nil, err
	}
	for _, first := range []string{`{"case"`, `{"pool"`} {
		b = bytes.ReplaceAll(b, []byte(first), []byte("\n"+first))
	}
	return append(b, '\n'), nil
}

// spread is the distribution of one measure over the processes. low and high are its quartiles.
type spread struct{ median, min, max, low, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 { // between the two nearest values
		place := q * float64(len(v)-1)
		i := int(place)
		if i == len(v)-1 {
			return v[i]
		}
		return v[i] + (place-float64(i))*(v[i+1]-v[i])
	}
	return spread{median: at(0.5), min: v[0], max: v[len(v)-1], low: at(0.25), high: at(0.75)}
}

type measureOf func(sample) float64

func nsPerOp(s sample) float64     { return s.NsPerOp }
func allocsPerOp(s sample) float64 { return s.AllocsPerOp }
func bytesPerOp(s sample) float64  { return s.BytesPerOp }
func p50(s sample) float64         { return s.P50 }
func p99(s sample) float64         { return s.P99 }
func longest(s sample) float64     { return s.Max }
func jain(s sample) float64        { return s.Jain }
func leastShare(s sample) float64  { return s.Least }
func mostShare(s sample) float64   { return s.Most }

// in returns the measures by process.
func (r *results) in(name, pool string, measure measureOf) map[int]float64 {
	found := map[int]float64{}
	for _, s := range r.Samples {
		if s.Case == name && s.Pool == pool {
			found[s.Process] = measure(s)
		}
	}
	return found
}

// of returns the spread of a measure.
func (r *results) of(name, pool string, measure measureOf) spread {
	var values []float64
	for _, v := range r.in(name, pool, measure) {
		values = append(values, v)
	}
	return spreadOf(values)
}

// ratio returns the spread of the measure of one pool divided by that of another, in the same
// process: where its memory lies, and other load on the machine, affect both.
func (r *results) ratio(name, pool, to string, measure measureOf) spread {
	theirs := r.in(name, to, measure)
	var values []float64
	for process, v := range r.in(name, pool, measure) {
		if theirs[process] > 0 {
			values = append(values, v/theirs[process])
		}
	}
	return spreadOf(values)
}

// leastRatio is the ratio of the minima over all processes. Other load on the machine can only
// make a measure larger, so the minima are affected least.
func (r *results) leastRatio(name, pool, to string, measure measureOf) float64 {
	theirs := r.of(name, to, measure).min
	if theirs == 0 {
		return 0
	}
	return r.of(name, pool, measure).min / theirs
}

// noise is the spread of the ratio of two pools that are identical.
func (r *results) noise(name string, measure measureOf) spread {
	return r.ratio(name, reference, again, measure)
}

func (r *results) count(pool string) (count, bool) {
	for _, c := range r.Counts {
		if c.Pool == pool {
			return c, true
		}
	}
	return count{}, false
}

// ownInstructions are those of this pool without those of the loop that counts. False: they
// were not counted.
func (r *results) ownInstructions() (float64, bool) {
	all, ok := r.count(reference)
	loop, counted := r.count(nothing)
	return all.Instructions - loop.Instructions, ok && counted
}

// machine says in words where the results come from.
func (r *results) machine() string {
	loads := ""
	if r.LoadBefore != "" {
		loads = fmt.Sprintf(" The load average was %s at the beginning and %s at the end, mostly the measurement itself.", r.LoadBefore, r.LoadAfter)
	}
	return r.provisional() + fmt.Sprintf("As Go reports it: %s, %s/%s, %s, %d processors, GOMAXPROCS %d; recorded on %s, in %d processes, each of which measures "+
		"every pool for %s in each case, in %d turns.%s",
		r.Go, r.OS, r.Arch, r.CPU, r.NumCPU, r.GOMAXPROCS, r.Recorded, r.Processes, r.Each, r.Turns, loads)
}

// provisional says why the results are not good enough to be quoted without a warning; empty:
// they are.
func (r *results) provisional() string {
	var why []string
	if r.Processes < 9 {
		why = append(why, fmt.Sprintf("only %d processes", r.Processes))
	}
	if before, err := strconv.ParseFloat(r.LoadBefore, 64); err == nil && before > float64(r.NumCPU)/2 {
		why = append(why, fmt.Sprintf("a load average of %s before it began", r.LoadBefore))
	}
	if why == nil {
		return ""
	}
	return "**Provisional, to be recorded again: " + strings.Join(why, ", and ") + ".** "
}

func writeAll(r *results, o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	data, err := r.data()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "results.json"), data, 0o644); err != nil {
		return err
	}
	// What is written is made from what was rounded, so that a later reader makes the same.
	if r, err = readResults(o.out); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "table.md"), []byte(r.table()), 0o644); err != nil {
		return err
	}
	if err := r.plots(o.out); err != nil {
		return err
	}
	return quoteIn(r, o.docs)
}
