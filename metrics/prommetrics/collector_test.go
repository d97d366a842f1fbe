package prommetrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/servers"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/otelmetrics"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(servers.Runs))
}

var ctx = context.Background()

// fake is a source that says what a test tells it to say.
type fake struct {
	lock     sync.Mutex
	measures messages.Measures
	err      error
}

func named(name string) *fake {
	return &fake{measures: messages.Measures{Stats: messages.Stats{Name: name}}}
}

func (f *fake) Stats() messages.Stats { return f.measures.Stats }

func (f *fake) Measure(context.Context) (messages.Measures, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.measures, f.err
}

func (f *fake) fail(err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.err = err
}

func collector(t testing.TB, o prommetrics.Options, pools ...prommetrics.Pool) (*prommetrics.Collector, *prometheus.Registry) {
	t.Helper()
	c, err := prommetrics.New(o, pools...)
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	return c, registry
}

// gather gives the families by name.
func gather(t testing.TB, registry prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// scrape gives the text of a scrape.
func scrape(t testing.TB, registry prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, 200, w.Code, w.Body)
	return w.Body.String()
}

func newPool(t testing.TB, name string, capacity int) *client.Pool[*conn] {
	t.Helper()
	pool, err := client.New(client.Config[*conn]{
		Name: name, Capacity: capacity, Connect: func(context.Context) (*conn, error) { return &conn{}, nil },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, pool.Close(ctx))
		<-pool.Done()
	})
	return pool
}

type conn struct{ _ int }

func (*conn) Close() error { return nil }

// histogram is one with these counts, each of durations at the bucket's upper bound.
func histogram(zeros uint64, offset int, buckets ...uint64) messages.Histogram {
	h := messages.Histogram{Count: zeros, Scale: messages.HistogramScale, Offset: offset, Buckets: buckets}
	for i, n := range buckets {
		h.Count += n
		h.Sum += time.Duration(n) * h.Bound(offset+i)
	}
	return h
}

func TestAScrapeShowsThePool(t *testing.T) {
	f := named("orders")
	f.measures.Stats = messages.Stats{
		Name: "orders", State: messages.StateReady, Capacity: 8, Idle: 3, Borrowed: 2, InTransition: 1, Waiting: 4, Timeouts: 5, ClosedBroken: 6,
	}
	f.measures.LongestWait = 1500 * time.Millisecond
	f.measures.Wait = histogram(7, -4, 1, 0, 0, 2, 3) // up to 0.59 s, 1 s and 1.19 s
	_, registry := collector(t, prommetrics.Options{}, f)
	text := scrape(t, registry)
	for _, line := range []string{
		`# HELP db_client_connection_count The number of connections that are currently in state described by the ` + "`state` attribute.",
		`# TYPE db_client_connection_count gauge`,
		`db_client_connection_count{db_client_connection_pool_name="orders",db_client_connection_state="idle"} 3`,
		`db_client_connection_count{db_client_connection_pool_name="orders",db_client_connection_state="used"} 3`,
		`db_client_connection_max{db_client_connection_pool_name="orders"} 8`,
		`db_client_connection_pending_requests{db_client_connection_pool_name="orders"} 4`,
		`# TYPE db_client_connection_timeouts_total counter`,
		`db_client_connection_timeouts_total{db_client_connection_pool_name="orders"} 5`,
		`actorpool_closed_total{actorpool_reason="broken",db_client_connection_pool_name="orders"} 6`,
		`actorpool_closed_total{actorpool_reason="idle",db_client_connection_pool_name="orders"} 0`,
		`actorpool_state{actorpool_state="ready",db_client_connection_pool_name="orders"} 1`,
		`actorpool_state{actorpool_state="backoff",db_client_connection_pool_name="orders"} 0`,
		`actorpool_wait_longest_seconds{db_client_connection_pool_name="orders"} 1.5`,
		`# TYPE db_client_connection_wait_time_seconds histogram`,
		`db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="0.5"} 7`,
		`db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="1"} 10`,
		`db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="2"} 13`,
		`db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="32"} 13`,
		`db_client_connection_wait_time_seconds_bucket{db_client_connection_pool_name="orders",le="+Inf"} 13`,
		`db_client_connection_wait_time_seconds_count{db_client_connection_pool_name="orders"} 13`,
	} {
		assert.Contains(t, text, line+"\n")
	}
}

// The bounds of both kinds of buckets, exactly.
func TestTheBucketsAreThoseOfThePool(t *testing.T) {
	f := named("orders")
	f.measures.Use = histogram(2, -60, 1, 1, 0, 0, 0, 4, 0, 2)
	f.measures.Connect = histogram(0, 19, 1, 1) // up to 32 s, and more
	_, registry := collector(t, prommetrics.Options{}, f)
	families := gather(t, registry)

	use := families["db_client_connection_use_time_seconds"].Metric[0].Histogram
	assert.EqualValues(t, 10, use.GetSampleCount())
	assert.InDelta(t, f.measures.Use.Sum.Seconds(), use.GetSampleSum(), 1e-12)
	assert.EqualValues(t, 2, use.GetSchema())
	assert.EqualValues(t, 2, use.GetZeroCount())
	assert.Zero(t, use.GetZeroThreshold())
	assert.Equal(t, map[int]int64{-59: 1, -58: 1, -54: 4, -53: 0, -52: 2}, native(use))
	require.Len(t, use.PositiveSpan, 2)
	for _, b := range use.Bucket {
		var below uint64 = 2
		for i, n := range f.measures.Use.Buckets {
			if math.Exp2(float64(-60+i+1)/4) <= b.GetUpperBound() {
				below += n
			}
		}
		assert.Equal(t, below, b.GetCumulativeCount(), b.GetUpperBound())
	}
	assert.InDelta(t, 1.0/8192, use.Bucket[0].GetUpperBound(), 0)

	connect := families["db_client_connection_create_time_seconds"].Metric[0].Histogram
	last := connect.Bucket[len(connect.Bucket)-1]
	assert.InDelta(t, 32, last.GetUpperBound(), 0)
	assert.EqualValues(t, 1, last.GetCumulativeCount(), "a bound belongs to the bucket below it")
	assert.Equal(t, map[int]int64{20: 1, 21: 1}, native(connect))

	wait := families["db_client_connection_wait_time_seconds"].Metric[0].Histogram
	assert.Empty(t, native(wait))
	require.Len(t, wait.PositiveSpan, 1, "it is native without any count")
}

// native decodes the buckets, by Prometheus' index.
func native(h *dto.Histogram) map[int]int64 {
	counts := map[int]int64{}
	index, n, next := 0, int64(0), 0
	for _, span := range h.PositiveSpan {
		index += int(span.GetOffset())
		for range span.GetLength() {
			n += h.PositiveDelta[next]
			counts[index] = n
			index, next = index+1, next+1
		}
	}
	return counts
}

func TestOneKindOfBucketsCanBeLeftOut(t *testing.T) {
	f := named("orders")
	f.measures.Use = histogram(1, 0, 1)
	_, registry := collector(t, prommetrics.Options{WithoutClassic: true}, f)
	use := gather(t, registry)["db_client_connection_use_time_seconds"].Metric[0].Histogram
	assert.Empty(t, use.Bucket)
	assert.NotEmpty(t, use.PositiveSpan)
	_, registry = collector(t, prommetrics.Options{WithoutNative: true}, f)
	use = gather(t, registry)["db_client_connection_use_time_seconds"].Metric[0].Histogram
	assert.NotEmpty(t, use.Bucket)
	assert.Empty(t, use.PositiveSpan)
	assert.Nil(t, use.Schema)
	_, err := prommetrics.New(prommetrics.Options{WithoutClassic: true, WithoutNative: true})
	require.EqualError(t, err, "prommetrics: Options with both WithoutClassic and WithoutNative: the histograms would have no buckets")
}

// shapes says of each family its type, help and labels; with the values of labels.
func shapes(families map[string]*dto.MetricFamily) map[string]string {
	all := map[string]string{}
	for name, f := range families {
		var series []string
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if !strings.HasPrefix(l.GetName(), "otel_scope_") {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			slices.Sort(labels)
			text := strings.Join(labels, ",")
			switch {
			case m.Histogram != nil:
				h := m.Histogram
				text += fmt.Sprint(" ", h.GetSampleCount(), " ", h.GetSampleSum(), " ", h.GetSchema(), " ", h.GetZeroCount(), " ", occupied(h))
			case m.Counter != nil:
				text += fmt.Sprint(" ", m.Counter.GetValue())
			default:
				text += fmt.Sprint(" ", m.Gauge.GetValue())
			}
			series = append(series, text)
		}
		slices.Sort(series)
		all[name] = fmt.Sprintf("%s %q %s", f.GetType(), f.GetHelp(), strings.Join(series, "; "))
	}
	return all
}

func occupied(h *dto.Histogram) map[int]int64 {
	counts := native(h)
	maps.DeleteFunc(counts, func(_ int, n int64) bool { return n == 0 })
	return counts
}

func TestTheNamesAndNumbersAreThoseOfOpenTelemetrysExporter(t *testing.T) {
	orders := named("orders")
	orders.measures = messages.Measures{
		Stats: messages.Stats{Name: "orders", State: messages.StateBackoff, Capacity: 8, Idle: 3, Waiting: 4, Timeouts: 5, Grants: 20, ClosedIdle: 1},
		Wait:  histogram(7, -4, 1, 0, 0, 0, 0, 2, 3), Use: histogram(0, -60, 1), LongestLease: 2500 * time.Millisecond, UseEvery: 16,
	}
	pools := []prommetrics.Pool{inFleet(orders), named("sess\nions")}

	exported := prometheus.NewRegistry()
	producer := otelmetrics.NewProducer(metricdata.CumulativeTemporality)
	exporter, err := otelprometheus.New(
		otelprometheus.WithRegisterer(exported), otelprometheus.WithProducer(producer), otelprometheus.WithoutTargetInfo())
	require.NoError(t, err)
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	c, own := collector(t, prommetrics.Options{})
	for _, pool := range pools {
		r, err := otelmetrics.Register(pool, otelmetrics.WithMeterProvider(provider), otelmetrics.WithProducer(producer))
		require.NoError(t, err)
		defer func() { assert.NoError(t, r.Unregister()) }()
		require.NoError(t, c.Add(pool))
	}
	assert.Equal(t, shapes(gather(t, exported)), shapes(gather(t, own)))
	assert.Contains(t, scrape(t, own), `db_client_connection_pool_name="sess\\nions"`)
}

func TestAClosedPoolDropsOut(t *testing.T) {
	first, other := newPool(t, "orders", 1), newPool(t, "other", 1)
	c, registry := collector(t, prommetrics.Options{}, first, other)
	assert.Len(t, gather(t, registry)["actorpool_gets_total"].Metric, 2)
	require.NoError(t, first.Close(ctx))
	<-first.Done()
	assert.Len(t, gather(t, registry)["actorpool_gets_total"].Metric, 1)
	assert.False(t, c.Remove("orders"), "it has gone")
	require.NoError(t, c.Add(newPool(t, "orders", 1)), "another one may have its name")
	assert.Len(t, gather(t, registry)["actorpool_gets_total"].Metric, 2)
	assert.True(t, c.Remove("orders"))
	assert.True(t, c.Remove("other"))
	assert.Empty(t, gather(t, registry))
}

// A source without Done drops out as soon as it says that it is closed.
func TestASourceThatIsClosedDropsOut(t *testing.T) {
	f := named("orders")
	c, registry := collector(t, prommetrics.Options{}, f)
	f.fail(fmt.Errorf("no more: %w", messages.ErrClosed))
	assert.Empty(t, gather(t, registry))
	assert.False(t, c.Remove("orders"))
}

func TestWhatIsWrongWithAPoolIsSaid(t *testing.T) {
	c, registry := collector(t, prommetrics.Options{}, named("orders"))
	require.EqualError(t, c.Add(nil), "prommetrics: the pool is nil")
	require.EqualError(t, c.Add((*client.Pool[int])(nil)), "prommetrics: the pool is a nil *client.Pool[int]")
	require.EqualError(t, c.Add(named("orders")), `prommetrics: pool "orders": there is a pool of this name already: give this one another name by AddAs`)
	_, err := prommetrics.New(prommetrics.Options{}, named("a"), named("a"))
	require.EqualError(t, err, `prommetrics: pool "a": there is a pool of this name already: give this one another name by AddAs`)
	require.NoError(t, c.AddAs("spare", named("orders")))
	assert.Len(t, gather(t, registry)["actorpool_gets_total"].Metric, 2)
	closed := newPool(t, "closed", 1)
	require.NoError(t, closed.Close(ctx))
	err = c.Add(closed)
	require.EqualError(t, err, `prommetrics: pool "closed": actorpool: pool is closed`)
	require.ErrorIs(t, err, messages.ErrClosed)

	long := strings.Repeat("x", 1<<20)
	require.NoError(t, c.Add(named(long+"1")))
	require.ErrorContains(t, c.Add(named(long+"2")), "there is a pool of this name already")
	assert.True(t, c.Remove(long), "a name is cut everywhere")
	assert.Less(t, len(scrape(t, registry)), 1<<16)
}

func TestASourceThatFailsIsAnErrorOfTheScrape(t *testing.T) {
	f := named("orders")
	_, registry := collector(t, prommetrics.Options{}, f, named("good"))
	f.fail(errors.New("no answer"))
	families, err := registry.Gather()
	require.ErrorContains(t, err, `prommetrics: pool "orders": no answer`)
	var text bytes.Buffer
	for _, family := range families {
		text.WriteString(family.String())
	}
	assert.Contains(t, text.String(), "good")
}

func TestPoolsComeAndGoDuringScrapes(t *testing.T) {
	c, registry := collector(t, prommetrics.Options{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			name := fmt.Sprint("pool", i)
			for range 50 {
				assert.NoError(t, c.Add(named(name)))
				_, err := registry.Gather()
				assert.NoError(t, err)
				assert.True(t, c.Remove(name))
			}
		})
	}
	all.Wait()
	assert.Empty(t, gather(t, registry))
}

// Nothing appears on the default registry.
func TestTheDefaultRegistryIsLeftAlone(t *testing.T) {
	collector(t, prommetrics.Options{}, named("orders"))
	for name := range gather(t, prometheus.DefaultGatherer) {
		assert.False(t, strings.HasPrefix(name, "db_client") || strings.HasPrefix(name, "actorpool"), name)
	}
}
