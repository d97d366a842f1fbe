package client_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// The places where code of the user can be called.
var userPlaces = []string{
	"Connect", "Check", "Reset", "Apply", "Unapply", "Disconnect", "Classify", "Broken", "OnEvent", "function of Do", "function of Each",
	"IsClosed", "IsClosing", "Reusable", "OnChange",
	"Deadline of a context", "Done of a context", "Err of a context", "Value of a context",
	"Is of a cause", "Unwrap of a cause", "As of a connect error", "Error of a connect error",
	"Logger", "Logger's level", "system's log", "subscriber of supervision", "subscriber of dead letters",
	"borrower on the combining mailbox", "borrower on the library's mailbox", "borrower on its sender's goroutine",
	"batch of messages",
}

// userDeeds are what user code can do.
var userDeeds = map[string]func(u *userCode){
	"panics":              func(*userCode) { panic("user code") },
	"ends its goroutine":  func(*userCode) { runtime.Goexit() },
	"blocks":              func(u *userCode) { <-u.release },
	"takes a second":      func(*userCode) { time.Sleep(time.Second) },
	"calls the pool back": (*userCode).callBack,
}

// userMoments are when it does that.
var userMoments = map[string]func(u *userCode){
	"in a Get":  (*userCode).inGet,
	"in a wait": (*userCode).inWait,
	"in a Put":  (*userCode).inPut,
	"in Close":  (*userCode).inClose,
}

// TestUserCodeCannotBreakThePool tries everything that user code can do, wherever and
// whenever it is called. Afterwards the whole capacity can be borrowed, nobody who
// waits was forgotten, and Close ends and leaves no connection open.
//
// What blocks is released at the very end, so that no goroutine outlives the test.
func TestUserCodeCannotBreakThePool(t *testing.T) {
	for _, place := range userPlaces {
		for deed, do := range userDeeds {
			t.Run(place+" "+deed, func(t *testing.T) {
				called := 0
				for moment, run := range userMoments {
					t.Run(moment, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							u := newUserCode(t, place, do)
							run(u)
							u.check(moment == "in Close")
							called += int(u.called.Load())
						})
					})
				}
				assert.Positive(t, called, "the code was never called")
			})
		}
	}
}

// userCode is a pool all of whose user code does something bad at one place, while it
// is armed.
type userCode struct {
	t       *testing.T
	place   string
	deed    func(*userCode)
	armed   atomic.Int32 // how often the code still does it
	called  atomic.Int32
	release chan struct{}

	system         *actor.ActorSystem
	pool           *client.Pool[*userConn]
	borrowers      []*actor.PID
	opened, closed atomic.Int32
	bystanders     sync.WaitGroup
}

func newUserCode(t *testing.T, place string, deed func(*userCode)) *userCode {
	u := &userCode{t: t, place: place, deed: deed, release: make(chan struct{})}
	u.system = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(&userHandler{u: u, handle: "system's log", level: "nothing"})
		}),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	u.system.EventStream.Subscribe(func(event any) {
		switch event.(type) {
		case *actor.SupervisorEvent:
			u.at("subscriber of supervision")
		case *actor.DeadLetterEvent:
			u.at("subscriber of dead letters")
		}
	})
	p, err := client.Spawn(u.system.Root, u.config())
	require.NoError(t, err)
	u.pool = p
	for place, options := range map[string][]actor.PropsOption{
		"borrower on the combining mailbox":  {actor.WithMailbox(actors.NewMailbox)},
		"borrower on the library's mailbox":  nil,
		"borrower on its sender's goroutine": {actor.WithDispatcher(actor.NewSynchronizedDispatcher(300))},
	} {
		u.borrowers = append(u.borrowers, u.borrower(place, options...))
	}
	return u
}

func (u *userCode) config() client.Config[*userConn] {
	function := func(place string) func(context.Context, *userConn) error {
		return func(context.Context, *userConn) error { u.at(place); return nil }
	}
	return client.Config[*userConn]{
		Name: "db", Capacity: 2, ConnectTimeout: 2 * time.Second, CheckAfterIdle: 1, MaxLease: u.maxLease(),
		Backoff: client.Backoff{Base: time.Second, Cap: time.Second, Jitter: client.NoJitter},
		Connect: u.connect,
		Check:   function("Check"), Reset: function("Reset"), Unapply: function("Unapply"),
		Apply: func(context.Context, *userConn, any) error { u.at("Apply"); return nil },
		Disconnect: func(_ context.Context, c *userConn) error {
			if !c.ended.CompareAndSwap(false, true) {
				u.t.Error("a connection is closed twice")
			}
			u.closed.Add(1)
			u.at("Disconnect")
			return nil
		},
		Classify: func(phase messages.Phase, err error) messages.Class {
			u.at("Classify")
			return actors.Classify(phase, err)
		},
		Broken:   func(err error) bool { u.at("Broken"); return client.Broken(err) },
		OnEvent:  func(messages.Event) { u.at("OnEvent") },
		OnChange: func(messages.Event) { u.at("OnChange") },
		Reusable: func(*userConn) bool { u.at("Reusable"); return true },
		Logger:   slog.New(&userHandler{u: u, handle: "Logger", level: "Logger's level"}),
	}
}

// connect fails, while the code is armed, where the place is about failures.
func (u *userCode) connect(context.Context) (*userConn, error) {
	u.at("Connect")
	switch {
	case u.armed.Load() <= 0 || !u.failsConnects():
	case strings.Contains(u.place, "og"), u.place == "subscriber of supervision":
		panic("connect")
	default:
		return nil, &userError{u: u, as: "As of a connect error", text: "Error of a connect error"}
	}
	u.opened.Add(1)
	return &userConn{u: u}, nil
}

// maxLease ends the leases of those who cannot return them, because the bad code is
// their own. Nobody else's lease may be forgotten.
func (u *userCode) maxLease() time.Duration {
	switch u.place {
	case "IsClosed", "IsClosing", "Reusable", "Broken", "function of Do", "function of Each",
		"borrower on the combining mailbox", "borrower on the library's mailbox", "borrower on its sender's goroutine":
		return 10 * time.Second
	}
	return 0
}

// failsConnects says that the bad code runs when connects fail.
func (u *userCode) failsConnects() bool {
	switch u.place {
	case "Connect", "Classify", "As of a connect error", "Error of a connect error",
		"Logger", "Logger's level", "system's log", "subscriber of supervision":
		return true
	}
	return false
}

// at is called wherever user code is called.
func (u *userCode) at(place string) {
	if place == u.place && u.armed.Add(-1) >= 0 {
		u.called.Add(1)
		u.deed(u)
	}
}

func (u *userCode) arm()    { u.armed.Store(2) }
func (u *userCode) disarm() { u.armed.Store(-1 << 20) }

// callBack uses the pool from inside.
func (u *userCode) callBack() {
	u.pool.Stats()
	bounded, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l, err := u.pool.Get(bounded); err == nil {
		_ = l.Put()
	}
	_, _ = u.pool.Explain(bounded)
}

// userConn is a connection.
type userConn struct {
	u     *userCode
	ended atomic.Bool
}

func (c *userConn) IsClosed() bool  { c.u.at("IsClosed"); return c.ended.Load() }
func (c *userConn) IsClosing() bool { c.u.at("IsClosing"); return c.ended.Load() }

// userContext is a context.
type userContext struct {
	context.Context
	u *userCode
}

func (c userContext) Deadline() (time.Time, bool) {
	c.u.at("Deadline of a context")
	return c.Context.Deadline()
}
func (c userContext) Done() <-chan struct{} { c.u.at("Done of a context"); return c.Context.Done() }
func (c userContext) Err() error            { c.u.at("Err of a context"); return c.Context.Err() }
func (c userContext) Value(key any) any     { c.u.at("Value of a context"); return c.Context.Value(key) }

// userError is an error. The fields name its places.
type userError struct {
	u                    *userCode
	is, as, unwrap, text string
}

func (e *userError) Is(error) bool { e.u.at(e.is); return false }
func (e *userError) As(any) bool   { e.u.at(e.as); return false }
func (e *userError) Unwrap() error { e.u.at(e.unwrap); return nil }
func (e *userError) Error() string { e.u.at(e.text); return "user error" }

// userHandler is a log handler.
type userHandler struct {
	u             *userCode
	handle, level string
}

func (h *userHandler) Enabled(context.Context, slog.Level) bool  { h.u.at(h.level); return true }
func (h *userHandler) Handle(context.Context, slog.Record) error { h.u.at(h.handle); return nil }
func (h *userHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h *userHandler) WithGroup(string) slog.Handler             { return h }

// userBatch is a message that carries others.
type userBatch struct{ u *userCode }

func (b *userBatch) GetMessages() []any {
	b.u.at("batch of messages")
	return []any{&messages.Suspend{}, &messages.Resume{}}
}

// borrower spawns an actor that borrows once for each message "go".
func (u *userCode) borrower(place string, options ...actor.PropsOption) *actor.PID {
	return u.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case string:
			ctx.Request(u.pool.PID(), &messages.Get{Deadline: time.Now().Add(5 * time.Second)})
		case *messages.Lease:
			u.at(place)
			ctx.Request(u.pool.PID(), &messages.Put{Lease: msg.ID})
		case *messages.Denied, *messages.Done:
			u.at(place)
		}
	}, options...))
}

// do runs what a caller does, on a goroutine of its own, because the caller's own code
// may panic or end the goroutine.
func (u *userCode) do(f func()) {
	go func() {
		defer func() { _ = recover() }()
		f()
	}()
}

// use borrows a connection for a moment.
func (u *userCode) use(ctx context.Context, setting any) {
	u.do(func() {
		l, err := u.pool.GetWith(ctx, client.GetOptions{Setting: setting})
		if err != nil {
			_ = err.Error()
			return
		}
		time.Sleep(time.Millisecond)
		_ = l.Put()
	})
}

// each visits all connections, and borrows all that are idle.
func (u *userCode) each() {
	u.do(func() {
		_ = u.pool.Each(userContext{context.Background(), u}, func(context.Context, *userConn) error { u.at("function of Each"); return nil })
	})
	u.do(func() {
		for _, l := range u.pool.TryGetAll() {
			_ = l.Put()
		}
	})
}

// bystander is a caller who has nothing to do with the bad code, and must be served.
// Whoever borrows a connection calls its IsClosed and IsClosing, and Reusable.
func (u *userCode) bystander() {
	if u.place == "IsClosed" || u.place == "IsClosing" || u.place == "Reusable" {
		return
	}
	u.bystanders.Go(func() {
		l, err := u.pool.Get(context.Background())
		if err != nil {
			if !errors.Is(err, messages.ErrConnectFailed) && !errors.Is(err, messages.ErrClosed) {
				u.t.Errorf("a bystander fails: %v", err)
			}
			return
		}
		time.Sleep(time.Millisecond)
		if err := l.Put(); err != nil {
			u.t.Errorf("a bystander's Put fails: %v", err)
		}
	})
}

// byMessage borrows by message: as actors, as a future that gives up too early, and
// with a batch.
func (u *userCode) byMessage() {
	for _, b := range u.borrowers {
		u.do(func() { u.system.Root.Send(b, "go") })
	}
	u.do(func() {
		get := &messages.Get{Deadline: time.Now().Add(200 * time.Millisecond)}
		answer, _ := u.system.Root.RequestFuture(u.pool.PID(), get, 100*time.Millisecond).Result()
		if l, ok := answer.(*messages.Lease); ok {
			u.system.Root.Send(u.pool.PID(), &messages.Put{Lease: l.ID})
		}
	})
	u.do(func() { u.system.Root.Send(u.pool.PID(), &userBatch{u}) })
}

// hold borrows n connections for a while.
func (u *userCode) hold(n int) []client.Lease[*userConn] {
	leases := make([]client.Lease[*userConn], n)
	for i := range leases {
		l, err := u.pool.Get(context.Background())
		require.NoError(u.t, err)
		leases[i] = l
	}
	return leases
}

func (u *userCode) inGet() {
	held := u.hold(1) // without a setting
	l, err := u.pool.GetWith(context.Background(), client.GetOptions{Setting: "red"})
	require.NoError(u.t, err)
	for _, l := range append(held, l) {
		if u.failsConnects() {
			require.NoError(u.t, l.Taint(nil))
		} else {
			require.NoError(u.t, l.Put())
		}
	}
	synctest.Wait()
	u.arm()
	time.Sleep(time.Second)
	u.do(func() {
		_ = u.pool.Do(userContext{context.Background(), u}, func(context.Context, *userConn) error { u.at("function of Do"); return nil })
	})
	u.each()
	u.use(userContext{context.Background(), u}, "blue")
	u.use(userContext{context.Background(), u}, nil)
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(&userError{u: u, is: "Is of a cause", unwrap: "Unwrap of a cause"})
	u.use(userContext{ended, u}, nil)
	u.bystander()
	u.byMessage()
}

func (u *userCode) inWait() {
	held := u.hold(2)
	ended, cancel := context.WithCancelCause(context.Background())
	u.use(userContext{ended, u}, nil)
	time.Sleep(time.Millisecond)
	u.arm()
	u.use(userContext{ended, u}, nil)
	u.bystander()
	u.byMessage()
	time.Sleep(time.Second)
	cancel(&userError{u: u, is: "Is of a cause", unwrap: "Unwrap of a cause"})
	synctest.Wait()
	u.each()
	u.do(func() { _ = held[0].Put() })
	u.do(func() { _ = held[1].Taint(&userError{u: u}) })
}

func (u *userCode) inPut() {
	held := u.hold(2)
	u.bystander()
	u.arm()
	u.do(func() { _ = held[0].Put() })
	u.do(func() {
		_ = u.pool.Do(context.Background(), func(context.Context, *userConn) error { return testkit.ErrApp })
	})
	time.Sleep(time.Second)
	u.do(func() { _ = held[1].Taint(&userError{u: u}) })
	u.byMessage()
}

func (u *userCode) inClose() {
	held := u.hold(2)
	require.NoError(u.t, held[1].Put())
	u.arm()
	u.byMessage()
	u.bystander()
	u.each()
	u.do(func() { _ = u.pool.Close(userContext{context.Background(), u}) })
	time.Sleep(time.Second)
	u.use(userContext{context.Background(), u}, nil)
	u.do(func() { _ = held[0].Put() })
}

// check says that the pool is whole after all that.
func (u *userCode) check(closed bool) {
	t := u.t
	time.Sleep(time.Minute)
	u.disarm()
	testkit.Consistent(t, u.pool.Stats())
	u.bystanders.Wait()
	if !closed {
		bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var leases []client.Lease[*userConn]
		for i := range 2 {
			l, err := u.pool.Get(bounded)
			if !assert.NoError(t, err, "connection %d of 2", i+1) {
				continue
			}
			assert.False(t, l.Conn().ended.Load(), "a closed connection is lent")
			leases = append(leases, l)
		}
		for _, l := range leases {
			assert.NoError(t, l.Put())
		}
	}
	bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := u.pool.Close(bounded)
	if u.place != "Disconnect" { // Close waits for one that blocks
		assert.NoError(t, err)
	}
	close(u.release)
	for _, b := range u.borrowers {
		u.system.Root.Stop(b)
	}
	time.Sleep(time.Minute)
	assert.NoError(t, u.pool.Close(context.Background()))
	assert.Equal(t, u.opened.Load(), u.closed.Load(), "connections opened, closed")
	assert.Equal(t, messages.StateClosed, u.pool.Stats().State)
}
