package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// startBound is how long a server may take to start or to stop.
const startBound = 30 * time.Second

// MissingError says that a program is not installed, and which package of Debian and
// Ubuntu contains it.
type MissingError struct{ Program, Package string }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.Program, e.Package)
}

// Find looks for a program of Prometheus: prometheus or promtool.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &MissingError{Program: program, Package: "prometheus"}
	}
	return path, nil
}

// Require ends a test that needs what could not be found or started. If it is not
// installed, the test is skipped, except with CI=true. err may be nil.
func Require(t testing.TB, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Prometheus is a Prometheus server that scrapes one target each second.
type Prometheus struct {
	url, dir string
	client   *http.Client
	cmd      *exec.Cmd
	done     chan struct{}
}

// StartPrometheus starts a server that scrapes http://target/metrics, and knows native
// histograms or does not. It has the alert rules of a file; empty: none.
func StartPrometheus(target string, native bool, rules string) (_ *Prometheus, err error) {
	program, err := Find("prometheus")
	if err != nil {
		return nil, err
	}
	s := &Prometheus{client: &http.Client{Transport: &http.Transport{}, Timeout: startBound}, done: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "actorpool-prometheus-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n" +
		"scrape_configs: [{job_name: test, static_configs: [{targets: ['" + target + "']}]}]\n"
	if rules != "" {
		config += "rule_files: ['" + rules + "']\n"
	}
	file := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.url = "http://" + address
	args := []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(s.dir, "data"), "--web.listen-address=" + address}
	if native {
		args = append(args, "--enable-feature=native-histograms")
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Dir, s.cmd.SysProcAttr = s.dir, attributes()
	log, err := os.Create(s.log())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	started := make(chan error)
	go s.run(started)
	if err := <-started; err != nil {
		s.cmd = nil
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return s, s.Eventually(startBound, func() error {
		_, err := s.get("/-/ready", nil)
		return err
	})
}

// freeAddress is an address of the loopback interface on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *Prometheus) log() string { return filepath.Join(s.dir, "log") }

// run starts the server and waits for its end. It stays on one thread: see attributes.
func (s *Prometheus) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.cmd.Start()
	started <- err
	if err == nil {
		_ = s.cmd.Wait()
		close(s.done)
	}
}

// Close kills the server and removes its folder.
func (s *Prometheus) Close() error {
	s.client.CloseIdleConnections()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return os.RemoveAll(s.dir)
}

// Eventually waits until f returns nil. It gives up when the server has ended.
func (s *Prometheus) Eventually(bound time.Duration, f func() error) error {
	deadline := time.Now().Add(bound)
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log())
			return fmt.Errorf("prometheus has ended: %w: %s", err, text)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", bound, err)
		}
	}
}

func (s *Prometheus) get(path string, values url.Values) ([]byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url+path+"?"+values.Encode(), http.NoBody)
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
	body, err := s.get("/api/v1/query", url.Values{"query": {expression}})
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
	body, err := s.get("/api/v1/rules", nil)
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
