// Command postgres takes orders over HTTP, for tenants with a schema each, on three connections:
//
//   - Apply, Unapply: the search_path is a setting, changed only if no idle connection has it.
//   - Reusable: a connection with forgotten rows or an open transaction is not lent again.
//   - Hijack: LISTEN takes a connection out of the pool, which opens another in its place.
//   - Health: /ready says whether an order would get a connection.
//   - SIGTERM: the orders that have begun are finished, then the pool is closed.
//
// An order is a POST to localhost:8080/ant. The role must be allowed to create schemas:
//
//	go run ./postgres -url postgres://user:password@localhost:5432/database
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
)

func main() {
	url := flag.String("url", "", "address of a database in which schemas can be created")
	address := flag.String("listen", "localhost:8080", "address of the service")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *url, *address); err != nil {
		log.Fatal("postgres: ", err)
	}
}

func run(ctx context.Context, url, address string) (err error) {
	pool, err := client.New(client.Config[*pgx.Conn]{
		Name: "postgres", Capacity: 3, ConnectTimeout: 2 * time.Second, GetTimeout: 5 * time.Second,
		Connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, url) },
		Check:   func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) },
		// Asked besides IsClosed. 'I': there is no transaction.
		Reusable: func(c *pgx.Conn) bool { return !c.PgConn().IsBusy() && c.PgConn().TxStatus() == 'I' },
		Apply: func(ctx context.Context, conn *pgx.Conn, schema any) error {
			return execute("SET search_path TO "+schema.(string))(ctx, conn)
		},
		Unapply: execute("RESET search_path"),
	})
	if err != nil {
		return err
	}
	create, drop := "", ""
	for _, tenant := range []string{"ant", "bee", "cat", "dog"} {
		schema := fmt.Sprintf("%s_%x", tenant, time.Now().UnixNano()) // several runs do not disturb each other
		create = fmt.Sprintf("%[1]s CREATE SCHEMA %[2]s; CREATE TABLE %[2]s.orders (tenant text);", create, schema)
		drop = fmt.Sprintf("%s DROP SCHEMA IF EXISTS %s CASCADE;", drop, schema)
		http.HandleFunc("POST /"+tenant, func(w http.ResponseWriter, r *http.Request) {
			if err := pool.DoWith(r.Context(), client.GetOptions{Setting: schema, Label: tenant}, func(ctx context.Context, conn *pgx.Conn) error {
				rows, _ := conn.Query(ctx, "INSERT INTO orders VALUES ($1) RETURNING pg_notify('orders', tenant)", tenant)
				if r.FormValue("forget") == "" { // otherwise a bug, on purpose
					rows.Close()
				}
				return rows.Err()
			}); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		})
	}
	http.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if h := pool.Health(); !h.OK {
			http.Error(w, fmt.Sprint(h.State, ": ", h.LastError), http.StatusServiceUnavailable)
		}
	})
	if err := pool.Do(ctx, execute(create)); err != nil { // finds out, too, whether there is a server
		return errors.Join(err, pool.Close(context.Background()))
	}
	defer func() { // ctx has ended then
		bounded, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Do(bounded, execute(drop)), pool.Close(bounded))
	}()
	go listen(ctx, pool)
	server, finished := http.Server{Addr: address}, make(chan error)
	context.AfterFunc(ctx, func() { finished <- server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return <-finished
}

// listen logs the orders, on a connection of which the pool knows nothing any more.
func listen(ctx context.Context, pool *client.Pool[*pgx.Conn]) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		lease, err := pool.Get(ctx)
		if err != nil {
			continue
		}
		conn, err := lease.Hijack()
		if err != nil {
			continue
		}
		for err = execute("LISTEN orders")(ctx, conn); err == nil; {
			n, failure := conn.WaitForNotification(ctx)
			if err = failure; err == nil {
				log.Print("an order of ", n.Payload)
			}
		}
		log.Print("not listening: ", errors.Join(err, conn.Close(ctx)))
	}
}

func execute(sql string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error { return conn.PgConn().Exec(ctx, sql).Close() }
}
