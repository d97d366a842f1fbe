package main

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/messages"
)

// accident is what happens to a clerk while she holds a connection.
type accident int

const (
	crashes accident = iota + 1 // in the first life
	leaves                      // for good
)

// clerk is an actor that borrows a connection, uses it and returns it.
type clerk struct {
	name     string
	accident accident
	life     int
	pool     *actor.PID
	page     *page
	through  chan<- string

	lease   messages.LeaseID
	session *session
}

// work is how long a clerk works on a connection.
const work = 400 * time.Millisecond

// done is the message that the work on a connection is done.
type done struct{ lease messages.LeaseID }

// Receive implements actor.Actor.
func (c *clerk) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		c.say("starts life %d, and asks for a connection", c.life)
		ctx.Request(c.pool, &messages.Get{Label: c.name, Deadline: time.Now().Add(3 * time.Second)})

	case *messages.Lease: // the connection is hers, until she puts it back
		c.lease, c.session = msg.ID, msg.Conn.(*session)
		left := "nothing"
		if c.session.transaction != "" {
			left = c.session.transaction // there is a Reset: it never is
		}
		c.say("borrows connection %d, lease %d, and finds %s on it", msg.ID.Conn, msg.ID.Epoch, left)
		c.session.transaction = c.name + "'s transaction"
		self, root := ctx.Self(), ctx.ActorSystem().Root
		time.AfterFunc(work, func() { root.Send(self, done{lease: msg.ID}) })

	case *messages.Denied: // no connection in time, or the pool has closed
		c.say("gets nothing: %v", msg.Err)
		c.through <- c.name

	case done:
		if msg.lease == c.lease { // not of a former life
			c.finish(ctx)
		}

	case *messages.Done: // the answer to Put
		if msg.Err != nil {
			c.say("cannot return it: %v", msg.Err)
		}
		c.through <- c.name

	case *actor.Stopped:
		if c.accident == leaves {
			c.through <- c.name
		}
	}
}

func (c *clerk) finish(ctx actor.Context) {
	switch {
	case c.accident == crashes && c.life == 1:
		c.say("crashes in the middle of it")
		panic("a bug in the clerk")
	case c.accident == leaves:
		c.say("stops, and keeps it")
		ctx.Stop(ctx.Self())
	default:
		c.session.transaction = "" // committed
		c.say("commits, and returns connection %d", c.session.id)
		c.session = nil // it may be somebody else's from here on
		ctx.Request(c.pool, &messages.Put{Lease: c.lease})
	}
}

func (c *clerk) say(format string, args ...any) { c.page.say(c.name, format, args...) }
