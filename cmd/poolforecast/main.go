// Command poolforecast reads a recording of a pool, which client.Pool.Record makes and
// Recording.WriteTo writes, and says how long Gets would wait with other capacities.
//
//	poolforecast [flags] recording.jsonl
//
// The recording may be packed by gzip; "-" is the standard input. It prints a table with the
// bands of the forecast, and what each of them says and cannot know. With -svg it also draws
// a picture. See docs/forecast.md.
//
// The exit status is 0 if every forecast was made; 1 if the recording could not be read, none could be
// made from it, or the output could not be written; 2 if a flag or an argument is wrong; and 3
// if they were made from a part of the recording, because the rest is damaged.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/actorpool/actorpool/forecast"
	"github.com/actorpool/actorpool/messages"
)

// Exit statuses.
const (
	good = iota
	failed
	wrongUse
	damaged
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// request is what the command line asks for.
type request struct {
	what forecast.WhatIf
	svg  string
	file string
}

func run(args []string, in io.Reader, out, problems io.Writer) int {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(problems, "poolforecast: "+format+"\n", args...) }
	q, err := parse(args, problems)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return good
	case err != nil:
		say("%v", err)
		return wrongUse
	}
	recording, status := read(q.file, in, say)
	if status != good && status != damaged {
		return status
	}
	bands := forecast.Predict(recording, q.what)
	var config *messages.ConfigError
	for _, b := range bands {
		if b.Err == nil {
			continue
		}
		if len(q.what.Capacities) == 0 { // which are asked for is not known yet
			say("%v", b.Err)
		} else {
			say("capacity %d: %v", b.Capacity, b.Err)
		}
		if errors.As(b.Err, &config) {
			return wrongUse
		}
		return failed
	}
	if err := forecast.WriteText(out, recording, bands); err != nil {
		say("%v", err)
		return failed
	}
	if q.svg != "" {
		if err := draw(q.svg, recording, bands); err != nil {
			say("%v", err)
			return failed
		}
	}
	return status
}

func parse(args []string, problems io.Writer) (request, error) {
	var q request
	flags := flag.NewFlagSet("poolforecast", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run says what is wrong
	capacities := flags.String("capacities", "", "the `capacities` to make a forecast for, as 4,8,16 (default: around the recorded one)")
	flags.StringVar(&q.svg, "svg", "", "draw the forecast into this `file`")
	flags.IntVar(&q.what.MinIdle, "min-idle", 0, "how many connections are open before the first Get; 0: all of the capacity, negative: none")
	flags.DurationVar(&q.what.GetTimeout, "get-timeout", 0, "how long Gets without a deadline of their own wait at most; 0: as recorded, negative: without end")
	flags.DurationVar(&q.what.Connect, "connect", 0, "how long a connect takes; 0: as recorded, negative: no time")
	flags.BoolVar(&q.what.Open, "open", false, "let all Gets come when they came in the recording, also those of goroutines that ask again and again")
	flags.Uint64Var(&q.what.Seed, "seed", 0, "of the random numbers that replace what the recording does not know")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(problems, "Usage: poolforecast [flags] recording.jsonl\n\nThe recording may be packed by gzip; - is the standard input. Flags:")
		flags.SetOutput(problems)
		flags.PrintDefaults()
	}
	if err != nil {
		return q, err
	}
	if flags.NArg() != 1 {
		return q, fmt.Errorf("%d arguments, and there must be one: the file with the recording, or - (-help explains)", flags.NArg())
	}
	q.file = flags.Arg(0)
	if *capacities != "" {
		for text := range strings.SplitSeq(*capacities, ",") {
			c, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return q, fmt.Errorf("-capacities %s: %q is not a number", *capacities, text)
			}
			q.what.Capacities = append(q.what.Capacities, c)
		}
	}
	return q, nil
}

// read reads the recording, or as much of it as is good.
func read(file string, in io.Reader, say func(string, ...any)) (*messages.Recording, int) {
	name := "the standard input"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			say("%v", err)
			return nil, failed
		}
		defer func() { _ = f.Close() }() // it was only read
		in, name = f, file
	}
	recording, err := messages.ReadRecording(in)
	switch {
	case err == nil:
		return recording, good
	case recording == nil:
		say("%s: %v", name, err)
		return nil, failed
	}
	say("%s: %v", name, err)
	say("the rest is used: %d Gets", len(recording.Gets))
	var fault *messages.RecordingError
	if errors.As(err, &fault) && fault.LeftOut > 0 {
		say("without what is left out, the load is lower than it was")
	}
	return recording, damaged
}

func draw(file string, r *messages.Recording, bands []forecast.Band) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(forecast.WriteSVG(f, r, bands), f.Close())
}
