package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/actorpool/actorpool/internal/servers"
)

// Find looks for a program of Prometheus: prometheus or promtool.
func Find(program string) (string, error) { return servers.Find(program, "prometheus") }

// Prometheus is a Prometheus server that scrapes one target each second.
type Prometheus struct {
	*servers.Server
	client *http.Client
}

// StartPrometheus starts a server that scrapes http://target/metrics, and knows native
// histograms or does not. It has the alert rules of a file; empty: none.
func StartPrometheus(target string, native bool, rules string) (_ *Prometheus, err error) {
	program, err := Find("prometheus")
	if err != nil {
		return nil, err
	}
	server, err := servers.New("prometheus", "")
	if err != nil {
		return nil, err
	}
	s := &Prometheus{server, &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}}
	defer servers.CloseOnError(&err, s)
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n" +
		"scrape_configs: [{job_name: test, static_configs: [{targets: ['" + target + "']}]}]\n"
	if rules != "" {
		config += "rule_files: ['" + rules + "']\n"
	}
	file := s.Path("prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.Program, s.Args = program, []string{"--config.file=" + file, "--storage.tsdb.path=" + s.Path("data"), "--web.listen-address=" + s.Address}
	if native {
		s.Args = append(s.Args, "--enable-feature=native-histograms")
	}
	s.Ping = func(ctx context.Context) error {
		_, err := s.get(ctx, "/-/ready", nil)
		return err
	}
	return s, s.Start()
}

// Close kills the server and removes its folder.
func (s *Prometheus) Close() error {
	s.client.CloseIdleConnections()
	return s.Server.Close()
}

func (s *Prometheus) get(ctx context.Context, path string, values url.Values) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return body, err
}

// Query evaluates an expression now. The values are by the label that is named by; empty:
// there is one value at most.
func (s *Prometheus) Query(expression, by string) (map[string]float64, error) {
	body, err := s.get(context.Background(), "/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %v is no number: %w", expression, r.Value, err)
		}
		values[r.Metric[by]] = value
	}
	return values, nil
}

// Value evaluates an expression that has one value. NaN: it has none.
func (s *Prometheus) Value(expression string) (float64, error) {
	values, err := s.Query(expression, "")
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return math.NaN(), nil
	}
	return values[""], nil
}

// Rules are the errors of the alert rules, by name; empty: a rule has been evaluated
// without an error.
func (s *Prometheus) Rules() (map[string]string, error) {
	body, err := s.get(context.Background(), "/api/v1/rules", nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	errs := map[string]string{}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if errs[r.Name] = r.LastError; r.LastError == "" && r.Health != "ok" {
				errs[r.Name] = r.Health
			}
		}
	}
	return errs, nil
}
