package browser

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/page"
)

// fleetScene is a scene that is a member of a fleet.
type fleetScene struct {
	*scene
	status atomic.Pointer[messages.FleetStatus]
}

func (s *fleetScene) Status() messages.FleetStatus { return *s.status.Load() }

// inFleet is a quiet pool in a fleet with 1,000 other members, one of which is dead.
func inFleet() *fleetScene {
	s := &fleetScene{scene: newScene(quiet())}
	status := messages.FleetStatus{
		Key: "search", Budget: 2000, Incarnation: "web-7-0a1b2c", Phase: "live", Charge: 8, Target: 8, Capacity: 8, Held: 4, Want: 9,
		TTL: 15 * time.Second, Proof: 1300 * time.Millisecond, ReadAgo: 200 * time.Millisecond,
		Fleet: []messages.FleetMember{
			{Incarnation: "web-7-0a1b2c", Charge: 8, Target: 8, Want: 9, Alive: true},
			{Incarnation: "web-8-dead", Charge: 3, Target: 3},
			{Incarnation: "<b>web-9</b>", Charge: 5, Target: 3, Alive: true},
		},
	}
	for i := range 998 {
		status.Fleet = append(status.Fleet, messages.FleetMember{Incarnation: fmt.Sprintf("job-%d", i), Charge: 1, Target: 1, Want: 1, Alive: true})
	}
	s.status.Store(&status)
	return s
}

func TestAFleetIsShownWithTheMembersThatMatter(t *testing.T) {
	b := open(t)
	s := inFleet()
	_, address := serve(t, page.Options{}, s, newScene(exhausted()))
	b.view(1280, 900)
	b.show(address)
	assert.Equal(t, "Fleet search: 1 000 members share 2 000 connections, 986 free", b.text("fleet-title"))
	assert.Equal(t, 200.0, eval[float64](b, "document.querySelectorAll('#fleet tbody tr').length"))
	assert.Contains(t, b.text("fleet-section"), "and 801 more")
	rows := eval[string](b, `[...document.querySelectorAll("#fleet tbody tr")].slice(0, 4).map(r => [...r.cells].map(c => c.textContent).join(" ")).join("|")`)
	assert.Equal(t, "web-7-0a1b2c 8 8 9 this member, lacks 1|web-8-dead 3 3 0 dead, and still charged|<b>web-9</b> 5 3 0 gives back 2|job-0 1 1 1 –", rows)
	assert.Equal(t, "own,marked", eval[string](b, `[...document.querySelectorAll("#fleet tbody tr")].slice(0, 2).map(r => r.className).join()`))
	facts := eval[string](b, `[...document.querySelectorAll("#fleet-facts div")].map(d => d.children[0].textContent + " " + d.children[1].textContent).join("|")`)
	assert.Equal(t, "budget 2 000|charged, all members 1 014|phase live|charged, this member 8|target 8|held 4|wanted 9|last proof 1.3s ago|time to live 15s|errors 0", facts)
	assert.Contains(t, b.text("notes"), "a member is dead and still charged for 3 connections")

	hard := s.Status()
	hard.Phase, hard.Capacity, hard.Note, hard.Fleet = "hard", 0, "fleet: store not reached for 17s, all is closed", nil
	s.status.Store(&hard)
	e := quiet()
	e.Conns, e.Holders = nil, nil
	e.Stats = messages.Stats{Name: "search", State: messages.StateReady, CapacityNote: hard.Note, Waiting: 3}
	s.show(e)
	b.until(`document.getElementById("sentence").innerText === "Capacity 0: fleet: store not reached for 17s, all is closed. 3 callers wait."`)
	assert.Equal(t, "Problem", b.text("word"))
	b.until(`document.getElementById("fleet").innerText.includes("The ledger has not been read yet.")`)

	b.view(400, 800)
	assert.LessOrEqual(t, eval[float64](b, "document.documentElement.scrollWidth"), 400.0, "it fits a phone")
	for _, dark := range []bool{false, true} {
		b.dark(dark)
		assert.Empty(t, eval[string](b, contrast))
	}
	b.show(address + "?pool=orders")
	b.until(`document.title.includes("orders")`)
	assert.True(t, eval[bool](b, `document.getElementById("fleet-section").hidden`), "a pool that is in no fleet")
}

// The example runs three processes that share a budget, and one of them serves the page.
func TestTheExampleOfAFleetShowsItsMembers(t *testing.T) {
	b := open(t)
	program := filepath.Join(t.TempDir(), "fleet")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../examples/fleet"
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	b.show(startProgram(t, exec.Command(program, "-http", "localhost:0")))
	b.until(`document.getElementById("fleet-title").innerText.startsWith("Fleet example: 3 members share 12 connections")`)
	b.until(`document.querySelector("#fleet tr.own") && document.querySelector("#fleet tr.own").innerText.includes("this member")`)
	names := eval[string](b, `[...document.querySelectorAll("#fleet tbody tr")].map(r => r.cells[0].textContent).join()`)
	for _, name := range []string{"one-", "two-", "three-"} {
		assert.Contains(t, names, name)
	}
	assert.True(t, strings.HasPrefix(names, "one-"), names)
	b.until(`document.getElementById("fleet-title").innerText.startsWith("Fleet example: 2 members")`) // three is killed
}
