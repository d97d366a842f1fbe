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
	// patience bounds every operation, the wait for a connection included. Always
	// have a bound: without one, an outage is a program that hangs.
	patience = 2 * time.Second
	// thinking is how long a worker pauses between operations, on average.
	thinking = 15 * time.Millisecond
	// holding is how long it keeps the connection besides talking to the server.
	holding = time.Millisecond
	// everyNth operation is one that the server refuses.
	everyNth = 200
	// keep is how long the server remembers what a worker has stored.
	keep = time.Minute
)

// worker is one of many that share the pool.
type worker struct {
	pool  *client.Pool[*redisConn]
	key   string
	tally *tally
	waits histogram
}

// run works until the pool is closed, or ctx ends. An error is no reason to
// stop: the pool finds its way back by itself.
func (w *worker) run(ctx context.Context) {
	for n := int64(1); ctx.Err() == nil; n++ {
		err := w.operate(ctx, n)
		if errors.Is(err, messages.ErrClosed) {
			return
		}
		w.tally.count(err)
		time.Sleep(rand.N(2 * thinking))
	}
}

// operate borrows a connection for one operation. This is what a pool is for:
// Do borrows, and gives back in whatever way it ends.
func (w *worker) operate(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	return w.pool.Do(ctx, func(ctx context.Context, conn *redisConn) error {
		w.waits.add(time.Since(start))
		if n%everyNth == 0 {
			return w.blunder(ctx, conn)
		}
		return w.work(ctx, conn, n)
	})
}

// errWrongReply: somebody else's reply. It would mean that two workers had one
// connection, or that one with a reply outstanding was lent again.
var errWrongReply = errors.New("wrong reply")

// work stores a number, counts it up and reads it back.
func (w *worker) work(ctx context.Context, conn *redisConn, n int64) error {
	if err := conn.Set(ctx, w.key, strconv.FormatInt(n, 10), keep); err != nil {
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
		return fmt.Errorf("%w: stored %d, counted up to %d, read %q", errWrongReply, n, sum, text)
	}
	return nil
}

// blunder is a bug of the application: it counts up a word. The server refuses,
// and the connection remains in use.
func (w *worker) blunder(ctx context.Context, conn *redisConn) error {
	if err := conn.Set(ctx, w.key, "a word", keep); err != nil {
		return err
	}
	sum, err := conn.Incr(ctx, w.key)
	if err == nil {
		return fmt.Errorf("%w: a word was counted up to %d", errWrongReply, sum)
	}
	return err
}

// kind is a kind of error, as the report counts them.
type kind int

const (
	connectionLost kind = iota
	connectFailed
	toldEarly
	noConnection
	noReply
	interrupted
	wrongReply
	unexpected
	refused
	kinds // how many there are
)

var kindNames = [kinds]string{
	connectionLost: "connection lost in use",
	connectFailed:  "connect failed",
	toldEarly:      "told early",
	noConnection:   "no connection in time",
	noReply:        "no reply in time",
	interrupted:    "interrupted",
	wrongReply:     "wrong reply",
	unexpected:     "unexpected",
	refused:        "refused by the server",
}

// classify shows how to tell the pool's errors from those of the connection.
func classify(err error) kind {
	var (
		get        *messages.GetError     // from the pool: there was no connection
		backoff    *messages.BackoffError // from the pool: nothing was tried
		fromServer serverError
	)
	switch {
	case errors.As(err, &fromServer) && !errors.As(err, &get):
		return refused
	case errors.Is(err, errWrongReply), errors.Is(err, errProtocol):
		return wrongReply
	case errors.As(err, &backoff): // is ErrConnectFailed too: that is the cause
		return toldEarly
	case errors.Is(err, messages.ErrConnectFailed):
		return connectFailed
	case errors.Is(err, context.DeadlineExceeded):
		if errors.As(err, &get) {
			return noConnection
		}
		return noReply
	case errors.Is(err, context.Canceled):
		return interrupted
	case !errors.As(err, &get) && client.Broken(err): // reset, end of stream and the like
		return connectionLost
	}
	return unexpected
}

// tally counts how operations end, for all workers.
type tally struct {
	done   atomic.Int64 // without an error
	counts [kinds]atomic.Int64
	// example is one of the errors that should not have happened.
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

// errors gives the number of errors, without those that the workers provoke.
func (t *tally) errors() int64 {
	var sum int64
	for k := range refused {
		sum += t.counts[k].Load()
	}
	return sum
}
