package page

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/messages"
)

var moment = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// told makes a condition of a pool with 12 connections.
func told(change func(*condition)) condition {
	c := condition{exact: true, stats: messages.Stats{Name: "orders", State: messages.StateReady, Capacity: 12, Open: 12, MaxIdle: 12}}
	c.explanation.Time = moment
	change(&c)
	c.explanation.Stats = c.stats
	return c
}

var errRefused = errors.New("dial tcp 10.1.2.3:5432: connect: connection refused")

// out makes n connections borrowed, by holders of 10, 20, 30 … seconds with labels.
func (c *condition) lend(labels ...string) {
	c.stats.Borrowed = len(labels)
	for i, label := range labels {
		c.explanation.Holders = append(c.explanation.Holders, messages.Holder{
			ConnID: uint64(i + 1), Label: label, Age: time.Duration(len(labels)-i) * 10 * time.Second,
		})
	}
}

func (c *condition) queue(n int, first time.Duration) {
	c.stats.Waiting = n
	c.explanation.Waiters = []messages.Waiter{{Label: "GET /cart", Waited: first}}
}

func (c *condition) member(phase, note string) {
	c.stats.CapacityNote = note
	c.fleet = &fleet{Key: "orders", Budget: 97, Charged: 90, Free: 7, Alive: 4, Phase: phase, Note: note, Want: 3}
}

func (c *condition) failing(attempts int, next time.Duration) {
	c.explanation.Attempt, c.explanation.LastConnectError = attempts, errRefused
	if next > 0 {
		c.explanation.NextAttempt = moment.Add(next)
	}
}

func (c *condition) leaked(id uint64) {
	c.explanation.Recent = append(c.explanation.Recent, messages.Event{Kind: messages.LeaseLeaked, ConnID: id, Time: moment.Add(-time.Second)})
}

var sentences = []struct {
	name     string
	make     func(*condition)
	level    string
	sentence string
	notes    []string
}{
	{"quiet", func(c *condition) { c.stats.Open, c.stats.Idle = 3, 3 }, fine, "Ready and quiet: no connection is out, 3 are idle.", nil},
	{"empty", func(c *condition) { c.stats.Open = 0 }, fine, "Ready and quiet: no connection is open. The next Get opens one.", nil},
	{"ready", func(c *condition) { c.lend("a", "b") }, fine, "Ready: 2 of 12 connections are out, and nobody waits.", nil},
	{"ready, one", func(c *condition) { c.lend("a") }, fine, "Ready: 1 of 12 connections is out, and nobody waits.", nil},
	{"busy", func(c *condition) { c.stats.Borrowed, c.stats.Idle = 10, 2 }, busy, "Busy: 10 of 12 connections are out, and nobody waits.", nil},
	{
		"full", func(c *condition) { c.stats.Capacity = 2; c.stats.Open = 2; c.lend("import", "b") }, busy,
		"Busy: all 2 connections are out. Nobody waits, but the next caller will. The longest lease is out for 20s (import).", nil,
	},
	{
		"exhausted", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 3, 3
			c.lend("nightly import", "login", "login")
			c.queue(28, 722*time.Millisecond)
		}, problem,
		"Exhausted: all 3 connections are out and 28 callers wait. The first (GET /cart) has waited 722ms. " +
			"The longest lease is out for 30s (nightly import).", nil,
	},
	{
		"exhausted by one holder of many", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 4, 4
			c.lend("nightly import", "nightly import", "login", "nightly import")
			c.queue(1, 3*time.Second)
		}, problem,
		"Exhausted: all 4 connections are out and 1 caller waits. The first (GET /cart) has waited 3s. " +
			"The longest lease is out for 40s (nightly import, which holds 3 of the 4).", nil,
	},
	{
		"exhausted, one connection, no labels", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 1, 1
			c.lend("")
			c.stats.Waiting, c.explanation.Waiters = 2, []messages.Waiter{{Waited: 70 * time.Second}}
		}, problem,
		"Exhausted: the only connection is out and 2 callers wait. The first has waited 1m 10s. " +
			"The longest lease is out for 10s (connection 1, without a label).", nil,
	},
	{
		"a lease that nobody has timed", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 1, 1
			c.lend("")
			c.explanation.Holders[0].AtLeast = true
			c.queue(1, time.Second)
		}, problem,
		"Exhausted: the only connection is out and 1 caller waits. The first (GET /cart) has waited 1s. " +
			"The longest lease is out for at least 10s (connection 1, without a label).", nil,
	},
	{
		"a lease of which nothing is known", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 1, 1
			c.lend("")
			c.explanation.Holders[0].AtLeast, c.explanation.Holders[0].Age = true, 0
			c.queue(1, time.Second)
		}, problem,
		"Exhausted: the only connection is out and 1 caller waits. The first (GET /cart) has waited 1s. " +
			"The longest lease is out for an unknown time (connection 1, without a label).", nil,
	},
	{
		"exhausted, with nothing but Stats", func(c *condition) { c.stats.Borrowed, c.stats.Waiting = 12, 5 }, problem,
		"Exhausted: all 12 connections are out and 5 callers wait.", nil,
	},
	{
		"exhausted by a leak, and all else", func(c *condition) {
			c.stats.Capacity, c.stats.Open, c.stats.GivenUp = 2, 2, 1
			c.lend("import", "login")
			c.queue(3, time.Second)
			c.leaked(1)
			c.lately = counts{timeouts: 812, sheds: 1, deadlocks: 2, revoked: 1}
			c.explanation.LastConnectError = errRefused
			c.explanation.Suspicions = []string{"every connection is out"}
		}, problem,
		"Exhausted: all 2 connections are out and 3 callers wait. The first (GET /cart) has waited 1s. The longest lease is out for 20s (import).",
		[]string{
			"Deadlock: in the last minute 2 Gets failed because the holders of all connections waited for another one.",
			"Overloaded: in the last minute 1 Get failed, because the wait would have been too long.",
			"In the last minute 812 Gets failed because the deadline had passed.",
			"A lease leaks: import has been out for 20s, longer than LeakAfter allows.",
			"In the last minute the pool ended 1 lease without the holder.",
			"A function of yours ignores its context: the pool has given up waiting for it, and its connection is not counted any more.",
			"The last connect failed: dial tcp 10.1.2.3:5432: connect: connection refused.",
			"Every connection is out.",
		},
	},
	{
		"a holder that waits itself", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 1, 1
			c.lend("report")
			c.explanation.Holders[0].Waits = true
			c.queue(1, time.Second)
		}, problem,
		"Exhausted: the only connection is out and 1 caller waits. The first (GET /cart) has waited 1s. " +
			"The longest lease is out for 10s (report, and waits for another connection of this pool).", nil,
	},
	{
		"growing, callers wait", func(c *condition) { c.stats.Open, c.stats.Connecting = 4, 2; c.queue(5, 30*time.Millisecond) }, busy,
		"Growing: 5 callers wait for 2 connects under way. The first (GET /cart) has waited 30ms.", nil,
	},
	{
		"growing slowly", func(c *condition) {
			c.stats.Open, c.stats.Connecting = 0, 1
			c.queue(5, 3*time.Second)
			c.explanation.Jobs = []messages.Job{{ConnID: 7, Doing: "connecting", Age: 3 * time.Second}}
		}, warning,
		"Growing: 5 callers wait for 1 connect under way. The slowest (connecting connection 7) has run for 3s. The first (GET /cart) has waited 3s.", nil,
	},
	{
		"growing, nobody waits", func(c *condition) { c.stats.Open, c.stats.Connecting = 4, 1; c.lend("a") }, fine,
		"Growing: 1 connect is under way, and nobody waits. 1 of 12 connections is out.", nil,
	},
	{
		"preparing", func(c *condition) {
			c.stats.InTransition = 3
			c.queue(2, 4*time.Millisecond)
			c.explanation.Jobs = []messages.Job{{ConnID: 2, Doing: "resetting", Age: 12 * time.Second}}
		}, busy,
		"Preparing: 2 callers wait while 3 connections are checked, reset or prepared. The slowest (resetting connection 2) has run for 12s. " +
			"The first (GET /cart) has waited 4ms.", nil,
	},
	{
		"waiting for closes", func(c *condition) { c.stats.Open, c.stats.Closing = 11, 1; c.queue(2, 4*time.Millisecond) }, busy,
		"Waiting for closes: 2 callers wait while 1 connection is closed. The first (GET /cart) has waited 4ms.", nil,
	},
	{
		"waiting for a moment", func(c *condition) { c.stats.Idle = 1; c.queue(2, 300*time.Microsecond) }, busy,
		"2 callers wait. The first (GET /cart) has waited 300µs.", nil,
	},
	{
		"backing off", func(c *condition) {
			c.stats.State, c.stats.Open, c.since = messages.StateBackoff, 0, 43*time.Second
			c.failing(5, 1200*time.Millisecond)
			c.queue(28, 722*time.Millisecond)
		}, problem,
		"Backing off for 43s: the server cannot be reached. 5 connects in a row have failed " +
			"(dial tcp 10.1.2.3:5432: connect: connection refused), the next is due in 1.2s. " +
			"28 callers wait. The first (GET /cart) has waited 722ms.", nil,
	},
	{
		"backing off since before the page, nobody waits", func(c *condition) {
			c.stats.State, c.stats.Open, c.since, c.exact = messages.StateBackoff, 0, 43*time.Second, false
			c.failing(1, 0)
		}, problem,
		"Backing off for at least 43s: the server cannot be reached. 1 connect has failed " +
			"(dial tcp 10.1.2.3:5432: connect: connection refused), the next is due now. Nobody waits.", nil,
	},
	{
		"probing", func(c *condition) {
			c.stats.State, c.stats.Open, c.stats.Connecting = messages.StateProbing, 0, 1
			c.failing(5, 0)
		}, problem,
		"Probing: the server cannot be reached. 5 connects in a row have failed " +
			"(dial tcp 10.1.2.3:5432: connect: connection refused), one is tried now. Nobody waits.", nil,
	},
	{
		"backing off, with nothing but Stats", func(c *condition) {
			c.stats.State, c.stats.Open = messages.StateBackoff, 0
			c.explanation.LastConnectError, c.explanation.NextAttempt = errRefused, moment.Add(time.Minute)
		}, problem,
		"Backing off: the server cannot be reached. Connects fail (dial tcp 10.1.2.3:5432: connect: connection refused), " +
			"the next is due in 1m 0s. Nobody waits.", nil,
	},
	{
		"connects fail while some stand and all are out", func(c *condition) {
			c.stats.Open = 2
			c.lend("a", "b")
			c.failing(3, time.Second)
			c.queue(4, time.Second)
		}, problem,
		"Connects fail: 3 connects in a row have failed (dial tcp 10.1.2.3:5432: connect: connection refused), the next is due in 1s. " +
			"All 2 connections that are left are out, and 4 callers wait. The first (GET /cart) has waited 1s. The longest lease is out for 20s (a).", nil,
	},
	{
		"connects fail, nobody waits", func(c *condition) { c.stats.Open, c.stats.Idle = 3, 2; c.lend("a"); c.failing(3, time.Second) }, warning,
		"Connects fail: 3 connects in a row have failed (dial tcp 10.1.2.3:5432: connect: connection refused), the next is due in 1s. " +
			"3 connections are left, 1 of them out, and nobody waits.", nil,
	},
	{
		"suspended", func(c *condition) { c.stats.State, c.since = messages.StateSuspended, 12*time.Minute }, warning,
		"Suspended for 12m 0s: nothing is lent until somebody calls Resume.", nil,
	},
	{
		"suspended, callers wait", func(c *condition) { c.stats.State = messages.StateSuspended; c.queue(7, 3*time.Second) }, problem,
		"Suspended: nothing is lent until somebody calls Resume. 7 callers wait. The first (GET /cart) has waited 3s.", nil,
	},
	{
		"paused", func(c *condition) { c.stats.State, c.since = messages.StatePaused, time.Minute; c.lend("a") }, problem,
		"Paused by a Clear for 1m 0s: every Get fails until somebody calls Resume. 1 of 12 connections is out.", nil,
	},
	{
		"draining", func(c *condition) { c.stats.Capacity, c.stats.Open = 2, 5; c.lend("a", "a", "a", "a", "a") }, warning,
		"Draining: the capacity is 2 now, and 3 more connections must come back or close first. The longest lease is out for 50s (a, which holds 5 of the 5).", nil,
	},
	{
		"draining to 0, callers wait", func(c *condition) { c.stats.Capacity, c.stats.Open = 0, 1; c.lend("a"); c.queue(2, time.Second) }, problem,
		"Draining: the capacity is 0 now, and 1 more connection must come back or close first. " +
			"2 callers wait. The first (GET /cart) has waited 1s. The longest lease is out for 10s (a).", nil,
	},
	{
		"no capacity", func(c *condition) { c.stats.Capacity, c.stats.Open = 0, 0 }, warning,
		"The capacity is 0: every Get waits until it is raised.", nil,
	},
	{
		"no capacity, callers wait", func(c *condition) { c.stats.Capacity, c.stats.Open = 0, 0; c.queue(2, time.Second) }, problem,
		"The capacity is 0: every Get waits until it is raised. 2 callers wait. The first (GET /cart) has waited 1s.", nil,
	},
	{
		"no quota, callers wait", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 0, 0
			c.member("live", "fleet: no quota")
			c.queue(2, time.Second)
		}, problem,
		"Capacity 0: fleet: no quota. 2 callers wait. The first (GET /cart) has waited 1s.", nil,
	},
	{
		"no quota, and no use for it yet", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 0, 0
			c.member("live", "fleet: no quota")
			c.fleet.Want = 0
		}, fine,
		"Ready and quiet: this member has no share of the fleet's budget, and nobody waits.", nil,
	},
	{
		"no quota, and MinIdle asks for some", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 0, 0
			c.member("live", "fleet: no quota")
		}, warning,
		"Capacity 0: fleet: no quota.", nil,
	},
	{
		"a note, and the page knows no fleet", func(c *condition) {
			c.stats.Capacity, c.stats.Open, c.stats.CapacityNote = 0, 0, "fleet: no quota"
			c.queue(1, time.Second)
		}, problem,
		"Capacity 0: fleet: no quota. 1 caller waits. The first (GET /cart) has waited 1s.", nil,
	},
	{
		"a note that nobody waits for", func(c *condition) { c.stats.CapacityNote = "half, for the night."; c.lend("a") }, warning,
		"Capacity 12: half, for the night. Ready: 1 of 12 connections is out, and nobody waits.", nil,
	},
	{
		"store away", func(c *condition) {
			c.member("live", "fleet: store not reached for 8s, shares do not move")
			c.fleet.Err = "context deadline exceeded"
			c.stats.Idle = 12
		}, warning,
		"Capacity 12: fleet: store not reached for 8s, shares do not move. Ready and quiet: no connection is out, 12 are idle.",
		[]string{"Fleet: the last renewal failed: context deadline exceeded."},
	},
	{
		"soft, exhausted", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 1, 1
			c.member("soft", "fleet: store not reached for 12s, connects refused")
			c.lend("import")
			c.queue(4, time.Second)
		}, problem,
		"Capacity 1: fleet: store not reached for 12s, connects refused. Exhausted: the only connection is out and 4 callers wait. " +
			"The first (GET /cart) has waited 1s. The longest lease is out for 10s (import).", nil,
	},
	{
		"hard, nobody waits", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 0, 0
			c.member("hard", "fleet: store not reached for 3m, all is closed")
			c.fleet.Err = "no endpoint."
		}, problem,
		"Capacity 0: fleet: store not reached for 3m, all is closed.",
		[]string{"Fleet: the last renewal failed: no endpoint."},
	},
	{
		"the lease has ended, and a lease must come back", func(c *condition) {
			c.stats.Capacity, c.stats.Open = 0, 1
			c.lend("import")
			c.member("over", "fleet: lease has ended, joining again")
		}, warning,
		"Capacity 0: fleet: lease has ended, joining again. Draining: the capacity is 0 now, and 1 more connection must come back or close first. " +
			"The longest lease is out for 10s (import).", nil,
	},
	{
		"a fleet in which all is well", func(c *condition) { c.member("live", ""); c.stats.Idle = 12 }, fine,
		"Ready and quiet: no connection is out, 12 are idle.", nil,
	},
	{
		"a dead member that is charged", func(c *condition) {
			c.member("live", "")
			c.stats.Idle, c.fleet.Dead, c.fleet.Lost = 12, 1, 4
		}, warning,
		"Ready and quiet: no connection is out, 12 are idle.", []string{"Fleet: a member is dead and still charged for 4 connections."},
	},
	{
		"dead members, and a budget that was lowered", func(c *condition) {
			c.member("live", "")
			c.stats.Idle, c.fleet.Dead, c.fleet.Lost, c.fleet.Budget, c.fleet.Charged, c.fleet.Free = 12, 2, 1, 10, 12, -2
		}, warning,
		"Ready and quiet: no connection is out, 12 are idle.",
		[]string{
			"Fleet: 2 members are dead and still charged for 1 connection.",
			"Fleet: the members are charged for 12, more than the budget, 10: it was lowered, and they give back what comes back.",
		},
	},
	{
		"a member that has left", func(c *condition) {
			c.stats.State, c.stats.Capacity, c.stats.Open = messages.StateClosed, 0, 0
			c.stats.CapacityNote = "fleet: leaving"
		}, off,
		"Closed: no connection is left.", nil,
	},
	{
		"closing", func(c *condition) {
			c.stats.State, c.stats.Open, c.stats.InTransition, c.since = messages.StateClosing, 3, 1, 3*time.Second
			c.lend("import", "b")
		}, warning,
		"Closing for 3s: 2 connections must still come back and 1 connection is being closed. The longest lease is out for 20s (import).", nil,
	},
	{
		"closing, nothing left", func(c *condition) { c.stats.State, c.stats.Open = messages.StateClosing, 0 }, warning,
		"Closing: no connection is left.", nil,
	},
	{
		"closed", func(c *condition) {
			c.stats.State, c.stats.Open, c.failed, c.stats.GivenUp = messages.StateClosed, 0, "actorpool: pool is closed", 1
		}, off, "Closed: no connection is left.", nil,
	},
	{
		"a leak", func(c *condition) { c.lend("nightly import", "b"); c.leaked(1) }, warning,
		"A lease leaks: nightly import has been out for 20s, longer than LeakAfter allows. 2 of 12 connections are out.", nil,
	},
	{
		"leaks", func(c *condition) { c.lend("import", "", "b", "c"); c.leaked(2); c.leaked(3) }, warning,
		"A lease leaks: connection 2, without a label has been out for 30s, longer than LeakAfter allows. " +
			"Another lease leaks, too. 4 of 12 connections are out.", nil,
	},
	{
		"many leaks", func(c *condition) { c.lend("import", "a", "b", "c"); c.leaked(1); c.leaked(2); c.leaked(3) }, warning,
		"A lease leaks: import has been out for 40s, longer than LeakAfter allows. 2 other leases leak, too. 4 of 12 connections are out.", nil,
	},
	{
		"a leak that has come back, and another lease of the connection", func(c *condition) {
			c.lend("a")
			c.explanation.Recent = []messages.Event{{Kind: messages.LeaseLeaked, ConnID: 1, Time: moment.Add(-11 * time.Second)}}
		}, fine, "Ready: 1 of 12 connections is out, and nobody waits.", nil,
	},
	{
		"a deadlock", func(c *condition) {
			c.lend("report")
			c.lately.deadlocks = 1
			c.explanation.Recent = []messages.Event{{
				Kind: messages.CheckOutFailed,
				Err:  shown("actorpool: deadlock: the holders of all 1 connections wait for another: report"),
			}}
		}, problem,
		"Deadlock: in the last minute 1 Get failed because the holders of all connections waited for another one." +
			" The last: actorpool: deadlock: the holders of all 1 connections wait for another: report.", nil,
	},
	{
		"sheds", func(c *condition) { c.lend("a"); c.lately.sheds = 120 }, problem,
		"Overloaded: in the last minute 120 Gets failed, because the wait would have been too long. The longest lease is out for 10s (a).", nil,
	},
	{
		"one given up", func(c *condition) { c.stats.GivenUp = 1 }, warning,
		"A function of yours ignores its context: the pool has given up waiting for it, and its connection is not counted any more. " +
			"No connection is out.", nil,
	},
	{
		"some given up", func(c *condition) { c.stats.GivenUp = 2; c.lend("a", "b") }, warning,
		"2 functions of yours ignore their contexts: the pool has given up waiting for them, and their connections are not counted any more. " +
			"2 of 12 connections are out.", nil,
	},
	{
		"quiet but for what was", func(c *condition) {
			c.stats.Idle = 12
			c.lately.timeouts = 1
			c.explanation.LastConnectError = errRefused
		}, warning,
		"Ready and quiet: no connection is out, 12 are idle.",
		[]string{
			"In the last minute 1 Get failed because the deadline had passed.",
			"The last connect failed: dial tcp 10.1.2.3:5432: connect: connection refused.",
		},
	},
	{
		"silent", func(c *condition) { c.failed = "no answer within 2s" }, problem,
		"The pool does not explain itself: no answer within 2s.", nil,
	},
}

func TestTheFirstLineSaysWhatIsWrong(t *testing.T) {
	for _, tt := range sentences {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(told(tt.make))
			assert.Equal(t, tt.sentence, v.Sentence)
			assert.Equal(t, tt.level, v.Level)
			assert.ElementsMatch(t, tt.notes, v.Notes)
			assert.NotEmpty(t, v.Kind)
		})
	}
}

func TestEveryStateOfAPoolHasASentenceOfItsOwn(t *testing.T) {
	seen := map[string]string{}
	for _, state := range []string{
		messages.StateReady, messages.StatePaused, messages.StateSuspended, messages.StateBackoff,
		messages.StateProbing, messages.StateClosing, messages.StateClosed,
	} {
		kind := judge(told(func(c *condition) { c.stats.State = state })).Kind
		assert.Empty(t, seen[kind], "%s and %s", state, seen[kind])
		seen[kind] = state
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0µs", 300 * time.Microsecond: "300µs", 722400 * time.Microsecond: "722ms", 1200 * time.Millisecond: "1.2s", 3 * time.Second: "3s",
		26 * time.Second: "26s", 125 * time.Second: "2m 5s", 192 * time.Minute: "3h 12m", 125 * time.Hour: "5d 5h", -time.Second: "-1s",
	} {
		assert.Equal(t, want, span(d))
	}
}

func TestAFloodOfFailedGetsIsOneLine(t *testing.T) {
	var events []messages.Event
	at := func(k messages.EventKind, change func(*messages.Event)) {
		e := messages.Event{Kind: k, Time: moment.Add(time.Duration(len(events)) * time.Second)}
		if change != nil {
			change(&e)
		}
		events = append(events, e)
	}
	timeout := func(e *messages.Event) {
		e.Reason, e.Err, e.Duration, e.Label = messages.ReasonTimeout, context.DeadlineExceeded, 2*time.Second, "login"
	}
	at(messages.CheckOutFailed, timeout)
	at(messages.PoolBackoff, func(e *messages.Event) { e.Attempt, e.Duration, e.Err = 3, 400*time.Millisecond, errRefused })
	for range 800 {
		at(messages.CheckOutFailed, timeout)
		at(messages.ConnectionClosed, func(e *messages.Event) { e.ConnID, e.Reason = 7, messages.ReasonBroken })
	}
	at(messages.CapacityChanged, func(e *messages.Event) { e.From, e.To = 8, 4 })
	at(messages.LeaseLeaked, func(e *messages.Event) { e.ConnID, e.Duration, e.Label = 4, 26*time.Second, "import" })
	at(messages.PoolCleared, func(e *messages.Event) { e.Generation, e.Interrupt = 2, true })

	var lines []string
	for _, l := range coalesce(events) {
		lines = append(lines, strings.Join([]string{l.What, strings.Repeat("x", min(l.Count, 2)), l.Detail}, "|"))
	}
	assert.Equal(t, []string{
		"PoolCleared|x|generation 2 · interrupting",
		"LeaseLeaked|x|connection 4 · import · out for 26s",
		"CapacityChanged|x|from 8 to 4",
		"ConnectionClosed (broken)|xx|connection 7",
		"CheckOutFailed (timeout)|xx|login · after 2s · context deadline exceeded",
		"PoolBackoff|x|attempt 3 · next in 400ms · dial tcp 10.1.2.3:5432: connect: connection refused",
		"CheckOutFailed (timeout)|x|login · after 2s · context deadline exceeded",
	}, lines)
	flood := coalesce(events)[4]
	assert.Equal(t, 800, flood.Count)
	assert.Equal(t, int64(1598_000), flood.At-flood.First)
	assert.Equal(t, "PoolCreated|capacity 4", coalesce([]messages.Event{{Kind: messages.PoolCreated, To: 4}})[0].What+"|"+
		coalesce([]messages.Event{{Kind: messages.PoolCreated, To: 4}})[0].Detail)
}
