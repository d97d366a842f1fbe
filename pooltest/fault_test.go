package pooltest_test

import (
	"context"
	"errors"
	"net"
	"syscall"
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

// aMoment is how long it takes at most until all have noticed what happens at once.
const aMoment = time.Millisecond

// exact is a server on which everything takes exactly 100ms.
func exact(f func(t *testing.T, db *pooltest.Server)) func(t *testing.T) {
	return func(t *testing.T) {
		inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
			db.Handshake, db.Op = pooltest.Exactly(100*time.Millisecond), pooltest.Exactly(100*time.Millisecond)
			f(t, db)
		})
	}
}

func dial(t *testing.T, db *pooltest.Server) *pooltest.Conn {
	t.Helper()
	c, err := db.Dial(ctx)
	require.NoError(t, err)
	return c
}

// during is what a call has seen, which begins at a moment of the server's time.
type during struct {
	ended time.Duration
	err   error
}

// at begins a call at a moment of the server's time; its end comes through the channel.
func at(db *pooltest.Server, moment time.Duration, f func() error) <-chan during {
	ended := make(chan during, 1)
	go func() {
		time.Sleep(moment - db.Now())
		err := f()
		ended <- during{db.Now(), err}
	}()
	return ended
}

func within(d time.Duration, f func(context.Context) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return f(ctx)
	}
}

// soonAfter says that something has happened within a millisecond.
func soonAfter(t *testing.T, want, got time.Duration) {
	t.Helper()
	assert.True(t, want <= got && got < want+aMoment, "at %v, not within %v after %v", got, aMoment, want)
}

func TestWithoutAFaultEverythingTakesItsLatency(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		c := dial(t, db)
		assert.Equal(t, 100*time.Millisecond, db.Now())
		for i, op := range []func(context.Context) error{c.Read, c.Write, c.Ping, c.Reset} {
			require.NoError(t, op(ctx))
			assert.Equal(t, time.Duration(i+2)*100*time.Millisecond, db.Now())
		}
		require.NoError(t, c.ReadFor(ctx, pooltest.Exactly(time.Hour)))
		require.NoError(t, c.WriteFor(ctx, pooltest.Exactly(0)))
		assert.Equal(t, time.Hour+500*time.Millisecond, db.Now())
		assert.Equal(t, [4]int{1, 1, 6, 0}, [4]int{db.Open(), db.Dials(), db.Ops(), db.Failed()})
		require.NoError(t, c.Close())
		assert.Zero(t, db.Open())
		assert.Empty(t, db.Misuse())
	})(t)
}

func TestRefuseBreaksWhatIsOpenAndRefusesConnectsAtOnce(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Refuse, time.Second, 2*time.Second)
		idle, busy := dial(t, db), dial(t, db)
		defer idle.Close()
		defer busy.Close()
		use := at(db, 950*time.Millisecond, func() error { return busy.Read(ctx) })
		handshake := at(db, 950*time.Millisecond, func() error { _, err := db.Dial(ctx); return err })
		refused := at(db, 1500*time.Millisecond, func() error { _, err := db.Dial(ctx); return err })
		late := at(db, 1700*time.Millisecond, func() error { return idle.Read(ctx) })
		again := at(db, 2*time.Second, func() error {
			c, err := db.Dial(ctx)
			return errors.Join(err, c.Read(ctx), c.Close())
		})

		for _, call := range []<-chan during{use, handshake} {
			d := <-call
			soonAfter(t, time.Second, d.ended)
			require.ErrorIs(t, d.err, syscall.ECONNRESET)
			assert.True(t, client.Broken(d.err))
		}
		assert.True(t, busy.IsClosed())
		assert.False(t, idle.IsClosed(), "it does not know")
		assert.Zero(t, db.Open())

		d := <-refused
		soonAfter(t, 1500*time.Millisecond, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNREFUSED)
		var op *net.OpError
		require.ErrorAs(t, d.err, &op)
		assert.Equal(t, "dial", op.Op)

		d = <-late
		assert.Equal(t, 1700*time.Millisecond, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
		assert.True(t, idle.IsClosed())

		d = <-again
		require.NoError(t, d.err)
		assert.Equal(t, 2200*time.Millisecond, d.ended)
		assert.Equal(t, 2, db.Failed())
	})(t)
}

func TestBlackholeAnswersNothingUntilItIsOver(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Blackhole, time.Second, 3*time.Second)
		c, other := dial(t, db), dial(t, db)
		defer c.Close()
		defer other.Close()
		patient := at(db, 970*time.Millisecond, func() error { return c.Read(ctx) })
		impatient := at(db, 1100*time.Millisecond, within(time.Second, other.Read))
		connect := at(db, 2*time.Second, func() error { c, err := db.Dial(ctx); return errors.Join(err, c.Close()) })
		givenUp := at(db, 2*time.Second, within(500*time.Millisecond, func(ctx context.Context) error { _, err := db.Dial(ctx); return err }))

		assert.Equal(t, during{3070 * time.Millisecond, nil}, <-patient)
		assert.Equal(t, during{3100 * time.Millisecond, nil}, <-connect)
		for call, ended := range map[<-chan during]time.Duration{impatient: 2100 * time.Millisecond, givenUp: 2500 * time.Millisecond} {
			d := <-call
			assert.Equal(t, ended, d.ended)
			require.ErrorIs(t, d.err, context.DeadlineExceeded)
			var network net.Error
			require.ErrorAs(t, d.err, &network)
			assert.True(t, network.Timeout())
		}
		assert.True(t, other.IsClosed(), "its answer may still come")
		assert.False(t, c.IsClosed())
	})(t)
}

func TestSlowStretchesThePartThatFallsIntoIt(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Slow, time.Second, 2*time.Second)
		a, b, c := dial(t, db), dial(t, db), dial(t, db)
		for _, conn := range []*pooltest.Conn{a, b, c} {
			defer conn.Close()
		}
		before := at(db, 950*time.Millisecond, func() error { return a.Read(ctx) })
		all := at(db, time.Second, func() error { return b.Read(ctx) })
		after := at(db, 1900*time.Millisecond, func() error { return c.Read(ctx) })
		assert.Equal(t, during{1500 * time.Millisecond, nil}, <-before) // 50ms, and ten times 50ms
		assert.Equal(t, during{2 * time.Second, nil}, <-all)
		assert.Equal(t, during{2090 * time.Millisecond, nil}, <-after) // a tenth of 100ms, and 90ms
	})(t)
	exact(func(t *testing.T, db *pooltest.Server) {
		db.SlowFactor = 3
		db.Fault(pooltest.Slow, 0, pooltest.Forever)
		db.Fault(pooltest.Slow, 0, pooltest.Forever) // counts once
		c := dial(t, db)
		assert.Equal(t, 300*time.Millisecond, db.Now())
		require.NoError(t, c.Close())
	})(t)
}

func TestResetBreaksWhatIsOpenOnce(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Reset, time.Second, time.Second)
		old, busy := dial(t, db), dial(t, db)
		defer old.Close()
		defer busy.Close()
		use := at(db, 950*time.Millisecond, func() error { return busy.Read(ctx) })
		connect := at(db, time.Second, func() error {
			c, err := db.Dial(ctx)
			return errors.Join(err, c.Read(ctx), c.Close())
		})
		d := <-use
		soonAfter(t, time.Second, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
		assert.Equal(t, during{1200 * time.Millisecond, nil}, <-connect)
		require.ErrorIs(t, old.Read(ctx), syscall.ECONNRESET)
		assert.Equal(t, 1200*time.Millisecond, db.Now(), "at once")
	})(t)
}

func TestHalfOpenIsSilentOnOldConnectionsUntilSomebodySaysSo(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.HalfOpen, time.Second, 5*time.Second)
		a, b, c := dial(t, db), dial(t, db), dial(t, db)
		for _, conn := range []*pooltest.Conn{a, b, c} {
			defer conn.Close()
		}
		underWay := at(db, 950*time.Millisecond, func() error { return a.Read(ctx) })
		impatient := at(db, 2*time.Second, within(time.Second, b.Read))
		fresh := at(db, 2*time.Second, func() error {
			c, err := db.Dial(ctx)
			return errors.Join(err, c.Read(ctx), c.Close())
		})
		afterwards := at(db, 6*time.Second, func() error { return c.Read(ctx) })
		assert.Equal(t, during{2200 * time.Millisecond, nil}, <-fresh)
		d := <-impatient
		assert.Equal(t, 3*time.Second, d.ended)
		require.ErrorIs(t, d.err, context.DeadlineExceeded)
		d = <-underWay
		soonAfter(t, 5*time.Second, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
		d = <-afterwards
		assert.Equal(t, 6*time.Second, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
	})(t)
}

func TestReadOnlyRefusesWrites(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.ReadOnly, time.Second, 2*time.Second)
		c := dial(t, db)
		defer c.Close()
		require.NoError(t, c.Write(ctx))
		time.Sleep(time.Second - db.Now())
		err := c.Write(ctx)
		var server *pooltest.ServerError
		require.ErrorAs(t, err, &server)
		assert.Equal(t, "25006", server.SQLState())
		assert.Equal(t, "the server is read-only and cannot write (SQLSTATE 25006)", err.Error())
		assert.True(t, client.Broken(err))
		assert.False(t, c.IsClosed())
		require.NoError(t, c.Read(ctx))
		time.Sleep(2*time.Second - db.Now())
		require.NoError(t, c.Write(ctx))
	})(t)
}

func TestFullRefusesConnectsAndLeavesTheRest(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Full, time.Second, 2*time.Second)
		c := dial(t, db)
		defer c.Close()
		connect := at(db, 950*time.Millisecond, func() error { _, err := db.Dial(ctx); return err })
		use := at(db, 950*time.Millisecond, func() error { return c.Write(ctx) })
		again := at(db, 1900*time.Millisecond, func() error { c, err := db.Dial(ctx); return errors.Join(err, c.Close()) })
		assert.Equal(t, during{1050 * time.Millisecond, nil}, <-use)
		d := <-connect
		assert.Equal(t, 1050*time.Millisecond, d.ended)
		var server *pooltest.ServerError
		require.ErrorAs(t, d.err, &server)
		assert.Equal(t, "53300", server.Code)
		assert.Equal(t, messages.ClassOverload, actors.Classify(messages.PhaseConnect, d.err))
		assert.Equal(t, during{2 * time.Second, nil}, <-again)
	})(t)
}

func TestFlakyBreaksOneInSoMany(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, db *pooltest.Server) {
		db.FlakyOneIn = 10
		db.Fault(pooltest.Flaky, 0, 2*time.Minute)
		failed, all := 0, 0
		for ; db.Now() < 2*time.Minute; all++ {
			c, err := db.Dial(ctx)
			if err == nil {
				err = c.Read(ctx)
				assert.Equal(t, err != nil, c.IsClosed())
				require.NoError(t, c.Close())
				all++
			}
			if err != nil {
				require.ErrorIs(t, err, syscall.ECONNRESET)
				failed++
			}
		}
		assert.InEpsilon(t, 0.1, float64(failed)/float64(all), 0.05, "%d of %d", failed, all)
		c := dial(t, db)
		for range 1000 {
			require.NoError(t, c.Read(ctx))
		}
		require.NoError(t, c.Close())
	})
}

func TestFaultsThatOverlapEachHaveTheirEffect(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Blackhole, time.Second, 3*time.Second)
		db.Fault(pooltest.Refuse, 2*time.Second, 4*time.Second)
		c := dial(t, db)
		defer c.Close()
		connect := at(db, 2500*time.Millisecond, func() error { _, err := db.Dial(ctx); return err })
		use := at(db, 1500*time.Millisecond, func() error { return c.Read(ctx) })
		d := <-connect
		soonAfter(t, 3*time.Second, d.ended) // the refusal does not arrive before
		require.ErrorIs(t, d.err, syscall.ECONNREFUSED)
		d = <-use
		soonAfter(t, 3*time.Second, d.ended) // nor does the reset
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
	})(t)
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Reset, 2*time.Second, 2*time.Second)
		db.Fault(pooltest.HalfOpen, time.Second, 5*time.Second) // written later, but begins first
		c := dial(t, db)
		defer c.Close()
		d := <-at(db, 1500*time.Millisecond, func() error { return c.Read(ctx) })
		soonAfter(t, 5*time.Second, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
	})(t)
	exact(func(t *testing.T, db *pooltest.Server) {
		db.Fault(pooltest.Slow, 0, 10*time.Second)
		db.Fault(pooltest.Blackhole, 500*time.Millisecond, 1500*time.Millisecond)
		c := dial(t, db)
		assert.Equal(t, 2*time.Second, db.Now()) // ten times 100ms, and a second of silence
		require.NoError(t, c.Close())
	})(t)
}

func TestAFaultMayBeginWhileTheServerIsUsed(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		c, d := dial(t, db), dial(t, db)
		defer c.Close()
		defer d.Close()
		use := at(db, db.Now(), func() error { return c.ReadFor(ctx, pooltest.Exactly(time.Hour)) })
		time.Sleep(time.Second)
		db.Fault(pooltest.Blackhole, 0, db.Now()+time.Minute) // its beginning has passed: now
		time.Sleep(time.Second)
		connect := at(db, db.Now(), func() error { c, err := db.Dial(ctx); return errors.Join(err, c.Close()) })
		time.Sleep(time.Second)
		now := db.Now()
		db.Recover()
		assert.Equal(t, during{now + 100*time.Millisecond, nil}, <-connect)
		assert.Equal(t, during{200*time.Millisecond + time.Hour + 2*time.Second, nil}, <-use)

		now = db.Now()
		db.Fault(pooltest.Reset, now, now)
		young, err := db.Dial(ctx) // begins at the same moment, but afterwards
		require.NoError(t, err)
		require.NoError(t, young.Read(ctx))
		require.ErrorIs(t, d.Read(ctx), syscall.ECONNRESET)
		require.NoError(t, young.Close())

		db.Fault(pooltest.Refuse, now, now+1) // it is over
		c = dial(t, db)
		require.NoError(t, c.Read(ctx))
		require.NoError(t, c.Close())
		db.Fault(pooltest.Refuse, db.Now()+time.Minute, pooltest.Forever)
		db.Recover() // also before it begins
		time.Sleep(time.Hour)
		require.NoError(t, dial(t, db).Close())
	})(t)
}

func TestWhatHasHappenedStaysSoAfterRecover(t *testing.T) {
	exact(func(t *testing.T, db *pooltest.Server) {
		a, b := dial(t, db), dial(t, db)
		defer a.Close()
		defer b.Close()
		db.Fault(pooltest.HalfOpen, db.Now(), pooltest.Forever)
		use := at(db, db.Now(), func() error { return a.Read(ctx) })
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Empty(t, use, "nobody says so")
		now := db.Now()
		db.Recover()
		d := <-use
		soonAfter(t, now, d.ended)
		require.ErrorIs(t, d.err, syscall.ECONNRESET)
		require.ErrorIs(t, b.Read(ctx), syscall.ECONNRESET)
	})(t)
}

func TestAFaultThatCannotBeIsAMistakeOfTheTest(t *testing.T) {
	db := pooltest.NewServer(1)
	for text, f := range map[string]func(){
		"pooltest: Fault(0, 1s, 2s): there is no such fault":                             func() { db.Fault(0, time.Second, 2*time.Second) },
		"pooltest: Fault(9, 1s, 2s): there is no such fault":                             func() { db.Fault(9, time.Second, 2*time.Second) },
		"pooltest: Fault(Slow, -1s, 2s): it begins before the server does":               func() { db.Fault(pooltest.Slow, -time.Second, 2*time.Second) },
		"pooltest: Fault(Refuse, 2s, 1s): it ends before it begins":                      func() { db.Fault(pooltest.Refuse, 2*time.Second, time.Second) },
		"pooltest: Fault(Reset, 2s, 1s): it ends before it begins":                       func() { db.Fault(pooltest.Reset, 2*time.Second, time.Second) },
		"pooltest: Fault(HalfOpen, 1s, 1s): it ends when it begins, so it has no effect": func() { db.Fault(pooltest.HalfOpen, time.Second, time.Second) },
		"pooltest: Exactly(-1s): the latency is negative":                                func() { pooltest.Exactly(-time.Second) },
		"pooltest: Uniform(-1s, 1s): the least latency is negative":                      func() { pooltest.Uniform(-time.Second, time.Second) },
		"pooltest: Uniform(2s, 1s): the least latency is above the most":                 func() { pooltest.Uniform(2*time.Second, time.Second) },
		"pooltest: Exponential(0s): the mean is not positive":                            func() { pooltest.Exponential(0) },
		"pooltest: LogNormal(0s, 1): the median is not positive":                         func() { pooltest.LogNormal(0, 1) },
		"pooltest: LogNormal(1s, NaN): sigma is negative, infinite or not a number":      func() { pooltest.LogNormal(time.Second, nan) },
		"pooltest: LogNormal(1s, -1): sigma is negative, infinite or not a number":       func() { pooltest.LogNormal(time.Second, -1) },
		"pooltest: LogNormal(1s, +Inf): sigma is negative, infinite or not a number":     func() { pooltest.LogNormal(time.Second, infinite) },
		"pooltest: Pareto(0s, 2): the least latency is not positive":                     func() { pooltest.Pareto(0, 2) },
		"pooltest: Pareto(1s, 1): alpha is infinite, not above 1, or not a number":       func() { pooltest.Pareto(time.Second, 1) },
		"pooltest: Pareto(1s, NaN): alpha is infinite, not above 1, or not a number":     func() { pooltest.Pareto(time.Second, nan) },
	} {
		assert.PanicsWithValue(t, text, f)
	}
	assert.Equal(t, "no fault", pooltest.Fault(-1).String())
}
