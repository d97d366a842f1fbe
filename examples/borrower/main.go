// Command borrower shows actors that borrow connections by message, and what
// becomes of a connection when its borrower crashes, or stops, while it holds it.
//
//	go run ./borrower
//
// Three clerks share one connection to a bank, which is staged. Alice crashes in
// the middle of a transaction and is restarted by her supervisor; carol stops
// while she holds the connection; bob does what he should. Nobody returns what
// alice and carol held but the pool: it goes through Reset, which rolls back, and
// to whoever waits.
//
// Where to read: clerk.go is an actor that borrows, office.go its supervisor, and
// the props with the middleware that releases on a restart. The rest is staging.
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

// run plays the whole story, in about two seconds.
func run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	p := &page{out: out, start: time.Now()}

	// The program's own actor system. The library logs every crash, which is no
	// news here.
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))

	var b bank
	pool, err := client.Spawn(system.Root, client.Config[*session]{
		Name:       "bank",
		Capacity:   1,
		Connect:    b.connect,
		Disconnect: b.disconnect,
		// What its last holder left on a connection is cleared, however he went.
		Reset: func(_ context.Context, s *session) error {
			if s.transaction != "" {
				p.say("pool", "resets connection %d: rolls back %s", s.id, s.transaction)
				s.transaction = ""
			}
			return nil
		},
	})
	if err != nil {
		return err
	}

	through := make(chan string, 3) // whose day is over
	office := system.Root.Spawn(officeProps(pool.PID(), p, through))
	for _, hired := range []hire{
		{name: "alice", accident: crashes},
		{name: "bob"},
		{name: "carol", accident: leaves},
	} {
		system.Root.Send(office, hired)
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return errors.Join(err, closePool(pool))
		}
	}
	if e, err := pool.Explain(ctx); err == nil {
		p.say("pool", "explains itself:\n%s", indent(e.String()))
	}
	for range 3 {
		select {
		case name := <-through:
			p.say("office", "%s is through", name)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), closePool(pool))
		}
	}

	// The order does not matter: a pool takes back what borrowers hold who stop,
	// and a pool that closes tells those who wait.
	if err := errors.Join(system.Root.StopFuture(office).Wait(), closePool(pool)); err != nil {
		return err
	}
	st := pool.Stats()
	p.say("pool", "is closed: %d gets, %d grants, %d returned, %d taken back; %d connections opened, %d closed",
		st.Gets, st.Grants, st.Puts, st.Revoked, b.opened.Load(), b.closed.Load())
	if st.Grants != st.Puts+st.Revoked || b.opened.Load() != b.closed.Load() {
		return errors.New("something is lost")
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

// bank is the staged server.
type bank struct{ opened, closed atomic.Int64 }

// session is a connection to it. Only its holder touches it, and Reset.
type session struct {
	id          int64
	transaction string // the one that is open
}

func (b *bank) connect(context.Context) (*session, error) { return &session{id: b.opened.Add(1)}, nil }

func (b *bank) disconnect(context.Context, *session) error { b.closed.Add(1); return nil }

// page is what everybody writes to.
type page struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func (p *page) say(who, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "%5dms  %-7s %s\n", time.Since(p.start).Milliseconds(), who, fmt.Sprintf(format, args...))
}

func indent(text string) string {
	const margin = "                 "
	return margin + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+margin)
}
