package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// MissingError says that a program is not installed, and which package of Debian and
// Ubuntu contains it.
type MissingError struct{ Program, Package string }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.Program, e.Package)
}

// Require ends a test whose server could not be started. If the server is not installed, the
// test is skipped, except with CI=true. err may be nil.
func Require(t testing.TB, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Missing calls functions that look for programs, and returns an error for each program that
// is not installed.
func Missing(finders ...func() (string, error)) []error {
	var all []error
	for _, find := range finders {
		if _, err := find(); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Find looks for a program in PATH, and then in the folders that match patterns. The error is
// a MissingError with the package that contains the program.
func Find(program, pkg string, patterns ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path, err := Lookup(program, patterns...)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return "", &MissingError{Program: program, Package: pkg}
	}
	return path, nil
}

// Lookup looks for a file in the folders that match one of the patterns. Of several
// matches of a pattern it takes the last, which has the highest version.
func Lookup(name string, patterns ...string) (string, error) {
	for _, pattern := range patterns {
		if matches, _ := filepath.Glob(filepath.Join(pattern, name)); len(matches) > 0 {
			return matches[len(matches)-1], nil
		}
	}
	return "", fmt.Errorf("no %s in %s", name, strings.Join(patterns, ", "))
}
