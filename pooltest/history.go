package pooltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Entry is something that has happened at a server.
type Entry struct {
	// At is when it began, counted from NewServer.
	At time.Duration
	// Pool and Conn are the name of the pool that opened the connection, and the id that
	// the pool gave it: see [Conn.ID]. Both are zero for a fault.
	Pool string
	Conn uint64
	// What is connect, read, write, ping, reset or close; or for a fault its name and
	// begins or ends.
	What string
	// Took is how long it took.
	Took time.Duration
	// Err is its error.
	Err error

	order uint64 // of the entries of a connection
}

// String describes the entry in one line, with times to the microsecond.
func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12.6fs ", e.At.Seconds())
	if e.Conn != 0 {
		fmt.Fprintf(&b, "%s %d ", cmp.Or(e.Pool, "conn"), e.Conn)
	}
	b.WriteString(e.What)
	if e.Took != 0 {
		b.WriteString(" " + e.Took.Round(time.Microsecond).String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// History is what has happened at a server, in the order of its beginnings.
type History []Entry

// String has a line for each entry.
func (h History) String() string {
	var b strings.Builder
	for _, e := range h {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

// History is what has happened so far: connects, operations and closes that are over, and
// faults that have begun. It is kept for as long as the server is.
func (s *Server) History() History {
	h := History(s.made().journal.all())
	now := s.Now()
	for _, w := range s.scenario.Load().windows {
		if w.from <= now {
			h = append(h, Entry{At: w.from, What: w.fault.String() + " begins"})
		}
		if w.to <= now && w.fault != Reset {
			h = append(h, Entry{At: w.to, What: w.fault.String() + " ends"})
		}
	}
	slices.SortStableFunc(h, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Conn, b.Conn), cmp.Compare(a.order, b.order))
	})
	return h
}

// note puts down what has just ended.
func (s *Server) note(c *Conn, what string, at time.Duration, err error) {
	s.journal.push(Entry{
		At: at, Pool: c.pool, Conn: c.id, What: what, Took: s.Now() - at, Err: err, order: c.entries.Add(1),
	})
}

// mistake is something that no client may do.
type mistake struct {
	at   time.Duration
	text string
}

// afterClose is the text of the one misuse that a pool can be the reason of.
const afterClose = " after Close: its lease had ended"

// report puts down a misuse.
func (s *Server) report(c *Conn, text string) {
	now := s.Now()
	s.mistakes.push(mistake{now, fmt.Sprintf("%v, at %v: %s", c, now, text)})
}

// String names the connection for people.
func (c *Conn) String() string {
	if c.pool == "" {
		return fmt.Sprintf("connection %d, which no pool opened", c.id)
	}
	return fmt.Sprintf("connection %d of pool %q", c.id, c.pool)
}

// Misuse lists what clients have done that they must not do, in order: an operation after
// Close, or while another one was under way on the same connection; and a field of the
// server with a value that it cannot have. [Check] reports it.
func (s *Server) Misuse() []string {
	var texts []string
	for _, m := range s.misused() {
		texts = append(texts, m.text)
	}
	return texts
}

func (s *Server) misused() []mistake {
	all := s.made().mistakes.all()
	slices.SortStableFunc(all, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text))
	})
	return all
}

// stack is a list to which many goroutines add.
type stack[T any] struct{ top atomic.Pointer[item[T]] }

type item[T any] struct {
	value T
	below *item[T]
}

func (s *stack[T]) push(value T) {
	i := &item[T]{value: value}
	for {
		i.below = s.top.Load()
		if s.top.CompareAndSwap(i.below, i) {
			return
		}
	}
}

// all gives what is in the list, in the order in which it was added.
func (s *stack[T]) all() []T {
	var all []T
	for i := s.top.Load(); i != nil; i = i.below {
		all = append(all, i.value)
	}
	slices.Reverse(all)
	return all
}
