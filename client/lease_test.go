package client_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// P5, H3
func TestTheSecondEndOfALeaseIsRefusedAndChangesNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		old := testkit.Get(t, p)
		copied := old
		testkit.Put(t, old)
		assert.ErrorIs(t, old.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, copied.Put(), messages.ErrLeaseEnded)
		assert.ErrorIs(t, old.Taint(testkit.ErrApp), messages.ErrLeaseEnded)
		assert.Nil(t, old.Conn())
		current := testkit.Get(t, p)
		assert.ErrorIs(t, old.Taint(testkit.ErrApp), messages.ErrLeaseEnded)
		assert.ErrorIs(t, old.Put(), messages.ErrLeaseEnded)
		assert.Nil(t, old.Conn())
		st := p.Stats()
		assert.Equal(t, 1, st.Borrowed)
		assert.Zero(t, st.Idle)
		assert.EqualValues(t, 1, st.Puts)
		assert.Zero(t, current.Conn().Closes())
		require.NoError(t, current.Taint(nil))
		assert.ErrorIs(t, current.Put(), messages.ErrLeaseEnded)
		assert.EqualValues(t, 1, p.Stats().Taints)
	})
}

// P5
func TestTheZeroLeaseHasEnded(t *testing.T) {
	var l testkit.Lease
	assert.Nil(t, l.Conn())
	assert.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
	assert.ErrorIs(t, l.Taint(testkit.ErrApp), messages.ErrLeaseEnded)
	var s client.Lease[string]
	assert.Empty(t, s.Conn())
}

// P5
func TestOfTwoConcurrentEndsOfALeaseOneWins(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(2))
		for i := range 1000 {
			l := testkit.Get(t, p)
			errs := make([]error, 2)
			var both sync.WaitGroup
			both.Go(func() { errs[0] = l.Put() })
			both.Go(func() {
				if i%2 == 0 {
					errs[1] = l.Put()
				} else {
					errs[1] = l.Taint(nil)
				}
			})
			both.Wait()
			require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v", errs)
			require.ErrorIs(t, errors.Join(errs...), messages.ErrLeaseEnded)
		}
		synctest.Wait()
		st := p.Stats()
		assert.Zero(t, st.Borrowed)
		assert.EqualValues(t, 1000, st.Puts+st.Taints)
	})
}
