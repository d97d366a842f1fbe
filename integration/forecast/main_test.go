//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/forecast"
	"github.com/actorpool/actorpool/integration/internal/servers"
)

// The trials that docs/forecast.md reports are longer, and their bounds are those of the forecast. Here the
// bounds are three times as wide, and one of three attempts must be within them: another
// program may take the machine for a while.
func TestAForecastComesTrue(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 60")
	servers.Require(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	var failures error
	for attempt := range 3 {
		err := attemptForecast(t.Context(), server.DSN("postgres", ""), uint64(attempt))
		if err == nil {
			return
		}
		t.Log(err)
		failures = errors.Join(failures, err)
	}
	require.NoError(t, failures)
}

// attemptForecast records a pool of 8, and tries the smallest one for which the mean wait is promised.
func attemptForecast(ctx context.Context, dsn string, seed uint64) error {
	w := &workloads[0]
	calm, err := w.calm(ctx, dsn)
	if err != nil {
		return err
	}
	l := newLoad(w, 0.5, calm, 1300)
	r, err := l.record(ctx, dsn, recordedAt, seed)
	if err != nil {
		return err
	}
	bands := forecast.Predict(r, forecast.WhatIf{Capacities: []int{2, 3, 4, 5, 6, 7}})
	i := slices.IndexFunc(bands, func(b forecast.Band) bool { return b.Promised })
	if i < 0 {
		return fmt.Errorf("nothing is promised: %s", bands[0].Words)
	}
	b := &bands[i]
	recording, err := l.record(ctx, dsn, b.Capacity, seed)
	if err != nil {
		return err
	}
	came := measure(recording)
	if came.mean < b.MeanFrom/3 || came.mean > b.MeanTo*3 {
		return fmt.Errorf("capacity %d: the mean wait was %v, with holds of %v; recorded holds were %v. The forecast was: %s",
			b.Capacity, came.mean, came.hold, measure(r).hold, b.Words)
	}
	return nil
}
