// Package chromium finds the browser.
package chromium

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// MissingError says that the browser is not installed, and which package contains it.
type MissingError struct{ Program, Package string }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.Program, e.Package)
}

// Find gives the path of the browser, or a [*MissingError].
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{Program: "chromium", Package: "chromium"}
}

// Require gives the path of the browser. Without it the test is skipped; with CI=true it
// fails.
func Require(t testing.TB) string {
	t.Helper()
	path, err := Find()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return path
}
