package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 7, "how many times each pool is measured in each case")
	each := flag.Duration("each", 100*time.Millisecond, "how long one measurement takes, approximately")
	out := flag.String("out", "../docs/benchmarks", "the folder for the results")
	flag.Parse()
	if err := run(*rounds, *each, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(rounds int, each time.Duration, out string) error {
	r := newResults()
	r.Rounds, r.Each = rounds, each.String()
	var err error
	if r.Samples, err = measureAll(rounds, each, func(s string) { fmt.Fprintln(os.Stderr, s) }); err != nil {
		return err
	}
	if err := r.write(out); err != nil {
		return err
	}
	fmt.Print(r.table())
	return nil
}
