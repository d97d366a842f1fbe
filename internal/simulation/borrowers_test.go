package simulation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

const (
	stormBorrowers   = 2000
	stormVictims     = stormBorrowers / 2
	stormConnections = 24
)

// borrowerStorm is a pool and 2000 actors that borrow from it, half of which stop
// while they hold a connection or wait for one.
type borrowerStorm struct {
	t    *testing.T
	root *actor.RootContext
	pid  *actor.PID // the pool's

	opened, closed, resets atomic.Int64
	victims                sync.WaitGroup // counts down as they stop
	survivors              sync.WaitGroup // counts down as they finish
	restarted              atomic.Int64
}

type borrowedConn struct{ usage }

func (g *borrowerStorm) connect(context.Context) (*borrowedConn, error) {
	g.opened.Add(1)
	return &borrowedConn{usage{fail: g.t.Errorf}}, nil
}

func (g *borrowerStorm) reset(_ context.Context, c *borrowedConn) error {
	defer c.call("reset")()
	if g.resets.Add(1)%4 == 0 {
		runtime.Gosched()
	}
	return nil
}

func (g *borrowerStorm) disconnect(_ context.Context, c *borrowedConn) error {
	defer c.call("disconnect")()
	c.close()
	g.closed.Add(1)
	return nil
}

// ending says how a borrower ends.
type ending uint8

const (
	survives           ending = iota // it borrows a few times and finishes
	crashesAndRestarts               // the same, and it crashes now and then and is restarted

	isStopped     // from outside, at any time
	isPoisoned    // from outside, at any time
	isMadeToPanic // by a message; it is not restarted
	stopsHolding  // it stops itself while it holds
	stopsWaiting  // or while it waits, or is about to hold
	panicsHolding // it panics while it holds, and is not restarted
	panicsWaiting
	endings
)

// stormBorrower is an actor that borrows. Each incarnation is a value of its own.
type stormBorrower struct {
	*borrowerStorm
	ending ending
	rng    *rand.Rand
	rounds *int // how often it borrows before it ends; shared by its incarnations
	asked  bool // an answer is due
	conn   *borrowedConn
	id     messages.LeaseID
}

type (
	panicNow     struct{}
	pause        struct{ n int } // sent to itself n more times while it holds
	futureResult struct {        // the answer to a future
		answer any
		err    error
	}
)

// Receive implements actor.Actor.
func (v *stormBorrower) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		v.ask(ctx)
	case *actor.Stopping:
		v.releaseConn()
	case *actor.Stopped:
		if v.ending > crashesAndRestarts {
			v.victims.Done()
		}
	case panicNow:
		v.releaseConn()
		panic("panics because it is told to")
	case *messages.Lease:
		v.granted(ctx, msg)
	case *messages.Denied:
		if !v.asked || !errors.Is(msg.Err, context.DeadlineExceeded) {
			v.t.Errorf("denied (asked: %v): %v", v.asked, msg.Err)
		}
		v.asked = false
		v.ask(ctx)
	case futureResult:
		switch answer := msg.answer.(type) {
		case *messages.Lease:
			v.granted(ctx, answer)
		default:
			v.t.Errorf("the future of a living borrower ends with %v, %v", msg.answer, msg.err)
		}
	case pause:
		if msg.n > 0 {
			ctx.Send(ctx.Self(), pause{msg.n - 1})
			return
		}
		v.endLease(ctx)
	case *messages.Done:
		if msg.Err != nil {
			v.t.Errorf("the lease of a living borrower has ended: %v", msg.Err)
		}
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		v.t.Errorf("a borrower is sent a %T", msg)
	}
}

// releaseConn ends the use of the connection.
func (v *stormBorrower) releaseConn() {
	if v.conn != nil {
		v.conn.release()
		v.conn = nil
	}
}

func (v *stormBorrower) ask(ctx actor.Context) {
	v.asked = true
	get := &messages.Get{}
	switch n := v.rng.IntN(20); {
	case n < 3:
		get.Label = "borrower"
	case n < 5:
		get.Deadline = time.Now().Add(time.Duration(v.rng.IntN(3000)) * time.Microsecond)
	case n < 8 && v.ending != crashesAndRestarts: // else a new incarnation gets the answer that the former one asked for
		get.Borrower = ctx.Self()
		self := ctx.Self()
		ctx.ReenterAfter(ctx.RequestFuture(v.pid, get, time.Minute), func(answer any, err error) {
			ctx.Send(self, futureResult{answer, err})
		})
		return
	}
	ctx.Request(v.pid, get)
	if *v.rounds > 0 {
		return
	}
	switch v.ending {
	case stopsWaiting:
		ctx.Stop(ctx.Self())
	case panicsWaiting:
		panic("panics while it waits")
	}
}

func (v *stormBorrower) granted(ctx actor.Context, l *messages.Lease) {
	if !v.asked {
		v.t.Error("a lease comes that was not asked for")
	}
	v.asked = false
	v.conn, v.id = l.Conn.(*borrowedConn), l.ID
	v.conn.take()
	if *v.rounds <= 0 {
		switch v.ending {
		case stopsHolding:
			ctx.Stop(ctx.Self())
			return
		case panicsHolding:
			v.releaseConn()
			panic("panics while it holds")
		}
	}
	if v.ending == crashesAndRestarts && v.rng.IntN(3) == 0 {
		v.restarted.Add(1)
		v.releaseConn()
		panic("crashes and is restarted")
	}
	if v.rng.IntN(100) == 0 {
		time.Sleep(time.Duration(v.rng.IntN(100)) * time.Microsecond)
	}
	ctx.Send(ctx.Self(), pause{v.rng.IntN(4)})
}

func (v *stormBorrower) endLease(ctx actor.Context) {
	v.releaseConn()
	var end any = &messages.Put{Lease: v.id}
	if v.rng.IntN(8) == 0 {
		end = &messages.Taint{Lease: v.id}
	}
	if v.rng.IntN(2) == 0 {
		ctx.Request(v.pid, end)
	} else {
		ctx.Send(v.pid, end)
	}
	*v.rounds--
	if v.ending <= crashesAndRestarts && *v.rounds <= 0 {
		v.survivors.Done()
		return
	}
	v.ask(ctx)
}

// spawnAll spawns all borrowers: the victims under a parent that stops a child
// which crashes, the survivors under one that restarts it.
func (g *borrowerStorm) spawnAll(rng *rand.Rand, seed uint64) (victims []*actor.PID, endingOf map[*actor.PID]ending) {
	endingOf = map[*actor.PID]ending{}
	all := rng.Perm(stormBorrowers)
	spawn := func(ctx actor.Context, i int, f ending, opts ...actor.PropsOption) *actor.PID {
		rounds := 1 + rng.IntN(4)
		own := rand.New(rand.NewPCG(seed, uint64(i)))
		return ctx.Spawn(actor.PropsFromProducer(func() actor.Actor {
			return &stormBorrower{borrowerStorm: g, ending: f, rng: own, rounds: &rounds}
		}, opts...))
	}
	ready := make(chan struct{})
	parent := func(f func(ctx actor.Context), strategy actor.SupervisorStrategy) {
		g.root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				f(ctx)
				ready <- struct{}{}
			}
		}, actor.WithSupervisor(strategy)))
		<-ready
	}
	g.victims.Add(stormVictims)
	g.survivors.Add(stormBorrowers - stormVictims)
	parent(func(ctx actor.Context) {
		for _, i := range all[:stormVictims] {
			f := isStopped + ending(rng.IntN(int(endings-isStopped)))
			pid := spawn(ctx, i, f)
			endingOf[pid] = f
			victims = append(victims, pid)
		}
	}, testkit.StopChild())
	release := actor.WithReceiverMiddleware(actors.ReleaseOnRestart(g.pid))
	parent(func(ctx actor.Context) {
		for _, i := range all[stormVictims:] {
			if i%3 == 0 {
				spawn(ctx, i, crashesAndRestarts, release)
			} else {
				spawn(ctx, i, survives)
			}
		}
	}, testkit.RestartChild())
	return victims, endingOf
}

// waitUntilForgotten waits until the pool names a borrower that has stopped no
// more.
func (g *borrowerStorm) waitUntilForgotten(p *client.Pool[*borrowedConn], pid *actor.PID) {
	address := pid.Address + "/" + pid.Id
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		e, err := p.Explain(context.Background())
		if err != nil {
			g.t.Errorf("explain: %v", err)
			return
		}
		found := false
		for _, h := range e.Holders {
			found = found || h.Borrower == address
		}
		for _, w := range e.Waiters {
			found = found || w.Borrower == address
		}
		if !found {
			return
		}
		if time.Now().After(deadline) {
			g.t.Errorf("%s has stopped and still holds or waits:\n%v", address, e)
			return
		}
	}
}

func (g *borrowerStorm) check(st client.Stats) {
	testkit.Consistent(g.t, st)
	if st.Open+st.Connecting+st.Closing > stormConnections {
		g.t.Errorf("more connections than the capacity: %+v", st)
	}
}

func TestHalfOfTwoThousandBorrowersDieAndNoLeaseIsLost(t *testing.T) {
	for name, opts := range map[string][]actor.PropsOption{
		"combining mailbox": nil,
		"library mailbox":   testkit.LibraryMailbox(),
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			runBorrowerStorm(t, seed, opts...)
		})
	}
}

func runBorrowerStorm(t *testing.T, seed uint64, opts ...actor.PropsOption) {
	rng := rand.New(rand.NewPCG(seed, 0))
	system := testkit.QuietSystem()
	g := &borrowerStorm{t: t, root: system.Root}
	props, err := client.Props(client.Config[*borrowedConn]{
		Connect: g.connect, Reset: g.reset, Disconnect: g.disconnect, Capacity: stormConnections, MaxConnecting: 4,
	}, opts...)
	require.NoError(t, err)
	g.pid = system.Root.Spawn(props)
	p := client.Attach[*borrowedConn](system, g.pid)

	over := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // somebody reads the counters
		for {
			select {
			case <-over:
				return
			default:
				g.check(p.Stats())
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for i := range 4 { // goroutines borrow too
		own := rand.New(rand.NewPCG(seed, uint64(stormBorrowers+i)))
		others.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				bounded, cancel := context.WithTimeout(context.Background(), time.Duration(own.IntN(5000))*time.Microsecond)
				_ = p.Do(bounded, func(_ context.Context, c *borrowedConn) error {
					c.take()
					c.release()
					return nil
				})
				cancel()
			}
		})
	}

	victims, endingOf := g.spawnAll(rng, seed)
	for i, v := range rng.Perm(len(victims)) {
		pid := victims[v]
		switch endingOf[pid] {
		case isStopped:
			if i%16 == 0 {
				require.NoError(t, system.Root.StopFuture(pid).Wait())
				g.waitUntilForgotten(p, pid)
			} else {
				system.Root.Stop(pid)
			}
		case isPoisoned:
			system.Root.Poison(pid)
		case isMadeToPanic:
			system.Root.Send(pid, panicNow{})
		}
		if rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(50)) * time.Microsecond)
		}
	}
	ended := make(chan struct{})
	go func() { g.victims.Wait(); g.survivors.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		e, _ := p.Explain(context.Background())
		t.Fatalf("not every borrower has ended:\n%v", e)
	}
	close(over)
	others.Wait()
	var st client.Stats
	require.Eventually(t, func() bool {
		st = p.Stats()
		g.check(st)
		return st.Borrowed+st.Waiting+st.InTransition+st.Connecting+st.Closing == 0
	}, 10*time.Second, time.Millisecond, "everything comes back")
	assert.Equal(t, st.Open, st.Idle)
	assert.Equal(t, st.Gets, st.Grants+st.Timeouts+st.Cancels, "every Get ends once")
	assert.Equal(t, st.Grants, st.Puts+st.Taints+st.Revoked, "every lease ends once")
	assert.EqualValues(t, st.Open, g.opened.Load()-g.closed.Load())
	for range stormConnections { // every connection can be used
		require.NoError(t, p.Do(context.Background(), func(context.Context, *borrowedConn) error { return nil }))
	}
	require.NoError(t, p.Close(testkit.Within(t, 10*time.Second)))
	// Close does not wait for a reset that ignores its context.
	require.Eventually(t, func() bool { return g.opened.Load() == g.closed.Load() }, 10*time.Second, time.Millisecond,
		"connections opened and closed")
	t.Logf("gets %d, grants %d, revoked %d, cancels %d, timeouts %d, restarts %d, resets %d, connections %d",
		st.Gets, st.Grants, st.Revoked, st.Cancels, st.Timeouts, g.restarted.Load(), g.resets.Load(), g.opened.Load())
}
