package actors

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbered is a message that says who sent it and in which place.
type numbered struct{ sender, n int }

// recorder is an invoker that notes what it is given, and whether two ever ran
// it at once.
type recorder struct {
	running  atomic.Int32
	overlaps atomic.Int32
	handled  atomic.Int64
	on       func(message any) // runs as the handler

	// What follows is only touched by the runner.
	user, system []any
	escalated    []any
}

func (r *recorder) enter() func() {
	if r.running.Add(1) != 1 {
		r.overlaps.Add(1)
	}
	return func() { r.running.Add(-1) }
}

func (r *recorder) InvokeUserMessage(message any) {
	defer r.enter()()
	r.user = append(r.user, message)
	defer r.handled.Add(1)
	if r.on != nil {
		r.on(message)
	}
}

func (r *recorder) InvokeSystemMessage(message any) {
	defer r.enter()()
	r.system = append(r.system, message)
	defer r.handled.Add(1)
	if r.on != nil {
		r.on(message)
	}
}

func (r *recorder) EscalateFailure(reason, message any) {
	r.escalated = append(r.escalated, message)
	_ = reason
}

func startMailbox(r *recorder) actor.Mailbox {
	m := NewMailbox()
	m.RegisterHandlers(r, actor.NewDefaultDispatcher(300))
	m.Start()
	return m
}

// until waits for a condition that another goroutine is about to bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestAMessageToAnIdleActorIsHandledBeforePostReturns(t *testing.T) {
	r := &recorder{}
	m := startMailbox(r)
	m.PostUserMessage("a")
	assert.Equal(t, []any{"a"}, r.user)
	m.PostSystemMessage("b")
	assert.Equal(t, []any{"b"}, r.system)
	assert.Zero(t, m.UserMessageCount())
}

func TestNothingIsHandledBeforeStartAndEverythingAfter(t *testing.T) {
	r := &recorder{}
	m := NewMailbox()
	m.PostUserMessage(1)
	m.RegisterHandlers(r, actor.NewDefaultDispatcher(300))
	m.PostUserMessage(2)
	m.PostSystemMessage("started")
	assert.Empty(t, r.user)
	assert.Equal(t, 2, m.UserMessageCount())
	m.Start()
	assert.Equal(t, []any{1, 2}, r.user)
	assert.Equal(t, []any{"started"}, r.system)
}

func TestASelfSendOnlyQueues(t *testing.T) {
	var m actor.Mailbox
	depth, deepest := 0, 0
	r := &recorder{}
	r.on = func(message any) {
		depth++
		deepest = max(deepest, depth)
		if n := message.(int); n > 0 {
			m.PostUserMessage(n - 1)
		}
		depth--
	}
	m = startMailbox(r)
	m.PostUserMessage(10)
	assert.Equal(t, []any{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, r.user)
	assert.Equal(t, 1, deepest)
}

func TestSystemMessagesGoFirst(t *testing.T) {
	var m actor.Mailbox
	var order []any
	r := &recorder{}
	r.on = func(message any) {
		order = append(order, message)
		if message == "first" {
			m.PostUserMessage("user 1")
			m.PostUserMessage("user 2")
			m.PostSystemMessage("system 1")
			m.PostSystemMessage("system 2")
		}
		if message == "user 1" {
			m.PostSystemMessage("system 3")
		}
	}
	m = startMailbox(r)
	m.PostUserMessage("first")
	assert.Equal(t, []any{"first", "system 1", "system 2", "user 1", "system 3", "user 2"}, order)
}

func TestASuspendedMailboxHoldsUserMessagesInOrderUntilItIsResumed(t *testing.T) {
	r := &recorder{}
	m := startMailbox(r)
	m.PostSystemMessage(&actor.SuspendMailbox{})
	for i := range 5 {
		m.PostUserMessage(i)
	}
	c := newGetRequest(nil)
	m.PostUserMessage(c)
	m.PostSystemMessage("system")
	assert.Empty(t, r.user)
	assert.Equal(t, []any{"system"}, r.system)
	assert.Equal(t, 6, m.UserMessageCount())
	m.PostSystemMessage(&actor.ResumeMailbox{})
	assert.Equal(t, []any{0, 1, 2, 3, 4, c}, r.user)
	assert.Zero(t, m.UserMessageCount())
	m.PostUserMessage(7)
	assert.Len(t, r.user, 7)
}

func TestAPanicIsEscalatedAndTheRestIsHandled(t *testing.T) {
	for _, post := range []string{"user", "system"} {
		t.Run(post, func(t *testing.T) {
			var m actor.Mailbox
			r := &recorder{}
			r.on = func(message any) {
				switch message {
				case "first":
					m.PostUserMessage("bang")
					m.PostUserMessage("after")
					m.PostSystemMessage("system")
				case "bang":
					panic("handler")
				}
			}
			m = startMailbox(r)
			m.PostUserMessage("first")
			assert.Equal(t, []any{"bang"}, r.escalated)
			assert.Equal(t, []any{"first", "bang", "after"}, r.user)
			if post == "system" {
				m.PostSystemMessage("bang")
				assert.Equal(t, []any{"bang", "bang"}, r.escalated)
			}
			m.PostUserMessage("later")
			assert.Equal(t, "later", r.user[len(r.user)-1])
		})
	}
}

func TestAPosterHandlesNoMoreThanItsBudget(t *testing.T) {
	const flood = 10 * budget
	var m actor.Mailbox
	release := make(chan struct{})
	r := &recorder{}
	r.on = func(message any) {
		switch n := message.(int); n {
		case 0:
			for i := 1; i <= flood; i++ {
				m.PostUserMessage(i)
			}
		case budget + 1: // the first message that is not the poster's to handle
			<-release
		}
	}
	m = startMailbox(r)
	m.PostUserMessage(0) // returns, though a message behind the budget blocks
	assert.LessOrEqual(t, r.handled.Load(), int64(budget+1))
	close(release)
	until(t, "the rest is handled", func() bool { return r.handled.Load() == flood+1 })
}

func TestEveryMessageIsHandledOnceAndInOrderOfItsSender(t *testing.T) {
	const senders, each = 50, 2000
	r := &recorder{}
	m := startMailbox(r)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if i%10 == 0 {
					m.PostSystemMessage(numbered{s, i})
				} else {
					m.PostUserMessage(numbered{s, i})
				}
			}
		})
	}
	wg.Wait()
	until(t, "all are handled", func() bool { return r.handled.Load() == senders*each })
	assert.Zero(t, r.overlaps.Load())
	assert.Len(t, r.system, senders*each/10)
	last := make(map[int]int)
	for _, message := range append(r.user, r.system...) {
		msg := message.(numbered)
		if msg.n == 0 {
			last[msg.sender] = -1 // the system messages of a sender begin again
		}
		require.Greater(t, msg.n, last[msg.sender], "sender %d", msg.sender)
		last[msg.sender] = msg.n
	}
}

// channelMailbox is the model: a mailbox that anybody can see is right. A
// goroutine takes messages from channels, system messages first.
type channelMailbox struct {
	user, system chan any
	suspended    bool
	invoker      actor.MessageInvoker
	done         chan struct{}
}

func newChannelMailbox() *channelMailbox {
	return &channelMailbox{user: make(chan any, 1<<16), system: make(chan any, 1<<16), done: make(chan struct{})}
}

func (c *channelMailbox) PostUserMessage(message any)   { c.user <- message }
func (c *channelMailbox) PostSystemMessage(message any) { c.system <- message }
func (c *channelMailbox) UserMessageCount() int         { return len(c.user) }
func (c *channelMailbox) Start()                        { go c.run() }
func (c *channelMailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	c.invoker = invoker
}

func (c *channelMailbox) run() {
	for {
		user := c.user
		if c.suspended {
			user = nil
		}
		select {
		case message := <-c.system:
			c.handle(message, true)
			continue
		default:
		}
		select {
		case message := <-c.system:
			c.handle(message, true)
		case message := <-user:
			c.handle(message, false)
		case <-c.done:
			return
		}
	}
}

func (c *channelMailbox) handle(message any, system bool) {
	defer func() {
		if reason := recover(); reason != nil {
			c.invoker.EscalateFailure(reason, message)
		}
	}()
	switch message.(type) {
	case *actor.SuspendMailbox:
		c.suspended = true
	case *actor.ResumeMailbox:
		c.suspended = false
	default:
		if system {
			c.invoker.InvokeSystemMessage(message)
		} else {
			c.invoker.InvokeUserMessage(message)
		}
	}
}

// Many senders do the same to the mailbox and to the model: posts of every
// kind, self-sends, panics, suspensions. What each sender's messages have led
// to must be the same, in the same order.
func TestTheMailboxBehavesAsTheChannelModel(t *testing.T) {
	const senders, each = 8, 150
	run := func(m actor.Mailbox) map[int][]int {
		r := &recorder{}
		r.on = func(message any) {
			msg, ok := message.(numbered)
			if !ok {
				return
			}
			if msg.n >= 0 && msg.n%7 == 3 {
				m.PostUserMessage(numbered{msg.sender, -msg.n}) // a self-send
			}
			if msg.n%31 == 30 {
				panic("handler")
			}
		}
		m.RegisterHandlers(r, actor.NewDefaultDispatcher(300))
		m.Start()
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					switch {
					case i%13 == 5:
						m.PostSystemMessage(&actor.SuspendMailbox{})
						m.PostUserMessage(numbered{s, i})
						m.PostSystemMessage(&actor.ResumeMailbox{})
					case i%5 == 4:
						m.PostUserMessage(&newGetRequest(nil).node) // a message with its own node
						m.PostUserMessage(numbered{s, i})
					default:
						m.PostUserMessage(numbered{s, i})
					}
				}
			})
		}
		wg.Wait()
		m.PostSystemMessage(&actor.ResumeMailbox{})
		var want int64
		for i := range each {
			want++
			if i%13 != 5 && i%5 == 4 {
				want++
			}
			if i%7 == 3 {
				want++
			}
		}
		until(t, "all are handled", func() bool { return r.handled.Load() == want*senders })
		assert.Zero(t, r.overlaps.Load())
		got := make(map[int][]int)
		for _, message := range r.user {
			if msg, ok := message.(numbered); ok && msg.n >= 0 {
				got[msg.sender] = append(got[msg.sender], msg.n)
			}
		}
		got[-1] = []int{len(r.escalated)}
		return got
	}
	model := newChannelMailbox()
	defer close(model.done)
	assert.Equal(t, run(model), run(NewMailbox()))
}

// item is a message that is no news as a dead letter.
type item int

func (item) IgnoreDeadLetterLogging() {}

// A real actor over the mailbox: restarted in the middle of a flood, it loses
// nothing but the message that it panicked on; stopped, it drops what pends.
func TestAnActorOverTheMailboxIsRestartedAndStopped(t *testing.T) {
	system := newSystem()
	var handled atomic.Int64
	stopped := make(chan struct{})
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case item:
			switch {
			case msg < 0:
				ctx.Stop(ctx.Self())
			case msg%100 == 99:
				panic(fmt.Sprint("at ", msg))
			}
			handled.Add(1)
		case *actor.Stopped:
			close(stopped)
		}
	}, actor.WithMailbox(NewMailbox), actor.WithGuardian(actor.NewRestartingStrategy()))
	pid := system.Root.Spawn(props)
	const senders, each = 8, 1000
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := range each {
				system.Root.Send(pid, item(i))
			}
		})
	}
	wg.Wait()
	until(t, "all are handled", func() bool { return handled.Load() == senders*(each-each/100) })
	for range senders {
		wg.Go(func() {
			system.Root.Send(pid, item(-1))
			for i := range each {
				system.Root.Send(pid, item(i))
			}
		})
	}
	wg.Wait()
	<-stopped
}

// The longest that a Post took while others flood the actor, beside the mean.
func BenchmarkLongestPostUnderFlood(b *testing.B) {
	r := &recorder{}
	m := NewMailbox()
	m.RegisterHandlers(discard{r}, actor.NewDefaultDispatcher(300))
	m.Start()
	var longest atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		g := newGetRequest(nil)
		mine := int64(0)
		for pb.Next() {
			start := time.Now()
			m.PostUserMessage(&g.node)
			mine = max(mine, int64(time.Since(start)))
			if !g.handover.wasDirect() {
				for g.handover.race.Load() == pending {
					runtime.Gosched()
				}
				g.handover.reset()
			}
		}
		for old := longest.Load(); mine > old && !longest.CompareAndSwap(old, mine); old = longest.Load() {
		}
	})
	b.ReportMetric(float64(longest.Load()), "longest-ns")
}

// discard answers requests and notes nothing.
type discard struct{ *recorder }

func (discard) InvokeUserMessage(message any) { message.(*getRequest).answer() }

func BenchmarkPost(b *testing.B) {
	for _, mb := range []struct {
		name string
		make func() actor.Mailbox
	}{{"combining", NewMailbox}} {
		b.Run(mb.name, func(b *testing.B) {
			m := mb.make()
			m.RegisterHandlers(discard{&recorder{}}, actor.NewDefaultDispatcher(300))
			m.Start()
			g := newGetRequest(nil)
			b.ReportAllocs()
			for b.Loop() {
				m.PostUserMessage(&g.node)
			}
		})
	}
}

// The mailbox of an actor with long turns: whoever posts goes on at once, and the turns
// are still one at a time, in order.
func TestNobodyWaitsForAnActorAside(t *testing.T) {
	const posts = 100
	release := make(chan struct{})
	r := &recorder{}
	r.on = func(message any) {
		if message == 0 {
			<-release
		}
	}
	m := newAsideMailbox()
	m.RegisterHandlers(r, actor.NewDefaultDispatcher(300))
	m.PostSystemMessage("started")
	m.Start()
	for i := range posts {
		if i%2 == 0 {
			m.PostUserMessage(&node{message: i})
		} else {
			m.PostUserMessage(i)
		}
	}
	m.PostSystemMessage("stop")
	close(release)
	until(t, "everything is handled", func() bool { return r.handled.Load() == posts+2 })
	for i := range posts {
		assert.Equal(t, i, r.user[i])
	}
	assert.Equal(t, []any{"started", "stop"}, r.system)
	assert.Zero(t, r.overlaps.Load())
	until(t, "it rests", func() bool { return m.(*mailbox).state.Load() == stateFree })
	m.PostUserMessage(0) // release is closed: it is handled on another goroutine now
	until(t, "it works again", func() bool { return r.handled.Load() == posts+3 })
}
