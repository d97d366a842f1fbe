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

// errAborted is the cause when the function given to Do did not return.
var errAborted = errors.New("actorpool: the function panicked or ended its goroutine")

// Broken is the default of Config.Broken: it says whether an error that came
// out of Do condemns the connection. Network errors do, and the end of a stream,
// a closed pipe, a reset, driver.ErrBadConn; so do the errors of a context that
// ended while the connection was in use, since a reply may still be on its way,
// and those by which PostgreSQL says that it has ended the session. Errors of
// the application do not, nor do those of a Get that was made meanwhile, of this
// pool or another: they tell of other connections.
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

// sessionEnded recognises, by their SQLSTATE, the errors with which PostgreSQL
// ends a session: connection exceptions; shutdown, crash, a dropped database, an
// idle session; a transaction that was idle or open for too long.
func sessionEnded(err error) bool {
	var sql interface{ SQLState() string }
	if !errors.As(err, &sql) {
		return false
	}
	state := sql.SQLState()
	return strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P") || state == "25P03" || state == "25P04"
}

// isClosed says whether a connection that can tell knows itself that it is
// closed. Its errors may not say so: those of f, or a driver's own "conn closed".
func isClosed(conn any) bool {
	c, ok := conn.(closer)
	return ok && c.IsClosed()
}

// closer is a connection that can tell whether it is closed, as pgx's can.
type closer interface{ IsClosed() bool }

// closeError makes closing what is closed already a success.
func closeError(err error) error {
	if errors.Is(err, messages.ErrClosed) {
		return nil
	}
	return err
}
