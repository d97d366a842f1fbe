package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/page"
)

func TestTheFirstLineOfAnExhaustedPoolNamesWhoHoldsIt(t *testing.T) {
	b := open(t)
	_, address := serve(t, page.Options{}, newScene(exhausted()))
	b.view(1280, 900)
	b.show(address)
	assert.Equal(t, "Exhausted: all 12 connections are out and 28 callers wait. The first (GET /orders) has waited 722ms. "+
		"The longest lease is out for 26s (nightly import, which holds 9 of the 12).", b.text("sentence"))
	assert.Equal(t, "Problem", b.text("word"))
	assert.Equal(t, "✖ orders: exhausted", eval[string](b, "document.title"))

	assert.Equal(t, 12.0, eval[float64](b, "document.querySelectorAll('#squares .borrowed').length"))
	assert.Equal(t, 3.0, eval[float64](b, "document.querySelectorAll('#squares .leaked').length"))
	assert.Equal(t, "!1,!2,!3,4,5,6,7,8,9,10,11,12", eval[string](b, "[...document.querySelectorAll('#squares .square')].map(e => e.textContent).join()"))
	assert.Equal(t, 28.0, eval[float64](b, "document.querySelectorAll('#queue .waiter').length"))
	assert.Contains(t, eval[string](b, "document.querySelector('#queue .waiter').title"), "GET /orders, has waited 722ms")

	places := eval[string](b, "[...document.querySelectorAll('#waiters tbody tr')].map(r => r.cells[0].textContent + ' ' + r.cells[1].textContent).join('|')")
	assert.True(t, strings.HasPrefix(places, "1 GET /orders|2 login|3 GET /cart|4 POST /orders|5 GET /orders|"), places)
	assert.Contains(t, b.text("holders"), "nightly import (leak)")
	assert.Contains(t, b.text("conns"), "due", "a life that is over")
	assert.Contains(t, b.text("events"), "CheckOutFailed (timeout) ×35")
	for _, figure := range []string{"histogram-wait", "histogram-use", "histogram-connect"} {
		assert.Greater(t, eval[float64](b, fmt.Sprintf("document.querySelectorAll('#%s rect').length", figure)), 5.0)
		assert.Regexp(t, `median \d+(\.\d)?(µs|ms|s), 99 % within`, b.text(figure))
	}
}

func TestThePageFollowsThePool(t *testing.T) {
	b := open(t)
	s := newScene(exhausted())
	_, address := serve(t, page.Options{}, s)
	b.show(address)
	e := exhausted()
	e.Holders, e.Waiters, e.Conns, e.Recent = nil, nil, nil, nil
	e.Stats.Borrowed, e.Stats.Idle, e.Stats.Waiting = 0, 12, 0
	s.show(e)
	b.until("document.getElementById('sentence').innerText === 'Ready and quiet: no connection is out, 12 are idle.'")
	assert.Equal(t, "OK", b.text("word"))
	assert.Equal(t, 12.0, eval[float64](b, "document.querySelectorAll('#squares .idle').length"))
	assert.Contains(t, b.text("waiters"), "Nobody waits.")
	s.show(exhausted())
	b.until("document.getElementById('waiters').innerText.includes('POST /orders')")

	close(s.done)
	b.until("document.getElementById('sentence').innerText === 'Closed: no connection is left.'")
}

func TestTheLinksAreFollowedByTheKeyboard(t *testing.T) {
	b := open(t)
	_, address := serve(t, page.Options{Stacks: true}, newScene(exhausted()), newScene(backingOff()), newScene(quiet()))
	b.show(address)
	focused := func(what string) string {
		return fmt.Sprintf("document.activeElement && document.activeElement.%s", what)
	}
	b.press(kb.Tab)
	assert.Equal(t, "Skip to the verdict", eval[string](b, focused("innerText")))
	b.press(kb.Tab)
	b.press(kb.Tab)
	b.until(focused("innerText.includes('cache')"))
	assert.NotEqual(t, "none", eval[string](b, "getComputedStyle(document.activeElement).outlineStyle"), "the focus can be seen")
	b.press(kb.Enter)
	b.until("document.title.includes('cache: backing off')")
	assert.Contains(t, b.text("sentence"), "7 connects in a row have failed (dial tcp 10.1.2.3:6379: connect: connection refused)")
	assert.True(t, strings.HasSuffix(eval[string](b, "location.href"), "?pool=cache"))
	assert.Equal(t, "page", eval[string](b, focused("getAttribute('aria-current')")), "the focus stays while the page changes")
	eval[any](b, "history.back()")
	b.until("document.title.includes('orders: exhausted')")

	// To the stack of the first holder, through the regions that scroll.
	for range 20 {
		if eval[string](b, focused("tagName")) == "SUMMARY" {
			break
		}
		b.press(kb.Tab)
	}
	b.press(kb.Enter)
	b.until("document.querySelector('#holders details').open")
	assert.Equal(t, "orders.(*Importer).run", eval[string](b, focused("innerText")))
	b.until(fmt.Sprintf("data.now > %f", eval[float64](b, "data.now"))) // the page has changed once more
	assert.True(t, eval[bool](b, "document.querySelector('#holders details').open"))
	assert.Contains(t, eval[string](b, "document.querySelector('#holders pre').innerText"), "/src/orders/import.go:81")
	assert.Equal(t, "SUMMARY", eval[string](b, focused("tagName")))
}

func TestItFitsAPhone(t *testing.T) {
	b := open(t)
	long := exhausted()
	long.Holders[0].Label = strings.Repeat("a-label-without-a-place-to-break", 9)
	_, address := serve(t, page.Options{}, newScene(long), newScene(backingOff()), newScene(quiet()))
	b.view(400, 800)
	for _, pool := range []string{"orders", "cache", "search"} {
		b.show(address + "?pool=" + pool)
		b.until(fmt.Sprintf("document.title.includes(%q)", pool))
		assert.LessOrEqual(t, eval[float64](b, "document.documentElement.scrollWidth"), 400.0, pool)
		assert.Less(t, eval[float64](b, "document.getElementById('sentence').getBoundingClientRect().bottom"), 800.0, "the sentence is seen without scrolling")
	}
}

// The colours of text stand out from what is behind them by the 4.5 to 1 that WCAG asks for.
const contrast = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgb = c => { if (!known.has(c)) known.set(c, pixel(c)); return known.get(c); };
  const pixel = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!text || !e.checkVisibility() || e.closest(".unseen, .skip, .square.work, noscript")) continue;
    const style = getComputedStyle(e), a = light(rgb(e instanceof SVGElement ? style.fill : style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(e.tagName + "." + (e.className.baseVal ?? e.className) + " " + e.textContent.slice(0, 30) + " " + ratio.toFixed(2));
  }
  return bad.join("\n");
})()`

func TestTextsCanBeReadInTheLightAndInTheDark(t *testing.T) {
	b := open(t)
	_, address := serve(t, page.Options{}, newScene(exhausted()), newScene(backingOff()), newScene(quiet()))
	var colours []string
	for _, dark := range []bool{false, true} {
		b.dark(dark)
		for _, pool := range []string{"orders", "cache", "search"} {
			b.show(address + "?pool=" + pool)
			b.until(fmt.Sprintf("document.title.includes(%q)", pool))
			assert.Empty(t, eval[string](b, contrast), "dark: %v, %s", dark, pool)
		}
		colours = append(colours, eval[string](b, "getComputedStyle(document.body).backgroundColor"))
	}
	assert.NotEqual(t, colours[0], colours[1])
}

func TestNothingThatSomebodySaysIsMarkup(t *testing.T) {
	b := open(t)
	const markup = `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`
	e := exhausted()
	e.Stats.Name = markup
	e.Suspicions = []string{markup}
	for i := range e.Holders {
		e.Holders[i].Label, e.Holders[i].Stack, e.Holders[i].Borrower = markup, markup, markup
	}
	for i := range e.Waiters {
		e.Waiters[i].Label, e.Waiters[i].Setting, e.Waiters[i].Borrower, e.Waiters[i].Doing = markup, markup, markup, markup
	}
	for i := range e.Conns {
		e.Conns[i].Label, e.Conns[i].Setting, e.Conns[i].State = markup, markup, markup
	}
	for i := range e.Recent {
		e.Recent[i].Label, e.Recent[i].Err = markup, fmt.Errorf("%s", markup)
	}
	_, address := serve(t, page.Options{Stacks: true, Settings: true}, newScene(e))
	b.show(address)
	b.until("document.getElementById('sentence').innerText.includes('onerror')")
	assert.Contains(t, b.text("holders"), "<img src=x")
	assert.Zero(t, eval[float64](b, "document.querySelectorAll('main img, main script, nav img, nav script').length"))
	assert.NotContains(t, eval[string](b, "document.title"), "pwned'</script>pwned")
	assert.NotEqual(t, "pwned", eval[string](b, "document.title"))
}

func TestTheBrowserObeysThePolicy(t *testing.T) {
	b := open(t)
	b.expected = func(fault string) bool { return strings.Contains(fault, "Content Security Policy") }
	_, address := serve(t, page.Options{}, newScene(quiet()))
	b.show(address)
	eval[any](b, `(() => { const s = document.createElement("script"); s.textContent = "document.title = 'pwned'"; document.body.append(s); })()`)
	assert.NotEqual(t, "pwned", eval[string](b, "document.title"))
	b.until("true")
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.NotEmpty(t, b.faults, "the tests would notice a violation")
}

func TestAHiddenPageAsksEveryTenSeconds(t *testing.T) {
	b := open(t)
	s := newScene(quiet())
	_, address := serve(t, page.Options{}, s)
	b.show(address)
	eval[any](b, `Object.defineProperty(document, "hidden", { get: () => true, configurable: true })`)
	before := s.explains.Load()
	eventually(t, "the question that was due", func() bool { return s.explains.Load() > before })
	before = s.explains.Load()
	time.Sleep(3 * time.Second) // of the browser's clock: nothing comes, so there is no event to wait for
	assert.Equal(t, before, s.explains.Load())
	eval[any](b, `delete document.hidden, document.dispatchEvent(new Event("visibilitychange"))`)
	eventually(t, "it asks at once when it is seen again", func() bool { return s.explains.Load() > before })
}

// eventually waits until something is so that happens outside of the browser.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(longTimeout); !f(); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), what)
	}
}

func TestAPageWithoutItsServerSaysSo(t *testing.T) {
	b := open(t)
	b.expected = func(fault string) bool { return strings.Contains(fault, "Failed to load resource") }
	h, address := serve(t, page.Options{}, newScene(quiet()))
	b.show(address)
	h.Close()
	b.until("document.getElementById('sentence').innerText.startsWith('There is no pool here')")
	b.until("document.getElementById('squares-section').hidden")

	address, stop := serveOnce(t, newScene(quiet()))
	b.show(address)
	b.until("document.getElementById('live').innerText === 'live'")
	stop()
	b.until("document.getElementById('live').innerText.startsWith('no answer since ')")
	assert.Contains(t, b.text("sentence"), "Growing", "the last that was known stays")
}

// The pictures of the documents. They are written with -pictures only; the test sees to it
// that they are there and small.
func TestPictures(t *testing.T) {
	folder := filepath.Join("..", "..", "docs", "page")
	if *pictures {
		require.NoError(t, os.MkdirAll(folder, 0o755))
		b := open(t)
		s := newScene(exhausted())
		leak := newScene(leaking())
		_, address := serve(t, page.Options{Stacks: true}, s, leak, newScene(quiet()))
		b.view(1100, 412)
		b.show(address)
		b.picture(filepath.Join(folder, "exhausted.png"))
		b.dark(true)
		b.view(1100, 350)
		b.show(address + "?pool=reports")
		b.until("document.title.includes('reports')")
		b.picture(filepath.Join(folder, "leak.png"))
	}
	for _, name := range []string{"outage.png", "exhausted.png", "leak.png"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if assert.NoError(t, err) {
			assert.Less(t, info.Size(), int64(200_000), name)
		}
	}
}

// leaking is a pool with one lease that does not come back, and nobody waiting.
func leaking() messages.Explanation {
	now := time.Now()
	return messages.Explanation{
		Time: now,
		Stats: messages.Stats{
			Name: "reports", State: messages.StateReady, Capacity: 10, Open: 4, Borrowed: 2, Idle: 2, MaxIdle: 10, Gets: 412, Grants: 412, Puts: 410, Leaks: 1, Connects: 4,
		},
		Holders: []messages.Holder{
			{ConnID: 3, Label: "GET /report/daily", Age: 14 * time.Minute},
			{ConnID: 1, Label: "GET /report/weekly", Age: 180 * time.Millisecond},
		},
		Conns: []messages.Conn{
			{ID: 1, State: "borrowed", Label: "GET /report/weekly", In: 180 * time.Millisecond, Age: 2 * time.Hour, Uses: 190},
			{ID: 2, State: "idle", In: 20 * time.Second, Age: 2 * time.Hour, Uses: 150},
			{ID: 3, State: "borrowed", Label: "GET /report/daily", In: 14 * time.Minute, Age: 2 * time.Hour, Uses: 61},
			{ID: 4, State: "idle", In: 50 * time.Second, Age: time.Hour, Uses: 11},
		},
		Recent: []messages.Event{
			{Kind: messages.LeaseLeaked, Pool: "reports", Time: now.Add(-13 * time.Minute), ConnID: 3, Duration: time.Minute, Label: "GET /report/daily"},
		},
	}
}
