package actors

import "sync/atomic"

// changes tells whoever reads the channel that counts of the pool have changed.
type changes struct {
	wanted atomic.Bool
	c      chan struct{} // of capacity 1: what is not read yet is not told twice
}

// counts are what Ref.Changed tells the changes of.
type counts struct{ counted, waiting, capacity int }

// watchChanges makes the pool actor tell changes from now on.
type watchChanges struct{}

// IgnoreDeadLetterLogging marks the wish of a caller that comes after the end as no news.
func (*watchChanges) IgnoreDeadLetterLogging() {}

// Changed tells changes of what counts and who waits. See client.Pool.
func (r *Ref) Changed() <-chan struct{} {
	if r.changes.wanted.CompareAndSwap(false, true) {
		r.process.SendUserMessage(r.pid, &watchChanges{})
	}
	return r.changes.c
}

func (c *changes) tell() {
	select {
	case c.c <- struct{}{}:
	default: // the last one has not been read yet
	}
}

// noteChanges tells a change since it was last called.
func (p *pool) noteChanges() {
	var now counts
	now.counted, now.waiting, now.capacity = p.m.Counts()
	if p.tellsChanges && now != p.counts {
		p.ref.changes.tell()
	}
	p.tellsChanges, p.counts = true, now
	if p.share != nil {
		p.shareUnits()
	}
}
