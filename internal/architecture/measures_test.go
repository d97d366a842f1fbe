package architecture

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// The measures of a file and of a line of a document. A file that is longer than
// this holds more than one subject; a longer line cannot be read side by side with
// another version of it.
const (
	longestFile = 800
	longestLine = 120
)

func TestNoFileIsTooLong(t *testing.T) { report(t, longFiles(t, repository(t))) }

// longFiles lists the Go files, tests left out, that have too many lines.
func longFiles(t *testing.T, files fs.FS) []string {
	t.Helper()
	var faults []string
	for _, names := range codeOf(t, files) {
		for _, name := range names {
			if n := strings.Count(read(t, files, name), "\n"); n > longestFile {
				faults = append(faults, fmt.Sprintf("%s has %d lines, more than %d: split it", name, n, longestFile))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

func TestNoTwoNamesDifferByCaseAlone(t *testing.T) { report(t, similarNames(t, repository(t))) }

// similarNames lists the names of one scope that differ by case alone: the names
// of a package, and the fields and methods of a type. Tests are left out, and so
// are methods that only give a field, Name and name: these are one thing.
func similarNames(t *testing.T, files fs.FS) []string {
	t.Helper()
	var faults []string
	for folder, names := range codeOf(t, files) {
		positions := token.NewFileSet()
		scopes := make(map[string][]*ast.Ident)
		for _, name := range names {
			declared(parse(t, files, positions, name), scopes)
		}
		for scope, idents := range scopes {
			seen := make(map[string]*ast.Ident)
			for _, ident := range idents {
				lower := strings.ToLower(ident.Name)
				if first := seen[lower]; first == nil {
					seen[lower] = ident
				} else if first.Name != ident.Name { // the same name twice is init or _, or a file of another platform
					faults = append(faults, fmt.Sprintf("%v: %s and %s, at %v, differ by case alone in %s",
						positions.Position(ident.Pos()), ident.Name, first.Name, positions.Position(first.Pos()), path.Join(folder, scope)))
				}
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// declared adds what a file declares to its scopes: "" is the package, the others
// are its types.
func declared(file *ast.File, scopes map[string][]*ast.Ident) {
	add := func(scope string, idents ...*ast.Ident) { scopes[scope] = append(scopes[scope], idents...) }
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add("", decl.Name)
			} else if on := typeName(decl.Recv.List[0].Type); on != nil && !givesField(decl) {
				add(on.Name, decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					add("", spec.Names...)
				case *ast.TypeSpec:
					add("", spec.Name)
					add(spec.Name.Name, members(spec.Type)...)
				}
			}
		}
	}
}

// givesField says whether a method does nothing but return the field of its name.
func givesField(method *ast.FuncDecl) bool {
	if method.Body == nil || len(method.Body.List) != 1 {
		return false
	}
	result, ok := method.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(result.Results) != 1 {
		return false
	}
	field, ok := result.Results[0].(*ast.SelectorExpr)
	if !ok || !strings.EqualFold(field.Sel.Name, method.Name.Name) {
		return false
	}
	of, ok := field.X.(*ast.Ident)
	receiver := method.Recv.List[0].Names
	return ok && len(receiver) == 1 && of.Name == receiver[0].Name
}

// members are the fields of a struct or the methods of an interface. What is
// embedded is a member by the name of its type.
func members(of ast.Expr) []*ast.Ident {
	var list *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		list = of.Fields
	case *ast.InterfaceType:
		list = of.Methods
	default:
		return nil
	}
	var idents []*ast.Ident
	for _, f := range list.List {
		idents = append(idents, f.Names...)
		if embedded := typeName(f.Type); len(f.Names) == 0 && embedded != nil {
			idents = append(idents, embedded)
		}
	}
	return idents
}

// typeName is the name in a type such as *pkg.Name[T]; nil: it has none.
func typeName(of ast.Expr) *ast.Ident {
	switch of := of.(type) {
	case *ast.Ident:
		return of
	case *ast.StarExpr:
		return typeName(of.X)
	case *ast.SelectorExpr:
		return of.Sel
	case *ast.IndexExpr:
		return typeName(of.X)
	case *ast.IndexListExpr:
		return typeName(of.X)
	}
	return nil
}

func TestNoLineOfADocumentIsTooLong(t *testing.T) { report(t, longLines(t, repository(t))) }

var (
	link = regexp.MustCompile(`!?\[[^\]]*\](\([^)]*\)|: *\S+)|<?https?://[^\s>]+>?`)
	word = regexp.MustCompile(`\pL`)
)

// longLines lists the lines of the documents that are too long. Code blocks and
// tables are left out, and lines of nothing but links: they cannot be broken.
func longLines(t *testing.T, files fs.FS) []string {
	t.Helper()
	var faults []string
	for _, name := range filesOf(t, files, ".md") {
		if !strings.HasPrefix(name, "docs/") && !slices.Contains([]string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}, name) {
			continue
		}
		for i, line := range prose(read(t, files, name)) {
			n := utf8.RuneCountInString(line)
			table := strings.HasPrefix(strings.TrimSpace(line), "|")
			if n > longestLine && !table && word.MatchString(link.ReplaceAllString(line, "")) {
				faults = append(faults, fmt.Sprintf("%s:%d has %d characters, more than %d", name, i+1, n, longestLine))
			}
		}
	}
	return faults
}

// The checks are known to find what they are for.
func TestTheChecksOfMeasuresFindFaults(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	lines := func(first string, n int) *fstest.MapFile { return file(first + strings.Repeat("\n", n)) }
	long := strings.Repeat("ä", longestLine)
	files := fstest.MapFS{
		"a/long.go":      lines("package a", longestFile+1),
		"a/enough.go":    lines("package a", longestFile),
		"a/long_test.go": lines("package a", longestFile+1),
		"b/names.go": file(`package b
type Box[T any] struct { size, weight, height, depth int; Inner }
type inner struct{ Size int }
type Inner struct{ size int }
func (b *Box[T]) Size() int { return 0 }
func (b Box[T]) Weight() int { return b.weight }
func (b Box[T]) Height() int { return b.weight }
func (b Box[T]) Depth() int { return other.depth }
func init() {}
`),
		"b/more.go": file(`package b
type reader interface { Read(); read() }
const other, box = 1, 2
var size int
func init() {}
`),
		"b/names_test.go":   file("package b\nvar Size int\n"),
		"c/more.go":         file("package c\ntype BOX int\n"),
		"README.md":         file(long + "\n" + long + "x\n[" + long + "](x), [" + long + "](y).\n"),
		"other.md":          file(long + "x\n"),
		"docs/deep/more.md": file("| " + long + "|\n```\nx" + long + "\n```\n- see [" + long + "](z)\n- [" + long + "](z)\n[z]: http://" + long + "\n"),
	}
	assert.Equal(t, []string{"a/long.go has 801 lines, more than 800: split it"}, longFiles(t, files))
	assert.Equal(t, []string{
		"b/more.go:2:33: read and Read, at b/more.go:2:25, differ by case alone in b/reader",
		"b/names.go:2:6: Box and box, at b/more.go:3:14, differ by case alone in b",
		"b/names.go:4:6: Inner and inner, at b/names.go:3:6, differ by case alone in b",
		"b/names.go:5:18: Size and size, at b/names.go:2:26, differ by case alone in b/Box",
		"b/names.go:7:17: Height and height, at b/names.go:2:40, differ by case alone in b/Box",
		"b/names.go:8:17: Depth and depth, at b/names.go:2:48, differ by case alone in b/Box",
	}, similarNames(t, files))
	assert.Equal(t, []string{
		"README.md:2 has 121 characters, more than 120",
		"docs/deep/more.md:5 has 131 characters, more than 120",
	}, longLines(t, files))
}
