package page

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// served makes a Handler with one pool, which is closed at the end.
func served(t *testing.T, o Options, sources ...Source) *Handler {
	t.Helper()
	h := New(o, sources...)
	t.Cleanup(h.Close)
	return h
}

func TestItIsReachedUnderTheLoopbackInterfaceAndTheHostsOfTheOptionsOnly(t *testing.T) {
	h := served(t, Options{Hosts: []string{"ops.example.com", "Other.example.com:8443", "10.0.0.7", "[fd00::7]:80"}}, newFake("orders"))
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:80": 200, "localhost.:80": 200, "127.0.0.1:8080": 200, "127.9.9.9": 200, "[::1]:8080": 200, "[::1]": 200,
		"[::ffff:127.0.0.1]:1": 200,
		"ops.example.com":      200, "OPS.example.com:9": 200, "ops.example.com.": 200, "other.example.com:8443": 200, "10.0.0.7:80": 200, "[fd00::7]:80": 200,
		"other.example.com": 421, "other.example.com:80": 421, "evil.example": 421, "localhost.evil.example": 421, "10.0.0.8": 421, "[fd00::7]": 421,
		"": 421, ":8080": 421, "xops.example.com": 421, "ops.example.com@evil.example": 421, "127.0.0.1.evil.example": 421, "0.0.0.0": 421,
	} {
		for _, target := range []string{"/", "/data", "/json", "/text", "/page.js", "/nonsense"} {
			r := request(http.MethodGet, target)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if target == "/nonsense" && want == 200 {
				assert.Equal(t, 404, w.Code, "%s%s", host, target)
				continue
			}
			assert.Equal(t, want, w.Code, "%s%s", host, target)
			if want == 421 {
				assert.Equal(t, "Misdirected Request\n", w.Body.String())
			}
		}
	}
}

func TestABadHostInTheOptionsIsSaidAtOnce(t *testing.T) {
	for _, bad := range []string{
		"", "http://ops.example.com", "ops example", "a:b c", "*.example.com", "[::1", "ops.example.com:0", "ops.example.com:http", "ops.example.com:65536",
		"ops.example.com/path", "ops/example.com",
	} {
		want := fmt.Sprintf("actorpool: page: Options.Hosts: %q is not a host, nor a host and a port from 1 to 65535", bad)
		assert.PanicsWithValue(t, want, func() { New(Options{Hosts: []string{bad}}) })
	}
}

func TestItOnlyReads(t *testing.T) {
	h := served(t, Options{}, newFake("orders"))
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", ""} {
		for _, target := range []string{"/", "/data", "/nonsense"} {
			r := request(http.MethodGet, target)
			r.Method = method
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
			assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
			assert.Equal(t, "Method Not Allowed\n", w.Body.String())
		}
	}
	server := httptest.NewServer(h)
	defer server.Close()
	for _, name := range []string{"", "data", "json", "text", "page.js"} {
		r, err := http.Head(server.URL + "/" + name)
		require.NoError(t, err)
		assert.Equal(t, 200, r.StatusCode)
		assert.NoError(t, r.Body.Close())
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestForeignPagesGetNoData(t *testing.T) {
	h := served(t, Options{}, newFake("orders"))
	for _, tt := range []struct {
		site, mode, dest string
		page, data       int
	}{
		{"", "", "", 200, 200},
		{"none", "navigate", "document", 200, 200},
		{"same-origin", "cors", "empty", 200, 200},
		{"cross-site", "navigate", "document", 200, 403}, // a link in a runbook
		{"same-site", "navigate", "document", 200, 403},
		{"cross-site", "navigate", "iframe", 403, 403},
		{"cross-site", "no-cors", "script", 403, 403},
		{"cross-site", "cors", "empty", 403, 403},
		{"same-site", "cors", "empty", 403, 403}, // another port of this machine
		{"nonsense", "", "", 403, 403},
	} {
		headers := []string{"Sec-Fetch-Site", tt.site, "Sec-Fetch-Mode", tt.mode, "Sec-Fetch-Dest", tt.dest}
		assert.Equal(t, tt.page, get(h, "/", headers...).Code, tt)
		for _, name := range []string{"data", "json", "text", "page.js"} {
			w := get(h, "/"+name, headers...)
			assert.Equal(t, tt.data, w.Code, "%v %s", tt, name)
			if tt.data == 403 {
				assert.Equal(t, "Forbidden\n", w.Body.String())
			}
		}
	}
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	h := served(t, Options{}, newFake("orders"))
	for _, target := range []string{"/", "/data", "/json", "/text", "/page.js", "/page.css", "/nonsense", "/data?pool=nobody", "/text?pool=nobody"} {
		header := get(h, target).Header()
		assert.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "+
			"frame-ancestors 'none'", header.Get("Content-Security-Policy"))
		assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		assert.Equal(t, "no-store", header.Get("Cache-Control"))
		assert.Equal(t, "same-origin", header.Get("Cross-Origin-Resource-Policy"))
		assert.NotEmpty(t, header.Get("Content-Type"))
	}
}

func TestItIsMountedUnderAnyPath(t *testing.T) {
	h := served(t, Options{}, newFake("orders"))
	mux := http.NewServeMux()
	mux.Handle("/debug/pools/", h)
	mux.Handle("/exact", h)
	mux.Handle("GET /method/", h)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", h))
	mux.Handle("/bare", http.StripPrefix("/bare", h))
	mux.Handle("/tenant/{name}/pools/", h)
	for target, want := range map[string]int{
		"/debug/pools/": 200, "/debug/pools/data": 200, "/debug/pools/page.css": 200, "/debug/pools/text?pool=orders": 200,
		"/debug/pools": 307, "/debug/pools/nonsense": 404, "/debug/pools/deeper/": 404, "/debug/pools/deeper/data": 404, "/debug/pools/page.html": 404,
		"/debug/pools/assets/page.js": 404, "/debug/pools/data/": 404,
		"/exact": 302, "/method/": 200, "/method/json": 200, "/method/nonsense": 404,
		"/stripped/": 200, "/stripped/data": 200, "/stripped/nonsense": 404, "/bare": 302,
		"/tenant/acme/pools/": 200, "/tenant/acme/pools/data": 200, "/tenant/acme/pools/nonsense": 404,
	} {
		w := get(mux, target)
		assert.Equal(t, want, w.Code, target)
		if want == 404 {
			assert.Equal(t, "Not Found\n", w.Body.String(), target)
		}
	}
	assert.Equal(t, "./exact/?pool=a%2Fb", get(mux, "/exact?pool=a%2Fb").Header().Get("Location"))
	assert.Equal(t, "./bare/", get(mux, "/bare").Header().Get("Location"))

	r := request(http.MethodGet, "/exact")
	r.RequestURI = `/\\evil.example` // must not lead to another host
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	assert.Equal(t, `./\\evil.example/`, w.Header().Get("Location"))

	assert.Equal(t, 200, get(h, "/any/path/data").Code, "with another router")
	assert.Equal(t, 404, get(h, "/any/path/nonsense").Code)
}

func TestNothingIsRegisteredOnTheDefaultServeMux(t *testing.T) {
	served(t, Options{}, newFake("orders"))
	for _, target := range []string{"/", "/debug/pools", "/debug/pools/", "/debug/actorpool/"} {
		_, pattern := http.DefaultServeMux.Handler(request(http.MethodGet, target))
		assert.Empty(t, pattern)
	}
}

func TestThePageIsWhatItsFilesAre(t *testing.T) {
	h := served(t, Options{})
	files := 0
	require.NoError(t, fs.WalkDir(assets, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := assets.ReadFile(path)
		name := strings.TrimSuffix("/"+d.Name(), "page.html")
		assert.Equal(t, string(content), get(h, name).Body.String(), path)
		assert.NotEmpty(t, content)
		return err
	}))
	assert.Equal(t, 3, files)
	html := get(h, "/").Body.String()
	assert.NotContains(t, html, "style=", "the policy forbids it")
	assert.NotContains(t, html, "onclick")
	assert.NotContains(t, html, `="/`, "addresses are relative")
	script := get(h, "/page.js").Body.String()
	for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "srcdoc"} {
		assert.NotContains(t, script, way)
	}
}
