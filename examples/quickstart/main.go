// Command quickstart shows a connection pool under load and during an outage: 64 workers
// share 8 connections to a Redis server; the server is stopped and started again; the
// capacity is changed; and at the end the pool is closed, and the program checks that
// nothing is left.
//
//	go run ./quickstart
//	go run ./quickstart -addr localhost:6379   # a real server, which is not stopped
//	go run ./quickstart -http localhost:8080   # with the live page, to look at meanwhile
//
// Where to read: pool.go configures the pool; worker.go uses it; resp.go is the client whose
// connections are pooled; live.go serves the live page. The other files are the demonstration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	opts, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(2)
	}

	// The first Ctrl-C closes the pool. After it, signals have their usual effect again, so
	// that a second one ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	opts.colour = isTerminal(os.Stdout)
	if _, err := run(ctx, opts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// options are the values of the flags.
type options struct {
	addr     string
	duration time.Duration
	workers  int
	capacity int
	outage   time.Duration
	http     string
	colour   bool
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.addr, "addr", "", "`host:port` of a real Redis server; empty: an embedded one, which is stopped for a while")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long the demo runs")
	flags.IntVar(&o.workers, "workers", 64, "how many goroutines share the pool")
	flags.IntVar(&o.capacity, "capacity", 8, "how many connections the pool starts with")
	flags.DurationVar(&o.outage, "outage", 3*time.Second, "how long the embedded server is stopped; 0: not at all")
	flags.StringVar(&o.http, "http", "", "`host:port` on which to serve the live page; empty: nowhere")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.addr != "" {
		o.outage = 0 // a server that is not ours is not stopped
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.workers < 1:
		return o, errors.New("-workers must be at least 1")
	case o.capacity < 1:
		return o, errors.New("-capacity must be at least 1")
	case o.outage < 0:
		return o, errors.New("-outage must not be negative")
	case o.duration < o.outage+2*time.Second:
		return o, errors.New("-duration must be at least 2s longer than -outage")
	}
	return o, nil
}

// isTerminal says whether to print in colour.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
