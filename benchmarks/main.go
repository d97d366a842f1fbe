package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// options are those of the command.
type options struct {
	processes int
	each      time.Duration
	turns     int
	counts    int
	cases     []string
	out       string
	docs      []string
}

func main() {
	is, err := child(os.Args[1:])
	if !is {
		err = run(parse())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.IntVar(&o.processes, "processes", 15, "in how many processes everything is measured, one after the other")
	flag.DurationVar(&o.each, "each", 120*time.Millisecond, "how long each pool is measured in each case by one process, approximately")
	flag.IntVar(&o.turns, "turns", 3, "in how many turns that is")
	flag.IntVar(&o.counts, "counts", 3, "how often instructions are counted; 0: not at all")
	only := flag.String("cases", "", "the cases, separated by commas, of which the results are printed and not kept; empty: all")
	flag.StringVar(&o.out, "out", "../docs/benchmarks", "the folder for the results; empty: none")
	docs := flag.String("docs", "../README.md,../docs", "files and folders in which numbers are replaced, separated by commas")
	redo := flag.Bool("write", false, "measure nothing, write everything again from the results")
	flag.Parse()
	o.cases, o.docs = split(*only), split(*docs)
	if *redo {
		o.processes = 0
	}
	if o.cases != nil {
		o.out = "" // some cases are no results to keep
	}
	return o
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func run(o options) error {
	if o.processes == 0 {
		r, err := readResults(o.out)
		if err != nil {
			return err
		}
		return writeAll(r, o)
	}
	if o.turns < 1 {
		return fmt.Errorf("turns: %d, must be at least 1", o.turns)
	}
	if _, err := casesNamed(o.cases); err != nil {
		return err
	}
	say := func(s string) { fmt.Fprintln(os.Stderr, s) }
	r := newResults()
	r.Processes, r.Turns, r.Each = o.processes, o.turns, o.each.String()
	var err error
	r.Samples, err = measureInProcesses(o.processes, assignment{
		Turns: o.turns, Turn: o.each / time.Duration(o.turns), Cases: o.cases,
	}, say)
	if err != nil {
		return err
	}
	if r.Counts, err = countAll(o.counts, say); errors.Is(err, errNoValgrind) {
		say("instructions are not counted: " + err.Error())
		r.NotCounted = err.Error()
	} else if err != nil {
		return err
	}
	r.LoadAfter = load()
	fmt.Print(r.table())
	if o.out == "" {
		return nil
	}
	return writeAll(r, o)
}
