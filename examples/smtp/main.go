// Command smtp sends a message to each recipient, over two connections to a mail server:
//
//   - Check, with NOOP: a connection that the server has ended while it was idle is replaced
//     before a message is sent over it.
//   - Reset, with RSET: nothing of a message whose recipient was refused gets into the next one.
//   - MaxUses: servers end a connection after so many messages. The pool does so before.
//   - net/smtp has no contexts: when one ends, the network connection is closed.
//
// STARTTLS and a login, if the server wants them, would stand at the end of dial:
//
//	go run ./smtp -address localhost:25 -from me@example.org you@example.org
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/actorpool/actorpool/client"
)

func main() {
	address := flag.String("address", "localhost:25", "address of the server")
	from := flag.String("from", "", "the sender of the messages")
	pause := flag.Duration("pause", 0, "how long to wait after each recipient")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *address, *from, flag.Args(), *pause); err != nil {
		fmt.Fprintln(os.Stderr, "smtp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, from string, recipients []string, pause time.Duration) error {
	pool, err := client.New(client.Config[conn]{
		Name: "smtp", Capacity: 2, MaxUses: 20, ConnectTimeout: 3 * time.Second,
		Connect: func(ctx context.Context) (conn, error) { return dial(ctx, address) },
		Check:   func(ctx context.Context, c conn) error { return c.within(ctx, c.Noop) },
		Reset:   func(ctx context.Context, c conn) error { return c.within(ctx, c.Reset) },
		Disconnect: func(ctx context.Context, c conn) error {
			defer func() { _ = c.wire.Close() }()
			return c.within(ctx, c.Quit)
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close(context.Background()) }() // waits for nobody: all workers have ended
	if err := pool.Ready(ctx); err != nil {                 // connects now: a missing server is noticed at once
		return err
	}
	errs := make([]error, len(recipients))
	var workers sync.WaitGroup
	for i, to := range recipients {
		send := func(ctx context.Context, c conn) error {
			return c.within(ctx, func() error { return c.send(from, to) })
		}
		workers.Go(func() { errs[i] = pool.Do(ctx, send) })
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	workers.Wait()
	fmt.Printf("%d messages over %d connections\n", pool.Stats().Gets, pool.Stats().Connects)
	return cmp.Or(context.Cause(ctx), errors.Join(errs...))
}

type conn struct {
	*smtp.Client
	wire net.Conn
}

func dial(ctx context.Context, address string) (c conn, err error) {
	if c.wire, err = new(net.Dialer).DialContext(ctx, "tcp", address); err != nil {
		return c, err
	}
	err = c.within(ctx, func() (err error) {
		c.Client, err = smtp.NewClient(c.wire, address)
		return err
	})
	return c, err
}

// within calls f, and closes the connection if ctx ends before.
func (c conn) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.wire.Close() })
	if err := f(); stop() {
		return err
	}
	return ctx.Err()
}

func (c conn) send(from, to string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "From: %s\r\nTo: %s\r\nSubject: Hello\r\n\r\nHello!\r\n", from, to)
	return errors.Join(err, w.Close())
}
