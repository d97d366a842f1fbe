package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

const (
	// timeout is the timeout of every operation, including the wait for a connection.
	// Always use one: otherwise the program hangs during an outage.
	timeout = 2 * time.Second
	// pause is the average time between two operations of a worker.
	pause = 15 * time.Millisecond
	// holding is how long an operation holds the connection without using it.
	holding = time.Millisecond
	// everyNth operation of a worker is one that the server refuses.
	everyNth = 200
	// ttl is how long the server keeps what a worker has stored.
	ttl = time.Minute
)

// worker is one of the users of the pool.
type worker struct {
	pool  *client.Pool[*redisConn]
	key   string
	label string // by which the pool knows it: see the live page
	tally *tally
	waits histogram
}

// run works until the pool is closed or ctx ends. It goes on after an error: the pool
// recovers by itself.
func (w *worker) run(ctx context.Context) {
	for n := int64(1); ctx.Err() == nil; n++ {
		err := w.operate(ctx, n)
		if errors.Is(err, messages.ErrClosed) {
			return
		}
		w.tally.count(err)
		time.Sleep(rand.N(2 * pause))
	}
}

// operate borrows a connection for one operation. Do returns the connection, however the
// function ends.
func (w *worker) operate(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	return w.pool.DoWith(ctx, client.GetOptions{Label: w.label}, func(ctx context.Context, conn *redisConn) error {
		w.waits.add(time.Since(start))
		if n%everyNth == 0 {
			return w.fail(ctx, conn)
		}
		return w.work(ctx, conn, n)
	})
}

// errWrongReply: the reply to another request. It would mean that two workers used the same
// connection, or that a connection was lent again although a reply was outstanding.
var errWrongReply = errors.New("wrong reply")

// work stores a number, increments it and reads it.
func (w *worker) work(ctx context.Context, conn *redisConn, n int64) error {
	if err := conn.Set(ctx, w.key, strconv.FormatInt(n, 10), ttl); err != nil {
		return err
	}
	time.Sleep(holding)
	sum, err := conn.Incr(ctx, w.key)
	if err != nil {
		return err
	}
	text, ok, err := conn.Get(ctx, w.key)
	if err != nil {
		return err
	}
	if sum != n+1 || !ok || text != strconv.FormatInt(sum, 10) {
		return fmt.Errorf("%w: stored %d, incremented to %d, read %q", errWrongReply, n, sum, text)
	}
	return nil
}

// fail is an error of the application: it increments a word. The server refuses that, and the
// connection stays in the pool.
func (w *worker) fail(ctx context.Context, conn *redisConn) error {
	if err := conn.Set(ctx, w.key, "a word", ttl); err != nil {
		return err
	}
	sum, err := conn.Incr(ctx, w.key)
	if err == nil {
		return fmt.Errorf("%w: a word was incremented to %d", errWrongReply, sum)
	}
	return err
}

// kind is a kind of error in the report.
type kind int

const (
	connectionLost kind = iota
	connectFailed
	failedFast
	noConnection
	noReply
	interrupted
	wrongReply
	unexpected
	refused
	kinds // the number of kinds
)

var kindNames = [kinds]string{
	connectionLost: "connection lost in use",
	connectFailed:  "connect failed",
	failedFast:     "failed fast",
	noConnection:   "no connection in time",
	noReply:        "no reply in time",
	interrupted:    "interrupted",
	wrongReply:     "wrong reply",
	unexpected:     "unexpected",
	refused:        "refused by the server",
}

// classify shows how to distinguish the errors of the pool from those of a connection.
func classify(err error) kind {
	var (
		get        *messages.GetError     // of the pool: no connection
		backoff    *messages.BackoffError // of the pool: no connect was tried
		fromServer serverError
	)
	switch {
	case errors.As(err, &fromServer) && !errors.As(err, &get):
		return refused
	case errors.Is(err, errWrongReply), errors.Is(err, errProtocol):
		return wrongReply
	case errors.As(err, &backoff): // first, because its cause is ErrConnectFailed
		return failedFast
	case errors.Is(err, messages.ErrConnectFailed):
		return connectFailed
	case errors.Is(err, context.DeadlineExceeded):
		if errors.As(err, &get) {
			return noConnection
		}
		return noReply
	case errors.Is(err, context.Canceled):
		return interrupted
	case !errors.As(err, &get) && client.Broken(err): // a reset, the end of the stream
		return connectionLost
	}
	return unexpected
}

// tally counts the operations of all workers, by their end.
type tally struct {
	done   atomic.Int64 // without an error
	counts [kinds]atomic.Int64
	// example is one of the errors that must not happen.
	example atomic.Pointer[error]
}

func (t *tally) count(err error) {
	if err == nil {
		t.done.Add(1)
		return
	}
	k := classify(err)
	t.counts[k].Add(1)
	if k == unexpected || k == wrongReply {
		t.example.Store(&err)
	}
}

// errors returns the number of errors, without those that the workers cause on purpose.
func (t *tally) errors() int64 {
	var sum int64
	for k := range refused {
		sum += t.counts[k].Load()
	}
	return sum
}
