package sim_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/sim"
)

// machineFolder is the package whose tests read traces.
const machineFolder = "../actors/internal/machine"

// The machine's tests run the traces of simulations again, in a world of their own that
// checks each step, and the effects must be the same.
func TestTheMachinesTestsReadTheTraces(t *testing.T) {
	folder := t.TempDir()
	for seed := range uint64(40) {
		d := draw(1000 + seed)
		d.workload.Gets = min(d.workload.Gets, 300)
		r := d.run(sim.WithTrace())
		require.NoError(t, r.Err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("seed%d.txt", d.seed)), []byte(r.Trace), 0o600))
	}
	out, err := exec.Command("go", "test", "-count=1", "-run=^TestTraces$", machineFolder, "-traces="+filepath.Join(folder, "*.txt")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
