// Package catalogue is the list of the metrics of a pool, which the packages for
// OpenTelemetry and for Prometheus have in common, and the reading of a pool for them.
package catalogue

import (
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Kind is what a metric's number means.
type Kind uint8

const (
	// Counter counts since the pool was made, and never goes down.
	Counter Kind = iota
	// UpDownCounter is a number of things that there are now: it can be added up over pools.
	UpDownCounter
	// Gauge is a value of now that has no sensible sum.
	Gauge
)

// The attributes of the metrics.
const (
	// PoolName has every metric.
	PoolName = "db.client.connection.pool.name"
	// ConnectionState, State, Reason and FleetPhase are those of one metric each: see [Metric].
	ConnectionState = "db.client.connection.state"
	State           = "actorpool.state"
	Reason          = "actorpool.reason"
	FleetPhase      = "actorpool.fleet.phase"
)

// SchemaURL is the version of the semantic conventions that the names are those of.
const SchemaURL = "https://opentelemetry.io/schemas/1.43.0"

// Metric is a metric with one number, or with one for each value of an attribute.
type Metric struct {
	// Name, Unit and Description are those of OpenTelemetry. A metric in seconds ("s") is
	// read in nanoseconds: see [Metric.Seconds].
	Name, Unit, Description string
	Kind                    Kind
	// Attribute is the name of the attribute that tells the Parts apart; empty: there is
	// one Part.
	Attribute string
	Parts     []Part
}

// Part is a number of a metric.
type Part struct {
	// Value is the value of the metric's Attribute.
	Value string
	// One of these: what is read of the pool, or of its fleet. A pool that is in none does
	// not have the latter.
	read    func(*messages.Measures) int64
	ofFleet func(*messages.FleetStatus) int64
}

// OfFleet says that only a member of a fleet has the metric.
func (m *Metric) OfFleet() bool { return m.Parts[0].ofFleet != nil }

// Seconds says that the numbers of the metric are durations.
func (m *Metric) Seconds() bool { return m.Unit == "s" }

// PrometheusName is the name that OpenTelemetry's exporter for Prometheus gives the metric.
func (m *Metric) PrometheusName() string {
	name := prometheusName(m.Name, m.Unit)
	if m.Kind == Counter {
		name += "_total"
	}
	return name
}

// Histogram is a metric that is a histogram of durations.
type Histogram struct {
	// Name and Description are those of OpenTelemetry. The unit is the second.
	Name, Description string
	read              func(*messages.Measures) messages.Histogram
}

// PrometheusName is the name that OpenTelemetry's exporter for Prometheus gives the metric.
func (h *Histogram) PrometheusName() string { return prometheusName(h.Name, "s") }

func prometheusName(name, unit string) string {
	name = Label(name)
	if unit == "s" {
		name += "_seconds"
	}
	return name
}

// Label is an attribute's name as a label of Prometheus.
func Label(attribute string) string { return strings.ReplaceAll(attribute, ".", "_") }

// one is the only part of a metric.
func one(read func(*messages.Measures) int64) []Part { return []Part{{read: read}} }

// number and count make a part of a field of Stats.
func number(read func(*messages.Stats) int) func(*messages.Measures) int64 {
	return func(m *messages.Measures) int64 { return int64(read(&m.Stats)) }
}

func count(read func(*messages.Stats) uint64) func(*messages.Measures) int64 {
	return func(m *messages.Measures) int64 { return int64(read(&m.Stats)) }
}

// ofFleet is the only part of a metric of a fleet.
func ofFleet[T int | uint64 | time.Duration](read func(*messages.FleetStatus) T) []Part {
	return []Part{{ofFleet: func(s *messages.FleetStatus) int64 { return int64(read(s)) }}}
}

// inPhase makes the part of a phase, which is 1 while the member is in that phase.
func inPhase(name string) Part {
	return Part{Value: name, ofFleet: func(s *messages.FleetStatus) int64 {
		if s.Phase == name {
			return 1
		}
		return 0
	}}
}

// lost is what members that are dead are charged for.
func lost(s *messages.FleetStatus) (n int) {
	for i := range s.Fleet {
		if !s.Fleet[i].Alive {
			n += s.Fleet[i].Charge
		}
	}
	return n
}

// inState makes the part of a state, which is 1 while the pool is in that state.
func inState(name string) Part {
	return Part{Value: name, read: func(m *messages.Measures) int64 {
		if m.Stats.State == name {
			return 1
		}
		return 0
	}}
}

// Histograms are the histograms of a pool.
var Histograms = [...]Histogram{
	{
		Name:        "db.client.connection.create_time",
		Description: "The time it took to create a new connection.",
		read:        func(m *messages.Measures) messages.Histogram { return m.Connect },
	},
	{
		Name:        "db.client.connection.wait_time",
		Description: "The time it took to obtain an open connection from the pool.",
		read:        func(m *messages.Measures) messages.Histogram { return m.Wait },
	},
	{
		Name:        "db.client.connection.use_time",
		Description: "The time between borrowing a connection and returning it to the pool.",
		read:        func(m *messages.Measures) messages.Histogram { return m.Use },
	},
}

// Metrics are the other metrics of a pool: first those of the semantic conventions, with
// the conventions' descriptions, then what the conventions lack.
var Metrics = [...]Metric{
	{
		Name: "db.client.connection.count", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The number of connections that are currently in state described by the `state` attribute.",
		Attribute:   ConnectionState,
		Parts: []Part{
			{Value: "idle", read: number(func(s *messages.Stats) int { return s.Idle })},
			{Value: "used", read: number(func(s *messages.Stats) int { return s.Borrowed + s.InTransition })},
		},
	},
	{
		Name: "db.client.connection.max", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The maximum number of open connections allowed.",
		Parts:       one(number(func(s *messages.Stats) int { return s.Capacity })),
	},
	{
		Name: "db.client.connection.idle.max", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The maximum number of idle open connections allowed.",
		Parts:       one(number(func(s *messages.Stats) int { return s.MaxIdle })),
	},
	{
		Name: "db.client.connection.idle.min", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The minimum number of idle open connections allowed.",
		Parts:       one(number(func(s *messages.Stats) int { return s.MinIdle })),
	},
	{
		Name: "db.client.connection.pending_requests", Unit: "{request}", Kind: UpDownCounter,
		Description: "The number of current pending requests for an open connection.",
		Parts:       one(number(func(s *messages.Stats) int { return s.Waiting })),
	},
	{
		Name: "db.client.connection.timeouts", Unit: "{timeout}", Kind: Counter,
		Description: "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Timeouts })),
	},

	{
		Name: "actorpool.state", Unit: "{pool}", Kind: UpDownCounter,
		Description: "1 for the state that the pool is in, 0 for the other states.",
		Attribute:   State,
		Parts: []Part{
			inState(messages.StateReady), inState(messages.StatePaused), inState(messages.StateSuspended), inState(messages.StateBackoff),
			inState(messages.StateProbing), inState(messages.StateClosing), inState(messages.StateClosed),
		},
	},
	{
		Name: "actorpool.connection.connecting", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The number of connections for which Connect runs.",
		Parts:       one(number(func(s *messages.Stats) int { return s.Connecting })),
	},
	{
		Name: "actorpool.connection.in_transition", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The number of open connections on which Check, Reset, Apply or Unapply runs. They are used connections.",
		Parts:       one(number(func(s *messages.Stats) int { return s.InTransition })),
	},
	{
		Name: "actorpool.connection.closing", Unit: "{connection}", Kind: UpDownCounter,
		Description: "The number of connections for which Disconnect runs.",
		Parts:       one(number(func(s *messages.Stats) int { return s.Closing })),
	},
	{
		Name: "actorpool.function.given_up", Unit: "{function}", Kind: UpDownCounter,
		Description: "The number of functions that ignore their context and that the pool does not wait for any more.",
		Parts:       one(number(func(s *messages.Stats) int { return s.GivenUp })),
	},
	{
		Name: "actorpool.wait.longest", Unit: "s", Kind: Gauge,
		Description: "How long the Get has waited that waits now and came first. 0: none waits.",
		Parts:       one(func(m *messages.Measures) int64 { return int64(m.LongestWait) }),
	},
	{
		Name: "actorpool.lease.longest", Unit: "s", Kind: Gauge,
		Description: "How long, at least, the connection has been lent that is lent for longest. 0: none is lent.",
		Parts:       one(func(m *messages.Measures) int64 { return int64(m.LongestLease) }),
	},
	{
		Name: "actorpool.use_time.every", Unit: "{lease}", Kind: Gauge,
		Description: "How many leases there are to each one in use_time, on average. 1: all are in it.",
		Parts:       one(func(m *messages.Measures) int64 { return int64(m.UseEvery) }),
	},
	{
		Name: "actorpool.gets", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets, successful or not.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Gets })),
	},
	{
		Name: "actorpool.grants", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that got a connection.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Grants })),
	},
	{
		Name: "actorpool.waits", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that had to wait, successful or not.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Waits })),
	},
	{
		Name: "actorpool.cancels", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that ended because their context was cancelled or their borrower stopped.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Cancels })),
	},
	{
		Name: "actorpool.sheds", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that failed because the pool was overloaded (ShedHopeless, Shed).",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Sheds })),
	},
	{
		Name: "actorpool.deadlocks", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that failed because every connection was held by a caller that waited for another one.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Deadlocks })),
	},
	{
		Name: "actorpool.connects", Unit: "{connect}", Kind: Counter,
		Description: "The number of calls of Connect.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Connects })),
	},
	{
		Name: "actorpool.connect.errors", Unit: "{connect}", Kind: Counter,
		Description: "The number of calls of Connect that failed.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.ConnectErrors })),
	},
	{
		Name: "actorpool.backoffs", Unit: "{period}", Kind: Counter,
		Description: "The number of periods in which no connect began because connects had failed.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Backoffs })),
	},
	{
		Name: "actorpool.puts", Unit: "{lease}", Kind: Counter,
		Description: "The number of connections returned by Put.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Puts })),
	},
	{
		Name: "actorpool.taints", Unit: "{lease}", Kind: Counter,
		Description: "The number of connections returned by Taint.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Taints })),
	},
	{
		Name: "actorpool.hijacks", Unit: "{lease}", Kind: Counter,
		Description: "The number of connections that their holders have kept (Hijack).",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Hijacks })),
	},
	{
		Name: "actorpool.leaks", Unit: "{lease}", Kind: Counter,
		Description: "The number of leases reported as leaks.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Leaks })),
	},
	{
		Name: "actorpool.revoked", Unit: "{lease}", Kind: Counter,
		Description: "The number of leases that the pool ended without their holders.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Revoked })),
	},
	{
		Name: "actorpool.clears", Unit: "{clear}", Kind: Counter,
		Description: "The number of times that the pool was cleared.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.Generation })),
	},
	{
		Name: "actorpool.closed", Unit: "{connection}", Kind: Counter,
		Description: "The number of connections that the pool closed, by reason.",
		Attribute:   Reason,
		Parts: []Part{
			{Value: "idle", read: count(func(s *messages.Stats) uint64 { return s.ClosedIdle })},
			{Value: "lifetime", read: count(func(s *messages.Stats) uint64 { return s.ClosedLifetime })},
			{Value: "uses", read: count(func(s *messages.Stats) uint64 { return s.ClosedUses })},
			{Value: "stale", read: count(func(s *messages.Stats) uint64 { return s.ClosedStale })},
			{Value: "broken", read: count(func(s *messages.Stats) uint64 { return s.ClosedBroken })},
			{Value: "capacity", read: count(func(s *messages.Stats) uint64 { return s.ClosedCapacity })},
		},
	},
	{
		Name: "actorpool.setting.hits", Unit: "{request}", Kind: Counter,
		Description: "The number of Gets that got a connection which had their setting already.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.SettingHits })),
	},
	{
		Name: "actorpool.setting.switches", Unit: "{connection}", Kind: Counter,
		Description: "The number of settings put on a connection that had none.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.SettingSwitches })),
	},
	{
		Name: "actorpool.setting.resets", Unit: "{connection}", Kind: Counter,
		Description: "The number of settings removed because a Get needed another one.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.SettingResets })),
	},
	{
		Name: "actorpool.events.dropped", Unit: "{event}", Kind: Counter,
		Description: "The number of events dropped because OnEvent was too slow.",
		Parts:       one(count(func(s *messages.Stats) uint64 { return s.DroppedEvents })),
	},

	{
		Name: "actorpool.fleet.phase", Unit: "{member}", Kind: UpDownCounter,
		Description: "1 for the phase that the member of a fleet is in, 0 for the other phases.",
		Attribute:   FleetPhase,
		Parts:       []Part{inPhase("new"), inPhase("live"), inPhase("soft"), inPhase("hard"), inPhase("over")},
	},
	{
		Name: "actorpool.fleet.budget", Unit: "{connection}", Kind: Gauge,
		Description: "The budget of the fleet that the pool is in.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { return s.Budget }),
	},
	{
		Name: "actorpool.fleet.charge", Unit: "{connection}", Kind: UpDownCounter,
		Description: "What the budget is charged for this member.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { return s.Charge }),
	},
	{
		Name: "actorpool.fleet.target", Unit: "{connection}", Kind: UpDownCounter,
		Description: "What this member shall shrink to. Below the charge: the difference is asked back.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { return s.Target }),
	},
	{
		Name: "actorpool.fleet.want", Unit: "{connection}", Kind: UpDownCounter,
		Description: "How many connections this member has a use for.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { return s.Want }),
	},
	{
		Name: "actorpool.fleet.held", Unit: "{connection}", Kind: UpDownCounter,
		Description: "How many connections of this member may be open at the server.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { return s.Held }),
	},
	{
		Name: "actorpool.fleet.lost", Unit: "{connection}", Kind: Gauge,
		Description: "What the budget is charged for members whose lease has ended, as this member has read the ledger last.",
		Parts:       ofFleet(lost),
	},
	{
		Name: "actorpool.fleet.members", Unit: "{member}", Kind: Gauge,
		Description: "How many members of the fleet live, as this one has read the ledger last.",
		Parts:       ofFleet(func(s *messages.FleetStatus) int { _, alive := s.Charged(); return alive }),
	},
	{
		Name: "actorpool.fleet.proof.age", Unit: "s", Kind: Gauge,
		Description: "How long ago the last renewal of the member's lease was sent that the store has confirmed.",
		Parts:       ofFleet(func(s *messages.FleetStatus) time.Duration { return s.Proof }),
	},
	{
		Name: "actorpool.fleet.ttl", Unit: "s", Kind: Gauge,
		Description: "The time to live of the member's lease.",
		Parts:       ofFleet(func(s *messages.FleetStatus) time.Duration { return s.TTL }),
	},
	{
		Name: "actorpool.fleet.errors", Unit: "{operation}", Kind: Counter,
		Description: "The number of operations of the fleet's store and of Reclaim that failed.",
		Parts:       ofFleet(func(s *messages.FleetStatus) uint64 { return s.Errors }),
	},
}

// Seconds converts what is read of a metric in seconds.
func Seconds(ns int64) float64 { return time.Duration(ns).Seconds() }
