package otelmetrics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/otelmetrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// backend is a MeterProvider with a reader and a producer.
type backend struct {
	t        *testing.T
	reader   *sdkmetric.ManualReader
	producer *otelmetrics.Producer
	provider *sdkmetric.MeterProvider
}

func newBackend(t *testing.T, temporality metricdata.Temporality) *backend {
	b := &backend{t: t, producer: otelmetrics.NewProducer(temporality)}
	b.reader = sdkmetric.NewManualReader(
		sdkmetric.WithProducer(b.producer),
		sdkmetric.WithTemporalitySelector(func(kind sdkmetric.InstrumentKind) metricdata.Temporality {
			if temporality == metricdata.DeltaTemporality {
				return sdkmetric.DeltaTemporalitySelector(kind)
			}
			return metricdata.CumulativeTemporality
		}))
	b.provider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader))
	return b
}

func (b *backend) options(more ...otelmetrics.Option) []otelmetrics.Option {
	return append([]otelmetrics.Option{otelmetrics.WithMeterProvider(b.provider), otelmetrics.WithProducer(b.producer)}, more...)
}

func (b *backend) register(pool otelmetrics.Pool, more ...otelmetrics.Option) *otelmetrics.Registration {
	b.t.Helper()
	r, err := otelmetrics.Register(pool, b.options(more...)...)
	require.NoError(b.t, err)
	return r
}

// collect gives all metrics by name.
func (b *backend) collect() map[string]metricdata.Metrics {
	b.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(b.t, b.reader.Collect(ctx, &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		assert.Equal(b.t, "github.com/actorpool/actorpool/metrics/otelmetrics", scope.Scope.Name)
		for _, m := range scope.Metrics {
			assert.NotContains(b.t, byName, m.Name)
			byName[m.Name] = m
		}
	}
	return byName
}

// numbers gives the numbers that are not 0, by name and attributes without "db".
func numbers(metrics map[string]metricdata.Metrics) map[string]float64 {
	found := map[string]float64{}
	for name, m := range metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(found, name, p.Attributes, float64(p.Value))
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				add(found, name, p.Attributes, float64(p.Value))
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				add(found, name, p.Attributes, p.Value)
			}
		}
	}
	return found
}

func add(found map[string]float64, name string, set attribute.Set, value float64) {
	for _, kv := range set.ToSlice() {
		if kv.Key != "db.client.connection.pool.name" {
			name += " " + kv.Value.AsString()
		}
	}
	if value != 0 {
		found[name] = value
	}
}

func points(t *testing.T, metrics map[string]metricdata.Metrics, name string) []metricdata.ExponentialHistogramDataPoint[float64] {
	t.Helper()
	m, ok := metrics["db.client.connection."+name]
	if !ok {
		return nil
	}
	assert.Equal(t, "s", m.Unit)
	return m.Data.(metricdata.ExponentialHistogram[float64]).DataPoints
}

func TestThePoolsNumbersAreTheInstruments(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		w.Server.SetDial(testkit.Delay(100 * time.Millisecond))
		made := time.Now()
		pool := w.Pool(testkit.Capacity(2), func(cfg *testkit.Config) { cfg.MaxLease, cfg.MinIdle, cfg.MaxIdle = time.Hour, 1, 2 })
		testkit.Pass(time.Second) // for MinIdle
		b := newBackend(t, metricdata.CumulativeTemporality)
		defer func() { require.NoError(t, b.register(pool).Unregister()) }()
		first, second := testkit.Get(t, pool), testkit.Get(t, pool)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := pool.Get(short)
		require.Error(t, err)
		waiting := testkit.BeginGetWith(ctx, pool, client.GetOptions{Label: "a label"})
		testkit.Pass(time.Second)

		r := b.register(pool, otelmetrics.WithName("other"))
		metrics := b.collect()
		got := numbers(metrics)
		delete(got, "actorpool.lease.longest") // what it is depends on the pool's clock
		assert.Equal(t, map[string]float64{
			"db.client.connection.count used": 2, "db.client.connection.max": 2, "db.client.connection.idle.max": 2,
			"db.client.connection.idle.min": 1, "db.client.connection.pending_requests": 1, "db.client.connection.timeouts": 1,
			"actorpool.state ready": 1, "actorpool.wait.longest": 1, "actorpool.use_time.every": 1,
			"actorpool.gets": 4, "actorpool.grants": 2, "actorpool.waits": 3, "actorpool.connects": 2,
		}, got)
		count := metrics["db.client.connection.count"]
		assert.Equal(t, "{connection}", count.Unit)
		assert.False(t, count.Data.(metricdata.Sum[int64]).IsMonotonic)
		timeouts := metrics["db.client.connection.timeouts"].Data.(metricdata.Sum[int64])
		assert.True(t, timeouts.IsMonotonic)
		for _, m := range metrics {
			assert.NotContains(t, fmt.Sprint(m), "a label")
		}
		require.Len(t, points(t, metrics, "create_time"), 1)
		create := points(t, metrics, "create_time")[0]
		assert.Equal(t, attribute.NewSet(attribute.String("db.client.connection.pool.name", "other")), create.Attributes)
		assert.EqualValues(t, 2, create.Count)
		assert.InDelta(t, 0.2, create.Sum, 1e-9)
		assert.EqualValues(t, 2, create.Scale)
		assert.Equal(t, metricdata.ExponentialBucket{Offset: -14, Counts: []uint64{2}}, create.PositiveBucket)
		assert.Equal(t, made, create.StartTime)
		assert.EqualValues(t, 0, points(t, metrics, "use_time")[0].Count, "all are shown from the beginning")

		testkit.Put(t, first, second)
		testkit.Put(t, waiting.Granted(t))
		testkit.Put(t, testkit.Get(t, pool))
		testkit.Pass(time.Minute)
		metrics = b.collect()
		wait := points(t, metrics, "wait_time")[0]
		assert.EqualValues(t, 4, wait.Count)
		assert.EqualValues(t, 2, wait.ZeroCount)
		assert.InDelta(t, 1.1, wait.Sum, 1e-9)
		assert.Equal(t, made, wait.StartTime)
		assert.Equal(t, time.Now(), wait.Time)
		require.NoError(t, r.Unregister())
		require.NoError(t, r.Unregister(), "again")
		assert.Empty(t, b.collect())
	})
}

// delta sums up what collections give.
func TestDeltasAddUpToTheWhole(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		pool := w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) { cfg.MaxLease = time.Hour })
		b := newBackend(t, metricdata.DeltaTemporality)
		r := b.register(pool)
		defer func() { require.NoError(t, r.Unregister()) }()
		hold := func(d time.Duration) {
			l := testkit.Get(t, pool)
			testkit.Pass(d)
			testkit.Put(t, l)
		}
		begun := time.Now()
		hold(time.Second)
		hold(time.Second)
		metrics := b.collect()
		use := points(t, metrics, "use_time")[0]
		assert.EqualValues(t, 2, use.Count)
		assert.Equal(t, metricdata.ExponentialBucket{Offset: -1, Counts: []uint64{2}}, use.PositiveBucket)
		assert.Equal(t, begun, use.StartTime)
		assert.Equal(t, metricdata.DeltaTemporality, metrics["db.client.connection.use_time"].Data.(metricdata.ExponentialHistogram[float64]).Temporality)
		assert.Equal(t, metricdata.DeltaTemporality, metrics["actorpool.gets"].Data.(metricdata.Sum[int64]).Temporality)
		assert.Equal(t, metricdata.CumulativeTemporality, metrics["db.client.connection.max"].Data.(metricdata.Sum[int64]).Temporality)

		read := time.Now()
		testkit.Pass(time.Minute)
		assert.Nil(t, points(t, b.collect(), "use_time"), "nothing has come")
		idle := time.Now()
		hold(8 * time.Second)
		use = points(t, b.collect(), "use_time")[0]
		assert.EqualValues(t, 1, use.Count)
		assert.InDelta(t, 8, use.Sum, 1e-9)
		assert.Equal(t, metricdata.ExponentialBucket{Offset: 11, Counts: []uint64{1}}, use.PositiveBucket)
		assert.Equal(t, idle, use.StartTime, "intervals do not overlap, and leave no gap")
		assert.True(t, idle.After(read))
	})
}

// Two collections at the same time must not both count, or both miss, what came.
func TestConcurrentCollectionsCountEachUseOnce(t *testing.T) {
	pool := newPool(t, "orders", 4)
	b := newBackend(t, metricdata.DeltaTemporality)
	r := b.register(pool)
	var grants, waits uint64
	var lock sync.Mutex
	collect := func() {
		for i := range 50 {
			_ = i
			var all metricdata.ResourceMetrics
			if b.reader.Collect(ctx, &all) != nil {
				return
			}
			lock.Lock()
			for _, scope := range all.ScopeMetrics {
				for _, m := range scope.Metrics {
					if h, ok := m.Data.(metricdata.ExponentialHistogram[float64]); ok && strings.HasSuffix(m.Name, "wait_time") {
						waits += h.DataPoints[0].Count
					}
				}
			}
			lock.Unlock()
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				if l, err := pool.Get(ctx); err == nil {
					_ = l.Put()
				}
			}
		})
		all.Go(collect)
	}
	all.Wait()
	collect()
	grants = pool.Stats().Grants
	assert.EqualValues(t, 2000, grants)
	assert.Equal(t, grants, waits)
	require.NoError(t, r.Unregister())
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

func TestAClosedPoolDropsOut(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		b := newBackend(t, metricdata.CumulativeTemporality)
		pool := w.Spawn(w.Config())
		other := w.Pool(func(cfg *testkit.Config) { cfg.Name = "other" })
		closed := b.register(pool)
		stays := b.register(other)
		assert.Len(t, points(t, b.collect(), "wait_time"), 2)
		l := testkit.Get(t, pool)
		closing := testkit.Async(func() error { return pool.Close(ctx) })
		synctest.Wait()
		assert.EqualValues(t, 1, numbers(b.collect())["actorpool.state closing"], "until nothing is left")
		testkit.Put(t, l)
		require.NoError(t, closing.Returned(t))
		<-pool.Done()

		again := w.Pool() // of the same name
		r := b.register(again)
		metrics := b.collect()
		synctest.Wait()
		assert.Len(t, points(t, metrics, "wait_time"), 2)
		require.NoError(t, closed.Unregister())
		require.NoError(t, r.Unregister())
		metrics = b.collect()
		require.Len(t, points(t, metrics, "wait_time"), 1)
		assert.Contains(t, fmt.Sprint(points(t, metrics, "wait_time")[0].Attributes.Encoded(attribute.DefaultEncoder())), "other")
		require.NoError(t, stays.Unregister())
	})
}

// After it has been closed, and once more collected, nothing holds a pool.
func TestAClosedPoolBecomesGarbage(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	source := &fake{name: "orders", done: make(chan struct{})}
	collected := make(chan struct{})
	watch(source, collected)
	b.register(source)
	close(source.done)
	source = nil
	assert.Empty(t, b.collect())
	testkit.CollectUntil(t, func() bool {
		select {
		case <-collected:
			return true
		default:
			return false
		}
	})
}

func TestWhatIsWrongWithARegistrationIsSaid(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	pool := newPool(t, "orders", 1)
	fails := func(want string, pool otelmetrics.Pool, opts ...otelmetrics.Option) error {
		t.Helper()
		r, err := otelmetrics.Register(pool, opts...)
		assert.Nil(t, r)
		require.EqualError(t, err, want)
		return err
	}
	fails("otelmetrics: the pool is nil", nil, b.options()...)
	fails("otelmetrics: the pool is a nil *client.Pool[string]", (*client.Pool[string])(nil), b.options()...)
	err := fails(`otelmetrics: pool "orders": no histograms (create_time, wait_time, use_time) without a producer: `+
		`give WithProducer one whose Reader has it by sdkmetric.WithProducer, or say WithoutHistograms`, pool, otelmetrics.WithMeterProvider(b.provider))
	require.ErrorIs(t, err, otelmetrics.ErrNoProducer)
	fails(`otelmetrics: pool "orders": the producer is nil`, pool, otelmetrics.WithMeterProvider(b.provider), otelmetrics.WithProducer(nil))
	fails(`otelmetrics: pool "orders": the temporality of the producer is undefinedTemporality: it must be CumulativeTemporality or DeltaTemporality`,
		pool, otelmetrics.WithMeterProvider(b.provider), otelmetrics.WithProducer(otelmetrics.NewProducer(0)))
	_, err = otelmetrics.NewProducer(7).Produce(ctx)
	require.ErrorContains(t, err, "the temporality of the producer is ")

	r := b.register(pool)
	duplicate := `otelmetrics: pool "orders": there is a pool of this name already: give this one another name by WithName`
	fails(duplicate, newPool(t, "orders", 1), b.options()...)
	fails(duplicate, newPool(t, "orders", 1), otelmetrics.WithMeterProvider(b.provider), otelmetrics.WithoutHistograms())
	fails(duplicate, newPool(t, "orders", 1), otelmetrics.WithMeterProvider(noop.NewMeterProvider()), otelmetrics.WithProducer(b.producer))
	assert.Len(t, points(t, b.collect(), "use_time"), 1, "a failed registration leaves nothing")
	other := newBackend(t, metricdata.CumulativeTemporality)
	require.NoError(t, other.register(newPool(t, "orders", 1)).Unregister(), "another provider")
	require.NoError(t, b.register(newPool(t, "orders", 1), nil, otelmetrics.WithName("spare")).Unregister())
	require.NoError(t, r.Unregister())
	require.NoError(t, b.register(pool).Unregister(), "after Unregister")

	refused := errors.New("no instruments")
	err = fails(`otelmetrics: pool "orders": no instruments`, pool, otelmetrics.WithMeterProvider(refusing{err: refused}), otelmetrics.WithProducer(b.producer))
	require.ErrorIs(t, err, refused)
	require.NoError(t, b.register(pool).Unregister())

	require.NoError(t, pool.Close(ctx))
	err = fails(`otelmetrics: pool "orders": actorpool: pool is closed`, pool, b.options()...)
	require.ErrorIs(t, err, messages.ErrClosed)
}

// refusing is a MeterProvider that has no instruments, and that cannot be compared.
type refusing struct {
	noop.MeterProvider
	err error
	_   []int
}

func (r refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{err: r.err} }

type refusingMeter struct {
	noop.Meter
	err error
}

func (m refusingMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, m.err
}

func TestWithoutHistogramsThereAreNone(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	r, err := otelmetrics.Register(newPool(t, "orders", 3), otelmetrics.WithMeterProvider(b.provider), otelmetrics.WithoutHistograms())
	require.NoError(t, err)
	metrics := b.collect()
	assert.EqualValues(t, 3, numbers(metrics)["db.client.connection.max"])
	assert.Nil(t, points(t, metrics, "use_time"))
	require.NoError(t, r.Unregister())
}

// member is a pool that is in a fleet.
type member struct {
	*client.Pool[*conn]
	status messages.FleetStatus
}

func (m *member) Status() messages.FleetStatus { return m.status }

func TestAMemberOfAFleetHasItsMetrics(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	m := &member{newPool(t, "orders", 3), messages.FleetStatus{
		Phase: "soft", Budget: 97, Charge: 4, Target: 3, Want: 5, Held: 2, TTL: 15 * time.Second, Proof: 12500 * time.Millisecond, Errors: 8,
		Fleet: []messages.FleetMember{{Charge: 4, Alive: true}, {Charge: 2}},
	}}
	r, alone := b.register(m), b.register(newPool(t, "alone", 1))
	metrics := b.collect()
	got := map[string]float64{}
	for name, n := range numbers(metrics) {
		if name, ok := strings.CutPrefix(name, "actorpool.fleet."); ok {
			got[name] = n
		}
	}
	assert.Equal(t, map[string]float64{
		"phase soft": 1, "budget": 97, "charge": 4, "target": 3, "want": 5, "held": 2, "lost": 2, "members": 1, "proof.age": 12.5, "ttl": 15, "errors": 8,
	}, got)
	assert.Equal(t, "s", metrics["actorpool.fleet.proof.age"].Unit)
	assert.True(t, metrics["actorpool.fleet.errors"].Data.(metricdata.Sum[int64]).IsMonotonic)
	assert.Len(t, metrics["actorpool.fleet.charge"].Data.(metricdata.Sum[int64]).DataPoints, 1, "a pool that is in no fleet has none")
	require.NoError(t, errors.Join(r.Unregister(), alone.Unregister()))
	again := b.register(newPool(t, "orders", 1))
	for name := range b.collect() {
		assert.False(t, strings.HasPrefix(name, "actorpool.fleet."), name)
	}
	require.NoError(t, again.Unregister())
}

// A pool that does not answer is an error of the collection, which shows the others.
func TestASourceThatFailsDoesNotHideTheOthers(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	bad, good := &fake{name: "bad", err: errors.New("no answer")}, &fake{name: "good"}
	defer func() { require.NoError(t, errors.Join(b.register(bad).Unregister(), b.register(good).Unregister())) }()
	first, second := b.register(bad), b.register(good)
	var all metricdata.ResourceMetrics
	err := b.reader.Collect(ctx, &all)
	require.ErrorContains(t, err, `otelmetrics: pool "bad": no answer`)
	assert.Contains(t, fmt.Sprint(all.ScopeMetrics), "good")
	scopes, err := b.producer.Produce(ctx)
	require.EqualError(t, err, `otelmetrics: pool "bad": no answer`)
	require.Len(t, scopes, 1)
	assert.Len(t, scopes[0].Metrics, 3)
	require.NoError(t, errors.Join(first.Unregister(), second.Unregister()))
}

// fake is a source that is no pool: a Set, say.
type fake struct {
	name string
	err  error
	done chan struct{}
	_    []int
}

func (f *fake) Stats() messages.Stats { return messages.Stats{Name: f.name} }

func (f *fake) Measure(context.Context) (messages.Measures, error) {
	return messages.Measures{Stats: f.Stats()}, f.err
}

func (f *fake) Done() <-chan struct{} { return f.done }

func TestNamesOfPoolsArriveWholeAndHarmless(t *testing.T) {
	b := newBackend(t, metricdata.CumulativeTemporality)
	for name, want := range map[string]string{
		"<script>\n": `<script>\n`, "a\xff": "a\ufffd", strings.Repeat("x", 1<<20): strings.Repeat("x", 197) + "…",
	} {
		r := b.register(&fake{name: name})
		use := points(t, b.collect(), "use_time")[0]
		got, _ := use.Attributes.Value("db.client.connection.pool.name")
		assert.Equal(t, want, got.AsString())
		require.NoError(t, r.Unregister())
	}
}
