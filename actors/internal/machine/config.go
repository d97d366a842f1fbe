// Config: what the machine must know of the pool's configuration.

package machine

import "time"

// Config is what the machine must know of the pool's configuration. It is
// validated where it comes from; no value here stands for a default.
type Config struct {
	Name  string
	Start time.Time // the wall time at which the machine's time is zero

	Capacity      int
	MinIdle       int
	MinOpen       int
	MaxIdle       int // 0: the capacity of the moment
	MaxConnecting int // 0: connects ramp up (L11)
	MaxWaiters    int // 0: unlimited
	MaxUses       int // of a connection; 0: unlimited
	PauseOnClear  bool

	// Shared says that the capacity is a part of one that several pools have in common. A
	// job that was given up occupies its part until its function returns, and whether the
	// pools' callers wait for each other is not this machine's to judge.
	Shared bool

	Check          bool          // there is a check
	CheckAfterIdle time.Duration // negative: never
	Reset          bool          // there is a reset
	Reusable       bool          // a connection is asked on return whether it can be used again
	ResetWipes     bool          // which also takes the setting off
	Unapply        bool          // a setting can be taken off
	KeepAlive      time.Duration // check idle connections that often; 0: off
	IdleTimeout    time.Duration // 0: off
	MaxLifetime    time.Duration // 0: off
	LifetimeJitter time.Duration
	ConnectTimeout time.Duration // bounds every other connector job

	CheckTimeout      time.Duration // bounds a check that a Get waits for
	DisconnectTimeout time.Duration // bounds Disconnect

	LeakAfter    time.Duration // 0: off
	MaxLease     time.Duration // 0: off
	Reserve      time.Duration // what the shell takes off a caller's deadline (G15); 0: off
	ShedHopeless bool          // reject a Get whose deadline cannot be met
	CoDel        CoDel         // shed waits of a bad queue

	Backoff Backoff
	Random  func() float64 // in [0,1); for jitter

	// Coarse says that ticks come when they are due, so that between two of them the
	// time of the fast paths may be less exact. See coarseClock.
	Coarse bool

	EventLevel EventLevel
	Backlog    int // bounds the events that wait to be taken; 0: no bound
}

// Backoff is the policy of blocking periods.
type Backoff struct {
	Mode   BackoffMode
	Base   time.Duration
	Cap    time.Duration
	Jitter float64 // the part of a delay that is random, 0..1
}

// BackoffMode says what a pool does with Gets while it backs off.
type BackoffMode uint8

// The modes.
const (
	BackoffWait     BackoffMode = iota // they wait in the queue
	BackoffFailFast                    // those that find no idle connection fail
	BackoffNever                       // there is no backoff
)

// EventLevel says which events anybody listens to.
type EventLevel uint8

// The levels.
const (
	NoEvents     EventLevel = iota
	RareEvents              // backoffs, their ends, and leaks only
	ChangeEvents            // all but those of Gets and Puts
	AllEvents
)

// jobTimeout is how long after its start, or after it was cancelled, a connector's job
// is given up. A function that keeps to its context ends within its timeout; the
// quarter more lets its own error arrive first.
func (c *Config) jobTimeout(b bound) time.Duration {
	if b == boundGrace {
		return closeGrace
	}
	d := c.timeout(b)
	return after(d, d/4)
}

// timeout is the timeout of a connector's job.
func (c *Config) timeout(b bound) time.Duration {
	switch b {
	case boundCheck:
		return c.CheckTimeout
	case boundDisconnect:
		return c.DisconnectTimeout
	default:
		return c.ConnectTimeout
	}
}

// backoffDelay is the length of the blocking period after a failed attempt,
// counted from 1:
//
//	min(Base*2^(attempt-1), Cap)
//
// The part Jitter of it is random. The exponential form with a cap is that of
// SqlClient's blocking period; Jitter 1 is full jitter, as in MongoDB's pool
// backoff.
func (c *Config) backoffDelay(attempt int) time.Duration {
	d := c.Backoff.Base
	for i := 1; i < attempt && d < c.Backoff.Cap; i++ {
		d = times(2, d)
	}
	d = min(d, c.Backoff.Cap)
	if j := c.Backoff.Jitter; j > 0 {
		d -= part(d, j*c.Random())
	}
	return d
}

// needsClock says that the fast paths need the time too, at least now and then: ages
// matter, or a TryGet may begin a connect for MinIdle, whose timeout counts from
// then.
func (c *Config) needsClock() bool {
	return c.Check && (c.CheckAfterIdle >= 0 || c.KeepAlive > 0) || c.IdleTimeout > 0 || c.MaxLifetime > 0 ||
		c.tracksLeases() || c.MinIdle > 0 || c.EventLevel == AllEvents
}

// coarseClock gives the period of the coarse clock, a 64th of the smallest period
// that is configured, and that smallest period: the clock runs while an idle
// connection is younger. A tick of 0 says that the time must be exact. It must be
// where a MaxLifetime must not be exceeded, and where more than the age of idle
// connections depends on the time of a fast path.
func (c *Config) coarseClock() (tick, while time.Duration) {
	if !c.Coarse || c.MaxLifetime > 0 || c.MinIdle > 0 || c.tracksLeases() || c.EventLevel == AllEvents {
		return 0, 0
	}
	while = never
	for _, period := range []time.Duration{c.checkAfter(), c.KeepAlive, c.IdleTimeout} {
		if period > 0 {
			while = min(while, period)
		}
	}
	if tick = while / 64; while == never || tick < time.Millisecond || c.Check && c.CheckAfterIdle == 0 {
		return 0, 0
	}
	return tick, while
}

// checkAfter is CheckAfterIdle, or 0 without a Check.
func (c *Config) checkAfter() time.Duration {
	if !c.Check {
		return 0
	}
	return c.CheckAfterIdle
}

// tracksLeases says that the age of leases is watched.
func (c *Config) tracksLeases() bool { return c.LeakAfter > 0 || c.MaxLease > 0 }

// limitsQueue says that a Get may be rejected because of the queue.
func (c *Config) limitsQueue() bool { return c.MaxWaiters > 0 || c.measuresWaits() }

// measuresWaits says that waits are measured to decide which Gets to reject.
func (c *Config) measuresWaits() bool { return c.ShedHopeless || c.CoDel.on() }
