package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// conn is an example of a connection: it may be a socket, a session or a client.
type conn struct{ id int }

func (c *conn) Close() error { return nil }

func connector() func(context.Context) (*conn, error) {
	opened := 0
	return func(context.Context) (*conn, error) {
		opened++
		return &conn{id: opened}, nil
	}
}

// A pool in ordinary Go code: New, Get, Put, Close.
func ExampleNew() {
	ctx := context.Background()
	pool, err := client.New(client.Config[*conn]{Name: "example", Connect: connector(), Capacity: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := pool.Get(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connection", lease.Conn().id)
	fmt.Println("put:", lease.Put())
	fmt.Println("put again:", lease.Put())
	fmt.Println("close:", pool.Close(ctx))
	_, err = pool.Get(ctx)
	fmt.Println("get:", err)
	// Output:
	// connection 1
	// put: <nil>
	// put again: actorpool: lease has ended
	// close: <nil>
	// get: actorpool "example": no connection: pool is closed
}

// Do returns the connection after use. It closes it if the error means that it is
// broken.
func ExamplePool_Do() {
	ctx := context.Background()
	pool, _ := client.New(client.Config[*conn]{Connect: connector()})
	defer pool.Close(ctx)
	err := pool.Do(ctx, func(ctx context.Context, c *conn) error {
		fmt.Println("connection", c.id)
		return errors.New("no such row")
	})
	fmt.Println(err)
	fmt.Println("still open:", pool.Stats().Open)
	// Output:
	// connection 1
	// no such row
	// still open: 1
}

// The error of a Get describes the pool.
func ExamplePool_Get_exhausted() {
	ctx := context.Background()
	pool, _ := client.New(client.Config[*conn]{Connect: connector(), Capacity: 1})
	defer pool.Close(ctx)
	lease, _ := pool.Get(ctx)
	defer lease.Put()

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := pool.Get(short)
	var e *messages.GetError
	if errors.As(err, &e) {
		fmt.Println(errors.Is(err, context.DeadlineExceeded), e.Position, e.Stats.Borrowed, "of", e.Stats.Capacity)
	}
	// Output: true 1 1 of 1
}

// worker is an actor that borrows a connection by message.
type worker struct {
	pool *actor.PID
	done chan string
}

func (w *worker) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		ctx.Request(w.pool, &messages.Get{Label: "worker"})
	case *messages.Lease:
		w.done <- fmt.Sprint("connection ", msg.Conn.(*conn).id)
		ctx.Request(w.pool, &messages.Put{Lease: msg.ID})
	case *messages.Denied:
		w.done <- msg.Err.Error()
	case *messages.Done:
		w.done <- fmt.Sprint("put: ", msg.Err)
	}
}

// A pool in an existing actor system is an actor, and a Get is a message to it.
func ExampleSpawn() {
	ctx := context.Background()
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	pool, err := client.Spawn(system.Root, client.Config[*conn]{Connect: connector()})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan string)
	system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &worker{pool: pool.PID(), done: done} }))
	fmt.Println(<-done)
	fmt.Println(<-done)

	// The same from code that is not an actor, by a future.
	answer, err := system.Root.RequestFuture(pool.PID(), &messages.Get{Deadline: time.Now().Add(time.Second)}, time.Second).Result()
	if lease, ok := answer.(*messages.Lease); ok {
		fmt.Println("by future: connection", lease.Conn.(*conn).id)
		system.Root.Send(pool.PID(), &messages.Put{Lease: lease.ID})
	} else {
		fmt.Println(answer, err)
	}
	fmt.Println("close:", pool.Close(ctx))
	// Output:
	// connection 1
	// put: <nil>
	// by future: connection 1
	// close: <nil>
}

// A pool that the program spawns itself, here with a name and another mailbox.
// Attach makes a Pool from the PID of a pool actor.
func ExampleAttach() {
	ctx := context.Background()
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	props, err := client.Props(client.Config[*conn]{Connect: connector()}, actor.WithMailbox(actor.Unbounded()))
	if err != nil {
		fmt.Println(err)
		return
	}
	pid, _ := system.Root.SpawnNamed(props, "orders-db")
	pool := client.Attach[*conn](system, pid)
	fmt.Println(pool.Do(ctx, func(_ context.Context, c *conn) error {
		fmt.Println("connection", c.id)
		return nil
	}))
	fmt.Println(pool.Close(ctx))
	// Output:
	// connection 1
	// <nil>
	// <nil>
}
