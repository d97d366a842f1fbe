//go:build unix

// Command versus-sql compares a *sql.DB above the pool with a plain one, on the same server,
// which it starts itself:
//
//	go -C integration run ./versus-sql                       # MariaDB
//	go -C integration run ./versus-sql -database postgres
//	go -C integration run ./versus-sql -database memory      # a driver without a server
//
// A second plain *sql.DB is the control: what differs between two that are the same is
// noise. A fourth gets its connections from a channel: that is the least that a pool below
// database/sql can cost. They are measured in turn, in several processes, since the layout of memory differs
// from one process to the next.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/actorpool/actorpool/adapters/sqlpool"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

const connections = 8

func main() {
	database := flag.String("database", "mariadb", "mariadb, postgres or memory")
	processes := flag.Int("processes", 5, "how many processes measure, one after another")
	rounds := flag.Int("rounds", 3, "how many times each process measures each")
	each := flag.Duration("each", time.Second, "how long one measurement takes")
	callers := flag.Int("callers", 64, "how many goroutines ask")
	query := flag.String("query", "SELECT 1", "what each caller asks, again and again")
	prepared := flag.Bool("prepared", false, "ask with one statement of DB.Prepare for all callers")
	profile := flag.String("profile", "", "measure only this package's *sql.DB, or only the plain one: own=FILE or plain=FILE, "+
		"and write a profile of the processor time")
	dsn := flag.String("child", "", "measure on this server, and print the numbers: for the processes")
	flag.Parse()
	m := measurement{*database, *dsn, *callers, *rounds, *each, *query, *prepared}
	var err error
	switch {
	case *dsn != "" && *profile != "":
		err = m.profile(*profile)
	case *dsn != "":
		err = m.child(os.Stdout)
	default:
		err = m.compare(os.Stdout, *processes, *profile)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// measurement is what one process measures.
type measurement struct {
	database, dsn   string
	callers, rounds int
	each            time.Duration
	query           string
	prepared        bool
}

// turn is one measurement of one *sql.DB. Times are in microseconds.
type turn struct {
	DB                       int
	PerSecond, CPU, P50, P99 float64
	Jain                     float64 // of the numbers of queries of the callers: 1 is even
	Allocs                   float64
}

// The databases that are compared: ours, a plain one, a plain one again, and one above a
// channel.
const databases = 4

func (m measurement) connector() (driver.Connector, error) {
	switch m.database {
	case "memory":
		return memory{}, nil
	case "postgres":
		cfg, err := pgx.ParseConfig(m.dsn)
		if err != nil {
			return nil, err
		}
		return stdlib.GetConnector(*cfg), nil
	}
	cfg, err := mysql.ParseDSN(m.dsn)
	if err != nil {
		return nil, err
	}
	return mysql.NewConnector(cfg)
}

// open opens a *sql.DB, and says how to close it.
func (m measurement) open(which int) (db *sql.DB, closes func(), err error) {
	connector, err := m.connector()
	if err != nil {
		return nil, nil, err
	}
	switch which {
	case 0:
		if db, _, err = sqlpool.OpenDB(connector, sqlpool.Config{Capacity: connections}); err != nil {
			return nil, nil, err
		}
	case 3:
		c, err := newChannel(connector)
		if err != nil {
			return nil, nil, err
		}
		db = sql.OpenDB(c)
		db.SetMaxIdleConns(-1)
		return db, func() { _ = db.Close(); c.close() }, nil
	default:
		db = sql.OpenDB(connector)
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
	}
	return db, func() { _ = db.Close() }, nil
}

// child measures all in turn, and prints a turn in each line.
func (m measurement) child(w io.Writer) error {
	var all [databases]*sql.DB
	for i := range all {
		db, closes, err := m.open(i)
		if err != nil {
			return err
		}
		defer closes()
		all[i] = db
	}
	lines := json.NewEncoder(w)
	first := rand.IntN(databases)
	for round := -1; round < m.rounds; round++ {
		d := m.each
		if round < 0 {
			d = m.each / 4 // to warm up
		}
		for i := range all {
			which := (i + first + round + 1) % databases
			t, err := m.measure(all[which], d)
			if err != nil {
				return err
			}
			if t.DB = which; round < 0 {
				continue
			}
			if err := lines.Encode(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// profile measures one *sql.DB under the profiler.
func (m measurement) profile(which string) error {
	name, file, _ := strings.Cut(which, "=")
	db, closes, err := m.open(max(slices.Index([]string{"own", "plain"}, name), 0))
	if err != nil {
		return err
	}
	defer closes()
	if _, err := m.measure(db, m.each/4); err != nil { // to warm up
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	_, err = m.measure(db, m.each)
	pprof.StopCPUProfile()
	if closing := out.Close(); err == nil {
		err = closing
	}
	return err
}

// spent is the processor time of this process. The server is another one.
func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure has the callers ask for a duration.
func (m measurement) measure(db *sql.DB, d time.Duration) (turn, error) {
	ctx, cancel := context.WithCancel(context.Background()) // as in real programs, one that can end
	defer cancel()
	ask := func() *sql.Row { return db.QueryRowContext(ctx, m.query) }
	if m.prepared {
		st, err := db.PrepareContext(ctx, m.query)
		if err != nil {
			return turn{}, err
		}
		defer func() { _ = st.Close() }()
		ask = func() *sql.Row { return st.QueryRowContext(ctx) }
	}
	times := make([][]time.Duration, m.callers)
	errs := make([]error, m.callers)
	for i := range times {
		times[i] = make([]time.Duration, 0, int(d/time.Microsecond)/m.callers)
	}
	runtime.GC() // the garbage of one is not collected at the cost of another
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, begun := spent(), time.Now()
	var running sync.WaitGroup
	for i := range m.callers {
		running.Go(func() {
			for now := time.Now(); now.Sub(begun) < d; {
				var answer int
				if errs[i] = ask().Scan(&answer); errs[i] != nil {
					return
				}
				then := now
				now = time.Now()
				times[i] = append(times[i], now.Sub(then))
			}
		})
	}
	running.Wait()
	took, used := time.Since(begun), spent()-cpu
	runtime.ReadMemStats(&after)
	var sum, squares float64
	for i, t := range times {
		if errs[i] != nil {
			return turn{}, errs[i]
		}
		n := float64(len(t))
		sum, squares = sum+n, squares+n*n
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	return turn{
		PerSecond: sum / took.Seconds(), CPU: micro(used) / sum, Jain: sum * sum / (float64(m.callers) * squares),
		P50: micro(all[len(all)/2]), P99: micro(all[len(all)*99/100]), Allocs: float64(after.Mallocs-before.Mallocs) / sum,
	}, nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// compare starts the server and the processes, and prints what they have found.
func (m measurement) compare(w io.Writer, processes int, profile string) error {
	switch m.database {
	case "memory":
		m.dsn = m.database
	case "mariadb":
		server, err := servers.StartMariaDB()
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		m.dsn = server.DSN()
	case "postgres":
		server, err := servers.StartPostgres("max_connections = 40")
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		m.dsn = server.DSN("postgres", "")
	default:
		return fmt.Errorf("-database: %q is not mariadb, postgres or memory", m.database)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{
		"-child", m.dsn, "-database", m.database, "-callers", strconv.Itoa(m.callers), "-rounds", strconv.Itoa(m.rounds),
		"-each", m.each.String(), "-query", m.query, "-prepared=" + strconv.FormatBool(m.prepared),
	}
	if profile != "" {
		cmd := exec.Command(self, append(args, "-profile", profile)...)
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	var turns []turn
	for range processes {
		cmd := exec.Command(self, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		for lines := json.NewDecoder(strings.NewReader(string(out))); lines.More(); {
			var t turn
			if err := lines.Decode(&t); err != nil {
				return err
			}
			turns = append(turns, t)
		}
	}
	fmt.Fprintf(w, "%s: %d callers, %d connections, %q, prepared: %v; %v, %d times in each of %d processes; %s, GOMAXPROCS %d\n\n",
		m.database, m.callers, connections, m.query, m.prepared, m.each, m.rounds, processes, runtime.Version(), runtime.GOMAXPROCS(0))
	report(w, turns)
	return nil
}

// report prints medians, and the ratios of measurements in the same round.
func report(w io.Writer, turns []turn) {
	fmt.Fprintln(w, "A ratio is that of measurements in the same round, as median (quartiles), and that of the least of all.")
	fmt.Fprintln(w, "\n| | this pool | plain | this pool / plain | plain / plain | channel / plain |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|")
	for _, column := range []struct {
		name, format string
		of           func(turn) float64
	}{
		{"queries in a second", "%.0f", func(t turn) float64 { return t.PerSecond }},
		{"CPU, µs", "%.2f", func(t turn) float64 { return t.CPU }},
		{"p50, µs", "%.0f", func(t turn) float64 { return t.P50 }},
		{"p99, µs", "%.0f", func(t turn) float64 { return t.P99 }},
		{"Jain's index", "%.4f", func(t turn) float64 { return t.Jain }},
		{"allocations", "%.1f", func(t turn) float64 { return t.Allocs }},
	} {
		var of [databases][]float64
		for _, t := range turns {
			of[t.DB] = append(of[t.DB], column.of(t))
		}
		fmt.Fprintf(w, "| %s | "+column.format+" | "+column.format+" | %s | %s | %s |\n", column.name,
			median(of[0]), median(of[1]), ratio(of[0], of[1]), ratio(of[2], of[1]), ratio(of[3], of[1]))
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
	return fmt.Sprintf("%.3f (%.3f to %.3f), %.3f", all[len(all)/2], all[len(all)/4], all[len(all)*3/4], slices.Min(of)/slices.Min(to))
}
