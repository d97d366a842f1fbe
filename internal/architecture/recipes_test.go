package architecture

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var anyGoBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// The code of these documents is cut out of tests, where it runs. There connections are of
// the type that is named here.
var recipes = map[string]struct {
	tests []string
	conn  string
}{
	"docs/recipes.md": {[]string{"client/recipes_test.go"}, "*testkit.Conn"},
	"docs/metrics.md": {[]string{"metrics/otelmetrics/recipes_test.go", "metrics/prommetrics/recipes_test.go"}, "*conn"},
}

func TestTheCodeOfTheRecipesIsThatOfTheirTests(t *testing.T) {
	root := documentRoot(t)
	for document, from := range recipes {
		var source strings.Builder
		for _, test := range from.tests {
			source.WriteString(withoutIndent(readDocument(t, root, test)))
		}
		blocks := anyGoBlock.FindAllStringSubmatch(readDocument(t, root, document), -1)
		require.NotEmpty(t, blocks)
		for _, block := range blocks {
			code := withoutIndent(strings.ReplaceAll(block[1], "*Conn", from.conn))
			assert.True(t, strings.Contains(source.String(), code), "%s: not in %s:\n%s", document, strings.Join(from.tests, " or "), block[1])
		}
	}
}

// The example of the sets is a test, too.
func TestTheCodeAboutSetsIsThatOfItsExample(t *testing.T) {
	root := documentRoot(t)
	source := readDocument(t, root, "client/set_example_test.go")
	blocks := anyGoBlock.FindAllStringSubmatch(readDocument(t, root, "docs/sets.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.True(t, strings.Contains(source, block[1]), "not in client/set_example_test.go:\n%s", block[1])
	}
}

// The example of the simulations is one, too.
func TestTheCodeAboutSimulationsIsThatOfItsExample(t *testing.T) {
	root := documentRoot(t)
	source, text := readDocument(t, root, "sim/example_test.go"), readDocument(t, root, "docs/simulation.md")
	blocks := anyGoBlock.FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.True(t, strings.Contains(source, block[1]), "not in sim/example_test.go:\n%s", block[1])
	}
	_, output, _ := strings.Cut(text, "It prints:\n\n```\n")
	output, _, _ = strings.Cut(output, "```")
	assert.Contains(t, strings.ReplaceAll(source, "\t// ", ""), strings.ReplaceAll(output, "\n\n", "\n\t//\n"), "what it prints")
}

// withoutIndent removes the white space at the beginnings of lines.
func withoutIndent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t ")
	}
	return strings.Join(lines, "\n")
}
