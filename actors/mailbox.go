package actors

import (
	"runtime"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox is the combining mailbox.
//
// An ordinary mailbox queues a message and wakes a goroutine to handle it. This one
// lets the sender's own goroutine handle the message if nobody else is running the
// actor, so that a request to an idle actor is a function call between two atomic
// operations. If somebody is running it, the message is left with that goroutine.
//
// # The state
//
// All of that is in one atomic word, the state, beside which there is a list of
// pending messages:
//
//	free    nobody runs the actor.
//	held    one goroutine, the runner, runs it.
//	marked  the same, and something has been added to the list.
//
// Its transitions are each one compare-and-swap, or in the last case a store:
//
//	free → held    Post. The poster is the runner now and handles its message here
//	               and now, without the list.
//	held → marked  Post, after adding to the list. The runner will see it.
//	free → held    Post, after adding to the list, because the runner has gone
//	               meanwhile: the poster is the runner, and takes.
//	held → free    Release. It fails if the state is marked; then the runner takes.
//	               So nothing is left behind, and there is never more than one
//	               runner.
//	marked → held  Take: first the state, then the whole list, which is reversed to
//	               give arrival order. A poster that adds to the list after the
//	               store marks again; at worst the runner takes an empty list.
//
// The state is an integer and not the head of the list, though one word could be
// both: swapping integers is an instruction, swapping pointers is a call. And a
// poster that does not contend never touches the list.
//
// A direct turn takes the same transitions without a message: enter is free → held, and
// exit is a release. See direct.go.
//
// It starts as held, because the library registers an actor before its mailbox
// knows its handlers; Start is the first runner.
//
// # What the runner owns
//
// Everything but the two lists that posters add to belongs to the runner: taken
// messages (todo), messages kept while suspended (kept), the suspended flag. The
// state hands them from runner to runner.
//
// System messages have a list of their own, which the runner looks at before every
// user message. Whoever adds to it then posts an empty node (a nudge) to the other
// list. So either the runner finds the nudge, or its poster becomes the runner.
//
// # Races, and why they are none
//
//   - A post while the runner is about to stop: the mark makes the release fail, or
//     the poster finds the state free.
//   - A node that is taken before its poster has marked: the poster marks all the
//     same and does not touch the node again.
//   - A system message between the runner's last look and its release: the nudge
//     makes the release fail, or finds the state free.
//   - A handler that sends to its own actor: the state is held, so the message
//     queues.
//   - A message that is recycled by its handler and posted again: its next pointer
//     has been read and cleared before it is handled.
//   - One node posted twice at once would close the list to a ring. A message that
//     carries its own node must therefore be claimed by an atomic operation before
//     it is posted.
//
// # Fairness
//
// A runner that has handled budget messages of others gives the rest to a goroutine
// of its own, so that no sender is held for long. System messages, of which there
// are few, are not counted.
//
// # Its actor
//
// An actor with a method runsOn is given its mailbox, and is served better than the
// library would serve it. It can ask whether the message in hand is one of the
// system's, so that nobody can forge, say, a Stopping by sending it as a user message.
// A message whose answer is code of its sender (actor.AutoRespond) does not reach it.
// And when it has stopped it is still called for each message that comes too late: the
// library would drop these without a word.
//
// # Aside
//
// An actor whose turns may be long, such as a connector, is not run by its posters: they
// start a goroutine for it instead. The states and the transitions are the same. It is a
// mailbox of its own for what it saves: the library's takes 376 bytes, this one 144.
//
// # What it does not survive
//
// A handler that ends its goroutine (runtime.Goexit) leaves the state held for ever,
// as it does in the library's mailbox. The pool runs no user code on its turn.
type mailbox struct {
	state  atomic.Uint32
	queued atomic.Int32
	list   atomic.Pointer[node] // what pends, newest first
	sys    atomic.Pointer[node] // system messages that pend, newest first
	_      [40]byte             // what the runner owns is not on the line that posters contend for

	todo       *node // taken, oldest first
	kept, last *node // kept while suspended, oldest first
	suspended  bool
	inSystem   bool // a system message is being handled
	failed     bool // its actor has failed and ends: it is not suspended any more
	aside      bool // posters do not run it: a goroutine of its own does
	actor      mailboxActor
	atEnd      mailboxActor // the actor, when it has stopped

	invoker actor.MessageInvoker
}

// mailboxActor is an actor that uses more of its mailbox than the library does.
type mailboxActor interface {
	runsOn(m *mailbox)
	// receiveStopped takes a message that comes when the actor has stopped.
	receiveStopped(message any)
}

// introduce gives the actor its mailbox. An actor that was restarted is another value.
func (m *mailbox) introduce() {
	ctx, ok := m.invoker.(interface{ Actor() actor.Actor })
	if !ok {
		return
	}
	if a, ok := ctx.Actor().(mailboxActor); ok && a != m.actor {
		m.actor = a
		a.runsOn(m)
	}
}

// resume ends the suspension: what was kept is handled first.
func (m *mailbox) resume() {
	m.suspended = false
	if m.kept != nil {
		m.last.next = m.todo
		m.todo, m.kept, m.last = m.kept, nil, nil
	}
}

// stop says that the actor has stopped. From here on receiveStopped takes messages. They
// take the way of a suspended actor's, so that the shortest way need not ask.
func (m *mailbox) stop() {
	m.resume()
	m.suspended, m.atEnd = true, m.actor
}

const (
	stateFree uint32 = iota
	stateHeld
	stateMarked
)

// node is one link of a list of pending messages. A message of the hot path carries
// its own node, and is sent by posting that, so that nothing is allocated; any other
// message is given one. On another mailbox the node itself arrives as the message.
type node struct {
	next    *node
	message any // nil: a nudge
	// direct says, while the message is handled, that it is handled on the goroutine
	// that posted it.
	direct bool
}

// unwrap gives the message of a node that has come by another mailbox, and any other
// message as it is.
func unwrap(message any) any {
	if n, ok := message.(*node); ok {
		return n.message
	}
	return message
}

// budget is how many messages of others a poster handles before it passes the
// rest on.
const budget = 64

// NewMailbox produces combining mailboxes. It can be used for any actor whose
// Receive is short: senders run it.
func NewMailbox() actor.Mailbox {
	m := &mailbox{}
	m.state.Store(stateHeld)
	return m
}

// newAsideMailbox produces the mailboxes of actors whose turns may be long.
func newAsideMailbox() actor.Mailbox {
	m := &mailbox{aside: true}
	m.state.Store(stateHeld)
	return m
}

// RegisterHandlers implements actor.Mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
	m.introduce()
}

// enter makes the caller the runner, if nobody is and nothing comes first. It leaves by
// exit or handle.
func (m *mailbox) enter() bool {
	return m.state.CompareAndSwap(stateFree, stateHeld) && m.undisturbed()
}

// undisturbed says that a runner which has just entered may take its turn. Otherwise it
// does what comes first, and is not the runner any more. That it is a call of its own
// lets enter be none.
//
//go:noinline
func (m *mailbox) undisturbed() bool {
	if m.sys.Load() != nil || m.suspended {
		m.work(true)
		return false
	}
	return true
}

// exit ends that.
func (m *mailbox) exit() {
	if !m.state.CompareAndSwap(stateHeld, stateFree) {
		m.work(true)
	}
}

// handle is exit with a message of the runner's own.
func (m *mailbox) handle(n *node) {
	n.direct = true
	m.invoke(n.message)
	n.direct = false
	m.exit()
}

// Start implements actor.Mailbox: it handles what has been posted so far.
func (m *mailbox) Start() {
	m.run()
}

// run begins the work of a poster that has become the runner.
func (m *mailbox) run() {
	if m.aside {
		go m.work(false)
	} else {
		m.work(true)
	}
}

// UserMessageCount implements actor.Mailbox: the messages that pend. The one
// being handled is not among them.
func (m *mailbox) UserMessageCount() int { return int(m.queued.Load()) }

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(message any) {
	n, ok := message.(*node)
	if !ok {
		m.push(&node{message: m.unbatch(message)})
		return
	}
	if m.aside || !m.state.CompareAndSwap(stateFree, stateHeld) {
		m.push(n)
		return
	}
	if m.sys.Load() != nil || m.suspended {
		m.append(n)
	} else {
		n.direct = true
		m.invoke(n.message)
		n.direct = false
		if m.state.CompareAndSwap(stateHeld, stateFree) {
			return
		}
	}
	m.work(true)
}

// unbatch posts the messages of a batch one by one, before the batch itself, as
// the library's mailbox does. It gives the message itself; or nil, if the library
// would ask the message for the answer to itself, and the actor does not want that.
func (m *mailbox) unbatch(message any) any {
	content := message
	if envelope, ok := message.(*actor.MessageEnvelope); ok {
		content = envelope.Message
	}
	if _, ok := content.(actor.AutoRespond); ok && m.actor != nil {
		return nil
	}
	if batch, ok := content.(actor.MessageBatch); ok {
		for _, msg := range batch.GetMessages() {
			m.PostUserMessage(msg)
		}
	}
	return message
}

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(message any) {
	n := &node{message: message}
	for {
		n.next = m.sys.Load()
		if m.sys.CompareAndSwap(n.next, n) {
			break
		}
	}
	m.push(&node{})
}

// push adds a node to the list. If nobody runs the actor, this goroutine does.
func (m *mailbox) push(n *node) {
	if n.message != nil {
		m.queued.Add(1)
	}
	for {
		n.next = m.list.Load()
		if m.list.CompareAndSwap(n.next, n) {
			break
		}
	}
	for {
		switch m.state.Load() {
		case stateMarked:
			return
		case stateHeld:
			if m.state.CompareAndSwap(stateHeld, stateMarked) {
				return
			}
		case stateFree:
			if m.state.CompareAndSwap(stateFree, stateHeld) {
				m.take()
				m.run()
				return
			}
		}
	}
}

// append is for a message of the runner's own that has to wait its turn, behind
// system messages and the messages that are kept. Nothing else is in todo when the
// state was free.
func (m *mailbox) append(n *node) {
	m.queued.Add(1)
	m.todo = n
}

// work is the runner: it handles what it owns, then what has come in, until
// release succeeds. own says that it runs on the goroutine of a poster.
func (m *mailbox) work(own bool) {
	left := budget
	for {
		m.system()
		n := m.todo
		if n == nil {
			if m.state.CompareAndSwap(stateHeld, stateFree) {
				return
			}
			m.take()
			continue
		}
		if left == 0 {
			if own {
				go m.work(false)
				return
			}
			runtime.Gosched()
			left = budget
			continue // with another look at the system messages
		}
		left--
		m.todo, n.next = n.next, nil
		switch {
		case n.message == nil:
		case m.atEnd != nil:
			m.queued.Add(-1)
			m.atEnd.receiveStopped(n.message)
		case m.suspended:
			m.keep(n)
		default:
			m.queued.Add(-1)
			m.invoke(n.message)
		}
	}
}

// take moves what pends to todo, oldest first.
func (m *mailbox) take() {
	m.state.Store(stateHeld) // first: a poster that adds from here on marks again
	for n := m.list.Swap(nil); n != nil; {
		n, n.next, m.todo = n.next, m.todo, n
	}
}

// keep keeps a message until the actor is resumed.
func (m *mailbox) keep(n *node) {
	if m.kept == nil {
		m.kept = n
	} else {
		m.last.next = n
	}
	m.last = n
}

// system handles the system messages that pend.
func (m *mailbox) system() {
	for m.sys.Load() != nil {
		var list *node
		for n := m.sys.Swap(nil); n != nil; {
			n, n.next, list = n.next, list, n
		}
		for ; list != nil; list = list.next {
			m.invokeSystem(list.message)
		}
	}
}

func (m *mailbox) invokeSystem(message any) {
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.suspended = m.atEnd != nil || !m.failed
	case *actor.ResumeMailbox:
		if m.atEnd == nil {
			m.resume()
		}
	default:
		done := false
		defer m.escalate(message, &done)
		m.introduce()
		m.inSystem = true
		m.invoker.InvokeSystemMessage(message)
		m.inSystem = false
		done = true
	}
}

func (m *mailbox) invoke(message any) {
	done := false
	defer m.escalate(message, &done)
	m.invoker.InvokeUserMessage(message)
	done = true
}

// escalate tells the supervisor of a panic. What it sends to this actor, to
// suspend it first of all, queues: the panic was the runner's. Asking done first
// is cheaper than asking recover.
func (m *mailbox) escalate(message any, done *bool) {
	if *done {
		return
	}
	m.inSystem = false
	if reason := recover(); reason != nil && m.failed {
		m.escalateAside(reason, message)
	} else if reason != nil {
		m.invoker.EscalateFailure(reason, message)
	}
}

// escalateAside tells the supervisor of the failure of an actor that ends by itself. What
// the supervisor and the system's log do about it is code of others, which may panic, block
// or end its goroutine: the runner does not wait for it, because others wait for the runner.
func (m *mailbox) escalateAside(reason, message any) {
	go func() {
		defer func() { _ = recover() }()
		m.invoker.EscalateFailure(reason, message)
	}()
}
