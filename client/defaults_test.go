package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLifetimesVaryByATenthIfNothingIsSaid(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: time.Minute, time.Second: time.Second, NoJitter: 0} {
		spec, err := Config[int]{
			Connect:     func(context.Context) (int, error) { return 1, nil },
			Disconnect:  NoDisconnect[int],
			MaxLifetime: 10 * time.Minute, MaxLifetimeJitter: given,
		}.Spec()
		require.NoError(t, err)
		assert.Equal(t, want, spec.Policy.LifetimeJitter, given)
	}
}

func TestAConnectionIsAskedOnlyIfItsTypeCanTell(t *testing.T) {
	spec, err := Config[int]{Connect: func(context.Context) (int, error) { return 1, nil }, Disconnect: NoDisconnect[int]}.Spec()
	require.NoError(t, err)
	assert.Nil(t, spec.IsClosed)
}
