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
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// overdue is a context whose deadline has passed, and whose timer is late: it ends
// only when end is called. So it is in a process that is busy.
type overdue struct {
	context.Context
	deadline time.Time
	ended    chan struct{}
}

func newOverdue(deadline time.Time) *overdue {
	return &overdue{Context: context.Background(), deadline: deadline, ended: make(chan struct{})}
}

func (c *overdue) end()                        { close(c.ended) }
func (c *overdue) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *overdue) Done() <-chan struct{}       { return c.ended }
func (c *overdue) Err() error {
	select {
	case <-c.ended:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// G11
func TestAWaiterWhoseDeadlineHasPassedIsGrantedNothing(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		held := testkit.Get(t, p)
		late := newOverdue(time.Now().Add(time.Second))
		first := testkit.BeginGet(late, p)
		second := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second + time.Millisecond)
		testkit.Put(t, held)
		var e *messages.GetError
		require.ErrorAs(t, first.Failed(t), &e)
		assert.ErrorIs(t, e, context.DeadlineExceeded)
		testkit.Consistent(t, e.Stats)
		testkit.Put(t, second.Granted(t))
		st := p.Stats()
		assert.EqualValues(t, 1, st.Timeouts)
		assert.EqualValues(t, 2, st.Grants, "the connection was not granted to a caller that could not use it")
		late.end()

		testkit.Put(t, testkit.BeginGet(newOverdue(time.Now().Add(-time.Second)), p).Granted(t))
	})
}

// G12
func TestCallersThatGiveUpEarlyCauseOneConnect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(8))
		w.Server.SetDial(testkit.Delay(time.Second))
		failed := 0
		for range 20 {
			lease, err := p.Get(testkit.Within(t, 100*time.Millisecond))
			if err != nil {
				failed++
				continue
			}
			testkit.Put(t, lease)
		}
		assert.Equal(t, 1, w.Server.Dials())
		assert.LessOrEqual(t, failed, 10)
	})
}

// G14, G7
func TestASettingIsFoundBehindAnyNumberOfWaiters(t *testing.T) {
	for _, place := range []int{2, 65, 500} {
		t.Run(fmt.Sprint("place ", place), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nothing := func(context.Context, int) error { return nil }
				pool, err := client.New(client.Config[int]{
					Capacity: 1, Connect: numbers(), Disconnect: nothing, Unapply: nothing,
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
				assert.Equal(t, place, <-served)
				leave()
				synctest.Wait()
				require.NoError(t, pool.Close(t.Context()))
			})
		})
	}
}

// G15
func TestReserveKeepsConnectionsFromCallersThatHaveNoTimeForThem(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.Reserve = 30 * time.Millisecond })
		testkit.Fill(t, p, 1)
		for _, c := range []struct {
			left   time.Duration
			served bool
		}{{31 * time.Millisecond, true}, {30*time.Millisecond - 1, false}, {time.Millisecond, false}} {
			lease, err := p.Get(testkit.Within(t, c.left))
			if c.served {
				require.NoError(t, err)
				testkit.Put(t, lease)
				continue
			}
			var reserve *messages.ReserveError
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorAs(t, err, &reserve)
			assert.Equal(t, 30*time.Millisecond, reserve.Reserve)
		}

		held := testkit.Get(t, p)
		g := testkit.BeginGet(testkit.Within(t, 100*time.Millisecond), p)
		time.Sleep(70*time.Millisecond - 1)
		g.Waits(t)
		time.Sleep(time.Nanosecond)
		assert.ErrorAs(t, g.Failed(t), new(*messages.ReserveError))
		assert.EqualValues(t, 3, p.Stats().Timeouts)
		testkit.Put(t, held)
	})
}

// G15
func TestReserveIsNotTakenOffGetTimeout(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.Reserve, cfg.GetTimeout = time.Hour, time.Second })
		held := testkit.Get(t, p)
		g := testkit.BeginGet(ctx, p)
		time.Sleep(time.Second - 1)
		g.Waits(t)
		testkit.Put(t, held)
		testkit.Put(t, g.Granted(t))
	})
}

// G16
func TestGetTimeoutIsADeadlineInEveryRespect(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Refuse)
		p := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
			cfg.GetTimeout = 500 * time.Millisecond
			cfg.Backoff.Base = time.Second
		})
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		assert.Zero(t, testkit.Elapsed(func() { _, err = p.Get(ctx) }), "there is nothing to wait for (G9)")
		assert.ErrorAs(t, err, new(*messages.BackoffError))
	})
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1), withShedHopeless, func(cfg *testkit.Config) { cfg.GetTimeout = time.Second })
		held := lendInTurn(t, p, 500*time.Millisecond, 8)
		var sheds, waits int
		var all []*testkit.Getting
		for range 10 {
			g := testkit.BeginGet(ctx, p)
			if g.Ended() {
				assert.ErrorIs(t, g.Failed(t), messages.ErrShed)
				sheds++
			} else {
				waits++
				all = append(all, g)
			}
		}
		assert.Equal(t, 2, waits, "two can be served within a second")
		assert.Equal(t, 8, sheds)
		time.Sleep(time.Second)
		for _, g := range all {
			assert.ErrorIs(t, g.Failed(t), context.DeadlineExceeded)
		}
		testkit.Put(t, held)
	})
}

// G18, B16
func TestALimitOfTheServerBelowTheCapacityFailsNobody(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var open atomic.Int32
		p := w.Pool(testkit.Capacity(10), func(cfg *testkit.Config) {
			cfg.GetTimeout = 10 * time.Second
			cfg.Backoff = client.Backoff{}
			connect := cfg.Connect
			cfg.Connect = func(ctx context.Context) (*testkit.Conn, error) {
				if open.Add(1) > 3 {
					open.Add(-1)
					return nil, errors.New("too many connections")
				}
				return connect(ctx)
			}
		})
		var failed atomic.Int32
		for range 12 {
			go func() {
				for range 100 {
					lease, err := p.Get(ctx)
					if err != nil {
						failed.Add(1)
						continue
					}
					time.Sleep(10 * time.Millisecond)
					assert.NoError(t, lease.Put())
				}
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Zero(t, failed.Load())
		st := p.Stats()
		assert.EqualValues(t, 1200, st.Puts)
		assert.Positive(t, st.ConnectErrors)
		assert.Equal(t, messages.StateReady, st.State, "B16: a pool that serves is ready")
	})
}

// L11
func TestConnectsRampUp(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(time.Second))
		p := w.Pool(testkit.Capacity(16), func(cfg *testkit.Config) { cfg.MaxConnecting = 0 })
		var all []*testkit.Getting
		for range 16 {
			all = append(all, testkit.BeginGet(testkit.Within(t, 5*time.Second), p))
		}
		assert.Equal(t, 2, p.Stats().Connecting)
		var leases []testkit.Lease
		time.Sleep(4 * time.Second)
		for _, g := range all {
			leases = append(leases, g.Granted(t))
		}
		testkit.Put(t, leases...)
	})
}
