//go:build unix

package examples

import (
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
)

// TestSMTP runs the program in different ways, with one server for each.
func TestSMTP(t *testing.T) {
	t.Run("messages share connections", func(t *testing.T) {
		server := startMail(t, &mailServer{})
		code, out := run(t, nil, "smtp", mail(server, recipients(20)...)...).ends(t, longTimeout)
		assert.Zero(t, code)
		assert.Contains(t, out, "20 messages over 2 connections\n") // the second may just be connecting
		got := server.counted()
		assert.ElementsMatch(t, recipients(20), got.delivered)
		assert.LessOrEqual(t, got.connections, 2)
	})

	t.Run("no connection is used more often than the server allows", func(t *testing.T) {
		server := startMail(t, &mailServer{limit: 20})
		code, _ := run(t, nil, "smtp", mail(server, recipients(100)...)...).ends(t, longTimeout)
		assert.Zero(t, code)
		got := server.counted()
		assert.ElementsMatch(t, recipients(100), got.delivered)
		assert.GreaterOrEqual(t, got.connections, 100/20)
	})

	t.Run("a refused recipient costs nobody else anything", func(t *testing.T) {
		server := startMail(t, &mailServer{})
		all := append(recipients(5), "nobody@example.org")
		all = append(slices.Repeat(all, 3), recipients(5)...)
		code, out := run(t, nil, "smtp", mail(server, all...)...).ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Equal(t, 3, strings.Count(out, `550 "no such user"`))
		assert.Contains(t, out, "23 messages over ")
		got := server.counted()
		assert.ElementsMatch(t, slices.Repeat(recipients(5), 4), got.delivered)
		assert.LessOrEqual(t, got.connections, 3, "a refusal breaks nothing; one may have served 20")
		// Close does not wait for a reset, and after 20 messages there is none.
		assert.GreaterOrEqual(t, got.commands["RSET"], 23-3)
	})

	t.Run("a connection that was idle is checked", func(t *testing.T) {
		server := startMail(t, &mailServer{})
		code, out := run(t, nil, "smtp", mail(server, append([]string{"-pause", "1200ms"}, recipients(3)...)...)...).ends(t, longTimeout)
		assert.Zero(t, code)
		assert.Contains(t, out, "3 messages over 1 connections\n")
		got := server.counted()
		assert.Equal(t, 2, got.commands["NOOP"])
		assert.Equal(t, 1, got.commands["QUIT"], "the connection is closed properly")
	})

	t.Run("a connection that the server has ended is replaced", func(t *testing.T) {
		server := startMail(t, &mailServer{idle: 300 * time.Millisecond})
		code, out := run(t, nil, "smtp", mail(server, append([]string{"-pause", "1200ms"}, recipients(3)...)...)...).ends(t, longTimeout)
		assert.Zero(t, code)
		assert.Contains(t, out, "3 messages over 3 connections\n")
		assert.ElementsMatch(t, recipients(3), server.counted().delivered)
	})

	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			server := startMail(t, &mailServer{hangs: true})
			p := run(t, nil, "smtp", mail(server, recipients(5)...)...)
			testkit.Eventually(t, func() error {
				if n := server.counted().commands["MAIL"]; n < 2 {
					return fmt.Errorf("%d messages have begun", n)
				}
				return nil
			})
			require.NoError(t, p.cmd.Process.Signal(sig))
			code, out := p.ends(t, bound)
			assert.Equal(t, 1, code)
			assert.Contains(t, out, "smtp: "+sig.String())
		})
	}
}

func TestSMTPAbsent(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "smtp", []string{"-address", unusedAddress(t), "a@example.org"}, "connection refused")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, nil, "smtp", []string{"-address", silentServer(t), "a@example.org"}, "context deadline exceeded")
	})
}

// recipients returns n different addresses.
func recipients(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("user%d@example.org", i))
	}
	return all
}

// mail returns the arguments for a server, and others.
func mail(server *mailServer, others ...string) []string {
	return append([]string{"-address", server.address, "-from", "me@example.org"}, others...)
}

// mailServer is a mail server that accepts all recipients but nobody@example.org. It begins a
// message only when the one before has ended, as real servers do.
type mailServer struct {
	idle  time.Duration // ends connections that send nothing for so long; 0: never
	hangs bool          // does not answer MAIL
	limit int           // answers 421 to one more message on a connection; 0: no limit

	address string
	lock    sync.Mutex
	mailStats
}

// mailStats is what a mailServer has seen.
type mailStats struct {
	connections int
	commands    map[string]int
	delivered   []string // the recipient of each message
	conns       []net.Conn
}

// startMail starts a server that is stopped when the test ends.
func startMail(t *testing.T, server *mailServer) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server.address, server.commands = l.Addr().String(), make(map[string]int)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			server.count(func(s *mailStats) { s.connections++; s.conns = append(s.conns, conn) })
			running.Go(func() { server.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		for _, conn := range server.counted().conns {
			_ = conn.Close()
		}
		running.Wait()
	})
	return server
}

func (s *mailServer) count(f func(*mailStats)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	f(&s.mailStats)
}

// counted returns a copy of what the server has seen so far.
func (s *mailServer) counted() (seen mailStats) {
	s.count(func(now *mailStats) {
		seen = *now
		seen.commands = make(map[string]int)
		for command, n := range now.commands {
			seen.commands[command] = n
		}
		seen.delivered, seen.conns = slices.Clone(now.delivered), slices.Clone(now.conns)
	})
	return seen
}

// serve speaks SMTP, as far as the program needs it.
func (s *mailServer) serve(wire net.Conn) {
	conn := textproto.NewConn(wire)
	defer conn.Close()
	sender, recipient, messages := false, "", 0
	_ = conn.PrintfLine("220 ready")
	for {
		if s.idle > 0 {
			_ = wire.SetReadDeadline(time.Now().Add(s.idle))
		}
		line, err := conn.ReadLine()
		if err != nil {
			return
		}
		command, _, _ := strings.Cut(line, " ")
		command = strings.ToUpper(command)
		s.count(func(seen *mailStats) { seen.commands[command]++ })
		reply := "250 ok"
		switch command {
		case "MAIL":
			switch {
			case s.hangs:
				continue
			case s.limit > 0 && messages == s.limit:
				_ = conn.PrintfLine("421 too many messages")
				return
			case sender:
				reply = "503 nested MAIL command"
			}
			sender = true
		case "RCPT":
			_, recipient, _ = strings.Cut(strings.TrimSuffix(line, ">"), "<")
			if recipient == "nobody@example.org" {
				reply, recipient = "550 no such user", ""
			}
		case "DATA":
			if recipient == "" {
				reply = "503 no recipient"
				break
			}
			_ = conn.PrintfLine("354 go ahead")
			if _, err := conn.ReadDotLines(); err != nil {
				return
			}
			s.count(func(seen *mailStats) { seen.delivered = append(seen.delivered, recipient) })
			sender, recipient = false, ""
			messages++
		case "RSET":
			sender, recipient = false, ""
		case "EHLO", "NOOP":
		case "QUIT":
			_ = conn.PrintfLine("221 bye")
			return
		default:
			reply = "500 unknown command"
		}
		_ = conn.PrintfLine("%s", reply)
	}
}
