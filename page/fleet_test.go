package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// inFleet is a member with a few others.
func inFleet(others ...messages.FleetMember) *fakeMember {
	f := &fakeMember{fake: newFake("orders")}
	f.status.Store(&messages.FleetStatus{
		Key: "orders", Budget: 20, Incarnation: "own", Phase: "live", Charge: 4, Target: 4, Capacity: 4, Held: 3, Want: 6,
		TTL: 15 * time.Second, Proof: 1200 * time.Millisecond, Errors: 2, ReadAgo: 300 * time.Millisecond,
		Fleet: append([]messages.FleetMember{{Incarnation: "own", Charge: 4, Target: 4, Want: 6, Alive: true}}, others...),
	})
	return f
}

// shownFleet is what a viewer gets of a fleet.
func shownFleet(t *testing.T, h *Handler) *fleet {
	t.Helper()
	var d struct{ Pool struct{ Fleet *fleet } }
	require.NoError(t, json.Unmarshal(get(h, "/data").Body.Bytes(), &d))
	return d.Pool.Fleet
}

func TestAMemberIsShownWithItsFleet(t *testing.T) {
	m := inFleet(
		messages.FleetMember{Incarnation: "idle", Charge: 1, Target: 1, Alive: true},
		messages.FleetMember{Incarnation: "lacks 1", Charge: 2, Target: 2, Want: 3, Alive: true},
		messages.FleetMember{Incarnation: "lacks 4", Want: 4, Alive: true},
		messages.FleetMember{Incarnation: "gives back", Charge: 5, Target: 3, Want: 3, Alive: true},
		messages.FleetMember{Incarnation: "dead", Charge: 2, Target: 2},
		messages.FleetMember{Incarnation: "busy", Charge: 3, Target: 3, Want: 3, Alive: true},
	)
	h := served(t, Options{}, m)
	f := shownFleet(t, h)
	require.NotNil(t, f)
	assert.Equal(t, []int{20, 17, 3, 6, 1, 2}, []int{f.Budget, f.Charged, f.Free, f.Alive, f.Dead, f.Lost})
	assert.Equal(t, []int{4, 4, 4, 3, 6}, []int{f.Charge, f.Target, f.Capacity, f.Held, f.Want})
	assert.Equal(t, []time.Duration{15 * time.Second, 1200 * time.Millisecond, 300 * time.Millisecond}, []time.Duration{f.TTL, f.Proof, f.ReadAgo})
	var order []string
	for _, m := range f.Members {
		order = append(order, m.Incarnation)
		assert.Equal(t, m.Incarnation == "own", m.Own, m.Incarnation)
	}
	assert.Equal(t, []string{"own", "dead", "gives back", "lacks 4", "lacks 1", "busy", "idle"}, order)
	assert.Contains(t, ask(t, h, "/data").Pool.Verdict.Notes, "Fleet: a member is dead and still charged for 2 connections.")

	text := get(h, "/text").Body.String()
	assert.Contains(t, text, `fleet "orders": 6 members alive, budget 20, charged 17, free 3; read 300ms ago
  this member: phase live, capacity 4, held 3, want 6; renewed 1.2s ago, TTL 15s; 2 errors
  own: charge 4, target 4, want 6 (this member)
  dead: charge 2, target 2, want 0 (dead)
  gives back: charge 5, target 3, want 3
`)
	var exported struct{ Pools []struct{ Fleet *fleet } }
	require.NoError(t, json.Unmarshal(get(h, "/json").Body.Bytes(), &exported))
	assert.Equal(t, f, exported.Pools[0].Fleet)

	s := m.Status()
	s.Note, s.Err, s.Fleet = "fleet: no quota", errors.New("no endpoint"), nil
	m.status.Store(&s)
	assert.Contains(t, newRedactor(Options{}).fleet(s).text(), "2 errors; fleet: no quota; last error: no endpoint\n")
	assert.Nil(t, shownFleet(t, served(t, Options{}, newFake("cache"))), "a pool that is in no fleet")
}

func TestALargeFleetIsShownInPart(t *testing.T) {
	var others []messages.FleetMember
	for i := range 1000 {
		others = append(others, messages.FleetMember{Incarnation: fmt.Sprintf("host-%04d-%s", i, "0123456789ab"), Charge: 1, Target: 1, Want: i % 7, Alive: i != 500})
	}
	m := inFleet(others...)
	h := served(t, Options{}, m)
	f := shownFleet(t, h)
	assert.Len(t, f.Members, maxRows)
	assert.Equal(t, 801, f.More)
	assert.Equal(t, 1000, f.Alive)
	assert.Equal(t, []string{"own", "host-0500-0123456789ab", "host-0006-0123456789ab"},
		[]string{f.Members[0].Incarnation, f.Members[1].Incarnation, f.Members[2].Incarnation})
	for _, target := range []string{"/data", "/json", "/text"} {
		assert.Less(t, get(h, target).Body.Len(), 40_000, target)
	}
	assert.Contains(t, get(h, "/text").Body.String(), "  and 801 more\n")
	assert.Equal(t, "host-0000-0123456789ab", m.Status().Fleet[1].Incarnation, "the member's own list stays as it is")
}

func TestAStatusThatFailsIsSaidAndHidesNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		status func(release chan struct{})
		want   string
	}{
		"panics": {func(chan struct{}) { panic("no <ledger>") }, "eading the fleet's status panics: no <ledger>"},
		"gone":   {func(chan struct{}) { runtime.Goexit() }, "eading the fleet's status ended the goroutine"},
		"blocks": {func(release chan struct{}) { <-release }, "eading the fleet's status: no answer within 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				bad := func() { c.status(release) }
				m := inFleet()
				m.onStatus.Store(&bad)
				begun := time.Now()
				h := served(t, Options{}, m)
				assert.LessOrEqual(t, time.Since(begun), moments, "New waits for no status")
				d := ask(t, h, "/data")
				assert.Equal(t, "orders", d.Pool.Key)
				assert.Equal(t, 2, d.Pools[0].Capacity)
				assert.Empty(t, d.Pool.Failed)

				time.Sleep(10 * period)
				synctest.Wait()
				d = ask(t, h, "/data")
				assert.Len(t, d.Pool.Chart.Ago, 11, "its numbers are read all the same")
				assert.Equal(t, warning, d.Pools[0].Verdict.Level)
				assert.Equal(t, []string{"R" + c.want + "."}, d.Pools[0].Verdict.Notes)
				assert.Equal(t, "Ready and quiet: no connection is out, 2 are idle.", d.Pools[0].Verdict.Sentence)
				assert.Contains(t, get(h, "/text").Body.String(), "r"+c.want+"\n")
				assert.Nil(t, shownFleet(t, h))

				good := func() {}
				m.onStatus.Store(&good)
				close(release)
				time.Sleep(2 * period)
				synctest.Wait()
				assert.NotNil(t, shownFleet(t, h), "it is back")
				assert.Empty(t, ask(t, h, "/data").Pool.Verdict.Notes)
			})
		})
	}
}

func TestAMemberThatIsDoneLeavesEvenIfItsStatusBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		block := func() { <-release }
		m := inFleet()
		m.onStatus.Store(&block)
		h := served(t, Options{}, m)
		time.Sleep(10 * period)
		close(m.done)
		time.Sleep(2 * period)
		synctest.Wait()
		v := ask(t, h, "/data").Pools[0].Verdict
		assert.Equal(t, []string{off, "closed"}, []string{v.Level, v.Kind})
		assert.Empty(t, v.Notes)
		time.Sleep(2 * farewell)
		synctest.Wait()
		assert.Empty(t, ask(t, h, "/data").Pools)
		close(release)
	})
}
