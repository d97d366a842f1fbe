package architecture

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documentedSource parses the Go files of one folder, without its tests.
func documentedSource(t *testing.T, root, folder string) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
	require.NoError(t, err)
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files[filepath.Base(path)] = file
	}
	require.NotEmpty(t, files, folder)
	return files
}

// exportedFields lists the exported structs of a file with their fields.
func exportedFields(file *ast.File) map[string][]string {
	structs := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || !spec.Name.IsExported() {
			return true
		}
		if body, ok := spec.Type.(*ast.StructType); ok {
			structs[spec.Name.Name] = []string{}
			for _, field := range body.Fields.List {
				for _, name := range field.Names {
					if name.IsExported() {
						structs[spec.Name.Name] = append(structs[spec.Name.Name], name.Name)
					}
				}
			}
		}
		return true
	})
	return structs
}

func TestTheProtocolIsDocumentedFieldByField(t *testing.T) {
	root := documentRoot(t)
	page := readDocument(t, root, "docs/protocol.md")
	for name, file := range documentedSource(t, root, "messages") {
		for message, fields := range exportedFields(file) {
			assert.Regexp(t, "`[*]?"+message+"\\b", page, "messages/%s has %s", name, message)
			for _, field := range fields {
				assert.Regexp(t, "\\b"+field+"\\b", page, "%s.%s", message, field)
			}
		}
	}
}

func TestEveryFieldOfConfigIsDocumentedForOperations(t *testing.T) {
	root := documentRoot(t)
	page := readDocument(t, root, "docs/operations.md")
	fields := exportedFields(documentedSource(t, root, "client")["config.go"])["Config"]
	require.NotEmpty(t, fields)
	for _, field := range fields {
		assert.Regexp(t, "(?m)^\\| .*`"+field+"`", page)
	}
}

// userVisible are the folders whose errors and log messages reach a user.
var userVisible = []string{"messages", "client", "actors", "actors/internal/machine", "fleet", "fleet/internal/machine"}

// userTexts collects the string literals of the folders above: all of them, and
// those that are errors of their own or reasons of a ConfigError.
func userTexts(t *testing.T, root string) (all, errorTexts []string) {
	t.Helper()
	for _, folder := range userVisible {
		for name, file := range documentedSource(t, root, folder) {
			if name == "invariants.go" {
				continue // seen only by tests
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
						all = append(all, text)
						if strings.HasPrefix(text, "actorpool: ") {
							errorTexts = append(errorTexts, text)
						}
					}
				case *ast.KeyValueExpr:
					if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
						ast.Inspect(n.Value, func(n ast.Node) bool {
							if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
								text, _ := strconv.Unquote(lit.Value)
								errorTexts = append(errorTexts, text)
							}
							return true
						})
					}
				}
				return true
			})
		}
	}
	require.NotEmpty(t, errorTexts)
	return all, errorTexts
}

var (
	quotedTitle = regexp.MustCompile("(?m)^### `(.+)`$")
	formatVerb  = regexp.MustCompile(`%[a-zA-Z+]+`)
)

// fragments are the fixed parts of a text, without what stands in for values.
func fragments(text string, values *regexp.Regexp) []string {
	var parts []string
	for _, part := range values.Split(text, -1) {
		if part = strings.Trim(part, " :,(\"'"); len(part) > 1 {
			parts = append(parts, part)
		}
	}
	return parts
}

func TestTheTroubleshootingPageQuotesTextsThatExist(t *testing.T) {
	root := documentRoot(t)
	all, _ := userTexts(t, root)
	page := readDocument(t, root, "docs/troubleshooting.md")
	titles := quotedTitle.FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, titles)
	all = append(all, context.DeadlineExceeded.Error(), context.Canceled.Error())
	source := strings.Join(all, "\n")
	for _, title := range titles {
		for _, part := range fragments(title[1], regexp.MustCompile(`…`)) {
			part = strings.TrimPrefix(part, "actorpool: ")
			assert.True(t, strings.Contains(source, part), "the title %q quotes no text of the code", title[1])
		}
	}
}

func TestEveryErrorTextIsOnTheTroubleshootingPage(t *testing.T) {
	root := documentRoot(t)
	_, errorTexts := userTexts(t, root)
	page := readDocument(t, root, "docs/troubleshooting.md")
	for _, text := range errorTexts {
		for _, part := range fragments(text, formatVerb) {
			assert.True(t, strings.Contains(page, part), "%q is not explained", text)
		}
	}
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(package .*?)^```$")

// Blocks of the documents that begin with a package clause are whole files.
// Those that need nothing but the standard library, this module and the actor
// library must compile.
func TestTheProgramsInTheDocumentsCompile(t *testing.T) {
	root := documentRoot(t)
	var files []string
	for _, path := range documents(t, root) {
		for _, block := range goBlock.FindAllStringSubmatch(readDocument(t, root, path), -1) {
			file, err := parser.ParseFile(token.NewFileSet(), path, block[1], parser.ImportsOnly)
			require.NoError(t, err, path)
			if !compilesHere(file) {
				continue
			}
			name := filepath.Join(t.TempDir(), "main.go")
			require.NoError(t, os.WriteFile(name, []byte(block[1]), 0o600))
			files = append(files, name)
			vet := exec.CommandContext(t.Context(), "go", "vet", name)
			vet.Dir = filepath.Join(root, adapterOf(file))
			out, err := vet.CombinedOutput()
			assert.NoError(t, err, "%s: %s", path, out)
		}
	}
	assert.NotEmpty(t, files)
}

// adapterOf is the folder of the adapter that a program imports, which is a module of its
// own; "": none.
func adapterOf(file *ast.File) string {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if folder, ok := strings.CutPrefix(path, module+"/adapters/"); ok {
			return "adapters/" + folder
		}
	}
	return ""
}

func compilesHere(file *ast.File) bool {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		required := strings.HasPrefix(path, "github.com/actorpool/actorpool/") ||
			strings.HasPrefix(path, "github.com/asynkron/protoactor-go/")
		if strings.Contains(path, ".") && !required {
			return false
		}
	}
	return true
}
