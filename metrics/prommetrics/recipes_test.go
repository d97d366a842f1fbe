package prommetrics_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// The code of docs/metrics.md. A test in internal/architecture keeps the two the same.

func endpoint(mux *http.ServeMux, orders, sessions *client.Pool[*conn]) error {
	collector, err := prommetrics.New(prommetrics.Options{}, orders, sessions)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector); err != nil {
		return err
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return nil
}

func TestTheRecipeOfPrometheus(t *testing.T) {
	mux := http.NewServeMux()
	require.NoError(t, endpoint(mux, newPool(t, "orders", 1), newPool(t, "sessions", 2)))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Contains(t, w.Body.String(), `db_client_connection_max{db_client_connection_pool_name="sessions"} 2`)
}
