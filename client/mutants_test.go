package client_test

// Cases that a mutation run found untested: see docs/testing.md.

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// link is a connection.
type link struct{}

func (*link) Close() error { return nil }

func connectLink(context.Context) (*link, error) { return &link{}, nil }

// newLinks makes a pool that is closed at the end of the test, in whose virtual
// time it lives.
func newLinks(t *testing.T, cfg client.Config[*link]) *client.Pool[*link] {
	t.Helper()
	if cfg.Connect == nil {
		cfg.Connect = connectLink
	}
	cfg.Name, cfg.Capacity = "links", 1
	p, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { end(t, p) })
	return p
}

// end closes a pool. The actor library counts dead letters on a goroutine that
// lives for a moment longer.
func end(t *testing.T, p *client.Pool[*link]) {
	t.Helper()
	assert.NoError(t, p.Close(context.Background()))
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

func TestTheErrorThatCameFirstCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLinks(t, client.Config[*link]{})
		held, err := p.Get(context.Background())
		require.NoError(t, err)
		leaving, leave := context.WithCancel(context.Background())
		answer := make(chan error, 1)
		go func() {
			_, err := p.Get(leaving)
			answer <- err
		}()
		synctest.Wait()
		over, cancel := context.WithCancel(context.Background())
		cancel()
		require.Error(t, p.Close(over), "a connection is still borrowed")
		leave() // the Get is answered, and its caller may not have noticed
		err = <-answer
		assert.ErrorIs(t, err, messages.ErrClosed)
		assert.NotErrorIs(t, err, context.Canceled)
		require.NoError(t, held.Put())
	})
}

func TestACauseIsToldOnceAndOnlyIfItSaysMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLinks(t, client.Config[*link]{})
		held, err := p.Get(context.Background())
		require.NoError(t, err)
		defer func() { assert.NoError(t, held.Put()) }()

		plain, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = p.Get(plain)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, strings.Count(err.Error(), context.Canceled.Error()), err)

		reason := errors.New("the user has gone")
		caused, cancelCause := context.WithCancelCause(context.Background())
		cancelCause(reason)
		_, err = p.Get(caused)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, reason)
		assert.Contains(t, err.Error(), "context canceled: the user has gone")
	})
}

func TestTheContextOfADisconnectEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside context.Context
		p := newLinks(t, client.Config[*link]{Disconnect: func(ctx context.Context, _ *link) error {
			inside = ctx
			return nil
		}})
		lease, err := p.Get(context.Background())
		require.NoError(t, err)
		require.NoError(t, lease.Put())
		require.NoError(t, p.Close(context.Background()))
		assert.ErrorIs(t, inside.Err(), context.Canceled)
	})
}

// logged gives the lines of the log that a pool has written.
func logged(text *bytes.Buffer, containing string) (lines []string) {
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, containing) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestADisconnectThatFailsIsLoggedAndOneThatDoesNotIsNot(t *testing.T) {
	for _, failure := range []error{nil, errors.New("broken pipe")} {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			p := newLinks(t, client.Config[*link]{
				Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Disconnect: func(context.Context, *link) error {
					time.Sleep(20 * time.Millisecond)
					return failure
				},
			})
			time.Sleep(time.Hour) // the time since the start is no duration
			lease, err := p.Get(context.Background())
			require.NoError(t, err)
			require.NoError(t, lease.Put())
			require.NoError(t, p.Close(context.Background()))
			synctest.Wait()
			lines := logged(&text, "Disconnect failed")
			if failure == nil {
				assert.Empty(t, lines)
				return
			}
			require.Len(t, lines, 1)
			for _, part := range []string{"driverConnectionId=1 ", "durationMS=20 ", `error="broken pipe"`} {
				assert.Contains(t, lines[0], part)
			}
		})
	}
}

func TestACloseWaitsForAnEventHandlerButNotForOneThatIsNotThere(t *testing.T) {
	for _, handler := range []func(messages.Event){nil, func(messages.Event) { time.Sleep(10 * time.Millisecond) }} {
		synctest.Test(t, func(t *testing.T) {
			p := newLinks(t, client.Config[*link]{OnEvent: handler})
			synctest.Wait()
			start := time.Now()
			require.NoError(t, p.Close(context.Background()))
			want := time.Duration(0)
			if handler != nil {
				want = 30 * time.Millisecond // PoolCreated, PoolReady and PoolClosed
			}
			assert.Equal(t, want, time.Since(start))
		})
	}
}

func TestAPanicOfTheEventHandlerIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		told := 0
		p := newLinks(t, client.Config[*link]{
			Logger: slog.New(slog.NewTextHandler(&text, nil)),
			OnEvent: func(e messages.Event) {
				if told++; e.Kind == messages.PoolReady {
					panic("not prepared")
				}
			},
		})
		require.NoError(t, p.Close(context.Background()))
		synctest.Wait()
		lines := logged(&text, "Panic in OnEvent")
		require.Len(t, lines, 1)
		for _, part := range []string{"level=WARN", "event=PoolReady", `panic="not prepared"`, "mutants_test.go"} {
			assert.Contains(t, lines[0], part)
		}
		assert.Equal(t, 3, told, "the events after it are told: PoolClosed")
	})
}

// TestTheLogSaysOfEachEventWhatBelongsToItAndNothingElse compares whole lines.
func TestTheLogSaysOfEachEventWhatBelongsToItAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		handler := slog.NewTextHandler(&text, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				switch a.Key {
				case slog.TimeKey:
					return slog.Attr{}
				case "stack":
					return slog.Bool("stack", strings.Contains(a.Value.String(), "mutants_test.go"))
				case "error": // without the picture of the pool
					text, _, _ := strings.Cut(a.Value.String(), " (")
					return slog.String("error", text)
				}
				return a
			},
		})
		connects := 0
		p := newLinks(t, client.Config[*link]{
			Logger:    slog.New(handler),
			LeakAfter: time.Minute,
			Backoff:   client.Backoff{Base: time.Second, Jitter: client.NoJitter},
			Connect: func(context.Context) (*link, error) {
				if connects++; connects == 2 {
					return nil, errors.New("connection refused")
				}
				time.Sleep(30 * time.Millisecond)
				return &link{}, nil
			},
		})
		ctx := context.Background()
		lease, err := p.GetWith(ctx, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		require.NoError(t, p.SetCapacity(ctx, 2))
		_, err = p.Get(ctx)
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		time.Sleep(61 * time.Second) // the leak is reported
		require.NoError(t, p.Clear(ctx, client.ClearOptions{Interrupt: true}))
		require.ErrorIs(t, lease.Put(), messages.ErrLeaseEnded)
		require.NoError(t, p.Close(ctx))
		synctest.Wait()
		assert.Equal(t, `level=DEBUG msg="Connection pool created" pool=links seq=1 capacity=1
level=DEBUG msg="Connection pool ready" pool=links seq=2
level=DEBUG msg="Connection checkout started" pool=links seq=3 label=import
level=DEBUG msg="Connection created" pool=links seq=4 driverConnectionId=1
level=DEBUG msg="Connection ready" pool=links seq=5 driverConnectionId=1 durationMS=30
level=DEBUG msg="Connection checked out" pool=links seq=6 driverConnectionId=1 durationMS=30 label=import
level=DEBUG msg="Connection pool capacity changed" pool=links seq=7 from=1 to=2
level=DEBUG msg="Connection checkout started" pool=links seq=8
level=DEBUG msg="Connection created" pool=links seq=9 driverConnectionId=2
level=DEBUG msg="Connection closed" pool=links seq=10 driverConnectionId=2 reason=error error="connection refused"
level=WARN msg="Connection pool backoff" pool=links seq=11 durationMS=1000 attempt=1 class=overload error="connection refused"
level=DEBUG msg="Connection checkout failed" pool=links seq=12 reason=connectionError durationMS=0 `+
			`error="actorpool \"links\": connect failed: connection refused"
level=WARN msg="Connection lease leaked" pool=links seq=13 driverConnectionId=1 durationMS=60000 label=import stack=true
level=DEBUG msg="Connection pool cleared" pool=links seq=14 generation=1 interruptInUseConnections=true
level=DEBUG msg="Connection closed" pool=links seq=15 driverConnectionId=1 reason=stale
level=DEBUG msg="Connection pool closed" pool=links seq=16
`, text.String())
	})
}

// spawnLinks makes a pool in an actor system of the test.
func spawnLinks(t *testing.T, capacity int) (*actor.ActorSystem, *client.Pool[*link]) {
	t.Helper()
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	p, err := client.Spawn(system.Root, client.Config[*link]{Connect: connectLink, Capacity: capacity, MaxConnecting: capacity})
	require.NoError(t, err)
	t.Cleanup(func() {
		end(t, p)
		system.Shutdown()
	})
	return system, p
}

func TestAGetByMessageFromNobodyChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system, p := spawnLinks(t, 1)
		system.Root.Send(p.PID(), &messages.Get{})
		synctest.Wait()
		assert.Zero(t, p.Stats().Gets)
		lease, err := p.Get(context.Background())
		require.NoError(t, err)
		require.NoError(t, lease.Put())
	})
}

func TestTheConnectorsOfAPoolThatShrinksAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system, p := spawnLinks(t, 4)
		actors := func() (n int) {
			synctest.Wait()
			for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
				n += bucket.Count()
			}
			return n
		}
		before := actors()
		var leases []client.Lease[*link]
		for range 4 {
			lease, err := p.Get(context.Background())
			require.NoError(t, err)
			leases = append(leases, lease)
		}
		for _, lease := range leases {
			require.NoError(t, lease.Put())
		}
		assert.Equal(t, before+4, actors())
		require.NoError(t, p.SetCapacity(context.Background(), 1))
		assert.Equal(t, before+1, actors())
	})
}

func TestTheAgeOfALabelledLeaseIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLinks(t, client.Config[*link]{})
		ctx := context.Background()
		lease, err := p.Get(ctx)
		require.NoError(t, err)
		require.NoError(t, lease.Put())
		time.Sleep(time.Minute)
		lease, err = p.GetWith(ctx, client.GetOptions{Label: "import"})
		require.NoError(t, err)
		time.Sleep(time.Second)
		e, err := p.Explain(ctx)
		require.NoError(t, err)
		require.Len(t, e.Holders, 1)
		assert.Equal(t, time.Second, e.Holders[0].Age)
		require.NoError(t, lease.Put())
	})
}

func TestABaseAboveTheDefaultCapIsThePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newLinks(t, client.Config[*link]{
			Backoff: client.Backoff{Base: time.Minute, Jitter: client.NoJitter},
			Connect: func(context.Context) (*link, error) {
				if time.Since(start) == 0 {
					return nil, errors.New("connection refused")
				}
				return &link{}, nil
			},
		})
		_, err := p.Get(context.Background())
		require.ErrorIs(t, err, messages.ErrConnectFailed)
		lease, err := p.Get(context.Background())
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(start))
		require.NoError(t, lease.Put())
	})
}

func TestAClearByMessageInterruptsIfItSaysSo(t *testing.T) {
	for _, interrupt := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			system, p := spawnLinks(t, 1)
			lease, err := p.Get(context.Background())
			require.NoError(t, err)
			system.Root.Send(p.PID(), &messages.Clear{Interrupt: interrupt})
			synctest.Wait()
			if err := lease.Put(); interrupt {
				assert.ErrorIs(t, err, messages.ErrLeaseEnded)
			} else {
				assert.NoError(t, err)
			}
		})
	}
}

func TestAnActorThatIsNoPoolIsClosedToEveryMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system, other := spawnLinks(t, 1)
		p := client.Attach[*link](system, actor.NewPID(system.Address(), "nobody"))
		ctx := context.Background()
		for name, f := range map[string]func() error{
			"Get":         func() error { _, err := p.Get(ctx); return err },
			"SetCapacity": func() error { return p.SetCapacity(ctx, 1) },
			"Clear":       func() error { return p.Clear(ctx, client.ClearOptions{}) },
			"Suspend":     func() error { return p.Suspend(ctx) },
			"Resume":      func() error { return p.Resume(ctx) },
			"Ready":       func() error { return p.Ready(ctx) },
		} {
			assert.ErrorIs(t, f(), messages.ErrClosed, name)
		}
		time.Sleep(time.Millisecond) // see end
		assert.Zero(t, other.Stats().Gets)
	})
}
