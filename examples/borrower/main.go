// Command borrower shows actors that borrow connections by message, and what happens to a
// connection whose borrower panics or stops while it holds it.
//
//	go run ./borrower
//
// Three workers share one connection to a simulated server. Alice panics in the middle of a
// transaction, and its supervisor restarts it; carol stops while it holds the connection;
// bob returns the connection. The pool takes back what alice and carol held: Reset rolls the
// transaction back, and the next worker in the queue gets the connection.
//
// Where to read: worker.go is an actor that borrows; supervisor.go is its supervisor, with
// the middleware that releases connections on a restart.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "borrower:", err)
		os.Exit(1)
	}
}

// run runs the whole example, in about two seconds.
func run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	log := &eventLog{out: out, start: time.Now()}

	// The program's own actor system. Its log is off: the library logs every panic, and
	// here one is expected.
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))

	var s server
	pool, err := client.Spawn(system.Root, client.Config[*session]{
		Name:       "server",
		Capacity:   1,
		Connect:    s.connect,
		Disconnect: s.disconnect,
		// Reset runs after every lease, also after one that the pool ended because its
		// holder panicked or stopped.
		Reset: func(_ context.Context, s *session) error {
			if s.transaction != "" {
				log.printf("pool", "resets connection %d: rolls back %s", s.id, s.transaction)
				s.transaction = ""
			}
			return nil
		},
	})
	if err != nil {
		return err
	}

	finished := make(chan string, 3) // the names of workers
	supervisor := system.Root.Spawn(supervisorProps(pool.PID(), log, finished))
	for _, msg := range []start{
		{name: "alice", failure: panics},
		{name: "bob"},
		{name: "carol", failure: stops},
	} {
		system.Root.Send(supervisor, msg)
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return errors.Join(err, closePool(pool))
		}
	}
	if e, err := pool.Explain(ctx); err == nil {
		log.printf("pool", "Explain:\n%s", indent(e.String()))
	}
	for range 3 {
		select {
		case name := <-finished:
			log.printf("main", "%s has finished", name)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), closePool(pool))
		}
	}

	// The order does not matter: the pool takes back the connections of borrowers that
	// stop, and when the pool is closed, borrowers that wait get an answer.
	if err := errors.Join(system.Root.StopFuture(supervisor).Wait(), closePool(pool)); err != nil {
		return err
	}
	st := pool.Stats()
	log.printf("pool", "is closed: %d Gets, %d leases, %d returned, %d taken back; %d connections opened, %d closed",
		st.Gets, st.Grants, st.Puts, st.Revoked, s.opened.Load(), s.closed.Load())
	if st.Grants != st.Puts+st.Revoked || s.opened.Load() != s.closed.Load() {
		return errors.New("a lease or a connection is lost")
	}
	return nil
}

func closePool(pool *client.Pool[*session]) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return pool.Close(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// server is the simulated server.
type server struct{ opened, closed atomic.Int64 }

// session is a connection to it. Only its holder and Reset use it.
type session struct {
	id          int64
	transaction string // the one that is open; empty if none is
}

func (s *server) connect(context.Context) (*session, error) {
	return &session{id: s.opened.Add(1)}, nil
}

func (s *server) disconnect(context.Context, *session) error { s.closed.Add(1); return nil }

// eventLog prints what happens, and when.
type eventLog struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func (l *eventLog) printf(who, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%5dms  %-7s %s\n", time.Since(l.start).Milliseconds(), who, fmt.Sprintf(format, args...))
}

func indent(text string) string {
	const margin = "                 "
	return margin + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+margin)
}
