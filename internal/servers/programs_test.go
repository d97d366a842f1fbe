//go:build unix

package servers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program is found in PATH, otherwise in the last folder that matches, and only if it
// can be executed.
func TestAProgramIsFound(t *testing.T) {
	dir := t.TempDir()
	pattern := filepath.Join(dir, "lib", "*", "bin")
	add := func(folder string, mode os.FileMode) string {
		path := filepath.Join(dir, folder, "server")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, mode))
		return path
	}
	expect := func(want string) {
		t.Helper()
		got, err := Find("server", "server-package", pattern)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	expectMissing := func() {
		t.Helper()
		_, err := Find("server", "server-package", pattern)
		var missing *MissingError
		require.ErrorAs(t, err, &missing)
		assert.Equal(t, "server is not installed: apt-get install server-package", err.Error())
	}
	t.Setenv("PATH", filepath.Join(dir, "path"))

	expectMissing()
	add("lib/14/bin", 0o644)
	expectMissing()
	expect(add("lib/15/bin", 0o755))
	expect(add("lib/16/bin", 0o755))
	expect(add("path", 0o755))
}
