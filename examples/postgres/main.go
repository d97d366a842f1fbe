// Command postgres shares a few PostgreSQL connections among many tenants. Each tenant has a
// schema of its own with the same table. The search_path of a connection decides which schema
// it uses. The search_path is a setting of the pool: a Get asks for it, the pool remembers it
// for every connection, and changes it only if no idle connection has it.
//
//	go run ./postgres -url postgres://user:password@localhost:5432/database
//
// The role must be allowed to create schemas; they are dropped at the end. Where to read:
// pool.go configures the pool, this file uses it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
)

const (
	capacity = 3               // connections, fewer than tenants
	timeout  = 5 * time.Second // the timeout of every step
)

func main() {
	url := flag.String("url", "", "address of the server; default $DATABASE_URL or, if that is empty, postgres://localhost:5432/postgres")
	rounds := flag.Int("rounds", 25, "how many times each worker uses a connection")
	verbose := flag.Bool("v", false, "log every event of the pool")
	flag.Parse()
	if *verbose {
		slog.SetLogLoggerLevel(slog.LevelDebug)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, cmp.Or(*url, os.Getenv("DATABASE_URL"), "postgres://localhost:5432/postgres"), *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, rounds int) (err error) {
	pool, err := newPool(url)
	if err != nil {
		return err
	}
	// Close waits for borrowed connections, here no longer than timeout. It does not use
	// ctx, which has ended after Ctrl-C.
	defer func() {
		bounded, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		err = errors.Join(err, pool.Close(bounded))
	}()

	// A pool connects when a Get needs a connection. Ready makes it connect now, so that a
	// wrong URL or a missing server is noticed before the work begins.
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := pool.Ready(bounded); err != nil {
		return err
	}

	suffix := fmt.Sprintf("_%08x", rand.Uint32()) // so that several runs do not disturb each other
	tenants := []tenant{tenant("ant" + suffix), tenant("bee" + suffix), tenant("cat" + suffix), tenant("dog" + suffix)}
	defer func() { // also after Ctrl-C
		bounded, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		err = errors.Join(err, each(bounded, pool, tenants, "DROP SCHEMA IF EXISTS %[1]s CASCADE"))
	}()
	if err := each(ctx, pool, tenants, "CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.orders (tenant text)"); err != nil {
		return err
	}

	// The first worker that fails stops the others. Ctrl-C stops all.
	working, cancelWork := context.WithCancelCause(ctx)
	defer cancelWork(nil)
	var workers sync.WaitGroup
	for _, t := range slices.Concat(tenants, tenants) { // two workers for each tenant
		workers.Go(func() {
			if err := work(working, pool, t, rounds); err != nil {
				cancelWork(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(working); err != nil {
		return err
	}

	for _, t := range tenants {
		if err := report(ctx, pool, t); err != nil {
			return err
		}
	}
	s := pool.Stats()
	fmt.Printf("%d Gets, %d connections\n", s.Gets, s.Connects)
	fmt.Printf("%d setting hits: the connection had the tenant already\n", s.SettingHits)
	fmt.Printf("%d setting switches: the tenant was put on a connection without one\n", s.SettingSwitches)
	fmt.Printf("%d setting resets: another tenant was removed from a connection\n", s.SettingResets)
	return nil
}

// each executes a statement for each schema. It asks for no setting, so it gets a connection
// without a tenant.
func each(ctx context.Context, pool *client.Pool[*pgx.Conn], tenants []tenant, statement string) error {
	return pool.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, t := range tenants {
			if _, err := conn.Exec(ctx, fmt.Sprintf(statement, pgx.Identifier{string(t)}.Sanitize())); err != nil {
				return err
			}
		}
		return nil
	})
}

// work places orders for a tenant. Although all tenants share the connections, it sees only
// the orders of this one.
func work(ctx context.Context, pool *client.Pool[*pgx.Conn], t tenant, rounds int) error {
	for range rounds {
		// The label says what the connection is for, in errors and events.
		o := client.GetOptions{Setting: t, Label: "order for " + string(t)}
		err := pool.DoWith(ctx, o, func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "INSERT INTO orders (tenant) VALUES ($1)", string(t)); err != nil {
				return err
			}
			_, err := count(ctx, conn, t)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// report prints the number of orders that a tenant sees. It uses GetWith and Put, of which
// DoWith consists. Use these if a connection is held for longer than one function runs.
func report(ctx context.Context, pool *client.Pool[*pgx.Conn], t tenant) error {
	lease, err := pool.GetWith(ctx, client.GetOptions{Setting: t, Label: "report"})
	if err != nil {
		return err
	}
	n, err := count(ctx, lease.Conn(), t)
	if err != nil {
		// After an error of the application, such as a wrong query, Put is enough.
		return errors.Join(err, lease.Taint(err))
	}
	fmt.Printf("%s sees %d orders, all its own\n", t, n)
	return lease.Put()
}

// count counts the orders that a connection sees.
func count(ctx context.Context, conn *pgx.Conn, t tenant) (n int, err error) {
	var others int
	err = conn.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE tenant <> $1) FROM orders", string(t)).Scan(&n, &others)
	if err == nil && others > 0 {
		err = fmt.Errorf("%s sees %d orders of others", t, others)
	}
	return n, err
}
