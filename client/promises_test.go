package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
)

// numbers connects to the numbers 1, 2, 3 and so on.
func numbers() func(context.Context) (int, error) {
	var last atomic.Int64
	return func(context.Context) (int, error) { return int(last.Add(1)), nil }
}

// H8
func TestAWaiterFromBeforeAClearIsServedWhenTheOldConnectionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := client.New(client.Config[int]{Capacity: 1, Connect: numbers(), Disconnect: client.NoDisconnect[int]})
		require.NoError(t, err)
		old, err := pool.Get(t.Context())
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		granted := make(chan client.Lease[int], 1)
		go func() {
			lease, err := pool.Get(ctx)
			assert.NoError(t, err)
			granted <- lease
		}()
		synctest.Wait()
		require.NoError(t, pool.Clear(t.Context(), client.ClearOptions{}))
		synctest.Wait()
		require.Equal(t, 1, pool.Stats().Waiting, "a Clear ends no wait")

		time.Sleep(time.Second)
		require.NoError(t, old.Put())
		lease := <-granted
		assert.Equal(t, 2, lease.Conn(), "a connection of the new generation")
		assert.Equal(t, time.Second, time.Since(began), "long before its deadline")
		require.NoError(t, lease.Put())
		require.NoError(t, pool.Close(t.Context()))
	})
}

// B13
func TestDecideIsAskedOnceAtTheStart(t *testing.T) {
	errRefused := errors.New("connection refused")
	for _, backsOff := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			pool, err := client.New(client.Config[int]{
				Connect: func(context.Context) (int, error) { return 0, errRefused }, Disconnect: client.NoDisconnect[int],
				Backoff: client.Backoff{Decide: func() bool { asked++; return backsOff }},
			})
			require.NoError(t, err)
			for range 3 {
				_, err = pool.Get(t.Context())
				require.ErrorIs(t, err, errRefused)
				require.NoError(t, pool.Clear(t.Context(), client.ClearOptions{}))
			}
			assert.Equal(t, backsOff, pool.Stats().Backoffs > 0)
			require.NoError(t, pool.Close(t.Context()))
			assert.Equal(t, 1, asked)
		})
	}
}
