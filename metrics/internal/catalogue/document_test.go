package catalogue

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var row = regexp.MustCompile("(?m)^\\| `((?:db\\.client|actorpool)\\.[a-z_.]+)` \\| ([a-z-]+(?: counter)?) \\| (\\S+) \\| (.*) \\|$")

var kinds = map[Kind]string{Counter: "counter", UpDownCounter: "up-down counter", Gauge: "gauge"}

func TestTheDocumentListsEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../../docs/metrics.md")
	require.NoError(t, err)
	var documented []string
	meanings := map[string]string{}
	for _, r := range row.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, r[1]+" "+r[2]+" "+r[3])
		meanings[r[1]] = r[4]
	}
	var all []string
	for _, m := range Metrics {
		all = append(all, m.Name+" "+kinds[m.Kind]+" "+m.Unit)
		if m.Attribute != "" {
			assert.Contains(t, meanings[m.Name], "`"+m.Attribute+"`")
			for _, p := range m.Parts {
				assert.Contains(t, meanings[m.Name], "`"+p.Value+"`", m.Name)
			}
		}
	}
	for _, h := range Histograms {
		all = append(all, h.Name+" histogram s")
	}
	assert.ElementsMatch(t, all, documented)
	// A histogram of classic buckets has these, _count, _sum and the bucket of infinity.
	assert.Contains(t, strings.Join(strings.Fields(string(text)), " "), fmt.Sprintf(
		"A pool has %d numbers and three histograms. As time series in Prometheus that is %d with native histograms and %d with classic ones.",
		parts-fleetParts, parts-fleetParts+len(Histograms), parts-fleetParts+len(Histograms)*(19+3)))
	assert.Contains(t, strings.Join(strings.Fields(string(text)), " "), fmt.Sprintf("A member of a fleet has %d more.", fleetParts))
}
