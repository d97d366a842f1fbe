package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/integration/browser/internal/chromium"
	"github.com/actorpool/actorpool/page"
)

// longTimeout is how long a test waits for something that must happen. Only a test that
// fails takes so long.
const longTimeout = 30 * time.Second

// tab is a page in the browser, with all that the browser has complained about.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	faults   []string
	expected func(fault string) bool
}

// The browser is started for the first test, and closed after all.
var (
	browserOnce sync.Once
	browser     context.Context
	errBrowser  error
	closing     []context.CancelFunc
)

func started(program string) (context.Context, error) {
	browserOnce.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program))
		if os.Geteuid() == 0 {
			options = append(options, chromedp.NoSandbox) // the sandbox does not work for root
		}
		allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
		closing = append(closing, cancel)
		browser, cancel = chromedp.NewContext(allocator)
		closing = append(closing, cancel)
		errBrowser = chromedp.Do(browser)
	})
	return browser, errBrowser
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, end := range slices.Backward(closing) {
		end()
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// open opens an empty page. At the end of the test it must not have
// found a fault: an exception, an error on the console, a violation of the policy, a
// request that failed.
func open(t *testing.T) *tab {
	t.Helper()
	program := chromium.Require(t)
	browser, err := started(program)
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(browser) // a tab of its own
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, b.event))
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, fault := range b.faults {
			if b.expected == nil || !b.expected(fault) {
				t.Error("the browser reports: " + fault)
			}
		}
	})
	return b
}

// event notes what the browser complains about.
func (b *tab) event(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "exception: "+asJSON(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		b.faults = append(b.faults, "console: "+asJSON(e.Args))
	case *log.EventEntryAdded:
		b.faults = append(b.faults, fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// view sets the size of the page.
func (b *tab) view(width, height int64) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height)))
}

// dark chooses the dark colours, or the light ones.
func (b *tab) dark(yes bool) {
	b.t.Helper()
	value := "light"
	if yes {
		value = "dark"
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
	})
	require.NoError(b.t, err)
}

// show opens an address, and waits until the page has its data.
func (b *tab) show(address string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, longTimeout)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, chromedp.Navigate(address)))
	b.until("!document.getElementById('main').hidden")
}

// until waits until an expression of JavaScript is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	deadline := time.Now().Add(longTimeout)
	for !eval[bool](b, "!!("+expression+")") {
		if time.Now().After(deadline) {
			b.t.Fatalf("it does not happen: %s; the page says:\n%s", expression, eval[string](b, "document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// eval evaluates an expression of JavaScript.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, longTimeout)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// text gives the text of an element.
func (b *tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

// press presses a key.
func (b *tab) press(keys string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.KeyEvent(keys)))
}

// picture is a picture of the page from its top.
func (b *tab) picture(path string) {
	b.t.Helper()
	content, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(path, content, 0o644))
}

// serve serves a page of sources, under a path.
func serve(t *testing.T, o page.Options, sources ...page.Source) (*page.Handler, string) {
	t.Helper()
	h := page.New(o, sources...)
	t.Cleanup(h.Close)
	mux := http.NewServeMux()
	mux.Handle("/debug/pools/", h)
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return h, strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/debug/pools/"
}

// serveOnce serves a page until stop is called.
func serveOnce(t *testing.T, sources ...page.Source) (address string, stop func()) {
	t.Helper()
	h := page.New(page.Options{}, sources...)
	server := httptest.NewServer(h)
	stop = func() { server.CloseClientConnections(); server.Close(); h.Close() }
	t.Cleanup(stop)
	return server.URL + "/", stop
}
