//go:build unix

package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// Both pools can be compared. What comes out is no matter for a test.
func TestCompare(t *testing.T) {
	var report strings.Builder
	err := compare(&report, 1, 50*time.Millisecond, []int{2, 16})
	var missing *servers.MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	require.NoError(t, err)
	assert.Contains(t, report.String(), "\n| 2 | ")
	assert.Contains(t, report.String(), "\n| 16 | ")
}
