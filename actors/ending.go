package actors

import (
	"context"
	"errors"
	"reflect"

	"github.com/actorpool/actorpool/messages"
)

// ending is why a wait of a caller has ended: what its context says. The methods of a
// context, and of the cause that somebody gave it, are code of the user. They run on
// the caller's goroutine, or on one of their own, and never on the pool's turn (T1).
type ending struct {
	err    error
	reason messages.Reason
}

// timedOut is the end of a wait that GetTimeout or the deadline of a message bounds.
var timedOut = ending{err: context.DeadlineExceeded, reason: messages.ReasonTimeout}

// endOf asks a context why it has ended.
func endOf(ctx context.Context) *ending {
	e := &ending{err: contextError(ctx), reason: messages.ReasonCanceled}
	if matches(e.err, context.DeadlineExceeded) {
		e.reason = messages.ReasonTimeout
	}
	return e
}

// matches is errors.Is for an error of the user, which may panic when it is asked.
func matches(err, target error) (yes bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// The types of contexts whose methods Err and Value(cancelCtxKey) run no code of the
// user, whatever contexts they are made of.
var (
	cancelType   = typeOfContext(func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) })
	deadlineType = typeOfContext(func() (context.Context, context.CancelFunc) { return context.WithTimeout(context.Background(), 0) })
)

func typeOfContext(made func() (context.Context, context.CancelFunc)) reflect.Type {
	ctx, cancel := made()
	cancel()
	return reflect.TypeOf(ctx)
}

// plainEndOf is endOf for the contexts that most programs have: those that can be
// asked without running code of the user. False: this is not one of them.
func plainEndOf(ctx context.Context) (why *ending, plain bool) {
	if t := reflect.TypeOf(ctx); t != cancelType && t != deadlineType {
		return nil, false
	}
	err := ctx.Err()
	switch {
	case err == nil || context.Cause(ctx) != err: //nolint:errorlint // equal or not, nothing of it is called
		return nil, false
	case err == context.DeadlineExceeded: // it is the context's own error
		return &timedOut, true
	}
	return &ending{err: err, reason: messages.ReasonCanceled}, true
}

// readEnd asks a context why it has ended, on a goroutine of its own.
func readEnd(ctx context.Context, to chan<- *ending) {
	var why *ending
	if failure := contain(func() { why = endOf(ctx) }); failure != nil {
		why = &ending{err: failure, reason: messages.ReasonCanceled}
	}
	to <- why
}

// contextError is why a context has ended: its error, with its cause if that says
// more.
func contextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil { // it breaks the rules of contexts: it is done, and does not say why
		err = context.Canceled
	}
	if cause := context.Cause(ctx); cause != nil && !matches(cause, err) {
		return &causedError{err: err, cause: cause}
	}
	return err
}

// causedError is a context's error with its cause. It is both.
type causedError struct{ err, cause error }

func (e *causedError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *causedError) Unwrap() []error { return []error{e.err, e.cause} }
