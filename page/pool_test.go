package page_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/page"
)

// Any pool is a source, and its Explain and Measure are read.
var _ page.Pool = (*client.Pool[io.Closer])(nil)

// sentence gives the verdict of the page about its first pool.
func sentence(t *testing.T, h http.Handler) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/data", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var d struct {
		Pool *struct {
			Verdict struct{ Sentence string }
		}
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d), w.Body.String())
	if d.Pool == nil {
		return ""
	}
	return d.Pool.Verdict.Sentence
}

func TestItTellsAPoolsLife(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Spawn(w.Config(func(c *testkit.Config) {
			c.Name, c.Capacity, c.LeakAfter = "orders", 1, 5*time.Second
			c.Backoff = client.Backoff{Base: 10 * time.Second, Cap: 10 * time.Second}
		}))
		h := page.New(page.Options{}, p)
		assert.Equal(t, "Ready and quiet: no connection is open. The next Get opens one.", sentence(t, h))

		lease, err := p.GetWith(t.Context(), client.GetOptions{Label: "nightly import"})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		waited := make(chan error)
		go func() {
			second, err := p.GetWith(t.Context(), client.GetOptions{Label: "login"})
			if err == nil {
				err = second.Taint(errors.New("unexpected EOF"))
			}
			waited <- err
		}()
		time.Sleep(4 * time.Second)
		assert.Equal(t, "Exhausted: the only connection is out and 1 caller waits. The first (login) has waited 4s. "+
			"The longest lease is out for 14s (nightly import).", sentence(t, h))
		require.NoError(t, lease.Put())
		require.NoError(t, <-waited)

		require.NoError(t, p.Suspend(t.Context()))
		time.Sleep(3 * time.Second)
		assert.Contains(t, sentence(t, h), "Suspended for ")
		require.NoError(t, p.Resume(t.Context()))

		require.NoError(t, p.Close(t.Context()))
		<-p.Done()
		time.Sleep(2 * time.Second)
		assert.Equal(t, "Closed: no connection is left.", sentence(t, h))
		time.Sleep(time.Minute) // the page forgets it, and ends by itself: nobody closes h
		assert.Empty(t, sentence(t, h))
	})
}

func TestAPoolThatIsNotThereIsNoErrorOfThePage(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		h := page.New(page.Options{}, client.Attach[*testkit.Conn](w.System, actor.NewPID("nonhost", "nobody")), client.Attach[int](nil, nil))
		assert.Equal(t, "Closed: no connection is left.", sentence(t, h))
		h.Close()
	})
}
