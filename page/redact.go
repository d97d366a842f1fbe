package page

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/actorpool/actorpool/messages"
)

// The bounds on what is shown.
const (
	maxRows       = 200  // of a table
	redactLength  = 4096 // of what Options.Redact gets, in bytes
	labelLength   = 120  // of a label, in characters
	errorLength   = 300  // of an error or a suspicion
	settingLength = 80
	stackLength   = 8000
)

// redactor makes what the pool knows fit to be shown: the one place where Options.Stacks,
// Options.Settings and Options.Redact have their effect. Everything that the page writes
// has passed it. It calls user code (Error, String, Redact) and contains it.
type redactor struct {
	stacks, settings bool
	redact           func(string) string
	seed             maphash.Seed
}

func newRedactor(o Options) redactor {
	return redactor{stacks: o.Stacks, settings: o.Settings, redact: o.Redact, seed: maphash.MakeSeed()}
}

// text is a text that Options.Redact may change.
func (r redactor) text(s string, length int) string {
	if r.redact != nil && s != "" {
		s = r.redacted(strings.ToValidUTF8(s[:min(len(s), redactLength)], ""))
	}
	return clean(s, length)
}

func (r redactor) redacted(s string) (out string) {
	defer func() {
		if v := recover(); v != nil {
			out = "[Redact panics]"
		}
	}()
	return r.redact(s)
}

func (r redactor) label(s string) string { return r.text(s, labelLength) }

// err gives an error that is nothing but a text.
func (r redactor) err(err error) error {
	if err == nil {
		return nil
	}
	return shown(r.text(sprint(err), errorLength))
}

// shown is the text of an error.
type shown string

func (s shown) Error() string { return string(s) }

// setting gives a setting as a text; nil: there is none. Without Options.Settings no
// method of it is called.
func (r redactor) setting(v any) any {
	switch {
	case v == nil:
		return nil
	case r.settings:
		return clean(sprint(v), settingLength)
	}
	return clean(fmt.Sprintf("%T", v), settingLength-6) + r.hash(v)
}

// hash tells settings apart without saying what they are. The seed is random, so that
// nobody can find out a setting by hashing guesses.
func (r redactor) hash(v any) (out string) {
	defer func() {
		if recover() != nil { // it cannot be compared
			out = ""
		}
	}()
	return fmt.Sprintf("#%04x", maphash.Comparable(r.seed, v)&0xffff)
}

func (r redactor) stack(s string) string {
	if !r.stacks {
		return ""
	}
	return cleanLines(s, stackLength)
}

func (r redactor) stats(s messages.Stats) messages.Stats {
	s.Name, s.State = clean(s.Name, labelLength), clean(s.State, labelLength)
	s.LastConnectError = r.err(s.LastConnectError)
	s.CapacityNote = r.text(s.CapacityNote, labelLength)
	return s
}

func (r redactor) measures(m messages.Measures) messages.Measures {
	m.Stats = r.stats(m.Stats)
	return m
}

// explanation copies an Explanation, bounded and redacted.
func (r redactor) explanation(e messages.Explanation) messages.Explanation {
	e.Stats = r.stats(e.Stats)
	e.LastConnectError = r.err(e.LastConnectError)
	e.Holders = mapped(e.Holders, func(h *messages.Holder) {
		h.Label, h.WaitsFor = r.label(h.Label), r.label(h.WaitsFor)
		h.Borrower, h.Stack = clean(h.Borrower, labelLength), r.stack(h.Stack)
	})
	e.Waiters = mapped(e.Waiters, func(w *messages.Waiter) {
		w.Label, w.Setting, w.Stack = r.label(w.Label), r.setting(w.Setting), r.stack(w.Stack)
		w.Borrower, w.Doing = clean(w.Borrower, labelLength), clean(w.Doing, labelLength)
		w.Holds = w.Holds[:min(len(w.Holds), maxRows)]
	})
	e.Jobs = mapped(e.Jobs, func(j *messages.Job) {
		j.For, j.Doing = r.label(j.For), clean(j.Doing, labelLength)
	})
	e.Conns = mapped(e.Conns, func(c *messages.Conn) {
		c.Label, c.Setting, c.State = r.label(c.Label), r.setting(c.Setting), clean(c.State, labelLength)
	})
	e.Recent = mapped(e.Recent, func(v *messages.Event) {
		v.Pool, v.Label, v.Setting = clean(v.Pool, labelLength), r.label(v.Label), r.setting(v.Setting)
		v.Err, v.Stack = r.err(v.Err), r.stack(v.Stack)
	})
	e.Suspicions = mapped(e.Suspicions, func(s *string) { *s = r.text(*s, errorLength) })
	return e
}

// mapped copies the first maxRows of a list, changed by f.
func mapped[T any](list []T, f func(*T)) []T {
	list = append([]T{}, list[:min(len(list), maxRows)]...)
	for i := range list {
		f(&list[i])
	}
	return list
}

// sprint gives a value as a text. Its methods are user code: a panic is part of the text.
func sprint(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("[%T panics]", v)
		}
	}()
	return fmt.Sprint(v)
}

// clean makes a text that may be anything harmless: one line of at most so many
// characters, in which control characters and those that change the direction of writing
// are escaped.
func clean(s string, length int) string { return cleaned(s, length, false) }

// cleanLines is clean for a text of several lines.
func cleanLines(s string, length int) string { return cleaned(s, length, true) }

func cleaned(s string, length int, lines bool) string {
	var b strings.Builder
	for i, r := range s {
		if length--; length < 0 {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError:
			b.WriteRune(r)
		case lines && (r == '\n' || r == '\t'), unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n' && i+1 < len(s):
			b.WriteString("; ")
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
