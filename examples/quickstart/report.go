package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// result is the result of a run.
type result struct {
	duration    time.Duration
	stats       client.Stats // after Close
	waits       *histogram
	errors      [kinds]int64
	example     error // one of the errors that must not happen
	outage      outage
	recovery    time.Duration // from the start of the server until the pool was ready
	opened      int64
	closed      int64
	afterOutage int64 // operations that succeeded after the outage
	checks      []check
}

// check is a property of the pool, and whether it held.
type check struct {
	ok   bool
	text string
}

func (r *result) check(ok bool, format string, args ...any) {
	r.checks = append(r.checks, check{ok, fmt.Sprintf(format, args...)})
}

// err returns an error for the checks that failed.
func (r *result) err() error {
	var failed []error
	for _, c := range r.checks {
		if !c.ok {
			failed = append(failed, errors.New("check failed: "+c.text))
		}
	}
	return errors.Join(failed...)
}

// result computes the result when the pool is closed and the workers have ended.
func (d *demo) result(closed error, waits *histogram) *result {
	r := &result{
		duration: time.Since(d.start),
		stats:    d.pool.Stats(),
		waits:    waits,
		outage:   d.outage,
		opened:   d.conns.opened.Load(),
		closed:   d.conns.closed.Load(),
	}
	for k := range r.errors {
		r.errors[k] = d.tally.counts[k].Load()
	}
	if e := d.tally.example.Load(); e != nil {
		r.example = *e
	}
	if !d.outage.until.IsZero() {
		r.afterOutage = d.tally.done.Load() - d.outage.done
		if e := d.watch.ready.Load(); e != nil && e.Time.After(d.outage.until) {
			r.recovery = e.Time.Sub(d.outage.until)
		}
	}

	s := r.stats
	r.check(closed == nil && s.State == messages.StateClosed, "the pool is closed: %v", orNone(closed))
	r.check(r.opened == r.closed, "connections: %d opened, %d closed", r.opened, r.closed)
	r.check(s.Open+s.Connecting+s.Closing == 0, "the pool has no connection left")
	if d.up {
		n := settle(d.server.CurrentConnectionCount)
		r.check(n == 0, "the server has %d connections", n)
	}
	n := settle(poolGoroutines)
	r.check(n == 0, "goroutines of the pool: %d", n)
	r.check(s.Grants == s.Puts+s.Taints, "leases: %s granted, %s returned", count(s.Grants), count(s.Puts+s.Taints))
	// Each connection that failed in use caused one error and was closed. An error that the
	// server replied left its connection in the pool.
	lost := r.errors[connectionLost] + r.errors[noReply] + r.errors[wrongReply]
	tainted := int64(s.Taints)
	r.check(lost <= tainted && tainted <= lost+r.errors[interrupted]+r.errors[unexpected],
		"connections that failed in use: %d, closed for it: %d", lost, tainted)
	most, bound := int(d.conns.most.Load()), d.opts.more()
	r.check(most <= bound, "at most %d connections at the same time, of %d allowed", most, bound)
	r.check(d.excesses == 0, "at every progress line, the capacity held and the numbers added up")
	wrong := r.errors[wrongReply] + r.errors[unexpected]
	r.check(wrong == 0, "no worker got a wrong reply or an unexpected error: %v", orNone(r.example))
	if !d.outage.until.IsZero() {
		connects, periods := r.outageConnects()
		r.check(connects <= periods+maxConnecting, "few connects during the outage: %d in %d backoff periods", connects, periods)
		r.check(d.interrupt || r.afterOutage > 0, "after the outage: %s operations", count(uint64(r.afterOutage)))
	}
	return r
}

// outageConnects returns the number of connects that began during the outage, and of backoff
// periods. After each period there is one connect; before the first one there can be
// several.
func (r *result) outageConnects() (connects, periods uint64) {
	o := r.outage
	return o.after.Connects - o.before.Connects, o.after.Backoffs - o.before.Backoffs
}

// settle waits up to a second for a count to become 0: the server sees the end of a
// connection a little later, and a goroutine exists until it has returned.
func settle(n func() int) int {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline) && n() > 0; {
		time.Sleep(5 * time.Millisecond)
	}
	return n()
}

// poolGoroutines counts the goroutines that run code of the pool or of the actor
// library below it.
func poolGoroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "/actorpool/actors.") || strings.Contains(stack, "/protoactor-go/") {
			n++
		}
	}
	return n
}

// print prints the table.
func (r *result) print(s *screen) {
	st := r.stats
	s.title("result")
	s.row("gets", "%s, %s a second", count(st.Gets), count(uint64(float64(st.Gets)/r.duration.Seconds())))
	s.row("wait for a connection", "p50 %v   p99 %v   max %v",
		round(r.waits.percentile(0.50)), round(r.waits.percentile(0.99)), round(r.waits.max))
	s.row("connects", "%d, of which %d failed", st.Connects, st.ConnectErrors)
	if !r.outage.until.IsZero() {
		connects, periods := r.outageConnects()
		s.row("  during the outage", "%d, in %d backoff periods; while backing off, at most %d at a time",
			connects, periods, r.outage.mostProbes)
		if r.recovery > 0 {
			s.row("  ready again", "%v after the server", round(r.recovery))
		}
	}
	if r.errors == ([kinds]int64{}) {
		s.row("errors", "none")
	} else {
		s.row("errors", "")
	}
	for k, n := range r.errors {
		if n == 0 {
			continue
		}
		note := ""
		if kind(k) == refused {
			note = "  (errors of the application; the connection stays in the pool)"
		}
		if kind(k) == failedFast {
			note = "  (their deadline was before the next attempt)"
		}
		s.row("  "+kindNames[k], "%s%s", count(uint64(n)), note)
	}
	s.title("checks")
	for _, c := range r.checks {
		s.check(c)
	}
}

// screen prints the output, with or without colours.
type screen struct {
	out                     io.Writer
	bold, green, red, reset string
}

func newScreen(out io.Writer, colour bool) *screen {
	if !colour {
		return &screen{out: out}
	}
	return &screen{out: out, bold: "\x1b[1m", green: "\x1b[32m", red: "\x1b[31m", reset: "\x1b[0m"}
}

func (s *screen) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }

func (s *screen) head(o options, addr string) {
	s.printf("%d workers share %d connections to %s for %v\n\n", o.workers, o.capacity, addr, o.duration)
	s.printf("%s%7s %6s %6s %9s %8s %8s %7s  %s%s\n",
		s.bold, "time", "open", "idle", "borrowed", "waiting", "gets/s", "errors", "state", s.reset)
}

func (s *screen) line(at time.Duration, st client.Stats, rate float64, errors int64, state string) {
	s.printf("%6.1fs %6d %6d %9d %8d %8.0f %7d  %s\n",
		at.Seconds(), st.Open, st.Idle, st.Borrowed, st.Waiting, rate, errors, state)
}

func (s *screen) phase(at time.Duration, text string) {
	s.printf("%s%6.1fs -- %s%s\n", s.bold, at.Seconds(), text, s.reset)
}

func (s *screen) title(text string) { s.printf("\n%s%s%s\n", s.bold, text, s.reset) }

func (s *screen) row(name, format string, args ...any) {
	text := fmt.Sprintf("  %-26s %s", name, fmt.Sprintf(format, args...))
	s.printf("%s\n", strings.TrimRight(text, " "))
}

func (s *screen) check(c check) {
	if c.ok {
		s.printf("  %sok%s    %s\n", s.green, s.reset, c.text)
		return
	}
	s.printf("  %sFAIL%s  %s\n", s.red, s.reset, c.text)
}

// count writes a number in groups of three digits.
func count(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// round rounds a duration to three digits.
func round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func orNone(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
