package page

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/actorpool/actorpool/messages"
)

const (
	period   = time.Second     // of reading Stats, and the least between two snapshots
	patience = 2 * time.Second // how long a viewer waits for a snapshot
	farewell = time.Minute     // how long a source that is done stays on the page

	moments = 100 * time.Millisecond // how long Add waits for the status of a fleet
)

// owner is the goroutine that has all state of a [Handler], in a book. Others send it
// functions. It lives as long as there are sources: it ends by itself when the last one
// has left, so that a Handler whose pools are closed leaves nothing running.
type owner struct {
	commands chan func(*book)
	ended    chan struct{}
	cancel   context.CancelFunc // of the snapshots
}

// post sends the owner a function. It reports false if the owner has ended, and will not
// run it.
func (o *owner) post(f func(*book)) bool {
	select {
	case o.commands <- f:
		return true
	case <-o.ended:
		return false
	}
}

// book is the state of a Handler. Only the owner's goroutine uses it.
type book struct {
	owner   *owner
	ctx     context.Context // of the snapshots
	redact  redactor
	entries []*entry
	closed  bool
}

// entry is one source on the page.
type entry struct {
	key    string // by which an address names it
	source Source // nil: it is done
	group  *entry // that it belongs to; nil: none

	stats   messages.Stats // the last, redacted
	failed  string         // why there are none of this moment; empty: there are
	reading bool           // a goroutine reads them
	fleet   membership     // the last; zero: it is in none
	asked   time.Time      // when a goroutine began to read the status of its fleet; zero: none does
	more    int            // members of a group that are not on the page
	history history
	leftAt  time.Time // when it was found to be done

	asking     []chan<- answer // who waits for a snapshot
	snapshot   *snapshot       // the last; nil: none
	collecting bool            // a goroutine takes one
	since      time.Time       // when it began
}

// snapshot is what Explain and Measure have answered, redacted. It does not change.
type snapshot struct {
	at          time.Time
	explanation messages.Explanation
	measures    messages.Measures
	failed      string // why there is no explanation; empty: there is one
}

// run is the owner's goroutine.
func (o *owner) run(h *Handler, ctx context.Context) {
	b := &book{owner: o, ctx: ctx, redact: h.redact}
	tick := time.NewTicker(period)
	defer tick.Stop()
	defer o.cancel()
	for first := true; first || len(b.entries) > 0 && !b.closed; first = false {
		select {
		case f := <-o.commands:
			f(b)
		case now := <-tick.C:
			b.tick(now)
		}
	}
	if b.closed {
		h.owner.Store(&closedOwner)
	} else {
		h.owner.CompareAndSwap(o, nil) // before ended: who sees that looks for the next owner
	}
	close(o.ended)
}

// add puts a source on the page, with what a first look at it has found. A source that
// is there already is not added again.
func (b *book) add(s Source, r reading, status <-chan membership) {
	for _, e := range b.entries {
		if e.group == nil && same(e.source, s) {
			return
		}
	}
	name := r.stats.Name
	if name == "" {
		name = "pool"
	}
	e := b.enter(name, s, nil)
	e.reading = true
	select {
	case e.fleet = <-status:
	default:
		b.expect(e, status)
	}
	b.took(e, r)
}

// enter makes an entry.
func (b *book) enter(name string, s Source, group *entry) *entry {
	e := &entry{key: b.unused(name), source: s, group: group}
	b.entries = append(b.entries, e)
	return e
}

// unused gives a key that no other entry has.
func (b *book) unused(name string) string {
	key := name
	for n := 2; b.find(key) != nil; n++ {
		key = fmt.Sprintf("%s (%d)", name, n)
	}
	return key
}

// find gives the entry with a key, nil if there is none.
func (b *book) find(key string) *entry {
	for _, e := range b.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// tick happens once a second.
func (b *book) tick(now time.Time) {
	b.keep(func(e *entry) bool { return e.leftAt.IsZero() || now.Sub(e.leftAt) < farewell })
	for _, e := range slices.Clone(b.entries) {
		b.read(e)
		if e.collecting && now.Sub(e.since) >= patience {
			e.reply(b.late(e, now))
		}
	}
}

// read lets a goroutine read a source, unless one does already: a method that does not
// return stops nothing but the numbers of its own source.
func (b *book) read(e *entry) {
	if e.source == nil {
		return
	}
	if e.asked.IsZero() {
		b.expect(e, b.redact.status(e.source))
	}
	if e.reading {
		return
	}
	e.reading = true
	o := b.owner
	b.redact.start(e.source, func(r reading) { o.post(func(b *book) { b.took(e, r) }) })
}

// expect takes the status of a fleet when it comes. A status that does not come stops
// nothing else; nil: there is none to come.
func (b *book) expect(e *entry, status <-chan membership) {
	if status == nil {
		return
	}
	e.asked = time.Now()
	o := b.owner
	go func() {
		found := <-status
		o.post(func(*book) {
			if e.asked = (time.Time{}); e.source != nil {
				e.fleet = found
			}
		})
	}()
}

// membership is what is known of the fleet now.
func (e *entry) membership(now time.Time) membership {
	if !e.asked.IsZero() && now.Sub(e.asked) >= patience && e.source != nil {
		return membership{failed: fmt.Sprintf("%s: no answer within %v", readingStatus, patience)}
	}
	return e.fleet
}

// took is the end of a read.
func (b *book) took(e *entry, r reading) {
	now := time.Now()
	e.reading, e.failed = false, r.failed
	if r.failed == "" {
		e.stats, e.more = r.stats, r.more
		e.history.add(now, r.stats)
		if e.group == nil {
			b.members(e, r.members)
		}
	}
	if r.done {
		e.leave(now)
		b.members(e, nil)
	}
}

// leave drops a source that is done. What was known of it last stays for a while.
func (e *entry) leave(now time.Time) {
	e.source, e.leftAt = nil, now
	e.stats.State = messages.StateClosed
	e.snapshot, e.fleet = nil, membership{}
}

// members makes the entries of a group's pools what they are now.
func (b *book) members(group *entry, now []member) {
	there := map[int]bool{} // by the index in now
	b.keep(func(e *entry) bool {
		if e.group != group {
			return true
		}
		for i, m := range now {
			if !there[i] && same(e.source, m.pool) {
				there[i] = true
				return true
			}
		}
		return false
	})
	for i, m := range now {
		if !there[i] && m.pool != nil {
			b.read(b.enter(group.key+"/"+clean(m.name, labelLength), m.pool, group))
		}
	}
}

// keep drops all entries but those for which f is true, and answers who asked for them.
func (b *book) keep(f func(*entry) bool) {
	kept := b.entries[:0]
	for _, e := range b.entries {
		if f(e) {
			kept = append(kept, e)
		} else {
			e.reply(b.answer(e, time.Now()))
		}
	}
	clear(b.entries[len(kept):])
	b.entries = kept
}

// ask answers with a snapshot of the source with the key, of the first if it is empty:
// with the last one if that is younger than a second, so that all viewers together cause
// one a second. It answers nil if there is no such source.
func (b *book) ask(key string, to chan<- answer) {
	e := b.find(key)
	if key == "" && len(b.entries) > 0 {
		e = b.entries[0]
	}
	now := time.Now()
	if e == nil {
		to <- answer{Now: now.UnixMilli(), Pools: b.list()}
		return
	}
	pool, ok := e.source.(Pool)
	switch {
	case !ok, e.snapshot != nil && now.Sub(e.snapshot.at) < period:
		to <- b.answer(e, now)
	case e.collecting && now.Sub(e.since) >= patience:
		to <- b.late(e, now)
	default:
		e.asking = append(e.asking, to)
		b.collect(e, pool, now)
	}
}

// collect lets a goroutine take a snapshot, unless one does already.
func (b *book) collect(e *entry, pool Pool, now time.Time) {
	if e.collecting {
		return
	}
	e.collecting, e.since = true, now
	o, redact, parent := b.owner, b.redact, b.ctx
	go func() {
		s := &snapshot{at: now, failed: "explaining it ended the goroutine"}
		defer func() { o.post(func(b *book) { b.collected(e, s) }) }() // also after a Goexit
		ctx, cancel := context.WithTimeout(parent, patience)
		defer cancel()
		s = take(ctx, pool, redact, now)
	}()
}

// take asks a pool for everything. Errors and panics are part of the snapshot.
func take(ctx context.Context, pool Pool, redact redactor, now time.Time) (s *snapshot) {
	s = &snapshot{at: now}
	defer func() {
		if v := recover(); v != nil {
			s.failed = "explaining it panics: " + redact.text(sprint(v), errorLength)
		}
	}()
	e, err := pool.Explain(ctx)
	if err == nil {
		var m messages.Measures
		if m, err = pool.Measure(ctx); err == nil {
			s.explanation, s.measures = redact.explanation(e), redact.measures(m)
			return s
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", patience)
	}
	s.failed = redact.text(sprint(err), errorLength)
	return s
}

// collected is the end of a collect.
func (b *book) collected(e *entry, s *snapshot) {
	e.collecting = false
	if e.source != nil {
		e.snapshot = s
	}
	e.reply(b.answer(e, time.Now()))
}

// late answers for a pool whose snapshot does not come.
func (b *book) late(e *entry, now time.Time) answer {
	e.snapshot = &snapshot{at: now, failed: fmt.Sprintf("no answer within %v", patience)}
	return b.answer(e, now)
}

// reply answers all who wait for a snapshot. Each channel has room for its one answer.
func (e *entry) reply(a answer) {
	for _, to := range e.asking {
		to <- a
	}
	e.asking = nil
}
