// Command fleet shows three processes that share a budget of 12 connections. It runs the
// store (etcd, embedded), a server and the processes, and prints a line a second: how many
// connections each has. The load moves from one process to the other, and one is killed.
//
//	go run .
//	go run . -http localhost:8080   # the process "one" serves the live page
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/etcdstore"
	"github.com/actorpool/actorpool/page"
)

const (
	budget = 12
	ttl    = 3 * time.Second
)

var names = []string{"one", "two", "three"}

func main() {
	run := parent
	if os.Getenv("FLEET_MEMBER") != "" {
		run = member
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// parent runs everything else, for 30 seconds.
func parent() error {
	address := flag.String("http", "", "`host:port` on which the process one serves the live page; empty: nowhere")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	store, endpoint, err := startEtcd()
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := startServer()
	if err != nil {
		return err
	}
	defer s.listener.Close() //nolint:errcheck // the program ends
	processes := make([]*exec.Cmd, len(names))
	for i, name := range names {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), "FLEET_MEMBER="+name, "FLEET_STORE="+endpoint, "FLEET_SERVER="+s.listener.Addr().String())
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if i == 0 {
			cmd.Env = append(cmd.Env, "FLEET_HTTP="+*address)
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		processes[i] = cmd
		defer cmd.Wait()         //nolint:errcheck // it is killed
		defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	}
	fmt.Printf("budget %d; one is busy first, then two; three always wants 3, until it is killed\n", budget)
	for second := range 30 {
		if second == 20 {
			fmt.Println("three is killed: the others have its share when its lease has ended")
			_ = processes[2].Process.Kill()
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
		fmt.Printf("%2ds  %s\n", second+1, s.counts())
	}
	return nil
}

// startEtcd runs an etcd in this process, on free ports.
func startEtcd() (*embed.Etcd, string, error) {
	dir, err := os.MkdirTemp("", "fleet-example-")
	if err != nil {
		return nil, "", err
	}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.LogOutputs = dir, "fatal", []string{"stderr"}
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{free}, []url.URL{free}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = []url.URL{free}, []url.URL{free}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, "", err
	}
	<-e.Server.ReadyNotify()
	return e, "http://" + e.Clients[0].Addr().String(), nil
}

// server counts the connections of each process. One goroutine owns the counts.
type server struct {
	listener net.Listener
	changes  chan func(map[string]int)
}

func startServer() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{l, make(chan func(map[string]int))}
	go func() {
		counts := map[string]int{}
		for f := range s.changes {
			f(counts)
		}
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

// serve counts a connection, which says first whose it is, until its client ends it.
func (s *server) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing follows from it
	hello := make([]byte, 8)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return
	}
	name := strings.TrimSpace(string(hello))
	s.changes <- func(counts map[string]int) { counts[name]++ }
	_, _ = io.Copy(io.Discard, conn)
	s.changes <- func(counts map[string]int) { counts[name]-- }
}

// counts is a line of who holds what.
func (s *server) counts() string {
	line := make(chan string)
	s.changes <- func(counts map[string]int) {
		var text strings.Builder
		sum := 0
		for _, name := range names {
			fmt.Fprintf(&text, "%s %2d %-12s  ", name, counts[name], strings.Repeat("#", counts[name]))
			sum += counts[name]
		}
		line <- fmt.Sprintf("%s together %2d", &text, sum)
	}
	return <-line
}

// member is one of the processes.
func member() error {
	name := os.Getenv("FLEET_MEMBER")
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Getenv("FLEET_STORE")}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	pool, m, err := fleet.New(context.Background(), client.Config[net.Conn]{
		Connect: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", os.Getenv("FLEET_SERVER"))
			if err == nil {
				_, err = fmt.Fprintf(conn, "%8s", name)
			}
			return conn, err
		},
		// It returns when the server has closed the connection, too.
		Disconnect: func(_ context.Context, conn net.Conn) error {
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			return conn.Close()
		},
	}, fleet.Config{
		Key: "example", Budget: budget, TTL: ttl, Name: name, Store: etcdstore.New(etcd),
		Reclaim: fleet.ReclaimByTime(500 * time.Millisecond), // nothing is frozen here
	})
	if err != nil {
		return err
	}
	if address := os.Getenv("FLEET_HTTP"); address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		fmt.Printf("the live page: http://localhost:%d/\n", l.Addr().(*net.TCPAddr).Port)
		// The member, and not its pool: so the page shows the fleet, too.
		go func() { log.Fatal(http.Serve(l, page.New(page.Options{}, m))) }()
	}
	start := time.Now()
	for worker := range budget + 6 {
		go func() {
			for ; ; time.Sleep(10 * time.Millisecond) {
				first := time.Since(start) < 10*time.Second
				if name == "three" && worker < 3 || name == "one" && first || name == "two" && !first {
					_ = pool.Do(context.Background(), func(context.Context, net.Conn) error {
						time.Sleep(50 * time.Millisecond)
						return nil
					})
				}
			}
		}()
	}
	select {}
}
