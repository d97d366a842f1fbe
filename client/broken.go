package client

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/actorpool/actorpool/messages"
)

// errAborted is the cause of the Taint if the function given to Do does not return.
var errAborted = errors.New("actorpool: the function panicked or ended its goroutine")

// Broken is the default Config.Broken. It says whether the connection must be closed
// after Do's function returned err. It returns true for
//
//   - network errors and the ends of streams: net.Error, net.ErrClosed, io.EOF,
//     io.ErrUnexpectedEOF, io.ErrClosedPipe, ECONNRESET, EPIPE;
//   - driver.ErrBadConn;
//   - context.Canceled and context.DeadlineExceeded: the reply to a request that was
//     given up may still arrive;
//   - the errors with which PostgreSQL ends a session, by their SQLSTATE: class 08
//     (connection exception), 57P (shutdown, crash, dropped database, idle session),
//     25P03 and 25P04 (a transaction that was idle or open for too long). See
//     Appendix A of PostgreSQL's manual.
//
// It returns false for all other errors, which are the application's, and for a
// *[messages.GetError], which is about another connection.
func Broken(err error) bool {
	var get *messages.GetError
	if errors.As(err, &get) {
		return false
	}
	var network net.Error
	for _, condemning := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE,
		driver.ErrBadConn, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, condemning) {
			return true
		}
	}
	return errors.As(err, &network) || sessionEnded(err)
}

// isDead says whether an error of the use of a connection shows that its server or the
// network is gone, which may concern other connections, too: what Broken condemns, but
// not the end of a context. The error's own methods may panic; then it says nothing.
func isDead(err error) (dead bool) {
	defer func() {
		if recover() != nil {
			dead = false
		}
	}()
	return err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && Broken(err)
}

// sessionEnded recognises the errors with which PostgreSQL ends a session.
func sessionEnded(err error) bool {
	var sql interface{ SQLState() string }
	if !errors.As(err, &sql) {
		return false
	}
	state := sql.SQLState()
	return strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P") || state == "25P03" || state == "25P04"
}

// isClosed says whether a connection reports itself as closed. It is asked because
// an error may not show that: f may return an error of its own, and a driver's "conn
// closed" is not an error that Broken knows.
func isClosed(conn any) bool {
	c, ok := conn.(closer)
	return ok && c.IsClosed()
}

// closer is a connection that knows whether it is closed, as pgx.Conn does.
type closer interface{ IsClosed() bool }

// closeError turns ErrClosed into success: to close a closed pool is no error.
func closeError(err error) error {
	if errors.Is(err, messages.ErrClosed) {
		return nil
	}
	return err
}
