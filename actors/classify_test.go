package actors

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func dial(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// handshake connects and waits for a greeting, as most protocols do.
func handshake(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err = io.ReadFull(conn, make([]byte, 1)); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	return nil
}

type sqlError string

func (e sqlError) Error() string    { return "FATAL: (SQLSTATE " + string(e) + ")" }
func (e sqlError) SQLState() string { return string(e) }

// The errors are made by the network and the libraries themselves where that
// can be done on one machine.
func TestErrorsOfAConnectAreClassified(t *testing.T) {
	tests := map[string]struct {
		class messages.Class
		is    error // what the error must be, or the test tests something else
		make  func(t *testing.T) error
	}{
		"refused": {messages.ClassOverload, syscall.ECONNREFUSED, func(t *testing.T) error {
			l := listen(t)
			_ = l.Close()
			return dial(t.Context(), l.Addr().String())
		}},
		"reset in the handshake": {messages.ClassOverload, syscall.ECONNRESET, func(t *testing.T) error {
			l := listen(t)
			go func() {
				if conn, err := l.AcceptTCP(); err == nil {
					_ = conn.SetLinger(0)
					_ = conn.Close()
				}
			}()
			return handshake(l.Addr().String())
		}},
		"ended in the handshake": {messages.ClassOverload, io.EOF, func(t *testing.T) error {
			l := listen(t)
			go func() {
				if conn, err := l.Accept(); err == nil {
					_ = conn.Close()
				}
			}()
			return handshake(l.Addr().String())
		}},
		"unreachable": {messages.ClassOverload, syscall.ENETUNREACH, func(*testing.T) error {
			return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
		}},
		"timed out": {messages.ClassOverload, context.DeadlineExceeded, func(t *testing.T) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
			defer cancel()
			<-ctx.Done()
			return fmt.Errorf("dial: %w", ctx.Err())
		}},
		"certificate not trusted": {messages.ClassFatal, nil, func(t *testing.T) error {
			s := httptest.NewUnstartedServer(nil)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			_, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{ServerName: "example.com"})
			return err
		}},
		"certificate wanted by the other side": {messages.ClassFatal, nil, func(t *testing.T) error {
			s := httptest.NewUnstartedServer(nil)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			s.StartTLS()
			defer s.Close()
			conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err == nil {
				defer conn.Close()
				_, err = conn.Read(make([]byte, 1))
			}
			return err
		}},
		"name not resolved": {messages.ClassFatal, nil, func(t *testing.T) error {
			l := listen(t) // a name server that nobody answers for
			_ = l.Close()
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", l.Addr().String())
			}}
			_, err := r.LookupHost(t.Context(), "db.invalid.")
			return err
		}},
		"name unknown":                 {messages.ClassFatal, nil, func(*testing.T) error { return &net.DNSError{Err: "no such host", IsNotFound: true} }},
		"name server slow":             {messages.ClassOverload, nil, func(*testing.T) error { return &net.DNSError{Err: "i/o timeout", IsTimeout: true} }},
		"PostgreSQL: password":         {messages.ClassFatal, nil, func(*testing.T) error { return fmt.Errorf("connect: %w", sqlError("28P01")) }},
		"PostgreSQL: no such database": {messages.ClassFatal, nil, func(*testing.T) error { return sqlError("3D000") }},
		"PostgreSQL: too many":         {messages.ClassOverload, nil, func(*testing.T) error { return sqlError("53300") }},
		"PostgreSQL: starting up":      {messages.ClassOverload, nil, func(*testing.T) error { return sqlError("57P03") }},
		"Redis: password": {messages.ClassFatal, nil, func(*testing.T) error {
			return errors.New("WRONGPASS invalid username-password pair or user is disabled.")
		}},
		"Redis: password required":          {messages.ClassFatal, nil, func(*testing.T) error { return fmt.Errorf("hello: %w", errors.New("NOAUTH Authentication required.")) }},
		"Redis: loading":                    {messages.ClassOverload, nil, func(*testing.T) error { return errors.New("LOADING Redis is loading the dataset in memory") }},
		"the caller has left":               {messages.ClassIgnore, context.Canceled, func(*testing.T) error { return fmt.Errorf("dial: %w", context.Canceled) }},
		"a panic":                           {messages.ClassOverload, nil, func(*testing.T) error { return &messages.PanicError{Value: "bang"} }},
		"a nil connection":                  {messages.ClassOverload, nil, func(*testing.T) error { return messages.ErrNilConnection }},
		"something nobody knows":            {messages.ClassOverload, nil, func(*testing.T) error { return errors.New("the moon is full") }},
		"a deadline that is not the pool's": {messages.ClassOverload, os.ErrDeadlineExceeded, func(*testing.T) error { return os.ErrDeadlineExceeded }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.make(t)
			require.Error(t, err)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			assert.Equal(t, test.class, Classify(messages.PhaseConnect, err), "%v", err)
			assert.Equal(t, messages.ClassIgnore, Classify(messages.PhaseCheck, err))
		})
	}
}
