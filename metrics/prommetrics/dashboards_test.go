package prommetrics_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/actorpool/actorpool/internal/servers"
	"github.com/actorpool/actorpool/metrics/internal/server"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// panel is what the tests read of a panel of the dashboard.
type panel struct {
	ID          int
	Title       string
	Description string
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ Expr, LegendFormat string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("../dashboard.json")
	require.NoError(t, err)
	var d struct {
		Title  string
		Panels []panel
	}
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d.Panels
}

// rule is an alert rule.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("../alerts.yml")
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Len(t, file.Groups, 1)
	require.NotEmpty(t, file.Groups[0].Rules)
	return file.Groups[0].Rules
}

// ours are the words in an expression that can only be a metric or a label of a pool.
var ours = regexp.MustCompile(`\b(?:db_client_connection|actorpool)_\w+`)

// words are the names of all metrics and labels that there are.
func words(t *testing.T) map[string]bool {
	t.Helper()
	_, registry := collector(t, prommetrics.Options{}, inFleet(named("orders")))
	known := map[string]bool{}
	for name, f := range gather(t, registry) {
		known[name] = true
		for _, m := range f.Metric {
			for _, l := range m.Label {
				known[l.GetName()] = true
			}
			if m.Histogram != nil {
				known[name+"_bucket"], known[name+"_count"], known[name+"_sum"] = true, true, true
			}
		}
	}
	return known
}

func TestTheDashboardNamesOnlyMetricsThatThereAre(t *testing.T) {
	known, ids := words(t), map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range dashboard(t) {
		assert.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		assert.True(t, strings.HasSuffix(p.Description, "."), "%s: %q", p.Title, p.Description)
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			found := ours.FindAllString(target.Expr, -1)
			assert.NotEmpty(t, found, target.Expr)
			for _, word := range append(found, ours.FindAllString(target.LegendFormat, -1)...) {
				assert.True(t, known[word], "%s: there is no %s", p.Title, word)
			}
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Less(t, at[0], 24, p.Title)
				assert.Empty(t, taken[at], "%s lies over another panel", p.Title)
				taken[at] = p.Title
			}
		}
	}
}

func TestTheAlertsNameOnlyMetricsThatThereAre(t *testing.T) {
	known, seen := words(t), map[string]bool{}
	for _, r := range alerts(t) {
		assert.False(t, seen[r.Alert], r.Alert)
		seen[r.Alert] = true
		found := ours.FindAllString(r.Expr, -1)
		assert.NotEmpty(t, found, r.Alert)
		texts := strings.Join(slices.Collect(maps.Values(r.Annotations)), " ")
		for _, word := range append(found, ours.FindAllString(texts, -1)...) {
			assert.True(t, known[word], "%s: there is no %s", r.Alert, word)
		}
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.True(t, strings.HasSuffix(r.Annotations["runbook"], "."), r.Alert)
	}
	for _, alert := range []string{"Exhausted", "Backoff", "Leak", "Timeouts", "SlowWaits", "Saturated"} {
		assert.True(t, seen["Actorpool"+alert], alert)
	}
}

// promtool runs promtool in the folder of the rules.
func promtool(t *testing.T, input string, args ...string) (output string, err error) {
	t.Helper()
	program, err := server.Find("promtool")
	servers.Require(t, err)
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = "..", strings.NewReader(input)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func TestPromtoolAcceptsTheRulesAndTheirTests(t *testing.T) {
	output, err := promtool(t, "", "check", "rules", "alerts.yml")
	require.NoError(t, err, output)
	output, err = promtool(t, "", "test", "rules", "alerts_test.yml")
	require.NoError(t, err, output)
	text, err := os.ReadFile("../alerts_test.yml")
	require.NoError(t, err)
	for _, r := range alerts(t) {
		assert.Contains(t, string(text), `alertname="`+r.Alert+`"`, "it has no test")
	}
}

// Its only complaint is a name that is the conventions' and the exporter's.
func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	_, registry := collector(t, prommetrics.Options{}, inFleet(named("orders")))
	output, _ := promtool(t, scrape(t, registry), "check", "metrics")
	assert.Equal(t, `db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix`, strings.TrimSpace(output))
}
