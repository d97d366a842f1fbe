package client

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/actorpool/actorpool/messages"
)

// errAborted is the cause when the function given to Do did not return.
var errAborted = errors.New("actorpool: the function panicked or ended its goroutine")

// Broken is the default of Config.Broken: it says whether an error that came
// out of Do condemns the connection. Network errors do, and the end of a stream,
// a closed pipe, a reset, driver.ErrBadConn; so do the errors of a context that
// ended while the connection was in use, since a reply may still be on its way.
// Errors of the application do not.
func Broken(err error) bool {
	var network net.Error
	for _, condemning := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE,
		driver.ErrBadConn, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, condemning) {
			return true
		}
	}
	return errors.As(err, &network)
}

// closeError makes closing what is closed already a success.
func closeError(err error) error {
	if errors.Is(err, messages.ErrClosed) {
		return nil
	}
	return err
}
