package page_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/page"
)

// A set of pools is a group.
var _ page.Group = (*client.Set[string, *testkit.Conn])(nil)

// rude is a key whose text panics.
type rude struct{}

func (rude) String() string { panic("no text") }

func TestASetIsShownWithItsPools(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		s, err := client.NewSet(client.SetConfig[any, *testkit.Conn]{Name: "tenants", Total: 10, New: func(any) testkit.Config {
			return w.Config(func(c *testkit.Config) { c.Name, c.GetTimeout = "pool", time.Second })
		}})
		require.NoError(t, err)
		defer func() { assert.NoError(t, s.Close(t.Context())) }()
		long := strings.Repeat("ä", 80)
		for _, key := range []any{"blue", long, 7, "7", rude{}} {
			require.NoError(t, s.Do(t.Context(), key, func(context.Context, *testkit.Conn) error { return nil }))
		}
		names := make(map[string]bool)
		var sevens []string
		for name, p := range s.Pools() {
			assert.Equal(t, 1, p.Stats().Idle)
			names[name] = true
			if strings.HasPrefix(name, "7 (") {
				sevens = append(sevens, name)
			}
		}
		assert.Len(t, names, 5, "each has a name of its own")
		assert.Len(t, sevens, 2)
		assert.True(t, names["blue"])
		assert.True(t, names[strings.Repeat("ä", 59)+"…"])
		for range s.Pools() {
			break // it ends when it is told to
		}

		h := page.New(page.Options{}, s)
		defer h.Close()
		r := httptest.NewRequest(http.MethodGet, "/data", nil)
		r.Host = "localhost"
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		assert.True(t, json.Valid(answer.Body.Bytes()))
		for _, name := range []string{"tenants", "blue", sevens[0], sevens[1]} {
			assert.Contains(t, answer.Body.String(), name)
		}
	})
}
