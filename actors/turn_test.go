package actors

import (
	"context"
	"testing"
	"time"

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

// The turn fails before the Get that it decides is answered, or is in the queue: on the pool's
// own mailbox its caller waits for nothing but the answer.
func TestAGetWhoseOwnTurnFailsIsAnswered(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"a direct turn": func(*Spec) {},
		"a message":     func(s *Spec) { s.Policy.LeakAfter = time.Minute },
		"a turn that needs a check": func(s *Spec) {
			s.Check = func(context.Context, any) error { return nil }
			s.Policy.Check, s.Policy.CheckAfterIdle = true, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			spec := f.spec(1)
			change(&spec)
			_, ref := spawnPool(t, spec)
			held, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)
			slot := held.lent.slot
			require.NoError(t, held.Put())
			slot.Conn = nil // whatever is done with it panics
			_, err = ref.Get(t.Context(), "", nil)
			assert.ErrorIs(t, err, messages.ErrPoolFailed)
			<-ref.Done()
		})
	}
}
