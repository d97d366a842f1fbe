// Command ssh runs a command many times on a server, over three SSH connections:
//
//   - Pooled are the connections, which take a handshake and a login. A session is cheap and
//     serves one command: it is opened on a connection that nobody else uses at the time.
//   - MaxConnecting: one login at a time, because sshd refuses connections while too many have
//     not logged in yet (its MaxStartups).
//   - IsClosed: a connection that the server has ended meanwhile is not lent.
//   - Broken: a command costs its connection only if it ends without an exit status.
//
// The server's ed25519 key must be known:
//
//	go run ./ssh -address localhost:22 -key ~/.ssh/id_ed25519 -known ~/.ssh/known_hosts uptime
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/actorpool/actorpool/client"
)

func main() {
	address := flag.String("address", "localhost:22", "address of the server")
	user := flag.String("user", os.Getenv("USER"), "name of the user on the server")
	key := flag.String("key", "", "file with the user's private key")
	known := flag.String("known", "", "known_hosts file, with the server's ed25519 key")
	times := flag.Int("times", 20, "how many times the command runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	pem, err := os.ReadFile(*key)
	signer, err2 := ssh.ParsePrivateKey(pem)
	hosts, err3 := knownhosts.New(*known)
	if err = cmp.Or(err, err2, err3); err == nil {
		login := &ssh.ClientConfig{User: *user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: hosts, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}}
		err = run(ctx, *address, login, cmp.Or(flag.Arg(0), "uptime"), *times)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ssh:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, login *ssh.ClientConfig, command string, times int) error {
	pool, err := client.New(client.Config[conn]{
		Name: "ssh", Capacity: 3, MaxConnecting: 1, ConnectTimeout: 3 * time.Second,
		Connect: func(ctx context.Context) (conn, error) { return dial(ctx, address, login) },
		Broken: func(err error) bool { // not after an *ssh.ExitError
			var missing *ssh.ExitMissingError
			return errors.As(err, &missing) || client.Broken(err)
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close(context.Background()) }() // nothing is borrowed then, so it does not wait
	if err := pool.Ready(ctx); err != nil {                 // connects now: a wrong key is noticed before the work begins
		return err
	}
	errs := make([]error, times)
	var commands sync.WaitGroup
	execute := func(ctx context.Context, c conn) error { return c.run(ctx, command) }
	for i := range errs {
		commands.Go(func() { errs[i] = pool.Do(ctx, execute) })
	}
	commands.Wait()
	fmt.Printf("%d sessions over %d connections\n", pool.Stats().Gets, pool.Stats().Connects)
	return cmp.Or(context.Cause(ctx), errors.Join(errs...))
}

// conn is a connection that knows whether it has ended.
type conn struct {
	*ssh.Client
	ended context.Context
}

// IsClosed is asked before the connection is lent, and when it is returned.
func (c conn) IsClosed() bool { return c.ended.Err() != nil }

func dial(ctx context.Context, address string, login *ssh.ClientConfig) (conn, error) {
	wire, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return conn{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = wire.Close() })() // the handshake has no context
	c, channels, requests, err := ssh.NewClientConn(wire, address, login)
	if err != nil {
		return conn{}, cmp.Or(ctx.Err(), err)
	}
	ended, end := context.WithCancel(context.Background())
	go func() { _ = c.Wait(); end() }()
	return conn{ssh.NewClient(c, channels, requests), ended}, nil
}

// run runs the command in a session of its own. When ctx ends first, the connection is closed.
func (c conn) run(ctx context.Context, command string) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	session, err := c.NewSession()
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	out, err := session.CombinedOutput(command)
	fmt.Printf("%s", out)
	return err
}
