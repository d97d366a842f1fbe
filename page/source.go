package page

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Source is what a [Handler] shows: a [Pool], also [InFleet], or a [Group] of pools. Of any
// other Source it shows only Stats. A Source is left when its Done is closed.
type Source interface {
	// Stats is a snapshot. The page reads it once a second.
	Stats() messages.Stats
	// Done returns a channel that is closed when nothing is left of the source.
	Done() <-chan struct{}
}

// Pool is a pool. A *client.Pool[C] is one, for any C.
type Pool = interface {
	Stats() messages.Stats
	Done() <-chan struct{}
	Explain(ctx context.Context) (messages.Explanation, error)
	Measure(ctx context.Context) (messages.Measures, error)
}

// Group is a source of several pools that come and go, for example one for each tenant.
// Its Stats are the sums of theirs. The page lists the pools, at most 200.
type Group interface {
	Source
	// Pools gives the pools that there are now, each with a name that is its own within
	// the group. The page reads it once a second.
	Pools() iter.Seq2[string, Pool]
}

// same says whether two sources are one. Those that cannot be compared are not.
func same(a, b Source) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// reading is what one look at a source has found, once a second.
type reading struct {
	stats   messages.Stats
	done    bool
	members []member
	more    int    // members above the bound
	failed  string // what went wrong; empty: nothing
}

// membership is what one look at the Status of a member of a fleet has found.
type membership struct {
	fleet  *fleet // nil: it failed
	failed string // what went wrong; empty: nothing
}

type member struct {
	name string
	pool Pool
}

// read looks at a source. A panic of its methods is a fault of that source only.
func (red redactor) read(s Source) (r reading) {
	defer func() {
		if v := recover(); v != nil {
			r.failed = "reading it panics: " + red.text(sprint(v), errorLength)
		}
	}()
	select {
	case <-s.Done():
		r.done = true
	default:
	}
	r.stats = red.stats(s.Stats())
	if g, ok := s.(Group); ok {
		for name, pool := range g.Pools() {
			if len(r.members) < maxRows {
				r.members = append(r.members, member{name, pool})
			} else {
				r.more++
			}
		}
	}
	return r
}

// start looks at a source on a goroutine of its own, so that methods that do not return,
// or that end their goroutine, harm nobody else.
func (red redactor) start(s Source, done func(reading)) {
	go func() {
		r := reading{failed: "reading it ended the goroutine"}
		defer func() { done(r) }()
		r = red.read(s)
	}()
}

// status looks at the fleet of a source, on a goroutine of its own: a Status that fails
// must not hide the pool. The channel has the result in the end; nil: it is in no fleet.
func (red redactor) status(s Source) <-chan membership {
	m, ok := s.(InFleet)
	if !ok {
		return nil
	}
	result := make(chan membership, 1)
	go func() {
		found := membership{failed: readingStatus + " ended the goroutine"}
		defer func() { result <- found }() // also after a Goexit
		found = red.membership(m)
	}()
	return result
}

const readingStatus = "reading the fleet's status"

func (red redactor) membership(m InFleet) (found membership) {
	defer func() {
		if v := recover(); v != nil {
			found = membership{failed: readingStatus + " panics: " + red.text(sprint(v), errorLength)}
		}
	}()
	return membership{fleet: red.fleet(m.Status())}
}

// first looks at a source that is new, for not too long. The status of its fleet may come
// later.
func (red redactor) first(s Source) (reading, <-chan membership) {
	result := make(chan reading, 1)
	red.start(s, func(r reading) { result <- r })
	status := red.status(s)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-result:
		return r, soon(status)
	case <-late.C:
		return reading{failed: fmt.Sprintf("no numbers within %v", patience)}, status
	}
}

// soon waits for a moment for the status of a fleet, so that a new source is shown with
// its fleet at once. It gives a channel with the same result.
func soon(status <-chan membership) <-chan membership {
	if status == nil {
		return nil
	}
	late := time.NewTimer(moments)
	defer late.Stop()
	select {
	case found := <-status:
		result := make(chan membership, 1)
		result <- found
		return result
	case <-late.C:
		return status
	}
}
