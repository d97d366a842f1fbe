//go:build unix

// Command versus-sql compares a *sql.DB above the pool with a plain one, on the same
// MariaDB server, which it starts itself:
//
//	go -C integration run ./versus-sql
//
// Both have 8 connections and 64 callers. They are measured in turn, and each ratio is that
// of two measurements that follow each other.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/actorpool/actorpool/adapters/sqlpool"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

const (
	connections = 8
	callers     = 64
)

func main() {
	rounds := flag.Int("rounds", 9, "how many times each is measured")
	each := flag.Duration("each", time.Second, "how long one measurement takes")
	query := flag.String("query", "SELECT 1", "what each caller asks, again and again")
	flag.Parse()
	if err := compare(*rounds, *each, *query); err != nil {
		log.Fatal(err)
	}
}

// turn is one measurement.
type turn struct {
	perSecond float64
	jain      float64 // of the numbers of queries of the callers: 1 is even
	p99       time.Duration
}

func compare(rounds int, each time.Duration, query string) error {
	server, err := servers.StartMariaDB()
	if err != nil {
		return err
	}
	defer server.Close()
	cfg, err := mysql.ParseDSN(server.DSN())
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	plain := sql.OpenDB(connector)
	defer plain.Close()
	plain.SetMaxOpenConns(connections)
	plain.SetMaxIdleConns(connections)
	pooled, _, err := sqlpool.OpenDB(connector, sqlpool.Config{Capacity: connections})
	if err != nil {
		return err
	}
	defer pooled.Close()

	var throughput, jain, plainJain, p99 []float64
	fmt.Printf("%d callers, %d connections, %q, %v each\n", callers, connections, query, each)
	for round := -1; round < rounds; round++ {
		var turns [2]turn
		for i := range turns {
			i = (i + round + 2) % 2
			if turns[i], err = measure([]*sql.DB{pooled, plain}[i], query, each); err != nil {
				return err
			}
		}
		if round < 0 {
			continue // to warm up
		}
		throughput = append(throughput, turns[0].perSecond/turns[1].perSecond)
		p99 = append(p99, turns[0].p99.Seconds()/turns[1].p99.Seconds())
		jain, plainJain = append(jain, turns[0].jain), append(plainJain, turns[1].jain)
		fmt.Printf("pooled %.0f/s, Jain %.4f, p99 %v; plain %.0f/s, Jain %.4f, p99 %v\n",
			turns[0].perSecond, turns[0].jain, turns[0].p99, turns[1].perSecond, turns[1].jain, turns[1].p99)
	}
	fmt.Printf("medians (least to most): throughput %s, p99 %s of plain; Jain %s, plain %s\n",
		spread(throughput), spread(p99), spread(jain), spread(plainJain))
	return nil
}

// measure has the callers ask for a duration.
func measure(db *sql.DB, query string, d time.Duration) (turn, error) {
	ctx, cancel := context.WithCancel(context.Background()) // as in real programs, one that can end
	defer cancel()
	times := make([][]time.Duration, callers)
	errs := make([]error, callers)
	begun := time.Now()
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for now := time.Now(); now.Sub(begun) < d; {
				var answer int
				if errs[i] = db.QueryRowContext(ctx, query).Scan(&answer); errs[i] != nil {
					return
				}
				then := now
				now = time.Now()
				times[i] = append(times[i], now.Sub(then))
			}
		})
	}
	running.Wait()
	took := time.Since(begun)
	for _, err := range errs {
		if err != nil {
			return turn{}, err
		}
	}
	var sum, squares float64
	for _, t := range times {
		n := float64(len(t))
		sum, squares = sum+n, squares+n*n
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	return turn{sum / took.Seconds(), sum * sum / (callers * squares), all[len(all)*99/100]}, nil
}

// spread formats the median, the least and the most.
func spread(v []float64) string {
	slices.Sort(v)
	if len(v) == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.4f (%.4f to %.4f)", v[len(v)/2], v[0], v[len(v)-1])
}
