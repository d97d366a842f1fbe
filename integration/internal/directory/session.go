// Package directory is an LDAP client for the tests: a connection of go-ldap that is bound as
// a user, and whose calls end with their contexts.
package directory

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/go-ldap/ldap/v3"
)

// Session is a connection to an LDAP server. It is for one caller at a time.
type Session struct {
	conn    *ldap.Conn
	wire    net.Conn
	severed atomic.Bool
}

// Dial connects. The session is anonymous.
func Dial(ctx context.Context, address string) (*Session, error) {
	var d net.Dialer
	wire, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Session{conn: ldap.NewConn(wire, false), wire: wire}
	s.conn.Start()
	return s, nil
}

// do makes a call. The library's calls have no context, so when ctx ends first, do closes the
// connection. (The library's own timeout would leave a connection open on which the reply may
// still arrive.) It also closes the connection after an error that is not an answer of the
// server.
func (s *Session) do(ctx context.Context, call func(conn *ldap.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.sever)
	err := call(s.conn)
	if !stop() { // the connection is closed, or is just being closed
		return errors.Join(ctx.Err(), err)
	}
	if err != nil && !Answered(err) {
		s.sever()
	}
	return err
}

func (s *Session) sever() {
	s.severed.Store(true)
	_ = s.wire.Close()
}

// IsClosed says that the session cannot be used any more. The pool asks it, because the
// library's errors are texts, from which the pool cannot see that.
func (s *Session) IsClosed() bool { return s.severed.Load() || s.conn.IsClosing() }

// Answered says that an error is an answer of the server, after which the session can be used.
// The library's own errors have codes, too, which are above those of servers.
func Answered(err error) bool {
	var answer *ldap.Error
	return errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork
}

// Bind authenticates the session as a user. With an empty name it becomes anonymous.
func (s *Session) Bind(ctx context.Context, dn, password string) error {
	return s.do(ctx, func(conn *ldap.Conn) error {
		if dn == "" {
			return conn.UnauthenticatedBind("")
		}
		return conn.Bind(dn, password)
	})
}

// WhoAmI asks the server for the name of the session's user: "" if it is anonymous.
func (s *Session) WhoAmI(ctx context.Context) (dn string, err error) {
	err = s.do(ctx, func(conn *ldap.Conn) error {
		result, err := conn.WhoAmI(nil)
		if err == nil {
			dn = strings.TrimPrefix(result.AuthzID, "dn:")
		}
		return err
	})
	return dn, err
}

// Ping reads the root entry, which every server has and every user may read.
func (s *Session) Ping(ctx context.Context) error {
	_, err := s.search(ctx, "", ldap.ScopeBaseObject, "(objectClass=*)", "1.1")
	return err
}

// Read returns the values of an attribute of one entry.
func (s *Session) Read(ctx context.Context, dn, attribute string) ([]string, error) {
	entries, err := s.search(ctx, dn, ldap.ScopeBaseObject, "(objectClass=*)", attribute)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries[0].GetAttributeValues(attribute), nil
}

// Find returns the names of the entries below base that match.
func (s *Session) Find(ctx context.Context, base, filter string) ([]string, error) {
	entries, err := s.search(ctx, base, ldap.ScopeWholeSubtree, filter, "1.1")
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = entries[i].DN
	}
	return names, err
}

func (s *Session) search(ctx context.Context, base string, scope int, filter, attribute string) (entries []*ldap.Entry, err error) {
	err = s.do(ctx, func(conn *ldap.Conn) error {
		result, err := conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, []string{attribute}, nil))
		if err == nil {
			entries = result.Entries
		}
		return err
	})
	return entries, err
}

// Replace changes an attribute of an entry.
func (s *Session) Replace(ctx context.Context, dn, attribute, value string) error {
	return s.do(ctx, func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, []string{value})
		return conn.Modify(request)
	})
}

// Close ends the session and closes the connection.
func (s *Session) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.sever)
	defer stop()
	err := s.conn.Unbind()
	if err = errors.Join(err, s.conn.Close()); s.severed.Load() || errors.Is(err, ldap.ErrConnUnbound) {
		return nil // it was closed before, by do or by the server
	}
	return err
}
