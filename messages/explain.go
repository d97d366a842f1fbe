package messages

import (
	"fmt"
	"strings"
	"time"
)

// Explanation describes a pool in detail. String puts it into words.
//
// It is of one moment, Time, in a pool of up to 256 places for connections. A larger pool
// goes on working while it is described: the rest is of that moment all the same, and
// Age, Waited, In and the like count up to it; but the Conns, and without LeakAfter and
// MaxLease the Holders, are looked at a few hundred at once, within some milliseconds. So
// they may show a connection that was lent or returned meanwhile, and their numbers may
// differ from Stats by as many. Every connection that is there all the while is in
// them once, and none that was opened later.
type Explanation struct {
	// Stats is the pool's snapshot.
	Stats Stats `json:"stats"`
	// Time is the moment, by the pool's clock.
	Time time.Time `json:"time"`
	// Holders are the holders of connections, at most 100, longest first.
	Holders []Holder `json:"holders"`
	// Waiters are the Gets that wait, in order of arrival, at most 100.
	Waiters []Waiter `json:"waiters"`
	// Jobs are the functions that run on connections, at most 100.
	Jobs []Job `json:"jobs"`
	// Conns are the connections, in order of their ids, at most 1,000. Those whose
	// function was given up are not among them.
	Conns []Conn `json:"conns"`
	// Recent are the last 64 events, oldest first, without those of single Gets and Puts:
	// CheckOutStarted, CheckedOut and CheckedIn. Of failed check-outs with one reason
	// only the first is among them, until another event comes. They are kept whether or not the pool has a handler or a log. Their Seq is the one under
	// which these are told of the event, and 0 if they are not. A leak has its Stack only if
	// the pool has a handler or a log.
	Recent []Event `json:"recent"`
	// Attempt is the number of failed attempts while the pool backs off, otherwise 0.
	// NextAttempt is the earliest time of the next one. It is never before Time, and
	// zero if the blocking period is over: the next attempt is under way or begins
	// with the next Get.
	Attempt     int       `json:"attempt,omitzero"`
	NextAttempt time.Time `json:"nextAttempt,omitzero"`
	// LastConnectError is the error of the last connect; nil if that succeeded.
	LastConnectError error `json:"-"`
	// Suspicions are sentences about what looks wrong and cannot be proved: a possible
	// deadlock, connections that do not come back.
	Suspicions []string `json:"suspicions"`
}

// Conn is a connection of the pool, or one that is being opened.
type Conn struct {
	// ID is its id, from 1.
	ID uint64 `json:"id"`
	// State is what is done with it: connecting, checking, resetting, applying,
	// unapplying, closing, idle or borrowed.
	State string `json:"state"`
	// Label is that of the Get that holds it, or that it is being prepared for.
	Label string `json:"label,omitzero"`
	// In is how long it has been in this state. AtLeast says that it may have been for
	// longer: it is idle or borrowed, and the pool did not read its clock when that began,
	// see [Holder].Age.
	In      time.Duration `json:"in"`
	AtLeast bool          `json:"atLeast,omitzero"`
	// Age is how long ago its connect succeeded; 0 while it is connecting.
	Age time.Duration `json:"age"`
	// Left is how long it is until the end of its MaxLifetime; 0: it has none. It is
	// negative if that is over: the connection is closed when it comes back.
	Left time.Duration `json:"left,omitzero"`
	// Uses is how many leases it has had, the present one included, without those that
	// are no use of it: see [LeaseInfo].Uses.
	Uses int `json:"uses"`
	// Generation is that of the pool when its connect began.
	Generation uint64 `json:"generation"`
	// Setting is the setting on it; nil: it has none.
	Setting any `json:"-"`
}

// Waiter is a Get that waits.
type Waiter struct {
	// Label is that of the Get; empty if it has none.
	Label string `json:"label,omitzero"`
	// Waited is how long it has waited.
	Waited time.Duration `json:"waited"`
	// Left is how long it will wait at most, because of its deadline or GetTimeout; 0:
	// without a bound. It is negative if that is over, and the wait is about to end.
	Left time.Duration `json:"left,omitzero"`
	// Setting is the setting that it asks for; nil: none.
	Setting any `json:"-"`
	// Doing is the state of the connection that is being prepared for it, as in
	// [Job].Doing; empty if there is none.
	Doing string `json:"doing,omitzero"`
	// Borrower is the address of the actor that waits; empty if it is not an actor.
	Borrower string `json:"borrower,omitzero"`
	// Goroutine and Stack are those of the caller. The stack is empty unless the pool
	// captures stacks (Config.LeakAfter), and the number is 0 unless it captures that,
	// too (Config.LeakGoroutines).
	Goroutine uint64 `json:"goroutine,omitzero"`
	Stack     string `json:"stack,omitzero"`
	// Holds are the ids of the connections that the caller is known to hold while it
	// waits: see client.Lease.Context.
	Holds []uint64 `json:"holds,omitzero"`
}

// String describes the waiter in one line, without the stack.
func (w Waiter) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s", label(w.Label), rounded(w.Waited))
	if w.Borrower != "" {
		fmt.Fprintf(&b, ", actor %s", oneLine(w.Borrower))
	}
	if w.Goroutine != 0 {
		fmt.Fprintf(&b, ", goroutine %d", w.Goroutine)
	}
	switch {
	case w.Left > 0:
		fmt.Fprintf(&b, ", %s left", rounded(w.Left))
	case w.Left < 0:
		b.WriteString(", no time left")
	}
	b.WriteString(")")
	if w.Setting != nil {
		b.WriteString(" for setting " + oneLine(fmt.Sprint(w.Setting)))
	}
	if w.Doing != "" {
		fmt.Fprintf(&b, ", %s a connection", w.Doing)
	}
	if len(w.Holds) > 0 {
		fmt.Fprintf(&b, ", holds %v", w.Holds)
	}
	return b.String()
}

// String describes the pool for people, with one fact on each line. It has the last 16 of
// Recent, and nothing of Conns that is not said of their holders.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %q: ", e.Stats.Name)
	writeStats(&b, &e.Stats)
	writeAttempt(&b, e.Attempt, e.NextAttempt)
	if e.LastConnectError != nil {
		b.WriteString("\nlast connect error: " + oneLine(plain(e.LastConnectError)))
	}
	section(&b, "held by", e.Holders, e.Stats.Borrowed, func(h Holder) string { return h.Stack })
	section(&b, "waiting", e.Waiters, e.Stats.Waiting, func(w Waiter) string { return w.Stack })
	section(&b, "under way", e.Jobs, len(e.Jobs), func(Job) string { return "" })
	section(&b, "suspicions", e.Suspicions, len(e.Suspicions), func(string) string { return "" })
	writeRecent(&b, e.Recent)
	b.WriteString("\n")
	return b.String()
}

// writtenEvents is how many events the text of an explanation has.
const writtenEvents = 16

// writeRecent writes the last events, oldest first.
func writeRecent(b *strings.Builder, events []Event) {
	if len(events) == 0 {
		return
	}
	b.WriteString("\nrecent events:")
	if earlier := len(events) - writtenEvents; earlier > 0 {
		fmt.Fprintf(b, "\n  %d earlier ones", earlier)
		events = events[earlier:]
	}
	for i := range events {
		b.WriteString("\n  ")
		writeEvent(b, &events[i])
	}
}

// writeEvent writes an event in one line.
func writeEvent(b *strings.Builder, e *Event) {
	fmt.Fprintf(b, "%s %v", e.Time.Format("15:04:05.000"), e.Kind)
	if e.ConnID != 0 {
		fmt.Fprintf(b, " connection %d", e.ConnID)
	}
	if e.Label != "" {
		b.WriteString(" " + quote(e.Label))
	}
	switch e.Kind {
	case PoolCreated:
		fmt.Fprintf(b, " capacity %d", e.To)
	case CapacityChanged:
		fmt.Fprintf(b, " from %d to %d", e.From, e.To)
	case PoolCleared:
		fmt.Fprintf(b, " generation %d", e.Generation)
	}
	if e.Attempt > 0 {
		fmt.Fprintf(b, " attempt %d", e.Attempt)
	}
	if reason := nameOf(e.Reason); reason != "" {
		b.WriteString(" " + reason)
	}
	if e.Duration > 0 {
		b.WriteString(" " + rounded(e.Duration))
	}
	if e.Err != nil {
		b.WriteString(": " + shorten(text(e.Err), eventLength))
	}
}

// writeAttempt says where the backoff stands, if there is one.
func writeAttempt(b *strings.Builder, attempt int, next time.Time) {
	switch {
	case attempt == 0:
	case next.IsZero():
		fmt.Fprintf(b, "\nbackoff: attempt %d has failed, the period after it is over", attempt)
	default:
		fmt.Fprintf(b, "\nbackoff: attempt %d has failed, the next is due at %s", attempt, stamp(next))
	}
}

// section writes a title and the items below it, each with its stack, if any. total is
// the number of items there would be without the bound.
func section[T any](b *strings.Builder, title string, items []T, total int, stack func(T) string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:", title)
	for _, item := range items {
		fmt.Fprintf(b, "\n  %v", item)
		if s := stack(item); s != "" {
			b.WriteString("\n    " + indent(s, "    "))
		}
	}
	if more := total - len(items); more > 0 {
		fmt.Fprintf(b, "\n  and %d more", more)
	}
}
