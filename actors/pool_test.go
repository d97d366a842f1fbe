package actors

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/supervisor"
)

// fake counts the connections of a pool under test.
type fake struct{ opened, closed atomic.Int64 }

func (f *fake) spec(capacity int) Spec {
	return Spec{
		Policy: Policy{
			Name: "test", Capacity: capacity, MaxConnecting: 2, ConnectTimeout: 10 * time.Second, CheckTimeout: time.Second, DisconnectTimeout: time.Second,
			Backoff: Backoff{Mode: BackoffNever, Base: time.Second, Cap: time.Second},
		},
		Connect:    func(context.Context) (any, error) { return int(f.opened.Add(1)), nil },
		Disconnect: func(context.Context, any) error { f.closed.Add(1); return nil },
		Classify:   Classify,
		Broken:     func(error) bool { return false },
	}
}

// allClosed waits until every connection is closed. A connect that was under way
// at Close is not waited for by it, and its connection is closed when it comes.
func (f *fake) allClosed(t *testing.T) {
	t.Helper()
	until(t, "every connection is closed", func() bool { return f.closed.Load() == f.opened.Load() })
}

func spawnPool(t *testing.T, spec Spec, opts ...actor.PropsOption) (*actor.ActorSystem, *Ref) {
	t.Helper()
	system := newSystem()
	ref, err := Find(t.Context(), system, system.Root.Spawn(Props(spec, opts...)))
	require.NoError(t, err)
	return system, ref
}

// bomb is a report that panics on the pool actor's turn, as only a bug could.
func bomb() any { return &job{slot: &machine.Slot{}} }

// A bug in the pool itself must not leave anybody waiting, nor a connection
// open, and must not bring up an empty pool beside leases that are out.
func TestAPoolActorThatPanicsIsStoppedAndTellsEverybody(t *testing.T) {
	for name, opts := range map[string][]actor.PropsOption{
		"under the guardian":         {actor.WithGuardian(supervisor.Pool())},
		"under one that restarts it": {actor.WithGuardian(actor.NewRestartingStrategy())},
		"under one that resumes it": {actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Second,
			func(any) actor.Directive { return actor.ResumeDirective }))},
		"under one that panics": {actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Second,
			func(any) actor.Directive { return actor.EscalateDirective }))}, // which the library answers with a panic
		"under one that ends its goroutine": {actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Second,
			func(any) actor.Directive { runtime.Goexit(); return actor.StopDirective }))},
		"under the default strategy": nil,
		"on the default mailbox":     {actor.WithMailbox(actor.Unbounded()), actor.WithGuardian(supervisor.Pool())},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			system, ref := spawnPool(t, f.spec(2), opts...)
			held, err := ref.Get(t.Context(), "held", nil)
			require.NoError(t, err)
			other, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)

			errs := make(chan error)
			go func() {
				_, err := ref.Get(context.Background(), "waiter", nil)
				errs <- err
			}()
			until(t, "the waiter waits", func() bool { return ref.Stats().Waiting == 1 })
			system.Root.Send(ref.pid, bomb())

			err = <-errs
			assert.ErrorIs(t, err, messages.ErrClosed)
			assert.ErrorIs(t, err, messages.ErrPoolFailed)
			<-ref.ended
			assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
			assert.ErrorIs(t, other.Taint(nil), messages.ErrLeaseEnded)
			_, err = ref.Get(t.Context(), "", nil)
			assert.ErrorIs(t, err, messages.ErrClosed)
			assert.ErrorIs(t, ref.SetCapacity(t.Context(), 5), messages.ErrPoolFailed)
			assert.Equal(t, messages.StateClosed, ref.Stats().State)
			until(t, "every connection is closed", func() bool { return f.closed.Load() == f.opened.Load() })
			assert.EqualValues(t, 2, f.opened.Load())
			until(t, "the actor is gone", func() bool {
				_, there := system.ProcessRegistry.Get(ref.pid)
				return !there
			})
			<-ref.Done()
			assert.Equal(t, messages.StateClosed, ref.Health().State)
		})
	}
}

// A turn that panics between deciding and performing has taken a Get out of the
// queue and not answered it. Its caller sleeps on its channel alone.
func TestAGetThatWasDecidedOnAPanickingTurnIsAnswered(t *testing.T) {
	m := machine.New(Policy{Capacity: 1, MaxConnecting: 1, ConnectTimeout: time.Second, CheckTimeout: time.Second, DisconnectTimeout: time.Second})
	g := newGetRequest(nil)
	g.handover.way = queued
	m.Get(0, &g.waiter)
	slot := m.Effects()[0].Slot
	m.Done()
	m.Connected(0, slot, newPoolConn(1))
	require.False(t, m.Waits(&g.waiter))

	p := &pool{m: m, ref: &Ref{}}
	p.rejectAll()
	<-g.handover.wakes
	assert.ErrorIs(t, g.err, messages.ErrClosed)
}

// On the pool's own mailbox a caller that waits sleeps on its own channel alone, also when
// another goroutine runs the pool: it is answered whatever the pool's end is, and however
// far its request has come.
func TestEveryGetIsAnsweredHoweverThePoolEnds(t *testing.T) {
	restarts := actor.WithGuardian(actor.NewRestartingStrategy())
	escalates := actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Second, func(any) actor.Directive { return actor.EscalateDirective }))
	for name, c := range map[string]struct {
		opts []actor.PropsOption
		end  func(*actor.ActorSystem, *Ref)
	}{
		"closed":                {nil, func(_ *actor.ActorSystem, r *Ref) { _ = r.Close(context.Background()) }},
		"stopped":               {nil, func(s *actor.ActorSystem, r *Ref) { s.Root.Stop(r.pid) }},
		"panicked":              {nil, func(s *actor.ActorSystem, r *Ref) { s.Root.Send(r.pid, bomb()) }},
		"restarted":             {[]actor.PropsOption{restarts}, func(s *actor.ActorSystem, r *Ref) { s.Root.Send(r.pid, bomb()) }},
		"its supervisor panics": {[]actor.PropsOption{escalates}, func(s *actor.ActorSystem, r *Ref) { s.Root.Send(r.pid, bomb()) }},
		"restarted by somebody": {[]actor.PropsOption{restarts}, func(s *actor.ActorSystem, r *Ref) {
			r.process.SendSystemMessage(r.pid, &actor.Restart{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			for range 10 {
				system, ref := spawnPool(t, f.spec(2), c.opts...)
				var callers sync.WaitGroup
				var served atomic.Int64
				for i := range 16 {
					callers.Go(func() {
						for {
							l, err := ref.Get(context.Background(), "", nil)
							if err != nil {
								assert.ErrorIs(t, err, messages.ErrClosed)
								return
							}
							served.Add(1)
							if i%2 == 0 {
								runtime.Gosched()
							}
							_ = l.Put()
						}
					})
				}
				until(t, "there is a crowd", func() bool { return served.Load() > 100 })
				c.end(system, ref)
				callers.Wait()
				<-ref.Done()
				// Whoever had the Ref in hand and was slow comes when nothing is left.
				late, again := newGetRequest(ref), newGetRequest(ref)
				for g, message := range map[*getRequest]any{late: &late.node, again: &again.other} {
					ref.process.SendUserMessage(ref.pid, message)
					require.NoError(t, ref.wait(context.Background(), nil, g))
					assert.ErrorIs(t, g.err, messages.ErrClosed)
				}
			}
		})
	}
}

func TestAPoolThatIsStoppedFromOutsideFailsWaitersAndClosesEverything(t *testing.T) {
	f := &fake{}
	system, ref := spawnPool(t, f.spec(1))
	held, err := ref.Get(t.Context(), "", nil)
	require.NoError(t, err)
	errs := make(chan error)
	go func() {
		_, err := ref.Get(context.Background(), "", nil)
		errs <- err
	}()
	until(t, "the waiter waits", func() bool { return ref.Stats().Waiting == 1 })
	require.NoError(t, system.Root.StopFuture(ref.pid).Wait())
	err = <-errs
	assert.ErrorIs(t, err, messages.ErrClosed)
	assert.NotErrorIs(t, err, messages.ErrPoolFailed)
	assert.ErrorIs(t, held.Put(), messages.ErrLeaseEnded)
	assert.NoError(t, ref.Close(t.Context()))
	assert.EqualValues(t, 1, f.closed.Load())
}

// Whichever function panics, and however often, the pool goes on: connectors
// are restarted, then given up and replaced.
func TestConnectorsThatPanicAreRestartedThenReplaced(t *testing.T) {
	for _, phase := range []string{"connect", "check", "reset", "disconnect"} {
		t.Run(phase, func(t *testing.T) {
			f := &fake{}
			spec := f.spec(2)
			spec.Policy.Check, spec.Policy.Reset = true, true
			var armed atomic.Bool
			guard := func(here string) {
				if here == phase && armed.Load() {
					panic(errors.New(here))
				}
			}
			connect, disconnect := spec.Connect, spec.Disconnect
			spec.Connect = func(ctx context.Context) (any, error) { guard("connect"); return connect(ctx) }
			spec.Check = func(context.Context, any) error { guard("check"); return nil }
			spec.Reset = func(context.Context, any) error { guard("reset"); return nil }
			spec.Disconnect = func(ctx context.Context, conn any) error {
				err := disconnect(ctx, conn)
				guard("disconnect")
				return err
			}
			_, ref := spawnPool(t, spec)
			armed.Store(true)
			for range 5 * supervisor.Limit {
				loan, err := ref.Get(t.Context(), "", nil)
				if err != nil {
					var p *messages.PanicError
					require.ErrorAs(t, err, &p)
					require.ErrorIs(t, err, messages.ErrConnectFailed)
					assert.NotEmpty(t, p.Stack)
					continue
				}
				require.NotEqual(t, "connect", phase)
				if phase == "disconnect" {
					require.NoError(t, loan.Taint(nil))
				} else {
					require.NoError(t, loan.Put())
				}
			}
			armed.Store(false)
			loan, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)
			require.NoError(t, loan.Put())
			require.NoError(t, ref.Close(t.Context()))
			f.allClosed(t)
		})
	}
}

// A connector that is given up has perhaps not begun the job that came after
// the one it panicked on: closing the connection must not be lost with it.
func TestAJobBehindTheLastPanicIsNotLost(t *testing.T) {
	f := &fake{}
	spec := f.spec(1)
	spec.Policy.Reset = true
	spec.Reset = func(context.Context, any) error { panic("reset") }
	_, ref := spawnPool(t, spec)
	for range 4 * supervisor.Limit {
		loan, err := ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
		require.NoError(t, loan.Put())
	}
	require.NoError(t, ref.Close(t.Context()))
	f.allClosed(t)
}

func TestTwoPutsOfOneLeaseAtOnceReturnItOnce(t *testing.T) {
	f := &fake{}
	_, ref := spawnPool(t, f.spec(4))
	for range 200 {
		loan, err := ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
		var ended atomic.Int32
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				err := loan.Put
				if i%2 == 0 {
					err = func() error { return loan.Taint(nil) }
				}
				if err() == nil {
					ended.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, ended.Load())
	}
	require.NoError(t, ref.Close(t.Context()))
	f.allClosed(t)
}

// A connect that ignores its context holds its place for ConnectTimeout and a
// quarter; then it is given up, and what it brings in the end is closed.
func TestAConnectThatIgnoresItsContextIsGivenUpAndItsConnectionClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		spec := f.spec(1)
		release := make(chan struct{})
		var calls atomic.Int32
		connect := spec.Connect
		spec.Connect = func(ctx context.Context) (any, error) {
			if calls.Add(1) == 1 {
				<-release
			}
			return connect(ctx)
		}
		_, ref := spawnPool(t, spec)
		start := time.Now()
		_, err := ref.Get(t.Context(), "", nil)
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 12500*time.Millisecond, time.Since(start))
		loan, err := ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
		close(release)
		synctest.Wait()
		assert.EqualValues(t, 2, f.opened.Load())
		assert.EqualValues(t, 1, f.closed.Load())
		require.NoError(t, loan.Put())
		require.NoError(t, ref.Close(t.Context()))
		assert.EqualValues(t, 2, f.closed.Load())
		synctest.Wait()
	})
}

func TestSlowEventHandlersLoseTheOldestAndAreTold(t *testing.T) {
	f := &fake{}
	spec := f.spec(1)
	release := make(chan struct{})
	var seqs []uint64
	spec.OnEvent = func(e messages.Event) {
		if len(seqs) == 0 {
			<-release
		}
		seqs = append(seqs, e.Seq)
	}
	_, ref := spawnPool(t, spec)
	for range maxWaiting {
		loan, err := ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
		require.NoError(t, loan.Put())
	}
	close(release)
	require.NoError(t, ref.Close(t.Context()))
	<-ref.ended
	dropped := ref.Stats().DroppedEvents
	assert.Positive(t, dropped)
	var gaps uint64
	for i := 1; i < len(seqs); i++ {
		require.Greater(t, seqs[i], seqs[i-1])
		gaps += seqs[i] - seqs[i-1] - 1
	}
	assert.Equal(t, dropped, gaps)
}

func TestAnEventHandlerThatEndsItsGoroutineMissesNoOtherEvent(t *testing.T) {
	f := &fake{}
	spec := f.spec(1)
	var seqs []uint64
	spec.OnEvent = func(e messages.Event) {
		seqs = append(seqs, e.Seq)
		if e.Kind == messages.CheckedOut {
			runtime.Goexit()
		}
	}
	_, ref := spawnPool(t, spec)
	for range 5 {
		loan, err := ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
		require.NoError(t, loan.Put())
	}
	require.NoError(t, ref.Close(t.Context()))
	<-ref.ended
	for i, seq := range seqs {
		require.EqualValues(t, i+1, seq)
	}
}

func TestAnIdleConnectionHoldsNoGoroutine(t *testing.T) {
	const many = 1000
	f := &fake{}
	spec := f.spec(many)
	spec.Policy.MaxConnecting = many
	_, ref := spawnPool(t, spec)
	before := runtime.NumGoroutine()
	loans := make([]Lease, many)
	for i := range loans {
		var err error
		loans[i], err = ref.Get(t.Context(), "", nil)
		require.NoError(t, err)
	}
	for _, loan := range loans {
		require.NoError(t, loan.Put())
	}
	assert.Equal(t, many, ref.Stats().Idle)
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	require.NoError(t, ref.Close(t.Context()))
	assert.EqualValues(t, many, f.closed.Load())
}
