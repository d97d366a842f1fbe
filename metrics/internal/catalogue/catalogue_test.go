package catalogue

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"

	"github.com/actorpool/actorpool/messages"
)

// convention is what the generated code says of an instrument.
type convention interface {
	Name() string
	Unit() string
	Description() string
}

func TestTheNamesAreThoseOfTheSemanticConventions(t *testing.T) {
	want := map[string]struct {
		convention
		kind Kind
	}{}
	for kind, instruments := range map[Kind][]convention{
		UpDownCounter: {
			dbconv.ClientConnectionCountObservable{}, dbconv.ClientConnectionMaxObservable{}, dbconv.ClientConnectionIdleMaxObservable{},
			dbconv.ClientConnectionIdleMinObservable{}, dbconv.ClientConnectionPendingRequestsObservable{},
		},
		Counter: {dbconv.ClientConnectionTimeoutsObservable{}},
	} {
		for _, i := range instruments {
			want[i.Name()] = struct {
				convention
				kind Kind
			}{i, kind}
		}
	}
	for _, m := range Metrics {
		c, ok := want[m.Name]
		if !ok {
			assert.True(t, strings.HasPrefix(m.Name, "actorpool."), "%s is of no convention", m.Name)
			continue
		}
		assert.Equal(t, c.Unit(), m.Unit, m.Name)
		assert.Equal(t, c.Description(), m.Description, m.Name)
		assert.Equal(t, c.kind, m.Kind, m.Name)
		delete(want, m.Name)
	}
	assert.Empty(t, want, "missing")
	for i, c := range []convention{dbconv.ClientConnectionCreateTime{}, dbconv.ClientConnectionWaitTime{}, dbconv.ClientConnectionUseTime{}} {
		assert.Equal(t, c.Name(), Histograms[i].Name)
		assert.Equal(t, c.Description(), Histograms[i].Description)
		assert.Equal(t, "s", c.Unit())
	}
	assert.Len(t, Histograms, 3)

	assert.EqualValues(t, semconv.DBClientConnectionPoolNameKey, PoolName)
	assert.EqualValues(t, semconv.DBClientConnectionStateKey, ConnectionState)
	assert.Equal(t, semconv.SchemaURL, SchemaURL)
	assert.EqualValues(t, dbconv.ClientConnectionStateIdle, Metrics[0].Parts[0].Value)
	assert.EqualValues(t, dbconv.ClientConnectionStateUsed, Metrics[0].Parts[1].Value)
}

func TestNamesAreUniqueAndDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Metrics {
		assert.False(t, seen[m.Name], m.Name)
		seen[m.Name] = true
		assert.NotEmpty(t, m.Unit, m.Name)
		assert.True(t, strings.HasSuffix(m.Description, "."), m.Name)
		assert.Equal(t, m.Attribute == "", len(m.Parts) == 1, m.Name)
	}
}

// Fields of Stats that are in no metric of their own, and why.
var elsewhere = map[string]string{
	"Name":             "the attribute of every metric",
	"CapacityNote":     "a text",
	"Open":             "the sum of connection.count",
	"LastConnectError": "a text",
	"NextAttempt":      "a time; the state says that the pool backs off",
	"GrantedWaits":     "the count of wait_time above 0",
	"WaitTime":         "the sum of wait_time",
}

func TestEveryFieldOfStatsIsInAMetric(t *testing.T) {
	before := take(&messages.Measures{}, nil).Values
	stats := reflect.TypeOf(messages.Stats{})
	for i := range stats.NumField() {
		var m messages.Measures
		name := stats.Field(i).Name
		field := reflect.ValueOf(&m.Stats).Elem().Field(i)
		switch field.Kind() {
		case reflect.Int:
			field.SetInt(7)
		case reflect.Uint64:
			field.SetUint(7)
		case reflect.String:
			if name == "State" {
				field.SetString(messages.StateBackoff)
			}
		}
		changed := !reflect.DeepEqual(before, take(&m, nil).Values)
		if _, ok := elsewhere[name]; ok {
			assert.False(t, changed, "%s is in a metric", name)
		} else {
			assert.True(t, changed, "%s is in no metric", name)
		}
	}
}

// Fields of FleetStatus that are in no metric of their own, and why.
var elsewhereOfFleet = map[string]string{
	"Key":         "a text",
	"Incarnation": "a text, and another one after each restart",
	"Note":        "a text",
	"Capacity":    "connection.max",
	"Err":         "a text",
	"Fleet":       "fleet.members and fleet.lost",
	"ReadAgo":     "an age that says nothing by itself",
}

func TestEveryFieldOfFleetStatusIsInAMetric(t *testing.T) {
	before := take(&messages.Measures{}, &messages.FleetStatus{}).Values
	status := reflect.TypeOf(messages.FleetStatus{})
	for i := range status.NumField() {
		var s messages.FleetStatus
		name := status.Field(i).Name
		switch field := reflect.ValueOf(&s).Elem().Field(i); {
		case field.CanInt():
			field.SetInt(7)
		case field.CanUint():
			field.SetUint(7)
		case name == "Phase":
			s.Phase = "soft"
		}
		changed := !reflect.DeepEqual(before, take(&messages.Measures{}, &s).Values)
		if _, ok := elsewhereOfFleet[name]; ok {
			assert.False(t, changed, "%s is in a metric", name)
		} else {
			assert.True(t, changed, "%s is in no metric", name)
		}
	}
}

func TestOnlyAMemberOfAFleetHasTheMetricsOfOne(t *testing.T) {
	s := messages.FleetStatus{
		Phase: "hard", Budget: 97, Charge: 4, Target: 3, Want: 5, Held: 2, TTL: 15e9, Proof: 16e9, Errors: 8,
		Fleet: []messages.FleetMember{{Charge: 4, Alive: true}, {Charge: 6, Alive: true}, {Charge: 3}, {Charge: 2}},
	}
	got := map[string]int64{}
	take(&messages.Measures{}, &s).Each(func(i, part int, value int64) {
		if Metrics[i].OfFleet() && value != 0 {
			got[strings.TrimSuffix(strings.TrimPrefix(Metrics[i].Name, "actorpool.fleet.")+" "+Metrics[i].Parts[part].Value, " ")] = value
		}
	})
	require.Equal(t, map[string]int64{
		"phase hard": 1, "budget": 97, "charge": 4, "target": 3, "want": 5, "held": 2, "ttl": 15e9, "proof.age": 16e9, "errors": 8, "members": 2, "lost": 5,
	}, got)
	numbers := 0
	take(&messages.Measures{}, nil).Each(func(i, _ int, _ int64) {
		numbers++
		assert.False(t, Metrics[i].OfFleet(), Metrics[i].Name)
	})
	assert.Equal(t, parts-fleetParts, numbers)
}

func TestTheNumbersOfAPartAreItsOwn(t *testing.T) {
	m := messages.Measures{Stats: messages.Stats{Idle: 1, Borrowed: 2, InTransition: 4, ClosedStale: 8, State: messages.StatePaused}, LongestWait: 1.5e9, LongestLease: 3e9, UseEvery: 16}
	got := map[string]int64{}
	take(&m, nil).Each(func(i, part int, value int64) {
		if value != 0 {
			got[strings.TrimSuffix(Metrics[i].Name+" "+Metrics[i].Parts[part].Value, " ")] = value
		}
	})
	require.Equal(t, map[string]int64{
		"db.client.connection.count idle": 1, "db.client.connection.count used": 6, "actorpool.connection.in_transition": 4,
		"actorpool.closed stale": 8, "actorpool.state paused": 1, "actorpool.wait.longest": 1.5e9,
		"actorpool.lease.longest": 3e9, "actorpool.use_time.every": 16,
	}, got)
	assert.InDelta(t, 1.5, Seconds(1.5e9), 0)
}
