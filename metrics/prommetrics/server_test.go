package prommetrics_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/servers"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/metrics/internal/server"
	"github.com/actorpool/actorpool/metrics/prommetrics"
)

// bound is how long a test waits for something that must happen.
const bound = 30 * time.Second

// program is a program with a pool whose server goes away and comes back, and with the
// endpoint that Prometheus scrapes.
type program struct {
	pool   *client.Pool[*conn]
	away   atomic.Bool
	target string

	stop    context.CancelFunc
	workers sync.WaitGroup
}

var errAway = errors.New("the server is away")

func startProgram(t *testing.T) *program {
	p := &program{}
	connect := func(ctx context.Context) (*conn, error) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if p.away.Load() {
			return nil, errAway
		}
		return &conn{}, nil
	}
	var err error
	p.pool, err = client.New(client.Config[*conn]{
		Name: "orders", Capacity: 4, Connect: connect, LeakAfter: time.Minute,
		Backoff: client.Backoff{Base: 20 * time.Millisecond, Cap: 50 * time.Millisecond},
	})
	require.NoError(t, err)
	quiet := newPool(t, "sess\"<b>\nions", 2)
	hard := inFleet(quiet)
	hard.status.Phase = "hard"
	_, registry := collector(t, prommetrics.Options{}, inFleet(p.pool), hard)
	endpoint := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	p.target = strings.TrimPrefix(endpoint.URL, "http://")
	var load context.Context
	load, p.stop = context.WithCancel(ctx)
	t.Cleanup(func() {
		p.quiet()
		endpoint.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		require.NoError(t, p.pool.Close(ctx))
		<-p.pool.Done()
	})
	for i := range 12 {
		p.workers.Go(func() {
			for n := 0; load.Err() == nil; n++ {
				bounded, cancel := context.WithTimeout(load, 40*time.Millisecond)
				_ = p.pool.Do(bounded, func(context.Context, *conn) error {
					time.Sleep(time.Duration(1+(n+i)%9) * time.Millisecond)
					if p.away.Load() {
						return errAway
					}
					return nil
				})
				cancel()
			}
		})
	}
	return p
}

// quiet ends the load, and waits until all of it has ended.
func (p *program) quiet() {
	p.stop()
	p.workers.Wait()
}

// outage lets the server go away until the pool has backed off, and come back.
func (p *program) outage(t *testing.T) {
	t.Helper()
	backoffs := p.pool.Stats().Backoffs
	p.away.Store(true)
	require.NoError(t, p.pool.Clear(ctx, client.ClearOptions{}))
	require.Eventually(t, func() bool { return p.pool.Stats().Backoffs > backoffs+2 }, bound, time.Millisecond)
	p.away.Store(false)
	require.Eventually(t, func() bool {
		return p.pool.Stats().State == messages.StateReady && p.pool.Stats().Idle+p.pool.Stats().Borrowed > 0
	}, bound, time.Millisecond)
}

func startPrometheus(t *testing.T, p *program, native bool) *server.Prometheus {
	t.Helper()
	rules, err := filepath.Abs("../alerts.yml")
	require.NoError(t, err)
	s, err := server.StartPrometheus(p.target, native, rules)
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

const ofOrders = `{db_client_connection_pool_name="orders"}`

// A real server scrapes a program under load and through an outage. Then its numbers are
// those of the pool, its quantiles lie in the same buckets, every panel of the dashboard
// has data, and no alert rule fails.
func TestARealPrometheusScrapesAPoolUnderLoad(t *testing.T) {
	_, err := server.Find("prometheus")
	servers.Require(t, err)
	for name, c := range map[string]struct {
		native  bool
		count   string  // of a histogram
		buckets string  // what histogram_quantile is given
		width   float64 // of a bucket
		least   float64 // the upper bound of the first bucket
	}{
		"native histograms": {true, "histogram_count(%s" + ofOrders + ")", "%s", math.Exp2(0.25), 1e-9},
		"classic buckets":   {false, "%s_count" + ofOrders, "%s_bucket", 2, 1.0 / 8192},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProgram(t)
			s := startPrometheus(t, p, c.native)
			gets := func() (n float64) {
				n, err := s.Value("actorpool_gets_total" + ofOrders)
				require.NoError(t, err)
				return n
			}
			require.NoError(t, s.Until(bound, func() error {
				if n := gets(); !(n > 100) { // not a number: none yet
					return fmt.Errorf("%v gets", n)
				}
				return nil
			}))
			p.outage(t)
			before := gets()
			require.NoError(t, s.Until(bound, func() error {
				if n := gets(); n <= before {
					return fmt.Errorf("%v gets, as before", n)
				}
				return nil
			}))
			panelsHaveData(t, s)
			p.quiet()
			m, err := p.pool.Measure(ctx)
			require.NoError(t, err)
			require.NoError(t, s.Until(bound, func() error {
				if n := gets(); n != float64(m.Stats.Gets) {
					return fmt.Errorf("%v gets, not %v", n, m.Stats.Gets)
				}
				return nil
			}))
			for expression, want := range map[string]float64{
				"db_client_connection_timeouts_total" + ofOrders:                                                         float64(m.Stats.Timeouts),
				"actorpool_connect_errors_total" + ofOrders:                                                              float64(m.Stats.ConnectErrors),
				"actorpool_backoffs_total" + ofOrders:                                                                    float64(m.Stats.Backoffs),
				"db_client_connection_max" + ofOrders:                                                                    4,
				"actorpool_fleet_charge" + ofOrders:                                                                      4,
				"actorpool_fleet_proof_age_seconds" + ofOrders:                                                           1.5,
				`sum(actorpool_fleet_phase{actorpool_fleet_phase="hard"})`:                                               1,
				`actorpool_state{actorpool_state="ready",db_client_connection_pool_name="orders"}`:                       1,
				`db_client_connection_max{db_client_connection_pool_name="sess\"<b>\\nions"}`:                            2,
				`sum(db_client_connection_count{db_client_connection_pool_name="orders"}) - ` + fmt.Sprint(m.Stats.Open): 0,
			} {
				got, err := s.Value(expression)
				require.NoError(t, err)
				assert.InDelta(t, want, got, 0, expression)
			}
			for name, h := range map[string]messages.Histogram{
				"db_client_connection_wait_time_seconds": m.Wait, "db_client_connection_use_time_seconds": m.Use, "db_client_connection_create_time_seconds": m.Connect,
			} {
				count, err := s.Value(fmt.Sprintf(c.count, name))
				require.NoError(t, err)
				assert.InDelta(t, float64(h.Count), count, 0, name)
				for _, q := range []float64{0.25, 0.5, 0.9, 0.99} {
					got, err := s.Value(fmt.Sprintf("histogram_quantile(%v, "+c.buckets+ofOrders+")", q, name))
					require.NoError(t, err)
					want := h.Quantile(q).Seconds()
					if want <= c.least {
						assert.LessOrEqual(t, got, c.least, "%s: quantile %v", name, q)
						continue
					}
					assert.LessOrEqual(t, math.Abs(math.Log(got/want)), math.Log(c.width)*1.001, "%s: quantile %v is %v, not %v", name, q, got, want)
				}
			}
			classic, err := s.Value(`count({__name__=~".+_bucket"})`)
			require.NoError(t, err)
			assert.Equal(t, c.native, math.IsNaN(classic), "%v classic buckets", classic)
			rulesAreEvaluated(t, s)
			rulesFireForTheFleet(t, s)
		})
	}
}

// panelsHaveData evaluates every expression of the dashboard.
func panelsHaveData(t *testing.T, s *server.Prometheus) {
	t.Helper()
	variable := regexp.MustCompile(`"\$\w+"`)
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			expression := variable.ReplaceAllString(strings.ReplaceAll(target.Expr, "$__rate_interval", "20s"), `".*"`)
			require.NoError(t, s.Until(bound, func() error {
				values, err := s.Query(expression, "db_client_connection_pool_name")
				if err != nil {
					return err
				}
				if _, ok := values["orders"]; !ok {
					return fmt.Errorf("%s has no data: %s", p.Title, expression)
				}
				return nil
			}))
		}
	}
}

// rulesAreEvaluated waits until the server has evaluated every alert rule.
func rulesAreEvaluated(t *testing.T, s *server.Prometheus) {
	t.Helper()
	require.NoError(t, s.Until(bound, func() error {
		rules, err := s.Rules()
		if err != nil {
			return err
		}
		for _, r := range alerts(t) {
			if reason, ok := rules[r.Alert]; !ok || reason != "" {
				return fmt.Errorf("%s: %q", r.Alert, reason)
			}
		}
		return nil
	}))
}
