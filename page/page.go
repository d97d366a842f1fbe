package page

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"
)

//go:embed assets
var assets embed.FS

// Handler serves the page of its pools. All its methods may be called by any number of
// goroutines. Mount it under any path that ends in a slash; the addresses in the page are
// relative.
//
//	""              the page; ?pool=NAME shows the pool with that name first
//	"text"          the Explanation of each pool as text, or of one with ?pool=NAME
//	"json"          the same with its measures, as JSON
type Handler struct {
	hosts  []host
	redact redactor
	owner  atomic.Pointer[owner] // nil: there is no source, &closedOwner: Close was called
}

// closedOwner stands for the owner of a Handler that is closed.
var closedOwner = owner{ended: closedChannel()}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// New makes a Handler that shows the sources, in this order: see [Handler.Add]. It panics
// if one of Options.Hosts is no host.
func New(o Options, sources ...Source) *Handler {
	h := &Handler{hosts: hostsOf(o.Hosts), redact: newRedactor(o)}
	h.Add(sources...)
	return h
}

// Add shows further sources. A *client.Pool[C] is a Source, for any C. The page shows each
// under the name in its Stats, with a number if the name is taken. One that is shown
// already is not shown twice. A source stays until its Done is closed: from then on the
// Handler does not hold it any more, and a minute later it leaves the page. Add reads the
// Stats of each source, and panics if a source is nil. After Close it has no effect.
func (h *Handler) Add(sources ...Source) {
	for i, s := range sources {
		if s == nil {
			panic(fmt.Sprintf("actorpool: page: source %d is nil", i))
		}
		r, status := h.redact.first(s)
		for !h.tell(func(b *book) { b.add(s, r, status) }) {
			if h.owner.Load() == &closedOwner {
				return
			}
		}
	}
}

// tell lets the owner call f, and starts one if there is none. It reports false if the
// owner ends at that moment, or another one starts.
func (h *Handler) tell(f func(*book)) bool {
	o := h.owner.Load()
	if o == nil {
		ctx, cancel := context.WithCancel(context.Background())
		o = &owner{commands: make(chan func(*book)), ended: make(chan struct{}), cancel: cancel}
		if !h.owner.CompareAndSwap(nil, o) {
			cancel()
			return false
		}
		go o.run(h, ctx)
	}
	return o.post(f)
}

// Close ends what the Handler does in the background. It closes no pool. Afterwards the
// Handler serves an empty page. Close may be called again.
func (h *Handler) Close() {
	for !h.owner.CompareAndSwap(nil, &closedOwner) {
		o := h.owner.Load()
		if o == &closedOwner {
			return
		}
		if o != nil && o.post(func(b *book) { b.closed = true }) {
			<-o.ended
			return
		}
	}
}

// ask asks the owner for an answer. Without an owner it is empty.
func (h *Handler) ask(ctx context.Context, key string) (answer, error) {
	nothing := answer{Now: time.Now().UnixMilli(), Pools: []listed{}}
	o := h.owner.Load()
	to := make(chan answer, 1)
	if o == nil || !o.post(func(b *book) { b.ask(key, to) }) {
		return nothing, nil
	}
	select {
	case a := <-to:
		return a, nil
	case <-o.ended:
		return nothing, nil
	case <-ctx.Done():
		return nothing, ctx.Err()
	}
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler]. It answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	file, known := fileOf(r)
	switch {
	case !allowed(h.hosts, r.Host):
		refuse(w, http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
	case !known:
		refuse(w, http.StatusNotFound)
	case foreign(r, file):
		refuse(w, http.StatusForbidden)
	default:
		h.serve(w, r, file)
	}
}

// refuse answers with a status and its name only.
func refuse(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// The files of the page, by the last element of their path. "" is the page itself, and
// toSlash its address without the slash at the end.
const toSlash = "/"

var contentTypes = map[string]string{
	"":         "text/html; charset=utf-8",
	"page.css": "text/css; charset=utf-8",
	"page.js":  "text/javascript; charset=utf-8",
	"data":     "application/json",
	"json":     "application/json",
	"text":     "text/plain; charset=utf-8",
	toSlash:    "",
}

// fileOf says which file a request is for. It reports false if there is no such file. The
// Handler does not know under which path it is mounted, but for the pattern of the
// ServeMux, if one has led here.
func fileOf(r *http.Request) (file string, known bool) {
	rest := r.URL.Path
	_, pattern, ok := strings.Cut(r.Pattern, "/")
	if pattern = "/" + pattern; ok && !strings.ContainsAny(pattern, "{}") {
		switch below, found := strings.CutPrefix(rest, pattern); {
		case found && strings.HasSuffix(pattern, "/"):
			_, known = contentTypes[below]
			return below, known && below != toSlash
		case found && below == "":
			return toSlash, true // it is mounted without a slash
		}
	}
	if rest == "" { // by StripPrefix
		return toSlash, true
	}
	file = rest[strings.LastIndexByte(rest, '/')+1:]
	_, known = contentTypes[file]
	return file, known
}

// foreign says whether a request comes from a page of somebody else. A link to the page
// may be followed from anywhere.
func foreign(r *http.Request, file string) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin": // "": not a browser, or one of before 2023
		return false
	}
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !follows || file != "" && file != toSlash
}

// serve answers a request that is allowed.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, file string) {
	if file == toSlash {
		_, asked, _ := strings.Cut(r.RequestURI, "?")
		to := "./" + path.Base(strings.TrimRight(pathOf(r.RequestURI), "/")) + "/"
		if asked != "" {
			to += "?" + asked
		}
		w.Header().Set("Location", to) // not http.Redirect, which would make it absolute
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", contentTypes[file])
	key := r.URL.Query().Get("pool")
	switch file {
	case "data":
		a, err := h.ask(r.Context(), key)
		if err != nil {
			return // the viewer has gone
		}
		_ = json.NewEncoder(w).Encode(a)
	case "json", "text":
		h.export(w, r, file, key)
	default:
		name := "assets/" + file
		if file == "" {
			name = "assets/page.html"
		}
		content, _ := assets.ReadFile(name) // it is there: a test reads all of them
		_, _ = w.Write(content)
	}
}

func pathOf(uri string) string {
	before, _, _ := strings.Cut(uri, "?")
	return before
}

// export writes one pool, or all of them, as text or as JSON.
func (h *Handler) export(w http.ResponseWriter, r *http.Request, file, key string) {
	keys, answers := []string{key}, []answer{}
	for i := 0; i < len(keys); i++ {
		a, err := h.ask(r.Context(), keys[i])
		switch {
		case err != nil:
			return // the viewer has gone
		case a.Pool == nil && key != "":
			w.Header().Set("Content-Type", contentTypes["text"])
			refuse(w, http.StatusNotFound)
			return
		case a.Pool != nil:
			answers = append(answers, a)
		}
		if key == "" && i == 0 { // it was the first of the list
			for _, p := range a.Pools[min(1, len(a.Pools)):] {
				keys = append(keys, p.Key)
			}
		}
	}
	if file == "text" {
		for i, a := range answers {
			if i > 0 {
				_, _ = io.WriteString(w, "\n")
			}
			_, _ = io.WriteString(w, a.text())
		}
		return
	}
	pools := []exported{}
	for _, a := range answers {
		pools = append(pools, a.export())
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(map[string]any{"pools": pools})
}
