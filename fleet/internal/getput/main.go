// Command getput does n Gets and Puts, with a member of a fleet beside the pool or without
// one: getput with|without n. A test counts their instructions with valgrind.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/memstore"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

type conn struct{}

func (*conn) Close() error { return nil }

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments: wants with or without, and a number of Gets", len(args))
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	ctx := context.Background()
	cfg := client.Config[*conn]{Name: "orders", Connect: func(context.Context) (*conn, error) { return new(conn), nil }}
	var pool *client.Pool[*conn]
	switch args[0] {
	case "with":
		pool, _, err = fleet.New(ctx, cfg, fleet.Config{Key: "orders", Budget: 4, TTL: 2 * time.Second, Store: memstore.New()})
	case "without":
		cfg.Capacity = 4
		pool, err = client.New(cfg)
	default:
		err = fmt.Errorf("%q is neither with nor without", args[0])
	}
	if err != nil {
		return err
	}
	// The first Get opens the connection. It waits, on another stack, where callgrind would
	// lose its place in cycle.
	if err := pool.Do(ctx, func(context.Context, *conn) error { return nil }); err != nil {
		return err
	}
	for i := range n {
		if err := cycle(ctx, pool); err != nil {
			return err
		}
		switch {
		case i%1000 == 0:
			time.Sleep(10 * time.Millisecond) // the member does its work in between
		case i%50 == 0:
			runtime.Gosched() // before Go interrupts a Get for others
		}
	}
	return nil
}

// cycle is a Get and a Put. It is a function by itself, so that callgrind can be told to count
// in it only.
//
//go:noinline
func cycle(ctx context.Context, pool *client.Pool[*conn]) error {
	lease, err := pool.Get(ctx)
	if err != nil {
		return err
	}
	return lease.Put()
}
