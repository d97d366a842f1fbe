package messages

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// recordingFormat is the name of the format in the first line.
const recordingFormat = "actorpool recording"

// The bounds of a recording in a file. What is beyond them is neither written nor read, so
// that no file takes more memory or time than they allow.
const (
	// MaxRecordedGets is the largest number of Gets that come during a recording.
	MaxRecordedGets = 10_000_000

	maxGetsInFile       = MaxRecordedGets + 1_000_000 // with those that waited, or had a connection, before
	maxRecordedConnects = 1_000_000
	maxRecordedLine     = 64 << 10 // bytes
	maxRecordedBytes    = 1 << 30  // when it is unpacked
	maxRecordedText     = 1 << 10  // bytes of a text, decoded; the writer cuts what is longer
	maxRecordedTexts    = 1_000_000
	maxRecordedLetters  = 16 << 20 // bytes of all texts, decoded
	maxRecordedUseless  = 100_000  // lines that are empty or are left out
)

// faultLength bounds, in characters, what a RecordingError quotes of another error, which
// may quote a line.
const faultLength = 200

// connectsAtOnce is how many connects are in a line.
const connectsAtOnce = 1000

// recordedFields are the names of the numbers in the line of a Get.
var recordedFields = []string{"at", "wait", "hold", "patience", "session", "outcome", "label", "setting"}

// recordingHeader is the first line. Durations are in microseconds.
type recordingHeader struct {
	Format     string    `json:"format"`
	Version    int       `json:"version"`
	Pool       string    `json:"pool"`
	Start      time.Time `json:"start"`
	Length     int64     `json:"length"`
	Capacity   int       `json:"capacity"`
	MinIdle    int       `json:"minIdle"`
	GetTimeout int64     `json:"getTimeout"`
	Truncated  bool      `json:"truncated"`
	Fields     []string  `json:"fields"`
	Outcomes   []string  `json:"outcomes"` // their numbers count from 1
}

// recordingLine is any other line that is an object: some connects, or the last line.
type recordingLine struct {
	Connects []int64 `json:"connects,omitempty"`
	Gets     *int    `json:"gets,omitempty"` // only in the last line: how many there are
}

// WriteTo writes the recording as JSON Lines, in the format that docs/forecast.md
// describes. Durations are rounded to microseconds, and a text of more than a kilobyte is
// cut. It implements io.WriterTo.
//
// What ReadRecording would not read is an error, which names the field and its value, and
// nothing is written then: a negative number, an outcome that is not known, a Get that
// comes before the one above it, more than 1 million connects, more than 11 million Gets,
// and labels and settings of which more than 1 million are different, or which have more
// than 16 MiB together. Only the beginning of a recording that takes more than 1 GiB is
// written, with an error.
func (r *Recording) WriteTo(w io.Writer) (int64, error) {
	texts, err := r.validate()
	if err != nil {
		return 0, err
	}
	counted := &countingWriter{w: w}
	out := bufio.NewWriterSize(counted, 1<<16)
	err = r.write(out, texts)
	if err == nil {
		err = out.Flush()
	}
	return counted.n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if c.n+int64(len(p)) > maxRecordedBytes {
		return 0, fmt.Errorf("%srecording: it has more than %d bytes", prefix, maxRecordedBytes)
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// validate says what of a recording could not be read again. It numbers the texts, in the
// order in which they come.
func (r *Recording) validate() (texts map[string]int64, err error) {
	wrong := func(reason string, args ...any) (map[string]int64, error) {
		return nil, fmt.Errorf(prefix+"recording: "+reason, args...)
	}
	switch year := r.Start.UTC().Year(); {
	case r.Length < 0:
		return wrong("Length %v is negative", r.Length)
	case r.Capacity < 0:
		return wrong("Capacity %d is negative", r.Capacity)
	case r.MinIdle < 0:
		return wrong("MinIdle %d is negative", r.MinIdle)
	case r.GetTimeout < 0:
		return wrong("GetTimeout %v is negative", r.GetTimeout)
	case year < 0 || year > 9999:
		return wrong("Start is in the year %d, which is not between 0 and 9999", year)
	case len(r.Connects) > maxRecordedConnects:
		return wrong("Connects has %d, more than %d", len(r.Connects), maxRecordedConnects)
	case len(r.Gets) > maxGetsInFile:
		return wrong("Gets has %d, more than %d", len(r.Gets), maxGetsInFile)
	}
	for i, c := range r.Connects {
		if c < 0 {
			return wrong("Connects[%d] %v is negative", i, c)
		}
	}
	texts = map[string]int64{"": 0}
	letters := 0
	for i := range r.Gets {
		g := &r.Gets[i]
		for _, d := range [...]struct {
			name string
			time time.Duration
		}{{"At", g.At}, {"Wait", g.Wait}, {"Hold", g.Hold}, {"Patience", g.Patience}} {
			if d.time < 0 {
				return wrong("Gets[%d].%s %v is negative", i, d.name, d.time)
			}
		}
		switch {
		case i > 0 && g.At < r.Gets[i-1].At:
			return wrong("Gets[%d].At %v is before that of the Get above it, %v", i, g.At, r.Gets[i-1].At)
		case g.Outcome == 0 || int(g.Outcome) >= len(recordedOutcomes):
			return wrong("Gets[%d].Outcome %d is not known", i, g.Outcome)
		}
		for _, text := range [...]string{g.Label, g.Setting} {
			if _, known := texts[text]; known {
				continue
			}
			texts[text] = int64(len(texts))
			letters += len(shortText(text))
			if len(texts) > maxRecordedTexts+1 { // with the empty one
				return wrong("the labels and settings up to Gets[%d] are more than %d different texts", i, maxRecordedTexts)
			}
			if letters > maxRecordedLetters {
				return wrong("the labels and settings up to Gets[%d] have more than %d bytes", i, maxRecordedLetters)
			}
		}
	}
	return texts, nil
}

func (r *Recording) write(out *bufio.Writer, texts map[string]int64) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	err := lines.Encode(recordingHeader{
		Format: recordingFormat, Version: RecordingVersion, Pool: shortText(r.Pool), Start: r.Start.UTC(), Length: micros(r.Length),
		Capacity: r.Capacity, MinIdle: r.MinIdle, GetTimeout: micros(r.GetTimeout), Truncated: r.Truncated,
		Fields: recordedFields, Outcomes: recordedOutcomes[1:],
	})
	for connects := range slices.Chunk(r.Connects, connectsAtOnce) {
		if err == nil {
			line := recordingLine{Connects: make([]int64, len(connects))}
			for i, c := range connects {
				line.Connects[i] = micros(c)
			}
			err = lines.Encode(line)
		}
	}
	last := int64(0) // the number of the last text that is written
	number := func(text string) int64 {
		n := texts[text]
		if n > last && err == nil { // by one: they are numbered in this order
			last = n
			err = lines.Encode(shortText(text))
		}
		return n
	}
	var line []byte
	for i := range r.Gets {
		g := &r.Gets[i]
		hold := micros(g.Hold)
		if g.Out {
			hold = -1
		}
		patience := micros(g.Patience)
		if g.Patience > 0 {
			patience = max(1, patience)
		}
		fields := [...]int64{
			micros(g.At), micros(g.Wait), hold, patience, int64(min(g.Session, math.MaxInt64)), int64(g.Outcome), number(g.Label), number(g.Setting),
		}
		if err != nil {
			return err
		}
		length := len(fields)
		for fields[length-1] == 0 && length > 1 { // what is 0 at the end is left out
			length--
		}
		line = append(line[:0], '[')
		for i, n := range fields[:length] {
			if i > 0 {
				line = append(line, ',')
			}
			line = strconv.AppendInt(line, n, 10)
		}
		if _, err := out.Write(append(line, "]\n"...)); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	gets := len(r.Gets)
	return lines.Encode(recordingLine{Gets: &gets})
}

// micros rounds a duration to microseconds.
func micros(d time.Duration) int64 { return int64(d.Round(time.Microsecond) / time.Microsecond) }

// shortText cuts a text that a reader would not take. It counts the bytes that a reader
// counts: what is no UTF-8 becomes U+FFFD, which takes three.
func shortText(s string) string {
	if len(s) <= maxRecordedText/utf8.RuneLen(utf8.RuneError) {
		return s
	}
	n := 0
	for i, r := range s {
		if n += utf8.RuneLen(r); n > maxRecordedText {
			return s[:i]
		}
	}
	return s
}

// RecordingError says what is wrong with a recording that was read. A recording that can
// be used in part comes together with it.
type RecordingError struct {
	// Line is the number of the first line with a fault, from 1. A recording that is cut
	// off ends before this line.
	Line int
	// Reason says what is wrong with it.
	Reason string
	// LeftOut is how many lines were left out because of a fault.
	LeftOut int
	// Err is the error of the reader, or of the JSON; nil: it was neither.
	Err error
}

// Error implements error. The text has one line.
func (e *RecordingError) Error() string {
	s := fmt.Sprintf("%srecording, line %d: %s", prefix, e.Line, oneLine(e.Reason))
	if e.Err != nil {
		s += ": " + shorten(text(e.Err), faultLength)
	}
	if e.LeftOut > 1 {
		s += fmt.Sprintf(" (%d lines are left out)", e.LeftOut)
	}
	return s
}

// Unwrap returns Err.
func (e *RecordingError) Unwrap() error { return e.Err }

// ReadRecording reads a recording that WriteTo has written, also one that was packed by
// gzip. It reads no more than WriteTo writes, whatever the file has: docs/forecast.md lists
// the bounds. A longer name of the pool is cut.
//
// The error is a *[RecordingError]. If the first line is good, what can be used comes with
// it: lines that cannot be used are left out, and of a recording that is cut off there is
// the beginning, whose Length is the time of its last Get then. Without a good first
// line, and for a version that it does not know, there is no recording.
func ReadRecording(r io.Reader) (*Recording, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, &RecordingError{Line: 1, Reason: "it cannot be unpacked", Err: err}
		}
		return readLines(unpacked)
	}
	return readLines(in)
}

// recordingReader is a recording that is being read.
type recordingReader struct {
	lines    *bufio.Scanner
	line     int
	rec      *Recording
	outcomes []RecordedOutcome // by number in the file
	texts    []string          // by number
	letters  int               // bytes of the texts
	empty    int               // lines
	ended    bool              // the last line has been read
	fault    *RecordingError   // the first
}

func readLines(r io.Reader) (*Recording, error) {
	limited := &io.LimitedReader{R: r, N: maxRecordedBytes}
	in := &recordingReader{lines: bufio.NewScanner(limited), texts: []string{""}}
	in.lines.Buffer(make([]byte, 0, 1<<12), maxRecordedLine)
	if !in.next() {
		switch err := in.lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, &RecordingError{Line: 1, Reason: lineTooLong}
		case err != nil:
			return nil, &RecordingError{Line: 1, Reason: "it cannot be read", Err: err}
		}
		return nil, &RecordingError{Line: 1, Reason: "it is empty"}
	}
	if fault := in.header(); fault != nil {
		return nil, fault
	}
	for in.next() {
		if stop := in.body(in.lines.Bytes()); stop {
			break
		}
	}
	switch err := in.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		in.line++
		in.leaveOut(lineTooLong, nil)
	case err != nil:
		in.line++
		in.note("the rest cannot be read", err)
	case limited.N == 0:
		in.line++
		in.note(fmt.Sprintf("the rest is beyond %d bytes", int64(maxRecordedBytes)), nil)
	case !in.ended:
		in.line++
		in.note("the recording is cut off here: the last line, with the number of Gets, is missing", nil)
	}
	if !in.ended {
		in.rec.Length = 0
		if n := len(in.rec.Gets); n > 0 {
			in.rec.Length = in.rec.Gets[n-1].At
		}
	}
	if in.fault != nil {
		return in.rec, in.fault
	}
	return in.rec, nil
}

var lineTooLong = fmt.Sprintf("it has more than %d bytes", maxRecordedLine)

func (in *recordingReader) next() bool {
	if !in.lines.Scan() {
		return false
	}
	in.line++
	return true
}

// note notes a fault, if it is the first.
func (in *recordingReader) note(reason string, err error) {
	if in.fault == nil {
		in.fault = &RecordingError{Line: in.line, Reason: reason, Err: err}
	}
}

// leaveOut leaves a line out.
func (in *recordingReader) leaveOut(reason string, err error) {
	in.note(reason, err)
	in.fault.LeftOut++
}

// header reads the first line.
func (in *recordingReader) header() *RecordingError {
	wrong := func(err error, reason string, args ...any) *RecordingError {
		return &RecordingError{Line: 1, Reason: fmt.Sprintf(reason, args...), Err: err}
	}
	var h recordingHeader
	if err := json.Unmarshal(in.lines.Bytes(), &h); err != nil {
		return wrong(err, "it is not the first line of a recording")
	}
	if h.Format != recordingFormat {
		return wrong(nil, "format %q is not %q", shorten(h.Format, nameLength), recordingFormat)
	}
	if h.Version != RecordingVersion {
		return wrong(nil, "version %d, and this program knows version %d", h.Version, RecordingVersion)
	}
	for _, n := range []struct {
		name         string
		number, most int64
	}{
		{"length", h.Length, maxMicros}, {"getTimeout", h.GetTimeout, maxMicros},
		{"capacity", int64(h.Capacity), math.MaxInt64}, {"minIdle", int64(h.MinIdle), math.MaxInt64},
	} {
		if n.number < 0 || n.number > n.most {
			return wrong(nil, "%s %d is out of range", n.name, n.number)
		}
	}
	start := h.Start.UTC()
	if year := start.Year(); year < 0 || year > 9999 {
		return wrong(nil, "start is in the year %d, which is not between 0 and 9999", year)
	}
	in.outcomes = make([]RecordedOutcome, 1, len(recordedOutcomes))
	for _, name := range h.Outcomes {
		known := slices.Index(recordedOutcomes[1:], name)
		in.outcomes = append(in.outcomes, RecordedOutcome(known+1)) // 0: it is not known
	}
	in.rec = &Recording{
		Version: h.Version, Pool: shortText(h.Pool), Start: start, Length: ofMicros(h.Length), Capacity: h.Capacity,
		MinIdle: h.MinIdle, GetTimeout: ofMicros(h.GetTimeout), Truncated: h.Truncated,
	}
	return nil
}

// maxMicros is the longest duration in microseconds.
const maxMicros = math.MaxInt64 / int64(time.Microsecond)

func ofMicros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// body reads any line but the first. True: nothing after it is read.
func (in *recordingReader) body(line []byte) (stop bool) {
	line = bytes.TrimSpace(line)
	useless := in.empty
	if in.fault != nil {
		useless += in.fault.LeftOut
	}
	switch {
	case useless >= maxRecordedUseless:
		in.note(fmt.Sprintf("the rest is not read: %d lines are empty or left out", useless), nil)
		return true
	case len(line) == 0:
		in.empty++
	case in.ended:
		in.leaveOut("it comes after the last line of the recording", nil)
	case line[0] == '[':
		if len(in.rec.Gets) == maxGetsInFile {
			in.note(fmt.Sprintf("the rest is beyond %d Gets", maxGetsInFile), nil)
			return true
		}
		in.get(line)
	case line[0] == '"':
		return in.text(line)
	default:
		in.object(line)
	}
	return false
}

// text reads a text. True: nothing after it is read.
func (in *recordingReader) text(line []byte) (stop bool) {
	if len(in.texts) > maxRecordedTexts { // with the empty one
		in.note(fmt.Sprintf("the rest is beyond %d texts", maxRecordedTexts), nil)
		return true
	}
	text := ""
	err := json.Unmarshal(line, &text)
	switch n := len(text); {
	case err != nil:
		in.leaveOut("it is no text", err)
		text = ""
	case n > maxRecordedText:
		in.leaveOut(fmt.Sprintf("the text has %d bytes, more than %d", n, maxRecordedText), nil)
		text = ""
	case in.letters+n > maxRecordedLetters:
		in.note(fmt.Sprintf("the rest is beyond %d bytes of texts", maxRecordedLetters), nil)
		return true
	}
	in.letters += len(text)
	in.texts = append(in.texts, text) // also if it is left out: it has a number
	return false
}

// object reads some connects, or the last line.
func (in *recordingReader) object(line []byte) {
	var o recordingLine
	if err := json.Unmarshal(line, &o); err != nil {
		in.leaveOut("it is neither a Get, nor a text, nor an object", err)
		return
	}
	switch {
	case o.Gets != nil:
		in.ended = true
		if n := len(in.rec.Gets); *o.Gets != n {
			in.note(fmt.Sprintf("the recording had %d Gets, and there are %d", *o.Gets, n), nil)
		}
	case len(o.Connects) == 0:
		in.leaveOut("it is an object of an unknown kind", nil)
	case len(in.rec.Connects)+len(o.Connects) > maxRecordedConnects:
		in.leaveOut(fmt.Sprintf("there are more than %d connects", maxRecordedConnects), nil)
	case slices.ContainsFunc(o.Connects, func(n int64) bool { return n < 0 || n > maxMicros }):
		in.leaveOut("the time of a connect is out of range", nil)
	default:
		for _, n := range o.Connects {
			in.rec.Connects = append(in.rec.Connects, ofMicros(n))
		}
	}
}

// get reads a Get.
func (in *recordingReader) get(line []byte) {
	var f [8]int64
	if err := json.Unmarshal(line, &f); err != nil {
		in.leaveOut("it is no Get", err)
		return
	}
	at, wait, hold, patience, session, outcome, label, setting := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
	for i, least := range [...]int64{0, 0, -1, 0} {
		if f[i] < least || f[i] > maxMicros {
			in.leaveOut(fmt.Sprintf("%s %d is out of range", recordedFields[i], f[i]), nil)
			return
		}
	}
	switch texts := int64(len(in.texts)); {
	case session < 0:
		in.leaveOut(fmt.Sprintf("session %d is negative", session), nil)
		return
	case outcome < 1 || outcome >= int64(len(in.outcomes)) || in.outcomes[outcome] == 0:
		in.leaveOut(fmt.Sprintf("outcome %d is not known", outcome), nil)
		return
	case label < 0 || label >= texts || setting < 0 || setting >= texts:
		in.leaveOut(fmt.Sprintf("label %d or setting %d is the number of no text before it", label, setting), nil)
		return
	}
	g := RecordedGet{
		At: ofMicros(at), Wait: ofMicros(wait), Hold: ofMicros(max(0, hold)), Patience: ofMicros(patience), Session: uint64(session),
		Label: in.texts[label], Setting: in.texts[setting], Outcome: in.outcomes[outcome], Out: hold < 0,
	}
	if n := len(in.rec.Gets); n > 0 && g.At < in.rec.Gets[n-1].At {
		in.leaveOut(fmt.Sprintf("the time runs backwards: %d after %d", at, micros(in.rec.Gets[n-1].At)), nil)
		return
	}
	in.rec.Gets = append(in.rec.Gets, g)
}
