// Package resp is a Redis client with what the tests need: a connection, commands and replies,
// which end with their contexts.
package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Error is an error that the server replied. The connection can be used again.
type Error string

// Error implements error.
func (e Error) Error() string { return string(e) }

// Code returns the error's first word, for example "NOAUTH".
func (e Error) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// Conn is a connection.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects.
func Dial(ctx context.Context, address string) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return New(conn), nil
}

// New makes a Conn of a connection.
func New(conn net.Conn) *Conn { return &Conn{conn: conn, r: bufio.NewReader(conn)} }

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends a command and returns its reply: a string, an int64, a []any, or nil. If ctx ends
// before, the connection cannot be used any more.
func (c *Conn) Do(ctx context.Context, command ...string) (any, error) {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *Conn) reply() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("resp: an empty line instead of a reply")
	}
	kind, text := line[0], line[1:]
	switch kind {
	case '+':
		return text, nil
	case '-':
		return nil, Error(text)
	case ':':
		return strconv.ParseInt(text, 10, 64)
	case '$', '*':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, err
		}
		if kind == '*' {
			return c.array(n)
		}
		data := make([]byte, n+2)
		_, err = io.ReadFull(c.r, data)
		return string(data[:n]), err
	}
	return nil, fmt.Errorf("resp: no reply: %q", line)
}

func (c *Conn) array(n int) ([]any, error) {
	all := make([]any, n)
	for i := range all {
		item, err := c.reply()
		if err != nil {
			return nil, err
		}
		all[i] = item
	}
	return all, nil
}
