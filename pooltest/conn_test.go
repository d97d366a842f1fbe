package pooltest_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/pooltest"
)

func TestAConnectionHasTheIdThatThePoolGaveIt(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		direct := dial(t, db)
		assert.Equal(t, uint64(1), direct.ID())
		assert.Equal(t, "connection 1, which no pool opened", direct.String())
		p := newPool(t, db, config{Name: "orders", Capacity: 2})
		a, err := p.Get(ctx)
		require.NoError(t, err)
		b, err := p.Get(ctx)
		require.NoError(t, err)
		assert.Equal(t, [2]uint64{a.Info().ConnID, b.Info().ConnID}, [2]uint64{a.Conn().ID(), b.Conn().ID()})
		assert.Equal(t, [2]uint64{1, 2}, [2]uint64{a.Conn().ID(), b.Conn().ID()})
		assert.Equal(t, `connection 2 of pool "orders"`, b.Conn().String())
		require.NoError(t, a.Put())
		require.NoError(t, b.Put())
		require.NoError(t, direct.Close())
	})(t)
}

func TestAConnectionIsOfNoUseAfterItsContextHasEndedInAnOperation(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		c := dial(t, db)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, c.Read(ended), context.Canceled)
		assert.False(t, c.IsClosed(), "the operation has not begun")
		err := within(50*time.Millisecond, c.Read)()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 150*time.Millisecond, db.Now())
		assert.True(t, client.Broken(err))
		assert.True(t, c.IsClosed())
		assert.Zero(t, db.Open())
		err = c.Read(ctx)
		require.ErrorIs(t, err, net.ErrClosed)
		assert.True(t, client.Broken(err))
		assert.Empty(t, db.Misuse(), "it may not know")
		require.NoError(t, c.Close())

		_, err = db.Dial(ended)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, messages.ClassIgnore, actors.Classify(messages.PhaseConnect, err))
	})(t)
}

func TestAConnectionCanBeClosedAtAnyTimeAndAgain(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		c := dial(t, db)
		use := at(db, db.Now(), func() error { return c.Read(ctx) })
		synctest.Wait()
		require.NoError(t, c.Close())
		d := <-use
		require.ErrorIs(t, d.err, net.ErrClosed)
		assert.Equal(t, 100*time.Millisecond, d.ended)
		require.NoError(t, c.Close())
		assert.True(t, c.IsClosed())
		assert.Empty(t, db.Misuse())
	})(t)
}

func TestTheLimitHoldsForConnectsThatEndAtOnce(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Limit = 7
		conns := make([]*pooltest.Conn, 100)
		var group sync.WaitGroup
		for i := range conns {
			group.Go(func() { conns[i], _ = db.Dial(ctx) })
		}
		group.Wait()
		assert.Equal(t, [4]int{7, 7, 100, 93}, [4]int{db.Open(), db.Peak(), db.Dials(), db.Failed()})
		for _, c := range conns {
			if c != nil {
				group.Go(func() { assert.NoError(t, c.Close()) })
			}
		}
		group.Wait()
		assert.Zero(t, db.Open())
		assert.Equal(t, 7, db.Peak())
		_, err := db.Dial(ctx)
		require.NoError(t, err)
	})(t)
}

func TestALatencyOfTheTestsOwn(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		c := dial(t, db)
		assert.PanicsWithValue(t, "pooltest: the latency for Op is nil", func() { _ = c.ReadFor(ctx, nil) })
		assert.PanicsWithValue(t, "pooltest: the latency for Op is -1s: it is negative", func() {
			_ = c.ReadFor(ctx, func(*rand.Rand) time.Duration { return -time.Second })
		})
		require.NoError(t, c.Read(ctx), "the connection is not busy")
		require.NoError(t, c.Close())
	})(t)
}

func TestAServerFromOutsideOfTheBubbleIsAMistakeOfTheTest(t *testing.T) {
	db := pooltest.NewServer(1)
	synctest.Test(t, func(t *testing.T) {
		assert.PanicsWithValue(t, "pooltest: NewServer was called outside of the bubble of testing/synctest in which the server is used",
			func() { db.Now() })
	})
}
