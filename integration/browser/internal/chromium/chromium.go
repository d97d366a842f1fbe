// Package chromium finds the browser.
package chromium

import (
	"os/exec"
	"testing"

	"github.com/actorpool/actorpool/internal/servers"
)

// Find gives the path of the browser, or a [*servers.MissingError].
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &servers.MissingError{Program: "chromium", Package: "chromium"}
}

// Require gives the path of the browser. Without it the test is skipped; with CI=true it
// fails.
func Require(t testing.TB) string {
	t.Helper()
	path, err := Find()
	servers.Require(t, err)
	return path
}
