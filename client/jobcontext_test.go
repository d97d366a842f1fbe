package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// closed says whether a channel is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestTheContextOfAFunctionEndsWithItForEver(t *testing.T) {
	for name, asks := range map[string]bool{"whose function never asks for Done": false, "whose function asks for Done": true} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				var kept, child []context.Context
				p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
					connect := cfg.Connect
					cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) {
						assert.NoError(t, ctx.Err())
						kept = append(kept, ctx)
						if asks {
							derived, cancel := context.WithCancel(ctx)
							context.AfterFunc(derived, cancel)
							child = append(child, derived)
							assert.False(t, closed(ctx.Done()))
							assert.False(t, closed(derived.Done()))
						}
						return connect(ctx)
					}
				})
				for range 3 {
					require.NoError(t, testkit.Get(t, p).Taint(nil))
				}
				testkit.Put(t, testkit.Get(t, p))
				require.Greater(t, len(kept), 1)
				for _, ctx := range append(kept, child...) {
					assert.ErrorIs(t, ctx.Err(), context.Canceled)
					assert.ErrorIs(t, context.Cause(ctx), context.Canceled)
					assert.True(t, closed(ctx.Done()))
					late, cancel := context.WithCancel(ctx)
					assert.ErrorIs(t, late.Err(), context.Canceled, "a child that is made after the end")
					cancel()
				}
			})
		})
	}
}

func TestTheContextOfAFunctionEndsAtItsDeadline(t *testing.T) {
	for name, wait := range map[string]func(context.Context){
		"while it waits for Done": func(ctx context.Context) { <-ctx.Done() },
		"while it asks for Err only": func(ctx context.Context) {
			for ctx.Err() == nil {
				time.Sleep(time.Second)
			}
		},
		"while it waits for a child": func(ctx context.Context) {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-child.Done()
			assert.ErrorIs(t, child.Err(), context.DeadlineExceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(func(cfg *testkit.Config) {
					cfg.ConnectTimeout, cfg.Backoff.Mode = 4*time.Second, client.BackoffNever
					cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) {
						start := time.Now()
						deadline, bounded := ctx.Deadline()
						assert.True(t, bounded)
						assert.Equal(t, 4*time.Second, deadline.Sub(start))
						wait(ctx)
						assert.Equal(t, 4*time.Second, time.Since(start))
						assert.True(t, closed(ctx.Done()))
						return nil, ctx.Err()
					}
				})
				_, err := p.Get(ctx)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}
