package messages_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/messages"
)

func TestEveryNameIsThatOfItsConstant(t *testing.T) {
	for kind, want := range map[messages.EventKind]string{
		messages.PoolCreated: "PoolCreated", messages.PoolReady: "PoolReady", messages.PoolSuspended: "PoolSuspended",
		messages.PoolResumed: "PoolResumed", messages.PoolCleared: "PoolCleared", messages.PoolBackoff: "PoolBackoff",
		messages.PoolClosed: "PoolClosed", messages.ConnectionCreated: "ConnectionCreated",
		messages.ConnectionReady: "ConnectionReady", messages.ConnectionClosed: "ConnectionClosed",
		messages.CheckOutStarted: "CheckOutStarted", messages.CheckOutFailed: "CheckOutFailed",
		messages.CheckedOut: "CheckedOut", messages.CheckedIn: "CheckedIn", messages.LeaseLeaked: "LeaseLeaked",
		messages.CapacityChanged: "CapacityChanged", 0: "EventKind(0)", 200: "EventKind(200)",
	} {
		assert.Equal(t, want, kind.String())
	}
	for reason, want := range map[messages.Reason]string{
		messages.ReasonStale: "stale", messages.ReasonIdle: "idle", messages.ReasonLifetime: "lifetime", messages.ReasonError: "error",
		messages.ReasonCapacity: "capacity", messages.ReasonBroken: "broken", messages.ReasonPoolClosed: "poolClosed",
		messages.ReasonTimeout: "timeout", messages.ReasonCanceled: "canceled", messages.ReasonConnectionError: "connectionError",
		messages.ReasonExhausted: "exhausted", messages.ReasonCleared: "cleared", messages.ReasonBackoff: "backoff", 0: "Reason(0)",
	} {
		assert.Equal(t, want, reason.String())
	}
	assert.Equal(t, "unapply", messages.PhaseUnapply.String())
	assert.Equal(t, "ignore", messages.ClassIgnore.String())
	assert.Equal(t, "Class(99)", messages.Class(99).String())
}

func TestErrorsUnwrapToTheirReasons(t *testing.T) {
	connect := &messages.ConnectError{Phase: messages.PhaseConnect, Err: io.ErrUnexpectedEOF}
	backoff := &messages.BackoffError{Attempt: 3, Until: time.Unix(9, 0).UTC(), Cause: connect}
	get := &messages.GetError{
		Pool: "db", Waited: time.Second, Position: 2, Err: backoff, LastConnectError: io.ErrUnexpectedEOF,
		Stats: messages.Stats{State: messages.StateBackoff, Capacity: 4, Waiting: 2},
	}
	for _, target := range []error{messages.ErrConnectFailed, io.ErrUnexpectedEOF} {
		assert.ErrorIs(t, get, target)
	}
	var b *messages.BackoffError
	assert.ErrorAs(t, get, &b)
	drain := &messages.DrainError{Op: "close", Err: context.DeadlineExceeded}
	assert.ErrorIs(t, drain, context.DeadlineExceeded)
	assert.ErrorIs(t, &messages.BackoffError{Cause: io.EOF}, messages.ErrConnectFailed)
	assert.ErrorIs(t, &messages.BackoffError{Cause: io.EOF}, io.EOF)

	cause := errors.New("bang")
	assert.ErrorIs(t, &messages.PanicError{Value: cause}, cause)
	assert.NotErrorIs(t, &messages.PanicError{Value: "bang"}, cause)
}
