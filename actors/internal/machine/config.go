package machine

import "time"

// Config is what the machine must know of the pool's configuration. It is
// validated where it comes from; every value here is meant as it stands.
type Config struct {
	Name  string
	Start time.Time // the wall time at which the machine's time is zero

	Capacity      int
	MinIdle       int
	MaxIdle       int // 0: the capacity of the moment
	MaxConnecting int
	MaxWaiters    int // 0: unlimited
	PauseOnClear  bool

	Check          bool          // there is a check
	CheckAfterIdle time.Duration // negative: never
	Reset          bool          // there is a reset
	ResetWipes     bool          // which also takes the setting off
	Unapply        bool          // a setting can be taken off
	KeepAlive      time.Duration // check idle connections that often; 0: off
	IdleTimeout    time.Duration // 0: off
	MaxLifetime    time.Duration // 0: off
	LifetimeJitter time.Duration
	ConnectTimeout time.Duration // bounds every connector job
	LeakAfter      time.Duration // 0: off
	MaxLease       time.Duration // 0: off
	ShedHopeless   bool          // refuse whose deadline cannot be met
	CoDel          CoDel         // shed a bad queue

	Backoff Backoff
	Random  func() float64 // in [0,1); for jitter

	// Coarse: Ticks come when they are due, so that between them the time of Take
	// and Stow may be less exact. See Config.coarse.
	Coarse bool

	Events  Events
	Backlog int // bounds the events that wait to be taken; 0: no bound
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
	BackoffWait     BackoffMode = iota // they wait in line
	BackoffFailFast                    // those that find no idle connection fail
	BackoffNever                       // there is no backoff
)

// Events says which events anybody listens to.
type Events uint8

// The levels.
const (
	NoEvents   Events = iota
	RareEvents        // backoff and leaks only
	AllEvents
)

// overdueAfter is how long after its start a connector job counts as lost. A
// job whose function keeps to its context ends within ConnectTimeout; the
// quarter more lets its own error arrive first.
func (c *Config) overdueAfter() time.Duration {
	return c.ConnectTimeout + c.ConnectTimeout/4
}

// delay is the length of the blocking period after a failed attempt, from 1:
// min(Base*2^(attempt-1), Cap), of which the jittered part is random. The
// exponential form with a cap is SqlClient's blocking period; jitter 1 is full
// jitter as in MongoDB's pool backoff.
func (c *Config) delay(attempt int) time.Duration {
	d := c.Backoff.Base
	for i := 1; i < attempt && d < c.Backoff.Cap; i++ {
		d *= 2
	}
	d = min(d, c.Backoff.Cap)
	if j := c.Backoff.Jitter; j > 0 {
		d -= time.Duration(float64(d) * j * c.Random())
	}
	return d
}

// timed says that the caller must give the time with Take and Stow too, at least
// now and then, not only with the inputs that always ask for it: ages matter, or a Take may begin
// a connect for MinIdle, whose timeout counts from then.
func (c *Config) timed() bool {
	return c.Check && (c.CheckAfterIdle >= 0 || c.KeepAlive > 0) || c.IdleTimeout > 0 || c.MaxLifetime > 0 ||
		c.tracked() || c.MinIdle > 0 || c.Events == AllEvents
}

// coarse says how coarse the time of idle connections may be: the period of the
// coarse clock, a 64th of the smallest period that is configured; 0: it must
// be exact. It must be where a lifetime is not to be exceeded, and where more than
// the age of idle connections hangs on the time of a Take or Stow. youth is the
// smallest period: as long as an idle connection is younger the clock runs.
func (c *Config) coarse() (slack, youth time.Duration) {
	if !c.Coarse || c.MaxLifetime > 0 || c.MinIdle > 0 || c.tracked() || c.Events == AllEvents {
		return 0, 0
	}
	youth = never
	for _, period := range []time.Duration{c.checkAfter(), c.KeepAlive, c.IdleTimeout} {
		if period > 0 {
			youth = min(youth, period)
		}
	}
	if slack = youth / 64; youth == never || slack < time.Millisecond || c.Check && c.CheckAfterIdle == 0 {
		return 0, 0
	}
	return slack, youth
}

func (c *Config) checkAfter() time.Duration {
	if !c.Check {
		return 0
	}
	return c.CheckAfterIdle
}

// tracked says that leases are watched by their age.
func (c *Config) tracked() bool { return c.LeakAfter > 0 || c.MaxLease > 0 }

// gated says that a Get may be refused because of how many wait.
func (c *Config) gated() bool { return c.MaxWaiters > 0 || c.measured() }

// measured says that waits are measured to decide whom to refuse.
func (c *Config) measured() bool { return c.ShedHopeless || c.CoDel.on() }
