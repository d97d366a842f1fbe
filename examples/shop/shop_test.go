package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// bound is how long a test waits for something that must happen.
const bound = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is the program, which runs over SQLite.
type service struct {
	address string
	own     *http.Client
	cancel  context.CancelFunc // as SIGTERM
	ended   chan error
}

// start runs the program until it is ready. Its folder for temporary files must be empty at the end.
func start(t *testing.T, o options) *service {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	t.Setenv("TMP", folder) // the same on Windows
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{"http://" + listener.Addr().String(), &http.Client{Transport: &http.Transport{}}, cancel, make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.ended <- run(ctx, o, listener)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		s.own.CloseIdleConnections()
		left, err := os.ReadDir(folder)
		assert.NoError(t, err)
		assert.Empty(t, left)
	})
	s.eventually(t, func() bool { status, _ := s.get("/ready"); return status == http.StatusOK })
	return s
}

// ends returns the result of run, which must come in time.
func (s *service) ends(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(bound):
		require.FailNow(t, "still running")
		return nil
	}
}

func (s *service) eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !f(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "it has not happened")
	}
}

func (s *service) get(path string) (status int, body string) {
	answer, err := s.own.Get(s.address + path)
	return read(answer, err)
}

func (s *service) order(product, count string) (status int, body string) {
	form := strings.NewReader("product=" + product + "&count=" + count)
	answer, err := s.own.Post(s.address+"/orders", "application/x-www-form-urlencoded", form)
	return read(answer, err)
}

func read(answer *http.Response, err error) (status int, body string) {
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// page is what the page says.
func (s *service) page(t *testing.T) (sentence string, borrowed int) {
	t.Helper()
	answer, err := s.own.Get(s.address + "/pools/json")
	require.NoError(t, err)
	defer answer.Body.Close()
	var said struct {
		Pools []struct {
			Verdict     struct{ Sentence string }
			Explanation struct{ Stats struct{ Borrowed int } }
		}
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&said))
	require.Len(t, said.Pools, 1)
	return said.Pools[0].Verdict.Sentence, said.Pools[0].Explanation.Stats.Borrowed
}

func TestOrdersAndReports(t *testing.T) {
	s := start(t, options{drain: bound})
	for _, c := range []struct {
		product, count string
		status         int
		says           string
	}{
		{"pot", "2", http.StatusOK, `{"left":1}`},
		{"pot", "2", http.StatusConflict, "not so many of it are in stock"},
		{"pot", "1", http.StatusOK, `{"left":0}`},
		{"jar", "1", http.StatusConflict, "there is no such product"},
		{"tea", "x", http.StatusBadRequest, `count: "x" is not a number from 1 to 32767`},
		{"tea", "-1", http.StatusBadRequest, `count: "-1"`},
		{"tea", "32768", http.StatusBadRequest, `count: "32768"`},
	} {
		status, body := s.order(c.product, c.count)
		assert.Equal(t, c.status, status, c)
		assert.Contains(t, body, c.says)
	}
	for path, says := range map[string]string{
		"/products":         `{"name":"pot","cents":2900,"stock":0}`,
		"/report?pause=1ms": `"pot":3`,
		"/metrics":          `actorpool_gets_total{db_client_connection_pool_name="shop"}`,
		"/pools/text":       `pool "shop": state=ready capacity=4`,
	} {
		status, body := s.get(path)
		assert.Equal(t, http.StatusOK, status, path)
		assert.Contains(t, body, says)
	}
	for _, pause := range []string{"", "3", "-1s", "2m"} {
		status, body := s.get("/report?pause=" + pause)
		assert.Equal(t, http.StatusBadRequest, status, pause)
		assert.Contains(t, body, fmt.Sprintf("pause: %q is not a time from 0s to 1m", pause))
	}
	s.cancel()
	assert.NoError(t, s.ends(t))
}

// TestOrdersAtOnce: the transactions exclude each other, and none fails.
func TestOrdersAtOnce(t *testing.T) {
	s := start(t, options{drain: bound})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 10 {
				status, body := s.order("cup", "2")
				assert.Equal(t, http.StatusOK, status, body)
			}
		})
	}
	clients.Wait()
	_, body := s.get("/report?pause=0s")
	assert.Contains(t, body, `"cup":160`)
	_, body = s.get("/products")
	assert.Contains(t, body, `{"name":"cup","cents":900,"stock":999840}`)
	s.cancel()
	assert.NoError(t, s.ends(t))
}

// TestReportsHoldEveryConnection: the page and the error of the next request say so, and after SIGTERM
// the reports are finished.
func TestReportsHoldEveryConnection(t *testing.T) {
	s := start(t, options{drain: bound})
	var reports sync.WaitGroup
	for range capacity {
		reports.Go(func() {
			status, body := s.get("/report?pause=1s")
			assert.Equal(t, http.StatusOK, status, body)
		})
	}
	s.eventually(t, func() bool { _, borrowed := s.page(t); return borrowed == capacity })
	refused := make(chan string)
	go func() {
		status, body := s.get("/products")
		assert.Equal(t, http.StatusServiceUnavailable, status)
		refused <- body
	}()
	s.eventually(t, func() bool {
		sentence, _ := s.page(t)
		return strings.HasPrefix(sentence, "Exhausted: all 4 connections are out")
	})
	assert.Contains(t, <-refused, `actorpool "shop": `)
	s.cancel()
	reports.Wait()
	assert.NoError(t, s.ends(t))
	status, _ := s.get("/ready")
	assert.Zero(t, status, "nobody listens")
}

// TestTheDrainHasABound: a request that takes longer is ended, and the program says so.
func TestTheDrainHasABound(t *testing.T) {
	s := start(t, options{drain: 50 * time.Millisecond})
	ended := make(chan int)
	go func() {
		status, _ := s.get("/report?pause=1m")
		ended <- status
	}()
	s.eventually(t, func() bool { _, borrowed := s.page(t); return borrowed == 1 })
	s.cancel()
	assert.ErrorIs(t, s.ends(t), context.DeadlineExceeded)
	assert.Zero(t, <-ended, "it has no answer")
}

func TestTheLoad(t *testing.T) {
	s := start(t, options{drain: bound, load: 8})
	s.eventually(t, func() bool {
		_, body := s.get("/report?pause=0s")
		return body != "" && !strings.Contains(body, `"tea":0`) && strings.Contains(body, `"pot":0`)
	})
	s.cancel()
	assert.NoError(t, s.ends(t))
}
