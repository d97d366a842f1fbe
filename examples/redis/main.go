// Command redis increments counters in two databases of a Redis server, over the same few
// connections, and continues after a restart of the server. Try it: start the program, stop
// the server for some seconds, start it again.
//
//	go run ./redis -url redis://localhost:6379 -for 30s
//
// Where to read: pool.go configures the pool, this file uses it.
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
	timeout = 2 * time.Second        // the timeout of every step
	pause   = 100 * time.Millisecond // between two steps of a counter
)

func main() {
	url := flag.String("url", "", "address of the server; default $REDIS_URL or, if that is empty, redis://localhost:6379")
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
	// Close waits for borrowed connections, here no longer than timeout.
	defer func() { err = errors.Join(err, bounded(pool.Close)) }()

	// A pool connects when a Get needs a connection. Ready makes it connect now, so that a
	// missing server is noticed before the work begins.
	if err := bounded(pool.Ready); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	key := fmt.Sprintf("example:%08x", rand.Uint32()) // so that several runs do not disturb each other
	var counting sync.WaitGroup
	for n := range 4 {
		counting.Go(func() { count(ctx, pool, database(n%2), key, fmt.Sprintf("counter %d", n)) })
	}
	counting.Wait()

	for db := range database(2) {
		err = errors.Join(err, finish(pool, db, key))
	}
	s := pool.Stats()
	log.Printf("%d Gets; %d connects, of which %d failed; %d backoffs; %d connections closed as broken",
		s.Gets, s.Connects, s.ConnectErrors, s.Backoffs, s.ClosedBroken)
	return err
}

// count increments a key of a database until ctx ends. It logs when that begins to fail, and
// when it works again.
func count(ctx context.Context, pool *client.Pool[conn], db database, key, name string) {
	// The label says what the connection is for, in errors and events.
	o := client.GetOptions{Setting: db, Label: name}
	var failure error
	log.Printf("%s counts in database %d", name, db)
	for ctx.Err() == nil {
		// DoWith returns the connection, or closes it if the error means that it is broken.
		// It does not repeat the function: only the application knows whether an INCR may be
		// sent twice. Here the next one follows anyway.
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

// finish logs the value of a database's key and deletes the key.
func finish(pool *client.Pool[conn], db database, key string) error {
	return bounded(func(ctx context.Context) error {
		return pool.DoWith(ctx, client.GetOptions{Setting: db}, func(ctx context.Context, c conn) error {
			n, err := redis.Int(c.do(ctx, "GETDEL", key))
			if err != nil && !errors.Is(err, redis.ErrNil) { // ErrNil: there is no such key
				return err
			}
			log.Printf("database %d counted to %d", db, n)
			return nil
		})
	})
}

// report logs the events of an outage. The pool calls it on a goroutine of its own, so it may
// be slow.
func report(e messages.Event) {
	switch e.Kind {
	case messages.PoolBackoff:
		log.Printf("backoff: attempt %d failed, next in %v: %v", e.Attempt, e.Duration.Round(time.Millisecond), e.Err)
	case messages.PoolReady: // at the start, and after a backoff
		log.Print("the pool is ready")
	case messages.ConnectionClosed:
		if e.Reason == messages.ReasonBroken {
			log.Printf("connection %d is broken: %v", e.ConnID, e.Err)
		}
	}
}

// bounded calls f with a timeout. It does not use the context of run, so that a step which
// has begun is finished after Ctrl-C.
func bounded(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return f(ctx)
}
