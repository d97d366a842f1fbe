package actors

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Ref is what ordinary Go holds of a pool: it turns calls into messages to the
// pool actor, and waits for the answers. There is one for each pool, made by
// the pool actor.
type Ref struct {
	system     *actor.ActorSystem
	pid        *actor.PID
	process    actor.Process // the pool actor's, so that it is not looked up for each message
	name       string
	connType   reflect.Type
	broken     func(error) bool
	applies    bool // settings can be applied
	isClosed   func(conn any) bool
	clock      clock
	getTimeout time.Duration
	watchful   bool // LeakAfter: leases are traced, and missed when they are forgotten
	forgotten  forgottenList
	regions    regions

	// calls holds Calls that wait to be used again. They have channels, so they
	// stay with their pool: a channel of a testing/synctest bubble must not
	// leave it.
	calls sync.Pool

	closed atomic.Bool   // Close has begun: nothing is sent any more
	ended  chan struct{} // closed when the pool actor has stopped
	failed atomic.Bool   // it stopped because of a panic in itself
	final  atomic.Pointer[messages.Stats]
}

// hello asks a pool actor for its Ref.
type hello struct{ ref chan *Ref }

// IgnoreDeadLetterLogging marks the question to a pool that has ended as no news.
func (*hello) IgnoreDeadLetterLogging() {}

// Find asks the pool actor with this PID for its Ref. ErrClosed: there is no
// such actor, or it is not a pool.
func Find(ctx context.Context, system *actor.ActorSystem, pid *actor.PID) (*Ref, error) {
	if _, ok := system.ProcessRegistry.Get(pid); !ok {
		return nil, messages.ErrClosed
	}
	h := &hello{ref: make(chan *Ref, 1)}
	system.Root.Send(pid, h)
	select {
	case r := <-h.ref:
		if r == nil {
			return nil, messages.ErrClosed
		}
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: actor %s does not answer as a pool: %w", messages.ErrClosed, pid, ctx.Err())
	}
}

// PID gives the pool actor's address.
func (r *Ref) PID() *actor.PID { return r.pid }

// Name gives the pool's name.
func (r *Ref) Name() string { return r.name }

// ConnType gives the type of the pool's connections.
func (r *Ref) ConnType() reflect.Type { return r.connType }

// Broken says whether an error condemns the connection it came from.
func (r *Ref) Broken(err error) bool { return r.broken(err) }

// Ended is closed when the pool actor has stopped.
func (r *Ref) Ended() <-chan struct{} { return r.ended }

// endError is the error of whatever is asked of a pool that has ended.
func (r *Ref) endError() error {
	if r.failed.Load() {
		return fmt.Errorf("%w: %w", messages.ErrClosed, messages.ErrPoolFailed)
	}
	return messages.ErrClosed
}

// settings says what is wrong with a setting: that the pool cannot apply any, or
// that this one cannot be compared.
func (r *Ref) settings(setting any) error {
	if !r.applies {
		return &messages.ConfigError{Field: "Apply", Reason: "a setting is asked for, and the pool has no Apply"}
	}
	switch kind := reflect.TypeOf(setting).Kind(); {
	case kind <= reflect.Uintptr, kind == reflect.String, kind == reflect.Pointer:
		return nil // without a closer look, which would cost as much as the rest of a Get
	case !reflect.ValueOf(setting).Comparable():
		return &messages.ConfigError{Field: "Setting", Reason: fmt.Sprintf("a %T cannot be compared with ==", setting)}
	case setting != setting: //nolint:gocritic // a NaN is not equal to itself
		return &messages.ConfigError{Field: "Setting", Reason: fmt.Sprintf("%v is not equal to itself", setting)}
	}
	return nil
}

// control is a request about the pool as a whole, with its answer.
type control struct {
	kind      controlKind
	n         int
	interrupt bool
	ticket    machine.Ticket
	reply     chan error // of capacity 1
	stats     messages.Stats
	explained messages.Explanation

	sender *actor.PID // a request by message has this instead of reply
	timer  *time.Timer
}

type controlKind uint8

const (
	setCapacity controlKind = iota
	clearPool
	suspend
	resume
	readyPool
	closePool
	statistics
	explanation
)

// giveUp is the message of a caller of a control that has left.
type giveUp struct {
	control *control
	err     error
}

func newControl(kind controlKind) *control {
	c := &control{kind: kind, reply: make(chan error, 1)}
	c.ticket.Owner = c
	return c
}

// request sends a control and waits for its answer. When ctx ends first, the
// pool actor is told and still answers: with what it looks like.
func (r *Ref) request(ctx context.Context, c *control) error {
	if ctx == nil {
		return messages.ErrNilContext
	}
	if r.closed.Load() && c.kind != closePool && c.kind != explanation {
		return r.endError()
	}
	select {
	case <-r.ended:
		return r.endError()
	default:
	}
	r.process.SendUserMessage(r.pid, c)
	select {
	case err := <-c.reply:
		return err
	case <-r.ended:
	case <-ctx.Done():
		r.process.SendUserMessage(r.pid, &giveUp{control: c, err: contextError(ctx)})
		select {
		case err := <-c.reply:
			return err
		case <-r.ended:
		}
	}
	select {
	case err := <-c.reply: // it may have come just before the end
		return err
	default:
		return r.endError()
	}
}

// SetCapacity changes the capacity. See client.Pool.
func (r *Ref) SetCapacity(ctx context.Context, n int) error {
	if n < 0 {
		return negativeCapacity(n)
	}
	c := newControl(setCapacity)
	c.n = n
	return r.request(ctx, c)
}

func negativeCapacity(n int) error {
	return &messages.ConfigError{Field: "Capacity", Reason: fmt.Sprintf("%d is negative", n)}
}

// Clear starts a new generation. See client.Pool.
func (r *Ref) Clear(ctx context.Context, interrupt bool) error {
	c := newControl(clearPool)
	c.interrupt = interrupt
	return r.request(ctx, c)
}

// Suspend stops grants. See client.Pool.
func (r *Ref) Suspend(ctx context.Context) error { return r.request(ctx, newControl(suspend)) }

// Resume lets grants go on. See client.Pool.
func (r *Ref) Resume(ctx context.Context) error { return r.request(ctx, newControl(resume)) }

// Ready waits until the pool stands. See client.Pool.
func (r *Ref) Ready(ctx context.Context) error { return r.request(ctx, newControl(readyPool)) }

// Explain tells who holds and who waits. See client.Pool.
func (r *Ref) Explain(ctx context.Context) (messages.Explanation, error) {
	c := newControl(explanation)
	if err := r.request(ctx, c); err != nil {
		return messages.Explanation{}, err
	}
	return c.explained, nil
}

// Close ends the pool. See client.Pool.
func (r *Ref) Close(ctx context.Context) error {
	err := r.request(ctx, newControl(closePool))
	if errors.Is(err, messages.ErrClosed) && !r.failed.Load() { // it had ended
		return nil
	}
	return err
}

// Stats gives a snapshot; of the last moment, if the pool has ended.
func (r *Ref) Stats() messages.Stats {
	select {
	case <-r.ended:
		return *r.final.Load()
	default:
	}
	c := newControl(statistics)
	r.process.SendUserMessage(r.pid, c)
	select {
	case <-c.reply: //nolint:errcheck // there is no error
		return c.stats
	case <-r.ended:
		return *r.final.Load()
	}
}
