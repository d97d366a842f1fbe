package pooltest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/pooltest"
)

// fakeT is a test that may fail.
type fakeT struct{ errors []string }

func (f *fakeT) Helper() {}
func (f *fakeT) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

// checked gives what Check says of a pool; empty: nothing is wrong.
func checked(t *testing.T, p pooltest.Pool, servers ...*pooltest.Server) string {
	t.Helper()
	var f fakeT
	pooltest.Check(&f, p, servers...)
	require.LessOrEqual(t, len(f.errors), 1, "one error says all")
	return strings.Join(f.errors, "\n")
}

var _ pooltest.T = testing.TB(nil)

// unclosed makes a pool that the test closes by itself.
func unclosed(t *testing.T, db *pooltest.Server, cfg config) *pool {
	t.Helper()
	cfg.Connect, cfg.Name = db.Dial, "orders"
	p, err := client.New(cfg)
	require.NoError(t, err)
	return p
}

func TestCheckIsContentWithAPoolAtRest(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 2, MinIdle: 2})
		assert.Empty(t, checked(t, p, db), "nothing has happened")
		require.NoError(t, p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Read(ctx) }))
		begun := db.Now()
		assert.Empty(t, checked(t, p, db))
		assert.Empty(t, checked(t, p))
		assert.Equal(t, begun, db.Now(), "no time passes")
		require.NoError(t, p.Close(ctx))
		assert.Empty(t, checked(t, p, db), "it is closed")
		assert.Equal(t, begun, db.Now())
	})
}

func TestCheckWaitsForWhatIsUnderWay(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1})
		for range 2 {
			go p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error {
				return c.ReadFor(ctx, pooltest.Exactly(pooltest.Patience/3))
			})
		}
		synctest.Wait()
		assert.Empty(t, checked(t, p, db), "one holds a connection and one waits, and both end in time")
		require.NoError(t, p.Close(ctx))
	})
}

func TestCheckNamesWhoHasNotReturnedAConnectionAndWhoWaits(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		db.Handshake = pooltest.Exactly(0)
		p := unclosed(t, db, config{Capacity: 2})
		var leases []client.Lease[*pooltest.Conn]
		for _, label := range []string{"checkout", ""} {
			l, err := p.GetWith(ctx, client.GetOptions{Label: label})
			require.NoError(t, err)
			leases = append(leases, l)
		}
		waiting, leave := context.WithCancel(ctx)
		left := make(chan error)
		go func() {
			_, err := p.GetWith(waiting, client.GetOptions{Label: "report"})
			left <- err
		}()
		begun := db.Now()
		got := checked(t, p, db)
		assert.Equal(t, pooltest.Patience, db.Now()-begun)
		want := `pooltest: pool "orders" is not as it must be at the end of a test:
  - 2 leases were not returned, by Put or Taint:
      "checkout" (connection 1, 2s)
      unlabelled (connection 2, 2s)
      With Config.LeakAfter this list says where the Get was called.
  - 1 Get is waiting for a connection:
      "report" (2s)
The pool: state=ready capacity=2 open=2 borrowed=2 idle=0 connecting=0 closing=0 waiting=1`
		assert.Equal(t, want, got)
		page, err := os.ReadFile("../docs/rehearsing.md")
		require.NoError(t, err)
		assert.Contains(t, string(page), "```\n"+want+"\n```")
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		require.NoError(t, leases[0].Put())
		assert.Contains(t, checked(t, p, db), "- 1 lease was not returned, by Put or Taint:\n      unlabelled (connection 2, ")

		// A Close that could not end: the same.
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.Error(t, p.Close(impatient))
		assert.Contains(t, checked(t, p, db), "- 1 lease was not returned")
		require.NoError(t, leases[1].Put())
		assert.Empty(t, checked(t, p, db))
	})
}

func TestCheckShowsWhereTheGetOfALeakWas(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1, LeakAfter: time.Hour})
		l, err := p.GetWith(ctx, client.GetOptions{Label: "checkout"})
		require.NoError(t, err)
		got := checked(t, p, db)
		assert.Contains(t, got, "TestCheckShowsWhereTheGetOfALeakWas")
		assert.Contains(t, got, "check_test.go:")
		assert.NotContains(t, got, "With Config.LeakAfter")
		t.Log(got)
		require.NoError(t, l.Put())
		require.NoError(t, p.Close(ctx))
	})
}

// explained is a pool that says what a test wants.
type explained struct{ messages.Explanation }

func (e explained) Stats() messages.Stats { return e.Explanation.Stats }

func (e explained) Explain(context.Context) (messages.Explanation, error) {
	return e.Explanation, nil
}

func TestCheckReportsLeasesThatWereFoundAsGarbage(t *testing.T) {
	lost := messages.Event{Kind: messages.LeaseLeaked, ConnID: 3, Label: "checkout", Err: messages.ErrLeaseLost, Stack: "main.order\n\tshop.go:7\n"}
	late := messages.Event{Kind: messages.LeaseLeaked, ConnID: 4, Label: "report"}
	synctest.Test(t, func(t *testing.T) {
		got := checked(t, explained{Explanation: messages.Explanation{Recent: []messages.Event{late, lost}}})
		assert.Contains(t, got, `
  - the lease of connection 3 was dropped without Put or Taint, and found as garbage:
      "checkout"
          main.order
          	shop.go:7
The pool: `)
		assert.NotContains(t, got, "report", "that one came back")
	})
}

// Any pool that has Stats can be checked; then the error has numbers only.
type counted messages.Stats

func (c counted) Stats() messages.Stats { return messages.Stats(c) }

func TestCheckReportsCountsThatDoNotAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for rule, st := range map[string]messages.Stats{
			"Open = Idle + Borrowed + InTransition":                 {Open: 2, Idle: 1, Connects: 2},
			"no number is negative":                                 {Capacity: -1},
			"Grants = Borrowed + Puts + Taints + Revoked + Hijacks": {Gets: 7, Grants: 7, Puts: 6},
			"Grants + Timeouts + Cancels <= Gets":                   {Gets: 2, Grants: 1, Puts: 1, Timeouts: 1, Cancels: 1},
			"GrantedWaits <= Waits <= Gets":                         {Waits: 1},
			"Open + Connecting + ConnectErrors <= Connects":         {Open: 1, Idle: 1, Connecting: 1, ConnectErrors: 1, Connects: 2},
		} {
			assert.Equal(t, []string{rule}, pooltest.Unbalanced(st))
			got := checked(t, counted(st))
			assert.Contains(t, got, "- the counts do not agree: "+rule)
			assert.Equal(t, 1, strings.Count(got, "\n  - "), got)
		}
		assert.Empty(t, pooltest.Unbalanced(messages.Stats{}))
		assert.Contains(t, checked(t, counted{Borrowed: 1, Open: 1, Gets: 1, Grants: 1, Connects: 1}), "- 1 lease was not returned, by Put or Taint:\nThe pool")
	})
}

func TestCheckReportsConnectionsThatAreNotClosed(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		db.Handshake = pooltest.Exactly(20 * time.Millisecond)
		p, err := client.New(config{Name: "orders", Capacity: 1, Connect: func(ctx context.Context) (*pooltest.Conn, error) {
			c, err := db.Dial(ctx)
			if err != nil {
				return nil, err
			}
			if db.Dials() == 1 {
				return nil, errors.New("wrong password") // forgets to close it
			}
			return c, nil
		}})
		require.NoError(t, err)
		_, err = p.Get(ctx)
		require.ErrorContains(t, err, "wrong password")
		_ = p.Do(ctx, func(context.Context, *pooltest.Conn) error { return nil })
		assert.Contains(t, checked(t, p, db), `
  - the pool has 1 connection open, and these were opened and not closed:
      connection 1 of pool "orders", opened at 20ms
      connection 2 of pool "orders", opened at `)
		require.NoError(t, p.Close(ctx))
		assert.Contains(t, checked(t, p, db), `
  - the pool has 0 connections open, and these were opened and not closed:
      connection 1 of pool "orders", opened at 20ms
The pool: state=closed`)
		assert.Empty(t, checked(t, p), "the server is not asked")
	})
}

func TestCheckReportsAConnectionThatSomebodyElseHasClosed(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1})
		l, err := p.Get(ctx)
		require.NoError(t, err)
		c := l.Conn()
		require.NoError(t, l.Put())
		require.NoError(t, c.Close())
		assert.Contains(t, checked(t, p, db), "- the pool has 1 connection open, of which somebody else has closed 1")
		require.NoError(t, p.Close(ctx))
		assert.Empty(t, checked(t, p, db))
	})
}

func TestAConnectionThatItsHolderKeepsIsNotMissing(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1})
		l, err := p.Get(ctx)
		require.NoError(t, err)
		c, err := l.Hijack()
		require.NoError(t, err)
		assert.Empty(t, checked(t, p, db))
		require.NoError(t, c.Close())
		assert.Empty(t, checked(t, p, db))
		require.NoError(t, p.Close(ctx))
	})
}

func TestCheckReportsTwoUsersOfOneConnection(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1})
		l, err := p.Get(ctx)
		require.NoError(t, err)
		c := l.Conn()
		require.NoError(t, l.Put()) // and uses it all the same
		use := at(db, db.Now(), func() error { return c.Write(ctx) })
		synctest.Wait()
		err = p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Read(ctx) })
		require.ErrorIs(t, err, pooltest.ErrBusy)
		require.NoError(t, (<-use).err)
		want := `connection 1 of pool "orders", at 100ms: read began while write was under way: two goroutines use this connection`
		assert.Equal(t, []string{want}, db.Misuse())
		assert.Contains(t, checked(t, p, db), "\n  - misuse: "+want+"\n")
		require.NoError(t, p.Close(ctx))
	})(t)
}

func TestCheckReportsAUseAfterClose(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1})
		l, err := p.Get(ctx)
		require.NoError(t, err)
		c := l.Conn()
		require.NoError(t, l.Put())
		require.NoError(t, p.Close(ctx))
		require.Error(t, c.Ping(ctx))
		assert.Contains(t, checked(t, p, db), `- misuse: connection 1 of pool "orders", at 100ms: ping after Close: its lease had ended`)
	})(t)
}

// A holder whose lease the pool has ended cannot know.
func TestAUseAfterTheEndOfARevokedLeaseIsNoFault(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		p := unclosed(t, db, config{Capacity: 1, MaxLease: time.Second})
		err := p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error {
			time.Sleep(2 * time.Second)
			return c.Read(ctx)
		})
		require.ErrorIs(t, err, messages.ErrLeaseEnded)
		assert.Len(t, db.Misuse(), 1)
		assert.Empty(t, checked(t, p, db))
		require.NoError(t, p.Close(ctx))
	})(t)
}

func TestCheckReportsAFieldOfTheServerThatIsWrong(t *testing.T) {
	for text, wrong := range map[string]func(*pooltest.Server){
		"Server.Handshake is nil":            func(db *pooltest.Server) { db.Handshake = nil },
		"Server.Op is nil":                   func(db *pooltest.Server) { db.Op = nil },
		"Server.Limit is -1: it is negative": func(db *pooltest.Server) { db.Limit = -1 },
		"Server.SlowFactor is 0.5: it is below 1, infinite or not a number": func(db *pooltest.Server) { db.SlowFactor = .5 },
		"Server.SlowFactor is NaN: it is below 1, infinite or not a number": func(db *pooltest.Server) { db.SlowFactor = nan },
		"Server.FlakyOneIn is 0: it is below 1":                             func(db *pooltest.Server) { db.FlakyOneIn = 0 },
	} {
		inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
			wrong(db)
			assert.PanicsWithValue(t, "pooltest: "+text, func() { _, _ = db.Dial(ctx) })
			p := unclosed(t, db, config{Capacity: 1})
			_, err := p.Get(ctx)
			require.ErrorContains(t, err, "panic")
			assert.Contains(t, checked(t, p, db), `connection 1 of pool "orders", at 0s: `+text)
			require.NoError(t, p.Close(ctx))
		})
	}
}

// The pools of a Set can share a server: together they are what Check asks.
func TestTheServerOfASetIsCheckedWithTheSet(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		set, err := client.NewSet(client.SetConfig[string, *pooltest.Conn]{
			Total: 4, New: func(string) config { return config{Connect: db.Dial, GetTimeout: time.Minute} },
		})
		require.NoError(t, err)
		for _, tenant := range []string{"a", "b"} {
			require.NoError(t, set.Do(ctx, tenant, func(ctx context.Context, c *pooltest.Conn) error { return c.Read(ctx) }))
		}
		assert.Empty(t, checked(t, set, db))
		l, err := set.Pool("a").Get(ctx)
		require.NoError(t, err)
		assert.Contains(t, checked(t, set, db), "- 1 lease was not returned, by Put or Taint:\nThe pool")
		require.NoError(t, l.Put())
		require.NoError(t, set.Close(ctx))
		assert.Empty(t, checked(t, set, db))
	})
}

// Outside of a bubble, Check tries again for as long.
func TestCheckInRealTime(t *testing.T) {
	db := pooltest.NewServer(1)
	p := unclosed(t, db, config{Capacity: 1})
	l, err := p.Get(ctx)
	require.NoError(t, err)
	begun := time.Now()
	assert.Contains(t, checked(t, p, db), "- 1 lease was not returned")
	assert.GreaterOrEqual(t, time.Since(begun), pooltest.Patience)
	returned := time.AfterFunc(100*time.Millisecond, func() { assert.NoError(t, l.Put()) })
	defer returned.Stop()
	assert.Empty(t, checked(t, p, db))
	require.NoError(t, p.Close(ctx))
}

func TestCheckFailsWithoutAPoolOrAServer(t *testing.T) {
	db := pooltest.NewServer(1)
	p := unclosed(t, db, config{Capacity: 1})
	defer func() { assert.NoError(t, p.Close(ctx)) }()
	var none *pool
	assert.Equal(t, "pooltest: Check: the pool is nil", checked(t, nil, db))
	assert.Equal(t, "pooltest: Check: the pool is nil", checked(t, none, db))
	assert.Equal(t, "pooltest: Check: servers[1] is nil", checked(t, p, db, nil))
	assert.Equal(t, "pooltest: Check: servers[0] was not made by NewServer", checked(t, p, &pooltest.Server{}))
}

func TestCheckCountsAServerThatIsGivenTwiceOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := newPool(t, db, config{Capacity: 1})
		require.NoError(t, p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Read(ctx) }))
		assert.Empty(t, checked(t, p, db, db))
	})
}

func TestSeveralChecksAtOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		p := newPool(t, db, config{Capacity: 2})
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				assert.NoError(t, p.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Read(ctx) }))
			})
		}
		group.Wait()
		begun := db.Now()
		for range 8 {
			group.Go(func() { assert.Empty(t, checked(t, p, db)) })
		}
		group.Wait()
		assert.Less(t, db.Now()-begun, time.Millisecond)
	})
}

func TestAServerIsMadeByNewServer(t *testing.T) {
	for _, s := range []*pooltest.Server{nil, {}} {
		for name, f := range map[string]func(){
			"Dial": func() { _, _ = s.Dial(ctx) }, "Fault": func() { s.Fault(pooltest.Slow, 1, 2) }, "Recover": func() { s.Recover() },
			"Open": func() { s.Open() }, "Peak": func() { s.Peak() }, "Dials": func() { s.Dials() }, "Failed": func() { s.Failed() },
			"Ops": func() { s.Ops() }, "History": func() { s.History() }, "Misuse": func() { s.Misuse() }, "Now": func() { s.Now() },
		} {
			assert.PanicsWithValue(t, "pooltest: a Server must be made by NewServer", f, name)
		}
	}
}
