package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

const markup = `<script>alert("x")</script><img src=x onerror=alert(1)>`

// hostile are texts that somebody outside may choose.
var hostile = map[string]string{
	"markup":        markup,
	"controls":      "a\x00b\x1b[31mc\x7f\u0085\u009b\r\nd\te",
	"direction":     "abc\u202egnp.exe\u2066\u200f",
	"separators":    "a\u2028b\u2029c",
	"invalid":       "a\xff\xfe\xed\xa0\x80b",
	"a megabyte":    strings.Repeat("x", 1<<20),
	"wide megabyte": strings.Repeat("\U0001f4a3", 1<<18),
	"lines":         strings.Repeat("line\n", 1<<15),
	"format":        "%s%n%!d",
	"json":          `","pools":[],"x":"`,
}

// Values whose methods misbehave.
type panics struct{}

func (panics) String() string               { panic(markup) }
func (panics) Error() string                { panic(markup) }
func (panics) MarshalJSON() ([]byte, error) { panic(markup) }
func (panics) Format(fmt.State, rune)       { panic(markup) }

type says string

func (s says) String() string               { return string(s) }
func (s says) Error() string                { return string(s) }
func (s says) MarshalJSON() ([]byte, error) { return []byte(s), nil } // no JSON

type nilPanics struct{ text string }

func (p *nilPanics) Error() string { return p.text }

type neither struct{ list []int } // cannot be compared

// saying is a pool that says one thing wherever it can.
func saying(text string, err error, setting any) *fake {
	return newFake("orders", func(e *messages.Explanation) {
		e.Stats.LastConnectError, e.LastConnectError = err, err
		e.Stats.Waiting, e.Stats.Borrowed, e.Attempt = 1, 2, 3
		e.Holders = []messages.Holder{{ConnID: 1, Label: text, WaitsFor: text, Borrower: text, Stack: text + "\n" + text}}
		e.Waiters = []messages.Waiter{{Label: text, Setting: setting, Doing: text, Borrower: text, Stack: text}}
		e.Jobs = []messages.Job{{For: text, Doing: text}}
		e.Conns = []messages.Conn{{ID: 1, State: text, Label: text, Setting: setting}}
		e.Recent = []messages.Event{{Kind: messages.CheckOutFailed, Pool: text, Label: text, Err: err, Setting: setting, Stack: text}}
		e.Suspicions = []string{text}
		e.Stats.Name, e.Stats.CapacityNote = "orders"+text, text
	})
}

// memberSaying is the same of a member of a fleet.
func memberSaying(text string, err error, setting any) *fakeMember {
	f := &fakeMember{fake: saying(text, err, setting)}
	f.status.Store(&messages.FleetStatus{
		Key: "orders", Phase: "live", Incarnation: text, Note: text, Err: err,
		Fleet: []messages.FleetMember{{Incarnation: text, Alive: true}, {Incarnation: text + text}},
	})
	return f
}

func TestHostileTextsAreShownCutAndHarmless(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			h := served(t, Options{Settings: true, Stacks: true}, memberSaying(text, says(text), says(text)))
			for _, target := range []string{"/data", "/json", "/text"} {
				body := get(h, target).Body.String()
				assert.Less(t, len(body), 250_000, "%s: as many bytes for a megabyte", target)
				assert.True(t, utf8.ValidString(body))
				for _, r := range body {
					if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
						t.Fatalf("%s: %U is in %q", target, r, body[:min(len(body), 2000)])
					}
				}
				if target != "/text" {
					assert.True(t, json.Valid([]byte(body)), body)
					assert.NotContains(t, body, "<", "not even if a browser takes it for a document")
				}
			}
			assert.Equal(t, "text/plain; charset=utf-8", get(h, "/text").Header().Get("Content-Type"))
			d := ask(t, h, "/data")
			assert.Len(t, d.Pools, 1)
			assert.NotEmpty(t, d.Pool.Verdict.Sentence)
		})
	}
}

func TestMethodsThatMisbehaveAreContained(t *testing.T) {
	var none *nilPanics
	for name, err := range map[string]error{"panics": panics{}, "nil": none, "joined": errors.Join(panics{}, says(markup))} {
		t.Run(name, func(t *testing.T) {
			for _, settings := range []bool{false, true} {
				for _, setting := range []any{panics{}, neither{[]int{1}}, &nilPanics{"x"}, []int{1}, func() {}, map[string]any{"a": panics{}}} {
					h := served(t, Options{Settings: settings}, memberSaying("label", err, setting))
					d := ask(t, h, "/data")
					assert.Empty(t, d.Pool.Failed)
					assert.Equal(t, 200, get(h, "/json").Code)
					assert.True(t, json.Valid(get(h, "/json").Body.Bytes()))
					assert.Contains(t, get(h, "/text").Body.String(), "label")
				}
			}
		})
	}
}

func TestAMethodThatEndsItsGoroutineIsContained(t *testing.T) {
	h := served(t, Options{Settings: true}, saying("label", exits{}, nil))
	assert.Equal(t, "explaining it ended the goroutine", ask(t, h, "/data").Pool.Failed)
}

type exits struct{}

func (exits) Error() string { runtime.Goexit(); return "" }

func TestRedactHoldsForEveryOutput(t *testing.T) {
	const secret = "tiger-7"
	redact := func(s string) string { return strings.ReplaceAll(s, secret, "***") }
	text := "user=scott password=" + secret
	f := memberSaying(text, errors.New("connect: "+text), text)
	f.what.Load().Stats.Name = "orders"
	f.what.Load().Holders[0].Borrower, f.what.Load().Waiters[0].Borrower = "", "" // addresses of actors
	f.what.Load().Waiters[0].Doing, f.what.Load().Jobs[0].Doing, f.what.Load().Conns[0].State = "checking", "checking", "checking"
	f.what.Load().Recent[0].Pool = "orders"
	h := served(t, Options{Redact: redact}, f)
	for _, target := range []string{"/data", "/json", "/text"} {
		body := get(h, target).Body.String()
		assert.NotContains(t, body, secret, target)
		assert.Contains(t, body, "user=scott password=***", target)
	}
	for _, failing := range []func(any) error{
		func(any) error { return errors.New(text) },
		func(any) error { panic(text) },
	} {
		f := newFake("orders")
		f.onExplain = func(ctx context.Context) error { return failing(ctx) }
		h := served(t, Options{Redact: redact}, f)
		for _, target := range []string{"/data", "/json", "/text"} {
			assert.NotContains(t, get(h, target).Body.String(), secret, target)
		}
	}
	h = served(t, Options{Redact: func(s string) string { panic(s) }}, f)
	for _, target := range []string{"/data", "/json", "/text"} {
		body := get(h, target).Body.String()
		assert.NotContains(t, body, secret, target)
		assert.Contains(t, body, "[Redact panics]", target)
	}
}

func TestStacksAndSettingsAreShownOnlyIfTheOptionsSaySo(t *testing.T) {
	f := newFake("orders", func(e *messages.Explanation) {
		e.Stats.Borrowed, e.Stats.Waiting = 1, 3
		e.Holders = []messages.Holder{{ConnID: 1, Label: "a", Stack: "main.importer()\n\t/src/import.go:81"}}
		for _, tenant := range []string{"acme", "blue", "acme"} {
			e.Waiters = append(e.Waiters, messages.Waiter{Label: "b", Stack: "main.importer()", Setting: says("tenant=" + tenant)})
		}
		e.Conns = []messages.Conn{{ID: 1, State: "borrowed", Setting: says("tenant=acme")}}
		e.Recent = []messages.Event{{Kind: messages.LeaseLeaked, Stack: "main.importer()", Setting: says("tenant=acme")}}
	})
	all := func(h *Handler) string {
		return get(h, "/data").Body.String() + get(h, "/json").Body.String() + get(h, "/text").Body.String()
	}
	closed := all(served(t, Options{}, f))
	assert.NotContains(t, closed, "importer")
	assert.NotContains(t, closed, "acme")
	assert.Contains(t, closed, "page.says#")
	open := all(served(t, Options{Stacks: true, Settings: true}, f))
	assert.Contains(t, open, "main.importer()")
	assert.Contains(t, open, "tenant=acme")

	r := newRedactor(Options{})
	assert.Equal(t, r.setting(says("acme")), r.setting(says("acme")))
	assert.NotEqual(t, r.setting(says("acme")), r.setting(says("blue")))
	assert.NotEqual(t, r.setting(says("acme")), newRedactor(Options{}).setting(says("acme")), "nobody can look up a hash")
	assert.Nil(t, r.setting(nil))
	assert.Equal(t, "page.neither", r.setting(neither{}))
}

func TestTablesAreBounded(t *testing.T) {
	f := newFake("orders", func(e *messages.Explanation) {
		e.Stats.Borrowed, e.Stats.Waiting = 5000, 5000
		for i := range 5000 {
			e.Holders = append(e.Holders, messages.Holder{ConnID: uint64(i), Age: time.Second})
			e.Waiters = append(e.Waiters, messages.Waiter{Holds: make([]uint64, 5000)})
			e.Conns = append(e.Conns, messages.Conn{ID: uint64(i)})
			e.Jobs = append(e.Jobs, messages.Job{ConnID: uint64(i)})
			e.Recent = append(e.Recent, messages.Event{Kind: messages.PoolCleared})
			e.Suspicions = append(e.Suspicions, "s")
		}
	})
	got := newRedactor(Options{}).explanation(*f.what.Load())
	for _, n := range []int{len(got.Holders), len(got.Waiters), len(got.Conns), len(got.Jobs), len(got.Recent), len(got.Suspicions), len(got.Waiters[0].Holds)} {
		assert.Equal(t, maxRows, n)
	}
	require.Len(t, f.what.Load().Holders, 5000, "the pool's own lists stay as they are")
	assert.Contains(t, get(served(t, Options{}, f), "/text").Body.String(), "and 4800 more")
}

func TestTextsAreCleanedInOneWay(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 💣": "plain ünïcode 💣", "a\nb\n": "a; b ", "tab\tbell\a": `tab bell\a`, "\x1b[31m": `\x1b[31m`, "\u202e": `\u202e`,
		"\u2028": " ", "\xff": "\ufffd", "'": "'", "'\x00'": `'\x00'`,
	} {
		assert.Equal(t, want, clean(in, 100))
	}
	assert.Equal(t, "abc…", clean("abcdef", 3))
	assert.Equal(t, "abc", clean("abc", 3))
	assert.Equal(t, "a\n\tb", cleanLines("a\n\tb", 10))
}
