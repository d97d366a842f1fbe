//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
