package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the folder of the main module's go.mod.
func root(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		require.NotEqual(t, folder, parent, "there is no go.mod above the working directory")
		folder = parent
	}
}

// repository gives the files of all modules.
func repository(t *testing.T) fs.FS {
	t.Helper()
	return os.DirFS(root(t))
}

// filesOf lists the files whose name ends in one of the suffixes, sorted. Folders
// whose name begins with a dot are left out.
func filesOf(t *testing.T, files fs.FS, suffixes ...string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		if slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) }) {
			found = append(found, name)
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// codeOf lists the Go files that are no tests, by folder.
func codeOf(t *testing.T, files fs.FS) map[string][]string {
	t.Helper()
	folders := make(map[string][]string)
	for _, name := range filesOf(t, files, ".go") {
		if !strings.HasSuffix(name, "_test.go") {
			folders[path.Dir(name)] = append(folders[path.Dir(name)], name)
		}
	}
	return folders
}

// parse reads one Go file.
func parse(t *testing.T, files fs.FS, positions *token.FileSet, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(positions, name, read(t, files, name), parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return file
}

// read gives the text of a file.
func read(t *testing.T, files fs.FS, name string) string {
	t.Helper()
	text, err := fs.ReadFile(files, name)
	require.NoError(t, err)
	return string(text)
}

// report fails the test with each fault on a line of its own.
func report(t *testing.T, faults []string) {
	t.Helper()
	for _, fault := range faults {
		t.Error(fault)
	}
}
