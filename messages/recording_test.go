package messages_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/actorpool/actorpool/messages"
)

const us = time.Microsecond

// smallRecording has every kind of line.
func smallRecording() *messages.Recording {
	return &messages.Recording{
		Version: messages.RecordingVersion, Pool: "orders", Start: moment.UTC(), Length: time.Second, Capacity: 8, MinIdle: 2,
		GetTimeout: 5 * time.Second, Truncated: true, Connects: []time.Duration{1500 * us, 0, 2 * time.Second},
		Gets: []messages.RecordedGet{
			{Outcome: messages.RecordedHeld, Out: true},
			{At: 10 * us, Wait: 3 * us, Hold: 90 * us, Patience: time.Second, Session: 1, Label: "import", Outcome: messages.RecordedGranted},
			{At: 10 * us, Wait: 20 * us, Session: 2, Setting: "role <a>\n", Outcome: messages.RecordedTimeout},
			{At: 12 * us, Hold: 5 * us, Session: 1, Label: "import", Setting: "import", Outcome: messages.RecordedGranted},
		},
	}
}

// written is a recording in its format.
func written(t testing.TB, r *messages.Recording) string {
	t.Helper()
	var b strings.Builder
	n, err := r.WriteTo(&b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	return b.String()
}

func TestARecordingIsWrittenAsItIsDocumented(t *testing.T) {
	assert.Equal(t, `{"format":"actorpool recording","version":1,"pool":"orders","start":"`+moment.UTC().Format(time.RFC3339Nano)+
		`","length":1000000,"capacity":8,"minIdle":2,"getTimeout":5000000,"truncated":true,`+
		`"fields":["at","wait","hold","patience","session","outcome","label","setting"],`+
		`"outcomes":["granted","held","waiting","timeout","cancelled","failed","exhausted","shed","deadlock","cleared","closed"]}
{"connects":[1500,0,2000000]}
[0,0,-1,0,0,2]
"import"
[10,3,90,1000000,1,1,1]
"role <a>\n"
[10,20,0,0,2,4,0,2]
[12,0,5,0,1,1,1,1]
{"gets":4}
`, written(t, smallRecording()))
}

func TestARecordingIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Custom(func(t *rapid.T) time.Duration {
			most := rapid.SampledFrom([]int64{0, 3, 1e6, 1e12, math.MaxInt64 / 1000}).Draw(t, "most")
			return time.Duration(rapid.Int64Range(0, most).Draw(t, "µs")) * us
		})
		text := rapid.OneOf(rapid.Just(""), rapid.SampledFrom([]string{"a", "b", "\n", `"`, "é<>&\u2028"}), rapid.String())
		r := &messages.Recording{
			Version: messages.RecordingVersion, Pool: text.Draw(t, "pool"), Start: moment.UTC().Add(micros.Draw(t, "start") / 1000),
			Length: micros.Draw(t, "length"), Capacity: rapid.IntRange(0, math.MaxInt).Draw(t, "capacity"),
			MinIdle: rapid.IntRange(0, 9).Draw(t, "min idle"), GetTimeout: micros.Draw(t, "timeout"), Truncated: rapid.Bool().Draw(t, "truncated"),
			Connects: rapid.SliceOfN(micros, 0, 3).Draw(t, "connects"),
		}
		if rapid.Bool().Draw(t, "many connects") {
			r.Connects = make([]time.Duration, 2500)
		}
		if len(r.Connects) == 0 {
			r.Connects = nil
		}
		at := time.Duration(0)
		for range rapid.IntRange(0, 6).Draw(t, "gets") {
			at += time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "later")) * us
			g := messages.RecordedGet{
				At: at, Wait: micros.Draw(t, "wait"), Hold: micros.Draw(t, "hold"), Patience: micros.Draw(t, "patience"),
				Session: rapid.Uint64Range(0, math.MaxInt64).Draw(t, "session"), Label: text.Draw(t, "label"), Setting: text.Draw(t, "setting"),
				Outcome: messages.RecordedOutcome(rapid.IntRange(1, int(messages.RecordedClosed)).Draw(t, "outcome")), Out: rapid.Bool().Draw(t, "out"),
			}
			if g.Out {
				g.Hold = 0
			}
			r.Gets = append(r.Gets, g)
		}
		var b bytes.Buffer
		if _, err := r.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		read, err := messages.ReadRecording(&b)
		if err != nil || !assert.ObjectsAreEqual(r, read) {
			t.Fatalf("%v\nwritten %+v\nread    %+v", err, r, read)
		}
	})
}

func TestDurationsAreRoundedAndAShortPatienceStaysOne(t *testing.T) {
	r := smallRecording()
	r.Gets = []messages.RecordedGet{{At: 1499, Wait: 1500, Hold: 499, Patience: 1, Outcome: messages.RecordedGranted}}
	read, err := messages.ReadRecording(strings.NewReader(written(t, r)))
	require.NoError(t, err)
	assert.Equal(t, []messages.RecordedGet{{At: us, Wait: 2 * us, Patience: us, Outcome: messages.RecordedGranted}}, read.Gets)
}

func TestARecordingThatIsPackedIsReadToo(t *testing.T) {
	var b bytes.Buffer
	packed := gzip.NewWriter(&b)
	_, err := smallRecording().WriteTo(packed)
	require.NoError(t, err)
	require.NoError(t, packed.Close())
	whole := b.Bytes()
	read, err := messages.ReadRecording(bytes.NewReader(whole))
	require.NoError(t, err)
	assert.Equal(t, smallRecording(), read)

	read, err = messages.ReadRecording(bytes.NewReader(whole[:len(whole)-4])) // the checksum is cut off
	var fault *messages.RecordingError
	require.ErrorAs(t, err, &fault)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, smallRecording(), read, "all of it was there")

	_, err = messages.ReadRecording(bytes.NewReader(whole[:5]))
	require.EqualError(t, err, "actorpool: recording, line 1: it cannot be unpacked: unexpected EOF")
}

func TestOfARecordingThatIsCutOffTheBeginningIsRead(t *testing.T) {
	whole := written(t, smallRecording())
	header := strings.IndexByte(whole, '\n')
	for n := range len(whole) {
		read, err := messages.ReadRecording(strings.NewReader(whole[:n]))
		if n == len(whole)-1 { // only the last line break is missing
			require.NoError(t, err)
			continue
		}
		var fault *messages.RecordingError
		require.ErrorAs(t, err, &fault, "%d bytes", n)
		if n < header {
			require.Nil(t, read, "%d bytes", n)
			continue
		}
		require.NotNil(t, read, "%d bytes", n)
		require.Contains(t, []int{strings.Count(whole[:n], "\n") + 1, strings.Count(whole[:n], "\n") + 2}, fault.Line, "%d bytes: %v", n, err)
		require.ElementsMatch(t, smallRecording().Gets[:len(read.Gets)], read.Gets)
		want := time.Duration(0)
		if len(read.Gets) > 0 {
			want = read.Gets[len(read.Gets)-1].At
		}
		require.Equal(t, want, read.Length)
	}
}

// lines replaces lines of the small recording, counted from 1.
func lines(t *testing.T, replace map[int]string) string {
	all := strings.Split(written(t, smallRecording()), "\n")
	for n, line := range replace {
		all[n-1] = line
	}
	return strings.Join(all, "\n")
}

func TestAReaderSaysWhichLineIsWrongAndUsesTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		gets int // that are read; -1: there is no recording
		want string
	}{
		"empty":             {"", -1, "line 1: it is empty"},
		"other file":        {"id,name\n1,2\n", -1, "line 1: it is not the first line of a recording: invalid character 'i' looking for beginning of value"},
		"other format":      {`{"format":"har"}`, -1, `line 1: format "har" is not "actorpool recording"`},
		"later version":     {`{"format":"actorpool recording","version":2}`, -1, "line 1: version 2, and this program knows version 1"},
		"negative capacity": {`{"format":"actorpool recording","version":1,"capacity":-1}`, -1, "line 1: capacity -1 is out of range"},
		"long beyond measure": {`{"format":"actorpool recording","version":1,"length":9223372036854775807}`, -1,
			"line 1: length 9223372036854775807 is out of range"},
		"only the first line": {`{"format":"actorpool recording","version":1}`, 0,
			"line 2: the recording is cut off here: the last line, with the number of Gets, is missing"},
		"clock runs backwards": {lines(t, map[int]string{8: "[9,0,5,0,1,1]"}), 3, "line 8: the time runs backwards: 9 after 10"},
		"two lines":            {lines(t, map[int]string{5: "[10,3,90", 7: "nonsense"}), 2, "line 5: it is no Get: unexpected end of JSON input (2 lines are left out)"},
		"no number":            {lines(t, map[int]string{5: `[10,"3"]`}), 3, "line 5: it is no Get: json: cannot unmarshal string into Go value of type int64"},
		"negative":             {lines(t, map[int]string{5: `[10,-3,4,0,0,1]`}), 3, "line 5: wait -3 is out of range"},
		"negative session":     {lines(t, map[int]string{5: `[10,3,4,0,-1,1]`}), 3, "line 5: session -1 is negative"},
		"no outcome":           {lines(t, map[int]string{5: `[10,3,4]`}), 3, "line 5: outcome 0 is not known"},
		"no such outcome":      {lines(t, map[int]string{5: `[10,3,4,0,0,12]`}), 3, "line 5: outcome 12 is not known"},
		"no such label":        {lines(t, map[int]string{5: `[10,3,4,0,0,1,2]`}), 3, "line 5: label 2 or setting 0 is the number of no text before it"},
		"broken text":          {lines(t, map[int]string{4: `"import`}), 4, "line 4: it is no text: unexpected end of JSON input"},
		"unknown object":       {lines(t, map[int]string{2: `{"what":1}`}), 4, "line 2: it is an object of an unknown kind"},
		"negative connect":     {lines(t, map[int]string{2: `{"connects":[-1]}`}), 4, "line 2: the time of a connect is out of range"},
		"wrong number":         {lines(t, map[int]string{9: `{"gets":5}`}), 4, "line 9: the recording had 5 Gets, and there are 4"},
		"twice": {written(t, smallRecording()) + written(t, smallRecording()), 4,
			"line 10: it comes after the last line of the recording (9 lines are left out)"},
		"a line too long": {lines(t, map[int]string{5: "[" + strings.Repeat(" ", 64<<10) + "]"}), 1, "line 5: it has more than 65536 bytes"},
		"a header too long": {`{"format":"actorpool recording","version":1,"pool":"` + strings.Repeat("A", 10<<20) + `"}`, -1,
			"line 1: it has more than 65536 bytes"},
		"a text too long": {lines(t, map[int]string{4: `"` + strings.Repeat("x", 1025) + `"`}), 4, "line 4: the text has 1025 bytes, more than 1024"},
		"a text too long when it is decoded": {lines(t, map[int]string{4: `"` + strings.Repeat("\xff", 342) + `"`}), 4,
			"line 4: the text has 1026 bytes, more than 1024"},
		"no connects": {lines(t, map[int]string{2: `{"connects":[]}`}), 4, "line 2: it is an object of an unknown kind"},
		"a long number": {lines(t, map[int]string{5: "[" + strings.Repeat("1", 60_000) + "]"}), 3,
			"line 5: it is no Get: json: cannot unmarshal number " + strings.Repeat("1", 70) + "…" + strings.Repeat("1", 71) + " into Go value of type int64"},
		"a start before the years": {`{"format":"actorpool recording","version":1,"start":"0000-01-01T00:00:00+09:00"}`, -1,
			"line 1: start is in the year -1, which is not between 0 and 9999"},
	} {
		t.Run(name, func(t *testing.T) {
			read, err := messages.ReadRecording(strings.NewReader(c.text))
			var fault *messages.RecordingError
			require.ErrorAs(t, err, &fault)
			assert.Equal(t, "actorpool: recording, "+c.want, err.Error())
			if c.gets < 0 {
				assert.Nil(t, read)
				return
			}
			require.NotNil(t, read)
			assert.Len(t, read.Gets, c.gets)
		})
	}
}

func TestAnOutcomeIsKnownByItsName(t *testing.T) {
	text := strings.Replace(written(t, smallRecording()), `"outcomes":["granted","held","waiting","timeout"`, `"outcomes":["new","held","granted","timeout"`, 1)
	read, err := messages.ReadRecording(strings.NewReader(text))
	require.EqualError(t, err, "actorpool: recording, line 5: outcome 1 is not known (2 lines are left out)")
	assert.Len(t, read.Gets, 2)
	assert.Equal(t, messages.RecordedTimeout, read.Gets[1].Outcome)
}

func TestTheErrorsOfReadersAndWritersArePassedOn(t *testing.T) {
	down := errors.New("down")
	whole := written(t, smallRecording())
	read, err := messages.ReadRecording(io.MultiReader(strings.NewReader(whole[:len(whole)-11]), iotest.ErrReader(down)))
	require.ErrorIs(t, err, down)
	assert.Len(t, read.Gets, 4)
	_, err = messages.ReadRecording(iotest.ErrReader(down))
	require.ErrorIs(t, err, down)

	r := smallRecording()
	r.Gets = slices.Repeat([]messages.RecordedGet{{Outcome: messages.RecordedGranted}}, 100_000)
	for n := range 4 {
		_, err = r.WriteTo(&failing{left: n, err: down})
		require.ErrorIs(t, err, down, "write %d", n)
	}
}

// failing is a writer that fails after some writes.
type failing struct {
	left int
	err  error
}

func (w *failing) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, w.err
	}
	return len(p), nil
}

func TestATextThatNoReaderWouldTakeIsCut(t *testing.T) {
	r := smallRecording()
	r.Pool = strings.Repeat("p", 10<<20)
	r.Gets = []messages.RecordedGet{{
		Label: "x" + strings.Repeat("é", 1<<20), Setting: strings.Repeat("\xff", 1<<20), Outcome: messages.RecordedGranted,
	}}
	read, err := messages.ReadRecording(strings.NewReader(written(t, r)))
	require.NoError(t, err)
	assert.Equal(t, r.Pool[:1024], read.Pool)
	assert.Equal(t, "x"+strings.Repeat("é", 511), read.Gets[0].Label)
	assert.Equal(t, strings.Repeat("\uFFFD", 341), read.Gets[0].Setting, "counted as it is read")
}

func TestALongNameIsCutWhenItIsRead(t *testing.T) {
	name := strings.Repeat("A", 2000)
	read, err := messages.ReadRecording(strings.NewReader(`{"format":"actorpool recording","version":1,"pool":"` + name + "\"}\n{\"gets\":0}\n"))
	require.NoError(t, err)
	assert.Equal(t, name[:1024], read.Pool)
}

func TestWhatNoReaderWouldReadIsNotWritten(t *testing.T) {
	gets := func(change func(g *messages.RecordedGet)) func(*messages.Recording) {
		return func(r *messages.Recording) { change(&r.Gets[2]) }
	}
	for want, change := range map[string]func(*messages.Recording){
		"Length -1ns is negative":                 func(r *messages.Recording) { r.Length = -1 },
		"Capacity -8 is negative":                 func(r *messages.Recording) { r.Capacity = -8 },
		"MinIdle -2 is negative":                  func(r *messages.Recording) { r.MinIdle = -2 },
		"GetTimeout -5s is negative":              func(r *messages.Recording) { r.GetTimeout = -5 * time.Second },
		"Connects[1] -1s is negative":             func(r *messages.Recording) { r.Connects[1] = -time.Second },
		"Connects has 1000001, more than 1000000": func(r *messages.Recording) { r.Connects = make([]time.Duration, 1_000_001) },
		"Start is in the year 10000, which is not between 0 and 9999": func(r *messages.Recording) {
			r.Start = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		},
		"Gets[2].At 9µs is before that of the Get above it, 10µs": gets(func(g *messages.RecordedGet) { g.At = 9 * us }),
		"Gets[2].At -9µs is negative":                             gets(func(g *messages.RecordedGet) { g.At = -9 * us }),
		"Gets[2].Wait -1µs is negative":                           gets(func(g *messages.RecordedGet) { g.Wait = -us }),
		"Gets[2].Hold -1ns is negative":                           gets(func(g *messages.RecordedGet) { g.Hold = -1 }),
		"Gets[2].Patience -1s is negative":                        gets(func(g *messages.RecordedGet) { g.Patience = -time.Second }),
		"Gets[2].Outcome 0 is not known":                          gets(func(g *messages.RecordedGet) { g.Outcome = 0 }),
		"Gets[2].Outcome 12 is not known":                         gets(func(g *messages.RecordedGet) { g.Outcome = 12 }),
		"the labels and settings up to Gets[16384] have more than 16777216 bytes": func(r *messages.Recording) {
			r.Gets = labelled(16_385, func(i int) string { return fmt.Sprintf("%01024d", i) })
		},
		"the labels and settings up to Gets[1000000] are more than 1000000 different texts": func(r *messages.Recording) {
			r.Gets = labelled(1_000_001, func(i int) string { return fmt.Sprintf("%x", i) })
		},
	} {
		r := smallRecording()
		change(r)
		var b strings.Builder
		n, err := r.WriteTo(&b)
		require.EqualError(t, err, "actorpool: recording: "+want)
		assert.Zero(t, n)
		assert.Empty(t, b.String())
	}
}

// labelled makes Gets with labels.
func labelled(n int, label func(i int) string) []messages.RecordedGet {
	gets := make([]messages.RecordedGet, n)
	for i := range gets {
		gets[i] = messages.RecordedGet{Label: label(i), Outcome: messages.RecordedGranted}
	}
	return gets
}

func TestAsManyTextsAsAReaderTakesAreWritten(t *testing.T) {
	r := smallRecording()
	r.Gets = labelled(16_384, func(i int) string { return fmt.Sprintf("%01024d", i) })
	read, err := messages.ReadRecording(strings.NewReader(written(t, r)))
	require.NoError(t, err)
	assert.True(t, slices.Equal(r.Gets, read.Gets))
}

// endless is a file that goes on after its first lines, and counts what is read of it.
type endless struct {
	first io.Reader
	line  string
	read  int
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.first.Read(p); err == nil {
		return n, nil
	}
	n := 0
	for n+len(e.line) <= len(p) {
		n += copy(p[n:], e.line)
	}
	e.read += n
	return n, nil
}

func TestAFileWithoutEndIsReadInPart(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		most int // bytes that are read
		want string
	}{
		"empty lines":     {"\n", 200_000, "line 100002: the rest is not read: 100000 lines are empty or left out"},
		"lines of no use": {"x\n", 400_000, "line 2: it is neither a Get, nor a text, nor an object: invalid character 'x' looking for beginning of value (100000 lines are left out)"},
		"texts":           {"\"\"\n", 4_000_000, "line 1000002: the rest is beyond 1000000 texts"},
		"long texts":      {`"` + strings.Repeat("x", 1024) + "\"\n", 17 << 20, "line 16386: the rest is beyond 16777216 bytes of texts"},
	} {
		t.Run(name, func(t *testing.T) {
			file := &endless{first: strings.NewReader("{\"format\":\"actorpool recording\",\"version\":1}\n"), line: c.line}
			read, err := messages.ReadRecording(file)
			require.EqualError(t, err, "actorpool: recording, "+c.want)
			assert.NotNil(t, read)
			assert.Less(t, file.read, c.most)
		})
	}
}

func TestAnErrorOfAReaderIsShortAndPrintable(t *testing.T) {
	_, err := messages.ReadRecording(iotest.ErrReader(errors.New("\x1b[31m" + strings.Repeat("x", 1000) + "\u202e")))
	begins := "actorpool: recording, line 1: it cannot be read:  [31mx"
	assert.Equal(t, begins, err.Error()[:len(begins)])
	assert.True(t, strings.HasSuffix(err.Error(), "x "), err.Error())
	assert.Less(t, utf8.RuneCountInString(err.Error()), 260)
}

func TestOutcomesHaveNames(t *testing.T) {
	assert.Equal(t, "granted", messages.RecordedGranted.String())
	assert.Equal(t, "closed", messages.RecordedClosed.String())
	assert.Equal(t, "unknown", (messages.RecordedClosed + 1).String())
	assert.Equal(t, "unknown", messages.RecordedOutcome(0).String())
}

// busyRecording is what an hour of a service looks like: sessions that come and go, waits
// now and then, and holds of some milliseconds.
func busyRecording(gets int) *messages.Recording {
	random := rand.New(rand.NewPCG(1, 2))
	r := smallRecording()
	r.Gets = make([]messages.RecordedGet, gets)
	at := 0.0
	for i := range r.Gets {
		at += random.ExpFloat64() * 3.6e9 / float64(gets)
		g := &r.Gets[i]
		*g = messages.RecordedGet{
			At: time.Duration(at) * us, Hold: time.Duration(3000*math.Exp(random.NormFloat64())) * us, Patience: 5 * time.Second,
			Session: uint64(1 + i/20 + random.IntN(40)), Outcome: messages.RecordedGranted,
		}
		if random.IntN(10) == 0 {
			g.Wait = time.Duration(random.ExpFloat64()*2000) * us
		}
		if random.IntN(3) == 0 {
			g.Label = fmt.Sprint("query ", random.IntN(8))
		}
	}
	r.Length = time.Hour
	return r
}

func TestAGetTakesFewBytes(t *testing.T) {
	const gets = 20_000
	whole := written(t, busyRecording(gets))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(whole))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	plain, small := len(whole)/gets, packed.Len()/gets
	t.Logf("%d bytes for each Get, %d packed by gzip", plain, small)
	assert.LessOrEqual(t, plain, 45)
	assert.LessOrEqual(t, small, 18)
}

// FuzzReadRecording reads anything. What is read can be written, and read again.
func FuzzReadRecording(f *testing.F) {
	whole := written(f, smallRecording())
	f.Add([]byte(whole))
	f.Add([]byte(whole[:len(whole)/2]))
	f.Add([]byte(strings.Replace(whole, "[12,", "[9,", 1)))
	f.Add([]byte(""))
	f.Add([]byte(strings.Replace(whole, `"import"`, `"`+strings.Repeat("\xff", 400)+`"`, 1)))
	f.Add([]byte(strings.Replace(whole, "orders", strings.Repeat("\xff", 400), 1)))
	f.Add([]byte(strings.Replace(whole, "[12,", "["+strings.Repeat("1", 400)+",", 1)))
	f.Add([]byte(strings.Replace(whole, "[1500,0,2000000]", "[]", 1)))
	f.Add([]byte("{\"format\":\"actorpool recording\",\"version\":1,\"start\":\"9999-12-31T23:00:00-09:00\"}\n\n\n{\"gets\":0}\n"))
	f.Add([]byte("{\"format\":\"actorpool recording\",\"version\":1}\n[9223372036854775807]\n{\"gets\":0}\n"))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(whole))
	_ = w.Close()
	f.Add(packed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := messages.ReadRecording(bytes.NewReader(data))
		var fault *messages.RecordingError
		switch {
		case err == nil && read == nil:
			t.Fatal("neither a recording nor an error")
		case err != nil && (!errors.As(err, &fault) || fault.Line < 1 || strings.ContainsAny(err.Error(), "\n\r")):
			t.Fatalf("the error is %#v", err)
		case read == nil:
			return
		}
		if limit := 64 + len(data); data != nil && (len(data) < 2 || data[0] != 0x1f) && len(read.Gets)+len(read.Connects) > limit {
			t.Fatalf("%d bytes give %d Gets and %d connects", len(data), len(read.Gets), len(read.Connects))
		}
		again, err := messages.ReadRecording(strings.NewReader(written(t, read)))
		if err != nil || !assert.ObjectsAreEqual(read, again) {
			t.Fatalf("read again: %v\n%+v\n%+v", err, read, again)
		}
	})
}
