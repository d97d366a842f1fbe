package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
)

// count is what valgrind's callgrind has counted for one Get and Put of a pool.
type count struct {
	Pool string `json:"pool"`
	// Instructions are the medians of several counts, and Of the counts.
	Instructions float64   `json:"instructions"`
	Of           []float64 `json:"of"`
	// After other code has run: what one Get and Put finds missing in simulated caches that are
	// as large as this processor's, in cache lines.
	Cold *footprint `json:"cold,omitempty"`
}

// footprint is what one Get and Put needs when the caches are cold.
type footprint struct {
	Instructions float64 `json:"instructions"`
	Code         float64 `json:"code_lines"`    // missing in the first cache of instructions
	Data         float64 `json:"data_lines"`    // missing in the first cache of data
	Branches     float64 `json:"mispredicted"`  // branches, of which indirect ones
	Lines        float64 `json:"missing_lines"` // missing in the last simulated cache
}

const (
	shortRun, longRun = 4_000, 24_000
	coldRun           = 60
)

var errNoValgrind = errors.New("valgrind is not installed: apt-get install valgrind")

// cyclesForACounter is the program that is counted: NAME N [PAUSE].
func cyclesForACounter(args []string) error {
	if len(args) < 2 {
		return errors.New("wants a pool, a number of cycles, and possibly a pause")
	}
	debug.SetGCPercent(-1)
	k, err := named(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	between := func() {}
	if len(args) > 2 {
		found := false
		for _, c := range pauses {
			if c.name == args[2] {
				between, found = c.make(), true
			}
		}
		if !found {
			return fmt.Errorf("there is no pause %q", args[2])
		}
	}
	p, err := k.make(4)
	if err != nil {
		return err
	}
	if err := p.cycle(context.Background(), nil); err != nil { // opens the connection
		return err
	}
	for range n {
		between()
		if err := countedCycle(p); err != nil {
			return err
		}
	}
	return nil
}

// countedCycle is a function by itself, so that callgrind can be told to count in it only.
//
//go:noinline
func countedCycle(p pool) error { return p.cycle(context.Background(), nil) }

// callgrind runs the program under callgrind, and returns the totals by the name of the event.
func callgrind(pool string, n int, pause string, options ...string) (map[string]float64, error) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		return nil, errNoValgrind
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "count")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "out")
	args := append([]string{"--tool=callgrind", "--callgrind-out-file=" + out}, options...)
	args = append(args, self, childCounts, pool, strconv.Itoa(n))
	if pause != "" {
		args = append(args, pause)
	}
	cmd := exec.Command(valgrind, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off") // an instruction that valgrind lacks
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("valgrind: %w: %.500s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return totals(text)
}

var (
	eventsLine = regexp.MustCompile(`(?m)^events:(.*)$`)
	totalsLine = regexp.MustCompile(`(?m)^(?:totals|summary):(.*)$`)
)

// totals reads the sums from a file of callgrind.
func totals(text []byte) (map[string]float64, error) {
	names, sums := eventsLine.FindSubmatch(text), totalsLine.FindSubmatch(text)
	if names == nil || sums == nil {
		return nil, fmt.Errorf("callgrind has written no sums: %.200q", text)
	}
	found := map[string]float64{}
	values := strings.Fields(string(sums[1]))
	for i, name := range bytes.Fields(names[1]) {
		if i >= len(values) {
			break // the sums that are left out are 0
		}
		v, err := strconv.ParseFloat(values[i], 64)
		if err != nil {
			return nil, err
		}
		found[string(name)] = v
	}
	return found, nil
}

// instructions counts one Get and Put: the difference between a long and a short run, divided
// by the difference of their cycles, so that the start of the program is in neither.
func instructions(pool string) (float64, error) {
	short, err := callgrind(pool, shortRun, "")
	if err != nil {
		return 0, err
	}
	long, err := callgrind(pool, longRun, "")
	if err != nil {
		return 0, err
	}
	return (long["Ir"] - short["Ir"]) / (longRun - shortRun), nil
}

// cold counts Gets and Puts that each come after other code, with simulated caches and branch
// prediction. It counts in countedCycle only. nil: the program has no symbols, as when it was
// started by go run or go test.
func cold(pool string) (*footprint, error) {
	sums, err := callgrind(pool, coldRun, "pause-code", "--toggle-collect=*countedCycle*", "--cache-sim=yes", "--branch-sim=yes")
	if err != nil || sums["Ir"] == 0 {
		return nil, err
	}
	each := func(events ...string) float64 {
		sum := 0.0
		for _, e := range events {
			sum += sums[e]
		}
		return sum / coldRun
	}
	return &footprint{
		Instructions: each("Ir"), Code: each("I1mr"), Data: each("D1mr", "D1mw"),
		Branches: each("Bcm", "Bim"), Lines: each("ILmr", "DLmr", "DLmw"),
	}, nil
}

// countAll counts all pools. The error of a machine without valgrind is errNoValgrind.
func countAll(times int, progress func(string)) ([]count, error) {
	if times == 0 {
		return nil, nil
	}
	var all []count
	names := []string{nothing}
	for _, k := range contestants {
		if k.name != again {
			names = append(names, k.name)
		}
	}
	for _, name := range append(names, redisClient, heldRedis) {
		c := count{Pool: name}
		for range times {
			n, err := instructions(name)
			if err != nil {
				return nil, err
			}
			c.Of = append(c.Of, n)
		}
		c.Instructions = spreadOf(c.Of).median
		var err error
		if name != ownMailbox { // whose Get runs on another goroutine, where callgrind loses its place
			if c.Cold, err = cold(name); err != nil {
				return nil, err
			}
		}
		all = append(all, c)
		progress(fmt.Sprintf("counted %s: %.0f instructions", name, c.Instructions))
	}
	return all, nil
}
