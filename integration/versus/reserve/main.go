//go:build unix

// Command reserve measures what Config.Reserve does for many callers with short deadlines, on a
// PostgreSQL server that it starts itself:
//
//	go -C integration run ./versus/reserve
//
// The pools with and without it are measured in turn. See docs/overload.md for the numbers.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

const (
	clients     = 100
	connections = 4
	deadline    = 100 * time.Millisecond
	reserve     = 30 * time.Millisecond
	query       = "SELECT pg_sleep(0.01)"
)

func main() {
	rounds := flag.Int("rounds", 5, "how many times each pool is measured")
	each := flag.Duration("each", 5*time.Second, "how long one measurement takes")
	flag.Parse()
	if err := compare(os.Stdout, *rounds, *each); err != nil {
		log.Fatal(err)
	}
}

func compare(w io.Writer, rounds int, each time.Duration) error {
	server, err := servers.StartPostgres("max_connections = 40")
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(w, "%s, GOMAXPROCS %d, %d rounds of %v\n\n", runtime.Version(), runtime.GOMAXPROCS(0), rounds, each)
	var served, connects [2][]float64 // without Reserve, with it
	var ratios []float64
	for range rounds {
		var n [2]float64
		for i, r := range []time.Duration{0, reserve} {
			st, in, err := measure(server, r, each)
			if err != nil {
				return err
			}
			n[i] = float64(in)
			served[i] = append(served[i], n[i])
			connects[i] = append(connects[i], float64(st.Connects))
		}
		ratios = append(ratios, n[1]/max(1, n[0]))
	}
	fmt.Fprintln(w, "| | served | connects |")
	fmt.Fprintln(w, "|---|---:|---:|")
	for i, name := range []string{"without `Reserve`", "`Reserve: 30 * time.Millisecond`"} {
		fmt.Fprintf(w, "| %s | %.0f (%.0f to %.0f) | %.0f |\n",
			name, median(served[i]), slices.Min(served[i]), slices.Max(served[i]), median(connects[i]))
	}
	fmt.Fprintf(w, "\nratio %.1f (%.1f to %.1f)\n", median(ratios), slices.Min(ratios), slices.Max(ratios))
	return nil
}

// measure lets all clients query for a while. It counts the queries that ended before their deadline.
// pgx closes a connection whose query is cancelled.
func measure(server *servers.Postgres, reserve, each time.Duration) (client.Stats, int64, error) {
	ctx := context.Background()
	pool, err := client.New(client.Config[*pgx.Conn]{
		Connect: func(ctx context.Context) (*pgx.Conn, error) {
			return pgx.Connect(ctx, server.DSN("postgres", ""))
		},
		Disconnect: func(ctx context.Context, conn *pgx.Conn) error { return conn.Close(ctx) },
		Capacity:   connections,
		MinIdle:    connections,
		Reserve:    reserve,
	})
	if err != nil {
		return client.Stats{}, 0, err
	}
	defer func() { _ = pool.Close(ctx) }()
	if err := pool.Ready(ctx); err != nil {
		return client.Stats{}, 0, err
	}
	var served atomic.Int64
	var all sync.WaitGroup
	for began, i := time.Now(), 0; i < clients; i++ {
		all.Go(func() {
			for time.Since(began) < each {
				bounded, cancel := context.WithTimeout(ctx, deadline)
				err := pool.Do(bounded, func(ctx context.Context, conn *pgx.Conn) error {
					_, err := conn.Exec(ctx, query)
					return err
				})
				cancel()
				if err == nil {
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	return pool.Stats(), served.Load(), nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
