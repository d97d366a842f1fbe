//go:build unix

// Command forecast tries forecasts against reality: it records a pool of 8 connections to a PostgreSQL
// server, makes a forecast for 4 and 16, then runs pools of 4 and 16 and measures. It prints
// a table as Markdown, for docs/forecast.md.
//
//	go -C integration run ./forecast -trials 10
//	go -C integration run ./forecast -record orders.jsonl.gz   # only records: for docs/sizing.md
package main

import (
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/forecast"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/messages"
)

func main() {
	trials := flag.Int("trials", 10, "how many trials of each workload")
	gets := flag.Int("gets", 2500, "how many Gets each run has, about; there are three runs in a trial")
	capacities := flag.String("capacities", "4,16", "the capacities to forecast and to try")
	only := flag.String("only", "", "only the workload of this name")
	record := flag.String("record", "", "only record the service of docs/sizing.md, into this file, packed")
	at := flag.Int("at", recordedAt, "the capacity of the service that -record records")
	flag.Parse()
	var err error
	if *record != "" {
		err = recordService(*record, *at)
	} else {
		var tried []int
		for text := range strings.SplitSeq(*capacities, ",") {
			c, wrong := strconv.Atoi(text)
			tried, err = append(tried, c), errors.Join(err, wrong)
		}
		if err == nil {
			err = try(os.Stdout, *trials, *gets, tried, *only)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const recordedAt = 8

// row is one forecast with what came.
type row struct {
	band     forecast.Band
	recorded measured
	came     measured
	machine  string // its load average
}

// inBand says whether the mean wait was in the band of the mean.
func (r *row) inBand() bool { return r.came.mean >= r.band.MeanFrom && r.came.mean <= r.band.MeanTo }

// try makes the trials of all workloads.
func try(out io.Writer, trials, gets int, capacities []int, only string) (err error) {
	ctx := context.Background()
	server, err := servers.StartPostgres("max_connections = 60")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	dsn := server.DSN("postgres", "")
	for i := range workloads {
		w := &workloads[i]
		if only != "" && w.name != only {
			continue
		}
		calm, err := w.calm(ctx, dsn)
		if err != nil {
			return err
		}
		var rows []row
		for n := range trials {
			target := w.loads[0]
			if trials > 1 {
				target += (w.loads[1] - w.loads[0]) * float64(n) / float64(trials-1)
			}
			l := newLoad(w, target, calm, gets)
			made, err := l.try(ctx, dsn, uint64(n), capacities)
			if err != nil {
				return err
			}
			rows = append(rows, made...)
			fmt.Fprintf(os.Stderr, "%s: trial %d of %d: %s forecast, %s measured\n", w.name, n+1, trials, ms(made[0].band.Middle.Mean), ms(made[0].came.mean))
		}
		if _, err := fmt.Fprintf(out, "%s\n\n%s\n", w.name, table(rows, capacities)); err != nil {
			return err
		}
	}
	return nil
}

// newLoad is a load of so much of 4 connections, if each job takes as long as it does alone.
func newLoad(w *workload, of4 float64, calm time.Duration, gets int) *load {
	rate := of4 * 4 / calm.Seconds()
	return &load{workload: w, rate: rate, hold: calm, length: time.Duration(float64(gets) / rate * float64(time.Second))}
}

// try is one trial: a recording, its forecasts, and what comes. The Gets of each run are drawn anew.
func (l *load) try(ctx context.Context, dsn string, n uint64, capacities []int) ([]row, error) {
	r, err := l.record(ctx, dsn, recordedAt, n)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, b := range forecast.Predict(r, forecast.WhatIf{Capacities: capacities}) {
		if b.Err != nil {
			return nil, b.Err
		}
		came, err := l.record(ctx, dsn, b.Capacity, n)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{band: b, recorded: measure(r), came: measure(came), machine: loadAverage()})
	}
	return rows, nil
}

// table writes the rows as Markdown, ordered by capacity, and a count.
func table(rows []row, capacities []int) string {
	var s strings.Builder
	s.WriteString("| capacity | load | mean: forecast (band) | measured | in the band | 99 %: forecast (band) | measured | holds: recorded | measured | said to depend on load | load average |\n")
	s.WriteString("|---:|---:|---:|---:|---|---:|---:|---:|---:|---|---:|\n")
	for _, capacity := range capacities {
		promised, kept := 0, 0
		for _, r := range rows {
			b := &r.band
			if b.Capacity != capacity {
				continue
			}
			verdict, said := "no", "no"
			if slices.ContainsFunc(b.Notes, func(n string) bool { return strings.HasPrefix(n, "Holds depend on the load") }) {
				said = "yes"
			}
			if r.inBand() {
				verdict = "yes"
			}
			if b.Promised {
				promised++
				if r.inBand() {
					kept++
				}
			} else {
				verdict += ", not promised"
			}
			fmt.Fprintf(&s, "| %d | %.0f %% | %s (%s to %s) | %s | %s | %s (%s to %s) | %s | %s | %s | %s | %s |\n", capacity, b.Middle.Load*100,
				ms(b.Middle.Mean), ms(b.MeanFrom), ms(b.MeanTo), ms(r.came.mean), verdict,
				ms(b.Middle.P99), ms(b.Low.P99), ms(b.High.P99), ms(r.came.p99), ms(r.recorded.hold), ms(r.came.hold), said, r.machine)
		}
		fmt.Fprintf(&s, "<!-- capacity %d: %d of %d in the band of the mean -->\n", capacity, kept, promised)
	}
	return s.String()
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

// loadAverage is how many processes wanted a processor in the last minute, where the system says so.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	average, _, _ := strings.Cut(string(text), " ")
	return average
}

func write(file string, r *messages.Recording) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(f)
	_, err = r.WriteTo(packed)
	return errors.Join(err, packed.Close(), f.Close())
}
