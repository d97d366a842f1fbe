package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// code has a mutant of every kind in it.
const code = `package calc

import "time"

type box struct {
	n     int
	label string
	full  bool
}

// Add is tested in full.
func (b *box) Add(n int) {
	if n > 0 && !b.full {
		b.n += n
		b.full = true
	}
}

// Make is tested in full, too.
func Make(n int) box { return box{n: min(n, 7), label: "new"} }

// Wait is tested with one value only.
func Wait(n int) time.Duration { return time.Duration(n) * time.Second }

// Old is tested, but not at its limit.
func Old(age int) bool { return age >= 18 }

// Never is not tested.
func Never(n int) int { return n - 1 }

// Stuck does not end without its last statement.
func Stuck(n int) (sum int) {
	for n > 0 {
		sum += n
		n--
	}
	return sum
}

// Clone has a name in it that hides the type of its result.
func Clone(box box) box { return box }
`

const tests = `package calc

import (
	"testing"
	"time"
)

func TestAdd(t *testing.T) {
	b := &box{}
	b.Add(0)
	if b.full || b.n != 0 {
		t.Fatal(b)
	}
	b.Add(1)
	b.Add(2)
	if !b.full || b.n != 1 {
		t.Fatal(b)
	}
}

func TestMake(t *testing.T) {
	for n, want := range map[int]int{1: 1, 7: 7, 8: 7} {
		if b := Make(n); b.n != want || b.label != "new" || b.full {
			t.Fatal(b)
		}
	}
}

func TestWait(t *testing.T) {
	if Wait(1) != time.Second {
		t.Fatal(Wait(1))
	}
}

func TestOld(t *testing.T) {
	if Old(17) || !Old(20) {
		t.Fatal()
	}
}

func TestStuck(t *testing.T) {
	if Stuck(3) != 6 {
		t.Fatal(Stuck(3))
	}
}

func TestClone(t *testing.T) {
	if Clone(box{n: 1}).n != 1 {
		t.Fatal()
	}
}

func TestThatFailsWithoutAMutant(t *testing.T) { t.Fatal("for another reason") }
`

func writeModule(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"go.mod": "module calc\n\ngo 1.25\n", "calc.go": code, "calc_test.go": tests} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

func TestEveryMutantIsJudged(t *testing.T) {
	dir := writeModule(t)
	var progress bytes.Buffer
	s, err := prepare(options{ctx: t.Context(), dir: dir, packages: []string{"."}, jobs: 2, checks: 10, slack: 3 * time.Second, log: log.New(&progress, "", 0)})
	require.NoError(t, err)
	defer s.clean()
	require.NoError(t, s.judge())
	assert.Contains(t, progress.String(), "left out, a mutant of it does not compile: calc.go:41: ")
	assert.Contains(t, progress.String(), "not used, it fails without a mutant: TestThatFailsWithoutAMutant")

	found := map[string]status{}
	kinds := map[string]bool{}
	for _, m := range s.mutants {
		assert.Equal(t, "calc.go", m.File)
		found[m.Func+": "+m.Kind+": "+m.After] = m.Status
		kinds[m.Kind] = true
	}
	for _, kind := range []string{
		"always true", "always false", "operand dropped", "boundary", "arithmetic", "one more", "bool flipped",
		"statement deleted", "zero value", "min and max swapped",
	} {
		assert.True(t, kinds[kind], kind)
	}
	for mutant, want := range map[string]status{
		"Add: always true: if true {":                killed,
		"Add: operand dropped: if true && !b.full {": killed,
		"Add: operand dropped: if n > 0 && true {":   killed,
		"Add: boundary: if n >= 0 && !b.full {":      killed,
		"Add: statement deleted: ":                   killed,
		"Add: bool flipped: b.full = false":          killed,
		`Make: min and max swapped: func Make(n int) box { return box{n: max(n, 7), label: "new"} }`: killed,
		`Make: one more: func Make(n int) box { return box{n: min(n, 8), label: "new"} }`:            killed,
		"Wait: arithmetic: func Wait(n int) time.Duration { return time.Duration(n) / time.Second }": killed,
		"Old: boundary: func Old(age int) bool { return age > 18 }":                                  notCovered, // never 18
		"Old: one more: func Old(age int) bool { return age >= 19 }":                                 survived,
		"Never: arithmetic: func Never(n int) int { return n + 1 }":                                  notCovered,
		"Stuck: always false: for false {":                                                           killed,
	} {
		assert.Equal(t, want, found[mutant], mutant)
	}
	stuck := slices.IndexFunc(s.mutants, func(m *mutant) bool { return m.Func == "Stuck" && m.Before == "n--" })
	assert.Equal(t, timedOut, s.mutants[stuck].Status)
	assert.Equal(t, "TestStuck", s.mutants[stuck].By)

	// The working tree is as it was.
	text, err := os.ReadFile(filepath.Join(dir, "calc.go"))
	require.NoError(t, err)
	assert.Equal(t, code, string(text))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 3)

	// A later run may look at those again that were not killed.
	text, err = json.Marshal(s.mutants)
	require.NoError(t, err)
	report := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, os.WriteFile(report, text, 0o644))
	again, err := alive(report)
	require.NoError(t, err)
	left, err := prepare(options{ctx: t.Context(), dir: dir, packages: []string{"."}, again: again, skip: regexp.MustCompile(`calc.go:26`), log: log.New(&progress, "", 0)})
	require.NoError(t, err)
	defer left.clean()
	assert.Len(t, left.mutants, count(s.mutants, survived, "")+count(s.mutants, notCovered, "")-2) // line 26 is Old

	table := markdown(s.mutants)
	assert.Contains(t, table, "| calc.go:26 Old | one more | `func Old(age int) bool { return age >= 18 }` |")
}
