package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/setmachine"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// SetSpec is the configuration of a set of pools below the types of its keys and
// connections. It is validated, with every default filled in, by package client.
type SetSpec struct {
	Name            string
	Total, MaxPools int
	Idle            time.Duration
	// Make gives the configuration of a key's pool. It is code of the user.
	Make func(key any) (Spec, error)
	// Describe is the text of a key, for errors. It is code of the user.
	Describe func(key any) string
	// Publish is called with each new pool, and Withdraw when it is gone, on the turn of
	// the set actor, so one at a time.
	Publish  func(key any, m *Member)
	Withdraw func(key any)
}

// SetRef is what ordinary Go holds of a set of pools.
type SetRef struct {
	spec       SetSpec
	clock      clock
	board      board
	system     *actor.ActorSystem
	pid        *actor.PID
	process    actor.Process
	out        *outbox
	closeBegun atomic.Bool
	ended      chan struct{}               // closed when nothing of the set is left
	last       atomic.Pointer[SetSnapshot] // what there was to say then
}

// StartSet makes a set actor.
func StartSet(system *actor.ActorSystem, spec SetSpec) (*SetRef, error) {
	s := &SetRef{spec: spec, clock: startClock(), system: system, out: &outbox{}, ended: make(chan struct{})}
	s.board.era.Store(1)
	props := actor.PropsFromProducer(func() actor.Actor { return newSet(s) },
		actor.WithMailbox(NewMailbox), actor.WithGuardian(supervisor.Pool()), actor.WithSupervisor(supervisor.Pool()))
	_, err := system.Root.SpawnNamed(props, "actorpool-set-"+spec.Name+system.ProcessRegistry.NextID())
	if err != nil {
		return nil, fmt.Errorf("actorpool: spawning set %q: %w", spec.Name, err)
	}
	return s, nil
}

// send sends the set actor a message.
func (s *SetRef) send(message any) { s.process.SendUserMessage(s.pid, message) }

// Closed says that Close has begun, or that the set has ended otherwise.
func (s *SetRef) Closed() bool { return s.closeBegun.Load() }

// Denial is the error of a Get that ends without the pool of its key, for a reason.
func (s *SetRef) Denial(reason error) error {
	return &messages.GetError{Pool: s.spec.Name, Time: s.clock.wall(), Err: reason}
}

// wantPool is the message of a caller that waits for the pool of a key.
type wantPool struct {
	key    any
	not    *Member // that pool was closed
	taken  atomic.Bool
	answer chan wantAnswer    // of capacity 1
	bound  chan time.Duration // of capacity 1: how long a caller without a deadline waits
}

type wantAnswer struct {
	member *Member // pinned
	err    error
}

// leftPool is the message of a caller that waits no longer.
type leftPool struct{ want *wantPool }

// IgnoreDeadLetterLogging marks the message to a set that has ended as no news.
func (*wantPool) IgnoreDeadLetterLogging() {}
func (*leftPool) IgnoreDeadLetterLogging() {}

// take makes one of caller and set actor the one that ends the wait.
func (w *wantPool) take() bool { return w.taken.CompareAndSwap(false, true) }

// Want waits for the pool of a key, which is made if there is none. It is pinned. not is a
// pool of the key that the caller has found closed; nil: none.
func (s *SetRef) Want(ctx context.Context, key any, not *Member) (*Member, error) {
	if ctx == nil {
		return nil, messages.ErrNilContext
	}
	if s.Closed() {
		return nil, s.Denial(messages.ErrClosed)
	}
	// All of the context is read before the set knows of the caller: it is code of the user.
	done := ctx.Done()
	_, bounded := ctx.Deadline()
	if done != nil && ctx.Err() != nil {
		return nil, s.Denial(contextError(ctx))
	}
	start := s.clock.now()
	w := &wantPool{key: key, not: not, answer: make(chan wantAnswer, 1), bound: make(chan time.Duration, 1)}
	s.send(w)
	var timeout <-chan time.Time
	for {
		var why func() error
		select {
		case a := <-w.answer:
			return a.member, a.err
		case d := <-w.bound:
			if !bounded {
				t := time.NewTimer(d - (s.clock.now() - start))
				defer t.Stop()
				timeout = t.C
			}
			continue
		case <-timeout:
			why = func() error { return context.DeadlineExceeded }
		case <-done:
			why = func() error { return contextError(ctx) }
		case <-s.ended:
			why = func() error { return messages.ErrClosed }
		}
		if !w.take() {
			if a := <-w.answer; a.member != nil {
				a.member.Unpin()
			}
		} else {
			s.send(&leftPool{w})
		}
		return nil, s.Denial(why())
	}
}

// closeSet asks the set actor to close, and takeSnapshot for what it consists of. The set
// actor answers both at once.
type (
	closeSet     struct{ answer chan []*Member }
	takeSnapshot struct{ answer chan SetSnapshot }
)

// IgnoreDeadLetterLogging marks the question to a set that has ended as no news.
func (*closeSet) IgnoreDeadLetterLogging()     {}
func (*takeSnapshot) IgnoreDeadLetterLogging() {}

// SetSnapshot is what a set consists of at one moment.
type SetSnapshot struct {
	Members []*Member
	Keys    []any             // of Members
	Past    messages.Measures // the sums of the pools that are gone
	Free    int               // units
	Waiting int               // callers that wait for a pool
}

// Snapshot says what the set consists of. open is false when all pools have ended after
// Close.
func (s *SetRef) Snapshot() (snapshot SetSnapshot, open bool) {
	q := &takeSnapshot{answer: make(chan SetSnapshot, 1)}
	s.send(q)
	select {
	case snapshot = <-q.answer:
	case <-s.ended:
		return *s.last.Load(), false
	}
	if !s.Closed() {
		return snapshot, true
	}
	for _, m := range snapshot.Members { // those that have ended are not gone yet
		select {
		case <-m.ref.ended:
		default:
			open = true
		}
	}
	return snapshot, open
}

// Close closes the set. See client.Set.
func (s *SetRef) Close(ctx context.Context) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	q := &closeSet{answer: make(chan []*Member, 1)}
	s.send(q)
	var members []*Member
	select {
	case members = <-q.answer:
	case <-s.ended:
		return nil
	}
	var faults []error
	for _, m := range members { // all of them close already
		if err := m.ref.Close(ctx); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	return nil
}

// Done is closed when nothing of the set is left.
func (s *SetRef) Done() <-chan struct{} { return s.ended }

// KeyText gives the text of a key, for an error or a list. It runs code of the user.
func (s *SetRef) KeyText(key any) (text string) {
	if contain(func() { text = s.spec.Describe(key) }) != nil {
		return fmt.Sprintf("a %T", key)
	}
	return text
}

// madePool is the report of the goroutine that asks for the configuration of a pool.
type madePool struct {
	key  *setmachine.Key
	spec Spec
	err  error
}

// IgnoreDeadLetterLogging marks the message to a set that has ended as no news.
func (*madePool) IgnoreDeadLetterLogging() {}

// make asks for the configuration of the pool of a key, on a goroutine of its own.
func (s *SetRef) make(k *setmachine.Key, key any) {
	made := &madePool{key: k}
	failure := contain(func() {
		if made.spec, made.err = s.spec.Make(key); made.err == nil {
			made.spec.askLogger()
		}
	})
	if failure != nil {
		made.err = failure
	}
	if made.err != nil {
		made.err = &messages.KeyError{Key: s.KeyText(key), Err: made.err}
	}
	s.send(made)
}
