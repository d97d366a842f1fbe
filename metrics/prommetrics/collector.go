package prommetrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/catalogue"
)

// Pool is what metrics are read from: a *client.Pool[C] for any C, or anything else that
// measures as a pool does. If it has a method Status() messages.FleetStatus, as a
// *fleet.Member has, it also has the metrics of a member of a fleet. If it has a method Done() <-chan struct{}, its metrics end when
// that channel is closed; otherwise when Measure returns messages.ErrClosed. Counts must
// not go down; one that is lower than before is shown as it was before.
type Pool interface {
	Stats() messages.Stats
	Measure(ctx context.Context) (messages.Measures, error)
}

// Options are the options of a Collector. The zero value shows the histograms both ways:
// a Prometheus server that knows native histograms takes these, another one takes the
// classic buckets.
type Options struct {
	// WithoutClassic leaves out the classic buckets: 20 time series for each histogram.
	WithoutClassic bool
	// WithoutNative leaves out the native histograms.
	WithoutNative bool
}

// Collector is a prometheus.Collector for any number of pools. Its methods may be called
// from many goroutines.
type Collector struct {
	options    Options
	metrics    [len(catalogue.Metrics)]*prometheus.Desc
	histograms [len(catalogue.Histograms)]*prometheus.Desc
	pools      atomic.Pointer[[]*catalogue.Reader] // never changed: a change puts another slice in its place
}

var _ prometheus.Collector = (*Collector)(nil)

// New makes a Collector for pools. It registers it nowhere: that is done by the
// Register of a prometheus.Registerer. One Collector is enough for a registry, which
// refuses a second one.
//
// The error is that of [Collector.Add], or says that Options leave nothing of the
// histograms.
func New(o Options, pools ...Pool) (*Collector, error) {
	if o.WithoutClassic && o.WithoutNative {
		return nil, errors.New("prommetrics: Options with both WithoutClassic and WithoutNative: the histograms would have no buckets")
	}
	c := &Collector{options: o}
	c.pools.Store(new([]*catalogue.Reader))
	for i := range catalogue.Metrics {
		m := &catalogue.Metrics[i]
		labels := []string{catalogue.Label(catalogue.PoolName)}
		if m.Attribute != "" {
			labels = append(labels, catalogue.Label(m.Attribute))
		}
		c.metrics[i] = prometheus.NewDesc(m.PrometheusName(), m.Description, labels, nil)
	}
	for i := range catalogue.Histograms {
		h := &catalogue.Histograms[i]
		c.histograms[i] = prometheus.NewDesc(h.PrometheusName(), h.Description, []string{catalogue.Label(catalogue.PoolName)}, nil)
	}
	for _, pool := range pools {
		if err := c.Add(pool); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Add shows one more pool, under its own name, until it is removed or closed (its Done is
// closed): then it is left out of the next scrape by itself. The counts are those since
// the pool was made.
//
// The error names the pool and says what is wrong: it is nil or closed, or the Collector
// has a pool of this name already (see [Collector.AddAs]).
func (c *Collector) Add(pool Pool) error { return c.AddAs("", pool) }

// AddAs is Add under another name; empty: the pool's own.
func (c *Collector) AddAs(name string, pool Pool) error {
	reader, err := catalogue.NewReader(pool, name)
	if err != nil {
		return fmt.Errorf("prommetrics: %w", err)
	}
	for {
		old := c.pools.Load()
		list := []*catalogue.Reader{reader}
		for _, other := range *old {
			switch {
			case other.Closed():
			case other.Name == reader.Name:
				return fmt.Errorf("prommetrics: pool %q: there is a pool of this name already: give this one another name by AddAs", reader.Name)
			default:
				list = append(list, other)
			}
		}
		if c.pools.CompareAndSwap(old, &list) {
			return nil
		}
	}
}

// Remove ends the metrics of the pool with this name. False: there is none.
func (c *Collector) Remove(name string) bool {
	name = catalogue.Clean(name)
	return c.without(func(r *catalogue.Reader) bool { return r.Name == name })
}

func (c *Collector) without(match func(*catalogue.Reader) bool) bool {
	for {
		old := c.pools.Load()
		list := slices.DeleteFunc(slices.Clone(*old), match)
		if len(list) == len(*old) {
			return false
		}
		if c.pools.CompareAndSwap(old, &list) {
			return true
		}
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.metrics {
		descs <- d
	}
	for _, d := range c.histograms {
		descs <- d
	}
}

// collectBound is how long a scrape may wait for a pool. A pool answers at once.
const collectBound = 5 * time.Second

// Collect implements prometheus.Collector. A pool that does not answer within 5 seconds
// is an error of the scrape.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectBound)
	defer cancel()
	for _, pool := range *c.pools.Load() {
		_, now, err := pool.Read(ctx)
		switch {
		case errors.Is(err, messages.ErrClosed):
			c.without(func(other *catalogue.Reader) bool { return other == pool })
		case err != nil:
			metrics <- prometheus.NewInvalidMetric(c.metrics[0], fmt.Errorf("prommetrics: %w", err))
		default:
			c.show(metrics, pool.Name, now)
		}
	}
}

func (c *Collector) show(metrics chan<- prometheus.Metric, pool string, now *catalogue.Snapshot) {
	now.Each(func(i, part int, value int64) {
		m := &catalogue.Metrics[i]
		kind, number, labels := prometheus.GaugeValue, float64(value), []string{pool}
		if m.Kind == catalogue.Counter {
			kind = prometheus.CounterValue
		}
		if m.Seconds() {
			number = catalogue.Seconds(value)
		}
		if m.Attribute != "" {
			labels = append(labels, m.Parts[part].Value)
		}
		metrics <- prometheus.MustNewConstMetric(c.metrics[i], kind, number, labels...)
	})
	for i, desc := range c.histograms {
		metrics <- &histogram{
			desc: desc, labels: prometheus.MakeLabelPairs(desc, []string{pool}), durations: now.Histograms[i], options: c.options,
		}
	}
}
