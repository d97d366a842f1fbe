package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// The code of docs/recipes.md. A test in internal/architecture keeps the two the same.

func ready(pool *client.Pool[*testkit.Conn]) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := pool.Health()
		if !h.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(h)
	}
}

// tokens stands for whatever knows the password of the moment.
type tokens struct{ current atomic.Value }

func (t *tokens) fetch(context.Context) (string, error) { return t.current.Load().(string), nil }

// dial stands for a driver.
func dial(ctx context.Context, server *testkit.Server, token string) (*testkit.Conn, error) {
	if token == "" {
		return nil, testkit.ErrRefused
	}
	return server.Connect(ctx)
}

func rotating(server *testkit.Server, secrets *tokens) client.Config[*testkit.Conn] {
	return client.Config[*testkit.Conn]{
		Name: "orders",
		Connect: func(ctx context.Context) (*testkit.Conn, error) {
			token, err := secrets.fetch(ctx) // for each connect, not once at the start
			if err != nil {
				return nil, err
			}
			return dial(ctx, server, token)
		},
		MaxLifetime: 45 * time.Minute, // a token is valid for an hour
	}
}

// primary clears its pool once after a failover, however many callers notice it.
type primary struct {
	pool *client.Pool[*testkit.Conn]
	next atomic.Uint64 // the first generation that has not been cleared
}

func (p *primary) do(ctx context.Context, use func(context.Context, *testkit.Conn) error) error {
	generation := p.pool.Stats().Generation
	err := p.pool.Do(ctx, use)
	var sql interface{ SQLState() string }
	if errors.As(err, &sql) && sql.SQLState() == "25006" {
		if next := p.next.Load(); next <= generation && p.next.CompareAndSwap(next, generation+1) {
			_ = p.pool.Clear(ctx, client.ClearOptions{})
		}
	}
	return err
}

// share is what one of several instances may open.
func share(ctx context.Context, pool *client.Pool[*testkit.Conn], limit, reserved, instances int) error {
	n := max(1, (limit-reserved)/instances)
	return pool.SetCapacity(ctx, n)
}

func start(ctx context.Context, cfg client.Config[*testkit.Conn], serve func(*client.Pool[*testkit.Conn]) error) error {
	pool, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close(ctx) }()

	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := pool.Warm(bounded, 4); err != nil {
		return err // says what the last connect failed with
	}
	return serve(pool)
}

func listen(ctx context.Context, pool *client.Pool[*testkit.Conn], wait func(context.Context, *testkit.Conn) (string, error), notify func(string)) error {
	lease, err := pool.Get(ctx)
	if err != nil {
		return err
	}
	conn, err := lease.Hijack()
	if err != nil {
		return err // the lease had ended
	}
	defer func() { _ = conn.Close() }() // it is ours, and the pool forgets it
	for {
		message, err := wait(ctx, conn)
		if err != nil {
			return err // begin again with another connection
		}
		notify(message)
	}
}

type connKey struct{}

// within calls f with the connection of ctx, or with one that f's own calls share.
func within(ctx context.Context, pool *client.Pool[*testkit.Conn], f func(context.Context, *testkit.Conn) error) error {
	if conn, ok := ctx.Value(connKey{}).(*testkit.Conn); ok {
		return f(ctx, conn)
	}
	return pool.Do(ctx, func(ctx context.Context, conn *testkit.Conn) error {
		return f(context.WithValue(ctx, connKey{}, conn), conn)
	})
}

func watched(cfg client.Config[*testkit.Conn], log *slog.Logger, count func(kind string)) client.Config[*testkit.Conn] {
	cfg.Name = "orders" // it is in every line
	cfg.Logger = log    // at level warn: backoffs, leaks, panics
	cfg.LeakAfter = time.Minute
	cfg.OnChange = func(e messages.Event) { count(e.Kind.String() + " " + e.Reason.String()) }
	return cfg
}

func explain(ctx context.Context, pool *client.Pool[*testkit.Conn], log *slog.Logger, err error) {
	log.ErrorContext(ctx, "no connection", "error", err, "details", fmt.Sprintf("%+v", err))
	if e, err := pool.Explain(ctx); err == nil {
		log.ErrorContext(ctx, "the pool", "explain", e.String())
	}
}

func TestRecipeReadiness(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		ask := func() int {
			answer := httptest.NewRecorder()
			ready(p)(answer, httptest.NewRequest(http.MethodGet, "/ready", nil))
			assert.Contains(t, answer.Body.String(), `"state":"`)
			return answer.Code
		}
		assert.Equal(t, http.StatusOK, ask())
		w.Server.SetDial(testkit.Refuse)
		_, err := p.Get(ctx)
		require.Error(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, ask())
	})
}

func TestRecipeCredentialsThatRotate(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var secrets tokens
		secrets.current.Store("")
		p := w.Spawn(rotating(w.Server, &secrets))
		_, err := p.Get(ctx)
		require.ErrorIs(t, err, testkit.ErrRefused)
		secrets.current.Store("new")
		require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
		testkit.Put(t, testkit.Get(t, p))
		testkit.Close(t, p)
	})
}

// readOnly is what a server says that is not the primary any more.
type readOnly struct{ error }

func (readOnly) SQLState() string { return "25006" }

func TestRecipeFailover(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := &primary{pool: w.Pool(testkit.Capacity(4))}
		for generation := range uint64(2) {
			testkit.Fill(t, p.pool, 4)
			var calls []*testkit.Call
			for range 4 {
				calls = append(calls, testkit.Async(func() error {
					return p.do(ctx, func(context.Context, *testkit.Conn) error { time.Sleep(time.Second); return readOnly{testkit.ErrApp} })
				}))
			}
			time.Sleep(2 * time.Second)
			for _, c := range calls {
				require.ErrorAs(t, c.Returned(t), new(readOnly))
			}
			assert.Equal(t, generation+1, p.pool.Stats().Generation, "it is cleared once")
		}
	})
}

func TestRecipeLimitsAndWarmUp(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		require.NoError(t, start(ctx, w.Config(), func(pool *client.Pool[*testkit.Conn]) error {
			assert.Equal(t, 4, pool.Stats().Open, "it is warm")
			require.NoError(t, share(ctx, pool, 100, 3, 12))
			assert.Equal(t, 8, pool.Stats().Capacity)
			return nil
		}))
		w.Server.SetDial(testkit.Refuse)
		assert.ErrorIs(t, start(ctx, w.Config(), nil), testkit.ErrRefused)
	})
}

func TestRecipeListen(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		var conn *testkit.Conn
		var got []string
		wait := func(_ context.Context, c *testkit.Conn) (string, error) {
			conn = c
			assert.Zero(t, p.Stats().Open, "the pool has forgotten it")
			testkit.Put(t, testkit.Get(t, p)) // and opens another one, within a capacity of 1
			require.NoError(t, p.Clear(ctx, client.ClearOptions{}))
			synctest.Wait()
			assert.Zero(t, c.Closes(), "Clear closes what the pool has")
			if len(got) == 2 {
				return "", testkit.ErrRefused
			}
			return fmt.Sprint(len(got)), nil
		}
		assert.ErrorIs(t, listen(ctx, p, wait, func(m string) { got = append(got, m) }), testkit.ErrRefused)
		assert.Equal(t, []string{"0", "1"}, got)
		assert.Equal(t, 1, conn.Closes())
		w.Server.SetDial(testkit.Refuse)
		assert.ErrorIs(t, listen(ctx, p, nil, nil), testkit.ErrRefused)
	})
}

func TestRecipeOneConnectionForARequest(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(1))
		require.NoError(t, within(ctx, p, func(ctx context.Context, outer *testkit.Conn) error {
			return within(ctx, p, func(_ context.Context, inner *testkit.Conn) error {
				assert.Same(t, outer, inner)
				return nil
			})
		}))
	})
}

func TestRecipeWhatToLog(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		var out syncBuffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
		var kinds steps
		p := w.Spawn(watched(w.Config(testkit.Capacity(1)), log, kinds.add))
		l, err := p.GetWith(ctx, client.GetOptions{Label: "nightly import"})
		require.NoError(t, err)
		_, err = p.Get(testkit.Within(t, time.Second))
		explain(ctx, p, log, err)
		assert.Contains(t, out.take(), "nightly import")
		testkit.Put(t, l)
		testkit.Close(t, p)
		assert.Contains(t, kinds.all(), "ConnectionClosed poolClosed")
	})
}
