package testkit

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// Borrower is an actor that borrows by message. It runs each [Action] that it is
// sent, and keeps every other message for [Borrower.Take]. All its incarnations
// are one Borrower.
type Borrower struct {
	Root *actor.RootContext
	PID  *actor.PID

	mu         sync.Mutex
	received   []any
	starts     int
	hasStopped bool
}

// Action is a message that makes a [Borrower] do something on its turn.
type Action func(ctx actor.Context)

// Receive implements actor.Actor.
func (b *Borrower) Receive(ctx actor.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch msg := ctx.Message().(type) {
	case Action:
		msg(ctx)
	case *actor.Started:
		b.starts++
	case *actor.Stopped:
		b.hasStopped = true
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		b.received = append(b.received, msg)
	}
}

// Props are the props to spawn it with.
func (b *Borrower) Props(opts ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return b }, opts...)
}

// NewBorrower makes one that is still to be spawned: the test sets its PID.
func (w *World) NewBorrower() *Borrower { return &Borrower{Root: w.System.Root} }

// Borrower spawns one without a parent.
func (w *World) Borrower(opts ...actor.PropsOption) *Borrower {
	b := w.NewBorrower()
	b.PID = w.System.Root.Spawn(b.Props(opts...))
	synctest.Wait()
	return b
}

// Children spawns a parent with n borrowers, which it supervises.
func (w *World) Children(strategy actor.SupervisorStrategy, n int, opts ...actor.PropsOption) (parent *actor.PID, children []*Borrower) {
	parent = w.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			for range n {
				b := w.NewBorrower()
				b.PID = ctx.Spawn(b.Props(opts...))
				children = append(children, b)
			}
		}
	}, actor.WithSupervisor(strategy)))
	synctest.Wait()
	return parent, children
}

// RestartChild is the strategy of a parent that restarts a child which crashes.
func RestartChild() actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(1<<20, time.Hour, func(any) actor.Directive { return actor.RestartDirective })
}

// StopChild is the strategy of a parent that stops a child which crashes.
func StopChild() actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
}

// Tell sends it a message, and does not wait.
func (b *Borrower) Tell(message any) { b.Root.Send(b.PID, message) }

// Do makes it do something and waits until all is quiet.
func (b *Borrower) Do(f Action) {
	b.Tell(f)
	synctest.Wait()
}

// Request sends requests to a pool, on one turn of the borrower, and waits until
// all is quiet.
func (b *Borrower) Request(p *Pool, requests ...any) {
	b.Do(func(ctx actor.Context) {
		for _, r := range requests {
			ctx.Request(p.PID(), r)
		}
	})
}

// Borrow gets a connection that is available.
func (b *Borrower) Borrow(t testing.TB, p *Pool) *messages.Lease {
	t.Helper()
	b.Request(p, &messages.Get{})
	return b.TakeLease(t)
}

// Put ends a lease.
func (b *Borrower) Put(p *Pool, l *messages.Lease) {
	b.Do(func(ctx actor.Context) { ctx.Send(p.PID(), &messages.Put{Lease: l.ID}) })
}

// Take waits until all is quiet and gives what has come since the last time.
func (b *Borrower) Take() []any {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	received := b.received
	b.received = nil
	return received
}

// TakeLease is Take where one lease must have come and nothing else.
func (b *Borrower) TakeLease(t testing.TB) *messages.Lease {
	t.Helper()
	return takeOne[*messages.Lease](t, b)
}

// TakeDone is Take where one Done must have come and nothing else. It gives its
// error.
func (b *Borrower) TakeDone(t testing.TB) error {
	t.Helper()
	return takeOne[*messages.Done](t, b).Err
}

// TakeDenied is Take where one Denied must have come and nothing else. It gives
// its error.
func (b *Borrower) TakeDenied(t testing.TB) error {
	t.Helper()
	return takeOne[*messages.Denied](t, b).Err
}

func takeOne[M any](t testing.TB, b *Borrower) M {
	t.Helper()
	received := b.Take()
	require.Len(t, received, 1)
	m, ok := received[0].(M)
	require.True(t, ok, "a %T has come: %+v", received[0], received[0])
	return m
}

// Crash makes it panic.
func (b *Borrower) Crash() { b.Do(func(actor.Context) { panic("the borrower crashes") }) }

// Stop stops it, and waits until all is quiet.
func (b *Borrower) Stop(t testing.TB) {
	t.Helper()
	require.NoError(t, b.Root.StopFuture(b.PID).Wait())
	synctest.Wait()
}

// Stopped says whether an incarnation was told that it has stopped.
func (b *Borrower) Stopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hasStopped
}

// Incarnations counts how often it was started or restarted.
func (b *Borrower) Incarnations() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.starts
}
