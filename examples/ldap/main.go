// Command ldap lets several users work with an LDAP directory, over three connections:
//
//   - The identity of a connection is a setting: a Get asks for a user. A connection that is
//     bound as this user is lent as it is; another one is bound first.
//   - Unapply, with an anonymous bind: a Get without a setting gets no rights of the last user.
//   - A bind that is refused, because of a wrong password for example, fails this Get only.
//   - IsClosing: go-ldap has no contexts, so when one ends, the connection is closed. The pool
//     asks the connection, and replaces it.
//
// The password is no part of the setting, because settings stand in logs:
//
//	LDAP_USERS='{"cn=ann,dc=test": "password"}' go run ./ldap -address localhost:389
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/actorpool/actorpool/client"
)

func main() {
	address := flag.String("address", "localhost:389", "address of the server")
	rounds := flag.Int("rounds", 25, "how many times each user uses a connection")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *address, os.Getenv("LDAP_USERS"), *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "ldap:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, users string, rounds int) error {
	var passwords map[string]string
	if err := json.Unmarshal([]byte(users), &passwords); err != nil {
		return fmt.Errorf("LDAP_USERS: %w", err)
	}
	anonymous := within(func(conn *ldap.Conn) error { return conn.UnauthenticatedBind("") })
	pool, err := client.New(client.Config[*ldap.Conn]{
		Name: "ldap", Capacity: 3, ConnectTimeout: 3 * time.Second,
		Connect: func(ctx context.Context) (*ldap.Conn, error) {
			wire, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			conn := ldap.NewConn(wire, false)
			conn.Start()
			if err = anonymous(ctx, conn); err != nil { // does the server answer?
				_ = conn.Close()
			}
			return conn, err
		},
		Check: within(func(conn *ldap.Conn) error {
			_, err := conn.WhoAmI(nil)
			return err
		}),
		Apply: func(ctx context.Context, conn *ldap.Conn, setting any) error {
			return within(func(conn *ldap.Conn) error { return conn.Bind(setting.(string), passwords[setting.(string)]) })(ctx, conn)
		},
		Unapply: anonymous,
	})
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close(context.Background()) }() // waits for nobody: all workers have ended
	if err := pool.Ready(ctx); err != nil {                 // connects now: a missing server is noticed at once
		return err
	}
	results := make(chan error)
	for range rounds {
		for name := range passwords {
			go func() { results <- pool.DoWith(ctx, client.GetOptions{Setting: name}, is(name)) }()
		}
	}
	for range rounds * len(passwords) {
		err = errors.Join(err, <-results)
	}
	err = errors.Join(err, pool.Do(ctx, is(""))) // without a setting: anonymous
	s := pool.Stats()
	fmt.Printf("%d Gets, %d connections, %d setting hits, %d setting switches\n", s.Gets, s.Connects, s.SettingHits, s.SettingSwitches)
	return cmp.Or(context.Cause(ctx), err)
}

// is returns a function that fails unless the server says that the connection is bound so.
func is(name string) func(context.Context, *ldap.Conn) error {
	return within(func(conn *ldap.Conn) error {
		answer, err := conn.WhoAmI(nil)
		if err == nil && strings.TrimPrefix(answer.AuthzID, "dn:") != name {
			err = fmt.Errorf("bound as %q, not as %q", answer.AuthzID, name)
		}
		return err
	})
}

// within returns a function that calls f, and closes the connection if ctx ends before.
func within(f func(*ldap.Conn) error) func(context.Context, *ldap.Conn) error {
	return func(ctx context.Context, conn *ldap.Conn) error {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		if err := f(conn); stop() {
			return err
		}
		return ctx.Err()
	}
}
