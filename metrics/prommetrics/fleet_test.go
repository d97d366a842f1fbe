package prommetrics_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/server"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// member is a pool that is in a fleet.
type member struct {
	prommetrics.Pool
	status messages.FleetStatus
}

func (m member) Status() messages.FleetStatus { return m.status }

// Done is that of the pool, if it has one.
func (m member) Done() <-chan struct{} {
	if p, ok := m.Pool.(interface{ Done() <-chan struct{} }); ok {
		return p.Done()
	}
	return nil
}

// inFleet makes a pool a member of a fleet.
func inFleet(p prommetrics.Pool) member {
	return member{p, messages.FleetStatus{
		Key: "db", Incarnation: "web-7", Phase: "live", Budget: 97, Charge: 4, Target: 3, Want: 5, Held: 2, Capacity: 3, TTL: 15 * time.Second,
		Proof: 1500 * time.Millisecond, Errors: 8, Note: "fleet: a note",
		Fleet: []messages.FleetMember{{Incarnation: "web-7", Charge: 4, Alive: true}, {Incarnation: "web-8", Charge: 6, Alive: true}, {Incarnation: "web-9", Charge: 2}},
	}}
}

func TestAScrapeShowsAMemberOfAFleet(t *testing.T) {
	_, registry := collector(t, prommetrics.Options{}, inFleet(named("orders")), named("alone"))
	text := scrape(t, registry)
	for _, line := range []string{
		`# HELP actorpool_fleet_charge What the budget is charged for this member.`,
		`# TYPE actorpool_fleet_charge gauge`,
		`actorpool_fleet_phase{actorpool_fleet_phase="live",db_client_connection_pool_name="orders"} 1`,
		`actorpool_fleet_phase{actorpool_fleet_phase="hard",db_client_connection_pool_name="orders"} 0`,
		`actorpool_fleet_budget{db_client_connection_pool_name="orders"} 97`,
		`actorpool_fleet_charge{db_client_connection_pool_name="orders"} 4`,
		`actorpool_fleet_target{db_client_connection_pool_name="orders"} 3`,
		`actorpool_fleet_want{db_client_connection_pool_name="orders"} 5`,
		`actorpool_fleet_held{db_client_connection_pool_name="orders"} 2`,
		`actorpool_fleet_lost{db_client_connection_pool_name="orders"} 2`,
		`actorpool_fleet_members{db_client_connection_pool_name="orders"} 2`,
		`actorpool_fleet_proof_age_seconds{db_client_connection_pool_name="orders"} 1.5`,
		`actorpool_fleet_ttl_seconds{db_client_connection_pool_name="orders"} 15`,
		`# TYPE actorpool_fleet_errors_total counter`,
		`actorpool_fleet_errors_total{db_client_connection_pool_name="orders"} 8`,
	} {
		assert.Contains(t, text, line+"\n")
	}
	assert.Equal(t, 15, strings.Count(text, "\nactorpool_fleet_"), "a pool that is in no fleet has none of them")
	assert.NotContains(t, text, "web-7")
	assert.NotContains(t, text, "a note")
}

// The rules fire for a member that a real server scrapes.
func rulesFireForTheFleet(t *testing.T, s *server.Prometheus) {
	t.Helper()
	require.NoError(t, s.Until(bound, func() error {
		values, err := s.Query(`ALERTS{alertname="ActorpoolFleetHard",alertstate="firing"}`, "db_client_connection_pool_name")
		if err == nil && len(values) != 1 {
			err = fmt.Errorf("firing: %v", values)
		}
		return err
	}))
}
