package page

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// fake is a pool that says what a test wants, and counts who asks.
type fake struct {
	what                      atomic.Pointer[messages.Explanation]
	stats, explains, measures atomic.Int64
	onStats, onExplain        func(context.Context) error
	done                      chan struct{}
}

func newFake(name string, change ...func(*messages.Explanation)) *fake {
	f := &fake{done: make(chan struct{})}
	e := messages.Explanation{Stats: messages.Stats{Name: name, State: messages.StateReady, Capacity: 2, Open: 2, Idle: 2}, Time: moment}
	for _, c := range change {
		c(&e)
	}
	f.what.Store(&e)
	return f
}

func (f *fake) Stats() messages.Stats {
	f.stats.Add(1)
	if f.onStats != nil {
		_ = f.onStats(context.Background())
	}
	return f.what.Load().Stats
}

func (f *fake) Done() <-chan struct{} { return f.done }

func (f *fake) Explain(ctx context.Context) (messages.Explanation, error) {
	f.explains.Add(1)
	if f.onExplain != nil {
		if err := f.onExplain(ctx); err != nil {
			return messages.Explanation{}, err
		}
	}
	return *f.what.Load(), nil
}

func (f *fake) Measure(context.Context) (messages.Measures, error) {
	f.measures.Add(1)
	return messages.Measures{Stats: f.what.Load().Stats, UseEvery: 16}, nil
}

// fakeMember is a pool that is in a fleet.
type fakeMember struct {
	*fake
	status   atomic.Pointer[messages.FleetStatus]
	onStatus atomic.Pointer[func()]
}

func (f *fakeMember) Status() messages.FleetStatus {
	if on := f.onStatus.Load(); on != nil {
		(*on)()
	}
	return *f.status.Load()
}

// fakeGroup is a group with the pools of a list.
type fakeGroup struct {
	*bare
	pools atomic.Pointer[[]*fake]
}

func (g *fakeGroup) Pools() iter.Seq2[string, Pool] {
	return func(yield func(string, Pool) bool) {
		for _, p := range *g.pools.Load() {
			if !yield(p.what.Load().Stats.Name, p) {
				return
			}
		}
	}
}

// bare is a source with nothing but Stats.
type bare struct {
	name string
	done chan struct{}
}

func (b *bare) Stats() messages.Stats {
	return messages.Stats{Name: b.name, State: messages.StateReady, Capacity: 4, Open: 4, Borrowed: 4, Waiting: 3}
}
func (b *bare) Done() <-chan struct{} { return b.done }

// request makes a request of the loopback interface.
func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost:8080"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func get(h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(http.MethodGet, target, headers...))
	return w
}

// data is what the page gets.
type data struct {
	Pools []listed `json:"pools"`
	Pool  *struct {
		Key     string         `json:"key"`
		Verdict verdict        `json:"verdict"`
		Failed  string         `json:"failed"`
		Explain map[string]any `json:"explain"`
		Chart   chart          `json:"chart"`
		IsGroup bool           `json:"isGroup"`
		More    int            `json:"more"`
	} `json:"pool"`
}

func ask(t *testing.T, h http.Handler, target string) data {
	t.Helper()
	w := get(h, target)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var d data
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d), w.Body.String())
	return d
}

func (d data) keys() []string {
	keys := []string{}
	for _, p := range d.Pools {
		keys = append(keys, p.Key)
	}
	return keys
}
