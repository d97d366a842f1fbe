package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// numbers connects to the numbers 1, 2, 3 and so on.
func numbers() func(context.Context) (int, error) {
	var last atomic.Int64
	return func(context.Context) (int, error) { return int(last.Add(1)), nil }
}

// H8
func TestAWaiterFromBeforeAClearIsServedWhenTheOldConnectionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := client.New(client.Config[int]{Capacity: 1, Connect: numbers()})
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
				Connect: func(context.Context) (int, error) { return 0, errRefused },
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

// G7
func TestASettingIsLookedForAmongTheFirst64WaitersOnly(t *testing.T) {
	for place, found := range map[int]bool{64: true, 65: false} {
		t.Run(fmt.Sprint("place ", place), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nothing := func(context.Context, int) error { return nil }
				pool, err := client.New(client.Config[int]{
					Capacity: 1, Connect: numbers(), Unapply: nothing,
					Apply: func(context.Context, int, any) error { return nil },
				})
				require.NoError(t, err)
				get := func(ctx context.Context, setting string) (client.Lease[int], error) {
					return pool.GetWith(ctx, client.GetOptions{Setting: setting})
				}
				held, err := get(t.Context(), "red")
				require.NoError(t, err)

				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				served := make(chan int, place)
				for i := 1; i <= place; i++ {
					setting := "blue"
					if i == place {
						setting = "red"
					}
					go func() {
						lease, err := get(ctx, setting)
						if err != nil {
							assert.ErrorIs(t, err, context.Canceled)
							return
						}
						served <- i
						<-ctx.Done() // keeps it, so that nobody else is served
						assert.NoError(t, lease.Put())
					}()
					synctest.Wait() // they arrive in this order
				}
				require.NoError(t, held.Put())
				want := 1 // in order of arrival
				if found {
					want = place
				}
				assert.Equal(t, want, <-served)
				leave()
				synctest.Wait()
				require.NoError(t, pool.Close(t.Context()))
				assert.Equal(t, messages.StateClosed, pool.Stats().State)
			})
		})
	}
}
