package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
)

// The policies that are documented by their values.
func TestBackoffPolicies(t *testing.T) {
	wait := actors.Backoff{Mode: actors.BackoffWait, Base: 200 * time.Millisecond, Cap: 10 * time.Second, Jitter: 1}
	blocking := actors.Backoff{Mode: actors.BackoffFailFast, Base: 5 * time.Second, Cap: time.Minute}
	long := actors.Backoff{Mode: actors.BackoffWait, Base: time.Minute, Cap: time.Minute, Jitter: 1}
	never := wait
	never.Mode = actors.BackoffNever
	for name, test := range map[string]struct {
		given Backoff
		want  actors.Backoff
	}{
		"the zero value":         {Backoff{}, wait},
		"BackoffMongo":           {BackoffMongo(), wait},
		"BackoffBlocking":        {BackoffBlocking(), blocking},
		"Base above the default": {Backoff{Base: time.Minute}, long},
		"Decide returns false":   {Backoff{Decide: func() bool { return false }}, never},
		"Decide returns true":    {Backoff{Decide: func() bool { return true }}, wait},
		"BackoffNever":           {Backoff{Mode: BackoffNever}, never},
	} {
		cfg := Config[int]{Backoff: test.given, Connect: func(context.Context) (int, error) { return 1, nil }, Disconnect: NoDisconnect[int]}
		spec, err := cfg.Spec()
		require.NoError(t, err, name)
		assert.Equal(t, test.want, spec.Policy.Backoff, name)
	}
}
