package main

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/messages"
)

// failure is how a worker fails while it holds a connection.
type failure int

const (
	panics failure = iota + 1 // in its first incarnation
	stops
)

// worker is an actor that borrows a connection, uses it and returns it.
type worker struct {
	name        string
	failure     failure
	incarnation int
	pool        *actor.PID
	log         *eventLog
	finished    chan<- string

	lease   messages.LeaseID
	session *session
}

// use is how long a worker uses a connection.
const use = 400 * time.Millisecond

// used is the message that the work on a connection is done.
type used struct{ lease messages.LeaseID }

// Receive implements actor.Actor.
func (w *worker) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		w.logf("starts (incarnation %d) and asks for a connection", w.incarnation)
		ctx.Request(w.pool, &messages.Get{Label: w.name, Deadline: time.Now().Add(3 * time.Second)})

	case *messages.Lease: // the worker has the connection, until it sends Put
		w.lease, w.session = msg.ID, msg.Conn.(*session)
		open := "no transaction"
		if w.session.transaction != "" {
			open = w.session.transaction // does not happen, because of Reset
		}
		w.logf("borrows connection %d, with %s open", msg.ID.Conn, open)
		w.session.transaction = "the transaction of " + w.name
		self, root := ctx.Self(), ctx.ActorSystem().Root
		time.AfterFunc(use, func() { root.Send(self, used{lease: msg.ID}) })

	case *messages.Denied: // no connection in time, or the pool is closed
		w.logf("gets no connection: %v", msg.Err)
		w.finished <- w.name

	case used:
		if msg.lease == w.lease { // otherwise it is from an earlier incarnation
			w.finish(ctx)
		}

	case *messages.Done: // the answer to Put
		if msg.Err != nil {
			w.logf("cannot return the connection: %v", msg.Err)
		}
		w.finished <- w.name

	case *actor.Stopped:
		if w.failure == stops {
			w.finished <- w.name
		}
	}
}

func (w *worker) finish(ctx actor.Context) {
	switch {
	case w.failure == panics && w.incarnation == 1:
		w.logf("panics, with its transaction open")
		panic("a bug in the worker")
	case w.failure == stops:
		w.logf("stops, without returning the connection")
		ctx.Stop(ctx.Self())
	default:
		w.session.transaction = "" // committed
		w.logf("commits, and returns connection %d", w.session.id)
		w.session = nil // the pool may lend it to another worker from now on
		ctx.Request(w.pool, &messages.Put{Lease: w.lease})
	}
}

func (w *worker) logf(format string, args ...any) { w.log.printf(w.name, format, args...) }
