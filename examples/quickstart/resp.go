package main

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

// redisConn is a connection to Redis. It implements as much of RESP, the protocol of Redis,
// as this demo needs. Like most clients it is for one caller at a time, which the pool
// ensures.
type redisConn struct {
	nc  net.Conn
	in  *bufio.Reader
	out []byte // the buffer for requests

	// broken is the reason why the connection cannot be used any more. If a reply was
	// not read to its end, the rest would be taken for the next reply.
	broken error
}

// serverError is an error that the server replied, such as "ERR value is not an integer".
// The connection can be used again.
type serverError string

func (e serverError) Error() string { return "redis: " + string(e) }

// errProtocol: the reply is not RESP, or not of the expected kind.
var errProtocol = errors.New("redis: unexpected reply")

// dial connects, and checks that a Redis server answers.
func dial(ctx context.Context, addr string) (*redisConn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &redisConn{nc: nc, in: bufio.NewReader(nc)}
	if err := c.Ping(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connection.
func (c *redisConn) Close() error { return c.nc.Close() }

// Ping checks that the server answers.
func (c *redisConn) Ping(ctx context.Context) error {
	return c.expect(ctx, "PONG", "PING")
}

// Set stores a value, which the server deletes after ttl.
func (c *redisConn) Set(ctx context.Context, key, value string, ttl time.Duration) error {
	return c.expect(ctx, "OK", "SET", key, value, "PX", strconv.FormatInt(ttl.Milliseconds(), 10))
}

// Get reads a value. ok is false if there is none.
func (c *redisConn) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	r, err := c.do(ctx, "GET", key)
	switch {
	case err != nil:
		return "", false, err
	case r.kind != '$':
		return "", false, c.fail(errProtocol)
	}
	return r.text, !r.null, nil
}

// Incr adds 1 to a number and returns the sum.
func (c *redisConn) Incr(ctx context.Context, key string) (int64, error) {
	r, err := c.do(ctx, "INCR", key)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(r.text, 10, 64)
	if r.kind != ':' || err != nil {
		return 0, c.fail(errProtocol)
	}
	return n, nil
}

// expect sends a command that has only one reply without an error.
func (c *redisConn) expect(ctx context.Context, want string, command ...string) error {
	r, err := c.do(ctx, command...)
	switch {
	case err != nil:
		return err
	case r.kind != '+' || r.text != want:
		return c.fail(errProtocol)
	}
	return nil
}

// do sends a command and reads the reply, until ctx ends.
func (c *redisConn) do(ctx context.Context, command ...string) (reply, error) {
	if c.broken != nil {
		return reply{}, c.broken
	}
	// A deadline in the past ends a read or write at once. So the end of the context does,
	// by its deadline or by a cancel.
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	r, err := c.roundTrip(command)
	if !stop() {
		err = ctx.Err() // even after a reply, because the deadline in the past stays
	}
	switch {
	case err != nil:
		return reply{}, c.fail(fmt.Errorf("redis: %s: %w", command[0], err))
	case r.kind == '-':
		return reply{}, serverError(r.text)
	}
	return r, nil
}

// fail marks the connection as broken.
func (c *redisConn) fail(err error) error {
	c.broken = err
	return err
}

// roundTrip writes a command, which is an array of strings, and reads the reply.
func (c *redisConn) roundTrip(command []string) (reply, error) {
	b := fmt.Appendf(c.out[:0], "*%d\r\n", len(command))
	for _, arg := range command {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	c.out = b
	if _, err := c.nc.Write(b); err != nil {
		return reply{}, err
	}
	return readReply(c.in)
}

// reply is a reply of the server. Its kind is its first byte: + for a simple string, - for an
// error, : for a number, $ for a string of any bytes.
type reply struct {
	kind byte
	text string
	null bool // there is no such value
}

// maxString is the longest string that Redis allows.
const maxString = 512 << 20

func readReply(in *bufio.Reader) (reply, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return reply{}, unfinished(err, line != "")
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || text == "" {
		return reply{}, errProtocol
	}
	r := reply{kind: text[0], text: text[1:]}
	switch r.kind {
	case '+', '-', ':':
		return r, nil
	case '$':
		return readString(in, r.text)
	}
	return reply{}, errProtocol // no command here has an array or a kind of RESP3 as its reply
}

// readString reads a string after its length.
func readString(in *bufio.Reader, length string) (reply, error) {
	n, err := strconv.Atoi(length)
	switch {
	case err != nil || n < -1 || n > maxString:
		return reply{}, errProtocol
	case n == -1:
		return reply{kind: '$', null: true}, nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(in, b); err != nil {
		return reply{}, unfinished(err, true)
	}
	if string(b[n:]) != "\r\n" {
		return reply{}, errProtocol
	}
	return reply{kind: '$', text: string(b[:n])}, nil
}

// unfinished distinguishes a stream that ended within a reply from one that ended between two
// replies.
func unfinished(err error, within bool) error {
	if within && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
