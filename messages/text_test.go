package messages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/messages"
)

var moment = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// busy is what a pool looks like whose connections are all borrowed.
var busy = messages.Stats{Name: "orders", State: messages.StateReady, Capacity: 8, Open: 8, Borrowed: 8, Waiting: 12}

var holders = []messages.Holder{
	{ConnID: 1, Label: "report", Age: time.Second},
	{ConnID: 2, Label: "nightly import", Age: 26 * time.Second},
	{ConnID: 3, Age: 3 * time.Second},
}

// E2
func TestTheTextOfAnErrorIsOneLineThatSaysWhatMatters(t *testing.T) {
	refused := errors.New("dial tcp 10.0.0.7:5432: connection refused")
	connect := &messages.ConnectError{Phase: messages.PhaseConnect, Err: refused}
	backoff := &messages.BackoffError{Attempt: 5, Until: moment.Add(3200 * time.Millisecond), Cause: connect}
	late := &messages.BackoffError{Attempt: 5, Until: moment, Cause: refused}
	for _, c := range []struct {
		err  error
		want string
	}{
		{
			&messages.GetError{Pool: "orders", Waited: 1200 * time.Millisecond, Position: 9, Stats: busy, Holders: holders, Err: context.DeadlineExceeded},
			`actorpool "orders": no connection in 1.2s: context deadline exceeded (capacity 8: 8 borrowed, 12 waiting; longest: "nightly import" for 26s)`,
		},
		{ // a note on the capacity comes first: it says why there is no more
			&messages.GetError{Pool: "orders", Waited: time.Second, Stats: messages.Stats{State: messages.StateReady, CapacityNote: "fleet: no quota", Waiting: 3}, Err: context.DeadlineExceeded},
			`actorpool "orders": no connection in 1s: context deadline exceeded (fleet: no quota; capacity 0: 3 waiting)`,
		},
		{
			&messages.GetError{
				Pool: "orders", Waited: time.Second, Holders: holders, Err: context.DeadlineExceeded,
				Stats: messages.Stats{State: messages.StateReady, Capacity: 8, Borrowed: 8, CapacityNote: "fleet: store not reached for 8s, shares do not move"},
			},
			`actorpool "orders": no connection in 1s: context deadline exceeded ` +
				`(fleet: store not reached for 8s, shares do not move; capacity 8: 8 borrowed; longest: "nightly import" for 26s)`,
		},
		{
			&messages.GetError{Pool: "orders", Time: moment, Waited: time.Second, Stats: busy, Attempt: 5, NextAttempt: backoff.Until, Err: connect},
			`actorpool "orders": connect failed: dial tcp 10.0.0.7:5432: connection refused (attempt 5, next in 3.2s)`,
		},
		{
			&messages.GetError{Pool: "orders", Time: moment, Attempt: 5, NextAttempt: backoff.Until, Err: backoff},
			`actorpool "orders": backing off, connect failed: dial tcp 10.0.0.7:5432: connection refused (attempt 5, next in 3.2s)`,
		},
		{
			&messages.GetError{Pool: "orders", Attempt: 5, NextAttempt: backoff.Until, Err: late},
			`actorpool "orders": backing off, connect failed: dial tcp 10.0.0.7:5432: connection refused (attempt 5, next at 2026-01-01T00:00:03.2Z)`,
		},
		{
			&messages.GetError{Pool: "orders", Time: moment, Attempt: 5, NextAttempt: moment, Err: late},
			`actorpool "orders": backing off, connect failed: dial tcp 10.0.0.7:5432: connection refused (attempt 5, next now)`,
		},
		{
			&messages.GetError{
				Pool: "orders", Waited: 1234567 * time.Nanosecond, Attempt: 2, LastConnectError: refused, Err: context.Canceled,
				Stats: messages.Stats{State: messages.StateProbing, Capacity: 3, Idle: 1, InTransition: 1, Connecting: 1, Closing: 1},
			},
			`actorpool "orders": no connection in 1ms: context canceled ` +
				`(capacity 3: 1 idle, 1 in transition, 1 connecting, 1 closing; attempt 2; last connect error: dial tcp 10.0.0.7:5432: connection refused)`,
		},
		{&messages.GetError{Pool: "orders", Err: messages.ErrClosed}, `actorpool "orders": no connection: pool is closed`},
		{
			&messages.GetError{Pool: "a\nb", Stats: messages.Stats{State: messages.StatePaused, Capacity: 2}, Err: messages.ErrCleared},
			`actorpool "a\nb": no connection: pool was cleared (paused, capacity 2)`,
		},
		{
			&messages.GetError{Pool: "orders", Stats: busy, Holders: holders, Err: &messages.DeadlockError{Cycle: holders}},
			`actorpool "orders": no connection: deadlock: every holder of a connection waits for another one; ` +
				`the newest: "report" (connection 1) (capacity 8: 8 borrowed, 12 waiting)`,
		},
		{
			&messages.GetError{Pool: "orders", Stats: busy, Holders: holders[2:], Err: &messages.ShedError{Estimate: 1234567890}},
			`actorpool "orders": no connection: overloaded: the wait would be 1.235s, longer than the deadline allows ` +
				`(capacity 8: 8 borrowed, 12 waiting; longest: connection 3 for 3s)`,
		},
		{
			&messages.GetError{
				Pool: "orders", Stats: busy, Holders: []messages.Holder{{ConnID: 3, Borrower: "local/worker", Age: 999 * time.Microsecond}}, Err: messages.ErrExhausted,
			},
			`actorpool "orders": no connection: too many waiters (capacity 8: 8 borrowed, 12 waiting; longest: actor local/worker for 999µs)`,
		},
		{
			&messages.DrainError{Op: "close", Stats: busy, Holders: holders, Err: context.DeadlineExceeded},
			`actorpool "orders": close not finished: context deadline exceeded (capacity 8: 8 borrowed, 12 waiting; longest: "nightly import" for 26s)`,
		},
		{late, `actorpool: backing off, connect failed: dial tcp 10.0.0.7:5432: connection refused (attempt 5, next at 2026-01-01T00:00:00Z)`},
		{&messages.ShedError{Target: 50 * time.Millisecond}, `actorpool: overloaded: every recent wait is above 50ms`},
		{&messages.ConnectError{Phase: messages.PhaseApply}, `actorpool: applying the setting failed: no cause given`},
		{&messages.ConnectError{Phase: messages.PhaseConnect, Err: messages.ErrNilConnection}, `actorpool: connect failed: Connect returned a nil connection and no error`},
		{&messages.PanicError{Value: "a\nb", Stack: []byte("stack")}, `actorpool: panic in user code: a; b`},
		{&messages.ConfigError{Field: "MinIdle", Reason: "3 is above\nCapacity"}, `actorpool: invalid MinIdle: 3 is above; Capacity`},
		{
			messages.ConfigErrors{{Field: "MinIdle", Reason: "-1 is negative"}, {Field: "Connect", Reason: "it is required"}},
			`actorpool: invalid MinIdle: -1 is negative; actorpool: invalid Connect: it is required`,
		},
	} {
		assert.EqualError(t, c.err, c.want)
		assert.Equal(t, c.want, fmt.Sprintf("%v", c.err))
		assert.Equal(t, c.want, fmt.Sprintf("%s", c.err))
		assert.LessOrEqual(t, len(c.want), 220)
	}
}

// E2
func TestALongReasonIsShortenedInTheMiddle(t *testing.T) {
	long := errors.New("begin " + strings.Repeat("é", 1000) + " end")
	noted := busy
	noted.CapacityNote = strings.Repeat("n", 200)
	for _, err := range []error{
		&messages.GetError{Pool: strings.Repeat("p", 100), Stats: busy, Holders: holders, Waited: time.Hour, Err: long, LastConnectError: long},
		&messages.GetError{
			Pool: "orders", Stats: busy, Holders: []messages.Holder{{Label: strings.Repeat("l", 1000)}}, Err: long, LastConnectError: errors.New("other " + long.Error()),
		},
		&messages.GetError{Pool: "orders", Err: &messages.ConnectError{Phase: messages.PhaseConnect, Err: long}},
		&messages.GetError{Pool: strings.Repeat("p", 100), Stats: noted, Holders: holders, Waited: time.Hour, Err: long},
		&messages.DrainError{Op: "close", Stats: busy, Holders: holders, Err: long},
	} {
		text := []rune(err.Error())
		assert.LessOrEqual(t, len(text), 240, err.Error())
		assert.Contains(t, err.Error(), "begin")
		assert.Contains(t, err.Error(), "…")
		assert.Contains(t, err.Error(), " end")
		assert.Contains(t, fmt.Sprintf("%+v", err), long.Error())
	}
}

// E2
func TestNoTextHasSeveralLinesWhateverItIsMadeOf(t *testing.T) {
	lines := errors.Join(errors.New("two errors:\r\n\t* one"), errors.New("\n\tother"))
	odd := "red \x1b[31m\a, back \u202e, next \u0085\u2028, cut \xff\xc3"
	h := messages.Holder{Label: "a\nb", Borrower: "c\nd", WaitsFor: "e\nf", Waits: true}
	for _, text := range []string{
		(&messages.GetError{Pool: "g\nh", Stats: busy, Holders: []messages.Holder{h}, Err: lines, LastConnectError: lines}).Error(),
		(&messages.GetError{Err: &messages.BackoffError{Cause: lines}}).Error(),
		(&messages.GetError{Stats: messages.Stats{State: messages.StateReady, CapacityNote: "a\nb"}}).Error(),
		(&messages.GetError{Stats: messages.Stats{State: messages.StateReady, CapacityNote: odd}, Err: errors.New(odd)}).Error(),
		(&messages.DrainError{Stats: messages.Stats{Name: "g\nh"}, Holders: []messages.Holder{h}, Err: lines}).Error(),
		(&messages.DeadlockError{Cycle: []messages.Holder{h}}).Error(),
		(&messages.ConnectError{Err: lines}).Error(), (&messages.BackoffError{Cause: lines}).Error(), (&messages.PanicError{Value: lines}).Error(),
		messages.ConfigErrors{{Field: "a\nb", Reason: "c\nd"}, {}}.Error(),
		h.String(), messages.Job{Doing: "closing", For: "a\nb"}.String(), messages.Waiter{Label: "a\nb", Setting: "c\nd", Borrower: "e\nf"}.String(),
	} {
		assert.NotContains(t, text, "\n")
		assert.NotContains(t, text, "\r")
		assert.True(t, utf8.ValidString(text), text)
		assert.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
	}
	assert.EqualError(t, &messages.ConnectError{Err: lines}, "actorpool: connect failed: two errors: * one; other")
}

// panicsInError is an error whose method panics.
type panicsInError struct{}

func (panicsInError) Error() string { panic("no good") }

func TestAnErrorMethodThatPanicsGivesATextThatSaysSo(t *testing.T) {
	get := &messages.GetError{Pool: "orders", Err: &messages.ConnectError{Err: panicsInError{}}, LastConnectError: panicsInError{}}
	for _, text := range []string{get.Error(), fmt.Sprintf("%+v", get), messages.Explanation{LastConnectError: panicsInError{}}.String()} {
		assert.Contains(t, text, "PANIC=Error method: no good")
	}
}

// E2
func TestPlusVGivesEverythingOnSeveralLines(t *testing.T) {
	reason := &messages.ConnectError{Phase: messages.PhaseConnect, Err: &messages.PanicError{Value: "bang", Stack: []byte("goroutine 7\n\tmain.go:1\n")}}
	stats := busy
	stats.InTransition, stats.Closing = 1, 2
	get := &messages.GetError{
		Pool: "orders", Time: moment, Waited: 1234567890, Position: 9, Stats: stats, Attempt: 5, NextAttempt: moment.Add(time.Second),
		Holders: []messages.Holder{{ConnID: 2, Label: "import", Age: time.Second, Goroutine: 4, Stack: "caller\n\tfile.go:1"}},
		Jobs:    []messages.Job{{ConnID: 7, Doing: "connecting", Age: time.Second, For: "report"}}, LastConnectError: io.EOF, Err: reason,
	}
	assert.Equal(t, `actorpool "orders": connect failed: panic in user code: bang (attempt 5, next in 1s; last connect error: EOF)
reason: connect failed: panic in user code: bang
  cause: panic in user code: bang
    goroutine 7
    	main.go:1
waited: 1.23456789s, at place 9 of the queue
pool: state=ready capacity=8 open=8 borrowed=8 idle=0 connecting=0 waiting=12 in transition=1 closing=2
backoff: attempt 5 has failed, the next is due at 2026-01-01T00:00:01Z
last connect error: EOF
held by:
  "import" (connection 2, 1s, goroutine 4)
    caller
    	file.go:1
  and 7 more
under way:
  connecting connection 7 for 1s ("report")`, fmt.Sprintf("%+v", get))

	assert.Equal(t, `actorpool "orders": set capacity not finished: context canceled (capacity 8: 8 borrowed, 12 waiting; longest: "nightly import" for 26s)
reason: context canceled
pool: state=ready capacity=8 open=8 borrowed=8 idle=0 connecting=0 waiting=12 in transition=0 closing=0
held by:
  "report" (connection 1, 1s)
  "nightly import" (connection 2, 26s)
  unlabelled (connection 3, 3s)
  and 5 more`, fmt.Sprintf("%+v", &messages.DrainError{Op: "set capacity", Stats: busy, Holders: holders, Err: context.Canceled}))

	deadlock := fmt.Sprintf("%+v", &messages.GetError{Pool: "orders", Stats: busy, Err: &messages.DeadlockError{Cycle: []messages.Holder{
		{ConnID: 1, Label: "a", Waits: true, Waited: time.Second, WaitsFor: "b"}, {ConnID: 2, Waits: true},
	}}})
	stats.CapacityNote = "fleet: no quota\nfor now"
	assert.Contains(t, fmt.Sprintf("%+v", &messages.GetError{Stats: stats}), " waiting=12 (fleet: no quota; for now) in transition=1 closing=2")
	assert.Contains(t, deadlock, "\n    \"a\" (connection 1, 0s) waits for another since 1s (\"b\")\n    unlabelled (connection 2, 0s) waits for another\n")
	assert.Contains(t, fmt.Sprintf("%+v", &messages.BackoffError{Cause: reason}), "main.go:1")
}

// A handler that formats values with %+v must not write all lines.
func TestALogHasTheTextOfAnErrorInOneLine(t *testing.T) {
	for _, err := range []error{
		&messages.GetError{Pool: "orders", Stats: busy, Holders: holders, Err: context.Canceled},
		&messages.DrainError{Stats: busy, Holders: holders, Err: context.Canceled},
		&messages.DeadlockError{Cycle: holders}, &messages.ConnectError{Err: io.EOF},
		&messages.BackoffError{Cause: io.EOF}, &messages.PanicError{Value: "bang", Stack: []byte("a\nb")},
	} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Error("get", "error", err)
		assert.Contains(t, log.String(), fmt.Sprintf("error=%q\n", err.Error()))
	}
}
