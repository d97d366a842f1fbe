package sim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/sim"
)

// faults are faults that the machine could have. Each replaces some of its source, which
// must be there exactly once; faulty(n) is true in a run with that fault.
var faults = []struct {
	words    string
	file     string
	old, new string
}{
	{
		"a second return ends the lease of the connection's next holder", "state.go",
		"return s.state == borrowed && s.ID == id && s.LeaseEpoch == epoch",
		"return s.state == borrowed && s.ID == id && (s.LeaseEpoch == epoch || faulty(N))",
	},
	{
		"a timer that was stopped ends the blocking period of another", "machine.go",
		"m.backoff.phase != backoffBlocked || m.backoff.epoch != epoch ||",
		"m.backoff.phase != backoffBlocked || m.backoff.epoch != epoch && !faulty(N) ||",
	},
	{
		"no timer is set for a blocking period", "backoff.go",
		"\tm.effect(Effect{Kind: ArmBackoff,",
		"\tif faulty(N) {\n\t\treturn\n\t}\n\tm.effect(Effect{Kind: ArmBackoff,",
	},
	{
		"the newest of those that wait is served first", "waiter.go",
		"\tif setting == nil {\n\t\treturn l.clean.head\n\t}",
		"\tif setting == nil {\n\t\tif faulty(N) {\n\t\t\treturn l.clean.tail\n\t\t}\n\t\treturn l.clean.head\n\t}",
	},
	{
		"there may be one connection more than the capacity", "state.go",
		"return m.freePermits() > 0 && m.occupied() < m.capacity",
		"return m.freePermits() > 0 && (m.occupied() < m.capacity || faulty(N) && m.occupied() == m.capacity)",
	},
	{
		"a connection that is lent survives a Clear", "state.go",
		"\tcase s.generation != m.generation:\n\t\treturn messages.ReasonStale",
		"\tcase s.generation != m.generation && !faulty(N):\n\t\treturn messages.ReasonStale",
	},
	{
		"a connection is lent after its MaxLifetime", "state.go",
		"return s.expires > 0 && s.expires <= m.now",
		"return s.expires > 0 && s.expires <= m.now && !faulty(N)",
	},
	{
		"a connection on which a job has failed is lent again", "outcomes.go",
		"\tcase err != nil && m.condemned(s) == 0:\n\t\tm.unassign(s)\n\t\tm.closeConn(s, messages.ReasonError, err)",
		"\tcase err != nil && m.condemned(s) == 0 && !faulty(N):\n\t\tm.unassign(s)\n\t\tm.closeConn(s, messages.ReasonError, err)",
	},
	{
		"a connection is lent with the setting of its last holder", "settle.go",
		"\tif w.Setting == setting {\n\t\tm.grant(w, s)",
		"\tif w.Setting == setting || faulty(N) {\n\t\tm.grant(w, s)",
	},
	{
		"the connect of a caller that has left serves nobody else", "settle.go",
		"for len(m.jobs.unclaimed) > 0 && m.queue.unstarted > 0 {",
		"for len(m.jobs.unclaimed) > 0 && m.queue.unstarted > 0 && !faulty(N) {",
	},
	{
		"an actor that has stopped keeps its connections", "machine.go",
		"\tfor len(b.slots) > 0 {",
		"\tfor len(b.slots) > 0 && !faulty(N) {",
	},
	{
		"a deadlock among callers is not noticed", "settle.go",
		"held > 0 && !m.cfg.Shared && held == m.count[borrowed]",
		"held > 0 && !m.cfg.Shared && !faulty(N) && held == m.count[borrowed]",
	},
	{
		"Close is answered while connections are being closed", "settle.go",
		"m.phase == phaseOpen || m.counted() > 0 || m.jobs.givenUpClosing > 0",
		"m.phase == phaseOpen || m.counted() > 0 && !faulty(N) || m.jobs.givenUpClosing > 0",
	},
}

// faultVariable says in the environment of a child which fault its machine has, and
// traceVariable where it writes the trace of the run that fails.
const (
	faultVariable = "ACTORPOOL_FAULT"
	traceVariable = "ACTORPOOL_TRACE"
)

// switches is the file that the machine has besides its own.
const switches = `package machine

import (
	"os"
	"strconv"
)

var fault, _ = strconv.Atoi(os.Getenv("` + faultVariable + `"))

func faulty(n int) bool { return fault == n }
`

// within is after how many steps each fault must have been found.
const within = 100_000

// The faults are in a copy of the machine's source, which the go command lays over the
// real one: a child process runs simulations with each of them. So the machine itself
// has no switch for a fault. Without a fault the child finds nothing.
func TestEachFaultInTheMachineIsCaught(t *testing.T) {
	skipUnderRace(t)
	folder, err := filepath.Abs(machineFolder)
	require.NoError(t, err)
	temp := t.TempDir()
	sources := map[string]string{"faulty.go": switches}
	for i, f := range faults {
		if sources[f.file] == "" {
			source, err := os.ReadFile(filepath.Join(folder, f.file))
			require.NoError(t, err)
			sources[f.file] = string(source)
		}
		require.Equal(t, 1, strings.Count(sources[f.file], f.old), "%s: what it replaces has changed", f.words)
		sources[f.file] = strings.Replace(sources[f.file], f.old, strings.ReplaceAll(f.new, "faulty(N)", "faulty("+strconv.Itoa(i+1)+")"), 1)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, source := range sources {
		copied := filepath.Join(temp, name)
		require.NoError(t, os.WriteFile(copied, []byte(source), 0o600))
		overlay["Replace"][filepath.Join(folder, name)] = copied
	}
	text, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(temp, "overlay.json"), text, 0o600))
	binary := filepath.Join(temp, "sim.test")
	out, err := exec.Command("go", "test", "-c", "-overlay="+filepath.Join(temp, "overlay.json"), "-o="+binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	words := []string{"none"}
	for _, f := range faults {
		words = append(words, f.words)
	}
	traces := t.TempDir()
	for n, fault := range words {
		t.Run(fault, func(t *testing.T) {
			child := exec.Command(binary, "-test.run=^TestOneFault$", "-test.v")
			child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", faultVariable, n), fmt.Sprintf("%s=%s", traceVariable, filepath.Join(traces, fmt.Sprintf("fault%d.txt", n))))
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%s", out)
			_, found, caught := strings.Cut(string(out), "caught: ")
			line, _, _ := strings.Cut(found, "\n")
			t.Log(line)
			assert.Equal(t, n > 0, caught, "%s", out)
		})
	}
	// The machine's tests read the traces, and find the step in which the real machine
	// decides otherwise.
	out, err = exec.Command("go", "test", "-count=1", "-run=^TestTraces$", machineFolder, "-traces="+filepath.Join(traces, "*.txt")).CombinedOutput()
	assert.Error(t, err)
	differs := regexp.MustCompile(`--- FAIL: TestTraces/fault(\d+)`).FindAllSubmatch(out, -1)
	assert.GreaterOrEqual(t, len(differs), 10, "%s", out)
	assert.Len(t, regexp.MustCompile(`found:|output didn't match`).FindAll(out, -1), len(differs), "%s", out)
}

// TestOneFault is the child of TestEachFaultInTheMachineIsCaught.
func TestOneFault(t *testing.T) {
	if os.Getenv(faultVariable) == "" {
		t.Skip("TestEachFaultInTheMachineIsCaught runs it")
	}
	done := 0
	for seed := uint64(1); done < within; seed++ {
		r := draw(seed).run()
		if r.Err != nil && done+r.Steps <= within {
			var f *sim.Failure
			require.ErrorAs(t, r.Err, &f)
			assert.Equal(t, f.Step, strings.Count(r.Trace, "\n----\n"), "the trace ends with the step that fails")
			assert.Contains(t, r.String(), f.What)
			require.NoError(t, os.WriteFile(os.Getenv(traceVariable), []byte(r.Trace), 0o600))
			t.Logf("caught: after %d steps, %v", done+r.Steps, r.Err)
			return
		}
		done += r.Steps
	}
	t.Logf("nothing was found in %d steps", done)
}
