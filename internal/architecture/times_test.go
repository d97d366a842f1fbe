package architecture

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

// timesFile is the one file of the machine in which times are added: there sums
// saturate (N1).
const timesFile = machineFolder + "/time.go"

func TestSumsOfTimesSaturate(t *testing.T) {
	for _, folder := range []string{machineFolder, "actors", "client", "supervisor"} {
		report(t, sumsOfTimes(t, repository(t), folder))
	}
}

// sumsOfTimes lists where a folder's code adds or multiplies durations, or makes one of
// a float: each can wrap. Constants cannot, and neither can differences of times that
// are not negative.
func sumsOfTimes(t *testing.T, files fs.FS, folder string) []string {
	t.Helper()
	positions := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range codeOf(t, files)[folder] {
		parsed = append(parsed, parse(t, files, positions, name))
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	checker := types.Config{
		Importer: onlyTime{}, Error: func(error) {}, // of other packages nothing is known
	}
	_, _ = checker.Check(folder, positions, parsed, info)
	isDuration := func(e ast.Expr) bool {
		typ := info.Types[e].Type
		return typ != nil && typ.String() == "time.Duration"
	}
	var faults []string
	for _, file := range parsed {
		if positions.Position(file.Pos()).Filename == timesFile {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			fault := ""
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if info.Types[n].Value == nil && slices.Contains([]token.Token{token.ADD, token.MUL, token.SHL}, n.Op) && (isDuration(n.X) || isDuration(n.Y)) {
					fault = "a sum of times"
				}
			case *ast.AssignStmt:
				if slices.Contains([]token.Token{token.ADD_ASSIGN, token.MUL_ASSIGN, token.SHL_ASSIGN}, n.Tok) && (isDuration(n.Lhs[0]) || isDuration(n.Rhs[0])) {
					fault = "a sum of times"
				}
			case *ast.CallExpr:
				if conversion := info.Types[n.Fun]; len(n.Args) == 1 && conversion.IsType() && isDuration(n) && info.Types[n].Value == nil {
					if arg, ok := info.Types[n.Args[0]].Type.(*types.Basic); ok && arg.Info()&types.IsFloat != 0 {
						fault = "a time made of a float"
					}
				}
			}
			if fault != "" {
				faults = append(faults, fmt.Sprintf("%v: %s may wrap", positions.Position(n.Pos()), fault))
			}
			return true
		})
	}
	return faults
}

// onlyTime imports a package time that has its Duration and its units, and every other
// package as an empty one.
type onlyTime struct{}

func (onlyTime) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	if name == "time" {
		duration := types.NewNamed(types.NewTypeName(token.NoPos, p, "Duration", nil), types.Typ[types.Int64], nil)
		p.Scope().Insert(duration.Obj())
		for _, unit := range []string{"Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"} {
			p.Scope().Insert(types.NewConst(token.NoPos, p, unit, duration, constant.MakeInt64(1)))
		}
	}
	p.MarkComplete()
	return p, nil
}

func TestASumOfTimesIsFound(t *testing.T) {
	files := fstest.MapFS{"x/x.go": {Data: []byte(`package x
import "time"
const bound = 2 * time.Second
type config struct { period time.Duration; part float64 }
func (c config) sums(now time.Duration, n int) time.Duration {
	due := now + c.period
	due += time.Second
	due = time.Duration(n) * c.period
	due -= time.Duration(float64(n) * c.part)
	return due - now
}`)}}
	assert.Equal(t, []string{
		"x/x.go:6:9: a sum of times may wrap",
		"x/x.go:7:2: a sum of times may wrap",
		"x/x.go:8:8: a sum of times may wrap",
		"x/x.go:9:9: a time made of a float may wrap",
	}, sumsOfTimes(t, files, "x"))
}
