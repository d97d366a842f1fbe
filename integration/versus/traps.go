//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

// The trap: of 8 clients that share 3 connections, each forgets the rows of one operation in ten.
const (
	trapClients     = 8
	trapConnections = 3
	trapForgets     = 10
)

// trapped is what came of the operations of one measurement.
type trapped struct {
	served int64
	busy   int64 // callers that were lent a connection with the rows of somebody else
	failed int64 // operations that failed, those included
}

// traps measures both pools in turn, and writes what came of it.
func traps(w io.Writer, rounds int, each time.Duration) (worst trapped, err error) {
	server, err := servers.StartPostgres("max_connections = 40")
	if err != nil {
		return worst, err
	}
	defer server.Close()
	ctx := context.Background()
	actorpool, err := client.New(client.Config[*pgx.Conn]{
		Capacity: trapConnections,
		Connect:  func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, server.DSN("postgres", "")) },
		Check:    func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) },
		// As in examples/postgres.
		Reusable: func(c *pgx.Conn) bool { return !c.PgConn().IsBusy() && c.PgConn().TxStatus() == 'I' },
	})
	if err != nil {
		return worst, err
	}
	defer func() { err = errors.Join(err, actorpool.Close(ctx)) }()
	cfg, err := pgxpool.ParseConfig(server.DSN("postgres", ""))
	if err != nil {
		return worst, err
	}
	cfg.MaxConns = trapConnections
	pgx, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return worst, err
	}
	defer pgx.Close()

	pools := []do{actorpool.Do, acquire(pgx)}
	var of [2][]trapped
	for round := range rounds {
		for i := range pools {
			i = (i + round) % 2
			t := spring(ctx, pools[i], each)
			of[i] = append(of[i], t)
			fmt.Fprintf(w, "%s: %d served, %d failed, of which %d on a busy connection\n", []string{"actorpool", "pgxpool"}[i], t.served, t.failed, t.busy)
		}
	}
	var ratios []float64
	for round := range rounds {
		ours, theirs := of[0][round], of[1][round]
		ratios = append(ratios, float64(ours.served)/float64(max(theirs.served, 1)))
		worst.busy, worst.failed, worst.served = max(worst.busy, ours.busy), max(worst.failed, ours.failed), max(worst.served, ours.served)
	}
	fmt.Fprintf(w, "served by actorpool, of pgxpool: %s\n", spread("%.2f", ratios))
	return worst, nil
}

// spring lets the clients run operations for a duration.
func spring(ctx context.Context, pool do, d time.Duration) trapped {
	var served, busy, failed atomic.Int64
	var running sync.WaitGroup
	begun := time.Now()
	for range trapClients {
		running.Go(func() {
			for n := 0; time.Since(begun) < d; n++ {
				err := pool(ctx, func(ctx context.Context, conn *pgx.Conn) error {
					if conn.PgConn().IsBusy() {
						busy.Add(1)
					}
					if n%trapForgets == 0 {
						_, err := conn.Query(ctx, "SELECT generate_series(1, 1000)") // and forgets the rows
						return err
					}
					return selectOne(ctx, conn)
				})
				if err != nil {
					failed.Add(1)
				} else {
					served.Add(1)
				}
			}
		})
	}
	running.Wait()
	return trapped{served.Load(), busy.Load(), failed.Load()}
}
