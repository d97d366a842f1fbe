package messages

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The length of an error's text, in characters, and of its parts. An error of a Get
// has about textLength; a reason keeps reasonLength of them, and the last connect
// error causeLength, whatever else there is to say.
const (
	textLength   = 200
	reasonLength = 48
	causeLength  = 32
	nameLength   = 32 // of the name of a pool, or of a label
	eventLength  = 80 // of an error in the list of events
	noteLength   = 64 // of the note on the capacity
)

const prefix = "actorpool: "

// plain gives the text of an error as it is, or says that there is none. An Error
// method that panics gives a text that says so.
func plain(err error) string {
	if err == nil {
		return "no cause given"
	}
	return fmt.Sprint(err)
}

// text gives the text of an error in one line, without this module's name, which the
// error that it becomes a part of has already.
func text(err error) string {
	s := strings.TrimPrefix(oneLine(plain(err)), prefix)
	return strings.ReplaceAll(s, ": "+prefix, ": ")
}

// oneLine makes one line of several. What cannot be printed, such as an escape sequence of
// a terminal, becomes spaces.
func oneLine(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case b.Len() == 0:
		case strings.HasSuffix(b.String(), ":"):
			b.WriteString(" ")
		default:
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return ' '
		}
		return r // invalid UTF-8 has become U+FFFD
	}, b.String())
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// shorten bounds the length of a text in characters. It leaves out the middle: the
// beginning and the end of an error say most.
func shorten(s string, length int) string {
	if utf8.RuneCountInString(s) <= length {
		return s
	}
	runes := []rune(s)
	end := (length - 1) / 2
	return string(runes[:length-1-end]) + "…" + string(runes[len(runes)-end:])
}

// quote quotes a name or a label, which may be anything.
func quote(s string) string { return strconv.Quote(shorten(s, nameLength)) }

// rounded gives a duration to the millisecond, or to the microsecond below one.
func rounded(d time.Duration) string {
	if d >= time.Millisecond || d <= -time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// stamp gives a time to the millisecond.
func stamp(t time.Time) string { return t.Round(time.Millisecond).Format(time.RFC3339Nano) }

// counts says in a few words what the pool's connections do.
func counts(s *Stats) string {
	var b strings.Builder
	switch s.State {
	case "", StateReady, StateBackoff, StateProbing: // the error has better words for the last two
	default:
		b.WriteString(s.State + ", ")
	}
	fmt.Fprintf(&b, "capacity %d", s.Capacity)
	separator := ": "
	for _, c := range []struct {
		n    int
		what string
	}{
		{s.Borrowed, "borrowed"}, {s.Idle, "idle"}, {s.InTransition, "in transition"},
		{s.Connecting, "connecting"}, {s.Closing, "closing"}, {s.Waiting, "waiting"},
	} {
		if c.n != 0 {
			fmt.Fprintf(&b, "%s%d %s", separator, c.n, c.what)
			separator = ", "
		}
	}
	return b.String()
}

// age gives an age that may be the least one only.
func age(d time.Duration, atLeast bool) string {
	switch {
	case !atLeast:
		return rounded(d)
	case d <= 0:
		return "age unknown"
	}
	return "at least " + rounded(d)
}

// longest names the holder that has had its connection for longest, as far as is known.
// It is empty if nothing is known of anybody.
func longest(holders []Holder) string {
	var worst Holder
	for i, h := range holders {
		if i == 0 || h.Age > worst.Age || h.Age == worst.Age && worst.AtLeast && !h.AtLeast {
			worst = h
		}
	}
	if len(holders) == 0 || worst.Age <= 0 && worst.AtLeast {
		return ""
	}
	who := quote(worst.Label)
	switch {
	case worst.Label != "":
	case worst.Borrower != "":
		who = "actor " + oneLine(worst.Borrower)
	default:
		who = fmt.Sprintf("connection %d", worst.ConnID)
	}
	return fmt.Sprintf("longest: %s for %s", who, age(worst.Age, worst.AtLeast))
}

// next says when the next attempt begins, seen from the moment of the error.
func next(at, now time.Time) string {
	switch {
	case at.IsZero():
		return ""
	case now.IsZero():
		return ", next at " + stamp(at)
	case at.After(now):
		return ", next in " + rounded(at.Sub(now))
	}
	return ", next now"
}

// details is an error that can say more than its text.
type details interface {
	error
	// writeDetails writes what the text leaves out, each fact on a line of its own,
	// which begins with a newline.
	writeDetails(b *strings.Builder)
}

// formatError is the Format method of such an error: %+v is the text and the details,
// %v and %s are the text.
func formatError(e details, f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('+'):
		var b strings.Builder
		b.WriteString(e.Error())
		e.writeDetails(&b)
		_, _ = io.WriteString(f, b.String())
	default:
		_, _ = fmt.Fprintf(f, strings.ReplaceAll(fmt.FormatString(f, verb), "#", ""), e.Error())
	}
}

// logValue is the LogValue method of such an error: a log has its text, also where a
// handler formats errors with %+v.
func logValue(e details) slog.Value { return slog.StringValue(e.Error()) }

// writeReason writes the text of an error in full, with its own details.
func writeReason(b *strings.Builder, title string, err error) {
	if err != nil {
		b.WriteString("\n" + title + ": " + indent(strings.TrimPrefix(fmt.Sprintf("%+v", err), prefix), "  "))
	}
}

// indent shifts the lines of a text to the right, but for the first.
func indent(s, by string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+by)
}

// writeStats writes the numbers that explanations and the details of errors show.
func writeStats(b *strings.Builder, s *Stats) {
	fmt.Fprintf(b, "state=%s capacity=%d open=%d borrowed=%d idle=%d connecting=%d waiting=%d",
		s.State, s.Capacity, s.Open, s.Borrowed, s.Idle, s.Connecting, s.Waiting)
	if s.CapacityNote != "" {
		fmt.Fprintf(b, " (%s)", oneLine(s.CapacityNote))
	}
}
