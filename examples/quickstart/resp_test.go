package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func connectTo(t *testing.T, addr string) *redisConn {
	t.Helper()
	c, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCommands(t *testing.T) {
	ctx := t.Context()
	server := miniredis.RunT(t)
	c := connectTo(t, server.Addr())

	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
	if value, ok, err := c.Get(ctx, "missing"); value != "" || ok || err != nil {
		t.Errorf("missing: %q, %v, %v", value, ok, err)
	}
	for _, value := range []string{"a word", "", "lines\r\n$3\r\nof bytes\x00", strings.Repeat("long ", 10000)} {
		if err := c.Set(ctx, "key", value, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := c.Get(ctx, "key"); got != value || !ok || err != nil {
			t.Errorf("%.20q: got %.20q, %v, %v", value, got, ok, err)
		}
	}
	if ttl := server.TTL("key"); ttl != time.Minute {
		t.Errorf("time to live: %v", ttl)
	}
	for want := int64(1); want <= 3; want++ {
		if n, err := c.Incr(ctx, "number"); n != want || err != nil {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
}

// After an error that the server replied, the connection can be used again.
func TestServerError(t *testing.T) {
	ctx := t.Context()
	c := connectTo(t, miniredis.RunT(t).Addr())
	if err := c.Set(ctx, "key", "a word", time.Minute); err != nil {
		t.Fatal(err)
	}
	_, err := c.Incr(ctx, "key")
	var fromServer serverError
	if !errors.As(err, &fromServer) || broken(err) {
		t.Fatalf("not an error of the server: %v", err)
	}
	if value, ok, err := c.Get(ctx, "key"); value != "a word" || !ok || err != nil {
		t.Errorf("afterwards: %q, %v, %v", value, ok, err)
	}
}

// After the end of the stream, the connection is broken.
func TestConnectionLost(t *testing.T) {
	server := miniredis.RunT(t)
	addr := server.Addr()
	c := connectTo(t, addr)
	server.Close()
	err := c.Ping(t.Context())
	if err == nil || !broken(err) || classify(err) != connectionLost {
		t.Errorf("not a lost connection: %v", err)
	}
	if _, err := dial(t.Context(), addr); err == nil {
		t.Error("dial succeeds without a server")
	}
}

// The end of the context ends a command without a reply, and a late reply is not taken for
// that of the next command.
func TestContext(t *testing.T) {
	for name, test := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		want    error
	}{
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Millisecond)
		}, context.DeadlineExceeded},
		"cancel": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
		"ended before": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			late := make(chan struct{})
			sent := make(chan struct{})
			addr := serve(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, "+PONG\r\n")
				<-late
				_, _ = io.WriteString(conn, "$4\r\nlate\r\n")
				close(sent)
			})
			c := connectTo(t, addr)
			ctx, cancel := test.context(t.Context())
			defer cancel()
			if _, _, err := c.Get(ctx, "key"); !errors.Is(err, test.want) || !broken(err) {
				t.Errorf("got %v", err)
			}
			close(late)
			<-sent
			if value, _, err := c.Get(t.Context(), "another key"); err == nil {
				t.Errorf("the next command got %q", value)
			}
		})
	}
}

func TestReadReply(t *testing.T) {
	for _, test := range []struct {
		wire string
		want reply
		err  error
	}{
		{"+OK\r\n", reply{kind: '+', text: "OK"}, nil},
		{"-ERR no\r\n", reply{kind: '-', text: "ERR no"}, nil},
		{":-7\r\n", reply{kind: ':', text: "-7"}, nil},
		{"$5\r\na\r\nbc\r\n", reply{kind: '$', text: "a\r\nbc"}, nil},
		{"$0\r\n\r\n", reply{kind: '$'}, nil},
		{"$-1\r\n", reply{kind: '$', null: true}, nil},
		{"", reply{}, io.EOF},
		{"+O", reply{}, io.ErrUnexpectedEOF},
		{"$5\r\nab", reply{}, io.ErrUnexpectedEOF},
		{"$5\r\n", reply{}, io.ErrUnexpectedEOF},
		{"$1\r\nabc", reply{}, errProtocol},
		{"$-2\r\n", reply{}, errProtocol},
		{"$99999999999\r\n", reply{}, errProtocol},
		{"$x\r\n", reply{}, errProtocol},
		{"+OK\n", reply{}, errProtocol},
		{"\r\n", reply{}, errProtocol},
		{"HTTP/1.1 400 Bad Request\r\n", reply{}, errProtocol},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(test.wire)))
		if got != test.want || err != test.err {
			t.Errorf("%q: %+v, %v", test.wire, got, err)
		}
	}
}

// After a reply of the wrong kind the connection is broken: it may be the reply to another
// command.
func TestWrongKind(t *testing.T) {
	addr := serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "+PONG\r\n:1\r\n+OK\r\n") })
	c := connectTo(t, addr)
	if err := c.Ping(t.Context()); !errors.Is(err, errProtocol) || !broken(err) {
		t.Errorf("got %v", err)
	}
	if err := c.Set(t.Context(), "key", "value", time.Minute); !errors.Is(err, errProtocol) {
		t.Errorf("afterwards: %v", err)
	}
}
