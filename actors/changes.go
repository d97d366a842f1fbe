package actors

import "sync/atomic"

// changes tells whoever reads the channel that counts of the pool have changed. The channel
// is made when somebody asks for it. Its capacity is 1: what is not read yet is not told
// twice.
type changes struct{ c atomic.Pointer[chan struct{}] }

// counts are what Ref.Changed tells the changes of.
type counts struct{ counted, waiting, capacity int }

// watchChanges makes the pool actor tell changes from now on.
type watchChanges struct{}

// IgnoreDeadLetterLogging marks the wish of a caller that comes after the end as no news.
func (*watchChanges) IgnoreDeadLetterLogging() {}

// Changed tells changes of what counts and who waits. See client.Pool.
func (r *Ref) Changed() <-chan struct{} {
	if r.changes.c.Load() == nil {
		if c := make(chan struct{}, 1); r.changes.c.CompareAndSwap(nil, &c) {
			r.process.SendUserMessage(r.pid, &watchChanges{})
		}
	}
	return *r.changes.c.Load()
}

func (c *changes) tell() {
	all := c.c.Load()
	if all == nil {
		return
	}
	select {
	case *all <- struct{}{}:
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

// signal is a channel that is closed once. It is made when somebody asks for it.
type signal struct{ c atomic.Pointer[chan struct{}] }

// given is what a signal gives whose close has come before the first question.
var given = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (s *signal) done() <-chan struct{} {
	if s.c.Load() == nil {
		c := make(chan struct{})
		s.c.CompareAndSwap(nil, &c)
	}
	return *s.c.Load()
}

func (s *signal) close() {
	if !s.c.CompareAndSwap(nil, &given) {
		close(*s.c.Load())
	}
}
