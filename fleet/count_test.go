package fleet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/servers"
)

// A Get and a Put take the same instructions with a member beside the pool as without one.
// They are counted by valgrind. Where the machine is slow, Go may let the member run within a
// Get, which then counts as part of it: that can only add, so the least of three is right.
func TestAMemberCostsAGetAndAPutNothing(t *testing.T) {
	valgrind, err := servers.Find("valgrind", "valgrind")
	servers.Require(t, err)
	program := filepath.Join(t.TempDir(), "getput")
	output, err := exec.Command("go", "build", "-o", program, "./internal/getput").CombinedOutput()
	require.NoError(t, err, "%s", output)
	counted := regexp.MustCompile(`Collected : (\d+)`)
	const n = 10_000
	once := func(member string) float64 {
		cmd := exec.Command(valgrind, "--tool=callgrind", "--callgrind-out-file="+os.DevNull, "--toggle-collect=main.cycle", program, member, strconv.Itoa(n))
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off") // an instruction that valgrind lacks
		output, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", output)
		found := counted.FindSubmatch(output)
		require.NotNil(t, found, "%s", output)
		sum, err := strconv.ParseFloat(string(found[1]), 64)
		require.NoError(t, err)
		return sum / n
	}
	count := func(member string) float64 { return min(once(member), once(member), once(member)) }
	without, with := count("without"), count("with")
	t.Logf("instructions of a Get and a Put: %.1f without a member, %.1f with one", without, with)
	assert.Greater(t, without, 100.0, "something was counted")
	assert.LessOrEqual(t, with, without*1.005)
}
