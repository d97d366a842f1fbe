package actors

import "time"

// clock is the only place where the pool reads the time. The machine's time is
// the time since the clock started.
type clock struct{ start time.Time }

func startClock() clock { return clock{start: time.Now()} }

func (c clock) now() time.Duration { return time.Since(c.start) }

// wall gives the wall time.
func (c clock) wall() time.Time { return c.start.Add(c.now()) }

// at gives a wall time as the machine's; never 0, which means no time.
func (c clock) at(t time.Time) time.Duration {
	if d := t.Sub(c.start); d != 0 {
		return d
	}
	return 1
}

// after calls f once d has passed, on a goroutine of its own.
func after(d time.Duration, f func()) *time.Timer { return time.AfterFunc(max(d, 0), f) }
