package forecast

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// say says the forecast in a few sentences.
func (b *Band) say(part time.Duration) string {
	m := &b.Middle
	var s strings.Builder
	switch {
	case !m.KeepsUp && m.Load < 1:
		fmt.Fprintf(&s, "Does not keep up: at %s load, sessions take longer for the same work.", percent(m.Load))
	case !m.KeepsUp:
		fmt.Fprintf(&s, "Does not keep up: the load is %s.", percent(m.Load))
	case b.Busiest > NumbersUpTo && m.Load <= NumbersUpTo:
		fmt.Fprintf(&s, "Keeps up at %s load, but in the busiest %s the load is %s.", percent(m.Load), short(part), percent(b.Busiest))
	case !b.High.KeepsUp:
		fmt.Fprintf(&s, "Keeps up at %s load, but not if holds get 10 %% longer.", percent(m.Load))
	default:
		fmt.Fprintf(&s, "Keeps up at %s load.", percent(m.Load))
	}
	switch {
	case m.Load > NumbersUpTo:
	case b.High.Waited == 0:
		s.WriteString(" No Get waits.")
	default:
		fmt.Fprintf(&s, " %s of the Gets wait. The mean wait is %s", percent(m.Waited), short(m.Mean))
		if b.Promised {
			fmt.Fprintf(&s, " and should lie between %s and %s.", short(b.MeanFrom), short(b.MeanTo))
		} else {
			fmt.Fprintf(&s, ", or %s to %s with holds 10 %% shorter or longer.", short(b.MeanFrom), short(b.MeanTo))
		}
		from, to := b.around(p99)
		fmt.Fprintf(&s, " One Get in a hundred waits longer than %s (%s to %s).", short(m.P99), short(from), short(to))
	}
	if least, most := b.timeouts(); most > 0 {
		fmt.Fprintf(&s, " %s of %s Gets end without a connection (%s to %s).", count(m.Timeouts), count(m.Gets), count(least), count(most))
	}
	return s.String()
}

// timeouts are the least and the most of the three runs.
func (b *Band) timeouts() (least, most int) {
	return min(b.Low.Timeouts, b.Middle.Timeouts, b.High.Timeouts), max(b.Low.Timeouts, b.Middle.Timeouts, b.High.Timeouts)
}

// notesOn are those on one capacity.
func (t *traffic) notesOn(b *Band, r *messages.Recording) []string {
	var notes []string
	m := &b.Middle
	switch {
	case m.Load > NumbersUpTo:
		notes = append(notes, "Above 90 % load a forecast only says whether the pool keeps up: there, holds that are a little longer "+
			"make waits many times as long.")
	case m.Load > MeanUpTo:
		notes = append(notes, "Above 65 % load, the mean within a factor of two does not hold any more. The band only shows holds that are "+
			"10 % shorter or longer.")
	case t.server.depends:
		notes = append(notes, "As holds depend on the load, the mean within a factor of two does not hold. The band only shows holds that are 10 % "+
			"shorter or longer.")
	case !b.Promised:
		notes = append(notes, "The load is uneven: the mean within a factor of two does not hold, because in the busiest part of the recording the "+
			"load is above 90 %, and how long the queue gets there depends on little. The band only shows holds that are 10 % shorter or longer.")
	}
	if waited := int(m.Waited*float64(m.Gets) + 0.5); waited > 0 && waited < 100 && m.Load <= NumbersUpTo {
		notes = append(notes, fmt.Sprintf("Only %s of %s Gets wait: another recording may give a mean that is several times this one.",
			count(waited), count(m.Gets)))
	}
	switch {
	case r.Capacity < 1:
	case b.Capacity < r.Capacity && t.server.depends:
		notes = append(notes, "This pool is smaller than the recorded one, and holds got longer the more connections were in use: it "+
			"looks worse here than it is, because its holds would be shorter.")
	case b.Capacity < r.Capacity:
		notes = append(notes, "This pool is smaller than the recorded one. If the server is the bottleneck, it looks worse here than it "+
			"is, because its holds would be shorter.")
	case b.Capacity > r.Capacity && t.server.depends:
		notes = append(notes, "This pool is larger than the recorded one, and holds got longer the more connections were in use: it "+
			"looks better here than it is where it uses more of them at once.")
	case b.Capacity > r.Capacity:
		notes = append(notes, "This pool is larger than the recorded one. What the server does with more connections at once is not in "+
			"the recording.")
	}
	if _, most := b.timeouts(); most > 0 {
		notes = append(notes, "The number of Gets that end without a connection holds within about 10 %, if holds stay as long as they were.")
	}
	return notes
}

// notes are those on all capacities.
func (t *traffic) notes(r *messages.Recording, w WhatIf) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	many := func(n int, format string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf(format, some(n)))
		}
	}
	left := &t.left
	add("The recording covers %s. It says nothing of other times, when more Gets may come, or other ones.", short(t.length))
	if r.Truncated {
		add("The recording ended early because it was full: it covers less time than it was meant to.")
	}
	if 5*left.waited > len(t.asks) {
		add("%s waited in the recording. Where a pool is so busy, the server may be, too, and holds then are longer than in a "+
			"calmer pool: all capacities may look worse than they are. Record a calmer time as well, and compare the holds.", some(left.waited))
	}
	switch d := &t.server; {
	case d.depends:
		add("Holds depend on the load: %s on average when at most %d connections were in use, %s when there were more. The server "+
			"or the program is probably the bottleneck, and a forecast takes holds as they were.", short(d.low), d.few, short(d.high))
	case d.comparable:
		add("Holds hardly depended on the load in the recording (%s on average when at most %d connections were in use, %s when "+
			"there were more). Whether they would with another capacity is not known.", short(d.low), d.few, short(d.high))
	default:
		add("Whether holds depend on the load cannot be seen in the recording: nearly always as many connections were in use.")
	}
	switch {
	case left.sessions > 0 && w.Open:
		add("%s asked again and again. As you want it, their Gets come when they came, however long they wait.", goroutines(left.sessions))
	case left.sessions > 0:
		add("%s asked again and again: their next Get comes as long after their last return as in the recording. If they take their "+
			"work from a queue that fills meanwhile, set Open.", goroutines(left.sessions))
	}
	many(left.nested, "%s came while the same goroutine held a connection. They come as long after that grant as recorded; that a small pool "+
		"may then be in a deadlock is not foreseen.")
	many(left.drawn, "%s got no connection, so nobody knows for how long they would have held it: each is given a recorded hold, "+
		"drawn at random.")
	many(left.out, "%s still held their connection at the end: each is given a recorded hold, drawn at random, or what it had "+
		"held already if that is longer.")
	many(left.left, "%s ended because their callers left. They leave after as long here; others, of whom nobody knows when they "+
		"would have left, wait without end.")
	many(left.outage, "%s failed because a connect failed. Here every connect succeeds.")
	many(left.unserved, "%s ended by MaxWaiters, Shed, a deadlock, Clear or Close. Here they wait like others.")
	many(left.settings, "%s asked for a setting. Here no time passes for changes of settings.")
	many(left.dead, "%s came when their context had ended or their deadline was too near: they are left out.")
	many(left.impossible, "%s cannot have been, with negative times or an end after that of the recording: they are left out.")
	many(left.unsorted, "%s stand in the recording after one that came later: the clock may have been set. They are sorted.")
	if left.noLength {
		add("The recording does not say how long it is: it is taken to end with its last grant.")
	}
	if left.noConnects && w.MinIdle != 0 {
		add("The recording has no connects, so they take no time here. Give their time as Connect.")
	}
	return notes
}

// some says how many Gets there are, as the subject of a sentence.
func some(n int) string {
	if n == 1 {
		return "1 of the Gets"
	}
	return count(n) + " of the Gets"
}

func goroutines(n int) string {
	if n == 1 {
		return "1 goroutine"
	}
	return count(n) + " goroutines"
}

// short writes a duration with two or three digits and its unit: "0", "84 µs", "1.25 ms", "12 s".
func short(d time.Duration) string {
	unit, name := time.Microsecond, "µs"
	switch {
	case d == 0:
		return "0"
	case d < 0:
		return "-" + short(-d)
	case d >= 999_500*time.Microsecond:
		unit, name = time.Second, "s"
	case d >= 999_500*time.Nanosecond:
		unit, name = time.Millisecond, "ms"
	}
	x := float64(d) / float64(unit)
	digits := 0
	switch {
	case x < 9.995:
		digits = 2
	case x < 99.95:
		digits = 1
	}
	return trim(strconv.FormatFloat(x, 'f', digits, 64)) + " " + name
}

// percent writes a share with two digits at most, but 99.9 % where it is not all.
func percent(x float64) string {
	digits := 0
	if x *= 100; x < 9.95 || x > 99 && x < 100 {
		digits = 1
	}
	if x > 0 && x < 0.05 {
		return "less than 0.1 %"
	}
	return trim(strconv.FormatFloat(x, 'f', digits, 64)) + " %"
}

// trim takes off zeros at the end of a fraction.
func trim(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// count writes a number with commas between thousands: "12,000".
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
