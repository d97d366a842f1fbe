package sim_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// conn is a connection of a service. None is ever made.
type conn struct{}

// service is the Config of a service.
func service() client.Config[*conn] {
	return client.Config[*conn]{
		Connect:    func(context.Context) (*conn, error) { panic("a simulation calls no function") },
		Disconnect: func(context.Context, *conn) error { panic("a simulation calls no function") },
		Capacity:   8,
	}
}

// steps is how many steps the run of everything has.
func steps() int {
	if testkit.RaceEnabled() { // there is one goroutine, so that the race detector sees nothing
		return 100_000
	}
	return 1_000_000
}

func TestAMillionStepsWithEveryOptionKeepThePromises(t *testing.T) {
	done, seed := 0, uint64(0)
	for done < steps() {
		seed++
		r := draw(seed).run()
		require.NoError(t, r.Err, "%s", tail(r.Trace))
		done += r.Steps
	}
	t.Logf("%d steps in %d runs", done, seed)
}

// tail is the end of a trace.
func tail(trace string) string { return trace[max(0, len(trace)-2000):] }
