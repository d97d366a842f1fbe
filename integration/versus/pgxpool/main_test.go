//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// All pools can be measured. The test does not check the numbers.
func TestAllPoolsAreMeasured(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 40")
	servers.Require(t, err)
	defer func() { assert.NoError(t, server.Close()) }()
	require.NoError(t, prepare(server))
	var out strings.Builder
	require.NoError(t, child(&out, server.DSN("postgres", ""), 1, 20*time.Millisecond, []int{2, 16}))
	var turns []turn
	for lines := json.NewDecoder(strings.NewReader(out.String())); lines.More(); {
		var one turn
		require.NoError(t, lines.Decode(&one))
		assert.Positive(t, one.PerSecond)
		turns = append(turns, one)
	}
	assert.Len(t, turns, len(operations)*2*pools)
	var text strings.Builder
	report(&text, turns, 1, 1, time.Second)
	assert.Contains(t, text.String(), "| `SELECT 1` | 16 | acquire p99, µs | ")
	assert.Contains(t, text.String(), "| `SELECT 1` by `Pool.QueryRow` | 2 | CPU, µs | ")
}
