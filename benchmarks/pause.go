package main

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"go/format"
	"regexp"
	"strings"
	"text/template"
	"time"
)

// pause is what a goroutine does between two uses of its pool.
type pause struct {
	name, what string
	make       func() func()
}

var pauses = []pause{
	{"pause-none", "no pause: the same measurement in a tight loop", func() func() { return func() {} }},
	{"pause-20us-memory", "20 µs that write to 1 MB before each Get", writes(20*time.Microsecond, 1<<20)},
	{"pause-1ms-memory", "1 ms that writes to 16 MB before each Get", writes(time.Millisecond, 16<<20)},
	{"pause-20us-sleep", "a sleep of 20 µs before each Get", sleeps(20 * time.Microsecond)},
	{"pause-1ms-sleep", "a sleep of 1 ms before each Get", sleeps(time.Millisecond)},
	{"pause-code", "other code before each Get: a formatter, a template, regular expressions, JSON, compression", func() func() { return runOtherCode }},
}

func sleeps(d time.Duration) func() func() {
	return func() func() { return func() { time.Sleep(d) } }
}

// writes makes a function that writes to a buffer for some time, one byte of each cache line.
func writes(d time.Duration, size int) func() func() {
	const line = 64
	return func() func() {
		buffer := make([]byte, size)
		next := 0
		return func() {
			for began := time.Now(); time.Since(began) < d; {
				for range 128 {
					buffer[next]++
					if next += line; next >= len(buffer) {
						next = 0
					}
				}
			}
		}
	}
}

var (
	otherText     = strings.Repeat("func f ( a,b int ) (int,error) { if a>b { return a-b , nil } ; return b , nil }\n", 2)
	otherTemplate = template.Must(template.New("").Parse(`{{range .Names}}{{printf "%s-%d" . 1 | printf "%q"}}, {{end}}`))
	otherData     = struct {
		Names  []string
		Number float64
	}{[]string{"one", "two", "three"}, 1.5}
)

// runOtherCode runs much code on little data: more than a nearest cache of instructions holds.
func runOtherCode() {
	var b bytes.Buffer
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	source, err := format.Source([]byte("package p\n" + otherText))
	must(err)
	must(otherTemplate.Execute(&b, otherData))
	must(json.NewEncoder(&b).Encode(otherData))
	b.Write(regexp.MustCompile(`r[a-z]+n\s+(a|b)`).ReplaceAll(source, []byte("$1")))
	w, err := flate.NewWriter(&bytes.Buffer{}, flate.HuffmanOnly)
	must(err)
	_, err = w.Write(b.Bytes())
	must(err)
	must(w.Close())
}

// paused measures each cycle by itself, after a pause. The time of one contains one reading of
// the clock.
func paused(between func() func()) func(pool, effort, func()) (outcome, error) {
	return func(p pool, e effort, start func()) (outcome, error) {
		f := between()
		times := make([]time.Duration, 0, e.n)
		ctx := context.Background()
		start()
		for range e.n {
			f()
			began := time.Now()
			err := p.cycle(ctx, nil)
			times = append(times, time.Since(began))
			if err != nil {
				return outcome{}, err
			}
		}
		return outcome{n: e.n, times: times}, nil
	}
}
