// Command shop is a small HTTP service with a database: what a program with a pool of connections has besides its
// queries. By default the database is SQLite in a temporary file, through adapters/sqlpool, so that nothing has to be
// installed; with -postgres it is a PostgreSQL server, through adapters/pgxpool.
//
//   - /products, /orders and /report are the service: a query, a transaction, and a slow transaction.
//   - /pools/ is the live page, /metrics is for Prometheus, /ready for a readiness probe.
//   - SIGTERM: no requests are accepted any more, those that have begun are finished, then the pool is closed.
//
// With -load 16 there is something to see on the page: as many clients send requests.
//
//	go run ./shop -load 16
//	curl -d 'product=tea&count=2' localhost:8080/orders
//	curl localhost:8080/report?pause=2s
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// options are those of the command line.
type options struct {
	postgres string
	load     uint
	drain    time.Duration
}

func main() {
	var o options
	address := flag.String("listen", "localhost:8080", "address of the service")
	flag.StringVar(&o.postgres, "postgres", "", "address of a database in which a schema can be created (default: SQLite in a temporary file)")
	flag.UintVar(&o.load, "load", 0, "number of clients that send requests")
	flag.DurationVar(&o.drain, "drain", 10*time.Second, "longest time for requests that have begun, after SIGTERM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	listener, err := net.Listen("tcp", *address)
	if err == nil {
		err = run(ctx, o, listener)
	}
	if err != nil {
		log.Fatal("shop: ", err)
	}
}

// run serves until ctx ends, and then finishes what has begun.
func run(ctx context.Context, o options, listener net.Listener) (err error) {
	open := openSQLite
	if o.postgres != "" {
		open = func(ctx context.Context) (store, error) { return openPostgres(ctx, o.postgres) }
	}
	db, err := open(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { // ctx has ended then
		bounded, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, db.close(bounded))
	}()
	handler, end, err := routes(db)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer end()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	address := "http://" + listener.Addr().String()
	log.Printf("the live page: %s/pools/", address)

	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	for range o.load {
		clients.Go(func() { shopping(ctx, address) })
	}
	select {
	case <-ctx.Done():
		log.Print("draining")
		bounded, stop := context.WithTimeout(context.Background(), o.drain)
		defer stop()
		if err = server.Shutdown(bounded); err != nil {
			err = errors.Join(err, server.Close()) // ends the contexts of the requests
		}
	case err = <-served:
	}
	cancel()
	clients.Wait()
	return err
}
