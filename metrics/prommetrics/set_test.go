package prommetrics_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// A set of pools is shown as one pool, under its own name.
func TestASetIsShownUnderOneName(t *testing.T) {
	set, err := client.NewSet(client.SetConfig[string, *conn]{Name: "tenants", Total: 7, New: func(string) client.Config[*conn] {
		return client.Config[*conn]{Connect: func(context.Context) (*conn, error) { return &conn{}, nil }, GetTimeout: time.Minute}
	}})
	require.NoError(t, err)
	for _, key := range []string{"a", "b", "a"} {
		require.NoError(t, set.Do(ctx, key, func(context.Context, *conn) error { return nil }))
	}
	_, registry := collector(t, prommetrics.Options{}, set)
	families := gather(t, registry)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			names := 0
			for _, label := range metric.GetLabel() {
				if label.GetValue() == "tenants" {
					names++
				}
				assert.NotContains(t, label.GetValue(), "tenants/", family.GetName())
			}
			assert.Equal(t, 1, names, family.GetName())
		}
	}
	text := scrape(t, registry)
	assert.Contains(t, text, `{db_client_connection_pool_name="tenants"} 7`, "the maximum is Total")
	require.NoError(t, set.Close(ctx))
	<-set.Done()
	assert.NotContains(t, scrape(t, registry), "tenants", "it is left when nothing is left")
}
