package messages_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// M3
func TestAQuantileIsWithinItsBucket(t *testing.T) {
	// 3 of 0, 4 up to a second, 2 up to 1.19s, none up to 1.41s, 1 up to 1.68s.
	h := messages.Histogram{Count: 10, Scale: 2, Offset: -1, Buckets: []uint64{4, 2, 0, 1}}
	assert.EqualValues(t, 3, h.Zeros())
	root := func(n float64) time.Duration { return time.Duration(math.Exp2(n/4) * float64(time.Second)) }
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{
		{-1, 0},
		{0, 0},
		{.3, 0},
		{.5, root(-.5)},
		{.7, time.Second},
		{.8, root(.5)},
		{.9, root(1)},
		{.95, root(2.5)},
		{1, root(3)},
		{7, root(3)},
		{math.NaN(), 0},
	} {
		assert.InDelta(t, c.want, h.Quantile(c.q), 2, "%v", c.q)
	}
	assert.Zero(t, messages.Histogram{}.Quantile(.5), "without durations")
	assert.Zero(t, messages.Histogram{Count: 5, Scale: 2}.Quantile(.99), "all waited 0")
	assert.EqualValues(t, math.MaxInt64, messages.Histogram{Count: 1, Scale: 2, Offset: 132, Buckets: []uint64{1}}.Quantile(1))
}

func TestMeasuresMarshalToJSON(t *testing.T) {
	data, err := json.Marshal(messages.Measures{
		Since:    moment,
		Wait:     messages.Histogram{Count: 2, Sum: time.Second, Scale: 2, Offset: -1, Buckets: []uint64{1}},
		UseEvery: 16, LongestWait: time.Minute,
	})
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, map[string]any{"count": 2., "sum": 1e9, "scale": 2., "offset": -1., "buckets": []any{1.}}, got["wait"])
	assert.Equal(t, map[string]any{"count": 0., "sum": 0., "scale": 0., "offset": 0., "buckets": []any{}}, got["use"])
	assert.Equal(t, 16., got["useEvery"])
	assert.Equal(t, 6e10, got["longestWait"])
	assert.Contains(t, got, "stats")
	assert.Equal(t, moment.Format(time.RFC3339Nano), got["since"])
	var back messages.Measures
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, []uint64{1}, back.Wait.Buckets)
	assert.True(t, moment.Equal(back.Since))
}
