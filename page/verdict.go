package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// The levels of a verdict.
const (
	fine    = "ok"
	busy    = "busy"
	warning = "warning"
	problem = "problem"
	off     = "off"
)

// verdict is what there is to say about a pool at the moment.
type verdict struct {
	// Level says how bad it is, by one of the constants.
	Level string `json:"level"`
	// Kind is the state in a word, which stays the same while numbers change.
	Kind string `json:"kind"`
	// Sentence is the verdict. It names the cause, and whoever has had a connection for
	// longest if others wait for it.
	Sentence string `json:"sentence"`
	// Notes are further sentences about what is not as it should be.
	Notes []string `json:"notes"`
}

// condition is what a verdict is made of.
type condition struct {
	stats       messages.Stats
	explanation messages.Explanation // redacted; with Stats only if there is no more
	failed      string               // why there is no more; empty: there is, or nobody looks
	since       time.Duration        // how long the pool has been in its state
	exact       bool                 // since is not a lower bound
	lately      counts
	fleet       *fleet // nil: it is in none, or see unknown
	unknown     string // why the fleet's status is not known; empty: it is, or it is in none
}

// judge makes the verdict. It decides by the state first, then by who waits.
func judge(c condition) verdict {
	v := c.noted(c.state())
	v.Sentence = strings.TrimSpace(v.Sentence)
	v.Notes = c.notes(v.Kind)
	if v.Level == fine || v.Level == busy {
		if len(v.Notes) > 0 {
			v.Level = warning
		}
	}
	return v
}

func (c condition) state() verdict {
	s, e := c.stats, c.explanation
	switch s.State {
	case messages.StateClosed:
		return verdict{Level: off, Kind: "closed", Sentence: "Closed: no connection is left."}
	case messages.StateClosing:
		return verdict{Level: warning, Kind: "closing", Sentence: "Closing" + c.forSince() + ": " + c.remaining() + c.longest()}
	}
	if c.failed != "" {
		return verdict{Level: problem, Kind: "silent", Sentence: "The pool does not explain itself: " + c.failed + "."}
	}
	switch s.State {
	case messages.StatePaused:
		return verdict{Level: problem, Kind: "paused", Sentence: "Paused by a Clear" + c.forSince() +
			": every Get fails until somebody calls Resume." + c.out()}
	case messages.StateSuspended:
		v := verdict{Level: warning, Kind: "suspended", Sentence: "Suspended" + c.forSince() + ": nothing is lent until somebody calls Resume."}
		if s.Waiting > 0 {
			v.Level, v.Sentence = problem, v.Sentence+" "+c.waiters()+"."+c.first()
		}
		return v
	case messages.StateBackoff, messages.StateProbing:
		return c.outage()
	}
	switch {
	case s.Capacity == 0 && s.Open+s.Connecting+s.Closing == 0:
		v := verdict{Level: warning, Kind: "capacity 0", Sentence: noCapacity}
		if s.Waiting > 0 {
			v.Level, v.Sentence = problem, v.Sentence+" "+c.waiters()+"."+c.first()
		}
		return v
	case s.Open+s.Connecting+s.Closing > s.Capacity:
		v := verdict{Level: warning, Kind: "draining", Sentence: fmt.Sprintf("Draining: the capacity is %d now, and %s must come back or close first.",
			s.Capacity, more(s.Open+s.Connecting+s.Closing-s.Capacity, "more connection"))}
		if s.Waiting > 0 {
			v.Level, v.Sentence = problem, v.Sentence+" "+c.waiters()+"."+c.first()
		}
		v.Sentence += c.longest()
		return v
	case s.Waiting > 0 && s.Borrowed >= s.Capacity:
		return verdict{Level: problem, Kind: "exhausted", Sentence: fmt.Sprintf("Exhausted: %s and %s.%s%s",
			all(s.Borrowed, "out"), c.waiters(), c.first(), c.longest())}
	case s.Waiting > 0 && e.Attempt > 0:
		return verdict{Level: problem, Kind: "connects fail", Sentence: "Connects fail: " + c.attempts() + ". " +
			c.standing() + ", and " + c.waiters() + "." + c.first() + c.longest()}
	case s.Waiting > 0:
		return c.waiting()
	case c.lately.deadlocks > 0:
		return verdict{Level: problem, Kind: "deadlock", Sentence: fmt.Sprintf("Deadlock: in the last minute %s because the holders of all connections "+
			"waited for another one.%s", ended(c.lately.deadlocks), c.lastError(messages.ErrDeadlock.Error()))}
	case c.lately.sheds > 0:
		return verdict{Level: problem, Kind: "overloaded", Sentence: fmt.Sprintf("Overloaded: in the last minute %s, because the wait would have been too long.%s",
			ended(c.lately.sheds), c.longest())}
	case c.leak() != nil:
		return verdict{Level: warning, Kind: "leak", Sentence: "A lease leaks: " + c.holder(*c.leak()) + " has been out for " + age(*c.leak()) +
			", longer than LeakAfter allows." + c.others() + c.out()}
	case s.GivenUp > 0:
		return verdict{Level: warning, Kind: "given up", Sentence: c.givenUp() + c.out()}
	case e.Attempt > 0:
		return verdict{Level: warning, Kind: "connects fail", Sentence: "Connects fail: " + c.attempts() + ". " +
			c.standing() + ", and nobody waits."}
	case s.Connecting > 0:
		return verdict{Level: fine, Kind: "growing", Sentence: fmt.Sprintf("Growing: %s under way, and nobody waits.%s",
			are(s.Connecting, "connect"), c.out())}
	case s.Borrowed > 0 && s.Borrowed >= s.Capacity:
		return verdict{Level: busy, Kind: "full", Sentence: "Busy: " + all(s.Borrowed, "out") + ". Nobody waits, but the next caller will." + c.longest()}
	case s.Borrowed > 0 && 5*s.Borrowed >= 4*s.Capacity:
		return verdict{Level: busy, Kind: "busy", Sentence: "Busy:" + strings.TrimSuffix(c.out(), ".") + ", and nobody waits."}
	case s.Open == 0:
		return verdict{Level: fine, Kind: "quiet", Sentence: "Ready and quiet: no connection is open. The next Get opens one."}
	case s.Borrowed == 0:
		return verdict{Level: fine, Kind: "quiet", Sentence: fmt.Sprintf("Ready and quiet: no connection is out, %s idle.", are(s.Idle, ""))}
	}
	return verdict{Level: fine, Kind: "ready", Sentence: "Ready:" + strings.TrimSuffix(c.out(), ".") + ", and nobody waits."}
}

const noCapacity = "The capacity is 0: every Get waits until it is raised."

// outage is the verdict while the pool has no connection and connects fail.
func (c condition) outage() verdict {
	s := c.stats
	v := verdict{Level: problem, Kind: "backing off"}
	start := "Backing off"
	if s.State == messages.StateProbing {
		v.Kind, start = "probing", "Probing"
	}
	v.Sentence = start + c.forSince() + ": the server cannot be reached. " + capital(c.attempts()) + "."
	if s.Waiting > 0 {
		v.Sentence += " " + capital(c.waiters()) + "." + c.first()
	} else {
		v.Sentence += " Nobody waits."
	}
	return v
}

// attempts says how many connects have failed, why, and when the next one is due.
func (c condition) attempts() string {
	e := c.explanation
	var b strings.Builder
	switch {
	case e.Attempt == 1:
		b.WriteString("1 connect has failed")
	case e.Attempt > 1:
		fmt.Fprintf(&b, "%d connects in a row have failed", e.Attempt)
	default:
		b.WriteString("connects fail")
	}
	if e.LastConnectError != nil {
		fmt.Fprintf(&b, " (%s)", strings.TrimRight(e.LastConnectError.Error(), ". "))
	}
	switch next := e.NextAttempt.Sub(e.Time); {
	case c.stats.Connecting > 0:
		b.WriteString(", one is tried now")
	case !e.NextAttempt.IsZero() && next > 0:
		b.WriteString(", the next is due in " + span(next))
	default:
		b.WriteString(", the next is due now")
	}
	return b.String()
}

// waiting is the verdict while callers wait and not all connections are out.
func (c condition) waiting() verdict {
	s := c.stats
	v := verdict{Level: busy, Kind: "growing"}
	switch {
	case s.Connecting > 0:
		v.Sentence = fmt.Sprintf("Growing: %s for %s under way.%s", c.waiters(), more(s.Connecting, "connect"), c.slowest("connecting"))
	case s.InTransition > 0:
		v.Kind = "preparing"
		v.Sentence = fmt.Sprintf("Preparing: %s while %s checked, reset or prepared.%s", c.waiters(), are(s.InTransition, "connection"), c.slowest())
	case s.Closing > 0:
		v.Kind = "closing connections"
		v.Sentence = fmt.Sprintf("Waiting for closes: %s while %s closed.%s", c.waiters(), are(s.Closing, "connection"), c.slowest("closing"))
	default:
		v.Kind, v.Sentence = "waiting", capital(c.waiters())+"."
	}
	v.Sentence += c.first()
	if w := c.explanation.Waiters; len(w) > 0 && w[0].Waited >= time.Second {
		v.Level = warning
	}
	return v
}

// remaining says what a pool that closes waits for.
func (c condition) remaining() string {
	s := c.stats
	var parts []string
	if s.Borrowed > 0 {
		parts = append(parts, more(s.Borrowed, "connection")+" must still come back")
	}
	if n := s.Idle + s.InTransition + s.Connecting + s.Closing; n > 0 {
		parts = append(parts, are(n, "connection")+" being closed")
	}
	if len(parts) == 0 {
		return "no connection is left."
	}
	return strings.Join(parts, " and ") + "."
}

// notes are the sentences about what is wrong besides what the verdict of that kind says.
func (c condition) notes(kind string) []string {
	notes := []string{}
	add := func(yes bool, format string, args ...any) {
		if yes {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	if kind == "closed" || kind == "silent" {
		return notes
	}
	add(c.lately.deadlocks > 0 && kind != "deadlock", "Deadlock: in the last minute %s because the holders of all connections waited for another one.",
		ended(c.lately.deadlocks))
	add(c.lately.sheds > 0 && kind != "overloaded", "Overloaded: in the last minute %s, because the wait would have been too long.", ended(c.lately.sheds))
	add(c.lately.timeouts > 0, "In the last minute %s because the deadline had passed.", ended(c.lately.timeouts))
	if h := c.leak(); h != nil && kind != "leak" {
		add(true, "A lease leaks: %s has been out for %s, longer than LeakAfter allows.%s", c.holder(*h), age(*h), c.others())
	}
	add(c.lately.revoked > 0, "In the last minute the pool ended %s without the holder.", more(int(c.lately.revoked), "lease"))
	add(c.stats.GivenUp > 0 && kind != "given up", "%s", c.givenUp())
	failing := c.explanation.LastConnectError != nil && c.explanation.Attempt == 0
	add(failing && kind != "backing off" && kind != "probing", "The last connect failed: %v.", c.explanation.LastConnectError)
	add(c.unknown != "", "%s.", capital(strings.TrimRight(c.unknown, ". ")))
	notes = append(notes, c.fleet.notes()...)
	for _, s := range c.explanation.Suspicions {
		add(true, "%s.", capital(strings.TrimRight(s, ". ")))
	}
	return notes
}

func (c condition) givenUp() string {
	n := c.stats.GivenUp
	if n == 1 {
		return "A function of yours ignores its context: the pool has given up waiting for it, and its connection is not counted any more."
	}
	return fmt.Sprintf("%d functions of yours ignore their contexts: the pool has given up waiting for them, and their connections are not counted any more.", n)
}

// leaks says whether a lease that goes on has been reported as a leak.
func (c condition) leaks(h messages.Holder) bool {
	return slices.ContainsFunc(c.explanation.Recent, func(e messages.Event) bool {
		return e.Kind == messages.LeaseLeaked && e.ConnID == h.ConnID && !e.Time.Before(c.explanation.Time.Add(-h.Age))
	})
}

// leak is the oldest lease that has been reported as a leak; nil: there is none.
func (c condition) leak() *messages.Holder {
	var oldest *messages.Holder
	for i, h := range c.explanation.Holders {
		if c.leaks(h) && (oldest == nil || h.Age > oldest.Age) {
			oldest = &c.explanation.Holders[i]
		}
	}
	return oldest
}

// others says how many leaks there are besides the oldest.
func (c condition) others() string {
	n := -1
	for _, h := range c.explanation.Holders {
		if c.leaks(h) {
			n++
		}
	}
	switch {
	case n == 1:
		return " Another lease leaks, too."
	case n > 1:
		return fmt.Sprintf(" %d other leases leak, too.", n)
	}
	return ""
}

// lastError is the text of the last Get that failed with an error that begins so.
func (c condition) lastError(part string) string {
	for _, e := range slices.Backward(c.explanation.Recent) {
		if e.Kind == messages.CheckOutFailed && e.Err != nil && strings.Contains(e.Err.Error(), strings.TrimPrefix(part, "actorpool: ")) {
			return " The last: " + strings.TrimRight(e.Err.Error(), ". ") + "."
		}
	}
	return ""
}

// waiters says how many callers wait.
func (c condition) waiters() string {
	if c.stats.Waiting == 1 {
		return "1 caller waits"
	}
	return fmt.Sprintf("%d callers wait", c.stats.Waiting)
}

// first says how long the first in the queue has waited.
func (c condition) first() string {
	if len(c.explanation.Waiters) == 0 {
		return ""
	}
	w := c.explanation.Waiters[0]
	if w.Label == "" {
		return " The first has waited " + span(w.Waited) + "."
	}
	return fmt.Sprintf(" The first (%s) has waited %s.", w.Label, span(w.Waited))
}

// longest says who has had a connection for longest.
func (c condition) longest() string {
	holders := c.explanation.Holders
	if len(holders) == 0 {
		return ""
	}
	worst := holders[0]
	for _, h := range holders {
		if h.Age > worst.Age {
			worst = h
		}
	}
	same := 0
	for _, h := range holders {
		if h.Label == worst.Label && h.Label != "" {
			same++
		}
	}
	s := fmt.Sprintf(" The longest lease is out for %s (%s", age(worst), c.holder(worst))
	if same > 1 && len(holders) == c.stats.Borrowed {
		s += fmt.Sprintf(", which holds %d of the %d", same, c.stats.Borrowed)
	}
	if worst.Waits {
		s += ", and waits for another connection of this pool"
	}
	return s + ")."
}

// holder names a holder.
func (c condition) holder(h messages.Holder) string {
	switch {
	case h.Label != "":
		return h.Label
	case h.Borrower != "":
		return "actor " + h.Borrower
	case h.Goroutine != 0:
		return fmt.Sprintf("goroutine %d, connection %d", h.Goroutine, h.ConnID)
	}
	return fmt.Sprintf("connection %d, without a label", h.ConnID)
}

// age is how long a lease has been out, or how long at least.
func age(h messages.Holder) string {
	switch {
	case !h.AtLeast:
		return span(h.Age)
	case h.Age == 0:
		return "an unknown time"
	}
	return "at least " + span(h.Age)
}

// slowest names the function that has run for longest, if that is long: one of those
// that do, or any.
func (c condition) slowest(doing ...string) string {
	var worst messages.Job
	for _, j := range c.explanation.Jobs {
		if j.Age > worst.Age && (len(doing) == 0 || slices.Contains(doing, j.Doing)) {
			worst = j
		}
	}
	if worst.Age < time.Second {
		return ""
	}
	return fmt.Sprintf(" The slowest (%s connection %d) has run for %s.", worst.Doing, worst.ConnID, span(worst.Age))
}

// out says how many connections are out.
func (c condition) out() string {
	switch all := more(c.stats.Capacity, "connection"); c.stats.Borrowed {
	case 0:
		return " No connection is out."
	case 1:
		return fmt.Sprintf(" 1 of %s is out.", all)
	default:
		return fmt.Sprintf(" %d of %s are out.", c.stats.Borrowed, all)
	}
}

// standing says what has become of the connections that are open.
func (c condition) standing() string {
	switch s := c.stats; {
	case s.Open == 0:
		return "No connection is left"
	case s.Borrowed == 1 && s.Open == 1:
		return "The only connection that is left is out"
	case s.Borrowed == s.Open:
		return fmt.Sprintf("All %d connections that are left are out", s.Open)
	default:
		return fmt.Sprintf("%s left, %d of them out", are(s.Open, "connection"), s.Borrowed)
	}
}

// forSince says how long the pool has been in its state.
func (c condition) forSince() string {
	switch {
	case c.since < time.Second:
		return ""
	case c.exact:
		return " for " + span(c.since)
	}
	return " for at least " + span(c.since)
}

// more is a number of things: "1 connection", "3 connections".
func more(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// are is a number of things with its verb: "1 connection is", "3 connections are".
func are(n int, thing string) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	if thing == "" {
		return fmt.Sprintf("%d %s", n, verb)
	}
	return more(n, thing) + " " + verb
}

// all says that all of so many connections are something.
func all(n int, what string) string {
	if n == 1 {
		return "the only connection is " + what
	}
	return fmt.Sprintf("all %d connections are %s", n, what)
}

// ended says how many Gets failed.
func ended(n uint64) string {
	if n == 1 {
		return "1 Get failed"
	}
	return fmt.Sprintf("%d Gets failed", n)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Truncate(100*time.Millisecond).Seconds()), ".0") + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
