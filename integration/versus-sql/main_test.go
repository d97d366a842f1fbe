//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// All can be measured. The test does not check the numbers.
func TestAllDatabasesAreMeasured(t *testing.T) {
	m := measurement{database: "memory", dsn: "memory", callers: 16, rounds: 1, each: 20 * time.Millisecond, query: "SELECT 1"}
	var out strings.Builder
	require.NoError(t, m.child(&out))
	m.prepared = true
	require.NoError(t, m.child(&out))
	var turns []turn
	for lines := json.NewDecoder(strings.NewReader(out.String())); lines.More(); {
		var one turn
		require.NoError(t, lines.Decode(&one))
		assert.Positive(t, one.PerSecond)
		turns = append(turns, one)
	}
	assert.Len(t, turns, 2*databases)
	var text strings.Builder
	report(&text, turns)
	assert.Contains(t, text.String(), "| queries in a second | ")
	assert.Contains(t, text.String(), "| CPU, µs | ")
}
