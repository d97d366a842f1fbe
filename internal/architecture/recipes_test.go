package architecture

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var anyGoBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// The code of the recipes is cut out of a test, where it runs. There connections are of
// the type of the test kit.
func TestTheCodeOfTheRecipesIsThatOfTheirTests(t *testing.T) {
	root := documentRoot(t)
	source := withoutIndent(readDocument(t, root, "client/recipes_test.go"))
	blocks := anyGoBlock.FindAllStringSubmatch(readDocument(t, root, "docs/recipes.md"), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		code := withoutIndent(strings.ReplaceAll(block[1], "*Conn", "*testkit.Conn"))
		assert.True(t, strings.Contains(source, code), "not in client/recipes_test.go:\n%s", block[1])
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

// withoutIndent removes the white space at the beginnings of lines.
func withoutIndent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t ")
	}
	return strings.Join(lines, "\n")
}
