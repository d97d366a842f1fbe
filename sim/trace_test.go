package sim_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/sim"
)

// machineFolder is the package whose tests read traces.
const machineFolder = "../actors/internal/machine"

// The machine's tests run the traces of simulations again, in a world of their own that
// checks each step, and the effects must be the same.
func TestTheMachinesTestsReadTheTraces(t *testing.T) {
	skipUnderRace(t)
	folder := t.TempDir()
	steps := 0
	for seed := range uint64(100) {
		d := draw(1000 + seed)
		d.workload.Gets = min(d.workload.Gets, 300)
		r := d.run(sim.WithTrace())
		require.NoError(t, r.Err)
		require.Equal(t, r.Steps, strings.Count(r.Trace, "\n----\n"), "a step is missing in the trace")
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("seed%d.txt", d.seed)), []byte(r.Trace), 0o600))
		steps += r.Steps
	}
	out, err := exec.Command("go", "test", "-count=1", "-run=^TestTraces$", machineFolder, "-traces="+filepath.Join(folder, "*.txt")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%d steps", steps)
}

var rewrite = flag.Bool("rewrite", false, "write the trace of the simulation in the machine's testdata anew")

// One short run is among the machine's own traces.
func TestASimulationIsAmongTheMachinesTraces(t *testing.T) {
	cfg := service()
	cfg.Capacity, cfg.MaxConnecting, cfg.Check, cfg.CheckAfterIdle = 3, 2, called, 5*time.Millisecond
	cfg.Backoff = client.Backoff{Base: 10 * time.Millisecond, Cap: 40 * time.Millisecond}
	r := sim.Run(cfg, sim.Workload{
		Gets: 40, Rate: 500, Hold: sim.Exponential(4 * time.Millisecond), Patience: sim.Exactly(60 * time.Millisecond), Broken: .1,
	}, sim.Server{
		Connect: sim.Exactly(3 * time.Millisecond), Check: sim.Exactly(time.Millisecond),
		Faults: []sim.Fault{{Kind: sim.Refuse, From: 30 * time.Millisecond, To: 50 * time.Millisecond}},
	}, 5, sim.WithTrace())
	require.NoError(t, r.Err)
	text := `# A simulation: 40 callers, and a server that refuses connects for 20 ms. Package sim has
# written it: go test ./sim -run AmongTheMachinesTraces -rewrite
` + strings.TrimRight(r.Trace, "\n") + "\n"
	path := filepath.Join(machineFolder, "testdata", "simulated.txt")
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), text)
}

func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	runs := 100
	if testkit.RaceEnabled() {
		runs = 20
	}
	for _, seed := range []uint64{2, 14, 103} { // with chaos, settings, actors
		first := draw(seed).run(sim.WithTrace())
		require.NoError(t, first.Err)
		for run := range runs {
			old := runtime.GOMAXPROCS([]int{1, 2, 8}[run%3])
			r := draw(seed).run(sim.WithTrace())
			runtime.GOMAXPROCS(old)
			require.Equal(t, first.Trace, r.Trace)
			require.Equal(t, first.String(), r.String())
		}
		other := draw(seed)
		other.seed++
		assert.NotEqual(t, first.Trace, other.run(sim.WithTrace()).Trace, "another seed, and the same run")
		assert.Equal(t, first.Steps, draw(seed).run(sim.CheckEvery(0)).Steps, "the checks have changed the run")
	}
}

// The callers depend on the seed, and not on the pool.
func TestAnotherCapacityHasTheSameCallers(t *testing.T) {
	var arrivals [2]string
	for i, capacity := range []int{4, 9} {
		cfg := client.Config[*conn]{Connect: service().Connect, Disconnect: called[*conn], Capacity: capacity}
		r := sim.Run(cfg, sim.Workload{Length: time.Second, Rate: 500, Hold: sim.Exponential(10 * time.Millisecond), Patience: sim.Exponential(time.Second)},
			sim.Server{Connect: sim.Exponential(time.Millisecond)}, 8, sim.WithTrace())
		require.NoError(t, r.Err)
		for line := range strings.SplitSeq(r.Trace, "\n") {
			if strings.HasPrefix(line, "get ") {
				arrivals[i] += line + "\n"
			}
		}
	}
	assert.NotEmpty(t, arrivals[0])
	assert.Equal(t, arrivals[0], arrivals[1])
}
