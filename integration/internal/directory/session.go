// Package directory is a session with an LDAP server for the tests: a connection
// of go-ldap, bound as somebody, whose calls end with their contexts.
package directory

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/go-ldap/ldap/v3"
)

// Session is a session. It is for one user at a time.
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

// do makes a call, which knows nothing of contexts. When ctx ends first, the
// connection is cut under it: the library's own timeout would leave a connection
// on which the reply is still to come. The connection is cut as well after any
// error that is not the server's answer.
func (s *Session) do(ctx context.Context, call func(conn *ldap.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.sever)
	err := call(s.conn)
	if !stop() { // it is cut, or will be in a moment
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

// IsClosed says that the session is of no use any more. The library's errors
// would not tell: they are texts.
func (s *Session) IsClosed() bool { return s.severed.Load() || s.conn.IsClosing() }

// Answered says that an error is the server's answer, after which the session
// is in order. The library's own errors have codes as well, above the server's.
func Answered(err error) bool {
	var answer *ldap.Error
	return errors.As(err, &answer) && answer.ResultCode < ldap.ErrorNetwork
}

// Bind makes the session that of a user; the empty name makes it anonymous.
func (s *Session) Bind(ctx context.Context, dn, password string) error {
	return s.do(ctx, func(conn *ldap.Conn) error {
		if dn == "" {
			return conn.UnauthenticatedBind("")
		}
		return conn.Bind(dn, password)
	})
}

// WhoAmI says whose session the server takes it for; anonymous is "".
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

// Ping reads the root entry, which every server has and everybody may see.
func (s *Session) Ping(ctx context.Context) error {
	_, err := s.search(ctx, "", ldap.ScopeBaseObject, "(objectClass=*)", "1.1")
	return err
}

// Read gives the values of an attribute of one entry.
func (s *Session) Read(ctx context.Context, dn, attribute string) ([]string, error) {
	entries, err := s.search(ctx, dn, ldap.ScopeBaseObject, "(objectClass=*)", attribute)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries[0].GetAttributeValues(attribute), nil
}

// Find gives the names of the entries below base that match.
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

// Replace gives an attribute of an entry another value.
func (s *Session) Replace(ctx context.Context, dn, attribute, value string) error {
	return s.do(ctx, func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, []string{value})
		return conn.Modify(request)
	})
}

// Close says goodbye and closes the connection.
func (s *Session) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.sever)
	defer stop()
	err := s.conn.Unbind()
	if err = errors.Join(err, s.conn.Close()); s.severed.Load() || errors.Is(err, ldap.ErrConnUnbound) {
		return nil // it was cut, or the server was first
	}
	return err
}
