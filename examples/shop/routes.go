package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/prommetrics"
	"github.com/actorpool/actorpool/page"
)

// routes are the requests that are served. The function that it returns ends the page.
func routes(db store) (http.Handler, func(), error) {
	collector, err := prommetrics.New(prommetrics.Options{}, db.pool())
	if err != nil {
		return nil, nil, err
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector); err != nil {
		return nil, nil, err
	}
	pages := page.New(page.Options{Stacks: true}, db.pool())
	mux := http.NewServeMux()
	mux.Handle("/pools/", pages)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if h := db.pool().Health(); !h.OK {
			http.Error(w, fmt.Sprint(h.State, ": ", h.LastError), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /products", func(w http.ResponseWriter, r *http.Request) {
		all, err := db.products(r.Context())
		answer(w, all, err)
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		count, err := strconv.ParseInt(r.FormValue("count"), 10, 16)
		if err != nil || count < 1 {
			http.Error(w, fmt.Sprintf("count: %q is not a number from 1 to 32767", r.FormValue("count")), http.StatusBadRequest)
			return
		}
		left, err := db.order(r.Context(), r.FormValue("product"), int(count))
		answer(w, map[string]int{"left": left}, err)
	})
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, r *http.Request) {
		pause, err := time.ParseDuration(r.FormValue("pause"))
		if err != nil || pause < 0 || pause > time.Minute {
			http.Error(w, fmt.Sprintf("pause: %q is not a time from 0s to 1m", r.FormValue("pause")), http.StatusBadRequest)
			return
		}
		sold, err := db.report(r.Context(), pause)
		answer(w, sold, err)
	})
	return mux, pages.Close, nil
}

// answer sends what was found, or why nothing was.
func answer(w http.ResponseWriter, found any, err error) {
	var noConn *messages.GetError // its text says who holds the connections
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(found) // the client has gone
	case errors.Is(err, errNotInStock):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.As(err, &noConn):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
