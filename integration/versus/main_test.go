//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// Both pools can be measured. The test does not check the numbers.
func TestCompare(t *testing.T) {
	var report strings.Builder
	err := compare(&report, 1, 50*time.Millisecond, []int{2, 16})
	servers.Require(t, err)
	assert.Contains(t, report.String(), "\n| 2 | ")
	assert.Contains(t, report.String(), "\n| 16 | ")
}

// Rows that somebody has forgotten cost nobody else anything. The test does not check the ratio:
// it may run on a busy machine.
func TestTraps(t *testing.T) {
	var report strings.Builder
	worst, err := traps(&report, 1, 300*time.Millisecond)
	servers.Require(t, err)
	require.Contains(t, report.String(), "of pgxpool: ")
	assert.Positive(t, worst.served)
	assert.Zero(t, worst.busy, "callers were lent a busy connection")
	assert.Zero(t, worst.failed)
}
