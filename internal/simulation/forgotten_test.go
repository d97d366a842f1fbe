package simulation_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

func TestLeasesAreForgottenAndKeptAtRandom(t *testing.T) {
	type conn struct{ usage }
	var opened, closed atomic.Int64
	p, err := client.New(client.Config[*conn]{
		Connect: func(context.Context) (*conn, error) { opened.Add(1); return &conn{usage{fail: t.Errorf}}, nil },
		Disconnect: func(_ context.Context, c *conn) error {
			defer c.call("disconnect")()
			c.close()
			closed.Add(1)
			return nil
		},
		Reset:     func(_ context.Context, c *conn) error { defer c.call("reset")(); return nil },
		Capacity:  stormCapacity,
		LeakAfter: time.Millisecond,
	})
	require.NoError(t, err)
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 40 {
				l, err := p.Get(testkit.Within(t, time.Minute))
				if !assert.NoError(t, err) {
					return
				}
				if (g+i)%8 == 0 {
					continue // forgotten
				}
				c := l.Conn()
				c.take()
				if i%10 == 5 {
					runtime.GC()
				}
				c.release()
				assert.NoError(t, l.Put())
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	testkit.CollectUntil(t, func() bool {
		select {
		case <-over:
			return p.Stats().Borrowed == 0
		default:
			return false
		}
	})
	st := p.Stats()
	testkit.Consistent(t, st)
	assert.EqualValues(t, 16*40/8, st.Revoked)
	assert.Equal(t, st.Grants, st.Puts+st.Revoked)
	require.NoError(t, p.Close(testkit.Within(t, time.Minute)))
	assert.Equal(t, opened.Load(), closed.Load())
}
