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

// Ref is what ordinary Go holds of a pool: it turns calls into messages to the pool
// actor, and waits for the answers. There is one for each pool, made by the pool
// actor.
//
// What a direct Get and Put read comes first, so that it lies on one line of the processor's
// cache.
type Ref struct {
	phase        atomic.Uint32 // refOpen, refRecording, refClosed, refFailed
	getsDirectly bool          // Gets may take direct turns
	findsLeaks   bool          // LeakAfter: leases are traced, and missed when they are forgotten
	asksOnPut    bool          // a connection that is returned is asked isClosedConn or reusable
	box          *mailbox      // for direct turns; nil: there are none
	pool         *pool         // that runs on it
	isClosedConn func(conn any) bool
	member       *Member       // of a set; nil: the pool stands alone
	reserve      time.Duration // see client.Config.Reserve
	process      actor.Process // the pool actor's, so that it is not looked up for each message

	system      *actor.ActorSystem
	pid         *actor.PID
	poolName    string
	typeOfConns reflect.Type
	condemns    func(error) bool
	applies     bool // settings can be applied
	reusable    func(conn any) bool
	clock       clock
	getTimeout  time.Duration
	forgotten   forgottenList

	numbersGoroutines bool // LeakGoroutines
	tellsGets         bool // somebody listens to the events of Gets
	regions           regions
	spec              *Spec

	// requests holds getRequests to be used again. They have channels, so they stay
	// with their pool, see handover.
	requests sync.Pool

	changes    changes
	recordsWho atomic.Bool // the recording that is made wants to know who asks

	ended chan struct{} // closed when the pool actor has stopped, or is torn down
	gone  signal        // no actor of the pool is left

	// What it says after its end.
	final       atomic.Pointer[messages.Stats]
	finalHealth atomic.Pointer[messages.Health]

	finalMeasures atomic.Pointer[messages.Measures] // of a pool of a set
}

// The phases of a Ref.
const (
	refOpen      uint32 = iota
	refRecording        // it is open, and what is asked of it is recorded
	refClosed           // Close has begun, or the pool was stopped: no Get is sent any more
	refFailed           // the pool actor has panicked
)

func newRef(ctx actor.Context, spec *Spec) *Ref {
	r := &Ref{
		system:       ctx.ActorSystem(),
		pid:          ctx.Self(),
		poolName:     spec.Policy.Name,
		typeOfConns:  spec.ConnType,
		condemns:     spec.Broken,
		applies:      spec.Apply != nil,
		isClosedConn: spec.IsClosed,
		reusable:     spec.Reusable,
		asksOnPut:    spec.IsClosed != nil || spec.Reusable != nil,
		clock:        spec.clock,
		getTimeout:   spec.GetTimeout,
		reserve:      spec.Policy.Reserve,
		findsLeaks:   spec.Policy.LeakAfter > 0,

		numbersGoroutines: spec.LeakGoroutines,
		tellsGets:         spec.Policy.EventLevel == machine.AllEvents,
		regions:           spec.regions,
		spec:              spec,
		ended:             make(chan struct{}),
	}
	r.process, _ = r.system.ProcessRegistry.Get(r.pid)
	r.requests.New = func() any { return newGetRequest(r) }
	return r
}

// refRequest asks a pool actor for its Ref.
type refRequest struct{ ref chan *Ref }

// IgnoreDeadLetterLogging marks the question to a pool that has ended as no news.
func (*refRequest) IgnoreDeadLetterLogging() {}

// findAgain is how often Find looks whether there is still an actor that may answer.
const findAgain = 100 * time.Millisecond

// Find asks the pool actor with this PID for its Ref. ErrClosed: there is no
// such actor, or it is not a pool.
func Find(ctx context.Context, system *actor.ActorSystem, pid *actor.PID) (*Ref, error) {
	if _, ok := system.ProcessRegistry.Get(pid); !ok {
		return nil, messages.ErrClosed
	}
	request := &refRequest{ref: make(chan *Ref, 1)}
	system.Root.Send(pid, request)
	for {
		again := time.NewTimer(findAgain)
		select {
		case r := <-request.ref:
			again.Stop()
			if r == nil {
				return nil, messages.ErrClosed
			}
			return r, nil
		case <-ctx.Done():
			again.Stop()
			return nil, fmt.Errorf("%w: actor %s does not answer as a pool: %w", messages.ErrClosed, pid, ctx.Err())
		case <-again.C:
			// The actor may have ended before it read the request, which is lost then.
			if _, ok := system.ProcessRegistry.Get(pid); !ok {
				return nil, messages.ErrClosed
			}
		}
	}
}

// Name gives the pool's name.
func (r *Ref) Name() string { return r.poolName }

// PID gives the address of the pool actor.
func (r *Ref) PID() *actor.PID { return r.pid }

// Closed says that Close has begun, or that the pool has ended otherwise.
func (r *Ref) Closed() bool { return r.isClosed() }

// ConnType gives the type of the pool's connections.
func (r *Ref) ConnType() reflect.Type { return r.typeOfConns }

// Broken says whether an error condemns the connection it came from.
func (r *Ref) Broken(err error) bool { return r.condemns(err) }

// isClosed says that Close has begun, or that the pool has ended otherwise.
func (r *Ref) isClosed() bool { return r.phase.Load() >= refClosed }

// endError is the error of whatever is asked of a pool that has ended.
func (r *Ref) endError() error {
	if r.phase.Load() == refFailed {
		return errFailed
	}
	return messages.ErrClosed
}

// denial is the error of a Get of a pool that has ended.
func (r *Ref) denial() error {
	return &messages.GetError{Pool: r.poolName, Time: r.clock.wall(), Err: r.endError()}
}

// errFailed is the error of whatever is asked of a pool whose actor has panicked.
var errFailed = fmt.Errorf("%w: %w", messages.ErrClosed, messages.ErrPoolFailed)

// checkSetting says what is wrong with a setting: that the pool cannot apply any, or
// that this one cannot be compared.
func (r *Ref) checkSetting(setting any) error {
	if !r.applies {
		return &messages.ConfigError{Field: "Apply", Reason: "a setting is asked for, and the pool has no Apply"}
	}
	switch kind := reflect.TypeOf(setting).Kind(); {
	case kind <= reflect.Uintptr, kind == reflect.String, kind == reflect.Pointer:
		// without a closer look, which would cost as much as the rest of a Get
	default:
		switch equal, compares := equalsItself(setting); {
		case !compares:
			return &messages.ConfigError{Field: "Setting", Reason: fmt.Sprintf("a %T cannot be compared with ==", setting)}
		case !equal: // Only its type is named: this may run on the pool's turn.
			return &messages.ConfigError{Field: "Setting", Reason: fmt.Sprintf("the %T is not equal to itself", setting)}
		}
	}
	return nil
}

// equalsItself compares a value with itself: a NaN is not equal to itself, and a value may not
// be comparable although package reflect says so, such as an empty array of functions.
func equalsItself(v any) (equal, compares bool) {
	defer func() {
		if recover() != nil {
			compares = false
		}
	}()
	return v == v, true //nolint:gocritic // that is the question
}

// ask sends a control and waits for its answer. If ctx ends first, the pool actor is
// told, and still answers: with what the pool looks like.
func (r *Ref) ask(ctx context.Context, message any) (answer any, err error) {
	c := newControl(&control{message: message, answers: make(chan any, 1)})
	if ctx == nil {
		return nil, messages.ErrNilContext
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if r.isClosed() && !c.isAnsweredWhileClosing() {
		return nil, r.endError()
	}
	select {
	case <-r.ended:
		return nil, r.endError()
	default:
	}
	done := ctx.Done() // before the request is sent: a context may panic
	r.process.SendUserMessage(r.pid, c)
	select {
	case answer = <-c.answers:
	case <-r.ended:
	case <-done:
		r.process.SendUserMessage(r.pid, &cancelControl{control: c, err: contextError(ctx)})
		select {
		case answer = <-c.answers:
		case <-r.ended:
		}
	}
	if answer == nil {
		select {
		case answer = <-c.answers: // it may have come just before the end
		default:
			return nil, r.endError()
		}
	}
	if done, ok := answer.(*messages.Done); ok {
		return nil, done.Err
	}
	return answer, nil
}

// SetCapacity changes the capacity. See client.Pool.
func (r *Ref) SetCapacity(ctx context.Context, n int) error {
	_, err := r.ask(ctx, &messages.SetCapacity{Capacity: n})
	return err
}

// Clear starts a new generation. See client.Pool.
func (r *Ref) Clear(ctx context.Context, interrupt bool) error {
	_, err := r.ask(ctx, &messages.Clear{Interrupt: interrupt})
	return err
}

// Suspend stops grants. See client.Pool.
func (r *Ref) Suspend(ctx context.Context) error {
	_, err := r.ask(ctx, &messages.Suspend{})
	return err
}

// Resume lets grants go on. See client.Pool.
func (r *Ref) Resume(ctx context.Context) error {
	_, err := r.ask(ctx, &messages.Resume{})
	return err
}

// Ready waits until connections stand. See client.Pool.
func (r *Ref) Ready(ctx context.Context) error {
	_, err := r.ask(ctx, &readyRequest{})
	return err
}

// SetMinIdle changes MinIdle. See client.Pool.
func (r *Ref) SetMinIdle(ctx context.Context, n int) error {
	_, err := r.ask(ctx, &messages.SetMinIdle{MinIdle: n})
	return err
}

// Warm waits until n connections stand. See client.Pool.
func (r *Ref) Warm(ctx context.Context, n int) error {
	_, err := r.ask(ctx, &messages.Warm{Connections: n})
	return err
}

// Explain says who holds connections and who waits. See client.Pool.
func (r *Ref) Explain(ctx context.Context) (messages.Explanation, error) {
	answer, err := r.ask(ctx, &messages.ExplainRequest{})
	if err != nil {
		return messages.Explanation{}, err
	}
	return answer.(*machine.Description).Explanation(), nil
}

// Measures says how long Gets wait, leases last and connects take. See client.Pool.
func (r *Ref) Measures(ctx context.Context) (messages.Measures, error) {
	answer, err := r.ask(ctx, &messages.MeasuresRequest{})
	if err != nil {
		return messages.Measures{}, err
	}
	return *answer.(*messages.Measures), nil
}

// Close ends the pool. See client.Pool.
func (r *Ref) Close(ctx context.Context) error {
	_, err := r.ask(ctx, &messages.Close{})
	if errors.Is(err, messages.ErrClosed) && r.phase.Load() != refFailed { // it had ended
		return nil
	}
	return err
}

// Done is closed when no actor of the pool is left.
func (r *Ref) Done() <-chan struct{} { return r.gone.done() }

// Health says whether the pool can serve. After its end it says closed.
func (r *Ref) Health() messages.Health {
	select {
	case <-r.ended:
		return *r.finalHealth.Load()
	default:
	}
	c := newControl(&control{message: &messages.HealthRequest{}, answers: make(chan any, 1)})
	r.process.SendUserMessage(r.pid, c)
	select {
	case answer := <-c.answers:
		return *answer.(*messages.Health)
	case <-r.ended:
		return *r.finalHealth.Load()
	}
}

// Stats gives a snapshot; of the last moment, if the pool has ended.
func (r *Ref) Stats() messages.Stats {
	select {
	case <-r.ended:
		return *r.final.Load()
	default:
	}
	c := newControl(&control{message: &messages.StatsRequest{}, answers: make(chan any, 1)})
	r.process.SendUserMessage(r.pid, c)
	select {
	case answer := <-c.answers:
		return *answer.(*messages.Stats)
	case <-r.ended:
		return *r.final.Load()
	}
}
