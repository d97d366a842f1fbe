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

type (
	testSet    = client.Set[string, *testkit.Conn]
	testSetCfg = client.SetConfig[string, *testkit.Conn]
)

// runSet runs f in virtual time with a set of pools of one server, which must close all it
// has opened.
func runSet(t *testing.T, change func(w *testkit.World, cfg *testSetCfg), f func(t *testing.T, w *testkit.World, s *testSet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := testkit.NewWorld(t, false)
		cfg := testSetCfg{Total: 2, New: func(string) testkit.Config {
			cfg := w.Config()
			cfg.Name, cfg.GetTimeout = "", time.Minute
			return cfg
		}}
		if change != nil {
			change(w, &cfg)
		}
		s, err := client.NewSet(cfg)
		require.NoError(t, err)
		t.Cleanup(func() {
			bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			assert.NoError(t, s.Close(bounded))
			synctest.Wait()
			select {
			case <-s.Done():
			default:
				assert.Fail(t, "the set is not done after Close")
			}
			assert.Zero(t, openOf(w))
		})
		f(t, w, s)
	})
}

// openOf is how many connections of a world's server are open.
func openOf(w *testkit.World) int {
	_, opened, closed := w.Server.Counts()
	return opened - closed
}

func getOf(t *testing.T, s *testSet, key string) testkit.Lease {
	t.Helper()
	l, err := s.Get(ctx, key)
	require.NoError(t, err)
	return l
}

// beginGetOf starts a Get and waits until all is quiet.
func beginGetOf(ctx context.Context, s *testSet, key string) *testkit.Getting {
	g := &testkit.Getting{}
	g.Call = testkit.Async(func() (err error) {
		g.Lease, err = s.Get(ctx, key)
		return err
	})
	return g
}

func TestASetMakesAPoolForEachKey(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		assert.Nil(t, s.Pool("a"))
		a, b := getOf(t, s, "a"), getOf(t, s, "b")
		assert.NotSame(t, a.Conn(), b.Conn())
		assert.Equal(t, "set/a", s.Pool("a").Stats().Name)
		testkit.Put(t, a, b)
		again := getOf(t, s, "a")
		assert.Equal(t, 2, w.Server.Dials())
		testkit.Put(t, again)
		keys := map[string]bool{}
		for key, p := range s.Each() {
			keys[key] = true
			assert.Same(t, p.PID(), s.Pool(key).PID())
		}
		assert.Equal(t, map[string]bool{"a": true, "b": true}, keys)
		st := s.Stats()
		assert.Equal(t, "set", st.Name)
		assert.Equal(t, 2, st.Capacity)
		assert.Equal(t, 2, st.Idle)
		assert.EqualValues(t, 3, st.Grants)
	})
}

func TestAnIdleConnectionOfAnotherKeyMakesPlace(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		testkit.Put(t, getOf(t, s, "a"))
		b := getOf(t, s, "b")
		c := getOf(t, s, "c")
		assert.Equal(t, 2, openOf(w))
		assert.Zero(t, s.Pool("a").Stats().Open)
		testkit.Put(t, b, c)
	})
}

func TestAWaitingKeyGetsTheNextConnectionThatIsReturned(t *testing.T) {
	runSet(t, nil, func(t *testing.T, w *testkit.World, s *testSet) {
		a1, a2 := getOf(t, s, "a"), getOf(t, s, "a")
		b := beginGetOf(ctx, s, "b")
		b.Waits(t)
		more := beginGetOf(ctx, s, "a")
		more.Waits(t)
		testkit.Put(t, a1)
		lease := b.Granted(t)
		more.Waits(t)
		testkit.Put(t, a2)
		testkit.Put(t, more.Granted(t), lease)
	})
}

var _ = errors.Is
var _ = fmt.Sprint
var _ atomic.Bool
var _ messages.Stats
