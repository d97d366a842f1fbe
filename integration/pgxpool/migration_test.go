//go:build unix

package pgxpool_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheProgramOfTheMigrationRuns: both sides of the diff in docs/migration/pgxpool.md are
// programs, and print the same.
func TestTheProgramOfTheMigrationRuns(t *testing.T) {
	server, admin := need(t)
	page, err := os.ReadFile("../../docs/migration/pgxpool.md")
	require.NoError(t, err)
	diff := regexp.MustCompile("(?s)```diff\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, diff)
	var before, after strings.Builder
	for line := range strings.Lines(string(diff[1])) {
		if line[0] != '+' {
			before.WriteString(line[1:])
		}
		if line[0] != '-' {
			after.WriteString(line[1:])
		}
	}
	require.NotEqual(t, before.String(), after.String())
	for _, program := range []string{before.String(), after.String()} {
		_, err = admin.Exec(within(t), "DROP TABLE IF EXISTS accounts; CREATE TABLE accounts AS SELECT 1 AS id, 500 AS cents")
		require.NoError(t, err)
		folder, err := os.MkdirTemp(".", "migration-") // inside this module, for its dependencies
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
		main := filepath.Join(folder, "main.go")
		require.NoError(t, os.WriteFile(main, []byte(program), 0o644))
		cmd := exec.Command("go", "run", "./"+main)
		cmd.Env = append(os.Environ(), "DATABASE_URL="+server.DSN("postgres", ""))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, "400\n", string(out))
	}
}
