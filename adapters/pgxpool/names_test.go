package pgxpool_test

import (
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const original = "github.com/jackc/pgx/v5/pgxpool"

// TestEveryNameOfPgxIsHere compares what both packages export, by `go doc -all`. It is run
// with the newest pgx by `make pgx-newest`.
func TestEveryNameOfPgxIsHere(t *testing.T) {
	theirs, ours := declarations(t, original), declarations(t, ".")
	require.Contains(t, theirs, "func New(ctx context.Context, connString string) (*Pool, error)")
	assert.Empty(t, missing(theirs, ours))
}

func TestAMissingNameIsFound(t *testing.T) {
	theirs := []string{
		"func New(s string) (*Pool, error)", "func (p *Pool) Close()", "func (c *Config) Copy() *Config",
		"type Config struct", "type Pool struct", "type Tracer interface{Trace(pool *Pool)}", "const Size", "func Open(a int, b int)",
	}
	ours := []string{
		"func New(s string) (*Pool, error)", "type Pool struct", "type Config = pgxpool.Config",
		"type Tracer interface{Trace(pool *Pool, more int)}", "func Open(a int, b int, opts ...Option)",
	}
	assert.Equal(t, []string{"func (p *Pool) Close()", "type Tracer interface{Trace(pool *Pool)}", "const Size"}, missing(theirs, ours))
}

// missing gives those of their declarations that we do not have.
func missing(theirs, ours []string) (missing []string) {
	aliases := make(map[string]bool) // of their types: all of them is here
	for _, d := range ours {
		if name, ok := strings.CutPrefix(d, "type "); ok {
			if name, of, ok := strings.Cut(name, " = "); ok && of == "pgxpool."+name {
				aliases[name] = true
			}
		}
	}
	method := regexp.MustCompile(`^func \(\w+ \*?(\w+)\)`)
	for _, d := range theirs {
		fields := strings.Fields(d)
		if m := method.FindStringSubmatch(d); m != nil && aliases[m[1]] || fields[0] == "type" && aliases[fields[1]] {
			continue
		}
		more := strings.Replace(d, ")", ", opts ...Option)", 1) // options may be added at the end
		if !slices.Contains(ours, d) && !slices.Contains(ours, more) {
			missing = append(missing, d)
		}
	}
	return missing
}

var (
	comment  = regexp.MustCompile(`\s*//.*`)
	receiver = regexp.MustCompile(`^func \((\w+) `)
)

// declarations gives the exported functions, methods, types, constants and variables of a
// package, one in a line. An interface is given with its methods, a struct without its
// fields.
func declarations(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "doc", "-all", pkg).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go doc -all %s: %s", pkg, exit.Stderr)
	}
	require.NoError(t, err)
	var all []string
	group, depth := "", ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		text := comment.ReplaceAllString(line, "")
		switch {
		case depth == "type": // inside of a declaration in braces
			if line == "}" {
				if strings.Contains(group, " interface{") {
					group += "}"
				}
				all = append(all, group)
				depth = ""
			} else if strings.HasPrefix(line, "\t") && strings.TrimSpace(text) != "" && strings.Contains(group, " interface{") {
				group += separator(group) + strings.TrimSpace(text)
			}
		case depth != "": // const ( or var (
			if line == ")" {
				depth = ""
			} else if fields := strings.Fields(text); len(fields) > 0 {
				all = append(all, depth+" "+fields[0])
			}
		case strings.HasPrefix(line, "type ") && strings.HasSuffix(line, "{"):
			group, depth = strings.TrimSuffix(line, " {"), "type"
			if strings.HasSuffix(group, " interface") {
				group += "{"
			}
		case strings.HasPrefix(line, "func ("):
			all = append(all, receiver.ReplaceAllString(line, "func (x "))
		case strings.HasPrefix(line, "func "), strings.HasPrefix(line, "type "):
			all = append(all, line)
		case line == "const (" || line == "var (":
			depth = strings.Fields(line)[0]
		case strings.HasPrefix(line, "const "), strings.HasPrefix(line, "var "):
			all = append(all, strings.Join(strings.Fields(line)[:2], " "))
		}
	}
	for i, d := range all {
		all[i] = results.ReplaceAllString(d, "($1, $2)")
	}
	return all
}

// results are results with names, which do not matter to a caller.
var results = regexp.MustCompile(`\(\w+ (\*?[\w.]+), \w+ (error)\)$`)

func separator(group string) string {
	if strings.HasSuffix(group, "{") {
		return ""
	}
	return "; "
}
