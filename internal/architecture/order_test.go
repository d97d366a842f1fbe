package architecture

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

// machineFolder is the package whose files are in order, and machineType the type
// whose methods they hold.
const (
	machineFolder = "actors/internal/machine"
	machineType   = "Machine"
)

// layer is a file with its reason for being where it is.
type layer struct{ file, why string }

// machineOrder are the files with methods of Machine, from top to bottom. A file
// uses methods of its own and of the files below it. So whoever reads a file must
// know what is below it and nothing that is above, and no two files call each
// other. All other files of the package are below these.
var machineOrder = []layer{
	{"invariants.go", "it checks everything, and nothing depends on it"},
	{"machine.go", "the inputs: each makes transitions, and settles"},
	{"controls.go", "the inputs that concern the pool as a whole, in the same way"},
	{"housekeeping.go", "what a tick does by itself"},
	{"outcomes.go", "what a job's end means; it settles, as an input does"},
	{"settle.go", "what follows from any input; it causes no input"},
	{"transitions.go", "one change of the state; what follows from it is decided above"},
	{"visits.go", "a connection that does not stand any more leaves its visits"},
	{"description.go", "what Explain is made of; a slot that moves is not forgotten"},
	{"explain.go", "the words of errors and explanations; transitions give them to waiters"},
	{"backoff.go", "the blocking period, a part of the state"},
	{"recording.go", "what Gets and leases leave behind, one by one"},
	{"timers.go", "what is due next; whatever changes that sets the timer"},
	{"report.go", "what the outside reads"},
	{"ages.go", "since when, which errors, explanations and reports say"},
	{"measures.go", "what leases and grants leave behind, in numbers"},
	{"events.go", "everything above emits events"},
	{"state.go", "the fields, and what follows from them alone"},
}

func TestTheFilesOfTheMachineCallDownwardsOnly(t *testing.T) {
	report(t, upwardCalls(t, repository(t), machineFolder, machineType, machineOrder))
}

// setMachineOrder is the same for the machine of a set of pools.
var setMachineOrder = []layer{
	{"invariants.go", "it checks everything, and nothing depends on it"},
	{"machine.go", "the inputs: each changes the state, and settles"},
	{"settle.go", "what follows from any input; it causes no input"},
}

func TestTheFilesOfTheSetMachineCallDownwardsOnly(t *testing.T) {
	report(t, upwardCalls(t, repository(t), "actors/internal/setmachine", machineType, setMachineOrder))
}

// upwardCalls lists the uses of a type's methods in a file above the one that
// declares them, and the files with such methods that have no place in the order
// or are missing. A use is a selector on a receiver or parameter of the type: a
// method that is passed on as a function counts as one that is called.
func upwardCalls(t *testing.T, files fs.FS, folder, typ string, order []layer) []string {
	t.Helper()
	var faults []string
	place := make(map[string]int) // of each file; those that are not in the order are below
	for i, layer := range order {
		place[layer.file] = i
		if _, err := fs.Stat(files, path.Join(folder, layer.file)); err != nil {
			faults = append(faults, path.Join(folder, layer.file)+" is in the order but does not exist")
		}
	}
	positions := token.NewFileSet()
	parsed := make(map[string]*ast.File)
	home := make(map[string]string) // of each method: its file
	for _, name := range codeOf(t, files)[folder] {
		base := path.Base(name)
		parsed[base] = parse(t, files, positions, name)
		if _, ok := place[base]; !ok {
			place[base] = len(order)
		}
		for _, decl := range parsed[base].Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !isType(f.Recv.List[0].Type, typ) {
				continue
			}
			home[f.Name.Name] = base
			if place[base] == len(order) {
				faults = append(faults, fmt.Sprintf("%v: %s is a method of %s in a file that is not in the order",
					positions.Position(f.Pos()), f.Name.Name, typ))
			}
		}
	}
	for base, file := range parsed {
		why := "it is not in the order"
		if place[base] < len(order) {
			why = order[place[base]].why
		}
		for _, use := range methodUses(file, typ) {
			if above := home[use.Name]; above != "" && place[above] < place[base] {
				faults = append(faults, fmt.Sprintf("%v: %s is declared in %s, which is above %s (%s)",
					positions.Position(use.Pos()), use.Name, above, base, why))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// methodUses finds the selectors on receivers and parameters of the type in each
// function of a file.
func methodUses(file *ast.File, typ string) []*ast.Ident {
	var uses []*ast.Ident
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		var names []string
		ast.Inspect(f, func(n ast.Node) bool {
			if n, ok := n.(*ast.Field); ok && isType(n.Type, typ) {
				for _, name := range n.Names {
					names = append(names, name.Name)
				}
			}
			return true
		})
		ast.Inspect(f, func(n ast.Node) bool {
			if n, ok := n.(*ast.SelectorExpr); ok {
				if on, ok := n.X.(*ast.Ident); ok && slices.Contains(names, on.Name) {
					uses = append(uses, n.Sel)
				}
			}
			return true
		})
	}
	return uses
}

// isType says whether an expression is the type or a pointer to it.
func isType(of ast.Expr, typ string) bool {
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	ident, ok := of.(*ast.Ident)
	return ok && ident.Name == typ
}

// The check is known to find what it is for.
func TestTheCheckOfTheOrderFindsUpwardCalls(t *testing.T) {
	file := func(lines ...string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Join(lines, "\n"))}
	}
	files := fstest.MapFS{
		"m/top.go": file("package m",
			"func (m *M) Input() { m.step(); m.Input(); m.read() }"),
		"m/middle.go": file("package m",
			"func (m *M) step() {",
			"	m.read()",
			"	each(func() { m.Input() })",
			"	each(m.Input)",
			"	m.field.Input()",
			"	var s S; s.Input()",
			"}"),
		"m/bottom.go": file("package m",
			"type M struct { field S }",
			"func (x M) read() { x.step() }",
			"func help(m *M) { m.read(); m.step() }",
			"func (s *S) Input() { s.m.Input() }"),
		"m/other.go": file("package m",
			"func (m *M) stray() {}",
			"func (s *S) fine(m *M) { m.field = s; m.stray() }",
			"func (s *S) none(m *M) { m.read() }"),
		"m/bottom_test.go": file("package m", "func (m *M) test() { m.Input() }"),
		"n/top.go":         file("package n", "func (m *M) step() {}"),
	}
	assert.Equal(t, []string{
		"m/bottom.go:3:23: step is declared in middle.go, which is above bottom.go (it reads)",
		"m/bottom.go:4:31: step is declared in middle.go, which is above bottom.go (it reads)",
		"m/middle.go:4:18: Input is declared in top.go, which is above middle.go (it steps)",
		"m/middle.go:5:9: Input is declared in top.go, which is above middle.go (it steps)",
		"m/missing.go is in the order but does not exist",
		"m/other.go:2:1: stray is a method of M in a file that is not in the order",
		"m/other.go:4:28: read is declared in bottom.go, which is above other.go (it is not in the order)",
	}, upwardCalls(t, files, "m", "M", []layer{
		{"top.go", "it begins"}, {"middle.go", "it steps"}, {"missing.go", "it is away"}, {"bottom.go", "it reads"},
	}))
}
