package messages

import (
	"fmt"
	"strings"
	"time"
)

// Explanation says who holds a pool's connections, who waits for them, and what
// is being done about it, all of one moment. String puts it into words.
type Explanation struct {
	// Stats is the pool.
	Stats Stats
	// Time is the moment.
	Time time.Time
	// Holders are those who hold connections, longest first; at most 100.
	Holders []Holder
	// Waiters are those who wait, in their order; at most 100.
	Waiters []Waiter
	// Jobs are what the connectors are at; at most 100.
	Jobs []Job
	// Attempt is the number of failed attempts and NextAttempt the time of the
	// next one while the pool backs off; otherwise zero.
	Attempt     int
	NextAttempt time.Time
	// LastConnectError is the error of the last connect, nil once one succeeded.
	LastConnectError error
	// Suspicions are what looks wrong, in sentences: a deadlock that cannot be
	// proved, a connection that has been out for long.
	Suspicions []string
}

// Waiter is a Get that waits.
type Waiter struct {
	// Label is that of the Get.
	Label string
	// Waited is how long it waits.
	Waited time.Duration
	// Setting is the one that it asks for.
	Setting any
	// Doing is what a connector does for it, empty if nothing is.
	Doing string
	// Borrower is the address of the actor that waits; empty if it is none.
	Borrower string
	// Goroutine and Stack are those of the caller, zero where they were not
	// captured, see LeakAfter.
	Goroutine uint64
	Stack     string
	// Holds are the connections that the caller holds meanwhile, as far as that is
	// known: see ErrDeadlock.
	Holds []uint64
}

// String says who it is in a few words.
func (w Waiter) String() string {
	label := w.Label
	if label == "" {
		label = "unlabelled"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s", label, w.Waited)
	if w.Borrower != "" {
		fmt.Fprintf(&b, ", actor %s", w.Borrower)
	}
	if w.Goroutine != 0 {
		fmt.Fprintf(&b, ", goroutine %d", w.Goroutine)
	}
	b.WriteString(")")
	if w.Setting != nil {
		fmt.Fprintf(&b, " for setting %v", w.Setting)
	}
	if w.Doing != "" {
		fmt.Fprintf(&b, ", %s a connection", w.Doing)
	}
	if len(w.Holds) > 0 {
		fmt.Fprintf(&b, ", holds %v", w.Holds)
	}
	return b.String()
}

// String is the explanation for people, a fact per line.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %q: ", e.Stats.Name)
	writeStats(&b, &e.Stats)
	if e.Attempt > 0 {
		fmt.Fprintf(&b, "\nbackoff: attempt %d has failed, the next is due at %s", e.Attempt, e.NextAttempt.Format(time.RFC3339Nano))
	}
	if e.LastConnectError != nil {
		fmt.Fprintf(&b, "\nlast connect error: %v", e.LastConnectError)
	}
	section(&b, "held by", e.Holders, e.Stats.Borrowed, func(h Holder) string { return h.Stack })
	section(&b, "waiting", e.Waiters, e.Stats.Waiting, func(w Waiter) string { return w.Stack })
	section(&b, "under way", e.Jobs, len(e.Jobs), func(Job) string { return "" })
	section(&b, "suspicions", e.Suspicions, len(e.Suspicions), func(string) string { return "" })
	b.WriteString("\n")
	return b.String()
}

func section[T any](b *strings.Builder, title string, items []T, total int, stack func(T) string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:", title)
	for _, item := range items {
		fmt.Fprintf(b, "\n  %v", item)
		if s := stack(item); s != "" {
			b.WriteString("\n    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    "))
		}
	}
	if more := total - len(items); more > 0 {
		fmt.Fprintf(b, "\n  and %d more", more)
	}
}
