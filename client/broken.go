package client

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/actorpool/actorpool/messages"
)

// errAborted is the cause of the Taint if the function given to Do does not return.
var errAborted = errors.New("actorpool: the function panicked or ended its goroutine")

// Broken is the default Config.Broken. It says whether the connection must be closed
// after Do's function returned err. It returns true if one of these is err, or is
// anywhere among the errors that err wraps or joins:
//
//   - network errors and the ends of streams: net.Error, net.ErrClosed, io.EOF,
//     io.ErrUnexpectedEOF, io.ErrClosedPipe, ECONNRESET, EPIPE;
//   - driver.ErrBadConn;
//   - context.Canceled and context.DeadlineExceeded: the reply to a request that was
//     given up may still arrive. A program that knows better sets Config.Broken;
//   - the errors with which PostgreSQL ends a session, by their SQLSTATE: class 08
//     (connection exception), 57P (shutdown, crash, dropped database, idle session),
//     25P03 and 25P04 (a transaction that was idle or open for too long); and 25006,
//     with which a server that has become a read-only replica refuses to write. See
//     Appendix A of PostgreSQL's manual.
//
// It returns false for all other errors, which are the application's. What a
// *[messages.GetError] wraps is about another connection, and does not count.
func Broken(err error) bool {
	switch err := err.(type) { //nolint:errorlint // each error of the tree is looked at by itself
	case nil, *messages.GetError:
		return false
	case interface{ Unwrap() error }:
		return condemns(err.(error)) || Broken(err.Unwrap())
	case interface{ Unwrap() []error }:
		return condemns(err.(error)) || slices.ContainsFunc(err.Unwrap(), Broken)
	}
	return condemns(err)
}

// condemns says whether an error, without those that it wraps, condemns the
// connection.
func condemns(err error) bool {
	for _, condemning := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE,
		driver.ErrBadConn, context.Canceled, context.DeadlineExceeded,
	} {
		if is(err, condemning) {
			return true
		}
	}
	if _, ok := as[net.Error](err); ok {
		return true
	}
	sql, ok := as[interface{ SQLState() string }](err)
	return ok && sessionEnded(sql.SQLState())
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

// is does what errors.Is does with each error of a tree.
func is(err, target error) bool {
	if err == target { //nolint:errorlint // the targets can be compared
		return true
	}
	asked, ok := err.(interface{ Is(error) bool })
	return ok && asked.Is(target)
}

// as does what errors.As does with each error of a tree.
func as[T any](err error) (found T, ok bool) {
	if found, ok = err.(T); ok {
		return found, true
	}
	asked, can := err.(interface{ As(any) bool })
	return found, can && asked.As(&found)
}

// sessionEnded recognises the errors with which PostgreSQL ends a session, and that of
// a server to which nothing can be written any more.
func sessionEnded(state string) bool {
	return strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P") ||
		state == "25P03" || state == "25P04" || state == "25006"
}

// closeError turns ErrClosed into success: to close a closed pool is no error.
func closeError(err error) error {
	if errors.Is(err, messages.ErrClosed) {
		return nil
	}
	return err
}
