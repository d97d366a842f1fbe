package client

import (
	"context"
	"log/slog"
	"time"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
)

// Config is the configuration of a pool. Only Connect is required; the zero value
// of every other field means the default that its comment gives. New, Spawn and
// Props copy it: a later change has no effect.
//
// They return messages.ConfigErrors, with all the faults of a Config at once, if
//
//   - a number or duration is negative where the comment gives that no meaning;
//   - a duration is positive and below 1ms: its unit is missing, as in
//     MaxLifetime: 30. This applies to ConnectTimeout, CheckTimeout,
//     DisconnectTimeout, KeepAlive, IdleTimeout, MaxLifetime, LeakAfter, MaxLease,
//     Backoff.Base, and both of Shed;
//   - a field has no effect because the function that it belongs to is missing:
//     KeepAlive, CheckAfterIdle or CheckTimeout without Check, Unapply without Apply,
//     ResetWipesSetting without Reset;
//   - fields contradict each other, as their comments say.
//
// # Functions
//
// Connect, Disconnect, Check, Reset, Apply and Unapply run on goroutines of their own,
// never on the caller's, one at a time for each connection, and not while somebody
// holds it; only Disconnect may, see MaxLease and ClearOptions. Their context ends
// after their timeout (see Times) and, except for Disconnect, as soon as the pool is
// closed or a Clear interrupts them. A function that ignores its context is given up a
// quarter of its timeout later; a connection that it still returns is closed. A panic
// in a function counts as its error, a *[messages.PanicError]. [HookInfo] tells a
// function which connection it works on, and for which Get.
//
// Reusable is the exception: see its comment.
//
// # Sizes
//
// How many connections there are, and how many Gets may wait for one: Capacity,
// MinIdle, MaxIdle, MaxConnecting, MaxWaiters.
//
// # Times
//
// How long things may take, and how long an idle connection is kept: ConnectTimeout,
// CheckTimeout, DisconnectTimeout, GetTimeout, Reserve, CheckAfterIdle, KeepAlive,
// IdleTimeout, MaxLifetime, MaxLifetimeJitter, Seed.
//
// # Leases
//
// What happens to a lease that is held for long, and to a connection that is returned:
// LeakAfter, MaxLease, Broken.
//
// # Outage
//
// What the pool does while connects fail, and when it is cleared: Backoff, Classify,
// PauseOnClear.
//
// # Overload
//
// Which Gets fail when more is asked than can be served: ShedHopeless, Shed.
//
// # Sight
//
// How the pool shows what it does: Name, OnEvent, OnChange, Logger.
type Config[C any] struct {
	// Functions.

	// Connect opens a connection. Required. A nil connection without an error
	// counts as the error messages.ErrNilConnection.
	Connect func(ctx context.Context) (C, error)
	// Disconnect closes a connection. Close does not end its context, so that a
	// connection can be closed gracefully. Its error is only logged. Default: the
	// method Close of C, which is one of Close() error, Close() and
	// Close(context.Context) error. Where C has none, Disconnect is required; if there
	// is nothing to close, it is NoDisconnect[C]. If C is an interface type, only the
	// methods of that interface count.
	Disconnect func(ctx context.Context, conn C) error
	// Check returns an error if a connection is not usable. It runs before an idle
	// connection is lent, if CheckAfterIdle says so, and for KeepAlive. A connection
	// that fails is closed, and the caller gets another one. nil: no check.
	Check func(ctx context.Context, conn C) error
	// Reusable says whether a connection that is returned can be used again: false if it
	// is busy, for example, or in a transaction. Put asks it, besides the methods
	// IsClosed and IsClosing of C, on the goroutine of its caller, which it must not keep
	// waiting: it does no I/O, for which there is Reset. A Put by message asks it in the
	// background, before Reset. If it returns false, panics (which is logged) or ends
	// its goroutine, the connection is closed. A connection that is tainted is not asked.
	// nil: every connection can be used again.
	Reusable func(conn C) bool
	// Reset removes what the last holder left on a connection. It runs after every
	// Put, before the next holder gets the connection. If it fails, the connection is
	// closed. What only looks at the connection belongs in Reusable, which costs no
	// second goroutine. nil: no reset.
	Reset func(ctx context.Context, conn C) error
	// ResetWipesSetting says that Reset also removes the setting, as DISCARD ALL
	// does in PostgreSQL. It requires Reset.
	ResetWipesSetting bool
	// Apply puts a setting on a connection that has none, for a Get that asks for
	// it: see GetOptions. If it fails, that Get fails with messages.ErrConnectFailed
	// and the connection is closed; no backoff starts. nil: the pool has no
	// settings.
	Apply func(ctx context.Context, conn C, setting any) error
	// Unapply removes the setting from a connection that is needed for another one.
	// If it fails, or is nil, that connection is closed and a new one is opened. It
	// requires Apply.
	Unapply func(ctx context.Context, conn C) error

	// Sizes.

	// Capacity is the largest number of connections: those that are open, being
	// opened or being closed. 0: the default, max(4, GOMAXPROCS). NoCapacity: the pool
	// begins with 0, and Gets wait until SetCapacity raises it. SetCapacity changes it.
	Capacity int
	// MinIdle is the number of idle connections that the pool keeps ready, by
	// opening new ones in the background. It must not be above Capacity or MaxIdle.
	// Default 0.
	MinIdle int
	// MaxIdle is the largest number of idle connections: with so many idle, one that
	// is returned is closed. Default: the current capacity.
	MaxIdle int
	// MinOpen is the number of connections that the pool keeps open, borrowed ones
	// included, by opening new ones in the background. IdleTimeout closes none that it
	// asks for. With MinIdle a busy pool opens more connections to have idle ones, with
	// MinOpen it does not. It must not be above Capacity or MaxIdle. Default 0.
	MinOpen int
	// MaxConnecting is the largest number of simultaneous connects. 0, the default:
	// connects ramp up. The pool begins with two at once and adds one for each
	// connect that succeeds, up to Capacity; after one that fails it begins with two
	// again. A number is a fixed bound. While the pool backs off there is at most one
	// connect at a time: see Backoff.
	MaxConnecting int
	// MaxWaiters is the largest number of Gets that wait, not counting those for
	// which the pool opens or checks a connection. One more fails with
	// messages.ErrExhausted. 0: no bound.
	MaxWaiters int

	// Times.

	// ConnectTimeout is the timeout of each call of Connect, Reset, Apply and
	// Unapply, and of a Check in the background. Default 10s.
	ConnectTimeout time.Duration
	// CheckTimeout is the timeout of a Check that a Get waits for. It requires Check.
	// Default: 1s, or ConnectTimeout if that is shorter.
	CheckTimeout time.Duration
	// DisconnectTimeout is the timeout of each call of Disconnect. Default 1s.
	DisconnectTimeout time.Duration
	// GetTimeout is the timeout of a Get whose context has no deadline: the Get then
	// fails with context.DeadlineExceeded. It does not apply to a messages.Get.
	// 0: none.
	GetTimeout time.Duration
	// Reserve is the time that a caller needs with its connection. A Get whose
	// deadline (that of its context, or Get.Deadline; not GetTimeout) leaves less
	// than Reserve fails with context.DeadlineExceeded, even if a connection is idle,
	// and one that waits fails when only Reserve is left. So no connection is lent to
	// a caller that cannot finish with it in time. 0: off.
	Reserve time.Duration
	// CheckAfterIdle is the time after which an idle connection is checked before it
	// is lent. Under traffic the check may come up to a 64th of it earlier. It
	// requires Check. 0: the default, 1s. Negative: never.
	CheckAfterIdle time.Duration
	// KeepAlive is the time after which an idle connection is checked in the
	// background, again and again. If many are due at once, the checks are spread
	// over a tenth of KeepAlive. In a blocking period (see Backoff) there are none.
	// It requires Check. 0: off.
	KeepAlive time.Duration
	// IdleTimeout is the time after which an idle connection is closed: the oldest
	// first, at most half of all idle ones at once, and never below MinIdle. 0: off.
	IdleTimeout time.Duration
	// MaxLifetime is the largest age of a connection. An idle one is closed when it
	// reaches that age, a borrowed one when it is returned. 0: off.
	MaxLifetime time.Duration
	// MaxUses is the number of leases after which a connection is closed when it is
	// returned: for servers or drivers that collect garbage on each connection. Leases
	// of Each and TryGetAll do not count. 0: off.
	MaxUses int
	// MaxLifetimeJitter shortens each connection's lifetime by a random duration of
	// at most this, so that connections opened together do not expire together. It
	// must not be above MaxLifetime. 0: the default, a tenth of MaxLifetime: with a
	// MaxLifetime of 1h, connections live for 54 to 60 minutes. NoJitter: all live for
	// exactly MaxLifetime.
	MaxLifetimeJitter time.Duration
	// Seed makes the pool's random numbers the same in every run: those of
	// MaxLifetimeJitter and of Backoff.Jitter. It is for tests and simulations: instances
	// of a program that share a Seed connect at the same moments after an outage.
	// 0: another one in each pool.
	Seed uint64

	// Leases.

	// LeakAfter is the time after which a lease that is still held is reported as a
	// leak, once: by an event and a warning in the log, with the stack of the Get.
	// With it the pool also finds leases that were dropped without Put or Taint:
	// within a second of their garbage collection it reports them, and closes and
	// replaces their connections. Therefore keep the Lease for as long as you use its
	// connection. Each Get takes about a microsecond more, to capture its stack: the 16
	// innermost frames. 0: off.
	LeakAfter time.Duration
	// LeakGoroutines has each Get capture the number of its goroutine, too, which takes
	// about 8 microseconds more. Holder.Goroutine and Waiter.Goroutine have the numbers
	// (see [Pool.Explain]), and Suspicions names the goroutines that hold a connection and
	// wait for another. Without it these numbers are 0, and that suspicion is not
	// raised. It needs LeakAfter.
	LeakGoroutines bool
	// MaxLease is the time after which the pool ends a lease that is still held: it
	// closes the connection, even while the holder uses it, and the holder's Put
	// returns messages.ErrLeaseEnded. 0: off.
	MaxLease time.Duration
	// Broken says whether an error that the function given to Do returned means that
	// the connection must not be used again. It is not asked if the connection has a
	// method IsClosed() bool that returns true. Default: the function Broken of this
	// package.
	Broken func(err error) bool

	// Outage.

	// Backoff says what the pool does while connects fail.
	Backoff Backoff
	// Classify says what an error of Connect means for the pool. It is called for
	// errors of Connect only, so phase is always messages.PhaseConnect: an error of
	// another function concerns only its connection. It is not called if Connect
	// panics or is given up, which counts as messages.ClassOverload, as a panic in
	// Classify does. Default: actors.Classify.
	Classify func(phase messages.Phase, err error) messages.Class
	// PauseOnClear makes Clear pause the pool, as MongoDB's connection pools do: all
	// waits end with messages.ErrCleared, and so does every Get until Resume. The
	// pool starts paused.
	PauseOnClear bool

	// Overload.

	// ShedHopeless makes a Get fail at once, with a *messages.ShedError, if its
	// deadline will pass before its turn comes, estimated from the rate at which the
	// last waiters were served. The first Get in the queue is never rejected so.
	ShedHopeless bool
	// Shed ends the waits that are too long while the pool is overloaded, so that
	// the callers that are served are served soon. The zero value is off.
	Shed CoDel

	// Sight.

	// Name is the pool's name in errors, events and logs. Default "pool".
	Name string
	// OnEvent is called with every event of the pool, in order, on a goroutine of
	// its own. A slow handler delays nobody; if more than 4096 events wait for it, the
	// oldest are dropped. A panic in it is logged, by slog.Default if there is no
	// Logger, and the next event follows.
	// An event may arrive later than the change that it reports; Stats shows the
	// present. Do not call Close from OnEvent: Close waits up to a second for it.
	OnEvent func(messages.Event)
	// OnChange is called with the events that tell of a change of the pool or of its
	// connections: every event but CheckOutStarted, CheckOutFailed, CheckedOut and
	// CheckedIn. So it does not slow down a Get or Put, as OnEvent does, and a gap in Seq
	// has no meaning here. In every other respect it is as OnEvent. With both set, both
	// are called, OnEvent first.
	OnChange func(messages.Event)
	// Logger gets the events at level debug; the end of a backoff at level info; and
	// backoffs, leaks and panics of the functions above at level warn. nil: no log.
	Logger *slog.Logger
}

// CoDel is the policy of controlled delay for Gets that wait, after Elixir's
// DBConnection. When no Get has been served within Target for a whole Interval in
// which Gets wait, the pool is overloaded. From then on a wait that reaches twice
// Target ends with a *[messages.ShedError], until a Get is served within Target
// again. The zero value is off.
type CoDel struct {
	// Target is the longest wait that is acceptable for long. Default 50ms if
	// Interval is set.
	Target time.Duration
	// Interval is how long every wait must be above Target before the pool counts
	// as overloaded. It must not be below Target. Default 1s if Target is set.
	Interval time.Duration
}

// policy fills in the defaults.
func (c CoDel) policy() actors.CoDel {
	if c == (CoDel{}) {
		return actors.CoDel{}
	}
	return actors.CoDel{Target: or(c.Target, defaultTarget), Interval: or(c.Interval, defaultInterval)}
}

// DBConnection has the same target. Its interval was 1s, too, before its version
// 2.8, which made it 2s: here the shorter one stays, so that an overload is noticed
// sooner.
const (
	defaultTarget   = 50 * time.Millisecond
	defaultInterval = time.Second
)

// Backoff is the policy for the time in which connects fail. After a failed connect
// no other begins for a while: that is the blocking period. Then the pool makes one
// attempt at a time. A success ends the backoff; a failure starts the next blocking
// period. The period after failure number attempt, from 1, is
//
//	min(Base * 2^(attempt-1), Cap)
//
// minus a random part of it, of at most Jitter. Connects that were under way
// together count as one failure. A connection that is returned in the meantime is
// lent at once.
//
// The zero value is a valid policy: that of BackoffMongo.
type Backoff struct {
	// Mode says what happens to Gets during a blocking period. Default BackoffWait.
	Mode BackoffMode
	// Base is the length of the first period. Default 200ms.
	Base time.Duration
	// Cap is the length of the longest period. It must not be below Base. Default
	// 10s, or Base if that is longer.
	Cap time.Duration
	// Jitter is the part of a period that is random, from 0 to 1. 0: the default, 1.
	// NoJitter: none.
	Jitter float64
	// Decide says whether the pool backs off at all; false has the effect of
	// BackoffNever. It is called once, by New, Spawn or Props. nil: true.
	Decide func() bool
}

// BackoffMode says what happens to Gets during a backoff.
type BackoffMode = actors.BackoffMode

const (
	// BackoffWait: a Get waits, until its context ends. It fails at once, with a
	// *messages.BackoffError, if its deadline comes before the next attempt and no
	// connection is open that could become free before.
	BackoffWait = actors.BackoffWait
	// BackoffFailFast: a Get that finds no idle connection fails at once with a
	// *messages.BackoffError.
	BackoffFailFast = actors.BackoffFailFast
	// BackoffNever: there is no backoff; every Get may connect.
	BackoffNever = actors.BackoffNever
)

// NoJitter is the Jitter of a Backoff, or the MaxLifetimeJitter, without randomness.
const NoJitter = -1

// NoCapacity is the Capacity of a pool that begins with none.
const NoCapacity = -1

// NoDisconnect is the Disconnect of connections that need not be closed.
func NoDisconnect[C any](context.Context, C) error { return nil }

// BackoffMongo is the backoff of MongoDB's connection pools: Gets wait; the periods
// grow from 200ms to 10s; all of each is random (full jitter). It has the same
// effect as the zero Backoff, and states it.
func BackoffMongo() Backoff {
	return Backoff{Mode: BackoffWait, Base: defaultBase, Cap: defaultCap, Jitter: 1}
}

// BackoffBlocking is the blocking period of SqlClient's connection pools (ADO.NET
// for SQL Server): Gets fail at once with the last error; the periods grow from 5s
// to 60s, without jitter.
func BackoffBlocking() Backoff {
	return Backoff{Mode: BackoffFailFast, Base: 5 * time.Second, Cap: time.Minute, Jitter: NoJitter}
}

// The defaults of a Backoff.
const (
	defaultBase = 200 * time.Millisecond
	defaultCap  = 10 * time.Second
)
