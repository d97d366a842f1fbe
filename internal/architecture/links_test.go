package architecture

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documentRoot is the folder of the go.mod that this package belongs to.
func documentRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		require.NotEqual(t, dir, parent, "no go.mod above the tests")
		dir = parent
	}
}

// skippedFolders hold no documents of the project.
var skippedFolders = map[string]bool{".git": true, "shared": true, "node_modules": true, "vendor": true}

// documents are the paths of all Markdown files, relative to the root.
func documents(t *testing.T, root string) []string {
	t.Helper()
	var paths []string
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && skippedFolders[d.Name()]:
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(d.Name(), ".md"):
			relative, err := filepath.Rel(root, path)
			paths = append(paths, filepath.ToSlash(relative))
			return err
		}
		return nil
	}))
	require.NotEmpty(t, paths)
	return paths
}

func readDocument(t *testing.T, root, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	require.NoError(t, err)
	return string(text)
}

// proseLines are the lines of a document outside code blocks. The others are
// empty, so that line numbers stay right.
func proseLines(text string) []string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			lines[i] = ""
		} else if fenced {
			lines[i] = ""
		}
	}
	return lines
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	absoluteURL  = regexp.MustCompile(`^[a-z]+:`)
	inlineCode   = regexp.MustCompile("`[^`]*`")
	linkToText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchorsOf are the fragments under which a document's titles can be linked, by
// the rules of GitHub.
func anchorsOf(text string) map[string]bool {
	anchors, seen := map[string]bool{}, map[string]int{}
	for _, line := range proseLines(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = linkToText.ReplaceAllString(strings.TrimSpace(title), "$1")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, title)
		if n := seen[anchor]; n > 0 {
			anchors[anchor+"-"+string(rune('0'+n))] = true
		}
		seen[anchor]++
		anchors[anchor] = true
	}
	return anchors
}

func TestEveryLinkInTheDocumentsLeadsSomewhere(t *testing.T) {
	root := documentRoot(t)
	links := 0
	for _, path := range documents(t, root) {
		for i, line := range proseLines(readDocument(t, root, path)) {
			for _, match := range markdownLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, ""), -1) {
				if absoluteURL.MatchString(match[1]) {
					continue
				}
				links++
				file, anchor, _ := strings.Cut(match[1], "#")
				target := path
				if file != "" {
					target = filepath.ToSlash(filepath.Join(filepath.Dir(filepath.FromSlash(path)), filepath.FromSlash(file)))
				}
				_, err := os.Stat(filepath.Join(root, filepath.FromSlash(target)))
				if !assert.NoError(t, err, "%s:%d: %s", path, i+1, match[1]) {
					continue
				}
				if anchor != "" && strings.HasSuffix(target, ".md") {
					assert.True(t, anchorsOf(readDocument(t, root, target))[anchor], "%s:%d: no title for %s", path, i+1, match[1])
				}
			}
		}
	}
	assert.NotZero(t, links)
}

func TestEveryDocumentIsReachedFromTheREADME(t *testing.T) {
	root := documentRoot(t)
	paths := documents(t, root)
	reached, pending := map[string]bool{"README.md": true}, []string{"README.md"}
	for len(pending) > 0 {
		path := pending[0]
		pending = pending[1:]
		for _, match := range markdownLink.FindAllStringSubmatch(readDocument(t, root, path), -1) {
			file, _, _ := strings.Cut(match[1], "#")
			target := filepath.ToSlash(filepath.Join(filepath.Dir(filepath.FromSlash(path)), filepath.FromSlash(file)))
			if slices.Contains(paths, target) && !reached[target] {
				reached[target] = true
				pending = append(pending, target)
			}
		}
	}
	for _, path := range paths {
		assert.True(t, reached[path], "no link leads from README.md to %s", path)
	}
}
