//go:build unix

// Command pgxpool compares adapters/pgxpool with pgx's own pool, on the same PostgreSQL
// server, which it starts itself:
//
//	go -C integration run ./versus/pgxpool -out ../docs/benchmarks/pgxpool-adapter.md
//
// A second pool of pgx is the control: what differs between two pools that are the same is
// noise. The pools are measured in turn, in several processes, since the layout of memory
// differs from one process to the next.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	adapter "github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

const (
	connections = 8
	accounts    = 10000 // rows to update: so many that nobody waits for a row
)

func main() {
	processes := flag.Int("processes", 5, "how many processes measure, one after another")
	rounds := flag.Int("rounds", 3, "how many times each process measures each pool")
	each := flag.Duration("each", time.Second, "how long one measurement takes")
	out := flag.String("out", "", "the file to write, besides printing")
	dsn := flag.String("child", "", "measure on this server, and print the numbers: for the processes")
	flag.Parse()
	var err error
	if *dsn != "" {
		err = child(os.Stdout, *dsn, *rounds, *each, []int{2, 16, 256})
	} else {
		var text strings.Builder
		err = compare(io.MultiWriter(os.Stdout, &text), *processes, *rounds, *each)
		if err == nil && *out != "" {
			err = os.WriteFile(*out, []byte(text.String()), 0o644)
		}
	}
	if err != nil {
		log.Fatal(err)
	}
}

// conn is a connection of either pool.
type conn interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Begin(ctx context.Context) (pgx.Tx, error)
	Release()
}

// pool is one of the pools that are compared.
type pool struct {
	acquire  func(ctx context.Context) (conn, error)
	queryRow func(ctx context.Context, sql string, args ...any) pgx.Row
	close    func()
}

// The pools: the adapter, pgx's, and pgx's again.
const pools = 3

func open(ctx context.Context, which int, dsn string) (p pool, err error) {
	if which == 0 {
		cfg, err := adapter.ParseConfig(dsn)
		if err != nil {
			return p, err
		}
		cfg.MaxConns = connections
		own, err := adapter.NewWithConfig(ctx, cfg)
		if err != nil {
			return p, err
		}
		return pool{func(ctx context.Context) (conn, error) { return own.Acquire(ctx) }, own.QueryRow, own.Close}, nil
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return p, err
	}
	cfg.MaxConns = connections
	own, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return p, err
	}
	return pool{func(ctx context.Context) (conn, error) { return own.Acquire(ctx) }, own.QueryRow, own.Close}, nil
}

// operation does something once, and says when it had its connection.
type operation struct {
	name string
	do   func(ctx context.Context, p pool) (acquired time.Time, err error)
}

var operations = []operation{
	{"`SELECT 1`", func(ctx context.Context, p pool) (time.Time, error) {
		c, err := p.acquire(ctx)
		acquired := time.Now()
		if err != nil {
			return acquired, err
		}
		defer c.Release()
		var one int
		return acquired, c.QueryRow(ctx, "SELECT 1").Scan(&one)
	}},
	{"update in a transaction", func(ctx context.Context, p pool) (time.Time, error) {
		c, err := p.acquire(ctx)
		acquired := time.Now()
		if err != nil {
			return acquired, err
		}
		defer c.Release()
		tx, err := c.Begin(ctx)
		if err != nil {
			return acquired, err
		}
		if _, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents + 1 WHERE id = $1", rand.IntN(accounts)); err != nil {
			return acquired, err
		}
		return acquired, tx.Commit(ctx)
	}},
	{"`SELECT 1` by `Pool.QueryRow`", func(ctx context.Context, p pool) (time.Time, error) {
		var one int
		return time.Time{}, p.queryRow(ctx, "SELECT 1").Scan(&one)
	}},
}

// turn is one measurement of one pool. Times are in microseconds.
type turn struct {
	Operation, Workers, Pool              int
	PerSecond, CPU, P50, P99              float64
	AcquireP50, AcquireP99, UseP50, Use99 float64
}

// child measures all pools in turn, and prints a turn in each line.
func child(w io.Writer, dsn string, rounds int, each time.Duration, workers []int) error {
	ctx := context.Background()
	var all [pools]pool
	for i := range all {
		p, err := open(ctx, i, dsn)
		if err != nil {
			return err
		}
		defer p.close()
		all[i] = p
	}
	lines := json.NewEncoder(w)
	first := rand.IntN(pools)
	for o, op := range operations {
		for _, n := range workers {
			for round := -1; round < rounds; round++ {
				d := each
				if round < 0 {
					d = each / 4 // to warm up
				}
				for i := range pools {
					which := (i + first + round + 1) % pools
					t, err := measure(ctx, op, all[which], n, d)
					if err != nil {
						return fmt.Errorf("%s: %w", op.name, err)
					}
					t.Operation, t.Workers, t.Pool = o, n, which
					if round < 0 {
						continue
					}
					if err := lines.Encode(t); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// spent is the processor time of this process. The server is another one.
func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(ctx context.Context, op operation, p pool, workers int, d time.Duration) (turn, error) {
	ctx, cancel := context.WithCancel(ctx) // as in real programs, a context that can end
	defer cancel()
	type times struct{ whole, acquire, use []time.Duration }
	found := make([]times, workers)
	errs := make([]error, workers)
	runtime.GC() // the garbage of one pool is not collected at the cost of another
	cpu, begun := spent(), time.Now()
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			for now := time.Now(); now.Sub(begun) < d; {
				acquired, err := op.do(ctx, p)
				if err != nil {
					errs[i] = err
					return
				}
				then := now
				now = time.Now()
				found[i].whole = append(found[i].whole, now.Sub(then))
				if !acquired.IsZero() {
					found[i].acquire = append(found[i].acquire, acquired.Sub(then))
					found[i].use = append(found[i].use, now.Sub(acquired))
				}
			}
		})
	}
	running.Wait()
	took, used := time.Since(begun), spent()-cpu
	var all times
	for i := range found {
		if errs[i] != nil {
			return turn{}, errs[i]
		}
		all.whole = append(all.whole, found[i].whole...)
		all.acquire = append(all.acquire, found[i].acquire...)
		all.use = append(all.use, found[i].use...)
	}
	n := float64(len(all.whole))
	t := turn{PerSecond: n / took.Seconds(), CPU: micro(used) / n}
	t.P50, t.P99 = quantiles(all.whole)
	t.AcquireP50, t.AcquireP99 = quantiles(all.acquire)
	t.UseP50, t.Use99 = quantiles(all.use)
	return t, nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func quantiles(all []time.Duration) (p50, p99 float64) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return micro(all[len(all)/2]), micro(all[len(all)*99/100])
}

// compare starts the server and the processes, and prints what they have found.
func compare(w io.Writer, processes, rounds int, each time.Duration) error {
	server, err := servers.StartPostgres("max_connections = 40")
	if err != nil {
		return err
	}
	defer server.Close()
	if err := prepare(server); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var turns []turn
	for range processes {
		cmd := exec.Command(self, "-child", server.DSN("postgres", ""), "-rounds", strconv.Itoa(rounds), "-each", each.String())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		lines := json.NewDecoder(strings.NewReader(string(out)))
		for lines.More() {
			var t turn
			if err := lines.Decode(&t); err != nil {
				return err
			}
			turns = append(turns, t)
		}
	}
	report(w, turns, processes, rounds, each)
	return nil
}

func prepare(server *servers.Postgres) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, server.DSN("postgres", ""))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, sql := range []string{
		"CREATE TABLE accounts (id int PRIMARY KEY, cents bigint) WITH (fillfactor = 50)",
		fmt.Sprintf("INSERT INTO accounts SELECT n, 0 FROM generate_series(0, %d) n", accounts-1),
		"VACUUM ANALYZE accounts",
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func report(w io.Writer, turns []turn, processes, rounds int, each time.Duration) {
	fmt.Fprintf(w, `# The adapter against pgx's pool

Generated by %s; see [pgxpool.md](../pgxpool.md).

%s, %s/%s, GOMAXPROCS %d. Each pool has %d connections to the same PostgreSQL server, on the same machine. There are
three: the adapter, pgx's, and pgx's again as a control (A/A). They are measured in turn for %v, %d times in each of %d
processes. Numbers are medians. A ratio is that of measurements in the same round, to the first of pgx's pools: its
median (lower quartile to upper quartile). CPU is the processor time of the client's process for each operation.

`, "`go -C integration run ./versus/pgxpool`", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), connections, each, rounds, processes)
	fmt.Fprintln(w, "| operation | goroutines | | adapter | pgx | adapter / pgx | pgx / pgx |")
	fmt.Fprintln(w, "|---|---:|---|---:|---:|---:|---:|")
	columns := []struct {
		name, format string
		of           func(turn) float64
	}{
		{"operations/s", "%.0f", func(t turn) float64 { return t.PerSecond }},
		{"CPU, µs", "%.1f", func(t turn) float64 { return t.CPU }},
		{"p50, µs", "%.1f", func(t turn) float64 { return t.P50 }},
		{"p99, µs", "%.0f", func(t turn) float64 { return t.P99 }},
		{"acquire p50, µs", "%.2f", func(t turn) float64 { return t.AcquireP50 }},
		{"acquire p99, µs", "%.0f", func(t turn) float64 { return t.AcquireP99 }},
		{"use p50, µs", "%.1f", func(t turn) float64 { return t.UseP50 }},
		{"use p99, µs", "%.0f", func(t turn) float64 { return t.Use99 }},
	}
	for o, op := range operations {
		for _, n := range []int{2, 16, 256} {
			for _, column := range columns {
				var of [pools][]float64
				for _, t := range turns {
					if t.Operation == o && t.Workers == n {
						of[t.Pool] = append(of[t.Pool], column.of(t))
					}
				}
				if len(of[0]) == 0 || slices.Max(of[0]) == 0 { // it was not measured
					continue
				}
				fmt.Fprintf(w, "| %s | %d | %s | "+column.format+" | "+column.format+" | %s | %s |\n", op.name, n, column.name,
					median(of[0]), median(of[1]), ratio(of[0], of[1]), ratio(of[2], of[1]))
			}
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func ratio(of, to []float64) string {
	var all []float64
	for i := range of {
		all = append(all, of[i]/to[i])
	}
	slices.Sort(all)
	return fmt.Sprintf("%.2f (%.2f to %.2f)", all[len(all)/2], all[len(all)/4], all[len(all)*3/4])
}
