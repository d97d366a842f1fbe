// Command redis counts in two databases of a Redis server, also after a restart of the server:
//
//   - Apply, Unapply: the number of the database is a setting.
//   - Reusable: a connection whose Err says that it is broken is not lent again.
//   - Backoff, OnChange: while connects fail, one is tried at a time, and it is logged.
//   - Health: says whether a failure is that of one connection, or of the server.
//
// An INCR that fails is not sent again, because the server may have executed it:
//
//	go run ./redis -url redis://localhost:6379 -for 30s
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const timeout = 2 * time.Second // of each step

func main() {
	url := flag.String("url", "", "address of the server; default $REDIS_URL or, if that is empty, redis://localhost:6379")
	duration := flag.Duration("for", 10*time.Second, "how long to count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, cmp.Or(*url, os.Getenv("REDIS_URL"), "redis://localhost:6379"), *duration); err != nil {
		log.Fatal("redis: ", err)
	}
}

// do returns a function that executes a command. Unless n is nil, it stores the reply there, a number.
func do(n *int64, command string, args ...any) func(context.Context, redis.Conn) error {
	return func(ctx context.Context, c redis.Conn) error {
		reply, err := redis.DoContext(c, ctx, command, args...)
		if n != nil {
			*n, _ = redis.Int64(reply, err)
		}
		return err
	}
}

func run(ctx context.Context, url string, duration time.Duration) (err error) {
	ping := do(nil, "PING")
	pool, err := client.New(client.Config[redis.Conn]{
		Name: "redis", Capacity: 4, ConnectTimeout: timeout / 2, GetTimeout: timeout,
		Connect: func(ctx context.Context) (redis.Conn, error) {
			c, err := redis.DialURLContext(ctx, url, redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout))
			if err != nil {
				return nil, err
			}
			if err = ping(ctx, c); err != nil { // the server may require a password, or be loading its data
				_ = c.Close()
			}
			return c, err
		},
		Reusable: func(c redis.Conn) bool { return c.Err() == nil },
		Apply:    func(ctx context.Context, c redis.Conn, db any) error { return do(nil, "SELECT", db)(ctx, c) },
		Unapply:  do(nil, "SELECT", 0), Check: ping,
		Backoff: client.Backoff{Base: 200 * time.Millisecond, Cap: time.Second, Jitter: 0.2}, // a fifth at random
		OnChange: func(e messages.Event) { // on a goroutine of its own
			switch e.Kind {
			case messages.PoolBackoff:
				log.Printf("backoff: attempt %d failed, next in %v: %v", e.Attempt, e.Duration.Round(time.Millisecond), e.Err)
			case messages.PoolReady: // at the start, and after a backoff
				log.Print("the pool is ready")
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(context.Background())) }() // nothing is borrowed then
	if err := pool.Ready(ctx); err != nil {
		return err // a missing server is noticed before the work begins
	}
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	key, counting := fmt.Sprintf("example:%x", time.Now().UnixNano()), new(sync.WaitGroup) // a key for each run
	for n := range 4 {
		counting.Go(func() { count(ctx, pool, client.GetOptions{Setting: n % 2, Label: fmt.Sprint("counter ", n)}, key) })
	}
	counting.Wait()
	for database := range 2 { // without ctx, which has ended
		var total int64
		err = errors.Join(err, pool.DoWith(context.Background(), client.GetOptions{Setting: database}, do(&total, "GETDEL", key)))
		log.Printf("database %d counted to %d", database, total)
	}
	s := pool.Stats()
	log.Printf("%d Gets; %d connects, of which %d failed; %d backoffs", s.Gets, s.Connects, s.ConnectErrors, s.Backoffs)
	return err
}

// count increments a key until ctx ends, and logs when that begins to fail and to work again.
func count(ctx context.Context, pool *client.Pool[redis.Conn], o client.GetOptions, key string) {
	log.Printf("%s counts in database %d", o.Label, o.Setting)
	for n, failure := int64(0), error(nil); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		err := pool.DoWith(context.Background(), o, do(&n, "INCR", key)) // one that has begun is finished
		if err != nil && failure == nil {
			log.Printf("%s fails, the pool is in state %s: %v", o.Label, pool.Health().State, err)
		} else if err == nil && failure != nil {
			log.Printf("%s counts again, at %d; the last failure: %v", o.Label, n, failure)
		}
		failure = err
	}
}
