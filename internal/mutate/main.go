// Command mutate tests the tests. It makes small faults in the code of some
// packages, one at a time, and runs their tests: a fault that no test notices
// shows what the tests do not say.
//
//	go run ./internal/mutate [flags] package...
//
// All faults (mutants) of all packages are compiled into one test binary for
// each test package, and an environment variable chooses the one that is
// active. So the compiler runs once for all of them, not once for each, and a
// mutant costs as much as the tests that reach it. The instrumented files exist
// in a temporary folder only, which the go command lays over the working tree.
//
// Before any mutant runs, every test runs alone without one. That tells how long
// it takes and which mutants it reaches. A mutant is then run against the tests
// that reach it until one fails: first those that have killed its neighbours, then
// the quickest ones. A test that does not end in time counts as failed. An
// interrupt ends the run with a report of what is known by then.
//
// The tests run in their package's folder, as with go test. Nothing else is done
// to the working tree.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	ctx      context.Context // ends when the command is interrupted
	dir      string          // where the go command runs
	packages []string
	tests    []string        // the packages whose tests run; empty: those of packages
	only     *regexp.Regexp  // nil: all
	skip     *regexp.Regexp  // nil: none
	again    map[string]bool // if not nil, the keys of the only mutants that count
	jobs     int
	checks   int
	longest  time.Duration // 0: every test is used
	slack    time.Duration
	log      *log.Logger // of the progress
}

func main() {
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// command is the command line.
func command() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{ctx: ctx, dir: ".", log: log.New(os.Stderr, "", 0)}
	tests := flag.String("tests", "", "the `packages` whose tests run, separated by commas; default: the mutated ones")
	only := flag.String("run", "", "only mutants whose file:line matches this `regexp`")
	skip := flag.String("skip", "", "no mutants whose file:line matches this `regexp`")
	list := flag.Bool("list", false, "list the mutants and run nothing")
	again := flag.String("again", "", "only mutants that an earlier run has not killed, which wrote this `file` with -json")
	asJSON := flag.String("json", "", "write all mutants and what became of them to this `file`")
	asMarkdown := flag.String("md", "", "write those that survived or were not reached to this `file`, as tables")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many tests run at a time")
	flag.IntVar(&o.checks, "checks", 200, "how many histories each test of rapid's draws, from a fixed seed")
	flag.DurationVar(&o.longest, "longest", 0, "leave out tests that take longer than this")
	flag.DurationVar(&o.slack, "slack", 10*time.Second, "a test that runs for this much more than ten times its usual time has failed")
	flag.Parse()
	if o.packages = flag.Args(); len(o.packages) == 0 {
		return errors.New("name the packages to be mutated")
	}
	if *tests != "" {
		o.tests = strings.Split(*tests, ",")
	}
	for _, f := range []struct {
		text string
		to   **regexp.Regexp
	}{{*only, &o.only}, {*skip, &o.skip}} {
		if f.text == "" {
			continue
		}
		if *f.to, err = regexp.Compile(f.text); err != nil {
			return err
		}
	}
	if *again != "" {
		if o.again, err = alive(*again); err != nil {
			return err
		}
	}
	return run(o, *list, *asJSON, *asMarkdown)
}

func run(o options, list bool, asJSON, asMarkdown string) error {
	start := time.Now()
	s, err := prepare(o)
	if err != nil {
		return err
	}
	defer s.clean()
	if !list {
		if err := s.judge(); err != nil {
			return err
		}
	}
	for _, m := range s.mutants {
		if list || m.Status == survived {
			fmt.Printf("%s:%d: %s: %s\n\t- %s\n\t+ %s\n", m.File, m.Line, m.Func, m.Kind, m.Before, m.After)
		}
	}
	fmt.Printf("\n%s, in %v\n", summary(s.mutants), time.Since(start).Round(time.Second))
	if asJSON != "" {
		text, err := json.MarshalIndent(s.mutants, "", "\t")
		if err == nil {
			err = os.WriteFile(asJSON, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if asMarkdown != "" {
		return os.WriteFile(asMarkdown, []byte(markdown(s.mutants)), 0o644)
	}
	return nil
}

// alive reads which mutants an earlier run has not killed.
func alive(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var mutants []*mutant
	if err := json.Unmarshal(text, &mutants); err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, m := range mutants {
		if m.Status != killed && m.Status != timedOut {
			keys[m.key()] = true
		}
	}
	return keys, nil
}

// key tells a mutant from others, even after its lines have moved.
func (m *mutant) key() string {
	return strings.Join([]string{m.File, m.Func, m.Kind, m.Before, m.After}, "\n")
}

// count counts the mutants with a status, or of any if it is empty.
func count(mutants []*mutant, st status, kind string) (n int) {
	for _, m := range mutants {
		if (st == "" || m.Status == st) && (kind == "" || m.Kind == kind) {
			n++
		}
	}
	return n
}

func summary(mutants []*mutant) string {
	said := 0
	parts := []string{fmt.Sprintf("%d mutants", len(mutants))}
	for _, st := range []status{killed, timedOut, notCovered, survived} {
		n := count(mutants, st, "")
		parts = append(parts, fmt.Sprintf("%d %s", n, st))
		said += n
	}
	if said < len(mutants) {
		parts = append(parts, fmt.Sprintf("%d not run", len(mutants)-said))
	}
	return strings.Join(parts, ", ")
}

// markdown gives the numbers by kind, and a table of what the tests have missed.
func markdown(mutants []*mutant) string {
	var b strings.Builder
	b.WriteString("| kind | mutants | killed | timed out | not covered | survived |\n|---|---:|---:|---:|---:|---:|\n")
	var kinds []string
	for _, m := range mutants {
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
		}
	}
	slices.Sort(kinds)
	for _, k := range append(kinds, "") {
		name := k
		if k == "" {
			name = "**all**"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", name, count(mutants, "", k),
			count(mutants, killed, k), count(mutants, timedOut, k), count(mutants, notCovered, k), count(mutants, survived, k))
	}
	for _, st := range []status{survived, notCovered} {
		fmt.Fprintf(&b, "\n%s:\n\n| place | kind | before | after |\n|---|---|---|---|\n", st)
		for _, m := range mutants {
			if m.Status == st {
				cell := func(s string) string { return "`" + strings.ReplaceAll(s, "|", "\\|") + "`" }
				fmt.Fprintf(&b, "| %s:%d %s | %s | %s | %s |\n", m.File, m.Line, m.Func, m.Kind, cell(m.Before), cell(m.After))
			}
		}
	}
	return b.String()
}
