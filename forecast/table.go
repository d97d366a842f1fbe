package forecast

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// WriteText writes what was recorded and the bands as a table of plain text, followed by the words
// and the notes of each. Waits are in milliseconds; the column of the mean has the band from
// MeanFrom to MeanTo, the others those of the three runs. The error is that of out.
func WriteText(out io.Writer, r *messages.Recording, bands []Band) error {
	var s strings.Builder
	if r != nil {
		s.WriteString(summary(r) + ".\n\n")
	}
	writeTable(&s, bands)
	for i := range bands {
		s.WriteString("\n" + wrap(fmt.Sprintf("Capacity %d: ", bands[i].Capacity), bands[i].Words))
	}
	writeNotes(&s, bands)
	_, err := io.WriteString(out, s.String())
	return err
}

// summary says what was recorded.
func summary(r *messages.Recording) string {
	var held float64
	length := r.Length
	for _, g := range r.Gets {
		held += float64(max(0, g.Hold))
		if g.Out {
			held += float64(max(0, r.Length-g.At-g.Wait))
		}
		if r.Length <= 0 {
			length = max(length, g.At+g.Wait)
		}
	}
	s := fmt.Sprintf("Pool %q: %s Gets in %s", r.Pool, count(len(r.Gets)), short(length))
	if r.Capacity > 0 {
		s += fmt.Sprintf(", recorded at capacity %d", r.Capacity)
		if length > 0 {
			s += " with " + percent(held/float64(length)/float64(r.Capacity)) + " of it in use"
		}
	}
	return s
}

var columns = []string{"capacity", "load", "busiest", "keeps up", "Gets that wait", "mean", "p50", "p90", "p99", "timeouts"}

func writeTable(s *strings.Builder, bands []Band) {
	rows := [][]string{columns}
	for i := range bands {
		if bands[i].Err == nil {
			rows = append(rows, bands[i].row())
		}
	}
	if len(rows) == 1 {
		return
	}
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%s%s  ", strings.Repeat(" ", widths[i]-len([]rune(cell))), cell)
		}
		s.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	s.WriteString("busiest: the load in the busiest part of the recording. mean, p50, p90, p99: the mean wait and its\nquantiles, in milliseconds. In brackets: the band of the mean, and holds that are 10 % shorter and longer.\n")
}

func (b *Band) row() []string {
	m := &b.Middle
	keepsUp := "yes"
	switch {
	case !m.KeepsUp:
		keepsUp = "no"
	case !b.High.KeepsUp:
		keepsUp = "just"
	}
	row := []string{strconv.Itoa(b.Capacity), percent(m.Load), percent(b.Busiest), keepsUp}
	if m.Load > NumbersUpTo {
		row = append(row, "-", "-", "-", "-", "-")
	} else {
		row = append(row, percent(m.Waited), in(m.Mean, b.MeanFrom, b.MeanTo),
			b.in(func(w *Waits) time.Duration { return w.P50 }), b.in(func(w *Waits) time.Duration { return w.P90 }), b.in(p99))
	}
	timeouts := count(m.Timeouts)
	if least, most := b.timeouts(); least != most {
		timeouts += fmt.Sprintf(" (%s-%s)", count(least), count(most))
	}
	return append(row, timeouts)
}

func p99(w *Waits) time.Duration { return w.P99 }

// in writes what the three runs have of something.
func (b *Band) in(of func(*Waits) time.Duration) string {
	from, to := b.around(of)
	return in(of(&b.Middle), from, to)
}

// in writes a value with its band, in milliseconds.
func in(value, from, to time.Duration) string {
	if from == to {
		return millis(value)
	}
	return fmt.Sprintf("%s (%s-%s)", millis(value), millis(from), millis(to))
}

// millis writes milliseconds with two or three digits, at most to the microsecond.
func millis(d time.Duration) string {
	x := float64(d) / float64(time.Millisecond)
	digits := 0
	switch {
	case x < 0.9995:
		digits = 2
	case x < 99.95:
		digits = 1
	}
	return trim(strconv.FormatFloat(x, 'f', digits, 64))
}

// writeNotes writes those that all bands have once, and then those of each capacity.
func writeNotes(s *strings.Builder, bands []Band) {
	type note struct {
		text string
		of   []string // capacities
	}
	var notes []*note
	byText := make(map[string]*note)
	made := 0
	for i := range bands {
		if bands[i].Err != nil {
			continue
		}
		made++
		for _, text := range bands[i].Notes {
			if byText[text] == nil {
				byText[text] = &note{text: text}
				notes = append(notes, byText[text])
			}
			byText[text].of = append(byText[text].of, strconv.Itoa(bands[i].Capacity))
		}
	}
	for i, n := range notes {
		if i == 0 {
			s.WriteString("\n")
		}
		mark := "- "
		if len(n.of) < made {
			mark += "Capacity " + strings.Join(n.of, ", ") + ": "
		}
		s.WriteString(wrap(mark, n.text))
	}
}

// wrap breaks a text into lines of at most 100 characters, the first of which begins with head, and the
// others with two spaces.
func wrap(head, text string) string {
	var s strings.Builder
	line := head
	for word := range strings.FieldsSeq(strings.ReplaceAll(text, " %", "\u00a0%")) {
		if len([]rune(line))+len([]rune(word)) > 100 && strings.TrimSpace(line) != "" {
			s.WriteString(strings.TrimRight(line, " ") + "\n")
			line = "  "
		}
		line += word + " "
	}
	s.WriteString(strings.TrimRight(line, " ") + "\n")
	return strings.ReplaceAll(s.String(), "\u00a0", " ")
}
