package actors

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// T2: the turn fails between choosing a waiter and answering it.
func TestAWaiterThatIsChosenWhenTheTurnFailsIsAnswered(t *testing.T) {
	f := &fake{}
	_, ref := spawnPool(t, f.spec(1))
	held, err := ref.Get(t.Context(), "", nil)
	require.NoError(t, err)
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := ref.Get(t.Context(), "", nil)
			errs <- err
		}()
	}
	until(t, "both wait", func() bool { return ref.Stats().Waiting == 2 })
	held.lent.slot.Conn = nil // granting it panics
	_ = held.Put()
	for range 2 {
		assert.ErrorIs(t, <-errs, messages.ErrPoolFailed)
	}
}
