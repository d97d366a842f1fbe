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
	servers.Require(t, compare(&report, 1, 100*time.Millisecond))
	assert.Contains(t, report.String(), "\n| without `Reserve` | ")
	assert.Contains(t, report.String(), "\nratio ")
}
