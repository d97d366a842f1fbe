package actors

import (
	"runtime"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// The combining mailbox.
//
// An ordinary mailbox queues a message and wakes a goroutine to handle it. This
// one lets the sender's own goroutine handle the message when nobody else is
// running the actor, so that a request to an idle actor is a function call
// between two atomic operations. When somebody is running it, the message is
// left with him.
//
// # The word
//
// All of that is in one atomic word:
//
//	nil            free: nobody runs the actor, and nothing pends.
//	&busy          held: somebody, the runner, runs the actor; nothing pends.
//	a list of nodes  held, and these pend: newest first, the last one's next
//	               is &busy.
//
// Its transitions, each one compare-and-swap (or swap):
//
//	free → held      Post. The poster is the runner now.
//	held → list      Post. The node goes in front; the runner will see it.
//	list → longer    Post, the same.
//	list → held      take: the runner takes all nodes and reverses them, which
//	                 gives arrival order.
//	held → free      release. It fails if a node has come in, and then the
//	                 runner takes again. So nothing is left behind, and there is
//	                 never more than one runner.
//
// The word starts as held, because the library registers an actor before its
// mailbox knows its handlers; Start is the first runner.
//
// # What the runner owns
//
// Everything else but the system list belongs to the runner: taken messages
// (todo), messages held back while suspended (held), the suspended flag. The
// word hands them from runner to runner.
//
// System messages have a list of their own, which the runner looks at before
// every user message. Whoever adds to it then posts an empty node (a nudge) to
// the word; thus either the runner finds the nudge, or the poster of the nudge
// becomes the runner.
//
// # Races, and why they are none
//
//   - A post while the runner is about to stop: release fails, the runner takes.
//   - A system message between the runner's last look and its release: its
//     nudge either makes the release fail or finds the word free.
//   - A handler that sends to its own actor: the word is held, so it queues.
//   - A message that is recycled by its handler and posted again: its next
//     pointer has been read and cleared before it is handled.
//   - A node that a failed attempt has linked to a list of others, and that is
//     then handled by its poster: its next pointer is cleared first.
//   - One node posted twice at once would tie the list in a knot. Messages that
//     carry their own node (Call, Handle) are therefore claimed by an atomic
//     operation before they are posted.
//
// # Fairness
//
// A runner that has handled budget messages of others gives the rest to a
// goroutine of its own, so that no sender is held for long.
type mailbox struct {
	word atomic.Pointer[node]
	sys  atomic.Pointer[node] // newest first
	_    [48]byte             // what the runner owns is not on the line that posters contend for

	todo       *node // taken, oldest first
	held, last *node // held back while suspended, oldest first
	suspended  bool

	queued     atomic.Int32
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
}

// node is one link of a list of pending messages. A Call and a Handle carry
// theirs, other messages are given one.
type node struct {
	next    *node
	message any // nil: a nudge
}

// busy is the end of every list in the word.
var busy = new(node)

// budget is how many messages of others a poster handles before it passes the
// rest on.
const budget = 64

// NewMailbox produces combining mailboxes. It can be used for any actor whose
// Receive is short: senders run it.
func NewMailbox() actor.Mailbox {
	m := &mailbox{}
	m.word.Store(busy)
	return m
}

// RegisterHandlers implements actor.Mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
}

// Start implements actor.Mailbox: it handles what has been posted so far.
func (m *mailbox) Start() {
	m.work(true)
}

// UserMessageCount implements actor.Mailbox: the messages that pend. The one
// being handled is not among them.
func (m *mailbox) UserMessageCount() int { return int(m.queued.Load()) }

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(message any) {
	switch msg := message.(type) {
	case *Call:
		if m.word.CompareAndSwap(nil, busy) {
			if m.sys.Load() != nil || m.suspended {
				m.append(&msg.node)
			} else {
				// Answered on this goroutine, the answer needs no
				// synchronisation; answered later, it does.
				msg.own = true
				m.invoke(message)
				msg.own = false
				if m.word.CompareAndSwap(busy, nil) {
					return
				}
			}
			m.work(true)
			return
		}
		m.push(&msg.node)
	case *Handle:
		if m.word.CompareAndSwap(nil, busy) {
			if m.sys.Load() != nil || m.suspended {
				m.append(&msg.node)
			} else {
				m.invoke(message)
				if m.word.CompareAndSwap(busy, nil) {
					return
				}
			}
			m.work(true)
			return
		}
		m.push(&msg.node)
	default:
		m.unbatch(message)
		m.push(&node{message: message})
	}
}

// unbatch posts the messages of a batch one by one, before the batch itself, as
// the library's mailbox does.
func (m *mailbox) unbatch(message any) {
	if envelope, ok := message.(*actor.MessageEnvelope); ok {
		message = envelope.Message
	}
	if batch, ok := message.(actor.MessageBatch); ok {
		for _, msg := range batch.GetMessages() {
			m.PostUserMessage(msg)
		}
	}
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

// push adds a node to the word. If nobody runs the actor, this goroutine does.
func (m *mailbox) push(n *node) {
	if n.message != nil {
		m.queued.Add(1)
	}
	for {
		old := m.word.Load()
		if old == nil {
			if m.word.CompareAndSwap(nil, busy) {
				n.next = nil // an attempt that failed has left it pointing into the list of then
				m.todo = n
				m.work(true)
				return
			}
			continue
		}
		n.next = old
		if m.word.CompareAndSwap(old, n) {
			return
		}
	}
}

// append adds the runner's own message behind those it owns already.
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
			if m.word.CompareAndSwap(busy, nil) {
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
		}
		left--
		m.todo, n.next = n.next, nil
		switch {
		case n.message == nil:
		case m.suspended:
			m.hold(n)
		default:
			m.queued.Add(-1)
			m.invoke(n.message)
		}
	}
}

// take moves what pends in the word to todo, oldest first.
func (m *mailbox) take() {
	n := m.word.Swap(busy)
	for n != busy {
		n, n.next, m.todo = n.next, m.todo, n
	}
}

// hold keeps a message until the actor is resumed.
func (m *mailbox) hold(n *node) {
	if m.held == nil {
		m.held = n
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
		m.suspended = true
	case *actor.ResumeMailbox:
		m.suspended = false
		if m.held != nil {
			m.last.next = m.todo
			m.todo, m.held, m.last = m.held, nil, nil
		}
	default:
		defer m.escalate(message)
		m.invoker.InvokeSystemMessage(message)
	}
}

func (m *mailbox) invoke(message any) {
	defer m.escalate(message)
	m.invoker.InvokeUserMessage(message)
}

// escalate tells the supervisor of a panic. What it sends to this actor, to
// suspend it first of all, queues: the panic was the runner's.
func (m *mailbox) escalate(message any) {
	if reason := recover(); reason != nil {
		m.invoker.EscalateFailure(reason, message)
	}
}
