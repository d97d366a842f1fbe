package architecture

import (
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write into docs/rules.md in which packages the tests of the rules are now")

const rulesFile = "docs/rules.md"

// traces are the folders of traces: those of a pool, and those of a set of pools.
var traces = []string{"actors/internal/machine/testdata", "actors/internal/setmachine/testdata"}

// ruleNumber finds the numbers of rules in a text: one of the letters of the
// groups and a number. What looks like one and is none:
//
//   - from 50 on: percentiles, P50 to P99 (no group comes near to 50 rules);
//   - three digits, or letters and digits without a break: H100, 25P03, B2B;
//   - a cache or a heading by its level: L2 cache, H2 heading.
var ruleNumber = regexp.MustCompile(`\b([GPCXLBHTNSEMKQ][1-9]|[GPCXLBHTNSEMKQ][1-4][0-9])\b(?: caches?\b| headings?\b)?`)

func numbersIn(text string) []string {
	var numbers []string
	for _, match := range ruleNumber.FindAllStringSubmatch(text, -1) {
		if match[0] == match[1] {
			numbers = append(numbers, match[1])
		}
	}
	return numbers
}

// use is one place where a rule is named.
type use struct{ rule, place string }

// usesOf lists where rules are named: in the comments of Go files and traces, and
// in the prose of documents, without the blocks of code. In Go code itself P50 is
// a field, and H1 may be any constant.
func usesOf(t *testing.T, files fs.FS) []use {
	t.Helper()
	var uses []use
	note := func(name string, line int, text string) {
		for _, rule := range numbersIn(text) {
			uses = append(uses, use{rule, fmt.Sprintf("%s:%d", name, line)})
		}
	}
	for _, name := range filesOf(t, files, ".go") {
		positions := token.NewFileSet()
		for _, group := range parse(t, files, positions, name).Comments {
			for _, comment := range group.List {
				first := positions.Position(comment.Pos()).Line
				for i, line := range strings.Split(comment.Text, "\n") {
					note(name, first+i, line)
				}
			}
		}
	}
	for _, name := range filesOf(t, files, ".txt") {
		for i, line := range strings.Split(read(t, files, name), "\n") {
			if strings.HasPrefix(line, "#") {
				note(name, i+1, line)
			}
		}
	}
	for _, name := range filesOf(t, files, ".md") {
		for i, line := range prose(read(t, files, name)) {
			note(name, i+1, line)
		}
	}
	return uses
}

// prose gives the lines of a Markdown text, with those of code blocks empty.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	code := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || code {
			lines[i] = ""
		}
		if fence {
			code = !code
		}
	}
	return lines
}

// rule is one entry of docs/rules.md.
type rule struct {
	number string
	line   int    // of docs/rules.md
	text   string // what the rule says
	test   string // the tests that show it, by package
	trace  string // the traces that show it, or why there is none
}

// entry is how a rule begins, and field how the lines below it do.
var (
	entry     = regexp.MustCompile(`^- \*\*(\S+)\*\* (.+)$`)
	field     = regexp.MustCompile(`^  - (test|trace): (.+)$`)
	testGroup = regexp.MustCompile("^(`[A-Za-z0-9_]+`(?:, `[A-Za-z0-9_]+`)*) \\((\\S+)\\)$")
	quoted    = regexp.MustCompile("`([A-Za-z0-9_]+)`")
)

// parseRules reads the rules out of the text of docs/rules.md. Whatever is in bold
// at the beginning of a list item is a rule.
func parseRules(text string) []rule {
	var rules []rule
	var open *string // the field that an indented line continues
	for i, line := range strings.Split(text, "\n") {
		switch match, part := entry.FindStringSubmatch(line), field.FindStringSubmatch(line); {
		case match != nil:
			rules = append(rules, rule{number: match[1], line: i + 1, text: match[2]})
			open = &rules[len(rules)-1].text
		case part != nil && len(rules) > 0:
			if open = &rules[len(rules)-1].test; part[1] == "trace" {
				open = &rules[len(rules)-1].trace
			}
			*open = strings.TrimSpace(*open + " " + part[2])
		case strings.HasPrefix(line, "  ") && open != nil:
			*open += " " + strings.TrimSpace(line)
		default:
			open = nil
		}
	}
	return rules
}

// testsOf splits the tests of a rule into packages and names: "`TestA`, `TestB`
// (client); `TestC` (actors)".
func (r rule) testsOf() (tests []test, ok bool) {
	for group := range strings.SplitSeq(r.test, "; ") {
		match := testGroup.FindStringSubmatch(group)
		if match == nil {
			return nil, false
		}
		for _, name := range quoted.FindAllStringSubmatch(match[1], -1) {
			tests = append(tests, test{name[1], match[2]})
		}
	}
	return tests, true
}

// tracesOf lists the traces of a rule. There are none where the rule says "none,"
// and why.
func (r rule) tracesOf() (names []string, ok bool) {
	if why, none := strings.CutPrefix(r.trace, "none, "); none {
		return nil, len(why) > 0
	}
	for item := range strings.SplitSeq(r.trace, ", ") {
		match := quoted.FindStringSubmatch(item)
		if match == nil || match[0] != item {
			return nil, false
		}
		names = append(names, match[1])
	}
	return names, true
}

// test is a test function; its package is named by its folder.
type test struct{ name, pkg string }

// testFunctions finds in which packages there is a test function of a name. The
// tests of internal/lockfree are left out: that is another pool, with another
// pool's tests of the same names.
func testFunctions(t *testing.T, files fs.FS) map[string][]string {
	t.Helper()
	packages := make(map[string][]string)
	for _, name := range filesOf(t, files, "_test.go") {
		if path.Dir(name) == "internal/lockfree" {
			continue
		}
		for _, decl := range parse(t, files, token.NewFileSet(), name).Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			if pkg := packageOf(path.Dir(name)); !slices.Contains(packages[f.Name.Name], pkg) {
				packages[f.Name.Name] = append(packages[f.Name.Name], pkg)
			}
		}
	}
	return packages
}

// packageOf names a package as documents do, by the end of its path.
func packageOf(folder string) string {
	if folder == "." {
		return path.Base(module)
	}
	return path.Base(folder)
}

// undefinedRules lists the places that name a rule which is not in docs/rules.md.
func undefinedRules(rules []rule, uses []use) []string {
	var faults []string
	for _, u := range uses {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.number == u.rule }) {
			faults = append(faults, fmt.Sprintf("%s: rule %s is not defined in %s", u.place, u.rule, rulesFile))
		}
	}
	return faults
}

// wrongRules lists what is wrong with the rules themselves: a number that is none
// or is defined twice; a rule without a sentence, a test or a trace; a test or a
// trace that does not exist; a trace that does not name the rule.
func wrongRules(t *testing.T, files fs.FS, rules []rule) []string {
	t.Helper()
	var faults []string
	defined := make(map[string]int)
	functions := testFunctions(t, files)
	for _, r := range rules {
		wrong := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%s:%d: rule %s ", rulesFile, r.line, r.number)+fmt.Sprintf(format, args...))
		}
		if numbers := numbersIn(r.number); len(numbers) != 1 || numbers[0] != r.number {
			wrong("has a number that no text can refer to: see ruleNumber")
		}
		if line := defined[r.number]; line > 0 {
			wrong("is defined in line %d already", line)
		}
		defined[r.number] = r.line
		if !strings.HasSuffix(r.text, ".") {
			wrong("is not a sentence that ends in a full stop")
		}
		tests, ok := r.testsOf()
		if !ok {
			wrong("has no list of tests that can be read: %q", r.test)
		}
		for _, f := range tests {
			switch packages := functions[f.name]; {
			case len(packages) == 0:
				wrong("names the test %s, which does not exist", f.name)
			case !slices.Contains(packages, f.pkg):
				wrong("names the test %s of package %s, but it is in package %s; -rewrite mends that", f.name, f.pkg, packages[0])
			}
		}
		names, ok := r.tracesOf()
		if !ok {
			wrong("has no list of traces that can be read, and no reason for having none: %q", r.trace)
		}
		for _, name := range names {
			switch told, err := tracesRule(files, name, r.number); {
			case err != nil:
				wrong("names the trace %s, which does not exist", name)
			case !told:
				wrong("names the trace %s, which does not name the rule", name)
			}
		}
	}
	return faults
}

// tracesRule says whether a trace, of whichever folder, names a rule in a comment.
func tracesRule(files fs.FS, trace, number string) (bool, error) {
	var missing error
	found := false
	for _, folder := range traces {
		text, err := fs.ReadFile(files, path.Join(folder, trace+".txt"))
		if err != nil {
			missing = err
			continue
		}
		found = true
		for line := range strings.SplitSeq(string(text), "\n") {
			if strings.HasPrefix(line, "#") && slices.Contains(numbersIn(line), number) {
				return true, nil
			}
		}
	}
	if found {
		return false, nil
	}
	return false, missing
}

func TestEveryRuleNumberThatIsUsedIsDefined(t *testing.T) {
	files := repository(t)
	uses := usesOf(t, files)
	assert.Greater(t, len(uses), 100, "the uses were not found")
	report(t, undefinedRules(parseRules(read(t, files, rulesFile)), uses))
}

// With -rewrite the packages of the tests are written anew, for when tests move.
func TestEveryRuleIsDefinedOnceAndHasItsTestsAndTraces(t *testing.T) {
	files := repository(t)
	text := read(t, files, rulesFile)
	if *rewrite {
		text = withPackages(text, testFunctions(t, files))
		require.NoError(t, os.WriteFile(filepath.Join(root(t), rulesFile), []byte(text), 0o644))
	}
	rules := parseRules(text)
	assert.Greater(t, len(rules), 50, "the rules were not found")
	report(t, wrongRules(t, files, rules))
}

// withPackages writes the lists of tests anew, each test under the package that it
// is in. One that is in the package that was named stays there.
func withPackages(text string, functions map[string][]string) string {
	lines := strings.Split(text, "\n")
	for _, r := range slices.Backward(parseRules(text)) {
		tests, ok := r.testsOf()
		if !ok {
			continue
		}
		var packages []string
		names := make(map[string][]string)
		for _, f := range tests {
			if found := functions[f.name]; len(found) > 0 && !slices.Contains(found, f.pkg) {
				f.pkg = found[0]
			}
			if names[f.pkg] == nil {
				packages = append(packages, f.pkg)
			}
			names[f.pkg] = append(names[f.pkg], "`"+f.name+"`")
		}
		var groups []string
		for _, pkg := range packages {
			groups = append(groups, strings.Join(names[pkg], ", ")+" ("+pkg+")")
		}
		first := r.line // from 1, so this is the index of the line after the rule's first
		for !strings.HasPrefix(lines[first], "  - test:") {
			first++
		}
		last := first + 1
		for strings.HasPrefix(lines[last], "    ") {
			last++
		}
		lines = slices.Replace(lines, first, last, wrapped("  - test: "+strings.Join(groups, "; "), "    ")...)
	}
	return strings.Join(lines, "\n")
}

// wrapped breaks a text into lines of at most 110 characters.
func wrapped(text, indent string) []string {
	const width = 110
	var lines []string
	for len(text) > width {
		at := strings.LastIndex(text[:width+1], " ")
		if at <= len(indent) {
			break
		}
		lines, text = append(lines, text[:at]), indent+text[at+1:]
	}
	return append(lines, text)
}

func TestWhatLooksLikeARuleNumberAndIsNone(t *testing.T) {
	for text, want := range map[string][]string{
		"G10, and B8 (P3).":                         {"G10", "B8", "P3"},
		"H1-H11":                                    {"H1", "H11"},
		"X4; X4":                                    {"X4", "X4"},
		"P50, P90 and P99 of H100 and p50":          nil,
		"SQLSTATE 25P03, 57P01, 08P1, B2B, x_B1":    nil,
		"the L2 cache, L1 caches, an H2 heading":    nil,
		"L2: a cache of connections; L2 caches; L2": {"L2", "L2"},
		"T1, N2, S3; E4":                            {"T1", "N2", "S3", "E4"},
		"F1, J2, W1, C0, G07, Z1":                   nil,
	} {
		assert.Equal(t, want, numbersIn(text), text)
	}
}

// The checks are known to find what they are for.
func TestTheChecksOfRulesFindFaults(t *testing.T) {
	file := func(lines ...string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Join(lines, "\n") + "\n")}
	}
	files := fstest.MapFS{
		"docs/rules.md": file(
			"# Rules", "See G9 and", "```", "G8 in code", "```", "",
			"- **G1** A rule that",
			"  goes on.",
			"  - test: `TestOne`, `TestTwo`",
			"    (client); `TestThree` (actorpool)",
			"  - trace: `get`,",
			"    `put`",
			"- **G2** Nothing below.",
			"- **G1** Again, without an end",
			"  - test: `TestOne` (actors); `TestNone` (client)",
			"  - trace: `put`, `gone`",
			"- **P50** Percentile.",
			"  - test: `TestOther` (lockfree)",
			"  - trace: none, it is the client's",
			"- **G3** No reason.",
			"  - test: TestOne (client)",
			"  - trace: none",
			"- **K1** A rule of sets.",
			"  - test: `TestOne` (client)",
			"  - trace: `units`, `shares`",
		),
		"client/a_test.go":            file("package client // G7", "", "func TestOne() { P1 := `G6` }", "func TestTwo() {}"),
		"a_test.go":                   file("package actorpool", "/* as L2 says,", "and X9 */", "func TestThree() {}"),
		"internal/lockfree/a_test.go": file("package lockfree", "func TestOther() {}"),
		"nested/go.mod":               file("module nested"),
		"nested/a.go":                 file("package nested", "// B7."),
		".git/a.md":                   file("B6"),
		"actors/internal/machine/testdata/get.txt": file("# G1. A Get.", "get G5"),
		"actors/internal/machine/testdata/put.txt": file("# Put.", "put G1"),

		"actors/internal/setmachine/testdata/units.txt":  file("# K1. Units."),
		"actors/internal/setmachine/testdata/shares.txt": file("# Shares."),
	}
	rules := parseRules(read(t, files, rulesFile))
	require.Len(t, rules, 6)
	assert.Equal(t, rule{
		number: "G1", line: 7, text: "A rule that goes on.",
		test: "`TestOne`, `TestTwo` (client); `TestThree` (actorpool)", trace: "`get`, `put`",
	}, rules[0])

	assert.ElementsMatch(t, []string{
		"docs/rules.md:2: rule G9 is not defined in docs/rules.md",
		"client/a_test.go:1: rule G7 is not defined in docs/rules.md",
		"a_test.go:2: rule L2 is not defined in docs/rules.md",
		"a_test.go:3: rule X9 is not defined in docs/rules.md",
		"nested/a.go:2: rule B7 is not defined in docs/rules.md",
	}, undefinedRules(rules, usesOf(t, files)))

	assert.Equal(t, []string{
		"docs/rules.md:7: rule G1 names the trace put, which does not name the rule",
		`docs/rules.md:13: rule G2 has no list of tests that can be read: ""`,
		`docs/rules.md:13: rule G2 has no list of traces that can be read, and no reason for having none: ""`,
		"docs/rules.md:14: rule G1 is defined in line 7 already",
		"docs/rules.md:14: rule G1 is not a sentence that ends in a full stop",
		"docs/rules.md:14: rule G1 names the test TestOne of package actors, but it is in package client; -rewrite mends that",
		"docs/rules.md:14: rule G1 names the test TestNone, which does not exist",
		"docs/rules.md:14: rule G1 names the trace put, which does not name the rule",
		"docs/rules.md:14: rule G1 names the trace gone, which does not exist",
		"docs/rules.md:17: rule P50 has a number that no text can refer to: see ruleNumber",
		"docs/rules.md:17: rule P50 names the test TestOther, which does not exist",
		`docs/rules.md:20: rule G3 has no list of tests that can be read: "TestOne (client)"`,
		`docs/rules.md:20: rule G3 has no list of traces that can be read, and no reason for having none: "none"`,
		"docs/rules.md:23: rule K1 names the trace shares, which does not name the rule",
	}, wrongRules(t, files, rules))
}

func TestRewritingTheRulesMovesTestsToTheirPackages(t *testing.T) {
	long := strings.Repeat("A", 60)
	before := "- **G1** One.\n  - test: `TestA`, `TestB" + long + "`,\n    `TestC" + long + "`\n    (actorpool); `TestD` (actors)\n  - trace: `get`\n"
	functions := map[string][]string{
		"TestA": {"client"}, "TestB" + long: {"actorpool", "client"}, "TestC" + long: {"actors"}, "TestD": {"actors"},
	}
	after := "- **G1** One.\n  - test: `TestA` (client); `TestB" + long + "` (actorpool);\n    `TestC" + long + "`, `TestD` (actors)\n  - trace: `get`\n"
	assert.Equal(t, after, withPackages(before, functions))
	assert.Equal(t, after, withPackages(after, functions))
}
