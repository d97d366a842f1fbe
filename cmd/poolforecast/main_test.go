package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files, and what documents quote")

// recording is one of 3,000 Gets at a load of 3.2 connections. Its numbers are whole microseconds,
// as in a file.
func recording() *messages.Recording {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := &messages.Recording{Version: 1, Pool: "orders", Capacity: 8, MinIdle: 2, GetTimeout: time.Second}
	for range 3000 {
		r.Length += time.Duration(rnd.IntN(6250)) * time.Microsecond
		r.Gets = append(r.Gets, messages.RecordedGet{
			At: r.Length, Hold: time.Duration(1000+rnd.IntN(18_000)) * time.Microsecond, Patience: time.Second, Outcome: messages.RecordedGranted,
		})
	}
	r.Connects = []time.Duration{4 * time.Millisecond, 5 * time.Millisecond}
	return r
}

// lines is what is in a file.
func lines(t *testing.T, r *messages.Recording) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := r.WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "recording.jsonl")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name
}

// result is what a run of the command printed, and its exit status.
type result struct {
	out, problems string
	status        int
}

func command(in []byte, args ...string) result {
	var out, problems bytes.Buffer
	status := run(args, bytes.NewReader(in), &out, &problems)
	return result{out.String(), problems.String(), status}
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "%s: go test ./cmd/poolforecast -rewrite writes it", path)
}

func TestItPrintsATableAndDrawsAPicture(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "out.svg")
	r := command(nil, "-capacities", "2,3, 4,6,8,16", "-svg", svg, file(t, lines(t, recording())))
	assert.Equal(t, good, r.status)
	assert.Empty(t, r.problems)
	golden(t, "table.txt", r.out)
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	golden(t, "picture.svg", string(picture))
}

func TestTheFlagsAreTheFieldsOfWhatIf(t *testing.T) {
	in := lines(t, recording())
	r := command(in, "-capacities", "3", "-get-timeout", "5ms", "-connect", "300ms", "-min-idle", "-1", "-open", "-seed", "2", "-")
	assert.Equal(t, good, r.status)
	golden(t, "flags.txt", r.out)
}

func TestItReadsFilesPackedFilesAndTheStandardInput(t *testing.T) {
	plain := lines(t, recording())
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, err := zip.Write(plain)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	want := command(nil, file(t, plain))
	assert.Equal(t, good, want.status)
	assert.Equal(t, want, command(nil, file(t, packed.Bytes())))
	assert.Equal(t, want, command(plain, "-"))
	assert.Equal(t, want, command(packed.Bytes(), "-"))
}

// damage makes a bad recording of a good one, of which it has the lines.
type damage func(lines []string) string

func TestOfABadRecordingWhatIsGoodIsUsedAndTheRestIsSaid(t *testing.T) {
	content := strings.SplitAfter(string(lines(t, recording())), "\n")
	first := 0 // the line of the first Get
	for !strings.HasPrefix(content[first], "[") {
		first++
	}
	swapped := func(lines []string) string { // a Get of the end comes in the middle
		i, j := first+1500, first+2500
		lines[i], lines[j] = lines[j], lines[i]
		return strings.Join(lines, "")
	}
	packed := func(lines []string) string {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, err := zip.Write([]byte(strings.Join(lines, "")))
		require.NoError(t, errors.Join(err, zip.Close()))
		return b.String()[:b.Len()*2/3]
	}
	for name, c := range map[string]struct {
		of     damage
		status int
	}{
		"cut off":            {func(l []string) string { return strings.Join(l[:2000], "") + "[12" }, damaged},
		"cut off early":      {func(l []string) string { return strings.Join(l[:500], "") }, failed},
		"packed and cut off": {packed, damaged},
		"other version":      {func(l []string) string { return strings.Replace(strings.Join(l, ""), `"version":1`, `"version":2`, 1) }, failed},
		"empty":              {func([]string) string { return "" }, failed},
		"without Gets":       {func(l []string) string { return l[0] + "{\"gets\":0}\n" }, failed},
		"something else":     {func([]string) string { return "<html>\n" }, failed},
		"clock backwards":    {swapped, damaged},
		"a bad line":         {func(l []string) string { l[first+100] = "[1,2,-3]\n"; return strings.Join(l, "") }, damaged},
	} {
		r := command([]byte(c.of(append([]string(nil), content...))), "-capacities", "4", "-")
		assert.Equal(t, c.status, r.status, name)
		golden(t, "bad-"+strings.ReplaceAll(name, " ", "-")+".txt", fmt.Sprintf("exit status %d\n%s%s", r.status, r.problems, r.out))
	}
}

func TestARecordingOfAHugePoolHasAForecast(t *testing.T) {
	r := recording()
	r.Capacity = 80_000
	printed := command(lines(t, r), "-")
	assert.Equal(t, good, printed.status)
	assert.Empty(t, printed.problems)
	for _, capacity := range []string{"40000", "60000", "80000", "100000"} {
		assert.Contains(t, strings.ReplaceAll(printed.out, ",", ""), capacity)
	}
}

func TestWrongUseIsSaid(t *testing.T) {
	in := lines(t, recording())
	for _, c := range []struct {
		args string
		says string
	}{
		{"", "0 arguments, and there must be one"},
		{"a b", "2 arguments, and there must be one"},
		{"-colour a", "flag provided but not defined: -colour"},
		{"-capacities 4,x -", `-capacities 4,x: "x" is not a number`},
		{"-capacities 4,0 -", "capacity 0: actorpool: invalid Capacities[1]: 0 is not between 1 and 100000"},
		{"-connect 2h -", "invalid Connect: 2h0m0s is above an hour"},
		{"-connect 20 -", `invalid value "20" for flag -connect`},
	} {
		r := command(in, strings.Fields(c.args)...)
		assert.Equal(t, wrongUse, r.status, c.args)
		assert.Contains(t, r.problems, c.says)
		assert.True(t, strings.HasPrefix(r.problems, "poolforecast: "), r.problems)
		assert.Empty(t, r.out)
	}
}

func TestAFileThatCannotBeOpenedIsSaid(t *testing.T) {
	r := command(nil, filepath.Join(t.TempDir(), "none"))
	assert.Equal(t, failed, r.status)
	assert.Contains(t, r.problems, "no such file or directory")
	r = command(lines(t, recording()), "-svg", filepath.Join(t.TempDir(), "none", "a.svg"), "-")
	assert.Equal(t, failed, r.status)
	assert.Contains(t, r.problems, "no such file or directory")
}

func TestHelpIsPrinted(t *testing.T) {
	r := command(nil, "-help")
	assert.Equal(t, good, r.status)
	assert.Contains(t, r.problems, "Usage: poolforecast [flags] recording.jsonl")
	assert.Contains(t, r.problems, "-get-timeout")
}
