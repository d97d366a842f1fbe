// Command redis counts in Redis, in two databases on the same few connections,
// and goes on counting when the server is restarted. Try it: start the program,
// stop the server for some seconds, start it again.
//
//	go run ./redis -url redis://localhost:6379 -for 30s
//
// Where to read: pool.go is how the pool is configured, this file is how it is
// used.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const (
	patience = 2 * time.Second        // bounds every step, so that nothing hangs
	pause    = 100 * time.Millisecond // between two steps of a counter
)

func main() {
	url := flag.String("url", "", "where the server is; empty: $REDIS_URL or, if that is empty, redis://localhost:6379")
	duration := flag.Duration("for", 10*time.Second, "how long to count")
	flag.Parse()
	log.SetOutput(os.Stdout)
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, cmp.Or(*url, os.Getenv("REDIS_URL"), "redis://localhost:6379"), *duration); err != nil {
		fmt.Fprintln(os.Stderr, "redis:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, duration time.Duration) (err error) {
	pool, err := newPool(url, report)
	if err != nil {
		return err
	}
	// Close waits for borrowed connections, here for no longer than patience.
	defer func() { err = errors.Join(err, bounded(pool.Close)) }()

	// A pool connects when somebody asks for a connection. Ready asks now: a
	// server that is not there is found out before the work begins.
	if err := bounded(pool.Ready); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	key := fmt.Sprintf("example:%08x", rand.Uint32()) // nobody else's
	var counting sync.WaitGroup
	for n := range 4 {
		counting.Go(func() { count(ctx, pool, database(n%2), key, fmt.Sprintf("counter %d", n)) })
	}
	counting.Wait()

	for db := range database(2) {
		err = errors.Join(err, finish(pool, db, key))
	}
	s := pool.Stats()
	log.Printf("%d Gets; %d connects, of which %d failed; %d times backed off; %d connections closed as broken",
		s.Gets, s.Connects, s.ConnectErrors, s.Backoffs, s.ClosedBroken)
	return err
}

// count counts up a key of a database until ctx ends, and says when that begins
// to fail and when it works again.
func count(ctx context.Context, pool *client.Pool[conn], db database, key, name string) {
	// The label says in errors and events what the connection is for.
	o := client.GetOptions{Setting: db, Label: name}
	var failure error
	log.Printf("%s counts in database %d", name, db)
	for ctx.Err() == nil {
		// Do gives the connection back, or closes it if the error condemns it. It
		// does not try again: whether an INCR may be repeated, only we know. Here
		// the next one follows anyway.
		var n int
		err := bounded(func(ctx context.Context) error {
			return pool.DoWith(ctx, o, func(ctx context.Context, c conn) (err error) {
				n, err = redis.Int(c.do(ctx, "INCR", key))
				return err
			})
		})
		switch {
		case err != nil && failure == nil:
			log.Printf("%s fails: %v", name, err)
		case err == nil && failure != nil:
			log.Printf("%s counts again, at %d; the last failure: %v", name, n, failure)
		}
		failure = err
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// finish says how far the counters of a database have come, and removes the key.
func finish(pool *client.Pool[conn], db database, key string) error {
	return bounded(func(ctx context.Context) error {
		return pool.DoWith(ctx, client.GetOptions{Setting: db}, func(ctx context.Context, c conn) error {
			n, err := redis.Int(c.do(ctx, "GETDEL", key))
			if err != nil && !errors.Is(err, redis.ErrNil) { // nil: nothing was counted
				return err
			}
			log.Printf("database %d has come to %d", db, n)
			return nil
		})
	})
}

// report prints the events that tell of an outage. The pool calls it on a
// goroutine of its own, so that it may take its time.
func report(e messages.Event) {
	switch e.Kind {
	case messages.PoolBackoff:
		log.Printf("backoff: attempt %d failed, next in %v: %v", e.Attempt, e.Duration.Round(time.Millisecond), e.Err)
	case messages.PoolReady: // at the start, and when a backoff is over
		log.Print("the pool is ready")
	case messages.ConnectionClosed:
		if e.Reason == messages.ReasonBroken {
			log.Printf("connection %d is broken: %v", e.ConnID, e.Err)
		}
	}
}

// bounded calls f with a context that ends in time. It is not that of run: what
// was begun when that one ends, by time or by Ctrl-C, is to be finished.
func bounded(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f(ctx)
}
