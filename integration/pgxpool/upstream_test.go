//go:build unix

package pgxpool_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

var (
	upstreamRace  = flag.Bool("upstream-race", false, "run the tests of pgx's pool under the race detector")
	upstreamCount = flag.Int("upstream-count", 1, "how many times to run the tests of pgx's pool")
)

const (
	pgxModule = "github.com/jackc/pgx/v5"
	adapter   = "github.com/actorpool/actorpool/adapters/pgxpool"
)

// upstreamTests is how many tests pgx's pool has, without its benchmarks, in the version
// that go.mod names. It is here so that a run in which tests were lost does not pass.
const upstreamTests = 71

// different are the tests of pgx's pool that cannot pass, because of a difference that
// docs/pgxpool.md explains.
var different = []string{"TestPoolBackgroundConnectionsContext", "TestPoolAcquireDestroysExpiredIdleConn"}

// TestUpstream runs the tests of pgx's own pool against the adapter, as they are in the
// module cache: only their import paths are changed. They are copied into a module of
// their own in a temporary folder.
func TestUpstream(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	server, err := servers.StartPostgres("max_connections = 200")
	servers.Require(t, err)
	defer func() { assert.NoError(t, server.Close()) }()

	scratch := t.TempDir()
	source := output(t, ".", "go", "list", "-m", "-f", "{{.Dir}}", pgxModule)
	rewrites := strings.NewReplacer(
		`"`+pgxModule+`/pgxpool"`, `"`+adapter+`"`,
		`"`+pgxModule+`/internal/pgmock"`, `"upstream/pgmock"`)
	isTest := func(name string) bool { return strings.HasSuffix(name, "_test.go") }
	copyGo(t, filepath.Join(source, "pgxpool"), scratch, rewrites, isTest)
	copyGo(t, filepath.Join(source, "internal", "pgmock"), filepath.Join(scratch, "pgmock"), rewrites,
		func(name string) bool { return !isTest(name) })
	// The versions are those of this module, so nothing has to be downloaded.
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(scratch, name), content, 0o644))
	}
	edit := []string{"mod", "edit", "-module=upstream"}
	for module, folder := range map[string]string{"github.com/actorpool/actorpool": "../..", adapter: "../../adapters/pgxpool"} {
		folder, err := filepath.Abs(folder)
		require.NoError(t, err)
		edit = append(edit, "-replace="+module+"="+folder)
	}
	output(t, scratch, "go", edit...)

	args := []string{"test", "-mod=mod", "-json", fmt.Sprint("-count=", *upstreamCount), "-timeout=9m"}
	if *upstreamRace {
		args = append(args, "-race")
	}
	if len(different) > 0 {
		args = append(args, "-skip", "^("+strings.Join(different, "|")+")$")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = scratch
	cmd.Env = append(os.Environ(), "PGX_TEST_DATABASE="+server.DSN("postgres", ""), "GOFLAGS=")
	out, err := cmd.Output()
	r := readEvents(t, out)
	for _, name := range r.failed {
		t.Errorf("%s:\n%s", name, r.outputs[name])
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(r.failed) == 0 {
		t.Fatalf("%v\n%s\n%s", err, exit.Stderr, r.outputs[""])
	}
	assert.Empty(t, r.skipped)
	assert.Len(t, append(r.passed, r.failed...), upstreamTests-len(different))
	t.Logf("%d passed, %d cannot", len(r.passed), len(different))
}

// output runs a command and returns what it prints.
func output(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %v: %s", cmd, err, exit.Stderr)
	}
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// copyGo copies the Go files of a folder that are wanted, with other import paths.
func copyGo(t *testing.T, from, to string, rewrites *strings.Replacer, wanted func(name string) bool) {
	t.Helper()
	require.NoError(t, os.MkdirAll(to, 0o755))
	files, err := filepath.Glob(filepath.Join(from, "*.go"))
	require.NoError(t, err)
	copied := 0
	for _, file := range files {
		if !wanted(filepath.Base(file)) {
			continue
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		copied++
		require.NoError(t, os.WriteFile(filepath.Join(to, filepath.Base(file)), []byte(rewrites.Replace(string(content))), 0o644))
	}
	require.NotZero(t, copied, "no Go file in %s", from)
}

// results are the names of tests, without subtests, and what each has printed.
type results struct {
	passed, failed, skipped []string
	outputs                 map[string]string
}

var subtest = regexp.MustCompile(`/.*`)

func readEvents(t *testing.T, out []byte) results {
	t.Helper()
	r := results{outputs: make(map[string]string)}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // the compiler's output
		}
		name := subtest.ReplaceAllString(e.Test, "")
		r.outputs[name] += e.Output
		if e.Test != name || name == "" {
			continue
		}
		add := func(list *[]string) {
			if !slices.Contains(*list, name) {
				*list = append(*list, name)
			}
		}
		switch e.Action {
		case "pass":
			add(&r.passed)
		case "fail":
			add(&r.failed)
		case "skip":
			add(&r.skipped)
		}
	}
	require.NoError(t, lines.Err())
	r.passed = slices.DeleteFunc(r.passed, func(name string) bool { return slices.Contains(r.failed, name) })
	return r
}
